"""CheXGenBench's protocol (Dutt et al., 2025), as its scripts take it; each figure says whether it compares.

Real films are those of distinct prompts; all films are squashed to 299 x 299; FID, KID and PRDC are of
RadDINO's pooled output. Privacy: several films for each training prompt, against its real film.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data_module.findings import FINDINGS
from evaluation.images.coverage import NUM_NEIGHBORS, score_coverage
from evaluation.images.fid import frechet_distance
from evaluation.output.cells import format_value
from evaluation.protocol.networks import RadDino, Reidentifier, extract_all
from evaluation.protocol.sets import PromptedFilms, read_bytes, read_color, read_set
from runtime.devices import resolve_device
from runtime.files import write_atomic
from runtime.markdown import markdown_table

SIZE, PRIVACY_SIZE, NUM_SUBSETS, SEED = 299, 512, 100, 42
_ORIGINALS = "where the films are the originals, not resized before"


@dataclass(frozen=True)
class ProtocolFigure:
    """One number. `comparable`: with the benchmark's published ones; `why`: on what condition, or why not."""

    name: str
    value: float | None
    comparable: bool
    why: str


def run_chexgenbench(settings: Any) -> dict[str, Any]:
    """Score by the protocol; writes OUT/protocol.json and OUT/protocol.md.

    Args:
        settings: `evaluation.commands.Protocol`.

    Raises:
        ValueError: names the file or flag that is wrong.
    """
    device = resolve_device(settings.device)
    real = read_set(settings.real, settings.real_images, "--real", settings.split).distinct()
    made = read_set(settings.synthetic, settings.synthetic_images, "--synthetic")
    network = RadDino(settings.raddino, device)
    batch = settings.batch_size
    features = [
        extract_all(side.paths, partial(read_bytes, size=SIZE), network, batch) for side in (real, made)
    ]
    other = network.stand_in
    why = _stands_in(other) if other else f"with microsoft/rad-dino in --raddino, {_ORIGINALS}"
    figures = [
        ProtocolFigure(f"{name} ({other or 'RadDINO'})", value, not other, why)
        for name, value in score_sets(*features).items()
    ]
    if settings.inception:
        figures += _score_inception(settings.inception, real, made, device, batch)
    if settings.clip:
        figures.append(score_alignment(settings.clip, made, device))
    if settings.frd:
        figures += _score_frd(real, made, settings.out / "cache")
    if settings.draws:
        figures += _score_privacy(settings, network, device)
    result = {
        "protocol": "chexgenbench",
        "num_real": len(real),
        "num_synthetic": len(made),
        "network": other or "RadDINO",
        "figures": [asdict(figure) for figure in figures],
        "per_finding": score_findings(real, made, *features),
        "left_out": {name: why for name, why in LEFT_OUT.items() if not (settings.frd and name == "FRD")},
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    write_atomic(settings.out / "protocol.json", json.dumps(result, indent=2) + "\n")
    write_atomic(settings.out / "protocol.md", as_markdown(result))
    return result


def _stands_in(kind: str) -> str:
    return f"--raddino is a {kind} and not microsoft/rad-dino; compare systems scored by the same one"


LEFT_OUT = {
    "Inception Score": "its script feeds 2,048 pooled features where the score is defined on 1,008 logits; "
    "a score of films by ImageNet's classes says nothing of them either way",
    "FRD": "some seconds a film, by --frd",
    "Downstream classification and report generation": "train on the synthetic films: `python -m evaluation "
    "mix` and `utility`, generate_reports.py",
}


def score_sets(real: np.ndarray, made: np.ndarray) -> dict[str, float | None]:
    """FID, KID and PRDC of features (N, D) and (M, D); None for what too few films cannot say."""
    found: dict[str, float | None] = {"FID": frechet_distance(made, real), "KID": subset_kid(real, made)}
    enough = min(len(real), len(made)) > NUM_NEIGHBORS
    coverage = score_coverage(real, made) if enough else {}
    names = ("precision", "recall", "density", "coverage")
    return found | {name.capitalize(): coverage.get(name) for name in names}


def subset_kid(real: np.ndarray, made: np.ndarray) -> float:
    """KID whose subsets are as large as the smaller set; with as many films on both sides they are one."""
    from torchmetrics.image.kid import poly_mmd

    size, rng = min(len(real), len(made)), np.random.default_rng(SEED)
    sides = [torch.from_numpy(side.astype(np.float64)) for side in (real, made)]
    values = []
    for _ in range(1 if len(real) == len(made) else NUM_SUBSETS):
        picked = [side[rng.permutation(len(side))[:size]] for side in sides]
        values.append(float(poly_mmd(picked[0], picked[1])))
    return float(np.mean(values))


def score_findings(
    real: PromptedFilms, made: PromptedFilms, real_features: np.ndarray, made_features: np.ndarray
) -> dict[str, dict[str, float | int | None]]:
    """The figures of each finding's films: real ones positive for it, and those drawn from their prompts."""
    scored = {}
    for column, finding in enumerate(FINDINGS):
        rows = np.flatnonzero(real.positive[:, column]).tolist()
        asked = {real.prompts[row] for row in rows}
        others = [row for row, prompt in enumerate(made.prompts) if prompt in asked]
        counts: dict[str, float | int | None] = {"num_real": len(rows), "num_synthetic": len(others)}
        if min(len(rows), len(others)) > NUM_NEIGHBORS:
            counts |= score_sets(real_features[rows], made_features[others])
        scored[finding] = counts
    return scored


def _score_inception(
    path: Path, real: PromptedFilms, made: PromptedFilms, device: torch.device, batch: int
) -> list[ProtocolFigure]:
    from evaluation.networks.extractors import open_extractor

    network = open_extractor(f"inception:{path}", device)

    def extract(films: torch.Tensor) -> np.ndarray:
        gray = films[:, :1].float() / 127.5 - 1.0  # films are gray, so that its channels are one
        return network.features(gray).cpu().numpy()

    sides = [extract_all(side.paths, partial(read_bytes, size=SIZE), extract, batch) for side in (real, made)]
    figures = {"FID": frechet_distance(sides[1], sides[0]), "KID": subset_kid(*sides)}
    return [ProtocolFigure(f"{name} (Inception)", value, True, _ORIGINALS) for name, value in figures.items()]


def score_alignment(clip: str, made: PromptedFilms, device: torch.device) -> ProtocolFigure:
    """Mean cosine of a film and its prompt, by the model of --clip."""
    from evaluation.networks.two_towers import open_two_towers

    model = open_two_towers(clip, device)
    films = model.embed_films(made.paths, None, 64, "films")
    texts, _ = model.embed_texts(made.prompts)
    value = float(np.nanmean((films * texts).sum(axis=1)))
    if model.kind == "biovil-t":
        why = f"with microsoft/BiomedVLP-BioViL-T in --clip, {_ORIGINALS}; to three decimals, as it rounds"
        return ProtocolFigure("image-text alignment (BioViL-T)", value, True, why)
    why = "the benchmark's is by BioViL-T; compare systems scored by the same --clip"
    return ProtocolFigure(f"image-text alignment ({model.kind})", value, False, why)


def _score_frd(real: PromptedFilms, made: PromptedFilms, cache_dir: Path) -> list[ProtocolFigure]:
    from evaluation.protocol.frd import score_frd

    found = score_frd(real.paths, made.paths, cache_dir)
    why = "the published one, of radiomic features; the benchmark's script has more features"
    script = f"it counts what pyradiomics tells of sizes and gray levels as features, {_ORIGINALS}"
    return [
        ProtocolFigure("FRD", found[False], False, why),
        ProtocolFigure("FRD as its script", found[True], True, script),
    ]


def _score_privacy(settings: Any, network: RadDino, device: torch.device) -> list[ProtocolFigure]:
    """Means over prompts of the mean and the extreme over a prompt's films."""
    if not settings.training:
        raise ValueError("--draws needs --training: the real films of the prompts that they were drawn from")
    real = read_set(settings.training, settings.training_images, "--training").distinct()
    drawn = read_set(settings.draws, settings.draws_images, "--draws")
    known = {prompt: row for row, prompt in enumerate(real.prompts)}
    of_prompt: dict[str, list[int]] = {}
    for row, prompt in enumerate(drawn.prompts):
        of_prompt.setdefault(prompt, []).append(row)
    asked = [prompt for prompt in of_prompt if prompt in known]
    if not asked:
        raise ValueError(f"--draws {settings.draws}: none of its prompts is one of --training's")
    siamese = Reidentifier(settings.reidentify, device) if settings.reidentify else None
    rows = [
        compare_draws(
            read_color(real.paths[known[prompt]], PRIVACY_SIZE),
            [read_color(drawn.paths[row], PRIVACY_SIZE) for row in of_prompt[prompt]],
            network,
            siamese,
        )
        for prompt in asked
    ]
    least = min(len(of_prompt[prompt]) for prompt in asked)
    enough = least >= 10
    often = "" if enough else f"; the benchmark draws 10 films a prompt, here {least} of some"
    notes = {
        "pixel": "the true distance, where its script subtracts bytes, which wrap around",
        "pixel as its script": f"with {PRIVACY_SIZE} x {PRIVACY_SIZE} films{often}",
        "latent": _stands_in(network.stand_in)
        if network.stand_in
        else f"with microsoft/rad-dino in --raddino{often}",
        "re-identification": f"with its published network{often}",
    }
    return [
        ProtocolFigure(
            f"{name} of {kind}",
            float(np.mean([row[kind, name] for row in rows])),
            enough and kind != "pixel" and not (kind == "latent" and network.stand_in),
            why,
        )
        for kind, why in notes.items()
        for name in ("mean", "extreme")
        if (kind, name) in rows[0]
    ]


def compare_draws(
    real: np.ndarray, draws: list[np.ndarray], network: Any, siamese: Any = None
) -> dict[tuple[str, str], float]:
    """One real film (H, W, 3) uint8 and those drawn from its prompt: (kind, mean or extreme) -> value.

    The extreme is the nearest distance, and the greatest probability of one patient.
    """
    wrapped = [np.linalg.norm((real - draw).astype(np.float64)) for draw in draws]
    true = [np.linalg.norm(real.astype(np.float64) - draw) for draw in draws]
    encoded = network([Image.fromarray(film) for film in (real, *draws)]).astype(np.float64)
    latent = np.linalg.norm(encoded[1:] - encoded[0], axis=1) / np.sqrt(encoded.shape[1])
    found: Mapping[str, np.ndarray] = {
        "pixel": np.array(true) / np.sqrt(real.size),
        "pixel as its script": np.array(wrapped) / np.sqrt(real.size),
        "latent": latent,
    }
    values = {
        (kind, name): float(take(each))
        for kind, each in found.items()
        for name, take in (("mean", np.mean), ("extreme", np.min))
    }
    if siamese is not None:
        same = siamese.compare(real, draws)
        values |= {("re-identification", "mean"): float(same.mean())}
        values |= {("re-identification", "extreme"): float(same.max())}
    return values


def as_markdown(result: Mapping[str, Any]) -> str:
    """The figures with what they may be compared with, those of each finding, and what was left out."""
    rows = [
        (f["name"], format_value(f["value"]), "yes" if f["comparable"] else "no", f["why"])
        for f in result["figures"]
    ]
    names = ("num_real", "num_synthetic", "FID", "KID", "Precision", "Recall", "Density", "Coverage")
    findings = [
        (finding, *(format_value(figures.get(name)) for name in names))
        for finding, figures in result["per_finding"].items()
    ]
    left_out = "\n".join(f"- {name}: {why}." for name, why in result["left_out"].items())
    return f"""# CheXGenBench's protocol

{result["num_real"]} real films of distinct prompts, {result["num_synthetic"]} synthetic ones.

{markdown_table(("figure", "value", "comparable", "why"), rows)}

By finding, on features of {result["network"]}; a dash where {NUM_NEIGHBORS} films or fewer are on a side:

{markdown_table(("finding", *names), findings)}

Not computed:

{left_out}
"""
