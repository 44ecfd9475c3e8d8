"""RadGraph figures from entities and relations that RadGraph found elsewhere; asked for by --radgraph-json.

The files are RadGraph's own output (Jain et al., NeurIPS 2021): report -> {"entities": {"1": {"tokens",
"label", "relations": [["modify", "2"], ...]}, ...}}. A report is named by its film or study, or numbered from
0 as the radgraph package does.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs
from runtime.files import read_json

Entities = Mapping[str, Mapping[str, Any]]  # number -> tokens, label, relations
Items = frozenset[Hashable]


def read_graphs(path: Path, names: Sequence[str]) -> list[Entities]:
    """The entities of each named report; none for a report that the file does not hold.

    Raises:
        ValueError: no such file, another form, or not one of the reports in it.
    """
    content = read_json(path, "it is RadGraph's output, report -> entities")
    by_stem = {PurePosixPath(name).stem: name for name in content}
    numbered = set(content) == {str(number) for number in range(len(names))}
    keys = [
        str(number) if numbered else name if name in content else by_stem.get(PurePosixPath(name).stem, "")
        for number, name in enumerate(names)
    ]
    if not any(key in content for key in keys):
        raise ValueError(f"--radgraph-json {path}: holds none of the {len(names)} reports that are scored")
    return [_check(content[key], path) if key in content else {} for key in keys]


def _check(report: Any, path: Path) -> Entities:
    entities: Any = report.get("entities") if isinstance(report, Mapping) else None
    if not isinstance(entities, Mapping) or not all(map(_is_entity, entities.values())):
        raise ValueError(
            f"--radgraph-json {path}: a report has no entities of RadGraph's form (tokens, label, relations)"
        )
    return entities


def _is_entity(entity: Any) -> bool:
    if not (isinstance(entity, Mapping) and {"tokens", "label", "relations"} <= entity.keys()):
        return False
    relations = entity["relations"]
    return isinstance(relations, list) and all(isinstance(r, list) and len(r) == 2 for r in relations)


def _node(entity: Mapping[str, Any]) -> tuple[str, str]:
    tokens = entity["tokens"]
    return (tokens if isinstance(tokens, str) else " ".join(tokens), str(entity["label"]))


def find_entities(entities: Entities) -> Items:
    """(tokens, label) of each entity."""
    return frozenset(map(_node, entities.values()))


def find_relations(entities: Entities) -> Items:
    """(entity, entity, kind) of each relation."""
    return frozenset(
        (_node(entity), _node(entities[target]), kind)
        for entity in entities.values()
        for kind, target in entity["relations"]
        if target in entities
    )


def find_partial(entities: Entities) -> Items:
    """Entities, each with whether it has a relation."""
    return frozenset((*_node(entity), bool(entity["relations"])) for entity in entities.values())


def find_complete(entities: Entities) -> Items:
    """Entities without a relation, and of the others each relation with the words of its target."""
    items: set[Hashable] = set()
    for entity in entities.values():
        tokens, label = _node(entity)
        for kind, target in entity["relations"]:
            if target in entities:
                items.add((tokens.lower(), label, kind, _node(entities[target])[0].lower()))
        if not entity["relations"]:
            items.add((tokens, label))
    return frozenset(items)


def set_f1(real: Items, made: Items) -> float:
    """F1 of two sets; 0 where one is empty."""
    shared = len(real & made)
    return 2.0 * shared / (len(real) + len(made)) if shared else 0.0


def score_combined(real: Entities, made: Entities) -> float:
    """RadGraph F1 as ReXrank counts it: the mean of the F1 of entities and that of relations."""
    return sum(set_f1(find(real), find(made)) for find in (find_entities, find_relations)) / 2.0


def radgraph_scores(reports: ReportInputs, score: Callable[[Entities, Entities], float]) -> np.ndarray:
    """(N,) scores of the section's reports."""

    def work() -> list[list[Entities]]:
        paths = reports.settings.radgraph_json
        if len(paths) != 2:
            raise ValueError("--radgraph-json: give two files, of the real reports and of the generated ones")
        return [read_graphs(Path(path), reports.names) for path in paths]

    pairs = zip(*reports.once("radgraphs", work), strict=True)
    return np.array([score(*pair) for pair in pairs])


def _compute(reports: ReportInputs, score: Callable[[Entities, Entities], float]) -> Figure:
    each = radgraph_scores(reports, score)
    return Figure(float(each.mean()), each=each)


def _score_by(find: Callable[[Entities], Items], real: Entities, made: Entities) -> float:
    return set_f1(find(real), find(made))


_KINDS: tuple[tuple[str, str, str, Callable[[Entities, Entities], float]], ...] = (
    (
        "radgraph_combined",
        "RadGraph F1 (ReXrank)",
        "mean of the F1 of entities (words and label) and of relations (both entities and kind)",
        score_combined,
    ),
    (
        "radgraph_partial",
        "RadGraph F1, partial",
        "F1 of entities with their label and whether they have a relation",
        partial(_score_by, find_partial),
    ),
    (
        "radgraph_complete",
        "RadGraph F1, complete",
        "F1 of entities, each with its relations and the words that these lead to",
        partial(_score_by, find_complete),
    ),
)
METRICS = tuple(
    Metric(
        key=key,
        title=title,
        section="reports",
        direction="higher",
        convention=f"{convention}; mean over reports, 0 where one has none; from files of RadGraph's output",
        source="Jain et al., NeurIPS 2021; Yu et al., Patterns 2023; Delbrouck et al., EMNLP Findings 2022",
        needs=("texts",),
        compute=partial(_compute, score=score),
        flag="radgraph_json",
    )
    for key, title, convention, score in _KINDS
)
