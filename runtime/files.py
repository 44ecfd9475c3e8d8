"""Files written whole, and known by their content. Worker processes import this: nothing heavy is here."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # what a file system says that knows no fsync of this
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


class DamagedFile(ValueError):
    """A file or folder that cannot be used; the message names it, and what to do."""


def write_atomic(path: Path, content: str | bytes, durable: bool = True) -> None:
    """Write a file so that it is either the old one or the whole new one.

    Args:
        durable: also after a power cut, for which the disk is waited for: 20 ms and more. Films, of which
            there are many, do without: the size of each is noted, and asked for by whoever goes on.

    Raises:
        OSError: it cannot be written; the error names the path, and nothing is left behind.
    """
    with replacing(path, durable) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary name beside `path`. What was written there takes the place of `path` as the block ends.

    Raises:
        OSError: as `write_atomic`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if durable:
                sync(temporary)
            temporary.replace(path)
            if durable:
                sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the system within the block names `path`: that of a full disk names no file, and others a
    temporary one. What another folder's file causes keeps its own name."""
    try:
        yield
    except Exception as error:
        number, name = getattr(error, "errno", None), getattr(error, "filename", None)
        # safetensors' errors of the system are no OSErrors.
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            number = int(found[1])
        if number is None or (name and not str(name).startswith(str(path.parent))):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def publish_folder(temporary: Path, target: Path) -> None:
    """Give a finished folder its name, once all in it is on the disk. A folder of that name is replaced."""
    for folder, _, names in os.walk(temporary):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    sync(target.parent)


@contextlib.contextmanager
def making_folder(target: Path) -> Iterator[Path]:
    """A hidden folder to fill, named `target` after the block: it appears whole or not at all."""
    temporary = target.with_name(f".{target.name}.tmp")
    with naming(target):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            yield temporary
            publish_folder(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def sync(path: Path) -> None:
    """Wait until a file or a folder's list of names is on the disk, where the file system can say so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether a name is that of a file which a killed process had not finished."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_leftovers(folder: Path, pattern: str = ".*.tmp") -> None:
    """Delete unfinished files of killed processes ("**/.*.tmp": in subfolders too). The caller knows that no
    other process is writing."""
    for path in folder.glob(pattern):
        if is_leftover(path):
            path.unlink(missing_ok=True)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def reading(path: str | Path, what: str = "", fix: str = "") -> Iterator[None]:
    """Any error within the block becomes a `DamagedFile` of `path`: what is damaged makes its readers, ours
    and libraries', fail in all ways."""
    try:
        yield
    except DamagedFile:
        raise
    except Exception as error:
        subject = f"{path}: {what}" if what else str(path)
        raise DamagedFile(f"{subject} cannot be read ({_reason(error)}){fix and ': '}{fix}") from error


def _reason(error: Exception) -> str:
    """The first line of an error's message, without torch's advice to run the code in a file."""
    if "weights_only" in str(error):
        return "it is damaged, or holds more than tensors: code in it is never run"
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    text = (
        f"{type(error).__name__}: {text}"
        if isinstance(error, KeyError | AttributeError | TypeError)
        else text
    )
    return text if len(text) <= 300 else f"{text[:300]} ..."


def read_json(path: Path, fix: str = "") -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        fix: what to do about a damaged one, for the message.

    Raises:
        ValueError: no regular file, damaged, or not an object; names the file and the fix, and no content.
    """
    fix = f": {fix}" if fix else ""
    if not path.is_file():  # a pipe would be waited for, for ever
        raise DamagedFile(f"{path}: no such file{fix}")
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read ({error.strerror}){fix}") from None
    except (ValueError, RecursionError) as error:
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DamagedFile(f"{path} is not valid JSON (damaged{place}){fix}") from None
    if not isinstance(values, dict):
        raise DamagedFile(f"{path} holds a JSON {type(values).__name__}, not an object{fix}")
    return values


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a file of one JSON object a line; none where there is no file.

    Lines that are no object are left out: the last one of a killed process, or damaged ones, which are said.
    """
    if not path.is_file():
        return []
    with naming(path):
        *lines, _ = path.read_bytes().split(b"\n")
    found, damaged = [], 0  # what follows the last line break is nothing, or a line that was cut
    for line in lines:
        try:
            value = json.loads(line, object_pairs_hook=_without_repeats)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            found.append(value)
        else:
            damaged += 1
    if damaged:
        print(f"warning: {path}: {damaged} damaged line(s) left out", file=sys.stderr)
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name that is there twice")
    return values


def show_bytes(count: float) -> str:
    """A size for a person: 812 MB, 3.1 GB."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def link_or_copy(source: Path, target: Path) -> None:
    """`target` as a hard link to `source` where the file system allows it, else as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
