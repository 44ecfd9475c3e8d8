"""Damaged archives, half-written folders, links and pipes: an error naming the file, or a line of each."""

import gzip
import io
import json
import os
import random
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_module.__main__ import main as describe
from data_module.pairs import PairsFolder, write_pairs
from data_module.sources.config import TableConfig
from data_module.sources.mimic_files import ReportError, ReportZip
from data_module.sources.open_i_reports import parse_report, read_reports, unpack_films
from data_module.sources.output import hash_file
from data_module.sources.table import prepare_table

NUM_REPORTS = 39


def make_xml(number, findings="Clear lungs.", more=""):
    text = f'<AbstractText Label="FINDINGS">{findings}</AbstractText>{more}'
    return f'<eCitation><uId id="CXR{number}"/><Abstract>{text}</Abstract></eCitation>'.encode()


@pytest.fixture
def unpacked():
    """The bytes of a tar archive of 39 reports."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(NUM_REPORTS):
            member = tarfile.TarInfo(f"ecgen/{number}.xml")
            content = make_xml(number)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def count_reports(path, content):
    path.write_bytes(content)
    reports, skipped = read_reports(path)
    return len(reports) + len(skipped)


DAMAGES = {
    "a byte of the first header": lambda raw: raw[:7] + b"\xff" + raw[8:],
    "a byte of a later header": lambda raw: raw[:10_390] + b"\xff" + raw[10_391:],
    "a size in a header": lambda raw: raw[:10_364] + b"00000000045" + raw[10_375:],
    "a zeroed header": lambda raw: raw[:10_240] + bytes(512) + raw[10_752:],
    "a cut between members": lambda raw: raw[: 10 * 1024],
    "a cut within a header": lambda raw: raw[: 10 * 1024 + 200],
    "a cut within a member": lambda raw: raw[: 10 * 1024 + 600],
    "a member lost": lambda raw: raw[:10_240] + raw[10_752:],
    "nothing": lambda raw: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_archive_is_no_shorter_one(tmp_path, unpacked, damage, packed):
    content = DAMAGES[damage](unpacked)
    path = tmp_path / "r.tgz"
    assert count_reports(path, gzip.compress(unpacked) if packed else unpacked) == NUM_REPORTS
    with pytest.raises(ValueError, match=r"--reports .*r\.tgz: damaged.*get it again"):
        count_reports(path, gzip.compress(content) if packed else content)


def test_no_flipped_bit_and_no_cut_goes_unseen(tmp_path, unpacked):
    """Of the packed file: gzip's sum is looked at, which stands at its end."""
    packed, draw = gzip.compress(unpacked, mtime=0), random.Random(0)
    seen = 0
    for number in range(60):
        place = draw.randrange(10, len(packed))  # behind the header, which holds a date and the like
        flipped = packed[:place] + bytes([packed[place] ^ 1 << draw.randrange(8)]) + packed[place + 1 :]
        content = flipped if number % 2 else packed[:place]
        with pytest.raises(ValueError, match=r"r\.tgz: damaged"):
            seen += count_reports(tmp_path / "r.tgz", content)
    assert seen == 0


