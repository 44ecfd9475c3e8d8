"""What `evaluation.evaluate` does: data at hand become what the command reads, then its code runs."""

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.context import Context
from evaluation.images.inputs import FeatureSets, FilmInputs
from evaluation.inputs.at_hand import as_folder, is_texts, text_folder
from evaluation.inputs.rows import DEFAULT_REPORTS, ReportPairs, find_decoder_tokens
from evaluation.metric import ROOMS, Metric, find_metrics, metrics_of, score_metrics
from evaluation.run import collect_results, score_sections
from evaluation.settings import ScoreSettings
from evaluation.statistics.items import REAL, SYNTHETIC, intervals

NETWORKED = ("films", "pairs", "privacy")  # sections that need --classifier or --features


def evaluate_data(
    real: Any, synthetic: Any, metrics: Iterable[str] | None, cache: Any, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """See `evaluation.evaluate`."""
    chosen = (
        None if metrics is None else _choose([metrics] if isinstance(metrics, str) else metrics, settings)
    )
    with tempfile.TemporaryDirectory() as scratch:
        made = _make_settings(real, synthetic, Path(cache or scratch), settings, chosen)
        if _is_features(real) or _is_features(synthetic):
            return _score_features(real, synthetic, made, chosen)
        context = _open(real, synthetic, made, Path(scratch))
        asked = _group(context, chosen)
        scored, _ = score_sections(context, asked, optional=chosen is None and len(asked) > 1)
        return collect_results(scored)


def _choose(names: Iterable[str], settings: Mapping[str, Any]) -> list[Metric]:
    """The metrics of the names; a section's means those of it that no flag asks for, or whose flag is set."""
    chosen: dict[str, Metric] = {}
    for name in names:
        for metric in find_metrics([name]):
            if name not in ROOMS or not metric.flag or settings.get(metric.flag):
                chosen[metric.name] = metric
    return list(chosen.values())


def _make_settings(
    real: Any, synthetic: Any, out: Path, settings: Mapping[str, Any], chosen: Sequence[Metric] | None
) -> ScoreSettings:
    known = {field.name: field for field in dataclasses.fields(ScoreSettings)}
    for name in ("real", "synthetic", "out", "guidance", "format", "dry_run"):
        del known[name]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"evaluate: no setting {unknown[0]!r}; there are {', '.join(sorted(known))}")
    values: dict[str, Any] = dict(settings)
    for name in ("features", "by"):
        if isinstance(values.get(name), str | Path):
            values[name] = (str(values[name]),)
    files = ("captions", "bert_score", "reports", "distilroberta", "chexbert")
    for name in (*files, "green_prompt", "crimson_prompt"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    for name in ("radgraph_json", "ratescore"):
        if values.get(name):
            values[name] = tuple(map(Path, values[name]))
    for name in ("classifier", "reidentify", "clip", "radgraph", "radcliq", "green", "crimson"):
        if values.get(name) is not None:
            values[name] = str(values[name])
    for metric in chosen or ():
        if metric.flag and not values.get(metric.flag):
            if known[metric.flag].type is not bool:
                raise ValueError(f"metric {metric.name}: say what computes it, {metric.flag}=...")
            values[metric.flag] = True
    return ScoreSettings(_name(real), out, None if synthetic is None else _name(synthetic), **values)


def _name(data: Any) -> Path:
    """What the inputs of the results call the data."""
    return Path(data) if isinstance(data, str | Path) else Path(f"({type(data).__name__})")


def _is_features(data: Any) -> bool:
    return isinstance(data, np.ndarray) and data.ndim == 2


def _open(real: Any, synthetic: Any, settings: ScoreSettings, scratch: Path) -> Context:
    """Folders, or texts, as the sections read them."""
    split = settings.split
    if is_texts(real) or is_texts(synthetic):
        if not (is_texts(real) and is_texts(synthetic)) or len(real) != len(synthetic):
            raise ValueError("evaluate: lists of texts are real reports and the generated report of each")
        folder = text_folder(real, split)
        names = folder.table["study_id"].tolist()
        counts = {
            "num_scored": len(real),
            "num_rows_of_split": len(real),
            "num_empty_reports": sum(not text.strip() for text in synthetic),
        }
        remarks = find_decoder_tokens(synthetic, "evaluate")
        generated = ReportPairs(list(real), list(synthetic), names, names, counts, remarks, folder.table)
        return Context(dataclasses.replace(settings, synthetic=None), folder, None, generated)
    folders = (
        None if data is None or isinstance(data, str | Path) else as_folder(data, name, split, scratch / name)
        for name, data in (("real", real), ("synthetic", synthetic))
    )
    real_folder, synthetic_folder = folders
    return Context(settings, real_folder, synthetic_folder)


def _group(context: Context, chosen: Sequence[Metric] | None) -> dict[str, list[Metric]]:
    """Section -> metrics to compute: those chosen, or all that the inputs and settings allow."""
    settings = context.settings
    if chosen is not None:
        asked: dict[str, list[Metric]] = {}
        for metric in chosen:
            asked.setdefault(metric.section, []).append(metric)
        lacking = set(asked) - {"reports"} if context.synthetic is None else set()
        if lacking:
            raise ValueError(f"evaluate: {', '.join(sorted(lacking))} need synthetic films")
        return asked
    reports = context.generated or settings.reports
    if not reports and context.synthetic is not None:
        reports = (context.synthetic.root / DEFAULT_REPORTS).is_file()
    names = ["reports"] if reports else []
    if context.synthetic is not None and (settings.classifier or settings.features):
        names += NETWORKED
    if not names:
        raise ValueError(
            "evaluate: nothing to score; films need classifier=... or features=..., reports need reports=..."
        )
    return {name: [m for m in metrics_of(name) if not m.flag or getattr(settings, m.flag)] for name in names}


def _score_features(
    real: np.ndarray, synthetic: np.ndarray, settings: ScoreSettings, chosen: Sequence[Metric] | None
) -> dict[str, Any]:
    """Metrics of two feature arrays, (N, D) and (M, D); without other real films there is no floor."""
    if not (_is_features(real) and _is_features(synthetic)):
        raise ValueError("evaluate: features (N, D) are given for both sides or for neither")
    if settings.by:
        raise ValueError(f"evaluate: by={settings.by[0]!r}: features alone have no columns; pass folders")
    every = metrics_of("films") if chosen is None else chosen
    metrics = [metric for metric in every if metric.needs == ("features",)]
    refused = [metric.name for metric in chosen or () if metric not in metrics]
    if refused:
        raise ValueError(f"evaluate: {refused[0]} needs more than features")
    sets = FeatureSets.match(synthetic, real, None, np.random.default_rng(settings.seed))
    inputs = FilmInputs(settings.seed, sets)
    found, items = score_metrics(metrics, inputs, ("features",))
    sizes = [len(synthetic), len(real)]
    items["patient"] = np.array([f"{i:09d}" for size in sizes for i in range(size)])
    items["stratum"] = np.repeat([SYNTHETIC, REAL], sizes)
    found |= {**sets.counts, "num_synthetic": sizes[0], "num_real": sizes[1]}
    found["intervals"] = intervals(metrics, items, settings.num_bootstrap, settings.seed)
    found["num_bootstrap"] = settings.num_bootstrap
    return collect_results({"films": found, "inputs": {"films": {"seed": settings.seed}}})
