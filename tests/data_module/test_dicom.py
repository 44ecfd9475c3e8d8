"""DICOM films with wrong, odd or missing elements: each is read as what it shows, or refused by cause."""

import numpy as np
import pydicom
import pytest
from helpers.film_files import differ, make_values, to_8_bits, write_dicom
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from data_module.decoding import read_resized
from data_module.film_types import Decoding
from data_module.images import FilmError, read_pixels

VALUES = make_values()
GRAY = to_8_bits(VALUES)
SIGNED = VALUES.astype(np.int16) - 2048
IN_12 = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}
pytestmark = pytest.mark.filterwarnings("ignore::data_module.film_types.FilmWarning", "ignore::UserWarning")


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 0, "WindowWidth": 1},
        {"WindowCenter": -9000, "WindowWidth": 100},
        {"WindowCenter": 60000, "WindowWidth": 4096},
        {"WindowCenter": 2048, "WindowWidth": -4096},
        {"WindowCenter": 2048, "WindowWidth": ""},
        {"WindowCenter": 2048},
        {"WindowCenter": b"text", "WindowWidth": b"text"},
        {"WindowCenter": [2047.5, 0], "WindowWidth": [0, 1]},
        {"WindowCenter": [0, 2047.5], "WindowWidth": [1, 4096]},
        {"WindowCenter": 2047.5, "WindowWidth": 4096, "VOILUTFunction": "UNHEARD_OF"},
        {"VOILUTSequence": []},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": 0, "RescaleIntercept": -1024},
        {"RescaleSlope": "", "RescaleIntercept": ""},
        {"RescaleSlope": 2, "RescaleIntercept": ""},
        {"RescaleSlope": 2},
        {"RescaleSlope": b"text", "RescaleIntercept": b"text"},
        {"RescaleSlope": b"nan ", "RescaleIntercept": b"inf "},
        {"ModalityLUTSequence": []},
        {"PixelAspectRatio": [0, 0]},
        {"PixelAspectRatio": [1, 1000]},
        {"PixelSpacing": [0.143, 0.1430001]},
        {"PixelSpacing": b"text"},
        {"NumberOfFrames": ""},
        {"NumberOfFrames": b"one "},
        {"BitsStored": None},
        {"HighBit": None},
        {"PixelRepresentation": None},
        {"BitsStored": 0, "HighBit": 0},
        {"BitsStored": 200, "HighBit": 199},
        {"BitsStored": 8, "HighBit": 7},
        {"HighBit": 15},
        {"PixelPaddingValue": ""},
        {"PhotometricInterpretation": "monochrome2 "},
    ],
    ids=str,
)
def test_an_optional_element_that_makes_no_sense_costs_no_film(tmp_path, tags):
    assert differ(read_pixels(write_dicom(tmp_path / "a.dcm", VALUES, **tags)), GRAY) <= 1


@pytest.mark.parametrize("low", [0, 2, 4])
def test_bits_stored_above_the_lowest(tmp_path, low):
    """12 bits from bit `low` on, with other bits below and above."""
    noise = np.random.default_rng(0).integers(0, 2**low, VALUES.shape, dtype=np.uint16) if low else 0
    path = write_dicom(tmp_path / "a.dcm", (VALUES << low) | noise, HighBit=11 + low)
    assert differ(read_pixels(path), GRAY) <= 1


def test_overlays_within_the_pixels_are_no_part_of_them(tmp_path):
    overlay = np.zeros_like(VALUES)
    overlay[20:30, 20:30] = 1 << 14
    path = write_dicom(tmp_path / "a.dcm", VALUES | overlay)
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 14)
    dataset.save_as(path)
    assert differ(read_pixels(path), GRAY) <= 1


@pytest.mark.parametrize(
    ("stored", "tags"),
    [
        (SIGNED, IN_12),
        (SIGNED & 0x0FFF, IN_12),  # without the sign in the upper four bits
        (SIGNED, {**IN_12, "BitsStored": 16, "HighBit": 15}),
        (SIGNED * 8, IN_12),  # BitsStored is wrong
    ],
)
def test_signed_films(tmp_path, stored, tags):
    assert differ(read_pixels(write_dicom(tmp_path / "a.dcm", stored, **tags)), GRAY) <= 1


