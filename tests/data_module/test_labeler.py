"""The rule labeler on hand-made sentences, prompts, whole reports and tables."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN, prompt_sentence
from data_module.labeler import label_report, label_reports, label_table
from data_module.labeler.layout import attach_headings, join_broken_words
from data_module.labeler.matcher import PhraseTree, expand_phrase
from data_module.labeler.text import read_statements

SHORT_NAMES = ("NF", "EC", "CM", "LO", "LL", "ED", "CO", "PN", "AT", "PX", "PE", "PO", "FX", "SD")
ABBREVIATIONS = dict(zip(SHORT_NAMES, FINDINGS, strict=True))
CODES = {"+": POSITIVE, "-": NEGATIVE, "?": UNCERTAIN, "0": float("nan")}
LINES = (Path(__file__).parent / "labeler_sentences.txt").read_text().splitlines()
FRESH = (Path(__file__).parent / "labeler_fresh_sentences.txt").read_text().splitlines()
UNSEEN = (Path(__file__).parent / "labeler_unseen_sentences.txt").read_text().splitlines()
CASES = [line for line in LINES if line and not line.startswith("#")]


def read_case(line: str) -> tuple[str, dict[str, float]]:
    sentence, codes = line.rsplit("=>", 1)
    return sentence.strip(), {ABBREVIATIONS[code[:2]]: CODES[code[2]] for code in codes.split()}


def mentioned(labels: dict[str, float]) -> dict[str, float]:
    return {name: code for name, code in labels.items() if not np.isnan(code)}


@pytest.mark.parametrize("line", CASES)
def test_sentence(line):
    sentence, expected = read_case(line)
    found = label_report(sentence)
    no_finding = found.pop("No Finding")
    if "No Finding" in expected:
        np.testing.assert_equal(no_finding, expected.pop("No Finding"))
    assert mentioned(found) == expected


def test_enough_sentences():
    assert len(CASES) >= 300


def _f1_of_certainties(lines: list[str]) -> dict[float, float]:
    """F1 of positive, negative and uncertain mentions over sentences, No Finding aside."""
    counts = {code: np.zeros(3) for code in (POSITIVE, NEGATIVE, UNCERTAIN)}  # hits, expected, found
    for line in lines:
        sentence, expected = read_case(line)
        sides = [expected, mentioned(label_report(sentence))]
        for code, count in counts.items():
            a, b = ({name for name, c in x.items() if c == code} - {"No Finding"} for x in sides)
            count += len(a & b), len(a), len(b)
    return {code: 2 * hits / (expected + found) for code, (hits, expected, found) in counts.items()}


def test_negations_and_hedges_of_sentences_it_was_not_written_for():
    fresh = [line for line in FRESH if line and not line.startswith("#")]
    alone, together = _f1_of_certainties(fresh), _f1_of_certainties(fresh + CASES)
    assert alone[NEGATIVE] >= 0.85  # measured: 0.913, and 0.828 for uncertain, 0.923 for positive
    assert alone[UNCERTAIN] >= 0.65
    assert together[NEGATIVE] >= 0.94
    assert together[UNCERTAIN] >= 0.65


@pytest.mark.parametrize(
    ("half", "num_lines", "floors"),
    [
        ("development", 151, {POSITIVE: 0.97, NEGATIVE: 0.96, UNCERTAIN: 0.97}),  # .986, .979, 1
        (
            "blind",
            181,
            {POSITIVE: 0.86, NEGATIVE: 0.94, UNCERTAIN: 0.85},
        ),  # .875, .949, .867: leave it unread
    ],
)
def test_sentences_written_before_the_rules_were_read(half, num_lines, floors):
    blind = half == "blind"
    lines = [line for line in UNSEEN if line and not line.startswith("#")]
    lines = [line for line in lines if hashlib.sha256(read_case(line)[0].encode()).digest()[0] % 2 == blind]
    assert len(lines) == num_lines
    scores = _f1_of_certainties(lines)
    assert all(scores[code] >= floor for code, floor in floors.items()), scores


def test_every_finding_in_a_prompt():
    for name in FINDINGS:
        for code in (POSITIVE, NEGATIVE, UNCERTAIN):
            assert mentioned(label_report(prompt_sentence({name: code}))) == {name: code}


@pytest.mark.parametrize("seed", range(5))
def test_prompt_round_trip(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([POSITIVE, NEGATIVE, UNCERTAIN, np.nan], size=(200, 14), p=[0.2, 0.15, 0.1, 0.55])
    # A prompt never says "no finding" beside a finding.
    contradicted = np.isin(np.delete(labels, [0, 13], axis=1), (POSITIVE, UNCERTAIN)).any(axis=1)
    labels[contradicted & (labels[:, 0] == POSITIVE), 0] = np.nan
    sentences = [prompt_sentence(dict(zip(FINDINGS, row, strict=True))) for row in labels]
    np.testing.assert_array_equal(label_reports(sentences), labels.astype(np.float32))
    upper = [f"{sentence.upper()}.\n" for sentence in sentences]
    np.testing.assert_array_equal(label_reports(upper), labels.astype(np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_prompt_with_a_free_ending(seed):
    """The same prompts through the language rules, which the template cannot catch once words are added."""
    rng = np.random.default_rng(seed)
    names = [name for name in FINDINGS if name != "No Finding"]
    for _ in range(100):
        row = rng.choice([POSITIVE, NEGATIVE, UNCERTAIN, np.nan], size=13, p=[0.2, 0.15, 0.1, 0.55])
        labels = {name: code for name, code in zip(names, row, strict=True) if not np.isnan(code)}
        found = label_report(f"{prompt_sentence(labels)} in an elderly man")
        found.pop("No Finding")
        assert mentioned(found) == labels


def test_reports_equal_single_reports():
    texts = [read_case(line)[0] for line in CASES]
    labels = label_reports(texts)
    assert labels.shape == (len(texts), 14)
    assert labels.dtype == np.float32
    single = np.array([[label_report(text)[name] for name in FINDINGS] for text in texts], dtype=np.float32)
    np.testing.assert_array_equal(labels, single)


@pytest.mark.parametrize("text", ["", "   ", "\n\n", "...", "hello world", "XXXX", "12345"])
def test_text_that_says_nothing(text):
    assert mentioned(label_report(text)) == {}


def test_no_finding_ignores_devices_only():
    assert label_report("Pacemaker. The lungs are clear.")["No Finding"] == POSITIVE
    assert np.isnan(label_report("The lungs are clear. Possible effusion.")["No Finding"])
    assert np.isnan(label_report("The lungs are clear. Scoliosis.")["No Finding"])


def test_aggregation_order():
    for texts, code in (
        (("Edema.", "Possible edema.", "No edema."), POSITIVE),
        (("Possible edema.", "No edema."), UNCERTAIN),
        (("No edema.",), NEGATIVE),
    ):
        assert label_report(" ".join(texts))["Edema"] == code
        assert label_report(" ".join(reversed(texts)))["Edema"] == code


def test_case_and_line_breaks_change_nothing():
    report = (
        "FINDINGS: There is no consolidation, pleural\neffusion or pneumothorax.\n\nIMPRESSION:\nMild edema."
    )
    assert mentioned(label_report(report)) == {
        "Consolidation": 0,
        "Pleural Effusion": 0,
        "Pneumothorax": 0,
        "Edema": 1,
    }
    for other in (report.lower(), report.upper(), report.replace("\n", "\r\n"), " ".join(report.split())):
        np.testing.assert_equal(label_report(other), label_report(report))


def test_ignored_sections():
    report = (
        "EXAMINATION: Chest, two views\nINDICATION: Cough, evaluate for pneumonia and edema.\n"
        "COMPARISON: Film with a left pneumothorax.\nTECHNIQUE: PA and lateral.\n"
        "FINDINGS: Small right effusion.\nIMPRESSION: Right effusion. No fracture."
    )
    assert mentioned(label_report(report)) == {"Pleural Effusion": 1, "Fracture": 0}


def test_read_statements():
    assert read_statements("A 1.5 cm nodule. No effusion; w/o edema.\n1. Clear.") == [
        "a 1,5 cm nodule",
        "no effusion",
        "without edema",
        "clear",
    ]


def test_words_broken_at_a_line_end_are_joined():
    broken = "Pulmo-\nnary edema, pneumo- \n  thorax. Right-\nsided air-\nspace disease.\n- Xyz-\nabc"
    assert join_broken_words(broken) == (
        "Pulmonary edema, pneumothorax. Right-sided airspace disease.\n- Xyz-abc"
    )
    for kept in ("FINDINGS-\nCLEAR", "Lungs-\nClear", "Impression-\nNo edema", "impression-\nno edema"):
        assert join_broken_words(kept) == kept


def test_headings_stand_before_their_items():
    lines = [
        "HEART",
        "- Enlarged",
        "LUNGS",
        "No edema",
        "Clear",
        "There is a mass.",
        "Effusion",
        "None",
        "BONES",
    ]
    assert attach_headings(lines) == [
        *(
            "HEART: Enlarged",
            "LUNGS: No edema",
            "LUNGS: Clear",
            "There is a mass.",
            "Effusion: None",
            "BONES",
        ),
    ]
    assert attach_headings(["Heart: No effusion", "2. Enlarged"]) == ["Heart: No effusion", "Heart: Enlarged"]
    assert attach_headings(["No edema.", "Clear."]) == ["No edema.", "Clear."]


def test_expand():
    assert expand_phrase("(a|b[c])d[s]") == ["ad", "ads", "bcd", "bcds", "bd", "bds"]
    for broken in ("a[b", "a(b|c", "a]b"):
        with pytest.raises(ValueError):
            expand_phrase(broken)


def test_phrase_tree():
    phrases = ("pleural", "pleural effusion", "effusion", "is resolved", ",", "not seen")
    tree = PhraseTree({phrase: phrase for phrase in phrases}, ("now", "fully"), {"fully": ("not",)})

    def find(text: str) -> list[str]:
        return [text[start:end] for _, start, end in tree.find(text)]

    assert find("pleural effusion, effusion, pleuraleffusion, pleural") == [
        *("pleural effusion", ",", "effusion", ",", ",", "pleural"),
    ]
    assert find("is now fully resolved") == ["is now fully resolved"]
    assert find("not now seen, not fully seen, is, resolved") == ["not now seen", ",", ",", ","]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_table_keeps_everything(tmp_path):
    source = tmp_path / "in.csv"
    table = pd.DataFrame(
        {
            "id": ["007", "1e5", "", "NA", "9"],
            "report": ["No effusion.", 'Heart, "enlarged".\nEdema?', "", "Pneumonia, maybe é", "   "],
            "note": ["", "null", "0.10", "True", " x "],
        }
    )
    table.to_csv(source, index=False)
    label_table(source, tmp_path / "new" / "out.csv")
    out = pd.read_csv(tmp_path / "new" / "out.csv", dtype=str, keep_default_na=False)
    assert list(out.columns) == [*table.columns, *FINDINGS]
    pd.testing.assert_frame_equal(out[table.columns].astype(object), table.astype(object))
    assert (out.loc[[2, 4], list(FINDINGS)] == "").all(axis=None)
    assert out.loc[0, "Pleural Effusion"] == "0"
    assert out.loc[0, "No Finding"] == "1"
    assert out.loc[1, "Edema"] == "-1"
    assert set(out[list(FINDINGS)].to_numpy().ravel()) <= {"1", "0", "-1", ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("id,report\n", "no rows"),
        ("id,text\n1,Edema.\n", "report"),
        ("report,Edema\nNo edema.,1\n", "Edema"),
        ("report,report\na,b\n", "twice"),
        ('id,report\n1,"open quote\n', "CSV"),
        ("id,report\n1,a,b,c\n", "CSV"),
    ],
)
def test_bad_table_names_the_file(tmp_path, content, message):
    source, target = write(tmp_path / "in.csv", content), tmp_path / "out.csv"
    with pytest.raises(ValueError, match=message) as caught:
        label_table(source, target)
    assert "in.csv" in str(caught.value)
    assert not target.exists()


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.csv"):
        label_table(tmp_path / "nowhere.csv", tmp_path / "out.csv")
    with pytest.raises(ValueError, match="folder"):
        label_table(tmp_path, tmp_path / "out.csv")
    (tmp_path / "in.csv").write_bytes(bytes(range(128, 256)) * 20)
    with pytest.raises(ValueError, match=r"in\.csv"):
        label_table(tmp_path / "in.csv", tmp_path / "out.csv")
    good = write(tmp_path / "good.csv", "report\nEdema.\n")
    with pytest.raises(ValueError, match=r"good\.csv"):
        label_table(good, good)


def test_short_rows_and_byte_order_mark(tmp_path):
    source = tmp_path / "in.csv"
    source.write_bytes("\ufeffid,report,note\n1,No edema.\n2\n".encode())
    out = label_table(source, tmp_path / "out.csv", progress=False)
    assert out["Edema"].tolist() == ["0", ""]
    assert list(out.columns[:3]) == ["id", "report", "note"]


@pytest.mark.parametrize(
    "text",
    ["no effusion, " * 5000, "-" * 50000, "1. " * 50000, "history: " * 20000, "(" * 50000, "\n" * 50000],
)
def test_degenerate_text_ends(text):
    """No pattern may backtrack for ever on what a broken generator writes."""
    assert set(label_report(text).keys()) == set(FINDINGS)


def test_not_a_text():
    with pytest.raises(ValueError, match="text"):
        label_report(float("nan"))
    with pytest.raises(ValueError, match="list"):
        label_reports("Edema.")
