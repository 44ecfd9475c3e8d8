"""The sentences of demo reports. Own wording throughout.

Notation: `[a|b]` is a choice of words (an empty one is allowed), `{slot}` is a fact of the sign:
{side}, {severity}, {kind}, {size}; {sided} "right-sided", "bilateral"; {zone} "right lower lobe", "both lower lobes"; {zonal} the same before a noun,
"bilateral lower lobe"; {a} an article where singular; {s} plural ending; {is} verb; {lung} "right lung".
A sentence may name no other finding than its own (LINKED names the exception), or labels would be wrong.
"""

# ruff: noqa: E501 (a sentence stays on its line)

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

_CHOICE = re.compile(r"\[([^\[\]]*)\]")

Sentences = Mapping[str, Sequence[str]]

PRESENT: Sentences = {
    "Enlarged Cardiomediastinum": (
        "The mediastinum is [{severity}ly |]widened.",
        "There is {severity} [widening|enlargement|prominence] of the [superior |upper |]mediastinum.",
        "[The upper|The superior] mediastinum [is|appears] [{severity}ly widened|abnormally widened].",
        "[{Severity}|There is {severity}] mediastinal [widening|enlargement].",
    ),
    "Cardiomegaly": (
        "The heart is {severity}ly enlarged.",
        "The [cardiac silhouette|heart] [is|appears] {severity}ly enlarged.",
        "There is {severity} cardiomegaly.",
        "{Severity} [cardiomegaly|enlargement of the heart|cardiac enlargement|enlargement of the cardiac silhouette][ is present| is noted|].",
        "[Heart size|The cardiac silhouette] is {severity}ly [increased|enlarged].",
    ),
    "Lung Opacity": (
        "[Hazy|Ill-defined hazy|Vague hazy] opacity [is seen|is present|is noted|projects] [in|over] the {zone}.",
        "There is [a |]hazy [|ground-glass ]opacity in the {zone}.",
        "[Ground-glass|Faint homogeneous|Hazy] opacification of the {zone}.",
        "A [hazy|veil-like|cloudy] area of [increased opacity|opacification] overlies the {zone}.",
    ),
    "Lung Lesion": (
        "There is a [round|well-defined|well-circumscribed] {size} cm {kind} in the {zone}.",
        "A [|solitary ]{size} cm {zonal} {kind} is [seen|present|noted|identified].",
        "[Round|Well-defined|Solitary] {kind} in the {zone} [measures|measuring] {size} cm.",
        "The {zone} [contains|harbors] a {kind} [of about|measuring approximately] {size} cm.",
    ),
    "Edema": (
        "There is {severity} [pulmonary edema|interstitial and alveolar edema|pulmonary vascular congestion].",
        "[Perihilar vessels are indistinct|Upper lobe vessels are engorged], [in keeping with|consistent with|compatible with] {severity} [pulmonary |]edema.",
        "{Severity} [bilateral perihilar |bat-wing |central |]pulmonary edema[ is present| is seen|] with Kerley B lines.",
        "[Cephalization of vessels|Vascular redistribution] and Kerley B lines [indicate|reflect] {severity} [pulmonary |]edema.",
    ),
    "Consolidation": (
        "There is [dense|lobar|confluent] consolidation [of|in] the {zone} with air bronchograms.",
        "[Dense|Homogeneous|Lobar] {zonal} consolidation [is present|is seen|is noted].",
        "The {zone} is consolidated[, with air bronchograms|].",
        "[Air bronchograms run through|Air bronchograms are seen within] a {zonal} consolidation.",
    ),
    "Pneumonia": (
        "[Patchy|Multiple patchy|Clustered patchy] [airspace |]opacities in the {zone} [are consistent with|are compatible with|represent|indicate] pneumonia.",
        "There [are|are new] [patchy|fluffy|blotchy] [airspace |]opacities in the {zone}, [consistent with|in keeping with|due to] [broncho|]pneumonia.",
        "[Patchy|Fluffy] {zonal} opacities [reflect|are those of] [pneumonia|bronchopneumonia].",
        "[Patchy infiltrates|Scattered fluffy infiltrates] in the {zone} [are in keeping with|indicate] pneumonia.",
    ),
    "Atelectasis": (
        "[There is|There is {severity}] [linear|plate-like|discoid|subsegmental] atelectasis at the {base}.",
        "{Severity} [bandlike|linear|subsegmental|discoid] atelectasis [at|in] the {base}.",
        "[Bands|Linear bands|Streaks] of {severity} atelectasis cross the {base}, with an elevated hemidiaphragm.",
        "{Severity} [plate-like|discoid|] atelectasis [is seen|is present|is noted] at the {base}.",
    ),
    "Pneumothorax": (
        "There is a {severity} [{side}|{sided}] pneumothorax.",
        "A {severity} {side} [|apical ]pneumothorax is [seen|present|noted|identified].",
        "{Severity} {side} pneumothorax [with a visible visceral pleural line|without lung markings beyond the pleural line|].",
        "A [thin|sharp] pleural line [outlines|marks] a {severity} {side} pneumothorax.",
        "There is a {severity} pneumothorax on the {side}[ with partial retraction of the lung|].",
    ),
    "Pleural Effusion": (
        "There {is} {a}{severity} [{side}|{sided}] pleural effusion{s}.",
        "{Severity} {side} pleural effusion{s} [{is} present|{is} seen|{is} noted|].",
        "{A}{severity} {side} [pleural |]effusion{s} [blunt{v}|obscure{v}] the costophrenic angle{s}.",
        "[Layering|Meniscus-forming] fluid at the {bases} [indicates|represents|reflects] {a}{severity} [pleural |]effusion{s}.",
    ),
    "Pleural Other:thickening": (
        "There is [{side}|{sided}] pleural thickening.",
        "[Smooth|Irregular|Chronic] {side} [lateral |apical |]pleural thickening [is seen|is present|is noted].",
        "[Thickened pleura|Pleural thickening] [follows|runs along] the {side} [lateral chest wall|chest wall and apex].",
        "{Side} apical cap[ and lateral pleural thickening| with pleural thickening].",
    ),
    "Pleural Other:plaques": (
        "[Calcified|Dense calcified] {side} pleural plaques [are seen|are present|are noted].",
        "There are {side} [calcified |]pleural plaques[ along the chest wall and diaphragm|].",
        "{Side} pleural plaques [with calcification |]are [noted|present|seen].",
        "[Calcified|Partly calcified] pleural plaques on the {side}[ along the chest wall|].",
    ),
    "Fracture:ribs": (
        "There are [displaced|acute displaced|acute] {side} [lateral |]rib fractures.",
        "[Displaced|Acute] fractures of [several|multiple] {side} [lateral |]ribs [are seen|are present|].",
        "[Several|Multiple|A few] {side} ribs [are fractured|are fractured and displaced].",
        "{Side} [lateral |]rib fractures [with displacement |]are [noted|identified|seen].",
    ),
    "Fracture:clavicle": (
        "There is a [displaced|comminuted] [fracture of the {side} clavicle|{side} clavicle fracture].",
        "[Displaced|Midshaft|Displaced midshaft] {side} clavicular fracture[ is seen| is noted|].",
        "The {side} clavicle is fractured[ in its middle third| with overlapping ends|].",
    ),
}

