"""Label vocabularies of published data sets -> the 14 CheXpert findings.

A label has a finding where both mean one thing, or where CheXpert's own labeler files the words of it under
that finding (infiltrates under Lung Opacity, nodules and tumors under Lung Lesion, pacemakers under Support
Devices). What corresponds to none (emphysema, scoliosis, aortic enlargement) maps to nothing, and so does
every label that is not named here: `prepare_data.py` lists them with their counts.
"""

from collections.abc import Iterable, Mapping

from data_module.findings import POSITIVE

Codes = dict[str, float]  # finding -> certainty


def _invert(names: Mapping[str, str]) -> dict[str, Codes]:
    """Finding -> its labels, turned into label -> codes; a label may have two findings."""
    codes: dict[str, Codes] = {}
    for finding, labels in names.items():
        for label in labels.split(", "):
            codes.setdefault(label, {})[finding] = POSITIVE
    return codes


# Wang et al., CVPR 2017. Emphysema, fibrosis and hernia have no finding.
NIH = _invert(
    {
        "No Finding": "No Finding",
        "Cardiomegaly": "Cardiomegaly",
        "Lung Opacity": "Infiltration",
        "Lung Lesion": "Mass, Nodule",
        "Edema": "Edema",
        "Consolidation": "Consolidation",
        "Pneumonia": "Pneumonia",
        "Atelectasis": "Atelectasis",
        "Pneumothorax": "Pneumothorax",
        "Pleural Effusion": "Effusion",
        "Pleural Other": "Pleural_Thickening",
    }
)
# Nguyen et al., Scientific Data 2022: 22 local and 6 global labels. Without a finding: aortic enlargement,
# calcification, emphysema, enlarged PA, lung cyst, mediastinal shift, pulmonary fibrosis, other lesion, COPD,
# tuberculosis, other disease.
VINDR = _invert(
    {
        "No Finding": "No finding",
        "Cardiomegaly": "Cardiomegaly",
        "Lung Opacity": "Lung Opacity, Infiltration, ILD",
        "Lung Lesion": "Nodule/Mass, Lung tumor, Lung cavity",
        "Edema": "Edema",
        "Consolidation": "Consolidation",
        "Pneumonia": "Pneumonia",
        "Atelectasis": "Atelectasis",
        "Pneumothorax": "Pneumothorax",
        "Pleural Effusion": "Pleural effusion",
        "Pleural Other": "Pleural thickening",
        "Fracture": "Clavicle fracture, Rib fracture",
    }
)
# Bustos et al., Medical Image Analysis 2020: 174 findings and 19 diagnoses, of which these correspond.
PADCHEST = _invert(
    {
        "No Finding": "normal",
        "Enlarged Cardiomediastinum": "mediastinal enlargement, superior mediastinal enlargement, "
        "mediastinal mass",
        "Cardiomegaly": "cardiomegaly",
        "Lung Opacity": "infiltrates, alveolar pattern, interstitial pattern, ground glass pattern, "
        "reticular interstitial pattern, reticulonodular interstitial pattern, miliary opacities, "
        "increased density, kerley lines, air bronchogram",
        "Lung Lesion": "nodule, multiple nodules, mass, pulmonary mass, lung metastasis, cavitation, "
        "lepidic adenocarcinoma",
        "Edema": "pulmonary edema",
        "Consolidation": "consolidation, air bronchogram",
        "Pneumonia": "pneumonia, atypical pneumonia",
        "Atelectasis": "atelectasis, laminar atelectasis, lobar atelectasis, segmental atelectasis, "
        "total atelectasis, round atelectasis, atelectasis basal",
        "Pneumothorax": "pneumothorax, hydropneumothorax",
        "Pleural Effusion": "pleural effusion, loculated pleural effusion, loculated fissural effusion, "
        "hydropneumothorax, empyema",
        "Pleural Other": "pleural thickening, apical pleural thickening, calcified pleural thickening, "
        "pleural plaques, calcified pleural plaques, pleural mass",
        "Fracture": "fracture, rib fracture, callus rib fracture, clavicle fracture, humeral fracture, "
        "vertebral fracture",
        "Support Devices": "NSG tube, endotracheal tube, tracheostomy tube, chest drain tube, "
        "gastrostomy tube, "
        "nephrostomy tube, ventriculoperitoneal drain tube, catheter, central venous catheter, "
        "central venous catheter via jugular vein, central venous catheter via subclavian vein, "
        "central venous catheter via umbilical vein, reservoir central venous catheter, electrical device, "
        "pacemaker, dai, dual chamber device, single chamber device, artificial heart valve, "
        "artificial mitral heart valve, artificial aortic heart valve, osteosynthesis material, metal, "
        "prosthesis, humeral prosthesis, endoprosthesis, aortic endoprosthesis, double J stent",
    }
)


def complete(vocabulary: Mapping[str, Codes], labels: Iterable[str]) -> dict[str, Codes]:
    """The vocabulary, in which every other label of a table maps to nothing."""
    return {**{label: {} for label in labels}, **vocabulary}
