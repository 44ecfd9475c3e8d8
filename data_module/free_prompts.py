"""Free-worded prompts, as people type them: "big right-sided effusion, AP view of a 58-year-old woman".

Put together from what a row of a pairs folder tells: its findings, their sides and grades in the report,
sex, age and view. Denoisers and CLIPs trained on them as well take prompts in many forms.
"""

import re
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_module.findings import FINDINGS, POSITIVE, SIZES, UNCERTAIN, label_array
from data_module.labeler.attributes import read_attributes

# A text column of this name, with a number for one more wording of each row, need not be in the table.
_COLUMN = re.compile(r"free_prompt(?:_(\d+))?")
_NAMES: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": ("mediastinal widening", "widened mediastinum"),
    "Cardiomegaly": ("cardiomegaly", "enlarged heart", "cardiac enlargement"),
    "Lung Opacity": ("opacity", "lung opacity", "hazy opacity"),
    "Lung Lesion": ("lung nodule", "lung mass", "pulmonary nodule"),
    "Edema": ("pulmonary edema", "edema"),
    "Consolidation": ("consolidation",),
    "Pneumonia": ("pneumonia",),
    "Atelectasis": ("atelectasis",),
    "Pneumothorax": ("pneumothorax",),
    "Pleural Effusion": ("pleural effusion", "effusion"),
    "Pleural Other": ("pleural thickening",),
    "Fracture": ("fracture",),
    "Support Devices": ("support devices", "lines and tubes"),
}
_NORMAL = ("normal chest", "no acute cardiopulmonary abnormality", "normal chest radiograph")
_GRADES = {
    "small": ("small", "small", "tiny"),
    "moderate": ("moderate",),
    "large": ("large", "big", "large"),
    "mild": ("mild", "mild", "slight"),
    "severe": ("severe", "severe", "marked"),
}
_PEOPLE = {"M": ("man", "male"), "F": ("woman", "female")}


def is_free_prompt(column: str) -> bool:
    """Whether a text column is made of the others: `free_prompt`, `free_prompt_2`, ..."""
    return bool(_COLUMN.fullmatch(column))


def write_free_prompts(table: pd.DataFrame, column: str) -> list[str]:
    """A prompt for each row, the same each time; "" where a row tells of no finding."""
    number = (_COLUMN.fullmatch(column) or [0, 0])[1]
    labels, texts = label_array(table), []
    about = {
        name: table[name].tolist() if name in table else [None] * len(table)
        for name in ("sex", "age", "view")
    }
    for row, report in enumerate(table["report"].fillna("").tolist()):
        rng = np.random.default_rng([int(number or 1), zlib.crc32(report.encode())])
        sex, age, view = (about[name][row] for name in ("sex", "age", "view"))
        texts.append(write_free_prompt(labels[row], report, sex, age, view, rng))
    return texts


def write_free_prompt(
    labels: np.ndarray,
    report: str,
    sex: str | None,
    age: float | None,
    view: str | None,
    rng: np.random.Generator,
) -> str:
    """One prompt.

    Args:
        labels: (14,) codes of FINDINGS.
        report: tells sides and grades.
        sex: M or F, else not said. age: years; None or NaN: not said. view: AP or PA, else not said.

    Returns:
        Every present finding and those in doubt ("possible edema"), in any order; each side, grade, sex, age
        and view said more often than not. "" where no finding is named and none is called absent.
    """
    said = read_attributes(report)
    named = dict(zip(FINDINGS, labels.tolist(), strict=True))
    present = [name for name in _NAMES if named[name] == POSITIVE]
    doubted = [f"possible {_NAMES[name][0]}" for name in _NAMES if named[name] == UNCERTAIN]
    phrases = [_phrase(name, said.get(name, {}), rng) for name in present]
    if not (phrases or doubted):
        if named["No Finding"] != POSITIVE:
            return ""
        phrases = [_pick(_NORMAL, rng)]
    parts = [phrases[place] for place in rng.permutation(len(phrases))]
    # What is in doubt comes last: "possible" may be read as said of all that follows.
    text = _join([*parts, *doubted], rng)
    person, view = _person(sex, age, rng), view if view in ("AP", "PA") and rng.random() < 0.6 else ""
    forms = [text]
    if view and person:
        forms = [f"{view} chest X-ray of a {person} with {text}", f"{text}; {view} view, {person}"]
    elif view:
        forms = [f"{view} chest X-ray with {text}", f"{text}, {view} view", f"{view} view, {text}"]
    elif person:
        forms = [f"{person} with {text}", f"chest X-ray of a {person}: {text}", f"{text}, {person}"]
    elif rng.random() < 0.3:
        forms = [f"chest X-ray with {text}", f"a chest X ray image with {text}"]
    text = _pick(forms, rng)
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text + ("." if rng.random() < 0.5 else "")


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _phrase(name: str, said: dict[str, str], rng: np.random.Generator) -> str:
    text = _pick(_NAMES[name], rng)
    grade = _pick(_GRADES[said["severity"]], rng) if "severity" in said and rng.random() < 0.85 else ""
    if name == "Pleural Effusion" and grade == "mild":
        grade = SIZES[0]
    side = said.get("side", "") if rng.random() < 0.9 else ""
    before = f"{side}-sided" if side in ("left", "right") and rng.random() < 0.3 else side
    after = "on both sides" if side == "bilateral" else f"on the {side}"
    forms = [f"{grade} {before} {text}"]
    if grade:
        forms.append(f"{before} {text}, {grade}")
    if side:
        forms += [f"{grade} {text} {after}", *([f"{text} {after}, {grade}"] if grade else [])]
    weights = np.array([3.0, *[1.0] * (len(forms) - 1)])
    return " ".join(forms[int(rng.choice(len(forms), p=weights / weights.sum()))].split())


def _join(parts: Sequence[str], rng: np.random.Generator) -> str:
    if len(parts) == 1:
        return parts[0]
    if rng.random() < 0.5:
        return ", ".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _person(sex: str | None, age: float | None, rng: np.random.Generator) -> str:
    word = _pick(_PEOPLE[sex], rng) if sex in ("M", "F") and rng.random() < 0.6 else ""
    if age is not None and not np.isnan(age) and rng.random() < 0.6:
        return f"{int(age)}{_pick(('-year-old', ' year old'), rng)} {word or 'patient'}"
    return word
