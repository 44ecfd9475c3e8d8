"""A MIMIC-CXR download as PhysioNet and wget leave it, made up: tables, reports and tiny films, with
everything that goes wrong in real ones, and a ledger of what must come out of it.

    python tests/mimic_tree.py OUT 100000        # writes OUT/jpg, OUT/reports and OUT/patients.csv.gz

Nothing in it is of a person. The ledger is kept by the generator's own rules and knows nothing of the reader.
"""

import filecmp
import gzip
import hashlib
import io
import os
import stat
import struct
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

# As they stand in MIMIC-CXR-JPG's label tables: alphabetical, unlike any other tool's order.
LABEL_COLUMNS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture"),
    *("Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia"),
    *("Pneumothorax", "Support Devices"),
)
METADATA_COLUMNS = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,"
    "StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning"
)
# (ViewPosition, ViewCodeSequence_CodeMeaning, the view a reader should see), with rough real shares.
VIEWS = (
    ("AP", "antero-posterior", "AP", 0.37),
    ("PA", "postero-anterior", "PA", 0.25),
    ("LATERAL", "lateral", "L", 0.15),
    ("LL", "left lateral", "L", 0.14),
    ("", "postero-anterior", "PA", 0.02),
    ("", "", "", 0.04),
    ("LPO", "left posterior oblique", "LPO", 0.01),
    ("AP AXIAL", "", "AP AXIAL", 0.01),
    ("XTABLE LATERAL", "", "XTABLE LATERAL", 0.01),
)
# What is wrong with a film's file, and the words that must stand in skipped.csv.
FILE_FAULTS = {
    "missing": "no such file",
    "half": "truncated",
    "empty": "0 bytes",
    "page": "not an image",
    "black": "blank, every pixel",
    "bomb": "pixels are read",
    "link": "outside the folder",
}
TABLE_FAULTS = {
    "twice": "duplicate of an earlier row",
    "no split": "no split",
    "split only": "in the split table, but not in the metadata",
    "other study": "split and metadata tables name different patients or studies",
    "path": "dicom_id is no id",
}
LABEL_FAULTS = {
    "code": "a code is not 1, 0, -1 or blank",
    "two rows": "two rows for one study",
    "other patient": "labels and metadata tables name different patients",
}
REPORT_FAULTS = {
    "no report": "no report file",
    "empty report": "the report is empty",
    "no section": "neither findings nor impression",
    "long report": "more than 1,048,576 bytes",
    "latin": "not UTF-8",
}
SECRET = "Zebulon Quux"  # stands in every report: a name that must never be printed


@dataclass(frozen=True)
class Film:
    dicom: str
    view: str
    split: str  # as in the table: train, validate, test
    fault: str = ""


@dataclass(frozen=True)
class Study:
    subject: str
    study: str
    films: tuple[Film, ...]
    labels: tuple[float | None, ...] | None  # in the order of LABEL_COLUMNS; None: no row
    fault: str = ""

    @property
    def path(self) -> str:
        return f"p{self.subject[:2]}/p{self.subject}/s{self.study}"


