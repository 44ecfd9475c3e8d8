"""The classifier: its training script, its folder as transformers reads it, and FilmClassifier."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, BartConfig

import train_classifier
from data_module.findings import FINDINGS
from data_module.images import load_images
from data_module.pairs import write_pairs
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier
from vision_module.classifier import augment_films, build_classifier, masked_bce, save_classifier
from vision_module.config import Augmentation, ResNetSize

TINY = ResNetSize(8, (8, 12), (1, 1))


def _write_films(folder, num: int = 24, size: int = 32):
    """Films whose brightness is their finding: Cardiomegaly where bright."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(num):
        bright = number % 2
        pixels = rng.integers(60, 90, (size, size)) + 100 * bright
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"images/{number}.png")
        rows.append(
            {
                "file_name": f"images/{number}.png",
                "report": "text",
                "patient_id": f"p{number}",
                "split": "validation" if number % 6 > 3 else "train",
                "Cardiomegaly": bright,
                "Edema": -1 if number % 4 == 1 else 1 - bright,
            }
        )
    return write_pairs(folder, rows, {}, "# test")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier") / "model"
    torch.manual_seed(0)
    save_classifier(build_classifier(TINY).eval(), folder, 32, {"Edema": 0.25})
    return folder


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return _write_films(tmp_path_factory.mktemp("films") / "pairs")


def _reference(folder, images: torch.Tensor) -> torch.Tensor:
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(pixel_values=images).logits.sigmoid()


def test_training_script_makes_a_run_that_transformers_and_evaluation_read(tmp_path, films, capsys):
    flags = ["--data", str(films.root), "--out", str(tmp_path / "run"), "--image-size", "32"]
    flags += ["--num-steps", "30", "--batch-size", "8", "--mixed-precision", "no"]
    flags += ["--hidden-sizes", "8", "12", "--depths", "1", "1", "--embedding-size", "8"]
    flags += ["--learning-rate", "0.01", "--warmup-steps", "2"]
    train_classifier.main(flags)
    assert "validation AUROC" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["auroc"]["per_finding"]["Cardiomegaly"] == 1.0
    assert "one class only" in metrics["auroc"]["skipped"]["Fracture"]

    model = AutoModelForImageClassification.from_pretrained(tmp_path / "run/model")
    assert [model.config.id2label[place] for place in range(14)] == list(FINDINGS)
    assert model.config.problem_type == "multi_label_classification"
    classifier = FilmClassifier.open(tmp_path / "run")
    assert set(classifier.thresholds) == {"Cardiomegaly", "Edema"}
    scores = classifier.score_folder(films.image_paths)
    decided = classifier.decide(scores.probabilities)[:, FINDINGS.index("Cardiomegaly")]
    assert (decided == np.arange(len(films)) % 2).mean() > 0.9
    with pytest.raises(SystemExit) as ended:
        train_classifier.main(flags)
    assert not ended.value.code
    assert "is finished" in capsys.readouterr().out


@pytest.mark.parametrize("preset", list(train_classifier.PRESETS))
def test_every_preset_dry_runs_without_data(preset, tmp_path, capsys):
    out = tmp_path / "run"
    train_classifier.main(["--preset", preset, "--data", "absent", "--out", str(out), "--dry-run"])
    assert "ResNetForImageClassification" in capsys.readouterr().out
    assert not out.exists()


def test_training_script_refuses_bad_input(tmp_path, films):
    with pytest.raises(ValueError, match="--image-size 8"):
        train_classifier.main(["--image-size", "8"])
    with pytest.raises(ValueError, match="not a pairs folder"):
        train_classifier.main(["--data", str(tmp_path), "--out", str(tmp_path / "run")])


