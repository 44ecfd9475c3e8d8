"""Which text shares most words and phrases with many others: the BLEU-4 that each candidate can expect.

Of several drafts of a report it finds the one that the others agree with (minimum Bayes risk: Kumar and
Byrne, NAACL 2004), of a film's neighbors the report that tells most of what theirs tell (consensus captions:
Devlin et al., arXiv 1505.04467), of a whole collection its most typical report. What is shared with many
references is summed once, not pair by pair (Vamvas and Sennrich, ACL 2024).
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from scipy import sparse

from data_module.sections import section_text

MAX_ORDER = 4
LEAST_SHARED = 0.01  # n-grams, in the place of none: a logarithm is taken
MAX_TEXTS = 5000  # of a collection, evenly spread: more tell no more of what is typical
_WORD = re.compile(r"[^\W_]+(?:[-'/][^\W_]+)*|\.")


class ConsensusBleu:
    """BLEU-4 of C candidates against R references that are each right with some probability.

    Words are in lower case; a full stop is one, other punctuation and headings of sections are left out.
    """

    def __init__(self, candidates: Sequence[str], references: Sequence[str]) -> None:
        made, real = (
            [_WORD.findall(section_text(text).lower()) for text in texts]
            for texts in (candidates, references)
        )
        self._lengths = np.array([len(words) for words in made], np.float64)
        self._reference_lengths = np.array([len(words) for words in real], np.float64)
        self._grams = [_mark_grams(made, real, order) for order in range(1, MAX_ORDER + 1)]

    def score(self, weights: np.ndarray | sparse.csc_array) -> np.ndarray:
        """As of a corpus in which a candidate is the answer to every reference, as often as it is right.

        Args:
            weights: (R, F) probabilities of the references for each of F films; a film's sum to 1.

        Returns:
            (C, F), 0 to 1; 0 for a text without a word.
        """
        shares = sparse.csc_array(weights)
        logs = []
        for order, (made, real) in enumerate(self._grams):
            shared = (made @ (real.T @ shares)).toarray()
            number = np.maximum(self._lengths - order, 1.0)[:, None]
            logs.append(np.log(np.maximum(shared, LEAST_SHARED) / number))
        wanted = (shares.T @ self._reference_lengths)[None]
        shortness = np.minimum(1.0 - wanted / np.maximum(self._lengths, 1.0)[:, None], 0.0)
        bleu = np.exp(np.mean(logs, axis=0) + shortness)
        return np.where(self._lengths[:, None] > 0, bleu, 0.0)


def find_typical(texts: Sequence[str]) -> str:
    """The text with the highest BLEU-4 as the answer to all of `texts`, itself included; the first of equals.

    Of more than MAX_TEXTS so many are looked at.

    Raises:
        ValueError: no texts.
    """
    if not texts:
        raise ValueError("no texts to find the most typical one of")
    texts = spread(texts)
    candidates = list(dict.fromkeys(texts))
    scores = ConsensusBleu(candidates, texts).score(np.full((len(texts), 1), 1.0 / len(texts)))
    return candidates[int(scores[:, 0].argmax())]


def spread(texts: Sequence[str]) -> list[str]:
    """At most MAX_TEXTS of the texts, evenly spread, in their order."""
    places: list[int] = np.linspace(0, len(texts) - 1, min(len(texts), MAX_TEXTS)).astype(int).tolist()
    return [texts[place] for place in places]


def _mark_grams(
    made: Sequence[Sequence[str]], real: Sequence[Sequence[str]], order: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Texts x the candidates' n-grams, of both sides. An n-gram's second occurrence in a text is a column of
    its own, so that a product of rows is the number of n-grams shared, each as often as both have it."""
    columns: dict[Hashable, int] = {}
    found = []
    for texts in (made, real):
        row: list[int] = []
        column: list[int] = []
        for place, words in enumerate(texts):
            seen: Counter[tuple[str, ...]] = Counter()
            for gram in zip(*(words[start:] for start in range(order)), strict=False):
                seen[gram] += 1
                mark = (gram, seen[gram])
                if texts is made:
                    columns.setdefault(mark, len(columns))
                if mark in columns:
                    row.append(place)
                    column.append(columns[mark])
        found.append((row, column, len(texts)))
    made_matrix, real_matrix = (
        sparse.csr_array((np.ones(len(row)), (row, column)), shape=(number, len(columns)))
        for row, column, number in found
    )
    return made_matrix, real_matrix
