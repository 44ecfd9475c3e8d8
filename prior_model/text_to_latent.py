"""TextToLatent: an MLP from the embedding of a text to the latents of a film, a baseline without noise."""

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class TextToLatent(ModelMixin, ConfigMixin):
    """Pooled text embedding (B, D) -> scaled latents (B, C, H, W), as in Text-to-X-ray.

    Three hidden layers of 1024 with ReLU and dropout there. Trained by mean squared error, it gives the mean
    of all films that a text may describe: a blurred film. So it is a baseline, and a start for a sampler.

    Args:
        text_dim: D of the text encoder.
        latent_channels, latent_size: C, and H = W of the latents.
        hidden_dim, num_hidden_layers: of the MLP.
        dropout: after each hidden layer.
        bounded: end in a tanh, as Text-to-X-ray does; it cannot reach latents beyond 1, whose deviation is 1.
    """

    text_mean: torch.Tensor
    text_std: torch.Tensor

    @register_to_config
    def __init__(
        self,
        text_dim: int = 768,
        latent_channels: int = 4,
        latent_size: int = 32,
        hidden_dim: int = 1024,
        num_hidden_layers: int = 3,
        dropout: float = 0.0,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (text_dim, *[hidden_dim] * (num_hidden_layers - 1)):
            layers += [nn.Linear(width, hidden_dim), nn.ReLU(), nn.Dropout(dropout)]
        layers.append(nn.Linear(hidden_dim, latent_channels * latent_size**2))
        if bounded:
            layers.append(nn.Tanh())
        # Embeddings of one encoder share a large mean; a scale for each unit of width takes it off.
        self.register_buffer("text_mean", torch.zeros(text_dim))
        self.register_buffer("text_std", torch.ones(text_dim))
        self.net = nn.Sequential(*layers)

    def fit_texts(self, text_embeddings: torch.Tensor) -> None:
        """Take mean and deviation of the embeddings (N, D) of the training texts."""
        self.text_mean.copy_(text_embeddings.float().mean(dim=0))
        self.text_std.copy_(text_embeddings.float().std(dim=0).clamp(min=1e-4))

    def forward(self, text_embeddings: torch.Tensor) -> torch.Tensor:
        """Pooled text embeddings (B, D) -> scaled latents (B, C, H, W).

        Raises:
            ValueError: embeddings of another width than it was trained on.
        """
        config = self.config
        if text_embeddings.ndim != 2 or text_embeddings.shape[1] != config["text_dim"]:
            raise ValueError(
                f"text embeddings of shape {tuple(text_embeddings.shape)} do not fit this text-to-latent "
                f"model, which takes (B, {config['text_dim']}): it was trained on another text encoder"
            )
        hidden = (text_embeddings.to(self.dtype) - self.text_mean) / self.text_std
        return self.net(hidden).unflatten(
            1, (config["latent_channels"], config["latent_size"], config["latent_size"])
        )


class TextLatentSource:
    """Texts' embeddings with the latents of their films, one of an item's texts drawn at a time.

    Args:
        latents: (N, C, H, W) posterior means of all films, an array or memory map.
        texts: (T, D) pooled embeddings of all distinct texts.
        text_index: (N, F), field f of row n is texts[text_index[n, f]]; -1 where it is empty.
        rows: rows that belong to this split.
    """

    def __init__(
        self, latents: np.ndarray, texts: np.ndarray, text_index: np.ndarray, rows: np.ndarray
    ) -> None:
        self.latents, self.texts, self.rows = latents, texts, rows
        self.text_index = torch.as_tensor(text_index[rows].astype(np.int64))
        self.present = (self.text_index >= 0).float()

    def __len__(self) -> int:
        return len(self.rows)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """`text` (B, D) and `latents` (B, C, H, W), float32."""
        choice = torch.multinomial(self.present[indices], 1, generator=generator)
        chosen = self.text_index[indices].gather(1, choice).squeeze(1).numpy()
        return {
            "text": torch.from_numpy(self.texts[chosen].astype(np.float32)),
            "latents": torch.from_numpy(self.latents[self.rows[indices]].astype(np.float32)),
        }

    def all_texts(self) -> torch.Tensor:
        """(M, D): every text of the split, once for each item that has it."""
        places = self.text_index[self.text_index >= 0].numpy()
        return torch.from_numpy(self.texts[places].astype(np.float32))

    def mean_latents(self) -> torch.Tensor:
        """(C, H, W): the mean of the split's latents, what a model that reads nothing would say."""
        total = np.zeros(self.latents.shape[1:])
        for start in range(0, len(self.rows), 256):
            total += self.latents[self.rows[start : start + 256]].sum(axis=0, dtype=np.float64)
        return torch.from_numpy((total / len(self.rows)).astype(np.float32))


def text_to_latent_losses(
    predicted: torch.Tensor, latents: torch.Tensor, mean: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Mean squared error, and beside it that of the training films' mean latents (C, H, W) for every text."""
    predicted = predicted.float()
    return {
        "loss": (predicted - latents).square().mean(),
        "mse_of_mean": (mean.to(latents) - latents).square().mean(),
    }
