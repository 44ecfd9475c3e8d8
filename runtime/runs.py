"""Run folders: config.json, metrics.jsonl, checkpoints/, and model/ once the run is finished."""

import contextlib
import dataclasses
import json
import shutil
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from runtime.config import flatten, list_changed, list_defaults, list_passing, to_dict
from runtime.contents import hash_contents
from runtime.files import (
    is_leftover,
    naming,
    publish_folder,
    read_json,
    read_json_lines,
    remove_leftovers,
    write_atomic,
)
from runtime.locks import NAME as LOCK
from runtime.locks import hold_folder, release_folder
from runtime.processes import on_main

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIG = "config.json"
Choice = TypeVar("Choice", bound=str)
_RETRAIN = "run its training command again, with --overwrite"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training run.

    Attributes:
        kind: what was trained: "bart", "clip", ...
        passing: dotted names of the settings that do not decide the weights, in a run that trains.
        defaults: what its settings are where nobody says otherwise: folders from before a setting had that.
    """

    root: Path
    kind: str
    config: dict[str, Any]
    passing: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that decide the weights."""
        return flatten(self.config, self.passing)

    @property
    def model_dir(self) -> Path:
        return self.root / "model"

    @property
    def checkpoint_dir(self) -> Path:
        return self.root / "checkpoints"

    @property
    def unfinished_dir(self) -> Path:
        """Where the model is written before it takes its name."""
        return self.root / ".model.tmp"

    @property
    def metrics_path(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def finished(self) -> bool:
        return self.model_dir.is_dir()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line to metrics.jsonl."""
        with naming(self.metrics_path), self.metrics_path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, numbers all, whose steps rise; one that a kill or a full disk cut, that
        is damaged, there twice or out of order is left out."""
        every = {json.dumps(line, sort_keys=True): line for line in read_json_lines(self.metrics_path)}
        lines = [
            line
            for line in every.values()
            if "step" in line and all(type(value) in (int, float) for value in line.values())
        ]
        kept = [lines[place] for place in _longest_rise([line["step"] for line in lines])]
        if lost := len(every) - len(kept):
            print(
                f"warning: {self.metrics_path}: {lost} line(s) out of order or damaged left out",
                file=sys.stderr,
            )
        return kept

    def cut_log(self, num_lines: int) -> None:
        """Keep the first lines of metrics.jsonl, those of the checkpoint that a run goes on from."""
        if num_lines or self.metrics_path.exists():
            kept = self.read_log()[:num_lines]
            if len(kept) < num_lines:
                lost = num_lines - len(kept)
                print(
                    f"warning: {self.metrics_path}: {lost} line(s) of earlier steps are gone", file=sys.stderr
                )
            write_atomic(self.metrics_path, "".join(json.dumps(line) + "\n" for line in kept))

    @classmethod
    def create(
        cls, root: Path, kind: str, config: "DataclassInstance", overwrite: bool = False
    ) -> "RunFolder":
        """Start a run folder, or go on with the one that is there; it is held until the run's end.

        Of several processes the main one does all that, and the others wait for it.

        Raises:
            ValueError: it holds other settings or another kind of run, or another process trains in it.
            OSError: it cannot be written.
        """
        run = cls(Path(root), kind, to_dict(config), frozenset(list_passing(config)), list_defaults(config))
        settings = flatten(dataclasses.asdict(config), run.passing)  # whose paths are paths still
        if not estimates(config):
            on_main(lambda: run._begin(overwrite, settings))
        return run

    def _begin(self, overwrite: bool, settings: Mapping[str, Any]) -> None:
        hold_folder(self.root)
        path = self.root / CONFIG
        remove_leftovers(self.root)
        if path.is_file() and overwrite:
            self._empty()
        elif path.is_file():
            _check_same(read_json(path, "--overwrite trains anew"), self, hash_contents(settings))
            return
        elif any(entry.name != LOCK for entry in self.root.iterdir()):
            raise ValueError(f"--out {self.root} is not empty and not a run folder: name another folder")
        record = {"kind": self.kind, "config": self.config, "contents": hash_contents(settings)}
        write_atomic(path, json.dumps(record, indent=2) + "\n")

    def settle(self, setting: str, choices: Sequence[Choice], choose: Callable[[], Choice]) -> Choice:
        """What a setting came to when the run began, as "auto" does on a machine; chosen and noted once.

        Of several processes the main one chooses. Nothing is noted of a run that is only estimated.
        """

        def once() -> Choice:
            path = self.root / CONFIG
            record = read_json(path, _RETRAIN) if path.is_file() else None
            settled = (record or {}).get("settled")
            settled = settled if isinstance(settled, dict) else {}
            for choice in choices:
                if settled.get(setting) == choice:
                    return choice
            chosen = choose()
            if record is not None:
                record["settled"] = {**settled, setting: chosen}
                write_atomic(path, json.dumps(record, indent=2) + "\n")
            return chosen

        return on_main(once)

    def _empty(self) -> None:
        """Delete all but the lock, and config.json, without which a folder would not be ours to delete."""
        if self.finished:  # renamed first: half a model must not stand for a finished run
            shutil.rmtree(self.unfinished_dir, ignore_errors=True)
            self.model_dir.rename(self.unfinished_dir)
        for entry in self.root.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in (CONFIG, LOCK):
                entry.unlink()

    def finish(self, save: Callable[[Path], None]) -> None:
        """Let `save` write the model; model/ appears whole, and says that the run is finished.

        Raises:
            OSError: it cannot be written.
        """
        shutil.rmtree(self.unfinished_dir, ignore_errors=True)
        with naming(self.model_dir):
            try:
                save(self.unfinished_dir)
                publish_folder(self.unfinished_dir, self.model_dir)
            except BaseException:
                shutil.rmtree(self.unfinished_dir, ignore_errors=True)
                raise
        shutil.rmtree(self.checkpoint_dir, ignore_errors=True)
        release_folder(self.root)

    @classmethod
    def open(cls, root: Path, kind: str | tuple[str, ...]) -> "RunFolder":
        """A finished run folder of the given kind(s).

        Raises:
            ValueError: no run folder, another kind, or not finished.
        """
        root = Path(root)
        kinds = (kind,) if isinstance(kind, str) else kind
        path = root / CONFIG
        if not path.is_file():
            raise ValueError(f"{root} is not a run folder: it has no {CONFIG}")
        saved = read_json(path, _RETRAIN)
        if saved.get("kind") not in kinds:
            raise ValueError(f"{root} holds a {saved.get('kind')} run; a {' or '.join(kinds)} run is needed")
        if not isinstance(saved.get("config"), dict):
            raise ValueError(f"{path} names no settings (damaged): {_RETRAIN}")
        run = cls(root, saved["kind"], saved["config"])
        if not run.finished:
            raise ValueError(f"{root} is not finished (no model/): run its training command again")
        return run


def estimates(config: "DataclassInstance") -> bool:
    """Whether a training script is only asked how long its run will take; its folder stays as it is."""
    return bool(getattr(getattr(config, "train", None), "estimate", False))


def is_finished(config: "DataclassInstance") -> bool:
    """Whether the run folder of a script's config holds a finished run of these very settings.

    Args:
        config: resolved dataclass; False for one that trains nothing, is a dry run or overwrites.
    """
    if not hasattr(config, "train") or any(getattr(config, n, False) for n in ("dry_run", "overwrite")):
        return False
    root = Path(to_dict(config)["out"])
    if not ((root / CONFIG).is_file() and (root / "model").is_dir()):
        return False
    run = RunFolder(root, "", to_dict(config), frozenset(list_passing(config)))
    saved = read_json(root / CONFIG, "--overwrite trains anew")
    before = flatten(saved.get("config") or {}, run.passing)
    if list_changed(before, run.identity, list_defaults(config)):
        return False  # or a moved folder, which is told when its content is known
    rests = [entry for entry in root.iterdir() if entry.name in ("checkpoints", LOCK) or is_leftover(entry)]
    if rests:  # the run was killed as it tidied up, or is just doing so; its folder may be read-only now
        with contextlib.suppress(OSError, ValueError):
            hold_folder(root)
            shutil.rmtree(root / "checkpoints", ignore_errors=True)
            remove_leftovers(root)
            release_folder(root)
    return True


def is_run(path: str | Path) -> bool:
    """Whether a folder is that of a training run."""
    config = Path(path) / CONFIG
    return config.is_file() and {"kind", "config"} <= read_json(config, _RETRAIN).keys()


def model_source(name: str | Path, kind: str | tuple[str, ...], flag: str) -> str:
    """The model folder of a finished run; a plain model folder or a hub name is given back as it is.

    Raises:
        ValueError: a run of another kind, a run that is not finished, or a path that does not exist.
    """
    path = Path(name)
    for root in (path, path.parent):
        if is_run(root):
            try:
                return str(RunFolder.open(root, kind).model_dir)
            except ValueError as error:
                raise ValueError(f"{flag} {error}") from None
    if not path.exists() and (path.is_absolute() or str(name).count("/") != 1):
        raise ValueError(f"{flag} {name}: no such folder")
    return str(name)


def _longest_rise(values: Sequence[float]) -> list[int]:
    """Places of as many values as can be kept so that none is less than the one before it."""
    lasts: list[float] = []  # for each length the least value that such a row may end in
    ends: list[int] = []  # and its place
    before: list[int] = []  # of each value the place of the one before it
    for place, value in enumerate(values):
        length = bisect_right(lasts, value)
        before.append(ends[length - 1] if length else -1)
        lasts[length : length + 1], ends[length : length + 1] = [value], [place]
    row: list[int] = []
    place = ends[-1] if ends else -1
    while place >= 0:
        row.append(place)
        place = before[place]
    return row[::-1]


def find_contents(record: Mapping[str, Any]) -> dict[str, str] | None:
    """Setting -> hash of the file or folder that it names, as a run's config.json notes it; None: damaged."""
    contents = record.get("contents") or {}
    if not isinstance(contents, dict) or not all(isinstance(value, str) for value in contents.values()):
        return None
    return contents


def _check_same(saved: Mapping[str, Any], run: RunFolder, now: Mapping[str, str]) -> None:
    """Raise ValueError for a folder of another kind of run or of other settings; `now`: content's hashes."""
    if saved.get("kind") != run.kind:
        raise ValueError(f"--out {run.root} holds a {saved.get('kind')} run: name another folder")
    contents, identity = find_contents(saved), run.identity
    if not isinstance(saved.get("config"), dict) or contents is None:
        raise ValueError(f"{run.root / CONFIG} names no settings (damaged): --overwrite trains anew")
    before = {**run.defaults, **flatten(saved["config"], run.passing)}
    for name in list_changed(before, identity, run.defaults) + sorted({*contents} & {*now}):
        old, new = contents.get(name), now.get(name)
        if old and new and old == new:
            continue  # moved, or just the same
        what = f"{name} = {before.get(name)!r}, now {identity.get(name)!r}"
        if before.get(name) == identity.get(name):
            what = f"another content of {name} = {before.get(name)!r}"
        raise ValueError(
            f"--out {run.root} was made with {what}: "
            "use the same settings to go on, another --out, or --overwrite to start anew"
        )
