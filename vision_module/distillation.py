"""Few-step distillation of a denoiser: one evaluation of the student lands where several of the teacher do.

The teacher's solver is deterministic, so the film is a function of the noise, and so is each state before it.
The student learns the jump from one stop of the way to the next, as in progressive distillation (Salimans and
Ho, ICLR 2022, appendix G), but from the teacher's whole way at once and not by halving; the guidance scale is
its input (Meng et al., CVPR 2023). It starts as the teacher.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from data_module.pairs import PairsFolder
from runtime.files import read_json
from runtime.runs import RunFolder, model_source
from runtime.weights import drop_unused
from training.config import TrainConfig
from training.loop import fit
from vision_module.adapters import merge_adapters
from vision_module.denoiser_config import DENOISER_RUNS
from vision_module.distill_config import PathConfig
from vision_module.few_step import GUIDANCE_DIM, FewStep, embed_guidance
from vision_module.noise_path import NoisePath
from vision_module.pipeline import ADAPTER, VisionModel
from vision_module.teacher_paths import trace_paths
from vision_module.uvit import UViT

Denoiser = UViT | UNet2DConditionModel


def make_student(teacher: Denoiser) -> Denoiser:
    """A copy of a denoiser that takes the guidance scale as an input, which says nothing at first."""
    teacher = merge_adapters(teacher)
    model_class = UViT if isinstance(teacher, UViT) else UNet2DConditionModel
    student = drop_unused(model_class.from_config(_with_guidance(dict(teacher.config))))
    new, _ = student.load_state_dict(teacher.state_dict(), strict=False)
    for name, parameter in student.named_parameters():
        if name in new:
            nn.init.zeros_(parameter)
    return student


def _with_guidance(config: Mapping[str, Any]) -> dict[str, Any]:
    """A teacher's config for its student. Names with an underscore are diffusers' own: among them a list of
    what older files do not name, which would be left out again."""
    kept = {name: value for name, value in config.items() if not name.startswith("_")}
    return kept | {"time_cond_proj_dim": GUIDANCE_DIM}


def sketch_student(folder: Path) -> Denoiser:
    """A student without weights of the teacher in `folder`, or of the base of its adapter."""
    if (folder / ADAPTER).is_file():
        folder = Path(read_json(folder / ADAPTER)["unet"])
    config = read_json(folder / "unet" / "config.json")
    model_class = UViT if config["_class_name"] == UViT.__name__ else UNet2DConditionModel
    return drop_unused(model_class.from_config(_with_guidance(config)))


def make_jump_objective(
    path: NoisePath,
) -> Callable[[nn.Module, dict[str, torch.Tensor], torch.Generator], dict[str, torch.Tensor]]:
    """Squared distance of the student's landing from the teacher's state, in units of the velocity."""

    def objective(
        model: nn.Module, batch: dict[str, torch.Tensor], generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        sample, start, end = batch["sample"], batch["start"], batch["end"]
        output = model(
            sample,
            start,
            encoder_hidden_states=batch["context"],
            timestep_cond=embed_guidance(batch["guidance"]),
        ).sample.float()
        missed = path.jump(output, sample, start, end) - batch["target"]
        return {"loss": (missed / path.jump_width(start, end)).square().mean()}

    return objective


def open_teacher(name: str) -> tuple[VisionModel, Path]:
    """The model of --teacher, and its folder.

    Raises:
        ValueError: it is not there, no denoiser, or a student itself.
    """
    folder = Path(model_source(name, DENOISER_RUNS, "--teacher"))
    teacher = VisionModel.from_pretrained(folder)
    if teacher.few_step:
        raise ValueError(
            f"--teacher {name} is distilled itself: name the model that it was made of; --init-from takes a "
            "student to start from"
        )
    return teacher, folder


def open_start(name: str, teacher: VisionModel, path: PathConfig) -> Denoiser:
    """The student of --init-from, which takes more steps than is asked for now.

    Raises:
        ValueError: it is none, of another shape, or takes fewer steps.
    """
    student = VisionModel.from_pretrained(model_source(name, DENOISER_RUNS, "--init-from"))
    few = student.few_step
    if few is None:
        raise ValueError(f"--init-from {name} is no distilled model; a student starts as its teacher anyway")
    shapes = [
        {name: value.shape for name, value in model.state_dict().items()}
        for model in (student.denoiser, make_student(teacher.denoiser))
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(f"--init-from {name} is of another shape than --teacher")
    if few.num_evaluations < path.num_evaluations:
        raise ValueError(
            f"--init-from {name} draws in {few.num_evaluations}, fewer than --num-evaluations "
            f"{path.num_evaluations}"
        )
    return student.denoiser


def distill(
    teacher_name: str,
    init_from: str,
    data: Path,
    columns: tuple[str, ...],
    path: PathConfig,
    train: TrainConfig,
    run: Callable[[str], RunFolder],
    cache: Path,
) -> None:
    """Trace the teacher's paths, then train and save the student as a whole vision model.

    Args:
        run: kind, "clipSD" or "clipUViT" -> the run folder.
    """
    pairs = PairsFolder.open(data)
    teacher, folder = open_teacher(teacher_name)
    student = open_start(init_from, teacher, path) if init_from else make_student(teacher.denoiser)
    run_folder = run(DENOISER_RUNS[isinstance(student, UViT)])
    teacher.prompts.requires_grad_(False)
    sources = trace_paths(teacher, folder, pairs, columns, path, train.mixed_precision, train.seed, cache)
    noise_path = NoisePath(teacher.scheduler)
    few_step = FewStep(path.num_evaluations, path.guidance_range)

    def save(model: Denoiser, place: Path) -> None:
        whole = VisionModel(teacher.autoencoder, model, teacher.prompts, teacher.scheduler, few_step)
        whole.save_pretrained(place)

    fit(
        student.train().requires_grad_(True),
        make_jump_objective(noise_path),
        *sources,
        train,
        run_folder,
        save,
    )
