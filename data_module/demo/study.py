"""The facts of a demo study: who, which view, which signs with side and severity, what the report mentions.

A study is a pure function of (seed, index). Studies come in blocks of BLOCK_SIZE; the patients of a block
are drawn one after another until the block is full, so that index -> (patient, visit) needs no other block.
"""

import functools
from dataclasses import dataclass, field, replace

import numpy as np

from data_module.demo.prevalence import CHRONIC, NEGATED, SCENARIOS, UNCERTAIN_IF_ABSENT, UNCERTAIN_IF_PRESENT
from data_module.findings import DEGREES, FINDINGS, NEGATIVE, POSITIVE, SIZES, UNCERTAIN

BLOCK_SIZE = 64
_PATIENT, _VISIT, _BLOCK = 1, 2, 3  # streams of random numbers that must not touch
DEVICES = "Support Devices"
OPACITIES = ("Lung Opacity", "Pneumonia", "Consolidation", "Edema", "Atelectasis", "Lung Lesion")


@dataclass(frozen=True)
class Patient:
    patient_id: str
    sex: str
    age: int  # at the first study, years
    habitus: float  # about N(0, 1): slender to obese
    body_seed: int  # anatomy that stays the same over the studies of a patient


@dataclass(frozen=True)
class Sign:
    """One sign on the film. Sides are the patient's own: the patient's right is at image left."""

    finding: str
    side: str | None = None  # "left", "right" or "bilateral"
    severity: str | None = None
    site: str | None = None  # zone or lobe, in the finding's own words
    kind: str | None = None
    certainty: float = POSITIVE
    strength: float = 1.0  # how strongly it is drawn: 0 = not at all
    size_cm: float = 0.0  # a lesion's diameter, or a tube's tip above the carina
    seed: int = 0  # its place and shape; kept while the sign persists

    @property
    def sides(self) -> tuple[str, ...]:
        return ("right", "left") if self.side == "bilateral" else (self.side,) if self.side else ()

    def facts(self) -> dict[str, str | float]:
        pairs = {"side": self.side, "severity": self.severity, "site": self.site, "kind": self.kind}
        found = {name: value for name, value in pairs.items() if value is not None}
        return found | ({"size_cm": self.size_cm} if self.size_cm else {})


@dataclass(frozen=True)
class Study:
    seed: int
    index: int
    patient: Patient
    visit: int  # 0 for the patient's first study
    age: int
    view: str  # "PA" or "AP"
    signs: tuple[Sign, ...]
    labels: dict[str, float] = field(hash=False)  # mentioned findings only

    @property
    def study_id(self) -> str:
        return f"s{self.index:06d}"

    def rng(self, *stream: int) -> np.random.Generator:
        """A generator of this study's own; another stream is independent of it."""
        return np.random.default_rng([self.seed, self.index, *stream])

    def signs_of(self, finding: str) -> tuple[Sign, ...]:
        return tuple(sign for sign in self.signs if sign.finding == finding)


def get_study(seed: int, index: int) -> Study:
    """Facts of study `index` (>= 0) of the demo of `seed` (>= 0). Raises ValueError for negative numbers."""
    if seed < 0 or index < 0:
        raise ValueError(f"seed {seed}, study {index}: both must be 0 or more")
    block, place = divmod(index, BLOCK_SIZE)
    number, visit = _block_layout(seed, block)[place]
    patient = _draw_patient(seed, block, number)
    signs, scenario, years = (), "", 0
    for earlier in range(visit + 1):
        rng = np.random.default_rng([seed, _VISIT, block, number, earlier])
        scenario = _draw_scenario(rng, scenario)
        signs = _draw_signs(rng, scenario, signs)
        years += int(rng.integers(0, 2)) if earlier else 0
    age = min(patient.age + years, 97)
    view = "AP" if rng.random() < SCENARIOS[scenario].portable else "PA"
    signs = tuple(_hedge(rng, sign) for sign in signs)
    signs += _false_alarms(rng, signs)
    return Study(seed, index, patient, visit, age, view, signs, _draw_labels(rng, signs))


@functools.lru_cache(maxsize=64)
def _block_layout(seed: int, block: int) -> list[tuple[int, int]]:
    """(patient number in the block, visit) of each study of a block."""
    rng = np.random.default_rng([seed, _BLOCK, block])
    layout: list[tuple[int, int]] = []
    number = 0
    while len(layout) < BLOCK_SIZE:
        visits = int(rng.choice([2, 3, 4], p=[0.6, 0.28, 0.12])) if rng.random() < 0.25 else 1
        layout += [(number, visit) for visit in range(visits)]
        number += 1
    return layout[:BLOCK_SIZE]