@pytest.mark.parametrize(
    ("padding", "tags"),
    [
        (-2000, {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}),
        (-32768, {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}),
        (-2048, IN_12),
        (63536, {"BitsStored": 16, "HighBit": 15}),
        (0xF830, {}),  # beyond BitsStored
    ],
)
def test_padding_of_either_sign_by_either_vr(tmp_path, padding, tags):
    """Padding that lies in the pixels as 16 bits is found, whether the tag holds it signed or unsigned."""
    signed = tags.get("PixelRepresentation") == 1
    stored = (VALUES // 2).astype(np.int32) - (1000 if signed else 0)
    stored[:8] = padding
    path = write_dicom(tmp_path / "a.dcm", stored.astype(np.int16 if signed else np.uint16), **tags)
    dataset = pydicom.dcmread(path)
    wrong = "US" if signed else "SS"
    value = padding % 2**16 if signed else (padding + 2**15) % 2**16 - 2**15
    dataset.add_new("PixelPaddingValue", wrong, value)
    dataset.save_as(path)
    half = VALUES // 2
    inside = half[8:].astype(float)
    expected = np.round((inside - inside.min()) * 255 / np.ptp(inside))
    pixels = read_pixels(path)
    assert (pixels[:8] == 0).all()
    assert differ(pixels[8:], expected) <= 1


def test_a_range_of_padding(tmp_path):
    stored = 1000 + VALUES // 2
    stored[:4], stored[4:8] = 10, 17
    path = write_dicom(tmp_path / "a.dcm", stored, PixelPaddingValue=10, PixelPaddingRangeLimit=20)
    inside = stored[8:].astype(float)
    pixels = read_pixels(path)
    assert (pixels[:8] == 0).all()
    assert differ(pixels[8:], np.round((inside - inside.min()) * 255 / np.ptp(inside))) <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_against_pydicom(tmp_path, photometric, function):
    tags = {"WindowCenter": 1800, "WindowWidth": 1500, "VOILUTFunction": function}
    path = write_dicom(tmp_path / "a.dcm", VALUES, photometric, **tags, RescaleSlope=2, RescaleIntercept=-9)
    dataset = pydicom.dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    expected = (shown - shown.min()) * 255 / np.ptp(shown)
    assert differ(read_pixels(path), np.round(255 - expected if photometric[-1] == "1" else expected)) <= 1


def make_lut(entries, first=0, bits=16, num=None):
    item = pydicom.Dataset()
    item.add_new(
        "LUTDescriptor", "SS" if first < 0 else "US", [len(entries) if num is None else num, first, bits]
    )
    item.add_new("LUTData", "OW", np.asarray(entries, "<u1" if bits == 8 else "<u2").tobytes())
    return item


CURVE = (np.linspace(0, 1, 4096) ** 2 * 65535).astype(np.uint16)


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("bits", [8, 16])
def test_luts(tmp_path, keyword, bits):
    """A LUT of 4,096 entries, of 8 bits and of 16: a square."""
    entries = CURVE >> 8 if bits == 8 else CURVE
    path = write_dicom(tmp_path / "a.dcm", VALUES, **{keyword: [make_lut(entries, bits=bits)]})
    assert differ(read_pixels(path), np.round((VALUES / 4095) ** 2 * 255)) <= 1


def test_a_lut_that_begins_below_0(tmp_path):
    lut = make_lut(CURVE, first=-2048)
    path = write_dicom(tmp_path / "a.dcm", SIGNED, ModalityLUTSequence=[lut], **IN_12)
    assert differ(read_pixels(path), np.round((VALUES / 4095) ** 2 * 255)) <= 1
    lut.add_new("LUTDescriptor", "US", [4096, 2**16 - 2048, 16])  # written as unsigned
    path = write_dicom(tmp_path / "b.dcm", SIGNED, ModalityLUTSequence=[lut], **IN_12)
    assert differ(read_pixels(path), np.round((VALUES / 4095) ** 2 * 255)) <= 1


@pytest.mark.parametrize(
    "lut",
    [
        pydicom.Dataset(),
        make_lut([], num=4096),
        make_lut([7] * 4096),  # shows nothing
        make_lut(CURVE, first=50_000),  # of other values
    ],
)
def test_a_broken_lut_gives_way_to_the_window(tmp_path, lut):
    path = write_dicom(tmp_path / "a.dcm", VALUES, VOILUTSequence=[lut], WindowCenter=1000, WindowWidth=2001)
    expected = np.round((VALUES.astype(float) - 999.5 + 1000).clip(0, 2000) * 255 / 2000)
    assert differ(read_pixels(path), expected) <= 1
    path = write_dicom(tmp_path / "b.dcm", VALUES, VOILUTSequence=[lut])
    assert differ(read_pixels(path), GRAY) <= 1


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelAspectRatio": [1, 2]},
        {"PixelSpacing": [0.1, 0.2]},
        {"ImagerPixelSpacing": [0.1, 0.2], "PixelAspectRatio": [1, 1]},
    ],
)
@pytest.mark.parametrize("wide", [True, False])
def test_pixels_that_are_not_square(tmp_path, tags, wide):
    """A film of which every second column, or row, was stored."""
    film = make_values(128)
    stored = film[:, ::2] if wide else film[::2]
    tags = {name: pair if wide else pair[::-1] for name, pair in tags.items()}
    path = write_dicom(tmp_path / "a.dcm", stored, **tags)
    assert read_pixels(path).shape == (128, 128)
    expected = read_resized(write_dicom(tmp_path / "whole.dcm", film), 64, "pad")
    assert np.abs(read_resized(path, 64, "pad").astype(int) - expected).mean() < 2.5


