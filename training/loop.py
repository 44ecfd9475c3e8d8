"""`fit`: the one training loop. Plain steps on accelerate, exact resume, metrics.jsonl."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from tqdm import tqdm

from runtime.processes import on_main
from runtime.runs import RunFolder
from runtime.signals import signals_noted
from training.accelerator import make_accelerator
from training.checkpoints import find_checkpoint, load_checkpoint, save_checkpoint
from training.config import TrainConfig
from training.early_stopping import EarlyStopping
from training.learner import Learner
from training.loader import Batch, BatchSource, iterate_steps
from training.model_card import make_card
from training.optimizer import ParameterGroup
from training.pace import MOST_STEPS, describe_pace
from training.throughput import Throughput, describe
from training.validation import Objective, mean_losses

STEPS_TO_ASK = 10  # between two times that processes ask each other whether one was stopped
Trained = TypeVar("Trained", bound=nn.Module)


def fit(
    model: Trained,
    objective: Objective,
    train_data: BatchSource,
    validation_data: BatchSource | None,
    config: TrainConfig,
    run: RunFolder,
    save: Callable[[Trained, Path], None],
    groups: Sequence[ParameterGroup] = (),
    score: Callable[[Trained], dict[str, float]] | None = None,
) -> dict[str, float]:
    """Train `model` and save it into `run.model_dir`; a killed run goes on from its last checkpoint.

    Every draw of step s depends only on (seed, s, process): a resumed run ends with the weights of an
    uninterrupted one, bit for bit on a CPU.

    Args:
        objective: (model, batch, generator) -> losses with the key "loss"; also used for validation.
        save: writes the (averaged) model into a folder.
        groups: parameters with a learning rate, a decay or a clipping of their own.
        score: further validation metrics of the (averaged) model, such as of films it draws; too costly for
            every validation, so it has an interval of its own, `config.score_every`.

    Returns:
        The validation losses of the last step, empty without validation data.
    """
    if run.finished:
        print(f"{run.root} is finished; --overwrite trains it anew")
        return {}
    trainer = _Trainer(model, objective, config, run, groups, score)
    if config.estimate:
        trainer.estimate(train_data, validation_data)
        raise SystemExit
    trainer.resume()
    trainer.train(train_data, validation_data)
    losses = trainer.validate(validation_data)
    trainer.export(save)
    return losses


class _Trainer:
    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        config: TrainConfig,
        run: RunFolder,
        groups: Sequence[ParameterGroup],
        score: Callable[[Any], dict[str, float]] | None,
    ) -> None:
        self.config, self.run, self.score = config, run, score
        self.accelerator = make_accelerator(config, run, any(g.clipped_separately for g in groups))
        self.learner = Learner(model, objective, config, self.accelerator, groups)
        self.stopping = None
        if config.early_stopping:
            self.stopping = EarlyStopping(config)
        self.step = 0
        self.stop_signal = 0

    def resume(self) -> None:
        """Go on from the last whole checkpoint, and cut the log back to it."""
        folder = on_main(lambda: find_checkpoint(self.run))
        num_lines = 0
        if folder is not None:
            self.step, state = load_checkpoint(folder)
            try:
                num_lines = state["num_log_lines"]
                for name, part in self._parts().items():
                    part.load_state_dict(state[name])
            except (KeyError, ValueError, RuntimeError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise ValueError(
                    f"{folder} does not fit this run ({reason}): --overwrite trains anew"
                ) from None
            if self.learner.ema:
                self.learner.ema.to(self.accelerator.device)
            self.accelerator.print(f"{self.run.root}: going on from step {self.step}")
        on_main(lambda: self.run.cut_log(num_lines))

    def _parts(self) -> dict[str, Any]:
        """All that a run's next step depends on: name -> what has a state."""
        return self.learner.parts() | ({"stopping": self.stopping} if self.stopping else {})

    def _save_checkpoint(self) -> None:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state["num_log_lines"] = len(self.run.read_log())
        save_checkpoint(self.run, self.step, state, self.config.keep_checkpoints)

    def train(self, train_data: BatchSource, validation_data: BatchSource | None) -> None:
        config, accelerator = self.config, self.accelerator
        if not len(train_data):
            raise ValueError("the training data is empty")
        if self.stopping and not (
            config.validate_every and validation_data is not None and len(validation_data)
        ):
            raise ValueError("--early-stopping needs validation data and --validate-every above 0")
        batches = self._iterate(train_data, config.num_steps)
        bar = tqdm(
            total=config.num_steps,
            initial=self.step,
            desc=self.run.root.name,
            unit="step",
            disable=not accelerator.is_local_main_process,
            mininterval=1.0,
        )
        throughput = Throughput(
            self.run.read_log(),
            self.step,
            self.items_per_step,
            accelerator.num_processes,
            accelerator.device,
        )
        with signals_noted(self.note_signal):
            while self.step < config.num_steps and not self.stops_early:
                with throughput.step(self.step):
                    losses = self._optimize(batches)
                self.step += 1
                bar.update()
                last = self.step == config.num_steps
                if self.step % config.log_every == 0 or last:
                    values: dict[str, float] = {name: float(value) for name, value in losses.items()}
                    if not math.isfinite(values["loss"]):
                        raise ValueError(
                            f"{self.run.root}: loss is {values['loss']} at step {self.step}: "
                            "lower --learning-rate or use --mixed-precision no"
                        )
                    speed = throughput.figures(self.step)
                    bar.set_postfix({"loss": f"{values['loss']:.4f}", **describe(speed)})
                    self._log({**values, "learning_rate": self.learner.learning_rate, **speed})
                if config.validate_every and self.step % config.validate_every == 0 and not last:
                    self.validate(validation_data)
                last = last or self.stops_early
                stopped = self._is_stopped()
                if self.step % config.checkpoint_every == 0 or last or stopped:
                    on_main(self._save_checkpoint)
                if stopped and not last:
                    raise KeyboardInterrupt
        bar.close()

    @property
    def items_per_step(self) -> int:
        """Of all processes together."""
        config = self.config
        return config.batch_size * config.gradient_accumulation_steps * self.accelerator.num_processes

    def _iterate(self, data: BatchSource, last_step: int) -> Iterator[Batch]:
        """This process's micro-batches from the present step to the last."""
        config, rank, world = self.config, self.accelerator.process_index, self.accelerator.num_processes
        num_micro = config.gradient_accumulation_steps
        places = range(self.step * num_micro * world + rank, last_step * num_micro * world, world)
        return iterate_steps(data, config.batch_size, config.seed, places, config.num_workers)

    def estimate(self, train_data: BatchSource, validation_data: BatchSource | None) -> None:
        """Say how long the run will take from its last checkpoint on; nothing is kept of the steps taken."""
        batches = self._iterate(train_data, MOST_STEPS)

        def optimize() -> None:
            self._optimize(batches)["loss"].item()

        def validate() -> None:
            if validation_data is not None and len(validation_data):
                self._mean_losses(validation_data)

        pace = describe_pace(self.config, self.run, self.items_per_step, optimize, validate)
        self.accelerator.print(pace)
        self.accelerator.end_training()

    def note_signal(self, number: int) -> None:
        self.stop_signal = number

    def _is_stopped(self) -> bool:
        """Whether this process or another of the run was sent a signal: all stop after the same step."""
        if self.accelerator.num_processes == 1:
            return bool(self.stop_signal)
        if self.step % STEPS_TO_ASK:
            return False
        signal = torch.tensor(float(self.stop_signal), device=self.accelerator.device)
        return bool(torch.as_tensor(self.accelerator.reduce(signal, "sum")).item())

    @property
    def stops_early(self) -> bool:
        return self.stopping is not None and self.stopping.should_stop

    def _optimize(self, batches: Iterator[Batch]) -> dict[str, torch.Tensor]:
        """One optimizer step; the losses are those of its last micro-step."""
        return self.learner.optimize(batches, self.step)

    def validate(self, data: BatchSource | None) -> dict[str, float]:
        """Mean losses over the validation batches, with the averaged weights and always the same draws.

        Raises:
            ValueError: the metric of --early-stopping is not among them.
        """
        if data is None or not len(data):
            return {}
        if self.stopping and self.stopping.last_step == self.step:
            return self.stopping.values  # a resumed run's, whose step is in the log already
        config, means = self.config, self._mean_losses(data)
        scores = self._scores()
        means.update(scores)
        if self.stopping:
            if self.stopping.metric not in means and (scores or not self.score):
                names = ", ".join(name.removeprefix("validation_") for name in means)
                raise ValueError(f"--early-stopping {config.early_stopping}: validation gives {names}")
            self.stopping.update(means, self.step, self.learner.read_weights)
        self._log(means)
        shown = ", ".join(f"{name.removeprefix('validation_')} {value:.4f}" for name, value in means.items())
        if self.accelerator.is_main_process:
            tqdm.write(f"{self.run.root.name} step {self.step}, validation: {shown}")
        return means

    def _mean_losses(self, data: BatchSource) -> dict[str, float]:
        """Mean validation losses of the averaged weights."""
        config, learner = self.config, self.learner
        with learner.averaged():
            return mean_losses(
                learner.model,
                learner.objective,
                data,
                config.batch_size,
                config.num_validation_batches,
                self.accelerator,
            )

    @torch.no_grad()
    def _scores(self) -> dict[str, float]:
        """Metrics of the averaged model by `score`, at its own steps and at the last."""
        every, last = self.config.score_every, self.step == self.config.num_steps
        if self.score is None or not (last or (every and self.step % every == 0)):
            return {}
        with self.learner.averaged():
            scores = self.score(self.learner.model)
        scores = on_main(lambda: scores)  # rounding may differ between devices, and early stopping must not
        return {f"validation_{name}": value for name, value in scores.items()}

    def _log(self, values: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            self.run.log(self.step, values)
        self.accelerator.log(values, step=self.step)

    def export(self, save: Callable[[Any, Path], None]) -> None:
        """Save the averaged model, with early stopping that of the best validation."""

        def finish() -> None:
            model = self.learner.model.eval()
            with self.learner.averaged():
                if self.stopping:
                    model.load_state_dict(self.stopping.weights, strict=False)
                self.run.finish(lambda folder: save_with_card(model, folder))

        def save_with_card(model: Any, folder: Path) -> None:
            save(model, folder)
            step = self.stopping.best_step if self.stopping else self.step
            (folder / "README.md").write_text(make_card(folder, self.run, step))

        on_main(finish)
        self.accelerator.end_training()
