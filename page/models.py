"""The models behind the page, loaded once: what draws, what reads films, what judges them."""

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from data_module.config import name_folder
from data_module.images import load_images, read_pixels, to_images, to_pixels
from data_module.labeler import label_reports
from data_module.labeler.consistency import check_self_denials
from data_module.pairs import PairsFolder
from data_module.sampling_plan import PlannedPair, ReferenceFilms, check_prompts
from data_module.synthetic import Drawn, SyntheticFolder
from evaluation.networks.classifier import FilmClassifier
from language_module.config import DecodingConfig
from page.config import PageConfig
from pipelines.config import WriterConfig
from pipelines.pair_sampler import PairSampler
from pipelines.report_rows import read_films
from pipelines.report_writer import open_report_writer
from runtime.config import flatten, to_dict
from runtime.contents import model_hash
from runtime.files import file_hash
from runtime.generators import make_generator
from runtime.origins import list_origins
from runtime.provenance import provenance_record
from runtime.shards import parse_shard
from vision_module.autoencoder import decode_latents

MAX_FILMS, MAX_STEPS, MAX_GUIDANCE, MAX_SEED = 8, 100, 30.0, 2**31 - 1
DRAFTING = DecodingConfig(method="sample", temperature=0.7)
UPLOADED = "a film of the reader's own"  # in tables: an uploaded file's name may hold a patient's


@dataclass(frozen=True)
class Wish:
    """What is to be drawn.

    Attributes:
        reference: a film, None for text alone, or "same": for each item a film of the same findings.
        reference_name: that film within --data; "" for an uploaded one.
        init_film, strength: a film to edit, and how far (`DrawingConfig`).
    """

    prompt: str
    guidance_scale: float = 3.0
    num_inference_steps: int = 15
    seed: int = 0
    num_films: int = 1
    reference: Path | str | None = "same"
    reference_name: str = ""
    init_film: Path | None = None
    strength: float = 0.8

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise ValueError("nothing to draw: write a prompt")
        for name, value, low, high in (
            ("guidance", self.guidance_scale, 0.0, MAX_GUIDANCE),
            ("steps", self.num_inference_steps, 1, MAX_STEPS),
            ("seed", self.seed, 0, MAX_SEED),
            ("films", self.num_films, 1, MAX_FILMS),
            ("strength", self.strength, 0.0, 1.0),
        ):
            if not low <= value <= high:  # NaN is in no range
                raise ValueError(f"{name} {value}: must be {low} to {high}")


class Judged(NamedTuple):
    """Findings (N, 14) of N pairs, in the order of FINDINGS."""

    asked: np.ndarray  # 1, 0, -1 or NaN
    probabilities: np.ndarray  # of the classifier on the film; NaN: not scored
    seen: np.ndarray  # its decisions: 1, 0 or NaN
    read: np.ndarray  # the labeler's, of the report


@dataclass(frozen=True)
class Drawing:
    """Drawn pairs: films (N, S, S) uint8, reports ("" with --films-only), and what is said of them."""

    wish: Wish
    plan: Sequence[PlannedPair]
    pixels: np.ndarray
    reports: Sequence[str]
    judged: Judged
    warning: str
    command: str
    files: Mapping[str, str]  # hashes of the films that were given


@dataclass(frozen=True)
class Reading:
    """A film that was read: its pixels (H, W), its report, further drafts, and a warning or ""."""

    pixels: np.ndarray
    report: str
    drafts: Sequence[str]
    warning: str
    judged: Judged


