"""Shards that begin at the same time."""

import fcntl
import os
import threading
import time

import pytest

from runtime import locks
from runtime.locks import Claim


@pytest.fixture
def exclusive(tmp_path):
    """The lock of a folder as a shard has it that looks whether it is alone, or a run without shards."""
    descriptor = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


def test_a_shard_waits_for_one_that_looks_whether_it_is_alone(tmp_path, exclusive):
    def let_in():
        time.sleep(0.3)
        fcntl.flock(exclusive, fcntl.LOCK_SH)

    thread = threading.Thread(target=let_in)
    thread.start()
    with Claim(tmp_path, (1, 2)) as claim:
        assert not claim.when_alone(lambda: None)
    thread.join()


def test_a_shard_is_refused_where_a_whole_run_stays(tmp_path, exclusive, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE_S", 0.2)
    with pytest.raises(ValueError, match="is being written by another run"), Claim(tmp_path, (1, 2)):
        pass


def test_a_whole_run_does_not_wait(tmp_path, exclusive, monkeypatch):
    monkeypatch.setattr(time, "sleep", pytest.fail)
    with pytest.raises(ValueError, match="is being written by another run"), Claim(tmp_path):
        pass
