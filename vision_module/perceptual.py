"""The perceptual distance of films: how far apart they lie in the features of a frozen network.

Nothing is downloaded. The features are those of a classifier run of ours, of any convolutional transformers
classifier, of any timm network with weights from a local file, or of LPIPS' own ImageNet networks from a
local torchvision weights file.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModelForImageClassification

from data_module.images import normalize_images
from runtime.contents import model_hash
from runtime.files import file_hash, reading
from runtime.runs import model_source
from runtime.timm_weights import PREFIX, open_timm
from runtime.weights import load_pretrained, read_weights

NUM_TIMM_LEVELS = 4  # down to 1/16 of the side; what is coarser says little of lines and edges
# LPIPS network -> (torchvision model, places in its `features` after which LPIPS looks), as Zhang et al.
LPIPS_NETWORKS = {
    "squeeze": ("squeezenet1_1", (1, 4, 7, 9, 10, 11, 12)),
    "alex": ("alexnet", (1, 4, 7, 9, 11)),
    "vgg": ("vgg16", (3, 8, 15, 22, 29)),
}


class PerceptualLoss(nn.Module):
    """LPIPS (Zhang et al., CVPR 2018, eq. 1): squared differences of unit-length features, over all layers.

    Args:
        network: images (B, 1, S, S) in [-1, 1] -> feature maps, (B, C_l, H_l, W_l) each; it is frozen.
        weights: (C_l,) for each map; None = all one, which is twice the cosine distance at each place.
        scale: times that films are enlarged (bicubic) for the network.
    """

    def __init__(self, network: nn.Module, weights: list[torch.Tensor] | None = None, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.network = network.requires_grad_(False)
        self.weights = None if weights is None else nn.ParameterList(weights).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "PerceptualLoss":
        """Stays in evaluation mode: batch statistics would make the distance depend on the other films."""
        del mode
        return super().train(False)

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean distance of images and targets, (B, 1, S, S) each; gradients go to `images` alone."""
        with torch.no_grad():
            wanted = self.network(self._enlarge(targets))
        found_maps = self.network(self._enlarge(images))
        distance = images.new_zeros(())
        for layer, (found, target) in enumerate(zip(found_maps, wanted, strict=True)):
            difference = (_unit(found) - _unit(target)).square()
            if self.weights is not None:
                difference = difference * self.weights[layer][:, None, None]
            distance = distance + difference.sum(dim=1).mean()
        return distance

    def _enlarge(self, images: torch.Tensor) -> torch.Tensor:
        if self.scale == 1:
            return images
        return functional.interpolate(images, scale_factor=self.scale, mode="bicubic")


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Features of unit length over the channels, in float32; the 1e-8 keeps the gradient at 0 finite."""
    features = features.float()
    return features * (features.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt()


class ClassifierFeatures(nn.Module):
    """Hidden states of a convolutional image classifier, from its stem to its last stage."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.classifier = load_pretrained(AutoModelForImageClassification, folder, use_safetensors=True)
        with reading(folder, "its image processor"):
            processor = AutoImageProcessor.from_pretrained(folder)
        shape = (1, -1, 1, 1)
        self.register_buffer("mean", torch.tensor(processor.image_mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(processor.image_std).view(shape), persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images (B, 1, S, S) in [-1, 1], of any size -> feature maps."""
        pixel_values = normalize_images(images, self.mean, self.std)
        channels = getattr(self.classifier.config, "num_channels", 3)
        pixel_values = pixel_values.mean(dim=1, keepdim=True) if channels == 1 else pixel_values
        output = self.classifier(
            pixel_values=pixel_values.expand(-1, channels, -1, -1), output_hidden_states=True
        )
        return output.hidden_states


class LpipsFeatures(nn.Module):
    """The layers of an ImageNet network that LPIPS looks at, with its scaling of colors; no weights yet."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        model, self.taps = LPIPS_NETWORKS[name]
        with torch.device("meta"):  # weights come from a file; VGG's 138 million need no draw
            self.features = getattr(torchvision.models, model)(weights=None).features
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (B, 1, S, S) in [-1, 1] -> feature maps."""
        hidden, maps = (images.expand(-1, 3, -1, -1) - self.shift) / self.scale, []
        for place, layer in enumerate(self.features[: self.taps[-1] + 1]):
            # Out of place: a ReLU that overwrites its input would overwrite a map that is kept.
            hidden = functional.relu(hidden) if isinstance(layer, nn.ReLU) else layer(hidden)
            if place in self.taps:
                maps.append(hidden)
        return maps


class TimmFeatures(nn.Module):
    """The levels of a timm network (or the first of them), whose `pretrained_cfg` says the normalization."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: Any, num_levels: int | None = None) -> None:
        super().__init__()
        self.network, self.levels = network, num_levels and list(range(num_levels))
        for name in ("mean", "std"):
            values = torch.tensor(network.pretrained_cfg[name]).view(1, -1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (B, 1, S, S) in [-1, 1] -> feature maps."""
        pixel_values = normalize_images(images, self.mean, self.std)
        return self.network.forward_intermediates(
            pixel_values, indices=self.levels, stop_early=True, intermediates_only=True
        )


def load_perceptual(source: str, scale: int = 1) -> PerceptualLoss:
    """The perceptual distance that `--perceptual` names.

    Args:
        source: a run of train_classifier.py, a folder or hub name of a convolutional transformers
            classifier, timm:NAME:FILE (any timm network, weights from a file), or squeeze:FILE, alex:FILE,
            vgg:FILE with torchvision's ImageNet weights.
        scale: times that films are enlarged for them.

    Raises:
        ValueError: no such file or model, weights of another network, or features that are not maps.
    """
    name, _, file = source.partition(":")
    weights = _lpips_weights(name) if name in LPIPS_NETWORKS and file else None
    return PerceptualLoss(load_features(source, "--perceptual"), weights, scale)


def load_features(source: str, flag: str) -> nn.Module:
    """A frozen network from images (B, 1, S, S) to feature maps, down to 1/16 of the side for timm's.

    Args:
        source: as of `load_perceptual`.

    Raises:
        ValueError: as of `load_perceptual`.
    """
    name, _, file = source.partition(":")
    if source.startswith(PREFIX):
        return TimmFeatures(open_timm(source, flag), NUM_TIMM_LEVELS)
    if name in LPIPS_NETWORKS and file:
        return _load_lpips(name, Path(file), flag)
    return open_features(source, flag)[0]


@torch.no_grad()
def list_widths(features: nn.Module) -> list[int]:
    """Channels of each level of a network from images to feature maps."""
    return [part.shape[1] for part in features.eval()(torch.zeros(1, 1, 64, 64))]


def open_features(source: str, flag: str) -> tuple[nn.Module, str]:
    """A frozen network from images (B, 1, S, S) to its levels' feature maps, and its identity by content.

    Args:
        source: a run of train_classifier.py, a folder or hub name of a convolutional transformers
            classifier, or timm:NAME:FILE.

    Raises:
        ValueError: no such file or model, weights of another network, or features that are not maps.
    """
    if source.startswith(PREFIX):
        features = TimmFeatures(open_timm(source, flag))
        return features, file_hash(Path(source.split(":", 2)[2]).expanduser())[:16]
    folder = model_source(source, "classifier", flag)
    try:
        features = ClassifierFeatures(folder)
    except OSError as error:
        raise ValueError(f"{flag} {source}: not an image classifier ({error})") from error
    with torch.no_grad():
        maps = features.eval()(torch.zeros(1, 1, 64, 64))
    if any(part.ndim != 4 for part in maps):
        raise ValueError(f"{flag} {source}: its features are no maps; a convolutional one is needed")
    return features, model_hash(folder) if Path(folder).is_dir() else str(folder)


def _load_lpips(name: str, file: Path, flag: str) -> LpipsFeatures:
    """An LPIPS network with the weights of a torchvision file."""
    model, _ = LPIPS_NETWORKS[name]
    try:
        weights = read_weights(file, f"torchvision's {model} weights")
    except ValueError as error:
        raise ValueError(f"{flag} {name}:{error}") from None
    network = LpipsFeatures(name)
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items() if key.startswith("features.")}
    for key in sorted({*wanted, *found}):
        if wanted.get(key) != found.get(key):
            raise ValueError(
                f"{flag} {name}:{file}: {key} is {found.get(key, 'missing')}, expected "
                f"{wanted.get(key, 'none')}; give torchvision's {model} weights"
            )
    network.load_state_dict({key: weights[key] for key in wanted}, assign=True)
    return network


def _lpips_weights(name: str) -> list[torch.Tensor]:
    """LPIPS' learned channel weights (version 0.1), which torchmetrics carries."""
    file = resources.files("torchmetrics.functional.image") / "lpips_models" / f"{name}.pth"
    with resources.as_file(file) as path:
        heads = read_weights(path, "LPIPS' weights")
    return [heads[f"lin{layer}.model.1.weight"].flatten() for layer in range(len(heads))]
