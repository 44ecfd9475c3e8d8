"""How fast a run goes: items/s, FLOP/s, and the share of the chips' peak (MFU)."""

import inspect
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

# Of log lines: what the machine decides, and not the run.
MEASURED = ("items_per_s", "tflops_per_s", "mfu")
FLOPS = "tflops_per_step"

# FLOP/s of dense bfloat16 matrix products with float32 sums, from NVIDIA's data sheets and architecture white
# papers, where some are printed with sparsity, twice as high. Part of the device's name, the longer first.
PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H200 NVL": 835e12,
    "A100": 312e12,
    "H100": 989e12,
    "H200": 989e12,
    "GH200": 989e12,
    "L40S": 362e12,
    "A40": 150e12,
    "A30": 165e12,
    "A10G": 70e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def find_peak(device_name: str) -> float | None:
    """FLOP/s of a chip by the name that CUDA gives it; None for one that is not in the table."""
    words = f" {device_name.replace('-', ' ')} "
    return next((peak for name, peak in PEAKS.items() if f" {name} " in words), None)


def count_flops() -> "FlopCounterMode":
    """Counts floating-point operations; of kernels that no formula is known of, none. They still run."""
    from torch.utils.flop_counter import FlopCounterMode  # late: who reads a log needs none

    # Before torch 2.12 there is no such choice, and they always run.
    takes = inspect.signature(FlopCounterMode).parameters
    settings: dict[str, Any] = {"skip_unsupported": True} if "skip_unsupported" in takes else {}
    return FlopCounterMode(display=False, **settings)


class Throughput:
    """Counts the arithmetic of a run's first step, and measures from then on.

    The count is kept in the log: a resumed run reads it there, and counts nothing anew. (Counting looks at
    every operation, so that a step cannot run compiled meanwhile; only the first step ever is other.)

    Args:
        log: lines of the run so far.
        items_per_step, num_processes: of all processes together; each is taken to do the same.
    """

    def __init__(
        self,
        log: Iterable[Mapping[str, Any]],
        first_step: int,
        items_per_step: int,
        num_processes: int,
        device: "torch.device",
    ) -> None:
        self.items_per_step, self.num_processes = items_per_step, num_processes
        self.first_step, self.started_s = first_step, time.perf_counter()
        self.tflops = next((line[FLOPS] for line in log if FLOPS in line), None)
        self.peak = None
        if device.type == "cuda":
            import torch  # late: who reads a log needs none

            self.peak = find_peak(torch.cuda.get_device_name(device))

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around the step that follows `number` others: counts if it is the first of all."""
        if number:
            yield
            return
        with count_flops() as counter:
            yield
        # Four digits are enough, and the file stays readable.
        self.tflops = float(f"{counter.get_total_flops() * self.num_processes / 1e12:.4g}")

    def figures(self, step: int) -> dict[str, float]:
        """For the log, after so many steps: rates since the last call, which the first step's counting and
        compiling, or a neighbor who has left, do not lower for good."""
        now_s = time.perf_counter()
        steps_per_s = (step - self.first_step) / max(now_s - self.started_s, 1e-9)
        self.first_step, self.started_s = step, now_s
        found = {"items_per_s": round(steps_per_s * self.items_per_step, 1)}
        if self.tflops:
            rate = self.tflops * steps_per_s
            found |= {FLOPS: self.tflops, "tflops_per_s": float(f"{rate:.4g}")}
            if self.peak:
                found["mfu"] = round(rate * 1e12 / (self.peak * self.num_processes), 4)
        return found


def describe(figures: Mapping[str, float]) -> dict[str, str]:
    """For the progress bar."""
    shown = {"items_per_s": f"{figures['items_per_s']:.0f}"}
    if "tflops_per_s" in figures:
        shown["TFLOP/s"] = f"{figures['tflops_per_s']:.3g}"
    if "mfu" in figures:
        shown["MFU"] = f"{figures['mfu']:.1%}"
    return shown
