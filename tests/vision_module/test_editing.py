"""Edits of latents: the inversion is exact, an exact denoiser gives a known edit, a mask keeps the rest."""

import pytest
import torch
from test_diffusion import STD, ExactDenoiser

from vision_module.config import DiffusionConfig
from vision_module.diffusion import make_scheduler
from vision_module.editing import Guide, invert, make_levels, redraw, shrink_mask
from vision_module.uvit import UViT

STEPS = 30


def guide(value, scale=1.0, size=4):
    return Guide(torch.full((size, 1, 4), value), torch.full((1, 1, 4), 0.1), scale)


def latents_of(mean, dtype=torch.float32):
    noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return mean + STD * noise


def draws_of(levels, dtype=torch.float32):
    shape = len(levels.timesteps), 4, 1, 8, 8
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def prepare(prediction_type="v_prediction", strength=1.0):
    config = DiffusionConfig(prediction_type=prediction_type)
    schedule = make_scheduler(config)
    return ExactDenoiser(config), schedule, make_levels(schedule, STEPS, strength)


@pytest.mark.parametrize("strength", [0.1, 0.6, 1.0])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_same_text_gives_the_latents_back(prediction_type, strength):
    denoiser, schedule, levels = prepare(prediction_type, strength)
    latents = latents_of(0.7, torch.float64)
    inversion = invert(denoiser, schedule, latents, draws_of(levels, torch.float64), levels, guide(0.7, 3.0))
    again = redraw(denoiser, schedule, inversion, guide(0.7, 3.0))
    torch.testing.assert_close(again, latents, atol=1e-9, rtol=0)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "flow"])
def test_the_inversion_of_a_real_denoiser_is_exact_in_float64(float64, prediction_type):
    schedule = make_scheduler(DiffusionConfig(prediction_type=prediction_type))
    levels = make_levels(schedule, 8, 1.0)
    torch.manual_seed(0)
    model = UViT(sample_size=8, in_channels=1, embed_dim=16, depth=3, num_heads=2, context_dim=4).eval()
    latents, context = torch.randn(4, 1, 8, 8), torch.randn(4, 1, 4)
    draws = torch.randn(8, 4, 1, 8, 8)
    source = Guide(context, torch.zeros(1, 1, 4), 2.0)
    inversion = invert(model, schedule, latents, draws, levels, source)
    torch.testing.assert_close(redraw(model, schedule, inversion, source), latents, atol=1e-8, rtol=0)
    other = redraw(model, schedule, inversion, Guide(-context, torch.zeros(1, 1, 4), 2.0))
    assert (other - latents).abs().max() > 1e-3


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "flow"])
def test_no_step_reads_from_the_device(prediction_type):
    """A meta tensor has no values: whatever waited for one would raise."""
    schedule = make_scheduler(DiffusionConfig(prediction_type=prediction_type))
    levels = make_levels(schedule, 4, 1.0)
    with torch.device("meta"):
        model = UViT(sample_size=8, in_channels=1, embed_dim=16, depth=3, num_heads=2, context_dim=4).eval()
        latents, draws = torch.zeros(2, 1, 8, 8), torch.zeros(4, 2, 1, 8, 8)
        source = Guide(torch.zeros(2, 1, 4), torch.zeros(1, 1, 4), 2.0)
        mask = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    inversion = invert(model, schedule, latents, draws, levels, source)
    assert redraw(model, schedule, inversion, source, mask).device.type == "meta"


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_an_exact_denoiser_moves_the_mean_and_keeps_what_is_the_films_own(prediction_type):
    """Of normal distributions that differ in their mean alone, the edit adds the difference to every film."""
    denoiser, schedule, levels = prepare(prediction_type)
    latents = latents_of(0.7)
    inversion = invert(denoiser, schedule, latents, draws_of(levels), levels, guide(0.7))
    edited = redraw(denoiser, schedule, inversion, guide(-0.5))
    # The first level keeps a trace of signal, hence the tolerance.
    torch.testing.assert_close(edited - latents, torch.full_like(latents, -1.2), atol=0.06, rtol=0)


def test_less_strength_moves_it_less():
    moved = []
    for strength in (0.2, 0.5, 1.0):
        denoiser, schedule, levels = prepare(strength=strength)
        latents = latents_of(0.7)
        inversion = invert(denoiser, schedule, latents, draws_of(levels), levels, guide(0.7))
        moved.append((redraw(denoiser, schedule, inversion, guide(-0.5)) - latents).abs().mean().item())
    assert moved == sorted(moved)
    assert moved[0] < 0.75 * moved[2]


def test_the_noised_latents_have_their_levels():
    _, schedule, levels = prepare()
    assert levels.timesteps[0] == 999
    assert levels.signal.square() + levels.noise.square() == pytest.approx(torch.ones(STEPS + 1).numpy())
    assert (levels.signal[-1], levels.noise[-1]) == (1.0, 0.0)
    assert levels.signal[0].item() == pytest.approx(schedule.alphas_cumprod[999].sqrt().item())
    assert len(make_levels(schedule, STEPS, 0.5).timesteps) == STEPS // 2


def test_outside_a_mask_the_latents_are_those_of_the_film():
    denoiser, schedule, levels = prepare(strength=0.8)
    latents = latents_of(0.7)
    mask = torch.zeros(4, 1, 8, 8, dtype=torch.bool)
    mask[:, :, 2:5, 3:7] = True
    inversion = invert(denoiser, schedule, latents, draws_of(levels), levels, guide(0.7))
    edited = redraw(denoiser, schedule, inversion, guide(-0.5), mask)
    assert torch.equal(edited[~mask], latents[~mask])
    assert (edited[mask] - latents[mask]).mean() < -0.8


def test_a_mask_of_pixels_takes_every_cell_it_touches():
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 3, 4] = mask[0, 8:12, 8:12] = True
    cells = shrink_mask(mask, 4)[0, 0]
    assert cells.nonzero().tolist() == [[0, 1], [2, 2]]


@pytest.mark.parametrize(("steps", "strength"), [(10, 0.01), (2000, 1.0)])
def test_no_step_or_too_many_are_refused(steps, strength):
    with pytest.raises(ValueError, match="--num-inference-steps"):
        make_levels(make_scheduler(DiffusionConfig()), steps, strength)
