"""Large JPEG films to 256x256: films a second of one core, against plain Pillow, in one run; and workers.

    python benchmarks/film_decoding.py [--num-films 12]

The films are the demo's phantoms at 2,544 x 3,056 with film grain, saved as gray JPEG at quality 95 with the
grain that gives MIMIC-CXR-JPG's mean file size (1.5 MB), and without grain. "Plain" is
Image.open(...).convert("L").resize(..., LANCZOS) of the central square. Both run in turns, film by film; the
ratio is of the sums of processor time, which other work on the machine disturbs less than wall time. Writes
results/film_decoding.json.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_module.decoding import read_resized
from data_module.demo.source import generate_studies

WIDTH, HEIGHT, SIZE = 2544, 3056, 256
GRAINS = {"no grain": 0.0, "grain": 1.6}


def make_film(path: Path, number: int, grain: float) -> None:
    """One phantom, enlarged, with grain of this deviation in gray levels."""
    (film,) = generate_studies(1, 256, start=number)
    large = Image.fromarray(film.pixels).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(number).normal(0, grain, (HEIGHT, WIDTH)) if grain else 0.0
    pixels = (np.asarray(large) + noise).round().clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


def resize_plainly(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        top = (HEIGHT - WIDTH) // 2
        box = (0, top, WIDTH, top + WIDTH)
        return np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS, box=box))


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((first.astype(np.float64) - second) ** 2)))


def compare(folder: Path, grain: float, num_films: int) -> dict[str, float]:
    plain_s, ours_s, agreement, sizes = 0.0, 0.0, [], []
    for number in range(num_films):
        path = folder / "film.jpg"
        make_film(path, number, grain)
        sizes.append(path.stat().st_size)
        for _ in range(3):
            started_s = time.process_time()
            plain = resize_plainly(path)
            between_s = time.process_time()
            ours = read_resized(path, SIZE, "fit-crop")
            plain_s += between_s - started_s
            ours_s += time.process_time() - between_s
        agreement.append(psnr(plain, ours))
    return {
        "mean_file_mb": round(float(np.mean(sizes)) / 1e6, 2),
        "plain_films_per_cpu_s": round(3 * num_films / plain_s, 1),
        "films_per_cpu_s": round(3 * num_films / ours_s, 1),
        "ratio": round(plain_s / ours_s, 2),
        "mean_psnr_db": round(float(np.mean(agreement)), 1),
        "least_psnr_db": round(min(agreement), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-films", type=int, default=12)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {name: compare(Path(folder), grain, args.num_films) for name, grain in GRAINS.items()}
    result |= machine()
    path = Path(__file__).parent / "results" / "film_decoding.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def machine() -> dict[str, object]:
    return {"num_cores": len(os.sched_getaffinity(0)), "load_average": round(os.getloadavg()[0], 1)}


if __name__ == "__main__":
    main()
