"""Tables as strangers write them: any separator and encoding, or a message that names the row and no cell."""

import gzip
import os
import socket

import pandas as pd
import pytest

from data_module.config import PlanConfig
from data_module.labeler import label_table
from data_module.quoting import quote_cell, quote_columns
from data_module.sampling_plan import MAX_PROMPT, SamplingPlan, read_prompts
from data_module.sources.label_map import LabelMap
from data_module.tables import parse_table, read_table
from evaluation.inputs.rows import find_decoder_tokens, read_captions

ROWS = [
    ["a.png", "Heart is normal, lungs clear."],
    ["b.png", 'A "small" effusion;\nno edema.'],
    ["ü.png", ""],
]
TABLE = pd.DataFrame(ROWS, columns=["file_name", "report"])


def write(path, separator=",", encoding="utf-8", mark="", first=""):
    text = mark + first + TABLE.to_csv(index=False, sep=separator)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.csv", {}),
        ("a.CSV", {"separator": ";"}),
        ("a.csv", {"separator": "\t"}),
        ("a.csv", {"separator": "|"}),
        ("a.tsv", {"separator": "\t"}),
        ("a.TSV", {"separator": ","}),
        ("a.csv", {"mark": "\ufeff"}),
        ("a.csv", {"encoding": "cp1252"}),
        ("a.csv", {"encoding": "latin-1", "separator": ";"}),
        ("a.csv", {"encoding": "utf-16"}),
        ("a.csv", {"encoding": "utf-16-le"}),
        ("a.csv", {"encoding": "utf-16-be", "mark": "\ufeff", "separator": "\t"}),
        ("a.csv", {"encoding": "utf-32"}),
        ("a.csv", {"first": "sep=,\r\n"}),
        ("a.csv", {"first": '"sep=;"\n', "separator": ";", "mark": "\ufeff"}),
    ],
)
def test_one_table_in_many_forms(tmp_path, name, options):
    path = write(tmp_path / name, **options)
    pd.testing.assert_frame_equal(read_table(path, "x"), TABLE, check_dtype=False)
    packed = tmp_path / f"{name}.gz"
    half = path.stat().st_size // 2  # two packed parts, one behind the other, are one file
    parts = (path.read_bytes()[:half], path.read_bytes()[half:])
    packed.write_bytes(b"".join(map(gzip.compress, parts)))
    pd.testing.assert_frame_equal(read_table(packed, "x"), TABLE, check_dtype=False)


def test_what_is_unusual_is_said(tmp_path, capsys):
    read_table(write(tmp_path / "a.csv", encoding="cp1252", separator=";"), "--table a.csv")
    said = capsys.readouterr().err
    assert "--table a.csv: read as Windows-1252 text" in said
    assert "--table a.csv: cells are separated by ';'" in said
    read_table(write(tmp_path / "b.csv"), "b")
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n\n3,4\n\n", [["1", "2"], ["3", "4"]]),
        ("a,b,\n1,2,\n3,4\n", [["1", "2"], ["3", "4"]]),  # a trailing comma, which a spreadsheet leaves
        ("a,b\n1,2,,\n", [["1", "2"]]),
        (",a,b\n0,1,2\n", [["1", "2"]]),  # an index
        ("\n a , b \n1, 2\n", [["1", " 2"]]),
        ("report\nx\n\ny\n\n\n", [["x"], [""], ["y"]]),  # an empty cell of a single column
        ('a,b\r\n"1\r\n2",3\r\n', [["1\r\n2", "3"]]),
        ("a;b\n1,5;2\n2,5;3\n", [["1,5", "2"], ["2,5", "3"]]),
        ("a,b\n1,2", [["1", "2"]]),
        ("a,b\n", []),
    ],
)
def test_rows(text, rows):
    assert parse_table(text, "x").to_numpy().tolist() == rows


SECRET = "Zebulon Quux has a cough"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (f"prompt\n{SECRET}, left\n", "row 2 has 2 cells, the header 1; .* quotes around it"),
        (f"a,b\n1,2\n1,{SECRET},3\n", "row 3 has 3 cells, the header 2"),
        (f"a,b,c\n1,2,3\n{SECRET}\n", "row 3 has 1 cells, the header 3"),
        (f"sep=;\na;b\n1;{SECRET};3\n", "row 2 has 3 cells"),
        (f'a,b\n1,"{SECRET}\n', "cannot be read as a CSV table .line 2"),
        (f'a,b\n"{SECRET}"x,2\n', "cannot be read as a CSV table .line 2"),
        ("report,b,report\n1,2,3\n", "the column 'report' twice"),
        (f"{SECRET},x,{SECRET}\n1,2,3\n", "two columns of one name"),
    ],
)
def test_what_is_wrong_names_the_row_and_no_cell(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_table(text, "x")
    assert "Zebulon" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 a spreadsheet", "is a spreadsheet or zip archive"),
        (b"<!DOCTYPE html><html>", "is an HTML page"),
        ("ä,ü\n".encode()[:-2] + b"\xff\n", "damaged UTF-8 text in line 1"),
        ("report\nä\n".encode() + b"\xe4\n", "damaged UTF-8 text in line 3"),
        ("report\nä\n".encode("utf-16")[:-1], "damaged or cut UTF-16"),
        (bytes(range(128, 256)), "is not UTF-8, UTF-16 or Windows-1252"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "damaged or half downloaded"),
    ],
)
def test_files_that_are_no_tables(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"x: {message}"):
        read_table(tmp_path / "a.csv", "x")


