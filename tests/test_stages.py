"""An experiment counts its stages, tells what is left, and is dry-run as one table."""

import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.device_speed import DEVICES, Device
from experiments.dry_run import count_training, describe_stage, list_missing, show_count
from experiments.where_from import ORIGINS, find_origin

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.sh"))


def run(script, before=None, **environment):
    return subprocess.run(
        ["bash", str(ROOT / "experiments" / script)],
        preexec_fn=before,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("lanes", ["1", "2"])
@pytest.mark.parametrize("script", [path.name for path in EXPERIMENTS])
def test_every_stage_is_counted(tmp_path, script, lanes):
    """With a command in the place of Python that does nothing, each line says its place among all."""
    asked = {"DATA": "no/such/data", "OUT": str(tmp_path), "ABLATION": "1", "FILTER": "1"}
    done = run(script, PYTHON="true", LANES=lanes, **asked)
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout + "".join(path.read_text() for path in tmp_path.glob("*.log"))
    stages = re.findall(r"^== stage (\d+) of (\d+): \S+, about \d+ (?:s|min) left$", printed, re.MULTILINE)
    listed = run(script, PYTHON="echo LINE", DRY_RUN="1", **asked)
    count = len(re.findall(r"^LINE ", listed.stdout, re.MULTILINE))
    numbers = [int(number) for number, _ in stages]
    assert (numbers if lanes == "1" else sorted(numbers)) == list(range(1, count + 1))
    assert {int(total) for _, total in stages} == {count}


# In the place of Python: notes what it is called with, and does what a file of that name beside it says. One
# that fails does so once the one that its file names waits.
STAND_IN = """#!/usr/bin/env bash
cd "$(dirname "$0")"
echo "$1 $OMP_NUM_THREADS" >>called
if [ -e "$1.fails" ]; then
  for _ in {1..600}; do [ -e "$(cat "$1.fails").waiting" ] && break; sleep 0.1; done
  echo "error: no $1"
  exit 2
fi
if [ -e "$1.waits" ]; then
  trap 'echo "$1" >>ended; exit 143' TERM
  touch "$1.waiting"
  sleep 60 >/dev/null 2>&1 & # which holds no pipe of ours open
  wait $!
fi
"""


@pytest.fixture
def stand_in(tmp_path):
    path = tmp_path / "python"
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return path


def ignore_interrupts():
    """As what a shell runs in the background does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("background", [False, True])
def test_a_failing_lane_ends_the_other(tmp_path, stand_in, background):
    (tmp_path / "train_bart.py.fails").write_text("train_diffusion_clipUViT.py")
    (tmp_path / "train_diffusion_clipUViT.py.waits").touch()
    settings = {"PYTHON": str(stand_in), "OUT": str(tmp_path), "LANES": "2", "OMP_NUM_THREADS": "3"}
    done = run("cxr_irgen.sh", ignore_interrupts if background else None, **settings)
    assert done.returncode == 2
    assert f"reports ({tmp_path}/reports.log): error: no train_bart.py" in done.stderr
    assert (tmp_path / "ended").read_text() == "train_diffusion_clipUViT.py\n"
    called = (tmp_path / "called").read_text().splitlines()
    assert {line.split()[0] for line in called}.isdisjoint(("train_prior_model.py", "sample_pairs.py"))
    assert {line.split()[1] for line in called} == {"3"}, "the user's number of threads"


def test_only_stages_beside_each_other_share_the_cores(tmp_path, stand_in):
    shared = {"PYTHON": str(stand_in), "OUT": str(tmp_path), "LANES": "2"}
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    script = ["bash", str(ROOT / "experiments/cxr_irgen.sh")]
    assert subprocess.run(script, env={**environment, **shared}, check=False).returncode == 0
    called = dict(line.split(" ") for line in (tmp_path / "called").read_text().splitlines())
    assert called["train_diffusion_clipUViT.py"] == called["train_bart.py"] == "1"
    assert called["prepare_data.py"] == called["sample_pairs.py"] == ""


@pytest.mark.parametrize(
    ("flags", "minutes"), [("avx512_bf16 amx_bf16", 10), ("avx2 avx512_bf16", 14), ("avx2", 50)]
)
def test_the_time_that_is_told_knows_of_bfloat16(tmp_path, flags, minutes):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    done = run("cxr_irgen.sh", PYTHON="true", OUT=str(tmp_path), CPUINFO=str(tmp_path / "cpuinfo"), LANES="2")
    (told,) = re.findall(r"^== stage 1 of \d+: .*, about (\d+) min left$", done.stdout, re.MULTILINE)
    assert abs(int(told) - minutes) <= minutes // 10


def test_ctrl_c_reaches_both_lanes(tmp_path, stand_in):
    names = ["train_autoencoder.py", "train_clip.py"]
    for name in names:
        (tmp_path / f"{name}.waits").touch()
    environment = {**os.environ, "PYTHON": str(stand_in), "OUT": str(tmp_path), "LANES": "2"}
    process = subprocess.Popen(
        ["bash", str(ROOT / "experiments" / "cxr_irgen.sh")],
        env=environment,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 60
    while not all((tmp_path / f"{name}.waiting").exists() for name in names):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert sorted((tmp_path / "ended").read_text().split()) == names


def test_a_failing_stage_ends_the_experiment():
    done = run("cxr_irgen.sh", PYTHON="false", OUT="no/such/out")
    assert done.returncode == 1
    assert done.stdout.count("== stage") == 1
    assert "things to look at" not in done.stdout


@pytest.mark.parametrize("settings", [{}, {"OUT": "no/such/out"}, {"QUICK": "1"}])
def test_the_demo_ends_with_what_to_look_at(settings, capsys):
    done = run("cxr_irgen.sh", PYTHON="true", LANES="1", **settings)
    text = done.stdout[done.stdout.index("Four things to look at:") :]
    out = settings.get("OUT", "runs/quick" if settings else "runs/demo")
    assert text.count("\n  ") == 4
    for name in (f"{out}/pairs/contact_sheet.png", f"{out}/results/report.html", f"--out {out}/effusion"):
        assert name in text
    assert ("make app" in text) == (not settings)
    commands = re.findall(r"\.venv/bin/python (\S+\.py .*?)(?:  |$)", text, re.MULTILINE)
    assert len(commands) == 1 + bool(settings)
    for command in commands:
        script, *flags = shlex.split(command)
        importlib.import_module(script.removesuffix(".py")).main([*flags, "--dry-run"])
        assert f"{out}/uvit" in capsys.readouterr().out


def test_the_quick_chain_is_the_same_in_fewer_steps():
    whole, quick = (
        run("cxr_irgen.sh", PYTHON="echo LINE", **more).stdout.partition("\nFour things")[0]
        for more in ({}, {"QUICK": "1"})
    )
    shortened = re.sub(r" --num-(?:steps|studies) \d+", "", quick).replace("runs/quick", "runs/demo")
    assert shortened.replace("--num-pairs 64", "--num-pairs 256") == whole
    assert quick.count("--num-steps") == quick.count("train_") == 7
    at_full_size = run("cxr_irgen.sh", PYTHON="echo LINE", QUICK="1", SCALE="paper", DATA="a", OUT="b").stdout
    assert "--num-steps" not in at_full_size


@pytest.mark.parametrize("scale", ["demo", "paper"])
@pytest.mark.slow
def test_a_dry_run_is_a_line_a_stage(scale):
    done = run("cxr_irgen.sh", PYTHON=sys.executable, DRY_RUN="1", SCALE=scale, DATA="no/such/data")
    assert done.returncode == 0, done.stderr
    table, _, summary = done.stdout.strip().partition("\n\n")
    lines = table.splitlines()
    assert all(re.match(rf" *{place}/{len(lines)} \S", line) for place, line in enumerate(lines, start=1))
    by_name = {line.split()[1]: line for line in lines}
    assert re.search(r"[\d,]+ steps of \d+", by_name["train_diffusion_clipUViT.py"])
    assert re.search(r" [\d.]+ (kB|MB|GB) without activations", by_name["train_bart.py"])
    assert "0.00 GB" not in done.stdout
    assert re.search(r" \d+(\.\d)? (s|min|h|days) here", by_name["train_diffusion_clipUViT.py"])
    assert re.search(r"training in all: about .*\non one GPU, .*A100 \d", summary)
    if scale == "paper":
        assert "needs --data no/such/data" in by_name["train_classifier.py"]
        assert "25,000 steps of 32: 10 epochs if of 80,000" in by_name["train_diffusion_clipUViT.py"]
        assert "facebook/bart-base" in by_name["train_bart.py"], "its preset names it, and no flag"
        assert "  --data no/such/data: a pairs folder, as prepare_data.py makes it" in summary
        assert f"  facebook/bart-base of the Hugging Face hub: {ORIGINS['facebook/bart-base']}" in summary
        assert (
            "openai/clip-vit-large-patch14 of the Hugging Face hub" in by_name["train_diffusion_clipUViT.py"]
        )


def test_a_stage_that_cannot_run_is_said():
    lines = "LINE train_bart.py --preset none --dry-run\nLINE prepare_data.py demo --out a --dry-run\n"
    command = [sys.executable, "-m", "experiments.dry_run"]
    done = subprocess.run(command, input=lines, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: --preset 'none'" in done.stdout
    assert " 2/2 prepare_data.py -> a: ready" in done.stdout
    assert "1 of 2 stages cannot run" in done.stderr


def test_what_a_dry_run_prints_becomes_a_line():
    text = '{\n  "train": {"num_steps": 1200, "batch_size": 8},\n  "num_epochs": 0\n}\n'
    text += (
        "bart: Bart, 2,345,678 parameters, trained\nmemory of weights, gradients and optimizer: 38 MB, more"
    )
    assert describe_stage(text) == ["1,200 steps of 8", "bart 2.3 M trained", "38 MB without activations"]
    assert describe_stage(text.replace("38 MB", "0 bytes"))[-1] == "bart 2.3 M trained"
    assert [show_count(count) for count in (12, 3400, 5_600_000_000)] == ["12", "3.4 k", "5.6 G"]


def test_what_is_missing_is_named(tmp_path):
    arguments = [
        "x.py",
        "--data",
        str(tmp_path),
        "--prior",
        "runs/made",
        "--clip",
        "org/name",
        "--real",
        "gone",
    ]
    assert list_missing(arguments, ["runs/made"]) == ["--real gone", "org/name of the Hugging Face hub"]
    words = ["x.py", "--model", "retrieval", "--features", "films"]
    assert list_missing(words, []) == []
    assert list_missing(["x.py", "--images", "films"], []) == ["--images films"]
    weights = ["x.py", "--perceptual", "timm:tf_efficientnet_lite0:no/such.pth"]
    assert list_missing(weights, []) == [f"--perceptual {weights[-1]}"]
    assert find_origin(weights[-1]) == str(ORIGINS["tf_efficientnet_lite0"])


def test_epochs_are_steps_where_the_rows_are_there():
    """10 epochs of 1,000 rows by 2 x 8: 625 steps; of 80,000 where there are none to count."""
    train = {"num_steps": 1, "batch_size": 8, "gradient_accumulation_steps": 2}
    head = f"{json.dumps({'train': train, 'num_epochs': 10.0}, indent=2)}\n"
    there = head + "steps: 625 of 16 items: 10 epochs of 1,000\nwork: 3,000 operations\n"
    gone = head + "steps: 10 epochs of 16 items a step; as many as --data has\nwork: 3,000 operations\n"
    assert describe_stage(there) == ["625 steps of 8: 10 epochs of 1,000"]
    assert count_training(there) == (625 * 16 * 3000, 625)
    assert describe_stage(gone) == ["50,000 steps of 8: 10 epochs if of 80,000"]
    assert count_training(gone) == (800_000 * 3000, 50_000)
    assert count_training(head + "steps: 625 of 16 items\n") is None


def test_time_is_by_operations_or_by_steps():
    assert Device(1e12, 0.01).training_s(3e13, 50) == pytest.approx(100)  # 0.3 of the peak
    assert Device(1e12, 0.01).training_s(3e9, 5000) == pytest.approx(50)
    times = [device.training_s(1e18, 1000) for device in DEVICES.values()]
    assert times == sorted(times, reverse=True)


def test_the_page_tells_where_weights_come_from_as_the_dry_run_does():
    page = (ROOT / "docs/reproduce.md").read_text()
    for name, origin in ORIGINS.items():
        (line,) = (line for line in page.splitlines() if line.startswith("|") and name in line)
        assert origin.size in line, name
        assert origin.terms in line, name
        assert origin.url in line, name
