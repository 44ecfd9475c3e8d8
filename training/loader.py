"""Batches as a pure function of (seed, step, process), so that resuming needs no loader state."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from runtime.generators import make_generator

Batch = dict[str, torch.Tensor]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch's tensors on a device. From pinned memory, where the GPU's work need not be waited for."""
    return {name: value.to(device, non_blocking=value.is_pinned()) for name, value in batch.items()}


class BatchSource(Protocol):
    """Training data. All random choices (crops, references, captions) come from `generator`."""

    def __len__(self) -> int: ...

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> Batch: ...


class StepDataset(Dataset):
    """Map-style data set whose item s is the whole batch of micro-step s."""

    def __init__(self, source: BatchSource, batch_size: int, seed: int) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._epoch, self._order = epoch, rng.permutation(len(self.source))
        return self._order

    def __getitem__(self, step: int) -> Batch:
        num_items = len(self.source)
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = positions // num_items
        indices = np.concatenate(
            [
                self._permutation(int(epoch))[positions[epochs == epoch] % num_items]
                for epoch in np.unique(epochs)
            ]
        )
        return self.source.get_batch(indices, make_generator(self.seed, step))


def iterate_steps(
    source: BatchSource, batch_size: int, seed: int, steps: range, num_workers: int
) -> Iterator[Batch]:
    """The batches of the given micro-steps, in order."""
    loader: DataLoader[Any] = DataLoader(
        StepDataset(source, batch_size, seed),
        sampler=steps,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,
    )
    return iter(loader)


def validation_batches(source: BatchSource, batch_size: int, max_batches: int) -> Iterator[Batch]:
    """The first batches of the data, in order, always the same draws. The last one may be smaller."""
    for number in range(min(max_batches, -(-len(source) // batch_size))):
        indices = np.arange(number * batch_size, min((number + 1) * batch_size, len(source)))
        yield source.get_batch(indices, make_generator(number))
