"""Guidance interval, starts that are not noise, and the flags of sample_pairs.py that belong to them."""

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from test_diffusion import MEAN, STD, ExactDenoiser

import sample_pairs
import train_text_to_latent
from data_module.images import load_pixels, read_pixels, to_pixels
from data_module.pairs import PairsFolder
from prior_model.text_to_latent import TextToLatent
from vision_module.autoencoder import decode_latents
from vision_module.config import DiffusionConfig
from vision_module.diffusion import make_scheduler
from vision_module.pipeline import VisionModel
from vision_module.prompting import Prompts
from vision_module.sampling import SOLVERS, denoise, left_timesteps, make_solver


class Counting(ExactDenoiser):
    """Notes the timestep and the batch of each call."""

    calls: list

    def forward(self, sample, timestep, encoder_hidden_states):
        self.calls.append((float(timestep), len(sample)))
        return super().forward(sample, timestep, encoder_hidden_states)


def counting():
    model = Counting(DiffusionConfig())
    model.calls = []
    return model


def noise_of(size, seed=0):
    return torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


CONTEXT, NULL = torch.full((4, 1, 4), 0.5), torch.full((4, 1, 4), 0.1)


def draw(model, solver="dpm-solver++", steps=20, **options):
    made = make_solver(solver, make_scheduler(DiffusionConfig()), steps)
    return denoise(model, made, noise_of(4), CONTEXT, NULL, options.pop("scale", 3.0), **options)


def test_guidance_acts_inside_its_interval_alone():
    """Inside it the null runs too (batch of 8); outside it the step is the conditional model's."""
    model = counting()
    draw(model, guidance_interval=(0.25, 0.6))
    for timestep, batch in model.calls:
        assert batch == (8 if 0.25 <= timestep / 1000 <= 0.6 else 4)
    assert {batch for _, batch in model.calls} == {4, 8}
    whole, plain = draw(counting()), draw(counting(), scale=1.0)
    assert torch.equal(draw(counting(), guidance_interval=(0.0, 1.0)), whole)
    assert torch.equal(draw(counting(), guidance_interval=(1e-9, 2e-9)), plain)
    inside = draw(counting(), guidance_interval=(0.25, 0.6)).mean()
    assert plain.mean() < inside < whole.mean()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("strength", [0.1, 0.4, 1.0])
def test_a_start_goes_on_from_its_noise_level(solver, strength):
    """From a draw of the model's own distribution, noised and drawn anew, comes that distribution."""
    start = MEAN + STD * noise_of(64, seed=1)
    steps = make_solver(solver, make_scheduler(DiffusionConfig()), 50)
    context = torch.full((64, 1, 4), MEAN)
    model = ExactDenoiser(DiffusionConfig())
    latents = denoise(model, steps, noise_of(64), context, context, 1.0, start=start, strength=strength)
    assert latents.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert latents.std().item() == pytest.approx(STD, abs=0.05)
    # The less of the way is gone, the more of the start is left. For normal distributions the flow maps
    # x_t = a x + s e linearly: the correlation with the start is a STD / sqrt(a^2 STD^2 + s^2).
    level = int(left_timesteps(steps, strength)[0][0])
    alpha = make_scheduler(DiffusionConfig()).alphas_cumprod[level].item()
    expected = STD * math.sqrt(alpha) / math.sqrt(alpha * STD**2 + 1 - alpha)
    correlation = np.corrcoef(latents.flatten(), start.flatten())[0, 1]
    assert correlation == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("solver", "calls"), [("ddim", 5), ("pndm", 6), ("euler", 5), ("unipc", 5)])
def test_strength_is_the_share_of_steps(solver, calls):
    model = counting()
    draw(model, solver, steps=10, scale=1.0, start=torch.zeros(4, 1, 8, 8), strength=0.5)
    assert len(model.calls) == calls  # PNDM takes its second step twice


