"""The networks of CheXGenBench, from local files: RadDINO's features, and patient re-identification."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from runtime.runs import model_source
from runtime.weights import load_pretrained, read_weights

REID_SIZE, REID_FEATURES = 224, 128


class RadDino:
    """Pooled output of a transformers image model, or of the film's tower of one that reads texts too.

    Its inputs are made by the folder's own image processor.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Open a model folder, or a run of train_clip.py. Raises ValueError where there is none."""
        from transformers import AutoImageProcessor, AutoModel

        folder = Path(model_source(folder, "clip", "--raddino"))
        try:
            self.processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model: Any = load_pretrained(AutoModel, folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"--raddino {folder} cannot be loaded: {str(error)[:300]}") from error
        model = getattr(model, "vision_model", model)
        self.model, self.device = model.requires_grad_(False).eval().to(device), device
        self.folder = folder

    @property
    def stand_in(self) -> str:
        """What kind of model stands in RadDINO's place; "" for one of its kind."""
        kind = str(self.model.config.model_type)
        return "" if kind == "dinov2" else kind

    @torch.no_grad()
    def __call__(self, films: torch.Tensor | Sequence[Image.Image]) -> np.ndarray:
        """uint8 (N, 3, H, W), or N pictures -> (N, D) float32. ValueError for a model that pools nothing."""
        inputs = self.processor(images=list(films), return_tensors="pt").to(self.device)
        pooled = getattr(self.model(**inputs), "pooler_output", None)
        if pooled is None:
            raise ValueError(
                f"--raddino {self.folder}: a {self.model.config.model_type} has no pooled output; give "
                "microsoft/rad-dino, or another image model that has one"
            )
        return pooled.flatten(1).float().cpu().numpy()


class Reidentifier:
    """Whether two films are of one patient: a siamese ResNet-50 (Packhaeuser et al., 2022), as published.

    Both films' features pass a sigmoid; a linear layer reads their absolute difference.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        """Read ResNet-50_epoch11_data_handling_RPN.pth: model.* of the network, fc_end.* of the last layer.

        Raises:
            ValueError: no such file, or other tensors in it.
        """
        from torchvision.models import resnet50

        state = read_weights(path, "the siamese network's state dict (model.*, fc_end.*)")
        with torch.device("meta"):
            self.model = resnet50(num_classes=REID_FEATURES)
            self.last = torch.nn.Linear(REID_FEATURES, 1)
        parts = {"model.": self.model, "fc_end.": self.last}
        try:
            for prefix, module in parts.items():
                own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                module.load_state_dict(own, assign=True)
                module.requires_grad_(False).eval().to(device)
        except RuntimeError as error:
            raise ValueError(
                f"--reidentify {path} is not the siamese ResNet-50: {str(error)[:300]}"
            ) from None
        self.device = device

    @torch.no_grad()
    def embed(self, films: Sequence[np.ndarray]) -> torch.Tensor:
        """(N, 128) of color films (H, W, 3) uint8, brought to 224 x 224."""
        from torchvision import transforms

        prepare: Any = transforms.Compose([transforms.Resize((REID_SIZE, REID_SIZE)), transforms.ToTensor()])
        batch = [prepare(Image.fromarray(film)) for film in films]
        return self.model(torch.stack(batch).to(self.device)).sigmoid()

    @torch.no_grad()
    def compare(self, one: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
        """(N,) probability that each other film is of the one's patient."""
        difference = (self.embed([one]) - self.embed(others)).abs()
        return self.last(difference).sigmoid()[:, 0].cpu().numpy()


def extract_all(
    films: Sequence[Any],
    read: Callable[[Any], torch.Tensor],
    network: Callable[[torch.Tensor], np.ndarray],
    batch: int,
) -> np.ndarray:
    """(N, D) features of films that `read` reads, batch by batch."""
    starts = range(0, len(films), batch)
    return np.concatenate(
        [network(torch.stack([read(film) for film in films[start : start + batch]])) for start in starts]
    )
