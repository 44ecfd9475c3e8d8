"""One metric, one file: a made-up one reaches results, table, page, comparison and summary; docs are made."""

import ast
import collections
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.scored_folders import write_scored_folders

from evaluation.__main__ import main
from evaluation.metric import Metric, all_metrics, find_metrics, metrics_of, register, unregister
from evaluation.output.glossary import describe_metrics, describe_schema

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"]
MADE_UP = '''
import numpy as np
from data_module.decoding import read_pixels
from evaluation.metric import Figure, Metric


def brightness(films):
    """Mean brightness of each film."""
    sides = [
        np.array([read_pixels(path).mean() for path in side.paths]) for side in (films.synthetic, films.real)
    ]
    each = np.concatenate([sides[0], np.full(len(sides[1]), np.nan)])
    return Figure(float(sides[0].mean()), ceiling=float(sides[1].mean()), each=each)


METRICS = (
    Metric(
        key="brightness",
        title="mean brightness",
        section="films",
        direction="as real",
        range=(0.0, 255.0),
        convention="mean of all pixels, mean over films",
        source="made up",
        needs=("films",),
        compute=brightness,
        ceiling="brightness_real",
        headline=9,
    ),
)
'''


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_scored_folders(tmp_path_factory.mktemp("metric"))


@pytest.fixture
def made_up(tmp_path):
    path = tmp_path / "brightness.py"
    path.write_text(MADE_UP)
    spec = importlib.util.spec_from_file_location("brightness", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    metric = register(module.METRICS[0])
    yield metric
    unregister(metric)


def test_a_made_up_metric_is_everywhere(folders, made_up, tmp_path, capsys):
    flags = ["--real", str(folders / "real"), "--classifier", str(folders / "run"), "--num-bootstrap", "60"]
    for name in ("a", "b"):
        synthetic = ["--synthetic", str(folders / ("synthetic" if name == "a" else "dark"))]
        main(["images", *flags, *synthetic, "--out", str(tmp_path / name)])
    films = json.loads((tmp_path / "a/results.json").read_text())["films"]
    low, high = films["intervals"]["brightness"]
    assert low < films["brightness"] < high
    assert films["brightness"] == pytest.approx(127.5, abs=5.0)
    assert films["brightness_real"] == pytest.approx(127.5, abs=5.0)
    table = (tmp_path / "a/results.md").read_text()
    assert f"| mean brightness | {films['brightness']:.1f} | {low:.1f} to {high:.1f} | – |" in table
    assert "| as real |" in table
    assert "- `films.brightness`: mean of all pixels, mean over films." in table
    assert "mean brightness" in (tmp_path / "a/report.html").read_text()
    main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "c.md")])
    assert "| films.brightness, distance to real |" in (tmp_path / "c.md").read_text()
    entries = json.loads((tmp_path / "c.json").read_text())["figures"]
    entry = next(entry for entry in entries if entry["name"] == "brightness")
    assert entry["verdict"] == "A better"  # b's films are half as bright
    main(["summary", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "s.md")])
    assert "| mean brightness |" in (tmp_path / "s.md").read_text().splitlines()[2]
    assert "### mean brightness: `brightness`" in describe_metrics()


def test_two_metrics_of_one_name_and_unknown_needs_are_refused(made_up):
    with pytest.raises(ValueError, match=r"two metrics are called films\.fid"):
        register(Metric(**{**vars(made_up), "key": "fid"}))
    with pytest.raises(ValueError, match="unknown smell"):
        Metric(**{**vars(made_up), "needs": ("smell",)})
    with pytest.raises(ValueError, match="there is none"):
        find_metrics(["fidd"])
    assert [metric.name for metric in find_metrics(["fid", "reports.bleu_4"])] == [
        "films.fid",
        "reports.bleu_4",
    ]
    assert find_metrics(["pairs"]) == metrics_of("pairs")


def test_docs_are_those_of_the_registry():
    assert (ROOT / "docs/metrics.md").read_text() == describe_metrics()
    assert (ROOT / "docs/results_schema.md").read_text() == describe_schema()


def test_metrics_are_told_whole():
    for metric in all_metrics():
        assert metric.convention, metric.name
        assert not metric.convention.endswith("."), metric.name
        assert metric.source, metric.name
        assert metric.needs, metric.name
        assert metric.range[0] < metric.range[1], metric.name
        assert metric.direction != "as floor" or metric.floor, metric.name
        assert metric.direction != "as real" or metric.ceiling, metric.name


def test_listing_metrics_imports_nothing_heavy():
    for code, heavy in (
        ("from evaluation.metric import all_metrics; all_metrics()", ("torch", "transformers", "bert_score")),
        ("import evaluation", ("numpy", "torch", "tyro")),
    ):
        code = f"import sys; {code}; print([name for name in {heavy} if name in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert done.stdout.strip() == "[]"


def test_public_things_have_one_name():
    """No class or function of evaluation has a namesake in the product, but for scripts' main."""
    places = collections.defaultdict(set)
    for path in sorted(path for room in PACKAGES for path in (ROOT / room).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(path.relative_to(ROOT).as_posix())
    ours = {name: found for name, found in places.items() if any("evaluation/" in path for path in found)}
    assert len(ours) > 150
    twice = {name: found for name, found in ours.items() if len(found) > 1 and name != "main"}
    assert not twice


def test_values_do_not_depend_on_which_metrics_are_asked_for():
    from evaluation.images.inputs import FeatureSets, FilmInputs
    from evaluation.metric import score_metrics

    rng = np.random.default_rng(0)
    sets = FeatureSets(*(rng.normal(size=(40, 5)) for _ in range(3)))
    every = [metric for metric in metrics_of("films") if metric.needs == ("features",)]
    together, _ = score_metrics(every, FilmInputs(3, sets), ("features",))
    for metric in reversed(every):
        alone, _ = score_metrics([metric], FilmInputs(3, sets), ("features",))
        assert alone[metric.key] == together[metric.key]
