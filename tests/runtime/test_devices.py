"""What a model is laid out as for a GPU: norms in half precision."""

import copy

import pytest
import torch
from torch import nn

from runtime.devices import norm_in_half


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(4, 16), nn.Conv2d(16, 16, 3, padding=1)
        self.last = nn.LayerNorm(8)

    def forward(self, images):
        return self.last(self.conv(nn.functional.silu(self.norm(self.conv(images)))))


@pytest.fixture
def block():
    torch.manual_seed(0)
    block = Block()
    for norm in (block.norm, block.last):
        nn.init.normal_(norm.weight, 1.0, 0.3)
        nn.init.normal_(norm.bias)
    return block


def test_norms_keep_half_precision_under_autocast(block):
    """And give what the norm of autocast gives, to bfloat16's rounding, gradients too."""
    images, direction = torch.randn(2, 2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    half, found = norm_in_half(copy.deepcopy(block)), {}
    for name, model in (("float", block), ("half", half)):
        with torch.autocast("cpu", torch.bfloat16):
            found[name] = model(images)
        (found[name] * direction).sum().backward()
    assert found["half"].dtype == torch.bfloat16
    assert isinstance(half.norm, nn.GroupNorm)
    torch.testing.assert_close(found["half"].float(), found["float"].float(), rtol=0.05, atol=0.05)
    for (name, theirs), ours in zip(block.named_parameters(), half.parameters(), strict=True):
        assert ours.grad.dtype == torch.float32
        error = (ours.grad - theirs.grad).norm() / theirs.grad.norm()
        assert error < 0.03, name


def test_norms_of_float32_stay_as_they_are(block):
    images = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    wanted, names = block(images), list(block.state_dict())
    assert torch.equal(norm_in_half(block)(images), wanted)
    assert list(block.state_dict()) == names
