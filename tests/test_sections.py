import pytest

from data_module.sections import Sections, join_sections, split_sections

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
