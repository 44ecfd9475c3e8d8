"""The texts of a pairs folder by column, one of which need not be in its table: `free_prompt`."""

import numpy as np

from data_module.free_prompts import is_free_prompt, write_free_prompts
from data_module.pairs import PairsFolder


def text_column(pairs: PairsFolder, name: str, flag: str = "--texts") -> list[str]:
    """This column's text of each row, "" where it is empty.

    `free_prompt`, `free_prompt_2` ... are put together where the table has none: see
    `data_module.free_prompts`.

    Raises:
        ValueError: a column that is not there; `flag` asked for it.
    """
    if name in pairs.table:
        return pairs.table[name].fillna("").astype(str).tolist()
    if is_free_prompt(name):
        return write_free_prompts(pairs.table, name)
    raise ValueError(f"{flag} {name}: {pairs.root}/metadata.csv has no such column")


def text_columns(pairs: PairsFolder, names: tuple[str, ...]) -> np.ndarray:
    """(N, F) str: these text columns, see `text_column`.

    Raises:
        ValueError: a column that is not there, or a row in which all of them are empty.
    """
    columns = [text_column(pairs, name) for name in names]
    fields = np.array(columns, dtype=str).reshape(len(names), len(pairs)).T
    empty = (fields == "").all(axis=1)
    if names and empty.any():
        row = int(np.flatnonzero(empty)[0]) + 2
        raise ValueError(f"{pairs.root}/metadata.csv row {row}: {', '.join(names)} are all empty")
    return fields
