"""Scores of films, reports and pairs: `evaluate(...)` here, `python -m evaluation` on the command line."""

from typing import Any


def evaluate(
    real: Any, synthetic: Any = None, metrics: Any = None, *, cache: Any = None, **settings: Any
) -> dict[str, Any]:
    """Score synthetic data against real data: the command's code, and the command's numbers.

        evaluate("data", "synthetic", classifier="runs/classifier")["films"]["fid"]
        evaluate(real_reports, generated_reports, metrics=["micro_f1_14", "bleu_4"])["reports"]["bleu_4"]

    Args:
        real, synthetic: each a path (pairs folder, folder of films, CSV of reports), a `PairsFolder`, films
            as uint8 (N, H, W) or a list of PIL images, a `datasets.Dataset`, features as float (N, D), or a
            list of texts. Lists of texts are real reports and the generated report of each.
        metrics: names such as "fid", "films.fid", or a section ("reports"); by default all that the inputs
            and settings allow. `python -m evaluation metrics` lists them.
        cache: folder that keeps film features and a language model's answers from call to call; by default
            they are not kept.
        settings: the flags of `python -m evaluation all` with underscores: classifier, features, clip,
            labeler, reports, captions, split, num_bootstrap, seed, device ...

    Returns:
        What results.json holds: section -> figures, with `intervals`; conventions, inputs, versions.

    Raises:
        ValueError: names the argument that is wrong, or what a metric lacks.
    """
    from evaluation.call import evaluate_data  # late: importing this package takes no time

    return evaluate_data(real, synthetic, metrics, cache, settings)
