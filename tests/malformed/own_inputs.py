"""Good runs, checkpoints, models, weights, results, caches and half-made folders, and what reads them.

Every reader takes a seed, or a damaged copy of one, and returns what it found as plain values. What belongs
to a seed and is not to be damaged lies in a folder beside those of the seeds, which readers find by its name.
"""

import contextlib
import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from helpers import forked, tiny_training
from PIL import Image

BESIDE = "beside"
SIZE = 32


def _beside(path: Path) -> Path:
    return path.parent.parent / BESIDE


def _hash_folder(folder: Path) -> str:
    """Of all that lies in a folder, but for what notes how it was made and its card, which people edit."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts[0] not in (".parts", "provenance.json", "prepare.json", "README.md"):
            digest.update("/".join(parts).encode() + path.read_bytes())
    return digest.hexdigest()


# Runs and their checkpoints.


def run_seeds(folder: Path) -> None:
    for name in ("a", "b"):
        tiny_training.main(["--out", str(folder / name), "--num-steps", "6"])


def read_run(path: Path) -> Any:
    from runtime.cli import parse_config
    from runtime.runs import RunFolder, is_finished, model_source

    run = RunFolder.open(path, "test")
    assert Path(model_source(path, "test", "--model")) == run.model_dir
    config = parse_config(tiny_training.PRESETS, ["--config", str(path / "config.json"), "--overwrite"], None)
    is_finished(config)
    num_lines = len(run.read_log())
    run.cut_log(5)
    return [run.kind, num_lines]


def checkpoint_seeds(folder: Path) -> None:
    """A killed run with two checkpoints."""
    for event in range(9, 40):
        flags = ["--out", str(folder / "run"), "--keep-checkpoints", "2"]
        forked.run(tiny_training.main, flags, kill_at=event)
        if len(list((folder / "run" / "checkpoints").glob("step_*"))) == 2:
            return
        shutil.rmtree(folder / "run")
    raise AssertionError("no event left two checkpoints")


def resume(path: Path) -> Any:
    tiny_training.main(["--out", str(path)])
    weights = tiny_training.read_weights(path)
    return {name: value.double().sum().item().hex() for name, value in weights.items()}


# Models and weights.


def _texts() -> list[str]:
    return ["The heart is normal.", "Small left pleural effusion.", "No pneumothorax."] * 20


def model_seeds(folder: Path) -> None:
    """A whole U-ViT pipeline, a report codec and a prior, of tiny sizes and new weights."""
    from language_module.build import BartSize, build_codec
    from language_module.codec import CodecConfig
    from language_module.tokenizer import train_tokenizer
    from prior_model.prior import ReportPrior
    from vision_module.autoencoder import AutoencoderConfig, build_autoencoder
    from vision_module.clip import ClipConfig, build_clip, make_processor, train_clip_tokenizer
    from vision_module.diffusion import DiffusionConfig, make_scheduler
    from vision_module.pipeline import VisionModel, load_prompts
    from vision_module.uvit import UViT

    torch.manual_seed(0)
    clip_tokenizer = train_clip_tokenizer(_texts(), 400)
    clip = build_clip(ClipConfig(width=32, num_layers=1, patch_size=16), clip_tokenizer, SIZE)
    for part in (clip, clip_tokenizer, make_processor(clip, "")):
        part.save_pretrained(folder.parent / "clip")
    prompts = load_prompts(str(folder.parent / "clip"), str(folder.parent / "clip"), "concat", "pooled")
    shutil.rmtree(folder.parent / "clip")
    autoencoder = build_autoencoder(AutoencoderConfig(block_out_channels=(8, 8, 8)), SIZE)
    denoiser = UViT(8, 4, 2, 32, 3, 2, context_dim=32, num_context_tokens=2)
    vision = VisionModel(autoencoder, denoiser, prompts, make_scheduler(DiffusionConfig()))
    vision.save_pretrained(folder / "vision")
    tokenizer = train_tokenizer(_texts(), 300, 24)
    size = BartSize(d_model=16, encoder_layers=1, decoder_layers=1, num_heads=2, ffn_dim=16)
    codec = build_codec(size, tokenizer, CodecConfig(num_embeddings=2, pooler_heads=2, max_tokens=24))
    codec.save_pretrained(folder / "codec")
    prior = ReportPrior(4, 8, 2, 16, 1, 2, num_embeddings=2, embedding_dim=16)
    prior.save_pretrained(folder / "prior")


def read_model(path: Path) -> Any:
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging

    from language_module.codec import ReportCodec
    from prior_model.prior import ReportPrior
    from runtime.weights import load_pretrained
    from vision_module.pipeline import VisionModel

    logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    if path.name == "vision":
        model = VisionModel.from_pretrained(path)
        parts = [model.denoiser, model.autoencoder, model.prompts]
        model.prompts.encode(["Small left effusion."], None)
    elif path.name == "codec":
        parts = [ReportCodec.from_pretrained(path)]
        parts[0].encode(["Small left effusion."])
    else:
        parts = [load_pretrained(ReportPrior, path)]
    return [sum(value.numel() for value in part.state_dict().values()) for part in parts]


def weight_seeds(folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    weights = tiny_model().state_dict()
    save_file(weights, folder / "a.safetensors")
    torch.save(weights, folder / "b.pth")
    torch.save({"state_dict": weights, "epoch": 3, "hyper_parameters": {"lr": 0.1}}, folder / "c.ckpt")
    torch.save(weights, folder / "d.bin", _use_new_zipfile_serialization=False)


def tiny_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))


def read_weight_file(path: Path) -> Any:
    from runtime.weights import load_part

    model = tiny_model()
    load_part(model, path, "a tiny model")
    return sum(value.numel() for value in model.state_dict().values())


# Results.


def _items(wrong: float) -> dict[str, np.ndarray]:
    from evaluation.reports.overlap import score_overlap

    rng = np.random.default_rng(0)
    truth = (rng.random((40, 14)) < 0.3).astype(np.float32)
    turned = rng.random(40) < wrong
    texts = ["the heart is normal"] * 40
    return {
        "name": np.array([f"s{i}" for i in range(40)]),
        "patient": np.array([f"p{i // 2}" for i in range(40)]),
        "stratum": np.ones(40, int),
        "truth": truth,
        "guess": np.where(turned[:, None], 1.0 - truth, truth),
        "bleu_counts": score_overlap(texts, texts).bleu_counts,
        "score_rouge_l": 1.0 - turned,
    }


def result_seeds(folder: Path) -> None:
    from evaluation.inputs.results import save_results
    from evaluation.statistics.items import save_items

    inputs = {"films": {"real_hash": "a", "split": "test", "guidance_scale": 3.0}}
    for place, wrong in ((folder / "a", 0.1), (folder / "b", 0.2), (folder.parent / BESIDE, 0.3)):
        films = {
            "num_fidelity": 40,
            "fid": 3.2 + wrong,
            "fid_floor": 2.0,
            "auroc_mean": 0.8,
            "auroc_mean_real": 0.9,
            "fid_interval": [3.0, 3.5],
        }
        reports = {"micro_f1_14": 1.0 - wrong, "bleu_4": 0.3}
        results = {"schema_version": 3, "films": films, "reports": reports, "inputs": inputs}
        save_items(place / "items" / "reports.npz", _items(wrong))
        save_results(place / "results.json", results)


def read_scores(path: Path) -> Any:
    from evaluation.images.guidance import read_points
    from evaluation.output.compare import compare_systems
    from evaluation.output.summary import summarize

    out = path.parent.parent / "out"
    text = summarize([path], out / "summary.md")
    with contextlib.suppress(ValueError):  # films without a guidance scale make no point of a curve
        read_points([path])
    compared = compare_systems(path, _beside(path), out / "compare.md", num=20)
    return [text.count("\n"), compared.count("\n")]


# Caches.


def _encode(items: np.ndarray) -> dict[str, np.ndarray]:
    return {"latents": np.sin(np.arange(50)[None] * (items[:, None] + 1)).astype(np.float32)}


def cache_seeds(folder: Path) -> None:
    _write_cache(folder / "finished", 30)
    with contextlib.suppress(KeyboardInterrupt):
        _write_cache(folder / "half", 10)
    _score(folder / "scores")


def _write_cache(directory: Path, last: int) -> None:
    from data_module.cache import CacheWriter, open_or_write

    def encode(items: np.ndarray) -> dict[str, np.ndarray]:
        if items[0] >= last:
            raise KeyboardInterrupt
        return _encode(items)

    def write(writer: CacheWriter) -> None:
        writer.fill("films", 23, encode, 5)
        writer.put("index", np.arange(6))

    with contextlib.redirect_stderr(io.StringIO()):
        open_or_write(directory, "key", write)


def _score(directory: Path) -> Any:
    """Scores of films through evaluation's cache."""
    from evaluation.networks.cache import score_cached
    from evaluation.networks.classifier import FilmClassifier

    films = directory.parent.parent / BESIDE
    films.mkdir(exist_ok=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (SIZE, SIZE), dtype=np.uint8)
        Image.fromarray(pixels).save(films / f"{number}.png")

    def forward(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(len(images), 14, generator=torch.Generator().manual_seed(0)), images.mean((2, 3))

    classifier = FilmClassifier("tiny", "0", SIZE, {}, torch.device("cpu"), forward, "none")
    scores = score_cached(classifier, sorted(films.glob("*.png")), directory, 8)
    return [scores.probabilities.sum().item(), scores.features.sum().item(), len(scores.failures)]


def read_cache(path: Path) -> Any:
    from data_module.cache import LatentCache

    if path.name == "scores":
        return _score(path)
    if not LatentCache.exists(path, "key"):
        _write_cache(path, 30)
    cache = LatentCache.open(path, "key")
    return {name: hashlib.sha256(np.asarray(array).tobytes()).hexdigest() for name, array in cache.items()}


# Folders in the making.


def part_seeds(folder: Path) -> None:
    """Sampled and prepared folders, finished and not."""
    beside = folder.parent / BESIDE
    (beside / "films").mkdir(parents=True)
    rows = []
    for number in range(70):  # two blocks of films
        pixels = np.random.default_rng(number).integers(0, 255, (SIZE, SIZE), dtype=np.uint8)
        Image.fromarray(pixels).save(beside / "films" / f"{number}.png")
        rows.append(
            {"file_name": f"{number}.png", "patient_id": f"p{number}", "report": _texts()[number % 3]}
        )
    (beside / "films" / "7.png").write_bytes(b"")  # one that is skipped
    pd.DataFrame(rows).to_csv(beside / "table.csv", index=False)
    for name in ("prepared", "prepared_half"):
        _prepare(folder / name, beside)
    (folder / "prepared_half" / "metadata.csv").unlink()
    _sample(folder / "sampled", 12)
    with contextlib.suppress(KeyboardInterrupt):
        _sample(folder / "sampled_half", 8)


def _prepare(out: Path, beside: Path) -> None:
    import prepare_data

    flags = [
        "csv",
        "--table",
        str(beside / "table.csv"),
        "--images",
        str(beside / "films"),
        "--out",
        str(out),
    ]
    flags += ["--image-column", "file_name", "--patient-column", "patient_id", "--report-column", "report"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        prepare_data.main([*flags, "--size", str(SIZE), "--num-workers", "1"])


def _sample(out: Path, last: int) -> None:
    from data_module.sampling_plan import PlannedPair
    from data_module.synthetic import SyntheticFolder
    from runtime.locks import Claim

    def draw(items, plan):
        if items[0] >= last:
            raise KeyboardInterrupt
        films = [np.random.default_rng(item).integers(0, 255, (SIZE, SIZE), dtype=np.uint8) for item in items]
        return np.stack(films), [f"FINDINGS: Film {item} is normal." for item in items]

    plan = [PlannedPair("no finding", np.full(14, np.nan), None, "") for _ in range(12)]
    with contextlib.redirect_stderr(io.StringIO()), Claim(out):
        folder = SyntheticFolder(out, {"seed": 0, "models": {"vision": "0"}}, range(12), 4)
        folder.fill(plan, draw)
        folder.finish({"command": "sample"})


def go_on(path: Path) -> Any:
    """The same command again: the folder is whole afterwards, as if nothing had happened."""
    if path.name.startswith("sampled"):
        _sample(path, 12)
    else:
        _prepare(path, _beside(path))
    return _hash_folder(path)
