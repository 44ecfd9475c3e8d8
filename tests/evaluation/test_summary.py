"""Seeds become mean and interval: checked against a hand-worked t-interval."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from data_module.pairs import PairsFolder, write_pairs
from evaluation.__main__ import main
from evaluation.output.side_by_side import (
    match_real,
    open_systems,
    plot_side_by_side,
    shared_prompts,
    short_prompts,
)
from evaluation.output.systems_plot import plot_systems
from evaluation.statistics.seeds import mean_with_interval


def write(folder, auroc, fid, inputs=None, **more):
    folder.mkdir(parents=True)
    result = {"films": {"auroc_mean": auroc, "fid": fid, **more}, "inputs": inputs or {}}
    (folder / "results.json").write_text(json.dumps(result))


def test_interval_by_hand():
    """mean 2, standard deviation 1, t(2, .975) = 4.3027: half-width 4.3027 / sqrt(3)."""
    mean, half = mean_with_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(2.4842, abs=1e-3)


def test_groups_and_paired_differences(tmp_path):
    for seed in range(3):
        write(tmp_path / f"a_{seed}", 0.8 + seed / 10, 10.0)
        write(tmp_path / f"b_{seed}", 0.7 + seed / 10, 12.0)
    folders = [str(path) for path in sorted(tmp_path.iterdir())]
    main(["summary", *folders, "--out", str(tmp_path / "table.md")])
    text = (tmp_path / "table.md").read_text()
    assert "| a | 3 | 0.9000 ± 0.2484 | 10.0000 ± 0.0000 |" in text
    # The seeds differ much, their paired differences not at all.
    assert "| a - b | 3 | 0.1000 ± 0.0000 | -2.0000 ± 0.0000 |" in text


def test_a_folder_takes_another_name_and_two_of_one_name_are_refused(tmp_path):
    write(tmp_path / "results", 0.9, 10.0)
    write(tmp_path / "systems/other", 0.8, 12.0)
    out = ["--out", str(tmp_path / "table.md")]
    main(["summary", f"ours={tmp_path}/results", str(tmp_path / "systems/other"), *out])
    text = (tmp_path / "table.md").read_text()
    assert "| ours | 1 | 0.9000 | 10.0000 |" in text
    assert "| other | 1 |" in text
    with pytest.raises(ValueError, match="is called other too"):
        main(["summary", f"other={tmp_path}/results", str(tmp_path / "systems/other"), *out])


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(ValueError, match="no results"):
        main(["summary", str(tmp_path), "--out", str(tmp_path / "table.md")])


def test_one_run_has_its_interval_over_patients_and_real_films_stand_below(tmp_path):
    for name, floor in (("a", 5.0), ("b", 5.0)):
        more = {"intervals": {"fid": [9.0, 11.5]}, "fid_floor": floor, "auroc_mean_real": 0.99}
        write(tmp_path / name, 0.9, 10.0, **more)
    out = ["--out", str(tmp_path / "table.md")]
    main(["summary", str(tmp_path / "a"), str(tmp_path / "b"), *out])
    text = (tmp_path / "table.md").read_text()
    assert "| a | 1 | 0.9000 | 10.0000 (9.000 to 11.500) |" in text
    assert "| real | | 0.9900 | 5.0000 |" in text
    # Floors of another n do not belong in one row.
    write(tmp_path / "c", 0.9, 10.0, fid_floor=7.0, auroc_mean_real=0.99)
    main(["summary", str(tmp_path / "a"), str(tmp_path / "c"), *out])
    assert "| real | | 0.9900 | |" in (tmp_path / "table.md").read_text()


def test_films_of_the_same_prompts_are_drawn_side_by_side(tmp_path):
    """Three rows, of which the systems share two; a system whose films are gone has no row."""
    for name, second in (("a", "Edema."), ("b", "Fracture."), ("gone", "Edema.")):
        films = tmp_path / "films" / name
        (films / "images").mkdir(parents=True)
        rows = []
        for number, prompt in enumerate(("Normal.", second, "Effusion.")):
            file = f"images/{number}.png"
            Image.fromarray(np.full((16, 16), 40 * number, np.uint8)).save(films / file)
            rows.append(
                {"file_name": file, "report": "", "prompt": prompt, "patient_id": number, "split": "train"}
            )
        write_pairs(films, rows, {}, "card")
        write(tmp_path / "results" / name, 0.9, 10.0, inputs={"films": {"synthetic": str(films)}})
    shutil.rmtree(tmp_path / "films" / "gone")
    results = {name: json.loads((tmp_path / "results" / name / "results.json").read_text()) for name in "ab"}
    folders = open_systems(results)
    assert shared_prompts(list(folders.values())) == [0, 2]
    figure = plot_side_by_side(folders, [0, 2])
    assert [axis.images[0].get_array().mean() for axis in figure.axes] == [0, 80, 0, 80]
    out = tmp_path / "table.md"
    main(["summary", *(str(tmp_path / "results" / name) for name in ("a", "b", "gone")), "--out", str(out)])
    assert Image.open(tmp_path / "table.png").size[0] > 200
    assert "(table.png)" in out.read_text()


def test_the_figures_of_several_systems_are_one_picture(tmp_path):
    """Two systems, one of two seeds: its mean stands in the picture, and what real films reach."""
    for name, auroc, fid in (("ours_0", 0.8, 10.0), ("ours_1", 0.9, 12.0), ("$theirs", 0.7, 20.0)):
        per_finding = {"Edema": auroc, "Fracture": auroc - 0.1}
        more = {"fid_floor": 5.0, "auroc_per_finding": per_finding, "intervals": {"fid": [fid - 1, fid + 1]}}
        write(tmp_path / name, auroc, fid, **more, auroc_per_finding_real={"Edema": 0.99})
    out = tmp_path / "table.md"
    main(["summary", *(str(tmp_path / name) for name in ("ours_0", "ours_1", "$theirs")), "--out", str(out)])
    assert "(table_figures.svg)" in out.read_text()
    assert (tmp_path / "table_figures.pdf").read_bytes().startswith(b"%PDF")
    text = (tmp_path / "table_figures.svg").read_text()
    assert all(words in text for words in ("Edema", "ours", "$theirs", "lower is better", "AUROC"))

    read = {name: json.loads((tmp_path / name / "results.json").read_text()) for name in ("ours_0", "ours_1")}
    figure = plot_systems({"ours": list(read.values())})
    findings, auroc, fid = (axes for axes in figure.axes if axes.get_visible())
    dots = [line.get_xdata() for line in findings.lines if line.get_marker() == "o"]
    assert np.allclose(dots, [[0.85, 0.75]])
    assert [line.get_xdata()[0] for line in fid.lines] == pytest.approx(
        [5.0, 11.0 - 12.706, 11.0], abs=1e-3
    )  # real films, t(1, .975) = 12.706 standard errors below, mean
    assert auroc.get_title() == "mean AUROC"
    assert plot_systems({"nothing": [{}]}) is None


def test_one_system_is_drawn_above_real_films_of_like_findings(tmp_path):
    """Its shortest prompts, one of each kind; beside each the real test film with just those findings."""
    asked = [("with edema", {"Edema": 1}), ("with fracture and edema", {"Edema": 1, "Fracture": 1})]
    asked += [("with edema, as above", {"Edema": 1})]
    real = [("", {"Fracture": 1}), ("", {"Edema": 1, "Fracture": 1}), ("", {"Edema": 1})]
    for name, rows in (("drawn", asked), ("real", real)):
        (tmp_path / name / "images").mkdir(parents=True)
        table = []
        for number, (prompt, labels) in enumerate(rows):
            file = f"images/{number}.png"
            gray = 10 * number + 100 * (name == "real")
            Image.fromarray(np.full((16, 16), gray, np.uint8)).save(tmp_path / name / file)
            row = {
                "file_name": file,
                "report": f"IMPRESSION: {name}.",
                "impression_section": f"{name} {number}",
            }
            table.append({**row, "prompt": prompt, "patient_id": number, "split": "test", **labels})
        write_pairs(tmp_path / name, table, {}, "card")
    inputs = {"synthetic": str(tmp_path / "drawn"), "real": str(tmp_path / "real"), "split": "test"}
    write(tmp_path / "ours", 0.9, 10.0, inputs={"films": inputs})
    out = tmp_path / "table.md"
    main(["summary", str(tmp_path / "ours"), "--out", str(out)])
    assert "(table.png)" in out.read_text()
    folder, held_out = PairsFolder.open(tmp_path / "drawn"), PairsFolder.open(tmp_path / "real")
    assert short_prompts(folder) == [0, 1]
    assert match_real(folder.labels[[0, 1, 0]], held_out) == [2, 1, 2]
    figure = plot_side_by_side({"ours": folder}, [0, 1], held_out, with_reports=True)
    assert [axis.images[0].get_array().mean() for axis in figure.axes] == [0, 10, 120, 110]
    assert [axis.get_xlabel() for axis in figure.axes] == ["drawn 0", "drawn 1", "real 2", "real 1"]
