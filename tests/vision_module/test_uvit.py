"""U-ViT against a plain reference in float64, its files, and its error messages."""

import math

import pytest
import torch

from vision_module.uvit import UVIT_SIZES, UViT

TINY = {
    "sample_size": 8,
    "in_channels": 4,
    "patch_size": 2,
    "embed_dim": 32,
    "depth": 5,
    "num_heads": 4,
    "context_dim": 12,
    "num_context_tokens": 3,
}


def inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, 8, 8, generator=generator, dtype=dtype)
    context = torch.randn(2, 3, 12, generator=generator, dtype=dtype)
    return sample, torch.tensor([7, 801]), context


def plain_forward(weights, sample, timestep, context):
    """U-ViT written out from the paper (Bao et al., 2023, fig. 1) with nothing but tensor arithmetic."""
    dim, heads, patch = 32, 4, 2

    def linear(x, name):
        out = x @ weights[f"{name}.weight"].T
        return out + weights[f"{name}.bias"] if f"{name}.bias" in weights else out

    def norm(x, name):
        centered = x - x.mean(-1, keepdim=True)
        scaled = centered / torch.sqrt(centered.square().mean(-1, keepdim=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def block(x, name, skip=None):
        if skip is not None:
            x = linear(torch.cat([x, skip], -1), f"{name}.skip_linear")
        query, key, value = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").chunk(3, -1)
        heads_out = []
        for head in range(heads):
            part = slice(head * dim // heads, (head + 1) * dim // heads)
            scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(dim // heads)
            heads_out.append(scores.softmax(-1) @ value[..., part])
        x = x + linear(torch.cat(heads_out, -1), f"{name}.attn.proj")
        hidden = linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return x + linear(hidden, f"{name}.mlp.fc2")

    half = dim // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    angles = timestep[:, None].float() * frequencies
    time = torch.cat([angles.cos(), angles.sin()], -1).double()
    kernel = weights["patch_embed.proj.weight"]
    tokens = []
    for row in range(4):
        for column in range(4):
            cell = sample[:, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            tokens.append(torch.einsum("bchw,dchw->bd", cell, kernel) + weights["patch_embed.proj.bias"])
    x = torch.cat([time[:, None], linear(context, "context_embed"), torch.stack(tokens, 1)], 1)
    x = x + weights["pos_embed"]
    skips = []
    for number in range(2):
        x = block(x, f"in_blocks.{number}")
        skips.append(x)
    x = block(x, "mid_block")
    for number in range(2):
        x = block(x, f"out_blocks.{number}", skips.pop())
    x = linear(norm(x, "norm"), "decoder_pred")[:, 4:]
    image = torch.zeros(2, 4, 8, 8, dtype=torch.float64)
    for place in range(16):
        row, column = divmod(place, 4)
        cell = x[:, place].reshape(2, patch, patch, 4).permute(0, 3, 1, 2)
        image[:, :, row * 2 : row * 2 + 2, column * 2 : column * 2 + 2] = cell
    return torch.nn.functional.conv2d(
        image, weights["final_layer.weight"], weights["final_layer.bias"], padding=1
    )


def test_forward_and_gradients_agree_with_the_plain_reference():
    torch.manual_seed(0)
    model = UViT(**TINY).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    sample, timestep, context = inputs()
    output = model(sample, timestep, encoder_hidden_states=context).sample
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    expected = plain_forward(weights, sample, timestep, context)
    torch.testing.assert_close(output, expected, rtol=1e-6, atol=1e-6)
    probe = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (output * probe).sum().backward()
    (expected * probe).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-6, atol=1e-6, msg=name)


def test_gradient_checkpointing_changes_nothing():
    torch.manual_seed(0)
    model = UViT(**TINY).double()
    sample, timestep, context = inputs()
    plain = torch.autograd.grad(model(sample, timestep, context).sample.sum(), model.pos_embed)[0]
    model.enable_gradient_checkpointing()
    again = torch.autograd.grad(model(sample, timestep, context).sample.sum(), model.pos_embed)[0]
    torch.testing.assert_close(plain, again)


def test_save_and_load(tmp_path):
    model = UViT(**TINY).eval()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    loaded = UViT.from_pretrained(tmp_path).eval()
    sample, timestep, context = inputs(torch.float32)
    assert torch.equal(model(sample, timestep, context).sample, loaded(sample, timestep, context).sample)


def test_published_sizes():
    """Table 1 of the paper: S 44 M, M 131 M, L 287 M, H 501 M parameters (to the million)."""
    millions = {"S": 44, "M": 131, "L": 287, "H": 501}
    for size, expected in millions.items():
        with torch.device("meta"):
            model = UViT(**UVIT_SIZES[size])
        assert round(sum(p.numel() for p in model.parameters()) / 1e6) == pytest.approx(expected, abs=1)


def test_wrong_context_is_named():
    model = UViT(**TINY)
    sample, timestep, context = inputs(torch.float32)
    with pytest.raises(ValueError, match="2 tokens for a U-ViT that was built for 3"):
        model(sample, timestep, context[:, :2])
    with pytest.raises(ValueError, match="odd number of blocks"):
        UViT(**{**TINY, "depth": 4})
