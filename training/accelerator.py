"""accelerate as a run needs it: its precision, its processes, its trackers, and torch's kernels."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch.nn.attention import SDPBackend, sdpa_kernel

from runtime.precision import PRECISIONS, Precision, settle_precision
from runtime.processes import process_state
from runtime.runs import RunFolder
from training.config import TrainConfig


def make_accelerator(config: TrainConfig, run: RunFolder, can_rest: bool) -> Accelerator:
    """The accelerator of a run.

    Args:
        run: its folder, where TensorBoard writes; a run goes on in the precision that it began in, on
            whatever machine.
        can_rest: whether parameters may have no gradient in a step, for which data parallelism must look.
    """
    process_state()  # before accelerate, which would not join processes without an accelerator
    _forget_settings()
    device = torch.device(process_state().device or "cpu")
    trackers = None if config.tracker == "none" else config.tracker
    precision: Precision | Literal["auto"] = config.mixed_precision
    if precision == "auto":
        precision = run.settle("train.mixed_precision", PRECISIONS, lambda: settle_precision("auto", device))
    accelerator = Accelerator(
        mixed_precision=settle_precision(precision, device),
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        log_with=trackers,
        project_dir=str(run.root),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=can_rest)],
    )
    if trackers:
        accelerator.init_trackers("paircxr")
    return accelerator


def _forget_settings() -> None:
    """accelerate keeps its first settings for the whole process, where each run has its own: a second one in
    another precision would be refused. There is no public way."""
    AcceleratorState._reset_state()


def attention_kernel(device: torch.device) -> AbstractContextManager:
    """torch's own choice, but the plain kernel on a CPU.

    The fused CPU kernel's backward is slow in bfloat16: a step of the demo's U-ViT takes 1.3 times as long
    (benchmarks/attention_kernel.py).
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
