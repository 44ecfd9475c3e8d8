#!/usr/bin/env python
"""Published weights -> a model folder that every script here takes, and plain diffusers loads.

    python convert_weights.py sd FOLDER_OR_FILE --out runs/sd-1-4          # SD folder, .ckpt or .safetensors
    python convert_weights.py cxr-irgen FILE.ckpt --out runs/cxr-irgen     # either backbone
    python convert_weights.py monai BUNDLE --out runs/monai-ldm            # model zoo's chest X-ray LDM
    python convert_weights.py uvit imagenet256_uvit_large.pth --out runs/uvit-imagenet

Every tensor is accounted for; a file that does not fit is refused with what was expected and found.
"""

import dataclasses
import json

import tyro

from runtime.cli import run_script
from runtime.files import making_folder
from runtime.locks import Claim
from vision_module.weights.config import ConversionConfig


def main(argv: list[str] | None = None) -> None:
    config = tyro.cli(ConversionConfig, args=argv, description=__doc__)
    if config.dry_run:
        print(json.dumps(dataclasses.asdict(config), indent=2, default=str))
        return
    if not config.file.exists():
        raise ValueError(f"{config.file}: no such file or folder")
    from vision_module.weights.conversion import convert

    with Claim(config.out, of_file=True):
        if config.out.exists():
            raise ValueError(f"--out {config.out} is there already: name another folder")
        model, lines = convert(config)
        with making_folder(config.out) as folder:
            model.save_pretrained(folder)
    print("\n".join([*lines, f"{config.out}: {type(model).__name__}"]))


if __name__ == "__main__":
    run_script(main)
