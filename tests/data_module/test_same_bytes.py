"""The same folder, byte for byte, by workers, shards, kills and Ctrl-C, from the command line."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.mimic_tree import assert_same_bytes, make_ledger, write_tree

import prepare_data
from data_module import pairs as pairs_module

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 60.0  # for what takes a second


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """A command line for a made-up download of several blocks of films, up to --out."""
    folder = tmp_path_factory.mktemp("download")
    download = write_tree(folder, make_ledger(420, fault_share=0.3))
    return [
        "mimic-cxr",
        *(part for name, path in download.items() for part in (f"--{name}", str(path))),
        "--size",
        "32",
    ]


@pytest.fixture(scope="module")
def prepared(flags, tmp_path_factory):
    """What one worker makes of it."""
    out = tmp_path_factory.mktemp("prepared") / "pairs"
    prepare_data.main([*flags, "--out", str(out), "--workers", "1"])
    assert count_parts(out) > 5
    return out


def run_shards(flags, folder, joined):
    """Two shards in folders of their own, merged; or both in one folder."""
    folders = [folder / "joined"] * 2 if joined else [folder / "0", folder / "1"]
    for number, out in enumerate(folders):
        prepare_data.main([*flags, "--out", str(out), "--workers", "2", "--shard", f"{number}/2"])
    if not joined:
        merge = ["merge", "--parts", *map(str, folders), "--out", str(folder / "joined")]
        prepare_data.main(merge)
        prepare_data.main([*flags, "--out", str(folder / "joined"), "--workers", "1"])
        with pytest.raises(ValueError, match="finished already"):
            prepare_data.main(merge)
    return folder / "joined"


@pytest.mark.parametrize("num_workers", ["2", "4"])
def test_any_number_of_workers(flags, prepared, tmp_path, num_workers):
    prepare_data.main([*flags, "--out", str(tmp_path), "--workers", num_workers])
    assert_same_bytes(prepared, tmp_path)


@pytest.mark.parametrize("joined", [True, False])
def test_two_shards(flags, prepared, tmp_path, joined):
    assert_same_bytes(prepared, run_shards(flags, tmp_path, joined))


def test_workers_and_shards_of_a_large_table(flags, tmp_path, monkeypatch):
    """metadata.parquet, as past 100,000 rows."""
    monkeypatch.setattr(pairs_module, "MAX_CSV_ROWS", 50)
    for workers in "14":
        prepare_data.main([*flags, "--out", str(tmp_path / workers), "--workers", workers])
    assert (tmp_path / "1" / "metadata.parquet").is_file()
    assert not (tmp_path / "1" / "metadata.csv").exists()
    assert_same_bytes(tmp_path / "1", tmp_path / "4")
    assert_same_bytes(tmp_path / "1", run_shards(flags, tmp_path, joined=False))


def wait_until(ready):
    """Wait for `ready()`, and return what it gives."""
    end_s = time.monotonic() + WITHIN_S
    while not (found := ready()):
        assert time.monotonic() < end_s, "it does not happen"
        time.sleep(0.01)
    return found


def count_parts(out):
    """Blocks of films that are finished."""
    return len(list(out.glob(".parts/[0-9]*.json")))


def find_children(pid):
    """Processes that `pid` started and that run; none once it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_killed_ten_times(flags, prepared, tmp_path):
    """At random moments after each restart's first finished block, and before it in one of three."""
    out, chance, num_killed = tmp_path / "pairs", random.Random(0), 0
    context = multiprocessing.get_context("fork")  # so that a restart need not import everything again
    argv = [*flags, "--out", str(out), "--workers", "2"]
    for _ in range(50):
        process = context.Process(target=prepare_data.main, args=(argv,))
        before = count_parts(out) if chance.random() < 2 / 3 else -1
        process.start()
        wait_until(lambda: count_parts(out) > before or not process.is_alive())  # noqa: B023
        time.sleep(chance.uniform(0.0, 0.1))
        workers = find_children(process.pid)
        process.kill()
        process.join()
        wait_until(lambda: not any(map(is_running, workers)))  # noqa: B023
        num_killed += process.exitcode == -signal.SIGKILL
        if num_killed == 10:
            break
        if process.exitcode == 0:  # it was faster: the other kills are of a run that begins anew
            assert_same_bytes(prepared, out)
            shutil.rmtree(out)
    assert num_killed == 10
    prepare_data.main(argv)
    assert_same_bytes(prepared, out)


def interrupt(flags, log):
    """Send SIGINT to the script while its two workers are at work; the script that ended, and its workers."""
    command = [sys.executable, "prepare_data.py", *flags]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, preexec_fn=heed_interrupts)
    # Two workers and multiprocessing's tracker, at work: Pillow is loaded. They are held meanwhile.
    workers = wait_until(lambda: len(found := find_children(process.pid)) > 2 and found)
    wait_until(lambda: process.poll() == 0 or sum(map(has_pillow, workers)) == 2)
    for signal_number in (signal.SIGSTOP, signal.SIGINT, signal.SIGCONT):
        for pid in [process.pid] if signal_number == signal.SIGINT else workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
        time.sleep(0.5 if signal_number == signal.SIGINT else 0.0)
    process.wait(WITHIN_S)
    return process, workers


def heed_interrupts():
    """A shell's background jobs ignore SIGINT, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def has_pillow(pid):
    with contextlib.suppress(OSError):
        return "_imaging" in Path(f"/proc/{pid}/maps").read_text()
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_ctrl_c_leaves_no_process(flags, prepared, tmp_path):
    """Ctrl-C that reaches the script alone: it ends its workers, says one line, and goes on when run anew."""
    for number in range(5):  # the work may be done before the signal is there
        out, log = tmp_path / f"pairs{number}", tmp_path / "log"
        process, workers = interrupt([*flags, "--out", str(out), "--workers", "2"], log)
        if process.returncode:
            break
    said = log.read_text()
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_running, workers)))
    prepare_data.main([*flags, "--out", str(out), "--workers", "1"])
    assert_same_bytes(prepared, out)
