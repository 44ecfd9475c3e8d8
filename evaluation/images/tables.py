"""The tables of the section `films` besides its metrics: by finding, by extractor, over guidance scales."""

from collections.abc import Mapping
from typing import Any

from data_module.findings import FINDINGS
from evaluation.images.guidance import HEADER, make_rows
from evaluation.images.per_finding import MIN_FOR_KID
from evaluation.output.cells import Table, format_value
from runtime.wording import shorten

GUIDANCE_NOTE = "FID falls with n: compare scales of the same n."
NUM_NAMED = 5  # unreadable films named; results.json names all


def count_films(section: Mapping[str, Any]) -> str:
    """How many films were scored, and which were left out."""
    sentences = [f"{section['num_synthetic']} synthetic and {section['num_real']} real films"]
    if "num_fidelity" in section:
        sentences[0] += (
            f"; distances over {section['num_fidelity']} on each side, {section['num_features']} features "
            f"({section['floor']})"
        )
    sentences[0] += "."
    for key in ("synthetic", "real"):
        sentences += _name_unreadable(key, section[f"unreadable_{key}"])
        if section[f"num_unlabelled_{key}"]:
            count = section[f"num_unlabelled_{key}"]
            sentences.append(f"{count} {key} films have no text or finding: not in AUROC, AP and ECE.")
    return " ".join(sentences)


def _name_unreadable(key: str, reasons: Mapping[str, str]) -> list[str]:
    """A sentence that counts and names unreadable films; none where all can be read."""
    if not reasons:
        return []
    # A reason begins with the film's whole path.
    shown = [f"{name} ({why.rpartition(': ')[2]})" for name, why in reasons.items()]
    return [f"{len(reasons)} {key} films cannot be read and are left out: {shorten(shown, NUM_NAMED)}."]


def _join_skipped(skipped: Mapping[str, str]) -> str:
    """Findings by the reason why they are left out."""
    by_reason: dict[str, list[str]] = {}
    for name, why in skipped.items():
        by_reason.setdefault(why, []).append(name)
    return "; ".join(
        f"{'all' if len(names) == len(FINDINGS) else ', '.join(names)} ({why})"
        for why, names in by_reason.items()
    )


def film_tables(section: Mapping[str, Any]) -> list[Table]:
    """By finding; FID and KID by finding; by extractor; over the guidance scale."""
    tables = []
    if "auroc_skipped" in section:
        tables.append(_finding_table(section))
    if section.get("per_finding"):
        tables.append(_distance_table(section))
    if section.get("features"):
        tables.append(_feature_table(section))
    if curve := section.get("guidance"):
        tables.append(Table(HEADER, make_rows(curve), GUIDANCE_NOTE))
    return tables


def _finding_table(section: Mapping[str, Any]) -> Table:
    titles = {"auroc_per_finding": "AUROC", "average_precision_per_finding": "AP", "ece_per_finding": "ECE"}
    titles = {key: title for key, title in titles.items() if key in section}
    titles["auroc_num_positive"] = "positives"
    made, real = (section[f"auroc_num_positive{end}"] for end in ("", "_real"))
    rows = [
        [name, *(format_value(section[f"{key}{end}"].get(name)) for key in titles for end in ("", "_real"))]
        for name in FINDINGS
        if name in made or name in real
    ]
    header = [f"{title}{end}" for title in titles.values() for end in ("", ", real")]
    skipped = _join_skipped(section["auroc_skipped"])
    policy = section["policy"]
    note = f"Uncertain: {policy['uncertain']}; not mentioned: {policy['blank']}."
    return Table(("finding", *header), rows, f"{note} Not in the mean: {skipped}." if skipped else note)


def _distance_table(section: Mapping[str, Any]) -> Table:
    scales = {"num_films": 1.0, "fid": 1.0, "fid_floor": 1.0, "kid": 1000.0, "kid_floor": 1000.0}
    rows = [
        [name, *(format_value(figures[key], scale) for key, scale in scales.items())]
        for name, figures in section["per_finding"].items()
    ]
    skipped = _join_skipped(section["per_finding_skipped"])
    few = any(figures["kid"] is None for figures in section["per_finding"].values())
    notes = [f"KID needs {MIN_FOR_KID} films."] if few else []
    notes += [f"Too few films: {skipped}."] if skipped else []
    header = ("films with", "n", "FID", "floor", "KID x 1000", "floor")
    return Table(header, rows, " ".join(notes))


def _feature_table(section: Mapping[str, Any]) -> Table:
    titles = {"fid": "FID", "fid_floor": "floor", "kid": "KID x 1000", "kid_floor": "floor"}
    titles |= {key: key for key in ("precision", "recall", "density", "coverage")}
    titles |= {"vendi": "Vendi", "vendi_real": "real"}
    rows = []
    for source, figures in section["features"].items():
        cells = [format_value(figures.get(key), 1000.0 if "kid" in key else 1.0) for key in titles]
        rows.append([source, *cells, figures["preprocessing"]])
    header = ("features of", *titles.values(), "preprocessing")
    return Table(header, rows)
