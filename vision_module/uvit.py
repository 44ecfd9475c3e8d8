"""U-ViT: a ViT with long skip connections that predicts noise or velocity (Bao et al., CVPR 2023).

Parameter names are those of the published weights (patch_embed, in_blocks, mid_block, out_blocks,
skip_linear, decoder_pred, final_layer). The forward signature is that of diffusers' UNet2DConditionModel,
so both backbones share one objective and one sampler.
"""

import math

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_2d_sincos_pos_embed, get_timestep_embedding
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from timm.layers import Attention, Mlp, PatchEmbed
from torch import nn
from torch.utils.checkpoint import checkpoint

# Depth, width and heads of the paper's sizes (Bao et al., table 1).
UVIT_SIZES = {
    "S": {"depth": 13, "embed_dim": 512, "num_heads": 8},
    "M": {"depth": 17, "embed_dim": 768, "num_heads": 12},
    "L": {"depth": 21, "embed_dim": 1024, "num_heads": 16},
    "H": {"depth": 29, "embed_dim": 1152, "num_heads": 16},
}


class Block(nn.Module):
    """Pre-norm transformer block; the blocks of the second half first merge a skip connection."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, skip: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.skip_linear = nn.Linear(2 * dim, dim) if skip else None

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        if self.skip_linear is not None and skip is not None:
            x = self.skip_linear(torch.cat([x, skip], dim=-1))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class UViT(ModelMixin, ConfigMixin):
    """Denoiser of latents with the time, the context and the patches as tokens of one sequence.

    Args:
        sample_size: height and width of the latents, a multiple of `patch_size`.
        depth: number of blocks, odd: half in, one mid, half out.
        context_dim: width D of the context tokens.
        num_context_tokens: tokens T of the context: 1 for the pooled fusions, 78 for text and reference.
        time_cond_proj_dim: width of `timestep_cond`, a further input beside the time; None takes none.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        in_channels: int = 4,
        patch_size: int = 2,
        embed_dim: int = 1024,
        depth: int = 21,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        context_dim: int = 768,
        num_context_tokens: int = 1,
        time_cond_proj_dim: int | None = None,
    ) -> None:
        super().__init__()
        if depth % 2 == 0:
            raise ValueError(
                f"depth {depth}: U-ViT needs an odd number of blocks (half in, one mid, half out)"
            )
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        if sample_size % patch_size:
            raise ValueError(f"sample_size {sample_size} is not a multiple of patch_size {patch_size}")
        self.gradient_checkpointing = False
        self.patch_embed = PatchEmbed(sample_size, patch_size, in_channels, embed_dim)
        self.context_embed = nn.Linear(context_dim, embed_dim)
        if time_cond_proj_dim:
            self.cond_proj = nn.Linear(time_cond_proj_dim, embed_dim, bias=False)
        self.num_extra_tokens = 1 + num_context_tokens
        num_tokens = self.num_extra_tokens + self.patch_embed.num_patches
        self.pos_embed = nn.Parameter(torch.zeros(1, num_tokens, embed_dim))
        half = depth // 2

        def block(skip: bool) -> Block:
            return Block(embed_dim, num_heads, mlp_ratio, skip)

        self.in_blocks = nn.ModuleList([block(False) for _ in range(half)])
        self.mid_block = block(False)
        self.out_blocks = nn.ModuleList([block(True) for _ in range(half)])
        self.norm = nn.LayerNorm(embed_dim)
        self.decoder_pred = nn.Linear(embed_dim, patch_size**2 * in_channels)
        # The 3x3 convolution after the patches are put back removes their seams (Bao et al., sec. 3.1).
        self.final_layer = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.apply(_init_weights)
        self._init_positions()

    def _init_positions(self) -> None:
        """Positions are learned, but start as 2-D sines and cosines, from which small data learns sooner."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        side = self.config["sample_size"] // self.config["patch_size"]
        grid = get_2d_sincos_pos_embed(self.config["embed_dim"], side, output_type="pt")
        if not self.pos_embed.is_meta:
            with torch.no_grad():
                self.pos_embed[0, self.num_extra_tokens :] = grid.to(self.pos_embed)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | int,
        encoder_hidden_states: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet2DConditionOutput | tuple[torch.Tensor]:
        """Predict the target of one denoising step.

        Args:
            sample: noisy latents (B, C, H, W).
            timestep: (B,) or a scalar, in 0..999.
            encoder_hidden_states: context (B, T, D).
            timestep_cond: (B, time_cond_proj_dim), of a model that was built for it.
        """
        if encoder_hidden_states.shape[1] != self.num_extra_tokens - 1:
            raise ValueError(
                f"context of {encoder_hidden_states.shape[1]} tokens for a U-ViT that was built for "
                f"{self.num_extra_tokens - 1}: the fusion differs from the one it was trained with"
            )
        timestep = torch.as_tensor(timestep, device=sample.device).expand(sample.shape[0])
        time_token = get_timestep_embedding(
            timestep, self.config["embed_dim"], flip_sin_to_cos=True, downscale_freq_shift=0
        )
        if timestep_cond is not None:
            time_token = time_token + self.cond_proj(timestep_cond)
        x = self.patch_embed(sample)
        context = self.context_embed(encoder_hidden_states.to(x.dtype))
        x = torch.cat([time_token.to(x.dtype).unsqueeze(1), context, x], dim=1) + self.pos_embed
        skips = []
        for block in self.in_blocks:
            x = self._run(block, x)
            skips.append(x)
        x = self._run(self.mid_block, x)
        for block in self.out_blocks:
            x = self._run(block, x, skips.pop())
        x = self.decoder_pred(self.norm(x))[:, self.num_extra_tokens :]
        x = self.final_layer(self._unpatchify(x))
        return UNet2DConditionOutput(sample=x) if return_dict else (x,)

    def _run(self, block: nn.Module, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, skip, use_reentrant=False)
        return block(x, skip)

    def _unpatchify(self, x: torch.Tensor) -> torch.Tensor:
        """(B, patches, patch * patch * C) -> (B, C, H, W)."""
        patch, channels = self.config["patch_size"], self.config["in_channels"]
        side = math.isqrt(x.shape[1])
        x = x.reshape(-1, side, side, patch, patch, channels).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(-1, channels, side * patch, side * patch)


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
