"""What is to be edited: one film of the command line, or the counterfactuals of a pairs folder."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_module.decoding import read_one_film, read_pixels
from data_module.findings import FINDINGS
from data_module.labeler import label_reports
from data_module.labeler.consistency import check_self_denials
from data_module.pairs import PairsFolder
from data_module.resizing import fit_crop
from data_module.sections import split_sections
from pipelines.config import EditConfig
from pipelines.film_editor import PlannedEdit, label_row

TAKEN = ("patient_id", "study_id", "view", "sex", "age", "edit", "edited_finding", *FINDINGS)


def open_edits(config: EditConfig) -> Callable[[int], list[PlannedEdit]]:
    """What the flags ask for, read and checked before a model is opened.

    Returns:
        The side of the model's films in pixels -> the edits; it reads the films of --pairs.

    Raises:
        ValueError: names the flag that is wrong, now or, for a film of --pairs, then.
    """
    if config.film is None:
        return partial(_plan_pairs, config, _open_pairs(config))
    for flag, text in (("--from", config.before), ("--to", config.after)):
        check_self_denials(text, flag)
    film = read_one_film(config.film, "--film")
    mask = _read_mask(config, film.shape)
    row = label_row(label_reports([config.after])[0])

    def plan(size: int) -> list[PlannedEdit]:
        fitted = fit_crop(film, size), config.before, config.after, _fit_mask(mask, size)
        return [PlannedEdit(*fitted, row=row)]

    return plan


def _read_mask(config: EditConfig, shape: tuple[int, ...]) -> np.ndarray | None:
    """(H, W) bool of --mask or --box, of the film's own size."""
    height, width = shape
    if config.mask:
        try:
            mask = read_pixels(config.mask) > 127
        except ValueError as error:
            raise ValueError(f"--mask {error}") from None
        if mask.shape != shape:
            sizes = f"{mask.shape[1]} x {mask.shape[0]} pixels, the film {width} x {height}"
            raise ValueError(f"--mask {config.mask}: it has {sizes}: give one of the film's own size")
        if not mask.any():
            raise ValueError(f"--mask {config.mask}: it is black all over: what may change must be white")
        return mask
    if config.box is None:
        return None
    left, top, right, bottom = config.box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(
            f"--box {' '.join(map(str, config.box))}: give X0 < X1 and Y0 < Y1 within the film's "
            f"{width} x {height} pixels"
        )
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def _fit_mask(mask: np.ndarray | None, size: int) -> np.ndarray | None:
    if mask is None:
        return None
    fitted = fit_crop(mask.astype(np.uint8) * 255, size) > 127
    if not fitted.any():
        raise ValueError(
            "--mask or --box: nothing of it is left at the model's size and central square: enlarge it"
        )
    return fitted


def _open_pairs(config: EditConfig) -> PairsFolder:
    assert config.pairs is not None
    pairs = PairsFolder.open(config.pairs)
    columns = ["edited_from", f"original_{config.texts}", "original_report"]
    columns += ["mask"] if config.use_masks else []
    if missing := [name for name in columns if name not in pairs.table]:
        raise ValueError(
            f"--pairs {config.pairs}: column(s) {', '.join(missing)} missing; python -m data_module "
            "counterfactuals writes such folders"
        )
    return pairs


def _plan_pairs(config: EditConfig, pairs: PairsFolder, image_size: int) -> list[PlannedEdit]:
    rows = pairs.table.head(config.num_pairs or len(pairs)).to_dict("records")
    return [_plan_row(config, pairs.root, row, image_size) for row in rows]


def _plan_row(config: EditConfig, root: Path, row: Mapping[Any, Any], image_size: int) -> PlannedEdit:
    files = {name: _inside(config, root, row[name]) for name in ("edited_from", "mask") if name in row}
    mask = read_pixels(files["mask"]) > 0 if config.use_masks else None
    report = str(row["original_report"])
    return PlannedEdit(
        fit_crop(read_pixels(files["edited_from"]), image_size),
        str(row[f"original_{config.texts}"]),
        str(row[config.texts]),
        None if mask is None else fit_crop(mask.astype(np.uint8) * 255, image_size) > 0,
        report if any(split_sections(report)) else "",
        {name: row[name] for name in TAKEN if name in row and row[name] == row[name]},
    )


def _inside(config: EditConfig, root: Path, name: object) -> Path:
    """The file that a cell names. A folder may come from a stranger: its rows must not reach outside it."""
    if not isinstance(name, str) or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"--pairs {config.pairs}: a row's edited_from or mask is no file of the folder")
    return root / name
