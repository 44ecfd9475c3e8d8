"""What is too good to be true is said; what cannot be said is left out; what is left out is named."""

import json

import numpy as np
import pytest
from helpers.scored_folders import write_random_pairs, write_scored_folders
from PIL import Image

from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder, write_pairs
from evaluation.__main__ import main
from evaluation.commands import Images
from evaluation.images.per_finding import MIN_FOR_KID, compare_findings
from evaluation.output.plots import plot_curves
from evaluation.pairs.retrieval import retrieve
from evaluation.run import run_sections
from evaluation.statistics.items import load_items, save_items

SIDE = 32


def _smooth(rng: np.random.Generator) -> np.ndarray:
    """A film of a few coarse shades: films of different draws differ."""
    coarse = rng.integers(40, 216, (8, 8)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _write(folder, films, split_of, prefix):
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, film in enumerate(films):
        Image.fromarray(film).save(folder / f"images/{number}.png")
        rows.append(
            {
                "file_name": f"images/{number}.png",
                "report": "",
                "prompt": "Edema." if number % 2 else "Normal.",
                "patient_id": f"{prefix}{number}",
                "split": split_of(number),
                "Edema": float(number % 2),
            }
        )
    return write_pairs(folder, rows, {}, "# test")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real films; a `thief` that alters test films a little; an `honest` one that draws its own."""
    root = write_scored_folders(tmp_path_factory.mktemp("suspicion"))
    rng = np.random.default_rng(0)
    films = [_smooth(rng) for _ in range(160)]
    _write(root / "films", films, lambda n: "test" if n < 60 else "train", "p")
    altered = [np.clip(film.astype(int) + rng.integers(-6, 7, film.shape), 0, 255) for film in films[:60]]
    _write(root / "thief", [film.astype(np.uint8) for film in altered], lambda n: "test", "t")
    _write(root / "honest", [_smooth(rng) for _ in range(60)], lambda n: "test", "h")
    return root


def _score(folders, name, command="images"):
    flags = ["--real", str(folders / "films"), "--synthetic", str(folders / name)]
    flags += ["--classifier", str(folders / "run"), "--out", str(folders / f"out_{name}")]
    main([command, *flags, "--num-bootstrap", "100"])
    return json.loads((folders / f"out_{name}/results.json").read_text())


def test_a_figure_better_than_its_floor_is_warned_of(folders, capsys):
    films = _score(folders, "thief")["films"]
    assert films["fid"] < films["fid_floor"]
    (warning, *_) = films["warnings"]
    assert warning.startswith("FID")
    assert "better than its floor" in warning
    assert "films: warning: FID" in capsys.readouterr().err
    assert f"Warning: {warning}" in (folders / "out_thief/results.md").read_text()
    assert "better than its floor" in (folders / "out_thief/report.html").read_text()
    assert "warnings" not in _score(folders, "honest")["films"]


@pytest.mark.slow
def test_near_copies_of_held_out_films_are_found(folders, capsys):
    privacy = _score(folders, "thief", "privacy")["privacy"]
    assert privacy["num_flagged"] == 0  # no training film was copied
    assert privacy["held_out"]["num_flagged"] == 60
    nearest = privacy["held_out"]["nearest"][0]
    assert nearest["film"] == nearest["held_out_film"]  # they have the same names here
    assert "60 synthetic films are near-copies of films of split test" in privacy["warnings"][0]
    assert "near-copies" in capsys.readouterr().err
    assert "Near-copies of held-out films" in (folders / "out_thief/report.html").read_text()
    honest = _score(folders, "honest", "privacy")["privacy"]
    assert honest["held_out"]["num_flagged"] == 0
    assert "warnings" not in honest


def test_kid_of_a_finding_needs_enough_films():
    rng = np.random.default_rng(0)
    labels = {key: np.zeros((MIN_FOR_KID + 20, 14), np.float32) for key in ("synthetic", "real", "floor")}
    features = {key: rng.normal(size=(MIN_FOR_KID + 20, 4)) for key in labels}
    for table in labels.values():
        table[:MIN_FOR_KID, FINDINGS.index("Edema")] = 1.0
        table[:20, FINDINGS.index("Fracture")] = 1.0
    figures, _ = compare_findings(labels, features, rng)
    assert figures["Fracture"]["kid"] is figures["Fracture"]["kid_floor"] is None
    assert figures["Fracture"]["fid"] > 0.0
    assert abs(figures["Edema"]["kid"]) < 1.0


def test_curves_are_drawn_of_every_scored_finding():
    rng = np.random.default_rng(0)
    labels = (rng.random((80, 14)) < 0.4).astype(np.float32)
    items = {
        "labels": labels,
        "probabilities": rng.random((80, 14)),
        "policy": np.array(["ignore", "negative"]),
        "stratum": np.repeat([0, 1], 40),
    }
    for scored in (FINDINGS, FINDINGS[2:5]):
        figure = plot_curves(items, scored)
        shown = {axes.get_title() for axes in figure.axes}
        assert shown == {*scored, "calibration"}
        told = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
        assert [name for name in FINDINGS if name in told] == [
            name for name in FINDINGS if name not in scored
        ]


def test_comparison_takes_targets_in_and_names_what_it_leaves_out(folders, tmp_path):
    for name in ("thief", "honest"):
        _score(folders, name)
    out = tmp_path / "compare.md"
    main(["compare", str(folders / "out_thief"), str(folders / "out_honest"), "--out", str(out)])
    record = json.loads(out.with_suffix(".json").read_text())
    found = {entry["name"]: entry for entry in record["figures"]}
    films = json.loads((folders / "out_thief/results.json").read_text())["films"]
    for name, target in (("coverage", "coverage_floor"), ("vendi", "vendi_real"), ("ssim", "ssim_real")):
        assert found[name]["a"] == pytest.approx(abs(films[name] - films[target]), abs=1e-6), name
        assert found[name]["target"] == target.rpartition("_")[2]
    assert {"reports", "pairs"} <= set(record["left_out"])
    assert record["left_out"]["reports"].startswith("A and B hold no items of it")
    assert "Not compared:" in out.read_text()
    main(["compare", str(folders / "out_thief"), str(folders / "out_thief"), "--out", str(out)])
    same = json.loads(out.with_suffix(".json").read_text())["figures"]
    assert {entry["a"] - entry["b"] for entry in same} == {0.0}
    assert {entry["verdict"] for entry in same} == {"no difference shown"}


def test_a_system_nearer_to_its_target_is_better(tmp_path):
    """SSIM of A's pairs is real films', B's is far above, which is less diverse: A is better."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 100, (150, 2))
    for name, mean in (("a", 0.5), ("b", 0.8)):
        items = {
            "name": np.array([f"{i}" for i in range(200)]),
            "patient": np.array([f"p{i}" for i in range(200)]),
            "stratum": np.repeat([0, 1], 100),
        }
        for end, start, value in (("", 0, mean), ("_real", 100, 0.5)):
            items[f"ssim_pairs{end}"] = pairs + start
            items[f"ssim_values{end}"] = rng.normal(value, 0.05, 150)
        save_items(tmp_path / name / "items/films.npz", items)
    main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out.md")])
    (entry,) = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert entry["verdict"] == "A better"
    assert entry["b"] == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("suffix", [".tex", ".csv"])
def test_tables_are_written_as_their_name_says(folders, tmp_path, suffix):
    _score(folders, "honest")
    out = tmp_path / f"table{suffix}"
    for name, flags in (
        ("summary", [f"a_1={folders}/out_honest", f"b={folders}/out_honest"]),
        ("compare", [f"{folders}/out_honest", f"{folders}/out_honest"]),
    ):
        main([name, *flags, "--out", str(out)])
        text = out.read_text()
        assert "| " not in text
        assert text.startswith((r"\begin{tabular}", "%") if suffix == ".tex" else (",n,", "figure,A,B"))
        films = json.loads((folders / "out_honest/results.json").read_text())["films"]
        shown = films["kid"] * 1000 if name == "summary" else films["kid"]  # as results.md shows it
        assert f"{shown:.4f}" in text
    with pytest.raises(ValueError, match=r"must end with \.md, \.tex, \.csv"):
        main(["summary", str(folders / "out_honest"), "--out", str(tmp_path / "table.txt")])
    assert not (tmp_path / "table.txt").exists()


def test_every_table_of_a_run_in_other_formats(folders, tmp_path):
    flags = ["--real", str(folders / "films"), "--synthetic", str(folders / "honest")]
    flags += ["--classifier", str(folders / "run"), "--out", str(tmp_path), "--num-bootstrap", "0"]
    main(["images", *flags, "--format", "latex", "csv"])
    assert (tmp_path / "results.tex").read_text().count(r"\begin{tabular}") == 4
    tables = sorted(path.name for path in (tmp_path / "tables").iterdir())
    assert tables == ["films_1.csv", "films_2.csv", "films_3.csv", "films_4.csv"]
    assert (
        (tmp_path / "tables/films_1.csv")
        .read_text()
        .startswith(",value,95% interval,floor,real,better\nFID,")
    )


def test_the_default_device_is_resolved_also_without_the_command(folders, tmp_path):
    settings = Images(
        folders / "films", tmp_path, folders / "honest", classifier=str(folders / "run"), num_bootstrap=0
    )
    assert settings.device == "auto"
    assert run_sections(settings, ("films",))["films"]["num_fidelity"] == 60
    with pytest.raises(ValueError, match="--device warp"):
        run_sections(Images(**{**vars(settings), "device": "warp"}), ("films",))


def test_retrieval_by_hand():
    """Four items: own target nearest for the first two, second nearest for the third, last for the fourth."""
    targets = np.eye(4)
    queries = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0.9, 0.8, 0], [0.3, 0.2, 0.1, 0]], float)
    hits = retrieve(queries, targets, np.random.default_rng(0), 4, (1, 2, 3))
    assert [hits[k].tolist() for k in (1, 2, 3)] == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    same = retrieve(queries, np.ones((4, 4)), np.random.default_rng(0), 4, (1,))
    assert same[1].tolist() == [0.25] * 4  # all tie: the expected hit
    queries[0] = np.nan
    assert np.isnan(retrieve(queries, targets, np.random.default_rng(0), 4, (1,))[1]).all()  # no full pool


def test_items_of_unreadable_files_are_named(tmp_path):
    folder = write_random_pairs(tmp_path / "one", 4, 0)
    assert isinstance(folder, PairsFolder)
    with pytest.raises(ValueError, match="cannot be read"):
        load_items(tmp_path / "none.npz")
