"""Settings of a conversion: what the flags of convert_weights.py are made of. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class ConversionConfig:
    """Which weights, and what they are joined with."""

    source: tyro.conf.Positional[Literal["sd", "uvit", "cxr-irgen", "monai"]]
    """Whose weights: Stable Diffusion, the U-ViT authors', CXR-IRGen's, or MONAI's model zoo."""
    file: tyro.conf.Positional[Path]
    """Weights file, a Stable Diffusion folder, or a MONAI bundle (the folder with models/ and configs/); of
    a bundle also autoencoder.pth or diffusion_model.pth alone."""
    out: Path
    """Model folder to write; it must not be there yet."""
    config: str = "CompVis/stable-diffusion-v1-4"
    """sd and cxr-irgen: Stable Diffusion folder or hub name with the architecture and the tokenizer."""
    reference_encoder: str = "openai/clip-vit-base-patch32"
    """cxr-irgen: folder or hub name of the CLIP that embeds the reference film."""
    text_encoder: str = "stabilityai/stable-diffusion-2-1-base"
    """monai: folder or hub name whose text_encoder and tokenizer the U-Net was trained with."""
    scale_factor: float = 0.3
    """monai: factor on the latents; the bundle's scripts/sampler.py has 0.3."""
    context_dim: int = 768
    """uvit: width of the context that the new context embedding takes."""
    dry_run: bool = False
    """Print the resolved settings and stop."""
