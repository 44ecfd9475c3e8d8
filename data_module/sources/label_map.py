"""Labels of other data sets -> the 14 findings."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_module.findings import (
    FINDINGS,
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    check_labels,
    settle_no_finding,
)
from data_module.quoting import hide, quote_columns
from data_module.tables import find_column, read_table, read_text

Codes = dict[str, float]  # finding -> certainty
MAX_LABEL = 40  # characters of a label
# How tables write a certainty.
CERTAINTY_WORDS: dict[str, float] = {
    **dict.fromkeys(("1", "1.0", "+1", "true", "yes", "y", "positive", "present"), POSITIVE),
    **dict.fromkeys(("0", "0.0", "-0.0", "false", "no", "n", "negative", "absent"), NEGATIVE),
    **dict.fromkeys(("-1", "-1.0", "uncertain", "possible"), UNCERTAIN),
}

# NIH ChestX-ray14 (Wang et al., CVPR 2017). Emphysema and hernia have no place among the 14.
_NIH: dict[str, Codes] = {
    "Effusion": {"Pleural Effusion": POSITIVE},
    "Infiltration": {"Lung Opacity": POSITIVE},
    "Mass": {"Lung Lesion": POSITIVE},
    "Nodule": {"Lung Lesion": POSITIVE},
    "Pleural Thickening": {"Pleural Other": POSITIVE},
    "Fibrosis": {"Lung Opacity": POSITIVE},
    "Emphysema": {},
    "Hernia": {},
}
# covid-chestxray-dataset (Cohen et al., 2020), whose `finding` files these under Pneumonia. COVID-19 is a
# laboratory result that a film may not show, so that it makes pneumonia uncertain.
_PNEUMONIAS = (
    "Klebsiella, Streptococcus, Staphylococcus, MRSA, Pneumocystis, Varicella, Legionella, Mycoplasma, "
    "Mycoplasma Bacterial Pneumonia, Nocardia, Chlamydophila, E.Coli, Influenza, H1N1, Herpes, "
    "Aspergillosis, Aspiration, Lipoid, SARS, MERS-CoV, Viral Pneumonia, Bacterial Pneumonia, "
    "Fungal Pneumonia"
)
_COHEN: dict[str, Codes] = {
    **{name: {"Pneumonia": POSITIVE} for name in _PNEUMONIAS.split(", ")},
    "COVID-19": {"Pneumonia": UNCERTAIN},
    "COVID-19, ARDS": {"Pneumonia": UNCERTAIN, "Lung Opacity": POSITIVE},
    "ARDS": {"Lung Opacity": POSITIVE},
    "Tuberculosis": {"Lung Opacity": POSITIVE},
    "todo": {},
    "Unknown": {},
}
# A few labels of other sets (RSNA, VinDr-CXR, SIIM).
_OTHERS: dict[str, Codes] = {
    "Aortic enlargement": {"Enlarged Cardiomediastinum": POSITIVE},
    "ILD": {"Lung Opacity": POSITIVE},
    "COVID": {"Pneumonia": UNCERTAIN},
    "COVID19": {"Pneumonia": UNCERTAIN},
    "Rib fracture": {"Fracture": POSITIVE},
    "Rib fractures": {"Fracture": POSITIVE},
    "Lung Nodule": {"Lung Lesion": POSITIVE},
    "Lung Mass": {"Lung Lesion": POSITIVE},
}
# Other names of one and the same finding: a table that says 0 of it denies the finding.
_SYNONYMS: dict[str, str] = {
    "No Finding": "No Findings, Normal, Healthy, No Abnormality, No Abnormal Finding, No Abnormal Findings",
    "Enlarged Cardiomediastinum": "Enlarged Cardiomediastinal Silhouette, Cardiomediastinal Enlargement, "
    "Widened Mediastinum, Mediastinal Widening",
    "Cardiomegaly": "Enlarged Heart, Heart Enlargement, Cardiac Enlargement, Enlarged Cardiac Silhouette",
    "Lung Opacity": "Airspace Opacity, Air Space Opacity, Airspace Opacities, Lung Opacities, Opacity, "
    "Opacities, Pulmonary Opacity, Pulmonary Opacities, Opacification",
    "Lung Lesion": "Lung Lesions, Pulmonary Lesion, Nodule/Mass, Mass/Nodule, Nodule or Mass, "
    "Mass or Nodule, Nodule Mass",
    "Edema": "Oedema, Pulmonary Edema, Pulmonary Oedema, Lung Edema",
    "Consolidation": "Consolidations, Lung Consolidation, Pulmonary Consolidation",
    "Pneumonia": "Pneumonias",
    "Atelectasis": "Atelectases",
    "Pneumothorax": "Pneumothoraces, PTX",
    "Pleural Effusion": "Effusion, Effusions, Pleural Effusions",
    "Pleural Other": "Other Pleural, Pleural Abnormality, Other Pleural Abnormality",
    "Fracture": "Fractures, Bone Fracture, Bone Fractures, Skeletal Fracture",
    "Support Devices": "Support Device, Supporting Device, Supporting Devices, Devices, Medical Device, "
    "Medical Devices, Lines and Tubes, Tubes and Lines, Lines/Tubes, Tubes/Lines",
}
_SAME = {name: finding for finding, names in _SYNONYMS.items() for name in (finding, *names.split(", "))}
BUILT_IN: dict[str, Codes] = {
    **_NIH,
    **_COHEN,
    **_OTHERS,
    **{name: {finding: POSITIVE} for name, finding in _SAME.items()},
}


def label_key(label: str) -> str:
    """Labels are compared without case, spaces, underscores and other marks: only "/" tells them apart."""
    return re.sub(r"[^\w/]|_", "", label.lower())


class LabelMap:
    """Label -> findings: the built-in names, over which a file's entries go.

    Args:
        path: JSON or CSV file of entries.
        vocabulary: stands in the place of the built-in names, for a data set whose labels are known.
    """

    def __init__(self, path: str | Path | None = None, vocabulary: Mapping[str, Codes] | None = None) -> None:
        entries, same = _read_file(Path(path)) if path else ({}, {})
        known = BUILT_IN if vocabulary is None else vocabulary
        self._codes = {label_key(label): codes for label, codes in {**known, **entries}.items()}
        own = {label_key(label) for label in entries}
        self._same = {label_key(name) for name in _SAME} - own | {label_key(label) for label in same}

    def __contains__(self, label: str) -> bool:
        return label_key(label) in self._codes

    def has_finding(self, label: str) -> bool:
        """Whether a label that is known has a place among the 14 findings."""
        return bool(self._codes.get(label_key(label)))

    def code(self, labels: Sequence[str]) -> Codes:
        """Findings of one film's labels. Of two codes for one finding the positive wins, then uncertain."""
        return settle_no_finding(self.code_certainties(dict.fromkeys(labels, POSITIVE)))

    def code_certainties(self, labels: Mapping[str, float]) -> Codes:
        """Findings of one film's labels, each with its own certainty.

        A label that is absent denies its finding only where both are the same: no mass may still be a nodule.
        A "No Finding" that a finding contradicts is still among them.
        """
        codes: Codes = {}
        for label, certainty in labels.items():
            key = label_key(label)
            for finding, meaning in self._codes[key].items():
                if certainty == NEGATIVE:
                    if key not in self._same:
                        continue
                    meaning = NEGATIVE
                elif certainty == UNCERTAIN and meaning == POSITIVE:
                    meaning = UNCERTAIN
                if _rank(meaning) > _rank(codes.get(finding)):
                    codes[finding] = meaning
        return codes


