"""The perceptual distance: LPIPS against torchmetrics' own, features of a classifier run, bad sources."""

import pytest
import torch
import torchvision
from helpers.float64 import in_float64
from torch.nn import functional as F
from torchmetrics.functional.image.lpips import _LPIPS

from vision_module.perceptual import LPIPS_NETWORKS, PerceptualLoss, load_perceptual


@pytest.fixture(scope="module")
def films():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 1, 64, 64, generator=generator) * 2 - 1


@pytest.mark.parametrize("name", ["squeeze", "alex"])
def test_lpips_is_that_of_torchmetrics(name, films, tmp_path):
    """The same random ImageNet network in both, with LPIPS' learned weights: the same distance."""
    torch.manual_seed(0)
    network = getattr(torchvision.models, LPIPS_NETWORKS[name][0])(weights=None)
    file = tmp_path / "weights.pth"
    torch.save(network.state_dict(), file)
    reference = _LPIPS(net=name, pnet_rand=True, use_dropout=True)
    theirs = {}
    for key in reference.net.state_dict():
        theirs[key] = network.features.state_dict()[key.split(".", 2 if key.startswith("slices") else 1)[-1]]
    reference.net.load_state_dict(theirs)
    loss, films = load_perceptual(f"{name}:{file}"), films.double()
    color = films.expand(-1, -1, 3, -1, -1)
    with in_float64():
        wanted = reference(color[0], color[1]).mean()
        found = loss(films[0], films[1])
    assert wanted.item() > 1e-4
    torch.testing.assert_close(found, wanted)


def test_a_distance_by_hand():
    """Opposite directions in one layer: squared distance 4, times its weight; lengths do not count."""

    class Channels(torch.nn.Module):
        def forward(self, images):
            return [torch.cat([images, torch.zeros_like(images)], dim=1)]

    film = torch.full((2, 1, 4, 4), 0.5)
    assert PerceptualLoss(Channels())(film, -0.1 * film).item() == pytest.approx(4.0, abs=1e-4)
    assert PerceptualLoss(Channels())(film, 0.3 * film).item() == pytest.approx(0.0, abs=1e-6)
    weighted = PerceptualLoss(Channels(), [torch.tensor([0.25, 9.0])])
    assert weighted(film, -0.1 * film).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.usefixtures("float64")
def test_features_of_a_classifier_run(chain, films):
    """Zero for a film and itself, positive else; it stays frozen and in evaluation mode within a training."""
    loss = load_perceptual(chain.run("classifier"))
    torch.nn.Sequential(loss).train()
    assert not any(module.training for module in loss.modules())
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert loss(films[0], films[0]).item() == pytest.approx(0.0, abs=1e-5)
    image = films[0].clone().requires_grad_()
    distance = loss(image, films[1])
    distance.backward()
    assert distance.item() > 0.01
    assert image.grad.abs().sum() > 0
    torch.testing.assert_close(loss(films[0][:1], films[1][:1]), _alone(loss, films))


def _alone(loss, films):
    """The first pair's distance from a batch of two: twice the mean, less the second's."""
    return 2 * loss(films[0], films[1]) - loss(films[0][1:], films[1][1:])


def test_bad_sources_are_named(chain, tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "alex.pth")
    (tmp_path / "text.pth").write_text("not weights")
    for source, message in [
        (f"squeeze:{tmp_path}/none.pth", "no such file; expected torchvision's squeezenet1_1 weights"),
        (
            f"squeeze:{tmp_path}/text.pth",
            "expected torchvision's squeezenet1_1 weights, found a file that cannot be read",
        ),
        (
            f"squeeze:{tmp_path}/alex.pth",
            r"features\.0\.bias is missing, expected \(64,\); give torchvision's",
        ),
        (chain.run("clip"), "--perceptual .*holds a clip run; a classifier run is needed"),
        (str(tmp_path / "none"), "--perceptual .*none: no such folder"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_perceptual(source)


@pytest.mark.usefixtures("float64")
def test_enlarged_films(chain, films):
    """At a scale of 2 the features are those of films enlarged before."""
    source = chain.run("classifier")
    enlarged = [F.interpolate(film, scale_factor=2, mode="bicubic") for film in films]
    found = load_perceptual(source, scale=2)(films[0], films[1])
    torch.testing.assert_close(found, load_perceptual(source)(*enlarged[:2]))
    assert found.item() != pytest.approx(load_perceptual(source)(films[0], films[1]).item(), rel=1e-3)
