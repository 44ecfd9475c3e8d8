#!/usr/bin/env python
"""Edit films: the same film under another text, and its report -> a pairs folder.

    python edit_films.py --film FILE --from "Normal chest." --to "Large left pleural effusion." --out FOLDER
    python edit_films.py --film FILE --to "Left apical pneumothorax." --box 128 0 256 128 --out FOLDER
    python edit_films.py --pairs runs/demo/counterfactuals --use-masks --out runs/demo/edited

The diffusion's noise is inverted under the first text and drawn again under the second; the same text gives
the film back as the autoencoder has it. Item i depends on (seed, i), its film, models and flags alone.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from language_module.config import DecodingConfig
from pipelines.config import EditConfig, SamplerConfig
from runtime.cli import parse_config, run_script
from runtime.config import flatten, list_passing, setting, to_dict
from runtime.locks import Claim
from vision_module.editing_config import EditingConfig


@dataclass(frozen=True)
class Config:
    edit: EditConfig = field(default_factory=EditConfig)
    out: Path = setting(Path("runs/demo/edited"), identity=False)
    """Pairs folder to write."""
    vision: str = setting("runs/demo/uvit", identity=False)
    """Run of train_diffusion_clipUViT.py or train_diffusion_clipSD.py, or its model folder."""
    language: str = setting("runs/demo/bart", identity=False)
    """Run of train_bart.py."""
    prior: str = setting("runs/demo/prior", identity=False)
    """Run of train_prior_model.py."""
    films_only: bool = False
    """Write no reports; --language and --prior are not needed."""
    editing: EditingConfig = field(default_factory=EditingConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    batch_size: int = 16
    """Films at once; another size changes at most rounding."""
    seed: int = 0
    """Seed of the noise."""
    overwrite: bool = setting(False, identity=False)
    """Replace an --out that was made with other settings."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config and stop."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"--batch-size {self.batch_size}: must be at least 1")

    @property
    def models(self) -> SamplerConfig:
        return SamplerConfig(self.vision, self.language, self.prior, self.films_only, decoding=self.decoding)


# As sample_pairs.py writes reports.
PRESETS = {
    "demo": Config(decoding=DecodingConfig(method="sample", temperature=0.7, num_candidates=4, assemble=True))
}


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        print(json.dumps(to_dict(config), indent=2))
        return
    config.edit.require_input()
    with Claim(config.out):
        edit(config)


def edit(config: Config) -> None:
    from data_module.sources.output import begin_folder
    from pipelines.edit_plan import open_edits
    from pipelines.film_editor import FilmEditor, write_edits
    from runtime.contents import hash_contents, model_hash
    from runtime.provenance import provenance_record

    plan_at = open_edits(config.edit)
    editor = FilmEditor(config.models, config.editing, config.seed)
    plan = plan_at(editor.image_size)
    if config.edit.film:
        editor.warn_of_unknown(plan[0].film, f"--film {config.edit.film}")
    prompts = editor.vision.prompts
    for flag, texts in (("--from", [item.before for item in plan]), ("--to", [item.after for item in plan])):
        prompts.check_length(texts, [flag] * len(texts))
    models = {name: model_hash(folder) for name, folder in editor.sampler.models.items()}
    files = {"film": config.edit.film, "mask": config.edit.mask}
    files |= {"pairs": config.edit.pairs and config.edit.pairs / "metadata.csv"}
    settings = {
        "kind": "edits",
        **flatten(to_dict(config), list_passing(config)),
        "models": models,
        "files": hash_contents({name: path for name, path in files.items() if path}),
    }
    if begin_folder(config.out, settings, config.overwrite):
        print(f"{config.out}: already done")
        return
    batch_size = min(config.batch_size, len(plan))
    provenance = {**provenance_record(to_dict(config)), "synthetic": True, "models": models}
    pairs = write_edits(config.out, plan, editor, batch_size, provenance)
    print(f"{config.out}: {len(pairs)} edited, contact_sheet.png shows the first")


if __name__ == "__main__":
    run_script(main)
