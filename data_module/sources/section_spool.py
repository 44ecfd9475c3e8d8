"""Sections of many reports, on the disk between the pass that checks them and the pass that writes them."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_module.sections import Sections


class SectionSpool:
    """Study -> sections, written and read in one order, in a file without a name: when the process ends,
    however it ends, no text is left behind.

    Args:
        folder: on whose disk the file lies.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile("w+", dir=folder, encoding="utf-8")  # noqa: SIM115

    def add(self, study: str, sections: Sections) -> None:
        """Append one study."""
        self._file.write(json.dumps([study, *sections]) + "\n")

    def read(self, studies: Iterable[str]) -> Iterator[Sections]:
        """The sections of these studies, which must come in the order in which they were added."""
        self._file.seek(0)
        for wanted in studies:
            study, *texts = json.loads(self._file.readline())
            while study != wanted:
                study, *texts = json.loads(self._file.readline())
            yield Sections(*texts)
