"""Muon in few kernels, and in float32 for processors without bfloat16."""

from collections.abc import Sequence
from typing import Any

import torch
from timm.optim.muon import get_lr_scale, zeropower_via_newtonschulz


class StackedMuon(torch.optim.Muon):
    """torch's Muon (Jordan et al., 2024), with a precision of its own and matrices of equal shape together.

    A processor without instructions for bfloat16 spends more time on these small matrix products than on all
    the rest of a step, so there they are float32's. Matrices of one shape are orthogonalized as one stack: on
    a GPU each is some thirty kernels that Python must start, and matrix units of a CPU take a quarter less
    for a stack. In float32 a CPU is no faster so, and takes each by itself. States are torch's: either goes
    on from the other's.

    Args:
        params, settings: as torch's, of which `adjust_lr_fn` must be "match_rms_adamw".
        dtype: of the orthogonalization; torch's is bfloat16.
    """

    def __init__(self, params: Any, dtype: torch.dtype, **settings: Any) -> None:
        super().__init__(params, **settings)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step, as torch's."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for stack in _stack_up(group["params"], self.dtype):
                self._step(stack, group)
        return loss

    def _step(self, stack: list[torch.Tensor], group: dict[str, Any]) -> None:
        """For parameters of one shape, which all have a gradient."""
        gradients: list[torch.Tensor] = []
        for parameter in stack:
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter.grad)
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in stack]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        updates = buffers
        if group["nesterov"]:
            updates = list(torch._foreach_lerp(gradients, buffers, group["momentum"]))
        found = zeropower_via_newtonschulz(
            torch.stack(updates) if len(stack) > 1 else updates[0],
            group["ns_steps"],
            [tuple(group["ns_coefficients"])],
            group["eps"],
            dtype=self.dtype,
        )
        found = found.to(stack[0].dtype)
        scale = get_lr_scale(stack[0].shape, group["adjust_lr_fn"])
        torch._foreach_mul_(stack, 1 - group["lr"] * group["weight_decay"])
        moves = found.unbind() if len(stack) > 1 else (found,)
        torch._foreach_add_(stack, moves, alpha=-group["lr"] * scale)


def _stack_up(parameters: Sequence[torch.Tensor], dtype: torch.dtype) -> list[list[torch.Tensor]]:
    """Those that have a gradient: by shape, and one by one in float32 on a CPU."""
    stacks: dict[object, list[torch.Tensor]] = {}
    for place, parameter in enumerate(parameters):
        if parameter.grad is not None:
            alone = parameter.device.type == "cpu" and dtype == torch.float32
            key = place if alone else (parameter.shape, parameter.device)
            stacks.setdefault(key, []).append(parameter)
    return list(stacks.values())
