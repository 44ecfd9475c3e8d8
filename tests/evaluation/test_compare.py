"""Two systems: paired where they share items, and honest about chance; and the flip cases."""

import json

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.metric import metrics_of
from evaluation.output.compare import compare_systems
from evaluation.reports.negation import CASES, score_cases
from evaluation.reports.overlap import score_overlap
from evaluation.statistics.items import intervals, load_items, save_items


def _save(folder, wrong: float, seed: int = 0, names: str = "s"):
    """Items of 200 reports of 100 patients, of which the share `wrong` has its labels turned over."""
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 14)) < 0.3).astype(np.float32)
    turned = np.random.default_rng(seed).random(200) < wrong
    texts = ["the heart is normal"] * 200
    items = {
        "name": np.array([f"{names}{i}" for i in range(200)]),
        "patient": np.array([f"p{i // 2}" for i in range(200)]),
        "stratum": np.ones(200, int),
        "truth": truth,
        "guess": np.where(turned[:, None], 1.0 - truth, truth),
        "bleu_counts": score_overlap(texts, texts).bleu_counts,
        "score_rouge_l": 1.0 - turned + rng.normal(scale=0.01, size=200),
    }
    save_items(folder / "items/reports.npz", items)
    return folder


def _figures(out):
    return {entry["name"]: entry for entry in json.loads(out.with_suffix(".json").read_text())["figures"]}


def test_a_better_system_is_found_and_equal_ones_are_not(tmp_path):
    good, bad = _save(tmp_path / "good", 0.1), _save(tmp_path / "bad", 0.4, seed=1)
    text = compare_systems(bad, good, tmp_path / "out.md", num=400)
    figures = _figures(tmp_path / "out.md")
    for name in ("micro_f1_14", "macro_f1_14", "rouge_l"):
        assert figures[name]["verdict"] == "B better"
        assert figures[name]["paired"]
        low, high = figures[name]["interval"]
        assert low < figures[name]["a"] - figures[name]["b"] < high < 0.0
        assert figures[name]["p_holm"] >= figures[name]["p"]
    assert figures["bleu_4"]["verdict"] == "no difference shown"
    assert "| reports.micro_f1_14 |" in text
    compare_systems(good, good, tmp_path / "same.md", num=100)
    assert {e["verdict"] for e in _figures(tmp_path / "same.md").values()} == {"no difference shown"}


def test_shared_items_make_a_comparison_sharper(tmp_path):
    a, b = _save(tmp_path / "a", 0.2), _save(tmp_path / "b", 0.22)  # mostly the same reports are wrong
    other = _save(tmp_path / "other", 0.22, names="else")
    widths = []
    for system in (b, other):
        compare_systems(a, system, tmp_path / "out.md", num=400)
        entry = _figures(tmp_path / "out.md")["micro_f1_14"]
        assert entry["paired"] == (system is b)
        widths.append(np.diff(entry["interval"])[0])
    assert widths[0] < widths[1] / 2


def test_order_of_items_does_not_matter(tmp_path):
    a, b = _save(tmp_path / "a", 0.1), _save(tmp_path / "b", 0.3)
    compare_systems(a, b, tmp_path / "one.md", num=100)
    items = load_items(b / "items/reports.npz")
    order = np.random.default_rng(5).permutation(200)
    save_items(b / "items/reports.npz", {key: values[order] for key, values in items.items()})
    compare_systems(a, b, tmp_path / "two.md", num=100)
    one, two = (_figures(tmp_path / name)["micro_f1_14"] for name in ("one.md", "two.md"))
    assert one["interval"] == pytest.approx(two["interval"])


def test_folders_without_items_are_named(tmp_path):
    with pytest.raises(ValueError, match="hold no section in common"):
        main(["compare", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "out.md")])
    (tmp_path / "items").mkdir()
    (tmp_path / "items/reports.npz").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"reports\.npz cannot be read"):
        main(["compare", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "out.md")])


def test_intervals_hold_the_value(tmp_path):
    items = load_items(_save(tmp_path / "a", 0.2) / "items/reports.npz")
    found = intervals(metrics_of("reports"), items, 200, seed=0)
    low, high = found["micro_f1_14"]
    hits, total = (items["truth"] * items["guess"]).sum(), items["truth"].sum() + items["guess"].sum()
    assert low < 2 * hits / total < high
    assert intervals(metrics_of("reports"), items, 0, seed=0) == {}


def test_only_clinical_figures_notice_a_flipped_negation(tmp_path, capsys):
    table = score_cases().set_index("metric")
    assert table.loc["clinical F1", "noticed"] >= 0.95
    assert table.loc["label agreement", "noticed"] >= 0.95
    for metric in ("BLEU-4", "ROUGE-L", "CIDEr", "clinical-terms F1"):
        assert table.loc[metric, "noticed"] <= 0.1
    main(["negation", "--out", str(tmp_path / "flips.md")])
    assert "| ROUGE-L |" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "flips.json").read_text())) == len(table)
    assert len(CASES.read_text().splitlines()) > 30


def test_items_of_which_an_array_lost_its_name_are_refused(tmp_path):
    path = _save(tmp_path / "a", 0.2) / "items/reports.npz"
    items = load_items(path)
    save_items(path, items)
    assert sorted(load_items(path)) == sorted(items)
    path.write_bytes(path.read_bytes().replace(b"stratum", b"strapum"))
    with pytest.raises(ValueError, match=r"reports.npz cannot be read .*lost its name.*score"):
        load_items(path)
    np.savez_compressed(path, **items)  # as before the names were noted
    assert sorted(load_items(path)) == sorted(items)
