"""BLEU and ROUGE-L of findings sections as R2Gen counts them, for the figures that papers on IU X-ray state.

What R2Gen (Chen et al., EMNLP 2020) does to a report: numbers of lists out, lower case, sentences cut at
". ", punctuation out of each, sentences joined by " . " with one at the end; words that occur fewer than
three times in the training reports become one unknown word; 60 words are kept. The reference is treated so
too, so its figures are higher than those of whole reports.
"""

import re
from collections import Counter
from collections.abc import Sequence

from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from data_module.sections import split_sections
from evaluation.reports.rouge import score_rouge_l

MIN_COUNT, MAX_WORDS, UNKNOWN = 3, 60, "<unk>"
_LIST_NUMBER = re.compile(r"(^|\s)[1-5]\. ")
_PUNCTUATION = re.compile(r"""[.,?;*!%^&_+():\-\[\]{}"'/\\<>=@]""")


def clean_findings(report: str) -> list[str]:
    """The words of a report's findings section; of all of it where it has no section."""
    findings, impression = split_sections(report)
    text = re.sub(r"\.{2,}", ".", findings or ("" if impression else report))
    text = _LIST_NUMBER.sub(r"\1", text).strip().lower()
    sentences = (" ".join(_PUNCTUATION.sub("", part).split()) for part in text.split(". "))
    return " ".join(f"{sentence} ." for sentence in sentences if sentence).split()


def find_r2gen_words(reports: Sequence[str]) -> set[str]:
    """The words that R2Gen's vocabulary would hold after training on these reports."""
    counts = Counter(word for report in reports for word in clean_findings(report))
    return {word for word, count in counts.items() if count >= MIN_COUNT}


def score_r2gen(
    references: Sequence[str], hypotheses: Sequence[str], known_words: set[str]
) -> dict[str, float]:
    """bleu_1..bleu_4 (corpus level) and rouge_l (mean) of N reports; without real findings none.

    Raises:
        ValueError: no reference has a findings section.
    """

    def read(report: str) -> str:
        words = clean_findings(report)[:MAX_WORDS]
        return " ".join(word if word in known_words else UNKNOWN for word in words)

    pairs = [(read(real), read(made)) for real, made in zip(references, hypotheses, strict=True)]
    pairs = [(real, made) for real, made in pairs if real]
    if not pairs:
        raise ValueError("no reference has a findings section, which R2Gen's figures are of")
    scorer = BleuScorer(n=4)
    for real, made in pairs:
        scorer += (made, [real])
    bleu, _ = scorer.compute_score(option="closest", verbose=0)
    rouge = score_rouge_l(*zip(*pairs, strict=True))
    return {
        **{f"bleu_{n}": float(value) for n, value in enumerate(bleu, start=1)},
        "rouge_l": float(rouge.mean()),
        "num_references": len(pairs),
    }
