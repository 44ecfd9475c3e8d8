"""Weights of anyone's files: every tensor there and finite, or refused by name."""

import json
import re
import shutil
import struct

import pytest
import torch
from helpers.forked import run
from malformed import own_inputs
from malformed.runner import read_one
from safetensors.torch import load_file, save_file

from language_module.codec import ReportCodec
from prior_model.prior import ReportPrior
from runtime.weights import load_pretrained, read_weights
from vision_module.pipeline import VisionModel


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A whole vision model, codec and prior of tiny sizes."""
    folder = tmp_path_factory.mktemp("models")
    own_inputs.model_seeds(folder)
    return folder


LOADERS = {
    "vision": VisionModel.from_pretrained,
    "codec": ReportCodec.from_pretrained,
    "prior": lambda folder: load_pretrained(ReportPrior, folder),
}


def weight_files(folder):
    return sorted(folder.rglob("*.safetensors"))


def change(path, function):
    weights = load_file(path)
    function(weights)
    save_file(weights, path, {"format": "pt"})


def spoil(value):
    def function(weights):
        name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
        weights[name].view(-1)[-1] = value

    return function


def drop_one(weights):
    del weights[sorted(weights)[len(weights) // 2]]


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (spoil(torch.nan), "not finite"),
        (spoil(torch.inf), "not finite"),
        (drop_one, "lack|missing"),
        (dict.clear, "lack|missing"),
    ],
)
def test_every_weight_file_is_whole_and_finite(models, tmp_path, kind, damage, said):
    """Each of a model's files in turn: nothing is filled with random numbers, nothing draws black films."""
    for number, path in enumerate(weight_files(models / kind)):
        folder = tmp_path / str(number)
        shutil.copytree(models / kind, folder)
        damaged = folder / path.relative_to(models / kind)
        change(damaged, damage)
        with pytest.raises(ValueError, match=said) as error:
            LOADERS[kind](folder)
        assert str(folder) in str(error.value)
        assert "weights_only=False" not in str(error.value)


@pytest.mark.parametrize("kind", LOADERS)
def test_half_precision_files_load_in_float32(models, tmp_path, kind):
    """As hubs have them: `*.fp16.safetensors` with no others beside."""
    folder = tmp_path / kind
    shutil.copytree(models / kind, folder)
    renamed = 0
    for path in weight_files(folder):
        if path.stem not in ("model", "diffusion_pytorch_model"):
            continue  # a file of our own, which no hub has
        change(path, lambda weights: weights.update({k: v.half() for k, v in weights.items()}))
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
        renamed += 1
    assert renamed
    model, whole = LOADERS[kind](folder), LOADERS[kind](models / kind)
    for half, full in zip(parameters(model), parameters(whole), strict=True):
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, full, rtol=1e-3, atol=1e-4)


def parameters(model):
    parts = [model.denoiser, model.autoencoder, model.prompts] if isinstance(model, VisionModel) else [model]
    return [parameter for part in parts for parameter in part.parameters()]


def test_a_part_that_is_not_there_is_named(models, tmp_path):
    folder = tmp_path / "vision"
    shutil.copytree(models / "vision", folder)
    shutil.rmtree(folder / "vae")
    with pytest.raises(ValueError, match="no folder vae/"):
        VisionModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors", "pth"])
def test_failed_downloads_are_called_what_they_are(tmp_path, content, found, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=found):
        read_weights(path, "weights of a network")


class Planted:
    """What a pickle runs when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    torch.save({"state_dict": {"weight": Planted(tmp_path / "ran")}}, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match="code in it is never run") as error:
        read_weights(tmp_path / "weights.ckpt", "weights of a network")
    assert "weights_only" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_state_dict_that_holds_itself_ends(tmp_path):
    content: dict = {}
    content["state_dict"] = content
    torch.save(content, tmp_path / "weights.pth")
    ended = run(read_in_process, tmp_path / "weights.pth", timeout_s=20)
    assert ended.exitcode == 2, ended.output
    assert "found a dict with the keys state_dict" in ended.output


def read_in_process(path):
    read_weights(path, "weights of a network")


def test_no_room_is_made_for_a_damaged_length(tmp_path):
    """A text of 4 GB, says a file of nine bytes, to a process that may take 2."""
    (tmp_path / "a.pth").write_bytes(b"X" + struct.pack("<I", 0xF0000000) + b"text")
    ended = run(read_one, "weights", tmp_path / "a.pth", tmp_path / "found")
    assert ended.exitcode == 2
    assert "a.pth: expected a tiny model, found a file that cannot be read" in ended.output
    assert "MemoryError" not in ended.output


@pytest.mark.parametrize("kind", LOADERS)
def test_no_room_is_made_for_a_config_of_another_size(models, tmp_path, kind):
    """One number of a config a thousand times as large asks for weights that the files do not have."""
    shutil.copytree(models / kind, tmp_path / kind)
    sizes = re.compile(r'("(?:embed_dim|d_model|vocab_size|hidden_size|block_out_channels)": \[?\s*)(\d+)')
    for config in (tmp_path / kind).rglob("config.json"):
        damaged, count = sizes.subn(lambda found: f"{found[1]}{found[2]}000000", config.read_text())
        whole = config.read_text()
        if not count or not any(path.suffix == ".safetensors" for path in config.parent.iterdir()):
            continue
        config.write_text(damaged)
        with pytest.raises(ValueError, match=r"config\.json: describes [\d,]+ weights, where the files"):
            LOADERS[kind](tmp_path / kind)
        config.write_text(whole)
    LOADERS[kind](tmp_path / kind)


@pytest.mark.parametrize("kind", ["vision", "codec"])
def test_a_damaged_tokenizer_is_named(models, tmp_path, kind):
    """Without its settings, or with a new special token, that the model has no embedding of."""
    shutil.copytree(models / kind, tmp_path / kind)
    (path,) = (tmp_path / kind).rglob("tokenizer_config.json")
    whole = path.read_text()
    for token in ("eos_token", "pad_token"):
        path.write_text(json.dumps(json.loads(whole) | {token: "<new>"}))
        with pytest.raises(ValueError, match=r"it has tokens from [\d,]+ on, which its model does not know"):
            LOADERS[kind](tmp_path / kind)
    if kind == "vision":  # a BART's tokenizer knows them by itself
        path.unlink()
        with pytest.raises(ValueError, match="it has no pad_token"):
            LOADERS[kind](tmp_path / kind)
