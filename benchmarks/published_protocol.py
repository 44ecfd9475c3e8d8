"""Pairs a second of the published protocol and of ours, on the same weights, side by side in one run.

    OMP_NUM_THREADS=1 python benchmarks/published_protocol.py --students runs/demo/uvit_4 runs/demo/uvit_2

published   PNDM, 50 steps, guidance 7.5, float32; each token of a report drawn from the whole distribution by
            a full pass over all tokens so far, without a cache, to the codec's last token whatever comes;
            a model of flow matching, which PNDM does not know, takes 50 steps of Euler, as many evaluations
ours        sample_pairs.py's demo preset: 8 steps of DPM-Solver++, guidance 3, reports from five drafts
student     the same with a student of distill_diffusion.py, in the evaluations that it was trained for
greedy      ours and students with one greedy report: what the drafts cost

Batches of the same items are drawn, written and noted in turns. Seconds are those of the processor and of the
clock; ratios are over what the published protocol took, medians over the rounds. With --classifier the
folders are then scored: all are of the same prompts, references and noise.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.busy_machine import processor_name
from benchmarks.report_decoding import decode_as_published
from data_module.config import PlanConfig
from data_module.images import to_pixels
from data_module.labeler import label_reports
from data_module.sampling_plan import SamplingPlan
from data_module.synthetic import Drawn, SyntheticFolder
from language_module.config import DecodingConfig
from language_module.tokenizer import normalize_report
from pipelines.pair_sampler import PairSampler
from runtime.files import write_atomic
from runtime.generators import make_generator
from runtime.runs import model_source
from sample_pairs import PRESETS
from vision_module.denoiser_config import DENOISER_RUNS
from vision_module.few_step import FewStep

SEED = 0
SCORES = {
    "films": ("fid", "auroc_mean"),
    "pairs": ("report_vs_prompt_micro_f1_14", "film_report_agreement"),
}
Write = Callable[[torch.Tensor, np.ndarray, list[int]], list[str]]


def make_writers(sampler: PairSampler) -> dict[str, Write]:
    """Latents (B, C, H, W), films (B, S, S) uint8 and their items -> reports, by either protocol."""
    codec, prior = sampler.reader.codec, sampler.reader.prior
    limit = codec.config.max_tokens

    @torch.no_grad()
    def published(latents: torch.Tensor, pixels: np.ndarray, items: list[int]) -> list[str]:
        features = sampler.read_features(latents, pixels)
        embeddings = prior(prior.standardize(features.float()))
        drawn = decode_as_published(codec, embeddings, limit - 1, make_generator(SEED, 3, items[0]))
        return [normalize_report(text) for text in drawn]

    def ours(latents: torch.Tensor, pixels: np.ndarray, items: list[int]) -> list[str]:
        return sampler.write_reports(latents, pixels, [(SEED, 3, item) for item in items])

    return {"published": published, "ours": ours}


def open_ways(arguments: argparse.Namespace) -> dict[str, tuple[PairSampler, Write]]:
    """Name of a way -> its sampler, and what writes its reports."""
    places = {name: str(getattr(arguments, name)) for name in ("vision", "language", "prior")}
    demo = dataclasses.replace(PRESETS["demo"].models, **places)
    base = PairSampler(demo, SEED)
    drawing = PRESETS["paper"].models.drawing
    if isinstance(base.films.vision.scheduler, FlowMatchEulerDiscreteScheduler):
        drawing = dataclasses.replace(drawing, solver="euler")
    paper = base.with_drawing(drawing, SEED)
    ways = {
        "published": (paper, make_writers(paper)["published"]),
        "ours": (base, make_writers(base)["ours"]),
    }
    for folder in arguments.students:
        few_step = FewStep.read(Path(model_source(folder, DENOISER_RUNS, "--students")))
        if few_step is None:
            raise ValueError(f"--students {folder}: not a student of distill_diffusion.py")
        count = few_step.num_evaluations
        drawing = dataclasses.replace(demo.drawing, solver="few-step", num_inference_steps=count)
        student = dataclasses.replace(demo, vision=str(folder), drawing=drawing)
        sampler = PairSampler(student, SEED)
        ways[f"student of {count}"] = (sampler, make_writers(sampler)["ours"])
    for name in [name for name in ways if name != "published"]:
        plain = PairSampler(dataclasses.replace(ways[name][0].config, decoding=DecodingConfig()), SEED)
        ways[f"{name}, greedy"] = (plain, make_writers(plain)["ours"])
    return ways


class Watch:
    """Seconds of the processor and of the clock: stage -> a pair for each round."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[tuple[float, float]]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        processor_s, clock_s = time.process_time(), time.perf_counter()
        yield
        taken = (time.process_time() - processor_s, time.perf_counter() - clock_s)
        self.rounds.setdefault(name, []).append(taken)

    def totals(self, clock: int) -> list[float]:
        """Seconds of each round, by the processor (0) or the clock (1)."""
        return [sum(stage[clock] for stage in stages) for stages in zip(*self.rounds.values(), strict=True)]


