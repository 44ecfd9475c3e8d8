"""Films a second from the latent cache against encoding on the fly, in one run.

    python benchmarks/latent_cache.py [--size 256] [--num-films 256]

A made-up autoencoder of Stable Diffusion's four levels, narrower (its weights do not matter here; a wider one
only makes the ratio larger). Reading: random batches of 32 out of the memory map, as training draws them, to
float32 tensors, with a warm page cache and the posterior's noise drawn. Writes results/latent_cache.json.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_module.demo.source import write_demo
from data_module.images import load_images
from vision_module.autoencoder import build_autoencoder, encode_films
from vision_module.config import AutoencoderConfig
from vision_module.encoding import encode_latents

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--num-films", type=int, default=128)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), args.size, args.num_films)
    path = Path(__file__).parent / "results" / "latent_cache.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def measure(folder: Path, size: int, num_films: int) -> dict[str, object]:
    torch.manual_seed(0)
    pairs = write_demo(folder / "data", num_films, size, num_workers=1)
    config = AutoencoderConfig(block_out_channels=(32, 64, 128, 128))
    model = build_autoencoder(config, size).eval()
    model.save_pretrained(folder / "autoencoder")
    cache = encode_latents(pairs, folder / "autoencoder", folder / "cache", size, BATCH)
    order = np.random.default_rng(0).permutation(num_films)
    batches = [np.sort(order[start : start + BATCH]) for start in range(0, num_films, BATCH)]
    generator = torch.Generator().manual_seed(0)
    encode_s, read_s = [], []
    for batch in batches:
        started_s = time.perf_counter()
        with torch.inference_mode():
            mean, std = encode_films(model, load_images([pairs.image_paths[row] for row in batch], size))
        mean + std * torch.randn(mean.shape, generator=generator)
        encode_s.append(time.perf_counter() - started_s)
        for _ in range(10):
            started_s = time.perf_counter()
            mean, std = (
                torch.from_numpy(cache[name][batch]).float() for name in ("latents_mean", "latents_std")
            )
            mean + std * torch.randn(mean.shape, generator=generator)
            read_s.append(time.perf_counter() - started_s)
    encode, read = BATCH / float(np.median(encode_s)), BATCH / float(np.median(read_s))
    return {
        "size": size,
        "autoencoder_parameters": sum(p.numel() for p in model.parameters()),
        "encoded_films_per_s": round(encode, 1),
        "read_films_per_s": round(read),
        "ratio": round(read / encode),
        "cache_bytes_per_film": sum(cache[name][0].nbytes for name in cache),
        "num_threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
