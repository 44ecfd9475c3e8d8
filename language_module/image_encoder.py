"""ImageEncoder: films -> feature maps of a ViT, a ResNet, a CLIP or torchxrayvision's DenseNet."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedModel, ViTConfig, ViTImageProcessor, ViTModel

from data_module.cache import CacheWriter, cache_key, open_or_write
from data_module.images import load_images, normalize_images
from data_module.pairs import PairsFolder
from runtime.files import read_json
from runtime.weights import load_pretrained, read_weights

SETTINGS = "preprocessor_config.json"
DENSENET = "densenet.safetensors"  # the file of a folder that holds torchxrayvision's DenseNet-121
DENSENET_SIZE = 224


class ImageEncoder(nn.Module):
    """Films (B, 1, H, W) in [-1, 1], any size -> feature maps (B, C, h, w), through any of these networks.

    Args:
        model: a transformers vision model that gives tokens (B, [class +] N, C) or maps (B, C, h, w), or
            torchxrayvision's `DenseNet`.
        image_size: films are brought to this side first.
        mean, std: of pixel values in 0..1, as the network was trained.
        num_levels: maps of the network's last stages (or blocks of a ViT), stacked at the finest one's
            places. A ResNet's last map is too coarse for the side and the extent of what is seen.
    """

    def __init__(
        self, model: nn.Module, image_size: int, mean: float = 0.5, std: float = 0.5, num_levels: int = 1
    ) -> None:
        super().__init__()
        self.model, self.image_size, self.mean, self.std = model, image_size, mean, std
        self.num_levels = num_levels
        with torch.no_grad():
            training = model.training
            shape = self.eval()(torch.zeros(1, 1, image_size, image_size, device=self.device)).shape
            self.train(training)
        self.feature_shape: tuple[int, int, int] = tuple(shape[1:])

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def num_places(self) -> int:
        """Places of a feature map, h * w."""
        return self.feature_shape[1] * self.feature_shape[2]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] != self.image_size or images.shape[-2] != self.image_size:
            size = (self.image_size, self.image_size)
            images = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
        if not isinstance(self.model, PreTrainedModel):
            features = self.model.get_submodule("features")
            return torch.relu(features(images * 1024.0))  # torchxrayvision's range is -1024..1024
        config = getattr(self.model.config, "vision_config", self.model.config)
        num_channels = getattr(config, "num_channels", 3)
        pixel_values = normalize_images(images, self.mean, self.std)
        output = self.model(
            pixel_values=pixel_values.expand(-1, num_channels, -1, -1),
            output_hidden_states=self.num_levels > 1,
        )
        if self.num_levels == 1:
            return _as_map(output.last_hidden_state)
        if len(output.hidden_states) < self.num_levels:
            raise ValueError(
                f"--feature-levels {self.num_levels}: this encoder has {len(output.hidden_states)}"
            )
        levels = [*output.hidden_states[-self.num_levels : -1], output.last_hidden_state]
        maps = [_as_map(states) for states in levels]
        return torch.cat([functional.interpolate(level, maps[0].shape[2:]) for level in maps], dim=1)

    def save_pretrained(self, folder: str | Path) -> None:
        """A model folder of its own, as it was read."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not isinstance(self.model, PreTrainedModel):
            weights = {
                name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()
            }
            save_file(weights, folder / DENSENET, metadata={"format": "pt"})
            return
        self.model.save_pretrained(folder)
        size = {"height": self.image_size, "width": self.image_size}
        ViTImageProcessor(size=size, image_mean=[self.mean], image_std=[self.std]).save_pretrained(folder)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, flag: str = "--encoder", num_levels: int = 1
    ) -> "ImageEncoder":
        """A transformers ViT, ResNet, CLIP or timm model (folder or hub name), or a saved DenseNet.

        The head of a classifier is left out.

        Raises:
            ValueError: it cannot be read, is no image model, or has fewer levels.
        """
        if (Path(source) / DENSENET).is_file():
            if num_levels > 1:
                raise ValueError(f"--feature-levels {num_levels}: torchxrayvision's DenseNet gives one")
            return build_densenet(read_weights(Path(source) / DENSENET, "a DenseNet-121"))
        try:
            config = AutoConfig.from_pretrained(source)
            # A ViT's pooler is no part of its published weights, and feature maps need none.
            options: dict[str, Any] = (
                {"add_pooling_layer": False} if config.model_type in ("vit", "deit") else {}
            )
            whole = load_pretrained(AutoModel, source, "pooler", config=config, **options)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{flag} {source}: neither a model folder nor a model that can be downloaded now ({reason})"
            ) from error
        model: PreTrainedModel = getattr(whole, "vision_model", whole)  # of a CLIP
        if getattr(model, "main_input_name", "") != "pixel_values":
            raise ValueError(f"{flag} {source} holds a {config.model_type} model; an image model is needed")
        size, mean, std = _preprocessing(Path(source), model.config)
        return cls(model.eval(), size, mean, std, num_levels)