def test_pndm_at_full_strength_takes_its_own_steps():
    solver = make_solver("pndm", make_scheduler(DiffusionConfig()), 7)
    assert torch.equal(left_timesteps(solver, 1.0)[0], solver.timesteps)


def films(chain, out, *flags, **values):
    sample_pairs.main([*chain.sample_flags(out, **values), "--films-only", *flags])
    pairs = PairsFolder.open(out)
    return {name: (pairs.root / name).read_bytes() for name in pairs.table["file_name"]}


INTERVAL = ("--guidance-interval", "0.2", "0.7")


@pytest.fixture(scope="module")
def film(chain):
    return PairsFolder.open(chain.run("data")).image_paths[0]


@pytest.mark.parametrize("solver", ["dpm-solver++", "pndm"])
def test_items_stay_pure_with_the_new_flags(chain, film, tmp_path, solver):
    """Alone, in shards and after a restart, items are the same bytes."""
    flags = {"init_film": film, "strength": 0.5, "num_inference_steps": 4, "solver": solver}
    whole = films(chain, tmp_path / "whole", *INTERVAL, num_pairs=12, **flags)
    alone = films(chain, tmp_path / "alone", *INTERVAL, num_pairs=3, start=5, **flags)
    assert len(alone) == 3
    assert all(whole[name] == content for name, content in alone.items())
    shards = tmp_path / "shards"
    arguments = chain.sample_flags(shards, num_pairs=12, shard="1/2", **flags)
    sample_pairs.main([*arguments, "--films-only", *INTERVAL])
    assert films(chain, shards, *INTERVAL, num_pairs=12, shard="0/2", **flags) == whole
    flags = {**flags, "strength": 1.0}
    assert films(chain, tmp_path / "other", *INTERVAL, num_pairs=12, **flags) != whole


def test_low_strength_stays_near_the_film(chain, film, tmp_path):
    """What comes out is nearer to the autoencoder's picture of the start, the lower the strength."""

    def distance(strength):
        steps = {"num_inference_steps": 10, "strength": strength, "guidance_scale": 1.0}
        films(chain, tmp_path / f"{strength}", init_film=film, **steps)
        names = PairsFolder.open(tmp_path / f"{strength}").image_paths
        start = tmp_path / "0.1" / PairsFolder.open(tmp_path / "0.1").table["file_name"][0]
        return np.mean([np.abs(read_pixels(n).astype(float) - read_pixels(start)).mean() for n in names])

    near, far = distance(0.1), distance(1.0)
    assert near < far / 2


def test_another_init_film_of_the_same_name_is_refused(chain, film, tmp_path):
    start = tmp_path / "start.png"
    start.write_bytes(film.read_bytes())
    films(chain, tmp_path / "out", init_film=start)
    Image.fromarray(255 - read_pixels(film)).save(start)
    with pytest.raises(ValueError, match=r"was sampled with files = "):
        films(chain, tmp_path / "out", init_film=start)


@pytest.mark.parametrize("image_format", ["png", "jpg"])
def test_films_are_8_bit_gray(chain, tmp_path, image_format):
    films(chain, tmp_path / "out", image_format=image_format)
    (path, *_) = PairsFolder.open(tmp_path / "out").image_paths
    with Image.open(path) as image:
        assert (image.format, image.mode) == ({"png": "PNG", "jpg": "JPEG"}[image_format], "L")


def test_a_free_prompt_needs_no_folder(chain, tmp_path, monkeypatch, capsys):
    """A folder of its own for each prompt and setting; the same command finds its film again."""
    monkeypatch.chdir(tmp_path)
    line = ["--prompt", "Big right-sided pleural effusion", "--vision", chain.run("uvit"), "--films-only"]
    line += ["--num-inference-steps", "2"]

    def path():
        return capsys.readouterr().out.strip().splitlines()[-1]

    sample_pairs.main([*line, "--guidance-scale", "7"])
    first = path()
    assert first.startswith("runs/films/big-right-sided-pleural-effusion-")
    assert read_pixels(tmp_path / first).shape == (64, 64)
    written = (tmp_path / first).stat().st_mtime_ns
    sample_pairs.main([*line, "--guidance-scale", "7"])
    assert path() == first
    assert (tmp_path / first).stat().st_mtime_ns == written
    sample_pairs.main([*line, "--guidance-scale", "6"])
    assert path() != first


