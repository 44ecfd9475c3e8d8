"""Films a second of ours and of plain diffusers, on one clipSD folder: same solver, steps, precision, batch.

    python train_diffusion_clipSD.py --fusion text --num-steps 2 --out runs/sd_text
    OMP_NUM_THREADS=1 python benchmarks/plain_diffusers.py --vision runs/sd_text

Ours is `FilmSampler.draw` to uint8 films, theirs `StableDiffusionPipeline` to Pillow's; weights of any
training will do, without a reference film, which the plain pipeline does not know. --compile adds ours
compiled. In bfloat16 the pipeline's weights are bfloat16, as its users have it, and ours are cast where it
does no harm (autocast). In float32 the films must be the same: the largest difference is in the results. In
turns; seconds of the processor, medians.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.busy_machine import processor_name
from data_module.config import PlanConfig
from data_module.images import to_pixels
from data_module.sampling_plan import SamplingPlan
from runtime.devices import pick_device
from runtime.files import write_atomic
from runtime.generators import make_generator
from runtime.runs import model_source
from vision_module.config import DrawingConfig
from vision_module.film_sampler import FilmSampler
from vision_module.pipeline import VisionModel
from vision_module.sampling import draw_noise, make_solver

Draw = Callable[[], np.ndarray]


def open_ours(folder: str, config: DrawingConfig, prompts: list[str]) -> Draw:
    """Draws films (B, S, S) uint8 as sample_pairs.py does."""
    sampler = FilmSampler(VisionModel.from_pretrained(folder).to(pick_device()), config)
    if sampler.vision.prompts.fusion != "text":
        raise ValueError(f"{folder} reads reference films: train it with --fusion text")

    def draw() -> np.ndarray:
        generators = [make_generator(0, 2, item) for item in range(len(prompts))]
        _, images = sampler.draw(prompts, [None] * len(prompts), generators)
        return to_pixels(images).cpu().numpy()

    return draw


def open_plain(folder: str, config: DrawingConfig, prompts: list[str]) -> Draw:
    """Draws the same with diffusers alone."""
    kind = torch.bfloat16 if config.mixed_precision == "bf16" else torch.float32
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=kind, safety_checker=None)
    pipeline.to(pick_device()).set_progress_bar_config(disable=True)
    vision = VisionModel.from_pretrained(folder)
    pipeline.scheduler = make_solver(config.solver, vision.scheduler, config.num_inference_steps)
    generators = [make_generator(0, 2, item) for item in range(len(prompts))]
    noise = draw_noise(generators, vision.latent_shape).to(pipeline.device, kind)

    def draw() -> np.ndarray:
        (images, _) = pipeline(
            prompts,
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            height=vision.image_size,
            width=vision.image_size,
            latents=noise,
            return_dict=False,
        )
        return np.stack([np.asarray(image.convert("L")) for image in images])

    return draw


def compare(folder: str, config: DrawingConfig, prompts: list[str], rounds: int) -> dict[str, object]:
    """Films/s of each way, and ours over theirs; with config.compile ours is also compiled."""
    eager = dataclasses.replace(config, compile=False)
    ways = {"ours": open_ours(folder, eager, prompts), "diffusers": open_plain(folder, eager, prompts)}
    if config.compile:
        ways["compiled"] = open_ours(folder, config, prompts)
    films, taken = {}, dict[str, list[float]]()
    for number in range(rounds + 1):
        for name, draw in ways.items():
            started_s = time.process_time() if pick_device().type == "cpu" else time.perf_counter()
            films[name] = draw()
            ended_s = time.process_time() if pick_device().type == "cpu" else time.perf_counter()
            if number:  # the first loads kernels
                taken.setdefault(name, []).append(ended_s - started_s)
    ratios = {
        name: statistics.median(slow / fast for slow, fast in zip(taken["diffusers"], ours, strict=True))
        for name, ours in taken.items()
        if name != "diffusers"
    }
    return {
        **{f"{name}_films_per_s": round(len(prompts) / statistics.median(s), 2) for name, s in taken.items()},
        **{f"{name}_over_diffusers": round(ratio, 3) for name, ratio in ratios.items()},
        "largest_difference_of_255": int(np.abs(films["ours"].astype(int) - films["diffusers"]).max()),
    }


def main(argv: list[str] | None = None) -> None:
    """Compare batch sizes and precisions, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vision", default="runs/sd_text", help="clipSD run, trained with --fusion text")
    parser.add_argument("--data", type=Path, default=Path("runs/demo/data"))
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--compile", action="store_true", help="also ours compiled; its first round compiles")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/plain_diffusers.json"))
    arguments = parser.parse_args(argv)
    folder = model_source(arguments.vision, "clipSD", "--vision")
    plan = SamplingPlan(PlanConfig(data=arguments.data, no_reference=True), 0)
    results: dict[str, object] = {
        "processor": processor_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "steps": arguments.steps,
    }
    for precision in ("no", "bf16"):
        for size in arguments.batch_sizes:
            config = DrawingConfig(
                num_inference_steps=arguments.steps, mixed_precision=precision, compile=arguments.compile
            )
            prompts = [plan[item].prompt for item in range(size)]
            name = f"{'float32' if precision == 'no' else precision}, batch {size}"
            results[name] = compare(folder, config, prompts, arguments.rounds)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(arguments.out, json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