# What the name of a device is in a sentence of its own; the film shows it at that place.
DEVICE: Sentences = {
    "endotracheal tube": (
        "[An endotracheal tube|The endotracheal tube] [ends|terminates] [above the carina|in the mid trachea|{size} cm above the carina].",
        "[Endotracheal tube|ET tube] tip is [above the carina|{size} cm above the carina].",
    ),
    "enteric tube": (
        "[An enteric tube|A nasogastric tube|The feeding tube] [courses below the diaphragm|passes into the stomach|ends in the stomach].",
        "[Nasogastric|Enteric] tube tip [lies|projects] [over|in] the stomach.",
    ),
    "central line": (
        "[A|The] {side} [internal jugular|jugular] [central venous |]catheter [ends|terminates] in the [lower |]superior vena cava.",
        "{Side} [internal jugular|] central venous line with tip in the [lower |]superior vena cava.",
    ),
    "picc": (
        "[A|The] {side} PICC [ends|terminates] in the [lower |]superior vena cava.",
        "{Side}[-sided|] PICC line with tip [in the superior vena cava|at the cavoatrial junction].",
    ),
    "chest tube": (
        "[A|The] {side} chest tube [is in place|points to the apex|has its tip at the apex].",
        "{Side} [pleural drain|chest tube|thoracostomy tube] [in place|with its tip at the apex].",
    ),
    "pacemaker": (
        "[A|The] {side} [chest wall |pectoral |]pacemaker has leads [in|over] the right ventricle[ and right atrium|].",
        "{Side}[-sided|] [dual-chamber |]pacemaker [with two leads|leads are] in place.",
        "Pacemaker generator over the {side} chest[, with leads in place|].",
    ),
    "valve": (
        "[Median sternotomy wires|Sternotomy wires] and a [prosthetic|mechanical] [aortic |heart ]valve are [noted|present|in place].",
        "[A prosthetic|An artificial] heart valve is [seen|noted], with [midline |]sternotomy wires.",
    ),
}