def test_words_that_were_never_learned_are_named(chain, tmp_path, monkeypatch, capsys):
    """The demo's reports speak of right effusions; its CLIP has letters for "gargantuan", and no meaning."""
    monkeypatch.chdir(tmp_path)
    line = ["--vision", chain.run("uvit"), "--films-only", "--num-inference-steps", "1", "--prompt"]
    sample_pairs.main([*line, "Gargantuan right effusion, GARGANTUAN"])
    assert "warning: words that the text encoder never learned: gargantuan\n" in capsys.readouterr().err
    sample_pairs.main([*line, "1.5 cm nodule in the right lung"])
    assert "warning" not in capsys.readouterr().err


def test_start_from_the_text_to_latent_model(chain, tmp_path):
    """The start is what the model reads off each prompt: with it items differ, and stay pure."""
    run = tmp_path / "text_to_latent"
    flags = ["--data", chain.run("data"), "--autoencoder", chain.run("autoencoder")]
    flags += ["--clip", chain.run("clip"), "--out", str(run), "--num-steps", "2", "--hidden-dim", "16"]
    train_text_to_latent.main([*flags, "--warmup-steps", "0"])
    started = films(chain, tmp_path / "out", init_from=run, strength=0.5, num_pairs=8)
    alone = films(chain, tmp_path / "alone", init_from=run, strength=0.5, num_pairs=2, start=3)
    assert all(started[name] == content for name, content in alone.items())
    assert started != films(chain, tmp_path / "noise", num_pairs=8)
    # Strength 0 is the decoded start itself.
    films(chain, tmp_path / "bare", init_from=run, strength=0.0, num_pairs=8)
    bare = PairsFolder.open(tmp_path / "bare")
    vision = VisionModel.from_pretrained(chain.run("uvit/model"))
    reader = Prompts(vision.prompts.text_encoder, vision.prompts.tokenizer, None, None, "text", "pooled")
    with torch.no_grad():
        texts = reader.encode_texts(bare.table["prompt"].tolist())[:, 0]
        latents = TextToLatent.from_pretrained(run / "model").eval()(texts)
    expected = to_pixels(decode_latents(vision.autoencoder, latents)).numpy()
    drawn = load_pixels(bare.image_paths, 64)
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    with pytest.raises(ValueError, match=r"--init-from .*holds a bart run"):
        films(chain, tmp_path / "wrong", init_from=chain.run("bart"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--guidance-interval", "0.7", "0.2"], r"--guidance-interval 0.7 0.2: must be 0 <= LOW < HIGH <= 1"),
        (["--strength", "1.5"], r"--strength 1.5: must be 0 to 1"),
        (["--strength", "0"], r"--strength 0 decodes the start as it is: pass --init-film"),
        (["--num-inference-steps", "0"], r"--num-inference-steps 0"),
        (["--init-film", "a.png", "--init-from", "b"], r"--init-film or --init-from, not both"),
        (["--init-film", "nowhere.png"], r"nowhere.png: no such file"),
        (["--init-film", "{film}", "--strength", "0.1"], r"--strength 0.1 of 2 steps leaves no step"),
        (["--language", "no/such/run"], r"--language no/such/run: no such folder; --films-only draws"),
    ],
)
def test_bad_flags_are_named(chain, film, tmp_path, capsys, flags, message):
    flags = [flag.format(film=film) for flag in flags]
    with pytest.raises((ValueError, SystemExit)) as error:  # tyro itself prints what a config refuses
        sample_pairs.main([*chain.sample_flags(tmp_path / "out"), *flags])
    printed = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert re.search(message, f"{error.value} {printed}")
