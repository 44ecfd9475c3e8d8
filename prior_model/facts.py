"""What a prior sees, decided: log-odds of findings, sides and grades -> the facts that a report asserts."""

from collections.abc import Sequence

import torch

from data_module.findings import FINDINGS
from data_module.labeler.facts import NUM_FACTS

DEVICES, NORMAL = FINDINGS.index("Support Devices"), FINDINGS.index("No Finding")


def decide_facts(logits: torch.Tensor, limits: Sequence[float] = ()) -> torch.Tensor:
    """Log-odds (B, NUM_FACTS) -> facts (B, NUM_FACTS), 1 or 0, as `data_module.labeler.facts.read_facts`.

    A finding is present from its limit on. It then has a side or both, and one grade, the likeliest ones:
    what is left open here, a report could tell twice and differently.

    Args:
        limits: log-odds for each of the findings; 0 for all by default.
    """
    if logits.shape[1] != NUM_FACTS:
        raise ValueError(f"facts are decided from {NUM_FACTS} log-odds, not {logits.shape[1]}")
    count = len(FINDINGS)
    above = logits[:, :count] >= (torch.tensor(limits).to(logits) if len(limits) else 0.0)
    others = above.clone()
    others[:, [NORMAL, DEVICES]] = False
    above[:, NORMAL] &= ~others.any(dim=1)
    told = logits[:, count:].unflatten(1, (count, -1))
    sides, grades = told[..., :2], told[..., 2:]
    sides = (sides > 0) | (sides == sides.amax(dim=-1, keepdim=True))
    grades = torch.nn.functional.one_hot(grades.argmax(dim=-1), grades.shape[-1]).bool()
    told = torch.cat([sides, grades], dim=-1) & above[..., None]
    return torch.cat([above, told.flatten(1)], dim=1).float()
