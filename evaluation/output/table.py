"""results.json as tables: the same rows for results.md and for report.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.filters.kept import describe_kept
from evaluation.metric import Metric, look_up, metrics_of
from evaluation.output.cells import Table, format_interval, format_value
from evaluation.output.formats import to_csv, to_latex
from evaluation.output.group_tables import group_tables
from evaluation.sections import SECTION_NAMES, open_section
from runtime.files import write_atomic
from runtime.markdown import markdown_table

HEADER = ("", "value", "95% interval", "floor", "real", "better")


@dataclass(frozen=True)
class Chapter:
    """A section of the results for people: a heading with its tables."""

    name: str
    title: str
    note: str
    tables: Sequence[Table]
    conventions: Sequence[tuple[str, str]]  # figures, joined by commas, and how they are counted


def build_chapters(results: Mapping[str, Any]) -> list[Chapter]:
    """Value beside interval, floor and ceiling; then what each section has of its own."""
    return [_build_chapter(name, results) for name in SECTION_NAMES if results.get(name)]


def _build_chapter(name: str, results: Mapping[str, Any]) -> Chapter:
    section, values = open_section(name), results[name]
    tables: list[Table] = []
    scored = [m for m in metrics_of(name) if m.row and look_up(values, m.key) is not None]
    if scored:
        note = " ".join([section.count(values), section.legend, *values.get("remarks", [])]).strip()
        tables.append(Table(HEADER, [_row(values, metric) for metric in scored], note))
    if "note" not in values:
        tables += [*section.tables(values), *group_tables(values, metrics_of(name))]
    known = {k: v for k, v in results.get("conventions", {}).items() if k.startswith(f"{name}.")}
    warnings = [f"Warning: {sentence}" for sentence in values.get("warnings", [])]
    note = "\n\n".join([*([values["note"]] if values.get("note") else []), *warnings])
    return Chapter(name, section.title, note, tables, _join_keys(known))


def _join_keys(conventions: Mapping[str, str]) -> list[tuple[str, str]]:
    """Figures that are counted alike stand together."""
    by_text: dict[str, list[str]] = {}
    for key, text in conventions.items():
        by_text.setdefault(text, []).append(key)
    return [(", ".join(keys), text) for text, keys in by_text.items()]


def _row(section: Mapping[str, Any], metric: Metric) -> list[str]:
    keys = (metric.key, metric.floor, metric.ceiling)
    value, low, high = (format_value(look_up(section, key), metric.scale) for key in keys)
    interval = format_interval(section, metric.key, metric.scale) or "–"
    return [metric.label, value, interval, low, high, metric.direction]


def render_markdown(results: Mapping[str, Any], with_conventions: bool = True) -> str:
    """The results as Markdown, each section followed by how its figures are counted."""
    filtered = describe_kept(results)
    parts = ["# Evaluation", "", *([filtered, ""] if filtered else [])]
    for chapter in build_chapters(results):
        parts += [f"## {chapter.title}", "", *([chapter.note, ""] if chapter.note else [])]
        for table in chapter.tables:
            if table.rows:
                parts += [markdown_table(table.header, table.rows), ""]
            parts += [*([table.note, ""] if table.note else [])]
        if chapter.tables and with_conventions:
            parts += [*(f"- {_quote(keys)}: {text}." for keys, text in chapter.conventions), ""]
    return "\n".join(parts)


def write_results_as(results: Mapping[str, Any], name: str, out: Path) -> None:
    """Every table of the results as OUT/results.tex ("latex") or OUT/tables/SECTION_NUMBER.csv ("csv")."""
    tables = {
        f"{chapter.name}_{number}": table
        for chapter in build_chapters(results)
        for number, table in enumerate((t for t in chapter.tables if t.rows), start=1)
    }
    if name == "latex":
        write_atomic(out / "results.tex", to_latex(list(tables.values())))
        return
    for key, table in tables.items():
        write_atomic(out / "tables" / f"{key}.csv", to_csv(table))


def _quote(keys: str) -> str:
    return ", ".join(f"`{key}`" for key in keys.split(", "))
