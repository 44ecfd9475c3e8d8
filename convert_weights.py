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
import shutil

import tyro

from runtime.cli import run_script
from runtime.files import naming, publish_folder
from vision_module.weights.config import ConversionConfig


def main(argv: list[str] | None = None) -> None:
    config = tyro.cli(ConversionConfig, args=argv, description=__doc__)
    if config.dry_run:
        print(json.dumps(dataclasses.asdict(config), indent=2, default=str))
        return
    if config.out.exists():
        raise ValueError(f"--out {config.out} is there already: name another folder")
    if not config.file.exists():
        raise ValueError(f"{config.file}: no such file or folder")
    from vision_module.weights.conversion import convert

    model, lines = convert(config)
    # The folder appears whole or not at all.
    temporary = config.out.with_name(f".{config.out.name}.tmp")
    with naming(config.out):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            model.save_pretrained(temporary)
            publish_folder(temporary, config.out)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    print("\n".join([*lines, f"{config.out}: {type(model).__name__}"]))


if __name__ == "__main__":
    run_script(main)
