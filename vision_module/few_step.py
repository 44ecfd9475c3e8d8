"""Students that draw in a few evaluations: how one is asked, and what its folder says of it.

The guidance scale is an input of the student (Meng et al., CVPR 2023), embedded as diffusers embeds it for
latent consistency models, so that plain diffusers draws a student of a Stable Diffusion.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers.models.embeddings import get_timestep_embedding

from runtime.files import read_json, reading

FILE = "few_step.json"
SOLVER = "few-step"
GUIDANCE_DIM = 256


def embed_guidance(scales: torch.Tensor) -> torch.Tensor:
    """Guidance scales (B,) -> (B, 256), the denoiser's `timestep_cond`."""
    return get_timestep_embedding((scales - 1.0) * 1000.0, GUIDANCE_DIM, downscale_freq_shift=1)


@dataclass(frozen=True)
class FewStep:
    """What a student was trained for: that number of evaluations, and guidance scales from low to high."""

    num_evaluations: int
    guidance_range: tuple[float, float]

    def check(self, num_steps: int, guidance_scale: float, guidance_interval: tuple[float, float]) -> None:
        """Raise ValueError for a way to draw that the student was not trained for."""
        low, high = self.guidance_range
        if num_steps != self.num_evaluations:
            raise ValueError(
                f"--num-inference-steps {num_steps}: the model was distilled for {self.num_evaluations}: "
                f"pass that, or distill one for {num_steps}"
            )
        if not low <= guidance_scale <= high:
            raise ValueError(
                f"--guidance-scale {guidance_scale}: the model was distilled for {low:g} to {high:g}"
            )
        if guidance_interval != (0.0, 1.0):
            raise ValueError("--guidance-interval: a distilled model is guided at every step; leave it out")

    def save(self, folder: Path) -> None:
        """Write few_step.json."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "FewStep | None":
        """What the folder's few_step.json says; None for a model that is no student.

        Raises:
            ValueError: the file is damaged.
        """
        if not (folder / FILE).is_file():
            return None
        with reading(folder / FILE):
            saved = read_json(folder / FILE)
            low, high = saved["guidance_range"]
            return cls(int(saved["num_evaluations"]), (float(low), float(high)))
