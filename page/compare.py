"""Tab "Compare": a real film and a made one, blinded: which is real? Votes go to a CSV file."""

import csv
import io
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np

from data_module.findings import POSITIVE
from data_module.images import FilmError, fit_crop, read_pixels
from page import pieces
from page.events import LIGHT, Updates, answering, heading, html_place
from page.folders import Folders, OpenFolder

SIDES = ("left", "right")
COLUMNS = ("time", "reader", "real_folder", "made_folder", "real_film", "made_film")
COLUMNS += ("real_side", "said", "right", "seconds")
MAX_TRIES = 20  # films that cannot be read are passed over
_writing = threading.Lock()


@dataclass(frozen=True)
class Question:
    """Two films of one size, side by side."""

    folders: tuple[str, str]  # the real one, the made one
    names: tuple[str, str]
    real_side: str
    films: tuple[np.ndarray, np.ndarray]  # left, right
    asked_at: float


@dataclass(frozen=True)
class Study:
    """What a reader has done so far in this session."""

    reader: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    question: Question | None = None
    num_right: int = 0
    num_votes: int = 0


class CompareTab:
    """The tab.

    Args:
        mine: the session's list of folders that it saved.
        votes: CSV file to add to.
    """

    def __init__(self, folders: Folders, mine: gr.State, votes: Path) -> None:
        self.folders, self.votes = folders, votes
        names = list(folders.open)
        with gr.Tab("Compare", id="compare") as tab:
            self.study = gr.State(None)
            heading(
                "One film of each folder, of like findings: which one is real? Votes go to --out/votes.csv."
            )
            with gr.Row():
                real = gr.Dropdown(names, value=names[0], label="Folder of real films", min_width=200)
                made = gr.Dropdown(names, value=names[-1], label="Folder of made films", min_width=200)
                begin = gr.Button("Begin", variant="primary", min_width=120, elem_id="compare-begin")
            self.note = html_place("compare-note")
            self.films = html_place("compare-films")
            with gr.Row():
                self.buttons = [gr.Button(f"The {side} one is real", interactive=False) for side in SIDES]
        outputs = [self.note, self.films, self.study, *self.buttons]
        begin.click(answering(self.note, self.begin), [real, made], outputs, **LIGHT)
        for side, button in zip(SIDES, self.buttons, strict=True):
            button.click(answering(self.note, partial(self.vote, side)), self.study, outputs, **LIGHT)
        tab.select(lambda own: [gr.update(choices=names + own)] * 2, mine, [real, made], **LIGHT)

    def begin(self, real: str, made: str) -> Updates:
        """The first question of a new reader."""
        return self._ask(Study(), (real, made), "")

    def vote(self, said: str, study: Study | None) -> Updates:
        """Note what was said, tell whether it was right, and ask again."""
        if study is None or study.question is None:
            raise ValueError("press Begin first")
        write_vote(self.votes, study, said)
        question, right = study.question, said == study.question.real_side
        study = replace(study, num_right=study.num_right + right, num_votes=study.num_votes + 1)
        told = f"{'Right' if right else 'Wrong'}: the {question.real_side} one was real. {tell_score(study)}"
        return self._ask(study, question.folders, told)

    def _ask(self, study: Study, names: tuple[str, str], told: str) -> Updates:
        question = choose(self.folders, names, np.random.default_rng())
        shown = [
            (pieces.picture(film), f"the {side} film", side)
            for side, film in zip(SIDES, question.films, strict=True)
        ]
        return {
            self.study: replace(study, question=question),
            self.films: pieces.row_of_films(shown),
            self.note: pieces.message(told),
            **{button: gr.update(interactive=True) for button in self.buttons},
        }


def choose(folders: Folders, names: tuple[str, str], rng: np.random.Generator) -> Question:
    """A made film and a real one of the most alike findings, each on a random side, both of one size.

    Args:
        names: of the folder of real films and of the made ones.

    Raises:
        ValueError: one folder twice, or films that cannot be read.
    """
    real, made = (folders.get(name) for name in names)
    if real is made:
        raise ValueError("these are one folder: choose two")
    shown, asked = real.pairs.labels == POSITIVE, made.pairs.labels == POSITIVE
    for _ in range(MAX_TRIES):
        row = int(rng.integers(len(made)))
        unlike = (shown != asked[row]).sum(axis=1)
        match = int(rng.choice(np.flatnonzero(unlike == unlike.min())))
        films = _read_both(real, match, made, row)
        if films:
            place = int(rng.integers(2))
            films = films if place == 0 else (films[1], films[0])
            files = real.text(match, "file_name"), made.text(row, "file_name")
            return Question(names, files, SIDES[place], films, time.monotonic())
    raise ValueError("the films of these folders cannot be read")


def _read_both(
    real: OpenFolder, match: int, made: OpenFolder, row: int
) -> tuple[np.ndarray, np.ndarray] | None:
    paths = real.film(match), made.film(row)
    if paths[0] is None or paths[1] is None:
        return None
    try:
        one, other = read_pixels(paths[0]), read_pixels(paths[1])
    except FilmError:
        return None
    side = min(*one.shape, *other.shape, pieces.SIDE)  # the size must not tell them apart
    return fit_crop(one, side), fit_crop(other, side)


def tell_score(study: Study) -> str:
    """How many were right, with Wilson's 95% interval."""
    from scipy.stats import binomtest

    low, high = binomtest(study.num_right, study.num_votes).proportion_ci(method="wilson")
    share = study.num_right / study.num_votes
    counted = f"{study.num_right} of {study.num_votes} right"
    return f"{counted}: {share:.0%} (95% interval {low:.0%} to {high:.0%}); 50% is guessing."


def write_vote(path: Path, study: Study, said: str) -> None:
    """Add a line to the votes; a new file is begun with its columns."""
    question = study.question
    assert question is not None
    seconds = round(time.monotonic() - question.asked_at, 1)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    stream = io.StringIO()
    writer = csv.writer(stream)
    with _writing:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            writer.writerow(COLUMNS)
        right = int(said == question.real_side)
        seen = (*question.folders, *question.names, question.real_side)
        writer.writerow((now, study.reader, *seen, said, right, seconds))
        with path.open("a", newline="") as file:
            file.write(stream.getvalue())
