"""The objective and the solvers against closed forms: a normal distribution has an exact denoiser."""

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn

from vision_module.config import DiffusionConfig
from vision_module.diffusion import loss_weights, make_objective, make_scheduler
from vision_module.sampling import SOLVERS, denoise, draw_noise, make_solver, warn_of_few_steps

MEAN, STD = 0.7, 0.4


class ExactDenoiser(nn.Module):
    """The posterior mean of latents ~ N(context, STD^2), as velocity or noise.

    x_t = a x + s e gives E[x | x_t] = m + a STD^2 / (a^2 STD^2 + s^2) (x_t - a m), with m the context.
    """

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("alphas", make_scheduler(config).alphas_cumprod)

    def forward(self, sample, timestep, encoder_hidden_states):
        timestep = torch.as_tensor(timestep).long()  # Euler has float timesteps
        alpha = self.alphas[timestep].sqrt().expand(len(sample))[:, None, None, None]
        sigma = (1 - alpha.square()).sqrt()
        mean = encoder_hidden_states[:, :1, :1, None]
        gain = alpha * STD**2 / (alpha.square() * STD**2 + sigma.square())
        latents = mean + gain * (sample - alpha * mean)
        noise = (sample - alpha * latents) / sigma
        velocity = alpha * noise - sigma * latents
        return UNet2DConditionOutput(
            sample=velocity if self.config.prediction_type == "v_prediction" else noise
        )


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_samples_the_normal_distribution(solver, prediction_type):
    config = DiffusionConfig(prediction_type=prediction_type)
    noise = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context = torch.full((64, 1, 4), MEAN)
    steps = make_solver(solver, make_scheduler(config), 50)
    latents = denoise(ExactDenoiser(config), steps, noise, context, context, 1.0)
    # The schedule's last noise level keeps a trace of signal, hence the tolerance.
    assert latents.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert latents.std().item() == pytest.approx(STD, abs=0.05)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("solver", ["dpm-solver++", "unipc"])
@pytest.mark.parametrize("num_steps", [1, 2, 8, 10, 15, 100])
def test_few_steps_keep_the_deviation(solver, prediction_type, num_steps):
    """With steps even in time, 15 would leave 0.33 of the deviation of 0.4: films smoother than they are."""
    config = DiffusionConfig(prediction_type=prediction_type)
    noise = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context = torch.full((64, 1, 4), MEAN)
    steps = make_solver(solver, make_scheduler(config), num_steps)
    assert len(steps.timesteps) == num_steps
    latents = denoise(ExactDenoiser(config), steps, noise, context, context, 1.0)
    assert latents.mean().item() == pytest.approx(MEAN, abs=0.05)
    if num_steps > 2:
        tolerance = 0.015 if num_steps >= 10 else 0.02
        assert latents.std().item() == pytest.approx(STD * noise.std().item(), abs=tolerance)


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("num_steps", [6, 8, 14])
def test_steps_that_lose_the_deviation_are_warned_of(zero_terminal_snr, num_steps, capsys):
    config = DiffusionConfig(prediction_type="v_prediction", zero_terminal_snr=zero_terminal_snr)
    schedule = make_scheduler(config)
    noise = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context = torch.full((64, 1, 4), MEAN)
    steps = make_solver("dpm-solver++", schedule, num_steps)
    latents = denoise(ExactDenoiser(config), steps, noise, context, context, 1.0)
    warn_of_few_steps("dpm-solver++", schedule, num_steps)
    lost = latents.std() < 0.9 * STD * noise.std()
    assert lost == zero_terminal_snr
    assert (f"--num-inference-steps {num_steps}" in capsys.readouterr().err) == lost


def test_guidance_moves_the_mean_by_its_scale():
    """With equal deviations, guidance w samples around null + w (conditional - null)."""
    config = DiffusionConfig()
    noise = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context, null = torch.full((64, 1, 4), 0.5), torch.full((64, 1, 4), 0.1)
    results = {}
    for scale in (0.0, 1.0, 3.0):
        steps = make_solver("dpm-solver++", make_scheduler(config), 30)
        results[scale] = denoise(ExactDenoiser(config), steps, noise, context, null, scale).mean().item()
    # The mean follows the context but for the trace of signal at the last noise level.
    assert results[1.0] == pytest.approx(0.5, abs=0.05)
    assert results[0.0] == pytest.approx(0.1, abs=0.05)
    slope = results[1.0] - results[0.0]
    assert results[3.0] == pytest.approx(results[0.0] + 3 * slope, abs=1e-3)