def test_pipes_sockets_and_devices_are_refused(tmp_path):
    """They would be waited for without end."""
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.csv"))
        for path in (tmp_path / "pipe.csv", tmp_path / "socket.csv", tmp_path, tmp_path / "absent.csv"):
            for read in (
                lambda path: read_table(path, str(path)),
                read_captions,
                lambda path: read_prompts("", path),
                LabelMap,
                lambda path: label_table(path, tmp_path / "out.csv"),
            ):
                with pytest.raises(ValueError, match=path.name):
                    read(path)


def test_no_cell_in_a_message():
    for names in (["CXR1", "Heart is normal"], ["a.png", "x"], ["Smith", "Miller"], ["12", "report"]):
        shown = quote_columns(pd.DataFrame([["", ""]], columns=names))
        assert not any(name in shown for name in names), shown
    assert quote_columns(pd.DataFrame(columns=["path", "patient_id"])) == "path, patient_id"
    assert "Heart" not in quote_columns(pd.DataFrame(columns=["path", "report", "Heart is normal."]))
    assert [quote_cell(cell) for cell in ("dev", 2, "-1.5")] == ["'dev'", "2", "'-1.5'"]
    assert quote_cell("Smith, John") == "a text of 11 characters"


def test_prompts_of_any_table(tmp_path, capsys):
    for name, text in (
        ("p.CSV", "\ufeffPrompt\nLeft effusion.\n\nEdema.\n"),
        ("p.tsv", "id\tprompt\n1\tLeft effusion.\n2\t\n3\tEdema.\n"),
        ("p.txt", "\ufeffLeft effusion.\r\n\r\nEdema.\r\n"),
    ):
        (tmp_path / name).write_text(text, newline="")
        prompts, names = read_prompts("", tmp_path / name)
        assert prompts == ["Left effusion.", "Edema."]
        assert names[1].endswith(f"{name}, prompt 3")
        assert "1 row(s) hold no prompt" in capsys.readouterr().err
    (tmp_path / "p.csv").write_text("prompt\nRight effusion, left.\n")
    with pytest.raises(ValueError, match=r"--prompts .*p\.csv.*row 2 has 2 cells"):
        read_prompts("", tmp_path / "p.csv")
    (tmp_path / "p.txt").write_text("ok\n" + "a" * (MAX_PROMPT + 1))
    for config in (
        PlanConfig(prompts=tmp_path / "p.txt", data=None),
        PlanConfig(prompt="a" * 10**7, data=None),
    ):
        with pytest.raises(ValueError, match="characters; a prompt has 10,000 at most"):
            SamplingPlan(config, seed=0)


@pytest.mark.parametrize(
    ("text", "names", "reports"),
    [
        ("a1.png,Clear lungs.\nb2.png,Edema.\n", ["a1.png", "b2.png"], ["Clear lungs.", "Edema."]),
        ("alpha;No edema, no effusion and clear\nbeta;x\n", ["alpha", "beta"], None),
        ("alpha,Normal\nbeta,Normal\n", ["alpha", "beta"], ["Normal", "Normal"]),
        ("known,Normal\nbeta,Edema\n", ["known", "beta"], ["Normal", "Edema"]),
        ("Bild,Befund\na1,Edema.\n", ["a1"], ["Edema."]),
        ("Image Path,Report\na1,Edema.\n", ["a1"], ["Edema."]),
    ],
)
def test_a_table_without_a_header_keeps_its_first_line(tmp_path, text, names, reports):
    (tmp_path / "a.csv").write_text(text)
    table = read_captions(tmp_path / "a.csv", known=["images/known.png"])
    assert table["file_name"].tolist() == names
    assert reports is None or table["report"].tolist() == reports


def test_decoder_tokens_are_told_of(capsys):
    texts = [
        "Clear lungs.</s>",
        "<|endoftext|>",
        "[PAD] [PAD]",
        "Ġheart",
        "A < B and [redacted].",
        "size <s 3",
    ]
    assert find_decoder_tokens(texts, "x")[0].startswith("4 of 6 reports hold tokens of a decoder")
    assert "skip_special_tokens" in capsys.readouterr().err
    assert find_decoder_tokens(texts[4:], "x") == []
