"""Films as images of any depth, color, alpha and orientation: each is read as what it shows."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from helpers.film_files import differ, make_values, png_chunk, to_8_bits, write_png
from PIL import Image

from data_module.decoding import read_resized
from data_module.film_types import Decoding
from data_module.images import FilmError, read_pixels

VALUES = make_values()
GRAY = to_8_bits(VALUES)
OPAQUE = np.full_like(VALUES, 65535)
FLOATS = (VALUES / 4095).astype(np.float32)


@pytest.mark.parametrize("full", [4095, 65535])
@pytest.mark.parametrize(
    "make",
    [
        lambda values: values,
        lambda values: np.dstack([values] * 3),
        lambda values: np.dstack([values, OPAQUE]),
        lambda values: np.dstack([values, values, values, OPAQUE]),
        lambda values: np.dstack([values, OPAQUE // 65535 * 4095]),  # alpha of 12 bits as well
    ],
    ids=["gray", "rgb", "alpha", "rgba", "alpha of 12 bits"],
)
def test_deep_png(tmp_path, make, full):
    values = np.round(VALUES * (full / 4095)).astype(np.uint16)
    path = write_png(tmp_path / "a.png", make(values))
    assert differ(read_pixels(path), GRAY) <= 1
    assert differ(read_resized(path, 64, "squash"), GRAY) <= 1


def test_transparent_parts_lie_on_black_and_set_no_scale(tmp_path):
    values, alpha = VALUES.copy(), OPAQUE.copy()
    values[:8], alpha[:8] = 65535, 0
    expected = GRAY.copy()
    expected[:8] = 0
    assert differ(read_pixels(write_png(tmp_path / "la.png", np.dstack([values, alpha]))), expected) <= 1
    rgba = np.dstack([values, values, values, alpha])
    assert differ(read_pixels(write_png(tmp_path / "rgba.png", rgba)), expected) <= 1
    clear = png_chunk(b"tRNS", struct.pack(">H", 65535))
    assert differ(read_pixels(write_png(tmp_path / "key.png", values, clear)), expected) <= 1
    shallow = Image.fromarray(np.dstack([np.where(alpha > 0, GRAY, 255), alpha >> 8]).astype(np.uint8), "LA")
    shallow.save(tmp_path / "la8.png")
    assert differ(read_pixels(tmp_path / "la8.png"), expected) <= 1


def test_deep_color_is_luminance_and_can_be_refused(tmp_path):
    path = write_png(tmp_path / "a.png", np.dstack([VALUES, VALUES // 2, VALUES // 4]))
    assert differ(read_pixels(path), GRAY * (0.299 + 0.587 / 2 + 0.114 / 4)) <= 1
    with pytest.raises(FilmError, match=r"a\.png: stores color"):
        read_pixels(path, Decoding(color="refuse"))
    gray = write_png(tmp_path / "b.png", np.dstack([VALUES, OPAQUE]))
    assert differ(read_pixels(gray, Decoding(color="refuse")), GRAY) <= 1


def test_gamma_changes_nothing_and_palettes_are_looked_up(tmp_path):
    path = write_png(tmp_path / "a.png", VALUES, png_chunk(b"gAMA", struct.pack(">I", 45455)))
    assert differ(read_pixels(path), GRAY) <= 1
    ramp = Image.fromarray(GRAY).convert("P")
    ramp.putpalette([gray for gray in range(255, -1, -1) for _ in range(3)])
    ramp.save(tmp_path / "palette.png")
    assert differ(read_pixels(tmp_path / "palette.png"), 255 - GRAY) <= 1


TIFFS = {
    "uint16": (VALUES, {}),
    "big endian": (VALUES, {"byteorder": ">"}),
    "BigTIFF": (VALUES, {"bigtiff": True}),
    "WhiteIsZero": (4095 - VALUES, {"photometric": "miniswhite"}),
    "WhiteIsZero of 16 bits": (65535 - VALUES * 16, {"photometric": "miniswhite"}),
    "WhiteIsZero of 8 bits": (255 - GRAY, {"photometric": "miniswhite"}),
    "WhiteIsZero of floats": (1 - FLOATS, {"photometric": "miniswhite"}),
    "WhiteIsZero of int32": (4095 - VALUES.astype(np.int32), {"photometric": "miniswhite"}),
    "int16": (VALUES.astype(np.int16), {}),
    "int32": (VALUES.astype(np.int32), {}),
    "uint32": (VALUES.astype(np.uint32), {}),
    "uint32 beyond int32": (VALUES.astype(np.uint32) * 1_048_000, {}),
    "float16": ((VALUES / 4095).astype(np.float16), {}),
    "float32": (FLOATS, {}),
    "float64": (VALUES / 4095, {}),
    "float64 of integers": (VALUES.astype(np.float64), {}),
    "float, a little above 1": (FLOATS * 1.02, {}),
    "float, a little beyond both": (FLOATS * 1.02 - 0.002, {}),
    "float, 0 to 255.9": (FLOATS * 255.9, {}),
    "12 bits, a little above": ((VALUES * 1.01).astype(np.uint16), {}),
    "zip": (VALUES, {"compression": "zlib", "predictor": True}),
    "lzw": (VALUES, {"compression": "lzw"}),
    "tiles": (VALUES, {"tile": (16, 32), "compression": "zlib"}),
    "rgb": (np.dstack([VALUES] * 3), {"photometric": "rgb"}),
    "planes": (np.stack([VALUES] * 3), {"photometric": "rgb", "planarconfig": "separate"}),
    "alpha": (np.dstack([VALUES, OPAQUE]), {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    "pages": (np.stack([VALUES, VALUES // 9]), {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiff(tmp_path, name):
    values, options = TIFFS[name]
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    assert differ(read_pixels(tmp_path / "a.tif"), GRAY) <= 2


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (np.where(VALUES.max() == VALUES, np.nan, FLOATS).astype(np.float32), "non-finite"),
        (np.where(VALUES.max() == VALUES, np.inf, FLOATS).astype(np.float32), "non-finite"),
        (FLOATS * 2 - 1, "negative"),
        (VALUES.astype(np.int16) - 2000, "negative"),
        (FLOATS * 3, "neither 0..1 nor 0..255"),
        ((FLOATS * 1j).astype(np.complex64), "layout that is not read"),
    ],
)
def test_a_tiff_without_a_scale_is_refused(tmp_path, values, cause):
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(FilmError, match=rf"a\.tif: .*{cause}"):
        read_pixels(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("values", [VALUES, FLOATS.astype(np.float64)])
def test_half_a_tiff_is_refused(tmp_path, values, compression):
    tifffile.imwrite(tmp_path / "a.tif", values, compression=compression)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FilmError, match=r"a\.tif: cannot be decoded"):
        read_pixels(tmp_path / "a.tif")


@pytest.mark.parametrize("num_hot", [1, 4])
@pytest.mark.parametrize("shape", [(64, 64), (300, 300)])
def test_hot_pixels_of_a_16_bit_file_do_not_set_the_scale(tmp_path, num_hot, shape):
    values = make_values(shape[0])
    expected = to_8_bits(values)
    places = [(5, 60), (40, 7), (63, 63), (20, 33)][: num_hot if shape[0] > 64 else 1]
    for place in places:
        values[place] = 65535
    assert differ(read_pixels(write_png(tmp_path / "a.png", values)), expected) <= 4
    tifffile.imwrite(tmp_path / "a.tif", np.where(values == 65535, 50.0, values / 4095).astype(np.float32))
    assert differ(read_pixels(tmp_path / "a.tif"), expected) <= 4


def test_a_bright_marker_is_no_hot_pixel(tmp_path):
    values = VALUES.copy()
    values[10:20, 10:14] = 65535
    pixels = read_pixels(write_png(tmp_path / "a.png", values))
    assert (pixels[10:20, 10:14] == 255).all()
    assert pixels[30:].max() <= 16


def turn(upright, orientation):
    """As a camera stores it: the transposition that Pillow's documentation gives for each value, undone."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(upright)
    return image.transpose(undo[orientation]) if orientation in undo else image


