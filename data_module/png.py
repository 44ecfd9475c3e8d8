"""Films and masks as PNG files. Imports no torch: the workers that render the demo need none."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.files import write_atomic


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a film or mask (H, W) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue(), durable=False)
