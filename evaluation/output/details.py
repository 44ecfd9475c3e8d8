"""The tables that each section of the results has of its own, besides its headline figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_module.findings import FINDINGS, FIVE_FINDINGS
from evaluation.images.guidance import HEADER, make_rows
from evaluation.privacy.distances import MEASURES
from evaluation.statistics.findings import UNCERTAIN_POLICIES

GUIDANCE_NOTE = "FID falls with n: compare scales of the same n."
NUM_NAMED = 5  # unreadable films named; results.json names all


@dataclass(frozen=True)
class Table:
    """A table of strings, with a sentence below it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def format_value(value: Any, scale: float = 1.0) -> str:
    """Integers as they are, others with three decimals (one from 100), a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value * scale:.1f}" if abs(value * scale) >= 100.0 else f"{value * scale:.3f}"


def format_interval(section: Mapping[str, Any], key: str, scale: float = 1.0) -> str:
    """ "low to high" of a figure, empty where it has no interval."""
    interval = (section.get("intervals") or {}).get(key)
    return " to ".join(format_value(v, scale) for v in interval) if interval else ""


def count_items(name: str, section: Mapping[str, Any]) -> str:
    """How much was scored, and what was left out."""
    if name == "films":
        sentences = [
            f"{section['num_synthetic']} synthetic and {section['num_real']} real films; distances over "
            f"{section['num_fidelity']} on each side, {section['num_features']} features "
            f"({section['floor']})."
        ]
        for key in ("synthetic", "real"):
            sentences += _name_unreadable(key, section[f"unreadable_{key}"])
            if section[f"num_unlabelled_{key}"]:
                count = section[f"num_unlabelled_{key}"]
                sentences.append(f"{count} {key} films have no text or finding: not in AUROC, AP and ECE.")
        return " ".join(sentences)
    if name == "reports":
        whole = section.get("num_rows_of_split", section["num_scored"])
        counts = {
            "empty": section.get("num_empty_reports"),
            "of films outside the split": section.get("num_outside_split"),
            "of unknown films": section.get("num_unknown"),
        }
        others = "".join(f"; {count} {what}" for what, count in counts.items() if count)
        return f"{section['num_scored']} reports scored, of {whole} rows of the split{others}."
    empty = f", {section['num_empty_reports']} without a report" if section["num_empty_reports"] else ""
    return f"{section['num_pairs']} pairs, {section['num_readable']} with a readable film{empty}."


def _name_unreadable(key: str, reasons: Mapping[str, str]) -> list[str]:
    """A sentence that counts and names unreadable films; none where all can be read."""
    if not reasons:
        return []
    # A reason begins with the film's whole path.
    shown = [f"{name} ({why.rpartition(': ')[2]})" for name, why in list(reasons.items())[:NUM_NAMED]]
    more = f" and {len(reasons) - NUM_NAMED} more" if len(reasons) > NUM_NAMED else ""
    return [f"{len(reasons)} {key} films cannot be read and are left out: {', '.join(shown)}{more}."]


def _join_skipped(skipped: Mapping[str, str]) -> str:
    """Findings by the reason why they are left out."""
    by_reason: dict[str, list[str]] = {}
    for name, why in skipped.items():
        by_reason.setdefault(why, []).append(name)
    return "; ".join(
        f"{'all' if len(names) == len(FINDINGS) else ', '.join(names)} ({why})"
        for why, names in by_reason.items()
    )


def _film_tables(section: Mapping[str, Any]) -> list[Table]:
    curve = section.get("guidance")
    tables = [*_finding_tables(section), *_feature_tables(section)]
    return [*tables, Table(HEADER, make_rows(curve), GUIDANCE_NOTE)] if curve else tables


def _finding_tables(section: Mapping[str, Any]) -> list[Table]:
    made, real = section["auroc_per_finding"], section["auroc_per_finding_real"]
    keys = ("auroc_per_finding", "average_precision_per_finding", "ece_per_finding", "auroc_num_positive")
    rows = [
        [name, *(format_value(section[f"{key}{end}"].get(name)) for key in keys for end in ("", "_real"))]
        for name in FINDINGS
        if name in made or name in real
    ]
    header = [f"{what}{end}" for what in ("AUROC", "AP", "ECE", "positives") for end in ("", ", real")]
    skipped = _join_skipped(section["auroc_skipped"])
    policy = section["policy"]
    note = f"Uncertain: {policy['uncertain']}; not mentioned: {policy['blank']}."
    return [Table(("finding", *header), rows, f"{note} Not in the mean: {skipped}." if skipped else note)]


def _feature_tables(section: Mapping[str, Any]) -> list[Table]:
    tables = []
    skipped = _join_skipped(section["per_finding_skipped"])
    if section["per_finding"]:
        scales = {"num_films": 1.0, "fid": 1.0, "fid_floor": 1.0, "kid": 1000.0, "kid_floor": 1000.0}
        rows = [
            [name, *(format_value(figures[key], scale) for key, scale in scales.items())]
            for name, figures in section["per_finding"].items()
        ]
        header = ("films with", "n", "FID", "floor", "KID x 1000", "floor")
        tables.append(Table(header, rows, f"Too few films: {skipped}." if skipped else ""))
    keys = ("fid", "fid_floor", "precision", "recall", "density", "coverage", "vendi", "vendi_real")
    rows = [
        [source, *(format_value(figures.get(key)) for key in keys), figures["preprocessing"]]
        for source, figures in section["features"].items()
    ]
    header = ("features of", "FID", "floor", *keys[2:6], "Vendi", "real", "preprocessing")
    return [*tables, Table(header, rows)]


def _report_tables(section: Mapping[str, Any]) -> list[Table]:
    rows = []
    for policy, values in section["clinical"].items():
        for average in ("micro", "macro", "example"):
            row = [f"{policy}, {average}"]
            for count in (len(FINDINGS), len(FIVE_FINDINGS)):
                figures = [values[f"{average}_{name}_{count}"] for name in ("precision", "recall", "f1")]
                key = f"{average}_f1_{count}"
                interval = format_interval(
                    section, key if policy == "negative" else f"clinical.{policy}.{key}"
                )
                row += [*map(format_value, figures), interval or "–"]
            rows.append(row)
    header = [f"{figure}-{n}" for n in (14, 5) for figure in ("precision", "recall", "F1", "F1, 95%")]
    note = "; ".join(f"{name}: {text}" for name, text in UNCERTAIN_POLICIES.items())
    return [Table(("uncertain is", *header), rows, f"{note[0].upper()}{note[1:]}.")]


def _pair_tables(section: Mapping[str, Any]) -> list[Table]:
    rows = []
    for direction in ("film_to_report", "report_to_film"):
        for end in ("", "_real"):
            found = (section.get(f"retrieval{end}") or {}).get(direction)
            if found:
                row = [direction.replace("_", " ") + (", real pairs" if end else "")]
                for k in (1, 5):
                    interval = format_interval(section, f"retrieval{end}.{direction}.r@{k}")
                    row += [format_value(found[f"r@{k}"]), interval or "–", format_value(k / found["pool"])]
                rows.append(row)
    if not rows:
        return []
    pool = section["retrieval"]["film_to_report"]["pool"]
    header = ("retrieval", "R@1", "95% interval", "chance", "R@5", "95% interval", "chance")
    return [Table(header, rows, f"Pools of {pool} items.")]


def _privacy_tables(section: Mapping[str, Any]) -> list[Table]:
    columns = {
        "median": "median",
        "median_real": "real",
        "ratio": "ratio",
        "smallest": "smallest",
        "smallest_real": "real",
        "threshold": "threshold",
        "num_flagged": "flagged",
        "share_close": "share close",
    }
    rows = []
    for name in MEASURES:
        row = [name]
        for key in columns:
            row.append(format_value(section[name][key]))
            if key in ("ratio", "share_close"):
                row.append(format_interval(section, f"{name}.{key}") or "–")
        rows.append(row)
    header = ["distance"]
    for key, title in columns.items():
        header += [title, "95% interval"] if key in ("ratio", "share_close") else [title]
    counts = (
        f"{section['num_synthetic']} synthetic and {section['num_real']} held-out real films against "
        f"{section['num_training']} training films; near-copies flagged: {section['num_flagged']}."
    )
    tables = [Table(header, rows, counts)]
    copies = section["reports"]
    if copies:
        shares = [
            key for key in copies if key.startswith(("share_", "median_")) and not key.endswith("_real")
        ]
        rows = [
            [key.replace("_", " "), *(format_value(copies[f"{key}{end}"]) for end in ("", "_real"))]
            for key in shares
        ]
        tables.append(Table(("reports against training reports", "synthetic", "held-out real"), rows))
    return tables


DETAILS = {
    "films": _film_tables,
    "reports": _report_tables,
    "pairs": _pair_tables,
    "privacy": _privacy_tables,
}
