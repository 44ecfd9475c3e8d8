"""Do the published sizes fit? Two optimizer steps and one film of U-ViT-L and of Stable Diffusion with LoRA.

    python benchmarks/real_sizes.py
    python benchmarks/real_sizes.py --only sd_lora_train sd_lora_film

Runs the scripts themselves, one process at a time, on random weights of the true sizes (their published
configs) and 256x256 phantoms. Writes peak resident memory and seconds of each.
Takes some 10 GB of disk under the system's temporary folder, and some minutes.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from vision_module.clip import make_processor, train_clip_tokenizer
from vision_module.unet import SD1_UNET

SD1_TEXT_ENCODER: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "vocab_size": 49408,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
SD1_AUTOENCODER: dict[str, Any] = {  # whose types diffusers gives as of a block each
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
ROOT = Path(__file__).resolve().parents[1]
COMMON = "--data data --autoencoder vae --clip sd --batch-size 2 --num-steps 2"
SAMPLE = (
    "sample_pairs.py --preset paper --data data --films-only --num-pairs 1 --batch-size 1 "
    "--num-inference-steps 10 --mixed-precision bf16"
)
COMMANDS = {
    "uvit_l_train": (
        f"train_diffusion_clipUViT.py --preset paper {COMMON} --reference-encoder clip --out uvit"
    ),
    "uvit_l_film": f"{SAMPLE} --vision uvit --out uvit_films",
    "sd_lora_train": (
        f"train_diffusion_clipSD.py --preset cxrgenai {COMMON} --texts prompt --init-from sd --out sd_lora"
    ),
    "sd_lora_film": f"{SAMPLE} --vision sd_lora --out sd_films",
}


def write_models(root: Path) -> None:
    """Random weights: Stable Diffusion 1.4's U-Net, text encoder and autoencoder, and CLIP ViT-B/32."""
    torch.manual_seed(0)
    tokenizer = train_clip_tokenizer(
        ["A chest X ray image with pleural effusion, without fracture"] * 50, 1000
    )
    CLIPTextModel(CLIPTextConfig(**SD1_TEXT_ENCODER)).save_pretrained(root / "sd" / "text_encoder")
    tokenizer.save_pretrained(root / "sd" / "tokenizer")
    UNet2DConditionModel(sample_size=64, **SD1_UNET).save_pretrained(root / "sd" / "unet")
    (root / "sd" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    AutoencoderKL(**SD1_AUTOENCODER, sample_size=512).save_pretrained(root / "vae")
    clip = CLIPModel(CLIPConfig())  # the defaults are ViT-B/32
    clip.save_pretrained(root / "clip")
    tokenizer.save_pretrained(root / "clip")
    make_processor(clip, "").save_pretrained(root / "clip")


def run(command: str, folder: Path) -> dict[str, object]:
    """Run one command line in the folder; its peak memory and time.

    Raises:
        SystemExit: it failed.
    """
    started_s = time.perf_counter()
    process = subprocess.Popen([sys.executable, *_arguments(command)], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    # Linux counts ru_maxrss in kibibytes.
    return {
        "command": f"python {command}",
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
        "seconds": round(time.perf_counter() - started_s),
    }


def _arguments(command: str) -> list[str]:
    script, *flags = shlex.split(command)
    return [str(ROOT / script), *flags]


def main(argv: list[str] | None = None) -> None:
    """Measure what was asked for; figures of other lines stay in the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(COMMANDS), default=list(COMMANDS), help="a film needs its training"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/real_sizes.json"))
    args = parser.parse_args(argv)
    for name in args.only:
        needed = name.replace("_film", "_train")
        if needed not in args.only:
            parser.error(f"--only {name} draws with the model of {needed}: name both")
    results: dict[str, object] = json.loads(args.out.read_text()) if args.out.is_file() else {}
    results |= {"torch": torch.__version__, "machine": platform.machine(), "threads": torch.get_num_threads()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run("prepare_data.py demo --out data --num-studies 24 --size 256 --num-workers 1", root)
        write_models(root)
        for name, command in COMMANDS.items():
            if name in args.only:
                results[name] = run(command, root)
                print(name, results[name], flush=True)
                args.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
