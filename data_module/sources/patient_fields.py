"""Sex and age as they stand in tables of any language -> F or M, and years. What is unclear stays empty."""

import re
import unicodedata
from collections.abc import Iterable

MAX_AGE = 120.0  # years
EMPTY = ("", "nan", "na", "n/a", "none", "null", "-", "--")

_WOMEN = (
    "f w female woman girl weiblich frau madchen femme feminin fille mujer femenino femenina hembra femmina "
    "femminile donna mulher feminino vrouw vrouwelijk kvinna kvinde kvinne kobieta zena kadin "
    "ж жен женский 女 女性 여 여성 여자"
)
_MEN = (
    "m male man boy mannlich maennlich mann junge homme masculin garcon hombre masculino varon maschio "
    "maschile uomo homem mannelijk mand mies mezczyzna muz erkek м муж мужской 男 男性 남 남성 남자"
)
_SEXES = {**dict.fromkeys(_WOMEN.split(), "F"), **dict.fromkeys(_MEN.split(), "M")}
# Letters that mean another thing beside another letter: hombre and mujer, man and vrouw (or kvinde).
_PAIRS = {
    frozenset("hm"): {"h": "M", "m": "F"},
    frozenset("hf"): {"h": "M", "f": "F"},
    frozenset("mv"): {"m": "M", "v": "F"},
    frozenset("mk"): {"m": "M", "k": "F"},
    frozenset("ek"): {"e": "M", "k": "F"},
}
_UNITS = (  # in years
    (1.0, r"y|y\.\s?o|yr|yrs|years?|yo|y/o|ans?|a[nñ]os?|anni|jahre?|j"),
    (1 / 12, r"m|mo|mos|mon|months?|mois|meses|monate?"),
    (1 / 52.18, r"w|wk|wks|weeks?|semaines?|semanas?|wochen?"),
    (1 / 365.25, r"d|days?|jours?|d[ií]as?|tage?"),
)
_AGE = re.compile(
    r"(?:aged?:?\s*)?(?P<above>>=?|≥|over\s)?\s*(?:~|about\s)?\s*(?P<number>\d{1,4}(?:[.,]\d+)?)\s*(?P<plus>\+?)"
    rf"[\s-]*(?:{'|'.join(f'(?P<unit{place}>{names})' for place, (_, names) in enumerate(_UNITS))})?"
    r"(?P<rest>[\s,-]*(?:and\s+)?(?P<months>\d{1,2})\s*m(?:o|os|onths?)?)?(?P<last>\+?)(?:[\s-]*old|\s(?:or|and)\s(?:older|over|above))?[\s.]*"
)


class SexColumn:
    """How one column writes the sex: letter or word -> F or M.

    Args:
        cells: the whole column, since a letter may mean another thing beside other letters.
    """

    def __init__(self, cells: Iterable[str]) -> None:
        letters = {word for word in {_plain(cell) for cell in cells} if len(word) == 1 and word.isalpha()}
        self._letters = _PAIRS.get(frozenset(letters - set("uxo")), {})

    def read(self, cell: str) -> str:
        """F, M, or "" for anything else."""
        word = _plain(cell)
        return self._letters.get(word) or _SEXES.get(word, "")


def _plain(cell: str) -> str:
    """A word in small letters, without accents and what stands around it."""
    letters = unicodedata.normalize("NFKD", cell.strip().lower().replace("ı", "i").replace("ł", "l"))
    kept = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return unicodedata.normalize("NFKC", kept).strip(" .()[]\"'")


def read_age(cell: str) -> float | None:
    """Years of "63", "063Y", "63 years", "6 months"; 90 of "90+" and ">89". None where it is no age.

    Whole data sets cut off ages above 89, so that the bound is the best there is.
    """
    match = _AGE.fullmatch(cell.strip().lower())
    if match is None:
        return None
    number = float(match["number"].replace(",", "."))
    unit = next((place for place in range(len(_UNITS)) if match[f"unit{place}"]), None)
    if match["above"] in (">", "over "):
        number += 1
    age = number * (1.0 if unit is None else _UNITS[unit][0])
    if match["rest"]:
        if unit != 0:
            return None
        age += int(match["months"]) / 12
    return round(age, 2) if age <= MAX_AGE else None
