"""Run folders: config.json, metrics.jsonl, checkpoints/, and model/ once the run is finished."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.config import to_dict

# Settings that may change between the runs of one folder: they do not change the weights.
FREE_SETTINGS = (
    "out",
    "overwrite",
    "dry_run",
    "checkpoint_every",
    "keep_checkpoints",
    "log_every",
    "num_workers",
    "tracker",
)


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training run. `kind` says what was trained: "bart", "clip", ..."""

    root: Path
    kind: str
    config: dict[str, Any]

    @property
    def model_dir(self) -> Path:
        return self.root / "model"

    @property
    def checkpoint_dir(self) -> Path:
        return self.root / "checkpoints"

    @property
    def metrics_path(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def finished(self) -> bool:
        return self.model_dir.is_dir()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line to metrics.jsonl."""
        with self.metrics_path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def cut_log(self, step: int) -> None:
        """Drop what metrics.jsonl holds of later steps."""
        if self.metrics_path.exists():
            lines = self.metrics_path.read_text().splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self.metrics_path.write_text("".join(f"{line}\n" for line in kept))

    @classmethod
    def create(cls, root: Path, kind: str, config: Any, overwrite: bool = False) -> "RunFolder":
        """Start a run folder, or go on with the one that is there.

        Raises:
            ValueError: the folder holds another kind of run or other settings.
        """
        root, resolved = Path(root), to_dict(config)
        path = root / "config.json"
        if overwrite and path.is_file():
            shutil.rmtree(root)
        if path.is_file():
            saved = _read(path)
            _same_settings(saved, {"kind": kind, "config": resolved}, root)
        elif root.is_dir() and any(root.iterdir()):
            raise ValueError(f"--out {root} is not empty and not a run folder: name another folder")
        else:
            root.mkdir(parents=True, exist_ok=True)
            temporary = root / ".config.json.tmp"
            temporary.write_text(json.dumps({"kind": kind, "config": resolved}, indent=2) + "\n")
            temporary.replace(path)
        return cls(root, kind, resolved)

    @classmethod
    def open(cls, root: Path, kind: str | tuple[str, ...]) -> "RunFolder":
        """A finished run folder of the given kind(s).

        Raises:
            ValueError: no run folder, another kind, or not finished.
        """
        root = Path(root)
        kinds = (kind,) if isinstance(kind, str) else kind
        path = root / "config.json"
        if not path.is_file():
            raise ValueError(f"{root} is not a run folder: it has no config.json")
        saved = _read(path)
        if saved.get("kind") not in kinds:
            raise ValueError(f"{root} holds a {saved.get('kind')} run; a {' or '.join(kinds)} run is needed")
        run = cls(root, saved["kind"], saved["config"])
        if not run.finished:
            raise ValueError(f"{root} is not finished (no model/): run its training command again")
        return run


def is_finished(config: Any) -> bool:
    """Whether the run folder of a script's config holds a finished run of these very settings.

    Args:
        config: resolved dataclass; False for one that trains nothing, is a dry run or overwrites.
    """
    if not hasattr(config, "train") or any(getattr(config, n, False) for n in ("dry_run", "overwrite")):
        return False
    path = Path(config.out) / "config.json"
    if not (path.is_file() and (Path(config.out) / "model").is_dir()):
        return False
    return _flat(_read(path).get("config", {})) == _flat(to_dict(config))


def model_source(name: str | Path, kind: str | tuple[str, ...], flag: str) -> str:
    """The model folder of a finished run; a plain model folder or a hub name is given back as it is.

    Raises:
        ValueError: a run of another kind, a run that is not finished, or a path that does not exist.
    """
    path = Path(name)
    for root in (path, path.parent):
        config = root / "config.json"
        if config.is_file() and {"kind", "config"} <= _read(config).keys():
            try:
                return str(RunFolder.open(root, kind).model_dir)
            except ValueError as error:
                raise ValueError(f"{flag} {error}") from None
    if not path.exists() and (path.is_absolute() or str(name).count("/") != 1):
        raise ValueError(f"{flag} {name}: no such folder")
    return str(name)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from error


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        elif name not in FREE_SETTINGS:
            flat[prefix + name] = value
    return flat


def _same_settings(saved: dict[str, Any], wanted: dict[str, Any], root: Path) -> None:
    if saved.get("kind") != wanted["kind"]:
        raise ValueError(f"--out {root} holds a {saved.get('kind')} run: name another folder")
    before, now = _flat(saved["config"]), _flat(wanted["config"])
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if changed:
        name = changed[0]
        raise ValueError(
            f"--out {root} was made with {name} = {before.get(name)!r}, now {now.get(name)!r}: "
            "use the same settings to go on, another --out, or --overwrite to start anew"
        )
