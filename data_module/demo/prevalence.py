"""How often what is seen, hedged or negated: clinical scenarios, so that findings occur together as in life.

Chances are set so that each finding is positive in at least 5% of the studies and about three in ten are
normal; the shares of negated findings follow the order of those in MIMIC-CXR (effusion and pneumothorax are
negated most, fracture and lesion seldom), not their exact figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scenario:
    weight: float
    portable: float  # chance of an AP film
    chances: Mapping[str, float] = field(default_factory=dict)
    devices: tuple[str, ...] = ("pacemaker", "central line", "valve")


INTENSIVE = ("endotracheal tube", "enteric tube", "central line", "picc", "chest tube")

SCENARIOS: Mapping[str, Scenario] = {
    "normal": Scenario(0.27, 0.15, {"Support Devices": 0.12}),
    "heart failure": Scenario(
        0.17,
        0.55,
        {
            "Cardiomegaly": 0.75,
            "Edema": 0.6,
            "Pleural Effusion": 0.55,
            "Atelectasis": 0.12,
            "Enlarged Cardiomediastinum": 0.08,
            "Support Devices": 0.45,
        },
        ("pacemaker", "valve", "central line"),
    ),
    "infection": Scenario(
        0.19,
        0.35,
        {
            "Pneumonia": 0.6,
            "Consolidation": 0.4,
            "Lung Opacity": 0.25,
            "Pleural Effusion": 0.2,
            "Atelectasis": 0.1,
            "Cardiomegaly": 0.08,
            "Support Devices": 0.15,
        },
        ("picc", "central line", "pacemaker"),
    ),
    "intensive care": Scenario(
        0.13,
        0.95,
        {
            "Support Devices": 0.97,
            "Atelectasis": 0.4,
            "Pleural Effusion": 0.35,
            "Pneumothorax": 0.22,
            "Edema": 0.22,
            "Consolidation": 0.18,
            "Lung Opacity": 0.25,
            "Enlarged Cardiomediastinum": 0.15,
            "Cardiomegaly": 0.2,
        },
        INTENSIVE,
    ),
    "tumour": Scenario(
        0.1,
        0.2,
        {
            "Lung Lesion": 0.75,
            "Enlarged Cardiomediastinum": 0.35,
            "Pleural Effusion": 0.2,
            "Pleural Other": 0.15,
            "Pneumothorax": 0.08,
            "Support Devices": 0.15,
        },
        ("picc", "central line"),
    ),
    "trauma": Scenario(
        0.09,
        0.7,
        {
            "Fracture": 0.75,
            "Pneumothorax": 0.35,
            "Pleural Effusion": 0.1,
            "Lung Opacity": 0.12,
            "Atelectasis": 0.15,
            "Enlarged Cardiomediastinum": 0.12,
            "Support Devices": 0.2,
        },
        ("chest tube", "endotracheal tube", "central line"),
    ),
    "other": Scenario(
        0.15,
        0.3,
        {
            "Pleural Other": 0.4,
            "Lung Opacity": 0.22,
            "Pneumothorax": 0.12,
            "Atelectasis": 0.22,
            "Cardiomegaly": 0.15,
            "Enlarged Cardiomediastinum": 0.15,
            "Fracture": 0.12,
            "Lung Lesion": 0.1,
            "Support Devices": 0.15,
        },
    ),
}

# Findings that outlast months.
CHRONIC = frozenset(
    {"Cardiomegaly", "Enlarged Cardiomediastinum", "Lung Lesion", "Pleural Other", "Fracture"}
)

UNCERTAIN_IF_PRESENT: Mapping[str, float] = {
    "Enlarged Cardiomediastinum": 0.06,
    "Cardiomegaly": 0.06,
    "Lung Opacity": 0.05,
    "Lung Lesion": 0.06,
    "Edema": 0.08,
    "Consolidation": 0.06,
    "Pneumonia": 0.12,
    "Atelectasis": 0.1,
    "Pneumothorax": 0.04,
    "Pleural Effusion": 0.08,
    "Pleural Other": 0.06,
    "Fracture": 0.05,
}
UNCERTAIN_IF_ABSENT: Mapping[str, float] = {
    "Pneumonia": 0.02,
    "Atelectasis": 0.02,
    "Pleural Effusion": 0.015,
    "Edema": 0.01,
    "Lung Lesion": 0.01,
    "Pneumothorax": 0.005,
    "Consolidation": 0.005,
}
NEGATED: Mapping[str, float] = {
    "Pneumothorax": 0.62,
    "Pleural Effusion": 0.6,
    "Cardiomegaly": 0.5,
    "Enlarged Cardiomediastinum": 0.3,
    "Consolidation": 0.4,
    "Edema": 0.2,
    "Pneumonia": 0.12,
    "Lung Opacity": 0.12,
    "Fracture": 0.08,
    "Lung Lesion": 0.05,
    "Atelectasis": 0.03,
    "Pleural Other": 0.03,
}
