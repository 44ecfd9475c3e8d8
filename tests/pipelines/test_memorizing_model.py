"""A denoiser trained on a few films for long can be told to have seen them; one trained on others cannot."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import audit_membership
import train_clip
import train_diffusion_clipUViT
from data_module.images import load_images
from data_module.pairs import PairsFolder, write_pairs
from vision_module.autoencoder import build_autoencoder, encode_films, standardize_latents
from vision_module.config import AutoencoderConfig

SIDE, NUM_OTHERS = 32, 40
WORDS = ("heart", "lung", "rib", "hilum", "pleura", "aorta", "spine", "node")
UVIT = ["--embed-dim", "96", "--depth", "3", "--num-heads", "3", "--fusion", "text", "--texts", "prompt"]
LENGTH = ["--num-steps", "200", "--batch-size", "8", "--learning-rate", "2e-3", "--warmup-steps", "20"]
PLAIN = ["--optimizer", "adamw", "--ema-decay", "0", "--mixed-precision", "no", "--image-size", str(SIDE)]


def write_films(root, rng):
    """A pairs folder of smooth films, eight to train on; the others have the same prompts."""
    (root / "images").mkdir(parents=True)
    rows = []
    for number in range(len(WORDS) + NUM_OTHERS):
        field = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 3)
        film = np.clip(128 + 50 * field / field.std(), 0, 255).astype(np.uint8)
        Image.fromarray(film).save(root / f"images/{number}.png")
        text = f"The {WORDS[number % len(WORDS)]}."
        split = "train" if number < len(WORDS) else ("validation", "test")[number % 2]
        row = {
            "file_name": f"images/{number}.png",
            "report": text,
            "patient_id": f"p{number}",
            "split": split,
        }
        rows.append({**row, "prompt": text, "impression_section": text, "findings_section": text})
    return write_pairs(root, rows, {}, "# test")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two data sets, and a U-ViT that was trained on each."""
    root, rng = tmp_path_factory.mktemp("memory"), np.random.default_rng(0)
    torch.manual_seed(0)
    for name in ("first", "second"):
        write_films(root / name, rng)
    films = load_images(PairsFolder.open(root / "first").image_paths, SIDE)
    autoencoder = build_autoencoder(AutoencoderConfig(block_out_channels=(8, 8, 8)), SIDE).eval()
    autoencoder.requires_grad_(False)
    # As of a trained one: latents that differ as much as noise does, and no doubt of them.
    deviation = encode_films(autoencoder, films)[0].std() / autoencoder.config["scaling_factor"]
    channels = autoencoder.config["latent_channels"]
    autoencoder.quant_conv.weight[:channels] /= deviation
    autoencoder.quant_conv.weight[channels:] = 0.0
    autoencoder.quant_conv.bias[channels:] = -20.0
    standardize_latents(autoencoder, films)
    autoencoder.save_pretrained(root / "autoencoder")
    clip = [
        "--width",
        "32",
        "--num-layers",
        "1",
        "--patch-size",
        "16",
        "--num-steps",
        "2",
        "--warmup-steps",
        "0",
    ]
    train_clip.main(["--data", str(root / "first"), "--out", str(root / "clip"), "--batch-size", "8", *clip])
    for name in ("first", "second"):
        encoders = ["--autoencoder", str(root / "autoencoder"), "--clip", str(root / "clip")]
        where = ["--data", str(root / name), "--out", str(root / f"on_{name}")]
        train_diffusion_clipUViT.main([*encoders, *where, *UVIT, *LENGTH, *PLAIN])
    return root


def audit(root, run, out):
    """What the losses of a run say of the first data set."""
    flags = {"vision": root / run, "data": root / "first", "out": out, "num-bootstrap": 200}
    audit_membership.main([part for name, value in flags.items() for part in (f"--{name}", str(value))])
    return json.loads((out / "membership.json").read_text())


def test_films_that_were_trained_on_are_told(trained, tmp_path):
    found = audit(trained, "on_first", tmp_path)
    assert (found["num_members"], found["num_others"]) == (len(WORDS), NUM_OTHERS // 2)
    assert found["told_apart"]
    assert found["figures"]["all levels"]["auroc"]["value"] > 0.95


def test_films_of_another_data_set_are_not(trained, tmp_path):
    found = audit(trained, "on_second", tmp_path)
    assert not found["told_apart"]
    assert found["figures"]["all levels"]["auroc"]["value"] < 0.75
