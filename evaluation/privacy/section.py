"""The section `privacy`: synthetic films and reports against the training rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_module.pairs import PairsFolder, film_paths
from evaluation.inputs.rows import row_names, texts
from evaluation.metric import Metric, metrics_of, score_metrics
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier
from evaluation.privacy.copied_text import compare_copies
from evaluation.privacy.distances import (
    DISTANCES,
    FRACTION,
    QUANTILE,
    compare_distances,
    load_standardized,
    nearest_training_films,
)
from evaluation.privacy.near_copies import PrivacyInputs
from evaluation.privacy.tables import privacy_tables
from evaluation.sections import Scored, Section
from evaluation.statistics.items import REAL, SYNTHETIC

if TYPE_CHECKING:
    from evaluation.context import Context

MAX_LISTED = 50
MAX_REFERENCES = 1000  # training films that set what is near to a held-out film, unless more are held out
TRAIN = "train"


def evaluate_privacy(
    real: PairsFolder,
    synthetic: PairsFolder,
    extractor: FilmClassifier,
    metrics: Sequence[Metric] | None = None,
    *,
    split: str = "test",
    batch_size: int = 64,
    cache_dir: Path | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The section `privacy` of results.json: nearest training film and report of every synthetic one.

    Returns:
        The section, and the distances of all readable films.

    Raises:
        ValueError: no training rows, or no film of a set that can be read.
    """
    if split == TRAIN or not (real.table["split"] == TRAIN).any():
        raise ValueError(
            f"privacy compares with the training films: {real.root} needs rows of split {TRAIN!r}, and "
            "--split must name another"
        )
    folders = {"training": real.split(TRAIN), "synthetic": synthetic, "real": real.split(split)}
    pixels, features, names, kept = {}, {}, {}, {}
    for key, folder in folders.items():
        paths = film_paths(folder)
        scores = score_cached(extractor, paths, cache_dir, batch_size, progress=f"{key} films")
        good = kept[key] = np.flatnonzero(scores.readable)
        pixels[key] = load_standardized([paths[row] for row in good])
        features[key] = scores.features[good]
        names[key] = [row_names(folder)[row] for row in good]
    sets = {key: (pixels[key], features[key]) for key in folders}
    distances, listed = _search(sets["synthetic"], sets["training"], names["synthetic"], names["training"])
    distances_real, _ = nearest_training_films(*sets["real"], *sets["training"])
    inputs = PrivacyInputs(synthetic=distances, real=distances_real)
    metrics = metrics_of("privacy") if metrics is None else metrics
    figures, items = score_metrics(metrics, inputs, ("distances",))
    result: dict[str, Any] = {
        **figures,
        "num_synthetic": len(names["synthetic"]),
        "num_real": len(names["real"]),
        "num_training": len(names["training"]),
        "num_flagged": int(inputs.compared["flagged"].sum()),
        "nearest": _list_nearest(inputs.compared, listed, "training_film"),
        "held_out": _search_held_out(sets, names),
        "extractor": {"source": extractor.source, "hash": extractor.identity},
    }
    if result["held_out"]["num_flagged"]:
        result["warnings"] = [
            f"{result['held_out']['num_flagged']} synthetic films are near-copies of films of split {split}, "
            "with which the synthetic films are compared."
        ]
    result["reports"] = compare_copies(*(texts(folders[key]) for key in ("synthetic", "real", "training")))
    patients = [folders[key].table["patient_id"].to_numpy(str)[rows] for key, rows in kept.items()]
    return result, items | {
        "name": np.array(names["synthetic"] + names["real"]),
        "patient": np.concatenate(patients[1:]),
        "stratum": np.repeat([SYNTHETIC, REAL], [len(names["synthetic"]), len(names["real"])]),
    }


Films = tuple[np.ndarray, np.ndarray]  # (N, S, S) standardized films, (N, D) features


