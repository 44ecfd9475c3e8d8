"""The `demo` source: rendered phantom films with known findings, and their reports, as a pairs folder."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data_module.demo.film import render_film
from data_module.demo.report import Report, write_report
from data_module.demo.study import Study, get_study
from data_module.film_files import write_film
from data_module.findings import prompt_sentence
from data_module.pairs import PairsFolder, write_pairs
from data_module.splits import split_by_patient
from runtime.files import remove_leftovers
from runtime.provenance import provenance_record
from runtime.workers import run_in_workers

CHUNK = 32  # films a worker renders at a time
CARD = """# PairCXR demo phantoms

{num_studies} synthetic chest films of {size} x {size} pixels, with reports, drawn by PairCXR's `demo` source
(seed {seed}). **These are drawings, not radiographs of people, and not for clinical use.**

Findings, sides and severities are known exactly, because film and report are made from the same facts. The
14 CheXpert columns hold what the report mentions (1 present, 0 absent, -1 uncertain, empty = not mentioned);
`facts` holds each finding with side, severity, site and kind as JSON. A hedged finding (-1) is drawn faintly
about half the time and else not at all. Splits are by patient.

They serve to try and test the pipeline end to end. Figures measured on them say nothing about real films.
"""


@dataclass(frozen=True)
class DemoFilm:
    """One study, its film (size, size) uint8 and its report."""

    study: Study
    pixels: np.ndarray
    report: Report


def generate_studies(num_studies: int, size: int = 64, seed: int = 0, start: int = 0) -> Iterator[DemoFilm]:
    """Studies `start` to `start + num_studies - 1` of the demo of `seed`, in order.

    Study i depends on (seed, i) alone; `size` (pixels a side, 32 or more) changes neither facts nor report.

    Raises:
        ValueError: a negative number, or a size that is too small.
    """
    for index in range(start, start + num_studies):
        study = get_study(seed, index)
        yield DemoFilm(study, render_film(study, size), write_report(study))


def check_numbers(size: int, seed: int, num_workers: int, **counts: int) -> None:
    """Raise ValueError, with its flag, for a number that phantoms cannot be rendered with.

    Args:
        counts: 1 or more, by name.
    """
    for name, value, least in (
        *((name, value, 1) for name, value in counts.items()),
        ("size", size, 32),
        ("seed", seed, 0),
        ("num_workers", num_workers, 0),
    ):
        if value < least:
            raise ValueError(f"--{name.replace('_', '-')} {value}: must be {least} or more")


def write_demo(
    out: str | Path,
    num_studies: int = 4000,
    size: int = 64,
    seed: int = 0,
    num_workers: int = 2,
    config: Mapping[str, Any] | None = None,
) -> PairsFolder:
    """Render a demo pairs folder; metadata.csv is written last, so a folder that has one is whole.

    Args:
        out: folder to write. A demo that is there already is made anew: nothing in it is kept.
        num_studies: one film each. The first n studies are the same whatever the number.
        size: pixels a side, 32 or more; 64, 128 and 256 are usual.
        num_workers: processes; the result does not depend on it.
        config: what goes to provenance.json; the arguments above when None.

    Raises:
        ValueError: names the argument that is wrong.
    """
    out = Path(out)
    check_numbers(size, seed, num_workers, num_studies=num_studies)
    (out / "metadata.csv").unlink(missing_ok=True)  # from here on the folder is unfinished
    rows = render_rows(partial(_render_chunk, out, size, seed), num_studies, num_workers)
    remove_leftovers(out / "images", "**/.*.tmp")  # of a run that was killed
    splits = split_by_patient([row["patient_id"] for row in rows], seed)
    rows = [{**row, "split": split} for row, split in zip(rows, splits, strict=True)]
    settings = {"source": "demo", "num_studies": num_studies, "size": size, "seed": seed}
    provenance = {
        **provenance_record(config if config is not None else settings),
        "synthetic": True,
        "num_patients": len({row["patient_id"] for row in rows}),
    }
    return write_pairs(out, rows, provenance, CARD.format(num_studies=num_studies, size=size, seed=seed))


def render_rows(
    work: Callable[[range], list[dict[str, Any]]], num_films: int, num_workers: int
) -> list[dict[str, Any]]:
    """Rows of all films in order, made chunk by chunk by any number of processes."""
    chunks = [range(i, min(i + CHUNK, num_films)) for i in range(0, num_films, CHUNK)]
    rendered: dict[int, list[dict[str, Any]]] = {}
    tasks = ((chunk,) for chunk in chunks)
    with (
        tqdm(total=num_films, desc="demo films", unit=" films") as bar,
        closing(run_in_workers(work, tasks, min(num_workers, len(chunks)))) as results,
    ):
        for number, rendered[number] in results:
            bar.update(len(rendered[number]))
    return [row for number in range(len(chunks)) for row in rendered[number]]


def _render_chunk(out: Path, size: int, seed: int, indices: range) -> list[dict[str, Any]]:
    rows = []
    for film in generate_studies(len(indices), size, seed, indices.start):
        row = film_row(film)
        write_film(out / row["file_name"], film.pixels)
        rows.append(row)
    return rows


def film_row(film: DemoFilm) -> dict[str, Any]:
    """The metadata row of a film, without its split."""
    study, report = film.study, film.report
    facts: dict[str, Any] = {}
    for sign in study.signs:
        entry = sign.facts() | ({} if sign.certainty > 0 else {"certainty": "uncertain"})
        if sign.finding == "Support Devices":
            facts.setdefault(sign.finding, []).append(entry)
        else:
            facts[sign.finding] = entry
    return {
        "file_name": f"images/{study.patient.patient_id}/{study.study_id}.png",
        "report": report.text,
        "findings_section": report.findings_section,
        "impression_section": report.impression_section,
        "patient_id": study.patient.patient_id,
        "study_id": study.study_id,
        "view": study.view,
        "sex": study.patient.sex,
        "age": study.age,
        **study.labels,
        "prompt": prompt_sentence(study.labels),
        "seed": study.seed,
        "source": "demo",
        "facts": json.dumps(facts, separators=(",", ":")),
    }
