"""Converting large JPEG films by 1, 2, ... workers, against what the machine allows.

    python benchmarks/film_scaling.py [--workers 1 2 4] [--num-films 4096]

Whole conversions are timed by the wall, the start of the workers included, which is also timed alone. What
the machine allows is measured in the same run, before and after each conversion: as many processes as it has
workers, apart from each other, decode the same films and do nothing else; their summed rate over that of one
process is the ceiling of the ratio. Films as in film_decoding.py. Writes results/film_scaling.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from film_decoding import GRAINS, SIZE, machine, make_film

from data_module.sources.conversion import FilmConversion
from data_module.sources.film_block import Job, convert_block
from data_module.sources.films import FilmFormat
from runtime.huge_pages import restart_with_huge_pages
from runtime.workers import run_in_workers

ROOT = Path(__file__).resolve().parents[1]
NUM_DISTINCT = 8  # films, each converted many times
FILM = FilmFormat(SIZE, "fit-crop", "png")
# One process of the ceiling: waits until the moment given, decodes for some seconds, says how many films.
DECODER = """
import sys, time
from data_module.decoding import read_resized
folder, start_s, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
read_resized(f"{folder}/0.jpg", 256, "fit-crop")
time.sleep(max(0.0, start_s - time.time()))
started_s, count = time.perf_counter(), 0
while time.perf_counter() - started_s < seconds:
    read_resized(f"{folder}/{count % 8}.jpg", 256, "fit-crop")
    count += 1
print(count / (time.perf_counter() - started_s))
"""


def scale(folder: Path, workers: list[int], num_films: int, ceiling_s: float) -> dict[str, object]:
    """Wall seconds of converting the same films by each number of processes, and the machine's ceilings."""
    for number in range(NUM_DISTINCT):
        make_film(folder / f"{number}.jpg", number, GRAINS["grain"])
    convert(folder, 1, NUM_DISTINCT)  # the files are in the system's cache from here on
    rows = {}
    for count in workers:
        before = decode_apart(folder, count, ceiling_s)
        seconds = convert(folder, count, num_films)
        rate = (before + decode_apart(folder, count, ceiling_s)) / 2
        rows[str(count)] = {
            "seconds": round(seconds, 2),
            "start_s": round(time_start(folder, count), 2),
            "films_per_s": round(num_films / seconds, 1),
            "bare_decoding_films_per_s": round(rate, 1),
        }
    for row in rows.values():
        first = rows[str(workers[0])]
        for name, column in (("ratio", "films_per_s"), ("ceiling", "bare_decoding_films_per_s")):
            row[name] = round(row[column] / first[column], 2)
    return {"num_films": num_films, "workers": rows}


def convert(folder: Path, num_workers: int, num_films: int) -> float:
    def jobs(films: range) -> list[Job]:
        return [Job(str(folder), f"{film % NUM_DISTINCT}.jpg", f"images/{film}.png") for film in films]

    started_s = time.perf_counter()
    FilmConversion(folder / "out", FILM, jobs, num_films).run(num_workers)
    seconds = time.perf_counter() - started_s
    shutil.rmtree(folder / "out")
    return seconds


def time_start(folder: Path, num_workers: int) -> float:
    """Seconds until each of these workers has taken an empty block: what a conversion pays before films."""
    tasks = [(folder, FILM, range(0), [])] * num_workers
    started_s = time.perf_counter()
    for _ in run_in_workers(convert_block, tasks, num_workers):
        pass
    return time.perf_counter() - started_s


def decode_apart(folder: Path, num_processes: int, seconds: float) -> float:
    """Films a second of independent processes that start decoding at one moment, together."""
    start_s = time.time() + 2.0 + 0.5 * num_processes  # when all have imported what they need
    command = [sys.executable, "-c", DECODER, str(folder), str(start_s), str(seconds)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(num_processes)
    ]
    return sum(float(process.communicate()[0]) for process in running)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--num-films", type=int, default=4096)
    parser.add_argument("--ceiling-seconds", type=float, default=8.0, help="of each measure of the ceiling")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = scale(Path(folder), args.workers, args.num_films, args.ceiling_seconds) | machine()
    path = Path(__file__).parent / "results" / "film_scaling.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    restart_with_huge_pages(main)  # as prepare_data.py does, and so its workers
    main()
