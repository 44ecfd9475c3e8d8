"""Open-I's reports and films, and how archives and XML that are wrong are refused."""

import json

import pytest
from helpers.label_tables import FILM, NIH_ROWS, label_by_word, prepare, reasons_of
from helpers.open_i_archive import make_archive, report_xml
from PIL import Image

from data_module.sources.config import OpenIConfig
from data_module.sources.open_i import prepare_open_i
from data_module.sources.open_i_reports import parse_report, read_reports, text_key

FILES = {
    "r/1.xml": report_xml("CXR1", "Clear lungs.", "No fracture.", ["CXR1_1_IM-0001-3001"], ["a/b", "c"]),
    "r/10.xml": report_xml("CXR10", "clear  lungs", "no fracture", ["CXR10_IM-0002-1001"]),
    "r/2.xml": report_xml("CXR2", "", "A fracture."),
    "r/3.xml": report_xml("CXR3"),
    "r/4.xml": b"<eCitation><uId",
    "r/5.xml": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><eCitation/>',
    "r/6.xml": report_xml("CXR1", "A copy of the id."),
    "r/7.xml": b"<other/>",
    "../../evil.txt": b"not read, not unpacked",
}


def test_open_i_reports(tmp_path):
    reports, skipped = read_reports(make_archive(tmp_path / "r.tgz", FILES))
    assert [report.uid for report in reports] == ["CXR1", "CXR2", "CXR10"]
    assert reports[0].text == "FINDINGS: Clear lungs. IMPRESSION: No fracture."
    assert reports[1].text == "IMPRESSION: A fracture."
    assert reports[0].mesh == ("a/b", "c")
    reasons = {row["item"]: row["reason"] for row in skipped}
    for name, reason in {
        "3.xml": "empty",
        "4.xml": "XML",
        "5.xml": "DTD",
        "6.xml": "duplicate",
        "7.xml": "uId",
    }.items():
        assert reason in reasons[name]
    assert len(reasons) == 5


def test_open_i_becomes_a_text_only_folder(tmp_path):
    archive = make_archive(tmp_path / "r.tgz", FILES)
    pairs = prepare_open_i(OpenIConfig(out=tmp_path / "out", reports=archive), label_by_word)
    assert not pairs.has_films
    table = pairs.table.set_index("study_id")
    assert table.loc["CXR1", "mesh"] == "a/b|c"
    assert (table.loc["CXR1", "Fracture"], table.loc["CXR2", "Fracture"]) == (0, 1)
    assert table.loc["CXR2", "prompt"] == "A chest X ray image with fracture"
    assert text_key(table.loc["CXR1", "report"]) == text_key(table.loc["CXR10", "report"])
    assert table.loc["CXR1", "split"] == table.loc["CXR10", "split"]
    assert len(reasons_of(pairs.root)) == 5
    with pytest.raises(ValueError, match="--strict: 5"):
        prepare_open_i(OpenIConfig(out=tmp_path / "strict", reports=archive, strict=True))


def test_reports_of_tables_and_open_i_are_prepared_alike(tmp_path):
    """Blanks and references to earlier films, by the flags that mimic-cxr takes too; counted."""
    flags = {"blanks": "drop-sentence", "remove_priors": True}
    findings, impression = "Told to Dr. XXXX. Edema, unchanged from prior.", "Seen by XXXX."
    text = f"EXAM: Chest.\nFINDINGS: {findings}\nIMPRESSION: {impression}"
    files = {"1.xml": report_xml("CXR1", findings, impression), "2.xml": report_xml("CXR2", "Seen by XXXX.")}
    archive = make_archive(tmp_path / "r.tgz", files)
    rows = [{**NIH_ROWS[0], "notes": text}, {**NIH_ROWS[1], "notes": "FINDINGS: Seen by XXXX."}]
    folders = (
        prepare_open_i(OpenIConfig(out=tmp_path / "open_i", reports=archive, **flags)),
        prepare(tmp_path / "csv", rows, report_column="notes", **flags),
    )
    for pairs, skipped in zip(folders, ("CXR2", "a_001.png"), strict=True):
        assert pairs.table["report"].tolist() == ["FINDINGS: Edema."]
        assert "after --blanks and --remove-priors" in reasons_of(pairs.root)[skipped]
        record = json.loads((pairs.root / "provenance.json").read_text())
        assert record["texts"]["prior_phrases_removed"] == 2  # "unchanged", "from prior"
        assert record["texts"]["sentences_dropped_for_blanks"] >= 2


def test_open_i_joins_films(tmp_path):
    archive = make_archive(tmp_path / "r.tgz", FILES)
    (tmp_path / "films" / "deep").mkdir(parents=True)
    Image.fromarray(FILM).save(tmp_path / "films" / "deep" / "CXR10_IM-0002-1001.png")
    config = OpenIConfig(
        out=tmp_path / "out", reports=archive, images=tmp_path / "films", size=16, views=("PA", "AP", "L")
    )
    pairs = prepare_open_i(config)
    assert pairs.has_films
    assert pairs.table["study_id"].tolist() == ["CXR10"]
    assert pairs.image_paths[0].is_file()
    assert "no such film" in reasons_of(pairs.root)["CXR1_1_IM-0001-3001"]


def test_packaged_open_i_reports():
    """The 3,955 reports inside the torchxrayvision package."""
    from data_module.sources.open_i_reports import find_packaged

    reports, skipped = read_reports(find_packaged("NLMCXR_reports.tgz"))
    assert len(reports) + len(skipped) == 3955
    assert len(reports) == 3927
    assert {row["reason"] for row in skipped} == {"empty report: neither findings nor impression"}


def test_loose_open_i_reports_are_read_within_their_folder(tmp_path):
    """A link out of the folder and a file too large are listed; the rest is read."""
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "1.xml").write_bytes(report_xml("CXR1", "Clear lungs."))
    (tmp_path / "secret.xml").write_bytes(report_xml("CXR2", "Of another study."))
    (folder / "2.xml").symlink_to(tmp_path / "secret.xml")
    (folder / "3.xml").write_bytes(report_xml("CXR3", "Long. " * 200_000))
    reports, skipped = read_reports(folder)
    assert [report.uid for report in reports] == ["CXR1"]
    assert [{**row, "reason": row["reason"].split(" (")[0]} for row in skipped] == [
        {"item": "2.xml", "reason": "lies outside the folder"},
        {"item": "3.xml", "reason": "larger than 1,048,576 bytes"},
    ]


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_wrong_archive_is_named(tmp_path, content):
    (tmp_path / "r.tgz").write_bytes(content)
    with pytest.raises(ValueError, match=r"--reports .*r\.tgz"):
        prepare_open_i(OpenIConfig(out=tmp_path / "out", reports=tmp_path / "r.tgz"))
    with pytest.raises(ValueError, match=r"--reports .*absent"):
        prepare_open_i(OpenIConfig(out=tmp_path / "out2", reports=tmp_path / "absent"))


def test_a_billion_laughs_are_refused():
    bomb = b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><eCitation><uId id="&c;"/></eCitation>'
    with pytest.raises(ValueError, match="DTD"):
        parse_report(bomb)
    with pytest.raises(ValueError, match="UTF-8"):
        parse_report(bomb.decode().encode("utf-16"))
