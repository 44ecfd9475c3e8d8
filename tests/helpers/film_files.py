"""Small films as other programs write them: DICOM by pydicom, TIFF by tifffile, PNG chunk by chunk."""

import struct
import zlib

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

LUT_DATA = tuple(f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue"))


def make_values(size=64, bits=12):
    """A smooth film of this depth that uses all of it, (size, size) uint16."""
    y, x = np.mgrid[:size, :size] / (size - 1)
    film = 0.5 + 0.3 * np.sin(9 * x) * np.cos(7 * y) + 0.2 * (x - y)
    film = (film - film.min()) / np.ptp(film)
    return np.round(film * (2**bits - 1)).astype(np.uint16)


def to_8_bits(values, bits=12):
    return np.round(values * (255.0 / (2**bits - 1))).astype(np.uint8)


def differ(pixels, expected):
    """The largest difference in gray levels of two films of one shape."""
    assert pixels.shape == expected.shape
    return int(np.abs(pixels.astype(int) - expected).max())


def write_dicom(path, stored, photometric="MONOCHROME2", bits=12, syntax=ExplicitVRLittleEndian, **tags):
    """`stored` as 16-bit cells, uncompressed or, where `syntax` is a compressed one, `stored` as a frame's
    bytes of Rows x Columns among the tags. A tag of None is left out; bytes are written as they are."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = 0
    if isinstance(stored, bytes):
        dataset.PixelData = encapsulate([stored])
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.Rows, dataset.Columns = stored.shape[-2:]
        dataset.PixelData = stored.astype("<i2" if stored.dtype.kind == "i" else "<u2").tobytes()
    raw = {}
    for name, value in tags.items():
        if value is None:
            del dataset[name]
        elif isinstance(value, bytes) and name not in ("PixelData", *LUT_DATA):
            setattr(dataset, name, "1" * len(value))
            raw[name] = value
        else:
            setattr(dataset, name, value)
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    content = bytearray(path.read_bytes())
    for name, value in raw.items():
        tag = pydicom.tag.Tag(name)
        place = content.index(struct.pack("<HH", tag.group, tag.elem)) + 8  # tag, VR, length
        content[place : place + len(value)] = value
    path.write_bytes(content)
    return path


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path, values, *chunks):
    """16-bit PNG of values (H, W[, C]): gray, gray + alpha, RGB or RGBA; `chunks` before the pixels."""
    height, width = values.shape[:2]
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2] if values.ndim == 3 else 1]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [
        png_chunk(b"IHDR", header),
        *chunks,
        png_chunk(b"IDAT", zlib.compress(rows)),
        png_chunk(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path