@pytest.mark.usefixtures("float64")
def test_loss_is_bce_over_the_known_labels():
    torch.manual_seed(0)
    model = build_classifier(TINY).eval()
    images = torch.randn(4, 1, 32, 32)
    labels = torch.randint(0, 2, (4, 14)).float()
    labels[0, 3] = labels[2, 5] = torch.nan
    loss = masked_bce(model, {"pixel_values": images, "labels": labels}, torch.Generator())["loss"]
    p = model(pixel_values=images).logits.sigmoid()
    terms = -(labels * p.log() + (1 - labels) * (1 - p).log())
    assert loss.item() == pytest.approx(terms[~labels.isnan()].mean().item(), rel=1e-5)
    empty = {"pixel_values": images, "labels": torch.full((4, 14), torch.nan)}
    assert masked_bce(model, empty, torch.Generator())["loss"].item() == 0.0


def test_augmentation_is_drawn_from_the_generator_and_stays_in_range():
    images = torch.rand(3, 1, 32, 32) * 2 - 1
    change = Augmentation()
    first = augment_films(images, torch.Generator().manual_seed(1), change)
    assert torch.equal(first, augment_films(images, torch.Generator().manual_seed(1), change))
    assert not torch.equal(first, augment_films(images, torch.Generator().manual_seed(2), change))
    assert first.min() >= -1.0
    assert first.max() <= 1.0
    still = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert torch.allclose(augment_films(images, torch.Generator(), still), images, atol=1e-5)
    # A film that is bright on one side stays so: no flip.
    half = torch.cat([torch.ones(8, 1, 32, 16), -torch.ones(8, 1, 32, 16)], dim=3)
    changed = augment_films(half, torch.Generator().manual_seed(0), change)
    assert (changed[..., :12].mean((1, 2, 3)) > changed[..., 20:].mean((1, 2, 3))).all()


@pytest.mark.usefixtures("float64")
def test_predictions_are_those_of_the_stock_model(model_dir, films):
    classifier = FilmClassifier.open(model_dir)
    images = load_images(films.image_paths[:5], 32)
    assert torch.allclose(classifier.predict(images), _reference(model_dir, images), atol=1e-6)
    assert classifier.features(images).shape == (5, 12)
    assert classifier.image_size == 32
    assert classifier.predict(torch.zeros(2, 1, 50, 40)).shape == (2, 14)
    with pytest.raises(ValueError, match="shape"):
        classifier.predict(torch.zeros(2, 3, 32, 32))


def test_the_saved_processor_gives_the_same_pixel_values(model_dir, films):
    film = Image.open(films.image_paths[0])
    processor = AutoImageProcessor.from_pretrained(model_dir)
    values = processor(np.asarray(film)[None], input_data_format="channels_first", return_tensors="pt")
    assert torch.allclose(values["pixel_values"], load_images(films.image_paths[:1], 32), atol=1e-5)


@pytest.mark.usefixtures("float64")
def test_findings_are_matched_by_name(model_dir, films, tmp_path):
    order = np.random.default_rng(0).permutation(14)
    model = AutoModelForImageClassification.from_pretrained(model_dir).eval()
    with torch.no_grad():
        for parameter in model.classifier[1].parameters():
            parameter.copy_(parameter[order].clone())
    names = [FINDINGS[place] for place in order]
    names[names.index("Fracture")] = "Broken bone"  # a name that is not CheXpert's
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: place for place, name in enumerate(names)}
    save_classifier(model, tmp_path / "model", 32, {})
    images = load_images(films.image_paths[:4], 32)
    expected = FilmClassifier.open(model_dir).predict(images)
    found = FilmClassifier.open(tmp_path / "model").predict(images)
    known = [column for column, name in enumerate(FINDINGS) if name != "Fracture"]
    assert torch.allclose(found[:, known], expected[:, known], atol=1e-6)
    assert found[:, FINDINGS.index("Fracture")].isnan().all()


def test_decisions_use_the_stored_thresholds(model_dir):
    classifier = FilmClassifier.open(model_dir)
    probabilities = np.full((1, 14), 0.3, np.float32)
    probabilities[0, 0] = np.nan
    decided = classifier.decide(probabilities)[0]
    assert decided[FINDINGS.index("Edema")] == 1.0
    assert np.isnan(decided[0])
    assert decided[1] == 0.0


