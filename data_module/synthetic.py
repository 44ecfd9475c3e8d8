"""Write a synthetic pairs folder batch by batch, so that a killed or sharded run loses and repeats nothing.

Films go to images/, and each finished batch is noted in .parts/ (`runtime.ledger`) after its films are on the
disk. When every item is there, the parts become metadata.csv.
"""

import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from data_module.contact_sheet import draw_contact_sheet
from data_module.findings import FINDINGS
from data_module.pairs import METADATA, PairsFolder, write_pairs
from data_module.sampling_plan import PlannedPair
from data_module.sections import split_sections
from runtime.files import is_size, remove_leftovers, write_atomic
from runtime.ledger import IDENTITY, BlockLedger
from runtime.locks import NAME as LOCK
from runtime.locks import is_unused

PARTS = ".parts"


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
        self.ledger = BlockLedger(root / PARTS, shard)
        if self.ledger.read_identity() is None and root.is_dir() and not is_unused(root, PARTS):
            raise ValueError(f"--out {root} is not empty and was not sampled by this script")
        if change := self.ledger.find_change(self.settings, defaults):
            raise ValueError(
                f"--out {root} was sampled with {change}: use the same settings, another --out or --overwrite"
            )
        self.ledger.begin(self.settings)

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
        """Finished items so far: number -> row. An item whose film is gone or cut is not finished."""
        rows: dict[int, dict[str, Any]] = {}
        for batch in self._batches:
            for item, row in self._read(batch).items():
                if item in self.items:
                    rows[item] = row
        return rows

    def _read(self, batch: int) -> dict[int, dict[str, Any]]:
        rows = {}
        for item, entry in (self.ledger.read(batch) or {}).items():
            row = dict(entry)
            num_bytes, path = row.pop("num_bytes", -1), self.root / str(row.get("file_name"))
            if is_size(path, num_bytes):
                rows[int(item)] = row
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
        sample: Callable[[Sequence[int], Sequence[PlannedPair]], tuple[np.ndarray, Sequence[str] | None]],
        image_format: str = "png",
    ) -> int:
        """Draw and store what is missing of this shard's batches; returns the number of items.

        Args:
            plan: `plan[item]` is what to draw.
            sample: (items, their plans) -> pixels (B, S, S) uint8, and reports or None; always full batches.
        """
        batches = self.missing_batches()
        num_missing = sum(len(missing) for _, missing in batches)
        with tqdm(total=num_missing, desc="sampling", unit="pair") as bar:
            for items, missing in batches:
                planned = [plan[item] for item in items]
                pixels, reports = sample(items, planned)
                kept = [items.index(item) for item in missing]
                of_kept = [reports[place] for place in kept] if reports else None
                self.add(missing, [planned[place] for place in kept], pixels[kept], of_kept, image_format)
                bar.update(len(kept))
        return num_missing

    def add(
        self,
        items: Sequence[int],
        plan: Sequence[PlannedPair],
        pixels: np.ndarray,
        reports: Sequence[str] | None,
        image_format: str = "png",
    ) -> None:
        """Store items of one batch: pixels (B, S, S) uint8, and reports unless only films are made.

        Raises:
            ValueError: a film of one gray.
        """
        for item, film in zip(items, pixels, strict=True):
            if film.min() == film.max():
                raise ValueError(
                    f"item {item} came out as a film of one gray ({film.min()}), which is not written: "
                    "the vision model is damaged, or not trained yet"
                )
        record = dict(self.ledger.read(items[0] // self.batch_size) or {})
        for place, (item, pair) in enumerate(zip(items, plan, strict=True)):
            name = f"images/{item // 1000:04d}/{item:08d}.{image_format}"
            buffer = io.BytesIO()
            Image.fromarray(pixels[place]).save(buffer, **_save_options(image_format))
            write_atomic(self.root / name, buffer.getvalue(), durable=False)
            report = reports[place] if reports is not None else ""
            record[str(item)] = {**self._describe(item, pair, name, report), "num_bytes": buffer.tell()}
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
            **labels,
            "prompt": pair.prompt,
            "reference": pair.reference_name,
            "seed": self.settings["seed"],
            "source": "paircxr",
        }

    def finish(self, provenance: Mapping[str, Any]) -> PairsFolder | None:
        """Write card, contact sheet and metadata.csv once all items are there; None before that."""
        rows = self.rows()
        if any(item not in rows for item in self.items):
            return None
        remove_leftovers(self.root / "images", "**/.*.tmp")
        made = [rows[item] for item in self.items]
        pairs = write_pairs(self.root, made, provenance, _card(len(self.items)))
        draw_contact_sheet(pairs, self.root / "contact_sheet.png")
        return pairs


def _save_options(image_format: str) -> dict[str, Any]:
    return {"format": "PNG"} if image_format == "png" else {"format": "JPEG", "quality": 95}


def _card(num_pairs: int) -> str:
    return f"""---
license: other
tags: [chest-x-ray, synthetic]
---
# Synthetic chest X-ray image-report pairs

{num_pairs} films and reports drawn by a generative model (PairCXR). No film is of a person.
**Not for clinical use.** `metadata.csv` holds one row a film: the report, the prompt it was drawn from,
the 14 CheXpert findings that the prompt asked for (1 present, 0 absent, -1 uncertain, empty = not asked),
and the reference film.
`provenance.json` says with which models and settings.

    from datasets import load_dataset
    pairs = load_dataset("imagefolder", data_dir=".")
"""
