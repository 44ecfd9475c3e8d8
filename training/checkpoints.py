"""Checkpoints of a run: written whole or not at all, the oldest dropped."""

import shutil

from accelerate import Accelerator

from runtime.runs import RunFolder


def save_checkpoint(accelerator: Accelerator, run: RunFolder, step: int, keep: int) -> None:
    """Write checkpoints/step_N with all that is registered for it; nothing where it is there.

    Args:
        keep: checkpoints to leave on disk.
    """
    target = run.checkpoint_dir / f"step_{step:07d}"
    temporary = run.checkpoint_dir / "unfinished"
    if target.exists():
        return
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        temporary.rename(target)
        for old in sorted(run.checkpoint_dir.glob("step_*"))[:-keep]:
            shutil.rmtree(old)


def load_last_checkpoint(accelerator: Accelerator, run: RunFolder) -> int:
    """Load the last whole checkpoint; its step, 0 without one."""
    found = sorted(run.checkpoint_dir.glob("step_*"))
    if not found:
        return 0
    accelerator.load_state(str(found[-1]))
    step = int(found[-1].name.removeprefix("step_"))
    accelerator.print(f"{run.root}: going on from step {step}")
    return step
