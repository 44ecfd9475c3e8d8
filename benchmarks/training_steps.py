"""Optimizer steps of models at demo scale, as `fit` takes them, for what times them."""

from collections.abc import Callable

import torch
from diffusers.training_utils import EMAModel
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.config import TrainConfig
from training.optimizer import make_optimizers
from vision_module.autoencoder import build_autoencoder
from vision_module.config import AutoencoderConfig
from vision_module.prompting import num_context_tokens
from vision_module.uvit import UViT

BATCH = 16


def make_step(name: str, precision: str, half: bool | None = None) -> Callable[[], None]:
    """One step of "uvit" (Muon) or "autoencoder" (AdamW), batch 16, averaged weights.

    Args:
        precision: "bf16" or "no", of autocast.
        half: whether Muon orthogonalizes in bfloat16; None: where autocast takes it, as in `fit`.
    """
    torch.manual_seed(0)
    if name == "uvit":
        num_tokens = num_context_tokens("concat", "facts")
        model = UViT(
            sample_size=16,
            embed_dim=192,
            depth=7,
            num_heads=3,
            context_dim=128,
            num_context_tokens=num_tokens,
        )
        inputs = (torch.randn(BATCH, 4, 16, 16), torch.arange(BATCH), torch.randn(BATCH, num_tokens, 128))
    else:
        model, inputs = build_autoencoder(AutoencoderConfig(), 64), (torch.randn(BATCH, 1, 64, 64),)
    config = TrainConfig(optimizer="muon" if name == "uvit" else "adamw", learning_rate=1e-4)
    optimizers = make_optimizers(model, config, half=precision == "bf16" if half is None else half)
    average = EMAModel(model.parameters(), decay=0.99, foreach=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, precision == "bf16"), sdpa_kernel(SDPBackend.MATH):
            loss = model(*inputs).sample.square().mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        average.step(model.parameters())

    return step
