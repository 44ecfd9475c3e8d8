"""Several drafts of a report, and which to keep: what says what the prior sees, without contradiction, or
what the others agree with."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from data_module.consensus import ConsensusBleu
from data_module.findings import FINDINGS, POSITIVE
from data_module.labeler import label_reports
from data_module.labeler.attributes import NUM_ATTRIBUTES, attribute_labels
from data_module.labeler.consistency import find_contradictions
from language_module.config import DecodingConfig
from pipelines.assembly import assemble_report

CONTRADICTION_COST = 4.0  # log-odds that each kind of contradiction within a draft takes off its score
FINDINGS_WEIGHT = 0.1  # of the log-odds beside an agreement of 0 to 2; .05 to .5 choose alike

# What B reports are written from (B, ...), settings, and a generator an item where they are drawn.
Decode = Callable[[torch.Tensor, DecodingConfig, Sequence[torch.Generator | None] | None], list[str]]


def decode_drafts(
    decode: Decode,
    inputs: torch.Tensor,
    logits: torch.Tensor | None,
    decoding: DecodingConfig,
    generators: Sequence[torch.Generator] | None,
) -> list[str]:
    """Reports of B films: one draft each, the best of several, or one that is put together from them.

    Args:
        decode: writes reports from `inputs` (B, ...): a codec's from embeddings, a GPT's from feature maps.
        logits: what the prior sees, see `score_by_prior`; None for a model that predicts no findings.

    Raises:
        ValueError: several drafts, and nothing to choose by.
    """
    if decoding.num_candidates == 1 and not decoding.assemble:
        return decode(inputs, decoding, generators)
    logits = None if logits is None else logits.float().cpu()
    if decoding.choose_by == "consensus":
        return choose_by_consensus(_decode_together(decode, inputs, decoding, generators), logits)
    if logits is None:
        needed = "needs a prior that predicts findings (--num-findings 14)"
        if decoding.assemble:
            raise ValueError(f"--assemble {needed}")
        raise ValueError(f"--num-candidates {needed}, or --choose-by consensus")
    drafts = _decode_together(decode, inputs, decoding, generators)
    if not decoding.assemble:
        return choose_drafts(drafts, logits)
    return [assemble_report(*item) for item in zip(zip(*drafts, strict=True), logits.tolist(), strict=True)]


def _decode_together(
    decode: Decode,
    inputs: torch.Tensor,
    decoding: DecodingConfig,
    generators: Sequence[torch.Generator] | None,
) -> list[list[str]]:
    """The drafts of B films as one batch, whose tokens cost little more than one draft's: C lists of B. Of
    several the last is the greedy one."""
    count, size = decoding.num_candidates, len(inputs)
    drawn: list[torch.Generator | None] = [draw for _ in range(count) for draw in generators or ()]
    if count > 1:
        drawn, count = [*drawn, *[None] * size], count + 1
    reports = decode(inputs.repeat(count, *[1] * (inputs.ndim - 1)), decoding, drawn)
    return [reports[start : start + size] for start in range(0, len(reports), size)]


def choose_drafts(drafts: Sequence[Sequence[str]], logits: torch.Tensor) -> list[str]:
    """Of C drafts of each of B films the one that says what the prior sees, see `score_by_prior`."""
    return _keep_best(drafts, score_by_prior(drafts, _read_present(drafts), logits))


def choose_by_consensus(drafts: Sequence[Sequence[str]], logits: torch.Tensor | None = None) -> list[str]:
    """Of C drafts of each of B films the one that the others agree with most, see `score_consensus`; what the
    prior sees, where it is known, and contradictions count too."""
    present = _read_present(drafts)
    seen = score_by_prior(drafts, present, logits)
    return _keep_best(drafts, score_consensus(drafts, present) + FINDINGS_WEIGHT * seen)


def _read_present(drafts: Sequence[Sequence[str]]) -> np.ndarray:
    """(C, B, 14) of 0 and 1: the findings that each draft calls present."""
    return np.stack([label_reports(list(reports)) == POSITIVE for reports in drafts]).astype(np.float32)


def score_by_prior(
    drafts: Sequence[Sequence[str]], present: np.ndarray, logits: torch.Tensor | None
) -> np.ndarray:
    """How well C drafts of each of B films say what the prior sees: (C, B), in log-odds.

    The sum of the log-odds `logits` (B, 14), or with sides and grades (B, 14 + NUM_ATTRIBUTES), of what the
    draft asserts (`present`, (C, B, 14), and what it tells of them), and of the contrary of what it denies.
    What it leaves open counts nothing, and neither do side and grade of a finding that is not seen: they are
    only known given the finding. Each way in which the draft contradicts itself costs CONTRADICTION_COST,
    also where nothing is known (None).
    """
    costs = np.stack([CONTRADICTION_COST * find_contradictions(reports).sum(axis=1) for reports in drafts])
    if logits is None:
        return -costs
    num_findings = len(FINDINGS)
    seen = logits[:, :num_findings].repeat_interleave(NUM_ATTRIBUTES // num_findings, dim=1) > 0
    seen = torch.cat([torch.ones(len(logits), num_findings), seen], dim=1)[:, : logits.shape[1]]
    known = (seen * logits).numpy()
    scores = []
    for reports, asserted in zip(drafts, present, strict=True):
        told = attribute_labels(reports)  # 1, 0, or -1: left open
        signs = np.concatenate([asserted, np.where(told < 0, 0.0, 2.0 * told - 1.0)], axis=1)
        scores.append((signs[:, : logits.shape[1]] * known).sum(axis=1))
    return np.stack(scores) - costs


def score_consensus(drafts: Sequence[Sequence[str]], present: np.ndarray) -> np.ndarray:
    """How much the drawn ones of C drafts of each of B films agree with each: (C, B), 0 to 2.

    The mean F1 of what they call `present` (C, B, 14), plus BLEU-4 (minimum Bayes risk). The last draft,
    which is greedy, is no sample of what the model would write: a candidate, without a vote.
    """
    voters = drafts[:-1] or drafts
    present = present.astype(np.float64)
    both = np.einsum("cbf,vbf->cbv", present, present[: len(voters)])
    either = present.sum(axis=2)[:, :, None] + present[: len(voters)].sum(axis=2).T
    f1 = np.where(either > 0, 2.0 * both / np.maximum(either, 1.0), 1.0).mean(axis=2)
    shares = np.full((len(voters), 1), 1.0 / len(voters))
    bleu = [
        ConsensusBleu(reports, reports[: len(voters)]).score(shares)[:, 0]
        for reports in zip(*drafts, strict=True)
    ]
    return f1 + np.stack(bleu, axis=1)


def _keep_best(drafts: Sequence[Sequence[str]], scores: np.ndarray) -> list[str]:
    """Of each film's drafts that with the highest score (C, B); the first of equals."""
    return [str(drafts[choice][item]) for item, choice in enumerate(scores.argmax(axis=0).tolist())]
