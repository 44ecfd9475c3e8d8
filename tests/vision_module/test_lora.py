"""LoRA through the real scripts: only adapters train, and merged and adapter folders give the same films."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from helpers.float64 import in_float64
from safetensors.torch import load_file

import train_diffusion_clipSD
from data_module.images import read_pixels
from data_module.pairs import PairsFolder
from sample_pairs import main as sample
from training.config import TrainConfig
from training.optimizer import ParameterGroup, make_optimizers
from vision_module.adapters import add_adapters, merge_adapters
from vision_module.config import LoraConfig
from vision_module.diffusion import PromptedDenoiser
from vision_module.pipeline import VisionModel, load_prompts


def train(chain, out, *flags):
    """Three LoRA steps on the chain's Stable Diffusion, at a rate that moves the films."""
    base = chain.run("sd")
    command = ["--data", chain.run("data"), "--autoencoder", chain.run("autoencoder"), "--clip", base]
    command += ["--init-from", base, "--out", str(out), "--cache", chain.run("cache"), "--lora"]
    command += ["--num-steps", "3", "--batch-size", "4", "--warmup-steps", "0", "--schedule", "constant"]
    train_diffusion_clipSD.main([*command, "--learning-rate", "0.3", "--lora-text-encoder", *flags])
    return out


@pytest.fixture(scope="module")
def runs(chain, tmp_path_factory):
    """The same training, exported both ways, in float64: merging rounds."""
    root = tmp_path_factory.mktemp("lora")
    with in_float64():
        return {
            export: train(chain, root / export, "--lora-export", export) for export in ("merged", "adapter")
        }


def films(chain, vision, out):
    sample([*chain.sample_flags(out, vision=vision), "--films-only"])
    return torch.stack([torch.as_tensor(read_pixels(path)) for path in PairsFolder.open(out).image_paths])


def test_merged_and_adapter_models_give_the_same_films(chain, runs, tmp_path):
    merged, adapter, base = (
        films(chain, vision, tmp_path / name).int()
        for name, vision in {**runs, "base": chain.run("sd")}.items()
    )
    assert (merged - adapter).abs().max() <= 1
    assert (merged - base).abs().float().mean() > 1, "the adapters changed nothing"


@pytest.mark.usefixtures("float64")
def test_plain_diffusers_loads_the_adapter_into_the_base(chain, runs):
    """load_lora_weights on the base pipeline equals the merged folder, text encoder and U-Net each."""
    pipeline, merged = (
        StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float64)
        for folder in (chain.run("sd/model"), runs["merged"] / "model")
    )
    pipeline.load_lora_weights(str(runs["adapter"] / "model"))
    generator = torch.Generator().manual_seed(0)
    token_ids = torch.randint(0, 100, (2, 77), generator=generator)
    latents = torch.randn(2, 4, 16, 16, generator=generator)
    with torch.no_grad():
        states = [part.text_encoder.eval()(token_ids).last_hidden_state for part in (pipeline, merged)]
        torch.testing.assert_close(*states)
        outputs = [part.unet.eval()(latents, 500, states[0]).sample for part in (pipeline, merged)]
    torch.testing.assert_close(*outputs)


def test_the_adapter_folder_holds_adapters_only(chain, runs):
    folder = runs["adapter"] / "model"
    weights = load_file(folder / "pytorch_lora_weights.safetensors")
    assert {name.split(".")[0] for name in weights} == {"unet", "text_encoder"}
    assert all("lora" in name for name in weights)
    assert list(folder.rglob("*.safetensors")) == [folder / "pytorch_lora_weights.safetensors"]
    base = json.loads((folder / "adapter.json").read_text())
    assert base["unet"] == chain.run("sd/model")


@pytest.mark.usefixtures("float64")
def test_only_the_adapters_train(chain):
    """After steps of the real optimizer every base weight is what it was, and every adapter has moved."""
    base = chain.run("sd/model")
    prompts = load_prompts(base, base, "concat", "all").requires_grad_(False)
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    torch.manual_seed(0)
    groups = add_adapters(unet, prompts.text_encoder, LoraConfig(lora=True, lora_text_encoder=True))
    model = PromptedDenoiser(unet, prompts)
    (optimizer,) = make_optimizers(model, TrainConfig(learning_rate=1e-2), groups)
    rates = sorted({group["lr"] for group in optimizer.param_groups})
    assert rates == pytest.approx([1e-2 * 0.05, 1e-2 * 0.3])
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25, 0.08}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    token_ids = prompts.tokenize(["effusion", "edema"])
    for _ in range(2):  # B is zero at first, so A moves from the second step on
        keep = torch.ones(2, dtype=torch.bool)
        output = model(
            torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), token_ids, torch.randn(2, 32), keep
        )
        output.sample.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert moved == {name for name in before if "lora_" in name}
    merged = merge_adapters(unet)
    assert not any("lora" in name for name in merged.state_dict())
    assert any("lora" in name for name in unet.state_dict()), "merging must leave the trained model alone"
    context = torch.randn(2, 78, 32)
    latents = torch.randn(2, 4, 16, 16)
    with torch.no_grad():
        expected = unet.eval()(latents, 500, context).sample
        torch.testing.assert_close(merged.eval()(latents, 500, context).sample, expected)


def test_a_group_without_parameters_is_named():
    with pytest.raises(ValueError, match=r"no trainable parameter text_encoder\.\*"):
        make_optimizers(torch.nn.Linear(2, 2), TrainConfig(), [ParameterGroup("text_encoder.")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lora"], "--lora adapts a trained U-Net: pass --init-from"),
        (["--lora-text-encoder"], "--lora-text-encoder goes with --lora"),
        (["--lora", "--init-from", "no/such/run"], "--init-from no/such/run: no such folder"),
    ],
)
def test_bad_flags_are_named(chain, tmp_path, flags, message):
    with pytest.raises(ValueError, match=message):
        train_diffusion_clipSD.main(["--data", chain.run("data"), "--out", str(tmp_path / "out"), *flags])


def test_a_missing_base_is_named(runs, tmp_path):
    copied = tmp_path / "model"
    copied.mkdir()
    for path in (runs["adapter"] / "model").iterdir():
        if path.is_file():
            (copied / path.name).write_bytes(path.read_bytes())
    base = json.loads((copied / "adapter.json").read_text())
    (copied / "adapter.json").write_text(json.dumps({**base, "unet": str(tmp_path / "gone")}))
    with pytest.raises(ValueError, match=r"adapter.json: its base .*gone is not there"):
        VisionModel.from_pretrained(copied)