UNSURE: Sentences = {
    "Enlarged Cardiomediastinum": (
        "[Possible|Questionable] [mediastinal widening|widening of the mediastinum].",
        "Mediastinal widening [cannot be excluded|is possible].",
    ),
    "Cardiomegaly": (
        "[Possible|Probable|Questionable] [mild |]cardiomegaly.",
        "[Mild cardiomegaly|Cardiac enlargement] [is possible|cannot be excluded].",
    ),
    "Lung Opacity": (
        "[Possible|Questionable] [faint |subtle |][hazy |]opacity in the {zone}.",
        "A [faint|subtle] opacity in the {zone} [cannot be excluded|is possible].",
    ),
    "Lung Lesion": (
        "[Possible|Questionable] {kind} in the {zone}.",
        "A [faint |small |]{kind} in the {zone} [cannot be excluded|is suspected|is possible].",
    ),
    "Edema": (
        "[Possible|Probable|Questionable] [mild|early|minimal] [pulmonary |interstitial |]edema.",
        "[Mild|Early] [pulmonary |]edema [cannot be excluded|is possible|is suspected].",
        "[There may be|There could be] [mild|minimal] pulmonary vascular congestion.",
    ),
    "Consolidation": (
        "[Possible|Questionable|Probable] [early |developing |]consolidation in the {zone}.",
        "[Early|Developing] consolidation in the {zone} [cannot be excluded|is possible].",
    ),
    "Pneumonia": (
        "[Possible|Questionable|Suspected] [early |developing |]pneumonia in the {zone}.",
        "[Early|Developing|Subtle] {zonal} pneumonia [cannot be excluded|is possible|is suspected].",
        "[Findings may represent|Appearances could represent] [early |]{zonal} pneumonia.",
    ),
    "Atelectasis": (
        "[Possible|Probable|Questionable] [mild |minor |]atelectasis at the {base}.",
        "[Mild|Minor|Minimal] atelectasis at the {base} [is possible|is suspected|cannot be excluded].",
        "[There may be|There is probably] [some |mild |]atelectasis at the {base}.",
    ),
    "Pneumothorax": (
        "[Possible|Questionable] [tiny|small] {side} [apical |]pneumothorax.",
        "A [tiny|small] {side} pneumothorax [cannot be excluded|is possible].",
    ),
    "Pleural Effusion": (
        "[Possible|Probable|Questionable] [small|trace|tiny] {side} pleural effusion{s}.",
        "{A}[small|trace] {side} [pleural |]effusion{s} [cannot be excluded|may be present|{is} possible].",
    ),
    "Pleural Other:thickening": (
        "[Possible|Questionable] [mild |]{side} pleural thickening.",
        "[Mild|Minimal] {side} pleural thickening [is possible|cannot be excluded].",
    ),
    "Pleural Other:plaques": (
        "[Possible|Questionable] {side} pleural plaques.",
        "{Side} pleural plaques [are possible|cannot be excluded].",
    ),
    "Fracture:ribs": (
        "[Possible|Questionable] {side} rib fracture.",
        "A [nondisplaced |subtle |]{side} rib fracture [cannot be excluded|is possible].",
    ),
    "Fracture:clavicle": (
        "[Possible|Questionable] {side} clavicle fracture.",
        "A [subtle |]{side} clavicle fracture [cannot be excluded|is possible].",
    ),
}

