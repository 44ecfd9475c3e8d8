"""Sampling, report writing and evaluation in several real processes: the bytes of one, whatever happens."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import forked
from helpers.scored_folders import write_scored_folders

import generate_reports
import sample_pairs
from evaluation.__main__ import main as evaluate
from runtime.ledger import BlockLedger
from runtime.shards import describe_left, spread_shard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def describe(folder):
    """Every file that is there, hidden ones too, with its hash."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def launch(main, flags, num, kill_at=0):
    """Run a script's main in `num` processes of one launch."""
    ranks = forked.run_ranks(main, [str(flag) for flag in flags], num=num, kill_at=kill_at)
    if not kill_at:
        assert [ended.exitcode for ended in ranks] == [0] * num, "\n".join(ended.output for ended in ranks)
    return ranks


def pair_flags(chain, out, *more):
    """22 pairs in six batches, so that four processes have different shares, and the last batch is cut."""
    return [*chain.sample_flags(out, num_pairs=22, batch_size=4), *more]


@pytest.fixture(scope="module")
def pairs(chain, tmp_path_factory):
    """The folder of one process: bytes of every file, without what names the folder itself."""
    out = tmp_path_factory.mktemp("pairs") / "out"
    launch(sample_pairs.main, pair_flags(chain, out), 1)
    return without_own_name(describe(out))


def without_own_name(files):
    """provenance.json holds the command, and so --out."""
    assert "provenance.json" in files
    return {name: digest for name, digest in files.items() if name != "provenance.json"}


@pytest.mark.parametrize("num", [2, 4])
def test_sampling(chain, pairs, tmp_path, num):
    ranks = launch(sample_pairs.main, pair_flags(chain, tmp_path / "out"), num)
    assert without_own_name(describe(tmp_path / "out")) == pairs
    assert sum(ended.output.count("22 pairs, contact_sheet.png") for ended in ranks) >= 1
    assert not any("other shards" in ended.output for ended in ranks), "there are none"


def test_what_is_left_is_left_to_whom_there_is():
    assert describe_left("0/1", 7, "pairs") == "7 pairs are being done by the other processes of this launch"
    assert describe_left("1/3", 1200, "batches") == "1,200 batches are left to other shards"


@pytest.mark.parametrize("nums", [(2, 2), (2, 1), (1, 4)])
def test_a_shard_is_the_same_by_any_number_of_processes(nums):
    """Two shards of an array job, of so many processes each, have every block once."""
    blocks = []
    for shard, num in enumerate(nums):
        for rank in range(num):
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("RANK", str(rank))
                environment.setenv("WORLD_SIZE", str(num))
                mine = BlockLedger(Path("nowhere"), spread_shard(f"{shard}/2")).mine(23)
            assert {block % 2 for block in mine} == {shard}
            blocks += mine
    assert sorted(blocks) == list(range(23))


def test_a_dry_run_says_once_how_the_work_is_divided(chain, tmp_path):
    flags = [*pair_flags(chain, tmp_path / "out", "--shard", "1/3"), "--dry-run"]
    ranks = launch(sample_pairs.main, flags, 2)
    said = "1 in 3 of the batches, from number 1 on, in turns by 2 process(es) of this launch"
    assert [ended.output.count(said) for ended in ranks] == [1, 0]
    assert not list(tmp_path.iterdir())


def test_sampling_in_shards_of_several_processes(chain, pairs, tmp_path):
    """An array job of two launches."""
    out = tmp_path / "out"
    launch(sample_pairs.main, pair_flags(chain, out, "--shard", "1/2"), 2)
    assert not (out / "metadata.csv").exists()
    launch(sample_pairs.main, pair_flags(chain, out, "--shard", "0/2"), 1)
    assert without_own_name(describe(out)) == pairs


def test_sampling_killed_and_gone_on_with_by_another_number(chain, pairs, tmp_path):
    out, killed = tmp_path / "out", 0
    for event, num in ((8, 2), (13, 4)):
        ranks = launch(sample_pairs.main, pair_flags(chain, out), num, kill_at=event)
        killed += ranks[0].exitcode == -9
    assert killed == 2
    assert not (out / "metadata.csv").exists()
    launch(sample_pairs.main, pair_flags(chain, out), 2)
    assert without_own_name(describe(out)) == pairs


def test_sampling_anew(chain, pairs, tmp_path):
    """--overwrite deletes once, before any process draws; other settings are refused, with one message."""
    out = tmp_path / "out"
    launch(sample_pairs.main, pair_flags(chain, out, "--seed", "5"), 1)
    other = without_own_name(describe(out))
    assert other != pairs
    refused = forked.run_ranks(sample_pairs.main, [str(flag) for flag in pair_flags(chain, out)], num=2)
    assert [ended.exitcode for ended in refused] == [2, 2]
    assert sum(ended.output.count("error:") for ended in refused) == 1
    assert without_own_name(describe(out)) == other
    launch(sample_pairs.main, pair_flags(chain, out, "--overwrite"), 2)
    assert without_own_name(describe(out)) == pairs


def test_a_second_launch_is_refused_while_the_first_works(chain, tmp_path):
    from runtime.locks import Claim

    with Claim(tmp_path / "out"):
        ranks = forked.run_ranks(
            sample_pairs.main, [str(flag) for flag in pair_flags(chain, tmp_path / "out")], num=2
        )
    assert [ended.exitcode for ended in ranks] == [2, 2]
    assert sum(ended.output.count("being written by another run") for ended in ranks) == 1


