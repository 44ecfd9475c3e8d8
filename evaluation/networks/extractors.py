"""Feature extractors for FID and its kin, each fed its own true range and size, from local files only.

`--features` takes what `--classifier` takes, and besides:

    inception:FILE      torch-fidelity's InceptionV3 weights (the TensorFlow graph that FID was defined on)
    FOLDER              a transformers model with an image tower: RadDINO (Dinov2Model), CLIPModel, ViT ...;
                        or BioViL-T as it is published
    timm:NAME:FILE      a timm network with weights from a local file: what its head reads
    open-clip:FOLDER    an open_clip folder, as BiomedCLIP is published (open_clip_config.json and weights)
    reidentify:FILE     the siamese ResNet-50 of Packhaeuser et al.: what it compares two films by

An extractor is a FilmClassifier that scores no finding: its probabilities are NaN.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel

from data_module.findings import FINDINGS
from data_module.images import normalize_images
from evaluation.networks import xrv
from evaluation.networks.biovil import RESIZED, BioViLImages, find_image_weights, prepare_film
from evaluation.networks.classifier import FilmClassifier
from evaluation.protocol.networks import REID_SIZE, Reidentifier
from runtime.devices import move
from runtime.files import read_json, reading
from runtime.timm_weights import PREFIX as TIMM
from runtime.timm_weights import open_timm
from runtime.weights import check_finite, load_pretrained, read_weights

INCEPTION, OPEN_CLIP, REIDENTIFY = "inception:", "open-clip:", "reidentify:"
INCEPTION_SIZE = 299


def open_extractor(source: str, device: str | torch.device = "cpu") -> FilmClassifier:
    """Open what `--features` names.

    Raises:
        ValueError: nothing that gives features of films is there, or its weights are absent.
    """
    device = torch.device(device)
    if source.startswith(INCEPTION):
        return _open_inception(source, device)
    if source.startswith(TIMM):
        return _open_timm(source, device)
    if source.startswith(OPEN_CLIP):
        return _open_open_clip(source, device)
    if source.startswith(REIDENTIFY):
        return _open_reidentifier(source, device)
    image_weights = find_image_weights(Path(source))
    if image_weights:
        return _open_biovil(source, image_weights, device)
    config = Path(source) / "config.json"
    saved = read_json(config) if config.is_file() else {}
    if saved.get("kind") == "clip":
        return _open_backbone(source, Path(source) / "model", device)
    architecture = str((saved.get("architectures") or [""])[0])
    if source.startswith(xrv.PREFIX) or "kind" in saved or architecture.endswith("ForImageClassification"):
        return FilmClassifier.open(source, device)
    return _open_backbone(source, Path(source), device)


def _extractor(
    source: str,
    files: list[Path],
    size: int,
    preprocessing: str,
    device: torch.device,
    extract: Callable[[torch.Tensor], torch.Tensor],
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
) -> FilmClassifier:
    """`extract`: float (N, 1, size, size) in [-1, 1] -> (N, D); `prepare`: how a film gets that size."""
    digest = hashlib.sha256(preprocessing.encode())
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())

    def forward(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((len(images), len(FINDINGS)), torch.nan), extract(images)

    identity = digest.hexdigest()[:16]
    return FilmClassifier(source, identity, size, {}, device, forward, preprocessing, prepare=prepare)


def _open_inception(source: str, device: torch.device) -> FilmClassifier:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise ValueError(f"--features {source}: pip install torch-fidelity") from None
    path = Path(source.removeprefix(INCEPTION)).expanduser()
    if not path.is_file():
        raise ValueError(
            f"--features {source}: no such file. It is weights-inception-2015-12-05-*.pth of torch-fidelity"
        )
    try:
        # torch-fidelity reads the file with a full unpickler: only a file of plain tensors comes that far.
        read_weights(path, "Inception weights of torch-fidelity")
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    except (ValueError, RuntimeError, OSError) as error:
        raise ValueError(f"--features {source} cannot be read as Inception: {str(error)[:300]}") from error
    network.to(device)

    def extract(images: torch.Tensor) -> torch.Tensor:
        pixels = ((images + 1.0) * 127.5).round().to(torch.uint8)  # it takes bytes, and resizes by itself
        return network(pixels.expand(-1, 3, -1, -1))[0]

    preprocessing = f"centre square, Lanczos to {INCEPTION_SIZE}x{INCEPTION_SIZE}, bytes, grey in 3 channels"
    return _extractor(source, [path], INCEPTION_SIZE, preprocessing, device, extract)


def _open_timm(source: str, device: torch.device) -> FilmClassifier:
    """A timm network: films at the size and in the range that its own configuration says."""
    network = open_timm(source, "--features").to(device)
    settings = network.pretrained_cfg
    size, mean, std = settings["input_size"][-1], settings["mean"], settings["std"]

    def extract(images: torch.Tensor) -> torch.Tensor:
        center, scale = (torch.tensor(v, device=images.device)[:, None, None] for v in (mean, std))
        pixel_values = normalize_images(images.expand(-1, 3, -1, -1), center, scale)
        return network.forward_head(network.forward_features(pixel_values), pre_logits=True)

    preprocessing = f"centre square, Lanczos to {size}x{size}, mean {list(mean)}, std {list(std)}"
    return _extractor(
        source, [Path(source.split(":", 2)[2]).expanduser()], size, preprocessing, device, extract
    )


def _open_backbone(source: str, folder: Path, device: torch.device) -> FilmClassifier:
    """A transformers folder: features are the pooled output, or the image embedding of a CLIP."""
    processor = folder / "preprocessor_config.json"
    if not (folder / "config.json").is_file() or not processor.is_file():
        raise ValueError(
            f"--features {source}: neither {INCEPTION}FILE, {OPEN_CLIP}FOLDER, {xrv.PREFIX}NAME, a run "
            "folder of train_classifier.py or train_clip.py, nor a model folder with config.json and "
            "preprocessor_config.json"
        )
    try:
        model = load_pretrained(AutoModel, folder, "pooler", local_files_only=True, use_safetensors=True)
        settings = read_json(processor)
    except ValueError as error:
        raise ValueError(f"--features {source} cannot be loaded: {error}") from error
    move(model.requires_grad_(False), device)
    size, crop = _side(settings.get("size")), _side(settings.get("crop_size"))
    if not settings.get("do_center_crop", crop is not None) or crop is None:
        crop = size
    if size is None or crop is None or crop > size:
        raise ValueError(f"{processor}: says no size of films")
    mean, std = ([float(v) for v in settings.get(key, (0.5,) * 3)] for key in ("image_mean", "image_std"))
    channels = getattr(getattr(model.config, "vision_config", model.config), "num_channels", 3)
    if channels != len(mean):
        raise ValueError(f"{processor}: {len(mean)} means for a model of {channels} channels")
    edge = (size - crop) // 2

    def extract(images: torch.Tensor) -> torch.Tensor:
        films = images[..., edge : edge + crop, edge : edge + crop].expand(-1, channels, -1, -1)
        center, scale = (torch.tensor(v, device=films.device)[:, None, None] for v in (mean, std))
        pixel_values = normalize_images(films, center, scale)
        get_image_features = getattr(model, "get_image_features", None)  # of a CLIP
        if get_image_features is not None:
            out = get_image_features(pixel_values=pixel_values)
            return getattr(out, "pooler_output", out)
        out = model(pixel_values=pixel_values)
        pooled = getattr(out, "pooler_output", None)
        return out.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)

    preprocessing = f"centre square, Lanczos to {size}x{size}, centre {crop}x{crop}, mean {mean}, std {std}"
    files = [*sorted(folder.glob("*.safetensors")), folder / "config.json", processor]
    return _extractor(source, files, size, preprocessing, device, extract)


def _side(size: object) -> int | None:
    if isinstance(size, dict):
        size = size.get("shortest_edge", size.get("height"))
    return size if isinstance(size, int) else None


def load_open_clip(source: str, device: torch.device) -> tuple[Any, Path]:
    """The model of open-clip:FOLDER, and the folder. ValueError where there is none."""
    try:
        import open_clip
    except ImportError:
        raise ValueError(f"--features {source}: pip install open_clip_torch") from None
    folder = Path(source.removeprefix(OPEN_CLIP)).expanduser()
    config = folder / "open_clip_config.json"
    if not config.is_file():
        raise ValueError(f"--features {source}: no open_clip_config.json there")
    try:
        with reading(folder):
            model: Any = open_clip.create_model(f"local-dir:{folder}", device=device)
        check_finite(model.state_dict(), folder)
    except ValueError as error:
        raise ValueError(f"--features {source} cannot be loaded: {str(error)[:300]}") from error
    return model.requires_grad_(False).eval(), folder


def _open_open_clip(source: str, device: torch.device) -> FilmClassifier:
    model, folder = load_open_clip(source, device)
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    config = folder / "open_clip_config.json"
    settings = read_json(config).get("preprocess_cfg", {})
    size = model.visual.image_size
    size = size if isinstance(size, int) else size[0]
    mean = settings.get("mean", OPENAI_DATASET_MEAN)
    std = settings.get("std", OPENAI_DATASET_STD)

    def extract(images: torch.Tensor) -> torch.Tensor:
        center, scale = (torch.tensor(v, device=images.device)[:, None, None] for v in (mean, std))
        return model.encode_image(normalize_images(images.expand(-1, 3, -1, -1), center, scale))

    preprocessing = f"centre square, Lanczos to {size}x{size}, mean {list(mean)}, std {list(std)}"
    files = sorted([config, *folder.glob("*.safetensors"), *folder.glob("*.bin")])
    return _extractor(source, files, size, preprocessing, device, extract)


def _open_biovil(source: str, path: Path, device: torch.device) -> FilmClassifier:
    network = move(BioViLImages(path), device)

    def extract(images: torch.Tensor) -> torch.Tensor:
        return network(((images + 1.0) / 2.0).expand(-1, 3, -1, -1))

    preprocessing = (
        f"gray levels stretched, {RESIZED} bilinearly, middle {network.crop}x{network.crop}, 0 to 1"
    )
    prepare = partial(prepare_film, crop=network.crop)
    return _extractor(source, [path], network.crop, preprocessing, device, extract, prepare)


def _open_reidentifier(source: str, device: torch.device) -> FilmClassifier:
    path = Path(source.removeprefix(REIDENTIFY)).expanduser()
    network = Reidentifier(path, device)
    preprocessing = f"centre square, Lanczos to {REID_SIZE}x{REID_SIZE}, 0 to 1, grey in 3 channels"

    def extract(images: torch.Tensor) -> torch.Tensor:
        return network.model(((images + 1.0) / 2.0).expand(-1, 3, -1, -1)).sigmoid()

    return _extractor(source, [path], REID_SIZE, preprocessing, device, extract)
