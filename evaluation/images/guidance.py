"""Figures of films over the guidance scale that they were drawn with, from the results of several scales.

The scale is the one that the synthetic folder's provenance.json records (sample_pairs.py writes it), and else
the end of the results folder's name: NAME_SCALE.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.inputs.results import read_results
from runtime.files import read_json

# Heading, figure, and what real films reach.
FIGURES = (("AUROC", "auroc_mean", "auroc_mean_real"), ("FID", "fid", "fid_floor"))
SHARED = ("real_hash", "split", "features_hash")  # of inputs: else the figures do not compare


def read_guidance(folder: Path) -> dict[str, Any]:
    """guidance_scale and guidance_interval of a synthetic folder, as far as provenance.json has them."""
    path = folder / "provenance.json"
    record = read_json(path) if path.is_file() else {}
    found: dict[str, Any] = {}
    waiting = [record]
    while waiting:
        entry = waiting.pop()
        found |= {key: entry[key] for key in ("guidance_scale", "guidance_interval") if key in entry}
        waiting += [value for value in entry.values() if isinstance(value, dict)]
    return found


def make_point(folder: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """One results folder as a point of a curve: curve, scale, num_fidelity, FIGURES and their `_interval`.

    Raises:
        ValueError: no films were scored there, or their guidance scale is not known.
    """
    films, used = results.get("films") or {}, results.get("inputs", {}).get("films", {})
    if "fid" not in films:
        raise ValueError(
            f"{folder}: its results.json has no films; score them with `python -m evaluation images`"
        )
    name, _, end = folder.name.rpartition("_")
    try:
        scale = float(used["guidance_scale"] if used.get("guidance_scale") is not None else end)
    except ValueError:
        raise ValueError(
            f"{folder}: the guidance scale is not known; name the folder NAME_SCALE, such as {folder.name}_3"
        ) from None
    low, high = used.get("guidance_interval") or (0.0, 1.0)
    recorded = "all noise levels" if (low, high) == (0.0, 1.0) else f"noise levels {low:g} to {high:g}"
    kind = recorded if "guidance_scale" in used else name
    point = {"curve": kind, "scale": scale, "num_fidelity": films["num_fidelity"]}
    for _, key, beside in FIGURES:
        interval = (films.get("intervals") or {}).get(key)
        point |= {key: films.get(key), beside: films.get(beside), f"{key}_interval": interval}
    return point


def read_points(
    folders: Sequence[Path], own: tuple[Path, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Points of all folders, by curve and rising scale.

    Args:
        own: a folder and its results that are not written yet, for one more point.

    Raises:
        ValueError: a folder without results, or scored on other real films or by another network.
    """
    runs = [own] if own else []
    for folder in folders:
        path = folder / "results.json"
        if own and folder.resolve() == own[0].resolve():
            continue
        if not path.is_file():
            raise ValueError(f"{folder}: no results.json; score it with `python -m evaluation images` first")
        runs.append((folder, read_results(path)))
    for folder, results in runs[1:]:
        first, other = (r.get("inputs", {}).get("films", {}) for r in (runs[0][1], results))
        for key in SHARED:
            if first.get(key) != other.get(key):
                raise ValueError(f"{folder} and {runs[0][0]} do not compare: their {key} differs")
    points = [make_point(folder, results) for folder, results in runs]
    return sorted(points, key=lambda point: (point["curve"], point["scale"]))


def make_rows(points: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row of strings for each point: curve, scale, n, and each of FIGURES."""

    def show(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    rows = [
        [
            point["curve"],
            f"{point['scale']:g}",
            str(point["num_fidelity"]),
            *(show(point[key]) for _, key, _ in FIGURES),
        ]
        for point in points
    ]
    beside = [show(points[0][key]) for *_, key in FIGURES] if points else []
    return [*rows, ["real films", "", "", *beside]] if points else rows


HEADER = ("guidance", "scale", "n", *(title for title, *_ in FIGURES))
