"""Output of any other generator as a pairs folder in memory: a folder of films, a two-column CSV, or both.

Nothing is written into the folder. A film is its own patient; all rows stand in one split.
"""

import sys
from pathlib import Path

import pandas as pd

from data_module.decoding import is_dicom
from data_module.findings import FINDINGS
from data_module.pairs import COLUMNS, METADATA, PairsFolder
from evaluation.labeler import label_reports

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")
NAME_COLUMNS = (
    *("file_name", "filename", "image", "film", "path", "image_path", "file", "img_savename"),
    *("study_id", "dicom_id", "id"),
)
REPORT_COLUMNS = ("report", "text")
PROMPT_COLUMNS = ("prompt", "caption")


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
    if path.is_file() and path.suffix.lower() == ".csv":
        return _fold(path.parent, read_captions(path), split, with_films=False)
    if not path.is_dir():
        raise ValueError(
            f"{flag} {path} is not a pairs folder, a folder of films or a CSV of reports: not there"
        )
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if _is_film(file))
    if not names:
        raise ValueError(f"{flag} {path} is not a pairs folder: it has no metadata.csv, and no films either")
    table = pd.DataFrame({"file_name": names, "prompt": "", "report": ""})
    if captions is not None:
        table = _attach(table, read_captions(captions), captions)
    return _fold(path, table, split, with_films=True)


def _is_film(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() in SUFFIXES or (not path.suffix and is_dicom(path)))


def read_captions(path: Path) -> pd.DataFrame:
    """A CSV as columns file_name, prompt and report, the last two perhaps empty.

    Columns are known by name (NAME_COLUMNS ...); in a table of two unknown columns the first names the film
    and the second is its report. Capitals and spaces in the names of columns do not matter.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a CSV table: {error}") from error
    table.columns = [str(column).strip().lower().replace(" ", "_") for column in table.columns]

    def pick(wanted: tuple[str, ...]) -> str | None:
        return next((name for name in wanted if name in table.columns), None)

    name, report, prompt = pick(NAME_COLUMNS), pick(REPORT_COLUMNS), pick(PROMPT_COLUMNS)
    if len(table.columns) == 2:
        rest = [column for column in table.columns if column not in (name, report, prompt)]
        name = name or rest.pop(0) if rest or name else name
        report = report if report or prompt or not rest else rest[0]
    if name is None or (report is None and prompt is None) or table.empty:
        raise ValueError(
            f"{path} needs the columns file_name and report (or prompt), and rows; it has {len(table)} of "
            f"{', '.join(table.columns)}"
        )
    twice = table[name][table[name].duplicated()]
    if len(twice):
        count = twice.nunique()
        raise ValueError(
            f"{path}: {name} {twice.iloc[0]!r} stands in more than one row ({count} such): keep one of each"
        )
    empty = pd.Series("", index=table.index)
    return pd.DataFrame(
        {
            "file_name": table[name],
            "prompt": table[prompt] if prompt else empty,
            "report": table[report] if report else empty,
        }
    )


def _attach(films: pd.DataFrame, captions: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Captions joined to films by path, else by file name, with or without its suffix.

    Rows without a film are counted on standard error; films without a row keep no text.
    """
    for spell in (str, lambda name: Path(name).name, lambda name: Path(name).stem):
        keys, rows = films["file_name"].map(spell), captions.set_index(captions["file_name"].map(spell))
        if not keys.isin(rows.index).any() or keys.duplicated().any() or rows.index.has_duplicates:
            continue
        lost = rows["file_name"][~rows.index.isin(keys)]
        if len(lost):
            print(
                f"--captions {path}: {len(lost)} rows name no film, such as {lost.iloc[0]!r}", file=sys.stderr
            )
        found = rows.reindex(keys).fillna("").reset_index(drop=True)
        return films.assign(prompt=found["prompt"], report=found["report"])
    raise ValueError(
        f"--captions {path}: its names are not the films': the first are {captions['file_name'].iloc[0]!r} "
        f"and {films['file_name'].iloc[0]!r}"
    )


def _fold(root: Path, captions: pd.DataFrame, split: str, with_films: bool) -> PairsFolder:
    table = captions.reindex(columns=COLUMNS)
    table["study_id"] = table["patient_id"] = captions["file_name"]
    table["split"], table["source"] = split, "plain"
    if not with_films:
        table["file_name"] = None
    asked = captions["prompt"].where(captions["prompt"] != "", captions["report"])
    table[list(FINDINGS)] = label_reports(asked.tolist())
    return PairsFolder(root, table)
