"""FRD: the distance by hand; features as pyradiomics gives them, where it is installed."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from evaluation.protocol.frd import extract_radiomics, radiomic_distance
from evaluation.protocol.radiomic_features import SETTINGS, describe_film


def table(*rows):
    names = ("original_a", "wavelet_b", "original_same", "diagnostics_size")
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_the_distance_by_hand():
    """In deviations of the real films a is -1, 1 against 1, 3 and b -1, 1 against 1, -1 (of mean 0)."""
    real = table((0.0, 10.0, 5.0, 1.0), (2.0, 14.0, 5.0, 1.0))
    made = table((2.0, 10.0, 6.0, 1.0), (4.0, 14.0, 7.0, 9.0))
    # Means differ by 2 in a; covariances are the same.
    assert radiomic_distance(real, made, False) == pytest.approx(math.log(4.0))
    assert radiomic_distance(real, made, True) == pytest.approx(math.log(4.0))  # a constant size counts not
    real[1]["diagnostics_size"] = 3.0  # now in deviations -1, 1 against -1, 7
    one, many = (radiomic_distance(real, made, diagnostics) for diagnostics in (False, True))
    assert one == pytest.approx(math.log(4.0))
    assert many > one
    # Spread: variances 2 and 8 of the one feature left, (sqrt 8 - sqrt 2)^2 = 2; no mean differs.
    real, made = ([{"original_a": value} for value in side] for side in ((-1.0, 1.0), (-2.0, 2.0)))
    assert radiomic_distance(real, made, False) == pytest.approx(math.log(2.0))


def test_films_without_features_and_sets_of_other_sizes():
    real = table(*((float(n), float(n * n), 0.0, 0.0) for n in range(6)), (math.nan, 1.0, 1.0, 1.0))
    made = table(*((float(n), 3.0 * n, 0.0, 0.0) for n in range(4)))
    assert math.isfinite(radiomic_distance(real, made, False))
    assert radiomic_distance(real, made, False) == radiomic_distance(real, made, False)  # the same draw
    assert radiomic_distance(real, made[:1], False) is None
    assert radiomic_distance(real, [], False) is None


def test_without_pyradiomics_the_flag_says_what_to_install(tmp_path):
    from evaluation.protocol.frd import score_frd

    try:
        import radiomics  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="--frd: pip install pyradiomics-bhklab"):
            score_frd([], [], tmp_path)


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # pyradiomics finds its parts so
def test_features_are_pyradiomics_own(tmp_path):
    pytest.importorskip("radiomics")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(2):
        film = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
        film.resize((64, 48), Image.Resampling.BICUBIC).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    found = describe_film(paths[0])
    names = [name for name in found if not name.startswith("diagnostics")]
    kinds = {name.split("_")[0] for name in names}
    assert {"original", "log-sigma-2-0-mm-2D", "wavelet-L", "wavelet-H"} & kinds >= {"original"}
    assert len(names) > 300
    assert all(isinstance(value, float) for value in found.values())
    assert found["diagnostics_Mask-original_VoxelNum"] == 64 * 48 - 1
    rows = extract_radiomics(paths, tmp_path / "cache", "")
    assert rows[0] == pytest.approx(found)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text(json.dumps([{"original_a": 1.0}, None]))
    assert extract_radiomics(paths, tmp_path / "cache", "") == [{"original_a": 1.0}]  # read, not made again
    assert SETTINGS["setting"]["binWidth"] == 5
