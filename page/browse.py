"""Tab "Browse": the rows of a pairs folder by finding, side, split and agreement; one row opened."""

from functools import partial

import gradio as gr
import numpy as np

from data_module.findings import FINDINGS
from data_module.images import read_pixels
from data_module.pairs import SPLITS
from page import pieces
from page.events import CLICK_ROW, LIGHT, MODELS, Updates, answering, clicked_row, heading, html_place
from page.folders import AGREEMENTS, ANY, SIDES, Filter, Folders, OpenFolder
from page.models import Models

PAGE = 24  # films shown at once
# In a narrow window the pair stands below all films.
COME_INTO_VIEW = "() => document.querySelector('#browse-opened').scrollIntoView({block: 'nearest'})"
FACTS = ("split", "view", "sex", "age", "reference", "seed")  # columns shown below a pair


class BrowseTab:
    """The tab.

    Args:
        mine: the session's list of folders that it saved.
    """

    def __init__(self, models: Models, folders: Folders, mine: gr.State) -> None:
        self.models, self.folders = models, folders
        self.names = list(folders.open)
        with gr.Tab("Browse", id="browse") as self.tab:
            self.rows, self.start = gr.State([]), gr.State(0)
            heading("Choose a folder, filter its rows, and click a film to open its pair.")
            self.name = gr.Dropdown(self.names, value=self.names[-1], label="Folder", elem_id="browse-folder")
            with gr.Row():
                self.filters = [
                    gr.Dropdown([ANY, *choices], value=ANY, label=label, min_width=140)
                    for label, choices in (
                        ("Finding", FINDINGS),
                        ("Side in the report", SIDES),
                        ("Split", SPLITS),
                        ("Film and report", AGREEMENTS),
                    )
                ]
            self.note = html_place("browse-note")
            with gr.Row():
                with gr.Column(scale=3, min_width=300):
                    self.grid = html_place("browse-grid", js_on_load=CLICK_ROW)
                    with gr.Row():
                        self.turns = {
                            by: gr.Button(text, size="sm", min_width=80)
                            for text, by in (("Back", -1), ("More", 1))
                        }
                with gr.Column(scale=3, min_width=320):
                    self.opened = html_place("browse-opened")
                    self.neighbors = html_place("browse-neighbors")
        self._connect(mine)

    def _connect(self, mine: gr.State) -> None:
        note, asked = self.note, [self.name, *self.filters]
        found = [note, self.rows, self.start, self.grid, self.opened, self.neighbors]
        for field in asked:
            field.change(answering(note, self.find), asked, found, show_progress="minimal", **MODELS)
        self.tab.select(lambda own: gr.update(choices=self.names + own), mine, self.name, **LIGHT).then(
            answering(note, self.find), asked, found, show_progress="minimal", **MODELS
        )
        where = [self.name, self.rows, self.start]
        for by, button in self.turns.items():
            button.click(
                answering(note, partial(self.turn, by)), where, [note, self.start, self.grid], **LIGHT
            )
        shown = [note, self.grid, self.opened, self.neighbors]
        self.grid.select(
            answering(note, self.open_row), where, shown, show_progress="minimal", **MODELS
        ).then(None, js=COME_INTO_VIEW)

    def find(self, name: str, *wanted: str) -> Updates:
        """The rows that fit, their first page, and nothing opened."""
        folder = self.folders.get(name)
        rows, remark = self.folders.find(name, Filter(*wanted))
        count = f"{len(rows):,} of {len(folder):,} rows"
        return {
            self.note: pieces.message(f"{count}; {remark}" if remark else count),
            self.rows: rows,
            self.start: 0,
            self.grid: show_grid(folder, rows, 0),
            self.opened: "",
            self.neighbors: "",
        }

    def turn(self, by: int, name: str, rows: list[int], start: int) -> Updates:
        """The next page, or the one before."""
        start = min(max(start + by * PAGE, 0), max(len(rows) - 1, 0) // PAGE * PAGE)
        shown = f"{start + 1} to {min(start + PAGE, len(rows))} of {len(rows):,} rows" if rows else ""
        grid = show_grid(self.folders.get(name), rows, start)
        return {self.start: start, self.grid: grid, self.note: pieces.message(shown)}

    def open_row(self, name: str, rows: list[int], start: int, event: gr.EventData) -> Updates:
        """The pair that was clicked, and its neighbors."""
        folder = self.folders.get(name)
        row = folder.row(clicked_row(event))
        return {
            self.grid: show_grid(folder, rows, start, row),
            self.opened: self._show(folder, row),
            self.neighbors: self._show_neighbors(folder, row),
        }

    def _show(self, folder: OpenFolder, row: int) -> str:
        path, report = folder.film(row), folder.text(row, "report")
        pixels = read_pixels(path) if path else np.zeros((64, 64), np.uint8)
        judged = self.models.judge(pixels[None], [report], folder.pairs.labels[row : row + 1])
        shown = [(pieces.picture(pixels), "the film", folder.text(row, "file_name"))]
        card = pieces.card(shown, report, judged, prompt=folder.text(row, "prompt"))
        facts = [(column, folder.pairs.table[column].iloc[row]) for column in FACTS]
        return pieces.cards([card]) + pieces.facts([("row", row), *facts])

    def _show_neighbors(self, folder: OpenFolder, row: int) -> str:
        found = self.folders.neighbors(folder, row)
        training = self.folders.get(str(self.folders.data.root))
        shown = [
            (
                pieces.picture_of(training.film(place), 256),
                f"training film, row {place}",
                f"row {place}, {distance:.2f} away",
            )
            for place, distance in found
        ]
        title = "Nearest training films, in the classifier's features"
        return pieces.message(title) + pieces.row_of_films(shown) if shown else ""


def show_grid(folder: OpenFolder, rows: list[int], start: int, chosen: int | None = None) -> str:
    """A page of films to click."""
    entries = [
        (row, folder.film(row), folder.text(row, "prompt") or folder.text(row, "report"))
        for row in rows[start : start + PAGE]
    ]
    return pieces.grid(entries, chosen)
