"""Score films, reports and pairs: python -m evaluation COMMAND --help

Scored is any pairs folder, folder of films (with a CSV of prompts or reports) or CSV of reports: see README.
"""

import dataclasses
import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import tyro

from evaluation import commands
from evaluation.settings import ScoreSettings
from runtime.cli import run_script
from runtime.processes import is_main


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run it. Raises ValueError for bad input."""
    command: Any = tyro.cli(
        commands.Command,
        args=argv,
        description=__doc__,
        prog="python -m evaluation",
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if command.dry_run:
        print(json.dumps(dataclasses.asdict(command), indent=2, default=str))
        return
    flags = {key: value for key, value in vars(command).items() if key != "dry_run"}
    if not (is_main() or isinstance(command, ScoreSettings | commands.Utility)):
        return  # nothing here is divided among the processes of a launch
    # Imported where they are needed, so that --help, --dry-run and label do not wait for torch.
    match command:
        case commands.Metrics():
            from evaluation.output.glossary import write_glossary

            print(write_glossary(**flags))
        case commands.Label():
            from data_module.labeler import label_table

            label_table(command.reports, command.out)
        case commands.Summary():
            from evaluation.output.summary import summarize

            print(summarize(**flags))
        case commands.Compare():
            from evaluation.output.compare import compare_systems

            print(compare_systems(num=flags.pop("num_bootstrap"), **flags))
        case commands.Protocol():
            from evaluation.protocol.chexgenbench import as_markdown, run_chexgenbench

            print(as_markdown(run_chexgenbench(command)))
        case commands.Rexrank():
            from evaluation.output.rexrank import write_predictions

            print(f"{command.out}: {write_predictions(**flags):,} studies")
        case commands.Negation():
            from evaluation.reports.negation import write_negation

            print(write_negation(command.out, command))
        case commands.Mix():
            from data_module.mixing import mix_folders

            print(f"{len(mix_folders(**flags))} rows written to {command.out}")
        case commands.Utility():
            from evaluation.utility.training_sets import compare_training_sets

            table = compare_training_sets(num=flags.pop("num_bootstrap"), **flags)
            if is_main():
                print(table)
        case commands.Memorization():
            from evaluation.privacy.memorization import find_memorized

            print(find_memorized(**flags))
        case commands.Membership():
            from evaluation.privacy.membership import score_membership

            print(score_membership(num=flags.pop("num_bootstrap"), **flags))
        case commands.Edits():
            from evaluation.edits.score import score_edits

            print(score_edits(num=flags.pop("num_bootstrap"), **flags))
        case _:
            _score(command)


def _score(command: Any) -> None:
    from transformers.utils import logging

    from evaluation.run import run_sections
    from runtime.locks import Claim

    logging.disable_progress_bar()  # transformers' own, for one small file
    # Results of other sections are read, and written again with these, by the first process of a launch.
    with Claim(command.out) if is_main() else nullcontext():
        run_sections(command, command.sections)


if __name__ == "__main__":
    run_script(main)
