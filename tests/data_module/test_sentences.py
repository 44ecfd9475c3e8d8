"""Plain characters and the ends of sentences: abbreviations, list numbers, lines that wrap or do not."""

import pytest

from data_module.sentences import plain_characters, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("  \n ", []),
        ("Heart is normal. Lungs are clear.", ["Heart is normal.", "Lungs are clear."]),
        ("heart is normal. lungs are clear.", ["heart is normal.", "lungs are clear."]),
        ("A 4.5 cm mass.  No effusion!", ["A 4.5 cm mass.", "No effusion!"]),
        (
            "Seen by Dr. J. Smith at 5 a.m. on Monday. Clear.",
            ["Seen by Dr. J. Smith at 5 a.m. on Monday.", "Clear."],
        ),
        ("Edema vs. pneumonia, approx. 3 cm.", ["Edema vs. pneumonia, approx. 3 cm."]),
        ("1. No edema. 2. Clear.", ["1. No edema.", "2. Clear."]),
        ("1. No edema 2. Clear lungs 3. No mass", ["1. No edema", "2. Clear lungs", "3. No mass"]),
        ("Fracture of rib 5. No effusion.", ["Fracture of rib 5.", "No effusion."]),
        ("No. 14 French tube. Edema: no. 2. Clear.", ["No. 14 French tube.", "Edema: no.", "2. Clear."]),
        ("No effusion.Small nodule.", ["No effusion.", "Small nodule."]),
        ('He said "clear." (No change.) Done', ['He said "clear."', "(No change.)", "Done"]),
        ("No effusion; heart: normal.", ["No effusion; heart: normal."]),
        ("No pneumothorax\nSmall effusion", ["No pneumothorax", "Small effusion"]),
        ("no pneumothorax\nsmall effusion", ["no pneumothorax", "small effusion"]),
        ("No pneumothorax or\nSmall effusion", ["No pneumothorax or Small effusion"]),
        ("No consolidation, pleural\neffusion or edema.", ["No consolidation, pleural effusion or edema."]),
        ("No edema\n\nclear", ["No edema", "clear"]),
        ("- No edema\n- mass", ["- No edema", "- mass"]),
        ("Heart:\tnormal\tLungs:\tclear", ["Heart: normal", "Lungs: clear"]),
        ("Edema: no\tMass: no", ["Edema: no", "Mass: no"]),
        ("No edema | mass", ["No edema", "mass"]),
        ("No edema    Mass", ["No edema", "Mass"]),
    ],
)
def test_split_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_every_word_stays():
    text = "1. No edema 2. Clear lungs\nET tube (5 cm).\tMass? Dr. X. agrees | \u2022 done"
    joined = " ".join(split_sentences(text))
    assert joined.split() == text.replace("|", " ").replace("\u2022", " ").split()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Non\u2010displaced, left\u2011sided \u2212 5", "Non-displaced, left-sided - 5"),
        ("no\u00a0edema\u2009now", "no edema now"),
        ("pneumo\u00adthorax\u200b", "pneumothorax"),
        ("don\u2019t", "don't"),
        ("\ufb01brosis", "fibrosis"),
        ("clear<br>Mass<br/>x<P class='a'>y", "clear\n\nMass\n\nx\n\ny"),
        ("10<sup>2</sup> &amp; 3 &lt; 5&nbsp;cm", "102 & 3 < 5 cm"),
        ("5 < 6 and 7 > 2", "5 < 6 and 7 > 2"),
        ("a\r\nb\rc", "a\nb\nc"),
    ],
)
def test_plain_characters(text, plain):
    assert plain_characters(text) == plain
