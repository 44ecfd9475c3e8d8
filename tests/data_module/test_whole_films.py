"""Films that tell whether they are as they were written."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from data_module.film_files import encode_film, find_whole, is_whole, write_film

PIXELS = np.random.default_rng(0).integers(256, size=(24, 40), dtype=np.uint8)


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_any_flipped_bit_and_any_cut_shows(tmp_path, image_format):
    film = tmp_path / "film"
    write_film(film, PIXELS, image_format)
    content = film.read_bytes()
    assert is_whole(film)
    # A comment whose name is damaged is no comment of ours any more; the pixels are as they were.
    mark = content.find(b"crc32=")
    for place in set(range(len(content))) - (set(range(mark, mark + 6)) if mark >= 0 else set()):
        film.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        assert not is_whole(film), place
    for length in range(len(content)):
        film.write_bytes(content[:length])
        assert not is_whole(film), length
    film.write_bytes(content + b"\0")
    assert not is_whole(film)


def test_a_film_is_what_pillow_reads():
    assert np.array_equal(Image.open(io.BytesIO(encode_film(PIXELS))), PIXELS)
    plain = io.BytesIO()
    Image.fromarray(PIXELS).save(plain, "JPEG", quality=95)
    ours = Image.open(io.BytesIO(encode_film(PIXELS, "jpeg")))
    assert np.array_equal(ours, Image.open(plain))
    assert ours.mode == "L"


def test_a_jpeg_film_without_a_checksum_counts_by_its_ends(tmp_path):
    film = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).save(film)
    assert is_whole(film)
    film.write_bytes(film.read_bytes()[:-1])
    assert not is_whole(film)


def test_what_is_no_plain_file_is_not_whole(tmp_path):
    write_film(tmp_path / "a.png", PIXELS)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    names = ["a.png", "pipe.png", "loop.png", "none.png", "", "a.png"]
    assert find_whole([tmp_path / name for name in names]) == [True, False, False, False, False, True]
