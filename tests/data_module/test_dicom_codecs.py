"""DICOM films by codec and transfer syntax: compressed, plain, told rightly, wrongly or not at all."""

import struct

import imagecodecs
import numpy as np
import pydicom
import pytest
from helpers.film_files import differ, make_values, to_8_bits, write_dicom
from pydicom.pixels import get_encoder

from data_module.images import FilmError, read_pixels

VALUES = make_values()
GRAY = to_8_bits(VALUES)
pytestmark = pytest.mark.filterwarnings("ignore::data_module.film_types.FilmWarning", "ignore::UserWarning")


def encode(kind, values):
    encoders = {
        "baseline": lambda: imagecodecs.jpeg_encode(to_8_bits(values), level=100),
        "extended": lambda: imagecodecs.jpeg_encode(values, level=100, bitspersample=12),
        "lossless": lambda: imagecodecs.jpeg_encode(values, lossless=True, bitspersample=12, predictor=1),
        "lossless6": lambda: imagecodecs.jpeg_encode(values, lossless=True, bitspersample=12, predictor=6),
        "jpegls": lambda: imagecodecs.jpegls_encode(values),
        "j2k": lambda: imagecodecs.jpeg2k_encode(
            values, codecformat="j2k", reversible=True, level=0, bitspersample=12
        ),
        "htj2k": lambda: imagecodecs.htj2k_encode(values, reversible=True),
    }
    return bytes(encoders[kind]())


def encode_rle(values):
    layout = {"rows": values.shape[0], "columns": values.shape[1], "samples_per_pixel": 1}
    layout |= {"number_of_frames": 1, "bits_allocated": 16, "bits_stored": 12, "pixel_representation": 0}
    encoder = get_encoder(pydicom.uid.RLELossless)
    return encoder.encode(
        values, photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom", **layout
    )


SYNTAXES = {
    "baseline": pydicom.uid.JPEGBaseline8Bit,
    "extended": pydicom.uid.JPEGExtended12Bit,
    "lossless": pydicom.uid.JPEGLosslessSV1,
    "lossless6": pydicom.uid.JPEGLossless,
    "jpegls": pydicom.uid.JPEGLSLossless,
    "j2k": pydicom.uid.JPEG2000Lossless,
    "htj2k": pydicom.uid.HTJ2KLossless,
}


def write_compressed(path, kind, frame, syntax=None, **tags):
    cells = {"BitsAllocated": 8 if kind == "baseline" else 16, "bits": 8 if kind == "baseline" else 12}
    cells |= {"Rows": 64, "Columns": 64, **tags}
    return write_dicom(path, frame, syntax=syntax or SYNTAXES[kind], **cells)


@pytest.mark.parametrize("kind", SYNTAXES)
@pytest.mark.parametrize("told", ["rightly", "wrongly", "not"])
def test_every_codec_by_its_own_header(tmp_path, kind, told):
    """The frame says what it is, whether the transfer syntax does or not."""
    syntax = None if told == "rightly" else SYNTAXES["jpegls" if kind == "baseline" else "baseline"]
    path = write_compressed(tmp_path / "a.dcm", kind, encode(kind, VALUES), syntax)
    if told == "not":
        dataset = pydicom.dcmread(path)
        del dataset.file_meta.TransferSyntaxUID
        dataset.save_as(path, implicit_vr=False, little_endian=True)
    assert differ(read_pixels(path), GRAY) <= (3 if kind == "baseline" else 1)


def test_rle(tmp_path):
    path = write_dicom(
        *(tmp_path / "a.dcm", encode_rle(VALUES)), syntax=pydicom.uid.RLELossless, Rows=64, Columns=64
    )
    assert differ(read_pixels(path), GRAY) <= 1


@pytest.mark.parametrize("kind", SYNTAXES)
def test_a_frame_that_is_cut_or_of_another_size_is_refused(tmp_path, kind):
    frame = encode(kind, VALUES)
    with pytest.raises(FilmError, match="another size"):
        read_pixels(write_compressed(tmp_path / "a.dcm", kind, frame, Rows=32))
    for share in (0.02, 0.5, 0.9):
        path = write_compressed(tmp_path / "a.dcm", kind, frame[: int(share * len(frame))])
        with pytest.raises(FilmError, match=r"a\.dcm: DICOM cannot be decoded"):
            read_pixels(path)


def test_without_meta_transfer_syntax_or_a_known_one(tmp_path):
    for number, syntax in enumerate((pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian)):
        path = write_dicom(tmp_path / f"{number}.dcm", VALUES, syntax=syntax)
        content = path.read_bytes()
        path.write_bytes(content[content.index(struct.pack("<HH", 0x0028, 0x0002)) :])
        assert differ(read_pixels(path), GRAY) <= 1
    path = write_dicom(tmp_path / "private.dcm", VALUES)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.826.0.1.3680043.10.9999"
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    assert differ(read_pixels(path), GRAY) <= 1


def test_big_endian(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", VALUES.byteswap(), syntax=pydicom.uid.ExplicitVRBigEndian)
    assert differ(read_pixels(path), GRAY) <= 1


@pytest.mark.parametrize("kind", ["YBR_FULL", "YBR_FULL_422", "RGB"])
@pytest.mark.parametrize("packed", [False, True])
def test_gray_films_stored_in_color(tmp_path, kind, packed):
    """Luminance and two neutral chroma planes, or three equal colors; as cells and as JPEG."""
    neutral = np.full_like(GRAY, 128)
    planes = [GRAY, GRAY, GRAY] if kind == "RGB" else [GRAY, neutral, neutral]
    stored = np.stack(planes, axis=-1)
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsAllocated": 8, "Rows": 64, "Columns": 64}
    if packed:
        space = "RGB" if kind == "RGB" else "YCBCR"
        frame = imagecodecs.jpeg_encode(stored, level=100, colorspace=space, outcolorspace=space)
        path = write_dicom(
            *(tmp_path / "a.dcm", bytes(frame), kind, 8), syntax=pydicom.uid.JPEGBaseline8Bit, **tags
        )
    else:
        if kind == "YBR_FULL_422":  # two Y, then the chroma of both
            pairs = [GRAY[:, ::2], GRAY[:, 1::2], neutral[:, ::2], neutral[:, ::2]]
            stored = np.stack(pairs, axis=-1)
        path = write_dicom(tmp_path / "a.dcm", VALUES, kind, 8, **tags, PixelData=stored.tobytes())
    assert differ(read_pixels(path), GRAY) <= 3
