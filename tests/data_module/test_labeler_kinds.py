"""The rule labeler on the kinds of sentence that labelers are known to fail on, and on hostile text.

labeler_kinds.csv holds sets of sentences, each written with its full labels before the rules were read or
without looking at them again. Right at first sight, present findings read as absent in brackets:

    set      sentences   rules of before   rules of that day   now
    first    280         190 (46)          190 (46)            280 (0)
    second   145          94 (24)          129 (4)             145 (0)
    third    143          88 (25)          117 (10)            143 (0)
    fourth   121          72 (24)          112 (4)             121 (0)
    fifth     98          59 (21)           89 (4)              98 (0)
    sixth    154         143 (4)           143 (4)             154 (0)
    seventh  152         139 (6)           139 (6)             152 (0)
    eighth   149         135 (6)           137 (5)             149 (0)
    ninth    153         -                 148 (2)             149 (1)

The sixth to the ninth were written by readers who never saw the rules or the other sets; their labels were
then brought to the conventions of labeler_sentences.txt ("history of X" denies X, "clear lungs" opacities).
The writer of the ninth was told these first, and none of its labels was changed: .968 of 156 right at first
sight.
"""

import csv
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from data_module.findings import FINDINGS
from data_module.labeler import label_report

SHORT_NAMES = ("NF", "EC", "CM", "LO", "LL", "ED", "CO", "PN", "AT", "PX", "PE", "PO", "FX", "SD")
SIGNS = {1.0: "+", 0.0: "-", -1.0: "?"}
ROWS = list(csv.DictReader((Path(__file__).parent / "labeler_kinds.csv").open(encoding="utf-8", newline="")))
KINDS = sorted({row["kind"] for row in ROWS})


def read_sentence(cell: str) -> str:
    r"""A cell with its \n, \t and \u2010 spelled out."""
    return re.sub(r"\\(?:u[0-9a-f]{4}|[nrt])", lambda match: match[0].encode().decode("unicode_escape"), cell)


def read_labels(cell: str) -> dict[str, str]:
    """ "PX- PE+" -> all that is labeled, No Finding included; what is not listed is not mentioned."""
    return {code[:2]: code[2] for code in cell.split()}


def find_labels(text: str) -> dict[str, str]:
    codes = label_report(text)
    short = dict(zip(FINDINGS, SHORT_NAMES, strict=True))
    return {short[name]: SIGNS[code] for name, code in codes.items() if code == code}


def test_enough_sentences_of_each_kind():
    counts = defaultdict(int)
    for row in ROWS:
        counts[row["set"], row["kind"]] += 1
    assert len(KINDS) == 12
    assert all(counts["first", kind] >= 12 and counts["second", kind] >= 6 for kind in KINDS)
    assert len({(row["set"], row["sentence"]) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("kind", KINDS)
def test_share_right(kind):
    rows = [row for row in ROWS if row["kind"] == kind and row["set"] != "issue"]
    wrong = [
        row["sentence"]
        for row in rows
        if find_labels(read_sentence(row["sentence"])) != read_labels(row["labels"])
    ]
    assert len(wrong) <= 0.02 * len(rows), wrong


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["set"] == "issue"], ids=lambda row: row["sentence"]
)
def test_sentences_of_the_bug_reports(row):
    assert find_labels(read_sentence(row["sentence"])) == read_labels(row["labels"])


def test_no_present_finding_reads_as_absent():
    missed = []
    for row in ROWS:
        found = find_labels(read_sentence(row["sentence"]))
        present = {name for name, sign in read_labels(row["labels"]).items() if sign == "+"} - {"NF"}
        missed += [row["sentence"] for name in present if found.get(name) == "-"]
    assert missed == []


@pytest.mark.parametrize(
    "heading",
    [
        *("FINAL IMPRESSION", "PRELIMINARY IMPRESSION", "OVERALL IMPRESSION", "RADIOLOGIST'S IMPRESSION"),
        *("IMPRESSION (PRELIMINARY)", "IMPRESSION AND PLAN", "IMPRESSION AND RECOMMENDATION(S)", "RESULT(S)"),
        *(
            "FINDINGS AND INTERPRETATION",
            "FINDINGS (PA AND LATERAL)",
            "FINDINGS CHEST",
            "COMMENTS",
            "Reading",
        ),
        *("CONCLUSION/RECOMMENDATION", "CHEST, TWO VIEWS", "FRONTAL CHEST RADIOGRAPH ___ AT 5:30 A.M."),
    ],
)
def test_a_heading_ends_the_indication(heading):
    for gap in ("\n", "\n\n", " "):
        report = f"INDICATION: Rule out edema.{gap}{heading}: Small left effusion."
        assert find_labels(report) == {"PE": "+"}


HOSTILE = [
    *("a", "A", "1", "-", "(", "<", "&", "\n", "\t", " ", "?", ":", "•", "_", "no ", "No\n", "a-", "1. "),
    *("no effusion, ", "no effusion ", "effusion, ", "not free of ", "has been ", "history: ", "heart: "),
    *(
        "ctr ",
        "ctr:",
        "It has resolved. ",
        "effusion? no. ",
        "<br ",
        "IMPRESSION ",
        "mass in ",
        "no. 1",
        "extubat ",
        "a-\n",
        "Heart\n",
        "Heart\n- Enlarged\n",
        "Effusion – none\n",
        "neither effusion nor ",
        "some of the effusions ",
        ", while the left is ",
        "effusion, has resolved, ",
        "kinking of the ",
        "[**",
    ),
]


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_time_is_linear_in_the_text(unit):
    """Eight times the text may take some eight times the processor's time; backtracking would take 64."""

    def seconds(length: int) -> float:
        text = (unit * (length // len(unit) + 1))[:length]
        times = []
        for attempt in range(3):
            start = time.process_time()
            label_report(f"{attempt}{text}")
            times.append(time.process_time() - start)
        return min(times)

    label_report("warm")
    assert seconds(80_000) < 30 * seconds(10_000) + 0.05


def test_a_word_of_a_megabyte_is_read():
    assert find_labels(f"No effusion. {'x' * 1_000_000} Cardiomegaly.") == {"PE": "-", "CM": "+"}
    assert find_labels(f"Edema.{'-' * 1_000_000}\nNo fracture.") == {"ED": "+", "FX": "-"}


def test_import_reads_no_phrases():
    code = (
        "import sys, data_module.labeler, data_module.labeler.events as events;"
        "assert events._read_tree.cache_info().currsize == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