def test_unknown_solver_is_named():
    with pytest.raises(ValueError, match="--solver 'heun9': choose one of dpm-solver"):
        make_solver("heun9", make_scheduler(DiffusionConfig()), 10)


def test_noise_is_each_items_own():
    def generators(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    noise = draw_noise(generators(1, 2, 3), (4, 2, 2))
    assert torch.equal(noise[2], draw_noise(generators(3), (4, 2, 2))[0])


def batch_of(size):
    generator = torch.Generator().manual_seed(5)
    mean = MEAN + STD * torch.randn(size, 1, 8, 8, generator=generator)
    text = torch.full((size, 1, 4), MEAN)
    return {
        "latents_mean": mean,
        "latents_std": torch.zeros_like(mean),
        "text": text,
        "reference": text[:, 0],
    }


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_no_denoiser_beats_the_exact_one(prediction_type):
    """The loss of the exact denoiser is the posterior variance; a shifted one is worse."""
    config = DiffusionConfig(prediction_type=prediction_type, drop_prompt=0.0, drop_reference=0.0)
    objective = make_objective(config, torch.zeros(1, 1, 4))
    exact = ExactDenoiser(config)

    class Shifted(ExactDenoiser):
        def forward(self, *args, **kwargs):
            return UNet2DConditionOutput(sample=super().forward(*args, **kwargs).sample + 0.1)

    losses = [
        objective(model, batch_of(2000), torch.Generator().manual_seed(0))["loss"].item()
        for model in (exact, Shifted(config))
    ]
    alpha = exact.alphas.sqrt()
    sigma = (1 - alpha.square()).sqrt()
    variance = STD**2 * sigma.square() / (alpha.square() * STD**2 + sigma.square())
    factor = alpha / sigma if prediction_type == "epsilon" else 1 / sigma
    assert losses[0] == pytest.approx((variance * factor.square()).mean().item(), rel=0.03)
    assert losses[1] == pytest.approx(losses[0] + 0.01, abs=0.003)


def test_dropped_prompts_are_the_null_and_in_the_stated_share():
    seen = []

    class Watching(nn.Module):
        def forward(self, sample, timestep, encoder_hidden_states):
            seen.append(encoder_hidden_states)
            return UNet2DConditionOutput(sample=sample)

    config = DiffusionConfig(fusion="mean", drop_prompt=0.2, drop_reference=0.25)
    batch = batch_of(4000)
    batch["reference"] = torch.full((4000, 4), 2 + MEAN)
    make_objective(config, torch.full((1, 1, 4), -9.0))(Watching(), batch, torch.Generator().manual_seed(0))
    values = seen[0][:, 0, 0]
    # Dropped: the null text alone. Without reference: the text alone. Else the mean of both.
    shares = [(values - value).abs().lt(1e-5).float().mean().item() for value in (-9.0, MEAN, 1 + MEAN)]
    assert shares == pytest.approx([0.2, 0.8 * 0.25, 0.8 * 0.75], abs=0.03)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_min_snr_weighs_the_clean_latents_by_the_clipped_ratio(prediction_type):
    """An error d of the clean latents costs min(SNR, 5) d^2, whatever the denoiser predicts (Hang, eq. 6)."""
    config = DiffusionConfig(prediction_type=prediction_type, min_snr_gamma=5.0)
    alphas = make_scheduler(config).alphas_cumprod
    snr = alphas / (1 - alphas)
    # The same error of the clean latents, as an error of the noise or of the velocity.
    error = 0.01 * (snr.sqrt() if prediction_type == "epsilon" else 1 / (1 - alphas).sqrt())
    cost = loss_weights(config, alphas) * error.square()
    torch.testing.assert_close(cost, snr.clamp(max=5.0) * 0.01**2)
    assert torch.equal(loss_weights(DiffusionConfig(), alphas), torch.ones(1000))


def test_the_objective_applies_the_weights():
    """A denoiser that is wrong by 1 everywhere has the mean weight of the drawn timesteps as its loss."""
    config = DiffusionConfig(prediction_type="epsilon", min_snr_gamma=5.0, drop_prompt=0.0)
    batch, drawn = batch_of(64), []

    class OffByOne(nn.Module):
        def forward(self, sample, timestep, encoder_hidden_states):
            drawn.append(timestep)
            alpha = make_scheduler(config).alphas_cumprod[timestep][:, None, None, None]
            noise = (sample - alpha.sqrt() * batch["latents_mean"]) / (1 - alpha).sqrt()
            return UNet2DConditionOutput(sample=noise + 1.0)

    objective = make_objective(config, torch.zeros(1, 1, 4))
    loss = objective(OffByOne(), batch, torch.Generator().manual_seed(0))["loss"]
    weights = loss_weights(config, make_scheduler(config).alphas_cumprod)
    assert loss.item() == pytest.approx(weights[drawn[0]].mean().item(), rel=1e-3)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "pndm"])
