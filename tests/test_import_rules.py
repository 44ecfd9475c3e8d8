"""The import rules of docs/design.md, held by walking the imports."""

import ast
import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Package -> the packages of ours that it may import.
ALLOWED = {
    "runtime": set(),
    "data_module": {"runtime"},
    "training": {"runtime"},
    "vision_module": {"runtime", "data_module", "training"},
    "language_module": {"runtime", "data_module", "training"},
    "prior_model": {"runtime", "data_module", "training"},
    "pipelines": {"runtime", "data_module", "training", "vision_module", "language_module", "prior_model"},
    "evaluation": {"runtime", "data_module"},
    # The page shows what the others do, as the scripts do; nothing imports it but app.py.
    "page": {
        *("runtime", "data_module", "vision_module", "language_module", "prior_model", "pipelines"),
        "evaluation",
    },
}
PACKAGES = set(ALLOWED)
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}


def find_imports(path):
    """Top-level names of everything a file imports, wherever in the file it does so."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(path.relative_to(ROOT).parts[0] if node.level else node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "__import__",
            "importlib.import_module",
        ):
            names |= {arg.value.split(".")[0] for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return names


def modules_of(package):
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_import_only_what_they_may(package):
    ours = PACKAGES | SCRIPTS | {"benchmarks", "tests", "experiments"}
    for path in modules_of(package):
        wrong = find_imports(path) & (ours - ALLOWED[package] - {package})
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_the_walk_finds_imports():
    path = ROOT / "tests" / "test_import_rules.py"
    assert {"ast", "pytest", "pathlib"} <= find_imports(path)
    assert all(modules_of(package) for package in PACKAGES)


def test_no_module_shadows_a_library():
    """A script's folder comes first on the path: `evaluate.py` here would be every library's `evaluate`."""
    libraries = set(sys.stdlib_module_names)
    for name, distributions in importlib.metadata.packages_distributions().items():
        libraries |= {name} - ({name} if set(distributions) == {"paircxr"} else set())  # ours, installed
    libraries |= {
        "evaluate",
        "datasets",
        "tokenizers",
        "csv",
        "clip",
        "open_clip",
        "monai",
        "peft",
        "nltk",
        "wandb",
    }
    ours = {path.stem for path in ROOT.glob("*.py")}
    ours |= {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests"}
    assert not ours & libraries, f"{', '.join(sorted(ours & libraries))} would hide a library"


def test_nothing_is_pickled():
    """pickle runs what it reads; only its error, which torch.load raises, may be named."""
    for path in [*ROOT.glob("*.py"), *(p for package in PACKAGES for p in modules_of(package))]:
        text = path.read_text()
        assert not find_imports(path) & {"joblib", "dill", "cloudpickle"}, path.relative_to(ROOT)
        assert set(re.findall(r"\bpickle\.(\w+)", text)) <= {"UnpicklingError"}, path.relative_to(ROOT)
        assert not re.search(r"from pickle import|allow_pickle=True|weights_only=False", text), path


def test_every_package_is_known():
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found - {"tests", "benchmarks"} <= PACKAGES
    assert all(importlib.util.find_spec(package) for package in PACKAGES)
