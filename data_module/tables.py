"""Tables that strangers wrote, read in one way: CSV of any separator and encoding -> a DataFrame of text.

No message holds a cell: a table without a header, or with its columns shifted, has texts anywhere.
"""

import codecs
import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path

import pandas as pd

from data_module.quoting import may_show, normalize_name

MAX_TABLE_BYTES = 2**29  # of a packed one; the largest table of MIMIC has about 80 MB
csv.field_size_limit(2**27)  # characters of a cell; csv's own limit is less than a long report
_SEPARATORS = ",;\t|"
_SAMPLE = 200  # rows by which the separator is found
_BOMS = (  # UTF-32 before UTF-16, whose mark it begins with
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OTHER_FILES = (
    (b"PK\x03\x04", "a spreadsheet or zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"PAR1", "a Parquet file"),
    (b"\x89PNG", "a PNG film"),
    (b"\xff\xd8\xff", "a JPEG film"),
    (b"%PDF", "a PDF file"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
)
_DAMAGED = "damaged or half downloaded; `wget -c` completes a download"


def read_table(
    path: Path, where: str, columns: Sequence[str] | None = None, pad: bool = False
) -> pd.DataFrame:
    """A CSV table (also .tsv, ";" or "|" between cells, packed by gzip) as text, one row a record.

    Separator and encoding are found by looking; standard error says so where they are not the usual ones.

    Args:
        where: what messages call the file, such as "--table films.csv".
        columns: keep these only, where the table has them.
        pad: rows that are too short end with empty cells; else they are an error.

    Raises:
        ValueError: not a text table, damaged, no rows of one width, or two columns of one name.
    """
    text = read_text(path, where).rstrip("\x1a")  # with which DOS ends a text
    return parse_table(text, where, path.suffix.lower(), columns, pad)


def read_text(path: Path, where: str) -> str:
    """A text file: UTF-8, UTF-16, UTF-32 or Windows-1252, without its byte order mark, perhaps gzipped."""
    try:
        content = read_at_most(path)
    except FileNotFoundError:
        raise ValueError(f"{where}: no such file") from None
    except OSError as error:
        raise ValueError(f"{where}: cannot be read ({error.strerror or error})") from None
    if content.startswith(b"\x1f\x8b"):
        content = _unpack(content, where)
    elif path.suffix.lower() == ".gz" and content:
        what = _name_other(content)
        raise ValueError(f"{where}: {_DAMAGED}" + (f" (it is {what})" if what else ""))
    return _decode(content, where)


def read_at_most(path: Path, limit: int | None = None) -> bytes:
    """The content of a plain file, of which at most one byte more than `limit` is read.

    Raises:
        OSError: it is not there, cannot be read, or is a pipe, socket or device, which may never end.
    """
    if path.exists() and not path.is_file():
        raise OSError("a folder, not a file" if path.is_dir() else "a pipe, socket or device, not a file")
    with path.open("rb") as file:
        return file.read(-1 if limit is None else limit + 1)


def _unpack(content: bytes, where: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            out = file.read(MAX_TABLE_BYTES + 1)
            whole = not file.read(1)  # to the end, where the sum is checked
    except (OSError, EOFError, zlib.error):
        raise ValueError(f"{where}: {_DAMAGED}") from None
    if not whole or len(out) > MAX_TABLE_BYTES:
        raise ValueError(f"{where}: more than {MAX_TABLE_BYTES:,} bytes unpacked, which no table here has")
    return out


def _decode(content: bytes, where: str) -> str:
    what = _name_other(content)
    if what:
        raise ValueError(f"{where}: is {what}, not a CSV table; save the table as CSV (UTF-8)")
    mark, encoding = next(((m, e) for m, e in _BOMS if content.startswith(m)), (b"", ""))
    if not mark:
        encoding = _guess_utf16(content[:1024]) or "utf-8"
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise ValueError(f"{where}: damaged or cut {encoding.upper()} text; save it as UTF-8") from None
        text, encoding = _decode_windows(content, where), "Windows-1252"
    if encoding != "utf-8":
        print(f"note: {where}: read as {encoding} text", file=sys.stderr)
    return text


def _name_other(content: bytes) -> str:
    """What a file is that is no text table, "" where that is not known."""
    start = content[:64].lstrip().lower()
    return next((what for magic, what in _OTHER_FILES if start.startswith(magic.lower())), "")


def _guess_utf16(start: bytes) -> str:
    """The kind of UTF-16 where no mark says it: every other byte of its Latin letters is zero."""
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(zeros) > 3 and zeros.count(0) > 0.6 * len(zeros) and b"\0\0" not in start:
            return encoding
    return ""


def _decode_windows(content: bytes, where: str) -> str:
    loose = content.decode("utf-8", "surrogateescape")
    broken = re.search("[\udc80-\udcff]", loose)
    if broken and re.search("[^\x00-\x7f\udc80-\udcff]", loose):  # other letters are UTF-8
        line = loose.count("\n", 0, broken.start()) + 1
        raise ValueError(f"{where}: damaged UTF-8 text in line {line}; get the file again")
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        raise ValueError(
            f"{where}: is not UTF-8, UTF-16 or Windows-1252 text; save the table as CSV (UTF-8)"
        ) from None


def parse_table(
    text: str, where: str, suffix: str = ".csv", columns: Sequence[str] | None = None, pad: bool = False
) -> pd.DataFrame:
    """The text of a table -> its rows; see `read_table`."""
    separator, rest = find_separator(text, suffix)
    records = _iterate_records(rest, separator, where)
    header = next((record for record in records if not _is_blank(record)), None)
    if header is None:
        raise ValueError(f"{where}: is empty; a table begins with a line of column names")
    names, places = _check_header(header, where)
    if separator != ("\t" if suffix in (".tsv", ".tab") else ",") and len(names) > 1:
        print(f"note: {where}: cells are separated by {separator!r}", file=sys.stderr)
    if columns is not None:
        places = [place for place in places if names[place] in columns]
    pick = itemgetter(*places) if len(places) > 1 else lambda cells: tuple(cells[place] for place in places)
    rows = [pick(cells) for cells in _iterate_rows(records, names, separator, where, pad)]
    if len(names) == 1:  # there a blank line is an empty cell, but not at the end
        while rows and rows[-1] == ("",):
            rows.pop()
    return pd.DataFrame(rows, columns=[names[place] for place in places], dtype="str")


def check_rows(text: str, where: str) -> None:
    """Raise ValueError where the text of a comma-separated table is damaged, as `read_table` does."""
    records = iter(_iterate_records(text, ",", where))
    header = next((record for record in records if not _is_blank(record)), None)
    if header is None:
        raise ValueError(f"{where}: is empty; a table begins with a line of column names")
    names, _ = _check_header(header, where)
    for _ in _iterate_rows(records, names, ",", where, pad=False):
        pass


def find_separator(text: str, suffix: str = ".csv") -> tuple[str, str]:
    """What separates cells, and the text without Excel's first line "sep=;".

    It is what gives all rows one number of cells; else what the header has most of.
    """
    announced = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)
    if announced:
        return announced[1], text[announced.end() :]
    candidates = "\t,;|" if suffix in (".tsv", ".tab") else _SEPARATORS
    widths = {}
    for separator in candidates:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            widths[separator] = [len(record) for record in islice(reader, _SAMPLE) if record] or [0]
        except csv.Error:
            widths[separator] = [0]
    for separator in candidates:
        if widths[separator][0] > 1 and len(set(widths[separator])) == 1:
            return separator, text
    most = max(candidates, key=lambda separator: widths[separator][0])  # the first of equals
    return most, text


def _iterate_records(text: str, separator: str, where: str) -> Iterable[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(
            f"{where}: cannot be read as a CSV table (line {reader.line_num}: {error})"
        ) from None


def _iterate_rows(
    records: Iterable[list[str]], names: Sequence[str], separator: str, where: str, pad: bool
) -> Iterable[list[str]]:
    """Rows as wide as the header. The first row below it is row 2, as in a spreadsheet."""
    width, number = len(names), 1
    least = max(place for place, name in enumerate(names, start=1) if name)  # the others are left out
    for cells in records:
        if _is_blank(cells):
            if width == 1:
                number += 1
                yield [""]
            continue
        number += 1
        if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
            cells = cells[:width]
        if len(cells) > width or (len(cells) < least and not pad):
            fix = f'a text that holds "{separator}" or a line break needs quotes around it'
            count = f"row {number} has {len(cells)} cells, the header {width}"
            raise ValueError(f"{where}: cannot be read as a CSV table ({count}; {fix})")
        yield cells + [""] * (width - len(cells))


def _is_blank(cells: Sequence[str]) -> bool:
    return len(cells) <= 1 and not any(cell.strip() for cell in cells)


def _check_header(header: Sequence[str], where: str) -> tuple[list[str], list[int]]:
    """Names without spaces around them, and the places of those that are not empty."""
    names = [name.strip() for name in header]
    places = [place for place, name in enumerate(names) if name]
    twice = [names[place] for place in places if names.count(names[place]) > 1]
    if twice:
        what = f"the column {twice[0]!r} twice" if may_show(names, twice[0]) else "two columns of one name"
        raise ValueError(f"{where}: has {what}; rename or remove one")
    if not places:
        raise ValueError(f"{where}: its first line names no column")
    return names, places


def find_column(table: pd.DataFrame, wanted: Iterable[str], where: str) -> str | None:
    """The table's column of one of these names, the first that is there, in any spelling.

    Raises:
        ValueError: two columns differ only in their spelling.
    """
    spelled: dict[str, list[str]] = {}
    for name in table.columns:
        spelled.setdefault(normalize_name(name), []).append(name)
    for name in wanted:
        found = spelled.get(normalize_name(name), [])
        if name in found:
            return name
        if len(found) > 1:
            raise ValueError(f"{where}: {len(found)} columns are a {name!r}; rename or remove all but one")
        if found:
            return found[0]
    return None
