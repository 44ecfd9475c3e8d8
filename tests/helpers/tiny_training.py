"""A real training that takes a second: `main(argv)` is a script like those at the root."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from runtime.cli import parse_config, run_script
from runtime.config import setting
from runtime.runs import RunFolder
from training.config import TrainConfig
from training.loop import fit


@dataclass(frozen=True)
class Config:
    """A small regression."""

    out: Path = setting(Path("out"), identity=False)
    """Run folder."""
    overwrite: bool = setting(False, identity=False)
    """Start anew."""
    num_validation: int = 20
    """Points that validate."""
    train: TrainConfig = field(default_factory=TrainConfig)


TRAIN = TrainConfig(
    num_steps=12,
    batch_size=4,
    warmup_steps=0,
    ema_decay=0.9,
    validate_every=4,
    checkpoint_every=4,
    log_every=2,
    mixed_precision="no",
)
PRESETS = {
    "plain": Config(train=TRAIN),
    "stopping": Config(train=dataclasses.replace(TRAIN, early_stopping="loss", optimizer="muon")),
}


class Points:
    """Noisy points of a line; the noise comes from the batch's generator."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def get_batch(self, indices, generator):
        x = torch.as_tensor(indices).float()[:, None] / self.count
        return {"x": x + 0.01 * torch.randn(x.shape, generator=generator)}


def objective(model, batch, generator):
    noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
    return {"loss": (model(batch["x"] + noise) - 2 * batch["x"]).square().mean()}


def save(model: nn.Module, folder: Path) -> None:
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    run = RunFolder.create(config.out, "test", config, config.overwrite)
    torch.manual_seed(0)
    # Batch statistics are buffers, which every process of a run has for itself.
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()) for _ in range(2)]
    model = nn.Sequential(nn.Linear(1, 8), *blocks, nn.Dropout(0.2), nn.Linear(8, 1))
    fit(model, objective, Points(50), Points(config.num_validation), config.train, run, save)


def read_weights(out: Path) -> dict[str, torch.Tensor]:
    """The weights of a finished run."""
    return load_file(out / "model" / "model.safetensors")


if __name__ == "__main__":
    run_script(main)
