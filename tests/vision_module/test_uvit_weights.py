"""The authors' U-ViT files, written with their own key names: a state dict of the class-conditional model."""

import pickle

import pytest
import torch

from vision_module.uvit import UViT
from vision_module.weights.uvit import load_published

SHAPE = {"sample_size": 8, "patch_size": 2, "embed_dim": 32, "depth": 5, "num_heads": 4, "context_dim": 12}
NUM_PATCHES = 16


def published(num_classes=11, embed_dim=32, half=2):
    """Keys and shapes of libs/uvit.py of the authors' repository (depth 2 * half, so 2 * half + 1 blocks)."""
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def put(name, *shape):
        weights[name] = torch.randn(shape, generator=generator)

    put("pos_embed", 1, (2 if num_classes else 1) + NUM_PATCHES, embed_dim)
    put("patch_embed.proj.weight", embed_dim, 4, 2, 2)
    put("patch_embed.proj.bias", embed_dim)
    if num_classes:
        put("label_emb.weight", num_classes, embed_dim)
    blocks = (
        [f"in_blocks.{i}" for i in range(half)] + ["mid_block"] + [f"out_blocks.{i}" for i in range(half)]
    )
    for block in blocks:
        for name in ("norm1", "norm2"):
            put(f"{block}.{name}.weight", embed_dim)
            put(f"{block}.{name}.bias", embed_dim)
        put(f"{block}.attn.qkv.weight", 3 * embed_dim, embed_dim)
        put(f"{block}.attn.proj.weight", embed_dim, embed_dim)
        put(f"{block}.attn.proj.bias", embed_dim)
        put(f"{block}.mlp.fc1.weight", 4 * embed_dim, embed_dim)
        put(f"{block}.mlp.fc1.bias", 4 * embed_dim)
        put(f"{block}.mlp.fc2.weight", embed_dim, 4 * embed_dim)
        put(f"{block}.mlp.fc2.bias", embed_dim)
        if block.startswith("out"):
            put(f"{block}.skip_linear.weight", embed_dim, 2 * embed_dim)
            put(f"{block}.skip_linear.bias", embed_dim)
    put("norm.weight", embed_dim)
    put("norm.bias", embed_dim)
    put("decoder_pred.weight", 16, embed_dim)
    put("decoder_pred.bias", 16)
    put("final_layer.weight", 4, 4, 3, 3)
    put("final_layer.bias", 4)
    return weights


@pytest.mark.parametrize("num_context_tokens", [1, 78])
def test_every_tensor_finds_its_place(tmp_path, num_context_tokens):
    weights, path = published(), tmp_path / "imagenet256_uvit.pth"
    torch.save(weights, path)
    model = UViT(**SHAPE, num_context_tokens=num_context_tokens)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    account = load_published(model, path)
    after = model.state_dict()
    for name in set(after) - {"pos_embed", "context_embed.weight", "context_embed.bias"}:
        assert torch.equal(after[name], weights[name]), name
    for name in ("context_embed.weight", "context_embed.bias"):
        assert torch.equal(after[name], before[name]), name
    assert "label_emb.weight left out; new: context_embed.weight, context_embed.bias" in account
    assert f"{len(weights) - 1} of {len(weights)} tensors loaded" in account
    # Theirs: label, time, patches; ours: time, context, patches.
    positions = after["pos_embed"]
    assert torch.equal(positions[:, 0], weights["pos_embed"][:, 1])
    for token in range(1, 1 + num_context_tokens):
        assert torch.equal(positions[:, token], weights["pos_embed"][:, 0])
    assert torch.equal(positions[:, 1 + num_context_tokens :], weights["pos_embed"][:, 2:])


@pytest.mark.usefixtures("float64")
def test_the_loaded_model_is_the_published_one(tmp_path):
    """With the label's embedding as the context token, the output is that of the authors' token order."""
    weights, path = published(), tmp_path / "weights.pth"
    torch.save(weights, path)
    model = UViT(**{**SHAPE, "context_dim": 32}).eval()
    load_published(model, path)
    with torch.no_grad():
        model.context_embed.weight.copy_(torch.eye(32))
        model.context_embed.bias.zero_()
        label = weights["label_emb.weight"][3].expand(2, 1, 32)
        latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        output = model(latents, torch.tensor([5, 700]), label).sample
        expected = label_first(model, weights, latents, torch.tensor([5, 700]), label)
    torch.testing.assert_close(output, expected)


def label_first(model, weights, latents, timestep, label):
    """The authors' forward: label, time, patches with the file's own position embeddings."""
    from diffusers.models.embeddings import get_timestep_embedding

    time = get_timestep_embedding(timestep, 32, flip_sin_to_cos=True, downscale_freq_shift=0)[:, None]
    x = torch.cat([label, time, model.patch_embed(latents)], dim=1) + weights["pos_embed"]
    skips = []
    for block in model.in_blocks:
        x = block(x)
        skips.append(x)
    x = model.mid_block(x)
    for block in model.out_blocks:
        x = block(x, skips.pop())
    return model.final_layer(model._unpatchify(model.decoder_pred(model.norm(x))[:, 2:]))


def test_weights_without_labels_load_too(tmp_path):
    weights, path = published(num_classes=0), tmp_path / "uncond.pth"
    torch.save(weights, path)
    model = UViT(**SHAPE)
    assert "no label embedding in the file" in load_published(model, path)
    assert torch.equal(model.pos_embed[:, 0], weights["pos_embed"][:, 0])


def wrong(kind):
    weights = published()
    if kind == "larger":
        return published(embed_dim=64, half=3)
    if kind == "missing":
        return {name: value for name, value in weights.items() if not name.startswith("mid_block.mlp")}
    if kind == "unexpected":
        return {**weights, "time_embed.0.weight": torch.zeros(4, 4)}
    if kind == "checkpoint":
        return {"optimizer": {"lr": 1.0}, "epoch": 3}
    if kind == "positions":
        return {**weights, "pos_embed": torch.zeros(1, 66, 32)}
    return [weights]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("larger", r"expected .* 5 blocks of width 32.* found 7 blocks of width 64"),
        ("missing", r"missing: mid_block.mlp.fc1.bias, mid_block.mlp.fc1.weight"),
        ("unexpected", r"unexpected: time_embed.0.weight"),
        ("checkpoint", r"expected the authors' U-ViT weights .* found a dict with the keys optimizer, epoch"),
        ("positions", r"of another shape: pos_embed \(1, 66, 32\) in the place of \(1, 18, 32\)"),
        ("list", r"found a list"),
    ],
)
def test_a_wrong_file_says_what_was_expected_and_found(tmp_path, kind, message):
    path = tmp_path / "wrong.pth"
    torch.save(wrong(kind), path)
    with pytest.raises(ValueError, match=message):
        load_published(UViT(**SHAPE), path)


class Touch:
    """A pickle that would write a file if it were run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_not_run(tmp_path):
    path, touched = tmp_path / "evil.pth", tmp_path / "touched"
    torch.save({"pos_embed": Touch(touched)}, path)
    with pytest.raises(ValueError, match="found a file that cannot be read"):
        load_published(UViT(**SHAPE), path)
    path.write_bytes(pickle.dumps([1, 2])[:-1])
    with pytest.raises(ValueError, match="found a file that cannot be read"):
        load_published(UViT(**SHAPE), path)
    with pytest.raises(ValueError, match="no such file"):
        load_published(UViT(**SHAPE), tmp_path / "nowhere.pth")
    assert not touched.exists()
