"""One Python that has imported what the stages of an experiment need; each stage is a fork of it.

Imports are seven seconds of every stage, of which an experiment has a dozen or more (Linux only: elsewhere
a fork after imports is not safe).

    python experiments/warm_start.py serve SOCKET           # until its standard input ends
    python experiments/warm_start.py run SOCKET script.py flags

A stage has arguments, environment, folder, files, signals and exit status of the command that asked for it,
and is of its process group.
"""

import ctypes
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
# What most stages import, from which the libraries follow. Nothing here starts a thread or a GPU.
MODULES = (
    "evaluation.commands",
    "evaluation.images.section",
    "evaluation.pairs.section",
    "evaluation.privacy.section",
    "language_module.report_gpt",
    "matplotlib.backends.backend_agg",
    "pipelines.pair_sampler",
    "pipelines.prior_training",
    "sklearn.linear_model",
    "torchmetrics.image.kid",
    "training.loop",
    "training.muon",
    "tyro",
    "vision_module.denoiser_run",
)
STARTED = ("GLIBC_TUNABLES",)  # what a process keeps from its start, whatever is asked of a fork
_HUGE, _MADV_COLLAPSE = 1 << 21, 25  # <linux/mman.h>
_LENGTH = struct.Struct("!I")
_STATUS = struct.Struct("!i")


def serve(path: Path) -> None:
    """Import, then fork a stage for each connection to the socket `path`, which appears once all is ready.

    Its folder, which nothing else is in, is removed at the end.
    """
    import importlib

    for name in MODULES:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the stages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who looks after a stage is not waited for
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen()
    os.rename(f"{path}.new", path)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _look_after(connection)
        connection.close()
    shutil.rmtree(path.parent)


def _look_after(connection: socket.socket) -> NoReturn:
    """Fork the stage that is asked for and tell how it ended; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
    asked = json.loads(_receive(connection, _LENGTH.unpack(head)[0]))
    if (stage := os.fork()) == 0:
        connection.close()
        _become(asked, files)
    for file in files:
        os.close(file)
    code = os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])
    connection.sendall(_STATUS.pack(code))
    os._exit(0)


def _become(asked: dict[str, Any], files: list[int]) -> NoReturn:
    """Be the stage that is asked for, to its end."""
    import threadpoolctl
    import torch

    from runtime.threads import openmp_settings

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.setpgid(0, asked["group"])
    os.chdir(asked["folder"])
    kept = {name: os.environ[name] for name in STARTED if name in os.environ}
    os.environ.clear()
    os.environ.update({**asked["environment"], **openmp_settings(asked["environment"]), **kept})
    heeds = signal.SIG_IGN if asked["ignores_interrupts"] else signal.default_int_handler
    signal.signal(signal.SIGINT, heeds)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threads = int(os.environ["OMP_NUM_THREADS"].partition(",")[0])
    threadpoolctl.threadpool_limits(threads)
    torch.set_num_threads(threads)
    _collapse_heap()
    script, *flags = asked["arguments"]
    if script == "-m":
        module, *flags = flags
        sys.argv = [module, *flags]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [script, *flags]
        sys.path[0] = str(Path(script).resolve().parent)
        runpy.run_path(script, run_name="__main__")
    sys.exit()


def _collapse_heap() -> None:
    """Ask Linux (6.1 or newer) for huge pages: what a fork writes to is copied in small ones."""
    madvise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[heap]"):
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            start, end = -(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE
            if end > start:
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_COLLAPSE)


def run(path: Path, arguments: list[str]) -> NoReturn:
    """Run a stage where `path` is served, in this process's place; anew where nobody answers."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        os.execv(sys.executable, [sys.executable, *arguments])
    asked = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "group": os.getpgrp(),
        "ignores_interrupts": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    }
    for number in (signal.SIGINT, signal.SIGTERM):  # the stage hears them too, and ends as it thinks best
        signal.signal(number, signal.SIG_IGN)
    text = json.dumps(asked).encode()
    socket.send_fds(connection, [_LENGTH.pack(len(text))], [0, 1, 2])
    connection.sendall(text)
    (code,) = _STATUS.unpack(_receive(connection, _STATUS.size))
    if code < 0:  # ended by a signal: so does this
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            sys.exit("error: the process that stages are forked from has ended; the same command goes on")
        parts += part
    return parts


def main() -> None:
    from runtime.huge_pages import restart_with_huge_pages
    from runtime.threads import settle_threads

    restart_with_huge_pages(main)
    settle_threads()
    serve(Path(sys.argv[2]))


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(Path(sys.argv[2]), sys.argv[3:])
    sys.path[0] = str(ROOT)
    main()
