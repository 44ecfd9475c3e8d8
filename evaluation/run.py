"""From folders to results.json: reads the inputs, calls the sections, merges and writes."""

import hashlib
import importlib.metadata
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from data_module.pairs import PairsFolder, write_atomic
from evaluation import films, pairs, reports
from evaluation.cache import score_cached
from evaluation.classifier import FilmClassifier
from evaluation.inputs import DEFAULT_REPORTS, film_paths, hash_folder, match_reports, texts
from evaluation.table import draw_auroc, render_markdown

SECTIONS = ("films", "reports", "pairs")
CONVENTIONS = {"films": films.CONVENTIONS, "reports": reports.CONVENTIONS, "pairs": pairs.CONVENTIONS}
LIBRARIES = ("torch", "transformers", "torchmetrics", "scikit-learn", "pycocoevalcap", "numpy")


class Settings(Protocol):
    """What `run_sections` needs to know (see evaluation/__main__.py)."""

    real: Path
    out: Path
    synthetic: Path | None
    classifier: str | None
    reports: Path | None
    split: str
    batch_size: int
    seed: int
    device: str


def run_sections(settings: Settings, sections: Sequence[str]) -> dict[str, Any]:
    """Score the named sections, merge them into OUT/results.json, write results.md and auroc.png.

    Raises:
        ValueError: names the folder, file or flag that is wrong.
    """
    if settings.batch_size < 1:
        raise ValueError(f"--batch-size {settings.batch_size}: must be at least 1")
    real = PairsFolder.open(settings.real)
    real.split(settings.split)  # say at once that the split is empty
    synthetic = PairsFolder.open(settings.synthetic) if settings.synthetic else None
    if synthetic is None and (settings.reports is None or set(sections) != {"reports"}):
        raise ValueError("--synthetic is missing: a pairs folder of synthetic films and reports")
    classifier = _open_classifier(settings, sections)
    inputs: dict[str, Any] = {
        "real": str(settings.real),
        "real_hash": hash_folder(real),
        "synthetic": str(settings.synthetic) if synthetic else None,
        "synthetic_hash": hash_folder(synthetic) if synthetic else None,
        "split": settings.split,
    }
    others = [name for name in SECTIONS if name not in sections]
    saved = _read_results(settings.out / "results.json", others, inputs, classifier)
    for section in sections:
        used = dict(inputs, seed=settings.seed)
        if section == "reports":
            path = settings.reports or synthetic.root / DEFAULT_REPORTS
            used["reports"] = str(path)
            # `all` also scores a generator that writes no reports of real films.
            absent = settings.reports is None and not path.is_file() and len(sections) > 1
            saved[section] = _no_reports(path) if absent else _score_reports(path, real, settings.split)
            if not absent:
                used["reports_hash"] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        else:
            used |= {"classifier": classifier.source, "classifier_hash": classifier.identity}
            scorer = _score_films if section == "films" else _score_pairs
            saved[section] = scorer(real, synthetic, classifier, settings)
        saved["inputs"][section] = used
    return _write_results(settings.out, saved)


def _open_classifier(settings: Settings, sections: Sequence[str]) -> FilmClassifier | None:
    if not {"films", "pairs"} & set(sections):
        return None
    if settings.classifier is None:
        raise ValueError(
            "--classifier is missing: a run folder of train_classifier.py, "
            "or torchxrayvision:densenet121-res224-all"
        )
    return FilmClassifier.open(settings.classifier, settings.device)


def _score_films(
    real: PairsFolder, synthetic: PairsFolder, classifier: FilmClassifier, settings: Settings
) -> dict[str, Any]:
    for flag, folder in (("--real", real), ("--synthetic", synthetic)):
        if not folder.has_films:
            raise ValueError(f"{flag} {folder.root} is a text-only pairs folder: there are no films to score")
    return films.evaluate_films(
        real,
        synthetic,
        classifier,
        split=settings.split,
        seed=settings.seed,
        batch_size=settings.batch_size,
        cache_dir=settings.out / "cache",
    )


def _score_reports(path: Path, real: PairsFolder, split: str) -> dict[str, Any]:
    from evaluation.labeler import label_reports

    matched = match_reports(path, real, split)
    train = texts(real.split("train")) if (real.table["split"] == "train").any() else []
    scores = reports.evaluate_reports(matched.references, matched.hypotheses, label_reports, train)
    return {**scores, **matched.counts}


def _no_reports(path: Path) -> dict[str, Any]:
    note = (
        f"Not scored: there is no {path}. It holds the generated reports of the held-out real films "
        "(columns file_name, report); name another with --reports."
    )
    print(f"reports: {note}", file=sys.stderr)
    return {**dict.fromkeys(reports.KEYS), "note": note}


def _score_pairs(
    real: PairsFolder, synthetic: PairsFolder, classifier: FilmClassifier, settings: Settings
) -> dict[str, Any]:
    from evaluation.labeler import label_reports

    def read(folder: PairsFolder, name: str) -> tuple[Any, Any, Any]:
        scores = score_cached(
            classifier, film_paths(folder), settings.out / "cache", settings.batch_size, progress=name
        )
        return folder.labels, label_reports(texts(folder)), classifier.decide(scores.probabilities)

    return pairs.evaluate_pairs(
        read(synthetic, "synthetic films"), read(real.split(settings.split), "real films"), settings.seed
    )


def _read_results(
    path: Path, sections: Sequence[str], inputs: dict[str, Any], classifier: FilmClassifier | None
) -> dict[str, Any]:
    """Those of `sections` at `path` that were scored on the same data; others are dropped and named."""
    kept: dict[str, Any] = {"inputs": {}}
    if not path.is_file():
        return kept
    try:
        saved = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): delete it, or name another --out") from error
    for section in (name for name in sections if name in saved):
        before = saved.get("inputs", {}).get(section, {})
        now = {**inputs, "classifier_hash": classifier.identity if classifier else None}
        # A command that does not use an input says nothing about it.
        same = all(
            None in (before.get(key), now[key]) or before[key] == now[key]
            for key in ("real_hash", "synthetic_hash", "split", "classifier_hash")
        )
        if same:
            kept[section], kept["inputs"][section] = saved[section], before
        else:
            print(f"{path}: section {section} was scored on other data, and is dropped", file=sys.stderr)
    return kept


def _write_results(out: Path, scored: dict[str, Any]) -> dict[str, Any]:
    results: dict[str, Any] = {name: scored[name] for name in SECTIONS if name in scored}
    results["conventions"] = {
        key: text for name in SECTIONS if name in scored for key, text in CONVENTIONS[name].items()
    }
    results["inputs"] = scored["inputs"]
    results["versions"] = {name: importlib.metadata.version(name) for name in LIBRARIES}
    results = _plain(results)
    markdown = render_markdown(results)
    write_atomic(out / "results.md", markdown)
    if "films" in results:
        draw_auroc(results["films"], out / "auroc.png")
    write_atomic(out / "results.json", json.dumps(results, indent=2, allow_nan=False) + "\n")
    print(markdown.split("## Conventions")[0].rstrip())
    print(f"\nwritten to {out / 'results.json'}")
    return results


def _plain(value: Any) -> Any:
    """JSON values; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
