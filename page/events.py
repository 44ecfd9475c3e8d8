"""How the page answers: bad input as a message, long work as a stream of previews."""

import functools
import inspect
import queue
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import gradio as gr

from data_module.decoding import read_one_film
from page.config import UPLOADS
from page.pieces import message

Updates = dict[Any, Any]  # component -> its new value
Shown = TypeVar("Shown")
Result = TypeVar("Result")
# One call at a time goes through the models; the others wait in gradio's queue.
MODELS: dict[str, Any] = {"concurrency_id": "models", "concurrency_limit": 1, "api_visibility": "private"}
LIGHT: dict[str, Any] = {"concurrency_limit": 4, "api_visibility": "private"}


def explain(error: Exception) -> str:
    """The message of the command line, without the folder in which an upload lies."""
    text = str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    return re.sub(rf"\S*/{UPLOADS}[^/\s]+/(?:[0-9a-f]+/)?", "", text)


def answering(place: gr.HTML, handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler (of updates by component), whose ValueErrors become a message in `place`."""

    @functools.wraps(handler)
    def answer(*inputs: Any) -> Any:
        try:
            return {place: "", **handler(*inputs)}
        except (ValueError, OSError) as error:
            return {place: message(explain(error), "error")}

    @functools.wraps(handler)
    def stream(*inputs: Any) -> Iterator[Any]:
        try:
            yield {place: ""}
            yield from handler(*inputs)
        except (ValueError, OSError) as error:
            yield {place: message(explain(error), "error")}

    return stream if inspect.isgeneratorfunction(handler) else answer


class Work(Generic[Shown, Result]):
    """Work in a thread of its own that shows something as it goes on.

    Args:
        work: is given a function to show with, and returns the result.
    """

    def __init__(self, work: Callable[[Callable[[Shown], None]], Result]) -> None:
        self._shown: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._work = work
        self._end: tuple[str, Any] = ("", None)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._shown.put(("result", self._work(lambda value: self._shown.put(("shown", value)))))
        except Exception as error:
            self._shown.put(("error", error))

    def shown(self) -> Iterator[Shown]:
        """The newest of what has been shown, whenever somebody asks, until the work is done."""
        while True:
            kind, value = self._shown.get()
            while kind == "shown" and not self._shown.empty():
                kind, value = self._shown.get()
            if kind != "shown":
                self._end = (kind, value)
                return
            yield value

    def result(self) -> Result:
        """What the work returned, or its error raised. Call it after `shown` has ended."""
        kind, value = self._end
        if kind == "error":
            raise value
        return value


def given_film(upload: str | None, what: str) -> Path:
    """Path of an uploaded film; ValueError where there is none, or what was dropped is no film, or blank."""
    if not upload:
        raise ValueError(f"drop {what} first")
    read_one_film(Path(upload), what)
    return Path(upload)


def clicked_row(event: gr.EventData) -> Any:
    """What was clicked, as the browser says it: nothing may be taken for granted."""
    return event._data.get("row") if isinstance(event._data, dict) else None


def whole(value: Any, name: str) -> int:
    """A number of a field as int; ValueError for an empty field or a fraction."""
    if value is None or isinstance(value, str) or not float(value).is_integer():  # inf and NaN are none
        raise ValueError(f"{name}: give a whole number")
    return int(value)


CLICK_ROW = """element.addEventListener('click', event => {
  const button = event.target.closest('button[data-row]');
  if (button) trigger('select', {row: Number(button.dataset.row)});
});"""


def html_place(name: str = "", **options: Any) -> gr.HTML:
    """Where HTML of `pieces` is shown, in the page's own style."""
    return gr.HTML(elem_id=name or None, apply_default_css=False, **options)


def heading(text: str) -> gr.HTML:
    """A line of explanation above a tab's fields."""
    return html_place(value=message(text))
