"""Flow matching against closed forms: a normal distribution has an exact velocity on straight paths."""

import json

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn

from vision_module.diffusion import (
    NUM_TIMESTEPS,
    DiffusionConfig,
    make_noising,
    make_objective,
    make_scheduler,
)
from vision_module.pipeline import load_scheduler
from vision_module.sampling import FLOW_SOLVERS, denoise, left_timesteps, make_solver, warn_of_few_steps

MEAN, STD = 0.7, 0.4
FLOW = DiffusionConfig(prediction_type="flow", drop_prompt=0.0, drop_reference=0.0)


class ExactVelocity(nn.Module):
    """E[noise - latents | sample] for latents ~ N(MEAN, STD^2) and sample = (1 - t) latents + t noise."""

    shift = 0.0

    def forward(self, sample, timestep, encoder_hidden_states):
        t = (torch.as_tensor(timestep) / NUM_TIMESTEPS).expand(len(sample))[:, None, None, None]
        centered = sample - (1 - t) * MEAN
        variance = (1 - t).square() * STD**2 + t.square()
        latents = MEAN + (1 - t) * STD**2 / variance * centered
        return UNet2DConditionOutput(sample=t / variance * centered - latents + self.shift)


@pytest.mark.parametrize(
    ("solver", "num_steps"), [("dpm-solver++", 15), ("unipc", 15), ("euler", 150), ("heun", 15)]
)
def test_every_solver_samples_the_normal_distribution(solver, num_steps):
    noise = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context = torch.zeros(64, 1, 4)
    steps = make_solver(solver, make_scheduler(FLOW), num_steps)
    latents = denoise(ExactVelocity(), steps, noise, context, context, 1.0)
    assert latents.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert latents.std().item() == pytest.approx(STD, abs=0.02)
    # On straight paths the order of the items stays: the map is MEAN + STD * noise.
    assert (latents - (MEAN + STD * noise)).abs().max() < 0.1


@pytest.mark.parametrize(("num_steps", "kept"), [(6, 0.864), (8, 0.942), (15, 1.010)])
def test_steps_that_lose_the_deviation_are_warned_of(num_steps, kept, capsys):
    """8 lose a twentieth, which films drawn in 8 and in 15 do not show; fewer are warned of."""
    noise = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context, schedule = torch.zeros(64, 1, 4), make_scheduler(FLOW)
    steps = make_solver("dpm-solver++", schedule, num_steps)
    latents = denoise(ExactVelocity(), steps, noise, context, context, 1.0)
    warn_of_few_steps("dpm-solver++", schedule, num_steps)
    warn_of_few_steps("few-step", schedule, 1)  # students take the steps they were trained for
    assert (latents.std() / (STD * noise.std())).item() == pytest.approx(kept, abs=0.005)
    lost = latents.std() < 0.95 * STD * noise.std()
    assert lost == (num_steps < 15)
    assert capsys.readouterr().err.count("flow matching are even in time") == (num_steps < 8)


@pytest.mark.parametrize("strength", [0.3, 0.8])
@pytest.mark.parametrize("solver", FLOW_SOLVERS)
def test_image_to_image_starts_between_film_and_noise(solver, strength):
    """The start lies on the straight path from film to noise; the exact map takes it to a film of its own."""
    unit = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(unit.shape, generator=torch.Generator().manual_seed(0))
    context, film = torch.zeros(64, 1, 4), MEAN + STD * unit
    steps = make_solver(solver, make_scheduler(FLOW), 100 if solver in ("euler", "few-step") else 20)
    latents = denoise(ExactVelocity(), steps, noise, context, context, 1.0, start=film, strength=strength)
    t = left_timesteps(steps, strength)[0][0].item() / NUM_TIMESTEPS
    assert t == pytest.approx(strength, abs=0.06)
    scale = ((1 - t) ** 2 * STD**2 + t**2) ** 0.5
    expected = MEAN + STD * ((1 - t) * STD * unit + t * noise) / scale
    assert (latents - expected).abs().max() < 0.05


