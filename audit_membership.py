#!/usr/bin/env python
"""Can it be told which films a denoiser was trained on? Its loss on each, and how well the losses tell.

    python audit_membership.py --vision runs/demo/uvit --data runs/demo/data --out runs/demo/membership

Writes losses.csv, a row a film, and scores it as `python -m evaluation membership` does: AUROC of films of
split train against others of the same data, and members found at 1% false alarms, with intervals.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.cli import parse_config, run_script
from runtime.config import setting, to_dict
from runtime.locks import Claim

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Config:
    """Membership inference."""

    vision: str = setting("runs/demo/uvit", identity=False)
    """Run of train_diffusion_clipUViT.py or train_diffusion_clipSD.py, or its model folder."""
    data: Path = Path("runs/demo/data")
    """Pairs folder that it was trained on."""
    out: Path = setting(Path("runs/demo/membership"), identity=False)
    """Folder for losses.csv, membership.md and membership.json."""
    split: Literal["validation", "test"] = "validation"
    """Films that it was not trained on."""
    num_films: int = 1000
    """Films of each side, drawn at random; 0: all."""
    num_levels: int = 10
    """Noise levels, even in time."""
    num_draws: int = 1
    """Noises at each level, the same for all films."""
    batch_size: int = 64
    """Films at once; another size changes at most rounding."""
    seed: int = 0
    """Of films, references, noises and resamples."""
    num_bootstrap: int = 2000
    """Resamples of patients for the intervals."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config and stop."""

    def __post_init__(self) -> None:
        for name, least in (("num_films", 0), ("num_levels", 1), ("num_draws", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} {getattr(self, name)}: must be at least {least}")


PRESETS = {"demo": Config()}


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        print(json.dumps(to_dict(config), indent=2))
        return
    from evaluation.privacy.membership import score_membership

    with Claim(config.out):
        losses = measure(config)
        path = config.out / "losses.csv"
        losses.to_csv(path, index=False)
        print(score_membership(path, config.out, config.num_bootstrap, config.seed))


def measure(config: Config) -> "pd.DataFrame":
    """The losses of films that were trained on and of others: file_name, patient_id, split, loss_TIMESTEP."""
    import numpy as np
    import pandas as pd

    from data_module.config import PlanConfig
    from data_module.pairs import PairsFolder
    from data_module.sampling_plan import SamplingPlan
    from runtime.devices import pick_device
    from runtime.runs import model_source
    from vision_module.denoiser_config import DENOISER_RUNS
    from vision_module.membership import make_measure, measure_films
    from vision_module.pipeline import VisionModel

    folder = model_source(config.vision, DENOISER_RUNS, "--vision")
    warn_of_other_data(config)
    vision = VisionModel.from_pretrained(folder).to(pick_device())
    measure_batch, levels = make_measure(vision, config.num_levels, config.num_draws, config.seed)
    columns = [f"loss_{round(float(timestep))}" for timestep in levels.timesteps]
    pairs, parts = PairsFolder.open(config.data), []
    for split in ("train", config.split):
        rows = pairs.split(split)
        plan = SamplingPlan(
            PlanConfig(
                data=config.data,
                split=split,
                prompt_order="table",
                no_reference=vision.prompts.fusion == "text",
            ),
            config.seed,
        )
        order = np.random.default_rng(config.seed).permutation(len(rows))
        picked = np.sort(order[: config.num_films or None])
        films, asked = [rows.image_paths[row] for row in picked], [plan[row] for row in picked]
        losses = measure_films(measure_batch, films, asked, config.batch_size, f"{split} films")
        table = rows.table[["file_name", "patient_id", "split"]].iloc[picked].reset_index(drop=True)
        parts.append(pd.concat([table, pd.DataFrame(losses, columns=columns)], axis=1))
    return pd.concat(parts, ignore_index=True)


def warn_of_other_data(config: Config) -> None:
    """Say where --data has another table than the one that the run notes to have been trained on."""
    from runtime.contents import hash_content
    from runtime.origins import read_record
    from runtime.runs import CONFIG, find_contents

    trained = (find_contents(read_record(Path(config.vision) / CONFIG)) or {}).get("data")
    if trained and trained != hash_content(config.data):
        print(
            f"warning: --data {config.data} is not the table that {config.vision} was trained on: its rows "
            "of split train may not be members",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run_script(main)
