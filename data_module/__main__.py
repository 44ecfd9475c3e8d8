"""Look into a pairs folder:

python -m data_module describe FOLDER        # counts, lengths, co-occurrence, leaks; FOLDER/describe.html
"""

import base64
import html
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from runtime.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from data_module.description import Description, Leak
    from data_module.pairs import PairsFolder

_STYLE = """body{font:14px system-ui,sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}
td,th{border:1px solid #ccc;padding:.2em .5em;text-align:right}th{background:#f3f3f3}img{max-width:100%}
.grave{color:#b00020;font-weight:bold}"""


@dataclass(frozen=True, kw_only=True)
class DescribeConfig:
    """Counts by split, view, finding and certainty, report lengths, co-occurrence, leaks, contact sheet."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Pairs folder."""
    out: Path | None = None
    """HTML file to write; default: describe.html in the folder. It shows films and reports: keep it as
    private as they are."""
    dry_run: bool = False
    """Print the settings and stop."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] != ["describe"] and not {"-h", "--help"} & set(arguments):
        raise ValueError("say what to do: python -m data_module describe FOLDER")
    arguments = [argument for place, argument in enumerate(arguments) if place or argument != "describe"]
    config = tyro.cli(
        DescribeConfig, args=arguments, prog="python -m data_module describe", description=__doc__
    )
    out = config.out or config.folder / "describe.html"
    if config.dry_run:
        print(json.dumps({"folder": str(config.folder), "out": str(out)}, indent=2))
        return
    from data_module.description import describe_folder
    from data_module.pairs import PairsFolder, refuse_contract_name

    refuse_contract_name(out, "--out")
    pairs = PairsFolder.open(config.folder)
    description = describe_folder(pairs)
    print(as_text(description))
    write_atomic(out, as_html(description, _draw(pairs) if pairs.has_films else b""))
    print(f"\n{out}")


def _draw(pairs: "PairsFolder") -> bytes:
    """The contact sheet as the bytes of a PNG file."""
    from data_module.contact_sheet import draw_contact_sheet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.png"
        draw_contact_sheet(pairs, path)
        return path.read_bytes()


def as_text(description: "Description") -> str:
    """The description for a terminal; the wide table of co-occurrence is in the HTML file only."""
    parts = [
        f"{name}\n{table.to_string()}"
        for name, table in description.tables.items()
        if len(table.columns) < 12
    ]
    return "\n\n".join([*parts, "\n".join(["Leaks", *(_leak_line(leak) for leak in description.leaks)])])


def as_html(description: "Description", sheet: bytes) -> str:
    """One HTML file without scripts or links. Everything from the folder is escaped."""
    title = html.escape(f"Pairs folder {description.folder}")
    body = [f"<h1>{title}</h1>", "<h2>Leaks</h2><ul>"]
    for leak in description.leaks:
        mark = ' class="grave"' if leak.grave and leak.count else ""
        body.append(f"<li{mark}>{html.escape(_leak_line(leak))}</li>")
    body.append("</ul>")
    for name, table in description.tables.items():
        body.append(f"<h2>{html.escape(name)}</h2>{_as_table(table)}")
    if sheet:
        data = base64.b64encode(sheet).decode()
        body.append(f'<h2>Films</h2><img alt="contact sheet" src="data:image/png;base64,{data}">')
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _as_table(table: "pd.DataFrame") -> str:
    return table.to_html(border=0, escape=True)


def _leak_line(leak: "Leak") -> str:
    state = ("none" if not leak.count else f"{leak.count:,}") + ("" if leak.grave else " (for information)")
    return f"{leak.what}: {state}" + (f", such as {'; '.join(leak.examples)}" if leak.examples else "")


if __name__ == "__main__":
    # As the scripts do: bad input ends with one line. data_module imports nothing of ours, so it stands here.
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
