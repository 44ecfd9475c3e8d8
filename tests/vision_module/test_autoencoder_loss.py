"""The autoencoder's losses and its adversary: known answers, whose gradient goes where, exact resume."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure

import train_autoencoder
from data_module.images import to_images
from runtime.runs import RunFolder
from training.config import TrainConfig
from training.loop import fit
from training.throughput import MEASURED
from vision_module.adversary import (
    FeatureDiscriminator,
    PatchDiscriminator,
    discriminator_loss,
    frozen_logits,
    generator_loss,
)
from vision_module.autoencoder import build_autoencoder, encode_films
from vision_module.autoencoder_loss import AutoencoderLoss
from vision_module.config import AutoencoderConfig, AutoencoderLossConfig
from vision_module.reconstruction import score_reconstruction

TINY = AutoencoderConfig(block_out_channels=(8, 16), latent_channels=3)
ADVERSARIAL = AutoencoderLossConfig(
    adversarial_weight=0.3, discriminator_channels=4, discriminator_layers=2, discriminator_rate=0.5
)


def new_loss(config, adversarial_from=0):
    torch.manual_seed(0)
    return AutoencoderLoss(build_autoencoder(TINY, 16), config, adversarial_from)


@pytest.fixture
def images():
    return torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.usefixtures("float64")
def test_losses_by_hand(images):
    """KL as torch.distributions has it, L1 and MSE as written, and their weighted sum."""
    config = AutoencoderLossConfig(l1_weight=0.7, mse_weight=0.2, edge_weight=0.5, kl_weight=0.01)
    module = new_loss(config)
    losses = module(images, torch.Generator().manual_seed(3))
    posterior = module.autoencoder.encode(images).latent_dist
    normal = torch.distributions.Normal(posterior.mean, posterior.std)
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(losses["kl"], kl.sum() / images.numel())
    output = module.autoencoder.decode(posterior.sample(torch.Generator().manual_seed(3))).sample
    torch.testing.assert_close(losses["l1"], (output - images).abs().mean())
    torch.testing.assert_close(losses["mse"], torch.nn.functional.mse_loss(output, images))
    total = 0.7 * losses["l1"] + 0.2 * losses["mse"] + 0.5 * losses["edges"] + 0.01 * losses["kl"]
    torch.testing.assert_close(losses["loss"], total)
    assert module.groups == ()


@pytest.mark.parametrize(
    ("criterion", "told", "fooled", "generator"),
    [("least-squares", 0.0, 1.0, (1.0, 0.0)), ("hinge", 0.0, 2.0, (1.0, -1.0))],
)
def test_adversarial_losses_have_known_values(criterion, told, fooled, generator):
    """A discriminator that tells all films apart pays nothing; one that is always wrong pays."""
    low = 0.0 if criterion == "least-squares" else -1.0
    film, fake = [torch.ones(2, 1, 3, 3)], [torch.full((2, 1, 3, 3), low)]
    assert discriminator_loss(film, fake, criterion).item() == told
    assert discriminator_loss(fake, film, criterion).item() == fooled
    assert generator_loss(fake, criterion).item() == generator[0]
    assert generator_loss(film, criterion).item() == generator[1]


def test_the_discriminator_sees_patches_of_70_pixels():
    """pix2pix's receptive field: the logit in the middle depends on 70x70 pixels and on no other."""
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=4).eval()
    film = torch.rand(1, 1, 256, 256, requires_grad=True)
    (logits,) = discriminator(film)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    seen = film.grad[0, 0].nonzero()
    assert (seen.max(dim=0).values - seen.min(dim=0).values + 1).tolist() == [70, 70]


@pytest.mark.usefixtures("float64")
def test_each_side_gets_its_own_gradient_alone(images):
    """Of one backward pass: the discriminator's is its own loss, the autoencoder's has none of it."""
    module = new_loss(ADVERSARIAL)
    module(images, torch.Generator().manual_seed(3))["loss"].backward()
    found = {name: weight.grad.clone() for name, weight in module.named_parameters()}

    module.zero_grad()
    autoencoder, discriminator = module.autoencoder, module.discriminator
    posterior = autoencoder.encode(images).latent_dist
    output = autoencoder.decode(posterior.sample(torch.Generator().manual_seed(3))).sample
    discriminator_loss(discriminator(images), discriminator(output.detach()), "least-squares").backward()
    for name, weight in discriminator.named_parameters():
        torch.testing.assert_close(found[f"discriminator.{name}"], weight.grad)

    plain = new_loss(replace(ADVERSARIAL, adversarial_weight=0.0))
    losses = plain(images, torch.Generator().manual_seed(3))
    posterior = plain.autoencoder.encode(images).latent_dist
    output = plain.autoencoder.decode(posterior.sample(torch.Generator().manual_seed(3))).sample
    generator_side = (discriminator.requires_grad_(False)(output)[0] - 1.0).square().mean()
    (losses["loss"] + 0.3 * generator_side).backward()
    for name, weight in plain.autoencoder.named_parameters():
        torch.testing.assert_close(found[f"autoencoder.{name}"], weight.grad)


