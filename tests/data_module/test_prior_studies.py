"""References to earlier studies leave a report; what the film itself shows stays."""

import pytest

from data_module.prior_studies import remove_prior_references
from data_module.sentences import split_sentences


@pytest.mark.parametrize(
    ("sentence", "wanted"),
    [
        # Lead-ins and trailing comparisons.
        ("As compared to the previous radiograph, there is a left PICC line.", "There is a left PICC line."),
        ("Compared to the prior examination dated ___, the lungs are low.", "The lungs are low."),
        ("In comparison with the study of ___, the heart is enlarged.", "The heart is enlarged."),
        ("Left lower lobe opacity, unchanged from ___.", "Left lower lobe opacity."),
        ("Lungs are hyperinflated, similar to prior.", "Lungs are hyperinflated."),
        # Predicates: the finding stays, a part of every body does not.
        ("Moderate cardiomegaly is unchanged.", "Moderate cardiomegaly."),
        ("The right effusion has decreased since the prior study.", "The right effusion."),
        ("The heart size is stable.", ""),
        ("These appear unchanged.", ""),
        ("The tube is in unchanged position.", "The tube."),
        ("The heart is stable with aortic calcification.", "The heart with aortic calcification."),
        ("The cardiomediastinal silhouette is unchanged.", ""),
        # Adjectives and adverbs.
        ("An unchanged left pleural effusion is seen.", "A left pleural effusion is seen."),
        ("A new opacity is seen.", "An opacity is seen."),
        ("There is no new consolidation.", "There is no consolidation."),
        ("Stable mild edema.", "Mild edema."),
        ("Old granulomatous disease is again noted.", "Old granulomatous disease is noted."),
        ("Persistent bibasilar atelectasis has worsened.", "Bibasilar atelectasis."),
        # Interval changes: what came is there, what went is not.
        ("Interval placement of a left PICC.", "A left PICC."),
        ("Interval increase in right pleural effusion.", "Right pleural effusion."),
        ("There has been interval worsening of pulmonary edema.", "Pulmonary edema."),
        ("Interval removal of the endotracheal tube.", ""),
        ("The pneumothorax has resolved.", ""),
        ("No significant interval change.", ""),
        ("Comparison is made to the prior study from ___.", ""),
        ("A nodule has developed in the interval.", "A nodule has developed."),
        # What a single film does show.
        ("Prior cholecystectomy with clips.", "Prior cholecystectomy with clips."),
        ("No degenerative change.", "No degenerative change."),
        ("No change calcified granuloma.", "No change calcified granuloma."),
        ("Increased interstitial markings bilaterally.", "Increased interstitial markings bilaterally."),
        ("Sternal wires from prior surgery.", "Sternal wires from prior surgery."),
        ("Newborn chest.", "Newborn chest."),
        ("The lungs are clear.", "The lungs are clear."),
    ],
)
def test_sentence(sentence, wanted):
    text, num_phrases, num_dropped = remove_prior_references(sentence)
    assert text == wanted
    assert (num_phrases > 0) == (wanted not in ("", sentence))
    assert num_dropped == (wanted == "")
    assert remove_prior_references(text) == (text, 0, 0)  # nothing is left to remove


def test_a_whole_section():
    text = "1. Unchanged small effusion. 2. No interval change. 3. New PICC line, told to Dr. Who."
    assert remove_prior_references(text) == ("1. Small effusion. 3. PICC line, told to Dr. Who.", 2, 1)
    assert remove_prior_references("") == ("", 0, 0)


def test_sentences():
    assert split_sentences("A 4.5 cm mass. 2. Told to Dr. ___ at 5. ") == [
        "A 4.5 cm mass.",
        "2. Told to Dr. ___ at 5.",
    ]
