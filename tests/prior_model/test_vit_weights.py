"""Published ViT weights into the prior: both layouts, with every key accounted for."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from prior_model.prior import ReportPrior
from prior_model.vit_weights import convert_keys, load_vit_weights

DIM, DEPTH, HEADS = 32, 2, 2
# The names that google/vit-base-patch16-224 has on the hub, per block; transformers 5 loads them still.
HUB_BLOCK = [
    *(
        f"attention.attention.{name}.{kind}"
        for name in ("query", "key", "value")
        for kind in ("weight", "bias")
    ),
    *(
        f"{name}.{kind}"
        for name in (
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
            "layernorm_before",
            "layernorm_after",
        )
        for kind in ("weight", "bias")
    ),
]


@pytest.fixture(scope="module")
def timm_vit():
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=32, patch_size=8, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=5
    ).eval()


@pytest.fixture(scope="module")
def hub_weights():
    """A checkpoint under the hub's names, and the transformers model that reads it."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) * 0.2

    sizes = {"query": (DIM, DIM), "key": (DIM, DIM), "value": (DIM, DIM), "attention.output": (DIM, DIM)}
    weights = {
        "vit.embeddings.cls_token": draw(1, 1, DIM),
        "vit.embeddings.position_embeddings": draw(1, 17, DIM),
        "vit.embeddings.patch_embeddings.projection.weight": draw(DIM, 3, 8, 8),
        "vit.embeddings.patch_embeddings.projection.bias": draw(DIM),
        "vit.layernorm.weight": draw(DIM),
        "vit.layernorm.bias": draw(DIM),
        "classifier.weight": draw(5, DIM),
        "classifier.bias": draw(5),
    }
    for block in range(DEPTH):
        for name in HUB_BLOCK:
            if name.endswith("bias"):
                shape = (4 * DIM,) if name.startswith("intermediate") else (DIM,)
            elif "layernorm" in name:
                shape = (DIM,)
            elif name.startswith("intermediate"):
                shape = (4 * DIM, DIM)
            elif name.startswith("output"):
                shape = (DIM, 4 * DIM)
            else:
                shape = sizes["query"]
            weights[f"vit.encoder.layer.{block}.{name}"] = draw(*shape)
    return weights


def make_prior(num_embeddings=1, **sizes):
    values = {"latent_channels": 3, "latent_size": 32, "patch_size": 8, "dim": DIM, "depth": DEPTH}
    return ReportPrior(**{**values, "num_heads": HEADS, **sizes}, num_embeddings=num_embeddings).eval()


def tokens(vit, images):
    with torch.no_grad():
        return vit.forward_features(images)


def test_timm_layout_computes_the_same(timm_vit, tmp_path):
    save_file(timm_vit.state_dict(), tmp_path / "model.safetensors")
    prior = make_prior()
    loaded = load_vit_weights(prior.vit, tmp_path)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(tokens(prior.vit, images), tokens(timm_vit, images))
    assert set(loaded.left_out) == {"head.weight", "head.bias"}
    assert set(loaded.taken) == set(prior.vit.state_dict())
    assert loaded.added == ()


@pytest.mark.usefixtures("float64")
def test_hub_layout_computes_what_transformers_does(hub_weights, tmp_path):
    config = ViTConfig(
        hidden_size=DIM,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=4 * DIM,
        image_size=32,
        patch_size=8,
        layer_norm_eps=1e-6,
        num_labels=5,
    )
    ViTForImageClassification(config).save_pretrained(tmp_path)
    save_file(hub_weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs = ViTModel.from_pretrained(tmp_path, add_pooling_layer=False).double().eval()
    prior = make_prior()
    loaded = load_vit_weights(prior.vit, tmp_path)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = theirs(pixel_values=images).last_hidden_state
    torch.testing.assert_close(tokens(prior.vit, images), wanted)
    assert set(loaded.left_out) == {"classifier.weight", "classifier.bias"}
    taken, left_out = convert_keys(hub_weights)
    assert len(taken) + 2 * 2 * DEPTH + len(left_out) == len(hub_weights)  # q, k, v are joined to one


def test_latents_and_registers(timm_vit, tmp_path):
    """4 channels, a patch of 2, a grid of 8x8 and 3 prefix tokens, from 3 channels, 8, 4x4 and 1."""
    path = tmp_path / "vit.safetensors"
    save_file(timm_vit.state_dict(), path)
    prior = make_prior(3, latent_channels=4, latent_size=16, patch_size=2)
    before = prior.vit.reg_token.detach().clone()
    loaded = load_vit_weights(prior.vit, path)
    assert loaded.added == ("reg_token",)
    assert prior.vit.patch_embed.proj.weight.shape == (DIM, 4, 2, 2)
    flat = timm_vit.state_dict()
    flat["patch_embed.proj.weight"] = torch.randn(DIM, 3, 1, 1).expand(-1, -1, 8, 8).contiguous()
    save_file(flat, tmp_path / "flat.safetensors")
    three = make_prior(latent_size=16, patch_size=2)
    load_vit_weights(three.vit, tmp_path / "flat.safetensors")
    load_vit_weights(prior.vit, tmp_path / "flat.safetensors")
    smaller, source = three.vit.patch_embed.proj.weight, flat["patch_embed.proj.weight"]
    # A flat gray patch keeps its token when the patch shrinks; a fourth channel repeats the first.
    torch.testing.assert_close(smaller.sum((2, 3)), source.sum((2, 3)), rtol=0.15, atol=1e-3)
    torch.testing.assert_close(prior.vit.patch_embed.proj.weight, smaller[:, [0, 1, 2, 0]] * 3 / 4)
    torch.testing.assert_close(prior.vit.reg_token, timm_vit.cls_token + before)
    assert prior.vit.pos_embed.shape == (1, 3 + 64, DIM)
    assert torch.equal(prior.vit.pos_embed[0, 2], timm_vit.pos_embed[0, 0])
    assert prior(torch.randn(1, 4, 16, 16)).shape == (1, 3, 768)


def test_wrong_checkpoints_are_refused(timm_vit, tmp_path):
    with pytest.raises(ValueError, match=r"no model\.safetensors"):
        load_vit_weights(make_prior().vit, tmp_path)
    path = tmp_path / "vit.safetensors"
    save_file(timm_vit.state_dict(), path)
    with pytest.raises(ValueError, match=r"lacks blocks\.2"):
        load_vit_weights(make_prior(depth=3).vit, path)
    with pytest.raises(ValueError, match=r"also has blocks\.1"):
        load_vit_weights(make_prior(depth=1).vit, path)
    with pytest.raises(ValueError, match="in another size"):
        load_vit_weights(make_prior(dim=64).vit, path)
    weights = load_file(path)
    weights["surprise"] = torch.zeros(1)
    save_file(weights, path)
    with pytest.raises(ValueError, match="also has surprise"):
        load_vit_weights(make_prior().vit, path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no patch_embed"):
        load_vit_weights(make_prior().vit, path)
