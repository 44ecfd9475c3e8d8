"""Draws that fail a test are drawn again, with the item's next seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data_module.rejections import count_errors
from data_module.sampling_plan import PlannedPair
from data_module.synthetic import Drawn

# (items, their plans, try) -> films (B, S, S) uint8, and reports or None: `PairSampler.sample`
Draw = Callable[[Sequence[int], Sequence[PlannedPair], int], tuple[np.ndarray, list[str] | None]]
# (films, reports, labels (B, 14) asked for, prompts) -> for each pair the tests that it fails
Judge = Callable[[np.ndarray, Sequence[str] | None, np.ndarray, Sequence[str]], Sequence[Sequence[str]]]
NEVER_KEPT = "not-a-copy"  # a film of a patient is none the better for its findings


@dataclass
class _Best:
    """The draw of an item with the fewest errors so far."""

    errors: int
    number: int
    film: np.ndarray
    report: str


class FilteredSampler:
    """Draws each item until it passes all tests, `max_tries` times at most.

    Args:
        keep_best: of an item that never passes the draw with the fewest errors is kept, with what it fails.

    The draws of a batch that are still wanted are packed together, so an item's bytes depend on its batch's
    place on the grid of all items and on nothing else: not on what was finished before, nor on the shard.
    """

    def __init__(self, draw: Draw, judge: Judge, max_tries: int, keep_best: bool = False) -> None:
        self.draw, self.judge, self.max_tries, self.keep_best = draw, judge, max_tries, keep_best

    def sample(self, items: Sequence[int], plan: Sequence[PlannedPair]) -> Drawn:
        """Films and reports of these items, and what was rejected of them."""
        films: list[np.ndarray | None] = [None] * len(items)
        reports: list[str] = [""] * len(items)
        rejected: list[list[str]] = [[] for _ in items]
        best: dict[int, _Best] = {}
        waiting, written = list(range(len(items))), False
        for number in range(self.max_tries):
            if not waiting:
                break
            places = _pack(waiting, len(items))
            plans = [plan[place] for place in places]
            drawn, texts = self.draw([items[place] for place in places], plans, number)
            written = texts is not None
            labels, prompts = np.stack([pair.labels for pair in plans]), [pair.prompt for pair in plans]
            failed = self.judge(drawn, texts, labels, prompts)
            still = []
            for row, place in enumerate(waiting):
                report = texts[row] if texts is not None else ""
                if not failed[row]:
                    films[place], reports[place] = drawn[row], report
                    continue
                rejected[place].append("; ".join(failed[row]))
                still.append(place)
                errors = count_errors(failed[row])
                copied = any(test.startswith(NEVER_KEPT) for test in failed[row])
                if self.keep_best and not copied and (place not in best or errors < best[place].errors):
                    best[place] = _Best(errors, number, drawn[row], report)
            waiting = still
        failing = [""] * len(items)
        for place in (place for place in waiting if place in best):
            kept = best[place]
            films[place], reports[place] = kept.film, kept.report
            failing[place], rejected[place][kept.number] = rejected[place][kept.number], ""
        return Drawn(films, reports if written else None, rejected, failing if self.keep_best else None)


def _pack(waiting: list[int], batch_size: int) -> list[int]:
    """The waiting places, the last one repeated up to a power of two: few shapes, few draws for nothing."""
    size = min(batch_size, 1 << (len(waiting) - 1).bit_length())
    return waiting + waiting[-1:] * (size - len(waiting))
