"""The project's own files: lock, environment, Makefile, and what may never stand in the repository."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def locked():
    """name -> pinned versions (one for each Python it is pinned for)."""
    pins: dict[str, list[Version]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pins.setdefault(requirement.name, []).append(Version(specifier.version))
    return pins


def test_the_lock_fits_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = locked()
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.name in pins, f"{requirement.name} is not locked: run make lock"
        assert all(requirement.specifier.contains(version) for version in pins[requirement.name]), text


def test_the_lock_names_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"--|://|find-links|index", text)


def test_conda_users_get_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (python,) = [d for d in environment["dependencies"] if str(d).startswith("python=")]
    assert (
        Version(python.removeprefix("python="))
        in Requirement(f"python{project['requires-python']}").specifier
    )
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-r requirements.lock"]


def test_nobody_is_told_to_install_a_name_that_is_not_ours():
    """The project is on no registry: a stranger could publish its name there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    for path in tracked():
        if path.suffix in (".py", ".md", ".sh", ".yml", ".html"):
            told = re.search(rf"install[^\n]*\b{project}\b(\[|[\"' ]*$)", path.read_text(), re.MULTILINE)
            assert not told, f"{path.relative_to(ROOT)}: {told[0]}"


def test_ci_is_the_users_commands():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    for target in ("setup", "demo", "test", "lint"):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_nothing_large_or_pickled_is_tracked():
    for path in tracked():
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".dcm"}, path
        assert path.stat().st_size < 2_000_000, path


def test_the_map_names_what_is_there():
    names = re.findall(r"`([\w./-]+[./][\w./-]*)`", (ROOT / "docs" / "map.md").read_text())
    assert len(names) > 40
    for name in names:
        assert (ROOT / name).exists(), name


def test_every_hook_is_a_program_of_the_environment():
    """pre-commit downloads nothing: each hook is local, and its program comes with a locked package."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    pins = locked()
    assert {"ruff", "codespell", "pre-commit", "pre-commit-hooks"} <= set(pins)
    for hook in hooks[0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")


def test_every_package_is_installed():
    find = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert {f"{name}*" for name in packages} == set(find["include"])


def test_the_citation_names_the_paper_and_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert "CXR-IRGen" in citation["references"][0]["title"]


def test_the_workflow_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step] == [".ci/run"]
