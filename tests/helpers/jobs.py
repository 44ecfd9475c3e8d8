"""Commands whose folders must survive anything: scripts, or the classes that scripts write with."""

import contextlib
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

from helpers import tiny_training
from malformed import own_inputs


def prepare_csv(root: Path) -> None:
    own_inputs._prepare(root / "out", root / own_inputs.BESIDE)


def prepare_demo(root: Path) -> None:
    import prepare_data

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        flags = ["--num-studies", "3", "--size", "32", "--num-workers", "1"]
        prepare_data.main(["demo", "--out", str(root / "out"), *flags])


def sample(root: Path) -> None:
    own_inputs._sample(root / "out", 12)


def encode(root: Path) -> None:
    own_inputs._write_cache(root / "out", 30)


def train(root: Path) -> None:
    tiny_training.main(["--out", str(root / "out"), "--num-steps", "8"])


def write_reports(root: Path) -> None:
    """The most frequent report for the films of the prepared folder."""
    import generate_reports

    data = root / own_inputs.BESIDE / "pairs"
    (root / "out").mkdir(exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        flags = ["--split", "train", "--batch-size", "16", "--out", str(root / "out" / "reports.csv")]
        generate_reports.main(["--model", "most-frequent", "--data", str(data), *flags])


def score_reports(root: Path) -> None:
    """The reports of the prepared folder against themselves."""
    import evaluation.__main__ as evaluation

    data = (root / own_inputs.BESIDE / "pairs").resolve()  # results name it
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        flags = ["--split", "train", "--num-bootstrap", "5", "--out", str(root / "out")]
        evaluation.main(["reports", "--real", str(data), "--reports", str(data / "metadata.csv"), *flags])


def set_up(root: Path) -> None:
    """What the jobs read, beside their output."""
    own_inputs.part_seeds(root / "seeds")
    own_inputs._prepare(root / own_inputs.BESIDE / "pairs", root / own_inputs.BESIDE)


JOBS: dict[str, Callable[[Path], None]] = {
    "prepare_csv": prepare_csv,
    "prepare_demo": prepare_demo,
    "sample": sample,
    "encode": encode,
    "train": train,
    "write_reports": write_reports,
    "score_reports": score_reports,
}
# They say how fast, when or where something was made.
_PASSING = ("metrics.jsonl", "provenance.json", "reports.provenance.json", "config.json")


def describe(folder: Path) -> dict[str, str]:
    """Every file that a job left, hidden ones too, with its hash."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    return {name: "" if Path(name).name in _PASSING else digest for name, digest in hashes.items()}
