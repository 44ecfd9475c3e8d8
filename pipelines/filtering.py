"""Draws that fail a test are drawn again, with the item's next seed."""

from collections.abc import Callable, Sequence

import numpy as np

from data_module.sampling_plan import PlannedPair
from data_module.synthetic import Drawn

# (items, their plans, try) -> films (B, S, S) uint8, and reports or None: `PairSampler.sample`
Draw = Callable[[Sequence[int], Sequence[PlannedPair], int], tuple[np.ndarray, list[str] | None]]
# (films, reports, labels (B, 14) asked for, prompts) -> for each pair the tests that it fails
Judge = Callable[[np.ndarray, Sequence[str] | None, np.ndarray, Sequence[str]], Sequence[Sequence[str]]]


class FilteredSampler:
    """Draws each item until it passes all tests, `max_tries` times at most.

    The draws of a batch that are still wanted are packed together, so an item's bytes depend on its batch's
    place on the grid of all items and on nothing else: not on what was finished before, nor on the shard.
    """

    def __init__(self, draw: Draw, judge: Judge, max_tries: int) -> None:
        self.draw, self.judge, self.max_tries = draw, judge, max_tries

    def sample(self, items: Sequence[int], plan: Sequence[PlannedPair]) -> Drawn:
        """Films and reports of these items, and what was rejected of them."""
        films: list[np.ndarray | None] = [None] * len(items)
        reports: list[str] = [""] * len(items)
        rejected: list[list[str]] = [[] for _ in items]
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
                if failed[row]:
                    rejected[place].append("; ".join(failed[row]))
                    still.append(place)
                else:
                    films[place] = drawn[row]
                    reports[place] = texts[row] if texts is not None else ""
            waiting = still
        return Drawn(films, reports if written else None, rejected)


def _pack(waiting: list[int], batch_size: int) -> list[int]:
    """The waiting places, the last one repeated up to a power of two: few shapes, few draws for nothing."""
    size = min(batch_size, 1 << (len(waiting) - 1).bit_length())
    return waiting + waiting[-1:] * (size - len(waiting))
