import random
from collections import Counter

import pytest

from data_module.sections import (
    Sections,
    TextPreparation,
    count_blanked,
    join_sections,
    prepare_report,
    remove_blanks,
    split_sections,
    warn_of_blanks,
)

MIMIC_STYLE = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with cough

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.  The heart is
 normal in size.

 IMPRESSION:

 No acute process.

 NOTIFICATION:  Told to Dr. ___ at 10:15.
"""


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        (MIMIC_STYLE, "The lungs are clear. The heart is normal in size.", "No acute process."),
        ("FINDINGS: Clear lungs. IMPRESSION: Normal.", "Clear lungs.", "Normal."),
        ("Findings: Clear lungs.\nConclusion: Normal.", "Clear lungs.", "Normal."),
        ("Clear lungs.", "Clear lungs.", ""),
        ("Lungs are clear.\n\nIMPRESSION: Normal.", "Lungs are clear.", "Normal."),
        ("CHEST RADIOGRAPH\nFINDINGS: Clear lungs.", "Clear lungs.", ""),
        ("IMPRESSION: Normal.", "", "Normal."),
        ("FINDING: A.\nIMPRESSIONS: B.", "A.", "B."),
        ("FINDINGS\nClear lungs.\nIMPRESSION\nNormal.", "Clear lungs.", "Normal."),
        ("FINDINGS: A.\nIMPRESSION: B.\nADDENDUM: x.\nFINDINGS: C.", "A. C.", "B."),
        ("FINDINGS AND IMPRESSION: Clear lungs.", "Clear lungs.", ""),
        ("CHEST, TWO VIEWS: seen.\nSUMMARY: Normal.", "", "Normal."),
        ("", "", ""),
        # The words inside a sentence are no headings.
        (
            "FINDINGS: Findings of edema. My impression is edema.",
            "Findings of edema. My impression is edema.",
            "",
        ),
        (
            "FINDINGS: Tube tip: 3 cm above. The study is limited.",
            "Tube tip: 3 cm above. The study is limited.",
            "",
        ),
        # Words that were broken at a line's end, and what else ends with a dash there.
        (
            "FINDINGS: Mild pulmo-\n nary edema. Right-\nsided air- \n  space disease.\n"
            "IMPRESSION: Xyz-\nabc.",
            "Mild pulmonary edema. Right-sided airspace disease.",
            "Xyz-abc.",
        ),
        ("FINDINGS-\nClear lungs.\nIMPRESSION-\nNORMAL.", "Clear lungs.", "NORMAL."),
        ("Pulmo- nary edema, heart -\nnormal, 3-\nfold.", "Pulmo- nary edema, heart - normal, 3- fold.", ""),
    ],
)
def test_split_sections(report, findings, impression):
    assert split_sections(report) == Sections(findings, impression)


@pytest.mark.parametrize("sections", [("A b.", "C."), ("no stop", "C"), ("A.", ""), ("", "C."), ("", "")])
def test_join_and_split_are_inverse(sections):
    assert split_sections(join_sections(*sections)) == sections


def test_joined_form():
    assert join_sections(" The  lungs\nare clear. ", "Normal.") == (
        "FINDINGS: The lungs are clear. IMPRESSION: Normal."
    )


WET_READ = """ WET READ: ___ ___ 10:15 PM
  No pneumothorax.
______________________________________________________________________________
                                 FINAL REPORT
 AP CHEST, 5:12 A.M., ___

 HISTORY:  Intubated.

 COMPARISON:  ___.

 The tube ends above the carina.  Moderate edema.

 IMPRESSION:  Edema.
