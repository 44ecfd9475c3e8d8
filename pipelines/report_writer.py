"""What writes a report for a film, behind one interface: codec + prior, the GPT baseline, and two floors."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL

from data_module.cache import model_hash
from data_module.film_check import FilmCheck, describe_maps
from data_module.findings import FINDINGS, POSITIVE
from data_module.images import FilmError, load_images
from data_module.labeler import label_reports
from data_module.labeler.attributes import NUM_ATTRIBUTES, attribute_labels
from data_module.pairs import PairsFolder
from language_module import DecodingConfig, ImageEncoder, ReportCodec, ReportGPT, encode_features
from prior_model import CODEC, ENCODER, ReportPrior
from runtime import RunFolder
from runtime.devices import pick_device
from vision_module import encode_films

MOST_FREQUENT, RETRIEVAL = "most-frequent", "retrieval"


class Written(NamedTuple):
    """Reports of B films, and how far each film is from the training films: above 1 is unlike them."""

    reports: list[str]
    distances: np.ndarray | None  # (B,); None where the model was saved without a check


Generators = Sequence[torch.Generator] | None
Write = Callable[[torch.Tensor, DecodingConfig, Generators], Written]
# Words of the reports that a codec has learned have one or two tokens, those of another language several.
MAX_TOKENS_PER_WORD = 3.0


class Result(NamedTuple):
    """What became of a row: a report, with a warning or ""; or why it was skipped."""

    report: str = ""
    warning: str = ""
    skipped: str = ""


Process = Callable[[pd.DataFrame, Generators], list[Result]]


@dataclass(frozen=True)
class ReportModel:
    """`write` takes films (B, 1, S, S) in [-1, 1], S being `film_size`; one generator a film for sampling."""

    film_size: int
    write: Write
    folders: tuple[Path, ...] = field(default=())
    """Model folders that decide the reports."""

    @property
    def identity(self) -> list[str]:
        """Hashes of the weights."""
        return [model_hash(folder) for folder in self.folders]


def open_process(config: Any) -> tuple[Process, list[str]]:
    """Rows (path, report) -> results, through --model or, with --reconstruct, the codec alone.

    Returns:
        The function, and hashes of the weights that decide its results.
    """
    if config.reconstruct:
        codec = open_codec(config.language or "runs/demo/bart")
        return partial(_reconstruct, codec, config.decoding), [codec.fingerprint()]
    model = open_report_model(config)
    return partial(_read_films, model, config.decoding), model.identity


def _read_films(
    model: ReportModel, decoding: DecodingConfig, rows: pd.DataFrame, generators: Generators
) -> list[Result]:
    films, failures = [], []
    for path in rows["path"]:
        try:
            film, failure = load_images([path], model.film_size), ""
        except FilmError as error:  # a black film in its place, so that the batch keeps its shape
            film, failure = torch.zeros(1, 1, model.film_size, model.film_size), str(error)
        films.append(film)
        failures.append(failure)
    reports, distances = model.write(torch.cat(films), decoding, generators)
    distances = np.zeros(len(reports)) if distances is None else distances
    return [
        Result(skipped=failure) if failure else Result(report, _judge_film(distance))
        for report, distance, failure in zip(reports, distances, failures, strict=True)
    ]


def _judge_film(distance: float) -> str:
    if distance <= 1.0:
        return ""
    return f"unlike the films the model was trained on ({distance:.1f} times the limit): do not rely on it"


def _reconstruct(
    codec: ReportCodec, decoding: DecodingConfig, rows: pd.DataFrame, generators: Generators
) -> list[Result]:
    reports = rows["report"].fillna("").astype(str).tolist()
    texts = [report if report.strip() else "none" for report in reports]  # keeps the batch's shape
    decoded = codec.decode(codec.encode(texts), decoding, generators)
    lengths = codec.tokenizer(texts, return_length=True, verbose=False)["length"]
    limit, results = codec.config.max_tokens, []
    for report, text, length in zip(reports, decoded, lengths, strict=True):
        warning = ""
        if length > MAX_TOKENS_PER_WORD * max(len(report.split()), 4):
            warning = "unlike the reports that the codec has learned; another language?"
        elif length > limit:
            warning = f"cut: it has {length} tokens, the codec takes {limit}"
        results.append(Result(text, warning) if report.strip() else Result(skipped="the report is empty"))
    return results


def open_report_model(config: Any) -> ReportModel:
    """What --model names: a run of train_prior_model.py or train_report_gpt.py, or a floor.

    Args:
        config: model, data, and language, autoencoder, classifier
            and clip, of which an empty one is the one that the prior was trained with.

    Raises:
        ValueError: no such run, or parts that do not fit each other.
    """
    if config.model == MOST_FREQUENT:
        return _most_frequent(_train_part(config))
    if config.model == RETRIEVAL:
        return _retrieval(_train_part(config), Path(config.classifier or "runs/demo/classifier"))
    run = RunFolder.open(Path(config.model), ("prior", "report_gpt"))
    return _codec_and_prior(config, run) if run.kind == "prior" else _report_gpt(run)


def open_codec(source: str | Path) -> ReportCodec:
    """The codec of a run of train_bart.py, on the accelerator where there is one."""
    return ReportCodec.from_pretrained(RunFolder.open(Path(source), "bart").model_dir).to(pick_device())


def _codec_and_prior(config: Any, run: RunFolder) -> ReportModel:
    device = pick_device()
    prior = ReportPrior.from_pretrained(run.model_dir).eval().to(device)
    paths = {name: Path(getattr(config, name) or run.config[name]) for name in ("language", "autoencoder")}
    language = _own_part(run, CODEC) or RunFolder.open(paths["language"], "bart").model_dir
    codec = ReportCodec.from_pretrained(language).to(device)
    prior.check_codec(codec.num_embeddings, codec.embedding_dim, codec.fingerprint())
    read, film_size, folder = _prior_input(config, run, prior, paths["autoencoder"])
    check = FilmCheck.load(run.model_dir)

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> Written:
        features = read(images.to(device))
        embeddings, logits = prior(prior.standardize(features), return_findings=True)
        if decoding.num_candidates == 1:
            reports = codec.decode(embeddings, decoding, generators)
        elif logits is None:
            raise ValueError("--num-candidates needs a prior that predicts findings (--num-findings 14)")
        else:
            # One after another, so that a report depends on its film's own generator alone.
            drafts = [codec.decode(embeddings, decoding, generators) for _ in range(decoding.num_candidates)]
            drafts.append(codec.decode(embeddings))
            reports = choose_drafts(drafts, logits.float().cpu())
        return Written(reports, _distances(check, features))

    return ReportModel(film_size, write, (language, run.model_dir, folder))


def choose_drafts(drafts: Sequence[Sequence[str]], logits: torch.Tensor) -> list[str]:
    """Of C drafts of each of B films the one that says what the prior sees.

    Its score is the sum of the log-odds (B, 14), or with sides and grades (B, 14 + NUM_ATTRIBUTES), of what
    the draft asserts, and of the contrary of what it denies. What it leaves open counts nothing, and neither
    do side and grade of a finding that is not seen: they are only known given the finding.
    """
    num_findings = len(FINDINGS)
    seen = logits[:, :num_findings].repeat_interleave(NUM_ATTRIBUTES // num_findings, dim=1) > 0
    seen = torch.cat([torch.ones(len(logits), num_findings), seen], dim=1)[:, : logits.shape[1]]
    scores = []
    for reports in drafts:
        present = (label_reports(list(reports)) == POSITIVE).astype(np.float32)
        told = attribute_labels(reports)  # 1, 0, or -1: left open
        signs = np.concatenate([present, np.where(told < 0, 0.0, 2.0 * told - 1.0)], axis=1)
        signs = torch.from_numpy(signs[:, : logits.shape[1]].astype(np.float32))
        scores.append((signs * seen * logits).sum(dim=1))
    best = torch.stack(scores).argmax(dim=0).tolist()
    return [drafts[choice][item] for item, choice in enumerate(best)]


def _own_part(run: RunFolder, name: str) -> Path | None:
    """The encoder or codec that a prior's run trained for itself."""
    folder = run.model_dir / name
    return folder if folder.is_dir() else None