@dataclass
class Ledger:
    """What was made."""

    studies: list[Study] = field(default_factory=list)

    def expect(self, views: tuple[str, ...], paper: float | None = None) -> dict[str, Counter]:
        """Counts that a reader of these views must come to; `reasons` by the words of the fault.

        Args:
            paper: of the paper's split, the share of the patients of p10 to p18 who validate; None: official.
        """
        out = {name: Counter() for name in ("reasons", "splits", "views", "codes", "left_out", "total")}
        for study in self.studies:
            kept = False
            for film in study.films:
                out["total"]["lines"] += 1
                if film.fault in TABLE_FAULTS and not (paper is not None and film.fault == "no split"):
                    out["reasons"][TABLE_FAULTS[film.fault]] += 1
                    if film.fault != "twice":
                        continue
                    out["total"]["lines"] += 1
                if study.fault in LABEL_FAULTS:
                    out["reasons"][LABEL_FAULTS[study.fault]] += 1
                elif film.view not in views:
                    out["left_out"][film.view] += 1
                elif study.fault in REPORT_FAULTS:
                    out["reasons"][REPORT_FAULTS[study.fault]] += 1
                elif film.fault in FILE_FAULTS:
                    out["reasons"][FILE_FAULTS[film.fault]] += 1
                else:
                    split = film.split.replace("validate", "validation")
                    if paper is not None:
                        place = int(hashlib.sha256(f"0:{study.subject}".encode()).hexdigest()[:14], 16)
                        split = "train" if place < (1 - paper) * 16**14 else "validation"
                        split = "test" if study.subject.startswith("19") else split
                    out["splits"][split] += 1
                    out["views"][film.view] += 1
                    kept = True
            if kept:
                out["total"]["studies"] += 1
                codes = study.labels or (None,) * 14
                out["codes"].update(zip(LABEL_COLUMNS, codes, strict=True))
        return out


def find_differences(
    table: pd.DataFrame, folder: Path, expected: dict[str, Counter], num_extra_lines: int = 0
) -> list[str]:
    """Counts of a pairs folder that are not the ledger's, in words; [] where all agree.

    Args:
        num_extra_lines: lines of skipped.csv that stand for no film (refused entries of the zip file).
    """
    studies = table.drop_duplicates("study_id")
    lines = pd.read_csv(folder / "skipped.csv", dtype=str)["reason"]
    found = {
        "splits": Counter(table["split"]),
        "views": Counter(table["view"].fillna("")),
        "codes": Counter(
            (name, None if code != code else code)
            for name in LABEL_COLUMNS
            for code in studies[name].astype(float)
        ),
        "reasons": Counter(
            {words: int(lines.str.contains(words, regex=False).sum()) for words in expected["reasons"]}
        ),
        "left_out": Counter({"all": int(lines.str.startswith("left out").sum())}),
        # Nothing is dropped without a line, and nothing has two.
        "total": Counter(studies=len(studies), lines=len(table) + len(lines) - num_extra_lines),
    }
    expected = {**expected, "left_out": Counter({"all": expected["left_out"].total()})}
    return [
        f"{name} {key}: {found[name][key]}, {counts[key]} in the ledger"
        for name, counts in expected.items()
        for key in counts | found[name]
        if found[name][key] != counts[key]
    ]


def assert_same_bytes(first: Path, second: Path) -> None:
    """Two folders hold the same files with the same content."""
    names = list_files(first)
    assert names == list_files(second)
    _, different, errors = filecmp.cmpfiles(first, second, names, shallow=False)
    assert (different, errors) == ([], [])


def list_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def make_ledger(num_studies: int, seed: int = 0, fault_share: float = 0.2) -> Ledger:
    """Studies of made-up patients; a share of them has one fault each, all faults in turn."""
    random = np.random.default_rng(seed)
    faults = [*FILE_FAULTS, *TABLE_FAULTS, *LABEL_FAULTS, *REPORT_FAULTS, "no labels"]
    shares = np.array([view[3] for view in VIEWS])
    ledger, subject, used, turn = Ledger(), 0, set(), 0
    while len(ledger.studies) < num_studies:
        subject += 1
        # All ten groups, p10 to p19, the patient's number anywhere in them.
        subject_id = f"1{subject % 10}{(subject * 7919) % 1_000_000:06d}"
        if subject_id in used:
            continue
        used.add(subject_id)
        split = str(random.choice(["train", "validate", "test"], p=[0.9, 0.04, 0.06]))
        for _ in range(min(int(random.geometric(0.4)), num_studies - len(ledger.studies))):
            fault = ""
            if random.random() < fault_share:
                fault, turn = faults[turn % len(faults)], turn + 1
            views = random.choice(
                len(VIEWS), size=random.choice([1, 2, 3], p=[0.45, 0.45, 0.1]), p=shares / sum(shares)
            )
            films = tuple(
                Film(
                    "-".join(f"{part:08x}" for part in random.integers(2**32, size=5)),
                    VIEWS[view][2],
                    split,
                    fault if place == 0 and fault in {**FILE_FAULTS, **TABLE_FAULTS} else "",
                )
                for place, view in enumerate(views)
            )
            labels = tuple(
                random.choice([1.0, 0.0, -1.0, np.nan], size=14, p=[0.15, 0.1, 0.05, 0.7]).tolist()
            )
            study = Study(
                subject_id,
                str(50_000_000 + len(ledger.studies)),
                films,
                None if fault == "no labels" else tuple(None if code != code else code for code in labels),
                fault if fault in {**LABEL_FAULTS, **REPORT_FAULTS, "no labels": ""} else "",
            )
            ledger.studies.append(study)
    return ledger


