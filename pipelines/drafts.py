"""Several drafts of a report, and which to keep: what says what the prior sees, without contradiction."""

from collections.abc import Sequence

import numpy as np
import torch

from data_module.findings import FINDINGS, POSITIVE
from data_module.labeler import label_reports
from data_module.labeler.attributes import NUM_ATTRIBUTES, attribute_labels
from data_module.labeler.consistency import find_contradictions
from language_module.codec import ReportCodec
from language_module.config import DecodingConfig
from pipelines.assembly import assemble_report

CONTRADICTION_COST = 4.0  # log-odds that each kind of contradiction within a draft takes off its score


def decode_drafts(
    codec: ReportCodec,
    embeddings: torch.Tensor,
    logits: torch.Tensor | None,
    decoding: DecodingConfig,
    generators: Sequence[torch.Generator] | None,
) -> list[str]:
    """Reports of B films from their embeddings (B, K, D): one draft each, the best of several, or one that is
    put together from them.

    Args:
        logits: what the prior sees, see `choose_drafts`; None for a prior that predicts no findings.

    Raises:
        ValueError: several drafts, and nothing to choose by.
    """
    if decoding.num_candidates == 1 and not decoding.assemble:
        return codec.decode(embeddings, decoding, generators)
    if logits is None:
        flag = "--assemble" if decoding.assemble else "--num-candidates"
        raise ValueError(f"{flag} needs a prior that predicts findings (--num-findings 14)")
    drafts = _decode_together(codec, embeddings, decoding, generators)
    logits = logits.float().cpu()
    if not decoding.assemble:
        return choose_drafts(drafts, logits)
    return [assemble_report(*item) for item in zip(zip(*drafts, strict=True), logits.tolist(), strict=True)]


def _decode_together(
    codec: ReportCodec,
    embeddings: torch.Tensor,
    decoding: DecodingConfig,
    generators: Sequence[torch.Generator] | None,
) -> list[list[str]]:
    """The drafts of B films as one batch, whose tokens cost little more than one draft's: C lists of B. Of
    several the last is the greedy one."""
    count, size = decoding.num_candidates, len(embeddings)
    drawn: list[torch.Generator | None] = [draw for _ in range(count) for draw in generators or ()]
    if count > 1:
        drawn, count = [*drawn, *[None] * size], count + 1
    reports = codec.decode(embeddings.repeat(count, 1, 1), decoding, drawn)
    return [reports[start : start + size] for start in range(0, len(reports), size)]


def choose_drafts(drafts: Sequence[Sequence[str]], logits: torch.Tensor) -> list[str]:
    """Of C drafts of each of B films the one that says what the prior sees.

    Its score is the sum of the log-odds (B, 14), or with sides and grades (B, 14 + NUM_ATTRIBUTES), of what
    the draft asserts, and of the contrary of what it denies. What it leaves open counts nothing, and neither
    do side and grade of a finding that is not seen: they are only known given the finding. Each way in which
    the draft contradicts itself costs CONTRADICTION_COST.
    """
    num_findings = len(FINDINGS)
    seen = logits[:, :num_findings].repeat_interleave(NUM_ATTRIBUTES // num_findings, dim=1) > 0
    seen = torch.cat([torch.ones(len(logits), num_findings), seen], dim=1)[:, : logits.shape[1]]
    scores = []
    for reports in drafts:
        present = (label_reports(list(reports)) == POSITIVE).astype(np.float32)
        told = attribute_labels(reports)  # 1, 0, or -1: left open
        signs = np.concatenate([present, np.where(told < 0, 0.0, 2.0 * told - 1.0)], axis=1)
        signs = torch.from_numpy(signs[:, : logits.shape[1]].astype(np.float32))
        contradictions = torch.from_numpy(find_contradictions(reports).sum(axis=1))
        scores.append((signs * seen * logits).sum(dim=1) - CONTRADICTION_COST * contradictions)
    best = torch.stack(scores).argmax(dim=0).tolist()
    return [str(drafts[choice][item]) for item, choice in enumerate(best)]
