#!/usr/bin/env python
"""Sample image-report pairs, or films alone: prompts and reference films -> a pairs folder.

    python sample_pairs.py --prompt "Large right pleural effusion." --guidance-scale 7
    python sample_pairs.py --vision runs/demo/uvit --language runs/demo/bart --prior runs/demo/prior \
        --data runs/demo/data --out runs/demo/pairs --num-pairs 256

Item i depends on (seed, i), the models and the flags, and on nothing else: a killed run goes on where it
stopped, and shards of one run write into one folder.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from data_module.cache import model_hash
from data_module.images import to_pixels
from data_module.labeler import label_reports
from data_module.sampling_plan import PlanConfig, PlannedPair, SamplingPlan
from data_module.synthetic import OutputConfig, SyntheticFolder
from language_module import DecodingConfig, ReportCodec
from prior_model import ReportPrior, TextToLatent
from runtime import describe_run, model_source, parse_config, run_script
from runtime.config import to_dict
from runtime.devices import pick_device
from runtime.files import file_hash
from runtime.generators import make_generator
from runtime.provenance import provenance_record
from runtime.shards import parse_shard
from vision_module import DrawingConfig, FilmSampler, VisionModel
from vision_module.prompting import Prompts


@dataclass(frozen=True)
class Config:
    vision: str = "runs/demo/uvit"
    """Run of train_diffusion_clipUViT.py or train_diffusion_clipSD.py, or its model folder."""
    language: str = "runs/demo/bart"
    """Run of train_bart.py."""
    prior: str = "runs/demo/prior"
    """Run of train_prior_model.py."""
    plan: PlanConfig = field(default_factory=PlanConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    seed: int = 0
    """Seed of prompt order, references and noise."""
    drawing: DrawingConfig = field(default_factory=DrawingConfig)
    films_only: bool = False
    """Draw films without reports; --language and --prior are not needed."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    dry_run: bool = False
    """Print the resolved config and stop."""


# What does not decide the content of an item, and the models and the data, which count by their content.
FREE = ("out", "num_pairs", "start", "shard", "overwrite", "dry_run")
FREE += ("vision", "language", "prior", "data", "init_from")

PRESETS = {
    "demo": Config(),
    # CXR-IRGen (WACV 2024), sec. 4.1: PNDM, 50 steps, guidance 7.5.
    "paper": Config(drawing=DrawingConfig(solver="pndm", num_inference_steps=50, guidance_scale=7.5)),
    # MONAI's chest X-ray bundle: DDIM, 50 steps, guidance 7, films alone.
    "monai": Config(
        drawing=DrawingConfig(solver="ddim", num_inference_steps=50, guidance_scale=7.0), films_only=True
    ),
}


class PairSampler:
    """The models of a run, and the calls from a plan to pairs."""

    def __init__(self, config: Config) -> None:
        self.config, self.device = config, pick_device()
        self.models = {"vision": model_source(config.vision, ("clipSD", "clipUViT"), "--vision")}
        vision = VisionModel.from_pretrained(self.models["vision"]).to(self.device)
        self.films = FilmSampler(vision, config.drawing, self._load_start(vision))
        if not config.films_only:
            self._load_language()

    def _load_start(self, vision: VisionModel) -> Callable[[Sequence[str]], torch.Tensor] | None:
        if not self.config.drawing.init_from:
            return None
        folder = model_source(self.config.drawing.init_from, "text_to_latent", "--init-from")
        model = TextToLatent.from_pretrained(folder).eval().to(self.device)
        shape = (model.config.latent_channels, model.config.latent_size, model.config.latent_size)
        if shape != vision.latent_shape:
            raise ValueError(
                f"--init-from {folder}: latents {shape}, those of --vision are {vision.latent_shape}"
            )
        self.models["init_from"] = folder
        prompts = vision.prompts
        pooled = Prompts(prompts.text_encoder, prompts.tokenizer, None, None, "text", "pooled")
        return lambda texts: model(pooled.encode_texts(texts)[:, 0])

    def _load_language(self) -> None:
        for name, kind in (("language", "bart"), ("prior", "prior")):
            try:
                self.models[name] = model_source(getattr(self.config, name), kind, f"--{name}")
            except ValueError as error:
                raise ValueError(f"{error}; --films-only draws films without reports") from None
        self.codec = ReportCodec.from_pretrained(self.models["language"]).eval().to(self.device)
        self.report_prior = ReportPrior.from_pretrained(self.models["prior"]).eval().to(self.device)
        codec = self.codec
        self.report_prior.check_codec(codec.num_embeddings, codec.embedding_dim, codec.fingerprint())

    @torch.inference_mode()
    def sample(
        self, items: Sequence[int], plan: Sequence[PlannedPair]
    ) -> tuple[np.ndarray, list[str] | None]:
        """Films (B, S, S) uint8 and reports (None with --films-only) of these items."""
        seed = self.config.seed
        draws = [make_generator(seed, 2, item) for item in items]
        latents, images = self.films.draw([p.prompt for p in plan], [p.reference for p in plan], draws)
        pixels = to_pixels(images).cpu().numpy()
        if self.config.films_only:
            return pixels, None
        with self.films.autocast():
            embeddings = self.report_prior(latents)
        draws = [make_generator(seed, 3, item, device=self.device) for item in items]
        return pixels, self.codec.decode(embeddings.float(), self.config.decoding, draws)


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        describe_run(config, {})
        return
    plan = SamplingPlan(config.plan, config.seed, label_reports)
    sampler = PairSampler(config)
    prompts = sampler.films.vision.prompts
    if not config.drawing.truncate_prompts:
        prompts.check_length(plan.prompts, plan.names)
    if words := prompts.unknown_words(plan.prompts):
        shown = ", ".join(words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "")
        print(f"warning: words that the text encoder never learned: {shown}", file=sys.stderr)
    output, items = config.output, config.output.items(len(plan))
    batch_size = output.batch_size or min(32, len(items))
    hashes = {name: model_hash(folder) for name, folder in sampler.models.items()}
    settings = {**_settings(config), "batch_size": batch_size, "models": hashes, "data": plan.data_hash}
    out = output.folder(config.plan.prompt, settings)
    folder = SyntheticFolder(out, settings, items, output.overwrite)
    folder.fill(plan, sampler.sample, batch_size, parse_shard(output.shard), output.image_format)
    result = folder.finish({**provenance_record(to_dict(config)), "models": hashes})
    if result is None:
        print(f"{out}: {len(folder.missing())} pairs are left to other shards")
    elif len(result) <= 4:
        for path, report in zip(result.image_paths, result.table["report"].fillna(""), strict=True):
            print(f"{path}\n  {report}" if report else path)
    else:
        print(f"{out}: {len(result)} pairs, contact_sheet.png shows the first")


def _settings(config: Config) -> dict:
    """The flags that decide what item i is; files count by their content."""
    values = to_dict(config)
    for part in ("plan", "output", "drawing", "decoding"):
        values.update(values.pop(part))
    files = (config.plan.prompts, config.plan.reference, config.drawing.init_film)
    contents = {str(path): file_hash(path)[:16] for path in files if path}
    return {**{name: value for name, value in values.items() if name not in FREE}, "files": contents}


if __name__ == "__main__":
    run_script(main)
