"""Write reports for films: one film, a folder of films, or a split of a pairs folder.

    python generate_reports.py --model runs/demo/prior --image film.png
    python generate_reports.py --model runs/demo/prior --images FOLDER --out reports.csv
    python generate_reports.py --model runs/demo/prior --data runs/demo/data --split test --out reports.csv

--model is a run of train_prior_model.py (its codec is found by itself) or of train_report_gpt.py, or one of
the baselines most-frequent, most-typical and retrieval. With --reconstruct the reports of --data themselves
go through the codec --language, so that the codec can be scored alone.
"""

import json
from pathlib import Path

from pipelines.config import ReportTableConfig, WriterConfig
from runtime.cli import parse_config, run_script
from runtime.config import to_dict
from runtime.processes import is_main
from runtime.shards import describe_share

PRESETS = {
    "demo": ReportTableConfig(),
    "paper": ReportTableConfig(writer=WriterConfig(model="runs/paper/prior"), data=Path("data/mimic-cxr")),
}


def main(argv: list[str] | None = None) -> None:
    """Parse the flags, write the table or print the report."""
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        if is_main():
            print(json.dumps(to_dict(config), indent=2), describe_share(config.shard), sep="\n")
        return
    from pipelines.report_table import write_reports

    write_reports(config)


if __name__ == "__main__":
    run_script(main)
