"""What train_classifier.py needs beside `training.fit`: the network, its batches, its loss, its folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoModelForImageClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
    ViTImageProcessor,
)

from data_module.film_store import FilmStore
from data_module.findings import FINDINGS, THRESHOLDS_FILE
from data_module.images import to_images
from runtime.devices import prefer_channels_last
from runtime.runs import model_source
from runtime.timm_weights import PREFIX as TIMM
from runtime.timm_weights import open_timm
from runtime.weights import load_pretrained
from vision_module.config import Augmentation, ResNetSize
from vision_module.read_out import read_out_loss


def augment_films(
    images: torch.Tensor, generator: torch.Generator, augmentation: Augmentation
) -> torch.Tensor:
    """float (N, 1, H, W) in [-1, 1] -> the same, changed film by film, clamped to [-1, 1]."""
    num = len(images)

    def draw(limit: float, *shape: int) -> torch.Tensor:
        return (torch.rand(num, *shape, generator=generator) * 2.0 - 1.0) * limit

    angle, zoom = draw(np.pi / 180.0 * augmentation.rotation), 1.0 + draw(augmentation.scale)
    shift = draw(augmentation.shift, 2)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # Shifts are in affine_grid's units: the side is 2 long.
    rows = torch.stack([cos, -sin, 2.0 * shift[:, 0], sin, cos, 2.0 * shift[:, 1]], dim=1)
    grid = F.affine_grid(rows.view(num, 2, 3), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    images = images * (1.0 + draw(augmentation.contrast, 1, 1, 1)) + draw(augmentation.brightness, 1, 1, 1)
    noise = torch.randn(images.shape, generator=generator)
    return (images + noise * draw(augmentation.noise, 1, 1, 1).abs()).clamp(-1.0, 1.0)


class FilmSource:
    """Batches of films and targets, for `training.fit` (its BatchSource).

    Args:
        films: N films.
        targets: (N, K) in 0..1; NaN, or below 0: left out of the loss.
        augmentation: None for validation.
    """

    def __init__(
        self, films: FilmStore, targets: np.ndarray, augmentation: Augmentation | None = None
    ) -> None:
        self.films, self.augmentation = films, augmentation
        self.labels = torch.from_numpy(targets)

    def __len__(self) -> int:
        return len(self.films)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """pixel_values float (B, 1, size, size) in [-1, 1]; labels (B, K), as `targets`."""
        images = to_images(self.films[indices])
        if self.augmentation is not None:
            images = augment_films(images, generator, self.augmentation)
        images = images.contiguous(memory_format=torch.channels_last)
        return {"pixel_values": images, "labels": self.labels[indices]}


def masked_bce(
    model: nn.Module, batch: Mapping[str, torch.Tensor], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Binary cross-entropy, mean over the labels that are known. `fit`'s objective; draws nothing."""
    logits = model(pixel_values=batch["pixel_values"]).logits.float()
    return {"loss": read_out_loss(logits, batch["labels"])}


def _head(names: Sequence[str]) -> dict[str, Any]:
    """One output for each name."""
    return {
        "num_labels": len(names),
        "num_channels": 1,
        "id2label": dict(enumerate(names)),
        "label2id": {name: place for place, name in enumerate(names)},
        "problem_type": "multi_label_classification",
    }


def build_classifier(size: ResNetSize, names: Sequence[str] = FINDINGS) -> ResNetForImageClassification:
    """A stock transformers ResNet on gray films, one output for each of `names` (config.id2label)."""
    config = ResNetConfig(
        embedding_size=size.embedding_size,
        hidden_sizes=list(size.hidden_sizes),
        depths=list(size.depths),
        layer_type=size.layer_type,
        **_head(names),
    )
    return prefer_channels_last(ResNetForImageClassification(config))


def adapt_timm(source: str, names: Sequence[str] = FINDINGS) -> TimmWrapperForImageClassification:
    """The network of `timm:NAME:FILE` on gray films, with a new head of one output for each of `names`.

    Gray films in [-1, 1] in the place of three normalized channels: the first convolution takes the sums of
    its weights over the channels, times what the normalization differs by.

    Raises:
        ValueError: see `open_timm`; a network without a head to replace, or with means other than 0.5, whose
            borders would differ.
    """
    trained = open_timm(source, "--init-from")
    found = trained.pretrained_cfg
    first, head = found.get("first_conv"), found.get("classifier")
    if not (isinstance(first, str) and isinstance(head, str)):
        raise ValueError(f"--init-from {source}: its first layer or its head cannot be replaced")
    if set(found["mean"]) != {0.5}:
        raise ValueError(f"--init-from {source}: it was trained on films of mean {found['mean']}, not 0.5")
    config = TimmWrapperConfig(architecture=source.split(":")[1], model_args={"in_chans": 1}, **_head(names))
    model = TimmWrapperForImageClassification(config)
    weights = {name: value for name, value in trained.state_dict().items() if not name.startswith(head)}
    scale = torch.tensor([0.5 / value for value in found["std"]]).view(1, 3, 1, 1)
    weights[f"{first}.weight"] = (weights[f"{first}.weight"] * scale).sum(dim=1, keepdim=True)
    new = {name: value for name, value in model.timm_model.state_dict().items() if name.startswith(head)}
    model.timm_model.load_state_dict({**weights, **new})
    return prefer_channels_last(model)


def start_classifier(source: str, names: Sequence[str] = FINDINGS) -> PreTrainedModel:
    """The network that --init-from names: of another run of train_classifier.py, or `timm:NAME:FILE`.

    Raises:
        ValueError: see `adapt_timm`; no such run, or one with other outputs than `names`.
    """
    if source.startswith(TIMM):
        return adapt_timm(source, names)
    folder = model_source(source, "classifier", "--init-from")
    model = load_pretrained(AutoModelForImageClassification, folder)
    if model.config.label2id != _head(names)["label2id"]:
        wanted = f"the {len(FINDINGS)} findings" if names == FINDINGS else "those of --targets controls"
        raise ValueError(f"--init-from {source}: its outputs are not {wanted}")
    return prefer_channels_last(model)


def save_classifier(
    model: PreTrainedModel, folder: Path, image_size: int, thresholds: Mapping[str, float]
) -> None:
    """Write a model folder that AutoModelForImageClassification and FilmClassifier.open read.

    The image size and the range [-1, 1] stand in preprocessor_config.json, the decision thresholds in
    thresholds.json.
    """
    model.save_pretrained(folder)
    processor = ViTImageProcessor(
        size={"height": image_size, "width": image_size}, image_mean=[0.5], image_std=[0.5]
    )
    processor.save_pretrained(folder)
    write_json(folder / THRESHOLDS_FILE, thresholds)


@torch.no_grad()
def predict_store(model: PreTrainedModel, films: FilmStore, batch_size: int = 256) -> np.ndarray:
    """(N, K) float32 probabilities of all films by its outputs. The model must be in eval mode."""
    device = model.device
    parts = [
        model(pixel_values=to_images(films[np.arange(start, min(start + batch_size, len(films)))]).to(device))
        .logits.float()
        .sigmoid()
        .cpu()
        .numpy()
        for start in range(0, len(films), batch_size)
    ]
    return np.concatenate(parts)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Plain JSON, indented."""
    path.write_text(json.dumps(values, indent=2) + "\n")
