"""How alike films of one set are: SSIM of random pairs, and MS-SSIM of films drawn for the same prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data_module.decoding import read_pixels
from evaluation.images.inputs import FilmInputs, FilmSet
from evaluation.metric import Direction, Figure, Items, Metric, needed
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator

# Weights of the scales (Wang et al., Asilomar 2003); small films have room for the first ones only.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11  # pixels of the Gaussian window, which must fit into the coarsest scale
MAX_SIDE = 256
BATCH = 20  # pairs


def draw_pairs(
    groups: Sequence[str], num_pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (P,) and (P,) of random pairs of different items of one group; P = 0 where no group has two.

    Groups are drawn in proportion to their number of pairs, so that every pair is equally likely.
    """
    _, codes, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weights = counts * (counts - 1.0)
    if not weights.sum():
        return np.empty(0, int), np.empty(0, int)
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    chosen = rng.choice(len(counts), size=num_pairs, p=weights / weights.sum())
    first = rng.integers(counts[chosen])
    second = (first + rng.integers(1, counts[chosen])) % counts[chosen]
    return order[starts[chosen] + first], order[starts[chosen] + second]


def num_scales(side: int) -> int:
    """How many scales of MS-SSIM fit a film of `side` pixels; 0 where none does."""
    return sum(side // 2**scale > (WINDOW - 1) for scale in range(len(SCALE_WEIGHTS)))


@dataclass(frozen=True)
class Similarities:
    """Similarity of P pairs of films; P = 0 where there is no pair, or the films are too small."""

    pairs: np.ndarray  # (P, 2) rows of the films
    values: np.ndarray  # (P,) at most 1

    @property
    def mean(self) -> float | None:
        """None for no pair."""
        return float(self.values.mean()) if len(self.values) else None


def score_similarity(
    paths: Sequence[Path],
    size: int,
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
    num_pairs: int = 200,
) -> Similarities:
    """Similarity of random pairs of films, brought to `size` (pixels).

    Args:
        groups: the prompt of each film: MS-SSIM of pairs of one prompt. None: SSIM of pairs of all films.
    """
    import torch
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        structural_similarity_index_measure,
    )

    from data_module.images import load_images

    first, second = draw_pairs(["all"] * len(paths) if groups is None else groups, num_pairs, rng)
    weights = SCALE_WEIGHTS[: num_scales(size)]
    if not len(first) or (groups is not None and not weights):
        return Similarities(np.empty((0, 2), int), np.empty(0))
    used, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    images = load_images([paths[row] for row in used], size)
    if groups is None:
        measure = partial(structural_similarity_index_measure, data_range=2.0, reduction="none")
    else:
        measure = partial(
            multiscale_structural_similarity_index_measure,
            data_range=2.0,
            betas=tuple(weight / sum(weights) for weight in weights),
            normalize="relu",
            kernel_size=WINDOW,
            reduction="none",
        )
    # In batches: the windows' sums of all pairs at once would take gigabytes.
    sides = (torch.from_numpy(side).split(BATCH) for side in (places[: len(first)], places[len(first) :]))
    values = torch.cat([torch.as_tensor(measure(images[a], images[b])) for a, b in zip(*sides, strict=True)])
    return Similarities(np.stack([first, second], axis=1), values.numpy().astype(np.float64))


def _similar(side: FilmSet, rng: np.random.Generator, within_prompt: bool) -> tuple[Similarities, int]:
    """Similarities of readable films, as rows of the side, and the size in pixels they were compared at."""
    rows = np.flatnonzero(side.readable).tolist()
    paths = {row: needed(side.paths[row]) for row in rows}  # a readable film has one
    size = min(MAX_SIDE, *read_pixels(paths[rows[0]]).shape)
    if within_prompt:
        rows = [row for row in rows if side.prompts[row]]
    groups = [side.prompts[row] for row in rows] if within_prompt else None
    found = score_similarity([paths[row] for row in rows], size, rng, groups)
    return Similarities(np.array(rows, int)[found.pairs], found.values), size


def _compute(films: FilmInputs, key: str) -> Figure:
    means, more, items = {}, {}, {}
    made, real = needed(films.synthetic), needed(films.real)
    for end, side, start in (("", made, 0), ("_real", real, len(made))):
        found, size = _similar(side, films.rng(f"{key}{end}"), key != "ssim")
        means[end] = found.mean
        more |= {f"ssim_size{end}": size, f"ms_ssim_scales{end}": num_scales(size)}
        items |= {f"{key}_pairs{end}": found.pairs + start, f"{key}_values{end}": found.values}
    return Figure(means[""], ceiling=means["_real"], more=more, items=items)


def _estimate(items: Items, key: str) -> Mapping[str, Estimator]:
    return {
        f"{key}{end}": weighted_estimators.mean_of_pairs(
            items[f"{key}_values{end}"], items[f"{key}_pairs{end}"]
        )
        for end in ("", "_real")
        if len(items[f"{key}_pairs{end}"])
    }


_DIRECTIONS: dict[str, Direction] = {"ssim": "as real", "ms_ssim_within_prompt": "lower"}
METRICS = tuple(
    Metric(
        key=key,
        title=title,
        section="films",
        direction=_DIRECTIONS[key],
        range=(-1.0 if key == "ssim" else 0.0, 1.0),
        convention=f"{convention}, brought to the size of the first film, at most {MAX_SIDE} pixels; "
        "interval over the pairs drawn",
        source=source,
        needs=needs,
        compute=partial(_compute, key=key),
        estimate=partial(_estimate, key=key),
        ceiling=f"{key}_real",
        headline=headline,
    )
    for key, title, source, needs, headline, convention in (
        (
            "ssim",
            "SSIM of random pairs",
            "Wang et al., TIP 2004, eq. 13, by torchmetrics",
            ("films",),
            4,
            "mean SSIM of random pairs of films of one set; above the real films': less diverse",
        ),
        (
            "ms_ssim_within_prompt",
            "MS-SSIM within a prompt",
            "Wang et al., Asilomar 2003, eq. 7, by torchmetrics",
            ("films", "prompts"),
            5,
            "mean MS-SSIM of random pairs of films of the same prompt; null where no prompt was drawn twice",
        ),
    )
)
