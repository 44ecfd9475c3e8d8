"""Scores of films that a model draws while it trains, for `--early-stopping auroc` or `fid`."""

from collections.abc import Callable

import numpy as np
import torch

from data_module.images import to_images


def make_validation_metrics(
    classifier: str, device: str | torch.device = "cpu"
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, float]] | None:
    """score(drawn, films, labels) -> fid and auroc, of (N, S, S) uint8 twice and (N, 14) certainties.

    The same few films every time: good for comparing the steps of one run, biased as figures (FID grows as N
    falls). AUROC is left out where no finding has both classes. None where `classifier` is empty.

    Raises:
        ValueError: --score-classifier names no classifier.
    """
    if not classifier:
        return None
    # Late: torchmetrics and scikit-learn take seconds that a run without scores need not pay.
    from evaluation.images.fid import frechet_distance
    from evaluation.networks.classifier import FilmClassifier
    from evaluation.statistics.findings import score_auroc

    opened = FilmClassifier.open(classifier, device)

    def score(drawn: np.ndarray, films: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        probabilities, features = (part.cpu().numpy() for part in opened.score(to_images(drawn)))
        real = opened.features(to_images(films)).cpu().numpy()
        scores = {"fid": frechet_distance(real, features)}
        auroc = score_auroc(labels, probabilities)["mean"]
        return scores if auroc is None else {**scores, "auroc": auroc}

    return score
