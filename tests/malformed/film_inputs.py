"""Small valid films of every kind that is read, as seeds of mutations, and what reads them."""

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import tifffile
from helpers.film_files import make_values, png_chunk, to_8_bits, write_dicom, write_png
from PIL import Image
from pydicom.pixels import get_encoder

from data_module.decoding import read_pixels, read_resized
from data_module.film_types import Decoding, FilmError

SIZE = 32


def film_seeds(folder: Path) -> list[Path]:
    """Write one film of every kind into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    values = make_values(SIZE)
    _write_pillow(folder, to_8_bits(values))
    _write_deep(folder, values)
    _write_tiff(folder, values)
    _write_dicom(folder, values)
    _write_compressed(folder, values)
    return sorted(folder.iterdir())


def read(path: Path) -> None:
    """Read a film in each way that the product does. Raises ValueError alone, whatever the file holds."""
    for window in ("voi", "percentile"):
        pixels = read_pixels(path, Decoding(window))
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 2
    assert read_resized(path, 16, "fit-crop", Decoding(equalize=True)).shape == (16, 16)
    assert read_resized(path, 16, "pad").shape == (16, 16)


def _write_pillow(folder: Path, gray: np.ndarray) -> None:
    image = Image.fromarray(gray)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "gray.png", exif=exif)
    image.save(folder / "gray.jpg", quality=90, exif=exif)
    image.convert("RGB").save(folder / "progressive.jpg", progressive=True)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("P").save(folder / "palette.png", transparency=3)
    image.convert("LA").save(folder / "alpha.png")
    image.convert("1").save(folder / "one_bit.png")
    image.convert("RGB").save(folder / "color.webp")
    for name in ("gray.bmp", "gray.gif", "gray.pgm", "gray.jp2", "gray.tif"):
        image.save(folder / name)
    image.save(folder / "lzw.tif", compression="tiff_lzw")
    image.save(folder / "jpeg.tif", compression="jpeg")


def _write_deep(folder: Path, values: np.ndarray) -> None:
    opaque = np.full_like(values, 65535)
    write_png(folder / "gray16.png", values)
    write_png(folder / "gray16_clear.png", values, png_chunk(b"tRNS", b"\0\1"))
    write_png(folder / "alpha16.png", np.dstack([values, opaque]))
    write_png(folder / "rgb16.png", np.dstack([values] * 3))
    write_png(folder / "rgba16.png", np.dstack([values, values, values, opaque]))
    (folder / "lossless.jpg").write_bytes(_encode("lossless", values))
    (folder / "jpegls.jls").write_bytes(_encode("jpegls", values))


def _write_tiff(folder: Path, values: np.ndarray) -> None:
    floats = (values / 4095).astype(np.float32)
    for name, pixels, options in (
        ("gray16", values, {}),
        ("big16", values, {"bigtiff": True}),
        ("white16", values, {"photometric": "miniswhite"}),
        ("zip16", values, {"compression": "zlib", "predictor": True}),
        ("tiled16", values, {"tile": (16, 16), "compression": "lzw"}),
        ("rgb16", np.dstack([values] * 3), {"photometric": "rgb"}),
        ("planar16", np.stack([values] * 3), {"photometric": "rgb", "planarconfig": "separate"}),
        ("float32", floats, {}),
        ("float64", floats.astype(np.float64), {"compression": "zlib", "predictor": 3}),
        ("int32", values.astype(np.int32), {"byteorder": ">"}),
        ("pages", np.stack([values, values]), {"photometric": "minisblack"}),
    ):
        tifffile.imwrite(folder / f"{name}.tif", pixels, **options)


def _write_dicom(folder: Path, values: np.ndarray) -> None:
    write_dicom(folder / "plain.dcm", values)
    write_dicom(folder / "window.dcm", values, "MONOCHROME1", WindowCenter=[2000, 1], WindowWidth=[3000, 0])
    signed = values.astype(np.int16) - 2000
    write_dicom(
        folder / "signed.dcm",
        *(signed, "MONOCHROME2", 16),
        PixelRepresentation=1,
        PixelPaddingValue=-2000,
        PixelPaddingRangeLimit=-1990,
        RescaleSlope=2,
        RescaleIntercept=-1,
        PixelSpacing=[0.2, 0.1],
    )
    lut = pydicom.Dataset()
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 12], np.arange(4096, dtype="<u2").tobytes()
    write_dicom(folder / "luts.dcm", values, ModalityLUTSequence=[lut], VOILUTSequence=[lut])
    write_dicom(folder / "big_endian.dcm", values.byteswap(), syntax=pydicom.uid.ExplicitVRBigEndian)
    write_dicom(folder / "implicit.dcm", values, syntax=pydicom.uid.ImplicitVRLittleEndian)
    gray = to_8_bits(values)
    eight = {"BitsAllocated": 8, "PixelData": gray.tobytes(), "bits": 8}
    palette = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 8] for c in ("Red", "Green", "Blue")}
    palette |= {f"{c}PaletteColorLookupTableData": bytes(range(256)) for c in ("Red", "Green", "Blue")}
    write_dicom(folder / "palette.dcm", values, "PALETTE COLOR", **eight, **palette)
    color = {"SamplesPerPixel": 3, "PlanarConfiguration": 1, **eight, "PixelData": gray.tobytes() * 3}
    write_dicom(folder / "rgb.dcm", values, "RGB", **color)


def _write_compressed(folder: Path, values: np.ndarray) -> None:
    uids = pydicom.uid
    for name, bits, syntax in (
        ("baseline", 8, uids.JPEGBaseline8Bit),
        ("extended", 12, uids.JPEGExtended12Bit),
        ("lossless", 12, uids.JPEGLosslessSV1),
        ("jpegls", 12, uids.JPEGLSLossless),
        ("j2k", 12, uids.JPEG2000Lossless),
        ("htj2k", 12, uids.HTJ2KLossless),
        ("rle", 12, uids.RLELossless),
    ):
        frame = _encode(name, to_8_bits(values) if bits == 8 else values)
        cells = {"BitsAllocated": 8 if bits == 8 else 16, "Rows": SIZE, "Columns": SIZE}
        write_dicom(folder / f"{name}.dcm", frame, bits=bits, syntax=syntax, **cells)


def _encode(kind: str, values: np.ndarray) -> bytes:
    layout = {"rows": SIZE, "columns": SIZE, "samples_per_pixel": 1, "number_of_frames": 1}
    layout |= {"bits_allocated": 16, "bits_stored": 12, "pixel_representation": 0}
    encoders = {
        "baseline": lambda: imagecodecs.jpeg_encode(values, level=95),
        "extended": lambda: imagecodecs.jpeg_encode(values, level=95, bitspersample=12),
        "lossless": lambda: imagecodecs.jpeg_encode(values, lossless=True, predictor=1, bitspersample=12),
        "jpegls": lambda: imagecodecs.jpegls_encode(values),
        "j2k": lambda: imagecodecs.jpeg2k_encode(
            values, codecformat="j2k", reversible=True, level=0, bitspersample=12
        ),
        "htj2k": lambda: imagecodecs.htj2k_encode(values, reversible=True),
        "rle": lambda: get_encoder(pydicom.uid.RLELossless).encode(
            values, photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom", **layout
        ),
    }
    return bytes(encoders[kind]())


__all__ = ["FilmError", "film_seeds", "read"]
