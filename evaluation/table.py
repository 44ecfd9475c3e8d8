"""results.json as tables: the same rows for results.md and for report.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_module.findings import FINDINGS, FIVE_FINDINGS
from evaluation.findings_scores import UNCERTAIN_POLICIES

Row = tuple[str, str, str | None, str | None, str]  # title, key, key of the floor, of the ceiling, better

MANIFOLD = ("precision", "recall", "density", "coverage")
FILM_ROWS: tuple[Row, ...] = (
    ("FID", "fid", "fid_floor", None, "lower"),
    ("KID x 1000", "kid", "kid_floor", None, "lower"),
    *(
        (name, name, f"{name}_floor", None, "as floor")
        for name in ("precision", "recall", "density", "coverage")
    ),
    ("Vendi score", "vendi", "vendi_floor", "vendi_real", "as real"),
    ("mean AUROC", "auroc_mean", None, "auroc_mean_real", "higher"),
    ("mean average precision", "average_precision_mean", None, "average_precision_mean_real", "higher"),
    ("mean calibration error (ECE)", "ece_mean", None, "ece_mean_real", "as real"),
    ("SSIM of random pairs", "ssim", None, "ssim_real", "as real"),
    ("MS-SSIM within a prompt", "ms_ssim_within_prompt", None, "ms_ssim_within_prompt_real", "lower"),
)
REPORT_ROWS: tuple[Row, ...] = (
    *(
        (f"{average}-F1, {n} findings", f"{average}_f1_{n}", f"baseline.{average}_f1_{n}", None, "higher")
        for n in (14, 5)
        for average in ("micro", "macro")
    ),
    *((f"BLEU-{n}", f"bleu_{n}", f"baseline.bleu_{n}", None, "higher") for n in (1, 2, 3, 4)),
    ("ROUGE-L", "rouge_l", "baseline.rouge_l", None, "higher"),
    ("CIDEr", "cider", "baseline.cider", None, "higher"),
    ("METEOR", "meteor", None, None, "higher"),
    ("BERTScore F1", "bert_score_f1", None, None, "higher"),
    ("RadGraph F1", "radgraph_f1", None, None, "higher"),
    ("clinical-terms F1", "terms_f1", None, None, "higher"),
    ("distinct reports", "num_distinct_reports", None, "num_distinct_reports_real", "as real"),
    ("share of normal reports", "share_normal", None, "share_normal_real", "as real"),
)
_MACRO = "report_vs_prompt_macro_f1_14"
_ASKED, _SHOWN, _AGREED = (
    "report_vs_prompt_micro_f1_14",
    "film_vs_prompt_micro_f1_14",
    "film_report_agreement",
)
PAIR_ROWS: tuple[Row, ...] = (
    ("report against prompt, micro-F1", _ASKED, f"{_ASKED}_shuffled", f"{_ASKED}_real", "higher"),
    (
        "report against prompt, macro-F1",
        "report_vs_prompt_macro_f1_14",
        None,
        "report_vs_prompt_macro_f1_14_real",
        "higher",
    ),
    ("film against prompt, micro-F1", _SHOWN, None, f"{_SHOWN}_real", "higher"),
    ("film against report, micro-F1", _AGREED, f"{_AGREED}_shuffled", f"{_AGREED}_real", "higher"),
    *(
        (
            f"CLIP score, {a} and {b}",
            f"clip_{a}_{b}",
            f"clip_{a}_{b}_shuffled",
            f"clip_{a}_{b}_real",
            "higher",
        )
        for a, b in (("prompt", "film"), ("film", "report"), ("prompt", "report"))
    ),
)
SECTIONS = {
    "films": ("Films", "Floor: real against real. Real: the real films.", FILM_ROWS),
    "reports": (
        "Reports of held-out real films",
        "Floor: the most frequent report for every film. Real: the real reports.",
        REPORT_ROWS,
    ),
    "pairs": ("Pairs", "Floor: reports (or films) shuffled. Real: the real pairs.", PAIR_ROWS),
    "privacy": ("Privacy", "Distance to the nearest training film, against held-out real films.", ()),
}


@dataclass(frozen=True)
class Table:
    """A table of strings, with a sentence below it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with its tables."""

    name: str
    title: str
    note: str
    tables: Sequence[Table]


def build_sections(results: Mapping[str, Any]) -> list[Section]:
    """Value beside interval, floor and ceiling; then what each section has of its own."""
    sections = []
    for name, (title, legend, rows) in SECTIONS.items():
        section = results.get(name)
        if not section:
            continue
        tables = []
        scored = [row for row in rows if _look_up(section, row[1]) is not None]
        if scored:
            header = ("", "value", "95% interval", "floor", "real", "better")
            tables.append(
                Table(header, [_row(section, row) for row in scored], f"{_count(name, section)} {legend}")
            )
            tables += DETAILS[name](section)
        elif name == "privacy" and "pixels" in section:
            tables = _privacy_tables(section)
        sections.append(Section(name, title, section.get("note", ""), tables))
    return sections


def render_markdown(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    parts = ["# Evaluation", ""]
    for section in build_sections(results):
        parts += [f"## {section.title}", "", *([section.note, ""] if section.note else [])]
        for table in section.tables:
            parts += [f"| {' | '.join(table.header)} |", "|---" * len(table.header) + "|"]
            parts += [f"| {' | '.join(row)} |" for row in table.rows]
            parts += ["", *([table.note, ""] if table.note else [])]
    conventions = results.get("conventions", {})
    if conventions:
        parts += ["## Conventions", "", *(f"- `{key}`: {text}." for key, text in conventions.items()), ""]
    return "\n".join(parts)


def _look_up(section: Mapping[str, Any], key: str | None) -> Any:
    value: Any = section
    for part in (key or "").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _row(section: Mapping[str, Any], row: Row) -> list[str]:
    title, key, floor, ceiling, better = row
    scale = 1000.0 if "x 1000" in title else 1.0
    value, low, high = (_format(_look_up(section, k), scale) for k in (key, floor, ceiling))
    interval = (section.get("intervals") or {}).get(key)
    shown = " to ".join(_format(v, scale) for v in interval) if interval else "–"
    return [title, value, shown, low, high, better]


def _format(value: Any, scale: float = 1.0) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value * scale:.3f}"


def _count(name: str, section: Mapping[str, Any]) -> str:
    if name == "films":
        unread = f"{section['num_unreadable_synthetic']} synthetic and {section['num_unreadable_real']} real"
        return (
            f"{section['num_synthetic']} synthetic and {section['num_real']} real films, of which {unread} "
            f"cannot be read; distances over {section['num_fidelity']} on each side ({section['floor']})."
        )
    if name == "reports":
        whole = section.get("num_rows_of_split", section["num_scored"])
        return f"{section['num_scored']} reports scored, of {whole} rows of the split."
    return f"{section['num_pairs']} pairs, {section['num_readable']} with a readable film."


def _film_tables(section: Mapping[str, Any]) -> list[Table]:
    made, real = section["auroc_per_finding"], section["auroc_per_finding_real"]
    rows = []
    for name in FINDINGS:
        if name in made or name in real:
            keys = (
                "auroc_per_finding",
                "average_precision_per_finding",
                "ece_per_finding",
                "auroc_num_positive",
            )
            values = [section.get(f"{key}{end}", {}).get(name) for key in keys for end in ("", "_real")]
            rows.append([name, *(_format(value) for value in values)])
    skipped = "; ".join(f"{name} ({why})" for name, why in section["auroc_skipped"].items())
    pairs = [f"{what}{end}" for what in ("AUROC", "AP", "ECE", "positives") for end in ("", ", real")]
    tables = [Table(("finding", *pairs), rows, f"Not in the mean: {skipped}." if skipped else "")]
    found = section.get("per_finding", {})
    if found:
        keys = ("num_films", "fid", "fid_floor", "kid", "kid_floor")
        scales = (1.0, 1.0, 1.0, 1000.0, 1000.0)
        rows = [
            [name, *(_format(figures[key], scale) for key, scale in zip(keys, scales, strict=True))]
            for name, figures in found.items()
        ]
        header = ("films with", "n", "FID", "floor", "KID x 1000", "floor")
        skipped = "; ".join(f"{name} ({why})" for name, why in section["per_finding_skipped"].items())
        tables.append(Table(header, rows, f"Too few films: {skipped}." if skipped else ""))
    keys = ("fid", "fid_floor", "precision", "recall", "density", "coverage", "vendi", "vendi_real")
    rows = [
        [source, *(_format(figures.get(key)) for key in keys), figures["preprocessing"]]
        for source, figures in section.get("features", {}).items()
    ]
    header = ("features of", "FID", "floor", *keys[2:6], "Vendi", "real", "preprocessing")
    return [*tables, Table(header, rows)] if rows else tables


def _report_tables(section: Mapping[str, Any]) -> list[Table]:
    rows = [
        [f"{policy}, {average}"]
        + [
            _format(values[f"{average}_{figure}_{n}"])
            for n in (len(FINDINGS), len(FIVE_FINDINGS))
            for figure in ("precision", "recall", "f1")
        ]
        for policy, values in section.get("clinical", {}).items()
        for average in ("micro", "macro", "example")
    ]
    header = ["uncertain is", *(f"{figure}-{n}" for n in (14, 5) for figure in ("precision", "recall", "F1"))]
    note = "; ".join(f"{name}: {text}" for name, text in UNCERTAIN_POLICIES.items())
    return [Table(header, rows, f"{note[0].upper()}{note[1:]}.")] if rows else []


def _pair_tables(section: Mapping[str, Any]) -> list[Table]:
    rows = []
    for direction in ("film_to_report", "report_to_film"):
        for end in ("", "_real"):
            found = (section.get(f"retrieval{end}") or {}).get(direction)
            if found:
                name = direction.replace("_", " ") + (", real pairs" if end else "")
                chance = [_format(k / found["pool"]) for k in (1, 5)]
                rows.append([name, _format(found["r@1"]), chance[0], _format(found["r@5"]), chance[1]])
    if not rows:
        return []
    pool = section["retrieval"]["film_to_report"]["pool"]
    return [Table(("retrieval", "R@1", "chance", "R@5", "chance"), rows, f"Pools of {pool} items.")]


def _privacy_tables(section: Mapping[str, Any]) -> list[Table]:
    keys = (
        "median",
        "median_real",
        "ratio",
        "smallest",
        "smallest_real",
        "threshold",
        "share_close",
        "num_flagged",
    )
    rows = [
        [name, *(_format(section[name][key]) for key in keys)]
        for name in ("pixels", "features", "registered")
    ]
    header = (
        "distance",
        "median",
        "real",
        "ratio",
        "smallest",
        "real",
        "threshold",
        "share close",
        "flagged",
    )
    counts = (
        f"{section['num_synthetic']} synthetic and {section['num_real']} held-out real films against "
        f"{section['num_training']} training films; near-copies flagged: {section['num_flagged']}."
    )
    tables = [Table(header, rows, counts)]
    copies = section.get("reports")
    if copies:
        keys = (
            "share_verbatim_sentences",
            "share_verbatim_reports",
            "share_near_duplicates",
            "median_overlap",
        )
        rows = [
            [key.replace("_", " "), *(_format(copies[f"{key}{end}"]) for end in ("", "_real"))]
            for key in keys
        ]
        tables.append(Table(("reports against training reports", "synthetic", "held-out real"), rows))
    return tables


DETAILS = {
    "films": _film_tables,
    "reports": _report_tables,
    "pairs": _pair_tables,
    "privacy": _privacy_tables,
}
