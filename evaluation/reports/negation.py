"""Which metrics notice a flipped negation? Shipped cases: a reference, its paraphrase, and its flip.

A metric notices a case when the paraphrase, which says the same in other words, scores higher than the flip,
which says the opposite in nearly the same words.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from data_module.labeler import label_reports
from evaluation.reports.overlap import score_overlap
from evaluation.reports.section import Scorer
from evaluation.reports.terms import score_terms
from evaluation.statistics.findings import score_conventions
from evaluation.statistics.weighted import bleu
from runtime.files import write_atomic

CASES = Path(__file__).parent / "negation_flips.csv"


def _clinical(references: list[str], hypotheses: list[str]) -> np.ndarray:
    """(N,) share of findings on which the labels of both reports agree, of those labelled in either."""
    truth, guess = (np.nan_to_num(label_reports(x), nan=-9.0) for x in (references, hypotheses))
    mentioned = (truth != -9.0) | (guess != -9.0)
    mentioned[:, 0] = False  # No Finding follows from the others
    return (mentioned & (truth == guess)).sum(axis=1) / np.maximum(mentioned.sum(axis=1), 1)


def _f1(references: list[str], hypotheses: list[str]) -> np.ndarray:
    labels = [label_reports(x) for x in (references, hypotheses)]
    rows = [
        score_conventions(a[None], b[None])["negative"]["micro_f1_14"] for a, b in zip(*labels, strict=True)
    ]
    return np.array([0.0 if value is None else value for value in rows])


def score_cases(scorers: Mapping[str, Scorer] | None = None) -> pd.DataFrame:
    """Every metric on the shipped cases: metric, paraphrase, flip (means), noticed (share of cases).

    Args:
        scorers: further metrics (BERTScore ...), by name.
    """
    cases = pd.read_csv(CASES, dtype=str)
    references = cases["reference"].tolist()
    sides = {side: cases[side].tolist() for side in ("paraphrase", "flip")}
    values: dict[str, dict[str, np.ndarray]] = {}
    for side, texts in sides.items():
        overlap = score_overlap(references, texts)
        figures = {"clinical F1": _f1(references, texts), "label agreement": _clinical(references, texts)}
        figures["clinical-terms F1"] = np.array(
            [score_terms(*pair) for pair in zip(references, texts, strict=True)]
        )
        figures |= {f"BLEU-{n}": bleu(overlap.bleu_counts, n)(np.eye(len(texts))) for n in (1, 4)}
        figures |= {"ROUGE-L": overlap.rouge_l, "CIDEr": overlap.cider}
        for name, score in (scorers or {}).items():
            figures[name] = score(references, texts)
        for name, each in figures.items():
            values.setdefault(name, {})[side] = np.nan_to_num(each)
    rows = [
        {
            "metric": name,
            "paraphrase": float(each["paraphrase"].mean()),
            "flip": float(each["flip"].mean()),
            "noticed": float((each["paraphrase"] > each["flip"] + 1e-9).mean()),
        }
        for name, each in values.items()
    ]
    return pd.DataFrame(rows)


def write_negation(out: Path, scorers: Mapping[str, Scorer] | None = None) -> str:
    """Write OUT (Markdown) and OUT with .json; returns the Markdown."""
    table = score_cases(scorers)
    num = len(pd.read_csv(CASES))
    lines = [
        f"{num} cases: mean score of a paraphrase, of the sentence with its negation flipped, and the "
        "share of cases in which the paraphrase scores higher.",
        "",
        "| metric | paraphrase | flipped | noticed |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row.metric} | {row.paraphrase:.3f} | {row.flip:.3f} | {row.noticed:.2f} |"
        for row in table.itertuples()
    ]
    text = "\n".join(lines) + "\n"
    write_atomic(out, text)
    write_atomic(out.with_suffix(".json"), json.dumps(table.to_dict("records"), indent=2) + "\n")
    return text
