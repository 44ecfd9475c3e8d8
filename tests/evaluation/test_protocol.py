"""CheXGenBench's protocol against its libraries (torchmetrics, prdc, torchvision), and known answers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.models import resnet50
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    SegformerConfig,
    SegformerModel,
)

from data_module.__main__ import main as data_module
from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder, write_pairs
from evaluation.__main__ import main
from evaluation.protocol.chexgenbench import PRIVACY_SIZE, SIZE, compare_draws, score_sets, subset_kid
from evaluation.protocol.networks import RadDino, Reidentifier
from evaluation.protocol.sets import read_bytes, read_set

SIDE = 28


@pytest.fixture(scope="module")
def raddino(tmp_path_factory):
    """A tiny folder in RadDINO's form."""
    folder = tmp_path_factory.mktemp("raddino")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(image_size=SIDE, patch_size=14, **sizes)).save_pretrained(folder)
    mean, std = [0.5307] * 3, [0.2583] * 3
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    BitImageProcessor(image_mean=mean, image_std=std, **size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real films as its CSV lists them, two of one prompt; synthetic ones as our export writes them."""
    root, rng = tmp_path_factory.mktemp("protocol"), np.random.default_rng(0)
    (root / "real").mkdir()
    rows = []
    for number in range(21):
        name = f"p{number}.png"
        Image.fromarray(rng.integers(0, 256, (40, 36), dtype=np.uint8)).save(root / "real" / name)
        labels = dict.fromkeys(FINDINGS, float("nan")) | {"Edema": float(number % 2), "Fracture": -1.0}
        prompt = f"Film {min(number, 19)}"  # the last two share one
        rows.append({"id": number, "path": name, "annotated_prompt": prompt, "chexpert_labels": str(labels)})
    pd.DataFrame(rows).to_csv(root / "real.csv", index=False)
    (root / "made" / "images").mkdir(parents=True)
    made = []
    for number in range(20):
        Image.fromarray(rng.integers(0, 200, (32, 32), dtype=np.uint8)).save(
            root / f"made/images/{number}.png"
        )
        row = {"file_name": f"images/{number}.png", "report": "", "patient_id": str(number), "split": "train"}
        made.append({**row, "prompt": f"Film {number}"})
    write_pairs(root / "made", made, {}, "")
    flags = ["--data", str(root / "made"), "--layout", "chexgenbench", "--out", str(root / "export")]
    data_module(["export", *flags])
    return root


def test_of_a_clip_the_films_tower_stands_in(raddino, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = {**sizes, "image_size": SIDE, "patch_size": 14}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=sizes, vision_config=vision)).save_pretrained(tmp_path)
    BitImageProcessor.from_pretrained(raddino).save_pretrained(tmp_path)
    network = RadDino(tmp_path, torch.device("cpu"))
    films = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8)
    inputs = BitImageProcessor.from_pretrained(raddino)(images=list(films), return_tensors="pt")
    with torch.no_grad():
        expected = CLIPVisionModel.from_pretrained(tmp_path)(**inputs).pooler_output
    np.testing.assert_allclose(network(films), expected, rtol=1e-4, atol=1e-5)
    assert network.stand_in == "clip_vision_model"


def test_a_run_stands_in_by_its_folder(chain):
    run = Path(chain.run("clip"))
    by_run, by_model = (RadDino(folder, torch.device("cpu")) for folder in (run, run / "model"))
    films = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    np.testing.assert_array_equal(by_run(films), by_model(films))


def test_a_model_that_pools_nothing_is_refused(raddino, tmp_path):
    sizes = {"hidden_sizes": [8] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4, "sr_ratios": [1] * 4}
    SegformerModel(SegformerConfig(decoder_hidden_size=8, **sizes)).save_pretrained(tmp_path)
    BitImageProcessor.from_pretrained(raddino).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"--raddino .*: a segformer has no pooled output"):
        RadDino(tmp_path, torch.device("cpu"))(torch.zeros((1, 3, 64, 64), dtype=torch.uint8))


def test_films_are_what_its_transform_makes(folders):
    """Resize((299, 299)), ToTensor, times 255, to bytes."""
    path = folders / "real" / "p3.png"
    theirs = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.ToTensor()])
    expected = (theirs(Image.open(path).convert("RGB")) * 255).to(torch.uint8)
    torch.testing.assert_close(read_bytes(path, SIZE), expected, rtol=0, atol=0)


def test_figures_equal_those_of_the_libraries_that_it_calls(raddino, folders):
    torchmetrics = pytest.importorskip("torchmetrics.image.kid")
    prdc = pytest.importorskip("prdc")
    network = RadDino(raddino, torch.device("cpu"))
    real, made = (
        torch.stack([read_bytes(path, SIZE) for path in sorted((folders / name).glob("*.png"))])
        for name in ("real", "made/images")
    )
    real = real[:20]
    features = [network(side) for side in (real, made)]
    model = Dinov2Model.from_pretrained(raddino).eval()
    inputs = BitImageProcessor.from_pretrained(raddino)(images=list(real), return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).pooler_output.numpy()
    np.testing.assert_allclose(features[0], expected, rtol=1e-4, atol=1e-5)
    found = score_sets(*features)
    theirs = prdc.compute_prdc(real_features=features[0], fake_features=features[1], nearest_k=5)
    for name, value in theirs.items():
        assert found[name.capitalize()] == pytest.approx(value)
    sides = [torch.from_numpy(side).double() for side in features]
    assert found["KID"] == pytest.approx(float(torchmetrics.poly_mmd(*sides)), rel=1e-5)
    assert subset_kid(features[0], features[1][:15]) != found["KID"]


def test_reidentification_is_the_published_network(tmp_path):
    """sigmoid(resnet50) of both films, absolute difference, one linear layer, sigmoid; input 224, 0 to 1."""
    torch.manual_seed(0)
    network, last = resnet50(num_classes=128).eval(), torch.nn.Linear(128, 1)
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    state |= {f"fc_end.{key}": 40.0 * value for key, value in last.state_dict().items()}
    torch.save(state, tmp_path / "reid.pth")
    rng = np.random.default_rng(0)
    films = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) // (place + 1) for place in range(3)]
    found = Reidentifier(tmp_path / "reid.pth", torch.device("cpu")).compare(films[0], films[1:])
    theirs = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    with torch.no_grad():
        first, *others = (network(theirs(Image.fromarray(film))[None]).sigmoid() for film in films)
        expected = [
            torch.sigmoid((first - other).abs() @ (40.0 * last.weight.T) + 40.0 * last.bias).item()
            for other in others
        ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    del state["fc_end.bias"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match="is not the siamese ResNet-50"):
        Reidentifier(tmp_path / "cut.pth", torch.device("cpu"))


def test_distances_by_hand():
    """Bytes wrap around in its script: 0 minus 2 is 254 there."""
    real, draw = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 2, np.uint8)
    network = lambda films: np.array([[np.asarray(film).mean(), 0.0] for film in films])  # noqa: E731
    found = compare_draws(real, [draw, real], network)
    assert found["pixel", "mean"] == pytest.approx(1.0)
    assert found["pixel", "extreme"] == 0.0
    assert found["pixel as its script", "mean"] == pytest.approx(127.0)
    assert found["latent", "mean"] == pytest.approx((2 / np.sqrt(2) + 0) / 2)


def test_the_command(raddino, folders, capsys):
    """Both sides from its CSV files; the privacy figures find a film that was copied."""
    root = folders
    draws = [f"Film {number}" for number in range(4) for _ in range(2)]
    (root / "draws").mkdir()
    for place, _ in enumerate(draws):
        source = root / "real" / f"p{place // 2}.png" if place % 2 else root / f"made/images/{place}.png"
        Image.open(source).save(root / "draws" / f"{place}.png")
    names = [f"{place}.png" for place in range(8)]
    pd.DataFrame({"prompt": draws, "img_savename": names}).to_csv(root / "draws.csv", index=False)
    flags = {
        "real": root / "real.csv",
        "real-images": root / "real",
        "synthetic": root / "export/assets/CSV/prompt_INFO.csv",
        "synthetic-images": root / "export/assets/synthetic_images",
        "raddino": raddino,
        "draws": root / "draws.csv",
        "draws-images": root / "draws",
        "training": root / "real.csv",
        "training-images": root / "real",
        "device": "cpu",
        "out": root / "out",
    }
    main(["protocol", *(part for name, value in flags.items() for part in (f"--{name}", str(value)))])
    result = json.loads((root / "out" / "protocol.json").read_text())
    assert (result["num_real"], result["num_synthetic"]) == (20, 20)  # of 21 real films two share a prompt
    figures = {figure["name"]: figure for figure in result["figures"]}
    assert figures["FID (RadDINO)"]["comparable"]
    assert figures["FID (RadDINO)"]["value"] > 0
    assert figures["extreme of pixel"]["value"] == 0.0
    assert figures["mean of pixel"]["value"] > 1.0
    assert not figures["extreme of latent"]["comparable"]
    assert "here 2 of some" in figures["extreme of latent"]["why"]
    edema = result["per_finding"]["Edema"]
    assert (edema["num_real"], edema["num_synthetic"]) == (10, 10)
    assert edema["FID"] > 0
    assert result["per_finding"]["Fracture"] == {
        "num_real": 0,
        "num_synthetic": 0,
    }  # uncertain is not positive
    page = (root / "out" / "protocol.md").read_text()
    assert "FRD" in page
    assert "| Edema | 10 | 10 |" in page
    assert "comparable" in capsys.readouterr().out


def test_another_network_in_raddinos_place_compares_with_nothing_published(raddino, folders, tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPVisionModel(CLIPVisionConfig(image_size=SIDE, patch_size=14, **sizes)).save_pretrained(
        tmp_path / "clip"
    )
    (tmp_path / "clip/preprocessor_config.json").write_bytes(
        (raddino / "preprocessor_config.json").read_bytes()
    )
    root = folders
    flags = {
        "real": root / "real.csv",
        "real-images": root / "real",
        "synthetic": root / "made",
        "raddino": tmp_path / "clip",
        "draws": root / "made",
        "training": root / "real.csv",
        "training-images": root / "real",
        "device": "cpu",
        "out": tmp_path,
    }
    main(["protocol", *(part for name, value in flags.items() for part in (f"--{name}", str(value)))])
    result = json.loads((tmp_path / "protocol.json").read_text())
    assert not any(figure["comparable"] for figure in result["figures"])
    figures = {figure["name"]: figure for figure in result["figures"]}
    assert "not microsoft/rad-dino" in figures["FID (clip_vision_model)"]["why"]
    assert "not microsoft/rad-dino" in figures["mean of latent"]["why"]
    assert "on features of clip_vision_model" in (tmp_path / "protocol.md").read_text()


def test_a_pairs_folder_is_read_too_and_other_tables_are_refused(folders, tmp_path):
    found = read_set(folders / "made", None, "--synthetic")
    assert len(found) == 20
    assert found.prompts[3] == "Film 3"
    assert len(found.distinct()) == 20
    (tmp_path / "a.csv").write_text("prompt,img_savename\nx,gone.png\n")
    with pytest.raises(ValueError, match="1 of its 1 films are not there"):
        read_set(tmp_path / "a.csv", None, "--real")
    (tmp_path / "a.csv").write_text("text,file\nx,y\n")
    with pytest.raises(ValueError, match="needs a column annotated_prompt or prompt"):
        read_set(tmp_path / "a.csv", None, "--real")
    assert PRIVACY_SIZE == 512
    assert PairsFolder.open(folders / "made").has_films
