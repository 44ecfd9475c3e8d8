"""Every row of every source is either kept or told of in skipped.csv, whatever stands in it."""

import csv
import io
import re
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_module.findings import FINDINGS
from data_module.pairs import write_pairs
from data_module.sources.config import OpenIConfig, TableConfig
from data_module.sources.mimic_tables import Tables, join_tables
from data_module.sources.open_i import prepare_open_i
from data_module.sources.table import prepare_table
from evaluation.inputs.rows import match_reports

FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
FILMS = ("a.png", "b.png", "deep/c.png", "d e.png")
WORDS = st.sampled_from(
    [
        "Effusion.",
        "No edema.",
        "FINDINGS:",
        "IMPRESSION:",
        "___",
        "unchanged",
        "\n",
        '"',
        ",",
        "é",
        "HISTORY:",
        "1.",
    ]
)
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)
CELLS = {
    "image": st.sampled_from([*FILMS, "missing.png", "", "../out.png", "broken.png", "A text. With words"]),
    "patient": st.sampled_from(["p1", "p2", "", " ", "nan"]),
    "report": TEXTS,
    "labels": st.sampled_from(["Effusion", "No Finding|Mass", "", "Hernia", "todo", "Normal|Edema"]),
    "age": st.sampled_from(["63", "90+", "unknown", "", "6 months", "-1"]),
    "sex": st.sampled_from(["F", "male", "Mujer", "?", ""]),
}
ROWS = st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=8)


def read_lines(folder):
    with (folder / "skipped.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def unless_empty(prepare, config):
    """The folder, or None where the error says that nothing of the source can be used, and why."""
    try:
        return prepare(config)
    except ValueError as error:
        if not re.search("(?:no row|nothing) can be used; |holds no readable", str(error)):
            raise
        return None


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    (root / "deep").mkdir()
    for number, name in enumerate(FILMS):
        pixels = np.random.default_rng(number).integers(256, size=(9, 9), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    (root / "broken.png").write_bytes(b"\x89PNG")
    return root


@FEW
@given(rows=ROWS, separator=st.sampled_from(",;\t"), removes=st.booleans())
def test_csv(films, rows, separator, removes):
    columns = {"image": "image", "patient": "patient", "report": "report", "labels": "labels", "age": "age"}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "table.csv")
        pd.DataFrame(rows).to_csv(table, index=False, sep=separator)
        config = TableConfig(
            table=table,
            images=films,
            out=Path(folder, "out"),
            size=8,
            num_workers=1,
            remove_priors=removes,
            blanks="drop-sentence" if removes else "keep",
            sex_column="sex",
            **{f"{name}_column": column for name, column in columns.items()},
        )
        pairs = unless_empty(prepare_table, config)
        if pairs is None:
            return
        assert len(pairs) + len(read_lines(config.out)) == len(rows)


REPORTS = st.lists(
    st.fixed_dictionaries(
        {
            "uid": st.sampled_from(["CXR1", "CXR2", "CXR3", "4", ""]),
            "findings": TEXTS,
            "impression": TEXTS,
            "films": st.lists(st.sampled_from(["CXR1_1", "CXR2_1", "gone"]), max_size=2, unique=True),
            "form": st.sampled_from(["fine"] * 4 + ["half", "link", "doctype"]),
        }
    ),
    min_size=1,
    max_size=6,
)


def write_archive(path, reports):
    with tarfile.open(path, "w:gz") as tar:
        for number, report in enumerate(reports):
            text = "".join(
                f'<AbstractText Label="{name.upper()}">{report[name]}</AbstractText>'
                for name in ("findings", "impression")
            )
            films = "".join(f'<parentImage id="{film}"/>' for film in report["films"])
            start = "<!DOCTYPE x>" if report["form"] == "doctype" else ""
            content = f'{start}<r><uId id="{report["uid"]}"/><A>{text}</A>{films}</r>'.encode()
            if report["form"] == "half":
                content = content[: len(content) // 2]
            member = tarfile.TarInfo(f"r/{number}.xml")
            if report["form"] == "link":
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/hosts"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@FEW
@given(reports=REPORTS, joined=st.booleans())
def test_open_i(films, reports, joined):
    """A report is a row; with films, each of its films is one."""
    with tempfile.TemporaryDirectory() as folder:
        archive, images = Path(folder, "r.tgz"), Path(folder, "films")
        write_archive(archive, reports)
        images.mkdir()
        (images / "CXR1_1.png").write_bytes((films / "a.png").read_bytes())
        flags = {"images": images, "views": ("PA", "AP", "L", "")} if joined else {}
        config = OpenIConfig(out=Path(folder, "out"), reports=archive, size=8, num_workers=1, **flags)
        pairs = unless_empty(prepare_open_i, config)
        if pairs is None:
            return
        lines = read_lines(config.out)
        if not joined:
            assert len(pairs) + len(lines) == len(reports)
            return
        failed = {line["item"] for line in lines if line["item"].endswith(".xml")}
        films_in = [max(1, len(r["films"])) for n, r in enumerate(reports) if f"{n}.xml" not in failed]
        assert len(pairs) + len(lines) == len(failed) + sum(films_in)


DICOM = [f"{n:08x}-00000000-00000000-00000000-00000000" for n in range(4)]
MIMIC_ROWS = st.lists(
    st.tuples(
        st.sampled_from([*DICOM, "no id"]),
        st.sampled_from(["10000001", "19000002", "x"]),
        st.sampled_from(["50000001", "50000002", ""]),
        st.sampled_from(["PA", "AP", "LATERAL", "", "odd"]),
    ),
    min_size=1,
    max_size=8,
)
SPLIT_ROWS = st.lists(
    st.tuples(
        st.sampled_from(DICOM),
        st.sampled_from(["10000001", "19000002"]),
        st.sampled_from(["50000001", "50000002"]),
        st.sampled_from(["train", "validate", "test", "?"]),
    ),
    max_size=6,
)
LABEL_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["10000001", "19000002"]),
        st.sampled_from(["50000001", "50000002"]),
        st.sampled_from(["1.0", "0.0", "-1.0", "", "7"]),
    ),
    max_size=4,
)


