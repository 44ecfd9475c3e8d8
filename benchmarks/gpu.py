"""Training and sampling at published sizes on an NVIDIA GPU, as shares of its bfloat16 matrix product.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --only uvit_l --batch-size 64 --no-compiled

U-ViT-L on 4x32x32 latents (films of 256) through the training loop's own step, eager and compiled; its
evaluations when sampling; and films/s of fine-tuning Stable Diffusion's U-Net, ours from cached latents and
prompts beside a loop that does in every step what diffusers' train_text_to_image.py does; and the steps of an
autoencoder of films of 256 with its adversary. Both also with norms in float32, as autocast has them. Random
weights and data; the first steps are left out. The peak is that of a product of 8192 x 8192 bfloat16
matrices, measured here. Operations are counted by torch's FlopCounterMode, of one eager step.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.real_sizes import SD1_AUTOENCODER, SD1_TEXT_ENCODER
from runtime.devices import move, prefer_channels_last, suit_gpu
from runtime.files import write_atomic
from runtime.precision import settle_precision
from runtime.runs import RunFolder
from training import learner as learner_module
from training.accelerator import make_accelerator
from training.config import TrainConfig
from training.learner import Learner
from training.loader import iterate_steps
from training.throughput import count_flops
from training.validation import Objective
from vision_module.autoencoder import build_autoencoder
from vision_module.autoencoder_loss import AutoencoderLoss
from vision_module.config import AutoencoderConfig, AutoencoderLossConfig, DiffusionConfig
from vision_module.diffusion import make_objective
from vision_module.unet import SD1_UNET
from vision_module.uvit import UViT

LATENTS = (4, 32, 32)
TOKENS, WIDTH = 77, 768  # of CLIP ViT-L/14's text, as Stable Diffusion reads it


class RandomLatents:
    """As many items as a small data set has, in memory, as a latent cache gives them."""

    def __init__(self, num: int = 2048) -> None:
        generator = torch.Generator().manual_seed(0)
        self.mean = torch.randn(num, *LATENTS, generator=generator).half()
        self.text = torch.randn(64, TOKENS, WIDTH, generator=generator).half()

    def __len__(self) -> int:
        return len(self.mean)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        mean = self.mean[indices]
        return {"latents_mean": mean, "latents_std": mean.abs() * 0.1, "text": self.text[indices % 64]}


class RandomFilms:
    """Films of 256 in memory."""

    def __init__(self, num: int = 512) -> None:
        self.images = torch.rand(num, 1, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def __len__(self) -> int:
        return len(self.images)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"images": self.images[indices]}


@dataclass(frozen=True)
class Way:
    """How a step is taken."""

    name: str
    compiled: bool = False
    float_norms: bool = False  # as autocast has them, and this package had


EAGER, COMPILED, FLOAT_NORMS = Way(""), Way(", compiled", True), Way(", norms in float32", False, True)


@dataclass(frozen=True)
class Training:
    """What is trained: a new model, its objective and data."""

    make: Callable[[], nn.Module]
    objective: Objective
    data: RandomLatents | RandomFilms
    batch_size: int


def measure_peak(size: int) -> float:
    """FLOP/s of a product of two bfloat16 matrices: the median of 20 after 5."""
    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / time_steps(lambda: left @ right, 5, 20)


def time_steps(step: Callable[[], object], num_first: int, num: int) -> float:
    """Seconds of a step by the device's clock: the median of `num` after `num_first`."""
    for _ in range(num_first):
        step()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(num + 1)]
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in pairwise(events)) / 1000


def count_operations(step: Callable[[], object]) -> int:
    """Floating-point operations of one step, a multiplication and an addition being two."""
    with count_flops() as counter:
        step()
    return counter.get_total_flops()


def make_uvit() -> UViT:
    return UViT(num_context_tokens=TOKENS)  # whose defaults are L


def make_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(sample_size=LATENTS[1], **SD1_UNET)


def make_autoencoder() -> AutoencoderLoss:
    """That of experiments/open_i.sh at 256, without ImageNet's features."""
    model = AutoencoderConfig(latent_channels=8, block_out_channels=(64, 128, 256, 256))
    return AutoencoderLoss(build_autoencoder(model, 256), AutoencoderLossConfig(adversarial_weight=0.05))


def train_denoiser(make: Callable[[], nn.Module], batch_size: int) -> Training:
    diffusion = DiffusionConfig(prediction_type="epsilon", fusion="text", text_tokens="all")
    objective = make_objective(diffusion, torch.zeros(1, TOKENS, WIDTH))
    return Training(make, objective, RandomLatents(), batch_size)


def train_autoencoder(batch_size: int) -> Training:
    def objective(model, batch, generator):
        return model(batch["images"], generator)

    return Training(make_autoencoder, objective, RandomFilms(), batch_size)


def our_step(training: Training, way: Way, folder: Path) -> Callable[[], object]:
    """A step of the training loop: the loader, the objective, gradient clipping, AdamW."""
    batch_size = training.batch_size
    config = TrainConfig(
        batch_size=batch_size,
        learning_rate=1e-5,
        mixed_precision="bf16",
        compile=way.compiled,
        num_steps=10_000,
    )
    run = RunFolder.create(folder, "benchmark", config, overwrite=True)
    model = training.make()
    suit = prefer_channels_last if way.float_norms else suit_gpu
    with mock.patch.object(learner_module, "suit_gpu", suit):
        groups = getattr(model, "groups", ())
        learner = Learner(
            model, training.objective, config, make_accelerator(config, run, bool(groups)), groups
        )
    batches = iterate_steps(training.data, batch_size, 0, range(10_000), 0)
    steps = iter(range(10_000))
    return lambda: learner.optimize(batches, next(steps))


