"""Tab "Edit": a film is noised in part and drawn on under a prompt (SDEdit); before and after in a slider."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from data_module.images import load_pixels
from page import pieces
from page.draw import list_cards
from page.events import MODELS, Work, answering, given_film, heading, html_place, whole
from page.models import MAX_GUIDANCE, MAX_SEED, Drawing, Models, Wish


def build(models: Models) -> None:
    """The tab."""
    settings = models.config.models.drawing
    with gr.Tab("Edit", id="edit"):
        heading(
            "Drop a film, and say what it should show. Strength is the share of the steps that are drawn "
            "anew: little keeps the film, much follows the prompt."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                before = gr.File(label="Film (PNG, JPEG, TIFF, DICOM ...)", height=120, elem_id="edit-file")
                prompt = gr.Textbox(label="Prompt", value="Severe cardiomegaly.", lines=2)
                strength = gr.Slider(0.1, 1.0, 0.6, step=0.05, label="Strength")
                guidance = gr.Slider(1.0, 15.0, settings.guidance_scale, step=0.5, label="Guidance")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
                button = gr.Button("Edit", variant="primary", elem_id="edit-button")
            with gr.Column(scale=3, min_width=320):
                note = html_place("edit-note")
                slider = html_place("edited")
                films = html_place()

    def edit(
        upload: str | None, text: str, strength: float, guidance: float, seed: float
    ) -> Iterator[dict[Any, Any]]:
        path = given_film(upload, "a film")
        pixels = load_pixels([path], models.image_size)[0]
        wish = Wish(
            (text or "").strip(),
            float(min(guidance, MAX_GUIDANCE)),
            settings.num_inference_steps,
            whole(seed, "Seed"),
            reference=None,
            init_film=path,
            strength=float(strength),
        )
        yield {slider: "", films: ""}
        work: Work[np.ndarray, Drawing] = Work(lambda show: models.draw(wish, show))
        for shown in work.shown():
            yield {slider: pieces.slider(pixels, shown[0])}
        drawing = work.result()
        yield {
            slider: pieces.slider(pixels, drawing.pixels[0]),
            films: pieces.cards(list_cards(drawing)),
            note: pieces.message(drawing.warning, "warning"),
        }

    inputs = [before, prompt, strength, guidance, seed]
    button.click(answering(note, edit), inputs, [note, slider, films], show_progress="minimal", **MODELS)
