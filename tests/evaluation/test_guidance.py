"""The guidance curve: scales from what the films' folder records, else from the results folder's name."""

import json

import pytest

from evaluation.images.guidance import make_rows, read_guidance, read_points
from evaluation.output.plots import plot_guidance
from experiments import plot_guidance as script
from runtime.figures import to_bytes


def _write(folder, auroc, fid, real="r", **used):
    films = {"fid": fid, "fid_floor": 5.0, "auroc_mean": auroc, "auroc_mean_real": 0.98, "num_fidelity": 100}
    films["intervals"] = {"fid": [fid - 1.0, fid + 1.0]}
    record = {"films": films, "inputs": {"films": {"real_hash": real, **used}}}
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(record))
    return folder


def test_the_scale_is_read_off_provenance(tmp_path):
    record = {"config": {"drawing": {"guidance_scale": 3.0, "guidance_interval": [0.2, 0.8]}, "seed": 0}}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    assert read_guidance(tmp_path) == {"guidance_scale": 3.0, "guidance_interval": [0.2, 0.8]}
    assert read_guidance(tmp_path / "nowhere") == {}


def test_points_are_sorted_into_curves(tmp_path):
    folders = [
        _write(tmp_path / "a", 0.9, 12.0, guidance_scale=4.0, guidance_interval=[0.0, 1.0]),
        _write(tmp_path / "b_7", 0.8, 10.0, guidance_scale=2.0),  # what is recorded counts
        _write(tmp_path / "c", 0.85, 11.0, guidance_scale=2.0, guidance_interval=[0.2, 0.8]),
        _write(tmp_path / "theirs_1.5", None, 13.0),
    ]
    points = read_points(folders)
    assert [(point["curve"], point["scale"]) for point in points] == [
        ("all noise levels", 2.0),
        ("all noise levels", 4.0),
        ("noise levels 0.2 to 0.8", 2.0),
        ("theirs", 1.5),
    ]
    assert make_rows(points)[-2:] == [
        ["theirs", "1.5", "100", "–", "13.000"],
        ["real films", "", "", "0.980", "5.000"],
    ]
    picture = to_bytes(plot_guidance(points), "svg").decode()
    for text in ("AUROC", "FID", "theirs", "noise levels 0.2 to 0.8", "real films"):
        assert text in picture
    script.main([*map(str, folders), "--out", str(tmp_path / "out")])
    assert "| all noise levels | 4 | 100 | 0.900 | 12.000 |" in (tmp_path / "out/guidance.md").read_text()
    assert (tmp_path / "out/guidance.png").stat().st_size > 5000


def test_what_does_not_compare_is_named(tmp_path):
    one, other = _write(tmp_path / "x_1", 0.9, 10.0), _write(tmp_path / "x_2", 0.9, 10.0, real="other")
    with pytest.raises(ValueError, match="their real_hash differs"):
        read_points([one, other])
    with pytest.raises(ValueError, match="guidance scale is not known"):
        read_points([_write(tmp_path / "named", 0.9, 10.0)])
    with pytest.raises(ValueError, match=r"no results\.json"):
        read_points([tmp_path / "gone_3"])
    (tmp_path / "x_1/results.json").write_text('{"reports": {}}')
    with pytest.raises(ValueError, match="has no films"):
        read_points([one])
