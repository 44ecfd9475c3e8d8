"""Huge pages: a program starts again once, as itself, and only where that helps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.huge_pages import huge_pages_help

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys
from runtime.cli import run_script

def main():
    print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.argv[1:])

print("started", flush=True)
run_script(main)
"""


def run(tmp_path, *argv: str, tunables: str | None = None) -> tuple[int, list[str]]:
    """The process's number and the lines that it printed."""
    path = tmp_path / "a program.py"
    path.write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | {"PYTHONPATH": str(ROOT)}
    if tunables is not None:
        environment["GLIBC_TUNABLES"] = tunables
    process = subprocess.Popen(
        [sys.executable, str(path), *argv], env=environment, stdout=subprocess.PIPE, text=True
    )
    output, _ = process.communicate(timeout=120)
    return process.pid, output.splitlines()


@pytest.fixture
def offered():
    if not huge_pages_help({}):
        pytest.skip("this system gives no huge pages on request")


@pytest.mark.usefixtures("offered")
def test_the_same_command_goes_on_in_the_same_process(tmp_path):
    pid, lines = run(tmp_path, "--out", "a folder", "*")
    assert lines == ["started", "started", f"{pid} glibc.malloc.hugetlb=1 ['--out', 'a folder', '*']"]


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize("tunables", ["", "glibc.malloc.arena_max=2"])
def test_the_users_choice_stays(tmp_path, tunables):
    pid, lines = run(tmp_path, tunables=tunables)
    assert lines == ["started", f"{pid} {tunables} []"]


def test_a_program_from_standard_input_is_read_once():
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-"], input=PROGRAM, env=environment, capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    assert (lines[0], len(lines)) == ("started", 2)
    assert lines[1].endswith("None []")


def test_help_does_not_wait(tmp_path):
    pid, lines = run(tmp_path, "--help")
    assert lines == ["started", f"{pid} None ['--help']"]


@pytest.mark.parametrize(
    ("setting", "helps"), [("always [madvise] never", True), ("[always] madvise never", False), (None, False)]
)
def test_only_where_the_kernel_gives_them_on_request(tmp_path, monkeypatch, setting, helps):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
    kernel = tmp_path / "enabled"
    if setting:
        kernel.write_text(setting + "\n")
    assert huge_pages_help({}, kernel) == helps


@pytest.mark.parametrize("version", ["glibc 2.34", "musl 1.2", "", None])
def test_only_with_a_glibc_that_knows_it(tmp_path, monkeypatch, version):
    monkeypatch.setattr(os, "confstr", lambda name: version, raising=False)
    kernel = tmp_path / "enabled"
    kernel.write_text("always [madvise] never\n")
    assert not huge_pages_help({}, kernel)
