"""Every metric in words: docs/metrics.md and docs/results_schema.md are made here from the registry."""

import math
from pathlib import Path

from evaluation.metric import Metric, metrics_of
from evaluation.sections import SECTION_NAMES, open_section
from runtime.files import write_atomic
from runtime.markdown import markdown_table

DIRECTIONS = {
    "higher": "higher is better",
    "lower": "lower is better",
    "as floor": "as near to its floor as can be",
    "as real": "as near to that of real films or reports as can be",
    "none": "no side is better",
}
INTERVALS = {
    "weights": "patients resampled",
    "influence": "by each item's influence, patients resampled",
    "none": "none",
}
METRICS_HEAD = """# Metrics

Made by `python -m evaluation metrics --out docs/metrics.md`; tables, page, `compare` and `summary` come from
the same objects. To add one: one file in its room with a `Metric` in METRICS, its name in the room's
METRIC_FILES, and a test. Keys are those of results.json ([its schema](results_schema.md)).
"""
SCHEMA_HEAD = """# results.json

Made by `python -m evaluation metrics --schema docs/results_schema.md`.

Written by `python -m evaluation images|reports|pairs|privacy|all` into `--out`, beside `results.md` (tables),
`report.html` (one self-contained page), `auroc.png`, `plots/` (SVG; `--format pdf`: PDF too), `items/` and
`cache/`. `schema_version` is {version}; a key is added without raising it, and renamed or given another
meaning only with it. A figure that cannot be measured is `null`, and a reason stands beside it; NaN and
infinity never occur.

| key | what it holds |
|---|---|
| `schema_version` | {version} |
| `films`, `reports`, `pairs`, `privacy` | the sections scored so far; commands merge into one file |
| `conventions` | figure -> how it is counted, for every section in the file |
| `inputs` | by section: folders, hashes, split, seed, extractors, classifier, labeler, models and hashes |
| `versions` | library -> version |
| `digest` | SHA-256 of the rest, its keys sorted: what was damaged or edited is refused |

Every section holds its metrics ([what they mean](metrics.md)), and besides `num_bootstrap`, `intervals` and,
where there is cause, `warnings` and `remarks` (sentences). A section that was asked for by `all` and could
not be scored holds `note` (why) and its headline keys as `null`. A dot leads into a key:
`clinical.positive.micro_f1_14`.
Ends of names: `_real` the same figure on the real films or pairs (ceiling); `_floor` real against other real
films at the same n; `_shuffled` items mixed up (floor); `baseline.X` the most frequent report for every film,
for words `typical.X` the one that shares most of them with all.
"""
SCHEMA_GROUPS = """## Groups

With `--by`, `films`, `reports` and `pairs` hold `by`: column -> its groups. `privacy` does not.

| key | what it holds |
|---|---|
| `by.COLUMN.least` | rows that a group needs on each side of the section |
| `by.COLUMN.num` | group -> `synthetic`, `real`: its rows; `reports` have real ones only |
| `by.COLUMN.left_out` | group -> how many rows it has where there are too few |
| `by.COLUMN.num_unknown` | `synthetic`, `real`: rows of which the column says nothing |
| `by.COLUMN.figures` | metric (or its `_real`) -> `values` and `intervals` by group, and `gap` |
| `by.COLUMN.figures.X.gap` | `high`, `low`: groups; `value`, `interval`, `p`, `p_holm`; null for one group |

Metrics whose items add up are taken over the group's items, with neighborhoods, pools and document
frequencies of all of them; mean AUROC, average precision and ECE are over the findings that every group has,
present and absent. FID, KID and Vendi score are measured for each group anew, from {num} films of it on each
side on, with as many films of each; floors and ceilings of theirs have no interval. `p` is that of the
largest of all gaps between groups (in units of their standard deviation, against resamples moved to no gap,
at least {each} for each gap of the section), `p_holm` adjusted for all figures and columns of the section;
a `_real` figure has no `p_holm`.
"""
SCHEMA_TAIL = """## Intervals

Every section holds `intervals`: figure -> [low, high], 95%, patients resampled `num_bootstrap` times, of the
keys whose metric has one, and of their `_real` where that is resampled too. Where a plain bootstrap is biased
the interval is another one, and `conventions` says which: a resample repeats films, which raises FID and ECE,
lowers the Vendi score and shrinks the manifolds of precision, recall, density and coverage.
`items/SECTION.npz` keeps what each item adds to the figures; `compare A B` needs nothing else.
"""


def write_glossary(out: Path | None, schema: Path | None) -> str:
    """docs/metrics.md into `out`, docs/results_schema.md into `schema`, if named; returns the first."""
    text = describe_metrics()
    for path, content in ((out, text), (schema, describe_schema())):
        if path:
            write_atomic(path, content)
    return text


def describe_metrics() -> str:
    """Every metric with direction, range, convention, source and needs, as Markdown."""
    parts = [METRICS_HEAD]
    for name in SECTION_NAMES:
        section = open_section(name)
        parts += [f"## {section.title} (`{name}`)", "", section.legend, ""]
        for metric in metrics_of(name):
            parts += [*_describe(metric), ""]
    return "\n".join(parts).rstrip() + "\n"


def _describe(metric: Metric) -> list[str]:
    low, high = (f"{x:g}" if math.isfinite(x) else "no end" for x in metric.range)
    beside = [
        f"{word} `{key}`" for word, key in (("floor", metric.floor), ("ceiling", metric.ceiling)) if key
    ]
    lines = [
        f"### {metric.label}: `{metric.key}`",
        "",
        f"{metric.convention[0].upper()}{metric.convention[1:]}.",
        "",
        f"- {DIRECTIONS[metric.direction]}; from {low} to {high}"
        + (f"; {', '.join(beside)}" if beside else ""),
        f"- interval: {INTERVALS[metric.interval]}",
        f"- source: {metric.source}",
        f"- needs: {', '.join(metric.needs)}" + (f"; asked for by {_flag(metric)}" if metric.flag else ""),
    ]
    return lines


def _flag(metric: Metric) -> str:
    return f"`--{metric.flag.replace('_', '-')}`"


def describe_schema() -> str:
    """What results.json holds, as Markdown."""
    from evaluation.images.per_finding import MIN_FOR_KID
    from evaluation.run import SCHEMA_VERSION
    from evaluation.statistics.groups import RESAMPLES_A_GAP

    parts = [SCHEMA_HEAD.format(version=SCHEMA_VERSION)]
    for name in SECTION_NAMES:
        rows = []
        for metric in metrics_of(name):
            if "." in metric.key:  # its outer key stands below
                continue
            beside = [key for key in (metric.floor, metric.ceiling) if key and "." not in key]
            keys = ", ".join(f"`{key}`" for key in (metric.key, *beside))
            rows.append(
                [keys, metric.title + (f", with `--{metric.flag.replace('_', '-')}`" if metric.flag else "")]
            )
        rows += [[f"`{key}`", text] for key, text in open_section(name).keys.items()]
        parts += [f"## {name}", "", markdown_table(("key", "what it holds"), rows), ""]
    return "\n".join([*parts, SCHEMA_GROUPS.format(num=MIN_FOR_KID, each=RESAMPLES_A_GAP), SCHEMA_TAIL])