UPRIGHT = np.ascontiguousarray(GRAY[:, :40])


@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9, 77])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_orientation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    turn(UPRIGHT, orientation).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    assert differ(read_pixels(tmp_path / f"a.{suffix}"), UPRIGHT) <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_deep_tiff_and_of_jpeg_at_reduced_scale(tmp_path, orientation):
    stored = np.asarray(turn(UPRIGHT, orientation))
    tag = [(274, "H", 1, orientation, False)]
    tifffile.imwrite(tmp_path / "a.tif", stored.astype(np.uint16) * 257, extratags=tag)
    assert differ(read_pixels(tmp_path / "a.tif"), UPRIGHT) <= 1
    large = np.kron(UPRIGHT, np.ones((8, 8), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn(large, orientation).save(tmp_path / "a.jpg", quality=95, exif=exif)
    Image.fromarray(large).save(tmp_path / "b.jpg", quality=95)
    for resize in ("fit-crop", "pad", "squash"):
        ours, theirs = (read_resized(tmp_path / name, 32, resize).astype(int) for name in ("a.jpg", "b.jpg"))
        assert np.abs(ours - theirs).mean() < 2.5


def test_exif_that_is_damaged_costs_no_film(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "a.jpg", quality=100, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    Image.fromarray(GRAY).save(
        tmp_path / "b.jpg", quality=100, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02"
    )
    for name in ("a.jpg", "b.jpg"):
        assert differ(read_pixels(tmp_path / name), GRAY) <= 3


def test_jpeg_of_inks(tmp_path):
    """CMYK, as Pillow writes it with Adobe's marker: inverted."""
    image = Image.fromarray(GRAY).convert("RGB").convert("CMYK")
    image.save(tmp_path / "a.jpg", quality=100)
    assert differ(read_pixels(tmp_path / "a.jpg"), GRAY) <= 4
    expected = read_resized(write_png(tmp_path / "a.png", VALUES), 16, "squash")
    assert differ(read_resized(tmp_path / "a.jpg", 16, "squash"), expected) <= 6


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("a.jpg", imagecodecs.jpeg_encode(VALUES, level=100, bitspersample=12)),
        ("b.jpg", imagecodecs.jpeg_encode(VALUES, lossless=True, bitspersample=12, predictor=1)),
        ("c.jls", imagecodecs.jpegls_encode(VALUES)),
        ("d.jpg", imagecodecs.jpegls_encode(np.dstack([VALUES] * 3))),
        ("e.j2k", imagecodecs.jpeg2k_encode(VALUES, codecformat="j2k", reversible=True, level=0)),
    ],
)
def test_images_of_one_deep_frame(tmp_path, name, frame):
    (tmp_path / name).write_bytes(bytes(frame))
    assert differ(read_pixels(tmp_path / name), GRAY) <= 2
    (tmp_path / name).write_bytes(bytes(frame)[: len(frame) // 2])
    with pytest.raises(FilmError, match=name):
        read_pixels(tmp_path / name)


def test_formats_that_run_programs_are_not_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(FilmError, match="not an image file"):
        read_pixels(tmp_path / "a.png")


def test_a_multi_picture_jpeg_is_its_first(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(GRAY).save(
        buffer, "MPO", save_all=True, append_images=[Image.fromarray(255 - GRAY)], quality=100
    )
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert differ(read_pixels(tmp_path / "a.jpg"), GRAY) <= 3
