import struct
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
import torch
from helpers.film_files import png_chunk, write_dicom
from PIL import Image

from data_module.decoding import read_resized
from data_module.film_types import WINDOWS, Decoding
from data_module.gray import equalize
from data_module.images import (
    RESIZERS,
    FilmError,
    fit_crop,
    load_images,
    pad,
    read_pixels,
    squash,
    to_images,
    to_pixels,
)

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def save(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options) if mode else Image.fromarray(array).save(
        path, **options
    )
    return path


def test_eight_bits_pass_unchanged(tmp_path):
    assert (read_pixels(save(tmp_path / "a.png", RAMP)) == RAMP).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_depth_is_the_films_own(tmp_path, bits, suffix):
    values = np.round(RAMP * ((2**bits - 1) / 255)).astype(np.uint16)
    assert (read_pixels(save(tmp_path / f"a.{suffix}", values)) == RAMP).all()


def test_a_dim_twelve_bit_film_keeps_its_exposure(tmp_path):
    values = np.full((4, 4), 1500, dtype=np.uint16)
    values[0, 0] = 2047
    assert read_pixels(save(tmp_path / "a.png", values))[1, 1] == round(1500 / 4095 * 255)


def test_float_films(tmp_path):
    assert (read_pixels(save(tmp_path / "a.tif", RAMP.astype(np.float32) / 255)) == RAMP).all()
    save(tmp_path / "b.tif", np.full((4, 4), np.nan, dtype=np.float32))
    with pytest.raises(FilmError, match="non-finite"):
        read_pixels(tmp_path / "b.tif")


def test_color_alpha_and_palette(tmp_path):
    gray = np.stack([RAMP] * 3, axis=-1)
    assert (read_pixels(save(tmp_path / "rgb.png", gray)) == RAMP).all()
    opaque = np.dstack([gray, np.full((16, 16), 255, dtype=np.uint8)])
    assert (read_pixels(save(tmp_path / "rgba.png", opaque)) == RAMP).all()
    clear = np.dstack([np.full_like(gray, 255), np.zeros((16, 16), dtype=np.uint8)])
    assert (read_pixels(save(tmp_path / "clear.png", clear)) == 0).all()
    Image.fromarray(RAMP).convert("P").save(tmp_path / "p.png")
    assert (read_pixels(tmp_path / "p.png") == RAMP).all()


def png_that_claims(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(10_000, 9_000), (100_000, 100_000)])
def test_decompression_bombs_are_refused(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png_that_claims(*size))
    with pytest.raises(FilmError, match=r"bomb\.png"):
        read_pixels(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "0 bytes"),
        ("note.png", b"a patient with cough", "not an image"),
        ("empty.dcm", b"", "DICOM"),
        ("note.dcm", b"a patient with cough" * 20, "DICOM"),
    ],
)
def test_what_is_no_film_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FilmError, match=message) as error:
        read_pixels(tmp_path / name)
    assert name in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FilmError, match="no such file"):
        read_pixels(tmp_path / "a.png")
    with pytest.raises(FilmError, match="no such file"):
        read_pixels(tmp_path / "a.dcm")
    with pytest.raises(FilmError):
        read_pixels(tmp_path)


def test_dicom_stretches_to_eight_bits(tmp_path):
    stored = 1000 + RAMP.astype(np.uint16) * 10
    assert (read_pixels(write_dicom(tmp_path / "a.dcm", stored)) == RAMP).all()
    # The magic number counts, not the name.
    assert (read_pixels(write_dicom(tmp_path / "film", stored)) == RAMP).all()


def test_dicom_monochrome1_is_inverted(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP.astype(np.uint16), photometric="MONOCHROME1")
    assert (read_pixels(path) == 255 - RAMP).all()


def test_dicom_window_and_rescale(tmp_path):
    stored = RAMP.astype(np.uint16) * 16
    path = write_dicom(
        tmp_path / "a.dcm", stored, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=4000, WindowWidth=2000
    )
    # PS3.3, C.11.2.1.2.1: linear between center -+ half the width.
    values = stored * 2.0 - 100
    expected = np.clip((values - (4000 - 0.5)) / (2000 - 1) + 0.5, 0, 1) * 255
    assert np.abs(read_pixels(path) - expected).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_padding_is_black_and_does_not_set_the_scale(tmp_path, photometric):
    stored = 1000 + RAMP.astype(np.uint16)
    stored[0] = 4095
    path = write_dicom(tmp_path / "a.dcm", stored, photometric=photometric, PixelPaddingValue=4095)
    pixels = read_pixels(path)
    assert (pixels[0] == 0).all()
    assert pixels[1:].min() == 0
    assert pixels[1:].max() == 255


