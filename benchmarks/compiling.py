"""Compiled against eager on this machine's processor: steps of training and of drawing.

    OMP_NUM_THREADS=1 python benchmarks/compiling.py --cases demo-train demo-draw S-train S-draw sd-draw

demo and S are the demo's U-ViT and U-ViT-S on 256x256 films, sd the demo's Stable Diffusion U-Net. Both ways
run in turns in one process, in the precision and with the attention kernel that the scripts use; weights are
random. Seconds are the processor's, medians over the rounds; the first compiled call holds the compilation.
Cases that the results hold already from other runs stay there.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.busy_machine import processor_name
from runtime.files import read_json, write_atomic
from runtime.precision import settle_precision
from training.accelerator import attention_kernel
from vision_module.config import UNetConfig
from vision_module.sampling import predict
from vision_module.unet import build_unet
from vision_module.uvit import UVIT_SIZES, UViT

CPU = torch.device("cpu")
CASES = ("demo-train", "demo-draw", "S-train", "S-draw", "sd-draw")
DEMO = {"embed_dim": 192, "depth": 7, "num_heads": 3}
# Side of the latents, tokens and width of the context, items at once (in drawing, guidance doubles them).
SHAPES = {"demo": (16, 1, 128, 32), "S": (32, 1, 768, 8), "sd": (16, 77, 128, 32)}
ITEMS_IN_TRAINING = {"demo": 16, "S": 4}


def build(name: str) -> nn.Module:
    """An untrained denoiser, of the same weights each time."""
    torch.manual_seed(0)
    side, _, width, _ = SHAPES[name]
    if name == "sd":
        return build_unet(UNetConfig(), 4, side, width)
    return UViT(sample_size=side, context_dim=width, **(DEMO if name == "demo" else UVIT_SIZES[name]))


def make_step(case: str, compiled: bool, precision: str) -> tuple[Callable[[], torch.Tensor], int]:
    """One step of training or drawing, and how many items it takes."""
    name, what = case.split("-")
    side, num_tokens, width, size = SHAPES[name]
    size = ITEMS_IN_TRAINING[name] if what == "train" else size
    model = build(name).train(what == "train")
    if compiled:
        model.compile(dynamic=False)
    latents, context = torch.randn(size, 4, side, side), torch.randn(size, num_tokens, width)
    timesteps = torch.linspace(0, 999, size).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def train() -> torch.Tensor:
        with attention_kernel(CPU):
            with torch.autocast("cpu", torch.bfloat16, precision == "bf16"):
                loss = model(latents, timesteps, encoder_hidden_states=context).sample.float().square().mean()
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    @torch.no_grad()
    def draw() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, precision == "bf16"):
            return predict(model, latents, torch.tensor(500), context, torch.zeros_like(context[:1]), 3.0)

    return (train if what == "train" else draw), size


def seconds_of(action: Callable[[], object]) -> float:
    """Of the processor."""
    started_s = time.process_time()
    action()
    return time.process_time() - started_s


def compare(case: str, precision: str, rounds: int) -> dict[str, object]:
    """Rates of both, their ratio, and what compiling takes."""
    (eager, size), (compiled, _) = (make_step(case, way, precision) for way in (False, True))
    eager()
    before, started_s = os.times(), time.perf_counter()
    compiled()
    compile_s, after = time.perf_counter() - started_s, os.times()
    taken: dict[str, list[float]] = {"eager": [], "compiled": []}
    for _ in range(rounds):
        for way, step in (("eager", eager), ("compiled", compiled)):
            taken[way].append(seconds_of(step))
    middle = {way: statistics.median(values) for way, values in taken.items()}
    gain_s = middle["eager"] - middle["compiled"]
    return {
        "items_at_once": size,
        **{f"{way}_items_per_s": round(size / value, 2) for way, value in middle.items()},
        "speed_up": round(middle["eager"] / middle["compiled"], 3),
        "compile_clock_s": round(compile_s, 1),
        "compile_processor_s": round(sum(after[:4]) - sum(before[:4]), 1),
        "steps_that_earn_it": round((sum(after[:4]) - sum(before[:4])) / gain_s) if gain_s > 0 else None,
    }


def main(argv: list[str] | None = None) -> None:
    """Compare the cases and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/compiling.json"))
    arguments = parser.parse_args(argv)
    precision = settle_precision("auto", CPU)
    machine = {
        "processor": processor_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": precision,
    }
    results = read_json(arguments.out) if arguments.out.is_file() else {}
    results = {**machine, "cases": results.get("cases", {})}
    with tempfile.TemporaryDirectory() as cache:  # nothing that was compiled before helps
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        for case in arguments.cases:
            results["cases"][case] = compare(case, precision, arguments.rounds)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(arguments.out, json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