def test_films_of_a_damaged_archive_are_not_kept(tmp_path):
    """A film that came out of a damaged archive is replaced by that of a sound one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("a.png")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"good"))
    path = tmp_path / "films.tgz"
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.png").write_bytes(b"evil")
    path.write_bytes(buffer.getvalue()[:-3])
    with pytest.raises(ValueError, match=r"films\.tgz: damaged"):
        unpack_films(path)
    assert not (tmp_path / "films" / "complete").exists()
    (tmp_path / "films" / "a.png").write_bytes(b"evil")
    path.write_bytes(buffer.getvalue())
    assert (unpack_films(path) / "a.png").read_bytes() == b"good"


def test_a_folder_of_reports_with_links_pipes_and_capitals(tmp_path):
    (tmp_path / "1.xml").write_bytes(make_xml(1))
    (tmp_path / "2.XML").write_bytes(make_xml(2))
    (tmp_path / "dangling.xml").symlink_to("nowhere.xml")
    (tmp_path / "loop.xml").symlink_to("loop.xml")
    (tmp_path / "folder.xml").mkdir()
    os.mkfifo(tmp_path / "pipe.xml")
    reports, skipped = read_reports(tmp_path)
    assert [report.uid for report in reports] == ["CXR1", "CXR2"]
    assert {line["item"] for line in skipped} == {"dangling.xml", "loop.xml", "folder.xml", "pipe.xml"}


def test_sections_of_a_report_that_come_twice_or_hold_tags():
    more = '<AbstractText Label="FINDINGS">Small effusion.</AbstractText>'
    more += '<AbstractText Label="Impressions">A <b>b</b>.</AbstractText>'
    report = parse_report(make_xml(1, "Text <sup>2</sup> after tag. Small nodule.", more))
    assert report.findings == "Text 2 after tag. Small nodule. Small effusion."
    assert report.impression == "A b."
    with pytest.raises(ValueError, match="not well-formed"):
        parse_report(b'<?xml version="1.0" encoding="latin-9x"?><a/>')


def make_zip(path, method=zipfile.ZIP_LZMA):
    with zipfile.ZipFile(path, "w", method) as file:
        for number in range(3):
            file.writestr(f"files/p10/p1000000{number}/s5000000{number}.txt", f"Report {number}. " * 20)
    return path.read_bytes()


def test_zips_of_newer_versions_and_other_methods(tmp_path):
    """Damage within one report is that report's; of the list of reports, the archive's."""
    path = tmp_path / "reports.zip"
    content = make_zip(path)
    start = content.index(b"PK\x01\x02")
    path.write_bytes(content[: start + 6] + b"\xff" + content[start + 7 :])  # version needed to unpack
    with pytest.raises(ValueError, match=r"--reports .*zip: damaged or half downloaded"):
        ReportZip(path)
    path.write_bytes(content[: start + 10] + b"\x63" + content[start + 11 :])  # an unknown method
    with pytest.raises(ReportError, match="packed in an unknown way"):
        ReportZip(path).read("10000000", "50000000")
    assert ReportZip(path).read("10000001", "50000001").startswith("Report 1.")
    body = content.index(b".txt") + 4
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED):
        content = make_zip(path, method)
        path.write_bytes(content[: body + 12] + b"\xff\xff\xff\xff" + content[body + 16 :])
        with pytest.raises(ReportError):
            ReportZip(path).read("10000000", "50000000")


def make_table(tmp_path):
    (tmp_path / "films").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(256, size=(16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "films" / f"{number}.png")
    rows = [{"image": f"{n}.png", "patient_id": f"p{n}", "Edema": 1} for n in range(4)]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    flags = {"table": tmp_path / "t.csv", "images": tmp_path / "films", "out": tmp_path / "out"}
    return TableConfig(**flags, size=16, num_workers=1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("at_line", [True, False])
def test_half_a_table_is_not_finished(tmp_path, share, at_line, capsys):
    config = make_table(tmp_path)
    prepare_table(config)
    path = config.out / "metadata.csv"
    whole = path.read_bytes()
    half = whole[: int(share * len(whole))]
    path.write_bytes(half[: half.rfind(b"\n") + 1] if at_line else half)
    prepare_table(config)
    assert path.read_bytes() == whole
    assert "made again" in capsys.readouterr().err
    prepare_table(config)
    assert "already done" in capsys.readouterr().out


def test_an_edited_table_is_not_overwritten(tmp_path):
    config = make_table(tmp_path)
    prepare_table(config)
    path = config.out / "metadata.csv"
    path.write_text(path.read_text().replace("train", "test"))
    edited = path.read_bytes()
    with pytest.raises(ValueError, match=r"metadata\.csv has changed since it was made"):
        prepare_table(config)
    assert path.read_bytes() == edited


def test_a_film_of_no_bytes_is_not_finished(tmp_path, capsys):
    config = make_table(tmp_path)
    pairs = prepare_table(config)
    pairs.image_paths[1].write_bytes(b"")
    prepare_table(config)
    assert "made again" in capsys.readouterr().err


def test_ids_and_names_that_are_numbers(tmp_path):
    table = pd.DataFrame(
        {"file_name": [1, 2], "report": ["a", None], "patient_id": [7.0, None], "split": "test"}
    )
    table["patient_id"] = [7.0, 8.0]
    table.to_parquet(tmp_path / "metadata.parquet")
    read = PairsFolder.open(tmp_path).table
    assert read["file_name"].tolist() == ["1", "2"]
    assert read["patient_id"].tolist() == ["7", "8"]
    table.assign(file_name=[["a"], ["b"]]).to_parquet(tmp_path / "metadata.parquet")
    with pytest.raises(ValueError, match="column file_name holds something else than text"):
        PairsFolder.open(tmp_path)
    (tmp_path / "metadata.parquet").write_bytes((tmp_path / "metadata.parquet").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"metadata\.parquet: cannot be read as a Parquet table"):
        PairsFolder.open(tmp_path)


def test_a_smallest_folder_is_described_and_a_film_that_is_gone_is_counted(tmp_path, capsys):
    for number in range(4):
        Image.effect_noise((16, 16), 40 + number).save(tmp_path / f"{number}.png")
    columns = {
        "report": ["A $x$ b.", "", "c_$", "d"],
        "patient_id": [1, 2, 3, 4],
        "split": ["train"] * 3 + ["test"],
    }
    table = pd.DataFrame({"file_name": [f"{n}.png" for n in range(4)], **columns})
    table.to_csv(tmp_path / "metadata.csv", index=False)
    describe(["describe", str(tmp_path)])
    assert "not there" not in capsys.readouterr().out
    (tmp_path / "1.png").unlink()
    describe(["describe", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "Films that are not there" in printed
    assert "Films that are not there" in (tmp_path / "describe.html").read_text()
    with pytest.raises(ValueError, match="is a file of the pairs folder"):
        describe(["describe", str(tmp_path), "--out", str(tmp_path / "metadata.csv")])


def test_a_pipe_is_no_file_to_hash(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"--table .*pipe: cannot be read .not a plain file"):
        hash_file(tmp_path / "pipe", "--table")


def test_provenance_of_a_finished_folder_may_be_damaged(tmp_path):
    config = make_table(tmp_path)
    prepare_table(config)
    before = json.loads((config.out / "provenance.json").read_text())
    for content in ("{", "[]", '{"num_rows": "4"}'):
        (config.out / "provenance.json").write_text(content)
        prepare_table(config)
        assert json.loads((config.out / "provenance.json").read_text()) == before


def test_texts_and_names_of_a_table_are_not_shown(tmp_path):
    secret = "Zebulon Quux"
    row = {"file_name": "", "report": "A.", "patient_id": "1", "split": "train"}
    for change in ({"split": secret}, {"Edema": secret}, {"age": secret}, {"file_name": f"/{secret}"}):
        with pytest.raises(ValueError, match="a text of") as error:
            write_pairs(tmp_path, [{**row, **change}], {}, "")
        assert "Zebulon" not in str(error.value)
