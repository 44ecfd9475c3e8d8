"""Feature extractors see the range and size they were made for: each against its own library's way in."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet50
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, Dinov2Config, Dinov2Model

from data_module.images import to_images
from evaluation.networks.classifier import FilmClassifier
from evaluation.networks.extractors import open_extractor

SIZE = 28


@pytest.fixture(scope="module")
def pixels():
    """Films that fill the byte range, at the size of the tiny models."""
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)


def _save_processor(folder, **changes):
    # The statistics of RadDINO's preprocessor_config.json, some changed so that channels differ.
    settings = {"image_mean": [0.5307, 0.5, 0.5307], "image_std": [0.2583, 0.2583, 0.3]}
    settings |= {"size": {"shortest_edge": SIZE}, "crop_size": {"height": SIZE, "width": SIZE}}
    CLIPImageProcessor(**settings | changes).save_pretrained(folder)


@pytest.fixture(scope="module")
def rad_dino(tmp_path_factory):
    """A Dinov2Model folder in RadDINO's format."""
    folder = tmp_path_factory.mktemp("rad-dino")
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=SIZE, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    _save_processor(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**tiny, "image_size": SIZE, "patch_size": 14}
    CLIPModel(
        CLIPConfig(text_config={**tiny, "vocab_size": 20}, vision_config=vision, projection_dim=8)
    ).save_pretrained(folder)
    _save_processor(folder)
    return folder


def _library_features(folder, model, pixels):
    """transformers' own processor on RGB films, and the model."""
    films = [Image.fromarray(film).convert("RGB") for film in pixels]
    values = CLIPImageProcessor.from_pretrained(folder)(films, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        if isinstance(model, CLIPModel):
            out = model.get_image_features(pixel_values=values)
            return getattr(out, "pooler_output", out)
        return model(pixel_values=values).pooler_output


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "kind"), [("rad_dino", Dinov2Model), ("clip", CLIPModel)])
def test_transformers_folders_see_what_their_processor_makes(name, kind, pixels, request):
    folder = request.getfixturevalue(name)
    extractor = open_extractor(str(folder))
    model = kind.from_pretrained(folder).eval()
    expected = _library_features(folder, model, pixels)
    found = extractor.features(to_images(pixels))
    assert torch.allclose(found, expected, atol=1e-4)
    # The test would notice another range: half the contrast, or 0..1 taken for -1..1.
    for wrong in (to_images(pixels) / 2.0, (to_images(pixels) + 1.0) / 2.0):
        assert not torch.allclose(extractor.features(wrong), expected, atol=1e-2)
    assert extractor.predict(to_images(pixels)).isnan().all()
    assert "0.5307" in extractor.preprocessing


def test_a_crop_inside_the_resized_film_is_taken(rad_dino, tmp_path):
    """DINOv2's own processor resizes to 256 and crops 224: the border is not seen."""
    Dinov2Model.from_pretrained(rad_dino).save_pretrained(tmp_path)
    _save_processor(tmp_path, size={"shortest_edge": SIZE + 8})
    extractor = open_extractor(str(tmp_path))
    assert extractor.image_size == SIZE + 8
    films = torch.rand(2, 1, SIZE + 8, SIZE + 8) * 2 - 1
    framed = films.clone()
    framed[..., :4, :] = 1.0
    assert torch.equal(extractor.features(films), extractor.features(framed))


def test_a_run_folder_of_train_clip_is_taken(clip, tmp_path, pixels):
    (tmp_path / "config.json").write_text('{"kind": "clip", "config": {}}')
    (tmp_path / "model").symlink_to(clip)
    found = open_extractor(str(tmp_path)).features(to_images(pixels))
    assert torch.equal(found, open_extractor(str(clip)).features(to_images(pixels)))


def test_identity_changes_with_the_preprocessing(rad_dino, tmp_path):
    Dinov2Model.from_pretrained(rad_dino).save_pretrained(tmp_path)
    _save_processor(tmp_path)
    same = open_extractor(str(tmp_path)).identity
    _save_processor(tmp_path, image_mean=[0.4, 0.4, 0.4])
    assert open_extractor(str(rad_dino)).identity == same != open_extractor(str(tmp_path)).identity


