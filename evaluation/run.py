"""From folders to results.json: calls the sections, merges and writes."""

import importlib.metadata
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_module.pairs import PairsFolder, film_paths
from evaluation.context import Context, Settings, open_scorers
from evaluation.images import section as films
from evaluation.images.guidance import read_guidance, read_points
from evaluation.inputs.results import read_results
from evaluation.inputs.rows import (
    DEFAULT_REPORTS,
    find_decoder_tokens,
    match_reports,
    prompts,
    row_names,
    texts,
)
from evaluation.networks.cache import score_cached
from evaluation.networks.clip import DomainClip
from evaluation.output.page import write_page
from evaluation.output.plots import draw_auroc
from evaluation.output.table import render_markdown
from evaluation.pairs import section as pairs
from evaluation.privacy import distances as privacy
from evaluation.privacy.section import TRAIN, evaluate_privacy
from evaluation.reports import section as reports
from evaluation.statistics.measures import REAL, SECTION_MEASURES, SYNTHETIC, intervals, save_items
from runtime.files import file_hash, write_atomic

SECTIONS = ("films", "reports", "pairs", "privacy")
CONVENTIONS = {
    "films": films.CONVENTIONS,
    "reports": reports.CONVENTIONS,
    "pairs": pairs.CONVENTIONS,
    "privacy": privacy.CONVENTIONS,
}
LIBRARIES = ("torch", "transformers", "torchmetrics", "scikit-learn", "pycocoevalcap", "numpy")
SCHEMA_VERSION = 3


def run_sections(settings: Settings, sections: Sequence[str]) -> dict[str, Any]:
    """Score the named sections, merge them into OUT/results.json, write results.md and report.html.

    Raises:
        ValueError: names the folder, file or flag that is wrong.
    """
    context = Context(settings)
    if context.synthetic is None and (settings.reports is None or set(sections) != {"reports"}):
        raise ValueError("--synthetic is missing: a pairs folder of synthetic films and reports")
    if {"films", "pairs", "privacy"} & set(sections):
        _ = context.extractors  # say at once that a network is missing
    inputs = context.inputs
    others = [name for name in SECTIONS if name not in sections]
    saved = _read_results(settings.out / "results.json", others, inputs, context)
    score = {
        "films": _score_films,
        "reports": _score_reports,
        "pairs": _score_pairs,
        "privacy": _score_privacy,
    }
    for section in sections:
        used = dict(inputs, seed=settings.seed)
        scored = score[section](context, used, len(sections) > 1)
        if isinstance(scored, str):
            print(f"{section}: {scored}", file=sys.stderr)
            keys = {"reports": reports.KEYS, "pairs": pairs.KEYS}.get(section, ())
            saved[section] = {**dict.fromkeys(keys), "note": scored}
            (settings.out / "items" / f"{section}.npz").unlink(missing_ok=True)
        else:
            saved[section], items = scored
            save_items(settings.out / "items" / f"{section}.npz", items)
            if section in SECTION_MEASURES:
                saved[section]["intervals"] = intervals(section, items, settings.num_bootstrap, settings.seed)
                saved[section]["num_bootstrap"] = settings.num_bootstrap
        saved["inputs"][section] = used
    if settings.guidance and "films" in sections:
        saved["films"]["guidance"] = read_points(settings.guidance, (settings.out, saved))
    return _write_results(context, saved)


Scored = tuple[dict[str, Any], dict[str, np.ndarray]] | str  # or why there is nothing to score


def _score_films(context: Context, used: dict[str, Any], optional: bool) -> Scored:
    settings = context.settings
    for flag, folder in (("--real", context.real), ("--synthetic", context.synthetic)):
        if not folder.has_films:
            raise ValueError(f"{flag} {folder.root} is a text-only pairs folder: there are no films to score")
    _name_networks(context, used)
    used |= read_guidance(context.synthetic.root)
    return films.evaluate_films(
        context.real,
        context.synthetic,
        context.extractors,
        context.classifier,
        split=settings.split,
        policy=(settings.uncertain, settings.blank),
        seed=settings.seed,
        batch_size=settings.batch_size,
        cache_dir=context.cache_dir,
    )


def _name_networks(context: Context, used: dict[str, Any]) -> None:
    used["features"] = [extractor.source for extractor in context.extractors]
    used["features_hash"] = context.extractors[0].identity
    if context.classifier:
        used |= {"classifier": context.classifier.source, "classifier_hash": context.classifier.identity}


def _score_reports(context: Context, used: dict[str, Any], optional: bool) -> Scored:
    settings, real = context.settings, context.real
    path = settings.reports or Path(settings.synthetic) / DEFAULT_REPORTS
    used |= {"reports": str(path), **context.labeler_name}
    # `all` also scores a generator that writes no reports of real films.
    if settings.reports is None and not path.is_file() and optional:
        return (
            f"Not scored: there is no {path}. It holds the generated reports of the held-out real films "
            "(columns file_name, report); name another with --reports."
        )
    matched = match_reports(path, real, settings.split)
    used["reports_hash"] = file_hash(path)[:16]
    scorers = open_scorers(settings)
    used |= (
        {"bert_score": f"{settings.bert_score}, layer {settings.bert_score_layer}"}
        if settings.bert_score
        else {}
    )
    train = texts(real.split(TRAIN)) if (real.table["split"] == TRAIN).any() else []
    scores, items = reports.evaluate_reports(
        matched.references, matched.hypotheses, context.labeler, train, scorers
    )
    items["name"], items["patient"] = np.array(matched.names), np.array(matched.patients)
    items["stratum"] = np.full(len(matched.names), REAL)
    remarks = [*matched.remarks, *scores.pop("remarks", [])]
    return {**scores, **matched.counts, "remarks": remarks}, items


