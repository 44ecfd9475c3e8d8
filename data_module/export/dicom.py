"""Export of a pairs folder as DICOM: films/ and reports/, and a table that makes it a pairs folder still."""

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from data_module.decoding import read_pixels
from data_module.exact_table import plain_rows
from data_module.export.dicom_objects import DicomContext, make_film, make_report
from data_module.pairs import PairsFolder, hash_folder, write_pairs
from runtime.files import replacing
from runtime.origins import find_learned
from runtime.provenance import provenance_record

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_CARD = """# Chest films and reports as DICOM

Secondary Capture films in images/, each with its report as a Basic Text SR document in reports/; both lie in
one study. {marked} of {count} films are marked as synthetic: SYN as conversion type, and in the derivation
description. Pixel values are those of the 8-bit films. Not for clinical use.
"""


def write_dicom(pairs: PairsFolder, out: Path, synthetic: str) -> None:
    """OUT/images/*.dcm, OUT/reports/*.dcm and OUT/metadata.csv.

    Args:
        synthetic: yes, no, or auto: films of rows that have a seed are marked as synthetic.
    """
    now = datetime.now(UTC)
    context = DicomContext(hash_folder(pairs), now.strftime("%Y%m%d"), now.strftime("%H%M%S"))
    names, marked = [], 0
    for number, row in enumerate(plain_rows(pairs.table), start=1):
        source = PurePosixPath(row["file_name"])
        name = source.with_suffix(".dcm").as_posix()
        if name in names:  # a.png beside a.jpg
            name = f"{source.as_posix()}.dcm"
        drawn = synthetic == "yes" or (synthetic == "auto" and row["seed"] is not None)
        path = pairs.root / source
        lossy_bytes = path.stat().st_size if source.suffix.lower() in (".jpg", ".jpeg") else 0
        film = make_film(read_pixels(path), row, number, context, drawn, lossy_bytes)
        _save(film, out / name)
        if row["report"]:
            _save(make_report(row, number, context, film), out / "reports" / name.removeprefix("images/"))
        names.append(name)
        marked += drawn
    record = {**provenance_record({"layout": "dicom", "synthetic": synthetic}), "num_synthetic": marked}
    record["learned_from"] = find_learned(pairs.root)
    card = _CARD.format(marked=marked, count=len(names))
    write_pairs(out, pairs.table.assign(file_name=names), record, card)


def _save(made: "FileDataset", path: Path) -> None:
    with replacing(path) as temporary:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        made.save_as(temporary, enforce_file_format=True)
