"""The teacher's paths from noise to film, through the cache, and the lessons that a student takes."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from data_module.cache import CacheWriter, LatentCache, cache_key, open_or_write
from data_module.pairs import PairsFolder
from data_module.references import ReferenceIndex
from data_module.text_columns import text_columns
from runtime.contents import model_hash
from runtime.devices import pick_device
from runtime.generators import make_generator
from runtime.precision import settle_precision
from vision_module.config import Fusion
from vision_module.distill_config import PathConfig
from vision_module.encoding import PromptCache, encode_prompts
from vision_module.noise_path import NoisePath
from vision_module.pipeline import VisionModel
from vision_module.prompting import fuse


class TeacherPaths:
    """Paths of one split's prompts, traced once; a batch source of `training.fit`.

    Path i is a pure function of (seed, i), the teacher, the rows and the settings.

    Args:
        cache: `states` (N, stops + 1, C, H, W), noise first and film last, `guidance` (N,), `text` (N,) a
            place among the texts, `reference` (N,) a row of the table, -1 without one.
        num_evaluations: steps that the student takes from noise to film.
    """

    def __init__(
        self, cache: LatentCache, prompts: PromptCache, path: NoisePath, num_evaluations: int, fusion: Fusion
    ) -> None:
        self.cache, self.prompts = cache, prompts
        self.fusion: Fusion = fusion
        self.stride = (cache["states"].shape[1] - 1) // num_evaluations
        self.stops = torch.tensor(path.stops(num_evaluations))

    def __len__(self) -> int:
        return len(self.cache["guidance"])

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """One step of each path: `sample` and `target` (B, C, H, W) at the timesteps `start` and `end` (B,),
        `context` (B, T, D) and `guidance` (B,). The steps of the way are drawn equally often."""
        count = len(self.stops) - 1
        first = int(torch.randint(count, (), generator=generator))
        steps = (np.arange(len(indices)) + first) % count
        # Rows of a memory map, each read once.
        states = [self.cache["states"][index] for index in indices]
        stride = self.stride
        sample = np.stack([state[step * stride] for state, step in zip(states, steps, strict=True)])
        target = np.stack([state[(step + 1) * stride] for state, step in zip(states, steps, strict=True)])
        return {
            "sample": torch.as_tensor(sample).float(),
            "target": torch.as_tensor(target).float(),
            "start": self.stops[steps],
            "end": self.stops[steps + 1],
            "context": make_context(
                self.prompts, self.cache["text"][indices], self.cache["reference"][indices], self.fusion
            ),
            "guidance": torch.as_tensor(self.cache["guidance"][indices]).float(),
        }


def make_context(
    prompts: PromptCache, texts: np.ndarray, references: np.ndarray, fusion: Fusion
) -> torch.Tensor:
    """Context (B, T, D) of texts by their places, and of reference films by their rows, -1 for none."""
    assert prompts.texts is not None  # there are text columns
    text = torch.as_tensor(np.asarray(prompts.texts[texts])).float()
    if prompts.references is None:
        return fuse(text, None, fusion)
    reference = torch.as_tensor(np.asarray(prompts.references[np.maximum(references, 0)])).float()
    return fuse(text, reference, fusion, torch.as_tensor(references >= 0))


def draw_asked(
    pairs: PairsFolder, split: str, prompts: PromptCache, config: PathConfig, num_paths: int, seed: int
) -> dict[str, np.ndarray]:
    """What each path is asked for: `text`, `reference` (both int32, as in `TeacherPaths`) and `guidance`.

    Raises:
        ValueError: a split without rows.
    """
    assert prompts.text_index is not None  # there are text columns
    rows = pairs.split_rows(split)
    patients = pairs.table["patient_id"].to_numpy()
    train = pairs.split_rows("train")
    index = None
    if prompts.references is not None:
        index = ReferenceIndex(pairs.labels[train], patients[train])
    low, high = config.guidance_range
    texts, references = np.empty(num_paths, np.int32), np.full(num_paths, -1, np.int32)
    guidance, asked = np.empty(num_paths, np.float16), np.empty(num_paths, np.int64)
    draws = np.random.default_rng((seed, 6)).random((num_paths, 4))
    for item, (text_draw, scale, kept, _) in enumerate(draws):
        if item % len(rows) == 0:
            order = np.random.default_rng((seed, 7, item // len(rows))).permutation(rows)
        row = asked[item] = order[item % len(rows)]
        filled = np.flatnonzero(prompts.text_index[row] >= 0)
        texts[item] = prompts.text_index[row, filled[int(text_draw * len(filled))]]
        guidance[item] = low + (high - low) * scale
        references[item] = 0 if index is not None and kept >= config.no_reference_share else -1
    with_one = np.flatnonzero(references == 0)
    if index is not None and len(with_one):
        found = index.draw_for(
            pairs.labels[asked[with_one]], patients[asked[with_one]].tolist(), draws[with_one, 3]
        )
        references[with_one] = train[found]
    return {"text": texts, "reference": references, "guidance": guidance}


def trace_paths(
    vision: VisionModel,
    teacher_dir: Path,
    pairs: PairsFolder,
    columns: tuple[str, ...],
    config: PathConfig,
    mixed_precision: Literal["auto", "no", "bf16", "fp16"],
    seed: int,
    cache_root: Path,
    batch_size: int = 32,
) -> tuple[TeacherPaths, TeacherPaths]:
    """Paths to train and to validate on; what a killed run has traced is kept.

    Args:
        vision: the teacher, of the folder `teacher_dir`.
        columns: text columns of the table that prompts come from.
        batch_size: paths traced at once.

    Raises:
        ValueError: no column, one that is not there, or a split without rows.
    """
    if not columns:
        raise ValueError("--texts: name a column at least; the paths are asked for by its texts")
    identity = model_hash(teacher_dir)
    fields = text_columns(pairs, columns)
    prompts = encode_prompts(pairs, vision.prompts, str(teacher_dir), columns, fields, cache_root)
    path, found = NoisePath(vision.scheduler), []
    stops = path.stops(config.num_stops)
    steps = path.fine_steps(config.teacher_steps, stops)
    device = pick_device()
    precision = settle_precision(mixed_precision, device)

    def write(split: str, num_paths: int, own_seed: int, writer: CacheWriter) -> None:
        asked = draw_asked(pairs, split, prompts, config, num_paths, own_seed)
        tracer = _Tracer(vision.to(device), prompts, path, steps, stops, asked, precision, own_seed)
        writer.fill("paths", num_paths, tracer, batch_size)
        for name, values in asked.items():
            writer.put(name, values)

    for split, num_paths in (("train", config.num_paths), ("validation", config.num_validation_paths)):
        own_seed = seed + (split == "validation")
        counts = ("num_evaluations", "num_paths", "num_validation_paths")
        settings = {name: value for name, value in asdict(config).items() if name not in counts}
        settings |= {"kind": "paths", "split": split, "columns": columns, "seed": seed, "steps": steps}
        settings |= {"stops": stops, "count": num_paths, "precision": precision}
        key = cache_key(pairs.manifest_hash(), {"teacher": identity}, settings)
        cache = open_or_write(cache_root, key, partial(write, split, num_paths, own_seed))
        found.append(TeacherPaths(cache, prompts, path, config.num_evaluations, vision.prompts.fusion))
    vision.to("cpu")
    return found[0], found[1]


class _Tracer:
    """The teacher with guidance: path numbers -> their states."""

    def __init__(
        self,
        vision: VisionModel,
        prompts: PromptCache,
        path: NoisePath,
        steps: list[float],
        stops: list[float],
        asked: dict[str, np.ndarray],
        precision: str,
        seed: int,
    ) -> None:
        self.vision, self.prompts, self.path, self.precision = vision, prompts, path, precision
        self.steps, self.stops, self.asked, self.seed = steps, stops, asked, seed
        self.null = vision.prompts.null_context()

    @torch.no_grad()  # as in FilmSampler.draw
    def __call__(self, items: np.ndarray) -> dict[str, np.ndarray]:
        vision, asked = self.vision, {name: values[items] for name, values in self.asked.items()}
        context = make_context(self.prompts, asked["text"], asked["reference"], vision.prompts.fusion)
        both = torch.cat([self.null.expand_as(context), context.to(self.null)])
        shape = vision.latent_shape
        noise = [torch.randn(shape, generator=make_generator(self.seed, 5, int(item))) for item in items]
        scale = torch.as_tensor(asked["guidance"]).float().to(self.null.device)[:, None, None, None]

        def predict(sample: torch.Tensor, timestep: float) -> torch.Tensor:
            output = vision.denoiser(torch.cat([sample, sample]), timestep, encoder_hidden_states=both)
            null, conditional = output.sample.float().chunk(2)
            return null + scale * (conditional - null)

        with torch.autocast(self.null.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            states = self.path.trace(predict, torch.stack(noise).to(self.null.device), self.steps, self.stops)
        return {"states": states.float().cpu().numpy()}
