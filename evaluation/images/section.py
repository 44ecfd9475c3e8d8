"""The section `films`: do synthetic films look real, do they carry what was asked, and are they varied?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_module.controls import read_controls, table_controls
from data_module.pairs import PairsFolder, film_paths
from evaluation.images.auroc import share_findings
from evaluation.images.floor import choose_floor, describe_floor
from evaluation.images.groups import measure_groups
from evaluation.images.guidance import read_guidance, read_points
from evaluation.images.inputs import FeatureSets, FilmInputs, FilmSet, empty_probabilities
from evaluation.images.per_finding import MIN_FOR_KID, MIN_PER_FINDING, compare_findings
from evaluation.images.tables import count_films, film_tables
from evaluation.inputs.groupings import Grouping
from evaluation.inputs.rows import prompts, row_names, texts
from evaluation.metric import Metric, metrics_of, score_metrics
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier, FilmScores
from evaluation.sections import Scored, Section
from evaluation.statistics.groups import group_items
from evaluation.statistics.items import REAL, SYNTHETIC

if TYPE_CHECKING:
    from evaluation.context import Context

AVAILABLE = ("features", "probabilities", "labels", "films", "prompts")
Scan = Callable[[FilmClassifier, PairsFolder, str], FilmScores]


def evaluate_films(
    real: PairsFolder,
    synthetic: PairsFolder,
    extractors: Sequence[FilmClassifier],
    classifier: FilmClassifier | None = None,
    metrics: Sequence[Metric] | None = None,
    *,
    split: str = "test",
    policy: tuple[str, str] = ("ignore", "negative"),
    seed: int = 0,
    batch_size: int = 64,
    cache_dir: Path | None = None,
    groupings: Sequence[Grouping] = (),
    controls: FilmClassifier | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The section `films` of results.json: synthetic films against the real films of one split.

    Args:
        extractors: where features come from; the first gives the headline figures.
        classifier: scores the findings; None: they are skipped.
        metrics: those to compute; all of the section by default.
        policy: what uncertain and blank findings become for the AUROC.
        groupings: for whom the items tell figures apart.
        controls: sees sides, grades, sex, view and age (train_classifier.py --targets controls); None:
            whether films show those that prompts ask for is not scored.

    Returns:
        The section, and its items.

    Raises:
        ValueError: no film of a set can be read, or fewer than two on a side.
    """
    rng = np.random.default_rng(seed)
    held_out = real.split(split)
    metrics = metrics_of("films") if metrics is None else metrics

    def scan(network: FilmClassifier, folder: PairsFolder, name: str) -> FilmScores:
        return score_cached(network, film_paths(folder), cache_dir, batch_size, progress=name)

    made = scan(extractors[0], synthetic, "synthetic films")
    truth = scan(extractors[0], held_out, f"real films, {split}")
    others, kept = choose_floor(real, split, int(min(made.readable.sum(), truth.readable.sum())), rng)
    folders = {"synthetic": synthetic, "real": held_out, "floor": held_out if others is None else others}
    masks = {"synthetic": made.readable, "real": truth.readable, "floor": truth.readable & kept}
    if others is None:
        masks["real"] = truth.readable & ~kept
    else:
        masks["floor"] = scan(extractors[0], others, "real films, floor").readable
    num_films = min(int(mask.sum()) for mask in masks.values())
    rows = {key: _subset(mask, num_films, rng) for key, mask in masks.items()}

    result: dict[str, Any] = {
        "num_real": len(held_out),
        "num_synthetic": len(synthetic),
        "floor": describe_floor(others, split),
    }
    sides = {}
    for key, folder, scores in (("synthetic", synthetic, made), ("real", held_out, truth)):
        sides[key], facts = _read_side(key, folder, scores, classifier, scan)
        result |= facts
    if controls:
        asked = read_controls(sides["synthetic"].prompts), table_controls(held_out.table)
        for key, folder, wanted in zip(sides, (synthetic, held_out), asked, strict=True):
            seen = scan(controls, folder, "sides and grades").probabilities
            sides[key] = replace(sides[key], controls=(wanted, seen))
    inputs = FilmInputs(seed, None, sides["synthetic"], sides["real"], policy)
    figures, items = _score_features(inputs, extractors, folders, rows, scan, metrics, groupings)
    rest = [metric for metric in metrics if metric.needs != ("features",)]
    available = {*AVAILABLE, *(["controls"] if controls else [])} - {"features"}
    others_found, other_items = score_metrics(rest, inputs, available)
    items |= group_items(groupings, (synthetic.table, held_out.table))
    return result | figures | others_found, _name_items(synthetic, held_out) | items | other_items


