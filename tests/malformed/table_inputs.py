"""Small valid tables and archives of every kind that the product reads, and how it reads each.

`write_inputs` writes them, `READERS` reads one as the product would: what a mutated file may do is a
ValueError, or a result in which every row of its input is kept or told of. `table_seeds` and `read_seed`
are the same for folders of which any file may be damaged.
"""

import csv
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from data_module.config import PlanConfig
from data_module.description import describe_folder
from data_module.findings import FINDINGS
from data_module.labeler import label_table
from data_module.pairs import PairsFolder, write_pairs
from data_module.sampling_plan import SamplingPlan
from data_module.sources.config import MimicConfig, OpenIConfig, TableConfig
from data_module.sources.label_map import LabelMap
from data_module.sources.mimic_cxr import prepare_mimic
from data_module.sources.open_i import prepare_open_i
from data_module.sources.table import prepare_table
from evaluation.inputs.plain_folder import open_folder
from evaluation.inputs.rows import match_reports

REPORT = 'FINDINGS: The heart is normal, "small" effusion.\nNo edema. IMPRESSION: Effusion since ___.'
NUM_ROWS = 5


@dataclass(frozen=True)
class Read:
    """What became of an input: rows that were kept, and lines that tell of the others."""

    kept: int
    told: int = 0


def write_inputs(folder: Path) -> dict[str, Path]:
    """One valid file of each kind; kind -> the file that a mutation changes. Each lies in a folder of its
    own, with what it needs beside it."""
    kinds: dict[str, Callable[[Path], Path]] = {
        "csv": _write_csv,
        "csv_columns": _write_label_columns,
        "label_map": _write_label_map,
        "label_map_csv": _write_label_map_csv,
        "pairs_csv": lambda root: _write_pairs(root, "metadata.csv"),
        "pairs_parquet": lambda root: _write_pairs(root, "metadata.parquet"),
        "pairs_minimal": _write_minimal,
        "reports": _write_reports,
        "captions": _write_captions,
        "label": _write_reports,
        "prompts_csv": lambda root: _write_text(root / "p.csv", 'prompt\nLeft effusion.\n"Edema, mild."\n'),
        "prompts_txt": lambda root: _write_text(root / "p.txt", "Left effusion.\nEdema, mild.\n"),
        "open_i_tgz": _write_open_i,
        "open_i_xml": _write_xml_folder,
        "mimic_zip": lambda root: _write_mimic(root, "reports.zip"),
        "mimic_metadata": lambda root: _write_mimic(root, "mimic-cxr-2.0.0-metadata.csv"),
        "mimic_split": lambda root: _write_mimic(root, "mimic-cxr-2.0.0-split.csv"),
        "mimic_labels": lambda root: _write_mimic(root, "mimic-cxr-2.0.0-chexpert.csv"),
    }
    paths = {}
    for kind, write in kinds.items():
        (folder / kind).mkdir(parents=True)
        paths[kind] = write(folder / kind)
    return paths


def _write_text(path: Path, text: str) -> Path:
    path.write_text(text, newline="")
    return path


