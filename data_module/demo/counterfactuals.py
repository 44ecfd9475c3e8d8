"""Exact counterfactuals: the same anatomy, pose and grain, with one finding changed.

A pair is a pure function of (seed, index). Original and edited film are rendered from facts that differ in
one sign, so their difference is that sign: the truth that edits by a model are scored against.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_module.demo.film import render_film
from data_module.demo.report import write_report
from data_module.demo.source import DemoFilm, check_numbers, film_row, render_rows
from data_module.demo.study import (
    DEVICES,
    OPACITIES,
    Sign,
    Study,
    choose,
    get_study,
    grades_of,
    new_signs,
    without_conflicts,
)
from data_module.film_files import write_film
from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, SIZES
from data_module.pairs import PairsFolder, write_pairs
from runtime.files import remove_leftovers
from runtime.provenance import provenance_record

Kind = Literal["add", "remove", "move", "enlarge"]
_EDIT = 11  # stream of random numbers
WEIGHTS = {"add": 1, "remove": 2, "move": 4, "enlarge": 4}  # the latter are possible less often
LARGER_CM = 2.0  # by which a nodule grows into a mass
KEPT_OF_ORIGINAL = ("report", "findings_section", "impression_section", "prompt", "facts")
CARD = """# PairCXR counterfactual phantoms

{num_pairs} synthetic chest films of {size} x {size} pixels (seed {seed}), each the exact counterfactual of
another: the same anatomy, pose and grain, with one finding added, removed, moved to the other side or made
larger (`edit`). **These are drawings, not radiographs of people, and not for clinical use.**

