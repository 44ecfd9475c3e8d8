"""REPA: a denoiser's middle tokens are drawn to features of a frozen encoder (Yu et al., ICLR 2025).

The features of the films are encoded once and cached, as latents are. The projection that reads them off the
tokens is trained along and not exported.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from data_module.cache import CacheWriter, cache_key, open_or_write
from data_module.images import load_images
from data_module.pairs import PairsFolder
from vision_module.config import AlignmentConfig
from vision_module.encoding import pick_device
from vision_module.perceptual import open_features


class AlignedOutput(NamedTuple):
    """A denoiser's output (B, C, H, W), and the alignment's loss: 1 - mean cosine, in 0..2."""

    sample: torch.Tensor
    alignment: torch.Tensor


class AlignedDenoiser(nn.Module):
    """A denoiser, or one behind its text encoder, with the projection of its middle block's tokens.

    Args:
        model: a U-ViT or a U-Net with a `mid_block`, or a `PromptedDenoiser` around one.
        denoiser: that U-ViT or U-Net.
        means: (F,) of the channels of the encoder's maps, taken off them: what all films share would make
            any two alike.
        hidden_dim: width of the projection (the authors take 2048).
    """

    means: torch.Tensor

    def __init__(
        self, model: nn.Module, denoiser: nn.Module, width: int, means: torch.Tensor, hidden_dim: int = 512
    ) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("means", means[:, None, None], persistent=False)  # told by the data, not learned
        self.projection = nn.Sequential(
            nn.Linear(width, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, len(means)),
        )
        self._middle: list[torch.Tensor] = []
        denoiser.get_submodule("mid_block").register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        self._middle.append(output)

    def forward(self, *inputs: torch.Tensor, features: torch.Tensor, **named) -> AlignedOutput:
        """As the model's; `features` are the encoder's maps (B, F, h, w)."""
        self._middle.clear()
        sample = self.model(*inputs, **named).sample
        tokens = _as_map(self._middle.pop(), features.shape[-1])
        found = self.projection(tokens.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        cosine = functional.cosine_similarity(found.float(), features - self.means, dim=1)
        return AlignedOutput(sample, 1.0 - cosine.mean())


def _as_map(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Tokens (B, extra + n * n, D) or maps (B, D, n, n) -> maps (B, D, side, side)."""
    if tokens.ndim == 3:
        grid = int(tokens.shape[1] ** 0.5)
        tokens = tokens[:, tokens.shape[1] - grid * grid :].transpose(1, 2).unflatten(2, (grid, grid))
    if tokens.shape[-1] == side:
        return tokens
    return functional.interpolate(tokens.float(), (side, side), mode="bilinear", antialias=True)


@dataclass(frozen=True)
class AlignmentTargets:
    """Maps of every film (N, F, side, side) float16, and their channels' means (F,) over films and places."""

    maps: np.ndarray
    means: torch.Tensor

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """(n, F, side, side) float16: the device makes more of it than a processor that has to keep up."""
        return torch.as_tensor(np.asarray(self.maps[rows]))


def encode_targets(
    pairs: PairsFolder, config: AlignmentConfig, cache_root: Path, image_size: int, batch_size: int = 32
) -> AlignmentTargets:
    """The encoder's maps of every film, in the order of `pairs.table`, through the cache."""
    features, identity = open_features(config.repa, "--repa")
    settings = {
        "kind": "alignment",
        "size": image_size * config.repa_scale,
        "level": config.repa_level,
        "side": config.repa_side,
    }
    key = cache_key(pairs.manifest_hash(), {"encoder": identity}, settings)
    device = pick_device()

    def encode(items: np.ndarray) -> dict[str, np.ndarray]:
        films = load_images([pairs.image_paths[item] for item in items], settings["size"])
        with torch.no_grad():
            films = films.to(device, memory_format=torch.channels_last)
            maps = features(films)[config.repa_level].float()
        size = (config.repa_side, config.repa_side)
        return {"features": functional.adaptive_avg_pool2d(maps, size).cpu().numpy()}

    def write(writer: CacheWriter) -> None:
        features.eval().to(device).to(memory_format=torch.channels_last)
        writer.fill("alignment", len(pairs), encode, batch_size)

    maps = open_or_write(cache_root, key, write)["features"]
    sample = maps[:: max(1, len(maps) // 2048)].astype(np.float32)
    return AlignmentTargets(maps, torch.as_tensor(sample.mean(axis=(0, 2, 3))))
