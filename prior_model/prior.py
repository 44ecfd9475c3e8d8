"""ReportPrior: a ViT from scaled latents of a film to the embeddings of its report."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.resnet import ResnetBlock2D
from timm.models.vision_transformer import VisionTransformer
from torch import nn


class ReportPrior(ModelMixin, ConfigMixin):
    """Latents (B, C, H, W) -> report embeddings (B, K, D), as CXR-IRGen (WACV 2024) with K = 1.

    A timm VisionTransformer with K prefix tokens (class token, then registers); each prefix token is
    projected to one embedding. The output is linear: the paper's tanh cannot reach an unbounded target.

    Args:
        latent_channels, latent_size: C, and H = W of the latents.
        patch_size: latents to a patch, on each side.
        stem_depth, stem_channels: residual convolutions before and after a halving of the latents, in the
            place of half the patch size; 0 = none, as the paper. From scratch on thousands of films, a ViT
            without them barely learns to see (Xiao et al., "Early convolutions", NeurIPS 2021).
        num_findings: findings that the stem's features are also asked for (`return_findings`). Their
            probabilities then shift the embeddings, so that a report says what was seen; 0 = none.
        num_attributes: sides and grades of findings that features and ViT together are asked for; they join
            the findings in all of the above.
        num_embeddings, embedding_dim: K and D of the codec.
        codec_fingerprint: `ReportCodec.fingerprint()` of the codec it was trained for; empty = unknown.
        features: what it reads: "latents" of the autoencoder, or the feature maps of a frozen image encoder
            ("classifier", "clip"), which `standardize` brings to unit scale first.
    """

    feature_mean: torch.Tensor
    feature_std: torch.Tensor

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 4,
        latent_size: int = 32,
        patch_size: int = 2,
        dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        stem_depth: int = 0,
        stem_channels: int = 64,
        num_findings: int = 0,
        num_attributes: int = 0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        num_embeddings: int = 1,
        embedding_dim: int = 768,
        codec_fingerprint: str = "",
        features: str = "latents",
    ) -> None:
        super().__init__()
        if latent_size % patch_size:
            raise ValueError(f"--patch-size {patch_size}: latents of {latent_size} are not a multiple of it")
        if dim % num_heads:
            raise ValueError(f"--dim {dim}: must be a multiple of --num-heads {num_heads}")
        if features != "latents":
            self.register_buffer("feature_mean", torch.zeros(latent_channels, 1, 1))
            self.register_buffer("feature_std", torch.ones(latent_channels, 1, 1))
        self.stem, size, channels = nn.Identity(), latent_size, latent_channels
        if stem_depth:
            if patch_size % 2:
                raise ValueError(f"--patch-size {patch_size}: must be even with --stem-depth {stem_depth}")
            self.stem = conv_stem(latent_channels, stem_channels, stem_depth, dropout)
            size, patch_size, channels = latent_size // 2, patch_size // 2, 2 * stem_channels
        self.vit = VisionTransformer(
            img_size=size,
            patch_size=patch_size,
            in_chans=channels,
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
        if num_findings:
            if features == "latents" and not stem_depth:
                raise ValueError(
                    "--num-findings needs --stem-depth 1 or more: the stem's features predict them"
                )
            self.findings_head = nn.Linear(channels, num_findings)
            if num_attributes:
                self.attributes_head = nn.Linear(channels + dim, num_attributes)
            self.findings_shift = nn.Sequential(
                nn.Linear(num_findings + num_attributes, dim),
                nn.GELU(),
                nn.Linear(dim, num_embeddings * embedding_dim),
            )

    def standardize(self, features: torch.Tensor) -> torch.Tensor:
        """Feature maps (B, C, H, W) at unit scale per channel, what `forward` takes; latents as they are."""
        if self.config["features"] == "latents":
            return features
        return (features.float() - self.feature_mean) / self.feature_std

    def forward(
        self, latents: torch.Tensor, return_findings: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor | None]:
        """Latents (B, C, H, W) -> report embeddings (B, K, D), and with `return_findings` a pair.

        Its second is the logits (B, num_findings + num_attributes), None for a prior that has none.

        Raises:
            ValueError: latents of another shape than the prior was built for.
        """
        config = self.config
        wanted = (config["latent_channels"], config["latent_size"], config["latent_size"])
        if tuple(latents.shape[1:]) != wanted:
            raise ValueError(
                f"latents of shape {tuple(latents.shape)} do not fit this prior, which takes (B, "
                f"{', '.join(map(str, wanted))}): it was trained on another autoencoder or film size"
            )
        features = self.stem(latents.to(self.dtype))
        tokens = self.vit.forward_features(features)[:, : config["num_embeddings"]]
        embeddings, logits = self.head(tokens), None
        if config["num_findings"]:
            pooled = features.mean(dim=(2, 3))
            logits = self.findings_head(pooled)
            if config["num_attributes"]:
                # Of the mean over places alone, left and right are hard to tell.
                seen = torch.cat([pooled, tokens.mean(dim=1)], dim=1)
                logits = torch.cat([logits, self.attributes_head(seen)], dim=1)
            embeddings = embeddings + self.findings_shift(logits.sigmoid()).view_as(embeddings)
        return (embeddings, logits) if return_findings else embeddings

    def check_codec(self, num_embeddings: int, embedding_dim: int, fingerprint: str = "") -> None:
        """Raise ValueError unless this prior speaks to a codec of this K, D and, where known, weights."""
        config = self.config
        mine, theirs = (config["num_embeddings"], config["embedding_dim"]), (num_embeddings, embedding_dim)
        if mine != theirs:
            raise ValueError(
                f"the prior predicts {mine[0]} embeddings of {mine[1]}, the codec takes {theirs[0]} of "
                f"{theirs[1]}: train the prior on this codec (train_prior_model.py --language RUN)"
            )
        if fingerprint and config["codec_fingerprint"] and fingerprint != config["codec_fingerprint"]:
            raise ValueError(
                f"the prior was trained for codec {config['codec_fingerprint']}, this one is {fingerprint}: "
                "use the --language run it was trained on, or train it anew"
            )


def conv_stem(in_channels: int, channels: int, depth: int, dropout: float) -> nn.Sequential:
    """(B, C, H, W) -> (B, 2 channels, H/2, W/2) by diffusers' residual blocks, `depth` on each side."""

    def blocks(width: int) -> list[nn.Module]:
        settings = {"temb_channels": None, "groups": 8, "dropout": dropout}
        return [_PlainBlock(in_channels=width, out_channels=width, **settings) for _ in range(depth)]

    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        *blocks(channels),
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
        *blocks(2 * channels),
    )


class _PlainBlock(ResnetBlock2D):
    """A residual block without a time embedding."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden, None)  # pyright: ignore[reportArgumentType]  # asks for a time
