"""Figures of matplotlib that stand alone: no window, no state of pyplot, no glyph that the font lacks."""

import io
from functools import cache
from pathlib import Path
from typing import Literal

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from runtime.files import write_atomic

_MISSING = "\N{REPLACEMENT CHARACTER}"


def new_figure(
    width: float, height: float, dpi: int = 120, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """An empty figure of this size in inches. A notebook's or the page's own figures do not see it."""
    figure = Figure(figsize=(width, height), dpi=dpi, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def to_bytes(figure: Figure, form: str = "png") -> bytes:
    """The figure as a PNG, PDF or SVG file, the same bytes every time.

    Its texts are somebody's words (prompts, reports, names of folders): no formula is read into them, and a
    character that the font cannot draw is drawn as the replacement character. (Words at ticks are not looked
    at: those are ours.) SVG begins with the element <svg>, as a page takes it.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(drawable(text.get_text(), findfont(text.get_fontproperties())))
    nobody = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    nobody["pdf"] = {"CreationDate": None, "Creator": None, "Producer": None}
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "paircxr", "svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(stream, format=form, metadata=nobody[form])
    content = stream.getvalue()
    return content[content.index(b"<svg") :] if form == "svg" else content


def save_figure(figure: Figure, path: Path) -> None:
    """Write it as what the name ends in: .png, .pdf or .svg."""
    write_atomic(path, to_bytes(figure, path.suffix.removeprefix(".")))


def drawable(text: str, font_file: str) -> str:
    """`text` with what this font cannot draw replaced; ends of lines stay."""
    known = _glyphs(font_file)
    return "".join(char if char == "\n" or ord(char) in known else _MISSING for char in text)


@cache
def _glyphs(font_file: str) -> frozenset[int]:
    return frozenset(get_font(font_file).get_charmap())
