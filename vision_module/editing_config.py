"""Settings of edits: what the flags of edit_films.py are made of. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EditingConfig:
    """How a film is drawn again under another text."""

    num_inference_steps: int = 40
    """Steps of the inversion, and of drawing again."""
    strength: float = 0.8
    """Share of the steps that are taken; less keeps more of the film."""
    guidance_scale: float = 3.0
    """Classifier-free guidance to both texts; 1 is the conditional model alone."""
    mixed_precision: Literal["auto", "no", "bf16"] = "auto"
    """Precision of the models; auto: bf16 where the device has instructions for it."""

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(f"--strength {self.strength}: must be above 0, and 1 at most")
        if self.num_inference_steps < 1:
            raise ValueError(f"--num-inference-steps {self.num_inference_steps}: must be at least 1")
