"""The section `reports`: do generated reports say what the real report of the same film says?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.inputs.rows import DEFAULT_REPORTS, match_reports
from evaluation.metric import Metric, metrics_of, score_metrics
from evaluation.reports.inputs import ReportInputs, ReportLabeler
from evaluation.reports.tables import report_tables
from evaluation.reports.variety import most_frequent_report
from evaluation.sections import Scored, Section
from evaluation.statistics.findings import UNCERTAIN_POLICIES
from evaluation.statistics.groups import group_items
from evaluation.statistics.items import REAL
from runtime.files import file_hash

if TYPE_CHECKING:
    from evaluation.context import Context

AVAILABLE = ("texts", "labels")
_NETWORKS = (
    *("distilroberta", "chexbert", "radgraph_json", "radcliq", "ratescore"),
    *("green", "green_prompt", "crimson", "crimson_prompt", "llm_endpoint"),
)


def evaluate_reports(
    references: Sequence[str],
    hypotheses: Sequence[str],
    label: ReportLabeler,
    train_reports: Sequence[str] = (),
    metrics: Sequence[Metric] | None = None,
    settings: Any = None,
    names: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The section `reports` of results.json, for N real reports and the N generated ones.

    Args:
        train_reports: where the floors take their one report for every film from.
        metrics: those to compute; by default all that no flag asks for.
        settings: what learned metrics read their flags off.
        names: film or study of each report, by which files of other tools name them.

    Returns:
        The section, and its items.

    Raises:
        ValueError: no reports, or not as many of each.
    """
    if len(references) != len(hypotheses) or not references:
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} reports: as many of each, not 0"
        )
    if metrics is None:
        metrics = [metric for metric in metrics_of("reports") if not metric.flag]
    baseline = most_frequent_report(train_reports or references)
    inputs = ReportInputs(0, references, hypotheses, label, baseline, train_reports, names, settings)
    result, items = score_metrics(metrics, inputs, AVAILABLE)
    remarks = [
        f"{unread} of {len(references)} answers for {name.upper()} do not say its numbers, and are left out."
        for name in ("green", "crimson")
        if (unread := result.get(f"num_{name}_unread"))
    ]
    if len(references) == 1 and "cider" in result:
        remarks.append("CIDEr of a single report is 0: no word tells it from the other reports.")
    typical = result.get("typical", {}).get("bleu_4", 0.0)
    if result.get("bleu_4", 1.0) < typical:
        remarks.append(
            f"One training report for every film has a higher BLEU-4, {typical:.3f}: figures of words do not "
            "tell here whether a film was read; those of findings do."
        )
    return result | ({"remarks": remarks} if remarks else {}), items


def _score(context: "Context", used: dict[str, Any], optional: bool, metrics: Sequence[Metric]) -> Scored:
    settings, real = context.settings, context.real
    used |= context.labeler_name
    if context.generated:
        matched = context.generated
    else:
        path = settings.reports or context.films.root / DEFAULT_REPORTS
        used["reports"] = str(path)
        # `all` also scores a generator that writes no reports of real films.
        if settings.reports is None and not path.is_file() and optional:
            return (
                f"Not scored: there is no {path}. It holds the generated reports of the held-out real films "
                "(columns file_name, report); name another with --reports."
            )
        matched = match_reports(path, real, settings.split)
        used["reports_hash"] = file_hash(path)[:16]
    if settings.bert_score:
        used["bert_score"] = f"{settings.bert_score}, layer {settings.bert_score_layer}"
    for flag in _NETWORKS:
        if getattr(settings, flag):
            used[flag] = str(getattr(settings, flag))
    train = real.table[real.table["split"] == "train"]["report"].fillna("").astype(str).tolist()
    scores, items = evaluate_reports(
        matched.references, matched.hypotheses, context.labeler, train, metrics, settings, matched.names
    )
    items["name"], items["patient"] = np.array(matched.names), np.array(matched.patients)
    items["stratum"] = np.full(len(matched.names), REAL)
    items |= group_items(context.groupings, [matched.rows])
    remarks = [*matched.remarks, *scores.pop("remarks", [])]
    return {**scores, **matched.counts, "remarks": remarks}, items


def _count(section: Mapping[str, Any]) -> str:
    whole = section.get("num_rows_of_split", section["num_scored"])
    counts = {
        "empty": section.get("num_empty_reports"),
        "of films outside the split": section.get("num_outside_split"),
        "of unknown films": section.get("num_unknown"),
    }
    others = "".join(f"; {count} {what}" for what, count in counts.items() if count)
    return f"{section['num_scored']} reports scored, of {whole} rows of the split{others}."


SECTION = Section(
    name="reports",
    title="Reports of held-out real films",
    legend="Floor: one training report for every film: the most frequent one, for words the one that shares "
    "most of them with all. Real: the real reports.",
    keys={
        "contradictions": "kind (`any`, `addition`, `assertion`, `side`, `severity`) -> share of generated "
        "reports that contradict themselves so; `contradictions_real`: of the real ones",
        "per_finding": "finding -> `precision`, `recall`, `f1`, `support`, uncertain as negative",
        "undefined": "findings positive on neither side",
        "clinical": "`clinical.POLICY.{micro,macro,example}_{precision,recall,f1}_{14,5}`; POLICY: "
        "`negative`, `positive`, `ignore`",
        "baseline": "`baseline.X`: a figure of the most frequent report for every film",
        "typical": "`typical.X`: a figure of words of the training report with the highest BLEU-4 against "
        "all of them, for every film",
        "share_most_frequent": "share of the most frequent report; `_real`",
        "mean_num_words": "words of a report; `_real`",
        "share_temporal_real": "share of real reports with a word of change",
        "inverse_radcliq": "1 / `radcliq`, by which ReXrank ranks",
        "ratescore_before_0_6": "`ratescore` as its package counted it before version 0.6.0",
        "num_without_entities": "pairs of reports of which one has no entity for `ratescore`",
        "num_green_unread": "answers that do not say the numbers of `green`",
        "green_matched": "matched findings of a report, mean",
        "green_errors": "kind -> clinically significant errors of a report, mean",
        "num_crimson_unread": "answers of another form than `crimson` reads",
        "crimson_errors": "kind -> errors of a report, mean",
        "remarks": "what a reader should know of the figures: sentences, perhaps none",
        "num_scored": "reports scored",
        "num_rows_of_split": "rows of the split",
        "num_outside_split": "reports of films of other splits",
        "num_unknown": "reports of films that the real folder does not hold",
        "num_empty_reports": "reports without a word; they count as such",
    },
    conventions={
        "reports.clinical": "precision, recall and F1; "
        + "; ".join(f"{name}: {text}" for name, text in UNCERTAIN_POLICIES.items())
        + "; not mentioned is negative; macro over findings, example over reports, positive on either side",
        "reports.baseline": "the most frequent report of the training rows (of the references, where there "
        "are none) given for every film",
        "reports.intervals": "95% percentile bootstrap, patients resampled",
    },
    promised=(
        *("micro_f1_14", "macro_f1_14", "micro_f1_5", "macro_f1_5"),
        *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"),
    ),
    score=_score,
    count=_count,
    tables=report_tables,
)
