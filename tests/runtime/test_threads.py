"""Threads: the cores a process may use, and settings that never go over the user's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.threads import openmp_settings, usable_cores

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def write(system: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (system / name).parent.mkdir(parents=True, exist_ok=True)
        (system / name).write_text(text + "\n")
    return system


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/job", "sys/fs/cgroup/job/cpu.max": "max 100000"}, 8),
        ({"proc/self/cgroup": "0::/job", "sys/fs/cgroup/job/cpu.max": "350000 100000"}, 3),
        ({"proc/self/cgroup": "0::/job", "sys/fs/cgroup/job/cpu.max": "50000 100000"}, 1),
        # A group within a group that is allowed less; and a container, which sees its own group as the root.
        ({"proc/self/cgroup": "0::/outer/inner", "sys/fs/cgroup/outer/cpu.max": "200000 100000"}, 2),
        ({"proc/self/cgroup": "0::/not/seen/here", "sys/fs/cgroup/cpu.max": "400000 100000"}, 4),
        (
            {
                "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/job\n0::/",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/job",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
            },
            8,
        ),
        ({"proc/self/cgroup": "3:cpuset:/job", "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "100000"}, 8),
    ],
)
def test_cores_are_those_of_affinity_and_quota(tmp_path, files, cores):
    assert usable_cores(write(tmp_path, files)) == cores


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_a_way_of_waiting_that_the_user_chose_stays(name):
    settings = openmp_settings({name: "7", "OMP_NUM_THREADS": "3"})
    assert settings == {}


def test_processes_of_a_launcher_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    whole = usable_cores()  # of this machine's cgroups
    assert openmp_settings({})["OMP_NUM_THREADS"] == str(whole)
    assert openmp_settings({"LOCAL_WORLD_SIZE": "2"})["OMP_NUM_THREADS"] == str(max(1, whole // 2))
    assert openmp_settings({"LOCAL_WORLD_SIZE": "99"})["OMP_NUM_THREADS"] == "1"


def test_a_script_sets_them_before_torch_loads():
    code = "import os, sys\nfrom runtime.cli import run_script\n"
    code += "run_script(lambda: print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT']))"
    clean = {name: value for name, value in os.environ.items() if "OMP_" not in name and "KMP_" not in name}
    ours = openmp_settings({})["GOMP_SPINCOUNT"]
    for environment, spins in ((clean, ours), ({**clean, "GOMP_SPINCOUNT": "5"}, "5")):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", spins]
