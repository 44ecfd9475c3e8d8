"""Baselines that write reports without learning to: the most frequent report, and the nearest film's."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch

from data_module.film_check import FilmCheck, describe_maps
from data_module.pairs import PairsFolder
from language_module.config import DecodingConfig
from language_module.image_encoder import ImageEncoder, encode_features
from pipelines.report_writer import Generators, ReportBatch, ReportWriter, check_distances
from runtime.contents import model_hash
from runtime.devices import pick_device
from runtime.runs import RunFolder

MOST_FREQUENT, RETRIEVAL = "most-frequent", "retrieval"


def training_rows(data: Path, name: str) -> PairsFolder:
    """Rows of split train. ValueError where there are none."""
    train = PairsFolder.open(data).split("train")
    if not len(train):
        raise ValueError(f"--model {name} needs the training rows of --data; {data} has none")
    return train


def most_frequent(train: PairsFolder) -> ReportWriter:
    """Knows nothing of the film."""
    report = Counter(train.table["report"]).most_common(1)[0][0]
    return ReportWriter(32, lambda images, decoding, generators: ReportBatch([report] * len(images), None))


def retrieval(train: PairsFolder, classifier: Path) -> ReportWriter:
    """The report of the training film that is nearest in the classifier's pooled features, by cosine.

    The features are kept in cache/ beside the classifier's run.
    """
    folder = RunFolder.open(classifier, "classifier").model_dir
    encoder = ImageEncoder.from_pretrained(folder, "--classifier").to(pick_device())
    known = encode_features(train, encoder, model_hash(folder), classifier.parent / "cache")
    reports = train.table["report"].tolist()
    check = FilmCheck.fit(describe_maps(np.asarray(known)))
    known_maps = torch.from_numpy(np.asarray(known, np.float32))
    center = known_maps.mean(dim=(0, 2, 3))
    directions = _directions(known_maps, center)

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> ReportBatch:
        features = encoder(images.to(encoder.device))
        nearest = (_directions(features.cpu().float(), center) @ directions.T).argmax(dim=1)
        return ReportBatch([reports[place] for place in nearest.tolist()], check_distances(check, features))

    return ReportWriter(encoder.image_size, write, (folder,))


def _directions(maps: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> pooled (N, C), less `center` (C,), of length 1.

    Features behind a ReLU share a large mean: with it all cosines are nearly 1, and rounding may decide.
    """
    return torch.nn.functional.normalize(maps.mean(dim=(2, 3)) - center, dim=1)
