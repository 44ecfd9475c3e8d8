"""Rows of a table -> their reports: films through a report writer, or reports through the codec alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from data_module.images import FilmError, load_images
from language_module.codec import ReportCodec
from language_module.config import DecodingConfig
from pipelines.report_writer import Generators, ReportWriter

# Words of the reports that a codec has learned have one or two tokens, those of another language several.
MAX_TOKENS_PER_WORD = 3.0


class RowResult(NamedTuple):
    """What became of a row: a report, with a warning or ""; or why it was skipped."""

    report: str = ""
    warning: str = ""
    skipped: str = ""


Process = Callable[[pd.DataFrame, Generators], list[RowResult]]


def read_films(
    writer: ReportWriter, decoding: DecodingConfig, rows: pd.DataFrame, generators: Generators
) -> list[RowResult]:
    """Reports of the films that the column `path` names."""
    films, failures = [], []
    for path in rows["path"]:
        try:
            film, failure = load_images([path], writer.film_size), ""
        except FilmError as error:  # a black film in its place, so that the batch keeps its shape
            film, failure = torch.zeros(1, 1, writer.film_size, writer.film_size), str(error)
        films.append(film)
        failures.append(failure)
    reports, distances = writer.write(torch.cat(films), decoding, generators)
    distances = np.zeros(len(reports)) if distances is None else distances
    return [
        RowResult(skipped=failure) if failure else RowResult(report, _warn_of(distance))
        for report, distance, failure in zip(reports, distances, failures, strict=True)
    ]


def _warn_of(distance: float) -> str:
    if distance <= 1.0:
        return ""
    return f"unlike the films the model was trained on ({distance:.1f} times the limit): do not rely on it"


def reconstruct(
    codec: ReportCodec, decoding: DecodingConfig, rows: pd.DataFrame, generators: Generators
) -> list[RowResult]:
    """The reports of the column `report`, encoded and decoded."""
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
        skipped = RowResult(skipped="the report is empty")
        results.append(RowResult(text, warning) if report.strip() else skipped)
    return results
