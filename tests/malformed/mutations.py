"""Damage to one file of a good folder, drawn from a seed: what disks, downloads, editors and strangers do."""

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

WEB_PAGE = b"<!DOCTYPE html><html><head><title>403 Forbidden</title></head><body>Sign in</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 34567890\n"


class Payload:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def mutate(target: Path, rng: random.Random, canary: Path) -> str:
    """Damage a file, or one file of a folder, in place; returns what was done.

    Args:
        canary: file that appears where a pickle is run.
    """
    files = sorted(path for path in target.rglob("*") if path.is_file()) if target.is_dir() else [target]
    path = rng.choice(files)
    choices: list[Callable[[Path, random.Random], None]] = list(BYTES)
    if path.suffix in (".json", ".jsonl"):
        choices += JSON * 3  # what lies behind the syntax is the larger half of it
    change = rng.choice([*choices, None])
    if change is None:
        path.write_bytes(pickle.dumps(Payload(canary)))
    else:
        change(path, rng)
    name = change.__name__.strip("_") if change else "pickle"
    return f"{name} {path.relative_to(target) if target.is_dir() else path.name}"


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    for _ in range(rng.choice((1, 1, 8))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _flip_head(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    content[rng.randrange(min(len(content), 64))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(max(len(content), 1))])


def _cut_tail(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: -rng.randint(1, 4)])


def _insert(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    place = rng.randrange(len(content) + 1)
    path.write_bytes(content[:place] + rng.randbytes(rng.choice((1, 7, 4096))) + content[place:])


def _duplicate(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    path.write_bytes(content[:last] + content[first:last] + content[last:])


def _zeros(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    first = rng.randrange(len(content) + 1)
    content[first : first + 512] = bytes(len(content[first : first + 512]))
    path.write_bytes(content)


def _empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def _web_page(path: Path, rng: random.Random) -> None:
    path.write_bytes(WEB_PAGE)


def _pointer(path: Path, rng: random.Random) -> None:
    path.write_bytes(POINTER)


def _noise(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(2000))


def _delete(path: Path, rng: random.Random) -> None:
    path.unlink()


def _pipe(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _dangling(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _loop(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _deep(path: Path, rng: random.Random) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


def _swap_value(path: Path, rng: random.Random) -> None:
    """A value of another kind, or out of all bounds."""
    values = [None, True, "", "text", "../../etc", [], {}, [[]], -1, 0, 1e308, 10**30, 10**9, 0.5, "1e5"]
    _change(path, rng, lambda owner, key: owner.__setitem__(key, rng.choice(values)))


def _drop_value(path: Path, rng: random.Random) -> None:
    _change(path, rng, lambda owner, key: owner.pop(key))


def _swap_all(path: Path, rng: random.Random) -> None:
    path.write_text(rng.choice(("null", "[]", "{}", "3", '"text"', "NaN", "[1, 2]", "true")))


def _nest_value(path: Path, rng: random.Random) -> None:
    _change(path, rng, lambda owner, key: owner.__setitem__(key, {"again": {"again": owner[key]}}))


def _change(path: Path, rng: random.Random, change: Callable[[Any, Any], Any]) -> None:
    """Change one value, at any depth, of one JSON document."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    place = rng.randrange(max(len(lines), 1))
    try:
        document = json.loads(lines[place])
    except (ValueError, IndexError):
        return _cut(path, rng)
    spots: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        owner = waiting.pop()
        keys = (
            list(owner) if isinstance(owner, dict) else range(len(owner)) if isinstance(owner, list) else ()
        )
        spots += [(owner, key) for key in keys]
        waiting += [owner[key] for key in keys]
    if not spots:
        return _empty(path, rng)
    change(*rng.choice(spots))
    lines[place] = json.dumps(document)
    path.write_text("\n".join(lines) + "\n")


BYTES = [_flip, _flip, _flip_head, _cut, _cut, _cut_tail, _insert, _duplicate, _zeros, _empty, _web_page]
BYTES += [_pointer, _noise, _delete, _pipe, _folder, _dangling, _loop]
JSON = [_swap_value, _swap_value, _drop_value, _swap_all, _nest_value, _deep]


def copy_seed(seed: Path, target: Path) -> None:
    """A copy of a seed to damage."""
    if seed.is_dir():
        shutil.copytree(seed, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(seed, target)
