"""What a prompt may ask of a film beyond its findings: their sides and grades, sex, age and view.

The control of RoentGen-v2 (sex and age) with side and grade of every finding added, as numbers that a
network can be asked for and a drawn film be checked against.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_module.findings import FINDINGS
from data_module.labeler.attributes import NUM_ATTRIBUTES, attribute_labels

ASPECTS = ("left", "right", "grade 1", "grade 2", "grade 3")  # in the order of `attribute_labels`
# In order: of each finding left, right and its three grades; then sex, view and age.
CONTROLS = (
    *(f"{finding}: {aspect}" for finding in FINDINGS for aspect in ASPECTS),
    "male",
    "AP view",
    "age / 100",
)
UNSAID = -1.0

# "58F", "58 F": years and sex as they are noted. A tube of 14 F is measured in French.
_NOTED = r"\b(\d{{1,2}})(?: (?-i:{0})|{0})\b(?! (?:\w+ )?(?:catheter|tube|drain|line|sheath))"
_SEXES = (
    rf"\b(?:man|male|boy|gentleman)\b|{_NOTED.format('M')}",
    rf"\b(?:woman|female|girl|lady)\b|{_NOTED.format('F')}",
)
# Not the aortopulmonary window, the chest's depth or the pulmonary artery.
_VIEWS = (
    r"\bAP\b(?! (?:window|diameter|dimension))|\bportable\b|\bsupine\b|\bantero-?posterior\b",
    r"(?<!main )(?<!left )(?<!right )\bPA\b(?! (?:catheter|line|pressure|branch|segment))"
    r"|\bpostero-?anterior\b",
)
_YEARS = re.compile(
    r"\b(\d{1,3})[ -]?(?:years?|yrs?|y/?o|y\.o\.)(?!\w)"
    rf"|{_NOTED.format('[MF]')}"
    r"|\b(?:man|woman|male|female) of (\d{1,3})\b|\baged? (\d{1,3})\b",
    re.IGNORECASE,
)


def read_controls(texts: Sequence[str]) -> np.ndarray:
    """(N, len(CONTROLS)) float32 of what texts say: 1 or 0, for the age its hundredth; UNSAID elsewhere.

    A text that says both (of sexes or views), or two ages, says nothing.
    """
    rows = np.full((len(texts), len(CONTROLS)), UNSAID, np.float32)
    rows[:, :NUM_ATTRIBUTES] = attribute_labels(texts)
    for row, text in zip(rows, texts, strict=True):
        for place, words in ((-3, _SEXES), (-2, _VIEWS)):
            said = [bool(re.search(either, text, re.IGNORECASE)) for either in words]
            if sum(said) == 1:
                row[place] = said[0]
        ages = {int(next(filter(None, match.groups()))) for match in _YEARS.finditer(text)}
        if len(ages) == 1:
            row[-1] = min(ages.pop(), 100) / 100
    return rows


def table_controls(table: pd.DataFrame) -> np.ndarray:
    """(N, len(CONTROLS)) float32 of the rows of a pairs folder, from report, sex, view and age."""
    rows = np.full((len(table), len(CONTROLS)), UNSAID, np.float32)
    rows[:, :NUM_ATTRIBUTES] = attribute_labels(table["report"].fillna("").tolist())
    for place, column, yes, no in ((-3, "sex", "M", "F"), (-2, "view", "AP", "PA")):
        if column in table:
            values = table[column].to_numpy(object)
            rows[values == yes, place], rows[values == no, place] = 1.0, 0.0
    if "age" in table:
        ages = table["age"].to_numpy(float)
        rows[~np.isnan(ages), -1] = np.clip(ages[~np.isnan(ages)], 0, 100) / 100
    return rows
