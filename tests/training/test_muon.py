"""Muon in float32, and in stacks, against torch's own."""

import copy

import torch
from helpers.float64 import in_float64
from torch import nn

from training import muon
from training.config import TrainConfig
from training.muon import StackedMuon
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
        one, other = StackedMuon(ours, torch.float32, **SETTINGS), torch.optim.Muon(theirs, **SETTINGS)
        for seed in range(1, 5):
            step(one, ours, seed)
            step(other, theirs, seed)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_no_bfloat16_is_computed():
    """A step keeps the gradient's singular vectors; in bfloat16 it would to three digits only."""
    (parameter,) = parameters = [nn.Parameter(torch.zeros(6, 6))]
    gradient = draw(3)[2]
    optimizer = StackedMuon(
        parameters, torch.float32, lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
    )
    parameter.grad = gradient
    optimizer.step()
    moved = -parameter.detach() / (0.2 * 6**0.5)
    left, _, right = torch.linalg.svd(gradient)
    inner = left.T @ moved @ right.T
    torch.testing.assert_close(inner, torch.diag(inner.diagonal()), rtol=0, atol=1e-4)
    assert inner.diagonal().min() > 0.5


def test_stacks_move_as_each_by_itself(monkeypatch):
    """As on a GPU: matrices of one shape together, one of them without a gradient."""
    shapes = ((4, 12), (12, 4), (4, 12), (6, 6), (4, 12), (4, 12))
    by_shape = [[0, 2, 5], [1], [3]]
    with in_float64():
        generator = torch.Generator().manual_seed(0)
        first = [torch.randn(shape, generator=generator) for shape in shapes]
        ours, theirs = ([nn.Parameter(p.clone()) for p in first] for _ in range(2))
        one, other = StackedMuon(ours, torch.float32, **SETTINGS), torch.optim.Muon(theirs, **SETTINGS)
        monkeypatch.setattr(
            muon, "_stack_up", lambda found, _: [[found[i] for i in places] for places in by_shape]
        )
        for _ in range(3):
            for place, pair in enumerate(zip(ours, theirs, strict=True)):
                gradient = torch.randn(shapes[place], generator=generator) if place != 4 else None
                for parameter in pair:
                    parameter.grad = gradient
            one.step()
            other.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        assert torch.equal(ours[4], first[4])


def test_equal_shapes_are_one_stack_but_not_in_float32_on_a_cpu():
    shapes = ((4, 2), (2, 4), (4, 2), (4, 2))
    here, away = ([nn.Parameter(torch.empty(shape, device=on)) for shape in shapes] for on in ("cpu", "meta"))
    for parameter in here[:3] + away[:3]:
        parameter.grad = torch.empty_like(parameter)

    def sizes(parameters, dtype):
        return [len(stack) for stack in muon._stack_up(parameters, dtype)]

    assert sizes(away, torch.float32) == sizes(away, torch.bfloat16) == sizes(here, torch.bfloat16) == [2, 1]
    assert sizes(here, torch.float32) == [1, 1, 1]


def test_either_goes_on_from_the_others_state():
    with in_float64():
        ours, theirs = ([nn.Parameter(p) for p in draw(0)] for _ in range(2))
        one, other = StackedMuon(ours, torch.float32, **SETTINGS), torch.optim.Muon(theirs, **SETTINGS)
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
    for half, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        optimizer = make_optimizers(model, config, half=half)[-1]
        assert isinstance(optimizer, StackedMuon)
        assert optimizer.dtype == dtype


def test_in_bfloat16_a_stack_moves_about_as_torchs_muon_does():
    generator = torch.Generator().manual_seed(0)
    first = [torch.randn(shape, generator=generator) for shape in ((8, 24), (8, 24), (24, 8))]
    ours, theirs = ([nn.Parameter(p.clone()) for p in first] for _ in range(2))
    one, other = StackedMuon(ours, torch.bfloat16, **SETTINGS), torch.optim.Muon(theirs, **SETTINGS)
    for a, b in zip(ours, theirs, strict=True):
        a.grad = b.grad = torch.randn(a.shape, generator=generator)
    one.step()
    other.step()
    for a, b, start in zip(ours, theirs, first, strict=True):
        moved = (b - start).norm()
        assert (a - b).norm() < 0.03 * moved  # two or three roundings of 1/256 a step of Newton-Schulz
