"""Write a synthetic pairs folder batch by batch, so that a killed or sharded run loses and repeats nothing.

Films go to images/, and each finished batch is noted in .parts/ (`runtime.ledger`) after its films are on the
disk. When every item is there, the parts become metadata.csv.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from tqdm import tqdm

from data_module.contact_sheet import draw_contact_sheet
from data_module.film_files import find_whole, write_film
from data_module.findings import FINDINGS, POSITIVE
from data_module.pairs import METADATA, PairsFolder, write_pairs
from data_module.rejections import REJECTED, count_rejected, write_rejected
from data_module.sampling_plan import PlannedPair
from data_module.sections import split_sections
from runtime.files import remove_leftovers
from runtime.ledger import IDENTITY, BlockLedger
from runtime.locks import NAME as LOCK
from runtime.locks import is_unused
from runtime.processes import is_main

PARTS = ".parts"
Part = TypeVar("Part")


class Drawn(NamedTuple):
    """What came of a batch of B items."""

    films: Sequence[np.ndarray | None] | np.ndarray  # (S, S) uint8 each; None: no draw of it passed
    reports: Sequence[str] | None  # None: films alone
    rejected: Sequence[Sequence[str]] | None = None  # for each item why its draws failed, "" for the one kept
    failing: Sequence[str] | None = None  # of each item that is kept all the same, the tests it fails


class Plan(Protocol):
    """Item -> what is to be drawn."""

    def __getitem__(self, item: int, /) -> PlannedPair: ...


class SyntheticFolder:
    """A pairs folder in the making; the caller holds it (`runtime.locks.Claim`).

    Args:
        settings: everything that decides what the items are; another run into the same folder must agree.
        items: range of item numbers that the folder is to hold.
        batch_size: items of a block; an item has a fixed place among them.
        shard: (i, n), the batches that this process makes.
        defaults: of the settings (`runtime.config.list_defaults`), for folders from before one of them.

    Raises:
        ValueError: the folder holds something else.
    """

    def __init__(
        self,
        root: Path,
        settings: Mapping[str, Any],
        items: range,
        batch_size: int,
        shard: tuple[int, int] = (0, 1),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.root, self.items, self.settings, self.batch_size = root, items, dict(settings), batch_size
        self._whole = dict[int, tuple[int, int] | None]()  # items -> size and time of films that were whole
        self.ledger = BlockLedger(root / PARTS, shard)
        if self.ledger.read_identity() is None and root.is_dir() and not is_unused(root, PARTS):
            raise ValueError(f"--out {root} is not empty and was not sampled by this script")
        if change := self.ledger.find_change(self.settings, defaults):
            raise ValueError(
                f"--out {root} was sampled with {change}: use the same settings, another --out or --overwrite"
            )
        self.ledger.begin(self.settings)

    @staticmethod
    def count_done(root: Path, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> int:
        """Batches that earlier runs of these settings have noted; nothing is written."""
        ledger = BlockLedger(root / PARTS)
        return 0 if ledger.find_change(settings, defaults) else ledger.num_done()

    @staticmethod
    def empty(root: Path) -> None:
        """Delete what this script made, if it did; the table first, since it says that a folder is whole."""
        if not (root / PARTS / IDENTITY).is_file():
            return
        for name in METADATA:
            (root / name).unlink(missing_ok=True)
        for entry in sorted(
            root.iterdir(), key=lambda entry: entry.name == PARTS
        ):  # .parts last: ours till then
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif not entry.name.startswith(LOCK):
                entry.unlink()

    def rows(self) -> dict[int, dict[str, Any]]:
        """Finished items so far: number -> row. An item whose film is gone or cut is not finished.

        Beside a row's columns stand `rejected` and `asked`, if tests were asked for; an item that never
        passed has these alone.
        """
        rows: dict[int, dict[str, Any]] = {}
        with tqdm(self._batches, "checking films", unit="batch", leave=False, delay=3) as batches:
            for batch in batches:
                rows |= {item: row for item, row in self._read(batch).items() if item in self.items}
        return rows

    def _read(self, batch: int) -> dict[int, dict[str, Any]]:
        """The rows of a batch whose films are whole; a film is read again where it has changed since."""
        rows = {int(item): dict(entry) for item, entry in (self.ledger.read(batch) or {}).items()}
        films = {item: self.root / str(row["file_name"]) for item, row in rows.items() if "file_name" in row}
        states = {item: _state(film) for item, film in films.items()}
        unread = [item for item, state in states.items() if state and self._whole.get(item) != state]
        for item, whole in zip(unread, find_whole([films[item] for item in unread]), strict=True):
            self._whole[item] = states[item] if whole else None
        for item, row in list(rows.items()):
            row.pop("num_bytes", None)  # in folders of before November 2026
            if item in films and (states[item] is None or self._whole.get(item) != states[item]):
                del rows[item]
        return rows

    @property
    def _batches(self) -> range:
        return range(self.items.start // self.batch_size, -(-self.items.stop // self.batch_size))

    def missing(self) -> list[int]:
        """Items that are not finished yet, in order."""
        done = self.rows()
        return [item for item in self.items if item not in done]

    def missing_batches(self) -> list[tuple[list[int], list[int]]]:
        """(items of a full batch, those of them that are missing), for the batches of this shard.

        A batch is a fixed place on the grid of all items, so an item always sits at the same place among
        the same neighbors, whatever was finished before.
        """
        size, batches = self.batch_size, dict[int, list[int]]()
        for item in self.missing():
            batches.setdefault(item // size, []).append(item)
        mine = self.ledger.mine(self._batches.stop)
        return [
            (list(range(batch * size, (batch + 1) * size)), missing)
            for batch, missing in batches.items()
            if batch in mine
        ]

    def fill(
        self,
        plan: Plan,
        sample: Callable[[Sequence[int], Sequence[PlannedPair]], tuple],
        image_format: str = "png",
    ) -> int:
        """Draw and store what is missing of this shard's batches; returns the number of items.

        Args:
            plan: `plan[item]` is what to draw.
            sample: (items, their plans) -> the fields of `Drawn`; always full batches.
        """
        batches = self.missing_batches()
        num_missing = sum(len(missing) for _, missing in batches)
        with tqdm(total=num_missing, desc="sampling", unit="pair", disable=not is_main()) as bar:
            for items, missing in batches:
                planned = [plan[item] for item in items]
                drawn = Drawn(*sample(items, planned))
                places = [items.index(item) for item in missing]
                films = [drawn.films[place] for place in places]
                some = Drawn(
                    films,
                    _pick(drawn.reports, places),
                    _pick(drawn.rejected, places),
                    _pick(drawn.failing, places),
                )
                self.add(missing, [planned[place] for place in places], some, image_format)
                bar.update(len(places))
        return num_missing

    def add(
        self,
        items: Sequence[int],
        plan: Sequence[PlannedPair],
        drawn: Drawn,
        image_format: str = "png",
    ) -> None:
        """Store items of one batch.

        Raises:
            ValueError: a film of one gray.
        """
        for item, film in zip(items, drawn.films, strict=True):
            if film is not None and film.min() == film.max():
                raise ValueError(
                    f"item {item} came out as a film of one gray ({film.min()}), which is not written: "
                    "the vision model is damaged, or not trained yet"
                )
        record = dict(self.ledger.read(items[0] // self.batch_size) or {})
        for place, (item, pair) in enumerate(zip(items, plan, strict=True)):
            entry: dict[str, Any] = {}
            if drawn.rejected is not None:
                asked = [name for name, code in zip(FINDINGS, pair.labels, strict=True) if code == POSITIVE]
                entry = {"rejected": drawn.rejected[place], "asked": asked}
            record[str(item)] = entry
            film = drawn.films[place]
            if film is None:
                continue
            name = f"images/{item // 1000:04d}/{item:08d}.{image_format}"
            write_film(self.root / name, film, image_format)
            report = drawn.reports[place] if drawn.reports is not None else ""
            entry |= self._describe(item, pair, name, report)
            if drawn.failing is not None:
                entry["failed_tests"] = drawn.failing[place]
        self.ledger.write(items[0] // self.batch_size, record)

    def _describe(self, item: int, pair: PlannedPair, name: str, report: str) -> dict[str, Any]:
        findings_section, impression_section = split_sections(report)
        labels = {
            finding: int(code)
            for finding, code in zip(FINDINGS, pair.labels, strict=True)
            if not np.isnan(code)
        }
        return {
            "file_name": name,
            "report": report,
            "findings_section": findings_section,
            "impression_section": impression_section,
            "patient_id": f"synthetic-{item:08d}",
            "study_id": f"synthetic-{item:08d}",
            "split": "train",
            **pair.about,
            **labels,
            "prompt": pair.prompt,
            "reference": pair.reference_name,
            "seed": self.settings["seed"],
            "source": "paircxr",
        }

    def finish(self, provenance: Mapping[str, Any]) -> PairsFolder | None:
        """Write card, contact sheet and metadata.csv once all items are there; None before that.

        Of draws that were rejected rejected.csv tells which and why, provenance.json how many; an item that
        never passed is listed in skipped.csv.

        Raises:
            ValueError: no item passed.
        """
        rows = self.rows()
        if any(item not in rows for item in self.items):
            return None
        remove_leftovers(self.root / "images", "**/.*.tmp")
        rejected = {item: rows[item].pop("rejected") for item in self.items if "rejected" in rows[item]}
        asked = {item: rows[item].pop("asked") for item in rejected}
        made = [rows[item] for item in self.items if rows[item]]
        skipped = [
            {"item": f"synthetic-{item:08d}", "reason": f"none of {len(tries)} draws passed --keep"}
            for item, tries in rejected.items()
            if not rows[item]
        ]
        if rejected:
            write_rejected(self.root / REJECTED, rejected)
            kept = {item: bool(rows[item].get("failed_tests")) for item in rejected if rows[item]}
            provenance = {**provenance, "kept": count_rejected(rejected, asked, kept)}
        if not made:
            raise ValueError(
                f"--keep: none of {len(rejected)} items passed its tests; {self.root / REJECTED} says why. "
                "Ask for fewer of them, or loosen one"
            )
        pairs = write_pairs(self.root, made, provenance, _card(len(made), bool(rejected)), skipped)
        draw_contact_sheet(pairs, self.root / "contact_sheet.png")
        return pairs


def _state(film: Path) -> tuple[int, int] | None:
    """Size and time of a film; None where there is none."""
    try:
        status = film.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _pick(part: Sequence[Part] | None, places: Sequence[int]) -> list[Part] | None:
    return None if part is None else [part[place] for place in places]


def _card(num_pairs: int, filtered: bool) -> str:
    kept = (
        """
They are those of more draws that passed tests: `provenance.json` says which (`keep`) and how many (`kept`).
"""
        if filtered
        else ""
    )
    return f"""# Synthetic chest X-ray image-report pairs

{num_pairs} films and reports drawn by a generative model (PairCXR). No film is of a person.
**Not for clinical use.** `metadata.csv` holds one row a film: the report, the prompt it was drawn from,
the 14 CheXpert findings that the prompt asked for (1 present, 0 absent, -1 uncertain, empty = not asked),
and the reference film.
`provenance.json` says with which models and settings.
{kept}
    from datasets import load_dataset
    pairs = load_dataset("imagefolder", data_dir=".")
"""