def _as_map(states: torch.Tensor) -> torch.Tensor:
    """Tokens (B, [class +] N, C) or maps (B, C, h, w) -> maps."""
    if states.ndim == 4:
        return states
    side = math.isqrt(states.shape[1])
    patches = states[:, states.shape[1] - side * side :]  # after the class token, where there is one
    return patches.transpose(1, 2).unflatten(2, (side, side))


def build_vit(image_size: int, patch_size: int, dim: int, depth: int, num_heads: int) -> ImageEncoder:
    """An untrained ViT on gray films."""
    if image_size % patch_size:
        raise ValueError(f"--patch-size {patch_size}: films of {image_size} are not a multiple of it")
    config = ViTConfig(
        hidden_size=dim,
        num_hidden_layers=depth,
        num_attention_heads=num_heads,
        intermediate_size=4 * dim,
        image_size=image_size,
        patch_size=patch_size,
        num_channels=1,
    )
    return ImageEncoder(ViTModel(config, add_pooling_layer=False), image_size)


def build_densenet(weights: Mapping[str, torch.Tensor]) -> ImageEncoder:
    """torchxrayvision's DenseNet-121 (Cohen et al., MIDL 2022) with these weights.

    Raises:
        ValueError: they are those of another network.
    """
    from torchxrayvision.models import DenseNet  # imports scikit-image: only when asked

    weights = {name: value for name, value in weights.items() if name != "op_threshs"}
    try:
        model = DenseNet(num_classes=len(weights["classifier.bias"]))
        model.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"not the weights of a torchxrayvision DenseNet-121 ({reason})") from error
    return ImageEncoder(model.eval(), DENSENET_SIZE)


def encode_features(
    pairs: PairsFolder, encoder: ImageEncoder, identity: str, cache_root: Path, batch_size: int = 64
) -> np.ndarray:
    """Feature maps of every film through the cache: a memory map (N, C, h, w) float16.

    Args:
        identity: of the encoder's weights, such as `data_module.cache.model_hash` of its folder.
    """
    key = cache_key(
        pairs.manifest_hash(), {"encoder": identity}, {"kind": "features", "num_levels": encoder.num_levels}
    )
    paths = pairs.image_paths

    def encode(items: np.ndarray) -> dict[str, np.ndarray]:
        images = load_images([paths[item] for item in items], encoder.image_size)
        with torch.no_grad():
            return {"features": encoder(images.to(encoder.device)).float().cpu().numpy()}

    def write(writer: CacheWriter) -> None:
        writer.fill("features", len(pairs), encode, batch_size)

    return open_or_write(cache_root, key, write)["features"]


def _preprocessing(folder: Path, config: object) -> tuple[int, float, float]:
    """Image size, mean and deviation from preprocessor_config.json, or else from the model's own config."""
    path = folder / SETTINGS
    saved = read_json(path) if path.is_file() else {}
    size = saved.get("crop_size") or saved.get("size") or getattr(config, "image_size", None) or 224
    if isinstance(size, Mapping):
        size = size.get("height", size.get("shortest_edge"))
    mean, std = saved.get("image_mean", 0.5), saved.get("image_std", 0.5)
    return int(size), float(np.mean(mean)), float(np.mean(std))
