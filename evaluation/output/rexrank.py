"""ReXrank's submission file: its input with `model_prediction` beside each study's sections."""

import json
from pathlib import Path

from data_module.export.rexrank import describe_studies
from data_module.pairs import PairsFolder
from evaluation.inputs.rows import match_reports
from runtime.files import write_atomic


def write_predictions(real: Path, reports: Path, split: str, out: Path) -> int:
    """Write the generated reports of a split's films in ReXrank's form; returns the number of studies.

    Of several films of a study the key image's report is taken.

    Raises:
        ValueError: no such folder or table, or no report of the split in it.
    """
    pairs = PairsFolder.open(real).split(split)
    matched = match_reports(reports, pairs, split)
    written = dict(zip(matched.names, matched.hypotheses, strict=True))
    studies = describe_studies(pairs)
    for study, entry in studies.items():
        films = [entry["key_image_path"], *entry["image_path"]]
        keys = [study, *films, *(f"images/{film}" for film in films)]
        entry["model_prediction"] = next((written[key] for key in keys if key in written), None)
    done = {study: entry for study, entry in studies.items() if entry["model_prediction"] is not None}
    write_atomic(out, json.dumps(done, indent=1) + "\n")
    return len(done)