def write_tree(
    folder: Path, ledger: Ledger, wget: bool = True, zipped: bool = True, dicom: bool = False
) -> dict[str, Path]:
    """Write the download; returns the paths for --root, --reports and --patients."""
    root = folder / "jpg"
    release = root / "physionet.org/files/mimic-cxr-jpg/2.1.0" if wget else root
    release.mkdir(parents=True)
    _write_tables(release, ledger, folder / "patients.csv.gz")
    _write_films(release / "files", ledger, folder / "films", ".dcm" if dicom else ".jpg", wget)
    reports = folder / "reports"
    if zipped:
        reports = reports / "physionet.org/files/mimic-cxr/2.1.0" if wget else reports
        reports.mkdir(parents=True)
        _write_zip(reports / "mimic-cxr-reports.zip", ledger)
    else:
        for study in ledger.studies:
            if study.fault != "no report":
                path = reports / "files" / f"{study.path}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(report_of(study))
    return {"root": root, "reports": folder / "reports", "patients": folder / "patients.csv.gz"}


def write_metadata(folder: Path, ledger: Ledger) -> None:
    """The tables and the zipped reports alone, in one folder."""
    _write_tables(folder, ledger, folder / "patients.csv.gz")
    _write_zip(folder / "mimic-cxr-reports.zip", ledger)


def report_of(study: Study) -> bytes:
    """Text of one report, in the ways real ones are laid out."""
    if study.fault == "empty report":
        return b" \n"
    if study.fault == "long report":
        return b"FINDINGS: long.\n" * 70_000
    number = int(study.study)
    findings = f"FINDINGS:  \n \n Seen by {SECRET}. Lungs of study {study.study} are\n clear. "
    impression = "IMPRESSION:  No acute process. "
    parts = (f"{findings}\n \n {impression}", findings, impression)[number % 3]
    if study.fault == "no section":
        parts = f"INDICATION:  {SECRET}, cough. "
    text = f"                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n \n {parts}\n"
    return text.encode() + (b" na\xefve" if study.fault == "latin" else b"")


