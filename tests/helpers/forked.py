"""Scripts run in processes of their own, that start in a moment since a server has imported the libraries.

Such a process can be killed at any event (before or after a rename or the deletion of a folder), have little
memory, or be one of several of a run.
"""

import io
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

LAST_S = 60.0
TESTS = Path(__file__).resolve().parents[1]
PRELOAD = [
    "torch",
    "accelerate",
    "diffusers.training_utils",
    "transformers",
    "pandas",
    "training",
    "helpers.forked",
    "helpers.warm",
]


@dataclass(frozen=True)
class Ended:
    """How a process ended: as a shell would say it, and all that it printed."""

    exitcode: int | None  # None: it had not ended in time
    output: str
    num_events: int = 0

    @property
    def has_traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.output


def run(
    function: Callable[..., Any],
    *args: Any,
    kill_at: int = 0,
    env: dict[str, str] | None = None,
    memory: int = 0,
    timeout_s: float = 600.0,
) -> Ended:
    """Call a module's function in a process of its own, as `run_script` calls a script's main.

    Args:
        kill_at: SIGKILL at the n-th event, from 1; 0 lets it end.
        memory: bytes of address space at most; 0 sets no limit.
    """
    return run_all([(function, args, env or {})], kill_at, memory, timeout_s)[0]


def run_ranks(
    function: Callable[..., Any], *args: Any, num: int = 2, kill_at: int = 0, gpus: bool = False
) -> list[Ended]:
    """The same call in `num` processes of one run, as torchrun starts them; the first is killed, then all.

    Args:
        gpus: each process has a GPU; else none of them sees one.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(num), "LOCAL_WORLD_SIZE": str(num), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    shared |= {} if gpus else {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    calls = [(function, args, {**shared, "RANK": str(i), "LOCAL_RANK": str(i)}) for i in range(num)]
    return run_all(calls, kill_at)


def run_all(
    calls: Sequence[tuple[Callable[..., Any], tuple, dict[str, str]]],
    kill_at: int = 0,
    memory: int = 0,
    timeout_s: float = 600.0,
) -> list[Ended]:
    """Calls at once; `kill_at` is for the first. Its end by a signal ends the others, as a launcher does."""
    context = _make_context()
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for number, (function, args, env) in enumerate(calls):
            event = 0 if number else kill_at
            target = (Path(folder, str(number)), function, args, event, env, memory)
            processes.append(context.Process(target=_child, args=target))
            processes[-1].start()
        _join(processes, timeout_s)
        codes = [process.exitcode for process in processes]
        for process in processes:
            if process.exitcode is None:
                process.kill()
                process.join()
        return [_read(Path(folder, str(number)), code) for number, code in enumerate(codes)]


def _make_context() -> Any:
    """Forks of a server. Where a GPU is, new processes: a fork of one that looked for it could not use it."""
    if _sees_a_gpu():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    _start_server()
    return context


def _sees_a_gpu() -> bool:
    import torch  # late: the children import this module too

    return torch.cuda.is_available()


def _join(processes: Sequence[Any], timeout_s: float) -> None:
    """Wait until all have ended; once one has failed, LAST_S for the others at most: they may wait for it."""
    until_s, failed = time.monotonic() + timeout_s, False
    while (running := [p for p in processes if p.exitcode is None]) and time.monotonic() < until_s:
        wait([process.sentinel for process in running], 0.2)
        if not failed and any(process.exitcode for process in processes):
            failed, until_s = True, min(until_s, time.monotonic() + LAST_S)
        if processes[0].exitcode and processes[0].exitcode < 0:
            until_s = 0.0
            for process in processes[1:]:
                process.kill()
                process.join()


def _start_server() -> None:
    """Start it where it does not run yet. By itself it finds no module of the tests, and does not say so."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS), before)))
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _read(output: Path, code: int | None) -> Ended:
    count = output.with_suffix(".events")
    events = int(count.read_text() or 0) if count.is_file() else 0
    return Ended(code, output.read_text(errors="replace") if output.is_file() else "", events)


def _child(
    output: Path, function: Callable, args: tuple, event: int, env: dict[str, str], memory: int
) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", buffering=0, closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", buffering=0, closefd=False), write_through=True)
    os.environ.update(env)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    seen = _count_events(event)
    from runtime.cli import run_script

    code = 0
    try:
        run_script(lambda: function(*args))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    output.with_suffix(".events").write_text(str(seen[0]))
    from runtime.locks import _release_all  # processes of multiprocessing end without atexit

    _release_all()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _count_events(kill_at: int) -> list[int]:
    """Count the times before and after a rename or the deletion of a folder, and die at one of them."""
    seen = [0]

    def note() -> None:
        seen[0] += 1
        if seen[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(function: Callable) -> Callable:
        def call(*args: Any, **options: Any) -> Any:
            note()
            result = function(*args, **options)
            note()
            return result

        return call

    os.rename, os.replace, shutil.rmtree = watched(os.rename), watched(os.replace), watched(shutil.rmtree)
    return seen
