"""The spectrum of drawn films against that of real ones: a known blur is found, and undone."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import sample_pairs
from data_module.__main__ import main
from data_module.images import read_pixels, to_images, to_pixels
from data_module.pairs import PairsFolder, write_pairs
from data_module.spectrum import BANDS, Spectrum, measure_power

SIDE = 64
MIDDLES = (BANDS[1:] + BANDS[:-1]) / 2


def response(frequency):
    """A blur: half of the amplitude at .25 cycles a pixel."""
    return 1 / (1 + (np.asarray(frequency) / 0.25) ** 2)


def write_films(folder, num, blurred, seed, side=SIDE):
    """Noise of all frequencies around mid gray, the same of a seed; `blurred` by `response`."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    radii = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    rows = []
    for number in range(num):
        film = rng.normal(0.0, 25.0, (side, side))
        if blurred:
            film = np.fft.ifft2(np.fft.fft2(film) * response(radii)).real
        name = f"images/{number}.png"
        Image.fromarray((film + 128).round().clip(0, 255).astype(np.uint8)).save(folder / name)
        rows.append({"file_name": name, "report": "Clear.", "patient_id": str(number), "split": "train"})
    return write_pairs(folder, rows, {"source": "test"}, "# Noise")


@pytest.fixture
def sides(tmp_path):
    return write_films(tmp_path / "drawn", 48, True, 0), write_films(tmp_path / "real", 48, False, 1)


def test_a_known_blur_is_found_and_undone(sides, tmp_path):
    drawn, real = sides
    flags = ["--drawn", str(drawn.root), "--real", str(real.root), "--out", str(tmp_path / "s.json")]
    main(["spectrum", *flags, "--limit", "5"])
    spectrum = Spectrum.load(tmp_path / "s.json")
    bands = (MIDDLES > 0.03) & (MIDDLES < 0.5)
    np.testing.assert_allclose(spectrum.gains[bands] * response(MIDDLES[bands]), 1.0, rtol=0.12)
    assert spectrum.gains[0] == 1.0
    films = to_images(np.stack([read_pixels(path) for path in drawn.image_paths]))
    mended = to_pixels(spectrum.apply(films)).numpy().reshape(-1, SIDE, SIDE)
    for number, film in enumerate(mended):
        Image.fromarray(film).save(drawn.root / f"images/{number}.png")
    power = [measure_power(pairs.image_paths, SIDE) for pairs in (drawn, real)]
    np.testing.assert_allclose(power[0][bands] / power[1][bands], 1.0, rtol=0.15)
    np.testing.assert_allclose(mended.mean(), to_pixels(films).numpy().mean(), atol=0.5)


def test_no_gain_passes_the_limit(sides):
    drawn, real = sides
    gains = Spectrum.measure(drawn, real, "train", 40, 1.5).gains
    assert gains.max() == 1.5
    swapped = Spectrum.measure(real, drawn, "train", 40, 1.5).gains
    assert swapped.min() == pytest.approx(1 / 1.5)


def test_gains_of_one_change_nothing():
    images = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    applied = Spectrum(np.ones(len(MIDDLES)), SIDE).apply(images)
    torch.testing.assert_close(applied, images, rtol=0, atol=1e-5)


def test_a_wave_grows_by_the_gain_of_its_frequency():
    gains = np.linspace(1.0, 2.0, len(MIDDLES))
    wave = 0.2 * torch.cos(2 * np.pi * 0.25 * torch.arange(SIDE)).expand(SIDE, SIDE)
    applied = Spectrum(gains, SIDE).apply(wave[None, None])[0, 0]
    inside = slice(8, -8)
    expected = wave[inside, inside] * float(np.interp(0.25, MIDDLES, gains))
    torch.testing.assert_close(applied[inside, inside], expected, rtol=0, atol=2e-3)


def test_what_cannot_be_measured_or_read_is_named(sides, tmp_path):
    drawn, real = sides
    few = write_films(tmp_path / "few", 5, False, 2)
    with pytest.raises(ValueError, match="--drawn has 5 films to measure: at least 32"):
        Spectrum.measure(few, real, "train", 600, 2.0)
    with pytest.raises(ValueError, match="real has no row of split 'test'"):
        Spectrum.measure(drawn, real, "test", 600, 2.0)
    with pytest.raises(ValueError, match="films of 64 pixels a side does not fit films of 32"):
        Spectrum(np.ones(len(MIDDLES)), SIDE).apply(torch.zeros(1, 1, 32, 32))
    (drawn.root / "provenance.json").write_text(
        json.dumps({"config": {"models": {"drawing": {"spectrum": "s.json"}}}})
    )
    flags = ["--drawn", str(drawn.root), "--real", str(real.root), "--out", str(tmp_path / "s.json")]
    with pytest.raises(ValueError, match="was drawn with a spectrum"):
        main(["spectrum", *flags])
    good = {"size": SIDE, "gains": [1.0] * len(MIDDLES)}
    bad = ({"gains": [1.0]}, {"size": "64"}, {"gains": [None] * 40}, {"gains": [0.0] * 40}, {"size": True})
    for change in bad:
        (tmp_path / "s.json").write_text(json.dumps(good | change))
        with pytest.raises(ValueError, match=r"s\.json: no spectrum of 40 gains"):
            Spectrum.load(tmp_path / "s.json")
    with pytest.raises(ValueError, match="no such file: write it with `python -m data_module spectrum`"):
        Spectrum.load(tmp_path / "none.json")


def test_films_are_drawn_with_it(chain, tmp_path):
    """The film of before through the filter; a folder begun with another spectrum is not gone on with."""
    plain, file = tmp_path / "plain", tmp_path / "s.json"
    Spectrum(np.linspace(1.0, 2.0, len(MIDDLES)), SIDE).save(file, {})
    sample_pairs.main(chain.sample_flags(plain, mixed_precision="no"))
    sample_pairs.main(chain.sample_flags(tmp_path / "sharp", mixed_precision="no", spectrum=file))
    films = [
        np.stack([read_pixels(path) for path in PairsFolder.open(folder).image_paths]).astype(int)
        for folder in (plain, tmp_path / "sharp")
    ]
    expected = to_pixels(Spectrum.load(file).apply(to_images(films[0].astype(np.uint8)))).numpy()
    assert np.abs(films[1] - films[0]).max() > 2
    assert np.abs(films[1] - expected.reshape(films[1].shape)).max() <= 3  # it was rounded to bytes before
    Spectrum(np.ones(len(MIDDLES)), SIDE).save(file, {})
    with pytest.raises(ValueError, match="sampled with spectrum = "):
        sample_pairs.main(chain.sample_flags(tmp_path / "sharp", mixed_precision="no", spectrum=file))
