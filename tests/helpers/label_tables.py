"""A small table of films with labels, as the NIH publishes them, made into a pairs folder."""

import numpy as np
import pandas as pd
from PIL import Image

from data_module.findings import FINDINGS
from data_module.sources.config import TableConfig
from data_module.sources.table import prepare_table

FILM = np.random.default_rng(0).integers(256, size=(20, 24), dtype=np.uint8)


def label_by_word(texts):
    """A labeler of one finding, by the contract of data_module.labeler.label_reports."""
    labels = np.full((len(texts), len(FINDINGS)), np.nan, dtype=np.float32)
    for row, text in enumerate(texts):
        if "fracture" in text.lower():
            labels[row, FINDINGS.index("Fracture")] = 0.0 if "no fracture" in text.lower() else 1.0
    return labels


def make_table(folder, rows):
    """Write a table and a film for each row whose `image` does not stand for a broken one."""
    images = folder / "films"
    images.mkdir(parents=True, exist_ok=True)
    for row in rows:
        path = images / row["image"]
        if row["image"] and "outside" not in row["image"] and "missing" not in row["image"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(FILM).save(path)
    pd.DataFrame(rows).to_csv(folder / "films.csv", index=False)
    return {"table": folder / "films.csv", "images": images, "size": 16, "num_workers": 2}


NIH_ROWS = [
    {
        "image": "a_000.png",
        "patient_id": "1",
        "labels": "Effusion|Mass",
        "age": "63",
        "sex": "F",
        "view": "PA",
    },
    {
        "image": "a_001.png",
        "patient_id": "1",
        "labels": "No Finding",
        "age": "063Y",
        "sex": "female",
        "view": "",
    },
    {"image": "deep/b.png", "patient_id": "2", "labels": "Hernia", "age": "", "sex": "M", "view": "AP"},
    {"image": "c.jpg", "patient_id": "3", "labels": "COVID-19", "age": "6M", "sex": "", "view": "AP"},
]


COLUMNS = {"labels_column": "labels", "age_column": "age", "sex_column": "sex", "view_column": "view"}


def prepare(tmp_path, rows=NIH_ROWS, labeler=None, **options):
    flags = {
        **make_table(tmp_path, rows),
        **COLUMNS,
        "source_name": "nih",
        "out": tmp_path / "pairs",
        **options,
    }
    return prepare_table(TableConfig(**flags), labeler)


def reasons_of(folder):
    table = pd.read_csv(folder / "skipped.csv", dtype=str, keep_default_na=False)
    return dict(zip(table["item"], table["reason"], strict=True))
