"""The autoencoder's adversary: a discriminator of film patches or of features, and both sides' losses."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from vision_module.config import Criterion


class PatchDiscriminator(nn.Sequential):
    """Images (B, 1, S, S) -> one logit for each of many overlapping patches, [(B, 1, H, W)].

    pix2pix's PatchGAN (Isola et al., CVPR 2017, appendix 6.1.2; 70x70 patches with three layers), layer for
    layer as MONAI's PatchDiscriminator.

    Args:
        channels: of the first layer; each further one doubles them.
        num_layers: layers after the first; all but the last halve the size, as the first does.
    """

    def __init__(self, channels: int = 64, num_layers: int = 3) -> None:
        widths = [channels * 2**level for level in range(num_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(1, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        for level, (before, after) in enumerate(pairwise(widths), start=1):
            stride = 1 if level == num_layers else 2
            layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.BatchNorm2d(after)]
            layers.append(nn.LeakyReLU(0.2))
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.apply(_initialize)

    def look(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What it judges: the images (B, 1, S, S) themselves."""
        return [images]

    def forward(self, images: torch.Tensor, seen: Sequence[torch.Tensor] = ()) -> list[torch.Tensor]:
        return [super().forward(images)]


class FeatureDiscriminator(nn.Module):
    """Images (B, 1, S, S) -> logits (B, 1, H_l, W_l) of each level of a frozen network's features.

    Projected GANs (Sauer et al., NeurIPS 2021, section 3.1) without their random mixing of levels: what a
    network learned on photographs tells lines and textures from their absence long before a discriminator
    of pixels has learned to. The heads are bounded by spectral norm, as there.

    Args:
        network: images (B, 1, S, S) in [-1, 1] -> feature maps (B, C_l, H_l, W_l); it is frozen.
        widths: C_l of each level.
        channels: of the heads' hidden layer.
    """

    def __init__(self, network: nn.Module, widths: Sequence[int], channels: int = 64) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(width, channels, 3, 1, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(channels, 1, 1)),
            )
            for width in widths
        )
        self.train()

    def train(self, mode: bool = True) -> "FeatureDiscriminator":
        """The features stay in evaluation mode: batch statistics would tell films from reconstructions."""
        super().train(mode)
        self.network.eval()
        return self

    def look(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What it judges: feature maps (B, C_l, H_l, W_l)."""
        return list(self.network(images))

    def forward(self, images: torch.Tensor, seen: Sequence[torch.Tensor] = ()) -> list[torch.Tensor]:
        """`seen` is what `look` gave of these images, where that is known already."""
        return [head(maps) for head, maps in zip(self.heads, seen or self.look(images), strict=True)]


def _initialize(module: nn.Module) -> None:
    """N(0, 0.02), as pix2pix; around 1 for the norms' scales."""
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def frozen_logits(
    discriminator: nn.Module, images: torch.Tensor, seen: Sequence[torch.Tensor] = ()
) -> list[torch.Tensor]:
    """The discriminator's logits with its weights as constants: gradients reach the images alone."""
    weights = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    return functional_call(discriminator, weights, (images, seen))


def generator_loss(logits: Sequence[torch.Tensor], criterion: Criterion) -> torch.Tensor:
    """What the autoencoder pays for reconstructions that are told from films, the mean over the levels.

    Least squares: Mao et al., ICCV 2017, eq. 9 without its 1/2, as MONAI; hinge: Lim and Ye, 2017.
    """
    if criterion == "least-squares":
        return _mean([(level.float() - 1.0).square().mean() for level in logits])
    return _mean([-level.float().mean() for level in logits])


def discriminator_loss(
    real: Sequence[torch.Tensor], fake: Sequence[torch.Tensor], criterion: Criterion
) -> torch.Tensor:
    """What the discriminator pays: the mean of its losses on films and on reconstructions."""
    if criterion == "least-squares":
        told = [(level.float() - 1.0).square().mean() for level in real]
        fooled = [level.float().square().mean() for level in fake]
    else:
        told = [functional.relu(1.0 - level.float()).mean() for level in real]
        fooled = [functional.relu(1.0 + level.float()).mean() for level in fake]
    return 0.5 * (_mean(told) + _mean(fooled))


def _mean(levels: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(levels).mean()
