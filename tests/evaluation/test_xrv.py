"""torchxrayvision's DenseNet-121 through FilmClassifier, from local files and with findings by name."""

import pickle

import numpy as np
import pytest
import torch
from helpers.float64 import in_float64
from torchxrayvision.models import DenseNet, model_urls

from data_module.findings import FINDINGS
from evaluation.networks.classifier import FilmClassifier

SCORED = {
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Fracture",
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DenseNet(num_classes=18).eval()


@pytest.mark.parametrize("whole", [True, False])
def test_weights_files_are_read_and_findings_matched_by_name(network, whole, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(network if whole else network.state_dict(), path)
    classifier = FilmClassifier.open(f"torchxrayvision:{path}")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, 224, 224, generator=generator, dtype=torch.float64) * 2 - 1
    with in_float64():
        probabilities = classifier.predict(images)
    known = ~probabilities.isnan().any(dim=0)
    scored = {name for name, column in zip(FINDINGS, known, strict=True) if column}
    assert scored == SCORED
    assert classifier.features(images).shape == (2, 1024)
    if whole:
        settings = model_urls["densenet121-res224-all"]
        place = settings["labels"].index("Effusion")
        limit = settings["op_threshs"][place]
        with torch.no_grad(), in_float64():
            p = network(images * 1024)[:, place].sigmoid().numpy()
        # XRV's operating point comes to lie at 0.5.
        expected = np.where(p < limit, p / (2 * limit), 1 - (1 - p) / (2 * (1 - limit)))
        found = probabilities[:, FINDINGS.index("Pleural Effusion")].numpy()
        assert np.allclose(found, expected, atol=1e-5)


def test_absent_or_foreign_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # xrv's cache lies under it
    with pytest.raises(ValueError, match="no weights at"):
        FilmClassifier.open("torchxrayvision:densenet121-res224-all")
    with pytest.raises(ValueError, match="neither a file nor one of"):
        FilmClassifier.open("torchxrayvision:densenet999")
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(print))  # a pickle that names a callable must not be run
    with pytest.raises(ValueError, match="cannot be read"):
        FilmClassifier.open(f"torchxrayvision:{path}")
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="does not hold"):
        FilmClassifier.open(f"torchxrayvision:{path}")
