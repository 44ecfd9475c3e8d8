"""How long a training run will take from where it stands, by its own steps: `--estimate`."""

from collections.abc import Callable

from runtime.estimates import MOST_CALLS, WARM_UPS, measure_s, show_duration
from runtime.processes import on_main
from runtime.runs import RunFolder
from training.checkpoints import find_checkpoint
from training.config import TrainConfig

MOST_STEPS = WARM_UPS + MOST_CALLS  # that a measurement takes


def describe_pace(
    config: TrainConfig,
    run: RunFolder,
    items_per_step: int,
    optimize: Callable[[], object],
    validate: Callable[[], object],
) -> str:
    """A line that says how fast the run goes and how long it still takes.

    Args:
        items_per_step: of all processes together.
        optimize: takes one optimizer step and waits for its end.
        validate: makes one validation; it may do nothing.
    """
    step_s = measure_s(optimize, lambda count: on_main(lambda: count))
    validation_s = measure_s(validate, lambda count: 1) if config.validate_every else 0.0
    folder = find_checkpoint(run)
    left = config.num_steps - (int(folder.name.split("_")[1]) if folder else 0)
    num_validations = left // config.validate_every if config.validate_every else 0
    total_s = left * step_s + num_validations * validation_s
    return (
        f"{run.root}: {1 / step_s:.2f} steps/s, {items_per_step / step_s:.0f} items/s; {left:,} of "
        f"{config.num_steps:,} steps and {num_validations} validations are left: "
        f"{show_duration(total_s)}. Not counted: films drawn for scores, checkpoints"
    )
