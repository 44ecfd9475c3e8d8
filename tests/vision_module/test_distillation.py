"""Few-step distillation against closed forms, and through its script: paths, jumps, students, bad input."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from helpers import forked
from test_diffusion import MEAN, STD, ExactDenoiser
from test_flow import ExactVelocity
from torch import nn

import distill_diffusion
import sample_pairs
from data_module.cache import LatentCache
from data_module.pairs import PairsFolder
from vision_module.config import DiffusionConfig
from vision_module.diffusion import make_scheduler
from vision_module.distill_config import PathConfig
from vision_module.distillation import make_jump_objective, make_student
from vision_module.few_step import embed_guidance
from vision_module.noise_path import NoisePath
from vision_module.pipeline import VisionModel
from vision_module.sampling import denoise, make_solver

CONFIGS = {
    "v": DiffusionConfig(),
    "epsilon": DiffusionConfig(prediction_type="epsilon"),
    "zero-snr": DiffusionConfig(zero_terminal_snr=True),
    "flow": DiffusionConfig(prediction_type="flow"),
}


def noise_of(size=64, seed=0):
    return torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def make_path(name):
    return NoisePath(make_scheduler(CONFIGS[name]))


def exact_denoiser(name):
    return ExactVelocity() if name == "flow" else ExactDenoiser(CONFIGS[name])


def exact_states(path, stops, noise, mean=MEAN):
    """The probability flow of N(mean, STD^2): (x - a mean) / sqrt(a^2 STD^2 + s^2) stays what it was."""
    states = []
    for stop in stops:
        alpha, sigma = path.levels(torch.full((len(noise),), stop))
        states.append((alpha, (alpha.square() * STD**2 + sigma.square()).sqrt()))
    unit = (noise - states[0][0] * mean) / states[0][1]
    return torch.stack([alpha * mean + width * unit for alpha, width in states], dim=1)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_path_is_the_probability_flow(name):
    path, noise = make_path(name), noise_of()
    stops = path.stops(4)
    context = torch.full((64, 1, 4), MEAN)
    model = exact_denoiser(name)

    def predict(sample, timestep):
        return model(sample, timestep, encoder_hidden_states=context).sample

    states = path.trace(predict, noise, path.fine_steps(120, stops), stops)
    assert states.shape == (64, 5, 1, 8, 8)
    exact = exact_states(path, stops, noise)
    if name == "zero-snr":  # v says nothing of the film at pure noise: the first steps are long ones
        assert (states - exact).abs().max() < 0.2
    else:
        assert (states - exact).abs().max() < 0.03
    coarse = path.trace(predict, noise, path.fine_steps(15, stops), stops)
    assert (coarse - exact).abs().mean() < 0.05


def test_guidance_leads_to_the_guided_mean():
    """Of normal distributions of one deviation, guidance w is that around null + w (conditional - null)."""
    path, noise, model = make_path("v"), noise_of(), exact_denoiser("v")
    stops = path.stops(4)

    def predict(sample, timestep):
        null, conditional = (
            model(sample, timestep, encoder_hidden_states=torch.full((64, 1, 4), mean)).sample
            for mean in (0.1, 0.3)
        )
        return null + 3.0 * (conditional - null)

    states = path.trace(predict, noise, path.fine_steps(120, stops), stops)
    assert (states - exact_states(path, stops, noise, mean=0.1 + 3.0 * 0.2)).abs().max() < 0.03


def test_the_trace_is_diffusers_solver_on_the_same_steps():
    path, noise, model = make_path("v"), noise_of(4), exact_denoiser("v")
    context = torch.full((4, 1, 4), MEAN)
    stops = path.stops(4)
    steps = path.fine_steps(15, stops)
    options = {"algorithm_type": "dpmsolver++", "solver_order": 2, "final_sigmas_type": "zero"}
    solver = DPMSolverMultistepScheduler.from_config(make_scheduler(CONFIGS["v"]).config, **options)
    solver.set_timesteps(timesteps=steps)
    theirs = denoise(model, solver, noise, context, context, 1.0)

    def predict(sample, timestep):
        return model(sample, timestep, encoder_hidden_states=context).sample

    ours = path.trace(predict, noise, steps, stops)[:, -1]
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_steps", [8, 15, 16, 30])
def test_fine_steps_pass_through_the_stops(name, num_steps):
    path = make_path(name)
    stops = path.stops(4)
    steps = path.fine_steps(num_steps, stops)
    assert {*stops[:-1]} <= {*steps}
    assert steps == sorted(steps, reverse=True)
    assert num_steps - 2 <= len(steps) <= num_steps


class ExactJumps(nn.Module):
    """The one output whose jump lands where the probability flow does; what a student is to learn."""

    def __init__(self, path, num_evaluations):
        super().__init__()
        self.path, self.stops = path, path.stops(num_evaluations)

    def forward(self, sample, timestep, encoder_hidden_states, timestep_cond):
        start = torch.as_tensor(timestep).expand(len(sample))
        places = torch.tensor(
            [min(range(len(self.stops)), key=lambda p: abs(self.stops[p] - t)) for t in start]
        )
        end = torch.tensor(self.stops)[places + 1]
        (alpha, sigma), (end_alpha, end_sigma) = self.path.levels(start), self.path.levels(end)
        width = (alpha.square() * STD**2 + sigma.square()).sqrt()
        end_width = (end_alpha.square() * STD**2 + end_sigma.square()).sqrt()
        landing = end_alpha * MEAN + end_width * (sample - alpha * MEAN) / width
        # The film f and the noise e of sample = a f + s e and landing = a' f + s' e.
        turn = end_alpha * sigma - alpha * end_sigma
        film = (sigma * landing - end_sigma * sample) / turn
        noise = (end_alpha * sample - alpha * landing) / turn
        output = {"epsilon": noise, "flow": noise - film, "v_prediction": alpha * noise - sigma * film}
        return UNet2DConditionOutput(sample=output[self.path.prediction_type])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_evaluations", [1, 2, 4, 8])
def test_the_exact_jumps_have_no_loss_and_draw_the_distribution(name, num_evaluations):
    """The objective's minimum is the closed form, with which the few-step solver draws what the flow does."""
    if name == "epsilon" and num_evaluations == 1:
        num_evaluations = 2
    path, noise = make_path(name), noise_of()
    states = exact_states(path, path.stops(num_evaluations), noise)
    model, objective = ExactJumps(path, num_evaluations), make_jump_objective(path)
    stops = torch.tensor(path.stops(num_evaluations))
    for step in range(num_evaluations):
        batch = {
            "sample": states[:, step],
            "target": states[:, step + 1],
            "start": stops[step].expand(64),
            "end": stops[step + 1].expand(64),
            "context": torch.zeros(64, 1, 4),
            "guidance": torch.full((64,), 3.0),
        }
        assert objective(model, batch, torch.Generator())["loss"] < 1e-5
        moved = {**batch, "target": batch["target"] + 0.1 * path.jump_width(batch["start"], batch["end"])}
        assert objective(model, moved, torch.Generator())["loss"].item() == pytest.approx(0.01, rel=0.02)
    solver = make_solver("few-step", make_scheduler(CONFIGS[name]), num_evaluations)
    assert [float(t) for t in solver.timesteps] == [float(stop) for stop in stops[:-1]]
    context = torch.zeros(64, 1, 4)
    cond = embed_guidance(torch.full((64,), 3.0))
    drawn = denoise(model, solver, noise, context, context[:1], 3.0, guidance_input=cond)
    assert (drawn - states[:, -1]).abs().max() < 1e-3


