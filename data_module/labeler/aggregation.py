"""Sentences -> one label per finding for a report, by CheXpert's conventions."""

import re
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.labeler.assertion import read_sentence
from data_module.labeler.text import split_report
from data_module.labeler.vocabulary import OTHER

_NO_FINDING, _DEVICES = FINDINGS.index("No Finding"), FINDINGS.index("Support Devices")
_STRENGTH = {NEGATIVE: 0, UNCERTAIN: 1, POSITIVE: 2}
_NAMES = rf"(?:{'|'.join(name.lower() for name in FINDINGS)})"
_NAME_LIST = rf"{_NAMES}(?:, {_NAMES})*(?: and {_NAMES})?"
_PROMPT = re.compile(
    rf"a chest x[ -]ray image(?: with ({_NAME_LIST}))?(?:, without ({_NAME_LIST}))?"
    rf"(?:, and with uncertain ({_NAME_LIST}))?\.?"
)


def label_reports(texts: Iterable[str], progress: bool = False) -> np.ndarray:
    """Labels of many reports.

    Args:
        texts: reports, or prompts; an empty text has no labels.
        progress: show a progress bar.

    Returns:
        (N, 14) float32 in the order of FINDINGS: 1, 0, -1 (uncertain) or NaN (not mentioned).

    Raises:
        ValueError: an item that is not a string, or one string instead of a list.
    """
    if isinstance(texts, str):
        raise ValueError("label_reports takes a list of texts; for one text use label_report")
    texts = list(texts)
    out = np.full((len(texts), len(FINDINGS)), np.nan, dtype=np.float32)
    for row, text in enumerate(tqdm(texts, desc="label", unit=" reports", disable=not progress)):
        for finding, code in _find_labels(text).items():
            out[row, finding] = code
    return out


def label_report(text: str) -> dict[str, float]:
    """Labels of one report: finding name -> 1, 0, -1 (uncertain) or NaN (not mentioned), all 14 in order.

    Mentions are joined as positive > uncertain > negative. "No Finding" is 1 where the text speaks of a film
    and nothing but support devices is positive or uncertain, abnormalities outside the 14 included
    (scoliosis, granuloma ...); otherwise NaN. A sentence of `data_module.findings.prompt_sentence` gives back
    exactly the labels it was made from.

    Raises:
        ValueError: `text` is not a string.
    """
    labels = _find_labels(text)
    return {name: labels.get(i, float("nan")) for i, name in enumerate(FINDINGS)}


def _find_labels(text: str) -> dict[int, float]:
    if not isinstance(text, str):
        raise ValueError(f"a report must be text, not {text!r}")
    prompt = _PROMPT.fullmatch(" ".join(text.lower().split()))
    if prompt:
        return _read_prompt(prompt)
    labels: dict[int, float] = {}
    recognized = False
    for sentence in split_report(text):
        statement = read_sentence(sentence)
        recognized |= statement.recognized
        for finding, code, *_ in statement.mentions:
            if finding not in labels or _STRENGTH[code] > _STRENGTH[labels[finding]]:
                labels[finding] = code
    abnormal = any(code != NEGATIVE for finding, code in labels.items() if finding != _DEVICES)
    labels.pop(OTHER, None)
    if recognized and not abnormal:
        labels[_NO_FINDING] = POSITIVE
    return labels


def _read_prompt(prompt: re.Match[str]) -> dict[int, float]:
    lower = [name.lower() for name in FINDINGS]
    return {
        lower.index(name): code
        for names, code in zip(prompt.groups(), (POSITIVE, NEGATIVE, UNCERTAIN), strict=True)
        if names
        for name in re.findall(_NAMES, names)
    }
