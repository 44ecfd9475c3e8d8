"""The losses of ten steps of every training script, in float64 at tiny sizes, against golden files.

After a change that is meant to change them: `pytest tests/test_golden_losses.py --renew`. What changed shows
in `git diff`, and belongs into the commit's message.
"""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.float64 import in_float64
from PIL import Image

from data_module.findings import FINDINGS
from data_module.pairs import write_pairs
from training.throughput import FLOPS, MEASURED

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden"
SIDE = 32
# Not of the mathematics: the speed of the machine, and the work that its kernels do.
APART = (FLOPS, *MEASURED)

COMMON = "--num-steps 10 --batch-size 4 --warmup-steps 2 --learning-rate 1e-3 --log-every 1"
COMMON += " --ema-decay 0.9 --mixed-precision no --validate-every 5 --num-validation-batches 2"
MODELS = "--autoencoder {root}/train_autoencoder --clip {root}/train_clip --cache {root}/cache"
BART = "--vocab-size 400 --d-model 16 --ffn-dim 32 --num-heads 2 --num-embeddings 2 --max-tokens 64"
# Script -> flags, in the order in which they need each other.
SCRIPTS = {
    "train_autoencoder": f"--image-size {SIDE} --block-out-channels 8 8 8 --mse-weight 0.5"
    " --adversarial-weight 0.1 --adversarial-from 4 --discriminator-channels 4 --discriminator-layers 2",
    "train_clip": f"--image-size {SIDE} --vocab-size 400 --width 16 --num-layers 1 --patch-size 8",
    "train_classifier": f"--image-size {SIDE} --hidden-sizes 8 16 --depths 1 1 --embedding-size 8",
    "train_diffusion_clipUViT": f"{MODELS} --image-size {SIDE} --embed-dim 16 --depth 3 --num-heads 2"
    " --optimizer muon --prediction-type v_prediction --time-sampling uniform --min-snr-gamma 5",
    "train_diffusion_clipSD": f"{MODELS} --image-size {SIDE} --block-out-channels 8 16 --num-heads 2"
    " --fusion concat --text-tokens all --zero-terminal-snr",
    "distill_diffusion": "--teacher {root}/train_diffusion_clipUViT --cache {root}/cache --num-paths 24"
    " --num-validation-paths 8 --teacher-steps 8 --optimizer muon",
    "train_text_to_latent": f"{MODELS} --image-size {SIDE} --hidden-dim 16 --gradient-accumulation-steps 2",
    "train_bart": f"{BART} --segments --optimizer muon",
    "train_prior_model": "--autoencoder {root}/train_autoencoder --language {root}/train_bart"
    " --cache {root}/cache --dim 16 --num-heads 2 --stem-channels 8 --dropout 0.1 --decoder-loss-weight 1"
    " --findings-weight 1 --tune-decoder",
    "train_report_gpt": "--encoder {root}/train_classifier"
    " --vocab-size 400 --dim 16 --depth 1 --num-heads 2 --num-prefix 2 --mapping-depth 1"
    " --mapping-heads 2 --max-tokens 64",
}


def write_golden_pairs(root: Path, num_studies: int = 24) -> None:
    """A pairs folder of its own, from whole numbers alone: the demo's films and words may change."""
    (root / "images").mkdir(parents=True)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    rows = []
    for number in range(num_studies):
        film = 4 * across + 2 * down + 3 * number
        left, size = number % 5 * 4, 6 + number % 3 * 5
        film[8 : 8 + size, left : left + size] += 60
        name = f"images/{number:02d}.png"
        Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(root / name)
        present, absent = FINDINGS[1 + number % 5], FINDINGS[6 + number % 4]
        findings = f"There is {present.lower()} of size {size}. There is no {absent.lower()}."
        rows.append(
            {
                "file_name": name,
                "report": f"FINDINGS: {findings} IMPRESSION: {present}.",
                "findings_section": findings,
                "impression_section": f"{present}.",
                "patient_id": f"p{number}",
                "study_id": f"s{number}",
                "view": "PA",
                "split": ("train", "train", "train", "validation")[number % 4],
                "prompt": f"A chest X ray image with {present.lower()}, without {absent.lower()}",
                present: 1,
                absent: 0,
                FINDINGS[10 + number % 3]: -1,
            }
        )
    write_pairs(root, rows, {}, "")


def train(script: str, root: Path) -> list[dict[str, float]]:
    """Run a training script in `root`, where those that it needs have run; the lines of its log."""
    flags = f"--data {root}/data --out {root}/{script} {COMMON} {SCRIPTS[script].format(root=root)}"
    with in_float64():
        importlib.import_module(script).main(flags.split())
    lines = (root / script / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in APART} for line in lines]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Script -> its log."""
    root = tmp_path_factory.mktemp("golden")
    write_golden_pairs(root / "data")
    return {script: train(script, root) for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS)
def test_losses_are_those_of_the_golden_file(script, logs, request):
    path = GOLDEN / f"{script}.json"
    if request.config.getoption("--renew"):
        path.write_text("[\n" + ",\n".join(json.dumps(line) for line in logs[script]) + "\n]\n")
    golden = json.loads(path.read_text())
    assert [line["step"] for line in logs[script]] == [line["step"] for line in golden]
    for line, expected in zip(logs[script], golden, strict=True):
        assert line == pytest.approx(expected, rel=1e-9, abs=1e-12), f"step {line['step']}"


def test_every_training_script_has_a_golden_file():
    scripts = {path.stem for kind in ("train", "distill") for path in ROOT.glob(f"{kind}_*.py")}
    assert set(SCRIPTS) == scripts == {path.stem for path in GOLDEN.glob("*.json")}
