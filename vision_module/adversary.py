"""The patch adversary of the autoencoder: a discriminator of film patches, and both sides' losses."""

from itertools import pairwise

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from vision_module.config import Criterion


class PatchDiscriminator(nn.Sequential):
    """Images (B, 1, S, S) -> one logit for each of many overlapping patches, (B, 1, H, W).

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


def _initialize(module: nn.Module) -> None:
    """N(0, 0.02), as pix2pix; around 1 for the norms' scales."""
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def frozen_logits(discriminator: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The discriminator's logits with its weights as constants: gradients reach the images alone."""
    weights = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    return functional_call(discriminator, weights, (images,))


def generator_loss(logits: torch.Tensor, criterion: Criterion) -> torch.Tensor:
    """What the autoencoder pays for reconstructions that are told from films.

    Least squares: Mao et al., ICCV 2017, eq. 9 without its 1/2, as MONAI; hinge: Lim and Ye, 2017.
    """
    logits = logits.float()
    return (logits - 1.0).square().mean() if criterion == "least-squares" else -logits.mean()


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor, criterion: Criterion) -> torch.Tensor:
    """What the discriminator pays: the mean of its losses on films and on reconstructions."""
    real, fake = real.float(), fake.float()
    if criterion == "least-squares":
        return 0.5 * ((real - 1.0).square().mean() + fake.square().mean())
    return 0.5 * (functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean())
