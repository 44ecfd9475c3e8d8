"""The report prior: shapes, saving, losses, training batches."""

import math

import numpy as np
import pytest
import torch

from prior_model.config import PriorLossConfig
from prior_model.objective import LatentReportSource, prior_losses
from prior_model.prior import ReportPrior

TINY = {"latent_channels": 4, "latent_size": 8, "patch_size": 2, "dim": 32, "depth": 2, "num_heads": 2}


def make_prior(num_embeddings=3, embedding_dim=16, **config):
    torch.manual_seed(0)
    sizes = {"num_embeddings": num_embeddings, "embedding_dim": embedding_dim}
    return ReportPrior(**TINY, **sizes, **config).eval()


@pytest.mark.parametrize("num_embeddings", [1, 4, 32])
def test_shapes(num_embeddings):
    latents = torch.randn(2, 4, 8, 8)
    assert make_prior(num_embeddings)(latents).shape == (2, num_embeddings, 16)


def test_paper_preset_is_vit_b():
    """86 M parameters on 4x32x32 latents at patch 2: 256 patches and the class token."""
    with torch.device("meta"):
        prior = ReportPrior()
    assert prior.vit.pos_embed.shape == (1, 257, 768)
    assert 85e6 < sum(p.numel() for p in prior.parameters()) < 87e6


@pytest.mark.parametrize("stem", [{}, {"stem_depth": 1, "stem_channels": 8, "num_findings": 14}])
def test_items_do_not_mix(stem):
    prior, latents = make_prior(**stem), torch.randn(3, 4, 8, 8)
    other = latents.clone()
    other[0] = 0.0
    assert torch.equal(prior(latents)[1:], prior(other)[1:])


def test_output_is_unbounded():
    """tanh would hold it in -1..1, where a target of unit deviation is not."""
    prior = make_prior()
    target = 3.0 * torch.ones(2, 3, 16)
    latents = torch.randn(2, 4, 8, 8)
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-2)
    for _ in range(60):
        loss = prior_losses(prior(latents), target, PriorLossConfig())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert prior(latents).mean().item() == pytest.approx(3.0, abs=0.1)


def test_findings_shift_the_embeddings():
    prior = make_prior(stem_depth=1, stem_channels=8, num_findings=14)
    latents = torch.randn(2, 4, 8, 8)
    before, logits = prior(latents, return_findings=True)
    assert before.shape == (2, 3, 16)
    assert logits.shape == (2, 14)
    prior.findings_head.bias.data += 5.0
    assert not torch.allclose(prior(latents), before)
    assert make_prior()(latents, return_findings=True)[1] is None
    with pytest.raises(ValueError, match="--stem-depth"):
        make_prior(num_findings=14)


def test_findings_loss_leaves_uncertain_out():
    logits = torch.tensor([[0.0, 0.0, 0.0, 100.0]])
    labels = torch.tensor(
        [[1.0, 0.0, float("nan"), -1.0]]
    )  # the wrong, certain guess of the last is uncertain
    ones = torch.ones(1, 2, 4)
    config = PriorLossConfig(findings_weight=2.0)
    losses = prior_losses(ones, ones, config, findings=(logits, labels))
    assert losses["findings"].item() == pytest.approx(math.log(2.0))
    assert losses["loss"].item() == pytest.approx(2.0 * math.log(2.0), abs=1e-6)


def test_decoder_loss_on_a_part_of_the_batch():
    ones, ids = torch.ones(5, 2, 4), torch.zeros(5, 3)
    config = PriorLossConfig(0.0, 0.0, decoder_loss_weight=1.0, decoder_items=2)
    losses = prior_losses(ones, ones, config, lambda e, t: torch.tensor(float(len(e) + len(t))), ids)
    assert losses["loss"].item() == 4.0


