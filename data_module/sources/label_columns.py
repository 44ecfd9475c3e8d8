"""Tables whose labels are columns of 1, 0 and -1: which columns these are, and what a row says in them."""

import re
from collections.abc import Collection, Mapping

import pandas as pd

from data_module.findings import FINDINGS
from data_module.sources.label_map import CERTAINTY_WORDS, LabelMap, label_key, quote_label
from data_module.sources.patient_fields import EMPTY

_NUMBERS = {word for word in CERTAINTY_WORDS if not word.isalpha()}
# Columns of 0 and 1 that are no labels.
_OTHER_COLUMN = re.compile(
    r"(?:^|[\W_])(?:ids?|no|nr|num|number|idx|index|rows?|unnamed|fold|split|train|tests?|val|valid|validation"
    r"|views?|frontal|lateral|portable|supine|erect|upright|sex|gender|(?:fe)?male|man|woman|age|years?|month|day|date"
    r"|offset|follow|followup|series|counts?|seed|images?|study|patients?|subjects?|visit|instance|rotat\w*"
    r"|invert\w*|weights?|height|width|size|surviv\w*|death|died|dead|icu|intubat\w*|source|dataset)(?:$|[\W_])",
    re.IGNORECASE,
)


def find_label_columns(
    table: pd.DataFrame, used: Collection[str], label_map: LabelMap, where: str, alone: bool
) -> dict[str, str]:
    """Columns of certainties -> their label, which the map knows.

    Args:
        used: columns that a flag names.
        alone: nothing else in the table gives labels.

    Raises:
        ValueError: two columns of one label, or a column that holds certainties of a label that is not known:
            else a finding of the table would be lost, and a report built from the rest would deny it.
    """
    others = [name for name in table.columns if name not in used]
    found = {
        name: name
        for name in others
        if name in label_map and (name in FINDINGS or _share_of_codes(table[name]) >= 0.5)
    }
    keys = [label_key(name) for name in found]
    twice = [name for place, name in enumerate(found) if keys[place] in keys[:place]]
    if twice:
        raise ValueError(f"{where}: two columns are a {quote_label(twice[0])}; rename or remove one")
    unknown = [
        name
        for name in others
        if name not in label_map and not _OTHER_COLUMN.search(name) and _holds_numbers(table[name])
    ]
    if unknown and (found or alone):
        names = ", ".join(quote_label(name) for name in unknown[:20])
        raise ValueError(
            f"{where}: column(s) {names} hold nothing but 1, 0 and -1, like labels, but are not known. Map "
            'each to a finding, or to nothing, with --label-map FILE.json ({"a": "Fracture", "b": null})'
        )
    return found


def _filled(cells: pd.Series) -> pd.Series:
    cells = cells.str.strip().str.lower()
    return cells[~cells.isin(EMPTY)]


def _share_of_codes(cells: pd.Series) -> float:
    filled = _filled(cells)
    return float(filled.isin(list(CERTAINTY_WORDS)).mean()) if len(filled) else 1.0


def _holds_numbers(cells: pd.Series) -> bool:
    filled = _filled(cells)
    return bool(len(filled)) and bool(filled.isin(_NUMBERS).all())


def read_codes(record: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, float]:
    """Label -> certainty of one row; empty cells are left out.

    Raises:
        ValueError: names the column that holds no certainty.
    """
    codes = {}
    for column, label in columns.items():
        word = record[column].strip().lower()
        if word in EMPTY:
            continue
        if word not in CERTAINTY_WORDS:
            raise ValueError(f"{column} holds no certainty (1, 0, -1 or empty)")
        codes[label] = CERTAINTY_WORDS[word]
    return codes
