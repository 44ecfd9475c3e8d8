#!/usr/bin/env python
"""Sample image-report pairs: prompts and reference films -> a pairs folder.

    python sample_pairs.py --vision runs/demo/uvit --language runs/demo/bart --prior runs/demo/prior \
        --data runs/demo/data --out runs/demo/pairs --num-pairs 256
    python sample_pairs.py --prompt "Large right pleural effusion" --num-pairs 4 --out effusions

Item i depends on (seed, i), the models and the flags, and on nothing else: a killed run goes on where it
stopped, and shards of one run write into one folder.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

from data_module.cache import model_hash
from data_module.images import load_images, to_pixels
from data_module.pairs import PairsFolder, provenance_record
from data_module.sampling_plan import PlannedPair, SamplingPlan, read_prompts
from data_module.shards import parse_shard
from data_module.synthetic import SyntheticFolder
from evaluation.labeler import label_reports
from language_module import DecodingConfig, ReportCodec
from prior_model import ReportPrior
from training import describe_run, make_generator, model_source, parse_config, run_script
from training.config import to_dict
from vision_module import VisionModel, decode_latents, denoise, draw_noise, make_solver
from vision_module.encoding import pick_device


@dataclass(frozen=True)
class Config:
    vision: str = "runs/demo/uvit"
    """Run of train_diffusion_clipUViT.py or train_diffusion_clipSD.py, or its model folder."""
    language: str = "runs/demo/bart"
    """Run of train_bart.py."""
    prior: str = "runs/demo/prior"
    """Run of train_prior_model.py."""
    data: Path | None = Path("runs/demo/data")
    """Pairs folder: its --split rows give the prompts, its train rows the reference films."""
    split: Literal["train", "validation", "test"] = "test"
    """Rows of --data that give the prompts."""
    prompt: str = ""
    """One prompt for all items, instead of those of --data."""
    prompts: Path | None = None
    """File of prompts: .txt with one a line, or .csv with a column `prompt`."""
    reference: Path | None = None
    """One reference film for all items, instead of one of the same findings for each."""
    no_reference: bool = False
    """Text alone: no reference film."""
    out: Path = Path("runs/demo/pairs")
    """Pairs folder to write."""
    num_pairs: int = 0
    """Number of pairs; 0 makes one of each prompt."""
    start: int = 0
    """First item; items start ... start + num_pairs - 1 are made."""
    shard: str = "0/1"
    """i/n makes every n-th batch, from the i-th (0 <= i < n); all shards share --out."""
    seed: int = 0
    """Seed of prompt order, references and noise."""
    batch_size: int = 32
    """Items at once. Batches are always full; another size changes at most rounding."""
    solver: str = "dpm-solver++"
    """dpm-solver++, ddim, pndm, unipc or euler."""
    num_inference_steps: int = 15
    """Steps of the solver."""
    guidance_scale: float = 3.0
    """Classifier-free guidance; 1 is the conditional model alone."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """Precision of the denoiser, the autoencoder and the prior."""
    image_format: Literal["png", "jpg"] = "png"
    """Format of the films, 8-bit grey."""
    films_only: bool = False
    """Draw films without reports; --language and --prior are not needed."""
    truncate_prompts: bool = False
    """Use the beginning of a prompt that is longer than the text encoder reads."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    overwrite: bool = False
    """Delete a folder that this script made in --out and start anew."""
    dry_run: bool = False
    """Print the resolved config and stop."""


PRESETS = {
    "demo": Config(),
    # CXR-IRGen (WACV 2024), sec. 4.1: PNDM, 50 steps, guidance 7.5.
    "paper": Config(solver="pndm", num_inference_steps=50, guidance_scale=7.5),
}


