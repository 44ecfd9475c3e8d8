"""The out-of-distribution check of films."""

import numpy as np
import pytest

from data_module.film_check import FilmCheck, describe_maps


def test_distance_is_the_mahalanobis_distance():
    """Against the textbook formula with the shrunken covariance, up to the limit's scale."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((500, 3)) @ rng.standard_normal((3, 3)) + [5.0, 0.0, -2.0]
    check = FilmCheck.fit(features)
    covariance = np.cov(features.T, bias=True)
    covariance = 0.95 * covariance + 0.05 * np.trace(covariance) / 3 * np.eye(3)
    other = rng.standard_normal((4, 3))
    centered = other - features.mean(axis=0)
    wanted = np.sqrt(np.einsum("nd,dk,nk->n", centered, np.linalg.inv(covariance), centered)) / check.limit
    np.testing.assert_allclose(check.distances(other), wanted, rtol=1e-4)


def test_training_films_pass_and_strangers_do_not(tmp_path):
    rng = np.random.default_rng(1)
    basis = rng.standard_normal((4, 16))
    check = FilmCheck.fit(rng.standard_normal((1000, 4)) @ basis)
    check.save(tmp_path)
    loaded = FilmCheck.load(tmp_path)
    assert (loaded.distances(rng.standard_normal((1000, 4)) @ basis) < 1.0).all()
    assert (loaded.distances(rng.standard_normal((50, 16)) * 5.0) > 1.0).all()  # off the films' subspace
    assert (loaded.distances(rng.standard_normal((50, 4)) @ basis * 20.0) > 1.0).mean() > 0.9
    assert FilmCheck.load(tmp_path / "missing") is None


def test_maps_become_coarse_averages():
    maps = np.arange(2 * 1 * 8 * 8, dtype=np.float32).reshape(2, 1, 8, 8)
    described = describe_maps(maps)
    assert described.shape == (2, 16)
    assert described[0, 0] == pytest.approx(maps[0, 0, :2, :2].mean())
    assert described[1, 15] == pytest.approx(maps[1, 0, 6:, 6:].mean())
    assert describe_maps(np.ones((3, 192, 2, 2))).shape == (3, 192)
    assert describe_maps(np.ones((3, 4, 7, 7))).shape == (3, 4)
