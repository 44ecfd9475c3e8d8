"""Every flag of every command (name, type, default), frozen in tests/golden/flags.txt.

After a change that is meant to change them: `pytest tests/test_flags.py --renew`, and a line in CHANGELOG.md.
"""

import importlib
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden" / "flags.txt"
SCRIPTS = {path.name: path.stem for path in sorted(ROOT.glob("*.py"))}
PACKAGES = {
    f"-m {path.parent.name}": f"{path.parent.name}.__main__" for path in sorted(ROOT.glob("*/__main__.py"))
}


def read_help(module, arguments, capsys):
    """What --help says, in one column."""
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(module).main([*arguments, "--help"])
    assert not stop.value.code
    return capsys.readouterr().out


def find_presets(text):
    return re.findall(r"^(--preset NAME starts from: .*)\.$", text, flags=re.MULTILINE)


def find_subcommands(text):
    return re.findall(r"^    • ([\w-]+)", text, flags=re.MULTILINE)


def find_flags(text):
    """A line for each flag or argument: its names and type, then its default or that it is required."""
    entries, section = [], ""
    for line in text.splitlines():
        if re.match(r" \w", line):
            section = line.strip()
        elif re.match(r"  --?\w", line) or (re.match(r"  [^ -]", line) and section == "positional arguments"):
            entries.append(line.strip())
        elif re.match(r"    ", line) and line.strip() and section.endswith(("options", "arguments")):
            entries[-1] += f"  {line.strip()}"
    flags = []
    for entry in entries:
        name, help_text = entry.split("  ", 1)
        value = re.search(r"\((default: .*|required)\)$", " ".join(help_text.split()))
        flags.append(f"{name}  ({value[1]})" if value else name)
    return [flag for flag in flags if flag != "-h, --help"]


@pytest.fixture
def frozen(capsys, monkeypatch):
    """Every command with its flags, as flags.txt has them."""
    monkeypatch.setenv("COLUMNS", "120")
    # Defaults that are the number of cores are those of a machine with two.
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    blocks = []
    for name, module in {**SCRIPTS, **PACKAGES}.items():
        top = read_help(module, [], capsys)
        for subcommand in find_subcommands(top) or [""]:
            text = read_help(module, [subcommand], capsys) if subcommand else top
            lines = [f"python {name} {subcommand}".rstrip(), *find_presets(text), *find_flags(text)]
            blocks.append("\n    ".join(lines) + "\n")
    return "\n".join(blocks)


def test_flags_are_those_of_the_golden_file(frozen, request):
    if request.config.getoption("--renew"):
        GOLDEN.write_text(frozen)
    assert frozen == GOLDEN.read_text()
