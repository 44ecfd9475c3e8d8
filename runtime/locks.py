"""One run at a time in one place: a lock that the system drops when its process ends, however it ends."""

import atexit
import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock"  # within a folder; harmless where a killed process left it

_held: dict[Path, int] = {}  # lock file -> descriptor, of this process
# Some network file systems know no such locks: runs go unguarded there rather than not at all.
_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def hold_folder(folder: Path, flag: str = "--out") -> None:
    """Hold a folder, which is made where it is not there, until `release` or the end of this process.

    Processes of one run count as one: the main one holds it. Holding twice is holding once.

    Raises:
        ValueError: another run holds it.
        OSError: the folder cannot be written.
    """
    hold(folder / NAME, f"{flag} {folder}")


def hold(path: Path, what: str, shared: bool = False) -> None:
    """As `hold_folder`, by the name of the lock file.

    Args:
        what: is held, for the message.
        shared: others may hold it too, if they share it.
    """
    path = path.absolute()
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ValueError(f"{what} is being written by another run: wait for its end, or end it") from None
        except OSError as error:
            if error.errno not in _UNKNOWN:
                os.close(descriptor)
                raise
        if _is_at(descriptor, path):
            _held[path] = descriptor
            return
        os.close(descriptor)  # its holder deleted it between our two calls


def is_alone(path: Path) -> bool:
    """Whether no other process holds a lock that this one shares; if so it is held alone from here on."""
    try:
        fcntl.flock(_held[path.absolute()], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(_held[path.absolute()], fcntl.LOCK_SH | fcntl.LOCK_NB)  # a failed change gives it up
        return False
    except OSError:
        return False
    return True


def release_folder(folder: Path) -> None:
    """Let go of a folder."""
    release(folder / NAME)


def release(path: Path) -> None:
    """Let go, and delete the lock file unless others share it."""
    path = path.absolute()
    if path not in _held:
        return
    if is_alone(path):
        with contextlib.suppress(OSError):
            path.unlink()
    os.close(_held.pop(path))


@contextlib.contextmanager
def holding(path: Path, what: str, shared: bool = False) -> Iterator[None]:
    """`hold` for the length of a block; a lock that was held before stays so."""
    before = path.absolute() in _held
    hold(path, what, shared)
    try:
        yield
    finally:
        if not before:
            release(path)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@atexit.register
def _release_all() -> None:
    for path in list(_held):
        release(path)


def _forget() -> None:
    """In a forked worker: else it would go on holding the locks of a parent that was killed."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
