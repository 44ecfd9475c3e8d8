"""The section `pairs`: do prompt, synthetic film and synthetic report agree with each other?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder, film_paths
from evaluation.inputs.rows import find_decoder_tokens, prompts, row_names, texts
from evaluation.metric import Metric, metrics_of, score_metrics
from evaluation.networks.cache import score_cached
from evaluation.pairs.inputs import Embeddings, PairInputs, Triple
from evaluation.pairs.tables import pair_tables
from evaluation.sections import Scored, Section
from evaluation.statistics.groups import group_items
from evaluation.statistics.items import REAL, SYNTHETIC

if TYPE_CHECKING:
    from evaluation.context import Context

AVAILABLE = ("labels", "texts", "probabilities")


def evaluate_pairs(
    synthetic: Triple,
    real: Triple,
    seed: int = 0,
    metrics: Sequence[Metric] | None = None,
    embeddings: tuple[Embeddings, Embeddings] | None = None,
    reports: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The section `pairs` of results.json, and its items.

    Args:
        synthetic, real: (prompt findings, report labels, film decisions), each (N, 14).
        metrics: those to compute; all of the section by default.
        embeddings: of the synthetic and of the real pairs; without them CLIP scores are left out.
        reports: of the synthetic and of the real pairs; without them contradictions are left out.
    """
    metrics = metrics_of("pairs") if metrics is None else metrics
    inputs = PairInputs(seed, synthetic, real, *(embeddings or (None, None)), *reports)
    return score_metrics(metrics, inputs, (*AVAILABLE, *(["embeddings"] if embeddings else [])))


def _score(context: "Context", used: dict[str, Any], optional: bool, metrics: Sequence[Metric]) -> Scored:
    settings = context.settings
    synthetic = context.films
    folders = (synthetic, context.real.split(settings.split))
    used |= {**context.network_names, **context.labeler_name}
    for name, folder in zip(("synthetic", "real"), folders, strict=True):
        if not any(text.strip() for text in texts(folder)):
            note = f"Not scored: the {name} folder {folder.root} holds no reports."
            if optional:
                return note
            raise ValueError(note)
    made, real = (_read_findings(context, folder) for folder in folders)
    embeddings, counts = None, {"num_empty_reports": sum(not text.strip() for text in texts(synthetic))}
    if settings.clip:
        used["clip"] = settings.clip
        embeddings, counts["num_texts_cut"] = _embed(context, settings.clip, folders)
    reports = (texts(folders[0]), texts(folders[1]))
    result, items = evaluate_pairs(made, real, settings.seed, metrics, embeddings, reports)
    items |= {
        "name": np.array([name for folder in folders for name in row_names(folder)]),
        "patient": np.concatenate([folder.table["patient_id"].to_numpy(str) for folder in folders]),
        "stratum": np.repeat([SYNTHETIC, REAL], [len(folder) for folder in folders]),
    }
    items |= group_items(context.groupings, [folder.table for folder in folders])
    remarks = find_decoder_tokens(texts(synthetic), f"--synthetic {synthetic.root}")
    return result | counts | {"remarks": remarks}, items


def _read_findings(context: "Context", folder: PairsFolder) -> Triple:
    """(prompt, report, film) findings of a folder, each (N, 14)."""
    seen = np.full((len(folder), len(FINDINGS)), np.nan)
    if context.classifier:
        batch_size = context.settings.batch_size
        scores = score_cached(context.classifier, film_paths(folder), context.cache_dir, batch_size, "films")
        seen = context.classifier.decide(scores.probabilities)
    return folder.labels, context.labeler(texts(folder)), seen


def _embed(
    context: "Context", source: str, folders: Sequence[PairsFolder]
) -> tuple[tuple[Embeddings, Embeddings], int]:
    """Embeddings of both folders, and how many texts were cut at the text tower's length."""
    from evaluation.networks.two_towers import open_two_towers

    settings = context.settings
    clip = open_two_towers(source, context.device)
    embedded, num_cut = [], 0
    for folder in folders:
        paths = film_paths(folder)
        rows = {"film": clip.embed_films(paths, context.cache_dir, settings.batch_size, "CLIP, films")}
        for name, sentences in (("prompt", prompts(folder)), ("report", texts(folder))):
            rows[name], cut = clip.embed_texts(sentences, f"CLIP, {name}s")
            num_cut += cut
        embedded.append(rows)
    return (embedded[0], embedded[1]), num_cut


def _count(section: Mapping[str, Any]) -> str:
    if "num_pairs" not in section:
        return ""
    empty = f", {section['num_empty_reports']} without a report" if section["num_empty_reports"] else ""
    return f"{section['num_pairs']} pairs, {section['num_readable']} with a readable film{empty}."


SECTION = Section(
    name="pairs",
    title="Pairs",
    legend="Floor: reports (or films) shuffled. Real: the real pairs.",
    keys={
        "contradictions": "kind (`any`, `addition`, `assertion`, `side`, `severity`) -> share of generated "
        "reports that contradict themselves so; `contradictions_real`: of the real ones",
        "per_finding": "`report_vs_prompt`, `film_report_agreement`, `film_vs_prompt` by finding",
        "retrieval": "`retrieval.{film_to_report,report_to_film}`: `r@1`, `r@5`, `pool`; `retrieval_real`",
        "remarks": "what a reader should know of the figures: sentences, perhaps none",
        "num_pairs": "rows; `_real`",
        "num_readable": "pairs with a film that can be read; `_real`",
        "num_empty_reports": "synthetic pairs without a report; they count as reports without findings",
        "num_texts_cut": "with `--clip`: texts longer than its text tower",
    },
    conventions={
        "pairs.num_empty_reports": "synthetic pairs without a report; they count as reports without findings",
        "pairs.intervals": "95% percentile bootstrap, patients resampled; retrieval with the pools held",
        "pairs.*_real": "the same figure on the real pairs of the split, whose finding columns stand for the "
        "prompt: the ceiling",
        "pairs.*_shuffled": "the same figure with each item's report (or film) given to another item: the "
        "floor",
    },
    promised=("report_vs_prompt_micro_f1_14", "film_report_agreement"),
    score=_score,
    count=_count,
    tables=pair_tables,
)
