"""Settings of the tests of single pairs: what flags are made of. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.config import setting

Test = Literal[
    "film-agrees",
    "controls-agree",
    "report-agrees",
    "report-controls-agree",
    "consistent",
    "in-distribution",
    "not-a-copy",
]


@dataclass(frozen=True)
class KeepConfig:
    """Which draws are kept. One that fails is drawn again with the item's next seed."""

    keep: tuple[Test, ...] = ()
    """Tests that a pair must pass; none keeps every draw. film-agrees: the classifier sees in the film what
    was asked for, and nothing else; controls-agree: the film shows the sides, grades, sex and view that the
    prompt asks for; report-agrees: the report asserts the findings asked for, and no other;
    report-controls-agree: it tells the sides and grades that the prompt gives; consistent: it does not
    contradict itself; in-distribution: the film is like the training films; not-a-copy: it is no near-copy of
    one."""
    max_tries: int = 8
    """Draws of an item at most; one that passes in none of them is left out and listed in skipped.csv, unless
    the best is kept."""
    keep_best: bool = False
    """Keep, of an item whose draws all fail, the one with the fewest errors; the column failed_tests tells of
    them. A near-copy of a training film is never kept."""
    classifier: str = setting("runs/demo/classifier", identity=False)
    """Run of train_classifier.py (or what `python -m evaluation --classifier` takes), whose validation films
    set from which probability on a finding is seen; for film-agrees, in-distribution and not-a-copy."""
    controls: str | None = setting(None, identity=False)
    """Run of train_classifier.py --targets controls, for controls-agree. Films that it helped to choose are
    scored by another one, such as one of another seed."""
    max_film_errors: int = 0
    """Findings, of 14, in which the film may differ from what was asked."""
    max_report_errors: int = 0
    """Findings, of 14, in which the report may differ from what was asked."""
    max_control_errors: int = 0
    """Sides, grades, sex and view, of those that the prompt gives, in which the film may differ from it, and
    in which the report may."""
    max_film_distance: float = 1.0
    """Distance of a film's features to those of the training films, for in-distribution: at 1 it is 1.5 times
    as far as nearly all of them."""
    min_copy_distance: float = 1.0
    """Distance to the nearest training film, for not-a-copy: 1 is half of that within which a hundredth of
    the held-out real films lies, in pixels, features or registered."""
    results: Path | None = setting(None, identity=False)
    """Results of `python -m evaluation` of the same generator: a finding that is asked for, and that it draws
    badly (AUROC below 0.8), is warned of before anything is drawn."""

    def __post_init__(self) -> None:
        for name, wrong, need in (
            ("max_tries", self.max_tries < 1, "at least 1"),
            ("max_film_errors", self.max_film_errors < 0, "0 or more"),
            ("max_report_errors", self.max_report_errors < 0, "0 or more"),
            ("max_control_errors", self.max_control_errors < 0, "0 or more"),
            ("max_film_distance", self.max_film_distance <= 0, "above 0"),
            ("min_copy_distance", self.min_copy_distance <= 0, "above 0"),
        ):
            if wrong:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be {need}")
        if "controls-agree" in self.keep and not self.controls:
            raise ValueError(
                "--keep controls-agree needs --controls RUN, a run of train_classifier.py --targets controls"
            )

    @property
    def reads_films(self) -> bool:
        """Whether a test needs the classifier."""
        return bool({"film-agrees", "in-distribution", "not-a-copy"} & set(self.keep))

    @property
    def reads_reports(self) -> bool:
        """Whether a test needs reports."""
        return bool({"report-agrees", "report-controls-agree", "consistent"} & set(self.keep))