# Names within a list of what is absent ("No A, B, or C.").
ABSENT_NAME: Sentences = {
    "Consolidation": ("[focal |lobar |]consolidation",),
    "Pleural Effusion": ("[pleural |]effusion",),
    "Pneumothorax": ("pneumothorax",),
    "Edema": ("[pulmonary |]edema", "[pulmonary vascular|vascular] congestion"),
    "Pneumonia": ("[focal |]pneumonia",),
    "Lung Opacity": ("[focal |airspace |]opacity", "infiltrate"),
    "Lung Lesion": ("[suspicious |pulmonary |]nodule", "[lung |]mass"),
    "Atelectasis": ("atelectasis",),
    "Pleural Other": ("pleural thickening", "pleural plaque"),
    "Fracture": ("[acute |displaced |]rib fracture", "[acute |]fracture"),
}
ABSENT_LIST = (
    "[No|There is no|No evidence of|There is no evidence of] {names}.",
    "[Negative for|Without evidence of] {names}.",
    "No {names} [is seen|is identified|is present].",
)
ABSENT: Sentences = {
    "Cardiomegaly": (
        "[Heart size|The heart size|Cardiac size] is [normal|within normal limits].",
        "The heart is [normal in size|not enlarged|of normal size].",
        "[The cardiac silhouette|The cardiac contour] is [normal|unremarkable|not enlarged].",
        "No cardiomegaly.",
    ),
    "Enlarged Cardiomediastinum": (
        "[The mediastinum|The upper mediastinum] is [normal|unremarkable|not widened|of normal width].",
        "[Mediastinal|The mediastinal] contours are [normal|unremarkable|within normal limits].",
        "No mediastinal widening.",
    ),
    "both": (
        "[The cardiomediastinal silhouette|Cardiomediastinal silhouette] is [normal|unremarkable|within normal limits].",
        "[Cardiac and mediastinal|The cardiac and mediastinal] contours are [normal|unremarkable|within normal limits].",
        "[Heart size and mediastinal contours|The heart and mediastinal contours] are [normal|unremarkable|within normal limits].",
    ),
    "Lung Opacity": (
        "[The lungs|Both lungs|Lungs] are [clear|clear bilaterally].",
        "[No|There is no] [focal |airspace |]opacity.",
        "The lungs are [well expanded and clear|well aerated and clear].",
    ),
    "Fracture": (
        "[The osseous structures|Osseous structures|The bony structures] are [unremarkable|intact].",
        "[The visualized bones|The ribs] are intact.",
    ),
    "Pleural Effusion": (
        "[Costophrenic angles|The costophrenic angles] are [sharp|clear].",
        "[The pleural spaces|Pleural spaces] are clear.",
    ),
    "Pneumothorax": ("[No|There is no] pneumothorax [on either side|].",),
}

NEUTRAL: Sequence[str] = (
    "The trachea is midline.",
    "[The hila|Hilar contours] are [normal|unremarkable].",
    "The aortic [contour|knob] is [normal|unremarkable].",
    "[The upper abdomen|Visualized upper abdomen] is unremarkable.",
    "[The soft tissues|Soft tissues] are unremarkable.",
)
VIEW: Sentences = {
    "PA": (
        "[PA|Frontal PA|Upright PA] [view|radiograph|film] of the chest.",
        "A [single |]PA view [was obtained|is provided].",
    ),
    "AP": (
        "[AP|Portable AP|Single portable AP|Supine AP] [view|radiograph|film] of the chest.",
        "A [portable |single ]AP view [was obtained|is provided].",
    ),
}

