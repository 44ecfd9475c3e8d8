"""What the domain CLIP trains on: films and their texts."""

import numpy as np
import torch
from transformers import CLIPImageProcessor, CLIPTokenizer

from data_module.controls import read_controls, table_controls
from data_module.film_store import FilmStore
from data_module.findings import POSITIVE, UNCERTAIN
from data_module.images import to_images
from data_module.pairs import PairsFolder
from data_module.text_columns import text_columns
from vision_module.clip import clip_pixels


class FilmTexts:
    """A film as pixel_values and one of its texts as tokens."""

    def __init__(
        self,
        pairs: PairsFolder,
        columns: tuple[str, ...],
        tokenizer: CLIPTokenizer,
        processor: CLIPImageProcessor,
        with_controls: bool = True,
    ) -> None:
        self.store = FilmStore(pairs.image_paths, processor.crop_size["height"])
        self.processor = processor
        texts = text_columns(pairs, columns)
        self.present = torch.as_tensor(texts != "", dtype=torch.float32)
        tokens = [
            tokenizer(
                list(column),
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            for column in texts.T
        ]
        # Present 1, uncertain 1/2, absent or not mentioned 0.
        labels = pairs.labels
        self.findings = torch.as_tensor((labels == POSITIVE) + 0.5 * (labels == UNCERTAIN)).float()
        # What each text says of sides, grades, sex, view and age, and what the row tells of its film.
        self.controls: tuple[torch.Tensor, torch.Tensor] | None = None
        if with_controls:
            said = np.stack([read_controls(column) for column in texts.T], axis=1)
            self.controls = torch.from_numpy(said), torch.from_numpy(table_controls(pairs.table))
        self.input_ids = torch.stack([t.input_ids for t in tokens], dim=1)
        self.attention_mask = torch.stack([t.attention_mask for t in tokens], dim=1)

    def __len__(self) -> int:
        return len(self.store)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        rows = torch.as_tensor(indices)
        choice = torch.multinomial(self.present[rows], 1, generator=generator).squeeze(1)
        input_ids, attention_mask = self.input_ids[rows, choice], self.attention_mask[rows, choice]
        # The text encoder is causal and pools at the end of the text, so padding past the longest is waste.
        length = int(attention_mask.sum(dim=1).max())
        batch = {
            "pixel_values": clip_pixels(to_images(self.store[indices]), self.processor),
            "input_ids": input_ids[:, :length],
            "attention_mask": attention_mask[:, :length],
            "findings": self.findings[rows],
        }
        if self.controls is not None:
            said, shown = self.controls
            batch |= {"text_controls": said[rows, choice], "film_controls": shown[rows]}
        return batch
