"""Edits of films: a film and two texts -> the film under the second one, and its report."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from data_module.contact_sheet import draw_edit_sheet
from data_module.film_files import write_film
from data_module.findings import FINDINGS
from data_module.images import to_images, to_pixels
from data_module.pairs import PairsFolder, write_pairs
from data_module.sections import split_sections
from pipelines.config import SamplerConfig
from pipelines.pair_sampler import PairSampler
from runtime.generators import make_generator
from vision_module.autoencoder import decode_latents, encode_films
from vision_module.config import DrawingConfig
from vision_module.editing import Guide, invert, make_levels, redraw, shrink_mask
from vision_module.editing_config import EditingConfig
from vision_module.film_sampler import check_latents

LEAST_KNOWN = 0.5  # of a film's variance

CARD = """# Edited chest films

{num} films that a generative model (PairCXR) drew from other films under another text (`edited_text` in the
place of `original_text`). **Not for clinical use**, and not of the patient whose film they were made from.

`edited_from` names the film before the edit, `reconstruction` what the autoencoder alone makes of it, `mask`
where the film could change (no name: everywhere). `provenance.json` says with which models and settings.
"""


@dataclass(frozen=True)
class PlannedEdit:
    """One edit: the film (S, S) uint8, its text before and after, where it may change (S, S) bool (None:
    everywhere), its report where it is known, and what else its row is to say."""

    film: np.ndarray
    before: str
    after: str
    mask: np.ndarray | None = None
    report: str = ""
    row: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EditedFilms:
    """Of B edits: films after and as the autoencoder alone gives them (B, S, S) uint8, and the reports."""

    films: np.ndarray
    reconstructions: np.ndarray
    reports: list[str]
    original_reports: list[str]


class FilmEditor:
    """The models of a run, and the calls from a film and two texts to the edited film and its report.

    Args:
        seed: of the noise; item i draws from (seed, i) alone.

    Raises:
        ValueError: a model that is not there, or a student, which knows no levels of noise but its own.
    """

    def __init__(self, models: SamplerConfig, editing: EditingConfig, seed: int) -> None:
        self.editing, self.seed = editing, seed
        drawing = DrawingConfig(mixed_precision=editing.mixed_precision)
        self.sampler = PairSampler(models.with_drawing(drawing), seed)
        self.vision, self.device = self.sampler.films.vision, self.sampler.device
        if self.vision.few_step:
            raise ValueError(f"--vision {models.vision}: a student cannot be inverted; edit with its teacher")
        self.levels = make_levels(self.vision.scheduler, editing.num_inference_steps, editing.strength)

    @property
    def image_size(self) -> int:
        """Side in pixels of the films."""
        return self.vision.image_size

    @torch.no_grad()
    def warn_of_unknown(self, film: np.ndarray, name: str) -> None:
        """Say so on standard error where the autoencoder does not give a film (S, S) uint8 back."""
        images = to_images(film[None]).to(self.device)
        with self.sampler.films.autocast():
            latents = encode_films(self.vision.autoencoder, images)[0].float()
            again = decode_latents(self.vision.autoencoder, latents).mean(dim=1, keepdim=True).float()
        known = 1.0 - float(functional.mse_loss(again, images) / images.var())
        if known < LEAST_KNOWN:
            print(
                f"warning: {name}: the autoencoder gives back {max(known, 0.0):.0%} of its variance, of "
                "films that it knows nearly all: is it a chest film?",
                file=sys.stderr,
            )

    @torch.no_grad()
    def edit(self, items: Sequence[int], plan: Sequence[PlannedEdit]) -> EditedFilms:
        """The edits of these items."""
        vision = self.vision
        images = to_images(np.stack([edit.film for edit in plan])).to(self.device)
        shape = (len(self.levels.timesteps), *vision.latent_shape)
        draws = [torch.randn(shape, generator=make_generator(self.seed, 2, item)) for item in items]
        everywhere = np.ones(plan[0].film.shape, bool)
        masks = np.stack([everywhere if edit.mask is None else edit.mask for edit in plan])
        mask = shrink_mask(torch.from_numpy(masks), shape[-1]).to(self.device)
        with self.sampler.films.autocast():
            latents = encode_films(vision.autoencoder, images)[0].float()
            before, after = (
                Guide(
                    vision.prompts.encode(texts, None),
                    vision.prompts.null_context(),
                    self.editing.guidance_scale,
                )
                for texts in ([edit.before for edit in plan], [edit.after for edit in plan])
            )
            model = vision.denoiser, vision.scheduler
            inversion = invert(
                *model, latents, torch.stack(draws, dim=1).to(self.device), self.levels, before
            )
            edited = check_latents(redraw(*model, inversion, after, mask))
            films, reconstructions = (
                to_pixels(decode_latents(vision.autoencoder, part)).cpu().numpy()
                for part in (edited, latents)
            )
        reports, originals = [""] * len(plan), [edit.report for edit in plan]
        if not self.sampler.config.films_only:
            write = self.sampler.write_reports
            reports = write(edited, films, [(self.seed, 3, item) for item in items])
            if not all(originals):
                written = write(latents, reconstructions, [(self.seed, 4, item) for item in items])
                originals = [told or new for told, new in zip(originals, written, strict=True)]
        return EditedFilms(films, reconstructions, reports, originals)


def write_edits(
    out: Path, plan: Sequence[PlannedEdit], editor: FilmEditor, batch_size: int, provenance: dict[str, Any]
) -> PairsFolder:
    """Edit all films, and write the pairs folder and its contact sheet."""
    rows, shown = [], []
    for items, edited in _edit_in_batches(plan, editor, batch_size):
        for place, item in enumerate(items):
            edit, film = plan[item], edited.films[place]
            rows.append(_write_item(out, item, edit, edited, place))
            difference = np.abs(film.astype(int) - edit.film).astype(np.uint8)
            shown.append((rows[-1].get("edit") or edit.after, [edit.film, film, difference]))
    pairs = write_pairs(out, rows, provenance, CARD.format(num=len(rows)))
    draw_edit_sheet(shown, ("before", "after", "difference"), out / "contact_sheet.png")
    return pairs


def _edit_in_batches(
    plan: Sequence[PlannedEdit], editor: FilmEditor, batch_size: int
) -> Iterator[tuple[list[int], EditedFilms]]:
    """Batches on a fixed grid; the last is padded with its last item, so that all have one shape."""
    for start in tqdm(range(0, len(plan), batch_size), desc="editing", unit="batch"):
        items = list(range(start, min(start + batch_size, len(plan))))
        full = items + [items[-1]] * (batch_size - len(items))
        yield items, editor.edit(full, [plan[item] for item in full])


def _write_item(out: Path, item: int, edit: PlannedEdit, edited: EditedFilms, place: int) -> dict[str, Any]:
    """Write the films of an item; returns its row."""
    name = f"{item:08d}.png"
    films = {
        "file_name": (f"images/{name}", edited.films[place]),
        "edited_from": (f"originals/{name}", edit.film),
        "reconstruction": (f"reconstructions/{name}", edited.reconstructions[place]),
    }
    if edit.mask is not None:
        films["mask"] = (f"masks/{name}", edit.mask.astype(np.uint8) * 255)
    for path, pixels in films.values():
        write_film(out / path, pixels)
    findings_section, impression_section = split_sections(edited.reports[place])
    return {
        "patient_id": f"edited-{item:08d}",
        "study_id": f"edited-{item:08d}",
        **edit.row,
        "split": "test",
        **{column: path for column, (path, _) in films.items()},
        "report": edited.reports[place],
        "findings_section": findings_section,
        "impression_section": impression_section,
        "prompt": edit.after,
        "original_text": edit.before,
        "edited_text": edit.after,
        "original_report": edited.original_reports[place],
        "seed": None,
        "source": "paircxr edit",
    }


def label_row(codes: np.ndarray) -> dict[str, int]:
    """(14,) certainties as the cells of a row."""
    return {name: int(code) for name, code in zip(FINDINGS, codes, strict=True) if not np.isnan(code)}
