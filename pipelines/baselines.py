"""Baselines that write reports without learning to: one report for every film, and the nearest films'."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from data_module.consensus import ConsensusBleu, find_typical, spread
from data_module.film_check import FilmCheck, describe_maps
from data_module.pairs import PairsFolder
from language_module.config import DecodingConfig
from language_module.image_encoder import ImageEncoder, encode_features
from pipelines.report_writer import Generators, ReportBatch, ReportWriter, check_distances
from runtime.contents import model_hash
from runtime.devices import pick_device
from runtime.runs import RunFolder

MOST_FREQUENT, MOST_TYPICAL, RETRIEVAL = "most-frequent", "most-typical", "retrieval"


def training_rows(data: Path, name: str) -> PairsFolder:
    """Rows of split train. ValueError where there are none."""
    train = PairsFolder.open(data).split("train")
    if not len(train):
        raise ValueError(f"--model {name} needs the training rows of --data; {data} has none")
    return train


def most_frequent(train: PairsFolder) -> ReportWriter:
    """Knows nothing of the film."""
    return _one_for_all(Counter(train.table["report"]).most_common(1)[0][0])


def most_typical(train: PairsFolder) -> ReportWriter:
    """Knows nothing of the film either, and has the highest BLEU-4 that one training report can have."""
    return _one_for_all(find_typical(train.table["report"].tolist()))


def _one_for_all(report: str) -> ReportWriter:
    return ReportWriter(32, lambda images, decoding, generators: ReportBatch([report] * len(images), None))


def retrieval(train: PairsFolder, classifier: Path, num_neighbors: int = 1) -> ReportWriter:
    """The report of the training film that is nearest in the classifier's pooled features, by cosine.

    With several neighbors it is the training report with the highest BLEU-4 against theirs, which need not be
    a neighbor's own. The features are kept in cache/ beside the classifier's run.

    Raises:
        ValueError: more neighbors than training films.
    """
    if num_neighbors > len(train):
        raise ValueError(f"--num-neighbors {num_neighbors}: there are {len(train)} training films")
    folder = RunFolder.open(classifier, "classifier").model_dir
    encoder = ImageEncoder.from_pretrained(folder, "--classifier").to(pick_device())
    known = encode_features(train, encoder, model_hash(folder), classifier.parent / "cache")
    reports = train.table["report"].tolist()
    check = FilmCheck.fit(describe_maps(np.asarray(known)))
    known_maps = torch.from_numpy(np.asarray(known, np.float32))
    center = known_maps.mean(dim=(0, 2, 3))
    directions = _directions(known_maps, center)
    candidates = spread(list(dict.fromkeys(reports)))
    consensus = ConsensusBleu(candidates, reports) if num_neighbors > 1 else None

    def choose(nearest: torch.Tensor) -> list[str]:
        """Training reports for the neighbors (B, K) of B films."""
        if consensus is None:
            return [reports[place] for place in nearest[:, 0].tolist()]
        films = torch.arange(len(nearest)).repeat_interleave(num_neighbors)
        shares = np.full(nearest.numel(), 1.0 / num_neighbors)
        places = (nearest.flatten().numpy(), films.numpy())
        scores = consensus.score(sparse.csc_array((shares, places), (len(reports), len(nearest))))
        return [candidates[place] for place in scores.argmax(axis=0).tolist()]

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> ReportBatch:
        features = encoder(images.to(encoder.device))
        similarity = _directions(features.cpu().float(), center) @ directions.T
        nearest = similarity.sort(dim=1, descending=True, stable=True).indices[:, :num_neighbors]
        return ReportBatch(choose(nearest), check_distances(check, features))

    return ReportWriter(encoder.image_size, write, (folder,))


def _directions(maps: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> pooled (N, C), less `center` (C,), of length 1.

    Features behind a ReLU share a large mean: with it all cosines are nearly 1, and rounding may decide.
    """
    return torch.nn.functional.normalize(maps.mean(dim=(2, 3)) - center, dim=1)
