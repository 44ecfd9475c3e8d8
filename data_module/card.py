"""The head of a data-set card: license, tags, and which rows belong to which split for plain `datasets`."""

from collections.abc import Iterable

from runtime.origins import license_lines

ENTRY = """- config_name: {split}
  default: {default}
  data_files:
  - split: {split}
    path: [{table}, 'images/**']
  filters: [[split, '==', {split}]]
"""


def card_head(table: str, splits: Iterable[str], license_of: Iterable[str], synthetic: bool) -> str:
    """YAML front matter with one configuration a split, so that none is taken for another in silence.

    `load_dataset(FOLDER)` gives the first split alone (train, where there is one), `load_dataset(FOLDER,
    "test")` the test rows.

    Args:
        table: file name of the table in the folder.
        splits: those that hold rows; the first is the default.
        license_of: names of the data sets that the rows go back to.
        synthetic: whether some rows were drawn, by a model or as phantoms.
    """
    tags = ["chest-x-ray", *(["synthetic"] if synthetic else [])]
    entries = "".join(
        ENTRY.format(split=split, default=str(place == 0).lower(), table=table)
        for place, split in enumerate(splits)
    )
    configs = f"configs:\n{entries}" if entries else ""
    return f"---\n{license_lines(license_of)}tags: [{', '.join(tags)}]\n{configs}---\n\n"
