"""Settings of few-step distillation. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

NUM_STOPS = 4  # of a path, at least: students of 4, 2 and 1 evaluations are taught by the same paths


@dataclass(frozen=True)
class PathConfig:
    """The teacher's paths from noise to film, which the student is to take in a few steps."""

    num_evaluations: Literal[1, 2, 4, 8] = 4
    """Evaluations that the student draws a film in."""
    teacher_steps: int = 15
    """Steps of the teacher, with guidance two evaluations each."""
    guidance_range: tuple[float, float] = (1.0, 5.0)
    """LOW HIGH: guidance scales of the paths, all alike often; the scale is an input of the student."""
    num_paths: int = 4096
    """Paths to train on; each has as many lessons as the student takes steps."""
    num_validation_paths: int = 256
    """Paths to validate on, of the validation split's prompts."""
    no_reference_share: float = 0.1
    """Share of the paths drawn from text alone."""

    def __post_init__(self) -> None:
        low, high = self.guidance_range
        for flag, wrong, need in (
            (f"guidance-range {low} {high}", not 0 <= low <= high, "0 <= LOW <= HIGH"),
            (f"num-paths {self.num_paths}", self.num_paths < 1, "at least 1"),
            (
                f"num-validation-paths {self.num_validation_paths}",
                self.num_validation_paths < 1,
                "at least 1",
            ),
            (
                f"no-reference-share {self.no_reference_share}",
                not 0 <= self.no_reference_share <= 1,
                "0 to 1",
            ),
            (
                f"teacher-steps {self.teacher_steps}",
                not 2 * self.num_stops <= self.teacher_steps <= 1000,
                f"{2 * self.num_stops} to 1000, two steps or more for each stretch of the path",
            ),
        ):
            if wrong:
                raise ValueError(f"--{flag}: must be {need}")

    @property
    def num_stops(self) -> int:
        """States of a path that are kept, beside the noise."""
        return max(NUM_STOPS, self.num_evaluations)