def _rank(certainty: float | None) -> int:
    return (None, NEGATIVE, UNCERTAIN, POSITIVE).index(certainty)


def merge_codes(codes: Mapping[str, float], text_codes: np.ndarray) -> Codes:
    """The table's codes, and where it is silent or uncertain the text's.

    Args:
        codes: from the table.
        text_codes: from a labeler, (14,) in the order of FINDINGS, NaN = not mentioned.
    """
    from_text = {name: float(code) for name, code in zip(FINDINGS, text_codes, strict=True) if code == code}
    firm = {
        name: code for name, code in codes.items() if code != UNCERTAIN or from_text.get(name) != POSITIVE
    }
    return settle_no_finding({**from_text, **firm})


def _read_file(path: Path) -> tuple[dict[str, Codes], set[str]]:
    """JSON {"label": "Finding" | ["Finding", ...] | {"Finding": 1 | 0 | -1} | null}, or a table with the
    columns label, finding (empty: maps to nothing) and, if wanted, certainty.

    Returns:
        label -> codes, and the labels that are another name of one finding ("label": "Finding").
    """
    where = f"--label-map {path}"
    if path.suffix.lower() in (".csv", ".tsv"):
        return _from_table(read_table(path, where), where)
    try:
        entries = json.loads(read_text(path, where), object_pairs_hook=partial(_refuse_twins, where))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: cannot be read as JSON ({error})") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{where}: must be a JSON object of label -> finding")
    same = {label for label, value in entries.items() if isinstance(value, str) and value}
    return {label: _as_codes(value, label, where) for label, value in entries.items()}, same


def _refuse_twins(where: str, pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    keys = [label_key(name) for name, _ in pairs]
    for place, (name, _) in enumerate(pairs):
        if keys[place] in keys[:place]:
            raise ValueError(f"{where}: the label {quote_label(name)} stands in it twice")
    return dict(pairs)


def _as_codes(value: Any, label: str, where: str) -> Codes:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        value = dict.fromkeys(value, POSITIVE)
    if not isinstance(value, dict) or not all(
        isinstance(code, int | float) and not isinstance(code, bool) and code == code
        for code in value.values()
    ):
        raise ValueError(
            f"{where}: label {quote_label(label)}: give a finding, a list of findings, "
            'an object {"Finding": 1, 0 or -1}, or null'
        )
    try:
        check_labels(value)
    except ValueError as error:
        raise ValueError(f"{where}: label {quote_label(label)}: {error}") from None
    return {name: float(code) for name, code in value.items()}


def _from_table(table: pd.DataFrame, where: str) -> tuple[dict[str, Codes], set[str]]:
    columns = [find_column(table, [name], where) for name in ("label", "finding", "certainty")]
    if None in columns[:2]:
        raise ValueError(f"{where}: needs the columns label and finding; it has {quote_columns(table)}")
    entries: dict[str, Codes] = {}
    implied: set[str] = set()
    for number, row in enumerate(table.to_dict("records"), start=2):
        label, finding = (row[column].strip() for column in columns[:2])
        certainty = row[columns[2]].strip() if columns[2] else ""
        if not label:
            raise ValueError(f"{where}: row {number} has no label")
        codes = entries.setdefault(label, {})
        if finding:
            code = CERTAINTY_WORDS.get(certainty.lower()) if certainty else POSITIVE
            if code is None:
                raise ValueError(f"{where}: row {number}: a certainty is 1, 0, -1 or empty")
            codes |= _as_codes({finding: code}, label, where)
            implied |= {label} if certainty else set()
    return entries, {label for label, codes in entries.items() if len(codes) == 1} - implied


def quote_label(label: str) -> str:
    """A label for an error message, unless it reads as a text, which a wrong column may hold."""
    short = len(label) <= MAX_LABEL and len(label.split()) <= 4 and not label.rstrip().endswith(".")
    return repr(label) if short else hide(label)