def _score_pairs(context: Context, used: dict[str, Any], optional: bool) -> Scored:
    settings = context.settings
    folders = (context.synthetic, context.real.split(settings.split))
    _name_networks(context, used)
    used |= context.labeler_name
    for name, folder in zip(("synthetic", "real"), folders, strict=True):
        if not any(text.strip() for text in texts(folder)):
            note = f"Not scored: the {name} folder {folder.root} holds no reports."
            if optional:
                return note
            raise ValueError(note)
    read = [_read_pairs(context, folder) for folder in folders]
    result = pairs.evaluate_pairs(*read, settings.seed)
    result["num_empty_reports"] = sum(not text.strip() for text in texts(context.synthetic))
    where = f"--synthetic {context.synthetic.root}"
    result["remarks"] = find_decoder_tokens(texts(context.synthetic), where)
    items = {
        "name": np.array([name for folder in folders for name in row_names(folder)]),
        "patient": np.concatenate([folder.table["patient_id"].to_numpy(str) for folder in folders]),
        "stratum": np.repeat([SYNTHETIC, REAL], [len(folder) for folder in folders]),
    }
    for place, key in enumerate(("prompt", "report", "film")):
        items[key] = np.concatenate([labels[place] for labels in read]).astype(np.float32)
    if settings.clip:
        used["clip"] = settings.clip
        embeddings, num_cut = _embed_pairs(context, folders)
        figures, parts = pairs.compare_embeddings(*embeddings, settings.seed)
        result |= figures
        result["num_texts_cut"] = num_cut
        items |= parts
    return result, items


def _read_pairs(context: Context, folder: PairsFolder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(prompt, report, film) findings of a folder, each (N, 14)."""
    seen = np.full((len(folder), 14), np.nan)
    if context.classifier:
        batch_size = context.settings.batch_size
        scores = score_cached(context.classifier, film_paths(folder), context.cache_dir, batch_size, "films")
        seen = context.classifier.decide(scores.probabilities)
    return folder.labels, context.labeler(texts(folder)), seen


def _embed_pairs(context: Context, folders: Sequence[PairsFolder]) -> tuple[list[dict[str, np.ndarray]], int]:
    clip = DomainClip(context.settings.clip, context.settings.device)
    embedded, num_cut = [], 0
    for folder in folders:
        rows = {
            "film": clip.embed_films(
                film_paths(folder), context.cache_dir, context.settings.batch_size, "CLIP, films"
            )
        }
        for name, sentences in (("prompt", prompts(folder)), ("report", texts(folder))):
            rows[name], cut = clip.embed_texts(sentences, f"CLIP, {name}s")
            num_cut += cut
        embedded.append(rows)
    return embedded, num_cut


def _score_privacy(context: Context, used: dict[str, Any], optional: bool) -> Scored:
    settings = context.settings
    absent = settings.split == TRAIN or not (context.real.table["split"] == TRAIN).any()
    if optional and (absent or not context.real.has_films or not context.synthetic.has_films):
        return f"Not scored: it needs films of split {TRAIN} in {context.real.root}, beside those of --split."
    _name_networks(context, used)
    return evaluate_privacy(
        context.real,
        context.synthetic,
        context.extractors[0],
        split=settings.split,
        batch_size=settings.batch_size,
        cache_dir=context.cache_dir,
    )


def _read_results(
    path: Path, sections: Sequence[str], inputs: dict[str, Any], context: Context
) -> dict[str, Any]:
    """Those of `sections` at `path` that were scored on the same data; others are dropped and named."""
    kept: dict[str, Any] = {"inputs": {}}
    if not path.is_file():
        return kept
    saved = read_results(path, "delete it, or name another --out")
    used = "extractors" in context.__dict__  # a command that uses no network says nothing about it
    for section in (name for name in sections if name in saved):
        before = saved.get("inputs", {}).get(section, {})
        now = {**inputs, "features_hash": context.extractors[0].identity if used else None}
        same = saved.get("schema_version") == SCHEMA_VERSION and all(
            None in (before.get(key), now[key]) or before[key] == now[key]
            for key in ("real_hash", "synthetic_hash", "split", "features_hash")
        )
        if same:
            kept[section], kept["inputs"][section] = saved[section], before
        else:
            print(
                f"{path}: section {section} was scored on other data, or by an older version, and is dropped",
                file=sys.stderr,
            )
            (path.parent / "items" / f"{section}.npz").unlink(missing_ok=True)
    return kept


def _write_results(context: Context, scored: dict[str, Any]) -> dict[str, Any]:
    out = context.settings.out
    results: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    results |= {name: scored[name] for name in SECTIONS if name in scored}
    results["conventions"] = {
        key: text for name in SECTIONS if name in scored for key, text in CONVENTIONS[name].items()
    }
    results["inputs"] = scored["inputs"]
    results["versions"] = {name: importlib.metadata.version(name) for name in LIBRARIES}
    results = _plain(results)
    write_atomic(out / "results.md", render_markdown(results))
    if "films" in results:
        draw_auroc(results["films"], out / "auroc.png")
    write_page(results, context.real, context.synthetic, context.settings.split, out)
    write_atomic(out / "results.json", json.dumps(results, indent=2, allow_nan=False) + "\n")
    print(render_markdown(results, with_conventions=False).rstrip())
    print(f"\nwritten to {out / 'results.json'} and {out / 'report.html'}")
    return results


def _plain(value: Any) -> Any:
    """JSON values; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
