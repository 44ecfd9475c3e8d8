"""Losses for membership inference: the training loss up to a constant, of each film alone; and the script."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import audit_membership
from data_module.config import PlanConfig
from data_module.images import load_images
from data_module.pairs import PairsFolder
from data_module.sampling_plan import SamplingPlan
from vision_module.autoencoder import encode_films
from vision_module.few_step import FewStep
from vision_module.membership import make_measure, measure_films
from vision_module.pipeline import VisionModel


@pytest.fixture(scope="module")
def asked(chain):
    """Three films, and what they would be asked for by."""
    data = chain.root / "data"
    plan = SamplingPlan(PlanConfig(data=data, split="train", prompt_order="table"), 0)
    return PairsFolder.open(data).split("train").image_paths[:3], [plan[item] for item in range(3)]


@pytest.mark.parametrize(("run", "kind"), [("uvit", "velocity"), ("sd", "velocity"), ("uvit", "flow")])
def test_losses_are_the_training_loss_times_a_constant(chain, asked, run, kind):
    vision = VisionModel.from_pretrained(chain.run(f"{run}/model"))
    if kind == "flow":
        vision = dataclasses.replace(vision, scheduler=FlowMatchEulerDiscreteScheduler())
    measure, levels = make_measure(vision, 4, 2, seed=7)
    found = measure(*asked)
    assert found.shape == (3, 4)
    films, plan = asked
    latents = encode_films(vision.autoencoder, load_images(films, vision.image_size))[0].float()
    references = load_images([pair.reference for pair in plan], vision.prompts.reference_size)
    context = vision.prompts.encode([pair.prompt for pair in plan], references)
    noises = torch.randn((4, 2, *vision.latent_shape), generator=torch.Generator().manual_seed(7))
    for level, timestep in enumerate(levels.timesteps):
        errors = []
        for noise in noises[level][:, None].expand(-1, 3, -1, -1, -1):
            if kind == "flow":  # straight paths: sigma x the error of the velocity is that of the film
                sigma = float(timestep) / 1000
                noised, target, factor = (1 - sigma) * latents + sigma * noise, noise - latents, sigma**2
            else:
                noised = vision.scheduler.add_noise(latents, noise, timestep.expand(3))
                target = vision.scheduler.get_velocity(latents, noise, timestep.expand(3))
                factor = 1.0 - vision.scheduler.alphas_cumprod[timestep].item()
            with torch.no_grad():
                said = vision.denoiser(
                    noised,
                    timestep.to(torch.float32) if kind == "flow" else timestep,
                    encoder_hidden_states=context,
                ).sample
            errors.append(factor * (said - target).square().mean(dim=(1, 2, 3)))
        np.testing.assert_allclose(found[:, level], torch.stack(errors).mean(0).numpy(), rtol=2e-3)


def test_a_loss_is_of_its_film_alone(chain, asked):
    measure, _ = make_measure(VisionModel.from_pretrained(chain.run("uvit/model")), 3, 1, seed=0)
    together = measure(*asked)
    alone = measure_films(measure, *asked, batch_size=1, name="films")
    np.testing.assert_allclose(alone, together, rtol=1e-4)


def test_students_are_refused(chain):
    vision = VisionModel.from_pretrained(chain.run("uvit/model"))
    vision.few_step = FewStep(4, (1.0, 5.0))
    with pytest.raises(ValueError, match="audit its teacher"):
        make_measure(vision, 3, 1, seed=0)


def test_the_script_measures_both_sides_and_scores(chain, tmp_path, capsys):
    flags = ["--vision", chain.run("uvit"), "--data", chain.run("data"), "--num-levels", "3"]
    flags += ["--num-films", "5", "--num-bootstrap", "50", "--batch-size", "2"]
    audit_membership.main([*flags, "--out", str(tmp_path / "a")])
    table = pd.read_csv(tmp_path / "a/losses.csv")
    assert table["split"].tolist() == ["train"] * 5 + ["validation"] * 5
    losses = [name for name in table if name.startswith("loss_")]
    assert losses == ["loss_999", "loss_666", "loss_332"]
    assert (table[losses] > 0).all(axis=None)
    rows = PairsFolder.open(chain.run("data")).table.set_index("file_name")
    assert (rows.loc[table["file_name"], "split"].to_numpy() == table["split"]).all()
    record = json.loads((tmp_path / "a/membership.json").read_text())
    assert (record["num_members"], record["num_others"]) == (5, 5)
    output = capsys.readouterr()
    assert "# Membership inference" in output.out
    assert "warning" not in output.err
    audit_membership.main([*flags, "--out", str(tmp_path / "b")])
    assert (tmp_path / "b/losses.csv").read_bytes() == (tmp_path / "a/losses.csv").read_bytes()


def test_other_data_is_warned_of(chain, tmp_path, capsys):
    pairs = PairsFolder.open(chain.run("data"))
    (tmp_path / "images").symlink_to(pairs.root / "images")
    pairs.table.assign(prompt="Edema.").to_csv(tmp_path / "metadata.csv", index=False)
    config = audit_membership.Config(vision=chain.run("uvit"), data=tmp_path)
    audit_membership.warn_of_other_data(config)
    assert "is not the table that" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["num-levels", "num-draws", "batch-size"])
def test_nothing_to_measure_is_refused(flag, capsys):
    with pytest.raises(SystemExit):
        audit_membership.main([f"--{flag}", "0", "--dry-run"])
    assert f"--{flag} 0: must be at least 1" in capsys.readouterr().err
