"""Worker processes: they start light, come back with everything, and none outlives its caller."""

import multiprocessing
import time
from contextlib import closing

import pytest

from runtime.workers import run_in_workers

HEAVY = {"torch", "pandas", "pyarrow", "scipy", "transformers", "tyro", "pydicom", "matplotlib", "pytest"}


def test_a_worker_imports_nothing_heavy_and_no_script():
    """`eval` runs in a worker that has loaded what converting films needs. pytest is the script here."""
    code = "__import__('data_module.sources.film_block') and sorted(__import__('sys').modules)"
    for _, modules in run_in_workers(eval, [(code,)] * 2, 2):
        assert "data_module.sources.film_block" in modules
        assert not HEAVY & set(modules)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_every_task_is_done_once(num_workers):
    results = dict(run_in_workers(divmod, ((number, 7) for number in range(50)), num_workers))
    assert results == {number: divmod(number, 7) for number in range(50)}
    assert dict(run_in_workers(divmod, [], num_workers)) == {}


def test_tasks_are_taken_as_workers_become_free():
    taken = []
    tasks = ((taken.append(number) or number, 7) for number in range(1000))
    with closing(run_in_workers(divmod, tasks, 2)) as results:
        next(results)
        assert len(taken) <= 10


def test_a_failing_task_and_a_killed_worker_are_said():
    with pytest.raises(ZeroDivisionError):
        dict(run_in_workers(divmod, [(1, 0)], 2))
    with pytest.raises(ValueError, match=r"a worker process was killed .*--num-workers 2"):
        dict(run_in_workers(eval, [("__import__('os')._exit(1)",)], 2))
    assert multiprocessing.active_children() == []


def test_stopping_early_ends_the_workers_in_the_midst_of_their_work():
    endless = (10**6,)
    with closing(run_in_workers(time.sleep, [(0,), (0,), endless, endless], 2)) as results:
        next(results)
        assert multiprocessing.active_children()
    assert multiprocessing.active_children() == []
