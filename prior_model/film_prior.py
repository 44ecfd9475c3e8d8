"""FilmToReport: a prior in training, with what is trained beside it, and batches of films for it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from data_module.film_store import Films
from data_module.images import to_images
from prior_model.config import PriorLossConfig
from prior_model.objective import ReportTargets, prior_losses
from prior_model.prior import ReportPrior

ENCODER, CODEC = "encoder", "codec"  # folders of what was trained along, within that of the prior

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


class Codec(Protocol):
    """What is asked of the report codec, which is a module."""

    def loss(self, report_embeddings: torch.Tensor, reports: torch.Tensor, /) -> torch.Tensor: ...

    def fingerprint(self) -> str: ...

    def save_pretrained(self, folder: Path, /) -> None: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def eval(self) -> Any: ...


class FilmEncoder(Protocol):
    """What is asked of the image encoder, which is a module."""

    def __call__(self, images: torch.Tensor, /) -> torch.Tensor: ...

    def save_pretrained(self, folder: Path, /) -> None: ...

    def requires_grad_(self, requires_grad: bool = True, /) -> Any: ...

    def eval(self) -> Any: ...


class FilmToReport(nn.Module):
    """A batch -> losses: (image encoder ->) prior -> the codec's decoder.

    Encoder and codec may be trained along. A classifier was asked which findings there are, hardly where
    and how large; the reports say both. And the decoder has only seen embeddings of real reports, each with
    its own wording; a film cannot tell the wording, so a prior's embeddings are averages of many.

    Both stay in evaluation mode: batches are too small for batch statistics, and a film's report must not
    depend on its neighbors.

    Args:
        prior: of latents, or of the features of an encoder.
        codec: with `loss(embeddings, token_ids)` and `save_pretrained`; saved where it has weights to train.
        config: weights of the losses.
        encoder: films (B, 1, S, S) in [-1, 1] -> feature maps (B, C, h, w), with `save_pretrained`; all of
            it is trained. None: the batches hold what the prior reads.
    """

    def __init__(
        self, prior: ReportPrior, codec: Codec, config: PriorLossConfig, encoder: FilmEncoder | None = None
    ) -> None:
        super().__init__()
        self.prior, self.codec, self.config = prior, codec, config
        self.encoder = encoder
        if encoder is not None:
            encoder.requires_grad_(True)
        self.tunes_codec = any(weight.requires_grad for weight in codec.parameters())
        self.train(self.training)

    def train(self, mode: bool = True) -> "FilmToReport":
        super().train(mode)
        self.codec.eval()
        if self.encoder is not None:
            self.encoder.eval()
        return self

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The losses of a batch of `ReportTargets`."""
        inputs = batch["inputs"]
        if self.encoder is not None:
            inputs = self.prior.standardize(self.encoder(inputs))
        predicted, logits = self.prior(inputs, return_findings=True)
        return prior_losses(
            predicted,
            batch["report_embeddings"],
            self.config,
            self.codec.loss,
            batch["token_ids"],
            findings=(logits, batch["labels"]),
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """The prior's folder, with those of the encoder and the codec in it where they were trained."""
        if self.tunes_codec:
            self.codec.save_pretrained(Path(folder) / CODEC)
            self.prior.register_to_config(codec_fingerprint=self.codec.fingerprint())
        if self.encoder is not None:
            self.encoder.save_pretrained(Path(folder) / ENCODER)
        self.prior.save_pretrained(folder)


class FilmReportSource(ReportTargets):
    """Films with their reports' embeddings and tokens.

    Args:
        films: one a report.
        targets: as of `ReportTargets`.
        augment: (films (B, 1, S, S), generator) -> changed films; None for validation.
    """

    def __init__(self, films: Films, *targets: Any, augment: Augment | None = None) -> None:
        super().__init__(*targets)
        self.films, self.augment = films, augment

    def read_inputs(self, indices: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Films (B, 1, S, S) in [-1, 1]."""
        images = to_images(self.films[indices])
        return images if self.augment is None else self.augment(images, generator)
