"""Is a film like those a model was trained on? A Mahalanobis distance to the training films' features."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

FILE = "film_check.safetensors"
MARGIN = 1.5  # a film this many times as far as nearly all training films is warned of
QUANTILE = 0.999
SHRINKAGE = 0.05  # towards the mean variance, so that directions in which few films differ do not decide


NUM_FEATURES = 256  # at most, so that a thousand films suffice


def describe_maps(maps: np.ndarray) -> np.ndarray:
    """Feature maps or latents (N, C, H, W) -> (N, D): averages over a coarse grid, 4x4 at most."""
    num, channels, height, width = maps.shape
    sides = [g for g in (4, 2, 1) if height % g == width % g == 0 and channels * g * g <= NUM_FEATURES]
    side = sides[0] if sides else 1
    blocks = maps.astype(np.float32).reshape(num, channels, side, height // side, side, width // side)
    return blocks.mean(axis=(3, 5)).reshape(num, -1)


@dataclass(frozen=True)
class FilmCheck:
    """Mean (D,) and whitening (D, D) of the training films' features, and the distance that is far.

    The score is that of Lee et al., "A simple unified framework for detecting out-of-distribution samples"
    (NeurIPS 2018), with one class.
    """

    mean: np.ndarray
    whitening: np.ndarray
    limit: float

    @classmethod
    def fit(cls, features: np.ndarray) -> "FilmCheck":
        """From features (N, D) of the training films."""
        from sklearn.covariance import ShrunkCovariance  # late: sampling only reads what training saved

        features = np.asarray(features, np.float64)
        fitted = ShrunkCovariance(shrinkage=SHRINKAGE).fit(features)
        spread = fitted.covariance_ + 1e-12 * np.eye(features.shape[1])  # features that never vary
        whitening = np.linalg.inv(np.linalg.cholesky(spread)).T.astype(np.float32)
        check = cls(fitted.location_.astype(np.float32), whitening, 1.0)
        distances = check.distances(features)
        return cls(check.mean, whitening, float(np.quantile(distances, QUANTILE) * MARGIN))

    def distances(self, features: np.ndarray) -> np.ndarray:
        """(N,) of features (N, D); above 1 a film is unlike the training films."""
        whitened = (np.asarray(features, np.float32) - self.mean) @ self.whitening
        return np.linalg.norm(whitened, axis=1) / self.limit

    def save(self, folder: str | Path) -> None:
        """Into a model's folder."""
        arrays = {"mean": self.mean, "whitening": np.ascontiguousarray(self.whitening)}
        save_file({**arrays, "limit": np.array([self.limit], np.float32)}, Path(folder) / FILE)

    @classmethod
    def load(cls, folder: str | Path) -> "FilmCheck | None":
        """From a model's folder; None for a model that was saved without one."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        try:
            arrays = load_file(path)
            check = cls(arrays["mean"], arrays["whitening"], float(arrays["limit"][0]))
            whole = check.whitening.shape[0] == len(check.mean) and check.limit > 0
            whole = whole and np.isfinite(check.mean).all() and np.isfinite(check.whitening).all()
        except (OSError, ValueError, KeyError, IndexError, SafetensorError) as error:
            raise ValueError(
                f"{path} cannot be read ({type(error).__name__}): train the model anew"
            ) from None
        if not whole:
            raise ValueError(f"{path} is damaged: train the model anew, or delete the file to go without")
        return check
