"""The text of an item in training: one of its columns, or a few of its sentences, drawn anew each time."""

from collections.abc import Callable

import numpy as np
import torch

from data_module.sentences import split_sentences


class ItemTexts:
    """Draws a text for each row.

    Args:
        fields: (N, F) str, the text columns; "" where one is empty, no row all empty.
        num_sentences: 0 draws a whole column, with equal chances among those that are not empty; else up to
            this many sentences of all columns, in a random order (MONAI's chest X-ray LDM).
        count_tokens: text -> its tokens; with `num_sentences`, later sentences that do not fit are left out.
        max_tokens: what fits.
    """

    def __init__(
        self,
        fields: np.ndarray,
        num_sentences: int = 0,
        count_tokens: Callable[[str], int] = len,
        max_tokens: int = 0,
    ) -> None:
        self.num_sentences, self.count_tokens, self.max_tokens = num_sentences, count_tokens, max_tokens
        if num_sentences:
            self.choices = [[part for field in row for part in split_sentences(field)] for row in fields]
        else:
            self.choices = [[field for field in row if field] for row in fields]

    def draw(self, rows: np.ndarray, generator: torch.Generator) -> list[str]:
        """One text for each of these rows."""
        return [self._draw_one(self.choices[row], generator) for row in rows]

    def _draw_one(self, choices: list[str], generator: torch.Generator) -> str:
        order = torch.randperm(len(choices), generator=generator).tolist()
        if not self.num_sentences:
            return choices[order[0]]
        most = min(self.num_sentences, len(choices))
        count = int(torch.randint(1, most + 1, (), generator=generator))
        text = choices[order[0]]
        for place in order[1:count]:
            longer = f"{text} {choices[place]}"
            if self.count_tokens(longer) > self.max_tokens:
                break
            text = longer
        return text
