"""Mutations in numbers: each in a process of its own, with little time and memory, and what became of it."""

import importlib
import json
import random
import resource
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers import forked

from malformed.mutations import copy_seed, mutate

MEMORY = 2 * 2**30  # bytes beside what the libraries take
LIMIT_S = 10.0
# Kind -> module and reader: `seeds(folder)` writes good files or folders, `read(path)` reads one of them as
# the product does. It raises ValueError for one that it refuses, and may return plain values that say what
# it found: a damaged one must find the same, be refused, or print a word.
KINDS = {
    "films": ("malformed.film_inputs", "film_seeds", "read"),
    "tables": ("malformed.table_inputs", "table_seeds", "read_seed"),
    "runs": ("malformed.own_inputs", "run_seeds", "read_run"),
    "checkpoints": ("malformed.own_inputs", "checkpoint_seeds", "resume"),
    "models": ("malformed.own_inputs", "model_seeds", "read_model"),
    "weights": ("malformed.own_inputs", "weight_seeds", "read_weight_file"),
    "results": ("malformed.own_inputs", "result_seeds", "read_scores"),
    "caches": ("malformed.own_inputs", "cache_seeds", "read_cache"),
    "parts": ("malformed.own_inputs", "part_seeds", "go_on"),
}
LIBRARIES = ("diffusers.models.autoencoders", "diffusers.models.unets", "vision_module", "language_module")
STRICT = ("checkpoints", "caches", "parts")  # a damaged one is mended or refused, whatever is printed
FAULTS = ("traceback", "hang", "silent", "ran code", "memory")


@dataclass
class Report:
    """What became of the mutations of one kind."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def num_faults(self) -> int:
        return sum(self.counts[name] for name in FAULTS)


def run_kind(kind: str, num: int, seed: int, verbose: bool = False) -> Report:
    """Damage seeds `num` times, read them, and count what happened."""
    module, write, _ = KINDS[kind]
    forked.PRELOAD[:] = [*dict.fromkeys([*forked.PRELOAD, *LIBRARIES, module])]
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        written = getattr(importlib.import_module(module), write)(root / "seeds")
        seeds = sorted((root / "seeds").iterdir()) if written is None else list(written)
        found = {}
        for path in seeds:
            copy_seed(path, root / "whole" / path.name)
            ended = _read(kind, root / "whole" / path.name, root, 60.0)  # the first imports the libraries
            assert ended.exitcode == 0, f"{path.name}, not damaged:\n{ended.output}"
            found[path] = _found(root)
        for number in range(num):
            rng = random.Random(f"{kind} {seed} {number}")
            path, canary = rng.choice(seeds), root / "canary"
            target = root / "damaged" / path.name
            copy_seed(path, target)
            what = mutate(target, rng, canary)
            ended = _read(kind, target, root)
            name = _judge(kind, ended, canary, found[path], root)
            report.counts[name] += 1
            if name in FAULTS:
                tail = "\n    ".join(ended.output.strip().splitlines()[-12:])
                report.faults.append(f"{kind} {number}: {name}: {what} of {path.name}\n    {tail}")
            if verbose:
                last = ended.output.strip().splitlines()[-1:] or [""]
                print(f"{kind} {number}: {name}: {what} of {path.name}: {last[0][:160]}")
            canary.unlink(missing_ok=True)
            shutil.rmtree(root / "damaged")
    return report


def _read(kind: str, path: Path, root: Path, limit_s: float = LIMIT_S) -> forked.Ended:
    (root / "found").unlink(missing_ok=True)
    return forked.run(read_one, kind, path, root / "found", timeout_s=limit_s)


def read_one(kind: str, path: Path, found: Path) -> None:
    """In the process: read, and leave what was found."""
    module, _, read = KINDS[kind]
    function = getattr(importlib.import_module(module), read)
    with open("/proc/self/status") as status:
        taken = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (taken + MEMORY, taken + MEMORY))
    value: Any = function(path)
    found.write_text(json.dumps(value))


def _found(root: Path) -> Any:
    path = root / "found"
    return json.loads(path.read_text()) if path.is_file() else None


def _judge(kind: str, ended: forked.Ended, canary: Path, whole: Any, root: Path) -> str:
    if canary.exists():
        return "ran code"
    if ended.exitcode is None:
        return "hang"
    if "MemoryError" in ended.output or "allocate memory" in ended.output or ended.exitcode == -9:
        return "memory"
    if ended.has_traceback or ended.exitcode not in (0, 2):
        return "traceback"
    if ended.exitcode == 2:
        return "refused" if ended.output.strip() else "traceback"
    if _found(root) == whole:
        return "read"
    return "read, with a word" if ended.output.strip() and kind not in STRICT else "silent"
