"""A study's facts -> its report: findings and impression, from the sentences of `phrases.py`."""

from dataclasses import dataclass

import numpy as np

from data_module.demo import phrases
from data_module.demo.phrases import choose
from data_module.demo.study import DEVICES, Sign, Study
from data_module.findings import NEGATIVE, POSITIVE

MAX_WORDS = 90
_REPORT = 9  # stream of random numbers
# Order of a read: devices, lungs, pleura, heart, mediastinum, bones.
READING_ORDER = (
    DEVICES,
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Lung Opacity",
    "Lung Lesion",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Cardiomegaly",
    "Enlarged Cardiomediastinum",
    "Fracture",
)
URGENCY = (
    "Pneumothorax",
    "Pneumonia",
    "Consolidation",
    "Edema",
    "Lung Lesion",
    "Pleural Effusion",
    "Fracture",
    "Enlarged Cardiomediastinum",
    "Lung Opacity",
    "Cardiomegaly",
    "Atelectasis",
    "Pleural Other",
)


@dataclass(frozen=True)
class Report:
    findings_section: str
    impression_section: str

    @property
    def text(self) -> str:
        return f"FINDINGS: {self.findings_section} IMPRESSION: {self.impression_section}"


def write_report(study: Study) -> Report:
    """The report of a study; it mentions exactly the findings of `study.labels`."""
    rng = study.rng(_REPORT)
    signs = sorted(study.signs, key=lambda sign: READING_ORDER.index(sign.finding))
    present = [_describe(sign, rng) for sign in signs]
    absent = _deny(study, rng)
    extra = [choose(phrases.NEUTRAL, rng)] if rng.random() < 0.35 else []
    view = [choose(phrases.VIEW[study.view], rng)] if rng.random() < 0.3 else []
    impression = _conclude(study, rng)
    # Too long: the view goes first, then what is neither here nor there, then what the impression repeats.
    for body, conclusion in (
        ([*view, *present, *absent, *extra], impression),
        ([*present, *absent, *extra], impression),
        ([*present, *absent], impression),
        ([*present, *absent], impression[:2]),
    ):
        if len(" ".join([*body, *conclusion]).split()) + 2 <= MAX_WORDS:
            break
    body = body or [choose(phrases.NEUTRAL, rng)]
    return Report(" ".join(body), " ".join(conclusion))


def _key(sign: Sign) -> str:
    return f"{sign.finding}:{sign.kind}" if sign.finding in ("Pleural Other", "Fracture") else sign.finding


def _describe(sign: Sign, rng: np.random.Generator) -> str:
    if sign.finding == DEVICES:
        return _fill(choose(phrases.DEVICE[sign.kind or ""], rng), sign)
    table = phrases.PRESENT if sign.certainty == POSITIVE else phrases.UNSURE
    return _fill(choose(table[_key(sign)], rng), sign)


def _deny(study: Study, rng: np.random.Generator) -> list[str]:
    """Sentences for the findings that the report calls absent: heart and mediastinum, single ones, a list."""
    absent = [name for name in READING_ORDER if study.labels.get(name) == NEGATIVE]
    sentences, listed = [], []
    heart = [name for name in ("Cardiomegaly", "Enlarged Cardiomediastinum") if name in absent]
    if len(heart) == 2 and rng.random() < 0.7:
        sentences.append(choose(phrases.ABSENT["both"], rng))
    else:
        sentences += [choose(phrases.ABSENT[name], rng) for name in heart]
    for name in absent:
        if name in heart:
            continue
        alone = name in phrases.ABSENT and rng.random() < (0.75 if name == "Lung Opacity" else 0.2)
        if alone:
            sentences.append(choose(phrases.ABSENT[name], rng))
        else:
            listed.append(choose(phrases.ABSENT_NAME[name], rng))
    sentences = [sentences[int(i)] for i in rng.permutation(len(sentences))]
    if listed:
        listed = [listed[int(i)] for i in rng.permutation(len(listed))]
        form = choose(phrases.ABSENT_LIST, rng)
        sentences.append(form.format(names=_join(listed)))
    return sentences


def _join(names: list[str]) -> str:
    if len(names) < 3:
        return " or ".join(names)
    return f"{', '.join(names[:-1])}, or {names[-1]}"


def _conclude(study: Study, rng: np.random.Generator) -> list[str]:
    """The impression: certain findings first, most urgent first, four at most."""
    if study.labels.get("No Finding") == POSITIVE:
        # With a device in place the film is not called normal, but free of acute disease (the first forms).
        forms = phrases.NORMAL_IMPRESSION[:2] if study.signs else phrases.NORMAL_IMPRESSION
        return [choose(forms, rng)]
    signs = [sign for sign in study.signs if sign.finding != DEVICES]
    signs.sort(key=lambda sign: (sign.certainty != POSITIVE, URGENCY.index(sign.finding)))
    sentences = []
    for sign in signs[:4]:
        table = phrases.SHORT if sign.certainty == POSITIVE else phrases.SHORT_UNSURE
        sentences.append(_fill(choose(table[_key(sign)], rng), sign))
    if study.signs_of(DEVICES) and rng.random() < 0.25:
        sentences.append(choose(phrases.SHORT[DEVICES], rng))
    return sentences


def _fill(form: str, sign: Sign) -> str:
    """Slots filled with the facts of a sign; a first letter is made a capital."""
    both = sign.side == "bilateral"
    adjective = {"upper": "upper lobe", "middle": "mid lung", "lower": "lower lobe"}.get(
        sign.site or "", "lung"
    )
    plural = "mid lungs" if sign.site == "middle" else f"{adjective}s"
    slots = {
        "side": sign.side or "",
        "sided": "bilateral" if both else f"{sign.side}-sided",
        "severity": sign.severity or "",
        "kind": sign.kind or "",
        "size": f"{sign.size_cm:.1f}",
        "zone": f"right and left {plural}" if both else f"{sign.side} {adjective}",
        "zonal": f"bilateral {adjective}" if both else f"{sign.side} {adjective}",
        "base": "lung bases" if both else f"{sign.side} lung base",
        "bases": "lung bases" if both else f"{sign.side} lung base",
        "basal": "bibasilar" if both else f"{sign.side} basilar",
        "a": "" if both else "a ",
        "s": "s" if both else "",
        "v": "" if both else "s",
        "is": "are" if both else "is",
    }
    slots |= {name.capitalize(): _capital(value) for name, value in slots.items()}
    return _capital(form.format(**slots))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
