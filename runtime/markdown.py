"""Tables as Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Lines of a table, without a line break at the end; no cell can end its line or column."""
    return "\n".join([_line(header), "|" + "---|" * len(header), *map(_line, rows)])


def _line(cells: Sequence[object]) -> str:
    texts = (str(cell).replace("|", "&#124;").replace("\n", " ") for cell in cells)
    return "|" + "".join(f" {text} |" if text else " |" for text in texts)