def _write_zip(path: Path, ledger: Ledger) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("mimic-cxr-reports/", "")
        for study in ledger.studies:
            if study.fault != "no report":
                archive.writestr(f"mimic-cxr-reports/files/{study.path}.txt", report_of(study))
        # What must not be followed: names that lead out, a link, a second copy.
        for name in ("../../files/p10/p10999999/s59999999.txt", "/files/p10/p10999999/s59999998.txt"):
            archive.writestr(name, f"FINDINGS: {SECRET}.")
        link = zipfile.ZipInfo("files/p10/p10999999/s59999997.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        good = next(study for study in ledger.studies if study.fault not in REPORT_FAULTS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zipfile, about the copy
            archive.writestr(f"mimic-cxr-reports/files/{good.path}.txt", "FINDINGS: copy.")


NUM_REFUSED_ENTRIES = 4


def _write_tables(release: Path, ledger: Ledger, patients: Path) -> None:
    coded = {view[2]: view for view in reversed(VIEWS)}
    blanks = {view[2]: view for view in VIEWS if not view[0]}
    metadata, splits, labels = [METADATA_COLUMNS], ["dicom_id,study_id,subject_id,split"], []
    subjects = {}
    for study in ledger.studies:
        subjects[study.subject] = None
        for place, film in enumerate(study.films):
            # Some films say their view in the code sequence only.
            view = (
                blanks[film.view]
                if film.view in blanks and int(study.study) % 7 == place
                else coded[film.view]
            )
            dicom = "../../../etc/passwd" if film.fault == "path" else film.dicom
            row = (
                f"{dicom},{study.subject},{study.study},CHEST (PA AND LAT),{view[0]},3056,2544,21800506,"
                f"213014.53100000002,CHEST (PA AND LAT),{view[1]},Erect"
            )
            if film.fault != "split only":
                metadata += [row] * (2 if film.fault == "twice" else 1)
            if film.fault not in ("no split", "path"):
                number = "59999999" if film.fault == "other study" else study.study
                splits.append(f"{film.dicom},{number},{study.subject},{film.split}")
        if study.labels is not None:
            cells = ["" if code is None else str(code) for code in study.labels]
            subject = "10000001" if study.fault == "other patient" else study.subject
            if study.fault == "code":
                cells[3] = "2.0"
            labels.append(",".join([subject, study.study, *cells]))
            if study.fault == "two rows":
                cells[0] = "" if cells[0] else "1.0"
                labels.append(",".join([subject, study.study, *cells]))
    head = ",".join(["subject_id", "study_id", *LABEL_COLUMNS])
    for name, lines in (
        ("metadata", metadata),
        ("split", splits),
        ("chexpert", [head, *labels]),
        ("negbio", [head, *labels]),
    ):
        _write_gz(release / f"mimic-cxr-2.0.0-{name}.csv.gz", lines)
    people = [f"{subject},{'FM'[int(subject) % 2]},60,2178,2011 - 2013," for subject in subjects]
    _write_gz(patients, ["subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod", *people])


def _write_gz(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _write_films(tree: Path, ledger: Ledger, pool: Path, suffix: str, wget: bool) -> None:
    """Films share bytes by hard links, so that a hundred thousand of them fit anywhere."""
    contents = {str(number): _film_bytes(number, suffix) for number in range(8)}
    contents |= {
        "half": contents["0"][: len(contents["0"]) * 2 // 3],
        "empty": b"",
        "page": b"<html>401 Unauthorized</html>",
        "black": _film_bytes(None, suffix),
        "bomb": _bomb(),
        "link": contents["0"],
    }
    pool.mkdir(parents=True)
    for name, content in contents.items():
        (pool / name).write_bytes(content)
    for number, study in enumerate(ledger.studies):
        folder = tree / study.path
        folder.mkdir(parents=True)
        if wget and number % 50 == 0:
            (folder / "index.html").write_text("<html>Index of files</html>")
        for place, film in enumerate(study.films):
            path = folder / f"{film.dicom}{suffix}"
            if film.fault == "link":
                path.symlink_to(pool.resolve() / "link")
            elif film.fault != "missing":
                os.link(pool / (film.fault if film.fault in contents else str((number + place) % 8)), path)


def _film_bytes(number: int | None, suffix: str) -> bytes:
    random = np.random.default_rng(number or 0)
    pixels = (
        random.integers(256, size=(48, 40), dtype=np.uint8)
        if number is not None
        else np.zeros((48, 40), np.uint8)
    )
    buffer = io.BytesIO()
    if suffix == ".jpg":
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
        return buffer.getvalue()
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(buffer, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientName = SECRET
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 48, 40, 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if number == 1 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = (pixels.astype("<u2") * 16).tobytes()
    dataset.save_as(buffer)
    return buffer.getvalue()


def _bomb() -> bytes:
    """A PNG of a few bytes that claims 10^10 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


if __name__ == "__main__":
    write_tree(Path(sys.argv[1]), make_ledger(int(sys.argv[2])))