class Sampler:
    """The four calls from a plan to pairs."""

    def __init__(self, config: Config) -> None:
        self.config, self.device = config, pick_device()
        vision_dir = model_source(config.vision, ("clipSD", "clipUViT"), "--vision")
        self.models = {"vision": vision_dir}
        self.vision = VisionModel.from_pretrained(vision_dir).to(self.device)
        self.solver = lambda: make_solver(config.solver, self.vision.scheduler, config.num_inference_steps)
        self.solver()
        if not config.films_only:
            self.models["language"] = model_source(config.language, "bart", "--language")
            self.models["prior"] = model_source(config.prior, "prior", "--prior")
            self.codec = ReportCodec.from_pretrained(self.models["language"]).eval().to(self.device)
            self.report_prior = ReportPrior.from_pretrained(self.models["prior"]).eval().to(self.device)
            codec = self.codec
            self.report_prior.check_codec(codec.num_embeddings, codec.embedding_dim, codec.fingerprint())

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision == "bf16")

    def _references(self, plan: Sequence[PlannedPair]) -> torch.Tensor | None:
        paths = [pair.reference for pair in plan]
        if any(path is None for path in paths) or self.vision.prompts.fusion == "text":
            return None
        side = self.vision.prompts.feature_extractor.crop_size["height"]
        return load_images(paths, side)

    @torch.inference_mode()
    def sample(self, items: Sequence[int], plan: Sequence[PlannedPair]):
        """Films (B, S, S) uint8 and reports (None with --films-only) of these items."""
        config = self.config
        generators = [make_generator(config.seed, 2, item) for item in items]
        noise = draw_noise(generators, self.vision.latent_shape).to(self.device)
        prompts, references = [pair.prompt for pair in plan], self._references(plan)
        with self._autocast():
            context, null_context = self.vision.prompts.encode(prompts, references)
            latents = denoise(
                self.vision.denoiser, self.solver(), noise, context, null_context, config.guidance_scale
            )
            images = decode_latents(self.vision.autoencoder, latents)
            embeddings = None if config.films_only else self.report_prior(latents)
        pixels = to_pixels(images).cpu().numpy()
        if embeddings is None:
            return pixels, None
        draws = [make_generator(config.seed, 3, item, device=self.device) for item in items]
        return pixels, self.codec.decode(embeddings.float(), config.decoding, draws)


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        describe_run(config, {})
        return
    shard = parse_shard(config.shard)
    if config.batch_size < 1 or config.num_pairs < 0 or config.start < 0:
        raise ValueError("--batch-size must be at least 1, --num-pairs and --start 0 or more")
    prompts, names = read_prompts(config.prompt, config.prompts)
    pairs = PairsFolder.open(config.data) if config.data and (not prompts or config.data.is_dir()) else None
    plan = SamplingPlan(
        pairs, config.seed, prompts, config.split, config.reference, not config.no_reference, label_reports
    )
    sampler = Sampler(config)
    if not config.truncate_prompts:
        names = names or [f"{config.data}, split {config.split}, prompt {i + 1}" for i in range(len(plan))]
        sampler.vision.prompts.check_length(plan.prompts, names)
    items = range(config.start, config.start + (config.num_pairs or len(plan)))
    hashes = {name: model_hash(folder) for name, folder in sampler.models.items()}
    folder = SyntheticFolder(config.out, _settings(config, hashes, pairs), items, config.overwrite)
    _sample_batches(config, sampler, plan, folder, shard)
    result = folder.finish({**provenance_record(to_dict(config)), "models": hashes})
    if result is None:
        print(f"{config.out}: {len(folder.missing())} pairs are left to other shards")
    else:
        print(f"{config.out}: {len(result)} pairs, contact_sheet.png shows the first")


def _sample_batches(
    config: Config, sampler: Sampler, plan: SamplingPlan, folder: SyntheticFolder, shard: tuple[int, int]
) -> None:
    batches = folder.missing_batches(config.batch_size, shard)
    with tqdm(total=sum(len(missing) for _, missing in batches), desc="sampling", unit="pair") as bar:
        for items, missing in batches:
            planned = [plan[item] for item in items]
            pixels, reports = sampler.sample(items, planned)
            kept = [items.index(item) for item in missing]
            folder.add(
                missing,
                [planned[place] for place in kept],
                pixels[kept],
                [reports[place] for place in kept] if reports else None,
                config.image_format,
            )
            bar.update(len(kept))


def _settings(config: Config, hashes: dict[str, str], pairs: PairsFolder | None) -> dict:
    """Everything that decides what item i is."""
    free = (
        "out",
        "num_pairs",
        "start",
        "shard",
        "overwrite",
        "dry_run",
        "vision",
        "language",
        "prior",
        "data",
    )
    settings = {name: value for name, value in to_dict(config).items() if name not in free}
    return {**settings, "models": hashes, "data": pairs.manifest_hash() if pairs else ""}


if __name__ == "__main__":
    run_script(main)