def _prior_input(
    config: Any, run: RunFolder, prior: ReportPrior, autoencoder_run: Path
) -> tuple[Callable[[torch.Tensor], torch.Tensor], int, Path]:
    """Films -> what this prior reads; the films' side; the folder of the model that does it."""
    kind = prior.config.features
    if kind != "latents":
        folder = _own_part(run, ENCODER)
        folder = folder or RunFolder.open(Path(getattr(config, kind) or run.config[kind]), kind).model_dir
        levels = run.config.get("feature_levels", 1)
        encoder = ImageEncoder.from_pretrained(folder, f"--{kind}", levels).to(prior.device)
        return encoder, encoder.image_size, folder
    folder = RunFolder.open(autoencoder_run, "autoencoder").model_dir
    autoencoder = AutoencoderKL.from_pretrained(folder).eval().to(prior.device)
    film_size = prior.config.latent_size * 2 ** (len(autoencoder.config.block_out_channels) - 1)
    return lambda images: encode_films(autoencoder, images)[0], film_size, folder


def _report_gpt(run: RunFolder) -> ReportModel:
    model = ReportGPT.from_pretrained(run.model_dir).to(pick_device())
    check = FilmCheck.load(run.model_dir)

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> Written:
        features = model.encoder(images.to(model.device))
        return Written(model.write(features, decoding, generators), _distances(check, features))

    return ReportModel(model.film_size, write, (run.model_dir,))


