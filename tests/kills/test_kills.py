"""Killed, started twice, on a full disk: the same bytes afterwards, no leftovers, one message."""

import multiprocessing
import random
import shutil
import time

import pytest
from helpers import forked, jobs
from malformed import own_inputs

pytestmark = pytest.mark.slow
NUM_KILLS = 5  # of each job, beside the last events


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("jobs")
    ended = forked.run(jobs.set_up, root)
    assert ended.exitcode == 0, ended.output
    return root / own_inputs.BESIDE


@pytest.fixture(scope="module", params=jobs.JOBS)
def job(request, inputs, tmp_path_factory):
    """A job's name, what it leaves when nothing happens, and the number of its events."""
    root = make_root(tmp_path_factory.mktemp(request.param), inputs)
    ended = forked.run(jobs.JOBS[request.param], root)
    assert ended.exitcode == 0, ended.output
    return request.param, jobs.describe(root / "out"), ended.num_events


def make_root(root, inputs):
    root.mkdir(exist_ok=True)
    (root / inputs.name).symlink_to(inputs)
    return root


def test_killed_at_random_events_and_at_the_last(job, inputs, tmp_path):
    name, whole, num_events = job
    last = range(max(1, num_events - 3), num_events + 1)
    chosen = random.Random(name).sample(range(1, num_events + 1), min(NUM_KILLS, num_events))
    for event in sorted({*last, *chosen}):
        root = make_root(tmp_path / str(event), inputs)
        assert forked.run(jobs.JOBS[name], root, kill_at=event).exitcode == -9
        again = forked.run(jobs.JOBS[name], root)
        assert again.exitcode == 0, f"event {event}: {again.output}"
        assert jobs.describe(root / "out") == whole, f"event {event}"


def test_the_same_again_changes_nothing(job, inputs, tmp_path):
    name, whole, _ = job
    root = make_root(tmp_path / "root", inputs)
    for _ in range(2):
        ended = forked.run(jobs.JOBS[name], root)
        assert ended.exitcode == 0, ended.output
        assert jobs.describe(root / "out") == whole


def test_a_second_run_is_told_so_and_changes_nothing(job, inputs, tmp_path):
    name, whole, _ = job
    root = make_root(tmp_path / "root", inputs)
    context = multiprocessing.get_context("forkserver")
    first = context.Process(target=run_held, args=(name, root))
    first.start()
    while not (root / "held").exists():
        time.sleep(0.05)
    if name == "encode":  # latents are anybody's: who needs them too waits
        second = context.Process(target=jobs.JOBS[name], args=(root,))
        second.start()
        second.join(1)
        assert second.is_alive()
        (root / "go").write_text("")
        second.join(60)
        assert second.exitcode == 0
    else:
        second = forked.run(jobs.JOBS[name], root)
        assert second.exitcode == 2, second.output
        assert second.output.count("is being written by another run") == 1
        (root / "go").write_text("")
    first.join(60)
    assert first.exitcode == 0
    assert jobs.describe(root / "out") == whole


def run_held(name, root):
    """The job, which stops at its first rename until it is told to go on."""
    import os

    stopped = []

    def waiting(function):
        def call(*args, **options):
            if not stopped:
                stopped.append(True)
                (root / "held").write_text("")
                while not (root / "go").exists():
                    time.sleep(0.05)
            return function(*args, **options)

        return call

    os.rename, os.replace = waiting(os.rename), waiting(os.replace)
    jobs.JOBS[name](root)
    from runtime.locks import _release_all

    _release_all()


@pytest.mark.parametrize("kilobytes", [4, 24, 60])
def test_a_full_disk_is_named_and_the_same_command_works_afterwards(job, inputs, tmp_path, kilobytes):
    name, whole, _ = job
    root = make_root(tmp_path / "root", inputs)
    (root / "out").mkdir()
    ended = forked.run(run_on_full_disk, name, root, kilobytes)
    if "no small disk" in ended.output:
        pytest.skip("no small disk can be mounted here")
    assert ended.exitcode == 0, ended.output
    assert jobs.describe(root / "copy") == whole
    first, full, _ = ended.output.partition("-- more room --")
    if not full:
        return  # so small a job that there was room
    assert first.count("error:") == 1
    assert "No space left on device" in first or "free" in first
    assert str(root / "out") in first
    assert "0.0 GB" not in first
    assert not ended.has_traceback


