"""What of a pairs folder or of a run is shared, and whether the terms of its data allow it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data_module.pairs import METADATA, PairsFolder, film_paths
from runtime.files import is_leftover, read_json
from runtime.hub import File, RepoKind
from runtime.origins import (
    EDITED,
    GENERATED,
    PROVENANCE,
    find_learned,
    find_origins,
    name_origin,
    terms_of_use,
)
from runtime.runs import CONFIG, RunFolder

CARD = "README.md"


@dataclass(frozen=True)
class Shared:
    """What goes to the hub.

    Attributes:
        files: name in the repository -> file, or its content; the card and the table come last.
        real: data sets whose films or reports, or a model of them, are among the files.
        learned: data sets that the model which drew the other rows has learned from.
    """

    kind: RepoKind
    files: dict[str, File]
    real: frozenset[str]
    learned: frozenset[str] = frozenset()

    @property
    def num_bytes(self) -> int:
        return sum(map(size_of, self.files.values()))


def size_of(file: File) -> int:
    """Bytes of a file, or of its content."""
    return len(file) if isinstance(file, bytes) else file.stat().st_size


def collect_files(folder: Path) -> Shared:
    """What is shared of a finished pairs folder, or of the model of a finished run.

    Raises:
        ValueError: neither, not finished, a film that is missing, or a file that lies outside the folder.
    """
    if any((folder / name).is_file() for name in METADATA):
        shared = _collect_pairs(folder)
    elif (folder / PROVENANCE).is_file() or (folder / ".parts").is_dir():
        raise ValueError(f"{folder} is not finished: run the command that makes it again")
    elif (folder / CONFIG).is_file() and "kind" in (saved := read_json(folder / CONFIG)):
        shared = _collect_model(RunFolder.open(folder, saved["kind"]))
    else:
        raise ValueError(f"{folder} is neither a pairs folder nor a run folder: name one of these")
    root = folder.resolve()
    for name, file in shared.files.items():
        if isinstance(file, Path) and not file.resolve().is_relative_to(root):
            raise ValueError(f"{folder / name} is a link to a file outside the folder: put the file there")
    return shared


def check_terms(shared: Shared, own_right: bool) -> list[str]:
    """Warnings to show before these files are shared.

    Raises:
        ValueError: their terms forbid it or are not known, and the user does not claim the right.
    """
    barred = [name for name in sorted(shared.real) if not terms_of_use(name).free]
    what = "films or reports" if shared.kind == "dataset" else "a model"
    if barred and not own_right:
        raise ValueError(
            f"the folder holds {what} of {_list_terms(barred)}. "
            "Where you have the right to pass this on, say --i-have-the-right"
        )
    warnings = [f"{what} of {_list_terms(barred)}"] if barred else []
    drawn = [name for name in sorted(shared.learned) if not terms_of_use(name).free]
    if drawn:
        warnings.append(
            f"a model drew these pairs that learned from {_list_terms(drawn)}. Look for copies of "
            "training films (python -m evaluation privacy), and ask whether the terms allow it"
        )
    return warnings


def _list_terms(names: Iterable[str]) -> str:
    return "; ".join(f"{name} ({terms_of_use(name).says})" for name in names)


def _collect_pairs(folder: Path) -> Shared:
    pairs = PairsFolder.open(folder)
    films = {path.relative_to(folder).as_posix(): path for path in film_paths(pairs) if path}
    missing = sum(not path.is_file() for path in films.values())
    if missing:
        raise ValueError(f"{folder}: {missing} of its films are not there")
    last = [name for name in (PROVENANCE, *METADATA, CARD) if (folder / name).is_file()]
    origins = {name_origin(source) for source in pairs.table["source"]}
    learned = frozenset(find_learned(folder)) if GENERATED in origins else frozenset()
    edited = (pairs.table["source"] == EDITED).any()
    return Shared(
        "dataset",
        {**films, **{name: folder / name for name in last}},
        frozenset(origins - {GENERATED}) | (learned if edited else frozenset()),
        learned,
    )


def _collect_model(run: RunFolder) -> Shared:
    files: dict[str, File] = {}
    for path in sorted(run.model_dir.rglob("*")):
        name = path.relative_to(run.model_dir)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and not is_leftover(path):
            files[name.as_posix()] = path
    if CARD not in files:
        from training.model_card import make_card

        steps = [line["step"] for line in run.read_log() if "step" in line]
        files[CARD] = make_card(run.model_dir, run, max(steps, default=0)).encode()
    return Shared("model", files, frozenset(find_origins(run.root) or {"unknown"}))