def _draw_films(folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(256, size=(16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def _write_rows(path: Path, **columns: list[object]) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def _write_csv(root: Path) -> Path:
    names = [f"{n}.png" for n in range(NUM_ROWS)]
    _draw_films(root / "films", names)
    return _write_rows(
        root / "t.csv",
        image=names,
        patient_id=[f"p{n}" for n in range(NUM_ROWS)],
        labels=["Effusion|Mass", "No Finding", "COVID-19", "Edema", "Hernia"],
        report=[REPORT, "", "Clear lungs.", REPORT, ""],
        age=["63", "90+", "063Y", "", "6 months"],
        sex=["F", "male", "", "Mujer", "x"],
    )


def _write_label_columns(root: Path) -> Path:
    names = [f"{n}.png" for n in range(NUM_ROWS)]
    _draw_films(root / "films", names)
    codes = [1, 0, -1, 1, ""]
    return _write_rows(
        root / "t.csv",
        image=names,
        patient_id=[f"p{n}" for n in range(NUM_ROWS)],
        **{"Pleural effusion": codes, "Airspace Opacity": codes[::-1], "Edema": [0] * NUM_ROWS},
    )


def _write_label_map(root: Path) -> Path:
    entries = {
        "Goitre": None,
        "Fluid": "Pleural Effusion",
        "Both": ["Edema", "Pneumonia"],
        "C": {"Edema": -1},
    }
    return _write_text(root / "map.json", json.dumps(entries))


def _write_label_map_csv(root: Path) -> Path:
    return _write_text(
        root / "map.csv", "label,finding,certainty\nGoitre,,\nFluid,Pleural Effusion,\nC,Edema,-1\n"
    )


def _write_pairs(root: Path, name: str) -> Path:
    names = [f"images/{n}.png" for n in range(NUM_ROWS)]
    _draw_films(root, names)
    splits = ("train", "train", "validation", "test", "test")
    rows = [
        {
            "file_name": film,
            "report": REPORT,
            "patient_id": f"p{n}",
            "study_id": f"s{n}",
            "split": splits[n],
            "Edema": (1, 0, -1, None, 1)[n],
            "age": 60.5,
        }
        for n, film in enumerate(names)
    ]
    pairs = write_pairs(root, rows, {}, "# card\n")
    if name.endswith(".parquet"):
        pairs.table.to_parquet(root / name)
        (root / "metadata.csv").unlink()
    return root / name


def _write_minimal(root: Path) -> Path:
    _draw_films(root, [f"{n}.png" for n in range(NUM_ROWS)])
    return _write_rows(
        root / "metadata.csv",
        file_name=[f"{n}.png" for n in range(NUM_ROWS)],
        report=[REPORT] * NUM_ROWS,
        patient_id=list(range(NUM_ROWS)),
        split=["train", "train", "validation", "test", "test"],
    )


def _write_reports(root: Path) -> Path:
    _write_pairs(root, "metadata.csv")
    return _write_rows(
        root / "made.csv", file_name=[f"images/{n}.png" for n in range(NUM_ROWS)], report=[REPORT] * NUM_ROWS
    )


def _write_captions(root: Path) -> Path:
    _draw_films(root / "films", [f"{n}.png" for n in range(NUM_ROWS)])
    return _write_rows(
        root / "captions.csv", film=[f"{n}.png" for n in range(NUM_ROWS)], prompt=["Edema."] * NUM_ROWS
    )


def _make_xml(number: int) -> bytes:
    texts = "".join(
        f'<AbstractText Label="{name}">Text {number}.</AbstractText>' for name in ("FINDINGS", "IMPRESSION")
    )
    return f'<eCitation><uId id="CXR{number}"/><Abstract>{texts}</Abstract></eCitation>'.encode()


def _write_open_i(root: Path) -> Path:
    with tarfile.open(root / "r.tgz", "w:gz") as tar:
        for number in range(NUM_ROWS):
            content = _make_xml(number)
            member = tarfile.TarInfo(f"ecgen/{number}.xml")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return root / "r.tgz"


def _write_xml_folder(root: Path) -> Path:
    (root / "xml").mkdir()
    for number in range(NUM_ROWS):
        (root / "xml" / f"{number}.xml").write_bytes(_make_xml(number))
    return root / "xml" / "0.xml"


def _write_mimic(root: Path, name: str) -> Path:
    ids = [
        (f"1{n}000032", f"5041426{n}", f"{n:08x}-bde0afdd-112c0b34-7bc16630-4e384014")
        for n in range(NUM_ROWS)
    ]
    with zipfile.ZipFile(root / "reports.zip", "w", zipfile.ZIP_DEFLATED) as reports:
        for subject, study, dicom in ids:
            _draw_films(root / "files", [f"p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"])
            reports.writestr(f"files/p{subject[:2]}/p{subject}/s{study}.txt", REPORT)
    subjects, studies, dicoms = (list(column) for column in zip(*ids, strict=True))
    common = {"subject_id": subjects, "study_id": studies}
    start, blank = root / "mimic-cxr-2.0.0", [""] * NUM_ROWS
    _write_rows(
        Path(f"{start}-metadata.csv"),
        dicom_id=dicoms,
        **common,
        ViewPosition=["PA"] * NUM_ROWS,
        StudyDate=["21800506"] * NUM_ROWS,
        ViewCodeSequence_CodeMeaning=blank,
    )
    _write_rows(Path(f"{start}-split.csv"), dicom_id=dicoms, **common, split=["train"] * NUM_ROWS)
    codes = {name: ["1.0", "0.0", "-1.0", "", ""] if name == "Edema" else blank for name in FINDINGS}
    _write_rows(Path(f"{start}-chexpert.csv"), **common, **codes)
    return root / name


def _count(pairs: PairsFolder | None, out: Path) -> Read:
    with (out / "skipped.csv").open(newline="") as file:
        return Read(len(PairsFolder.open(out)), sum(1 for _ in csv.DictReader(file)))


def _read_csv(path: Path, out: Path, **flags: str) -> Read:
    films = {"images": path.parent / "films", "size": 16, "num_workers": 1}
    return _count(prepare_table(TableConfig(table=path, out=out, **films, **flags)), out)


def _read_pairs(path: Path, out: Path) -> Read:
    pairs = PairsFolder.open(path.parent)
    describe_folder(pairs)
    return Read(len(pairs))


def _read_label_map(path: Path, out: Path) -> Read:
    label_map = LabelMap(path)
    return Read(sum(name in label_map for name in ("Goitre", "Fluid", "C", "Both")))


def _read_reports(path: Path, out: Path) -> Read:
    counts = match_reports(path, PairsFolder.open(path.parent), "test").counts
    return Read(counts["num_scored"], counts["num_outside_split"] + counts["num_unknown"])


def _read_open_i(path: Path, out: Path) -> Read:
    source = path if path.suffix == ".tgz" else path.parent
    return _count(prepare_open_i(OpenIConfig(reports=source, out=out)), out)


def _read_mimic(path: Path, out: Path) -> Read:
    root = path.parent
    prepare_mimic(MimicConfig(root=root, reports=root / "reports.zip", out=out, size=16, num_workers=1))
    return _count(None, out)


# Kind -> reads (mutated file, a folder to write into, which is not there yet).
READERS: dict[str, Callable[[Path, Path], Read]] = {
    "csv": lambda path, out: _read_csv(
        path, out, labels_column="labels", report_column="report", age_column="age", sex_column="sex"
    ),
    "csv_columns": _read_csv,
    "label_map": _read_label_map,
    "label_map_csv": _read_label_map,
    "pairs_csv": _read_pairs,
    "pairs_parquet": _read_pairs,
    "pairs_minimal": _read_pairs,
    "reports": _read_reports,
    "captions": lambda path, out: Read(len(open_folder(path.parent / "films", "--synthetic", "test", path))),
    "label": lambda path, out: Read(len(label_table(path, out.with_suffix(".csv"), progress=False))),
    "prompts_csv": lambda path, out: Read(len(SamplingPlan(PlanConfig(prompts=path, data=None), 0))),
    "prompts_txt": lambda path, out: Read(len(SamplingPlan(PlanConfig(prompts=path, data=None), 0))),
    "open_i_tgz": _read_open_i,
    "open_i_xml": _read_open_i,
    "mimic_zip": _read_mimic,
    "mimic_metadata": _read_mimic,
    "mimic_split": _read_mimic,
    "mimic_labels": _read_mimic,
}
# Kinds of which every row in stands in the result or in skipped.csv, and how many a valid one has. A mutation
# of a table's bytes may change how many rows it has; one of an archive must not.
ROWS_IN = {"open_i_tgz": NUM_ROWS, "open_i_xml": NUM_ROWS, "mimic_zip": NUM_ROWS}


BESIDE = "beside"


def table_seeds(folder: Path) -> None:
    """A folder for each kind, and beside them the same ones, which stay as they are."""
    beside = folder.parent / BESIDE
    paths = write_inputs(beside)
    shutil.copytree(beside, folder)
    names = {kind: path.relative_to(beside).as_posix() for kind, path in paths.items()}
    (beside / "names.json").write_text(json.dumps(names))


def read_seed(path: Path) -> list[object]:
    """A kind, and whether each row of its input is kept or told of. Of a table that is damaged itself, and no
    archive, nobody can say how many rows it had."""
    if path.name == "open_i_xml" and len(list((path / "xml").iterdir())) < NUM_ROWS:
        return [path.name, True]  # a report that is not there is missed by nobody
    kind, beside, out = path.name, path.parent.parent / BESIDE, path.parent.parent / "out"
    name = json.loads((beside / "names.json").read_text())[kind]
    num_rows = []
    for input_file in (beside / name, path.parent / name):
        shutil.rmtree(out, ignore_errors=True)
        read = READERS[kind](input_file, out)
        num_rows.append(read.kept + read.told)
    is_known = kind in ROWS_IN or (path.parent / name).read_bytes() == (beside / name).read_bytes()
    return [kind, not is_known or num_rows[1] >= num_rows[0]]
