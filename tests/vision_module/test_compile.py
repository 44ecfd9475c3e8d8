"""torch.compile and the layout of convolutions change films and gradients by rounding only."""

import copy
import shutil

import pytest
import torch
from diffusers import AutoencoderKL

from vision_module.autoencoder import build_autoencoder, decode_latents
from vision_module.config import AutoencoderConfig, UNetConfig
from vision_module.pipeline import VisionModel
from vision_module.unet import build_unet
from vision_module.uvit import UViT

# The steps of the noise are embedded in float32, whose sines the compiler takes from another library.
CLOSE = {"rtol": 1e-6, "atol": 1e-9}
needs_compiler = pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler here")


def tiny_autoencoder() -> AutoencoderKL:
    return build_autoencoder(AutoencoderConfig(block_out_channels=(8, 8)), 16).double().eval()


def tiny_uvit() -> UViT:
    torch.manual_seed(0)
    return UViT(sample_size=8, embed_dim=16, depth=3, num_heads=2, context_dim=8).double()


def inputs(width: int):
    generator = torch.Generator().manual_seed(1)
    draw = [torch.randn(shape, generator=generator).double() for shape in ((2, 4, 8, 8), (2, 1, width))]
    return draw[0], torch.tensor([3, 700]), draw[1]


@needs_compiler
@pytest.mark.slow
def test_compiled_and_eager_agree():
    eager, autoencoder = tiny_uvit(), tiny_autoencoder()
    vision = VisionModel(copy.deepcopy(autoencoder), copy.deepcopy(eager), None, None)
    names = set(vision.denoiser.state_dict())
    vision.compile()
    assert set(vision.denoiser.state_dict()) == names
    outputs = [model(*inputs(8)).sample for model in (eager, vision.denoiser)]
    assert torch.allclose(*outputs, **CLOSE)
    for output in outputs:
        output.square().mean().backward()
    compiled = dict(vision.denoiser.named_parameters())
    for name, parameter in eager.named_parameters():
        assert torch.allclose(parameter.grad, compiled[name].grad, **CLOSE), name
    latents = inputs(8)[0]
    with torch.no_grad():
        films = [decode_latents(model, latents) for model in (autoencoder, vision.autoencoder)]
    assert torch.allclose(*films, rtol=1e-10, atol=1e-12)


def test_channels_last_draws_the_same():
    torch.manual_seed(0)
    unet = build_unet(UNetConfig(block_out_channels=(8, 16), num_heads=2), 4, 8, 8).double().eval()
    vision = VisionModel(tiny_autoencoder(), unet, None, None)
    latents, timesteps, context = inputs(8)
    with torch.no_grad():
        before = unet(latents, timesteps, context).sample, decode_latents(vision.autoencoder, latents)
        vision.suit_gpu()
        weight = vision.denoiser.conv_in.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        after = unet(latents, timesteps, context).sample, decode_latents(vision.autoencoder, latents)
    for first, second in zip(before, after, strict=True):
        assert torch.allclose(first, second, rtol=1e-9, atol=1e-11)
