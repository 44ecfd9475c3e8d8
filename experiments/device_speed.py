"""How fast devices train: this one by a short measurement, others by what their makers publish."""

import time
from dataclasses import dataclass

from runtime.threads import usable_cores

# Of the peak, or of a large matrix product, what training comes to. On two CPU cores the demo's stages reach
# 0.2 to 0.4 of a float32 product's speed.
TRAINED_SHARE = 0.3
# A step of a small model on a GPU waits for Python and the driver, whatever the GPU.
GPU_STEP_S = 0.03
SIDE, BUDGET_S = 1024, 0.3


@dataclass(frozen=True)
class Device:
    """One device that may train.

    Attributes:
        peak: operations a second of large matrix products.
        step_s: seconds that a step takes at least.
    """

    peak: float
    step_s: float = GPU_STEP_S

    def training_s(self, operations: float, num_steps: float) -> float:
        """Seconds of a training of so many floating-point operations, in so many steps."""
        return max(operations / (TRAINED_SHARE * self.peak), num_steps * self.step_s)


# 16 bits on the tensor cores, without sparsity, by the makers' data sheets.
DEVICES = {"T4": Device(65e12), "V100": Device(125e12), "A100": Device(312e12), "H100": Device(989e12)}


def measure_device() -> Device:
    """This machine: products of large matrices, float32 on a CPU and bfloat16 on an accelerator.

    A CPU is timed by its own clock, so that the other users of a busy machine do not count.
    """
    import torch

    from runtime.processes import process_state

    device = process_state().device
    is_cpu = device is None or device.type == "cpu"
    dtype, clock = (torch.float32, time.process_time) if is_cpu else (torch.bfloat16, time.perf_counter)
    matrix = torch.ones(SIDE, SIDE, dtype=dtype, device=device)

    def multiply() -> None:
        (matrix @ matrix)[0, 0].item()  # waits for an accelerator

    for _ in range(3):
        multiply()
    started_s, count = clock(), 0
    while clock() - started_s < BUDGET_S:
        multiply()
        count += 1
    speed = count * 2 * SIDE**3 / (clock() - started_s)
    return Device(speed * usable_cores(), 0.0) if is_cpu else Device(speed)
