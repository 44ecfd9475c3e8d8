"""Children of a benchmark take turns, and run as the scripts do."""

import os
from pathlib import Path

import pytest

from benchmarks.turns import Child
from runtime.huge_pages import huge_pages_help

ROOT = Path(__file__).resolve().parents[1]
BENCHMARK = """
import os, sys
from benchmarks.turns import answer_turns, make_parser

name = make_parser("", 1, 1.0, "").parse_args().child
if name == "broken":
    raise SystemExit(3)
print("bf16 is what this processor has")  # as the scripts' parts do
answer_turns(lambda seconds: (2 * seconds, os.environ.get("GLIBC_TUNABLES") == name))
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "benchmark.py").write_text(BENCHMARK)
    plain = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | {"PYTHONPATH": str(ROOT)}
    children = []

    def run(name, **environment):
        children.append(Child(str(tmp_path / "benchmark.py"), name, plain | environment))
        return children[-1]

    yield run
    for child in children:
        child.end()


def test_children_work_in_turns_with_the_settings_of_scripts(start):
    if not huge_pages_help({}):
        pytest.skip("this system gives no huge pages on request")
    first = start("glibc.malloc.hugetlb=1")
    second = start("glibc.malloc.hugetlb=0", GLIBC_TUNABLES="glibc.malloc.hugetlb=0")
    for seconds in (0.5, 1.0):
        assert first.work(seconds) == second.work(seconds) == [2 * seconds, 1.0]
    first.end()
    assert first.process.poll() is not None


def test_a_child_that_ended_is_named(start):
    with pytest.raises(RuntimeError, match=r"benchmark\.py.* ended with 3"):
        start("broken")
