#!/usr/bin/env python
"""A pairs folder, or the model of a run, onto the Hugging Face hub.

    python push_to_hub.py runs/demo/pairs --repo OWNER/NAME --dry-run     # lists what would be sent
    python push_to_hub.py runs/demo/uvit --repo OWNER/NAME --private

Pairs become a data set (table, films, card, provenance), a run's model/ a model. Checkpoints, caches, locks
and unfinished parts stay here. The token is that of `hf auth login` or HF_TOKEN. A folder whose data's terms
forbid passing it on is refused.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from runtime.cli import run_script
from runtime.config import to_dict
from runtime.files import show_bytes

if TYPE_CHECKING:
    from pipelines.sharing import Shared


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is sent where."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Finished pairs folder or run folder."""
    repo: str
    """OWNER/NAME on the hub; it is made where there is none."""
    private: bool = False
    """Make the repository private; one that is there stays as it is."""
    i_have_the_right: bool = False
    """Send what the terms of its data forbid to pass on, or data of unknown terms: you answer for it."""
    dry_run: bool = False
    """Print the settings and, where the folder is there, its files with sizes and terms, and send nothing."""


def main(argv: list[str] | None = None) -> None:
    config = tyro.cli(Config, args=argv, description=__doc__)
    if config.dry_run:
        print(json.dumps(to_dict(config), indent=2))
        if not config.folder.exists():
            return
    from pipelines.sharing import check_terms, collect_files
    from runtime.hub import check_repo, upload

    check_repo(config.repo)
    shared = collect_files(config.folder)
    if config.dry_run:
        _list_files(shared)
    for warning in check_terms(shared, config.i_have_the_right):
        print(f"warning: {warning}", file=sys.stderr)
    if not config.dry_run:
        address = upload(shared.files, config.repo, shared.kind, config.private)
        print(f"{address}: {len(shared.files):,} files, {show_bytes(shared.num_bytes)}")


def _list_files(shared: "Shared") -> None:
    from pipelines.sharing import size_of

    for name, file in shared.files.items():
        print(f"{show_bytes(size_of(file)):>12}  {name}")
    print(f"{show_bytes(shared.num_bytes):>12}  in {len(shared.files):,} files, as a {shared.kind}")


if __name__ == "__main__":
    run_script(main)
