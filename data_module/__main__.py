"""Look into a pairs folder, write it in a form that others read, or draw exact counterfactuals:

python -m data_module describe FOLDER        # counts, lengths, co-occurrence, leaks; FOLDER/describe.html
python -m data_module export --layout parquet --data FOLDER --out FOLDER
python -m data_module counterfactuals --out FOLDER   # phantoms, and the same with one finding changed
python -m data_module spectrum --real FOLDER --drawn FOLDER --out FILE   # for sample_pairs.py --spectrum
"""

import base64
import json
import string
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from data_module.export.config import ExportConfig
from runtime.config import setting, to_dict
from runtime.files import read_json, write_atomic
from runtime.threads import usable_cores

if TYPE_CHECKING:
    import pandas as pd

    from data_module.description import Description, Leak
    from data_module.pairs import PairsFolder


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


@dataclass(frozen=True, kw_only=True)
class CounterfactualsConfig:
    """Phantoms of the demo, each beside itself with one finding added, removed, moved or made larger."""

    out: Path = setting(identity=False)
    """Pairs folder: films after the edit, `edited_from` names those before it, `mask` what differs."""
    num_pairs: int = 200
    """Studies, one edit each."""
    size: int = 64
    """Pixels a side: 64, 128 or 256."""
    seed: int = 1
    """Seed of the studies; 0 are those that the demo trains on."""
    overwrite: bool = setting(False, identity=False)
    """Replace an --out that was made with other settings."""
    dry_run: bool = setting(False, identity=False)
    """Print the settings and stop."""
    num_workers: int = setting(identity=False, default_factory=usable_cores)
    """Processes that render; changes nothing in the result."""


@dataclass(frozen=True, kw_only=True)
class SpectrumConfig:
    """How much stronger drawn films must become at each spatial frequency to be as sharp as real ones."""

    real: Path
    """Pairs folder of the films that the model learned from."""
    drawn: Path
    """Pairs folder that it drew, without --spectrum."""
    out: Path
    """JSON file to write."""
    split: str = "train"
    """Rows of --real."""
    max_films: int = 600
    """Films read on each side."""
    limit: float = 2.2
    """Largest gain; noise grows by it too. 2 to 2.5 were best on Open-I at 256."""
    dry_run: bool = False
    """Print the settings and stop."""

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 10:
            raise ValueError(f"--limit {self.limit}: must be 1 to 10")


Command = (
    Annotated[DescribeConfig, tyro.conf.subcommand("describe")]
    | Annotated[ExportConfig, tyro.conf.subcommand("export")]
    | Annotated[CounterfactualsConfig, tyro.conf.subcommand("counterfactuals")]
    | Annotated[SpectrumConfig, tyro.conf.subcommand("spectrum")]
)


def main(argv: Sequence[str] | None = None) -> None:
    config = tyro.cli(Command, args=argv, prog="python -m data_module", description=__doc__)
    if isinstance(config, DescribeConfig):
        describe(config)
        return
    if config.dry_run:
        print(json.dumps(to_dict(config), indent=2))
        return
    if isinstance(config, CounterfactualsConfig):
        draw_counterfactuals(config)
        return
    if isinstance(config, SpectrumConfig):
        measure_spectrum(config)
        return
    from data_module.export.run import export_folder

    print(f"{config.out}: {export_folder(config):,} rows as {config.layout}")


def draw_counterfactuals(config: CounterfactualsConfig) -> None:
    """Render them, unless they are there."""
    from data_module.demo.counterfactuals import write_counterfactuals
    from data_module.sources.output import begin_folder
    from runtime.config import flatten, list_passing

    settings = {"kind": "counterfactuals", **flatten(to_dict(config), list_passing(config))}
    if begin_folder(config.out, settings, config.overwrite):
        print(f"{config.out}: already done")
        return
    pairs = write_counterfactuals(
        config.out, config.num_pairs, config.size, config.seed, config.num_workers, to_dict(config)
    )
    print(f"{config.out}: {len(pairs):,} counterfactuals")


def measure_spectrum(config: SpectrumConfig) -> None:
    """Measure it, and write it with where it comes from."""
    from data_module.pairs import PairsFolder, refuse_contract_name
    from data_module.spectrum import BANDS, Spectrum

    refuse_contract_name(config.out, "--out")
    drawn, real = PairsFolder.open(config.drawn), PairsFolder.open(config.real)
    provenance = config.drawn / "provenance.json"
    told = read_json(provenance) if provenance.is_file() else {}
    if told.get("config", {}).get("models", {}).get("drawing", {}).get("spectrum"):
        raise ValueError(f"--drawn {config.drawn} was drawn with a spectrum: draw films without --spectrum")
    spectrum = Spectrum.measure(drawn, real, config.split, config.max_films, config.limit)
    tables = {"real": real.manifest_hash(), "drawn": drawn.manifest_hash()}
    spectrum.save(config.out, {"limit": config.limit, "split": config.split, **tables})
    for low, high, gain in list(zip(BANDS[:-1], BANDS[1:], spectrum.gains, strict=True))[::4]:
        print(f"{low:.2f} to {high:.2f} cycles a pixel: x {gain:.2f}")
    print(config.out)


def describe(config: DescribeConfig) -> None:
    """Print what the folder holds, and write describe.html."""
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
    """The description for a terminal."""
    from data_module.description import TOGETHER

    parts = [
        f"{name}\n{(_with_letters(table) if name == TOGETHER else table).to_string()}"
        for name, table in description.tables.items()
    ]
    return "\n\n".join([*parts, "\n".join(["Leaks", *(_leak_line(leak) for leak in description.leaks)])])


def _with_letters(table: "pd.DataFrame") -> "pd.DataFrame":
    """A square table whose columns are the letters of its rows: 14 names side by side fit no terminal."""
    letters = string.ascii_uppercase[: len(table)]
    named = [f"{name} {letter}" for name, letter in zip(table.index, letters, strict=True)]
    return table.set_axis(named, axis="index").set_axis(list(letters), axis="columns")


def as_html(description: "Description", sheet: bytes) -> str:
    """One HTML file without scripts or links. Everything from the folder is escaped."""
    from jinja2 import Environment, FileSystemLoader

    from data_module.description import TOGETHER

    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    pages.filters["leak_line"] = _leak_line
    return pages.get_template("describe.html").render(
        description=description, together=TOGETHER, sheet=base64.b64encode(sheet).decode()
    )


def _leak_line(leak: "Leak") -> str:
    state = ("none" if not leak.count else f"{leak.count:,}") + ("" if leak.severe else " (for information)")
    return f"{leak.what}: {state}" + (f", such as {'; '.join(leak.examples)}" if leak.examples else "")


if __name__ == "__main__":
    # As the scripts do: bad input ends with one line. data_module imports nothing of ours, so it stands here.
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
