"""A made-up MIMIC-CXR download of 100,000 studies, prepared by the command line and held against its ledger.

    python benchmarks/mimic_ledger.py [--num-studies 100000] [--num-workers 2] [--folder DIR]

Writes results/mimic_ledger.json: every count that differs (none should), rows, lines, seconds, peak memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers.mimic_tree import NUM_REFUSED_ENTRIES, find_differences, make_ledger, write_tree

from data_module.pairs import PairsFolder

ROOT = Path(__file__).resolve().parents[1]


def measure(folder: Path, num_studies: int, num_workers: int) -> dict[str, object]:
    """Build the download in `folder`, prepare it, and compare."""
    ledger = make_ledger(num_studies, fault_share=0.1)
    download = write_tree(folder / "download", ledger)
    flags = [part for name, path in download.items() for part in (f"--{name}", str(path))]
    command = [sys.executable, str(ROOT / "prepare_data.py"), "mimic-cxr", *flags, "--size", "16"]
    started_s = time.perf_counter()
    subprocess.run(
        [*command, "--out", str(folder / "out"), "--num-workers", str(num_workers)], check=True, cwd=ROOT
    )
    seconds = time.perf_counter() - started_s
    # Of the largest process: that one holds the tables, the workers a film each.
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    pairs = PairsFolder.open(folder / "out")
    differences = find_differences(pairs.table, pairs.root, ledger.expect(("PA", "AP")), NUM_REFUSED_ENTRIES)
    missing = sum(not path.is_file() for path in pairs.image_paths)
    return {
        "num_studies": num_studies,
        "num_films": sum(len(study.films) for study in ledger.studies),
        "num_rows": len(pairs),
        "table": next(path.name for path in pairs.root.glob("metadata.*")),
        "differences": differences,
        "num_films_missing_on_disk": missing,
        "seconds": round(seconds),
        "num_workers": num_workers,
        "peak_memory_gb": round(peak_gb, 2),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-studies", type=int, default=100_000)
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="kept afterwards; default: a temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = measure(args.folder or Path(temporary), args.num_studies, args.num_workers)
    path = Path(__file__).parent / "results" / "mimic_ledger.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
