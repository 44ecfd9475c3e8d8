"""Every line of every experiment at every scale, every README command and every preset, as dry runs.

The scripts are asked for their lines (PYTHON prints them), and each line then runs in this process.
"""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.sh"))
PAGES = ("reproduce", "augment", "benchmark", "data", "page", "scale")  # for users; their commands are tests
LAUNCHER = re.compile(r"^(?:torchrun|accelerate launch) .*?(?=-m |\S+\.py )")
TRAINERS = sorted(path.stem for kind in ("train", "distill") for path in ROOT.glob(f"{kind}_*.py"))


def lines_of(script, **environment):
    """The command lines that a script would run, as lists of arguments."""
    done = subprocess.run(
        ["bash", str(script)],
        env={**os.environ, "PYTHON": "echo LINE", "DRY_RUN": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [shlex.split(line)[1:] for line in done.stdout.splitlines() if line.startswith("LINE ")]


def run_line(arguments):
    """Run `script.py ARGS`, of the root or of a folder, or `-m PACKAGE ARGS` through its main."""
    if arguments[0] == "-m":
        importlib.import_module(f"{arguments[1]}.__main__").main(arguments[2:])
    else:
        importlib.import_module(arguments[0].removesuffix(".py").replace("/", ".")).main(arguments[1:])


def snapshot():
    return sorted(str(path) for path in ROOT.iterdir())


@pytest.mark.parametrize("scale", ["demo", pytest.param("paper", marks=pytest.mark.slow)])
@pytest.mark.parametrize("script", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_line_of_every_experiment(script, scale, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = lines_of(script, SCALE=scale, ABLATION="1", FILTER="1", DATA="no/such/data", OUT="no/such/out")
    assert len(lines) >= 5
    for line in lines:
        assert "--dry-run" in line, line
        run_line(line)
        assert '"out": "no/such/' in capsys.readouterr().out, line
    assert not list(tmp_path.iterdir()), "a dry run wrote something"


def test_the_demo_makes_the_promised_folders():
    lines = [" ".join(line) for line in lines_of(ROOT / "experiments" / "cxr_irgen.sh")]
    made = re.findall(r"--out (\S+)", "\n".join(lines))
    for name in ["data", "autoencoder", "clip", "classifier", "uvit", "bart", "prior", "pairs", "results"]:
        assert f"runs/demo/{name}" in made


def _without_preset(line):
    return [part for part in line if part not in ("--preset", "demo")]


@pytest.mark.parametrize("name", ["monai_ldm", "cxrgenai_lora", "text_to_xray"])
def test_the_other_systems_take_over_the_demos_models_and_end_in_its_table(name):
    """Equal lines mean that a finished run is taken over, and that all are scored by one classifier."""
    demo = lines_of(ROOT / "experiments" / "cxr_irgen.sh")
    lines = lines_of(ROOT / "experiments" / f"{name}.sh")
    shared = ("prepare_data.py", "train_autoencoder.py", "train_clip.py", "train_classifier.py")
    for script in shared:
        ours = next(line for line in lines if line[0] == script)
        theirs = [line for line in demo if line[0] == script]
        assert _without_preset(ours) in [_without_preset(line) for line in theirs]
    for script in (demo, lines):
        (summary,) = [
            line
            for line in script
            if line[:3] == ["-m", "evaluation", "summary"] and "ablation" not in line[3]
        ]
        assert "runs/demo/systems.md" in summary
    assert lines[-1] == summary
    scored = [line for line in lines if line[:3] == ["-m", "evaluation", "images"]]
    assert f"runs/demo/systems/{name}" in scored[-1]
    assert all("runs/demo/classifier" in line for line in scored)


def test_an_unknown_scale_is_refused():
    script = ROOT / "experiments" / "cxr_irgen.sh"
    environment = {**os.environ, "SCALE": "huge", "PYTHON": "echo"}
    done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "choose demo or paper" in done.stderr


def documented_commands():
    """Command lines of the sh blocks of the README and the pages for users, continued lines joined."""
    pages = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in PAGES)]
    blocks = [
        block for page in pages for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    ]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines = [LAUNCHER.sub("python ", line) for line in lines]
    return sorted({shlex.join(shlex.split(line, comments=True)) for line in lines if "python " in line})


def test_every_page_has_commands():
    for name in PAGES:
        assert "```sh" in (ROOT / "docs" / f"{name}.md").read_text()


@pytest.mark.parametrize("command", documented_commands())
def test_every_documented_command(command, capsys):
    arguments = shlex.split(command)
    assert arguments[0].endswith("python")
    # An estimate measures, which needs models.
    run_line([*(part for part in arguments[1:] if part != "--estimate"), "--dry-run"])
    output = capsys.readouterr().out
    assert '"out"' in output or '"repo"' in output  # where it goes


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    """Files and headings that a page links to are there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, link


@pytest.mark.parametrize("name", TRAINERS)
def test_every_preset(name, capsys):
    script = importlib.import_module(name)
    assert {"demo", "paper"} <= set(script.PRESETS)
    for preset in script.PRESETS:
        script.main(["--preset", preset, "--dry-run"])
        output = capsys.readouterr().out
        config = json.loads(output[: output.index("\n}\n") + 2])
        assert config["train"]["num_steps"] == script.PRESETS[preset].train.num_steps
        assert "steps: " in output
        assert "0 bytes" not in output


def test_help_takes_no_models_along():
    """--help of a script is complete, and names every preset."""
    command = [sys.executable, "train_diffusion_clipUViT.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    for word in ("demo (default), paper", "--fusion", "--drop-reference", "--embed-dim", "--num-steps"):
        assert word in done.stdout
