"""Layouts whose tables are JSON: COCO captions, and R2Gen's annotation.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_module.sections import join_sections
from data_module.sources.config import TableConfig
from data_module.sources.table_layouts import FILM, FilmFinder, LayoutTable, find_tables, images_of
from data_module.splits import SPLIT_WORDS
from data_module.tables import read_text

_HELPERS = (FILM, "id", "image", "patient", "study", "subject_id")


def read_coco(config: TableConfig) -> LayoutTable:
    """COCO captions: {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}.

    The captions of one image are joined, each as it stands. A file named after a split gives it.
    """
    rows = []
    for path in find_tables(config, ("*.json",)):
        content = _read_json(path, config)
        images, captions = _entries(content, "images"), _entries(content, "annotations")
        if not all("id" in image and "file_name" in image for image in images) or not images:
            raise ValueError(f"--table {path}: no COCO captions (images with id and file_name, annotations)")
        of_image: dict[Any, list[str]] = {}
        for caption in captions:
            of_image.setdefault(caption.get("image_id"), []).append(str(caption.get("caption") or ""))
        split = next((word for word in SPLIT_WORDS if word and word in path.stem.lower().split("_")), "")
        for image in images:
            text = " ".join(of_image.get(image["id"], []))
            rows.append({"split": split, **_as_text(image), "image id": str(image["id"]), "report": text})
    table = pd.DataFrame(rows).fillna("")
    films = FilmFinder(images_of(config))
    table[FILM] = table["file_name"].map(films.find)
    if "patient_id" not in table:  # COCO names none: each image counts as another's
        table["patient_id"] = table["image id"]
    columns = {
        "image_column": FILM,
        "patient_column": "patient_id",
        "study_column": "image id",
        "report_column": "report",
        "split_column": "split",
    }
    return LayoutTable(table, columns, {})


def read_r2gen(config: TableConfig) -> LayoutTable:
    """annotation.json: {"train": [{"id", "report", "image_path": [...]}], "val": ..., "test": ...}.

    A row for each film of a study; its report is the study's. Other keys of an entry are columns.
    """
    (path, *_) = find_tables(config, ("annotation.json", "*.json"))
    content = _read_json(path, config)
    rows = []
    for split, entries in content.items():
        if split not in SPLIT_WORDS or not isinstance(entries, list):
            raise ValueError(f"--table {path}: not R2Gen's annotation.json (train, val, test)")
        for entry in entries:
            if not (isinstance(entry, dict) and {"id", "report", "image_path"} <= entry.keys()):
                raise ValueError(f"--table {path}: an entry lacks id, report or image_path")
            names = entry["image_path"]
            cells = {**_as_text(entry), "split": SPLIT_WORDS[split]}
            cells["report"] = cells.pop("whole_report", cells["report"])  # of our own export
            cells["patient"] = cells.get("patient_id") or cells.get("subject_id") or cells["id"]
            cells["study"] = cells.get("study_id") or cells["id"]
            rows += [{**cells, "image": str(name)} for name in ([names] if isinstance(names, str) else names)]
    if not rows:
        raise ValueError(f"--table {path}: names no film")
    table = pd.DataFrame(rows).fillna("")
    films = FilmFinder(images_of(config), depth=2)
    table[FILM] = table["image"].map(films.find)
    columns = {
        "image_column": FILM,
        "patient_column": "patient",
        "study_column": "study",
        "report_column": "report",
        "split_column": "split",
    }
    return LayoutTable(table, columns, {}, helpers=_HELPERS)


def read_rexrank(config: TableConfig) -> LayoutTable:
    """ReXrank's test files: {study: {"image_path": [...], "section_findings", "section_impression", ...}}.

    A row for each film of a study; `frontal_lateral` gives its view: L, or "" for a frontal one.
    """
    (path, *_) = find_tables(config, ("*.json",))
    rows = []
    for study, entry in _read_json(path, config).items():
        if not (isinstance(entry, dict) and isinstance(entry.get("image_path"), list)):
            raise ValueError(f"--table {path}: not a test file of ReXrank: a study has no image_path")
        cells = _as_text(entry)
        sections = cells.get("section_findings", ""), cells.get("section_impression", "")
        views = entry.get("frontal_lateral") or [""] * len(entry["image_path"])
        for name, view in zip(entry["image_path"], views, strict=False):
            about = {"study": study, "patient": cells.get("subject_id") or study, "image": str(name)}
            lateral = str(view).lower().startswith("lateral")
            text = join_sections(*(section if section != "None" else "" for section in sections))
            row = {**about, "text": text, "view": "L" if lateral else "", "split": cells.get("split", "")}
            rows.append(row)
    table = pd.DataFrame(rows)
    table[FILM] = table["image"].map(FilmFinder(images_of(config), depth=2).find)
    columns = {
        "image_column": FILM,
        "patient_column": "patient",
        "study_column": "study",
        "report_column": "text",
        "view_column": "view",
        "split_column": "split",
    }
    return LayoutTable(table, columns, {})


def _read_json(path: Path, config: TableConfig) -> Mapping[str, Any]:
    try:
        content = json.loads(read_text(path, f"--table {path}"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"--table {path}: cannot be read as JSON ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise ValueError(f"--table {path}: not what --layout {config.layout} has: a JSON object")
    return content


def _entries(content: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = content.get(key, [])
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _as_text(entry: Mapping[str, Any]) -> dict[str, str]:
    """The plain values of an entry as a table's cells."""
    plain = {str(name): value for name, value in entry.items() if isinstance(value, str | int | float | None)}
    return {name: "" if value is None or value != value else str(value) for name, value in plain.items()}
