"""results.json for people: a Markdown table of each section, and a picture of the AUROCs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_module.findings import FINDINGS

Row = tuple[str, str, str | None, str | None, str]  # title, key, key of the floor, of the ceiling, better

FILM_ROWS: tuple[Row, ...] = (
    ("FID", "fid", "fid_floor", None, "lower"),
    ("KID x 1000", "kid", "kid_floor", None, "lower"),
    ("mean AUROC", "auroc_mean", None, "auroc_mean_real", "higher"),
    ("SSIM of random pairs", "ssim", None, "ssim_real", "as real"),
)
REPORT_ROWS: tuple[Row, ...] = (
    ("micro-F1, 14 findings", "micro_f1_14", "baseline.micro_f1_14", None, "higher"),
    ("macro-F1, 14 findings", "macro_f1_14", "baseline.macro_f1_14", None, "higher"),
    ("micro-F1, 5 findings", "micro_f1_5", "baseline.micro_f1_5", None, "higher"),
    ("macro-F1, 5 findings", "macro_f1_5", "baseline.macro_f1_5", None, "higher"),
    *((f"BLEU-{n}", f"bleu_{n}", f"baseline.bleu_{n}", None, "higher") for n in (1, 2, 3, 4)),
    ("ROUGE-L", "rouge_l", "baseline.rouge_l", None, "higher"),
    ("CIDEr", "cider", "baseline.cider", None, "higher"),
    ("distinct reports", "num_distinct_reports", None, "num_distinct_reports_real", "as real"),
    ("share of normal reports", "share_normal", None, "share_normal_real", "as real"),
)
_ASKED, _AGREED = "report_vs_prompt_micro_f1_14", "film_report_agreement"
PAIR_ROWS: tuple[Row, ...] = (
    ("report against prompt, micro-F1", _ASKED, f"{_ASKED}_shuffled", f"{_ASKED}_real", "higher"),
    (
        "report against prompt, macro-F1",
        "report_vs_prompt_macro_f1_14",
        None,
        "report_vs_prompt_macro_f1_14_real",
        "higher",
    ),
    (
        "film against prompt, micro-F1",
        "film_vs_prompt_micro_f1_14",
        None,
        "film_vs_prompt_micro_f1_14_real",
        "higher",
    ),
    ("film against report, micro-F1", _AGREED, f"{_AGREED}_shuffled", f"{_AGREED}_real", "higher"),
)
SECTIONS = {
    "films": ("Films", "floor: real against real; ceiling: the real films", FILM_ROWS),
    "reports": (
        "Reports of held-out real films",
        "floor: the most frequent report for every film; ceiling column: the real reports",
        REPORT_ROWS,
    ),
    "pairs": ("Pairs", "floor: reports shuffled; ceiling: the real pairs", PAIR_ROWS),
}


def render_markdown(results: Mapping[str, Any]) -> str:
    """The results as Markdown: value beside floor and ceiling, AUROC of each finding, what was left out."""
    parts = ["# Evaluation", ""]
    for name, (title, legend, rows) in SECTIONS.items():
        section = results.get(name)
        if not section:
            continue
        parts += [f"## {title}", ""]
        if section.get("note"):
            parts += [section["note"], ""]
        if all(_look_up(section, key) is None for _, key, *_ in rows):
            continue
        parts += ["| | value | floor | real | better |", "|---|---|---|---|---|"]
        parts += [_format_row(section, row) for row in rows]
        parts += ["", f"{_count(name, section)} {legend[0].upper()}{legend[1:]}.", ""]
        if name == "films":
            parts += _auroc_table(section)
    conventions = results.get("conventions", {})
    if conventions:
        parts += ["## Conventions", "", *(f"- `{key}`: {text}." for key, text in conventions.items()), ""]
    return "\n".join(parts)


def _look_up(section: Mapping[str, Any], key: str | None) -> Any:
    value: Any = section
    for part in (key or "").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _format_row(section: Mapping[str, Any], row: Row) -> str:
    title, key, floor, ceiling, better = row
    scale = 1000.0 if "x 1000" in title else 1.0
    cells = [_format(_look_up(section, k), scale) for k in (key, floor, ceiling)]
    return f"| {title} | {' | '.join(cells)} | {better} |"


def _format(value: Any, scale: float = 1.0) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value * scale:.3f}"


def _count(name: str, section: Mapping[str, Any]) -> str:
    if name == "films":
        unread = f"{section['num_unreadable_synthetic']} synthetic and {section['num_unreadable_real']} real"
        return (
            f"{section['num_synthetic']} synthetic and {section['num_real']} real films, of which {unread} "
            f"cannot be read; FID and KID over {section['num_fidelity']} on each side ({section['floor']})."
        )
    if name == "reports":
        whole = section.get("num_rows_of_split", section["num_scored"])
        return f"{section['num_scored']} reports scored, of {whole} rows of the split."
    return f"{section['num_pairs']} pairs, {section['num_readable']} with a readable film."


def _auroc_table(section: Mapping[str, Any]) -> list[str]:
    made, real = section["auroc_per_finding"], section["auroc_per_finding_real"]
    lines = ["| AUROC | synthetic | real | positives, synthetic | positives, real |", "|---|---|---|---|---|"]
    for name in FINDINGS:
        if name in made or name in real:
            counts = [section[f"auroc_num_positive{end}"].get(name) for end in ("", "_real")]
            cells = [_format(value) for value in (made.get(name), real.get(name), *counts)]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    skipped = section["auroc_skipped"]
    if skipped:
        lines += [
            "",
            "Not in the mean: " + "; ".join(f"{name} ({why})" for name, why in skipped.items()) + ".",
        ]
    return [*lines, ""]


def draw_auroc(section: Mapping[str, Any], path: Path) -> None:
    """Bar chart of the AUROC of each finding, synthetic beside real, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made, real = section["auroc_per_finding"], section["auroc_per_finding_real"]
    names = [name for name in FINDINGS if name in made or name in real]
    figure = Figure(figsize=(7.5, 0.42 * max(len(names), 3) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = range(len(names))
    missing = float("nan")
    for offset, values, label, colour in (
        (-0.2, made, "synthetic films, prompt's findings", "#c4532d"),
        (0.2, real, "real films", "#8c9aa8"),
    ):
        lengths = [values.get(name, missing) for name in names]
        axes.barh([row + offset for row in rows], lengths, height=0.38, label=label, color=colour)
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(list(rows), names)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("AUROC of the classifier (0.5: chance)")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
    figure.savefig(path, dpi=120)
