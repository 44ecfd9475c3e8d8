"""Stages as forks of one process: they start, end and hear signals as if started by themselves."""

import os
import signal
import subprocess
import sys

import pytest

from benchmarks.warm_start import ROOT, WARM_START, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks after imports are for Linux")

SHOWS = """
import json, os, sys
modules = "torch" in sys.modules
import torch
asked, threads = os.environ.get("ASKED"), torch.get_num_threads()
print(json.dumps([modules, sys.argv, asked, threads, os.getcwd(), __name__]))
print("to standard error", sys.stdin.read(), file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""
WAITS = """
import signal, sys, time
from runtime.signals import signals_noted
heard = []
with signals_noted(heard.append):
    print("waits", flush=True)
    while not heard:
        time.sleep(0.02)
time.sleep(0.5)  # a checkpoint is written
print("saved after", heard, flush=True)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A socket and the process that serves it; started with more threads than any stage asks for."""
    folder = tmp_path_factory.mktemp("warm") / "own"
    with serving(folder, {**os.environ, "OMP_NUM_THREADS": "2"}) as (path, server):
        yield path, server
    assert server.returncode == 0
    assert not folder.exists()


def ask(path, *arguments, **options):
    return subprocess.run(
        [sys.executable, WARM_START, "run", str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize(("code", "threads"), [(0, 1), (5, 1), (0, 2)])
def test_a_stage_has_what_its_command_has(served, tmp_path, code, threads):
    (tmp_path / "shows.py").write_text(SHOWS)
    asked = {**os.environ, "ASKED": "yes", "OMP_NUM_THREADS": str(threads)}
    done = ask(served[0], "shows.py", str(code), cwd=tmp_path, env=asked, input="input")
    assert done.returncode == code
    assert done.stderr == "to standard error input\n"
    shown = [True, ["shows.py", str(code)], "yes", threads, str(tmp_path), "__main__"]
    assert done.stdout.splitlines()[0] == str(shown).replace("'", '"').replace("True", "true")


def test_where_nobody_answers_it_starts_by_itself(tmp_path):
    (tmp_path / "shows.py").write_text(SHOWS)
    done = ask(tmp_path / "no-socket", "shows.py", "3", cwd=tmp_path, input="")
    assert done.returncode == 3
    assert done.stdout.startswith('[false, ["shows.py", "3"]')


def test_scripts_and_modules_of_this_project(served, tmp_path):
    refused = ask(served[0], "train_clip.py", "--data", str(tmp_path / "none"), cwd=ROOT)
    assert (refused.returncode, refused.stderr.splitlines()[-1].split(":")[0]) == (2, "error")
    for arguments in (["-m", "evaluation", "metrics"], ["sample_pairs.py", "--dry-run", "--num-pairs", "5"]):
        plain = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        warm = ask(served[0], *arguments, cwd=ROOT)
        assert (warm.returncode, warm.stdout) == (plain.returncode, plain.stdout)
        assert warm.returncode == 0
        assert warm.stdout


def test_an_exception_is_shown_and_the_next_stage_runs(served, tmp_path):
    (tmp_path / "breaks.py").write_text("raise RuntimeError('broken')")
    done = ask(served[0], "breaks.py", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: broken\n")
    (tmp_path / "dies.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert ask(served[0], "dies.py", cwd=tmp_path).returncode == -signal.SIGKILL
    (tmp_path / "shows.py").write_text(SHOWS)
    assert ask(served[0], "shows.py", "0", cwd=tmp_path, input="").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_reaches_the_stage_which_is_waited_for(served, tmp_path, number):
    (tmp_path / "waits.py").write_text(WAITS)
    process = subprocess.Popen(
        [sys.executable, WARM_START, "run", str(served[0]), "waits.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    os.killpg(process.pid, number)
    assert process.wait(30) == 7
    assert process.stdout.read() == f"saved after [{int(number)}]\n"