def _search(
    films: Films, targets: Films, names: Sequence[str], target_names: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Distances of each film to its nearest target; and each pair of names with its distances."""
    distances, rows = nearest_training_films(*films, *targets)
    listed = [
        {
            "film": name,
            "nearest": target_names[rows[place]],
            **{kind: float(distances[kind][place]) for kind in DISTANCES},
        }
        for place, name in enumerate(names)
    ]
    return distances, listed


def _list_nearest(compared: dict[str, Any], listed: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The closest films first; `key` is what the nearest film is called."""
    order = np.argsort(compared["closeness"], kind="stable")[:MAX_LISTED]
    found = []
    for row in order:
        entry = dict(listed[row], flagged=bool(compared["flagged"][row]))
        found.append({"film": entry.pop("film"), key: entry.pop("nearest"), **entry})
    return found


def _search_held_out(sets: dict[str, Films], names: dict[str, list[str]]) -> dict[str, Any]:
    """The same search among the held-out films; training films, which are no copies, set the limit."""
    distances, listed = _search(sets["synthetic"], sets["real"], names["synthetic"], names["real"])
    num = min(len(names["training"]), max(len(names["real"]), MAX_REFERENCES))
    chosen = np.sort(np.random.default_rng(0).permutation(len(names["training"]))[:num])
    pixels, features = sets["training"]
    distances_real, _ = nearest_training_films(pixels[chosen], features[chosen], *sets["real"])
    compared = compare_distances(distances, distances_real)
    return {
        **{kind: compared[kind] for kind in DISTANCES},
        "num_flagged": int(compared["flagged"].sum()),
        "nearest": _list_nearest(compared, listed, "held_out_film"),
    }


def _score(context: "Context", used: dict[str, Any], optional: bool, metrics: Sequence[Metric]) -> Scored:
    settings = context.settings
    absent = settings.split == TRAIN or not (context.real.table["split"] == TRAIN).any()
    if optional and (absent or not context.real.has_films or not context.films.has_films):
        return f"Not scored: it needs films of split {TRAIN} in {context.real.root}, beside those of --split."
    searched = context.reidentifier
    if settings.reidentify:
        used |= {"reidentify": searched.source, "reidentify_hash": searched.identity}
    else:
        used |= context.network_names
    return evaluate_privacy(
        context.real,
        context.films,
        searched,
        metrics,
        split=settings.split,
        batch_size=settings.batch_size,
        cache_dir=context.cache_dir,
    )


SECTION = Section(
    name="privacy",
    title="Privacy",
    legend="Distance to the nearest training film, against held-out real films.",
    keys={
        "pixels": "also `features` and `registered`: `median`, `smallest` (and `_real`), `ratio`, "
        "`threshold`, `num_flagged`, `share_close`",
        "features": "as `pixels`",
        "registered": "as `pixels`",
        "num_synthetic": "readable films; `num_real`",
        "num_training": "films compared with",
        "extractor": "whose features: `source`, `hash`",
        "num_flagged": "films nearer than a threshold, of any kind",
        "nearest": "the nearest films: `film`, `training_film`, distances, `flagged`",
        "held_out": "the same search among the real films of the split: the three distances, `num_flagged`, "
        "`nearest` (`held_out_film`); training films, which are no copies, set the thresholds",
        "reports": "`share_verbatim_sentences`, `share_verbatim_reports`, `share_near_duplicates`, "
        "`median_overlap` (and `_real`), `nearest`",
    },
    conventions={
        "privacy.num_flagged": f"films nearer than {FRACTION} x the {QUANTILE:.0%} quantile of held-out real "
        "ones, in any of the three",
        "privacy.held_out": "the same search among the held-out real films, with training films in "
        "their place: a film made from a film that it is compared with",
        "privacy.intervals": "95% percentile bootstrap, patients resampled, of ratio and share_close; "
        "thresholds held",
        "privacy.reports": "see results: sentences of 8 words or more that stand verbatim in a training "
        "report; reports whose word triples overlap with a training report's (Jaccard) by 0.8 or more",
    },
    score=_score,
    tables=privacy_tables,
)