def test_a_regression_on_paths_learns_the_jumps():
    """A student linear in the sample, fitted to traced paths in closed form, lands on the exact states."""
    path, model = make_path("v"), exact_denoiser("v")
    context = torch.full((64, 1, 4), MEAN)
    stops = path.stops(4)

    def predict(sample, timestep):
        return model(sample, timestep, encoder_hidden_states=context).sample

    states = path.trace(predict, noise_of(), path.fine_steps(60, stops), stops)
    fresh = noise_of(seed=9)
    sample, exact = fresh, exact_states(path, stops, fresh)
    for step in range(4):
        known = torch.stack([states[:, step].flatten(), torch.ones(64 * 64)], dim=1)
        weights = torch.linalg.lstsq(known, states[:, step + 1].flatten()).solution
        sample = weights[0] * sample + weights[1]
        assert (sample - exact[:, step + 1]).abs().max() < 0.03


def test_guidance_is_embedded_as_diffusers_pipelines_do():
    scales = torch.tensor([1.0, 3.0, 7.5])
    theirs = StableDiffusionPipeline.get_guidance_scale_embedding(None, scales - 1.0, embedding_dim=256)
    torch.testing.assert_close(embed_guidance(scales), theirs, atol=1e-3, rtol=0)  # sines of thousands


