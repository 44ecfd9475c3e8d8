"""A report in plain English, built from a film's labels where no text came with it.

It says what the table says and nothing else: no finding is denied that the labels do not deny, and no
side or severity is invented.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.sections import Sections
from data_module.sources.label_map import label_key

# How a finding reads within a sentence; the source's own label is used where it says more.
_PHRASES = {
    "Enlarged Cardiomediastinum": "enlargement of the cardiomediastinal silhouette",
    "Cardiomegaly": "cardiomegaly",
    "Lung Opacity": "lung opacity",
    "Lung Lesion": "a lung lesion",
    "Edema": "pulmonary edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural effusion",
    "Pleural Other": "a pleural abnormality",
    "Fracture": "a fracture",
    "Support Devices": "a support device",
}
# The source's label -> its phrase, and the finding whose phrase it replaces (None: it has no finding).
_OWN_WORDS: dict[str, tuple[str, str | None]] = {
    "infiltration": ("infiltration", "Lung Opacity"),
    "mass": ("a lung mass", "Lung Lesion"),
    "nodule": ("a lung nodule", "Lung Lesion"),
    "pleural thickening": ("pleural thickening", "Pleural Other"),
    "fibrosis": ("pulmonary fibrosis", "Lung Opacity"),
    "emphysema": ("emphysema", None),
    "hernia": ("a hiatal hernia", None),
    "ards": ("diffuse opacity of acute respiratory distress syndrome", "Lung Opacity"),
    "covid-19, ards": ("diffuse opacity of acute respiratory distress syndrome", "Lung Opacity"),
}
_LABEL_PHRASES = {label_key(label): phrase for label, phrase in _OWN_WORDS.items()}
_POSITIVE_FORMS = ("There is {}.", "{} is present.", "{} is seen.", "The film shows {}.")
_NEGATIVE_FORMS = ("There is no {}.", "No {} is seen.", "No evidence of {}.")
_UNCERTAIN_FORMS = ("{} is possible.", "{} cannot be excluded.", "There may be {}.")
_NORMAL_FORMS = ("No abnormality is seen.", "No abnormal finding.", "Normal chest film.")
_NORMAL_IMPRESSIONS = ("No acute abnormality.", "No abnormal finding.", "Normal chest radiograph.")


def build_report(
    codes: Mapping[str, float],
    labels: Sequence[str],
    row_id: str,
    view: str = "",
    sex: str = "",
    age: float | None = None,
) -> Sections | None:
    """Findings and impression for one film, or None where there is nothing to say about it.

    Args:
        codes: finding -> 1, 0 or -1.
        labels: keys (`label_key`) of the source's own labels that are present; those without a finding
            (emphysema) may still be named.
        row_id: chooses among the sentence forms, always the same for the same id.
        view, sex, age: "" or None where unknown; sex is F or M, age in years.
    """
    choose = _Chooser(row_id)
    present = _name_positives(codes, labels)
    absent = [_PHRASES[name] for name in FINDINGS[1:] if codes.get(name) == NEGATIVE]
    uncertain = [_PHRASES[name] for name in FINDINGS[1:] if codes.get(name) == UNCERTAIN]
    normal = codes.get("No Finding") == POSITIVE and not present
    if not (present or absent or uncertain or normal):
        return None
    sentences = [_describe_film(view, sex, age)]
    if normal:
        sentences.append(choose(_NORMAL_FORMS))
    sentences += [choose(_POSITIVE_FORMS).format(phrase) for phrase in present]
    sentences += [choose(_UNCERTAIN_FORMS).format(phrase) for phrase in uncertain]
    if absent:
        bare = [phrase.removeprefix("a ") for phrase in absent]
        sentences.append(choose(_NEGATIVE_FORMS).format(_enumerate(bare, "or")))
    findings = " ".join(_capitalize(sentence) for sentence in sentences if sentence)
    return Sections(findings, _build_impression(present, uncertain, normal, choose))


def _build_impression(
    present: Sequence[str], uncertain: Sequence[str], normal: bool, choose: "_Chooser"
) -> str:
    sentences = []
    if present:
        sentences.append(f"{_enumerate([phrase.removeprefix('a ') for phrase in present], 'and')}.")
    if uncertain:
        sentences.append(f"Possible {_enumerate([phrase.removeprefix('a ') for phrase in uncertain], 'or')}.")
    if not sentences:
        sentences.append(choose(_NORMAL_IMPRESSIONS) if normal else "None of the findings looked for.")
    return " ".join(_capitalize(sentence) for sentence in sentences)


def _name_positives(codes: Mapping[str, float], labels: Sequence[str]) -> list[str]:
    """Phrases of what is present: the label's own words where it has some, else the finding's."""
    own = [_LABEL_PHRASES[label] for label in labels if label in _LABEL_PHRASES]
    covered = {finding for _, finding in own}
    positives = [name for name in FINDINGS[1:] if codes.get(name) == POSITIVE and name not in covered]
    return list(dict.fromkeys([*(_PHRASES[name] for name in positives), *(phrase for phrase, _ in own)]))


def _describe_film(view: str, sex: str, age: float | None) -> str:
    person = {"F": "woman", "M": "man"}.get(sex, "patient")
    if age is not None and age < 18:
        person = {"F": "girl", "M": "boy"}.get(sex, "child")
    film = f"{view} view of the chest" if view else "Chest film"
    if age is None:
        return f"{film} of a {person}." if sex else f"{film}."
    article = "an" if int(age) in (8, 11, 18, *range(80, 90)) else "a"
    return f"{film} of {article} {int(age)}-year-old {person}."


class _Chooser:
    """Picks among forms by a hash of the row's id and of how many were picked before."""

    def __init__(self, row_id: str) -> None:
        self.row_id, self.count = row_id, 0

    def __call__(self, forms: Sequence[str]) -> str:
        self.count += 1
        digest = sha256(f"{self.row_id}:{self.count}".encode()).digest()
        return forms[int.from_bytes(digest[:4], "big") % len(forms)]


def _enumerate(phrases: Sequence[str], word: str) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} {word} {phrases[-1]}"


def _capitalize(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