# Reports.


def report_flags(chain, out, *more):
    flags = ["--model", chain.run("prior"), "--data", chain.run("data"), "--split", "train", "--out", out]
    return [*flags, "--batch-size", "8", "--method", "sample", "--max-films", "44", *more]


@pytest.fixture(scope="module")
def reports(chain, tmp_path_factory):
    out = tmp_path_factory.mktemp("reports")
    launch(generate_reports.main, report_flags(chain, out / "reports.csv"), 1)
    files = describe(out)
    assert sorted(files) == ["reports.csv", "reports.provenance.json"]
    return files["reports.csv"]


@pytest.mark.parametrize("num", [2, 4])
def test_report_writing(chain, reports, tmp_path, num):
    launch(generate_reports.main, report_flags(chain, tmp_path / "reports.csv"), num)
    files = describe(tmp_path)
    assert sorted(files) == ["reports.csv", "reports.provenance.json"]
    assert files["reports.csv"] == reports
    ranks = launch(generate_reports.main, report_flags(chain, tmp_path / "reports.csv"), num)
    assert sum(ended.output.count("is finished") for ended in ranks) == 1
    launch(generate_reports.main, report_flags(chain, tmp_path / "reports.csv", "--overwrite"), num)
    assert describe(tmp_path)["reports.csv"] == reports
    assert sorted(describe(tmp_path)) == ["reports.csv", "reports.provenance.json"]


def test_report_writing_in_shards_killed_and_gone_on_with(chain, reports, tmp_path):
    out = tmp_path / "reports.csv"
    assert launch(generate_reports.main, report_flags(chain, out), 2, kill_at=5)[0].exitcode == -9
    assert not out.exists()
    launch(generate_reports.main, report_flags(chain, out, "--shard", "1/2"), 2)
    assert not out.exists()
    launch(generate_reports.main, report_flags(chain, out, "--shard", "0/2"), 1)
    assert describe(tmp_path)["reports.csv"] == reports
    assert sorted(describe(tmp_path)) == ["reports.csv", "reports.provenance.json"]


def test_shards_of_another_job_are_refused(chain, tmp_path):
    """While one shard is at work a second one with other settings does not forget its batches."""
    from runtime.locks import Claim

    out = tmp_path / "reports.csv"
    launch(generate_reports.main, report_flags(chain, out, "--shard", "0/2"), 1)
    with Claim(out, (0, 2), of_file=True):
        flags = [str(flag) for flag in report_flags(chain, out, "--shard", "1/2", "--seed", "3")]
        (ended,) = forked.run_ranks(generate_reports.main, flags, num=1)
    assert ended.exitcode == 2
    assert "is being written with" in ended.output


# Evaluation.


def evaluate_in_small_blocks(flags):
    """With 24 films a side, so that each process has some."""
    from evaluation.networks import cache

    cache.BLOCK = 5
    seen = []
    plain = cache.FilmClassifier.score_folder

    def counted(self, paths, *args, **options):
        seen.append(len(paths))
        return plain(self, paths, *args, **options)

    cache.FilmClassifier.score_folder = counted
    evaluate(flags)
    print(f"scored {sum(seen)} films")


def test_evaluation_shares_the_films(tmp_path):
    folders = write_scored_folders(tmp_path)

    def flags(name):
        inputs = ["--real", folders / "real", "--synthetic", folders / "synthetic"]
        return [
            "all",
            *inputs,
            "--classifier",
            folders / "run",
            "--out",
            tmp_path / name,
            "--num-bootstrap",
            20,
        ]

    found, counts = {}, {}
    for num in (1, 2, 4):
        ranks = launch(evaluate_in_small_blocks, flags(str(num)), num)
        found[num] = describe(tmp_path / str(num))
        counts[num] = [int(ended.output.split("scored ")[-1].split()[0]) for ended in ranks]
        assert sum(ended.output.count("written to ") for ended in ranks) == 1
    assert sum(counts[1]) == sum(counts[2]) == sum(counts[4])
    assert max(counts[4]) < 0.5 * sum(counts[4])
    for num in (2, 4):
        assert found[num].keys() == found[1].keys()
        same = [name for name in found[1] if found[num][name] == found[1][name]]
        # matplotlib and the page may name the folder; figures and items are the bytes of one process.
        assert {"results.json", "results.md"} <= set(same)
        assert all(name in same for name in found[1] if name.startswith("cache/"))


def test_the_slurm_script_and_the_launcher_itself(chain, pairs, tmp_path):
    """An array job of one shard, on one node that is this machine, with a torchrun of two processes."""
    for name, line in {"srun": 'shift; exec "$@"', "scontrol": "echo localhost"}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    # As many threads as made the films that these are compared with: sums round by their number.
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    env["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    env |= {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "node", "SLURM_NNODES": "1"}
    env |= {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "1"}
    env |= {"PROCESSES": "2", "TORCHRUN": str(Path(sys.executable).parent / "torchrun")}
    command = ["bash", "experiments/slurm.sbatch", "sample_pairs.py"]
    command += map(str, pair_flags(chain, tmp_path / "out"))
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert without_own_name(describe(tmp_path / "out")) == pairs
