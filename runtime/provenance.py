"""What made a folder: for its provenance.json."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def provenance_record(config: Mapping[str, Any]) -> dict[str, Any]:
    """Command, config, commit and library versions, for provenance.json."""
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    versions = {
        name: importlib.metadata.version(name)
        for name in ("torch", "diffusers", "transformers", "timm", "numpy", "pillow")
    }
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "config": dict(config),
        "commit": commit or "unknown",
        "python": sys.version.split()[0],
        "libraries": versions,
    }
