"""MIMIC-CXR's joined tables and sections -> rows of the pairs folder, and the list of another repository."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from data_module.findings import FINDINGS, prompt_sentence
from data_module.sections import Sections, join_sections
from data_module.sources.mimic_tables import FilmTable
from data_module.sources.output import LIST_NAME
from data_module.sources.section_spool import SectionSpool
from runtime.files import write_atomic

_PIECE = 8192  # rows of the table held at once


def name_downloads(films: pd.DataFrame) -> pd.Series:
    """p10/p10000032/s50414267/DICOM_ID, as in the download, without a suffix."""
    subject, study = films["subject_id"], films["study_id"]
    return "p" + subject.str.slice(0, 2) + "/p" + subject + "/s" + study + "/" + films["dicom_id"]


def make_pieces(joined: FilmTable, spool: SectionSpool, suffix: str) -> Iterator[pd.DataFrame]:
    """The table of the pairs folder, piece by piece: texts are in memory for one piece only."""
    prompts: dict[bytes, str] = {}
    studies = joined.films["study_id"].drop_duplicates()
    texts = zip(studies, spool.read(studies), strict=True)
    study, sections = "", Sections("", "")
    for start in tqdm(range(0, len(joined.films), _PIECE), desc="table", unit=f"x{_PIECE}"):
        films = joined.films.iloc[start : start + _PIECE]
        labels = joined.labels[films["study"]]
        of_films = []
        for wanted in films["study_id"]:
            while study != wanted:  # films of one study stand together
                study, sections = next(texts)
            of_films.append(sections)
        for row in labels:
            if row.tobytes() not in prompts:
                prompts[row.tobytes()] = prompt_sentence(dict(zip(FINDINGS, row, strict=True)))
        yield pd.DataFrame(
            {
                "file_name": "images/" + name_downloads(films) + suffix,
                "report": [join_sections(*text) for text in of_films],
                "findings_section": [text.findings for text in of_films],
                "impression_section": [text.impression for text in of_films],
                "patient_id": films["subject_id"],
                "study_id": films["study_id"],
                "view": films["view"],
                "split": films["split"],
                "sex": films["sex"],
                "age": films["age"],
                **{name: labels[:, column] for column, name in enumerate(FINDINGS)},
                "prompt": [prompts[row.tobytes()] for row in labels],
                "source": "mimic-cxr",
                "projection": films["projection"],
                "view_position": films["view_position"],
                "dicom_id": films["dicom_id"],
            }
        )


def write_list(out: Path, films: pd.DataFrame) -> None:
    """The list that GPT report-generation baselines read: the first frontal film of each study, as paths
    within MIMIC-CXR-JPG (images/, for its files/) and MIMIC-CXR's reports (reports/)."""
    first = films[films["projection"] == "frontal"].drop_duplicates("study_id")
    names = name_downloads(first)
    paths = {
        "image_path": "images/" + names + ".jpg",
        "report_path": "reports/" + names.str.rsplit("/", n=1).str[0] + ".txt",
    }
    table = first[["subject_id", "study_id", "dicom_id"]].assign(**paths)
    write_atomic(out / LIST_NAME, table.to_csv(index=False))