def test_a_frozen_judgment_trains_nothing(images):
    discriminator = PatchDiscriminator(4, 2)
    film = images.requires_grad_()
    frozen_logits(discriminator, film)[0].sum().backward()
    assert film.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in discriminator.parameters())


class Blocks(torch.nn.Module):
    """Two levels of features, with a norm whose statistics move in training."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 6, 3, 2, 1), torch.nn.BatchNorm2d(6)
        self.deep = torch.nn.Conv2d(6, 4, 3, 2, 1)

    def forward(self, images):
        stem = torch.nn.functional.gelu(self.norm(self.conv(10 * images)))
        return [stem, self.deep(stem)]


def test_a_discriminator_of_features_learns_in_its_heads_alone(images):
    """It learns to tell films from flat ones; the features keep their weights and statistics."""
    torch.manual_seed(0)
    discriminator = FeatureDiscriminator(Blocks(), [6, 4], channels=8)
    before = {name: value.clone() for name, value in discriminator.network.state_dict().items()}
    assert [logits.shape for logits in discriminator(images)] == [(6, 1, 8, 8), (6, 1, 4, 4)]
    optimizer = torch.optim.Adam([p for p in discriminator.parameters() if p.requires_grad], 0.02)
    flat = 0.3 * images
    for _ in range(60):
        loss = discriminator_loss(discriminator(images), discriminator(flat), "hinge")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7  # 1.0 is a guess
    for name, value in discriminator.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    film = flat.clone().requires_grad_()
    optimizer.zero_grad()
    generator_loss(frozen_logits(discriminator, film), "hinge").backward()
    assert film.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in discriminator.parameters())
    # Gradients lead where films look real.
    nearer = film - 20 * film.grad
    assert generator_loss(discriminator(nearer), "hinge") < generator_loss(discriminator(flat), "hinge")


@pytest.mark.usefixtures("float64")
def test_features_that_are_known_are_not_taken_again(images):
    discriminator = FeatureDiscriminator(Blocks(), [6, 4], channels=8).eval()
    films = [images.double().clone().requires_grad_() for _ in range(2)]
    seen = discriminator.look(films[0])
    looks = []
    discriminator.network.register_forward_hook(lambda *_: looks.append(1))
    known = frozen_logits(discriminator, films[0], seen)
    told = discriminator(films[0].detach(), [part.detach() for part in seen])
    assert not looks
    for one, other in zip(known, frozen_logits(discriminator, films[1]), strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(told, discriminator(films[1].detach()), strict=True):
        torch.testing.assert_close(one, other)
    for film, logits in zip(films, (known, frozen_logits(discriminator, films[1])), strict=True):
        generator_loss(logits, "hinge").backward()
        assert film.grad is not None
    torch.testing.assert_close(films[0].grad, films[1].grad)


def test_each_level_of_features_counts_alike():
    levels = [torch.full((1, 1, 8, 8), 2.0), torch.full((1, 1, 2, 2), 0.0)]
    assert generator_loss(levels, "hinge").item() == -1.0
    assert generator_loss(levels, "least-squares").item() == 1.0
    assert discriminator_loss(levels, levels, "least-squares").item() == 0.5 * (1.0 + 2.0)


class Films:
    def __len__(self):
        return 40

    def get_batch(self, indices, generator):
        rows = torch.linspace(-1, 1, 16)[None, None, :, None]
        slopes = torch.as_tensor(indices).float()[:, None, None, None] / 40
        return {"images": (rows * slopes).expand(-1, 1, 16, 16).contiguous()}


@dataclass(frozen=True)
class Config:
    train: TrainConfig = field(default_factory=TrainConfig)


def train(out, loss=ADVERSARIAL, adversarial_from=0, validation=None, **changes):
    settings = {"num_steps": 6, "batch_size": 4, "learning_rate": 3e-3, "mixed_precision": "no", **changes}
    settings = {"warmup_steps": 0, "schedule": "constant", "log_every": 1, **settings}
    config = TrainConfig(**settings)
    run = RunFolder.create(out, "autoencoder", Config(config))
    module = new_loss(loss, adversarial_from)
    start = {name: weight.clone() for name, weight in module.state_dict().items()}

    def save(model, folder):
        model.autoencoder.save_pretrained(folder)

    fit(module, train_autoencoder.objective, Films(), validation, config, run, save, module.groups)
    return run, module, start


def log(run):
    return [json.loads(line) for line in run.metrics_path.read_text().splitlines()]


@pytest.mark.usefixtures("float64")
def test_one_backward_equals_two_optimizers_in_turn(tmp_path):
    """Plain torch, as VQGAN and MONAI step: the autoencoder first, then the discriminator, two AdamWs."""
    run, trained, _ = train(tmp_path / "run", max_grad_norm=0.05)
    assert log(run)[-1]["learning_rate"] == 3e-3
    module = new_loss(ADVERSARIAL)
    autoencoder, discriminator = module.autoencoder, module.discriminator
    settings = {"betas": (0.9, 0.99), "weight_decay": 0.01}

    def optimizer(model, rate):
        matrices = [p for p in model.parameters() if p.ndim >= 2]
        others = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=rate, **settings)

    first, second = optimizer(autoencoder, 3e-3), optimizer(discriminator, 1.5e-3)
    from runtime.generators import make_generator
    from training.loader import StepDataset

    batches = StepDataset(Films(), 4, 0)
    for step in range(6):
        films = batches[step]["images"]
        posterior = autoencoder.encode(films).latent_dist
        output = autoencoder.decode(posterior.sample(make_generator(0, 1, step, 0))).sample
        mean, logvar = posterior.mean, posterior.logvar
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum() / films.numel()
        error = output - films
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        generator_side = (discriminator(output)[0] - 1).square().mean()
        loss = error.abs().mean() + 0.5 * edges + 1e-3 * kl + 0.3 * generator_side
        first.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 0.05)
        first.step()
        second.zero_grad()
        real, fake = discriminator(films)[0], discriminator(output.detach())[0]
        (0.5 * ((real - 1).square().mean() + fake.square().mean())).backward()
        torch.nn.utils.clip_grad_norm_(discriminator.parameters(), 0.05)
        second.step()
    for name, weight in module.named_parameters():
        torch.testing.assert_close(dict(trained.named_parameters())[name], weight)


def test_the_adversary_rests_before_its_step(tmp_path):
    """Until then the discriminator keeps its weights, and the autoencoder trains as without one."""
    plain, without, _ = train(tmp_path / "plain", replace(ADVERSARIAL, adversarial_weight=0.0), num_steps=3)
    _, resting, start = train(tmp_path / "resting", adversarial_from=3, num_steps=3)
    for name, weight in resting.discriminator.state_dict().items():
        assert torch.equal(weight, start[f"discriminator.{name}"]), name
    for name, weight in without.autoencoder.state_dict().items():
        assert torch.equal(weight, resting.autoencoder.state_dict()[name]), name
    run, awake, start = train(tmp_path / "awake", adversarial_from=3, num_steps=5)
    assert ["discriminator_loss" in line for line in log(run)] == [False] * 3 + [True] * 2
    for name, weight in awake.discriminator.named_parameters():
        assert not torch.equal(weight, start[f"discriminator.{name}"]), name
    assert all("generator_loss" not in line for line in log(plain))


def test_resume_with_an_adversary_is_bit_identical(tmp_path, monkeypatch):
    """Stopped at a step before the adversary starts; the same command ends with the same weights and log."""
    settings = {"adversarial_from": 4, "ema_decay": 0.9, "validation": Films(), "num_validation_batches": 2}
    whole, _, _ = train(tmp_path / "whole", **settings)
    plain, calls = train_autoencoder.objective, []

    def stopping(model, batch, generator):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return plain(model, batch, generator)

    monkeypatch.setattr(train_autoencoder, "objective", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", checkpoint_every=3, **settings)
    monkeypatch.setattr(train_autoencoder, "objective", plain)
    run, _, _ = train(tmp_path / "cut", checkpoint_every=3, **settings)
    files = [load_file(part.model_dir / "diffusion_pytorch_model.safetensors") for part in (whole, run)]
    for name, weight in files[0].items():
        assert torch.equal(weight, files[1][name]), name
    lines = [[{k: v for k, v in line.items() if k not in MEASURED} for line in log(r)] for r in (whole, run)]
    assert lines[0] == lines[1]
    assert "validation_discriminator_loss" in lines[0][-1]


@pytest.mark.usefixtures("float64")
def test_reconstruction_scores_against_torchmetrics_and_by_hand():
    """MS-SSIM of its metric class; PSNR and L1 of a constant error of 0.5; SSIM where films are small."""
    generator = torch.Generator().manual_seed(0)
    films = torch.rand(3, 1, 176, 176, generator=generator) - 0.75
    scores = score_reconstruction(films + 0.5, films)
    metric = MultiScaleStructuralSimilarityIndexMeasure(data_range=2.0)
    torch.testing.assert_close(scores["ms_ssim"], metric(films + 0.5, films))
    assert scores["psnr"].item() == pytest.approx(10 * math.log10(4 / 0.25), abs=1e-4)
    assert scores["l1"].item() == pytest.approx(0.5, abs=1e-6)
    small = score_reconstruction(films[..., :64, :64], films[..., :64, :64])
    assert set(small) == {"ssim", "psnr", "l1"}
    assert small["ssim"].item() == pytest.approx(1.0, abs=1e-6)
    assert small["psnr"].item() == pytest.approx(20 * math.log10(2 * 255), abs=1e-3)


def test_scores_do_not_depend_on_autocast():
    """In bfloat16 the windowed variances of a nearly flat film are noise; so they are taken in float32."""
    films = torch.linspace(-0.1, 0.1, 64).expand(2, 1, 64, 64).contiguous()
    noisy = films + 0.01 * torch.randn(films.shape, generator=torch.Generator().manual_seed(0))
    wanted = score_reconstruction(noisy, films)
    with torch.autocast("cpu", torch.bfloat16):
        found = score_reconstruction(noisy, films)
    assert found["ssim"].item() == wanted["ssim"].item()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--perceptual-weight", "0.1"], "--perceptual-weight 0.1 needs --perceptual"),
        (["--adversarial-weight", "1", "--image-size", "16"], "--discriminator-layers 3 needs films of 24"),
    ],
)
def test_bad_settings_are_named(flags, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train_autoencoder.main(["--out", str(tmp_path / "run"), *flags])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("judges", ["patches", "features"])
def test_the_script_with_every_loss(chain, tmp_path, judges):
    """On the classifier's features and with an adversary: plain diffusers loads it, scores are written."""
    out = tmp_path / "run"
    flags = ["--num-steps", "4", "--batch-size", "4", "--block-out-channels", "8", "8", "--log-every", "1"]
    flags += ["--perceptual", chain.run("classifier"), "--perceptual-weight", "0.1", "--latent-channels", "3"]
    flags += ["--adversarial-weight", "0.1", "--adversarial-from", "1", "--discriminator-channels", "4"]
    flags += ["--gradient-accumulation-steps", "2", "--num-validation-batches", "1"]
    flags += ["--discriminator", chain.run("classifier")] if judges == "features" else []
    train_autoencoder.main(["--data", chain.run("data"), "--out", str(out), *flags])
    lines = log(RunFolder.open(out, "autoencoder"))
    assert ["discriminator_loss" in line for line in lines[:4]] == [False, True, True, True]
    scores = {name for name in lines[-1] if name.startswith("validation_reconstruction")}
    assert scores == {f"validation_reconstruction_{name}" for name in ("ssim", "psnr", "l1")}
    names = set(load_file(out / "model" / "diffusion_pytorch_model.safetensors"))
    autoencoder = AutoencoderKL.from_pretrained(out / "model")
    assert names == set(autoencoder.state_dict())
    films = np.arange(0, 256, dtype=np.uint8)[None, :, None].repeat(4, 1)[:, :64].repeat(64, 2)
    assert encode_films(autoencoder, to_images(films))[0].shape[1:] == (3, 32, 32)


def test_a_run_is_fine_tuned_by_its_folder(chain, tmp_path):
    """--init-from takes a run; its scale is kept."""
    out = tmp_path / "tuned"
    flags = ["--num-steps", "1", "--batch-size", "4", "--init-from", chain.run("autoencoder")]
    flags += ["--num-validation-batches", "1", "--warmup-steps", "0"]
    train_autoencoder.main(["--data", chain.run("data"), "--out", str(out), *flags])
    before, after = (
        AutoencoderKL.from_pretrained(Path(path) / "model") for path in (chain.run("autoencoder"), out)
    )
    assert after.config.scaling_factor == before.config.scaling_factor
    assert not torch.equal(after.encoder.conv_in.weight, before.encoder.conv_in.weight)
