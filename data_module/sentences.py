"""A report's text as plain characters and as sentences: for training, prior references and the labeler."""

import html
import re
import unicodedata

_HYPHENS, _BULLETS = "\u2010\u2011\u2012\u2212\u2043", "\u2022\u2023\u25aa\u25cf\u25e6\u25a0\u00b7"
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys(_HYPHENS, "-"),
        **dict.fromkeys(_BULLETS, "\u2022"),
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d", '"'),
        **dict.fromkeys("\u2028\u2029\x85", "\n"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff"),  # invisible: soft hyphens, joiners
    }
)
_BLOCK_TAG = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|td|th|table|hr|h\d)\b[^<>]{0,99}>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][a-z0-9]{0,9}(?:\s[^<>]{0,99})?/?>", re.IGNORECASE)

# Where a sentence may end: a stop and a blank, a stop that its blank was lost after, or a gap in the text.
_BOUNDARY = re.compile(
    r"[.!?\n\t|\u2022](?:(?<=[.!?])[\"')\]]*(?:\s+|(?=[A-Za-z]))|(?<=[\n\t])\s*|(?<=[|\u2022]))"
)
_WIDE_GAP = re.compile(r" {3,}")
_ALWAYS_SHORT = re.compile(r"(?:^|[\s(])(?:(?:drs?|mrs?|ms|prof)\.(?:\s?[a-z]\.)*|vs\.)$", re.IGNORECASE)
_SHORT = re.compile(
    r"(?:^|[\s(])(?:approx|incl|pts?|fx|st|rt|lt|bilat|mod|e\.g|i\.e|a\.m|p\.m)\.$", re.IGNORECASE
)
_NUMBER_SIGN = re.compile(
    r"(?:^|[\s(])no\.$", re.IGNORECASE
)  # "No. 14 French tube", but "Edema: no. 2. Clear"
_COUNTED = re.compile(r"\d+(?![\d.)])")
_LIST_NUMBER = re.compile(r"\W{0,3}(\d{1,2})[.)]")
_NEXT_NUMBER = re.compile(r"(?:^|\s)(\d{1,2})\.$")
_LIST_MARK = re.compile(r"[-*\u2022>]\s|\(?\d{1,2}[.)]\s|\(?[a-h][.)]\s", re.IGNORECASE)
_ANSWER = re.compile(r"(?:[:=]| [-\u2013\u2014]) ?\w+$")  # "Effusion: no" ends what "no" else begins
_LAST_WORD = re.compile(r"[^\W\d_]*$")
_LONGEST_SHORT = 7  # letters, more than any of these abbreviations
_LONGEST_WORD = 24  # characters that are looked back for a word
# A line that ends with one of these goes on in the next ...
_GOES_ON = frozenset(
    (
        *("a", "an", "the", "this", "that", "these", "those", "no", "not", "nor", "or", "and", "but", "with"),
        *(
            "without",
            "of",
            "in",
            "on",
            "at",
            "to",
            "for",
            "from",
            "by",
            "as",
            "than",
            "into",
            "over",
            "above",
        ),
        *("below", "near", "behind", "within", "along", "between", "per", "via", "is", "are", "was", "were"),
        *("be", "been", "has", "have", "had", "may", "might", "can", "could", "should", "would", "will"),
        *("appears", "remains", "there", "which", "who", "if", "whether", "versus", "vs", "any", "some"),
        *("either", "neither", "both", "new", "old", "small", "large", "tiny", "trace", "mild", "minimal"),
        *("moderate", "severe", "left", "right", "bilateral", "upper", "middle", "lower", "focal", "pleural"),
        *("pulmonary", "cardiac", "acute", "chronic", "possible", "probable", "likely", "dr"),
    )
)
# ... and one that starts with one of these says something new.
_STARTS = frozenset(
    (
        *("no", "there", "heart", "lungs", "lung", "cardiac", "cardiomediastinal", "mediastinal", "small"),
        *("mediastinum", "large", "mild", "mildly", "minimal", "moderate", "moderately", "severe", "stable"),
        *("unchanged", "left", "right", "bilateral", "bibasilar", "new", "trace", "tiny", "patchy", "normal"),
        *("persistent", "enlarged", "endotracheal", "et", "ett", "ng", "ngt", "og", "picc", "pacemaker"),
        *("status", "interval", "increased", "decreased", "impression", "findings", "pneumothorax"),
        *("effusion", "cardiomegaly", "without"),
    )
)


