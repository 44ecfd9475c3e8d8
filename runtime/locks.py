"""One run at a time in one place: a lock that the system drops when its process ends, however it ends."""

import atexit
import contextlib
import errno
import fcntl
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.files import is_leftover, remove_leftovers

NAME = ".lock"  # within a folder; harmless where a killed process left it

_held: dict[Path, int] = {}  # lock file -> descriptor, of this process
_POLL_S = 0.05
_PATIENCE_S = 10.0
_TELL_AFTER_S = 5.0
_NO_WRITING = (errno.EROFS, errno.EACCES)
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


def hold(path: Path, what: str, shared: bool = False, patience_s: float = 0.0) -> None:
    """As `hold_folder`, by the name of the lock file.

    Args:
        what: is held, for the message.
        shared: others may hold it too, if they share it.
        patience_s: seconds for which a lock that another holds is asked for again; without an end it says so.
    """
    path, began_s, told = path.absolute(), time.monotonic(), False
    if path in _held:
        return
    if path.parent.exists() and not path.parent.is_dir():
        raise ValueError(f"{what} is a file; give a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno in _NO_WRITING:
                return  # nobody can be writing here; whoever needs to will be told
            raise
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            waited_s = time.monotonic() - began_s
            if waited_s < patience_s:
                if patience_s == math.inf and waited_s > _TELL_AFTER_S and not told:
                    print(f"{what} is being written by another run: waiting for its end", file=sys.stderr)
                    told = True
                time.sleep(_POLL_S)
                continue
            raise ValueError(f"{what} is being written by another run: wait for its end, or end it") from None
        except OSError as error:
            if error.errno not in _UNKNOWN:
                os.close(descriptor)
                raise
        if _is_at(descriptor, path):
            _held[path] = descriptor
            return
        os.close(descriptor)  # its holder deleted it between our two calls


def release_folder(folder: Path) -> None:
    """Let go of a folder."""
    release(folder / NAME)


def release(path: Path) -> None:
    """Let go, and delete the lock file unless others share it."""
    path = path.absolute()
    if path not in _held:
        return
    with contextlib.suppress(OSError):  # others share it, who go on needing the file
        fcntl.flock(_held[path], fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    os.close(_held.pop(path))


class Claim:
    """A folder, or a shard of what is made in it, held against other runs as long as a block lasts.

        with Claim(out, shard) as claim: ...

    A run without shards has the folder for itself; shards share it, each of them once.

    Args:
        path: the folder; or, with `of_file`, a file in the making.
        shard: (i, n).
        flag: the path's, for the message.
        waits: for the end of another run that has it; else it is refused.
    """

    def __init__(
        self,
        path: Path,
        shard: tuple[int, int] = (0, 1),
        flag: str = "--out",
        of_file: bool = False,
        waits: bool = False,
    ) -> None:
        self.path, self.shard, self.what = path, shard, f"{flag} {path}"
        # A shard has the lock for itself for a moment when it looks whether it is alone.
        self.patience_s = math.inf if waits else _PATIENCE_S if shard[1] > 1 else 0.0
        self.lock = path.with_name(f".{path.name}{NAME}") if of_file else path / NAME
        # Its own, and those of the ledgers within it, whose folders are hidden.
        self.rests = (".*.tmp", ".*/.*.tmp")
        if of_file:  # and what lies beside it, NAME.provenance.json and NAME.skipped.csv
            beside = (f".{path.stem}.{name}.*.tmp" for name in ("provenance.json", "skipped.csv"))
            self.rests = (f".{path.name}.*.tmp", f".{path.name}.*/.*.tmp", *beside)

    def __enter__(self) -> "Claim":
        """Raises ValueError where another run has the folder or the shard."""
        index, count = self.shard
        folder = self.lock.parent
        self.made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        if self.lock.absolute() in _held:
            raise ValueError(f"{self.what} is being written already")
        hold(self.lock, self.what, shared=count > 1, patience_s=self.patience_s)
        if count > 1:
            try:
                hold(self._own, f"shard {index}/{count} of {self.what}")
            except ValueError:
                release(self.lock)
                raise
        self.when_alone(self._remove_rests)
        return self

    def _remove_rests(self) -> None:
        for pattern in self.rests:
            remove_leftovers(self.lock.parent, pattern)
        self._closing.unlink(missing_ok=True)

    def __exit__(self, *error: object) -> None:
        release(self._own)
        release(self.lock)
        with contextlib.suppress(OSError):  # where nothing came of it, such as for a wrong flag
            for folder in self.made:
                folder.rmdir()

    def when_alone(self, action: Callable[[], None]) -> bool:
        """Do something unless other shards are at work here; none can begin in the meantime."""
        descriptor = _held.get(self.lock.absolute())
        if descriptor is None or self.shard[1] == 1:
            action()
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # a failed change gives up what there was
            return False
        try:
            action()
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return True

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Look here whether all parts are done, and put them together: one shard after another does."""
        hold(self._closing, self.what, patience_s=math.inf)
        try:
            yield
        finally:
            release(self._closing)

    @property
    def _closing(self) -> Path:
        return self.lock.with_name(f"{self.lock.name}-closing")

    @property
    def _own(self) -> Path:
        return self.lock.with_name(f"{self.lock.name}-{self.shard[0]}")


def is_unused(folder: Path, *known: str) -> bool:
    """Whether a folder holds nothing but locks, known names, and what a run left that was killed early."""
    entries = (entry for entry in folder.iterdir() if entry.name not in known)
    return all(entry.name.startswith(NAME) or is_leftover(entry) for entry in entries)


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