NORMAL_IMPRESSION: Sequence[str] = (
    "No acute cardiopulmonary [abnormality|process|disease|findings].",
    "No [acute|active] disease[ in the chest|].",
    "Normal chest radiograph.",
    "No radiographic evidence of acute cardiopulmonary [disease|process|abnormality].",
    "[Unremarkable|Normal] chest[ radiograph| film|].",
)
SHORT: Sentences = {
    "Enlarged Cardiomediastinum": ("{Severity} [mediastinal widening|widening of the mediastinum].",),
    "Cardiomegaly": (
        "{Severity} cardiomegaly.",
        "[{Severity}ly enlarged heart|{Severity} cardiac enlargement].",
    ),
    "Lung Opacity": ("[Hazy|Ground-glass|Nonspecific] {zonal} opacity.",),
    "Lung Lesion": (
        "{Zonal} {kind}[, for which CT is advised|; CT recommended|].",
        "{size} cm {zonal} {kind}.",
    ),
    "Edema": ("{Severity} pulmonary edema.", "{Severity} [pulmonary |]edema[, likely cardiogenic|]."),
    "Consolidation": ("{Zonal} consolidation.", "Consolidation of the {zone}."),
    "Pneumonia": ("{Zonal} pneumonia.", "Pneumonia in the {zone}."),
    "Atelectasis": ("{Basal} atelectasis.", "Atelectasis at the {base}."),
    "Pneumothorax": ("{Severity} [{side}|{sided}] pneumothorax.",),
    "Pleural Effusion": ("{Severity} [{side}|{sided}] pleural effusion{s}.",),
    "Pleural Other:thickening": ("[{Side}|{Sided}] pleural thickening.",),
    "Pleural Other:plaques": ("{Side} pleural plaques.",),
    "Fracture:ribs": ("{Side} rib fractures.", "[Acute|Displaced] {side} rib fractures."),
    "Fracture:clavicle": ("{Side} clavicle fracture.",),
    "Support Devices": ("[Lines and tubes|Support devices] as described.", "Support devices as above."),
}
SHORT_UNSURE: Sentences = {
    "Enlarged Cardiomediastinum": ("Possible mediastinal widening.",),
    "Cardiomegaly": ("[Possible|Questionable] cardiomegaly.",),
    "Lung Opacity": ("[Possible|Questionable] {zonal} opacity.",),
    "Lung Lesion": ("[Possible|Suspected] {zonal} {kind}[; CT recommended|].",),
    "Edema": ("[Possible|Probable] [mild |]edema.",),
    "Consolidation": ("[Possible|Questionable] {zonal} consolidation.",),
    "Pneumonia": ("[Possible|Suspected] {zonal} pneumonia.",),
    "Atelectasis": ("[Possible|Probable] {basal} atelectasis.",),
    "Pneumothorax": ("[Possible|Questionable] {side} pneumothorax.",),
    "Pleural Effusion": ("[Possible|Probable] {side} pleural effusion{s}.",),
    "Pleural Other:thickening": ("Possible {side} pleural thickening.",),
    "Pleural Other:plaques": ("Possible {side} pleural plaques.",),
    "Fracture:ribs": ("Possible {side} rib fracture.",),
    "Fracture:clavicle": ("Possible {side} clavicle fracture.",),
}


def expand(template: str) -> Iterator[str]:
    """Every choice of words of a template; slots stay."""
    parts = _CHOICE.split(template)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    for words in itertools.product(*choices):
        yield _tidy("".join(words))


def choose(templates: Sequence[str], rng: np.random.Generator) -> str:
    """One template, one choice of its words; slots stay."""
    template = templates[int(rng.integers(len(templates)))]

    def pick(match: re.Match) -> str:
        words = match[1].split("|")
        return words[int(rng.integers(len(words)))]

    return _tidy(_CHOICE.sub(pick, template))


def _tidy(text: str) -> str:
    return re.sub(r"\s+([.,;])", r"\1", re.sub(r"  +", " ", text)).strip()


def sentence_forms() -> set[str]:
    """All distinct sentence forms, slots unfilled (so sides and severities do not count)."""
    tables = (PRESENT, DEVICE, UNSURE, ABSENT, VIEW, SHORT, SHORT_UNSURE)
    templates = [t for table in tables for group in table.values() for t in group]
    return {form for t in (*templates, *NEUTRAL, *NORMAL_IMPRESSION, *ABSENT_LIST) for form in expand(t)}