@pytest.mark.usefixtures("float64")
def test_inception_sees_bytes(tmp_path):
    inception = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    class Untrained(inception.FeatureExtractorInceptionV3):
        """Random weights: the constructor reads a file, which then is not used."""

        def load_state_dict(self, state, *args, **kwargs):
            return None

    torch.save({}, tmp_path / "empty.pth")
    torch.manual_seed(0)
    library = Untrained("inception", ["2048"], feature_extractor_weights_path=str(tmp_path / "empty.pth"))
    torch.save(library.state_dict(), tmp_path / "inception.pth")
    extractor = open_extractor(f"inception:{tmp_path / 'inception.pth'}")
    films = np.random.default_rng(0).integers(0, 256, (2, 299, 299), dtype=np.uint8)
    color = torch.from_numpy(films)[:, None].expand(-1, 3, -1, -1)
    expected = library(color)[0]
    found = extractor.features(to_images(films))
    assert found.shape == (2, 2048)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(extractor.features(to_images(films) / 2), expected, rtol=1e-2)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="cannot be read as Inception"):
        open_extractor(f"inception:{tmp_path / 'other.pth'}")


@pytest.mark.usefixtures("float64")
def test_xrv_sees_its_own_range(tmp_path):
    """Against torchxrayvision's own normalization of bytes: -1024..1024."""
    from torchxrayvision.datasets import normalize
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    network = DenseNet(num_classes=18).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    extractor = open_extractor(f"torchxrayvision:{tmp_path / 'weights.pt'}")
    films = np.random.default_rng(0).integers(0, 256, (2, 224, 224), dtype=np.uint8)
    with torch.no_grad():
        expected = network.features2(torch.from_numpy(normalize(films, 255)[:, None]).float())
    found = extractor.features(to_images(films))
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(extractor.features(to_images(films) / 1024), expected, rtol=1e-1)


def test_what_is_no_extractor_is_refused_by_name(tmp_path, rad_dino):
    for source, message in (
        (str(tmp_path), "neither inception:FILE"),
        (f"inception:{tmp_path}/none.pth", "no such file"),
        (f"open-clip:{tmp_path}", "open_clip"),
    ):
        with pytest.raises(ValueError, match=message):
            open_extractor(source)
    (tmp_path / "config.json").write_text((rad_dino / "config.json").read_text())
    _save_processor(tmp_path)
    with pytest.raises(ValueError, match="cannot be loaded"):
        open_extractor(str(tmp_path))
    with pytest.raises(ValueError, match="an image classifier is needed"):
        FilmClassifier.open(rad_dino)


@pytest.mark.usefixtures("float64")
def test_open_clip_folders(tmp_path, pixels):
    """BiomedCLIP's format: open_clip_config.json beside the weights."""
    open_clip = pytest.importorskip("open_clip")
    import json

    from safetensors.torch import save_file

    vision = {"image_size": SIZE, "layers": 1, "width": 16, "patch_size": 14, "head_width": 8}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    config = {
        "model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = open_clip.CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text).eval()
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    extractor = open_extractor(f"open-clip:{tmp_path}")
    color = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1) / 255.0
    mean, std = (torch.tensor(config["preprocess_cfg"][key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = model.encode_image((color - mean) / std)
    assert torch.allclose(extractor.features(to_images(pixels)), expected, atol=1e-4)


@pytest.mark.usefixtures("float64")
def test_the_reidentification_network_is_asked_for_its_embedding(tmp_path, pixels):
    """Packhaeuser et al.: sigmoid of a ResNet-50's 128 outputs, films of 224, 0 to 1, in three channels."""
    torch.manual_seed(0)
    network, last = resnet50(num_classes=128).eval(), torch.nn.Linear(128, 1)
    parts = {"model.": network, "fc_end.": last}
    state = {
        prefix + key: value for prefix, part in parts.items() for key, value in part.state_dict().items()
    }
    torch.save(state, tmp_path / "reid.pth")
    extractor = open_extractor(f"reidentify:{tmp_path / 'reid.pth'}")
    assert extractor.image_size == 224
    films = np.stack([np.kron(film, np.ones((8, 8), np.uint8)) for film in pixels])  # 224 pixels a side
    with torch.no_grad():
        expected = network(torch.from_numpy(films)[:, None].expand(-1, 3, -1, -1) / 255.0).sigmoid()
    assert torch.allclose(extractor.features(to_images(films)), expected, atol=1e-4)
    with pytest.raises(ValueError, match="no such file"):
        open_extractor("reidentify:absent.pth")
