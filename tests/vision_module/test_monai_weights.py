"""MONAI weights in diffusers models: by MONAI's arithmetic, and by its own networks where installed."""

import pytest
import torch
import torch.nn.functional as F

from vision_module.weights.monai import MonaiConfig, convert_autoencoder, convert_unet

MONAI_CONFIG = MonaiConfig(autoencoder_groups=4, unet_groups=4, num_head_channels=(0, 8, 8))
INFERENCE = {
    "autoencoder_def": {"norm_num_groups": 4, "channels": [8, 16, 16]},
    "diffusion_def": {"norm_num_groups": 4, "channels": [8, 16, 24], "num_head_channels": [0, 8, 8]},
    "scheduler": {"beta_start": 0.0015, "beta_end": 0.0205, "prediction_type": "v_prediction"},
}


def monai_resblock(weights, place, narrow, wide, shortcut, time=0):
    conv = {"conv1": (wide, narrow, 3, 3), "conv2": (wide, wide, 3, 3)}
    if narrow != wide:
        conv[shortcut] = (wide, narrow, 1, 1)
    for name, shape in conv.items():
        weights[f"{place}.{name}.conv.weight"] = 0.2 * torch.randn(shape)
        weights[f"{place}.{name}.conv.bias"] = 0.1 * torch.randn(shape[0])
    for name, width in (("norm1", narrow), ("norm2", wide)):
        weights[f"{place}.{name}.weight"] = 1 + 0.1 * torch.randn(width)
        weights[f"{place}.{name}.bias"] = 0.1 * torch.randn(width)
    if time:
        weights[f"{place}.time_emb_proj.weight"] = 0.1 * torch.randn(wide, time)
        weights[f"{place}.time_emb_proj.bias"] = 0.1 * torch.randn(wide)


def monai_autoencoder_weights(upsample="conv"):
    """MONAI's names, for channels 8, 16, 16 and two residual blocks a level, films and latents of 1 and 3."""
    weights = {}

    def half(name, widths, first, last, resize):
        number = 0

        def conv(place, out, into, size=3):
            weights[f"{name}.blocks.{number}.{place}.weight"] = 0.2 * torch.randn(out, into, size, size)
            weights[f"{name}.blocks.{number}.{place}.bias"] = 0.1 * torch.randn(out)

        conv("conv", widths[0], first)
        width = widths[0]
        for level, wide in enumerate(widths):
            for _ in range(2):
                number += 1
                monai_resblock(weights, f"{name}.blocks.{number}", width, wide, "nin_shortcut")
                width = wide
            if level < len(widths) - 1:
                number += 1
                conv(f"{resize}.conv", wide, wide)
        number += 1
        weights[f"{name}.blocks.{number}.weight"] = 1 + 0.1 * torch.randn(width)
        weights[f"{name}.blocks.{number}.bias"] = 0.1 * torch.randn(width)
        number += 1
        conv("conv", last, width)

    half("encoder", (8, 16, 16), 1, 3, "conv")
    half("decoder", (16, 16, 8), 3, 1, upsample)
    for name in ("quant_conv_mu", "quant_conv_log_sigma", "post_quant_conv"):
        weights[f"{name}.conv.weight"] = torch.randn(3, 3, 1, 1)
        weights[f"{name}.conv.bias"] = torch.randn(3)
    return weights