def test_dicom_that_is_no_film(tmp_path):
    frames = np.zeros((2, 8, 8), dtype=np.uint16)
    with pytest.raises(FilmError, match="2 frames"):
        read_pixels(write_dicom(tmp_path / "a.dcm", frames, NumberOfFrames=2))
    path = write_dicom(tmp_path / "b.dcm", frames[0], Rows=60_000, Columns=60_000)
    with pytest.raises(FilmError, match="at most 80,000,000 pixels"):
        read_pixels(path)


def test_a_deflated_dicom_is_not_unpacked(tmp_path):
    """60 MB of zeros in 60 kB, with and without the preamble, as pydicom reads both."""
    path = write_dicom(tmp_path / "a.dcm", RAMP.astype(np.uint16), PixelData=bytes(60_000_000))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    packed = path.read_bytes()
    assert len(packed) < 100_000
    for content in (packed, packed[132:]):
        path.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(FilmError, match="deflated DICOM"):
            read_pixels(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5_000_000


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about the length
def test_a_dicom_of_more_pixels_than_it_says_is_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP.astype(np.uint16), PixelData=bytes(16 * 16 * 2 * 3))
    with pytest.raises(FilmError, match="more pixels than its 16 x 16"):
        read_pixels(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about the damage
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "dcm"])
def test_damage_never_shows_as_a_traceback(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "dcm":
        write_dicom(path, RAMP.astype(np.uint16) * 16)
    else:
        save(path, RAMP)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    num_refused = 0
    for trial in range(120):
        damaged = bytearray(whole)
        if trial % 2:
            damaged = damaged[: random.integers(len(whole))]
        else:
            for place in random.integers(min(len(whole), 400), size=4):
                damaged[place] = random.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            pixels = read_pixels(path)
            assert pixels.ndim == 2
            assert pixels.dtype == np.uint8
        except FilmError as error:
            assert path.name in str(error)  # noqa: PT017
            num_refused += 1
    assert num_refused > 50


@pytest.mark.parametrize("resize", RESIZERS)
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (7, 7), (1, 300), (32, 33), (32, 32)])
def test_every_resize_gives_the_size(resize, shape):
    pixels = RESIZERS[resize](np.full(shape, 90, dtype=np.uint8), 32)
    assert pixels.shape == (32, 32)
    assert pixels.dtype == np.uint8
    assert set(np.unique(pixels)) <= {0, 90}
    assert (0 in pixels) == (resize == "pad" and shape[0] != shape[1])


def test_a_crop_alone_is_exact():
    film = np.random.default_rng(0).integers(256, size=(32, 45), dtype=np.uint8)
    assert (fit_crop(film, 32) == film[:, 6:38]).all()


def test_pad_is_centered():
    padded = pad(np.full((10, 20), 7, dtype=np.uint8), 20)
    assert (padded[5:15] == 7).all()
    assert padded[:5].max() == padded[15:].max() == 0


def test_pixels_and_images_are_inverse():
    pixels = np.stack([RAMP, RAMP[::-1]])
    images = to_images(pixels)
    assert images.shape == (2, 1, 16, 16)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (-1.0, 1.0)
    assert (to_pixels(images).numpy() == pixels).all()
    assert to_pixels(torch.tensor([-3.0, 3.0]).reshape(1, 1, 1, 2)).tolist() == [[[0, 255]]]


def test_load_images_keeps_the_order(tmp_path):
    paths = [save(tmp_path / f"{gray}.png", np.full((9, 9), gray, dtype=np.uint8)) for gray in (0, 51, 255)]
    assert load_images(paths, 4)[:, 0, 0, 0].tolist() == pytest.approx([-1.0, -0.6, 1.0])


def make_film(height=612, width=508):
    """A smooth film with edges and grain, (height, width) uint8."""
    y, x = np.mgrid[:height, :width] / height
    film = 120 + 60 * np.sin(9 * x) * np.cos(7 * y) + 30 * ((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.04)
    grain = np.random.default_rng(0).normal(0, 3, size=film.shape)
    return (film + grain).clip(0, 255).astype(np.uint8)


def psnr(first, second):
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-12))