def _most_frequent(train: PairsFolder) -> ReportModel:
    """The floor that knows nothing of the film."""
    report = Counter(train.table["report"]).most_common(1)[0][0]
    return ReportModel(32, lambda images, decoding, generators: Written([report] * len(images), None))


def _retrieval(train: PairsFolder, classifier: Path) -> ReportModel:
    """The report of the training film that is nearest in the classifier's pooled features, by cosine.

    The features are kept in cache/ beside the classifier's run.
    """
    folder = RunFolder.open(classifier, "classifier").model_dir
    encoder = ImageEncoder.from_pretrained(folder, "--classifier").to(pick_device())
    known = encode_features(train, encoder, model_hash(folder), classifier.parent / "cache")
    reports = train.table["report"].tolist()
    check = FilmCheck.fit(describe_maps(np.asarray(known)))
    known_maps = torch.from_numpy(np.asarray(known, np.float32))
    centre = known_maps.mean(dim=(0, 2, 3))
    directions = _directions(known_maps, centre)

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> Written:
        features = encoder(images.to(encoder.device))
        nearest = (_directions(features.cpu().float(), centre) @ directions.T).argmax(dim=1)
        return Written([reports[place] for place in nearest.tolist()], _distances(check, features))

    return ReportModel(encoder.image_size, write, (folder,))


def _directions(maps: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> pooled (N, C), less `centre` (C,), of length 1.

    Features behind a ReLU share a large mean: with it all cosines are nearly 1, and rounding may decide.
    """
    return torch.nn.functional.normalize(maps.mean(dim=(2, 3)) - centre, dim=1)


def _distances(check: FilmCheck | None, features: torch.Tensor) -> np.ndarray | None:
    return None if check is None else check.distances(describe_maps(features.float().cpu().numpy()))


def _train_part(config: Any) -> PairsFolder:
    train = PairsFolder.open(config.data).split("train")
    if not len(train):
        raise ValueError(f"--model {config.model} needs the training rows of --data; {config.data} has none")
    return train