def palette_of(ramps, bits=8, first=0):
    tags = {}
    for color, ramp in zip(("Red", "Green", "Blue"), ramps, strict=True):
        tags[f"{color}PaletteColorLookupTableDescriptor"] = [len(ramp) % 2**16, first, bits]
        tags[f"{color}PaletteColorLookupTableData"] = np.asarray(ramp, f"<u{bits // 8}").tobytes()
    return tags


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["ramp", "inverse", "shifted"])
def test_a_palette_of_grays(tmp_path, bits, kind):
    ramp = np.arange(256) * (257 if bits == 16 else 1)
    ramp, stored, first = {
        "ramp": (ramp, GRAY, 0),
        "inverse": (ramp[::-1], 255 - GRAY, 0),
        "shifted": (ramp, GRAY.astype(np.uint16) + 300, 300),
    }[kind]
    path = write_dicom(
        *(tmp_path / "a.dcm", stored.astype(np.uint16), "PALETTE COLOR", 16),
        **palette_of([ramp] * 3, bits, first),
    )
    assert differ(read_pixels(path), GRAY) <= 1
    assert differ(read_pixels(path, Decoding(color="refuse")), GRAY) <= 1


def test_a_palette_of_colors_is_color(tmp_path):
    ramp = np.arange(256)
    path = write_dicom(
        *(tmp_path / "a.dcm", GRAY.astype(np.uint16), "PALETTE COLOR", 16),
        **palette_of([ramp, ramp * 0, ramp * 0]),
    )
    assert differ(read_pixels(path), np.round(GRAY * 0.299)) <= 1
    with pytest.raises(FilmError, match="--color refuse"):
        read_pixels(path, Decoding(color="refuse"))


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("bits", [8, 12])
def test_color_by_plane_or_by_pixel(tmp_path, planar, bits):
    values = (GRAY if bits == 8 else VALUES).astype("<u1" if bits == 8 else "<u2")
    stored = np.stack([values, values // 2, values // 4], axis=0 if planar else -1)
    path = write_dicom(
        *(tmp_path / "a.dcm", VALUES, "RGB", bits),
        SamplesPerPixel=3,
        PlanarConfiguration=planar,
        BitsAllocated=8 if bits == 8 else 16,
        PixelData=stored.tobytes(),
    )
    assert differ(read_pixels(path), GRAY * (0.299 + 0.587 / 2 + 0.114 / 4)) <= 2


@pytest.mark.parametrize("value", [65535, 0])
def test_one_hot_or_dead_pixel_does_not_set_the_scale(tmp_path, value):
    stored = VALUES // 8 + 30_000
    expected = read_pixels(write_dicom(tmp_path / "whole.dcm", stored, bits=16))
    stored[40, 50] = value
    assert differ(read_pixels(write_dicom(tmp_path / "hot.dcm", stored, bits=16)), expected) <= 2


def test_32_bits(tmp_path):
    stored = VALUES.astype("<u4") * 100_000
    path = write_dicom(
        *(tmp_path / "a.dcm", VALUES),
        BitsAllocated=32,
        bits=32,
        PixelData=stored.tobytes(),
        PixelPaddingValue=0,
    )
    assert differ(read_pixels(path), GRAY) <= 1


@pytest.mark.parametrize(
    ("tags", "cause"),
    [
        ({"PhotometricInterpretation": "SECRETNAME"}, "PhotometricInterpretation is missing or unknown"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation is missing or unknown"),
        ({"PhotometricInterpretation": "RGB"}, "does not go with its SamplesPerPixel"),
        ({"Rows": None}, "Rows is missing"),
        ({"Columns": None}, "Columns is missing or no number"),
        ({"BitsAllocated": 12}, "BitsAllocated is none of"),
        ({"PixelData": bytes(100)}, "cut short"),
        ({"PixelData": None}, "without an image"),
        ({"NumberOfFrames": 3}, "3 frames"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_named_without_what_the_file_says(tmp_path, tags, cause):
    path = write_dicom(tmp_path / "a.dcm", VALUES, **tags, PatientName="SECRETNAME")
    with pytest.raises(FilmError, match=rf"a\.dcm.*{cause}") as refused:
        read_pixels(path)
    assert "SECRETNAME" not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


def test_what_is_left_out_is_said_once_without_the_film(tmp_path):
    with pytest.warns(UserWarning, match="window or VOI LUT that shows nothing of the film") as said:
        read_pixels(write_dicom(tmp_path / "a.dcm", VALUES, WindowCenter=0, WindowWidth=1))
    assert not any("a.dcm" in str(warning.message) for warning in said)
