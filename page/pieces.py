"""What the page shows, as HTML: films, reports with their findings marked, tables. All text is escaped."""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.images import FilmError, read_pixels
from data_module.labeler import label_report
from data_module.labeler.consistency import CONTRADICTIONS, find_contradictions
from data_module.sentences import split_sentences
from page.models import Judged

SIDE, THUMBNAIL = 512, 128  # longest sides of films as they are sent to the browser
_MACROS = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
_PIECES: Any = _MACROS.get_template("pieces.html").module
_SAID = {POSITIVE: "present", NEGATIVE: "absent", UNCERTAIN: "uncertain"}
_HEADING = re.compile(r"\s*\b(FINDINGS|IMPRESSION):\s*")


def picture(pixels: np.ndarray, side: int = SIDE) -> str:
    """A film (H, W) uint8 as data of an <img>, its longest side at most `side`. It is never enlarged."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def picture_of(path: Path | None, side: int = SIDE) -> str:
    """A film file as data of an <img>; a gray square where it cannot be read."""
    try:
        return picture(read_pixels(path), side) if path else picture(_UNREADABLE)
    except FilmError:
        return picture(_UNREADABLE)


_UNREADABLE = np.full((8, 8), 96, np.uint8)


def message(text: str, kind: str = "note") -> str:
    """A line for the reader. `kind`: "note", "warning" or "error"."""
    return str(_PIECES.message(text, kind)) if text else ""


def figure(data: str, alt: str, note: str = "") -> str:
    """One film with a line below."""
    return str(_PIECES.film(data, alt, note))


def row_of_films(shown: Sequence[tuple[str, str, str]]) -> str:
    """Films side by side, each as (data, what it is, note)."""
    return str(_PIECES.row_of_films(shown))


def command(text: str) -> str:
    """A command line, folded away."""
    return str(_PIECES.command(text))


def films(pixels: Iterable[np.ndarray]) -> str:
    """Films alone, as they are being drawn."""
    return str(_PIECES.films([picture(film) for film in pixels]))


def slider(before: np.ndarray, after: np.ndarray) -> str:
    """Two films, one over the other."""
    return str(_PIECES.slider(picture(before), picture(after)))


def cards(items: Sequence[dict[str, Any]]) -> str:
    """Pairs, each as `card` makes them."""
    return str(_PIECES.cards(items))


def grid(entries: Iterable[tuple[int, Path | None, str]], chosen: int | None = None) -> str:
    """Films to click: (row, file, text) each; `chosen` is framed."""
    shown = [
        {"row": row, "picture": picture_of(path, THUMBNAIL), "text": text} for row, path, text in entries
    ]
    return str(_PIECES.grid(shown, chosen))


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names and values; empty ones are left out."""
    return str(
        _PIECES.facts([(name, value) for name, value in pairs if str(value) not in ("", "nan", "None")])
    )


def card(
    shown: Sequence[tuple[str, str, str]],
    report: str,
    judged: Judged,
    row: int = 0,
    prompt: str = "",
    more: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """A pair for `cards`.

    Args:
        shown: films as (data, what it is, note).
        row: of `judged`.
        more: texts to fold away, by their titles.
    """
    wrong = find_contradictions([report])[0]
    return {
        "films": list(shown),
        "prompt": prompt,
        "sentences": mark_sentences(report),
        "contradictions": [text for text, found in zip(CONTRADICTIONS.values(), wrong, strict=True) if found],
        "rows": finding_rows(judged, row),
        "asked": bool(np.isfinite(judged.asked[row]).any()),
        "more": list(more),
    }


def mark_sentences(report: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Sentences of a report, headings kept, each with the findings that it names: text, hue and present."""
    marked = []
    for part in _HEADING.split(report):
        if part in ("FINDINGS", "IMPRESSION"):
            marked.append((f"{part}:", []))
            continue
        for sentence in split_sentences(part):
            codes = label_report(sentence)
            said = [(name, code) for name, code in codes.items() if code == code and name != "No Finding"]
            said.sort(key=lambda entry: entry[1] == NEGATIVE)  # what is there comes first
            marked.append((sentence, [_describe(name, code) for name, code in said]))
    return marked


def _describe(name: str, code: float) -> dict[str, Any]:
    words = {NEGATIVE: f"no {name}", UNCERTAIN: f"{name}?"}.get(code, name)
    return {"text": words, "hue": FINDINGS.index(name) * 360 // len(FINDINGS), "present": code != NEGATIVE}


def finding_rows(judged: Judged, row: int) -> list[dict[str, str]]:
    """A line for each finding that is asked for, seen or named, and whether film and report agree on it."""
    lines = []
    for place, name in enumerate(FINDINGS):
        asked, seen, read = (float(codes[row, place]) for codes in (judged.asked, judged.seen, judged.read))
        if not (asked == asked or seen == POSITIVE or read == read):
            continue
        agreement = find_agreement(seen, read)
        probability = judged.probabilities[row, place]
        lines.append(
            {
                "name": name,
                "asked": _SAID.get(asked, "–"),
                "film": "not scored" if seen != seen else f"{_SAID[seen]} ({probability:.0%})",
                "report": _SAID.get(read, "–"),
                "agreement": agreement,
                "mark": {"agree": "✓ agree", "differ": "✗ differ"}.get(agreement, ""),
            }
        )
    return lines


def find_agreement(seen: float, read: float) -> str:
    """ "agree", "differ", or "open": what the classifier decides against what the report calls present."""
    if seen != seen or read == UNCERTAIN:
        return "open"
    return "agree" if (seen == POSITIVE) == (read == POSITIVE) else "differ"