"""


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        # A description without a heading: after another section, under the film's name, before all headings.
        (WET_READ, "The tube ends above the carina. Moderate edema.", "Edema."),
        (
            "PORTABLE CHEST RADIOGRAPH: The heart is large.\n\nIMPRESSION: Edema.",
            "The heart is large.",
            "Edema.",
        ),
        ("Lungs are low.\n\nHISTORY: Fever.\n\nIMPRESSION: Low.", "Lungs are low.", "Low."),
        ("HISTORY: Fever and cough.\nIMPRESSION: Normal.", "", "Normal."),
        ("CHEST RADIOGRAPH\n\nIMPRESSION: Normal.", "", "Normal."),
        ("LUNGS ARE CLEAR.", "LUNGS ARE CLEAR.", ""),
        # Misspelled, in brackets, in any case.
        ("FINDNGS: A b.\nIMPRESSON: C d.", "A b.", "C d."),
        ("Findings: A b.\nImpresion: C d.", "A b.", "C d."),
        ("PROVISIONAL FINDINGS IMPRESSION (PFI): C d.", "", "C d."),
        # Headings of the body's parts belong to their section.
        ("FINDINGS:\nLUNGS: Clear.\nHeart: Large.\nIMPRESSION: A.", "LUNGS: Clear. Heart: Large.", "A."),
        ("LINES AND TUBES: None.\nIMPRESSION: A.", "", "A."),
        # An addendum's own text is about the report, not the film.
        ("FINDINGS: A b.\n\nADDENDUM: Told to Dr. ___ later.", "A b.", ""),
    ],
)
def test_headings_as_reports_have_them(report, findings, impression):
    assert split_sections(report) == Sections(findings, impression)


@pytest.mark.parametrize(
    ("blanks", "findings"),
    [
        ("keep", "Told to Dr. ___ at ___. Tube from XXXX, unchanged. Clear."),
        ("remove", "Told. Tube, unchanged. Clear."),
        ("drop-sentence", "Clear."),
    ],
)
def test_blanks_by_choice(blanks, findings):
    report = "FINDINGS: Told to Dr. ___ at ___. Tube from XXXX, unchanged. Clear."
    sections, counts = prepare_report(report, TextPreparation(blanks=blanks))
    assert sections == Sections(findings, "")
    assert counts["blanks"] == 3
    assert counts["sentences_dropped_for_blanks"] == (2 if blanks == "drop-sentence" else 0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Chest x-XXXX. Normal.", "Chest. Normal."),
        ("Seen on [**2010-1-2**] by Dr. [**Last Name**].", "Seen."),
        ("___ year old. Clear.", "year old. Clear."),
        ("XXXX XXXX. Clear lungs.", "Clear lungs."),
        ("Nothing blank, at all.", "Nothing blank, at all."),
    ],
)
def test_remove_blanks(text, wanted):
    assert remove_blanks(text) == wanted


def test_counts_add_up():
    reports = [
        "Clear.",
        "IMPRESSION: The heart size is stable.",
        "FINDINGS: New effusion. ADDENDUM: x.",
        "FINDINGS: A.\nADDENDUM: x.",
    ]
    total = sum(
        (prepare_report(text, TextPreparation(remove_priors=True)).counts for text in reports), Counter()
    )
    assert total == {
        "reports": 4,
        "without_heading": 1,
        "without_findings": 1,
        "without_impression": 4,
        "with_addendum": 1,
        "prior_phrases_removed": 1,
        "prior_sentences_dropped": 1,
    }
    assert prepare_report("FINDINGS: New effusion.").sections.findings == "New effusion."


HEADINGS = """FINAL IMPRESSION|PRELIMINARY IMPRESSION|OVERALL IMPRESSION|DIAGNOSTIC IMPRESSION
CHEST IMPRESSION
RADIOLOGIST'S IMPRESSION|Radiologist’s Impression|IMPRESSION (PRELIMINARY)|IMPRESSION AND PLAN|IMPRESSION #1
IMPRESSION AND RECOMMENDATION|IMPRESSION AND RECOMMENDATION(S)|FINDINGS AND INTERPRETATION|KEY FINDINGS
FINDINGS (PA AND LATERAL)|FINDINGS CHEST|CONCLUSION/RECOMMENDATION|RESULT(S)|RESULTS|COMMENTS|OPINION|SUMMARY
ADDITIONAL FINDINGS|Other findings|ASSESSMENT/PLAN|CHEST X-RAY FINDINGS|PEDIATRIC RADIOLOGY IMPRESSION|LUNGS
IMPRESSION PER DR. ___|ATTENDING PHYSICIAN'S READ|IMPRESSION (FINAL), 5:30 PM|Final impression|**IMPRESSION
IMP|IMPRESSION -
PERTINENT NEGATIVES|MISCELLANEOUS|RADIOLOGY REPORT|FINAL ADDENDUM|FINAL IMPRESION|IMPRESSION ___|Impression(s)
FRONTAL CHEST RADIOGRAPH ___ AT 5:30 A.M.|PORTABLE CHEST, 12/03/2012 05:30 HOURS|TWO VIEWS OF THE CHEST
AP CHEST 5:30 A.M., ___|CHEST, PA AND LATERAL, ___ AT 17:45|X-RAY CHEST PA VIEW"""
BEFORE = (
    "",
    "FINDINGS: Heart is normal.\n\n",
    "FINDINGS: Heart is normal. ",
    "INDICATION: Cough.\n\n",
    "INDICATION: Cough. ",
    "HISTORY: Cough.\nCOMPARISON: None.\n",
    "TECHNIQUE: PA and lateral.<br>",
)


@pytest.mark.parametrize("heading", HEADINGS.replace("\n", "|").split("|"))
def test_nothing_is_lost_below_a_heading(heading):
    """Whatever the heading is called, and whatever stands before it, the sentence below is in a section."""
    for before in BEFORE:
        for space in (" ", "\n", "\n\n"):
            sections = split_sections(f"{before}{heading}:{space}Small left effusion.")
            assert sum("Small left effusion." in text for text in sections) == 1, (before, space)
            assert "Cough" not in " ".join(sections)


SENTENCES = ("The heart is enlarged.", "Small left effusion.", "No pneumothorax is seen.", "Ribs are intact.")


@pytest.mark.parametrize("seed", range(40))
def test_every_sentence_of_a_description_is_in_a_section(seed):
    """Reports of headings drawn at random: what describes the film is kept, once, and the rest is not."""
    draw = random.Random(seed)
    headings = HEADINGS.replace("\n", "|").split("|")
    others = (
        "INDICATION: Cough.",
        "Clinical history: Fever.",
        "COMPARISON: None.",
        "NOTIFICATION: Told at 5:15.",
    )
    blocks = [f"{draw.choice(headings)}:{draw.choice((' ', chr(10)))}{text}" for text in SENTENCES]
    blocks += draw.sample(others, 2)
    draw.shuffle(blocks)
    text = " ".join(split_sections(draw.choice(("\n", "\n\n", "\r\n", "<br/>")).join(blocks)))
    assert [text.count(sentence) for sentence in SENTENCES] == [1, 1, 1, 1], blocks
    assert not any(word in text for word in ("Cough", "Fever", "Told"))


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        # A description on the line below a section that is a line.
        ("COMPARISON: None.\nThe heart is large.\nIMPRESSION: A b.", "The heart is large.", "A b."),
        ("COMPARISON: Film of ___. There is a new effusion.", "There is a new effusion.", ""),
        ("COMPARISON: None. No prior films are available.\nFINDINGS: A b.", "A b.", ""),
        ("[FINDINGS] Effusion. [IMPRESSION] Small.", "Effusion.", "Small."),
        ("FINDINGS:Effusion.IMPRESSION:Small.", "Effusion.", "Small."),
        ("CLINICAL HISTORY/FINDINGS: Effusion.", "Effusion.", ""),
        ("HISTORY: Cough.\nFever since May.\nIMPRESSION: A b.", "", "A b."),
        ("INDICATION: Cough.\nHeart: Enlarged.\nLungs: Clear.", "Heart: Enlarged. Lungs: Clear.", ""),
        # In capitals throughout, and with the line breaks lost.
        (
            "PA CHEST. LARGE EFFUSION IS SEEN. IMPRESSION: EFFUSION.",
            "PA CHEST. LARGE EFFUSION IS SEEN.",
            "EFFUSION.",
        ),
        (
            "INDICATION: Cough. FINDINGS Large heart. IMPRESSION Small effusion.",
            "Large heart.",
            "Small effusion.",
        ),
        ("FINDINGS: No effusion FINAL IMPRESSION: Normal heart.", "No effusion", "Normal heart."),
        # What an addendum says of the film is kept, what it says of the report is not.
        ("IMPRESSION: A b.\nADDENDUM: There is an effusion. Told to Dr. X.", "There is an effusion.", "A b."),
        ("CLINICAL FINDINGS: Cough.\nFINDINGS: A b.", "A b.", ""),
        ("COMPARISION: Film of May.\nFINDINGS: A b.", "A b.", ""),
    ],
)
def test_descriptions_where_their_headings_are_not(report, findings, impression):
    assert split_sections(report) == Sections(findings, impression)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "X",
        "_",
        "[**",
        "on ",
        "Dr. ",
        " ",
        "\n",
        "a: ",
        "a - ",
        "___ ",
        "1. ",
        "not ",
        "since ",
        "stable ",
        "(",
    ],
)
def test_a_long_text_of_one_thing_ends(text):
    """Quadratic time would take many minutes."""
    text = text * (2 ** (18 if len(text) == 1 else 16) // len(text))
    for blanks in ("remove", "drop-sentence"):
        prepare_report(text, TextPreparation(blanks, remove_priors=blanks == "remove"))


def test_texts_with_blanks_are_warned_of(capsys):
    texts = ["Edema since ___.", "XXXX-year-old.", "Seen by [**Name**].", "No effusion.", "A XX lead.", ""]
    assert count_blanked(texts) == 3
    warn_of_blanks(texts, "prompts")
    said = capsys.readouterr().err
    assert "3 of 6 prompts carry de-identification blanks" in said
    assert "Edema" not in said
    warn_of_blanks(texts[3:], "prompts")
    assert not capsys.readouterr().err
