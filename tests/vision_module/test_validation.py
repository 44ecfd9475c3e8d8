"""Films drawn in validation: their scores, early stopping by them, and the folds of a denoiser's run."""

import json

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

import train_diffusion_clipUViT
from data_module.pairs import PairsFolder
from training.__main__ import summarize_folds
from vision_module.denoiser_config import FilmScoreConfig
from vision_module.pipeline import VisionModel
from vision_module.validation import FilmScorer, paired_scores


def test_paired_scores_against_scikit_image():
    generator = np.random.default_rng(0)
    films = generator.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    noisy = np.clip(films.astype(int) + generator.integers(-20, 21, films.shape), 0, 255).astype(np.uint8)
    scores = paired_scores(noisy, films)
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(films, noisy, data_range=255), rel=1e-4)
    assert scores["ssim"] < paired_scores(films, films)["ssim"] == pytest.approx(1.0)


def test_scores_repeat_and_leave_the_random_state(chain):
    vision = VisionModel.from_pretrained(chain.run("uvit/model"))
    pairs = PairsFolder.open(chain.run("data")).split("validation")
    asked = []

    def metrics(pixels, films, labels):
        asked.append((pixels.shape, films.shape, labels.shape))
        return {"auroc": 0.5}

    scorer = FilmScorer(lambda model: vision, pairs, FilmScoreConfig(3, 2), metrics, batch_size=2)
    before = torch.get_rng_state()
    first, second = scorer(vision.denoiser), scorer(vision.denoiser)
    assert first == second
    assert set(first) == {"ssim", "psnr", "auroc"}
    assert asked[0] == ((3, 64, 64), (3, 64, 64), (3, 14))
    assert torch.equal(torch.get_rng_state(), before)


def test_folds_of_a_denoiser_with_scores(chain, tmp_path):
    """Two folds of a U-ViT, stopped by FID; their validation rows are others, and the summary reads them."""
    runs = []
    for fold in range(2):
        out = tmp_path / f"uvit_{fold}"
        flags = ["--data", chain.run("data"), "--autoencoder", chain.run("autoencoder")]
        flags += ["--clip", chain.run("clip"), "--cache", str(tmp_path / "cache")]
        flags += ["--embed-dim", "32", "--depth", "3", "--num-heads", "2"]
        flags += ["--num-steps", "4", "--batch-size", "4"]
        flags += f"--folds 2 --fold {fold} --score-films 3 --score-every 2 --score-steps 2".split()
        flags += ["--score-classifier", chain.run("classifier")]
        flags += ["--early-stopping", "fid", "--validate-every", "2"]
        train_diffusion_clipUViT.main([*flags, "--out", str(out)])
        runs.append(out)
    lines = [json.loads(line) for run in runs for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert sum({"validation_ssim", "validation_fid"} <= set(line) for line in lines) == 4
    assert len({line["validation_loss"] for line in lines if "validation_loss" in line}) == 4
    text, best = summarize_folds(runs)
    assert "(best)" in text
    assert best.root in runs
    assert all(f" {name} |" in text for name in ("ssim", "psnr", "fid"))
    assert VisionModel.from_pretrained(runs[0] / "model").image_size == 64
