"""ReportPrior: a ViT from scaled latents of a film to the embeddings of its report."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from timm.models.vision_transformer import VisionTransformer
from torch import nn


class ReportPrior(ModelMixin, ConfigMixin):
    """Latents (B, C, H, W) -> report embeddings (B, K, D), as CXR-IRGen (WACV 2024) with K = 1.

    A timm VisionTransformer with K prefix tokens (class token, then registers); each prefix token is
    projected to one embedding. The output is linear: the paper's tanh cannot reach an unbounded target.

    Args:
        latent_channels, latent_size: C, and H = W of the latents.
        patch_size: latents to a patch, on each side.
        num_embeddings, embedding_dim: K and D of the codec.
        codec_fingerprint: `ReportCodec.fingerprint()` of the codec it was trained for; empty = unknown.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 4,
        latent_size: int = 32,
        patch_size: int = 2,
        dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        num_embeddings: int = 1,
        embedding_dim: int = 768,
        codec_fingerprint: str = "",
    ) -> None:
        super().__init__()
        if latent_size % patch_size:
            raise ValueError(f"--patch-size {patch_size}: latents of {latent_size} are not a multiple of it")
        if dim % num_heads:
            raise ValueError(f"--dim {dim}: must be a multiple of --num-heads {num_heads}")
        self.vit = VisionTransformer(
            img_size=latent_size,
            patch_size=patch_size,
            in_chans=latent_channels,
            num_classes=0,
            global_pool="",
            embed_dim=dim,
            depth=depth,
            num_heads=num_heads,
            reg_tokens=num_embeddings - 1,
            proj_drop_rate=dropout,
            drop_path_rate=drop_path,
        )
        self.head = nn.Linear(dim, embedding_dim)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """
        Raises:
            ValueError: latents of another shape than the prior was built for.
        """
        config = self.config
        wanted = (config.latent_channels, config.latent_size, config.latent_size)
        if tuple(latents.shape[1:]) != wanted:
            raise ValueError(
                f"latents of shape {tuple(latents.shape)} do not fit this prior, which takes (B, "
                f"{', '.join(map(str, wanted))}): it was trained on another autoencoder or film size"
            )
        tokens = self.vit.forward_features(latents.to(self.dtype))
        return self.head(tokens[:, : config.num_embeddings])

    def check_codec(self, num_embeddings: int, embedding_dim: int, fingerprint: str = "") -> None:
        """Raise ValueError unless this prior speaks to a codec of this K, D and, where known, weights."""
        config = self.config
        mine, theirs = (config.num_embeddings, config.embedding_dim), (num_embeddings, embedding_dim)
        if mine != theirs:
            raise ValueError(
                f"the prior predicts {mine[0]} embeddings of {mine[1]}, the codec takes {theirs[0]} of "
                f"{theirs[1]}: train the prior on this codec (train_prior_model.py --language RUN)"
            )
        if fingerprint and config.codec_fingerprint and fingerprint != config.codec_fingerprint:
            raise ValueError(
                f"the prior was trained for codec {config.codec_fingerprint}, this one is {fingerprint}: "
                "use the --language run it was trained on, or train it anew"
            )
