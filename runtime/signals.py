"""Signals that end a run after the step it is in."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def signals_noted(note: Callable[[int], None]) -> Iterator[None]:
    """SIGINT and SIGTERM are noted: the step can end and a checkpoint be written before the run stops."""

    def handle(number: int, frame: object) -> None:
        note(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
