"""Files that are no films, or that are not what they say: refused by name, at once, in little memory."""

import io
import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from helpers.film_files import make_values, png_chunk, to_8_bits, write_dicom
from PIL import Image
from pydicom.uid import RLELossless

from data_module.decoding import is_dicom, read_pixels
from data_module.film_types import FilmError
from data_module.gray import is_blank
from evaluation.inputs.plain_folder import open_folder
from evaluation.inputs.rows import spell_alike

ROOT = Path(__file__).resolve().parents[2]
GRAY = to_8_bits(make_values())


def make_special(folder):
    """One of each thing that is no plain file; name -> what the refusal says."""
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe.dcm")
    (folder / "folder.png").mkdir()
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "zeros.png").symlink_to("/dev/zero")
    (folder / "empty.png").touch()
    (folder / "empty.dcm").touch()
    place = os.getcwd()
    os.chdir(folder)  # the path of a socket may have 108 characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
    os.chdir(place)
    return {
        "pipe.png": "is a named pipe",
        "pipe.dcm": "is a named pipe",
        "folder.png": "is a folder",
        "gone.png": "a link to a file that is not there",
        "loop.png": "cannot be opened",
        "zeros.png": "is a device",
        "socket.png": "is a socket",
        "empty.png": "0 bytes",
        "empty.dcm": "0 bytes",
    }


def test_what_is_no_plain_file_is_never_waited_for(tmp_path):
    for name, reason in make_special(tmp_path).items():
        with pytest.raises(FilmError, match=f"{name}: .*{reason}"):
            read_pixels(tmp_path / name)
    assert not is_dicom(tmp_path / "pipe.dcm")
    with pytest.raises(FilmError, match="NUL"):
        read_pixels("a\0b.png")


def test_a_plain_folder_lists_what_it_cannot_read(tmp_path):
    special = make_special(tmp_path)
    Image.fromarray(GRAY).save(tmp_path / "film.png")
    os.mkfifo(tmp_path / "pipe")
    names = open_folder(tmp_path, "--synthetic", "test").table["file_name"].tolist()
    assert names == sorted(["film.png", *(name for name in special if name != "folder.png")])


def test_blank_films():
    rng = np.random.default_rng(0)
    assert is_blank(np.full((64, 64), 7, np.uint8))
    noise = np.round(100 + rng.normal(0, 0.3, (64, 64))).astype(np.uint8)
    assert noise.std() > 0.1
    assert is_blank(noise)
    hot = np.zeros((64, 64), np.uint8)
    hot[3, 4] = 255
    assert is_blank(hot)
    faint = np.tile(np.linspace(100, 104, 64).round().astype(np.uint8), (64, 1))
    assert not is_blank(faint)
    assert not is_blank(GRAY)


def zeros_as_png(width, height, bits, color_type):
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    row = 1 + width * bits // 8 * {0: 1, 2: 3, 6: 4}[color_type]
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(bytes(row)) for _ in range(height)), packer.flush()])
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", packed), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bomb_of_tiff():
    """A strip that says it is 64 x 64 and unpacks to 256 MB."""
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(bytes(2**20)) for _ in range(256)), packer.flush()])
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((64, 64), np.float64), compression="zlib")
    content = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        tags = {name: page.tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")}
    content[tags["StripOffsets"] : tags["StripOffsets"] + 4] = struct.pack("<I", len(content))
    content[tags["StripByteCounts"] : tags["StripByteCounts"] + 4] = struct.pack("<I", len(packed))
    return bytes(content) + packed


def rle_bomb():
    """4 MB of runs that unpack to 256 MB, in a DICOM of 64 x 64."""
    runs = b"\x81\x00" * 1_000_000
    return struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13) + runs + runs


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read off /proc")


def read_apart(*paths):
    """What a process of its own says of each film, and the bytes that reading them took at the most."""
    code = (
        "import re, sys, tifffile, data_module.dicom, imagecodecs\n"
        "from data_module.decoding import read_pixels\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "for path in sys.argv[1:]:\n"
        "    try: print(read_pixels(path).shape)\n"
        "    except ValueError as error: print(error)\n"
        "print((peak() - before) * 1024)"
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *said, num_bytes = done.stdout.strip().split("\n")
    return said, int(num_bytes)


@needs_proc
def test_bombs_take_no_memory(tmp_path):
    huge = {"Rows": 65_000, "Columns": 65_000}
    write_dicom(tmp_path / "rle.dcm", rle_bomb(), syntax=RLELossless, Rows=64, Columns=64)
    write_dicom(tmp_path / "huge.dcm", make_values(), **huge)
    (tmp_path / "strip.tif").write_bytes(bomb_of_tiff())
    (tmp_path / "huge.png").write_bytes(zeros_as_png(30_000, 9_000, 8, 0))
    with (tmp_path / "hollow.dcm").open("wb") as file:
        file.truncate(2**33)
    said, num_bytes = read_apart(*sorted(tmp_path.iterdir()))
    assert len(said) == 5
    assert num_bytes < 60e6


@needs_proc
def test_a_damaged_length_is_not_made_room_for(tmp_path):
    """Of every element of a DICOM the length of 3.7 GB, where a process may take 1 GB more than it has."""
    write_dicom(tmp_path / "whole.dcm", make_values())
    content = (tmp_path / "whole.dcm").read_bytes()
    place = content.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    (tmp_path / "pixels.dcm").write_bytes(content[:place] + b"\0\0\0\xe0" + content[place + 4 :])
    code = (
        "import re, resource, sys, data_module.dicom\n"
        "from data_module.decoding import read_pixels\n"
        "taken = 1024 * int(re.search(r'VmData:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (taken + 2**30, taken + 2**30))\n"
        "for path in sys.argv[1:]:\n"
        "    try: print(read_pixels(path).shape)\n"
        "    except ValueError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "whole.dcm"), str(tmp_path / "pixels.dcm")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    whole, damaged = done.stdout.strip().split("\n")
    assert whole == "(64, 64)"
    assert "MemoryError" not in damaged


@needs_proc
@pytest.mark.parametrize("kind", ["rgba16.png", "float.tif", "gray16.dcm"])
def test_memory_of_the_deepest_films(tmp_path, kind):
    """Fewer than 24 bytes a pixel, so that the largest film, of 80 million, takes less than 2 GB."""
    height, width = 2_000, 4_000
    path = tmp_path / kind
    if kind == "rgba16.png":
        path.write_bytes(zeros_as_png(width, height, 16, 6))
    elif kind == "float.tif":
        tifffile.imwrite(path, np.zeros((height, width), np.float32), compression="zlib")
    else:
        write_dicom(path, np.arange(height * width, dtype=np.uint16).reshape(height, width), bits=16)
    said, num_bytes = read_apart(path)
    assert said == [str((height, width))]
    assert num_bytes < 24 * height * width
    print("BYTES A PIXEL", kind, num_bytes / height / width)


def test_names_agree_whichever_way_their_slashes_lean():
    names, others = pd.Series(["a/1.png", "b/1.png"]), pd.Series(["b\\1.png", "a\\1.png"])
    ours, theirs = spell_alike(names, others)
    assert ours.tolist() == theirs.tolist()[::-1] == ["a/1.png", "b/1.png"]
