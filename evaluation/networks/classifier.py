"""CheXpert classifiers behind one interface: a stock transformers classifier, or torchxrayvision's DenseNet.

`--classifier` takes a run folder of train_classifier.py, any transformers image classifier whose
`config.id2label` names CheXpert findings, or `torchxrayvision:densenet121-res224-all` (weights from
torchxrayvision's own cache or a local file: `torchxrayvision:FILE`). Nothing is ever downloaded.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm
from transformers import AutoModelForImageClassification, TimmWrapperForImageClassification

from data_module.controls import CONTROLS
from data_module.findings import FINDINGS, THRESHOLDS_FILE
from data_module.images import FilmError, fit_crop, normalize_images, read_pixels, to_images
from evaluation.networks import xrv
from runtime.devices import move
from runtime.files import read_json, reading
from runtime.weights import load_pretrained

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class FilmScores:
    """What a classifier says of N films, in the order asked for. Rows of unreadable films are NaN."""

    probabilities: np.ndarray  # (N, K) float32 in the order of the names; NaN: not scored by this classifier
    features: np.ndarray  # (N, D) float32, pooled
    failures: dict[int, str] = field(default_factory=dict)  # row -> why its film could not be read

    @property
    def readable(self) -> np.ndarray:
        """(N,) bool."""
        rows = np.ones(len(self.probabilities), dtype=bool)
        rows[list(self.failures)] = False
        return rows

    def require_readable(self) -> "FilmScores":
        """Itself; ValueError where no film at all could be read."""
        if not self.readable.any():
            reason = next(iter(self.failures.values()), "there is no film")
            raise ValueError(f"none of the {len(self.probabilities)} films can be read: {reason}")
        return self


@dataclass(frozen=True)
class FilmClassifier:
    """Films -> probabilities of the 14 findings (or of other names), and pooled features."""

    source: str  # what --classifier said
    identity: str  # short hash of the weights and settings
    image_size: int  # films are brought to this size first
    thresholds: Mapping[str, float]  # finding -> decision threshold, of the findings that have one
    device: torch.device
    forward: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # -> probabilities (N, K), (N, D)
    preprocessing: str  # how films become what the network sees: stated beside every figure
    names: Sequence[str] = FINDINGS  # of the K outputs
    prepare: Callable[[np.ndarray], np.ndarray] | None = None  # (H, W) -> (image_size, image_size), uint8

    @classmethod
    def open(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        names: Sequence[str] = FINDINGS,
        flag: str = "--classifier",
    ) -> "FilmClassifier":
        """Load a classifier, for these of its outputs. `flag` is named in errors.

        Raises:
            ValueError: no classifier there, a run of another kind, findings missing, or weights absent.
        """
        device = torch.device(device)
        if str(path).startswith(xrv.PREFIX):
            if names != FINDINGS:
                raise ValueError(f"{flag} {path} predicts findings, none of {', '.join(names[:3])} ...")
            return cls(device=device, **xrv.open_densenet(str(path), device))
        return cls(device=device, names=names, **_open_transformers(Path(path), device, names, flag))

    @classmethod
    def open_controls(cls, path: str | Path, device: str | torch.device = "cpu") -> "FilmClassifier":
        """The network of --controls, for `data_module.controls.CONTROLS`. Raises as `open` does."""
        return cls.open(path, device, CONTROLS, "--controls")

    @torch.no_grad()
    def score(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """float (N, 1, H, W) in [-1, 1], any size -> probabilities (N, K) and features (N, D), float32."""
        images = images.to(self.device, torch.float32)
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"images have shape {tuple(images.shape)}; (N, 1, H, W) is needed")
        if images.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        probabilities, features = self.forward(images)
        return probabilities.float(), features.float()

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """float (N, 1, H, W) in [-1, 1] -> (N, K) probabilities, NaN: not scored."""
        return self.score(images)[0]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """float (N, 1, H, W) in [-1, 1] -> (N, D) pooled features before the last layer."""
        return self.score(images)[1]

    def _read(self, path: Path | None) -> np.ndarray | str:
        if path is None:
            return "the row names no film"
        try:
            pixels = read_pixels(path)
            return self.prepare(pixels) if self.prepare else fit_crop(pixels, self.image_size)
        except FilmError as error:
            return str(error)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """(N, K) probabilities -> 1, 0, or NaN where there is none, at the stored thresholds."""
        limits = np.array([self.thresholds.get(name, DEFAULT_THRESHOLD) for name in self.names], np.float32)
        return np.where(np.isnan(probabilities), np.nan, (probabilities >= limits).astype(np.float32))

    def score_folder(
        self, paths: Sequence[Path | None], batch_size: int = 64, progress: str = ""
    ) -> FilmScores:
        """Score films from disk. One that cannot be read is a failure with its reason, never a black film.

        Args:
            paths: None stands for a row without a film.
            progress: the name on the progress bar; none when empty.

        Returns:
            Scores of all; features are (N, 0) where no film can be read (see `require_readable`).
        """
        failures: dict[int, str] = {}
        probabilities = np.full((len(paths), len(self.names)), np.nan, np.float32)
        features: np.ndarray | None = None
        starts = range(0, len(paths), batch_size)
        # As many threads decode as torch may use: beside an accelerator two could not keep up.
        with ThreadPoolExecutor(max(2, torch.get_num_threads())) as pool:

            def read_batch(start: int) -> Iterator[np.ndarray | str]:
                return pool.map(self._read, paths[start : start + batch_size])

            coming = read_batch(0)
            for start in tqdm(starts, desc=progress, unit="batch", disable=not progress):
                films = list(coming)
                coming = read_batch(start + batch_size)  # decoded while the network works
                good = [row for row, film in enumerate(films) if isinstance(film, np.ndarray)]
                failures |= {start + row: film for row, film in enumerate(films) if isinstance(film, str)}
                if not good:
                    continue
                scores = self.score(to_images(np.stack([films[row] for row in good])))
                rows = np.array(good) + start
                probabilities[rows] = scores[0].cpu().numpy()
                if features is None:
                    features = np.full((len(paths), scores[1].shape[1]), np.nan, np.float32)
                features[rows] = scores[1].cpu().numpy()
        features = np.empty((len(paths), 0), np.float32) if features is None else features
        return FilmScores(probabilities, features, failures)


def _open_transformers(path: Path, device: torch.device, names: Sequence[str], flag: str) -> dict[str, Any]:
    folder, config = _model_folder(path, flag)
    try:
        model = load_pretrained(
            AutoModelForImageClassification, folder, local_files_only=True, use_safetensors=True
        )
    except ValueError as error:
        raise ValueError(f"{flag} {folder} cannot be loaded: {error}") from error
    move(model.requires_grad_(False), device)
    places = {name: int(place) for name, place in (model.config.label2id or {}).items()}
    if not any(name in places for name in names):
        found = ", ".join(map(str, list((model.config.id2label or {}).values())[:5]))
        wanted = "of the 14 CheXpert findings" if names == FINDINGS else f"of {', '.join(names[:3])} ..."
        raise ValueError(f"{flag} {folder} predicts {found}, none {wanted}")
    size, mean, std = _preprocessing(folder, config)
    num_channels = getattr(model.config, "num_channels", 3)

    def forward(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled: list[torch.Tensor] = []
        if isinstance(model, TimmWrapperForImageClassification):  # features are what its head reads
            timm_model: Any = model.timm_model
            head = timm_model.get_classifier()
            hook = head.register_forward_pre_hook(lambda module, inputs: pooled.append(inputs[0]))
        else:
            hook = model.base_model.register_forward_hook(
                lambda module, inputs, out: pooled.append(_pool(out))
            )
        try:
            pixel_values = normalize_images(images, mean, std)
            logits = model(pixel_values=pixel_values.expand(-1, num_channels, -1, -1)).logits
        finally:
            hook.remove()
        absent = torch.full((len(images), 1), torch.nan, device=logits.device)
        known = torch.cat([logits.float().sigmoid(), absent], dim=1)
        columns = [places.get(name, logits.shape[1]) for name in names]
        return known[:, columns], pooled[0]

    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.json")):
        digest.update(file.name.encode() + file.read_bytes())
    if names != FINDINGS:
        digest.update("\n".join(names).encode())
    return {
        "source": str(path),
        "identity": digest.hexdigest()[:16],
        "image_size": size,
        "thresholds": _thresholds(folder / THRESHOLDS_FILE),
        "forward": forward,
        "preprocessing": f"centre square, Lanczos to {size}x{size}, (x / 255 - {mean:.4g}) / {std:.4g}",
    }


def _pool(outputs: Any) -> torch.Tensor:
    """(N, D): the pooled output, or the mean over tokens where a model has none."""
    pooled = getattr(outputs, "pooler_output", None)
    if pooled is None:
        pooled = outputs.last_hidden_state.mean(dim=1)
    return pooled.flatten(1)


def _model_folder(path: Path, flag: str) -> tuple[Path, dict[str, Any]]:
    """The model folder that `path` is or holds, and its config.json. ValueError for anything else."""
    config = _json(path / "config.json", f"{flag} {path} is neither a run folder nor a model folder")
    if "kind" in config:
        if config["kind"] != "classifier":
            raise ValueError(f"{flag} {path} holds a {config['kind']} run; a classifier run is needed")
        if not (path / "model").is_dir():
            raise ValueError(f"{flag} {path} is not finished (no model/): run train_classifier.py again")
        path = path / "model"
        config = _json(path / "config.json", f"{path} is not a model folder")
    named = config.get("architectures") or [config.get("_class_name", "an unknown model")]
    if not str(named[0]).endswith("ForImageClassification"):
        raise ValueError(f"{flag} {path} holds {named[0]}; an image classifier is needed")
    return path, config


def _preprocessing(folder: Path, config: Mapping[str, Any]) -> tuple[int, float, float]:
    """Image size, and the mean and standard deviation of pixel values in 0..1, averaged over channels."""
    path = folder / "preprocessor_config.json"
    saved = _json(path, "") if path.is_file() else {}
    size = saved.get("size", config.get("image_size"))
    if isinstance(size, Mapping):
        size = size.get("height", size.get("shortest_edge"))
    if not isinstance(size, int):
        raise ValueError(
            f"{folder}: no preprocessor_config.json that says at which image size it was trained"
        )
    mean, std = saved.get("image_mean", 0.5), saved.get("image_std", 0.5)
    return size, float(np.mean(mean)), float(np.mean(std))


def _thresholds(path: Path) -> dict[str, float]:
    saved = _json(path, "") if path.is_file() else {}
    unknown = sorted(set(saved) - set(FINDINGS))
    if unknown:
        raise ValueError(f"{path}: {unknown[0]!r} is not one of the 14 findings")
    with reading(path):
        return {name: float(value) for name, value in saved.items()}


def _json(path: Path, missing: str) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{missing}: no {path.name} there")
    return read_json(path)
