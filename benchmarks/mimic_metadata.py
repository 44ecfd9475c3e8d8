"""MIMIC-CXR's metadata at full size, no pixels: 227,835 studies joined, labeled, split, their reports read.

    python benchmarks/mimic_metadata.py [--download FOLDER, to keep the made-up tables for another run]

Made-up tables and reports with the true number of studies (tests/mimic_tree.py), about 376,000 films. Writes
results/mimic_metadata.json: seconds of the join, of reading the reports and of writing metadata.parquet, and
the peak memory.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers.mimic_tree import make_ledger, write_metadata

from data_module.sources.config import MimicConfig
from data_module.sources.mimic_cxr import find_tables, plan_films, write_folder
from data_module.sources.mimic_tables import join_tables

NUM_STUDIES = 227_835


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--download", type=Path, help="folder of the made-up tables; made where it is absent")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        download = args.download or Path(folder) / "download"
        if not download.is_dir():
            pid = os.fork()
            if not pid:  # in a process of its own, whose memory is not measured
                write_metadata(download, make_ledger(NUM_STUDIES, fault_share=0.02))
                os._exit(0)
            os.waitpid(pid, 0)
        print(json.dumps(measure(download, Path(folder) / "out"), indent=2))


def measure(download: Path, out: Path) -> dict[str, object]:
    views = ("PA", "AP", "L", "", "LPO", "AP AXIAL", "XTABLE LATERAL")
    config = MimicConfig(root=download, reports=download, out=out, views=views)
    tables = find_tables(config)
    clocks = [(time.perf_counter(), time.process_time())]

    def seconds() -> dict[str, float]:
        clocks.append((time.perf_counter(), time.process_time()))
        wall_s, cpu_s = (now - before for before, now in zip(*clocks[-2:], strict=True))
        return {"wall_s": round(wall_s, 1), "cpu_s": round(cpu_s, 1)}

    num_films = len(join_tables(tables, config.split, views).films)
    steps = {"join": seconds()}
    plan = plan_films(config, tables)
    steps["join again and read reports"] = seconds()
    write_folder(config, plan, {})
    steps["write table"] = seconds()
    whole = {
        name: round(sum(step[name] for step in list(steps.values())[1:]), 1) for name in ("wall_s", "cpu_s")
    }
    result = {
        "num_studies": NUM_STUDIES,
        "num_films_joined": num_films,
        "num_rows": len(plan.joined.films),
        "steps": steps,
        "whole": whole,
        "parquet_mb": round((out / "metadata.parquet").stat().st_size / 1e6),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "num_cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
    }
    path = Path(__file__).parent / "results" / "mimic_metadata.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