# Through the script.


def flags(chain, out, *more, **others):
    values = {
        "teacher": chain.run("uvit"),
        "data": chain.run("data"),
        "cache": chain.root / "cache",
        "out": out,
        "num-steps": 6,
        "batch-size": 8,
        "warmup-steps": 0,
        "num-paths": 24,
        "num-validation-paths": 8,
        "teacher-steps": 8,
        "checkpoint-every": 2,
        "log-every": 1,
        **{name.replace("_", "-"): value for name, value in others.items()},
    }
    return [*(part for name, value in values.items() for part in (f"--{name}", str(value))), *more]


@pytest.fixture(scope="module")
def student(chain, tmp_path_factory):
    out = tmp_path_factory.mktemp("students") / "four"
    distill_diffusion.main(flags(chain, out))
    return out


def film_flags(chain, out, vision, steps=4, **others):
    made = {"vision": vision, "solver": "few-step", "num_inference_steps": steps, "num_pairs": 4}
    return chain.sample_flags(out, **{**made, **others})


def test_a_student_is_drawn_as_any_other_model(chain, student, tmp_path):
    sample_pairs.main(film_flags(chain, tmp_path / "pairs", student))
    assert len(PairsFolder.open(tmp_path / "pairs")) == 4
    # After a step or two the scale moves a film by less than a gray value: the denoiser itself is asked.
    model = VisionModel.from_pretrained(student / "model")
    context, sample = (
        model.prompts.null_context().expand(2, -1, -1),
        torch.randn(1, 4, 16, 16).expand(2, -1, -1, -1),
    )
    with torch.no_grad():
        scales = embed_guidance(torch.tensor([1.0, 5.0]))
        made = model.denoiser(sample, 500, encoder_hidden_states=context, timestep_cond=scales).sample
    assert not torch.equal(made[0], made[1]), "the student does not heed its guidance scale"
    saved = json.loads((student / "model" / "few_step.json").read_text())
    assert saved == {"num_evaluations": 4, "guidance_range": [1.0, 5.0]}


def test_a_student_starts_as_its_teacher(chain):
    teacher = VisionModel.from_pretrained(chain.run("uvit/model"))
    for model in (teacher.denoiser, VisionModel.from_pretrained(chain.run("sd/model")).denoiser):
        made = make_student(model).eval()
        sample, context = torch.randn(2, 4, 16, 16), teacher.prompts.null_context().expand(2, -1, -1)
        if model is not teacher.denoiser:
            context = torch.randn(2, 5, model.config.cross_attention_dim)
        cond = embed_guidance(torch.tensor([1.0, 5.0]))
        with torch.no_grad():
            torch.testing.assert_close(
                made(sample, 500, encoder_hidden_states=context, timestep_cond=cond).sample,
                model(sample, 500, encoder_hidden_states=context).sample,
            )


def test_a_teacher_of_an_older_version(chain, tmp_path):
    """Whose config does not name the input yet."""
    shutil.copytree(chain.run("uvit/model"), tmp_path / "old")
    config = json.loads((tmp_path / "old/unet/config.json").read_text())
    del config["time_cond_proj_dim"]
    (tmp_path / "old/unet/config.json").write_text(json.dumps(config))
    made = make_student(VisionModel.from_pretrained(tmp_path / "old").denoiser)
    assert made.cond_proj.weight.shape == (32, 256)


def test_a_path_is_its_number_s_alone(chain, student):
    """States of a path do not depend on how many there are; students of fewer steps share the paths."""
    keys = sorted(chain.root.glob("cache/*/states.npy"))
    before = {path: path.stat().st_mtime_ns for path in keys}
    distill_diffusion.main(
        flags(chain, student.parent / "two", num_evaluations=2, init_from=student, num_steps=1)
    )
    assert {path: path.stat().st_mtime_ns for path in chain.root.glob("cache/*/states.npy")} == before
    distill_diffusion.main(flags(chain, student.parent / "more", num_paths=40, num_steps=1))
    (more,) = [path for path in chain.root.glob("cache/*/states.npy") if path not in before]
    (few,) = [path for path in keys if len(np.load(path, mmap_mode="r")) == 24]
    assert np.load(more).shape == (40, 5, 4, 16, 16)
    texts = [np.load(path.parent / "text.npy") for path in (few, more)]
    assert (texts[0] == texts[1][:24]).all()
    # The last batches are of other sizes: at most rounding.
    np.testing.assert_allclose(np.load(few), np.load(more)[:24], atol=0.02)