def _subset(readable: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted rows of `num` random readable films."""
    rows = np.flatnonzero(readable)
    return np.sort(rng.permutation(rows)[:num])


def _read_side(
    key: str, folder: PairsFolder, scores: FilmScores, classifier: FilmClassifier | None, scan: Scan
) -> tuple[FilmSet, dict[str, Any]]:
    """One side for the metrics, and how many of its films say nothing or cannot be read."""
    asked = prompts(folder)
    # Prompts speak of the findings where there are any. Films without text or finding are unknown, and not
    # films without findings.
    known = [bool(one.strip() or text.strip()) for one, text in zip(asked, texts(folder), strict=True)]
    probabilities = empty_probabilities(len(folder))
    if classifier:
        probabilities[known] = scan(classifier, folder, "findings").probabilities[known]
    names = row_names(folder)
    facts = {
        f"num_unlabelled_{key}": len(known) - sum(known),
        f"num_unreadable_{key}": len(scores.failures),
        f"unreadable_{key}": {names[row]: why for row, why in scores.failures.items()},
    }
    return FilmSet(film_paths(folder), asked, folder.labels, probabilities, scores.readable), facts


def _score_features(
    inputs: FilmInputs,
    extractors: Sequence[FilmClassifier],
    folders: Mapping[str, PairsFolder],
    rows: Mapping[str, np.ndarray],
    scan: Scan,
    metrics: Sequence[Metric],
    groupings: Sequence[Grouping],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metrics of every extractor's features; the first one's in the headline keys, and as items."""
    asked = [metric for metric in metrics if metric.needs == ("features",)]
    result: dict[str, Any] = {"features": {}}
    items: dict[str, np.ndarray] = {}
    tables = tuple(folders[key].table.iloc[rows[key]] for key in ("synthetic", "real", "floor"))
    for extractor in extractors if asked else ():
        features = {
            key: scan(extractor, folder, f"{key} films").features[rows[key]]
            for key, folder in folders.items()
        }
        sizes = len(folders["synthetic"]), len(folders["real"])
        sets = FeatureSets(**features, rows=(rows["synthetic"], rows["real"]), sizes=sizes)
        first = extractor is extractors[0]
        figures, parts = score_metrics(asked, replace(inputs, features=sets), ("features",), with_items=first)
        figures = {**sets.counts, **figures}
        if first:
            items = parts | measure_groups(asked, inputs, sets, groupings, tables)
            labels = {key: folder.labels[rows[key]] for key, folder in folders.items()}
            per_finding, skipped = compare_findings(labels, features, inputs.rng("per_finding"))
            result |= {**figures, "per_finding": per_finding, "per_finding_skipped": skipped}
        stated = {"hash": extractor.identity, "preprocessing": extractor.preprocessing}
        result["features"][extractor.source] = {**stated, **figures}
    return result, items


def _name_items(synthetic: PairsFolder, held_out: PairsFolder) -> dict[str, np.ndarray]:
    # A prompt belongs to the name: two systems are paired only where they were asked for the same.
    asked = zip(row_names(synthetic), prompts(synthetic), strict=True)
    folders = (synthetic, held_out)
    return {
        "name": np.array([f"{name}: {prompt}" for name, prompt in asked] + row_names(held_out)),
        "patient": np.concatenate([folder.table["patient_id"].to_numpy(str) for folder in folders]),
        "stratum": np.repeat([SYNTHETIC, REAL], [len(folder) for folder in folders]),
    }


def _score(context: "Context", used: dict[str, Any], optional: bool, metrics: Sequence[Metric]) -> Scored:
    settings = context.settings
    for flag, folder in (("--real", context.real), ("--synthetic", context.films)):
        if not folder.has_films:
            raise ValueError(f"{flag} {folder.root} is a text-only pairs folder: there are no films to score")
    used |= {**context.network_names, **read_guidance(context.films.root)}
    return evaluate_films(
        context.real,
        context.films,
        context.extractors,
        context.classifier,
        metrics,
        split=settings.split,
        policy=(settings.uncertain, settings.blank),
        seed=settings.seed,
        batch_size=settings.batch_size,
        cache_dir=context.cache_dir,
        groupings=context.groupings,
        controls=context.controls,
    )


def _add_guidance(context: "Context", results: dict[str, Any]) -> None:
    settings = context.settings
    if settings.guidance:
        results["films"]["guidance"] = read_points(settings.guidance, (settings.out, results))


SECTION = Section(
    name="films",
    title="Films",
    legend="Floor: real against real. Real: the real films.",
    keys={
        "num_fidelity": "films on each side of every distance",
        "num_features": "width of the first extractor's features",
        "floor": "which real films the floor takes",
        "features": "`features.SOURCE`: every figure of features, over each extractor, with `hash` and "
        "`preprocessing`",
        "per_finding": "`per_finding.FINDING`: `num_films`, `fid`, `kid` and their floors",
        "per_finding_skipped": "finding -> why it has none",
        "kid_std": "deviation of KID over its subsets; `kid_floor_std`",
        "auroc_findings": "findings that the means are over",
        "auroc_skipped": "finding -> why it is not in the means",
        "auroc_per_finding": "finding -> figure; also `average_precision_per_finding`, `ece_per_finding`; "
        "`_real`",
        "auroc_num_positive": "finding -> films; `auroc_num_negative`; `_real`",
        "policy": "what `uncertain` and `blank` findings became",
        "ssim_size": "pixels at which films were compared; `_real`",
        "ms_ssim_scales": "scales that fit; `_real`",
        "num_synthetic": "rows; `num_real`",
        "num_unreadable_X": "films that cannot be read; `unreadable_X`: file name -> why",
        "unreadable_X": "file name -> why it cannot be read",
        "num_unlabelled_X": "films without a prompt, report or finding: left out of AUROC, AP and ECE",
        "controls": "with `--controls`: kind (`side`, `severity`, `sex`, `view`, `age`) -> how far films "
        "show it as their prompts ask; `num_KIND`: prompts or findings that ask for it; `controls_real`, "
        "`controls_shuffled`: ceiling and floor",
        "guidance": "with `--guidance`: a list of `curve`, `scale`, `num_fidelity`, `auroc_mean`, `fid`, "
        "intervals, real films",
    },
    conventions={
        "films.features": "the same figures over every extractor asked for, each with its preprocessing",
        "films.per_finding": "FID and KID of films with the finding against real ones with it, floor at the "
        f"same n; findings with fewer than {MIN_PER_FINDING} films on a side are named; KID from "
        f"{MIN_FOR_KID} on, below which it scatters by more than half of its value",
        "films.num_unlabelled_synthetic": "films without a prompt, report or finding: not in AUROC, AP "
        "and ECE",
        "films.intervals": "95% percentile bootstrap, patients resampled; where a figure says another way, "
        "that one",
    },
    score=_score,
    count=count_films,
    tables=film_tables,
    finish=_add_guidance,
    share=share_findings,
)