def test_zero_terminal_snr_starts_from_pure_noise_and_keeps_the_mean(solver):
    """The first step is then the last noise level, and no trace of signal shifts the mean (Lin, sec. 3)."""
    config = DiffusionConfig(zero_terminal_snr=True)
    schedule = make_scheduler(config)
    assert schedule.alphas_cumprod[-1] == 0
    steps = make_solver(solver, schedule, 50)
    assert steps.timesteps[0].item() == 999
    noise = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context = torch.full((64, 1, 4), MEAN)
    latents = denoise(ExactDenoiser(config), steps, noise, context, context, 1.0)
    assert latents.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert latents.std().item() == pytest.approx(STD, abs=0.05)


def test_zero_terminal_snr_is_refused_where_it_has_no_meaning():
    with pytest.raises(ValueError, match="--zero-terminal-snr needs --prediction-type v_prediction"):
        make_scheduler(DiffusionConfig(zero_terminal_snr=True, prediction_type="epsilon"))
    with pytest.raises(ValueError, match="--min-snr-gamma weighs pure noise with 0"):
        make_scheduler(DiffusionConfig(zero_terminal_snr=True, min_snr_gamma=5.0))
    with pytest.raises(ValueError, match="--solver pndm cannot start from a zero terminal SNR"):
        make_solver("pndm", make_scheduler(DiffusionConfig(zero_terminal_snr=True)), 10)


class Counting(nn.Module):
    """Adds its context to its input, and notes what it was called with."""

    def __init__(self):
        super().__init__()
        self.contexts = []

    def forward(self, sample, timestep, encoder_hidden_states):
        self.contexts.append(encoder_hidden_states)
        shift = encoder_hidden_states.mean(dim=(1, 2))[:, None, None, None]
        return UNet2DConditionOutput(sample=sample * 0.1 + shift)


def test_guidance_1_is_the_conditional_model_alone():
    """Step by step the same as diffusers' own loop without guidance; the null is never looked at."""
    config, model = DiffusionConfig(), Counting()
    noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context, null = torch.full((4, 1, 4), 0.5), torch.full((4, 1, 4), float("nan"))
    guided = denoise(model, make_solver("ddim", make_scheduler(config), 10), noise, context, null, 1.0)
    assert all(torch.equal(seen, context) for seen in model.contexts)
    plain, latents = make_solver("ddim", make_scheduler(config), 10), noise
    for timestep in plain.timesteps:
        latents = plain.step(model(latents, timestep, context).sample, timestep, latents).prev_sample
    assert torch.equal(guided, latents)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_estimate_of_each_step_is_what_the_denoiser_means(solver, prediction_type, monkeypatch):
    """A denoiser that knows the film says the same film from every noise level."""
    monkeypatch.setattr("test_diffusion.STD", 0.0)
    config = DiffusionConfig(prediction_type=prediction_type)
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    context, shown = torch.full((2, 1, 4), MEAN), []
    steps = make_solver(solver, make_scheduler(config), 6)
    denoise(ExactDenoiser(config), steps, noise, context, context, 1.0, on_step=shown.append)
    assert len(shown) == len(steps.timesteps)
    for estimate in shown:
        assert estimate == pytest.approx(torch.full_like(estimate, MEAN), abs=2e-3)
