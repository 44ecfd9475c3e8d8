"""The text-to-latent baseline: what it can learn, its files, its script, and its error messages."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

import train_text_to_latent
from prior_model.text_to_latent import TextLatentSource, TextToLatent, text_to_latent_losses
from runtime.runs import RunFolder
from training.config import TrainConfig
from training.loop import fit
from vision_module.autoencoder import decode_latents


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TextToLatent(text_dim=6, latent_channels=3, latent_size=4, hidden_dim=16, num_hidden_layers=2)


def test_saved_and_loaded_it_says_the_same(model, tmp_path):
    """Also after its texts were standardized: mean and deviation travel in the file."""
    texts = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)) * 3 + 10
    model.fit_texts(texts)
    model.save_pretrained(tmp_path)
    loaded = TextToLatent.from_pretrained(tmp_path).eval()
    latents = loaded(texts)
    assert latents.shape == (50, 3, 4, 4)
    assert torch.equal(latents, model.eval()(texts))
    standardized = (texts - loaded.text_mean) / loaded.text_std
    torch.testing.assert_close(standardized.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardized.std(dim=0), torch.ones(6), atol=1e-5, rtol=0)


def test_a_bounded_one_stays_within_one():
    torch.manual_seed(0)
    bounded = TextToLatent(text_dim=6, latent_size=4, hidden_dim=16, bounded=True)
    assert bounded(1e3 * torch.ones(2, 6)).abs().max().item() <= 1.0


def test_other_embeddings_are_refused(model):
    with pytest.raises(ValueError, match=r"\(2, 5\) do not fit.*takes \(B, 6\).*another text encoder"):
        model(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"\(2, 1, 6\) do not fit"):
        model(torch.zeros(2, 1, 6))


def make_source(rows):
    """Four films, two texts of the first: latents are 1 where the text has feature 0, else -1."""
    texts = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float16)
    latents = np.array([1, -1, 1, -1], dtype=np.float16)[:, None, None, None] * np.ones((4, 2, 3, 3))
    index = np.array([[0, 2], [1, -1], [2, -1], [1, -1]], dtype=np.int32)
    return TextLatentSource(latents.astype(np.float16), texts, index, np.asarray(rows))


def test_a_batch_has_texts_of_its_own_films():
    source = make_source([3, 0])
    generator = torch.Generator().manual_seed(0)
    drawn = [source.get_batch(np.array([0, 1]), generator) for _ in range(20)]
    assert all(batch["latents"][:, 0, 0, 0].tolist() == [-1.0, 1.0] for batch in drawn)
    assert all(batch["text"][0].tolist() == [0.0, 1.0] for batch in drawn)
    assert {tuple(batch["text"][1].tolist()) for batch in drawn} == {(1.0, 0.0), (1.0, 1.0)}
    assert source.all_texts().tolist() == [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    torch.testing.assert_close(source.mean_latents(), torch.zeros(2, 3, 3))


def test_it_learns_what_the_text_decides(tmp_path):
    """Latents that are a function of the text are met; the mean of the films explains nothing of them."""
    source = make_source([0, 1, 2, 3])
    torch.manual_seed(0)
    model = TextToLatent(text_dim=2, latent_channels=2, latent_size=3, hidden_dim=32, num_hidden_layers=1)
    model.fit_texts(source.all_texts())
    mean = source.mean_latents()

    def objective(model, batch, generator):
        return text_to_latent_losses(model(batch["text"]), batch["latents"], mean)

    config = TrainConfig(num_steps=150, batch_size=4, learning_rate=2e-2, warmup_steps=0)
    run = RunFolder(tmp_path, "text_to_latent", {})
    losses = fit(model, objective, source, source, config, run, lambda m, f: m.save_pretrained(f))
    assert losses["validation_loss"] < 0.01
    assert losses["validation_mse_of_mean"] == pytest.approx(1.0)


def test_the_script_and_its_films(chain, tmp_path):
    """A run of a second on the chain's latents and texts; the run's autoencoder decodes what it says."""
    out = tmp_path / "run"
    flags = ["--data", chain.run("data"), "--autoencoder", chain.run("autoencoder")]
    flags += ["--clip", chain.run("clip"), "--cache", chain.run("cache"), "--out", str(out)]
    flags += ["--num-steps", "3", "--batch-size", "4", "--hidden-dim", "16", "--ema-decay", "0"]
    train_text_to_latent.main(flags)
    model_dir = RunFolder.open(out, "text_to_latent").model_dir
    model = TextToLatent.from_pretrained(model_dir).eval()
    assert model.text_std.min() > 0
    assert not torch.equal(model.text_mean, torch.zeros_like(model.text_mean))
    latents = model(torch.randn(2, model.config.text_dim))
    autoencoder = AutoencoderKL.from_pretrained(chain.run("autoencoder/model"))
    assert decode_latents(autoencoder, latents).shape == (2, 1, 64, 64)
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"validation_loss", "validation_mse_of_mean"} <= set(last)
    with pytest.raises(ValueError, match=r"--clip .*holds a classifier run; a clip or"):
        train_text_to_latent.main([*flags, "--clip", chain.run("classifier")])
