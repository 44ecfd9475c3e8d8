"""Muon in float32, for devices that have no bfloat16."""

from typing import Any

import torch
from timm.optim.muon import get_lr_scale, zeropower_via_newtonschulz


class Float32Muon(torch.optim.Muon):
    """torch's Muon (Jordan et al., 2024), whose updates are orthogonalized in float32 and not in bfloat16.

    A processor without instructions for bfloat16 spends more time on these small matrix products than on all
    the rest of a step. States are the same, so that either goes on from the other's.

    Args:
        params, settings: as torch's, of which `adjust_lr_fn` must be "match_rms_adamw".
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step, as torch's."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            coefficients, momentum = [tuple(group["ns_coefficients"])], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                buffer = state["momentum_buffer"]
                buffer.lerp_(parameter.grad, 1 - momentum)
                update = parameter.grad.lerp(buffer, momentum) if group["nesterov"] else buffer
                update = zeropower_via_newtonschulz(
                    update, group["ns_steps"], coefficients, group["eps"], dtype=torch.float32
                )
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(
                    update, alpha=-group["lr"] * get_lr_scale(parameter.shape, group["adjust_lr_fn"])
                )
        return loss
