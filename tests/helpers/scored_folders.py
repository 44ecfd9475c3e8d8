"""Tiny folders for a whole evaluation: real films, synthetic ones, darker ones, a classifier."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data_module.findings import prompt_sentence
from data_module.pairs import PairsFolder, write_pairs
from vision_module.classifier import ResNetSize, build_classifier, save_classifier

REPORTS = {
    "Cardiomegaly": "The heart is enlarged. Cardiomegaly.",
    "Pleural Effusion": "There is a small left pleural effusion.",
    "Pneumothorax": "There is a right pneumothorax.",
}


def write_random_pairs(
    folder: Path,
    num: int,
    seed: int,
    splits: tuple[str, ...] = ("train", "test"),
    highest: int = 256,
    **extra: object,
) -> PairsFolder:
    """Films of noise below `highest`, two of each patient, with a finding each; `extra`: further columns."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(num):
        finding = list(REPORTS)[number % 3]
        pixels = rng.integers(0, highest, (32, 32)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        labels = {name: 1.0 if name == finding else 0.0 for name in REPORTS} | {"Edema": -1.0}
        rows.append(
            {
                "file_name": f"images/{number}.png",
                "report": REPORTS[finding],
                "patient_id": f"p{seed}_{number // 2}",
                "study_id": f"s{number}",
                "split": splits[(number // 2) % len(splits)],
                "prompt": prompt_sentence(labels),
                **labels,
                **extra,
            }
        )
    return write_pairs(folder, rows, {}, "# test")


def write_scored_folders(root: Path) -> Path:
    """root/real, synthetic (with heldout_reports.csv, which repeats the real reports), dark, run."""
    real = write_random_pairs(root / "real", 48, 0)
    write_random_pairs(root / "synthetic", 21, 1, ("test",))
    write_random_pairs(root / "dark", 21, 1, ("test",), 128)
    held_out = real.split("test").table
    held_out[["report", "file_name"]].to_csv(root / "synthetic/heldout_reports.csv", index=False)
    torch.manual_seed(0)
    model = build_classifier(ResNetSize(8, (8, 12), (1, 1))).eval()
    run = root / "run"
    run.mkdir()
    (run / "config.json").write_text('{"kind": "classifier", "config": {}}')
    save_classifier(model, run / "model", 32, {})
    return root
