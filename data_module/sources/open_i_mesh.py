"""Open-I's MeSH headings -> the 14 findings.

Two experts coded each report with headings of the form "Heading/qualifier/qualifier" (Demner-Fushman et al.,
JAMIA 2016). They name what is definitely there, so that the codes are positive or missing.
"""

from collections.abc import Sequence

from data_module.findings import POSITIVE

NO_INDEXING = "No Indexing"  # stands for all headings of a report that the experts did not code
_HEADINGS = {
    "Cardiomegaly": ("Cardiomegaly",),
    "Airspace Disease": ("Lung Opacity",),
    "Infiltrate": ("Lung Opacity",),
    "Lung Diseases, Interstitial": ("Lung Opacity",),
    "Pulmonary Edema": ("Edema",),
    "Pulmonary Congestion": ("Edema",),
    "Heart Failure": ("Edema",),
    "Consolidation": ("Consolidation",),
    "Pneumonia": ("Pneumonia",),
    "Pulmonary Atelectasis": ("Atelectasis",),
    "Pneumothorax": ("Pneumothorax",),
    "Pleural Effusion": ("Pleural Effusion",),
    "Hydropneumothorax": ("Pneumothorax", "Pleural Effusion"),
    "Hemopneumothorax": ("Pneumothorax", "Pleural Effusion"),
    "Hemothorax": ("Pleural Effusion",),
    "Fractures, Bone": ("Fracture",),
    "Cavitation": ("Lung Lesion",),
    "Pulmonary Fibrosis": ("Pleural Other",),  # as CheXpert's word lists have it
    "Catheters, Indwelling": ("Support Devices",),
    "Implanted Medical Device": ("Support Devices",),
    "Tube, Inserted": ("Support Devices",),
    "Medical Device": ("Support Devices",),
    "Spinal Fusion": ("Support Devices",),
    "Stents": ("Support Devices",),
}
# (heading, any of these qualifiers) -> findings
_QUALIFIED = (
    ("Cardiac Shadow", {"enlarged", "prominent", "borderline"}, ("Cardiomegaly",)),
    ("Heart Atria", {"enlarged"}, ("Cardiomegaly",)),
    ("Heart Ventricles", {"enlarged"}, ("Cardiomegaly",)),
    ("Mediastinum", {"prominent", "enlarged"}, ("Enlarged Cardiomediastinum",)),
    ("Opacity", {"round"}, ("Lung Opacity",)),
    ("Markings", {"interstitial"}, ("Lung Opacity",)),
    ("Thickening", {"interstitial", "bronchi", "bronchovascular"}, ("Lung Opacity",)),
    ("Thickening", {"pleura"}, ("Pleural Other",)),
    ("Calcinosis", {"pleura"}, ("Pleural Other",)),
    ("Nodule", {"pleura"}, ("Pleural Other",)),
    ("Pleura", {"abnormal"}, ("Pleural Other",)),
)
_BONES = "ribs, thoracic vertebrae, lumbar vertebrae, cervical vertebrae, spine, clavicle, humerus"
_SOFT_PARTS = "abdomen, breast, sternum, shoulder, neck, scapula, thorax, mediastinum, pleura, heart"
_OUTSIDE_LUNG = {
    *_BONES.split(", "),
    *_SOFT_PARTS.split(", "),
    *("aorta", "diaphragm", "trachea", "costophrenic angle"),
}
_SIZES = "small, round, multiple, scattered, mild, bilateral, large, prominent, irregular, chronic, focal"
_DESCRIPTIONS = set(_SIZES.split(", "))
_CALCIFIED = {"Calcinosis", "Calcified Granuloma", "Granuloma", "Granulomatous Disease"}
# Beside these a chest is still one without findings.
_NEUTRAL = {
    *(heading for heading, findings in _HEADINGS.items() if findings == ("Support Devices",)),
    *("Surgical Instruments", "Sutures", "Breast Implants", "Contrast Media"),
    *("normal", "Technical Quality of Image Unsatisfactory"),
}


def map_headings(headings: Sequence[str]) -> dict[str, float]:
    """Positive findings of one report's headings; {} where the experts did not index it."""
    if not headings or any(NO_INDEXING in heading for heading in headings):
        return {}
    parts = [(name, set(qualifiers)) for name, *qualifiers in (text.split("/") for text in headings)]
    calcified = [qualifiers - _DESCRIPTIONS for name, qualifiers in parts if name in _CALCIFIED]
    findings: set[str] = set()
    for name, qualifiers in parts:
        found = _map_heading(name, qualifiers)
        same_place = any(place and place >= qualifiers - _DESCRIPTIONS for place in calcified)
        if name in ("Nodule", "Density", "Opacity") and same_place:
            found.discard("Lung Lesion")  # a calcified nodule is a granuloma, no lesion of CheXpert's
        findings |= found
    if all(name in _NEUTRAL for name, _ in parts):
        findings.add("No Finding")
    return dict.fromkeys(sorted(findings), POSITIVE)


def _map_heading(name: str, qualifiers: set[str]) -> set[str]:
    findings = set(_HEADINGS.get(name, ()))
    for heading, needed, added in _QUALIFIED:
        if name == heading and qualifiers & needed:
            findings.update(added)
    lesion_or_opacity = "Lung Lesion" if "round" in qualifiers else "Lung Opacity"
    if name == "Opacity" and not qualifiers & _OUTSIDE_LUNG:
        findings.add(lesion_or_opacity)
    if name == "Density" and "lung" in qualifiers:
        findings.add(lesion_or_opacity)
    if name == "Cicatrix":
        findings.add("Pleural Other" if "pleura" in qualifiers else "Lung Opacity")
    if name in ("Nodule", "Mass") and not qualifiers & (_OUTSIDE_LUNG - {"thorax"}):
        findings.add("Lung Lesion")
    return findings
