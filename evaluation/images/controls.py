"""Do films show what prompts ask for beyond findings: sides, grades, sex, view, age? By --controls."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from data_module.controls import UNSAID
from evaluation.images.inputs import FilmInputs, FilmSet
from evaluation.metric import Figure, Items, Metric, needed
from evaluation.statistics.bootstrap import Estimator, shuffle
from evaluation.statistics.controls import CONTROLS_SHOWN, count_shown, score_shown
from evaluation.statistics.items import REAL, SYNTHETIC
from evaluation.statistics.weighted_estimators import mean_of, ratio


def _compute(films: FilmInputs, kind: str) -> Figure:
    made, real = (_readable(needed(side)) for side in (films.synthetic, films.real))

    def score() -> dict[str, dict[str, float | None]]:
        asked, seen = made
        other = shuffle(len(asked), films.rng("controls"))
        return {
            "made": score_shown(asked, seen),
            "real": score_shown(*real),
            "shuffled": score_shown(asked, seen[other]),
        }

    found = films.once("controls", score)
    counts = [count_shown(*sides)[kind] for sides in (made, real)]
    items = {
        f"controls_{kind}_{name}": np.concatenate([side[place] for side in counts])
        for place, name in enumerate(("shown", "asked"))
    }
    more = {f"controls.num_{kind}": int(counts[0][1].sum())}
    return Figure(
        found["made"][kind],
        floor=found["shuffled"][kind],
        ceiling=found["real"][kind],
        more=more,
        items=items,
    )


def _readable(side: FilmSet) -> tuple[np.ndarray, np.ndarray]:
    """(asked, shown), each (N, C). A film that cannot be read shows nothing: its prompt is not counted."""
    asked, seen = needed(side.controls)
    unread = np.asarray(np.isnan(seen).all(axis=1))
    return np.where(unread[:, None], UNSAID, asked), np.where(unread[:, None], 0.0, seen)


def _estimate(items: Items, kind: str) -> Mapping[str, Estimator]:
    shown, asked = (items[f"controls_{kind}_{name}"] for name in ("shown", "asked"))
    return {
        key: ratio(mean_of(shown, items["stratum"] == stratum), mean_of(asked, items["stratum"] == stratum))
        for key, stratum in ((f"controls.{kind}", SYNTHETIC), (f"controls_real.{kind}", REAL))
    }


_HOW = {
    "side": "of the findings whose side the prompt gives, left, right or both: share of films on which the "
    "network of --controls sees that side",
    "severity": "of the findings whose grade the prompt gives, of three: share of films on which the network "
    "of --controls holds that grade likeliest",
    "sex": "of the prompts that say man or woman: share of films that the network of --controls takes for it",
    "view": "of the prompts that say AP or PA: share of films that the network of --controls takes for it",
    "age": "of the prompts that give an age: mean absolute difference to the age that the network of "
    "--controls reads off the film",
}
METRICS = tuple(
    Metric(
        key=f"controls.{kind}",
        title=f"prompt obeyed, {title}",
        section="films",
        direction="lower" if kind == "age" else "higher",
        range=(0.0, 100.0) if kind == "age" else (0.0, 1.0),
        convention=f"{_HOW[kind]}; a finding that the film does not show counts all the same; floor: films "
        "shuffled; ceiling: the real films of the split, by what their reports and rows tell",
        source="own definition (evaluation/statistics/controls.py)",
        needs=("controls",),
        compute=partial(_compute, kind=kind),
        estimate=partial(_estimate, kind=kind),
        floor=f"controls_shuffled.{kind}",
        ceiling=f"controls_real.{kind}",
        flag="controls",
    )
    for kind, title in CONTROLS_SHOWN.items()
)
