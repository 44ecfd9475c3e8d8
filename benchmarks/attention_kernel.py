"""Attention kernels on the CPU: training steps of the demo's U-ViT, fused against plain, in one run.

    python benchmarks/attention_kernel.py

Writes seconds a step and the ratio, medians over alternating steps.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from vision_module.uvit import UViT

KERNELS = {"fused": SDPBackend.FLASH_ATTENTION, "plain": SDPBackend.MATH}


def step_s(model: UViT, kernel: SDPBackend, precision: str) -> float:
    """Seconds of one forward and backward pass at batch 64."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(64, 4, 16, 16, generator=generator)
    context = torch.randn(64, 1, 128, generator=generator)
    started_s = time.perf_counter()
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with autocast, sdpa_kernel(kernel):
        loss = model(latents, torch.arange(64), context).sample.square().mean()
    loss.backward()
    return time.perf_counter() - started_s


def main(argv: list[str] | None = None) -> None:
    """Time both kernels in both precisions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=8, help="steps of each kernel that count")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attention_kernel.json"))
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    model = UViT(sample_size=16, embed_dim=192, depth=7, num_heads=3, context_dim=128)
    results: dict[str, object] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    results["machine"] = platform.machine()
    for precision in ("bf16", "no"):
        times: dict[str, list[float]] = {name: [] for name in KERNELS}
        for round_number in range(args.rounds + 1):
            for name, kernel in KERNELS.items():
                seconds = step_s(model, kernel, precision)
                if round_number:  # the first is warm-up
                    times[name].append(seconds)
        medians = {f"{name}_s": statistics.median(values) for name, values in times.items()}
        ratios = [fused / plain for fused, plain in zip(times["fused"], times["plain"], strict=True)]
        results[precision] = {**medians, "fused_over_plain": statistics.median(ratios)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
