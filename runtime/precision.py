"""In which precision a device computes fastest, at the accuracy that training and sampling bear."""

import re
import sys
from pathlib import Path
from typing import Literal, get_args

import torch

Precision = Literal["no", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# Processors with instructions of their own for bfloat16: x86 (Zen 4, Sapphire Rapids and later) and Arm.
# Without them torch computes bfloat16 by way of float32, which is slower than float32 itself.
CPUINFO = Path("/proc/cpuinfo")
_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")


def settle_precision(choice: Literal["auto", "no", "bf16", "fp16"], device: torch.device) -> Precision:
    """The autocast precision that a setting means on this device; "auto" says in one line what it came to.

    bfloat16 that was asked for on a processor without instructions for it is warned of: a matrix product
    took 40 times as long as in float32 on an AMD EPYC with AVX2.

    On NVIDIA GPUs it also lets float32 matrix products run on the tensor cores (TF32), as convolutions do
    unasked: ten bits of mantissa, where bfloat16 has seven.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    fastest, reason = _fastest(device)
    if choice == "auto":
        print(f"mixed precision: {fastest} ({reason})")
        return fastest
    if choice != "no" and device.type == "cpu" and fastest == "no":
        print(
            f"warning: --mixed-precision {choice}: {reason}, and may take many times as long as in float32: "
            "auto or no is faster here",
            file=sys.stderr,
        )
    return choice


def _fastest(device: torch.device) -> tuple[Precision, str]:
    if device.type == "cpu":
        found = bf16_flags(CPUINFO)
        if found:
            return "bf16", f"this processor has {' and '.join(found)}"
        return "no", "this processor is not known to compute in bfloat16"
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16", torch.cuda.get_device_name(device)
    return "no", f"{device.type} is not known to be faster in bfloat16"


def bf16_flags(cpuinfo: Path) -> list[str]:
    """What a processor offers for bfloat16, by a file like /proc/cpuinfo; empty where there is none."""
    if not cpuinfo.is_file():
        return []
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    return [flag for flag in _BF16_FLAGS if lines and flag in lines[0].split()]
