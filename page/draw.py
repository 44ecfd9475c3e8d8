"""Tab "Draw": a prompt and a reference film -> films and reports, with a preview of each step."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from data_module.findings import FINDINGS, POSITIVE
from data_module.images import read_pixels
from page import pieces
from page.events import (
    CLICK_ROW,
    LIGHT,
    MODELS,
    Updates,
    Work,
    answering,
    clicked_row,
    given_film,
    heading,
    html_place,
    whole,
)
from page.folders import Folders
from page.models import MAX_FILMS, MAX_GUIDANCE, MAX_SEED, MAX_STEPS, Drawing, Models, Wish

NUM_CANDIDATES = 12
REFERENCES = [
    ("one of the same findings", "same"),
    ("pick one by finding", "pick"),
    ("a film of my own", "own"),
    ("none", "none"),
]
EXAMPLES = [
    "Large right pleural effusion.",
    "Severe cardiomegaly. No pleural effusion.",
    "There is a moderate left pneumothorax.",
    "The heart is normal in size. The lungs are clear.",
]


class DrawTab:
    """The tab.

    Args:
        mine: the session's list of folders that it saved.
    """

    def __init__(self, models: Models, folders: Folders, mine: gr.State) -> None:
        self.models, self.folders, self.mine = models, folders, mine
        self.data = folders.get(str(models.data.root))
        with gr.Tab("Draw", id="draw"):
            self.picked, self.drawn = gr.State(None), gr.State(None)
            heading("Write what the film should show, in the words of a report.")
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    self._lay_out_wish()
                with gr.Column(scale=3, min_width=320):
                    self.note = html_place("draw-note")
                    self.films = html_place("drawn")
                    self.command = html_place()
                    self.save = gr.Button("Save as a pairs folder", visible=False, elem_id="save-button")
        self._connect()

    def _lay_out_wish(self) -> None:
        settings = self.models.config.models.drawing
        self.prompt = gr.Textbox(label="Prompt", value=EXAMPLES[0], lines=2, elem_id="prompt")
        gr.Examples([[text] for text in EXAMPLES], self.prompt, label="For example")
        self.kind = gr.Radio(REFERENCES, value="same", label="Reference film")
        with gr.Group(visible=False) as self.picking:
            self.finding = gr.Dropdown(list(FINDINGS), label="Finding of the reference film", value=None)
            self.candidates = html_place("candidates", js_on_load=CLICK_ROW)
        with gr.Group(visible=False) as self.dropping:
            self.own = gr.File(label="Reference film (PNG, JPEG, TIFF, DICOM ...)", height=120)
            self.own_film = html_place()
        self.guidance = gr.Slider(1.0, 15.0, settings.guidance_scale, step=0.5, label="Guidance")
        self.steps = gr.Slider(1, min(MAX_STEPS, 50), settings.num_inference_steps, step=1, label="Steps")
        with gr.Row():
            self.number = gr.Slider(1, MAX_FILMS, 2, step=1, label="Films", min_width=120)
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, min_width=120)
        self.button = gr.Button("Draw", variant="primary", elem_id="draw-button")

    def _connect(self) -> None:
        note = self.note
        self.kind.change(
            answering(note, self.choose_kind), self.kind, [note, self.picking, self.dropping], **LIGHT
        )
        choosing = [note, self.candidates, self.picked]
        self.finding.change(answering(note, self.list_candidates), self.finding, choosing, **LIGHT)
        self.candidates.select(answering(note, self.pick), self.finding, choosing, **LIGHT)
        self.own.change(answering(note, self.show_own), self.own, [note, self.own_film], **LIGHT)
        asked = [self.prompt, self.kind, self.picked, self.own]
        asked += [self.guidance, self.steps, self.number, self.seed]
        outputs = [note, self.films, self.command, self.save, self.drawn]
        for event in (self.button.click, self.prompt.submit):
            event(answering(note, self.draw), asked, outputs, show_progress="minimal", **MODELS)
        self.save.click(answering(note, self.keep), [self.drawn, self.mine], [note, self.mine], **MODELS)

    def choose_kind(self, kind: str) -> Updates:
        """Show the fields of one kind of reference."""
        return {
            self.picking: gr.update(visible=kind == "pick"),
            self.dropping: gr.update(visible=kind == "own"),
        }

    def list_candidates(self, finding: str | None) -> Updates:
        """Show films that may be the reference."""
        return {self.candidates: self._grid(finding, None), self.picked: None}

    def pick(self, finding: str | None, event: gr.EventData) -> Updates:
        """Take the film that was clicked."""
        row = self.data.row(clicked_row(event))
        return {self.candidates: self._grid(finding, row), self.picked: row}

    def show_own(self, upload: str | None) -> Updates:
        """Show the film that was dropped."""
        return {self.own_film: pieces.films([read_pixels(Path(upload))]) if upload else ""}

    def draw(
        self,
        prompt: str,
        kind: str,
        picked: int | None,
        upload: str | None,
        guidance: float,
        steps: float,
        number: float,
        seed: float,
    ) -> Iterator[Updates]:
        """The films as they come, then films, reports and findings."""
        reference, name = self._reference(kind, picked, upload)
        wish = Wish(
            (prompt or "").strip(),
            float(min(guidance, MAX_GUIDANCE)),
            whole(steps, "Steps"),
            whole(seed, "Seed"),
            whole(number, "Films"),
            reference,
            name,
        )
        yield {self.films: "", self.command: "", self.save: gr.update(visible=False), self.drawn: None}
        work: Work[np.ndarray, Drawing] = Work(lambda show: self.models.draw(wish, show))
        for pixels in work.shown():
            yield {self.films: pieces.films(pixels)}
        drawing = work.result()
        yield {
            self.films: pieces.cards(list_cards(drawing)),
            self.command: pieces.command(drawing.command),
            self.note: pieces.message(drawing.warning, "warning"),
            self.save: gr.update(visible=True),
            self.drawn: drawing,
        }

    def keep(self, drawing: Drawing | None, mine: list[str]) -> Updates:
        """Save what was drawn as a pairs folder, which can then be browsed."""
        if drawing is None:
            raise ValueError("nothing to save: draw something first")
        name = self.folders.add(self.models.save(drawing))
        saved = f"saved: {name} ({len(drawing.pixels)} pairs); it can be browsed"
        return {self.note: pieces.message(saved), self.mine: list(dict.fromkeys([*mine, name]))}

    def _reference(self, kind: str, picked: int | None, upload: str | None) -> tuple[Path | str | None, str]:
        """The reference film as `Wish` takes it, and its name within --data."""
        if kind == "own":
            return given_film(upload, "a reference film"), ""
        if kind == "pick":
            if picked is None:
                raise ValueError("choose a finding and click a reference film")
            return self.data.film(self.data.row(picked)), self.data.text(picked, "file_name")
        return ("same" if kind == "same" else None), ""

    def _grid(self, finding: str | None, chosen: int | None) -> str:
        """Training films with that finding, spread over all."""
        if finding not in FINDINGS:
            return ""
        table = self.models.data.table
        rows = np.flatnonzero(((table["split"] == "train") & (table[finding] == POSITIVE)).to_numpy())
        if not len(rows):
            raise ValueError(f"no training film of --data shows {finding}")
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, NUM_CANDIDATES).astype(int))]
        return pieces.grid([(row, self.data.film(row), f"row {row}") for row in rows.tolist()], chosen)


def list_cards(drawing: Drawing) -> list[dict[str, Any]]:
    """The drawn pairs, each with its reference film."""
    cards = []
    for place, (pixels, report) in enumerate(zip(drawing.pixels, drawing.reports, strict=True)):
        pair, title = drawing.plan[place], f"film {place + 1}"
        shown = [(pieces.picture(pixels), title, f"{title}, seed {drawing.wish.seed}")]
        if pair.reference:
            note = f"reference: {pair.reference_name}"
            shown.append((pieces.picture_of(pair.reference), "its reference film", note))
        cards.append(pieces.card(shown, report, drawing.judged, place))
    return cards