def test_unreadable_films_are_counted_and_are_not_black(model_dir, films, tmp_path):
    whole = films.image_paths[0].read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not a film")
    paths = [films.image_paths[0], tmp_path / "cut.png", None, tmp_path / "text.png", tmp_path / "gone.png"]
    classifier = FilmClassifier.open(model_dir)
    scores = classifier.score_folder([*paths, films.image_paths[1]], batch_size=2)
    assert list(scores.readable) == [True, False, False, False, False, True]
    assert "cut.png" in scores.failures[1]
    assert "no such file" in scores.failures[4]
    assert np.isnan(scores.probabilities[1:5]).all()
    assert np.isnan(scores.features[1:5]).all()
    assert np.isfinite(scores.features[[0, 5]]).all()
    with pytest.raises(ValueError, match=r"none of the 2 films.*cut\.png"):
        score_cached(classifier, [tmp_path / "cut.png", tmp_path / "text.png"], None)


@pytest.mark.usefixtures("float64")
def test_batch_size_does_not_change_scores(model_dir, films):
    classifier = FilmClassifier.open(model_dir)
    one, many = (classifier.score_folder(films.image_paths, batch_size=size) for size in (1, 24))
    assert np.allclose(one.probabilities, many.probabilities, atol=1e-5)


def test_cache_is_read_until_a_film_or_the_file_changes(model_dir, tmp_path):
    films = _write_films(tmp_path / "pairs", num=4)
    classifier, cache = FilmClassifier.open(model_dir), tmp_path / "cache"
    first = score_cached(classifier, [*films.image_paths, None], cache)
    (entry,) = cache.glob("*.npz")
    written = entry.stat().st_mtime_ns
    again = score_cached(classifier, [*films.image_paths, None], cache)
    assert entry.stat().st_mtime_ns == written
    assert np.array_equal(first.features, again.features, equal_nan=True)
    assert again.failures == first.failures == {4: "the row names no film"}
    entry.write_bytes(entry.read_bytes()[:100])
    healed = score_cached(classifier, [*films.image_paths, None], cache)
    assert np.array_equal(first.probabilities, healed.probabilities, equal_nan=True)
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(films.image_paths[0])
    changed = score_cached(classifier, [*films.image_paths, None], cache)
    assert not np.array_equal(first.features[0], changed.features[0])
    assert len(list(cache.glob("*.npz"))) == 2


def test_what_is_not_a_classifier_is_refused_by_name(model_dir, tmp_path):
    def refuse(path, message):
        with pytest.raises(ValueError, match=message):
            FilmClassifier.open(path)

    refuse(tmp_path / "gone", "neither a run folder nor a model folder")
    (tmp_path / "bart").mkdir()
    (tmp_path / "bart/config.json").write_text('{"kind": "bart", "config": {}}')
    refuse(tmp_path / "bart", "holds a bart run; a classifier run is needed")
    (tmp_path / "early").mkdir()
    (tmp_path / "early/config.json").write_text('{"kind": "classifier", "config": {}}')
    refuse(tmp_path / "early", "not finished")
    BartConfig(architectures=["BartForConditionalGeneration"]).save_pretrained(tmp_path / "text")
    refuse(tmp_path / "text", "BartForConditionalGeneration; an image classifier is needed")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((model_dir / "config.json").read_text())
    refuse(broken, "cannot be loaded")
    (broken / "model.safetensors").write_bytes(b"0" * 50)
    refuse(broken, "cannot be loaded")
    cats = build_classifier(TINY)
    names = {place: f"cat {place}" for place in range(14)}
    cats.config.id2label, cats.config.label2id = names, {name: place for place, name in names.items()}
    cats.save_pretrained(tmp_path / "cats")
    refuse(tmp_path / "cats", "cat 4, none of the 14")
    cats.config.id2label = {0: "Edema"}
    cats.config.save_pretrained(tmp_path / "cats")
    refuse(tmp_path / "cats", "cannot be loaded")
    cats.resnet.save_pretrained(tmp_path / "headless")
    (tmp_path / "headless/config.json").write_text((model_dir / "config.json").read_text())
    refuse(tmp_path / "headless", "lack classifier")
