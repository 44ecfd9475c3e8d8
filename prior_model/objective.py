"""Losses of the prior, and its training batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from data_module.images import shift_films
from prior_model.config import PriorLossConfig

DecoderLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def prior_losses(
    predicted: torch.Tensor,
    target: torch.Tensor,
    config: PriorLossConfig,
    decoder_loss: DecoderLoss | None = None,
    token_ids: torch.Tensor | None = None,
    findings: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """CXR-IRGen's MSE + 0.01 (1 - cosine), plus, by weight, the decoder's loss and the findings'.

    Args:
        predicted, target: report embeddings (B, K, D).
        decoder_loss: (embeddings, token_ids) -> scalar; needed where its weight is not 0.
        token_ids: (B, T) of the reports.
        findings: logits and labels (B, F); a label is 1, 0, NaN (not mentioned, so taken as absent) or
            -1 (uncertain, left out).
    """
    predicted = predicted.float()
    mse = functional.mse_loss(predicted, target)
    cosine = functional.cosine_similarity(predicted, target, dim=-1).mean()
    losses = {"mse": mse, "cosine": cosine}
    loss = config.mse_weight * mse + config.cosine_weight * (1.0 - cosine)
    if config.decoder_loss_weight:
        assert decoder_loss is not None
        assert token_ids is not None
        items = config.decoder_items or len(predicted)
        losses["decoder"] = decoder_loss(predicted[:items], token_ids[:items])
        loss = loss + config.decoder_loss_weight * losses["decoder"]
    if config.findings_weight:
        assert findings is not None
        logits, labels = findings
        bce = functional.binary_cross_entropy_with_logits(
            logits.float(), (labels == 1).float(), reduction="none"
        )
        certain = labels != -1
        losses["findings"] = (bce * certain).sum() / certain.sum().clamp(min=1)
        loss = loss + config.findings_weight * losses["findings"]
    return {"loss": loss, **losses}


class ReportTargets:
    """What a prior learns to say of each film; a subclass adds what it reads.

    Args:
        report_embeddings: (N, K, D) targets.
        token_ids: (N, T) of the reports, padded with `pad_token_id`.
        labels: (N, F) certainties of the findings, or None.
    """

    def __init__(
        self,
        report_embeddings: torch.Tensor,
        token_ids: torch.Tensor,
        pad_token_id: int,
        labels: np.ndarray | None = None,
    ) -> None:
        self.report_embeddings, self.token_ids = report_embeddings, token_ids
        self.labels = None if labels is None else torch.from_numpy(labels)
        self.pad_token_id = pad_token_id

    def __len__(self) -> int:
        return len(self.token_ids)

    def read_inputs(self, indices: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """What the prior reads of these items."""
        raise NotImplementedError

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """inputs (B, ...), report_embeddings (B, K, D), token_ids (B, T), labels (B, F)."""
        inputs = self.read_inputs(indices, generator)
        token_ids = self.token_ids[indices]
        width = int((token_ids != self.pad_token_id).sum(dim=1).max())
        batch = {
            "inputs": inputs,
            "report_embeddings": self.report_embeddings[indices],
            "token_ids": token_ids[:, : -(-width // 16) * 16],
        }
        return batch if self.labels is None else {**batch, "labels": self.labels[indices]}


class LatentReportSource(ReportTargets):
    """Films' posteriors with their reports' embeddings and tokens.

    Args:
        latents_mean, latents_std: (N, C, H, W) of the scaled posterior, arrays or memory maps; features of
            an image encoder have no deviation: None.
        rows: rows of the arrays that belong to this split.
        targets: as of `ReportTargets`, one a row.
        latent_noise: deviation of extra noise on the latents, so that generated ones, which are less
            exact than encoded ones, still read well. 0 also switches the posterior's own sampling off.
        max_shift: films are moved by up to this many latent cells each way, with the edge repeated.
        standardize: the prior's own; of features.
    """

    def __init__(
        self,
        latents_mean: np.ndarray,
        latents_std: np.ndarray | None,
        rows: np.ndarray,
        *targets: Any,
        latent_noise: float = 0.0,
        max_shift: int = 0,
        standardize: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__(*targets)
        self.mean, self.std, self.rows = latents_mean, latents_std, np.asarray(rows)
        self.standardize, self.latent_noise, self.max_shift = standardize, latent_noise, max_shift

    def read_inputs(self, indices: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Latents or features (B, C, H, W)."""
        rows = self.rows[indices]
        latents = torch.from_numpy(self.mean[rows].astype(np.float32))
        if self.standardize:
            latents = self.standardize(latents)
        if self.latent_noise:
            posterior = () if self.std is None else (torch.from_numpy(self.std[rows].astype(np.float32)),)
            for scale in (*posterior, self.latent_noise):
                latents = latents + scale * torch.randn(latents.shape, generator=generator)
        return shift_films(latents, self.max_shift, generator) if self.max_shift else latents
