"""What a metric is, and which there are.

A metric is one object, `Metric`, in one file of its room (evaluation/images/fid.py ...): how it is computed,
what the number means, how its interval is drawn. Tables, page, `compare`, `summary`, the conventions in
results.json and docs/metrics.md are made from these objects. A room's `__init__` lists its files; they are
imported when a metric of the section is asked for, and import what is heavy when they compute.
"""

import hashlib
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator

Items = Mapping[str, np.ndarray]  # what each film, report or pair adds to the figures of a section
Direction = Literal["higher", "lower", "as floor", "as real", "none"]
Result = TypeVar("Result")

# Section of results.json -> the room that lists the files of its metrics.
ROOMS = {"films": "images", "reports": "reports", "pairs": "pairs", "privacy": "privacy"}
# What a metric may need; a section has a subset of these.
NEEDS = (
    "features",
    "probabilities",
    "labels",
    "films",
    "prompts",
    "texts",
    "embeddings",
    "distances",
    "controls",
)


@dataclass(frozen=True)
class Figure:
    """What a metric found.

    Attributes:
        value: None where it cannot be measured.
        floor, ceiling: the same figure of what the metric is held against; kept where the metric names them.
        each: (N,) score of each item of the section, NaN where it does not count; the value is their mean.
        influence: makes (N,) what another draw of each item would add to the value, by the size of its
            side; called only where items are kept.
        more: further keys of the section, dotted where they stand in another.
        items: arrays that the metric's `estimate` reads.
    """

    value: float | int | None
    floor: float | None = None
    ceiling: float | None = None
    each: np.ndarray | None = None
    influence: Callable[[], np.ndarray] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    items: Items = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One figure of a section of results.json.

    Attributes:
        key: where it stands in the section; dotted inside another key. A word, so that flags can name it.
        title: what a table calls it.
        direction: which side is better. "as floor" and "as real": the nearer to the figure of real films.
        convention: how it is counted, as one sentence without a full stop.
        source: paper and equation, or the package that computes it.
        needs: names of NEEDS; the metric is left out where the section lacks one.
        compute: the section's inputs (`FilmInputs`, `ReportInputs` ...) -> `Figure`.
        range: smallest and largest value.
        scale: tables show the value times this.
        interval: "weights": patients are resampled; "influence": by `Figure.influence`, for a figure that a
            resample's repeated items would bias; "none": it has no interval.
        estimate: items -> estimators by key, the metric's own and perhaps its ceiling's; by default the mean
            of `Figure.each`. KeyError where the items hold nothing for it.
        floor, ceiling: keys that these have in the section; "" for none.
        headline: place among the columns of `summary`, from 1 on; 0: not there.
        row: whether it has a row in the section's first table and is compared; else another table shows it.
        flag: setting that asks for it; "": it is always computed.
    """

    key: str
    title: str
    section: str
    direction: Direction
    convention: str
    source: str
    needs: tuple[str, ...]
    compute: Callable[[Any], Figure]
    range: tuple[float, float] = (0.0, 1.0)
    scale: float = 1.0
    interval: Literal["weights", "influence", "none"] = "weights"
    estimate: Callable[[Items], Mapping[str, Estimator]] | None = None
    floor: str = ""
    ceiling: str = ""
    headline: int = 0
    row: bool = True
    flag: str = ""

    def __post_init__(self) -> None:
        unknown = set(self.needs) - set(NEEDS)
        if self.section not in ROOMS or unknown:
            raise ValueError(f"metric {self.key}: unknown {', '.join(unknown) or f'section {self.section}'}")

    @property
    def name(self) -> str:
        """Section and key, such as films.fid."""
        return f"{self.section}.{self.key}"

    @property
    def label(self) -> str:
        """The title with the scale that tables show it at."""
        return self.title if self.scale == 1.0 else f"{self.title} x {self.scale:g}"

    @property
    def target(self) -> str:
        """Key of the figure that this one should come near; "" where a side is better or none is."""
        return {"as floor": self.floor, "as real": self.ceiling}.get(self.direction, "")

    @property
    def real(self) -> str:
        """Key of what real films or pairs have: of a distance that of real films to others; "" for none."""
        return self.floor if self.direction in ("lower", "as floor") and self.floor else self.ceiling

    def estimators(self, items: Items) -> dict[str, Estimator]:
        """The metric (and perhaps its ceiling) as functions of resampling weights; {} without its items."""
        if self.interval == "none":
            return {}
        if self.interval == "influence":
            influence = items.get(f"influence_{self.key}")
            known = influence is not None
            value = float(items[f"value_{self.key}"]) if known else 0.0
            return {self.key: weighted_estimators.linear(value, influence)} if known else {}
        if self.estimate is None:
            scores = items.get(f"score_{self.key}")
            return {} if scores is None else {self.key: weighted_estimators.mean_of(scores)}
        try:
            return dict(self.estimate(items))
        except KeyError:
            return {}


@dataclass
class MetricInputs:
    """What the metrics of a section read. What several of them need is worked out once."""

    seed: int = 0
    known: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, name: str, work: Callable[[], Result]) -> Result:
        """The result of `work()`, kept under a name."""
        if name not in self.known:
            self.known[name] = work()
        return self.known[name]

    def rng(self, name: str) -> np.random.Generator:
        """A metric's own generator: its draws do not depend on which other metrics are asked for."""
        digest = hashlib.sha256(name.encode()).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest[:4], "big")])