@pytest.mark.parametrize("resize", RESIZERS)
@pytest.mark.parametrize("shape", [(612, 508), (508, 611), (513, 517)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_at_reduced_scale_is_the_same_film(tmp_path, resize, shape, mode):
    """Against Pillow alone, which decodes all of it and resizes without shortcuts."""
    image = Image.fromarray(make_film(*shape)).convert(mode)
    image.save(tmp_path / "a.jpg", quality=95)
    ours = read_resized(tmp_path / "a.jpg", 64, resize)
    with Image.open(tmp_path / "a.jpg") as whole:
        theirs = RESIZERS[resize](np.asarray(whole.convert("L")), 64)
    assert ours.shape == (64, 64)
    assert psnr(ours, theirs) >= 40


def test_a_truncated_jpeg_is_refused_at_every_scale(tmp_path):
    save(tmp_path / "a.jpg", make_film(), quality=95)
    whole = (tmp_path / "a.jpg").read_bytes()
    for part in (0.1, 0.5, 0.9):
        (tmp_path / "a.jpg").write_bytes(whole[: int(len(whole) * part)])
        for size in (32, 64, 256, 508):
            with pytest.raises(FilmError, match=r"a\.jpg: cannot be decoded .*truncated"):
                read_resized(tmp_path / "a.jpg", size, "fit-crop")


def test_equalized_histograms_are_opencvs():
    """Known answer, worked by hand from equalizeHist's definition: 255 (c - 2) / (8 - 2), rounded."""
    film = np.array([[10, 10, 20, 20], [20, 30, 200, 200]], dtype=np.uint8)
    expected = np.array([[0, 0, 128, 128], [128, 170, 255, 255]], dtype=np.uint8)
    assert (equalize(film) == expected).all()
    flat = np.full((4, 4), 77, dtype=np.uint8)
    assert (equalize(flat) == flat).all()


def test_equalizing_spreads_the_whole_film(tmp_path):
    dim = (make_film() // 4).astype(np.uint8)
    path = save(tmp_path / "a.png", dim)
    equal = read_pixels(path, Decoding(equalize=True))
    shares = np.histogram(equal, bins=4, range=(0, 256))[0] / equal.size
    assert shares.min() > 0.15
    assert (read_resized(path, 64, "squash", Decoding(equalize=True)) == squash(equal, 64)).all()


def test_dicom_windows(tmp_path):
    stored = np.tile(np.arange(400, dtype=np.uint16), (50, 1)) + 100
    stored[0, :4] = 4095  # hot pixels
    path = write_dicom(tmp_path / "a.dcm", stored, WindowCenter=300, WindowWidth=100)
    voi, percentile, minmax = (read_pixels(path, Decoding(window=name))[1] for name in WINDOWS)
    assert (voi == 0).sum() > 100
    assert (voi == 255).sum() > 100
    # The recipe of MIMIC-CXR-JPG: subtract the lowest, divide by the highest, truncate.
    assert (minmax == (np.arange(400) * (255 / 3995)).astype(np.uint8)).all()
    assert percentile.min() == 0
    assert percentile.max() == 255
    assert np.abs(np.diff(percentile.astype(int))).max() <= 1


def test_color_can_be_refused(tmp_path):
    gray = save(tmp_path / "gray.png", RAMP)
    assert (read_pixels(gray, Decoding(color="refuse")) == RAMP).all()
    deep = save(tmp_path / "deep.png", RAMP.astype(np.uint16) * 257)
    assert (read_pixels(deep, Decoding(color="refuse")) == RAMP).all()
    for name in ("rgb.png", "rgb.jpg"):
        with pytest.raises(FilmError, match="stores color"):
            read_pixels(save(tmp_path / name, np.stack([RAMP] * 3, -1)), Decoding(color="refuse"))
    color = np.stack([RAMP, RAMP, RAMP], axis=-1)
    path = write_dicom(
        tmp_path / "a.dcm",
        color,
        photometric="RGB",
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        Rows=16,
        Columns=16,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=color.tobytes(),
    )
    assert (read_pixels(path) == RAMP).all()
    with pytest.raises(FilmError, match="in color"):
        read_pixels(path, Decoding(color="refuse"))


def test_no_word_of_the_patient_is_said(tmp_path, recwarn, caplog, capsys):
    """Damaged headers make pydicom talk; what it says may hold nothing of the patient."""
    stored = RAMP.astype(np.uint16)
    about = {"PatientName": "Secret^Name", "PatientComments": "secret note", "PatientBirthDate": "secret"}
    path = write_dicom(tmp_path / "a.dcm", stored, **about)
    assert read_pixels(path).shape == (16, 16)
    whole = path.read_bytes()
    for cut in range(150, len(whole), 23):
        path.write_bytes(whole[:cut])
        try:
            read_pixels(path)
        except FilmError as error:
            assert "ecret" not in str(error)  # noqa: PT017
    said = " ".join([*(str(w.message) for w in recwarn), caplog.text, *capsys.readouterr()])
    assert "ecret" not in said
