"""The autoencoder's objective: reconstruction, KL, perceptual distance and a patch adversary, by weight.

The adversary needs no second loop. In the usual order of a step (VQGAN, MONAI) the discriminator learns after
the autoencoder, but from the same reconstructions, and at the weights that gave the autoencoder's loss. So
its gradient can be taken in the same backward pass: the autoencoder's loss sees the discriminator's weights
as constants, the discriminator's loss sees the reconstructions as constants, and AdamW treats every weight by
itself. A test holds this against two optimizers that step in turn.
"""

import torch
from diffusers import AutoencoderKL
from torch import nn

from training.optimizer import ParameterGroup
from vision_module.adversary import (
    FeatureDiscriminator,
    PatchDiscriminator,
    discriminator_loss,
    frozen_logits,
    generator_loss,
)
from vision_module.autoencoder import decode, match_channels
from vision_module.config import AutoencoderLossConfig
from vision_module.perceptual import list_widths, load_features, load_perceptual
from vision_module.reconstruction import score_reconstruction


class AutoencoderLoss(nn.Module):
    """The losses in one forward that data-parallel wrappers can take, and what is trained but not exported.

    Args:
        adversarial_from: training forwards (not optimizer steps) before the discriminator starts.
    """

    num_forwards: torch.Tensor

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
            self.discriminator = _make_discriminator(config)
        # A buffer, as BatchNorm's num_batches_tracked: checkpoints carry it, so a resumed run starts in time.
        self.register_buffer("num_forwards", torch.zeros((), dtype=torch.long))
        self._adversary_learns = False

    @property
    def groups(self) -> tuple[ParameterGroup, ...]:
        """The discriminator, with a learning rate and a gradient norm of its own."""
        if self.discriminator is None:
            return ()
        return (ParameterGroup("discriminator.", self.config.discriminator_rate, clipped_separately=True),)

    def forward(self, images: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of a batch of images (B, 1, S, S) in [-1, 1].

        In training, `loss` has the discriminator's own loss in it. In evaluation it is the autoencoder's
        alone, and the reconstructions from the posterior's mean are scored beside it.
        """
        config = self.config
        target = match_channels(images, self.autoencoder.config["in_channels"])
        posterior = self.autoencoder.encode(target, return_dict=False)[0]
        output = decode(self.autoencoder, posterior.sample(generator)).float()
        losses = {**pixel_losses(output - target), "kl": kl_to_normal(posterior) / images[0].numel()}
        weights = {
            "l1": config.l1_weight,
            "mse": config.mse_weight,
            "edges": config.edge_weight,
            "kl": config.kl_weight,
        }
        gray = output.mean(dim=1, keepdim=True)
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(gray, images)
            weights["perceptual"] = config.perceptual_weight
        if not self._adversary_learns:  # once it does, nobody waits for the device to say so
            self._adversary_learns = int(self.num_forwards) >= self.adversarial_from
        discriminator = self.discriminator if self._adversary_learns else None
        seen: list[torch.Tensor] = []
        if discriminator is not None:
            seen = discriminator.look(gray)  # once for both sides: the network's features cost the most
            losses["generator_loss"] = generator_loss(
                frozen_logits(discriminator, gray, seen), config.adversarial_criterion
            )
            weights["generator_loss"] = config.adversarial_weight
        terms = (weight * losses[name] for name, weight in weights.items() if weight)
        loss = sum(terms, gray.new_zeros(()))
        if discriminator is not None:
            real = discriminator(images)
            fake = discriminator(gray.detach(), [part.detach() for part in seen])
            losses["discriminator_loss"] = discriminator_loss(real, fake, config.adversarial_criterion)
            loss = loss + losses["discriminator_loss"] if self.training else loss
        if self.training:
            self.num_forwards += 1
        else:
            mean = decode(self.autoencoder, posterior.mode()).mean(dim=1, keepdim=True)
            scores = score_reconstruction(mean, images)
            losses |= {f"reconstruction_{name}": value for name, value in scores.items()}
        return {"loss": loss, **losses}


def _make_discriminator(config: AutoencoderLossConfig) -> PatchDiscriminator | FeatureDiscriminator:
    channels = config.discriminator_channels
    if not config.discriminator:
        return PatchDiscriminator(channels, config.discriminator_layers)
    features = load_features(config.discriminator, "--discriminator")
    return FeatureDiscriminator(features, list_widths(features), channels)


def pixel_losses(error: torch.Tensor) -> dict[str, torch.Tensor]:
    """L1 and mean square of an error (B, C, S, S), and the L1 of its neighboring pixels' differences.

    The last keeps the edges and fine lines that the L1 of pixels alone blurs away (Mathieu et al., ICLR 2016,
    eq. 6, at exponent 1).
    """
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return {"l1": error.abs().mean(), "mse": error.square().mean(), "edges": edges}


def kl_to_normal(posterior) -> torch.Tensor:
    """KL of a diagonal normal to the standard normal in nats, mean over the batch, in float32."""
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum(dim=(1, 2, 3)).mean()
