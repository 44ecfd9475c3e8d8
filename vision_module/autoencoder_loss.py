"""The autoencoder's objective: reconstruction, KL, perceptual distance and a patch adversary, by weight.

The adversary needs no second loop. In the usual order of a step (VQGAN, MONAI) the discriminator learns after
the autoencoder, but from the same reconstructions, and at the weights that the autoencoder was judged by. So
its gradient can be taken in the same backward pass: the autoencoder's loss sees the discriminator's weights
as constants, the discriminator's loss sees the reconstructions as constants, and AdamW treats every weight by
itself. A test holds this against two optimisers that step in turn.
"""

import torch
from diffusers import AutoencoderKL
from torch import nn

from training.optimizer import ParameterGroup
from vision_module.adversary import PatchDiscriminator, fooling_loss, judge_frozen, telling_loss
from vision_module.autoencoder import match_channels
from vision_module.config import AutoencoderLossConfig
from vision_module.perceptual import load_perceptual
from vision_module.reconstruction import score_reconstruction


class AutoencoderLoss(nn.Module):
    """The losses in one forward that data-parallel wrappers can take, and what is trained but not exported.

    Args:
        adversarial_from: training forwards (not optimiser steps) before the discriminator starts.
    """

    def __init__(
        self, autoencoder: AutoencoderKL, config: AutoencoderLossConfig, adversarial_from: int = 0
    ) -> None:
        super().__init__()
        self.autoencoder, self.config, self.adversarial_from = autoencoder, config, adversarial_from
        self.perceptual = None
        if config.perceptual_weight:
            self.perceptual = load_perceptual(config.perceptual, config.perceptual_scale)
        self.discriminator = None
        if config.adversarial_weight:
            self.discriminator = PatchDiscriminator(
                config.discriminator_channels, config.discriminator_layers
            )
        # A buffer, as BatchNorm's num_batches_tracked: checkpoints carry it, so a resumed run starts in time.
        self.register_buffer("num_forwards", torch.zeros((), dtype=torch.long))

    @property
    def groups(self) -> tuple[ParameterGroup, ...]:
        """The discriminator, with a learning rate and a gradient norm of its own."""
        if self.discriminator is None:
            return ()
        return (ParameterGroup("discriminator.", self.config.discriminator_rate, apart=True),)

    def forward(self, images: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of a batch of images (B, 1, S, S) in [-1, 1].

        In training, `loss` has the discriminator's own loss in it. In evaluation it is the autoencoder's
        alone, and the reconstructions from the posterior's mean are scored beside it.
        """
        config = self.config
        target = match_channels(images, self.autoencoder.config.in_channels)
        posterior = self.autoencoder.encode(target).latent_dist
        output = self.autoencoder.decode(posterior.sample(generator)).sample.float()
        losses = {**pixel_losses(output - target), "kl": kl_to_normal(posterior) / images[0].numel()}
        weights = {
            "l1": config.l1_weight,
            "mse": config.mse_weight,
            "edges": config.edge_weight,
            "kl": config.kl_weight,
        }
        grey = output.mean(dim=1, keepdim=True)
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(grey, images)
            weights["perceptual"] = config.perceptual_weight
        judging = self.discriminator is not None and int(self.num_forwards) >= self.adversarial_from
        if judging:
            losses["fooling"] = fooling_loss(
                judge_frozen(self.discriminator, grey), config.adversarial_criterion
            )
            weights["fooling"] = config.adversarial_weight
        loss = sum(weight * losses[name] for name, weight in weights.items() if weight)
        if judging:
            real, fake = self.discriminator(images), self.discriminator(grey.detach())
            losses["telling"] = telling_loss(real, fake, config.adversarial_criterion)
            loss = loss + losses["telling"] if self.training else loss
        if self.training:
            self.num_forwards += 1
        else:
            mean = self.autoencoder.decode(posterior.mode()).sample.mean(dim=1, keepdim=True)
            scores = score_reconstruction(mean, images)
            losses |= {f"reconstruction_{name}": value for name, value in scores.items()}
        return {"loss": loss, **losses}


def pixel_losses(error: torch.Tensor) -> dict[str, torch.Tensor]:
    """L1 and mean square of an error (B, C, S, S), and the L1 of its neighbouring pixels' differences.

    The last keeps the edges and fine lines that the L1 of pixels alone blurs away (Mathieu et al., ICLR 2016,
    eq. 6, at exponent 1).
    """
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return {"l1": error.abs().mean(), "mse": error.square().mean(), "edges": edges}


def kl_to_normal(posterior) -> torch.Tensor:
    """KL of a diagonal normal to the standard normal in nats, mean over the batch, in float32."""
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum(dim=(1, 2, 3)).mean()
