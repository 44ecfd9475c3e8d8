"""The head of a data-set card: what tells plain `datasets` which rows belong to which split."""

from collections.abc import Iterable

HEADER = "---\nconfigs:\n"
ENTRY = """- config_name: {split}
  default: {default}
  data_files:
  - split: {split}
    path: [{table}, 'images/**']
  filters: [[split, '==', {split}]]
"""


def card_head(table: str, splits: Iterable[str]) -> str:
    """YAML front matter with one configuration a split, so that none is taken for another in silence.

    `load_dataset(FOLDER)` gives the first split alone (train, where there is one), `load_dataset(FOLDER,
    "test")` the test rows.

    Args:
        table: file name of the table in the folder.
        splits: those that hold rows; the first is the default.
    """
    entries = [
        ENTRY.format(split=split, default=str(place == 0).lower(), table=table)
        for place, split in enumerate(splits)
    ]
    return f"{HEADER}{''.join(entries)}---\n\n" if entries else ""
