"""References to earlier studies leave a report; what the film itself shows stays."""

import numpy as np
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
        # "No change in X": X is there.
        ("No change in the moderate left effusion.", "Moderate left effusion."),
        ("No interval change in the right pneumothorax.", "Right pneumothorax."),
        ("There is no significant change in cardiomegaly or edema.", "Cardiomegaly and edema."),
        ("Little change in the degree of pulmonary edema.", "Pulmonary edema."),
        ("No interval increase in the left effusion.", "Left effusion."),
        ("No resolution of the right effusion.", "Right effusion."),
        ("No change from prior, moderate left effusion persists.", "Moderate left effusion persists."),
        ("No change in the heart size.", ""),
        ("No change except for a new effusion.", "An effusion."),
        ("Apart from a new effusion, no change.", "An effusion."),
        ("Except for removal of the tube, no change.", ""),
        ("No change compared with 2 days ago.", ""),
        ("Small effusion without interval increase.", "Small effusion."),
        # One clause is about the past, the other about today.
        ("Effusion on ___ has resolved, and there is a new pneumothorax.", "There is a pneumothorax."),
        ("The left effusion has resolved but the right one persists.", "The right one persists."),
        ("Effusion has resolved, no pneumothorax.", "No pneumothorax."),
        ("Effusion, edema, and consolidation have resolved.", ""),
        ("The chest tube has been removed without a pneumothorax.", "No pneumothorax."),
        ("The tube has been removed and replaced by a PICC.", "A PICC."),
        ("Interval removal of the chest tube with new effusion.", "Effusion."),
        ("Interval removal of left and right chest tubes.", ""),
        ("The pneumothorax has nearly resolved.", "The pneumothorax has nearly resolved."),
        ("The effusion is no longer seen.", "The effusion is not seen."),
        # What follows the comparison without a comma.
        ("Since the prior study there is a new left effusion.", "There is a left effusion."),
        ("Compared to the prior exam from ___ there is edema.", "There is edema."),
        ("Comparison is made to the prior study and there is edema.", "There is edema."),
        (
            "Pacemaker, unchanged from the comparison exam with fractured lead.",
            "Pacemaker, with fractured lead.",
        ),
        ("No prior studies available for comparison.", ""),
        ("No prior rib fracture is seen.", "No prior rib fracture is seen."),
        ("New consolidation, not seen previously.", "Consolidation."),
        ("No new or increasing effusion.", "No effusion."),
        # What a single film does show.
        ("Pulmonary vascularity is increased.", "Pulmonary vascularity is increased."),
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


FINDINGS_TODAY = (
    "moderate left pleural effusion",
    "pulmonary edema",
    "cardiomegaly",
    "bibasilar atelectasis",
)
COMPARED = (
    "No change in the {}.",
    "There has been no interval change in the appearance of the {}.",
    "As compared to the previous radiograph, no relevant change in the {}.",
    "No interval decrease in the {}.",
    "{} is unchanged since the prior study from ___.",
    "{} has increased.",
    "Interval worsening of the {}.",
    "In comparison with the study of ___ there is a {}.",
    "There is no new {}.",
    "No {}, unchanged.",
    "{}, similar to prior.",
    "No change in position of the {}.",
    "From ___ to ___, there is a new {}.",
    "Possible {}, unchanged.",
    "{} cannot be excluded, similar to the prior study.",
)


def test_labels_are_the_same_before_and_after():
    """No sentence here is about the past alone."""
    from data_module.labeler import label_reports

    sentences = [text.format(name).capitalize() for text in COMPARED for name in FINDINGS_TODAY]
    cleaned = [remove_prior_references(sentence)[0] for sentence in sentences]
    np.testing.assert_array_equal(label_reports(sentences), label_reports(cleaned))
    assert all(before != after for before, after in zip(sentences, cleaned, strict=True))
