"""The page put together: its tabs, and what all of them share."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from data_module.pairs import PairsFolder
from page import edit, read
from page.browse import BrowseTab
from page.compare import CompareTab
from page.draw import DrawTab
from page.events import html_place
from page.folders import Folders
from page.models import Models
from page.pieces import message

TITLE = "PairCXR"
CACHE = (600, 3600)  # seconds: uploads older than the second are deleted, looked for every so many
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]  # of the system: none is loaded
STYLE = Path(__file__).with_name("style.css")


def make_theme() -> gr.themes.Base:
    """Plain and gray, with one warm color."""
    mono = ["ui-monospace", "Consolas", "monospace"]
    return gr.themes.Base(primary_hue=gr.themes.colors.orange, font=_FONTS, font_mono=mono)


def build_page(models: Models, others: Sequence[PairsFolder]) -> gr.Blocks:
    """The page over loaded models, and folders beside --data."""
    config = models.config
    folders = Folders(models.data, others, models.classifier, models.lock)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CACHE) as page:
        note = message("Chest films and reports from text. Not for clinical use.")
        html_place(value=f"<h1>{TITLE}</h1>{note}")
        mine = gr.State([])
        with gr.Tabs():  # what is no tab may not stand here: gradio counts a tab's place among all that do
            DrawTab(models, folders, mine)
            edit.build(models)
            if models.writer is not None:
                read.build(models)
            BrowseTab(models, folders, mine)
            CompareTab(folders, mine, config.out / "votes.csv")
    page.queue(max_size=64, api_open=False)
    return page
