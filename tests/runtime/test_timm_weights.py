"""timm:NAME:FILE: weights by name or by order, everywhere it may stand; wrong files are named."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from transformers import AutoModelForImageClassification

from data_module.findings import FINDINGS
from data_module.images import to_images
from evaluation.networks.classifier import FilmClassifier
from evaluation.networks.extractors import open_extractor
from runtime.timm_weights import open_timm
from vision_module.classifier import adapt_timm, masked_bce, save_classifier
from vision_module.perceptual import load_perceptual, open_features

NAME = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = timm.create_model(NAME, pretrained=False).eval()
    for module in network.modules():  # batch norms that are not the identity
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return network


@pytest.fixture(scope="module")
def source(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(network.state_dict(), path)
    return f"timm:{NAME}:{path}"


@pytest.fixture(scope="module")
def films():
    return to_images(np.random.default_rng(0).integers(256, size=(3, 64, 64), dtype=np.uint8))


def test_weights_by_name_and_by_order(network, source, films, tmp_path):
    color = films.expand(-1, 3, -1, -1)
    expected = network(color)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    renamed = {f"backbone._{name}": value for name, value in network.state_dict().items()}
    torch.save(renamed, tmp_path / "renamed.pth")
    for found in (
        source,
        f"timm:{NAME}:{tmp_path / 'a.safetensors'}",
        f"timm:{NAME}:{tmp_path / 'renamed.pth'}",
    ):
        opened = open_timm(found, "--flag")
        assert torch.equal(opened(color), expected)
        assert not any(weight.requires_grad for weight in opened.parameters())


def test_wrong_sources_are_named(source, tmp_path):
    path = source.split(":", 2)[2]
    other = tmp_path / "other.pth"
    torch.save(timm.create_model("tf_efficientnet_lite1", pretrained=False).state_dict(), other)
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pth")
    shuffled = dict(reversed(torch.load(path, weights_only=True).items()))
    torch.save({f"_{name}": value for name, value in shuffled.items()}, tmp_path / "shuffled.pth")
    for wrong, named in (
        (f"timm:{NAME}", "no weights file"),
        (f"timm:{NAME}:{tmp_path / 'absent.pth'}", "no weights file"),
        (f"timm:no_such_net:{path}", "knows no network"),
        (f"timm:{NAME}:{other}", "another network"),
        (f"timm:{NAME}:{tmp_path / 'shuffled.pth'}", "another network"),
        (f"timm:{NAME}:{tmp_path / 'text.pth'}", "cannot be read"),
        (f"timm:{NAME}:{tmp_path / 'checkpoint.pth'}", "a dict with the keys epoch"),
    ):
        with pytest.raises(ValueError) as error:
            open_timm(wrong, "--perceptual")
        assert named in str(error.value)
        assert "--perceptual" in str(error.value)


def test_extractor_gives_what_the_head_reads(network, source):
    """At the size and in the range of the network's own configuration: 224, -1..1."""
    pixels = np.random.default_rng(1).integers(256, size=(2, 224, 224), dtype=np.uint8)
    extractor = open_extractor(source)
    assert extractor.image_size == 224
    color = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1) / 255
    values = (color - 0.5) / 0.5
    features = extractor.features(to_images(pixels))
    torch.testing.assert_close(network.classifier(features), network(values), rtol=1e-4, atol=1e-5)
    assert extractor.predict(to_images(pixels)).isnan().all()


def test_perceptual_distance_and_features(network, source, films):
    loss = load_perceptual(source)
    image = films[:1].clone().requires_grad_()
    distance = loss(image, films[1:2])
    distance.backward()
    assert distance.item() > 0.01
    assert image.grad.abs().sum() > 0
    assert loss(films[:1], films[:1]).item() == pytest.approx(0.0, abs=1e-5)
    maps = network.forward_intermediates(films.expand(-1, 3, -1, -1), intermediates_only=True)
    found, identity = open_features(source, "--repa")
    for wanted, level in zip(maps, found(films), strict=True):
        torch.testing.assert_close(level, wanted, rtol=1e-4, atol=1e-5)
    assert len(loss.network(films)) == 4
    assert identity == open_features(source, "--repa")[1]


def test_a_classifier_starts_from_it(network, source, films, tmp_path):
    """The features are those of the network on gray films; the head is new; the folder is a stock one."""
    model = adapt_timm(source)
    model.eval()
    features = model.timm_model.forward_features(films)
    torch.testing.assert_close(
        features, network.forward_features(films.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4
    )
    model.train()
    batch = {"pixel_values": films, "labels": torch.zeros(3, len(FINDINGS))}
    masked_bce(model, batch, torch.Generator())["loss"].backward()
    assert all(weight.grad is not None for weight in model.parameters())
    save_classifier(model.eval(), tmp_path, 64, {})
    stock = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    opened = FilmClassifier.open(tmp_path)
    assert opened.features(films).shape == (3, 1280)
    torch.testing.assert_close(opened.predict(films), stock(pixel_values=films).logits.sigmoid())
    torch.testing.assert_close(
        stock.timm_model.get_classifier()(opened.features(films)).sigmoid(), opened.predict(films)
    )


def test_a_network_of_another_mean_is_refused(tmp_path):
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), tmp_path / "r.pth")
    with pytest.raises(ValueError, match="not 0\\.5"):
        adapt_timm(f"timm:resnet18:{tmp_path / 'r.pth'}")
