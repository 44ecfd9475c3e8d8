"""Several tables of generated reports against the same real reports, in one table.

    python compare_reports.py --real runs/demo/data --out runs/demo/report_table.md \
        --reports "paper=paper.csv" "ours=ours.csv" "GPT-2=gpt.csv" --against GPT-2

Clinical F1 is that of `python -m evaluation reports`; its intervals are bootstrapped over patients, and so
is the ratio to --against, patient by patient on the same draws.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from runtime.cli import parse_config, run_script
from runtime.config import to_dict
from runtime.files import write_atomic


@dataclass(frozen=True)
class Config:
    """Comparison of report tables."""

    real: Path = Path("runs/demo/data")
    """Pairs folder with the real reports."""
    split: str = "test"
    """Its split."""
    reports: tuple[str, ...] = ()
    """NAME=FILE for each table (file_name or study_id, report), in the order of the rows."""
    against: str = ""
    """NAME whose F1 the others are compared with; empty: none."""
    out: Path = Path("runs/demo/report_table.md")
    """Markdown file to write; the same as .json beside it."""
    r2gen: bool = False
    """Also BLEU-4 and ROUGE-L of the findings sections as R2Gen counts them, for papers on IU X-ray."""
    num_bootstraps: int = 1000
    """Draws of the bootstrap."""
    seed: int = 0
    """Seed of the bootstrap."""
    dry_run: bool = False
    """Print the resolved config and stop."""


def main(argv: list[str] | None = None) -> None:
    """Parse the flags, write and print the table."""
    config = parse_config({"demo": Config()}, argv, __doc__)
    if config.dry_run:
        print(json.dumps(to_dict(config), indent=2))
    else:
        compare(config)


def compare(config: Config) -> None:
    import numpy as np

    from data_module.labeler import label_reports
    from data_module.pairs import PairsFolder
    from evaluation.inputs.rows import match_reports
    from evaluation.output.report_table import NOTE, bootstrap_f1, count_by_patient, render, score_table
    from evaluation.reports.r2gen import find_r2gen_words, score_r2gen
    from evaluation.reports.variety import share_normal

    parts = [entry.partition("=") for entry in config.reports]
    tables = {name: file for name, _, file in parts}
    if not tables or not all(tables.values()):
        raise ValueError("--reports: give NAME=FILE for each table")
    if config.against and config.against not in tables:
        raise ValueError(f"--against {config.against}: no such name in --reports ({', '.join(tables)})")
    real = PairsFolder.open(config.real)
    rows = real.split(config.split).table
    known_words = find_r2gen_words(real.split("train").table["report"].tolist()) if config.r2gen else None
    truth, counts, scores = np.empty((0, 14)), {}, {}
    for name, path in tables.items():
        pairs = match_reports(Path(path), real, config.split)
        if len(pairs.references) != len(rows):
            raise ValueError(
                f"--reports {name}={path}: {len(pairs.references)} of the {len(rows)} rows of split "
                f"{config.split}; tables are compared on the same rows"
            )
        truth = truth if len(truth) else label_reports(pairs.references)
        guess = label_reports(pairs.hypotheses)
        counts[name] = count_by_patient(truth, guess, rows["patient_id"].to_numpy())
        scores[name] = score_table(pairs.references, pairs.hypotheses, truth, guess)
        if known_words is not None:
            scores[name]["r2gen"] = score_r2gen(pairs.references, pairs.hypotheses, known_words)
    rng = np.random.default_rng(config.seed)
    num_patients = rows["patient_id"].nunique()
    draws = rng.multinomial(num_patients, np.full(num_patients, 1 / num_patients), config.num_bootstraps)
    f1 = {name: bootstrap_f1(counts[name], draws) for name in tables}
    for name in tables:
        scores[name]["micro_f1_14_interval"] = np.quantile(f1[name], (0.025, 0.975)).tolist()
        if config.against and name != config.against and scores[config.against]["micro_f1_14"] > 0:
            some = f1[config.against] > 0  # nothing can be told of a draw in which it finds nothing
            ratio = f1[name][some] / f1[config.against][some] - 1.0
            gain = scores[name]["micro_f1_14"] / scores[config.against]["micro_f1_14"] - 1.0
            scores[name]["gain"] = [gain, *np.quantile(ratio, (0.025, 0.975))]
    text = render(scores, config.against, config.r2gen) + NOTE.format(
        num_bootstraps=config.num_bootstraps, normal=share_normal(truth)
    )
    write_atomic(config.out, text)
    write_atomic(config.out.with_suffix(".json"), json.dumps(scores, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    run_script(main)
