"""Clinical F1 of chest X-ray reports, as a module of Hugging Face `evaluate`.

import evaluate
metric = evaluate.load("evaluation/clinical_f1")   # from the repository, or with it on the path
metric.compute(predictions=reports, references=real_reports)
"""

import datasets
import evaluate

from data_module.labeler import label_reports
from evaluation.statistics.findings import UNCERTAIN_POLICIES, score_conventions

_DESCRIPTION = """
Agreement of two reports of a chest X-ray on the 14 CheXpert findings, read off both by a rule labeler.
"""
_INPUTS = """
Args:
    predictions: generated reports.
    references: the real report of each.
    uncertain: what an uncertain finding is: "negative", "positive" or "ignore".

Returns:
    {micro,macro,example}_{precision,recall,f1}_{14,5}; None where nothing is positive on either side.
"""
_CITATION = """
@inproceedings{irvin2019chexpert,
  title={CheXpert}, author={Irvin, Jeremy and others}, booktitle={AAAI}, year={2019}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _INPUTS)
class ClinicalF1(evaluate.Metric):
    """Clinical F1 under one convention for uncertain findings."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str], uncertain: str = "negative") -> dict:
        if uncertain not in UNCERTAIN_POLICIES:
            raise ValueError(f"uncertain={uncertain!r}: choose one of {', '.join(UNCERTAIN_POLICIES)}")
        return score_conventions(label_reports(references), label_reports(predictions))[uncertain]