def diffusers_step(batch_size: int) -> Callable[[], object]:
    """What train_text_to_image.py does with --mixed_precision bf16: frozen models in bfloat16, films and
    texts encoded in every step, the U-Net in float32 under autocast."""
    accelerator = Accelerator(mixed_precision="bf16")
    device = accelerator.device
    autoencoder = AutoencoderKL(**SD1_AUTOENCODER, sample_size=512).to(device, torch.bfloat16).eval()
    text_encoder = CLIPTextModel(CLIPTextConfig(**SD1_TEXT_ENCODER)).to(device, torch.bfloat16).eval()
    unet = make_unet()
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-5)
    unet, optimizer = accelerator.prepare(unet, optimizer)
    schedule = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    films = torch.rand(256, 3, 8 * LATENTS[1], 8 * LATENTS[2]) * 2 - 1
    token_ids = torch.randint(0, 40_000, (256, TOKENS))
    place = iter(range(10_000))

    def step() -> None:
        rows = torch.arange(batch_size) + next(place) * batch_size
        batch = films[rows % 256].pin_memory().to(device), token_ids[rows % 256].to(device)
        with torch.no_grad():
            latents = autoencoder.encode(batch[0].to(torch.bfloat16), return_dict=False)[0].sample() * 0.18215
            text = text_encoder(batch[1], return_dict=False)[0]
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (batch_size,), device=device)
        noised = schedule.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
        predicted = unet(noised, timesteps, text, return_dict=False)[0]
        loss = (predicted.float() - noise.float()).square().mean()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def score_training(training: Training, way: Way, flops: int, peak: float, num: int) -> dict:
    """Films/s, share of the peak, seconds to the first step and memory of the training step."""
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        step = our_step(training, way, Path(folder) / "run")
        started_s = time.perf_counter()
        step()
        torch.cuda.synchronize()
        first_s = time.perf_counter() - started_s
        taken_s = time_steps(step, 3, num)
    return {
        "films_per_s": round(training.batch_size / taken_s, 1),
        "share_of_peak": round(flops / taken_s / peak, 3),
        "seconds_to_first_step": round(first_s, 1),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
    }


def count_training(training: Training) -> int:
    """Operations of one step, counted on one that is not compiled."""
    with tempfile.TemporaryDirectory() as folder:
        return count_operations(our_step(training, EAGER, Path(folder) / "run"))


def score_sampling(batch_size: int, compiled: bool, peak: float, num: int) -> dict:
    """Evaluations of U-ViT-L under autocast: films/s at 50 steps with guidance, and share of the peak."""
    model: nn.Module = move(make_uvit(), "cuda").eval()
    inputs = {
        "sample": torch.randn(batch_size, *LATENTS, device="cuda"),
        "timestep": torch.full((batch_size,), 500.0, device="cuda"),
        "encoder_hidden_states": torch.randn(batch_size, TOKENS, WIDTH, device="cuda"),
    }

    @torch.no_grad()
    def evaluate() -> object:
        with torch.autocast("cuda", torch.bfloat16):
            return model(**inputs)

    flops = count_operations(evaluate)
    if compiled:
        model.compile()
    taken_s = time_steps(evaluate, 3, num)
    return {
        "films_per_s_50_steps_guided": round(batch_size / taken_s / 100, 2),
        "share_of_peak": round(flops / taken_s / peak, 3),
    }


def main(argv: list[str] | None = None) -> None:
    """Measure what was asked for; the file is written after each figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ("uvit_l", "sd", "autoencoder")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument(
        "--batch-size", type=int, default=64, help="of U-ViT-L; a quarter of it of the others"
    )
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each way")
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices of the peak")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    arguments = parser.parse_args(argv)
    if not torch.cuda.is_available():
        raise SystemExit("error: no NVIDIA GPU is here")
    settle_precision("bf16", torch.device("cuda"))  # TF32 for what stays in float32, as scripts do
    num, peak = arguments.steps, measure_peak(arguments.matrix)
    results: dict[str, object] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "matmul_tflops_per_s": round(peak / 1e12, 1),
        "batch_size": arguments.batch_size,
    }

    def note(name: str, figures: dict) -> None:
        results[name] = figures
        print(name, json.dumps(figures), flush=True)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(arguments.out, json.dumps(results, indent=2) + "\n")

    ways = (EAGER, COMPILED) if arguments.compiled else (EAGER,)

    def note_training(name: str, training: Training, ways: tuple[Way, ...]) -> None:
        flops = count_training(training)
        for way in ways:
            note(f"{name}{way.name}", score_training(training, way, flops, peak, num))

    if "uvit_l" in arguments.only:
        note_training("U-ViT-L training", train_denoiser(make_uvit, arguments.batch_size), ways)
        for way in ways:
            figures = score_sampling(2 * arguments.batch_size, way.compiled, peak, num)
            note(f"U-ViT-L sampling{way.name}", figures)
    size = arguments.batch_size // 4
    if "sd" in arguments.only:
        note_training("SD fine-tuning", train_denoiser(make_unet, size), (FLOAT_NORMS, *ways))
        theirs = size / time_steps(diffusers_step(size), 4, num)
        note("SD fine-tuning as diffusers' script", {"films_per_s": round(theirs, 1)})
    if "autoencoder" in arguments.only:
        note_training("autoencoder training", train_autoencoder(size), (FLOAT_NORMS, *ways))


if __name__ == "__main__":
    main()