Films, reports and the 14 CheXpert columns are those after the edit; `edited_from` names the film before it,
`mask` the pixels that differ (white), and the columns `original_...` hold what was said of the original.
"""


@dataclass(frozen=True)
class Edit:
    """One edit of a study: what is done to which finding, and the signs that are left."""

    kind: Kind
    finding: str
    signs: tuple[Sign, ...]

    @property
    def words(self) -> str:
        side = next((sign.side for sign in self.signs if sign.finding == self.finding), None)
        return f"move {self.finding} to the {side}" if self.kind == "move" else f"{self.kind} {self.finding}"


@dataclass(frozen=True)
class Counterfactual:
    """A study before and after an edit; `mask` (size, size) bool is True where the films differ."""

    edit: Edit
    before: DemoFilm
    after: DemoFilm

    @property
    def mask(self) -> np.ndarray:
        return self.before.pixels != self.after.pixels


def get_counterfactual(seed: int, index: int, size: int = 64) -> Counterfactual | None:
    """The edit of study `index` of the demo of `seed`, rendered at `size` pixels a side; None for the rare
    study of which nothing can be edited.

    Raises:
        ValueError: a negative number, or a size that is too small.
    """
    study = get_study(seed, index)
    rng = study.rng(_EDIT)
    edits = list_edits(study, rng)
    if not edits:
        return None
    kinds = {kind: weight for kind, weight in WEIGHTS.items() if any(edit.kind == kind for edit in edits)}
    kind = choose(rng, kinds)
    chosen = [edit for edit in edits if edit.kind == kind]
    edit = chosen[int(rng.integers(len(chosen)))]
    edited = replace(study, signs=edit.signs, labels=_edit_labels(study, edit))
    return Counterfactual(
        edit, *(DemoFilm(s, render_film(s, size), write_report(s)) for s in (study, edited))
    )


def list_edits(study: Study, rng: np.random.Generator) -> list[Edit]:
    """Every edit of one finding after which each finding still shows, and no other has to change."""
    edits = []
    for finding in FINDINGS[1:]:
        signs = study.signs_of(finding)
        if finding == DEVICES or any(sign.certainty != POSITIVE for sign in signs):
            continue
        if signs:
            (sign,) = signs
            others = tuple(other for other in study.signs if other is not sign)
            if finding != "Lung Opacity" or study.labels.get("Pneumonia") != POSITIVE:  # which is one, too
                edits.append(Edit("remove", finding, others))
            changes: dict[Kind, Sign | None] = {"move": _moved(sign), "enlarge": _enlarged(sign)}
            for kind, changed in changes.items():
                if changed:
                    all_signs = tuple(changed if other is sign else other for other in study.signs)
                    edits.append(Edit(kind, finding, all_signs))
        elif finding not in OPACITIES or study.labels.get("Lung Opacity") is None:
            edits.append(Edit("add", finding, (*study.signs, *new_signs(rng, finding, "other"))))
    return [edit for edit in edits if tuple(without_conflicts(list(edit.signs))) == edit.signs]


def _moved(sign: Sign) -> Sign | None:
    other = {"left": "right", "right": "left"}.get(sign.side or "")
    return replace(sign, side=other) if other else None


def _enlarged(sign: Sign) -> Sign | None:
    if sign.kind == "nodule":
        return replace(sign, kind="mass", size_cm=round(sign.size_cm + LARGER_CM, 1))
    if sign.severity is None:
        return None
    scale = grades_of(sign.finding)[: 2 if sign.finding == "Atelectasis" else len(SIZES)]
    place = scale.index(sign.severity) + 1
    return replace(sign, severity=scale[place]) if place < len(scale) else None


def _edit_labels(study: Study, edit: Edit) -> dict[str, float]:
    """Labels after the edit: the finding's, and those that follow from it.

    What is removed is denied. A pneumonia brings the opacity that its report describes first, and takes it
    along; "No Finding" stands where nothing but devices is left.
    """
    labels = {name: code for name, code in study.labels.items() if name != "No Finding"}
    if edit.kind == "add":
        labels[edit.finding] = POSITIVE
    elif edit.kind == "remove":
        labels[edit.finding] = NEGATIVE
    if edit.finding == "Pneumonia" and edit.kind in ("add", "remove"):
        labels.pop("Lung Opacity", None)
        if edit.kind == "add" or any(sign.finding == "Lung Opacity" for sign in edit.signs):
            labels["Lung Opacity"] = POSITIVE
    opaque = any(sign.finding in OPACITIES for sign in edit.signs)
    if edit.finding == "Lung Opacity" and edit.kind == "remove" and opaque:
        labels.pop("Lung Opacity")  # "no opacity" is not said beside an opacity by another name
    if not any(sign.finding != DEVICES for sign in edit.signs):
        labels["No Finding"] = POSITIVE
    return labels


def write_counterfactuals(
    out: str | Path,
    num_pairs: int,
    size: int = 64,
    seed: int = 1,
    num_workers: int = 2,
    config: Mapping[str, Any] | None = None,
) -> PairsFolder:
    """Render the counterfactuals of studies 0 to num_pairs - 1 as a pairs folder.

    Beside images/ stand originals/ and masks/, which the columns `edited_from` and `mask` name. A study of
    which nothing can be edited is listed in skipped.csv.

    Raises:
        ValueError: names the flag that is wrong.
    """
    out = Path(out)
    check_numbers(size, seed, num_workers, num_pairs=num_pairs)
    (out / "metadata.csv").unlink(missing_ok=True)  # from here on the folder is unfinished
    rows = render_rows(partial(_render_chunk, out, size, seed), num_pairs, num_workers)
    for name in ("images", "originals", "masks"):
        remove_leftovers(out / name, "**/.*.tmp")
    settings = {"source": "demo counterfactuals", "num_pairs": num_pairs, "size": size, "seed": seed}
    provenance = {**provenance_record(config if config is not None else settings), "synthetic": True}
    made = {row["study_id"] for row in rows}
    skipped = [
        {"item": f"s{index:06d}", "reason": "no finding can be edited without changing another"}
        for index in range(num_pairs)
        if f"s{index:06d}" not in made
    ]
    card = CARD.format(num_pairs=len(rows), size=size, seed=seed)
    return write_pairs(out, rows, provenance, card, skipped)


def _render_chunk(out: Path, size: int, seed: int, indices: range) -> list[dict[str, Any]]:
    rows = []
    for index in indices:
        pair = get_counterfactual(seed, index, size)
        if pair is None:
            continue
        before, after = film_row(pair.before), film_row(pair.after)
        place = after["file_name"].removeprefix("images/")
        row = {
            **after,
            "split": "test",
            "edited_from": f"originals/{place}",
            "mask": f"masks/{place}",
            "edit": pair.edit.words,
            "edited_finding": pair.edit.finding,
            **{f"original_{name}": before[name] for name in KEPT_OF_ORIGINAL},
            "original_labels": json.dumps(pair.before.study.labels, sort_keys=True),
        }
        write_film(out / row["file_name"], pair.after.pixels)
        write_film(out / row["edited_from"], pair.before.pixels)
        write_film(out / row["mask"], pair.mask.astype(np.uint8) * 255)
        rows.append(row)
    return rows