@FEW
@given(rows=MIMIC_ROWS, splits=SPLIT_ROWS, labels=LABEL_ROWS, split=st.sampled_from(["official", "paper"]))
def test_mimic_cxr(rows, splits, labels, split):
    """Each row of the metadata table is a film that is kept, skipped or left out."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        metadata = pd.DataFrame(rows, columns=["dicom_id", "subject_id", "study_id", "ViewPosition"])
        metadata.assign(StudyDate="21800101", ViewCodeSequence_CodeMeaning="").to_csv(
            root / "m.csv.gz", index=False
        )
        ids = ["dicom_id", "subject_id", "study_id", "split"]
        pd.DataFrame(splits, columns=ids).to_csv(root / "s.csv", index=False)
        codes = pd.DataFrame(labels, columns=["subject_id", "study_id", "Edema"])
        codes.reindex(columns=["subject_id", "study_id", *FINDINGS], fill_value="").to_csv(
            root / "l.csv", index=False
        )
        tables = Tables(root / "m.csv.gz", root / "l.csv", root / "s.csv")
        joined = join_tables(tables, split, ("PA", "AP"))
        only_in_split = [line for line in joined.skipped if "not in the metadata" in line["reason"]]
        told = len(joined.skipped) - len(only_in_split) + len(joined.left_out)
        assert len(joined.films) + told == len(rows)


@FEW
@given(names=st.lists(st.sampled_from(["a", "b", "c", "d", "else", "x y"]), unique=True, min_size=1))
def test_tables_of_reports(names):
    """Each row of a table of generated reports is scored, of another split, or unknown."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"file_name": f"images/{name}.png", "report": "x", "patient_id": name, "split": split}
            for name, split in zip("abcd", ("train", "test", "test", "test"), strict=True)
        ]
        real = write_pairs(Path(folder, "real"), rows, {}, "")
        path = Path(folder, "made.csv")
        pd.DataFrame({"film": [f"{name}.png" for name in names], "report": "Edema."}).to_csv(
            path, index=False
        )
        if not set("bcd") & set(names):
            with pytest.raises(ValueError, match="--reports"):
                match_reports(path, real, "test")
            return
        counts = match_reports(path, real, "test").counts
        assert counts["num_scored"] + counts["num_outside_split"] + counts["num_unknown"] == len(names)
