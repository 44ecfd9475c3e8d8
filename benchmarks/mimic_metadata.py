"""MIMIC-CXR's metadata at full size, no pixels: 227,835 studies joined, labelled, split, their reports read.

    python benchmarks/mimic_metadata.py

Made-up tables and reports with the true number of studies (tests/mimic_tree.py), about 376,000 films. Writes
results/mimic_metadata.json: seconds of the join, of reading the reports and of writing metadata.parquet, and
the peak memory.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mimic_tree import make_ledger, write_metadata

from data_module.sources.mimic_cxr import MimicConfig, find_tables, plan_films, write_folder
from data_module.sources.mimic_tables import join_tables

NUM_STUDIES = 227_835


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pid = os.fork()
        if not pid:  # in a process of its own, whose memory is not measured
            write_metadata(Path(folder) / "download", make_ledger(NUM_STUDIES, fault_share=0.02))
            os._exit(0)
        os.waitpid(pid, 0)
        print(json.dumps(measure(Path(folder)), indent=2))


def measure(folder: Path) -> dict[str, object]:
    views = ("PA", "AP", "L", "", "LPO", "AP AXIAL", "XTABLE LATERAL")
    download = folder / "download"
    config = MimicConfig(root=download, reports=download, out=folder / "out", views=views)
    tables = find_tables(config)
    started_s = time.perf_counter()
    num_films = len(join_tables(tables, config.split, views).films)
    joined_s = time.perf_counter()
    plan = plan_films(config, tables)  # joins once more
    planned_s = time.perf_counter()
    write_folder(config, plan, {})
    written_s = time.perf_counter()
    result = {
        "num_studies": NUM_STUDIES,
        "num_films_joined": num_films,
        "num_rows": len(plan.joined.films),
        "join_s": round(joined_s - started_s, 1),
        "join_and_read_reports_s": round(planned_s - joined_s, 1),
        "write_table_s": round(written_s - planned_s, 1),
        "whole_s": round(written_s - joined_s, 1),
        "parquet_mb": round((folder / "out" / "metadata.parquet").stat().st_size / 1e6),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "num_cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
    }
    path = Path(__file__).parent / "results" / "mimic_metadata.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
