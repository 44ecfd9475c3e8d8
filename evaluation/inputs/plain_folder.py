"""Output of any other generator as a pairs folder in memory: a folder of films, a two-column CSV, or both.

Nothing is written into the folder. A film is its own patient; all rows stand in one split.
"""

import sys
from pathlib import Path

import pandas as pd

from data_module.decoding import is_dicom
from data_module.findings import FINDINGS
from data_module.labeler import label_reports
from data_module.pairs import COLUMNS, METADATA, PairsFolder
from data_module.quoting import quote_name
from evaluation.inputs.rows import find_decoder_tokens, read_captions, spell_alike

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")


def open_folder(path: Path, flag: str, split: str, captions: Path | None = None) -> PairsFolder:
    """A pairs folder, a plain folder of films (with `captions`), or a CSV of reports.

    Args:
        flag: what the command line calls it, for messages.
        split: where the rows of a plain folder or CSV stand.
        captions: CSV of two columns, film and prompt (or report). Findings are read from the text.

    Raises:
        ValueError: nothing of the kind is there, or the CSV names none of the films.
    """
    path = Path(path)
    if any((path / name).is_file() for name in METADATA):
        if captions is not None:
            raise ValueError(f"--captions {captions}: {path} has its own metadata with prompts and reports")
        return PairsFolder.open(path)
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".json"):
        table = read_captions(path)
        find_decoder_tokens(table["report"].tolist(), f"{flag} {path}")
        return _fold(path.parent, table, split, with_films=False)
    if not path.is_dir():
        raise ValueError(
            f"{flag} {path} is not a pairs folder, a folder of films or a CSV of reports: not there"
        )
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if _is_film(file))
    if not names:
        raise ValueError(f"{flag} {path} is not a pairs folder: it has no metadata.csv, and no films either")
    table = pd.DataFrame({"file_name": names, "prompt": "", "report": ""})
    if captions is not None:
        table = _attach(table, read_captions(captions, known=names), captions)
    return _fold(path, table, split, with_films=True)


def _is_film(path: Path) -> bool:
    """By its name, so that what cannot be read (a dangling link, a pipe) is listed and not passed over."""
    if path.suffix.lower() in SUFFIXES:
        return not path.is_dir()
    return not path.suffix and is_dicom(path)


def _attach(films: pd.DataFrame, captions: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Captions joined to films by path, else by file name, with or without its suffix.

    Rows without a film are counted on standard error; films without a row keep no text.
    """
    spelled = spell_alike(films["file_name"], captions["file_name"])
    if spelled:
        keys, rows = spelled[0], captions.set_index(spelled[1])
        lost = rows["file_name"][~rows.index.isin(keys)]
        if len(lost):
            print(
                f"--captions {path}: {len(lost)} rows name no film, such as {quote_name(lost.iloc[0])}",
                file=sys.stderr,
            )
        found = rows.reindex(keys).fillna("").reset_index(drop=True)
        return films.assign(prompt=found["prompt"], report=found["report"])
    first = " and ".join(quote_name(names["file_name"].iloc[0]) for names in (captions, films))
    raise ValueError(f"--captions {path}: its names are not the films': the first are {first}")


def _fold(root: Path, captions: pd.DataFrame, split: str, with_films: bool) -> PairsFolder:
    table = captions.reindex(columns=COLUMNS)
    table["study_id"] = table["patient_id"] = captions["file_name"]
    table["split"], table["source"] = split, "plain"
    if not with_films:
        table["file_name"] = None
    asked = captions["prompt"].where(captions["prompt"] != "", captions["report"])
    table[list(FINDINGS)] = label_reports(asked.tolist())
    return PairsFolder(root, table)
