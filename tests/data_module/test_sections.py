from collections import Counter

import pytest

from data_module.sections import (
    Sections,
    TextPreparation,
    join_sections,
    prepare_report,
    remove_blanks,
    split_sections,
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
        # Misspelt, in brackets, in any case.
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
