"""BioViL-T (Bannur et al., CVPR 2023) and BioViL (Boecking et al., ECCV 2022) as published, from folders.

A folder of microsoft/BiomedVLP-BioViL-T (or of BiomedVLP-CXR-BERT-specialized) holds two towers:

    biovil_t_image_model_proj_size_128.pt   a ResNet-50, 1x1 convolutions to 128 channels, mean over the film
    model.safetensors or pytorch_model.bin  CXR-BERT: a BERT, its first token through cls_projection_head

A film is seen without an earlier one, for which the model has an embedding of its own; the pooler that would
compare the two is not used then. Nothing of the folder's Python files is run.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models import resnet50
from transformers import BertModel

from evaluation.networks.chexbert import open_bert_tokenizer, read_bert_config
from runtime.weights import load_exactly, read_weights
from runtime.wording import shorten

RESIZED = 512  # the shorter side, of which the middle is taken
CROPS = {True: 448, False: 480}  # of BioViL-T, of BioViL
_TEMPORAL = "encoder.backbone_to_vit.weight"
_POOLER = "encoder.vit_pooler."
_NOT_USED = re.compile(r"cls\.|bert\.pooler\.|bert\.embeddings\.position_ids$")  # of the text tower


def find_image_weights(folder: Path) -> Path | None:
    """The image tower's file; None where the folder is not one of BioViL."""
    return next(iter(sorted(folder.glob("biovil*_image_*.pt"))), None) if folder.is_dir() else None


class BioViLImages(nn.Module):
    """The image tower: films (N, 3, H, W) in [0, 1] -> (N, 128)."""

    def __init__(self, path: Path) -> None:
        """Read its weights. Raises ValueError for another file."""
        super().__init__()
        weights = read_weights(path, "BioViL's image model")
        self.temporal = _TEMPORAL in weights
        weights = {name: value for name, value in weights.items() if not name.startswith(_POOLER)}
        with torch.device("meta"):
            self.encoder = _FilmEncoder(self.temporal)
            self.projector = _Projector(512 if self.temporal else 2048)
        self.to_empty(device="cpu")
        load_exactly(self, weights, path, "BioViL's image model (encoder.*, projector.*)")
        self.requires_grad_(False).eval()

    @property
    def crop(self) -> int:
        """Side of the films that it was trained on."""
        return CROPS[self.temporal]

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        return self.projector(self.encoder(films)).mean(dim=(2, 3))


class _FilmEncoder(nn.Module):
    def __init__(self, temporal: bool) -> None:
        super().__init__()
        self.encoder = resnet50()
        if temporal:
            self.backbone_to_vit = nn.Conv2d(2048, 256, 1, bias=False)
            self.missing_previous_emb = nn.Parameter(torch.zeros(1, 256, 1, 1))
        self.temporal = temporal

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        net = self.encoder
        x = net.maxpool(net.relu(net.bn1(net.conv1(films))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        if not self.temporal:
            return x
        x = self.backbone_to_vit(x)
        return torch.cat([x, self.missing_previous_emb.expand_as(x)], dim=1)


class _Projector(nn.Module):
    def __init__(self, num_channels: int) -> None:
        super().__init__()
        convolutions = (nn.Conv2d(num_channels, 128, 1, bias=False), nn.Conv2d(128, 128, 1))
        self.model = nn.Sequential(convolutions[0], nn.BatchNorm2d(128), nn.ReLU(), convolutions[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


def prepare_film(pixels: np.ndarray, crop: int) -> np.ndarray:
    """(H, W) uint8 -> (crop, crop) uint8 as published: all gray levels, 512 bilinearly, the middle of it."""
    stretched = pixels.astype(np.float64) - pixels.min()
    stretched = (stretched / max(stretched.max(), 1.0) * 255.0).astype(np.uint8)
    steps = transforms.Compose([transforms.Resize(RESIZED), transforms.CenterCrop(crop)])
    return np.asarray(steps(Image.fromarray(stretched)))


class BioViLTexts(nn.Module):
    """The text tower: texts -> (N, 128)."""

    def __init__(self, folder: Path) -> None:
        """Read weights and words. Raises ValueError for another folder."""
        super().__init__()
        names = ("model.safetensors", "pytorch_model.bin")
        path = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
        expected = "CXR-BERT (bert.*, cls_projection_head.*)"
        weights = read_weights(path, expected)
        weights = {name: value for name, value in weights.items() if not _NOT_USED.match(name)}
        head = "cls_projection_head.dense_to_hidden.weight"
        try:
            config = read_bert_config(
                {k.removeprefix("bert."): v for k, v in weights.items() if k.startswith("bert.")}
            )
            size = len(weights[head])
        except KeyError:
            raise ValueError(f"{path}: expected {expected}, found {shorten(sorted(weights))}") from None
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls_projection_head = _TextHead(config.hidden_size, size)
        load_exactly(self, weights, path, expected)
        self.tokenizer = open_bert_tokenizer(folder)
        self.max_tokens = config.max_position_embeddings
        self.requires_grad_(False).eval()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, uncut."""
        return [len(ids) for ids in self.tokenizer(list(map(_clean, texts)), verbose=False)["input_ids"]]

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        tokens = self.tokenizer(
            list(map(_clean, texts)),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.bert.device)
        return self.cls_projection_head(self.bert(**tokens).last_hidden_state[:, 0])


def _clean(text: str) -> str:
    return text.rstrip("!?.")  # as published


class _TextHead(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.dense_to_hidden = nn.Linear(width, size)
        self.LayerNorm = nn.LayerNorm(size, eps=1e-12)
        self.dense_to_output = nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense_to_output(self.LayerNorm(nn.functional.gelu(self.dense_to_hidden(x))))
