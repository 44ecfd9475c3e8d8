"""One report from the sentences of drafts: it asserts what the prior sees, once and without contradiction.

Embeddings that a prior regresses are means over many reports, so drafts of one film differ in what they
assert, and so do a draft's two sections: the second tells a side or a grade as freely as the first. Here
what the report asserts is decided first, by the prior's log-odds and the drafts' votes, and the sentences
that say so are kept.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from data_module.findings import FINDINGS, POSITIVE
from data_module.labeler import label_reports
from data_module.labeler.attributes import NUM_ATTRIBUTES, Attributes, attribute_odds, read_attributes
from data_module.sections import join_sections, split_sections
from data_module.sentences import split_sentences

NORMAL, DEVICES = "No Finding", "Support Devices"
ATTRIBUTES = ("side", "severity")
MAX_CONCLUDED = 4  # sentences that an impression is filled up to


@dataclass(frozen=True)
class Sentence:
    """A sentence, the code of each finding that it mentions, and side and severity of those it asserts."""

    text: str
    codes: Mapping[str, float]
    told: Attributes

    @property
    def asserted(self) -> set[str]:
        """The findings that it calls present."""
        return {name for name, code in self.codes.items() if code == POSITIVE} - {NORMAL}


@lru_cache(maxsize=65536)  # drafts share most of their sentences
def read_sentence(text: str) -> Sentence:
    """A sentence as the rule labeler reads it."""
    row = label_reports([text])[0].tolist()
    codes = {name: code for name, code in zip(FINDINGS, row, strict=True) if code == code}
    return Sentence(text, codes, read_attributes(text))


@dataclass(frozen=True)
class Draft:
    """A draft's sentences, section by section."""

    findings: list[Sentence]
    impression: list[Sentence]

    @classmethod
    def read(cls, report: str) -> "Draft":
        return cls(
            *([read_sentence(text) for text in split_sentences(part)] for part in split_sections(report))
        )

    @property
    def asserted(self) -> set[str]:
        """The findings that it calls present."""
        return set[str]().union(*(sentence.asserted for sentence in (*self.findings, *self.impression)))


def assemble_report(drafts: Sequence[str], odds: Sequence[float]) -> str:
    """One report from drafts of one film.

    Args:
        odds: the prior's log-odds of the findings, in the order of FINDINGS; above 0 one is asserted, if any
            draft has a sentence for it. With NUM_ATTRIBUTES more, of sides and grades, these decide between
            those that the drafts tell; else the drafts' votes do.
    """
    seen = dict(zip(FINDINGS, odds, strict=False))
    rest = list(odds[len(FINDINGS) :])
    width = NUM_ATTRIBUTES // len(FINDINGS)
    told = {name: rest[place * width : (place + 1) * width] for place, name in enumerate(FINDINGS)}
    return _Assembly([Draft.read(draft) for draft in drafts], seen, told if rest else {}).write()


class _Assembly:
    def __init__(
        self, drafts: Sequence[Draft], odds: Mapping[str, float], told: Mapping[str, Sequence[float]]
    ) -> None:
        self.drafts, self.odds, self.told = drafts, odds, told
        self.facts = {name: self._vote(name) for name, value in odds.items() if value > 0 and name != NORMAL}

    def write(self) -> str:
        """The draft that says most of what is seen, without what does not fit, with what it lacks."""
        base = max(self.drafts, key=lambda draft: sum(self.odds[name] for name in draft.asserted))
        findings = self._fill(base.findings, "findings", self.facts)
        asserted = set[str]().union(*(sentence.asserted for sentence in findings))
        # Without a findings section nothing can be contradicted.
        impression = self._fill(base.impression, "impression", asserted if base.findings else self.facts)
        if base.impression and not impression:
            impression = self._conclude(findings)
        return join_sections(*(" ".join(s.text for s in part) for part in (findings, impression)))

    def _sentences(self, section: str) -> Iterator[Sentence]:
        return (sentence for draft in self.drafts for sentence in getattr(draft, section))

    def _vote(self, finding: str) -> dict[str, str]:
        """Side and severity of a finding, of those that the drafts tell: as the prior holds likeliest, or,
        where it was not asked, as most sentences say; the first of equals."""
        every = (*self._sentences("findings"), *self._sentences("impression"))
        said = [sentence.told[finding] for sentence in every if finding in sentence.told]
        votes = {key: Counter(one[key] for one in said if key in one) for key in ATTRIBUTES}
        chances = attribute_odds(self.told[finding]) if finding in self.told else {}
        return {
            key: max(counts, key=lambda word: (chances.get(word, 0.0), counts[word]))
            for key, counts in votes.items()
            if counts
        }

    def _fits(self, sentence: Sentence, section: str, allowed: Collection[str]) -> bool:
        """Whether a sentence asserts only what is allowed, as it was decided, and doubts none of it."""
        for name, code in sentence.codes.items():
            if name == NORMAL:  # "the lungs are clear" may stand beside a large heart, but not conclude
                concludes = section == "impression" and code == POSITIVE and not sentence.asserted
                if concludes and set(self.facts) - {DEVICES}:
                    return False
            elif code != POSITIVE:
                if name in self.facts:
                    return False
            elif name not in allowed or self._tells_otherwise(sentence, name):
                return False
        return True

    def _tells_otherwise(self, sentence: Sentence, finding: str) -> bool:
        said, fact = sentence.told.get(finding, {}), self.facts.get(finding, {})
        return any(said.get(key, fact.get(key)) != fact.get(key) for key in ATTRIBUTES)

    def _fill(self, base: Sequence[Sentence], section: str, allowed: Collection[str]) -> list[Sentence]:
        """The sentences of a section that fit, and others for what it is to assert and does not."""
        kept: list[Sentence] = []
        for sentence in base:
            again = any(sentence.told.keys() & other.told.keys() for other in kept)
            if self._fits(sentence, section, allowed) and not again:
                kept.append(sentence)
        if not base:
            return kept
        asserted = set[str]().union(*(sentence.asserted for sentence in kept))
        place = max((i + 1 for i, sentence in enumerate(kept) if sentence.asserted), default=0)
        lacking = [
            name for name in FINDINGS if name in allowed and (name != DEVICES or section == "findings")
        ]
        for name in lacking:
            full = section == "impression" and len(kept) >= MAX_CONCLUDED
            found = None if name in asserted or full else self._find(name, section, allowed)
            if found:
                kept.insert(place, found)
                place += 1
                asserted |= found.asserted
        return kept

    def _find(self, finding: str, section: str, allowed: Collection[str]) -> Sentence | None:
        """Of the drafts' sentences that assert a finding and fit: the fullest, and of these the commonest."""
        every = [
            s for s in self._sentences(section) if finding in s.asserted and self._fits(s, section, allowed)
        ]
        votes = Counter(sentence.text for sentence in every)
        return max(every, key=lambda s: (len(s.told.get(finding, {})), votes[s.text]), default=None)

    def _conclude(self, findings: Sequence[Sentence]) -> list[Sentence]:
        """An impression where the draft's own does not fit: another draft's, or what the findings assert."""
        for draft in self.drafts:
            fitting = [s for s in draft.impression if self._fits(s, "impression", ())]
            if fitting:
                return fitting
        return [s for s in findings if s.asserted - {DEVICES}][:MAX_CONCLUDED]
