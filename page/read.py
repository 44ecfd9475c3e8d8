"""Tab "Read": a film of one's own, DICOM too -> its report, other drafts, and what the classifier sees."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from page import pieces
from page.events import LIGHT, MODELS, answering, given_film, heading, html_place, whole
from page.models import Models


def build(models: Models) -> None:
    """The tab."""
    with gr.Tab("Read", id="read"):
        heading(
            "Drop a frontal chest film of any size. Not for clinical use: reports are those of a model of "
            "the data it was trained on."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                upload = gr.File(label="Film (PNG, JPEG, TIFF, DICOM ...)", height=140, elem_id="read-file")
                number = gr.Slider(0, 6, 3, step=1, label="Other drafts")
                button = gr.Button("Read again")
            with gr.Column(scale=3, min_width=320):
                note = html_place("read-note")
                film = html_place("reading")

    def read(path: str | None, number: float) -> Iterator[dict[Any, Any]]:
        yield {film: ""}  # no report of an earlier film stands beside an error
        reading = models.read(given_film(path, "a film"), whole(number, "Other drafts"))
        drafts = [(f"Draft {place + 1}", draft) for place, draft in enumerate(reading.drafts)]
        height, width = reading.pixels.shape
        shown = [(pieces.picture(reading.pixels), "the film", f"{width} x {height} pixels")]
        yield {
            note: pieces.message(reading.warning, "warning"),
            film: pieces.cards([pieces.card(shown, reading.report, reading.judged, more=drafts)]),
        }

    upload.clear(lambda: ("", ""), None, [note, film], **LIGHT)
    for event in (upload.upload, button.click):
        event(answering(note, read), [upload, number], [note, film], show_progress="minimal", **MODELS)
