"""From folders to results.json: calls the sections, merges and writes."""

import importlib.metadata
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.context import Context
from evaluation.inputs.results import read_results, save_results
from evaluation.metric import Metric, metrics_of
from evaluation.output.page import write_page
from evaluation.output.table import render_markdown, write_results_as
from evaluation.sections import SECTION_NAMES, Section, open_section
from evaluation.settings import ScoreSettings
from evaluation.statistics.groups import compare_groups
from evaluation.statistics.items import intervals, save_items
from evaluation.too_good import warn_of_floors
from runtime.files import remove_leftovers, write_atomic
from runtime.processes import is_main

LIBRARIES = ("torch", "transformers", "torchmetrics", "scikit-learn", "pycocoevalcap", "numpy")
SCHEMA_VERSION = 4


def run_sections(settings: ScoreSettings, sections: Sequence[str]) -> dict[str, Any]:
    """Score the named sections, merge them into OUT/results.json, write results.md and report.html.

    Raises:
        ValueError: names the folder, file or flag that is wrong.
    """
    context = Context(settings)
    if context.synthetic is None and (settings.reports is None or set(sections) != {"reports"}):
        raise ValueError("--synthetic is missing: a pairs folder of synthetic films and reports")
    if {"films", "pairs"} & set(sections):
        _ = context.extractors  # say at once that a network is missing
    if "privacy" in sections:
        _ = context.reidentifier
    if not is_main():
        _score_share(context, sections)
        return {}
    others = [name for name in SECTION_NAMES if name not in sections]
    kept = _read_results(settings.out / "results.json", others, context)
    asked = {
        name: [m for m in metrics_of(name) if not m.flag or getattr(settings, m.flag)] for name in sections
    }
    scored, items = score_sections(context, asked, optional=len(sections) > 1)
    remove_leftovers(settings.out / "items")
    for name in sections:
        path = settings.out / "items" / f"{name}.npz"
        if name in items:
            save_items(path, items[name])
        else:
            path.unlink(missing_ok=True)
    scored["inputs"] = kept.pop("inputs") | scored["inputs"]
    results = collect_results(kept | scored)
    _write_results(context, results)
    return results


def _score_share(context: Context, sections: Sequence[str]) -> None:
    """The part of a further process of a launch: its share of the films, through the cache.

    It goes the way of the first process, from which it learns which films are asked for next, but for the
    figures, of which one makes every network of features read.
    """
    for name in sections:
        if name != "reports":  # which has no films
            of_features = [metric for metric in metrics_of(name) if metric.needs == ("features",)]
            open_section(name).score(context, {}, len(sections) > 1, of_features[:1])


def score_sections(
    context: Context, asked: Mapping[str, Sequence[Metric]], optional: bool
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Sections by name, with `inputs`; and the items of those that could be scored. Nothing is written.

    Args:
        asked: section -> the metrics to compute, in the order in which they are scored.
        optional: whether a section that lacks its inputs is left out, with a note, and is no error.
    """
    settings = context.settings
    scored: dict[str, Any] = {"inputs": {}}
    kept: dict[str, dict[str, np.ndarray]] = {}
    for name, metrics in asked.items():
        section, used = open_section(name), dict(context.inputs, seed=settings.seed)
        found = section.score(context, used, optional, metrics)
        scored["inputs"][name] = used
        if isinstance(found, str):
            print(f"{name}: {found}", file=sys.stderr)
            scored[name] = {**dict.fromkeys(section.promised), "note": found}
            continue
        scored[name], kept[name] = found
        scored[name]["intervals"] = intervals(metrics, kept[name], settings.num_bootstrap, settings.seed)
        scored[name]["num_bootstrap"] = settings.num_bootstrap
        if context.groupings and name != "privacy":
            scored[name]["by"] = _score_groups(context, section, metrics, kept[name])
        warnings = [*scored[name].get("warnings", []), *warn_of_floors(name, scored[name])]
        if warnings:
            scored[name]["warnings"] = warnings
            print("\n".join(f"{name}: warning: {sentence}" for sentence in warnings), file=sys.stderr)
    for name in asked:
        finish = open_section(name).finish
        if finish:
            finish(context, scored)
    return scored, kept


def _score_groups(
    context: Context, section: Section, metrics: Sequence[Metric], items: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    settings = context.settings
    found = compare_groups(
        metrics,
        items,
        context.groupings,
        settings.min_group,
        settings.num_bootstrap,
        settings.seed,
        section.share,
    )
    for column, part in found.items():
        if not part["num"]:
            rows = f"{settings.min_group} rows on each side"
            print(f"{section.name}: warning: no group of {column} has {rows}", file=sys.stderr)
    return found


def _read_results(path: Path, sections: Sequence[str], context: Context) -> dict[str, Any]:
    """Those of `sections` at `path` that were scored on the same data; others are dropped and named."""
    kept: dict[str, Any] = {"inputs": {}}
    if not path.is_file():
        return kept
    saved = read_results(path, "delete it, or name another --out")
    used = "extractors" in context.__dict__  # a command that uses no network says nothing about it
    for section in (name for name in sections if name in saved):
        before = saved.get("inputs", {}).get(section, {})
        now = {**context.inputs, "features_hash": context.extractors[0].identity if used else None}
        same = saved.get("schema_version") == SCHEMA_VERSION and all(
            None in (before.get(key), now[key]) or before[key] == now[key]
            for key in ("real_hash", "synthetic_hash", "split", "features_hash")
        )
        if same:
            kept[section], kept["inputs"][section] = saved[section], before
        else:
            print(
                f"{path}: section {section} was scored on other data, or by an older version, and is dropped",
                file=sys.stderr,
            )
            (path.parent / "items" / f"{section}.npz").unlink(missing_ok=True)
    return kept


def collect_results(scored: Mapping[str, Any]) -> dict[str, Any]:
    """What results.json holds, from the sections and their inputs."""
    results: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    results |= {name: scored[name] for name in SECTION_NAMES if name in scored}
    results["conventions"] = {
        key: text for name in SECTION_NAMES if name in scored for key, text in conventions_of(name).items()
    }
    results["inputs"] = scored["inputs"]
    results["versions"] = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return _plain(results)


def _write_results(context: Context, results: dict[str, Any]) -> None:
    out = context.settings.out
    write_atomic(out / "results.md", render_markdown(results))
    if "auroc_findings" in results.get("films", {}):
        from evaluation.output.plots import plot_auroc
        from runtime.figures import save_figure

        save_figure(plot_auroc(results["films"]), out / "auroc.png")
    formats = context.settings.format
    write_page(results, context.real, context.synthetic, context.settings.split, out, "pdf" in formats)
    save_results(out / "results.json", results)
    for name in set(formats) - {"pdf"}:
        write_results_as(results, name, out)
    print(render_markdown(results, with_conventions=False).rstrip())
    print(f"\nwritten to {out / 'results.json'} and {out / 'report.html'}")


def conventions_of(section: str) -> dict[str, str]:
    """Figure -> how it is counted: the section's metrics, and what else stands in it."""
    metrics = {metric.name: metric.convention for metric in metrics_of(section)}
    return {**metrics, **open_section(section).conventions}


def _plain(value: Any) -> Any:
    """JSON values; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
