"""Reports judged by a language model: what it is asked, and its answers. GREEN and CRIMSON read them."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from evaluation.metric import Figure
from evaluation.reports.inputs import ReportInputs
from runtime.files import read_json, reading

PLACES = ("{reference}", "{candidate}")
_PLACE = re.compile(r"\{(reference|candidate)\}")


class Scored(Protocol):
    """An answer that was read."""

    @property
    def score(self) -> float: ...


Answer = TypeVar("Answer", bound=Scored)
Messages = Sequence[tuple[str, str]]  # (role, content), the content with PLACES


def read_prompt(path: Path | None, own: str, flag: str) -> Messages:
    """The prompt of a file, else our own: text of one message, or chat messages as JSON.

    Raises:
        ValueError: a file of another form, or without the two places for the reports.
    """
    if path is None:
        return [("user", own)]
    if path.suffix == ".json":
        try:
            entries = read_json(path)["messages"]
            messages = [(str(entry["role"]), str(entry["content"])) for entry in entries]
        except (KeyError, TypeError):
            form = '{"messages": [{"role": "user", "content": "..."}]}'
            raise ValueError(f"{flag} {path}: write {form}") from None
    else:
        with reading(path):
            messages = [("user", path.read_text())]
    missing = [place for place in PLACES if not any(place in content for _, content in messages)]
    if missing:
        raise ValueError(f"{flag} {path}: write {' and '.join(missing)} where the report goes")
    return messages


def fill_prompt(messages: Messages, reference: str, candidate: str) -> tuple[tuple[str, str], ...]:
    """The messages with both reports in their places."""
    texts = {"reference": reference, "candidate": candidate}
    return tuple((role, _PLACE.sub(lambda found: texts[found[1]], content)) for role, content in messages)


def score_answers(
    reports: ReportInputs, name: str, own: str, max_tokens: int, parse: Callable[[str], Answer | None]
) -> tuple[Figure, list[Answer]]:
    """The mean score of the answers that `parse` can read, with how many it cannot; and those it can."""
    answers = [parse(answer) for answer in ask_about_reports(reports, name, own, max_tokens)]
    known = [answer for answer in answers if answer is not None]
    each = np.array([np.nan if answer is None else answer.score for answer in answers])
    more = {f"num_{name}_unread": len(answers) - len(known)}
    return Figure(float(np.nanmean(each)) if known else None, each=each, more=more), known


def ask_about_reports(reports: ReportInputs, name: str, own: str, max_tokens: int) -> list[str]:
    """The answer to each pair of reports, by the model of --NAME and the prompt of --NAME-prompt."""
    from evaluation.networks.language_model import ask_cached, open_language_model
    from runtime.devices import resolve_device

    settings = reports.settings
    messages = read_prompt(getattr(settings, f"{name}_prompt"), own, f"--{name}-prompt")
    texts = zip(reports.rexrank_references, reports.generated_reports, strict=True)
    prompts = [fill_prompt(messages, *pair) for pair in texts]
    source, device = getattr(settings, name), resolve_device(settings.device)
    model = open_language_model(source, settings.llm_endpoint, device, max_tokens, f"--{name}")
    return ask_cached(model, prompts, settings.out / "cache", name.upper())
