"""torchxrayvision's DenseNet-121 as a film classifier (Cohen et al., TorchXRayVision, MIDL 2022).

Only from a file that is already there: xrv's own cache, or a path. The published files are whole pickled
modules; they are read with torch's restricted unpickler, which builds nothing but the classes listed here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data_module.findings import FINDINGS
from runtime.files import file_hash
from runtime.weights import check_finite, read_pickle, read_tensors

PREFIX = "torchxrayvision:"
IMAGE_SIZE = 224
# XRV's name -> ours, where they differ. Pleural_Thickening is not CheXpert's Pleural Other: not mapped.
RENAMED = {"Effusion": "Pleural Effusion"}


def open_densenet(source: str, device: torch.device) -> dict[str, Any]:
    """The fields of a FilmClassifier for `torchxrayvision:NAME` or `torchxrayvision:FILE`.

    Raises:
        ValueError: an unknown name, absent or unreadable weights.
    """
    from torchxrayvision.models import DenseNet, model_urls, op_norm  # imports scikit-image: only when asked

    densenets = {name: entry for name, entry in model_urls.items() if name.startswith("densenet121")}
    name, path = _locate(source.removeprefix(PREFIX), densenets)
    settings = densenets[name]
    model = DenseNet(num_classes=len(settings["labels"]))
    weights = read_xrv_weights(path)
    weights.pop("op_threshs", None)  # NaN where the source has no operating point
    check_finite(weights, path)
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path} does not hold the weights of {name}: {str(error)[:300]}") from error
    model.requires_grad_(False).eval().to(device)
    # NaN where the source has no operating point: op_norm then leaves NaN, which means "not scored".
    operating_points = torch.tensor(settings["op_threshs"], device=device)
    labels = [RENAMED.get(label, label) for label in settings["labels"]]
    columns = [labels.index(finding) if finding in labels else len(labels) for finding in FINDINGS]

    def forward(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = model.features2(images * 1024.0)  # XRV's range is -1024..1024
        # op_norm puts each finding's operating point at 0.5, so 0.5 is the threshold of all.
        known = op_norm(model.classifier(features).sigmoid(), operating_points)
        absent = torch.full((len(images), 1), torch.nan, device=known.device)
        return torch.cat([known, absent], dim=1)[:, columns], features

    return {
        "source": source,
        "identity": file_hash(path)[:16],
        "image_size": IMAGE_SIZE,
        "thresholds": {},
        "forward": forward,
        "preprocessing": f"centre square, Lanczos to {IMAGE_SIZE}x{IMAGE_SIZE}, values -1024..1024",
    }


def _locate(wanted: str, densenets: dict[str, dict]) -> tuple[str, Path]:
    """(name of the weights, file) for a name or a file. ValueError where there is no such file."""
    from torchxrayvision.utils import get_cache_dir

    files = {name: entry["weights_url"].rsplit("/", 1)[1] for name, entry in densenets.items()}
    if wanted in files:
        path = Path(get_cache_dir()) / files[wanted]
        if not path.is_file():
            raise ValueError(
                f"--classifier {PREFIX}{wanted}: no weights at {path}. Download "
                f"{densenets[wanted]['weights_url']} there, or name the file: {PREFIX}FILE"
            )
        return wanted, path
    path = Path(wanted).expanduser()
    if not path.is_file():
        raise ValueError(
            f"--classifier {PREFIX}{wanted}: neither a file nor one of {', '.join(sorted(densenets))}"
        )
    named = [name for name, file in files.items() if file == path.name]
    return (named[0] if named else "densenet121-res224-all"), path


def read_xrv_weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights from a safetensors file, a state dict, or a module as XRV publishes them."""
    if path.suffix == ".safetensors":
        return read_tensors(path, "torchxrayvision weights")
    from torchxrayvision import models

    parts = (models.DenseNet, models._DenseBlock, models._DenseLayer, models._Transition)
    layers = (nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Linear)
    saved = read_pickle(path, "torchxrayvision weights", (*parts, *layers, set))
    if isinstance(saved, nn.Module):
        for module in saved.modules():  # files written by old versions of torch lack the attribute
            module.__dict__.setdefault("_non_persistent_buffers_set", set())
        return dict(saved.state_dict())
    if not isinstance(saved, Mapping):
        raise ValueError(f"{path}: expected torchxrayvision weights, found a {type(saved).__name__}")
    return dict(saved)
