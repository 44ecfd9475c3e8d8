#!/usr/bin/env python
"""Distill a trained denoiser: a student draws in 4, 2 or 1 evaluations what its teacher draws in 30.

    python distill_diffusion.py --teacher runs/demo/uvit --out runs/demo/uvit_4
    python sample_pairs.py --vision runs/demo/uvit_4 --solver few-step --num-inference-steps 4

The teacher's paths from noise to film are traced once, through the cache; the student, which starts as the
teacher, then learns their jumps. A student of fewer steps starts best from one of more (--init-from).
"""

from dataclasses import dataclass, field
from pathlib import Path

from runtime.cli import parse_config, run_script
from runtime.config import setting
from training.config import TrainConfig
from training.dry_run import describe_run
from vision_module.distill_config import PathConfig


@dataclass(frozen=True)
class Config:
    teacher: str = "runs/demo/uvit"
    """Run of train_diffusion_clipUViT.py or train_diffusion_clipSD.py, or its model folder."""
    init_from: str = ""
    """Student of the same teacher to start from, that takes more steps; empty starts from the teacher."""
    data: Path = Path("runs/demo/data")
    """Pairs folder, whose prompts and films of its train split the paths are asked for."""
    out: Path = setting(Path("runs/demo/uvit_4"), identity=False)
    """Run folder."""
    cache: Path | None = setting(None, identity=False)
    """Where paths and prompts are kept; None: cache/ beside --out."""
    texts: tuple[str, ...] = ("prompt", "impression_section", "free_prompt", "free_prompt_2")
    """Columns to draw a path's text from, with equal chances among those that are not empty."""
    path: PathConfig = field(default_factory=PathConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    overwrite: bool = setting(False, identity=False)
    """Delete a run that is in --out and start anew."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""


PRESETS = {
    # Four minutes of one core; its films are nearly as good as the teacher's (docs/speed.md).
    "demo": Config(
        path=PathConfig(num_paths=1024, num_validation_paths=64),
        train=TrainConfig(
            num_steps=400,
            batch_size=32,
            optimizer="muon",
            learning_rate=1e-3,
            ema_decay=0.995,
            warmup_steps=10,
            validate_every=100,
            checkpoint_every=50,
        ),
    ),
    # Of the paper's U-ViT, and around its guidance of 7.5.
    "paper": Config(
        teacher="runs/paper/uvit",
        data=Path("data/mimic-cxr"),
        out=Path("runs/paper/uvit_4"),
        texts=("prompt",),
        path=PathConfig(guidance_range=(1.0, 10.0), num_paths=100_000, num_validation_paths=1024),
        train=TrainConfig(
            num_steps=25_000, batch_size=32, learning_rate=5e-5, ema_decay=0.999, checkpoint_every=1000
        ),
    ),
}


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        describe(config)
    else:
        train(config)


def describe(config: Config) -> None:
    """Print what the run would be; the student's size is known where its teacher is there."""
    from runtime.runs import model_source
    from vision_module.denoiser_config import DENOISER_RUNS

    models, sizes = {}, {"paths": f"{config.path.num_paths} in {config.path.teacher_steps} steps"}
    try:
        folder = Path(model_source(config.teacher, DENOISER_RUNS, "--teacher"))
    except ValueError as error:
        sizes["student"] = f"of unknown size ({error})"
    else:
        from vision_module.distillation import sketch_student

        models = {"student": lambda: sketch_student(folder)}
    describe_run(config, models, bool(config.train.ema_decay), ("student",), sizes)


def train(config: Config) -> None:
    from runtime.runs import RunFolder
    from vision_module.distillation import distill

    distill(
        config.teacher,
        config.init_from,
        config.data,
        config.texts,
        config.path,
        config.train,
        lambda kind: RunFolder.create(config.out, kind, config, config.overwrite),
        config.cache or config.out.parent / "cache",
    )


if __name__ == "__main__":
    run_script(main)
