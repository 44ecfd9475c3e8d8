"""A planted copy is found: plain, shifted and turned, mirrored, noisy; and nothing else is."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from evaluation.privacy import distances as privacy
from evaluation.privacy.copied_text import compare_copies, nearest_reports
from evaluation.privacy.distances import (
    compare_distances,
    load_standardized,
    nearest,
    nearest_training_films,
    registered_correlation,
)

NUM = 30


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Smooth random films as files: training, held-out real, and synthetic ones with four planted copies."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    common = ndimage.gaussian_filter(rng.normal(size=(96, 96)), 14)

    def draw():
        own = ndimage.gaussian_filter(rng.normal(size=(96, 96)), 4)
        return 3.0 * common / common.std() + own / own.std()

    sets = {name: [draw() for _ in range(NUM)] for name in ("training", "real", "synthetic")}
    planted = sets["training"][7]
    sets["synthetic"][0] = planted
    sets["synthetic"][1] = ndimage.shift(ndimage.rotate(planted, 4.0, reshape=False, mode="nearest"), (5, -6))
    sets["synthetic"][2] = planted[:, ::-1]
    sets["synthetic"][3] = planted + rng.normal(scale=0.3, size=planted.shape)
    paths = {}
    for name, pictures in sets.items():
        paths[name] = [folder / f"{name}{i}.png" for i in range(len(pictures))]
        for path, picture in zip(paths[name], pictures, strict=True):
            Image.fromarray(np.clip(128 + 20 * picture, 0, 255).astype(np.uint8)).save(path)
    return {name: load_standardized(files) for name, files in paths.items()}


def _compare(films, features):
    known = films["training"], features["training"]
    found, rows = nearest_training_films(films["synthetic"], features["synthetic"], *known)
    real, _ = nearest_training_films(films["real"], features["real"], *known)
    return found, rows, compare_distances(found, real)


def _features(films):
    """What a classifier might see: coarse, so that a shift hardly changes it, and blind to mirroring."""
    return {
        name: np.stack([np.sort(ndimage.zoom(film + film[:, ::-1], 0.1).ravel()) for film in x])
        for name, x in films.items()
    }


def test_planted_copies_are_found_and_others_are_not(films):
    found, rows, compared = _compare(films, _features(films))
    assert compared["flagged"][:4].all()
    assert (rows[:4] == 7).all()
    assert not compared["flagged"][4:].any()
    assert found["pixels"][0] == pytest.approx(0.0, abs=1e-6)
    # Only the registered comparison sees the shifted and the mirrored copy.
    assert (found["pixels"][1:3] > compared["pixels"]["threshold"]).all()
    assert compared["registered"]["ratio"] == pytest.approx(1.0, abs=0.3)  # the median is no copy
    assert set(np.argsort(compared["closeness"])[:4]) == {0, 1, 2, 3}


def test_without_a_copy_nothing_is_flagged(films):
    honest = films | {"synthetic": films["synthetic"][4:]}
    _, _, compared = _compare(honest, _features(honest))
    assert not compared["flagged"].any()
    for name in privacy.DISTANCES:
        assert 0.7 < compared[name]["ratio"] < 1.4


def test_nearest_equals_brute_force_in_any_block(monkeypatch):
    rng = np.random.default_rng(0)
    queries, targets = rng.normal(size=(20, 5)), rng.normal(size=(33, 5)) + 100.0
    monkeypatch.setattr(privacy, "BLOCK", 7)
    rows, distances = nearest(queries, targets, 3)
    every = np.linalg.norm(queries[:, None] - targets[None], axis=2)
    np.testing.assert_array_equal(rows, np.argsort(every, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :3])


def test_registration_equals_a_direct_search_over_shifts(films):
    film, other = films["training"][0], films["training"][1]
    margin, window = privacy.MARGIN, privacy.SIDE - 2 * privacy.MARGIN
    template = film[margin:-margin, margin:-margin].ravel()
    direct = max(
        np.corrcoef(template, other[y : y + window, x : x + window].ravel())[0, 1]
        for y in range(2 * margin + 1)
        for x in range(2 * margin + 1)
    )
    found = registered_correlation(film[None], other[None, None])[0, 0]
    assert found >= direct - 1e-4  # it tries turned and mirrored films besides
    assert registered_correlation(film[None], film[None, None])[0, 0] == pytest.approx(1.0, abs=1e-4)


def test_unreadable_films_are_not_black(tmp_path):
    (tmp_path / "cut.png").write_bytes(b"no film")
    assert np.isnan(load_standardized([tmp_path / "cut.png", None])).all()


TRAINING = [
    "There is a small left apical pneumothorax with a chest tube in place. The heart is normal.",
    "The lungs are clear. No effusion.",
]


def test_copied_reports_are_counted():
    synthetic = [
        TRAINING[0],
        "There is a small left apical pneumothorax with a chest tube in place. Edema.",
        "Moderate cardiomegaly with mild interstitial edema and a small right effusion.",
        "The lungs are clear. No effusion.",
    ]
    held_out = ["Large right pleural effusion with compressive atelectasis of the right lower lobe."]
    found = compare_copies(synthetic, held_out, TRAINING)
    assert found["num_long_sentences"] == 3
    assert found["share_verbatim_sentences"] == pytest.approx(2 / 3)
    assert found["share_verbatim_reports"] == pytest.approx(2 / 4)
    assert found["share_near_duplicates"] == pytest.approx(2 / 4)
    assert found["nearest"][0]["overlap"] == 1.0
    assert found["share_verbatim_sentences_real"] == 0.0
    assert compare_copies(["", " "], held_out, TRAINING) is None


def test_overlap_of_reports_by_hand():
    # Triples of the report: abc bcd cde; of the training report: abc bcd cdf: 2 shared of 4.
    overlaps, rows = nearest_reports(["a b c d e"], ["x y z w", "a b c d f"])
    assert overlaps[0] == pytest.approx(0.5)
    assert rows[0] == 1
