#!/usr/bin/env python
"""A page to draw and read pairs, in a browser on this machine (make app installs what it needs).

    python app.py
    python app.py --vision runs/demo/uvit --language runs/demo/bart --prior runs/demo/prior \
        --classifier runs/demo/classifier --data runs/demo/data --pairs runs/demo/pairs

Draw films and reports from a prompt, edit a film, read a film of your own (DICOM too), look through pairs
folders, and tell real films from made ones. The page loads nothing from the network and sends nothing out.
"""

import json

import sample_pairs
from page.config import PageConfig
from runtime.cli import parse_config, run_script
from runtime.config import to_dict

PRESETS = {"demo": PageConfig(models=sample_pairs.PRESETS["demo"].models)}  # drawn as by the command


def main(argv: list[str] | None = None) -> None:
    """Read the flags, load the models once, and serve the page until Ctrl-C."""
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        print(json.dumps(to_dict(config), indent=2))
        return
    from page.server import serve

    serve(config)


if __name__ == "__main__":
    run_script(main)