def test_a_batch_holds_steps_of_the_way(chain, student):
    """Samples and targets are neighbors of one path, and the noise is the path's own."""
    from vision_module.noise_path import NoisePath
    from vision_module.teacher_paths import TeacherPaths

    vision = VisionModel.from_pretrained(student / "model")
    (folder,) = {
        path.parent
        for path in chain.root.glob("cache/*/states.npy")
        if len(np.load(path, mmap_mode="r")) == 24
    }
    cache = LatentCache(folder)
    assert (cache["reference"] >= -1).all()
    references = PairsFolder.open(chain.run("data")).table["split"].to_numpy()[cache["reference"]]
    assert set(references[cache["reference"] >= 0]) == {"train"}

    class Texts:
        texts = np.zeros((10_000, 1, 32), np.float16)
        references = np.zeros((10_000, 32), np.float16)

    source = TeacherPaths(cache, Texts(), NoisePath(vision.scheduler), 2, vision.prompts.fusion)
    batch = source.get_batch(np.arange(8), torch.Generator().manual_seed(0))
    states = torch.tensor(np.asarray(cache["states"][:8])).float()
    for item in range(8):
        step = {999: 0, 499: 1}[int(batch["start"][item])]
        assert torch.equal(batch["sample"][item], states[item, 2 * step])
        assert torch.equal(batch["target"][item], states[item, 2 * step + 2])
    assert sorted(batch["end"].tolist()) == [-1] * 4 + [499] * 4


def test_a_student_of_a_stable_diffusion_is_drawn_by_plain_diffusers(chain, tmp_path):
    """The same latents from the same noise, through the stock pipeline with DDIM, trailing."""
    from diffusers import DDIMScheduler

    out = tmp_path / "sd_4"
    distill_diffusion.main(flags(chain, out, teacher=chain.run("sd"), num_steps=2))
    vision = VisionModel.from_pretrained(out / "model")
    stock = StableDiffusionPipeline.from_pretrained(out / "model")
    options = {"timestep_spacing": "trailing", "set_alpha_to_one": True}
    stock.scheduler = DDIMScheduler.from_config(stock.scheduler.config, **options)
    context = vision.prompts.encode(["Small effusion."] * 2, None)
    noise = torch.randn(2, *vision.latent_shape, generator=torch.Generator().manual_seed(0))
    theirs = stock(
        prompt_embeds=context,
        latents=noise,
        num_inference_steps=4,
        guidance_scale=3.0,
        output_type="latent",
        height=64,
        width=64,
    ).images
    solver = make_solver("few-step", vision.scheduler, 4)
    cond = embed_guidance(torch.full((2,), 3.0))
    ours = denoise(vision.denoiser, solver, noise, context, context, 3.0, guidance_input=cond)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def weights(out):
    return VisionModel.from_pretrained(out / "model").denoiser.state_dict()


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(chain, student, tmp_path):
    """Killed while it traces, and while it trains; paths of its own, so that they are traced anew."""
    out, cache = tmp_path / "killed", tmp_path / "cache"
    command = flags(chain, out, cache=cache)
    killed = 0
    for event in (9, 25, 60):
        killed += forked.run(distill_diffusion.main, command, kill_at=event).exitcode == -9
    assert killed
    ended = forked.run(distill_diffusion.main, command)
    assert ended.exitcode == 0, ended.output
    for name, value in weights(student).items():
        assert torch.equal(value, weights(out)[name]), name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"teacher": "no/such/run"}, r"--teacher no/such/run: no such folder"),
        ({"teacher": "{bart}"}, r"--teacher .*bart holds a bart run; a clipSD or clipUViT run is needed"),
        ({"teacher": "{student}"}, r"--teacher .*four is distilled itself"),
        ({"init_from": "{uvit}"}, r"--init-from .*uvit is no distilled model"),
        (
            {"init_from": "{student}", "num_evaluations": 8, "teacher_steps": 16},
            r"draws in 4, fewer than --num-evaluations 8",
        ),
        ({"init_from": "{student}", "teacher": "{sd}"}, r"--init-from .*four is of another shape"),
        ({"num_evaluations": 3}, r"num-evaluations"),
        ({"teacher_steps": 7}, r"--teacher-steps 7: must be 8 to 1000"),
        ({"guidance_range": "5 1"}, r"--guidance-range 5.0 1.0: must be 0 <= LOW <= HIGH"),
        ({"num_paths": 0}, r"--num-paths 0: must be at least 1"),
        ({"texts": "nothing"}, r"no such column"),
        ({"data": "{bart}"}, r"bart is not a pairs folder"),
    ],
)
def test_bad_input_is_named(chain, student, tmp_path, capsys, values, message):
    names = {"bart": chain.run("bart"), "student": student, "uvit": chain.run("uvit"), "sd": chain.run("sd")}
    values = {name: str(value).format(**names) for name, value in values.items()}
    command = [part for flag in flags(chain, tmp_path / "out", **values) for part in flag.split(" ")]
    with pytest.raises((ValueError, SystemExit)) as error:  # tyro itself prints what a config refuses
        distill_diffusion.main(command)
    printed = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert re.search(message, f"{error.value} {printed}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"solver": "dpm-solver++"},
            r"--solver dpm-solver\+\+: .* pass --solver few-step --num-inference-steps 4",
        ),
        ({"steps": 2}, r"--num-inference-steps 2: the model was distilled for 4"),
        ({"guidance_scale": 9.0}, r"--guidance-scale 9.0: the model was distilled for 1 to 5"),
        ({"vision": "{uvit}"}, r"--solver few-step is for students"),
    ],
)
def test_a_student_is_not_drawn_in_another_way(chain, student, tmp_path, values, message):
    values = {"vision": student, **values}
    vision = str(values.pop("vision")).format(uvit=chain.run("uvit"))
    with pytest.raises(ValueError, match=message):
        sample_pairs.main(film_flags(chain, tmp_path / "out", vision, **values))


