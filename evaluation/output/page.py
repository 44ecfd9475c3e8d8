"""report.html: results for people in one file that needs no other, no script and no network."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from data_module.findings import FINDINGS, POSITIVE
from data_module.images import FilmError, fit_crop, read_pixels
from data_module.labeler import label_reports
from data_module.pairs import PairsFolder, film_paths
from evaluation.filters.kept import describe_kept
from evaluation.inputs.rows import prompts, texts
from evaluation.output.plots import plot_auroc, plot_curves, plot_distances, plot_guidance
from evaluation.output.side_by_side import match_real
from evaluation.output.table import HEADER, build_chapters
from evaluation.output.verdict import judge_results
from evaluation.statistics.items import load_items
from runtime.figures import save_figure
from runtime.files import write_atomic

NUM_CARDS = 12
SIDE = 256  # pixels of a film on the page


def write_page(
    results: Mapping[str, Any],
    real: PairsFolder,
    synthetic: PairsFolder | None,
    split: str,
    out: Path,
    as_pdf: bool = False,
) -> None:
    """Write OUT/report.html from the results and the films they were scored on, and its plots as OUT/plots.

    Args:
        as_pdf: writes the plots as PDF beside the SVG.
    """
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), trim_blocks=True
    )
    held_out = real.split(split)
    sheets: dict[str, list[tuple[str, list[dict[str, Any]]]]] = {}
    if synthetic is not None and synthetic.has_films and "films" in results and held_out.has_films:
        sheets["films"] = [
            ("Synthetic films beside real ones of like findings", _contact_sheet(synthetic, held_out))
        ]
    privacy = results.get("privacy", {})
    if synthetic is not None and privacy.get("nearest"):
        cards = _neighbors(privacy["nearest"], "training_film", synthetic, real)
        sheets["privacy"] = [("Synthetic films nearest to a training film, flagged ones framed", cards)]
        copies = [entry for entry in privacy.get("held_out", {}).get("nearest", []) if entry["flagged"]]
        if copies:
            cards = _neighbors(copies, "held_out_film", synthetic, real)
            sheets["privacy"].append(("Near-copies of held-out films", cards))
    caption = f"{synthetic.root if synthetic else 'reports'} against {real.root}, split {split}"
    caption = " ".join([caption + ".", describe_kept(results)]).strip()
    page = pages.get_template("page.html").render(
        caption=caption,
        verdicts=judge_results(results),
        chapters=build_chapters(results),
        figures_header=HEADER,
        plots=_plots(results, out, as_pdf),
        sheets=sheets,
        inputs=results.get("inputs", {}),
        versions=results.get("versions", {}),
    )
    write_atomic(out / "report.html", page)


def _plots(results: Mapping[str, Any], out: Path, as_pdf: bool) -> dict[str, list[tuple[str, Markup]]]:
    """Section -> title and <svg> of its plots, which are written as files too."""
    films, privacy = results.get("films", {}), results.get("privacy", {})
    drawn: dict[str, list[tuple[str, str, Figure]]] = {}
    if films.get("auroc_findings"):
        items = load_items(out / "items" / "films.npz")
        curves = plot_curves(items, films["auroc_findings"])
        drawn["films"] = [
            ("AUROC of each finding", "auroc", plot_auroc(films)),
            ("Precision-recall and calibration: synthetic (red), real (gray)", "curves", curves),
        ]
    if films.get("guidance"):
        plot = ("AUROC and FID over the guidance scale", "guidance", plot_guidance(films["guidance"]))
        drawn.setdefault("films", []).append(plot)
    if "pixels" in privacy:
        title = "Distance to the nearest training film; dashed: threshold of near-copies"
        items = load_items(out / "items" / "privacy.npz")
        drawn["privacy"] = [(title, "distances", plot_distances(items, privacy))]
    for _, name, figure in (plot for plots in drawn.values() for plot in plots):
        save_figure(figure, out / "plots" / f"{name}.svg")
        if as_pdf:
            save_figure(figure, out / "plots" / f"{name}.pdf")
    return {
        section: [(title, _inline(out / "plots" / f"{name}.svg")) for title, name, _ in plots]
        for section, plots in drawn.items()
    }


def _inline(path: Path) -> Markup:
    """An SVG file as an element of the page: our own plot, with labels from our own tables."""
    return Markup(path.read_text())


def _encode(path: Path | None) -> str | None:
    """A film as base64 JPEG; None where it cannot be read."""
    try:
        pixels = read_pixels(path) if path else None
    except FilmError:
        return None
    if pixels is None:
        return None
    stream = io.BytesIO()
    Image.fromarray(fit_crop(pixels, min(SIDE, *pixels.shape))).save(stream, "JPEG", quality=85)
    return base64.b64encode(stream.getvalue()).decode()


def _contact_sheet(synthetic: PairsFolder, real: PairsFolder) -> list[dict[str, Any]]:
    """Synthetic films spread over the folder, each beside the real film whose findings are most alike."""
    rows = np.unique(np.linspace(0, len(synthetic) - 1, min(NUM_CARDS, len(synthetic))).astype(int))
    asked = synthetic.labels == POSITIVE
    paths, real_paths = film_paths(synthetic), film_paths(real)
    sentences, reports = prompts(synthetic), texts(synthetic)
    said = label_reports([reports[row] for row in rows]) == POSITIVE
    cards, matches = [], match_real(synthetic.labels[rows], real)  # another film for each card
    for place, (row, match) in enumerate(zip(rows, matches, strict=True)):
        films = [("synthetic", _encode(paths[row])), ("real", _encode(real_paths[match]))]
        differ = _tell_differences(asked[row], said[place]) if reports[row] else []
        cards.append({"films": films, "prompt": sentences[row], "text": reports[row], "differ": differ})
    return cards


def _tell_differences(asked: np.ndarray, said: np.ndarray) -> list[str]:
    """Findings (14,) that the prompt asks for and the report leaves out, or the other way round."""
    missing = [f"asked for, not in the report: {name}" for name in _names(asked & ~said)]
    return missing + [f"in the report, not asked for: {name}" for name in _names(said & ~asked)]


def _names(chosen: np.ndarray) -> list[str]:
    names = [name for name, here in zip(FINDINGS, chosen, strict=True) if here and name != "No Finding"]
    return [", ".join(names)] if names else []


def _neighbors(
    entries: Sequence[Mapping[str, Any]], key: str, synthetic: PairsFolder, real: PairsFolder
) -> list[dict[str, Any]]:
    cards = []
    for entry in entries[:NUM_CARDS]:
        label = key.removesuffix("_film").replace("_", "-")
        films = [("synthetic", synthetic.root / entry["film"]), (label, real.root / entry[key])]
        distances = ", ".join(f"{name} {entry[name]:.3f}" for name in ("pixels", "features", "registered"))
        cards.append(
            {
                "films": [(label, _encode(path)) for label, path in films],
                "text": f"{entry['film']} and {entry[key]}: {distances}",
                "flagged": entry["flagged"],
            }
        )
    return cards
