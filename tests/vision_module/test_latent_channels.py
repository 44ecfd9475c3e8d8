"""Autoencoders of other shapes than the demo's: three latent channels end to end, three image channels."""

import pytest
import torch
from diffusers import AutoencoderKL

import sample_pairs
import train_autoencoder
import train_diffusion_clipSD
import train_diffusion_clipUViT
import train_prior_model
from data_module.images import read_pixels
from data_module.pairs import PairsFolder
from prior_model.prior import ReportPrior
from vision_module.autoencoder_loss import AutoencoderLoss
from vision_module.config import AutoencoderLossConfig
from vision_module.pipeline import VisionModel


@pytest.fixture(scope="module")
def runs(chain, tmp_path_factory):
    """The chain's data and CLIP with an autoencoder of three latent channels, as MONAI's: run folders."""
    root = tmp_path_factory.mktemp("three")
    common = [
        "--data",
        chain.run("data"),
        "--num-steps",
        "1",
        "--batch-size",
        "4",
        "--num-validation-batches",
        "1",
    ]
    shape = ["--latent-channels", "3", "--block-out-channels", "8", "8", "8"]
    train_autoencoder.main([*common, "--out", str(root / "autoencoder"), *shape])
    encoders = ["--autoencoder", str(root / "autoencoder"), "--cache", chain.run("cache")]
    text = ["--clip", chain.run("clip")]
    size = ["--embed-dim", "32", "--depth", "3", "--num-heads", "2"]
    train_diffusion_clipUViT.main([*common, *encoders, *text, "--out", str(root / "uvit"), *size])
    size = ["--block-out-channels", "32", "64"]
    train_diffusion_clipSD.main([*common, *encoders, *text, "--out", str(root / "sd"), *size])
    size = ["--language", chain.run("bart"), "--dim", "32", "--depth", "1", "--num-heads", "2"]
    train_prior_model.main([*common, *encoders, "--out", str(root / "prior"), *size])
    return {name: str(root / name) for name in ("uvit", "sd", "prior")}


@pytest.mark.parametrize("denoiser", ["uvit", "sd"])
def test_three_latent_channels_from_films_to_pairs(chain, runs, denoiser, tmp_path):
    vision = VisionModel.from_pretrained(runs[denoiser] + "/model")
    assert vision.latent_shape == (3, 16, 16)
    assert vision.image_size == 64
    assert ReportPrior.from_pretrained(runs["prior"] + "/model").config.latent_channels == 3
    flags = {"vision": runs[denoiser], "prior": runs["prior"], "num_pairs": 2, "batch_size": 2}
    sample_pairs.main(chain.sample_flags(tmp_path / "pairs", **flags))
    pairs = PairsFolder.open(tmp_path / "pairs")
    assert [read_pixels(path).shape for path in pairs.image_paths] == [(64, 64)] * 2


@pytest.mark.usefixtures("float64")
def test_a_color_autoencoder_is_trained_on_gray_films(tmp_path):
    """Stable Diffusion's shape: adversary and scores see the mean of the three channels that come out."""
    torch.manual_seed(0)
    color = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, layers_per_block=1)
    config = AutoencoderLossConfig(adversarial_weight=0.1, discriminator_channels=4, discriminator_layers=1)
    module = AutoencoderLoss(color, config)
    films = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    module(films, torch.Generator().manual_seed(1))["loss"].backward()
    assert color.decoder.conv_out.weight.grad.flatten(1).norm(dim=1).min().item() > 0
    with torch.no_grad():
        losses = module.eval()(films, torch.Generator().manual_seed(1))
        gray = color.decode(color.encode(films.expand(-1, 3, -1, -1)).latent_dist.mode()).sample.mean(dim=1)
    wanted = (gray[:, None].clamp(-1, 1) - films).abs().mean()
    torch.testing.assert_close(losses["reconstruction_l1"], wanted)