def draw_batch(
    sampler: PairSampler,
    write: Write,
    plan: SamplingPlan,
    items: list[int],
    folder: SyntheticFolder,
    watch: Watch,
) -> None:
    """A batch from its plan to the files of its folder."""
    with watch.stage("films"):
        planned = [plan[item] for item in items]
        prompts, references = [pair.prompt for pair in planned], [pair.reference for pair in planned]
        draws = [make_generator(SEED, 2, item) for item in items]
        latents, images = sampler.films.draw(prompts, references, draws)
        pixels = to_pixels(images).cpu().numpy()
    with watch.stage("reports"):
        reports = write(latents, pixels, items)
    with watch.stage("files"):
        folder.add(items, planned, Drawn(pixels, reports))


def summarize(watches: dict[str, Watch], batch_size: int) -> dict[str, dict[str, Any]]:
    """Pairs/s, ratios over the published protocol, and milliseconds of the processor a pair by stage."""
    published, result = watches["published"], {}
    for name, watch in watches.items():
        result[name] = entry = {}
        for clock, unit in enumerate(("processor", "clock")):
            totals = watch.totals(clock)
            ratios = [slow / fast for slow, fast in zip(published.totals(clock), totals, strict=True)]
            entry[f"pairs_per_{unit}_s"] = round(batch_size / statistics.median(totals), 2)
            entry[f"times_published_by_{unit}"] = round(statistics.median(ratios), 2)
        entry["processor_ms_per_pair"] = {
            stage: round(1e3 * statistics.median(taken[0] for taken in rounds) / batch_size, 2)
            for stage, rounds in watch.rounds.items()
        }
    return result


def score(data: Path, folder: Path, classifier: Path) -> dict[str, object]:
    """FID and AUROC of the films, F1 of the reports against the prompts and the films."""
    from evaluation import evaluate

    found = evaluate(data, folder, list(SCORES), classifier=str(classifier), num_bootstrap=200)
    return {
        name: {"value": round(found[section][name], 4), "interval": found[section]["intervals"].get(name)}
        for section, names in SCORES.items()
        for name in names
    }


def main(argv: list[str] | None = None) -> None:
    """Time all ways and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("vision", "language", "prior", "data"):
        place = {"vision": "uvit", "language": "bart"}.get(name, name)
        parser.add_argument(f"--{name}", type=Path, default=Path("runs/demo") / place)
    parser.add_argument("--students", type=Path, nargs="*", default=[], help="runs of distill_diffusion.py")
    parser.add_argument("--classifier", type=Path, help="run of train_classifier.py, to score the pairs with")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=8, help="batches of each way")
    parser.add_argument("--folder", type=Path, default=Path("runs/published_protocol"), help="new; for pairs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/published_protocol.json"))
    arguments = parser.parse_args(argv)
    plan = SamplingPlan(PlanConfig(data=arguments.data), SEED, label_reports)
    ways, size = open_ways(arguments), arguments.batch_size
    items = range(size * arguments.rounds)
    watches = {name: Watch() for name in ways}
    folders = {
        name: SyntheticFolder(
            arguments.folder / name.replace(",", "").replace(" ", "_"),
            {"way": name, "seed": SEED},
            items,
            size,
        )
        for name in ways
    }
    machine = {"processor": processor_name(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    results: dict[str, Any] = {**machine, "batch_size": size}
    for start in items[::size]:
        batch = list(range(start, start + size))
        for name, (sampler, write) in ways.items():
            draw_batch(sampler, write, plan, batch, folders[name], watches[name])
        results |= {"rounds": start // size + 1, "ways": summarize(watches, size)}
        save(results, arguments.out)
    results["scored_pairs"] = len(items) if arguments.classifier else 0
    for name, folder in folders.items():
        folder.finish({"command": "benchmarks/published_protocol.py"})
        if arguments.classifier:
            results["ways"][name]["scores"] = score(arguments.data, folder.root, arguments.classifier)
            save(results, arguments.out)
    print(json.dumps(results, indent=2))


def save(results: dict[str, Any], out: Path) -> None:
    """Write what is known so far: the published protocol takes its time."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
