"""results.json as tables: the same rows for results.md and for report.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.output.details import DETAILS, Table, count_items, format_interval, format_value
from evaluation.statistics.measures import MANIFOLD

Row = tuple[str, str, str | None, str | None, str]  # title, key, key of the floor, of the ceiling, better

FILM_ROWS: tuple[Row, ...] = (
    ("FID", "fid", "fid_floor", None, "lower"),
    ("KID x 1000", "kid", "kid_floor", None, "lower"),
    *((name, name, f"{name}_floor", None, "as floor") for name in MANIFOLD),
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
    ("report against prompt, macro-F1", _MACRO, None, f"{_MACRO}_real", "higher"),
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


def better_of(section: str) -> dict[str, str]:
    """Headline figure of a section -> "lower" or "higher", of those that have a better side."""
    return {key: better for _, key, _, _, better in SECTIONS[section][2] if better in ("lower", "higher")}


@dataclass(frozen=True)
class Section:
    """A heading with its tables."""

    name: str
    title: str
    note: str
    tables: Sequence[Table]
    conventions: Mapping[str, str]


def build_sections(results: Mapping[str, Any]) -> list[Section]:
    """Value beside interval, floor and ceiling; then what each section has of its own."""
    sections = []
    for name, (title, legend, rows) in SECTIONS.items():
        section = results.get(name)
        if not section:
            continue
        tables: list[Table] = []
        scored = [row for row in rows if _look_up(section, row[1]) is not None]
        if scored:
            header = ("", "value", "95% interval", "floor", "real", "better")
            note = " ".join([count_items(name, section), legend, *section.get("remarks", [])])
            tables.append(Table(header, [_row(section, row) for row in scored], note))
        if "note" not in section:
            tables += DETAILS[name](section)
        rules = {k: v for k, v in results.get("conventions", {}).items() if k.startswith(f"{name}.")}
        sections.append(Section(name, title, section.get("note", ""), tables, rules))
    return sections


def render_markdown(results: Mapping[str, Any], with_conventions: bool = True) -> str:
    """The results as Markdown, each section followed by how its figures are counted."""
    parts = ["# Evaluation", ""]
    for section in build_sections(results):
        parts += [f"## {section.title}", "", *([section.note, ""] if section.note else [])]
        for table in section.tables:
            if table.rows:
                parts += [f"| {' | '.join(table.header)} |", "|---" * len(table.header) + "|"]
                parts += [*(f"| {' | '.join(row)} |" for row in table.rows), ""]
            parts += [*([table.note, ""] if table.note else [])]
        if section.tables and with_conventions:
            parts += [*(f"- `{key}`: {text}." for key, text in section.conventions.items()), ""]
    return "\n".join(parts)


def _look_up(section: Mapping[str, Any], key: str | None) -> Any:
    value: Any = section
    for part in (key or "").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _row(section: Mapping[str, Any], row: Row) -> list[str]:
    title, key, floor, ceiling, better = row
    scale = 1000.0 if "x 1000" in title else 1.0
    value, low, high = (format_value(_look_up(section, k), scale) for k in (key, floor, ceiling))
    return [title, value, format_interval(section, key, scale) or "–", low, high, better]
