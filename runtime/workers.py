"""Work in other processes, which start fast, end with this one, and change nothing in the result."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Worker(SpawnProcess):
    """A process that does not import the script again, as multiprocessing has it do to find what a script
    defines: ours define nothing that workers run, and import a second or more of libraries."""

    def start(self) -> None:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = script


class _WorkerContext(SpawnContext):
    # Spawned, since a fork of a process that holds threads (torch) can hang.
    Process = _Worker


def run_in_workers(
    work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], num_workers: int
) -> Generator[tuple[int, Result], None, None]:
    """Yield (number of the task, work(*task)) as the results come in, which is in no certain order.

    Tasks are taken as workers become free, so that they need not all be in memory. Where the caller stops
    early, closing this generator (`contextlib.closing`) ends the workers in the midst of theirs.

    Args:
        work: a function of a module, or a partial of one; what its module imports decides how fast workers
            start.
        num_workers: processes; 1 works in this one.

    Raises:
        ValueError: a worker process was killed.
    """
    if num_workers <= 1:
        for number, task in enumerate(tasks):
            yield number, work(*task)
        return
    pool = ProcessPoolExecutor(num_workers, mp_context=_WorkerContext(), initializer=_begin_worker)
    with pool, _end_workers():
        rest, waiting = enumerate(tasks), dict[Future[Result], int]()
        try:
            while True:
                while len(waiting) < 2 * num_workers and (numbered := next(rest, None)) is not None:
                    waiting[pool.submit(work, *numbered[1])] = numbered[0]
                if not waiting:
                    return
                done = next(as_completed(waiting))
                yield waiting.pop(done), done.result()
        except BrokenProcessPool:
            raise ValueError(
                "a worker process was killed (out of memory?); the same command goes on, "
                f"perhaps with fewer than --num-workers {num_workers}"
            ) from None


@contextlib.contextmanager
def _end_workers() -> Iterator[None]:
    """End the workers where what stands within is broken off; else the pool would wait for them."""
    try:
        yield
    except BaseException:
        for process in multiprocessing.active_children():
            if isinstance(process, _Worker):
                process.terminate()
        raise


def _begin_worker() -> None:
    """Let a worker end when this process is killed, and leave Ctrl-C to this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