def plain_characters(text: str) -> str:
    """`text` with one kind of hyphen, blank, bullet and quote, and with line breaks in the place of tags."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS)
    if "&" in text:
        text = html.unescape(text).replace("\u00a0", " ")
    if "<" in text:
        text = _TAG.sub("", _BLOCK_TAG.sub("\n\n", text))
    if "\r" in text or "\f" in text or "\v" in text:
        text = re.sub(r"\r\n?|[\f\v]", "\n", text)
    return text


def split_sentences(text: str) -> list[str]:
    """Sentences of a text, their blanks single; the number of a list stays with its sentence.

    A sentence ends at a stop, unless that belongs to an abbreviation or a number; at an empty line, a bullet
    or a bar; and where a new line says something new ("No edema", "Small effusion"), which a line that was
    wrapped does not. Semicolons and colons end none.
    """
    if "   " in text:
        text = _WIDE_GAP.sub("\t", text)
    sentences: list[str] = []
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        end = _find_end(text, start, boundary)
        if end is not None:
            sentences.append(text[start : end[0]])
            start = end[1]
    sentences.append(text[start:])
    return [" ".join(words) for sentence in sentences if (words := sentence.split())]


def _find_end(text: str, start: int, boundary: re.Match[str]) -> tuple[int, int] | None:
    """Where the sentence from `start` on ends and the next one begins; None where it goes on."""
    place, next_start = boundary.span()
    sign = text[place]
    if sign in ".!?":
        return _end_at_stop(text, start, place + 1, next_start)
    if sign in "|\u2022" or text.count("\n", place, next_start) > 1:
        return place, next_start
    return (place, next_start) if _says_something_new(text, start, place, next_start) else None


def _end_at_stop(text: str, start: int, place: int, next_start: int) -> tuple[int, int] | None:
    long = place - start > _LONGEST_SHORT and text[place - 1 - _LONGEST_SHORT : place - 1].isalpha()
    if long and next_start == place + 1 and text[place].isspace():  # no abbreviation is as long
        return place, next_start
    gap, following = text[place:next_start], text[next_start : next_start + 9]
    if not gap and (place - start < 4 or not text[place - 4 : place - 1].isalpha()):
        return None  # 1.5, e.g., but "effusion.Clear"
    end = next_start - len(gap.lstrip("\"')]"))  # behind a closing quote or bracket
    if long:
        return end, next_start
    before = text[max(start, place - _LONGEST_WORD) : place]
    if _ALWAYS_SHORT.search(before) or (_NUMBER_SIGN.search(before) and _COUNTED.match(following)):
        return None
    if _SHORT.search(before) and not following[:1].isupper() and not following.startswith("no "):
        return None
    if place - start < 6 and _LIST_NUMBER.fullmatch(text, start, place):
        return None
    number, own = _NEXT_NUMBER.search(before), _LIST_NUMBER.match(text, start, place)
    if number and own and int(number[1]) == int(own[1]) + 1:  # "1. No edema 2. Clear lungs"
        split = place - len(before) + number.start(1)
        return split, split
    return end, next_start


def _says_something_new(text: str, start: int, place: int, next_start: int) -> bool:
    """Whether the line that starts at `next_start` is a new statement, and not the last line wrapped."""
    before = text[max(start, place - _LONGEST_WORD) : place].rstrip()
    following = text[next_start : next_start + _LONGEST_WORD]
    if not before or before[-1] in ",:(/&-" or not following:
        return False
    if before[-1] == ";" or _ANSWER.search(before) or _LIST_MARK.match(following):
        return True
    last = _LAST_WORD.search(before)
    if last and last[0].lower() in _GOES_ON:
        return False
    if following[0].isupper() and following[1:2].islower():
        return True
    return following.split()[0].strip(",.:;").lower() in _STARTS
