"""Exports that leave the films as files: imagefolder, R2Gen's annotation.json, CheXGenBench's folders."""

import json
from pathlib import Path, PurePosixPath

import pandas as pd

from data_module.exact_table import as_cells, plain_rows
from data_module.findings import FINDINGS
from data_module.pairs import SPLITS, PairsFolder
from data_module.sections import section_text
from runtime.files import link_or_copy, write_atomic

R2GEN_SPLITS = {"train": "train", "validation": "val", "test": "test"}


def write_imagefolder(pairs: PairsFolder, out: Path) -> None:
    """OUT/SPLIT/metadata.jsonl and films: `load_dataset("imagefolder", data_dir=OUT)` keeps the splits.

    JSON lines, and not CSV, since `datasets` would read a patient 007 of a CSV table as 7.
    """
    for split in SPLITS:
        rows = pairs.table[pairs.table["split"] == split]
        if rows.empty:
            continue
        for name in rows["file_name"]:
            link_or_copy(pairs.root / name, out / split / name)
        lines = "".join(json.dumps(row) + "\n" for row in plain_rows(rows))
        write_atomic(out / split / "metadata.jsonl", lines)


def write_annotation_json(pairs: PairsFolder, out: Path) -> None:
    """OUT/annotation.json and OUT/images, as R2Gen has MIMIC-CXR: an entry a film, with its report.

    `report` is the text without the headings FINDINGS: and IMPRESSION:, which R2Gen's reports have not; the
    whole report and the other columns stand in further keys, which R2Gen does not read.
    """
    content: dict[str, list[dict]] = {name: [] for name in R2GEN_SPLITS.values()}
    for row in plain_rows(pairs.table):
        path = PurePosixPath(row["file_name"].removeprefix("images/"))
        link_or_copy(pairs.root / row["file_name"], out / "images" / path)
        split = R2GEN_SPLITS[row["split"]]
        entry = {
            "id": str(path.with_suffix("")),
            "study_id": row["study_id"] or "",
            "subject_id": row["patient_id"],
            "report": section_text(row["report"] or ""),
            "image_path": [str(path)],
            "split": split,
        }
        others = {key: value for key, value in row.items() if key not in entry}
        content[split].append(entry | others | {"whole_report": row["report"] or ""})
    write_atomic(out / "annotation.json", json.dumps(content) + "\n")


def write_chexgenbench(pairs: PairsFolder, out: Path) -> None:
    """OUT/assets/CSV/prompt_INFO.csv and OUT/assets/synthetic_images, under the names its scripts take.

    Its --synthetic_csv reads prompt or annotated_prompt, and img_savename or synthetic_filename; its
    --real_csv id, path, annotated_prompt and chexpert_labels. One table has them all, beside our columns.
    """
    rows = []
    for number, row in enumerate(plain_rows(pairs.table)):
        name = f"SyntheticImg_{number:08d}{PurePosixPath(row['file_name']).suffix}"
        link_or_copy(pairs.root / row["file_name"], out / "assets" / "synthetic_images" / name)
        labels = {finding: None if row[finding] is None else float(row[finding]) for finding in FINDINGS}
        theirs = {
            "id": str(number),
            "img_savename": name,
            "synthetic_filename": name,
            "path": name,
            "annotated_prompt": row["prompt"] or "",
            "chexpert_labels": str(labels),
        }
        rows.append(as_cells(row) | theirs)
    write_atomic(out / "assets" / "CSV" / "prompt_INFO.csv", pd.DataFrame(rows).to_csv(index=False))
