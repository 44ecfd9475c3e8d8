"""Child processes that work in turns, a while each: how benchmarks compare ways of running in one run."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runtime.huge_pages import huge_page_settings

READY = "ready"
Turn = Callable[[float], Sequence[float]]  # seconds to work -> the figures of this while


def run_as_scripts_do(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with what the scripts set for themselves as they start: memory in huge pages."""
    return {**environment, **huge_page_settings(environment)}


class Child:
    """A process of the same benchmark, `--child NAME`, that works when it is told to.

    Args:
        environment: of the process; what the scripts set for themselves is added where it does not say.
    """

    def __init__(self, benchmark: str, name: str, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, benchmark, "--child", name],
            env=run_as_scripts_do(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        while self._read().strip() != READY:  # what it has to say of itself goes before
            pass

    def work(self, seconds: float) -> list[float]:
        """The figures of its next turn."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return [float(value) for value in self._read().split()]

    def end(self) -> None:
        """Stop the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        return line


def answer_turns(work: Turn) -> None:
    """The child's side, once it has warmed up."""
    print(READY, flush=True)  # its threads are there
    for line in sys.stdin:
        print(*(float(value) for value in work(float(line))), flush=True)


def make_parser(description: str | None, rounds: int, seconds: float, out: Path) -> argparse.ArgumentParser:
    """The flags that such a benchmark has at least, with these defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each way")
    parser.add_argument("--seconds", type=float, default=seconds, help="seconds of a turn")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=out)
    return parser
