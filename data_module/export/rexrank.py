"""ReXrank's input: a JSON object of studies, each with its films, sections and context."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from data_module.exact_table import plain_rows
from data_module.pairs import PairsFolder
from data_module.sections import split_sections
from runtime.files import link_or_copy, write_atomic


def describe_studies(pairs: PairsFolder) -> dict[str, dict[str, Any]]:
    """Study -> its entry, as ReXrank's test files have it; films are named from the images folder.

    The key image is the first that is not a lateral; a study's report is that of its first row.
    """
    studies: dict[str, dict[str, Any]] = {}
    for row in plain_rows(pairs.table):
        findings, impression = (row["findings_section"], row["impression_section"])
        if not (findings or impression):
            findings, impression = split_sections(row["report"] or "")
        study = row["study_id"] or row["file_name"] or row["patient_id"]
        entry = studies.setdefault(
            study,
            {
                "key_image_path": "",
                "image_path": [],
                "frontal_lateral": [],
                "report": f"Findings: {findings or ''} Impression: {impression or ''}",
                "section_findings": findings or "",
                "section_impression": impression or "",
                "context": _context(row),
                "subject_id": row["patient_id"],
                "split": row["split"],
            },
        )
        if row["file_name"]:
            lateral = row["view"] in ("L", "LL", "LATERAL")
            path = str(PurePosixPath(row["file_name"].removeprefix("images/")))
            entry["image_path"].append(path)
            entry["frontal_lateral"].append("Lateral" if lateral else "Frontal")
            if not lateral and not entry["key_image_path"]:
                entry["key_image_path"] = path
    for entry in studies.values():
        entry["key_image_path"] = entry["key_image_path"] or next(iter(entry["image_path"]), "")
    return studies


def _context(row: dict[str, Any]) -> str:
    age = "" if row["age"] is None else f"Age: {row['age']:g}. "
    return f"{age}{'Gender: ' + row['sex'] + '. ' if row['sex'] else ''}Indication: None. Comparison: None."


def write_rexrank(pairs: PairsFolder, out: Path) -> None:
    """OUT/rexrank.json and OUT/images, which `inference.py rexrank.json predictions.json images` reads."""
    for name in pairs.table["file_name"]:
        link_or_copy(pairs.root / name, out / "images" / name.removeprefix("images/"))
    write_atomic(out / "rexrank.json", json.dumps(describe_studies(pairs), indent=1) + "\n")
