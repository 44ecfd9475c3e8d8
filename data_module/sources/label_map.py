"""Labels of other data sets -> the 14 findings."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN, check_labels

Codes = dict[str, float]  # finding -> certainty

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
# A few spellings of other sets (RSNA, VinDr-CXR, SIIM).
_OTHERS: dict[str, Codes] = {
    "Normal": {"No Finding": POSITIVE},
    "Nodule/Mass": {"Lung Lesion": POSITIVE},
    "Aortic enlargement": {"Enlarged Cardiomediastinum": POSITIVE},
    "Opacity": {"Lung Opacity": POSITIVE},
    "ILD": {"Lung Opacity": POSITIVE},
    "COVID": {"Pneumonia": UNCERTAIN},
    "Rib fracture": {"Fracture": POSITIVE},
}
BUILT_IN: dict[str, Codes] = {
    **{name: {name: POSITIVE} for name in FINDINGS},
    **_NIH,
    **_COHEN,
    **_OTHERS,
}


def normalise_label(label: str) -> str:
    """Labels are compared without case, underscores and doubled spaces."""
    return " ".join(label.replace("_", " ").lower().split())


class LabelMap:
    """Label -> findings: the built-in names, over which a file's entries go."""

    def __init__(self, path: str | Path | None = None) -> None:
        entries = {**BUILT_IN, **(_read_file(Path(path)) if path else {})}
        self._codes = {normalise_label(label): codes for label, codes in entries.items()}

    def __contains__(self, label: str) -> bool:
        return normalise_label(label) in self._codes

    def code(self, labels: Sequence[str]) -> Codes:
        """Findings of one film's labels. Of two codes for one finding the positive wins, then uncertain."""
        codes: Codes = {}
        for label in labels:
            for finding, certainty in self._codes[normalise_label(label)].items():
                if _rank(certainty) > _rank(codes.get(finding)):
                    codes[finding] = certainty
        return settle_no_finding(codes)


def _rank(certainty: float | None) -> int:
    return (None, NEGATIVE, UNCERTAIN, POSITIVE).index(certainty)


def settle_no_finding(codes: Mapping[str, float]) -> Codes:
    """Drop a positive "No Finding" that another positive or uncertain finding (but a device) contradicts."""
    others = (code for name, code in codes.items() if name not in ("No Finding", "Support Devices"))
    if codes.get("No Finding") == POSITIVE and any(code in (POSITIVE, UNCERTAIN) for code in others):
        return {name: code for name, code in codes.items() if name != "No Finding"}
    return dict(codes)


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


def _read_file(path: Path) -> dict[str, Codes]:
    """JSON {"label": "Finding" | ["Finding", ...] | {"Finding": 1 | 0 | -1} | null}, or a CSV table with the
    columns label, finding (empty: maps to nothing) and, if wanted, certainty."""
    try:
        if path.suffix.lower() == ".csv":
            return _from_csv(pd.read_csv(path, dtype=str, keep_default_na=False))
        entries = json.loads(path.read_text())
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"--label-map {path}: cannot be read ({error})") from error
    if not isinstance(entries, dict):
        raise ValueError(f"--label-map {path}: must be a JSON object of label -> finding")
    return {label: _as_codes(value, label, path) for label, value in entries.items()}


def _as_codes(value: object, label: str, path: Path) -> Codes:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value = [value]
    codes = dict.fromkeys(value, POSITIVE) if isinstance(value, list) else value
    try:
        check_labels(codes)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"--label-map {path}: label {label!r}: {error}") from None
    return {name: float(code) for name, code in codes.items()}


def _from_csv(table: pd.DataFrame) -> dict[str, Codes]:
    entries: dict[str, Codes] = {}
    for row in table.to_dict("records"):
        codes = entries.setdefault(row["label"], {})
        if row["finding"]:
            codes[row["finding"]] = float(row.get("certainty") or POSITIVE)
            check_labels(codes)
    return entries
