"""Write a synthetic pairs folder batch by batch, so that a killed or sharded run loses and repeats nothing.

Films go to images/, and each finished batch leaves one file in .parts/ after its films are on the disk.
When every item is there, the parts become metadata.csv.
"""

import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from data_module.contact_sheet import draw_contact_sheet
from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder, write_pairs
from data_module.sampling_plan import PlannedPair
from data_module.sections import split_sections
from runtime.files import write_atomic

PARTS, SETTINGS = ".parts", "settings.json"


class SyntheticFolder:
    """A pairs folder in the making.

    Args:
        settings: everything that decides what the items are; another run into the same folder must agree.
        items: range of item numbers that the folder is to hold.

    Raises:
        ValueError: the folder holds something else.
    """

    def __init__(
        self, root: Path, settings: Mapping[str, Any], items: range, overwrite: bool = False
    ) -> None:
        self.root, self.items, self.settings = root, items, dict(settings)
        path = root / PARTS / SETTINGS
        if overwrite and path.is_file():
            shutil.rmtree(root)
        if path.is_file():
            saved = json.loads(path.read_text())
            for name in sorted({*saved, *self.settings}):
                if saved.get(name) != self.settings.get(name):
                    raise ValueError(
                        f"--out {root} was sampled with {name} = {saved.get(name)!r}, now "
                        f"{self.settings.get(name)!r}: use the same settings, another --out or --overwrite"
                    )
        elif root.is_dir() and any(root.iterdir()):
            raise ValueError(f"--out {root} is not empty and was not sampled by this script")
        else:
            write_atomic(path, json.dumps(self.settings, indent=2) + "\n")

    def rows(self) -> dict[int, dict[str, Any]]:
        """Finished items so far: number -> row."""
        rows = {}
        for path in sorted((self.root / PARTS).glob("*.jsonl")):
            for line in path.read_text().splitlines():
                row = json.loads(line)
                rows[row.pop("item")] = row
        return rows

    def missing(self) -> list[int]:
        """Items that are not finished yet, in order."""
        done = self.rows()
        return [item for item in self.items if item not in done]

    def missing_batches(self, batch_size: int, shard: tuple[int, int]) -> list[tuple[list[int], list[int]]]:
        """(items of a full batch, those of them that are missing), for the batches of this shard.

        A batch is a fixed place on the grid of all items, so an item always sits at the same place among
        the same neighbours, whatever was finished before.
        """
        batches: dict[int, list[int]] = {}
        for item in self.missing():
            batches.setdefault(item // batch_size, []).append(item)
        return [
            (list(range(batch * batch_size, (batch + 1) * batch_size)), missing)
            for batch, missing in batches.items()
            if batch % shard[1] == shard[0]
        ]

    def fill(
        self,
        plan: Sequence[PlannedPair],
        sample: Callable[[Sequence[int], Sequence[PlannedPair]], tuple[np.ndarray, Sequence[str] | None]],
        batch_size: int,
        shard: tuple[int, int],
        image_format: str = "png",
    ) -> None:
        """Draw and store what is missing of this shard's batches.

        Args:
            plan: `plan[item]` is what to draw.
            sample: (items, their plans) -> pixels (B, S, S) uint8, and reports or None; always full batches.
        """
        batches = self.missing_batches(batch_size, shard)
        with tqdm(total=sum(len(missing) for _, missing in batches), desc="sampling", unit="pair") as bar:
            for items, missing in batches:
                planned = [plan[item] for item in items]
                pixels, reports = sample(items, planned)
                kept = [items.index(item) for item in missing]
                of_kept = [reports[place] for place in kept] if reports else None
                self.add(missing, [planned[place] for place in kept], pixels[kept], of_kept, image_format)
                bar.update(len(kept))

    def add(
        self,
        items: Sequence[int],
        plan: Sequence[PlannedPair],
        pixels: np.ndarray,
        reports: Sequence[str] | None,
        image_format: str = "png",
    ) -> None:
        """Store a batch: pixels (B, S, S) uint8, and reports unless only films are made."""
        lines = []
        for item, film in zip(items, pixels, strict=True):
            if film.min() == film.max():
                raise ValueError(
                    f"item {item} came out as a film of one grey ({film.min()}), which is not written: "
                    "the vision model is damaged, or not trained yet"
                )
        for place, (item, pair) in enumerate(zip(items, plan, strict=True)):
            name = f"images/{item // 1000:04d}/{item:08d}.{image_format}"
            buffer = io.BytesIO()
            Image.fromarray(pixels[place]).save(buffer, **_save_options(image_format))
            write_atomic(self.root / name, buffer.getvalue())
            report = reports[place] if reports is not None else ""
            findings_section, impression_section = split_sections(report)
            labels = {
                finding: int(code)
                for finding, code in zip(FINDINGS, pair.labels, strict=True)
                if not np.isnan(code)
            }
            row = {
                "item": item,
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
            lines.append(json.dumps(row))
        write_atomic(self.root / PARTS / f"{items[0]:08d}.jsonl", "\n".join(lines) + "\n")

    def finish(self, provenance: Mapping[str, Any]) -> PairsFolder | None:
        """Write metadata.csv, card and contact sheet once all items are there; None before that."""
        rows = self.rows()
        if any(item not in rows for item in self.items):
            return None
        pairs = write_pairs(
            self.root, [rows[item] for item in self.items], provenance, _card(len(self.items))
        )
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