class Models:
    """All models of the page; one call at a time goes through them.

    Raises:
        ValueError: a model that is not there, or that does not fit the others.
    """

    def __init__(self, config: PageConfig) -> None:
        self.config, self.lock = config, threading.RLock()
        self.data = PairsFolder.open(config.data)
        self.sampler = PairSampler(config.models, 0)
        self.classifier = FilmClassifier.open(config.classifier, self.sampler.device)
        self.writer = None
        if not config.models.films_only or config.reader:
            reader = config.reader or config.models.prior
            language = "" if config.reader else config.models.language
            writing = WriterConfig(reader, language, config.autoencoder, config.classifier)
            self.writer = open_report_writer(writing, config.data)
        self.decoding = DecodingConfig() if config.reader else config.models.decoding
        self.references = ReferenceFilms(self.data)
        self.hashes = {name: model_hash(folder) for name, folder in self.sampler.models.items()}

    @property
    def image_size(self) -> int:
        """Side S of the films that are drawn."""
        return self.sampler.films.vision.image_size

    def warm_up(self) -> None:
        """Draw and read once, so that the first visitor need not wait for what is set up at first use."""
        wish = Wish("A chest X ray image", num_inference_steps=2, num_films=2)  # as many as the page draws
        self.draw(wish, lambda pixels: None)

    def draw(self, wish: Wish, show: Callable[[np.ndarray], None] | None = None) -> Drawing:
        """Draw what is wished for.

        Args:
            show: is given what the films (N, S, S) uint8 look like after each step.

        Raises:
            ValueError: a prompt that cannot be taken, a film that cannot be read, settings without meaning.
        """
        check_prompts([wish.prompt], ["the prompt"])
        check_self_denials(wish.prompt, "the prompt")
        settings = self.config.models.drawing
        with self.lock:
            prompts = self.sampler.films.vision.prompts
            if not settings.truncate_prompts:
                prompts.check_length([wish.prompt], ["the prompt"])
            drawing = replace(
                settings,
                guidance_scale=float(wish.guidance_scale),
                num_inference_steps=int(wish.num_inference_steps),
                init_film=wish.init_film,
                strength=wish.strength if wish.init_film else settings.strength,
            )
            sampler = self.sampler.with_drawing(drawing, wish.seed)
            plan = self._plan(wish)

            def on_step(latents: torch.Tensor) -> None:
                if show:
                    images = decode_latents(sampler.films.vision.autoencoder, latents)
                    show(to_pixels(images).cpu().numpy())

            pixels, reports = sampler.sample(range(wish.num_films), plan, on_step=on_step)
            unknown = prompts.unknown_words([wish.prompt])
            reports = reports or [""] * len(pixels)
            judged = self.judge(pixels, reports, np.stack([pair.labels for pair in plan]))
        warning = f"words that the text encoder never learned: {', '.join(unknown[:8])}" if unknown else ""
        given = {"reference": wish.reference, "init_film": wish.init_film}
        files = {name: file_hash(path)[:16] for name, path in given.items() if isinstance(path, Path)}
        return Drawing(wish, plan, pixels, reports, judged, warning, self._command(wish), files)

    def _plan(self, wish: Wish) -> list[PlannedPair]:
        labels = label_reports([wish.prompt])[0]
        plan = []
        for item in range(wish.num_films):
            path, name = None, ""
            if wish.reference == "same":
                path, name = self.references.draw(labels, None, wish.seed, item)
            elif isinstance(wish.reference, Path):
                path, name = wish.reference, wish.reference_name or UPLOADED
            plan.append(PlannedPair(wish.prompt, labels, path, name))
        return plan

    def _command(self, wish: Wish) -> str:
        """The command line that draws the same films."""
        models = self.config.models
        flags: list[tuple[str, object]] = [("vision", models.vision), ("data", self.config.data)]
        flags += [] if models.films_only else [("language", models.language), ("prior", models.prior)]
        flags += [("prompt", wish.prompt), ("num-pairs", wish.num_films), ("seed", wish.seed)]
        flags += [("guidance-scale", wish.guidance_scale), ("num-inference-steps", wish.num_inference_steps)]
        if wish.reference and wish.reference != "same":
            flags.append(("reference", wish.reference if wish.reference_name else "FILM"))
        if wish.init_film:
            flags += [("init-film", "FILM"), ("strength", wish.strength)]
        if not models.films_only:
            decoding = models.decoding
            flags += [("method", decoding.method), ("temperature", decoding.temperature)]
            flags += [("num-candidates", decoding.num_candidates), ("choose-by", decoding.choose_by)]
        alone = ["--assemble" if models.decoding.assemble else "--no-assemble"] * (not models.films_only)
        alone += ["--films-only"] * models.films_only + ["--no-reference"] * (wish.reference is None)
        parts = [part for name, value in flags for part in (f"--{name}", shlex.quote(str(value)))]
        return " ".join(["python sample_pairs.py", *parts, *alone])

    def judge(self, pixels: np.ndarray, reports: Sequence[str], asked: np.ndarray | None = None) -> Judged:
        """What the classifier sees on films (N, H, W) uint8, and what the labeler reads in their reports."""
        with self.lock:
            probabilities = self.classifier.predict(to_images(pixels)).cpu().numpy()
        asked = np.full(probabilities.shape, np.nan, np.float32) if asked is None else asked
        return Judged(
            asked, probabilities, self.classifier.decide(probabilities), label_reports(list(reports))
        )

    def read(self, path: Path, num_drafts: int = 3) -> Reading:
        """The report of a film file of any kind, DICOM included, and further drafts of it.

        Raises:
            ValueError: a file that is no film; no model that reads films.
        """
        if self.writer is None:
            raise ValueError("no model that reads films is loaded: start app.py with --reader, or --prior")
        pixels = read_pixels(path)
        with self.lock, torch.inference_mode():
            rows = pd.DataFrame({"path": [path]})
            draws = [[make_generator(0, n, device=self.sampler.device)] for n in range(num_drafts + 1)]
            (result,) = read_films(self.writer, self.decoding, rows, draws[0])
            if result.skipped:
                raise ValueError(result.skipped)
            drafts = [read_films(self.writer, DRAFTING, rows, draw)[0].report for draw in draws[1:]]
            images = load_images([path], self.classifier.image_size)
            judged = self.judge(to_pixels(images).numpy(), [result.report])
        drafts = [draft for draft in dict.fromkeys(drafts) if draft != result.report]
        return Reading(pixels, result.report, drafts, result.warning, judged)

    def save(self, drawing: Drawing) -> Path:
        """Write a drawing as a pairs folder of its own within --out; the same drawing again is found there.

        Raises:
            ValueError: a film of one gray.
        """
        wish, num_films = drawing.wish, drawing.wish.num_films
        # Films count by their content: the names of uploaded ones stay out.
        settings = {**flatten(to_dict(wish)), **drawing.files, "models": self.hashes}
        root = self.config.out / name_folder(wish.prompt, settings)
        with self.lock:
            folder = SyntheticFolder(root, settings, range(num_films), num_films, parse_shard("0/1"))
            if folder.missing():
                reports = None if self.config.models.films_only else drawing.reports
                folder.add(range(num_films), drawing.plan, Drawn(drawing.pixels, reports))
            learned = list_origins({name: str(place) for name, place in self.sampler.models.items()})
            made = {"models": self.hashes, "drawn_by": drawing.command, "learned_from": learned}
            folder.finish({**provenance_record(settings), **made})
        return root