def test_a_read_only_disk_is_named(job, inputs, tmp_path):
    name, _, _ = job
    root = make_root(tmp_path / "root", inputs)
    (root / "out").mkdir()
    ended = forked.run(run_on_read_only_disk, name, root)
    if "no small disk" in ended.output:
        pytest.skip("no small disk can be mounted here")
    assert ended.exitcode == 2, ended.output
    assert ended.output.count("error:") == 1
    assert "Read-only file system" in ended.output
    assert str(root / "out") in ended.output
    assert not ended.has_traceback


def run_on_read_only_disk(name, root):
    """The job on a disk that cannot be written."""
    read_only = 0x1
    if not mount_small_disk(root / "out", flags=read_only):
        print("no small disk")
        return
    jobs.JOBS[name](root)


def mount_small_disk(folder, kilobytes=100, flags=0):
    """Mount a disk of so many kilobytes for this process alone; False where that is not allowed."""
    import ctypes

    libc, new_mounts, private = ctypes.CDLL(None, use_errno=True), 0x20000, 0x44000
    unshared = not libc.unshare(new_mounts) and not libc.mount(None, b"/", None, private, None)
    options = f"size={kilobytes}k".encode()
    return unshared and not libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", flags, options)


def run_on_full_disk(name, root, kilobytes):
    """The job on a disk of so many kilobytes, then on the same with room."""
    import ctypes
    import os

    from runtime.cli import run_script

    if not mount_small_disk(root / "out", kilobytes):
        print("no small disk")
        return
    libc, out, remount = ctypes.CDLL(None, use_errno=True), str(root / "out").encode(), 0x20
    code = 0
    try:
        run_script(lambda: jobs.JOBS[name](root))
    except SystemExit as stopped:
        code = stopped.code
    if code:
        assert code == 2
        print("-- more room --", flush=True)
        assert not libc.mount(b"tmpfs", out, b"tmpfs", remount, b"size=100m"), os.strerror(ctypes.get_errno())
        run_script(lambda: jobs.JOBS[name](root))
    shutil.copytree(root / "out", root / "copy", ignore=shutil.ignore_patterns(".lock*"))


def convert(root):
    """U-ViT weights of its authors to a model folder."""
    import convert_weights

    convert_weights.main(["uvit", str(root / "uvit.pth"), "--out", str(root / "out"), "--context-dim", "8"])


def test_a_conversion_is_there_whole_or_not_at_all(tmp_path):
    import torch

    from vision_module.uvit import UViT

    torch.manual_seed(0)
    weights = UViT(8, 4, 2, 16, 3, 1, context_dim=8).state_dict()
    weights = {name: value for name, value in weights.items() if not name.startswith("context_embed")}
    weights["label_emb.weight"] = torch.randn(1001, 16)
    torch.save(weights, tmp_path / "uvit.pth")
    ended = forked.run(convert, make_root(tmp_path / "whole", tmp_path / "uvit.pth"))
    assert ended.exitcode == 0, ended.output
    whole = jobs.describe(tmp_path / "whole" / "out")
    for event in range(1, ended.num_events + 1):
        root = make_root(tmp_path / str(event), tmp_path / "uvit.pth")
        assert forked.run(convert, root, kill_at=event).exitcode == -9
        if not (root / "out").exists():
            again = forked.run(convert, root)
            assert again.exitcode == 0, again.output
        assert jobs.describe(root / "out") == whole
        # A killed run's lock may stay, which the next one takes.
        assert {path.name for path in root.iterdir()} <= {"out", "uvit.pth", ".out.lock"}
