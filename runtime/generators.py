"""Explicit random draws: generators that are pure functions of their keys."""

import numpy as np
import torch


def make_generator(*keys: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator whose stream depends on every key and on nothing else."""
    # With their number in front, since SeedSequence takes (1,) and (1, 0) for the same.
    seed = int(np.random.SeedSequence((len(keys), *keys)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device=device).manual_seed(seed)