def test_a_dry_run_counts_the_student(chain, tmp_path, capsys):
    """By its teacher, where that is there; else it says so. Nothing is written."""
    for teacher, said in (("uvit", r"student: UViT, [\d,]+ parameters"), ("sd", "student: UNet2DCondition")):
        command = flags(chain, tmp_path / "out", teacher=chain.run(teacher))
        distill_diffusion.main([*command, "--dry-run"])
        assert re.search(said, capsys.readouterr().out)
    distill_diffusion.main(["--teacher", "no/such/run", "--out", str(tmp_path / "out"), "--dry-run"])
    assert "student: of unknown size" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_processes_trace_the_paths_of_one(chain, tmp_path):
    states = []
    for num in (1, 2):
        cache = tmp_path / f"cache{num}"
        command = flags(chain, tmp_path / f"run{num}", cache=cache, num_paths=80, num_steps=1)
        ranks = forked.run_ranks(distill_diffusion.main, command, num=num)
        assert [ended.exitcode for ended in ranks] == [0] * num, "\n".join(r.output for r in ranks)
        states.append({np.load(path).tobytes() for path in cache.glob("*/states.npy")})
    assert len(states[0]) == 2
    assert states[0] == states[1]


def test_a_student_starts_from_a_film_too(chain, student, tmp_path):
    """--init-film at the share of the steps that is left."""
    film = PairsFolder.open(chain.run("data")).image_paths[0]
    command = film_flags(chain, tmp_path / "out", student, init_film=film, strength=0.5)
    sample_pairs.main([*command, "--films-only"])
    assert len(PairsFolder.open(tmp_path / "out")) == 4


def test_a_student_is_no_start_of_a_fine_tuning(chain, tmp_path):
    import train_diffusion_clipSD

    out = tmp_path / "sd_4"
    distill_diffusion.main(flags(chain, out, teacher=chain.run("sd"), num_steps=1, num_paths=8))
    command = [
        "--data",
        chain.run("data"),
        "--autoencoder",
        chain.run("autoencoder"),
        "--clip",
        chain.run("clip"),
    ]
    command += ["--cache", chain.run("cache"), "--out", str(tmp_path / "x"), "--init-from", str(out)]
    with pytest.raises(ValueError, match="is distilled for few steps"):
        train_diffusion_clipSD.main(command)


def test_defaults_fit_each_other():
    for num in (1, 2, 4, 8):
        config = PathConfig(num_evaluations=num, teacher_steps=16)
        assert config.num_stops % num == 0
