#!/usr/bin/env python
"""Sample image-report pairs, or films alone: prompts and reference films -> a pairs folder.

    python sample_pairs.py --prompt "Large right pleural effusion." --guidance-scale 7
    python sample_pairs.py --vision runs/demo/uvit --language runs/demo/bart --prior runs/demo/prior \
        --data runs/demo/data --out runs/demo/pairs --num-pairs 256

Item i depends on (seed, i), the models and the flags, and on nothing else: a killed run goes on where it
stopped, and shards of one run write into one folder.
"""

import json
import sys
from dataclasses import dataclass, field

from data_module.config import PlanConfig, SyntheticConfig
from evaluation.filters.config import KeepConfig
from language_module.config import DecodingConfig
from pipelines.config import SamplerConfig
from runtime.cli import parse_config, run_script
from runtime.config import flatten, list_defaults, list_passing, setting, to_dict
from runtime.locks import Claim
from runtime.processes import claim_together, is_main
from runtime.shards import describe_left, describe_share, spread_shard
from vision_module.config import DrawingConfig


@dataclass(frozen=True)
class Config:
    models: SamplerConfig = field(default_factory=SamplerConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    output: SyntheticConfig = field(default_factory=SyntheticConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    seed: int = 0
    """Seed of prompt order, references and noise."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config and stop."""
    estimate: bool = setting(False, identity=False)
    """Draw some pairs that are not kept, say how long the run and how large its folder will be, and stop."""


PRESETS = {
    # 8 steps even in log-SNR draw what 15 draw (docs/speed.md). Of reports from the sentences of five drafts
    # none contradicts itself; of those written once half do.
    "demo": Config(
        models=SamplerConfig(
            drawing=DrawingConfig(num_inference_steps=8),
            decoding=DecodingConfig(method="sample", temperature=0.7, num_candidates=4, assemble=True),
        )
    ),
    # CXR-IRGen (WACV 2024), sec. 4.1: PNDM, 50 steps, guidance 7.5, the first 1,000 test rows.
    "paper": Config(
        models=SamplerConfig(
            drawing=DrawingConfig(
                solver="pndm", num_inference_steps=50, guidance_scale=7.5, mixed_precision="no"
            )
        ),
        plan=PlanConfig(prompt_order="table"),
    ),
    # MONAI's chest X-ray bundle: DDIM, 50 steps, guidance 7, films alone.
    "monai": Config(
        models=SamplerConfig(
            drawing=DrawingConfig(
                solver="ddim", num_inference_steps=50, guidance_scale=7.0, mixed_precision="no"
            ),
            films_only=True,
        )
    ),
}


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run and is_main():
        print(json.dumps(to_dict(config), indent=2), describe_share(config.output.shard), sep="\n")
    if config.estimate or not config.dry_run:
        sample(config)


def sample(config: Config) -> None:
    from data_module.labeler import label_reports
    from data_module.labeler.consistency import check_self_denials, warn_of_self_denials
    from data_module.sampling_plan import SamplingPlan
    from data_module.sections import warn_of_blanks
    from data_module.synthetic import SyntheticFolder
    from evaluation.filters.judge import open_filter
    from evaluation.filters.kept import warn_of_lost
    from evaluation.filters.weak_findings import warn_of_weak
    from pipelines.filtering import FilteredSampler
    from pipelines.pace import describe_sampling_pace
    from pipelines.pair_sampler import PairSampler
    from runtime.contents import model_hash
    from runtime.provenance import provenance_record
    from runtime.wording import shorten

    plan = SamplingPlan(config.plan, config.seed, label_reports)
    if config.plan.prompt:
        check_self_denials(config.plan.prompt, "--prompt")
    elif config.plan.prompts and is_main():
        warn_of_self_denials(plan.prompts, plan.names)
    sampler = PairSampler(config.models, config.seed)
    prompts = sampler.films.vision.prompts
    if not config.models.drawing.truncate_prompts:
        prompts.check_length(plan.prompts, plan.names)
    if is_main() and (words := prompts.unknown_words(plan.prompts)):
        print(f"warning: words that the text encoder never learned: {shorten(words, 8)}", file=sys.stderr)
    if is_main():
        warn_of_blanks(plan.prompts, "prompts")
    if config.keep.results and is_main():
        warn_of_weak(plan.labels, config.keep.results)
    tests, test_settings = open_filter(config.keep, config.plan.data, config.models.films_only)
    draw = (
        FilteredSampler(sampler.sample, tests.judge, config.keep.max_tries, config.keep.keep_best).sample
        if tests
        else sampler.sample
    )
    output, items = config.output, config.output.items(len(plan))
    batch_size = output.batch_size or min(32, len(items))
    hashes = {name: model_hash(folder) for name, folder in sampler.models.items()}
    settings = {
        **_settings(config),
        "output.batch_size": batch_size,
        "models.drawing.mixed_precision": sampler.films.precision,  # what "auto" came to on this machine
        "models": hashes,
        "data": plan.data_hash,
        **test_settings,
    }
    out = output.folder(config.plan.prompt, settings)
    shard = spread_shard(output.shard)
    if config.estimate:
        done = SyntheticFolder.count_done(out, settings, list_defaults(config)) if not output.overwrite else 0
        pace = describe_sampling_pace(
            draw, plan, items, batch_size, done * batch_size, shard[1], output.image_format
        )
        if is_main():
            print(pace)
        return

    def prepare(claim: Claim) -> None:
        if output.overwrite and not claim.when_alone(lambda: SyntheticFolder.empty(out)):
            raise ValueError(f"--overwrite: other shards are writing --out {out}: end them first")
        SyntheticFolder(out, settings, items, batch_size, shard, list_defaults(config))

    with claim_together(Claim(out, shard), prepare) as claim:
        folder = SyntheticFolder(out, settings, items, batch_size, shard, list_defaults(config))
        folder.fill(plan, draw, output.image_format)
        with claim.closing():
            result = folder.finish({**provenance_record(to_dict(config)), "models": hashes})
    if result is not None and config.keep.keep:
        warn_of_lost(out)
    if result is None:
        if is_main():
            print(f"{out}: {describe_left(output.shard, len(folder.missing()), 'pairs')}")
    elif len(result) <= 4:
        for path, report in zip(result.image_paths, result.table["report"].fillna(""), strict=True):
            print(f"{path}\n  {report}" if report else path)
    else:
        print(f"{out}: {len(result)} pairs, contact_sheet.png shows the first")


def _settings(config: Config) -> dict:
    """The flags that decide what item i is; files count by their content, and so do models and data."""
    from runtime.contents import hash_contents

    drawing, plan = config.models.drawing, config.plan
    files = {"prompts": plan.prompts, "reference": plan.reference, "init_film": drawing.init_film}
    hashes = hash_contents(files)
    return {
        **flatten(to_dict(config), (*list_passing(config), "keep")),
        "files": [hashes.get(name, "") for name in files],
        **hash_contents({"spectrum": drawing.spectrum}),  # absent without it, as in older folders
    }


if __name__ == "__main__":
    run_script(main)