def run_monai_half(weights, half, x):
    """MONAI's forward of one half, block by block; there is no activation between the last norm and conv."""
    numbers = sorted({int(name.split(".")[2]) for name in weights if name.startswith(f"{half}.blocks.")})
    for number in numbers:
        block = {
            n.split(".", 3)[3]: v for n, v in weights.items() if n.startswith(f"{half}.blocks.{number}.")
        }
        if "norm1.weight" in block:
            h = F.silu(F.group_norm(x, 4, block["norm1.weight"], block["norm1.bias"], 1e-6))
            h = F.conv2d(h, block["conv1.conv.weight"], block["conv1.conv.bias"], padding=1)
            h = F.silu(F.group_norm(h, 4, block["norm2.weight"], block["norm2.bias"], 1e-6))
            h = F.conv2d(h, block["conv2.conv.weight"], block["conv2.conv.bias"], padding=1)
            if "nin_shortcut.conv.weight" in block:
                x = F.conv2d(x, block["nin_shortcut.conv.weight"], block["nin_shortcut.conv.bias"])
            x = x + h
        elif "weight" in block:
            x = F.group_norm(x, 4, block["weight"], block["bias"], 1e-6)
        elif "conv.weight" in block:
            x = F.conv2d(x, block["conv.weight"], block["conv.bias"], padding=1)
        else:
            weight, bias = (next(v for n, v in block.items() if n.endswith(p)) for p in ("weight", "bias"))
            if half == "encoder":
                x = F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, bias, stride=2)
            else:
                x = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, bias, padding=1)
    return x


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("upsample", ["conv", "postconv"], ids=["GenerativeModels", "core"])
def test_monai_autoencoder_is_the_same_function(tmp_path, upsample):
    torch.manual_seed(0)
    weights = monai_autoencoder_weights(upsample)
    exact = convert_autoencoder(weights, tmp_path, MONAI_CONFIG, 0.3, unit_range=False)
    films, latents = torch.rand(2, 1, 16, 16), torch.randn(2, 3, 4, 4)

    def conv(name, x):
        return F.conv2d(x, weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"])

    inner = run_monai_half(weights, "encoder", films)
    decoded = run_monai_half(weights, "decoder", conv("post_quant_conv", latents))
    with torch.no_grad():
        posterior = exact.encode(films).latent_dist
        # diffusers has an activation before its last convolution, which the conversion leaves nearly linear.
        nearly = {"rtol": 1e-5, "atol": 1e-4}
        torch.testing.assert_close(posterior.mean, conv("quant_conv_mu", inner), **nearly)
        log_variance = conv("quant_conv_log_sigma", inner).clamp(-30, 20)
        torch.testing.assert_close(posterior.std, (log_variance / 2).exp(), **nearly)
        torch.testing.assert_close(exact.decode(latents).sample, decoded, **nearly)
        ours = convert_autoencoder(weights, tmp_path, MONAI_CONFIG, 0.3)
        torch.testing.assert_close(ours.decode(latents).sample / 2, decoded - 0.5, **nearly)
        # Away from the border, whose padding differs, the first convolution reads [-1, 1] as it read [0, 1].
        first, second = (model.encoder.conv_in for model in (exact, ours))
        inside = (..., slice(1, -1), slice(1, -1))
        torch.testing.assert_close(second(2 * films - 1)[inside], first(films)[inside])
    assert ours.config.scaling_factor == 0.3


def monai_unet_weights(old=True):
    """MONAI's names, for channels 8, 16, 24, one residual block a level, attention on the lower two."""
    weights = {}
    out = "to_out.0" if old else "out_proj"

    def linear(name, wide, narrow, bias=True):
        weights[f"{name}.weight"] = 0.2 * torch.randn(wide, narrow)
        if bias:
            weights[f"{name}.bias"] = 0.1 * torch.randn(wide)

    def conv(name, wide, narrow, size=3):
        weights[f"{name}.conv.weight"] = 0.2 * torch.randn(wide, narrow, size, size)
        weights[f"{name}.conv.bias"] = 0.1 * torch.randn(wide)

    def norm(name, width):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = torch.rand(width), torch.randn(width)

    def attention(place, width):
        norm(f"{place}.norm", width)
        conv(f"{place}.proj_in", width, width, 1)
        conv(f"{place}.proj_out", width, width, 1)
        block = f"{place}.transformer_blocks.0"
        for name, context in (("attn1", width), ("attn2", 12)):
            linear(f"{block}.{name}.to_q", width, width, bias=False)
            linear(f"{block}.{name}.to_k", width, context, bias=False)
            linear(f"{block}.{name}.to_v", width, context, bias=False)
            linear(f"{block}.{name}.{out}", width, width)
        for name in ("norm1", "norm2", "norm3"):
            norm(f"{block}.{name}", width)
        linear(f"{block}.ff.linear1", 8 * width, width)
        linear(f"{block}.ff.linear2", width, 4 * width)

    widths, skips = (8, 16, 24), [8]
    linear("time_embed.0", 32, 8)
    linear("time_embed.2", 32, 32)
    conv("conv_in", 8, 3)
    width = 8
    for level, wide in enumerate(widths):
        monai_resblock(weights, f"down_blocks.{level}.resnets.0", width, wide, "skip_connection", 32)
        width = wide
        skips.append(width)
        if level:
            attention(f"down_blocks.{level}.attentions.0", wide)
        if level < 2:
            conv(f"down_blocks.{level}.downsampler.op", wide, wide)
            skips.append(wide)
    for name in ("resnet_1", "resnet_2"):
        monai_resblock(weights, f"middle_block.{name}", width, width, "skip_connection", 32)
    attention("middle_block.attention", width)
    for place, level in enumerate((2, 1, 0)):
        wide = widths[level]
        for number in range(2):
            merged = width + skips.pop()
            monai_resblock(
                weights, f"up_blocks.{place}.resnets.{number}", merged, wide, "skip_connection", 32
            )
            width = wide
            if level:
                attention(f"up_blocks.{place}.attentions.{number}", wide)
        if level:
            conv(f"up_blocks.{place}.upsampler.{'conv' if old else 'postconv'}", wide, wide)
    norm("out.0", 8)
    conv("out.2", 3, 8)
    return weights


@pytest.mark.parametrize("old", [True, False], ids=["GenerativeModels", "core"])
def test_monai_unet_takes_every_tensor(tmp_path, old):
    weights = monai_unet_weights(old)
    unet = convert_unet(weights, tmp_path / "unet.pth", MONAI_CONFIG, 8)
    assert sorted(v.sum().item() for v in unet.state_dict().values()) == sorted(
        v.sum().item() for v in weights.values()
    )
    assert unet.config.attention_head_dim == [1, 2, 3]
    weights["down_blocks.0.resnets.0.conv3.conv.weight"] = torch.zeros(1)
    with pytest.raises(
        ValueError, match=r"unet.pth: expected a MONAI DiffusionModelUNet.*unexpected: .*conv3"
    ):
        convert_unet(weights, tmp_path / "unet.pth", MONAI_CONFIG, 8)


@pytest.mark.usefixtures("float64")
def test_monai_networks_agree(tmp_path):
    """Against MONAI core's own networks, which load both generations of names."""
    nets = pytest.importorskip("monai.networks.nets")
    pytest.importorskip("einops")
    torch.manual_seed(0)
    plain = dict.fromkeys(("with_encoder_nonlocal_attn", "with_decoder_nonlocal_attn"), False)
    theirs = nets.AutoencoderKL(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=(8, 16, 16),
        latent_channels=3,
        num_res_blocks=2,
        norm_num_groups=4,
        norm_eps=1e-6,
        attention_levels=(False,) * 3,
        **plain,
    ).eval()
    weights = monai_autoencoder_weights()
    theirs.load_old_state_dict(dict(weights))
    ours = convert_autoencoder(weights, tmp_path, MONAI_CONFIG, 0.3, unit_range=False)
    films, latents = torch.rand(2, 1, 16, 16), torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        nearly = {"rtol": 1e-5, "atol": 1e-4}
        torch.testing.assert_close(ours.encode(films).latent_dist.mean, theirs.encode(films)[0], **nearly)
        torch.testing.assert_close(ours.decode(latents).sample, theirs.decode(latents), **nearly)
    theirs = nets.DiffusionModelUNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=3,
        channels=(8, 16, 24),
        num_res_blocks=1,
        attention_levels=(False, True, True),
        norm_num_groups=4,
        norm_eps=1e-6,
        num_head_channels=(0, 8, 8),
        with_conditioning=True,
        cross_attention_dim=12,
        transformer_num_layers=1,
    ).eval()
    weights = monai_unet_weights()
    theirs.load_old_state_dict(dict(weights))
    ours = convert_unet(weights, tmp_path, MONAI_CONFIG, 8)
    noisy, steps, context = torch.randn(2, 3, 8, 8), torch.tensor([3, 700]), torch.randn(2, 5, 12)
    with torch.no_grad():
        expected = theirs(noisy, steps, context=context)
        torch.testing.assert_close(ours(noisy, steps, encoder_hidden_states=context).sample, expected)