def _draw_patient(seed: int, block: int, number: int) -> Patient:
    rng = np.random.default_rng([seed, _PATIENT, block, number])
    return Patient(
        patient_id=f"p{block:04d}{number:02d}",
        sex="F" if rng.random() < 0.48 else "M",
        age=int(np.clip(rng.normal(60, 17), 18, 95)),
        habitus=float(np.clip(rng.normal(0, 1), -2, 2.2)),
        body_seed=int(rng.integers(2**31)),
    )


def _draw_scenario(rng: np.random.Generator, before: str) -> str:
    names = list(SCENARIOS)
    weights = np.array([SCENARIOS[name].weight for name in names])
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    return before if before and rng.random() < 0.65 else name


def _draw_signs(rng: np.random.Generator, scenario: str, before: tuple[Sign, ...]) -> tuple[Sign, ...]:
    """Signs of one visit: earlier ones that persist (perhaps better or worse), and new ones."""
    kept = [
        _evolve(rng, sign) for sign in before if rng.random() < (0.9 if sign.finding in CHRONIC else 0.55)
    ]
    have = {sign.finding for sign in kept}
    for finding in FINDINGS[1:]:
        chance = SCENARIOS[scenario].chances.get(finding, 0.0)
        # A later film shows mostly what persisted: fewer new signs.
        if finding not in have and rng.random() < chance * (0.5 if before else 1.0):
            kept += new_signs(rng, finding, scenario)
    return tuple(without_conflicts(kept))


def new_signs(rng: np.random.Generator, finding: str, scenario: str) -> list[Sign]:
    if finding == DEVICES:
        kinds = SCENARIOS[scenario].devices
        num = min(int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15])), len(kinds))
        chosen = rng.choice(len(kinds), size=num, replace=False)
        return [_new_device(rng, kinds[int(i)]) for i in sorted(chosen)]
    side = choose(rng, {"right": 0.5, "left": 0.5})
    grade = choose(rng, {0: 0.34, 1: 0.38, 2: 0.28})
    make = functools.partial(Sign, finding, seed=int(rng.integers(2**31)))
    match finding:
        case "Enlarged Cardiomediastinum" | "Cardiomegaly":
            return [make(severity=DEGREES[grade])]
        case "Edema":
            return [make(side="bilateral", severity=DEGREES[grade])]
        case "Pleural Effusion":
            return [make(side="bilateral" if rng.random() < 0.28 else side, severity=SIZES[grade])]
        case "Pneumothorax":
            return [make(side=side, severity=SIZES[grade])]
        case "Lung Opacity":
            side = "bilateral" if rng.random() < 0.12 else side
            return [make(side=side, site=choose(rng, {"upper": 0.3, "middle": 0.35, "lower": 0.35}))]
        case "Pneumonia":
            side = "bilateral" if rng.random() < 0.2 else side
            return [make(side=side, site=choose(rng, {"upper": 0.25, "middle": 0.3, "lower": 0.45}))]
        case "Consolidation":
            return [make(side=side, site=choose(rng, {"upper": 0.45, "lower": 0.55}))]
        case "Atelectasis":
            side = "bilateral" if rng.random() < 0.25 else side
            return [make(side=side, severity=DEGREES[min(grade, 1)], site="lower")]
        case "Lung Lesion":
            kind = choose(rng, {"nodule": 0.55, "mass": 0.45})
            size_cm = round(float(rng.uniform(2.3, 3.0) if kind == "nodule" else rng.uniform(3.8, 5.6)), 1)
            site = choose(rng, {"upper": 0.4, "middle": 0.35, "lower": 0.25})
            return [make(side=side, site=site, kind=kind, size_cm=size_cm)]
        case "Pleural Other":
            kind = choose(rng, {"thickening": 0.55, "plaques": 0.45})
            return [make(side="bilateral" if rng.random() < 0.2 else side, kind=kind)]
        case "Fracture":
            kind = choose(rng, {"ribs": 0.75, "clavicle": 0.25})
            return [make(side=side, kind=kind)]
    raise AssertionError(finding)


def _new_device(rng: np.random.Generator, kind: str) -> Sign:
    side = None
    if kind in ("central line", "picc", "chest tube"):
        side = choose(rng, {"right": 0.65, "left": 0.35})
    elif kind == "pacemaker":
        side = choose(rng, {"left": 0.8, "right": 0.2})
    size_cm = round(float(rng.uniform(2.5, 5.0)), 1) if kind == "endotracheal tube" else 0.0
    return Sign(DEVICES, side=side, kind=kind, size_cm=size_cm, seed=int(rng.integers(2**31)))