@pytest.mark.parametrize("stem", [{}, {"stem_depth": 1, "stem_channels": 8, "num_findings": 14}])
def test_save_and_load(tmp_path, stem):
    prior, latents = make_prior(codec_fingerprint="abc", **stem), torch.randn(2, 4, 8, 8)
    prior.save_pretrained(tmp_path)
    loaded = ReportPrior.from_pretrained(tmp_path)
    assert torch.equal(loaded(latents), prior(latents))
    assert loaded.config.codec_fingerprint == "abc"
    assert not list(tmp_path.glob("*.bin"))


def test_wrong_shapes_are_named():
    prior = make_prior(codec_fingerprint="abc")
    with pytest.raises(ValueError, match="do not fit this prior"):
        prior(torch.randn(2, 4, 16, 16))
    prior.check_codec(3, 16, "abc")
    prior.check_codec(3, 16)
    with pytest.raises(ValueError, match="predicts 3 embeddings of 16, the codec takes 1 of 16"):
        prior.check_codec(1, 16)
    with pytest.raises(ValueError, match="was trained for codec abc"):
        prior.check_codec(3, 16, "def")
    with pytest.raises(ValueError, match="--patch-size 3"):
        ReportPrior(**{**TINY, "patch_size": 3})
    with pytest.raises(ValueError, match="--num-heads 5"):
        ReportPrior(**{**TINY, "num_heads": 5})


def test_losses_known_answers():
    predicted = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    target = torch.tensor([[[1.0, 0.0], [2.0, 0.0]]])
    losses = prior_losses(predicted, target, PriorLossConfig())
    assert losses["mse"].item() == pytest.approx(2.0)  # (0 + 0 + 4 + 4) / 4
    assert losses["cosine"].item() == pytest.approx(0.5)
    assert losses["loss"].item() == pytest.approx(2.0 + 0.01 * 0.5)

    config = PriorLossConfig(mse_weight=0.5, cosine_weight=0.0, decoder_loss_weight=3.0)
    ids = torch.tensor([[7]])
    losses = prior_losses(predicted, target, config, lambda e, t: e.sum() + t.sum(), ids)
    assert losses["loss"].item() == pytest.approx(0.5 * 2.0 + 3.0 * 10.0)


def make_source(**noise):
    mean = np.arange(6 * 4 * 8 * 8, dtype=np.float16).reshape(6, 4, 8, 8) / 512
    std = np.full_like(mean, 0.25)
    rows = np.array([1, 3, 5])
    ids = torch.tensor([[0, 5, 2] + [1] * 29, [0, 2] + [1] * 30, [0] + [5] * 20 + [2] + [1] * 10])
    embeddings = torch.arange(3.0).reshape(3, 1, 1).expand(3, 2, 16)
    return mean, LatentReportSource(mean, std, rows, embeddings, ids, 1, **noise)


def test_source_takes_its_rows():
    mean, source = make_source()
    batch = source.get_batch(np.array([2, 0]), torch.Generator())
    assert torch.equal(batch["inputs"], torch.from_numpy(mean[[5, 1]]).float())
    assert batch["report_embeddings"][:, 0, 0].tolist() == [2.0, 0.0]
    assert batch["token_ids"].shape == (2, 32)
    assert source.get_batch(np.array([0]), torch.Generator())["token_ids"].shape == (1, 16)
    assert len(source) == 3


def test_source_noise_is_the_posteriors_and_its_own():
    mean, source = make_source(latent_noise=0.6)

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return source.get_batch(np.zeros(2000, dtype=int), generator)["inputs"]

    noise = draw(0) - torch.from_numpy(mean[1]).float()
    assert noise.std().item() == pytest.approx((0.25**2 + 0.6**2) ** 0.5, rel=0.01)
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_source_shifts_whole_cells():
    mean, source = make_source(max_shift=1)
    film = torch.from_numpy(mean[1]).float()
    latents = source.get_batch(np.zeros(40, dtype=int), torch.Generator().manual_seed(0))["inputs"]
    inner = {tuple(latent[0, 1:-1, 1:-1].flatten().tolist()) for latent in latents}
    wanted = {
        tuple(film[0, 1 + y : 7 + y, 1 + x : 7 + x].flatten().tolist())
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    }
    assert inner == wanted