@pytest.mark.parametrize("time_sampling", ["uniform", "logit-normal"])
def test_no_velocity_beats_the_exact_one(time_sampling):
    """Its loss is the variance of noise - latents given the sample, mean over the times; a shift adds its
    square."""
    config = DiffusionConfig(
        prediction_type="flow", time_sampling=time_sampling, drop_prompt=0.0, drop_reference=0.0
    )
    mean = MEAN + STD * torch.randn(4000, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    batch = {
        "latents_mean": mean,
        "latents_std": torch.zeros_like(mean),
        "text": torch.zeros(4000, 1, 4),
        "reference": torch.zeros(4000, 4),
    }
    objective = make_objective(config, torch.zeros(1, 1, 4))
    exact, shifted = ExactVelocity(), ExactVelocity()
    shifted.shift = 0.1
    losses = [
        objective(model, batch, torch.Generator().manual_seed(0))["loss"].item() for model in (exact, shifted)
    ]
    places = (torch.arange(20_000) + 0.5) / 20_000
    t = places if time_sampling == "uniform" else torch.special.ndtri(places).sigmoid()
    expected = (STD**2 / ((1 - t).square() * STD**2 + t.square())).mean().item()
    assert losses[0] == pytest.approx(expected, rel=0.02)
    assert losses[1] == pytest.approx(losses[0] + 0.01, abs=0.003)


def test_logit_normal_times_have_the_density_of_sd3():
    """Half of them lie where a standard normal's logistic does: between .338 and .662."""
    noising = make_noising(DiffusionConfig(prediction_type="flow", time_sampling="logit-normal"))
    places = (torch.arange(1000) + 0.5) / 1000
    latents = torch.ones(1000, 1, 1, 1)
    noised = noising(latents, torch.zeros_like(latents), places)
    t = noised.timesteps / NUM_TIMESTEPS
    middle = ((t > 0.3375) & (t < 0.6625)).float().mean().item()
    assert middle == pytest.approx(0.5, abs=0.01)
    assert torch.allclose(noised.sample.flatten(), 1 - t)
    assert torch.isfinite(make_unit_ends(noising)).all()


def make_unit_ends(noising):
    latents = torch.ones(2, 1, 1, 1)
    return noising(latents, torch.zeros_like(latents), torch.tensor([0.0, 1.0 - 1e-7])).timesteps


def test_settings_without_meaning_are_refused():
    for wrong, named in (
        ({"prediction_type": "flow", "min_snr_gamma": 5.0}, "--min-snr-gamma"),
        ({"prediction_type": "flow", "zero_terminal_snr": True}, "--zero-terminal-snr"),
        ({"time_sampling": "logit-normal"}, "--time-sampling logit-normal needs"),
    ):
        with pytest.raises(ValueError) as error:
            make_scheduler(DiffusionConfig(**wrong))
        assert named in str(error.value)
    with pytest.raises(ValueError, match=r"--solver 'ddim'.*flow"):
        make_solver("ddim", make_scheduler(FLOW), 10)
    with pytest.raises(ValueError, match="--solver 'heun'"):
        make_solver("heun", make_scheduler(DiffusionConfig()), 10)


def test_the_schedule_comes_back_as_it_was_saved(tmp_path):
    for config, wanted in ((FLOW, "FlowMatchEulerDiscreteScheduler"), (DiffusionConfig(), "DDPMScheduler")):
        folder = tmp_path / wanted
        make_scheduler(config).save_pretrained(folder / "scheduler")
        assert type(load_scheduler(folder)).__name__ == wanted
    folder = tmp_path / FlowMatchEulerDiscreteScheduler.__name__ / "scheduler"
    saved = json.loads((folder / "scheduler_config.json").read_text())
    assert saved["num_train_timesteps"] == NUM_TIMESTEPS


@pytest.mark.parametrize("solver", FLOW_SOLVERS)
def test_the_estimate_of_each_step_is_what_the_velocity_means(solver, monkeypatch):
    """A velocity that knows the film leads to it from every place of the path."""
    monkeypatch.setattr("test_flow.STD", 0.0)
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context, shown = torch.zeros(2, 1, 4), []
    steps = make_solver(solver, make_scheduler(FLOW), 6)
    denoise(ExactVelocity(), steps, noise, context, context, 1.0, on_step=shown.append)
    assert len(shown) == len(steps.timesteps)
    for estimate in shown:
        assert estimate == pytest.approx(torch.full_like(estimate, MEAN), abs=2e-3)