def choose(rng: np.random.Generator, weights: dict):
    names = list(weights)
    return names[int(rng.choice(len(names), p=np.array(list(weights.values())) / sum(weights.values())))]


def _evolve(rng: np.random.Generator, sign: Sign) -> Sign:
    """A sign at the next visit: the same, or one grade better or worse."""
    if sign.severity is None or rng.random() < 0.5:
        return sign
    scale = grades_of(sign.finding)
    grade = scale.index(sign.severity) + int(rng.choice([-1, 1], p=[0.6, 0.4]))
    top = 1 if sign.finding == "Atelectasis" else 2
    return replace(sign, severity=scale[min(max(grade, 0), top)])


def grades_of(finding: str) -> tuple[str, str, str]:
    return SIZES if finding in ("Pleural Effusion", "Pneumothorax") else DEGREES


def without_conflicts(signs: list[Sign]) -> list[Sign]:
    """Leave out what cannot be seen beside something larger, so that every positive label shows.

    A lung under a large effusion or pneumothorax shows no other disease; two kinds of patch on one lung
    would lie on each other. A chest tube stands on the side of the air or fluid.
    """
    hidden = {
        side
        for sign in signs
        if sign.finding in ("Pleural Effusion", "Pneumothorax") and sign.severity == "large"
        for side in sign.sides
    }
    wet = {side for sign in signs if sign.finding == "Pleural Effusion" for side in sign.sides}
    patchy: set[str] = set()
    kept = []
    for sign in signs:
        if sign.finding in ("Lung Opacity", "Pneumonia", "Consolidation", "Lung Lesion"):
            if set(sign.sides) & (hidden | patchy):
                continue
            patchy |= set(sign.sides)
        if sign.finding in ("Atelectasis", "Pleural Other") and set(sign.sides) & (hidden | wet):
            free = {"right", "left"} - hidden - wet
            if not free:
                continue
            sign = replace(sign, side=sorted(free)[0])
        if sign.finding == "Pneumothorax" and set(sign.sides) & wet:
            free = {"right", "left"} - wet
            if not free:
                continue
            sign = replace(sign, side=sorted(free)[0])
        if sign.kind == "chest tube":
            sides = [
                s
                for f in ("Pneumothorax", "Pleural Effusion")
                for g in signs
                if g.finding == f
                for s in g.sides
            ]
            sign = replace(sign, side=sides[0]) if sides else sign
        kept.append(sign)
    return kept


def _hedge(rng: np.random.Generator, sign: Sign) -> Sign:
    """Some signs are faint or missing and the report hedges; sizes of hedged signs are not told."""
    certain = rng.random() >= UNCERTAIN_IF_PRESENT.get(sign.finding, 0.0)
    drawn = rng.random() < 0.5
    if certain:
        return sign
    return _uncertain(sign, 0.45 if drawn else 0.0)


def _uncertain(sign: Sign, strength: float) -> Sign:
    least = grades_of(sign.finding)[0] if sign.severity else None
    return replace(sign, certainty=UNCERTAIN, strength=strength, severity=least)


def _false_alarms(rng: np.random.Generator, signs: tuple[Sign, ...]) -> tuple[Sign, ...]:
    """Hedged findings that nothing on the film stands behind."""
    have = {sign.finding for sign in signs}
    extra = []
    for finding, chance in UNCERTAIN_IF_ABSENT.items():
        if rng.random() < chance and finding not in have:
            (sign,) = new_signs(rng, finding, "other")
            extra.append(_uncertain(sign, 0.45 if rng.random() < 0.3 else 0.0))
    taken = {side for sign in signs if sign.finding in OPACITIES for side in sign.sides}
    return tuple(sign for sign in extra if not set(sign.sides) & taken)[:2]


def _draw_labels(rng: np.random.Generator, signs: tuple[Sign, ...]) -> dict[str, float]:
    """CheXpert labels of what the report will mention: signs, and a choice of the absent findings."""
    labels: dict[str, float] = {}
    for sign in signs:
        labels[sign.finding] = max(labels.get(sign.finding, UNCERTAIN), sign.certainty)
    if labels.get("Pneumonia") == POSITIVE:
        labels["Lung Opacity"] = POSITIVE  # the report describes the patch before it names the cause
    abnormal = any(name != DEVICES for name in labels)
    for finding, chance in NEGATED.items():
        mention = rng.random() < chance * (1.0 if abnormal else 1.25)
        hazy = finding == "Lung Opacity" and any(name in labels for name in OPACITIES)
        if mention and finding not in labels and not hazy:
            labels[finding] = NEGATIVE
    if not abnormal:
        labels["No Finding"] = POSITIVE
    return labels
