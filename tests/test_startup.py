"""Command lines are read before anything heavy is imported, so `--help` and dry runs answer at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "diffusers", "accelerate", "timm", "torchvision", "datasets", "peft")
HEAVY += ("pandas", "pyarrow", "scipy", "sklearn", "skimage", "matplotlib", "pydicom", "torchmetrics")
HEAVY += ("gradio", "uvicorn", "huggingface_hub")
PACKAGES = ("evaluation", "data_module", "training")
SCRIPTS = tuple(path.name for path in sorted(ROOT.glob("*.py")))
SOURCES = ("--root a --reports b", "--table a --images b", "", "", "--parts a b")
# Dry runs that show settings alone; those of training also count the model's parameters, which takes torch.
DRY_RUNS = (
    "app.py",
    "audit_membership.py",
    "edit_films.py",
    "sample_pairs.py",
    "generate_reports.py",
    "compare_reports.py",
    "convert_weights.py monai a --out b",
    "push_to_hub.py a --repo b/c",
    *(
        f"prepare_data.py {source} {flags} --out c"
        for source, flags in zip(("mimic-cxr", "csv", "open-i", "demo", "merge"), SOURCES, strict=True)
    ),
    *(f"evaluation {name} --real a --out b" for name in ("images", "reports", "pairs", "privacy", "all")),
    *(f"evaluation {name} a b --out c" for name in ("compare", "summary")),
    "evaluation metrics",
    "evaluation label --reports a --out b",
    "evaluation negation --out b",
    "evaluation protocol --real a --synthetic b --raddino c --out d",
    "evaluation rexrank --real a --reports b --out c",
    "evaluation mix --real a --synthetic b --out c",
    "evaluation utility a=b --real c --out d",
    "evaluation memorization --real a --draws b --features c --out d",
    "evaluation membership --losses a --out b",
    "evaluation edits --edited a --truth b --classifier c --out d",
    "training folds a --out b",
    "data_module describe a",
    "data_module export --data a --layout dicom --out b",
    "data_module counterfactuals --out a",
)
COMMANDS = [f"{name} --help" for name in (*SCRIPTS, *PACKAGES)] + [f"{run} --dry-run" for run in DRY_RUNS]
# Runs the commands one after another in one process, and tells what each brought in.
PROBE = """
import contextlib, io, json, os, runpy, sys
commands, heavy = json.loads(sys.argv[1])
sys.path.insert(0, os.getcwd())
found = {}
for command in commands:
    target, *sys.argv[1:] = command.split()
    sys.argv[0], code, before = target, 0, set(sys.modules)
    run = runpy.run_path if target.endswith(".py") else runpy.run_module
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            run(target, run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
    brought = sorted(set(heavy) & (set(sys.modules) - before))
    found[command] = [code, brought, len(output.getvalue())]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    command = [sys.executable, "-c", PROBE, json.dumps([COMMANDS, HEAVY])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_brings_nothing_heavy(found, command):
    code, brought, length = found[command]
    assert code == 0
    assert length > 20, "it says nothing"
    assert not brought, f"{command} imports {', '.join(brought)}"


def test_the_probe_sees_what_is_brought():
    """A training script's dry run builds its model, so torch must show."""
    command = [sys.executable, "-c", PROBE, json.dumps([["train_text_to_latent.py --dry-run"], HEAVY])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    ((code, brought, _),) = json.loads(done.stdout).values()
    assert code == 0
    assert "torch" in brought
