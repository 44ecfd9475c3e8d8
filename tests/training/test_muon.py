"""Muon in float32 against torch's own, which asks for bfloat16."""

import copy

import torch
from helpers.float64 import in_float64
from torch import nn

from training.config import TrainConfig
from training.muon import Float32Muon
from training.optimizer import make_optimizers

SETTINGS = {"lr": 0.05, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}


def draw(seed: int) -> list[torch.Tensor]:
    """Wide, tall and square, as a transformer's matrices are."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((4, 12), (12, 4), (6, 6))]


def step(optimizer, parameters, seed):
    for parameter, gradient in zip(parameters, draw(seed), strict=True):
        parameter.grad = gradient
    optimizer.step()


def test_the_same_steps_as_torchs():
    with in_float64():
        ours, theirs = ([nn.Parameter(p) for p in draw(0)] for _ in range(2))
        one, other = Float32Muon(ours, **SETTINGS), torch.optim.Muon(theirs, **SETTINGS)
        for seed in range(1, 5):
            step(one, ours, seed)
            step(other, theirs, seed)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_no_bfloat16_is_computed():
    """A step keeps the gradient's singular vectors; in bfloat16 it would to three digits only."""
    (parameter,) = parameters = [nn.Parameter(torch.zeros(6, 6))]
    gradient = draw(3)[2]
    optimizer = Float32Muon(parameters, lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    parameter.grad = gradient
    optimizer.step()
    moved = -parameter.detach() / (0.2 * 6**0.5)
    left, _, right = torch.linalg.svd(gradient)
    inner = left.T @ moved @ right.T
    torch.testing.assert_close(inner, torch.diag(inner.diagonal()), rtol=0, atol=1e-4)
    assert inner.diagonal().min() > 0.5


def test_either_goes_on_from_the_others_state():
    with in_float64():
        ours, theirs = ([nn.Parameter(p) for p in draw(0)] for _ in range(2))
        one, other = Float32Muon(ours, **SETTINGS), torch.optim.Muon(theirs, **SETTINGS)
        step(other, theirs, 1)
        one.load_state_dict(copy.deepcopy(other.state_dict()))
        for a, b in zip(ours, theirs, strict=True):
            a.data.copy_(b.data)
        step(one, ours, 2)
        step(other, theirs, 2)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_the_precision_of_the_run_decides():
    model = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4)) for _ in range(2)))
    config = TrainConfig(optimizer="muon")
    assert type(make_optimizers(model, config)[-1]) is torch.optim.Muon
    assert type(make_optimizers(model, config, half=False)[-1]) is Float32Muon