def needed(value: Result | None) -> Result:
    """What a metric `needs`: it is there wherever the metric is computed."""
    assert value is not None
    return value


_registered: dict[str, Metric] = {}
_opened: set[str] = set()


def register(metric: Metric) -> Metric:
    """Add a metric from anywhere: it is computed, shown and compared with those of its section.

    Raises:
        ValueError: another metric has its name.
    """
    metrics_of(metric.section)  # the room's own come first, and have their names
    return _add(metric)


def _add(metric: Metric) -> Metric:
    if metric.name in _registered and _registered[metric.name] is not metric:
        raise ValueError(f"two metrics are called {metric.name}")
    _registered[metric.name] = metric
    return metric


def unregister(metric: Metric) -> None:
    """Take a metric out again."""
    _registered.pop(metric.name, None)


def metrics_of(section: str) -> list[Metric]:
    """The metrics of a section, in the order of its tables: the room's own, then what was registered."""
    if section not in _opened:
        room = importlib.import_module(f"evaluation.{ROOMS[section]}")
        files = [importlib.import_module(f"{room.__name__}.{name}") for name in room.METRIC_FILES]
        for metric in (metric for file in files for metric in file.METRICS):
            _add(metric)
        _opened.add(section)
    return [metric for metric in _registered.values() if metric.section == section]


def all_metrics() -> list[Metric]:
    """Every metric, by section."""
    return [metric for section in ROOMS for metric in metrics_of(section)]


def find_metrics(names: Iterable[str]) -> list[Metric]:
    """Metrics by name: films.fid, or fid where one section alone has it; a section's name means all of it.

    Raises:
        ValueError: no metric of that name, or several.
    """
    every = all_metrics()
    chosen: dict[str, Metric] = {}
    for name in names:
        found = [m for m in every if name in (m.name, m.section)] or [m for m in every if m.key == name]
        if not found or (len(found) > 1 and name not in ROOMS):
            known = ", ".join(m.name for m in (found or every))
            raise ValueError(
                f"metric {name!r}: {'write one of' if found else 'there is none; known are'} {known}"
            )
        chosen |= {m.name: m for m in found}
    return list(chosen.values())


def score_metrics(
    metrics: Sequence[Metric], inputs: MetricInputs, available: Iterable[str], with_items: bool = True
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Keys of the section, and the items that intervals and comparisons are made from.

    Args:
        available: which of NEEDS the section has; a metric that needs another is left out.
        with_items: False where intervals are not asked for.
    """
    result: dict[str, Any] = {}
    items: dict[str, np.ndarray] = {}
    for metric in metrics:
        if not set(metric.needs) <= set(available):
            continue
        figure = metric.compute(inputs)
        put(result, metric.key, figure.value)
        for key, value in ((metric.floor, figure.floor), (metric.ceiling, figure.ceiling)):
            if key:
                put(result, key, value)
        for key, value in figure.more.items():
            put(result, key, value)
        if with_items:
            items |= _keep_items(metric, figure, look_up(result, metric.target))
    return result, items


def _keep_items(metric: Metric, figure: Figure, target: float | None) -> dict[str, np.ndarray]:
    items = dict(figure.items)
    if figure.each is not None:
        items[f"score_{metric.key}"] = figure.each
    if figure.influence is not None and figure.value is not None:
        items[f"value_{metric.key}"] = np.array(float(figure.value))
        items[f"influence_{metric.key}"] = figure.influence()
    if target is not None:  # a comparison asks how near each system comes to it
        items[f"target_{metric.key}"] = np.array(float(target))
    return items


def look_up(section: Mapping[str, Any], key: str) -> Any:
    """What stands at a dotted key; None where nothing does, and for ""."""
    value: Any = section
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def put(section: dict[str, Any], key: str, value: Any) -> None:
    """Write at a dotted key."""
    *path, last = key.split(".")
    for part in path:
        section = section.setdefault(part, {})
    section[last] = value
