"""From folders to results.json: calls the sections, merges and writes."""

import importlib.metadata
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.context import Context
from evaluation.metric import metrics_of
from evaluation.output.page import write_page
from evaluation.output.table import render_markdown
from evaluation.sections import SECTION_NAMES, open_section
from evaluation.settings import ScoreSettings
from evaluation.statistics.items import intervals, save_items
from runtime.files import write_atomic

LIBRARIES = ("torch", "transformers", "torchmetrics", "scikit-learn", "pycocoevalcap", "numpy")
SCHEMA_VERSION = 3


def run_sections(settings: ScoreSettings, sections: Sequence[str]) -> dict[str, Any]:
    """Score the named sections, merge them into OUT/results.json, write results.md and report.html.

    Raises:
        ValueError: names the folder, file or flag that is wrong.
    """
    context = Context(settings)
    if context.synthetic is None and (settings.reports is None or set(sections) != {"reports"}):
        raise ValueError("--synthetic is missing: a pairs folder of synthetic films and reports")
    if {"films", "pairs", "privacy"} & set(sections):
        _ = context.extractors  # say at once that a network is missing
    others = [name for name in SECTION_NAMES if name not in sections]
    saved = _read_results(settings.out / "results.json", others, context)
    for section in sections:
        _score_section(context, section, saved, len(sections) > 1)
    for section in sections:
        finish = open_section(section).finish
        if finish:
            finish(context, saved)
    return _write_results(context, saved)


def _score_section(context: Context, name: str, saved: dict[str, Any], optional: bool) -> None:
    """One section into `saved`, its items onto the disk."""
    settings, section = context.settings, open_section(name)
    used = dict(context.inputs, seed=settings.seed)
    asked = [metric for metric in metrics_of(name) if not metric.flag or getattr(settings, metric.flag)]
    scored = section.score(context, used, optional, asked)
    path = settings.out / "items" / f"{name}.npz"
    saved["inputs"][name] = used
    if isinstance(scored, str):
        print(f"{name}: {scored}", file=sys.stderr)
        saved[name] = {**dict.fromkeys(section.promised), "note": scored}
        path.unlink(missing_ok=True)
        return
    saved[name], items = scored
    save_items(path, items)
    saved[name]["intervals"] = intervals(name, items, settings.num_bootstrap, settings.seed)
    saved[name]["num_bootstrap"] = settings.num_bootstrap


def _read_results(path: Path, sections: Sequence[str], context: Context) -> dict[str, Any]:
    """Those of `sections` at `path` that were scored on the same data; others are dropped and named."""
    kept: dict[str, Any] = {"inputs": {}}
    if not path.is_file():
        return kept
    try:
        saved = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): delete it, or name another --out") from error
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


def _write_results(context: Context, scored: dict[str, Any]) -> dict[str, Any]:
    out = context.settings.out
    results: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    results |= {name: scored[name] for name in SECTION_NAMES if name in scored}
    results["conventions"] = {
        key: text for name in SECTION_NAMES if name in scored for key, text in conventions_of(name).items()
    }
    results["inputs"] = scored["inputs"]
    results["versions"] = {name: importlib.metadata.version(name) for name in LIBRARIES}
    results = _plain(results)
    write_atomic(out / "results.md", render_markdown(results))
    if "auroc_findings" in results.get("films", {}):
        from evaluation.output.plots import draw_auroc

        draw_auroc(results["films"], out / "auroc.png")
    write_page(results, context.real, context.synthetic, context.settings.split, out)
    write_atomic(out / "results.json", json.dumps(results, indent=2, allow_nan=False) + "\n")
    print(render_markdown(results, with_conventions=False).rstrip())
    print(f"\nwritten to {out / 'results.json'} and {out / 'report.html'}")
    return results


def conventions_of(section: str) -> dict[str, str]:
    """Figure -> how it is counted: the section's metrics, and what else stands in it."""
    metrics = {metric.name: metric.convention for metric in metrics_of(section)}
    return metrics | open_section(section).conventions


def _plain(value: Any) -> Any:
    """JSON values; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
