"""python -m data_module describe, on folders with known counts and leaks."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_module.__main__ import main
from data_module.contact_sheet import draw_contact_sheet, draw_edit_sheet
from data_module.description import describe_folder
from data_module.pairs import PairsFolder, write_pairs

ROOT = Path(__file__).resolve().parents[2]


def make_folder(root, change=None):
    """Nine films of distinct patients, three in each split; `change` edits the rows."""
    rows = []
    for number in range(9):
        (root / "images").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(256, size=(12, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.bmp")  # all of one size on the disk
        rows.append(
            {
                "file_name": f"images/{number}.bmp",
                "report": f"FINDINGS: Film {number} is clear. IMPRESSION: <script>{number}</script>.",
                "findings_section": f"Film {number} is clear.",
                "patient_id": f"p{number}",
                "study_id": f"s{number}",
                "view": ("PA", "AP", "")[number % 3],
                "split": ("train", "validation", "test")[number // 3],
                "Edema": (1, 0, -1)[number % 3],
                "Fracture": 1 if number == 0 else None,
            }
        )
    if change:
        change(rows)
    return write_pairs(root, rows, {}, "")


def leaks_of(pairs):
    return [leak.count for leak in describe_folder(pairs).leaks]


def has_grave_leak(description):
    return any(leak.severe and leak.count for leak in description.leaks)


def test_counts(tmp_path):
    tables = describe_folder(make_folder(tmp_path)).tables
    assert tables["Rows"].loc["all"].tolist() == [9, 9, 9, 9, 9]
    assert tables["Rows"].loc["test", "films"] == 3
    assert tables["Views"].loc["unknown", "all"] == 3
    assert tables["Findings"].loc["Edema"].tolist() == [3, 3, 3, 0, 33.3]
    assert tables["Findings"].loc["Fracture", "blank"] == 8
    assert tables["Report length (words)"].loc["findings_section", "median"] == 4
    together = tables["Positive together"]
    assert (together.loc["Edema", "Fracture"], together.loc["Edema", "Edema"]) == (1, 3)


def test_no_leak_where_there_is_none(tmp_path):
    assert leaks_of(make_folder(tmp_path)) == [0, 0, 0]


def test_a_patient_in_two_splits(tmp_path):
    pairs = make_folder(tmp_path, lambda rows: rows[8].update(patient_id="p0"))
    assert leaks_of(pairs) == [1, 0, 0]
    description = describe_folder(pairs)
    assert has_grave_leak(description)
    assert description.leaks[0].examples == ("p0",)


def test_a_film_in_two_splits(tmp_path):
    pairs = make_folder(tmp_path)
    pairs.image_paths[8].write_bytes(pairs.image_paths[0].read_bytes())
    pairs.image_paths[1].write_bytes(pairs.image_paths[2].read_bytes())  # both train: no leak
    assert leaks_of(pairs) == [0, 1, 0]
    assert describe_folder(pairs).leaks[1].examples == ("images/0.bmp = images/8.bmp",)


def test_a_report_in_two_splits_is_for_information(tmp_path):
    pairs = make_folder(tmp_path, lambda rows: rows[8].update(report=rows[0]["report"].upper()))
    assert leaks_of(pairs) == [0, 0, 1]
    assert not has_grave_leak(describe_folder(pairs))


def test_the_page_is_one_file_and_escapes_what_it_shows(tmp_path, capsys):
    name = "<img src=x onerror=alert(1)>"
    make_folder(tmp_path, lambda rows: [row.update(patient_id=name) for row in (rows[0], rows[8])])
    main(["describe", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "patients in more than one split: 1" in printed
    page = (tmp_path / "describe.html").read_text()
    assert "data:image/png;base64," in page
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "http" not in page


def test_text_only_and_wrong_folders(tmp_path, capsys):
    pairs = make_folder(tmp_path, lambda rows: [row.update(file_name="") for row in rows])
    assert leaks_of(PairsFolder.open(pairs.root)) == [0, 0, 0]
    main(["describe", str(tmp_path), "--out", str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").is_file()
    with pytest.raises(ValueError, match="not a pairs folder"):
        main(["describe", str(tmp_path / "absent")])
    command = [sys.executable, "-m", "data_module", "describe", str(tmp_path / "absent")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_the_table_of_findings_fits_a_terminal(tmp_path, capsys):
    make_folder(tmp_path)
    main(["describe", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index("Positive together") :]
    assert table[1].split() == list("ABCDEFGHIJKLMN")
    (row,) = (line for line in table if line.startswith("Edema F"))
    assert row.split()[2:] == [*"000003000000", "1", "0"]  # with itself, and with Fracture
    assert max(map(len, lines)) <= 100


@pytest.mark.filterwarnings("error")
def test_what_the_font_lacks_is_drawn_as_the_replacement_character(tmp_path):
    """Control characters and letters of another script: a picture all the same, and no warning."""
    odd = "Bell \x07, escape \x1b, $x^$ \N{CJK UNIFIED IDEOGRAPH-80BA}"
    pairs = make_folder(tmp_path / "odd", lambda rows: [row.update(prompt=odd, report=odd) for row in rows])
    said = odd.translate(dict.fromkeys((7, 27, 0x80BA), "\N{REPLACEMENT CHARACTER}"))
    same = make_folder(tmp_path / "same", lambda rows: [row.update(prompt=said, report=said) for row in rows])
    draw_contact_sheet(pairs, tmp_path / "odd.png")
    draw_contact_sheet(same, tmp_path / "same.png")
    assert (tmp_path / "odd.png").read_bytes() == (tmp_path / "same.png").read_bytes()
    films = [np.zeros((8, 8), np.uint8)] * 2
    draw_edit_sheet([(odd, films)], ("before", "after"), tmp_path / "edits.png")
    draw_edit_sheet([(said, films)], ("before", "after"), tmp_path / "same_edits.png")
    assert (tmp_path / "edits.png").read_bytes() == (tmp_path / "same_edits.png").read_bytes()
