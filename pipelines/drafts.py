"""Which of several drafts of a report to keep: the one that says what the prior sees on the film."""

from collections.abc import Sequence

import numpy as np
import torch

from data_module.findings import FINDINGS, POSITIVE
from data_module.labeler import label_reports
from data_module.labeler.attributes import NUM_ATTRIBUTES, attribute_labels


def choose_drafts(drafts: Sequence[Sequence[str]], logits: torch.Tensor) -> list[str]:
    """Of C drafts of each of B films the one that says what the prior sees.

    Its score is the sum of the log-odds (B, 14), or with sides and grades (B, 14 + NUM_ATTRIBUTES), of what
    the draft asserts, and of the contrary of what it denies. What it leaves open counts nothing, and neither
    do side and grade of a finding that is not seen: they are only known given the finding.
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
        scores.append((signs * seen * logits).sum(dim=1))
    best = torch.stack(scores).argmax(dim=0).tolist()
    return [drafts[choice][item] for item, choice in enumerate(best)]
