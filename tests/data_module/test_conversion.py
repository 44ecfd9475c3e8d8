"""Films into a pairs folder: what is there is verified, what failed is listed, flaws are counted."""

import os

import numpy as np
import pytest
from helpers.film_files import make_values, to_8_bits, write_dicom
from PIL import Image

from data_module.film_types import FilmError
from data_module.sources.config import OpenIConfig, OutputConfig
from data_module.sources.conversion import convert_films
from data_module.sources.film_block import Job
from data_module.sources.films import resolve_inside
from data_module.sources.open_i import prepare_open_i

GRAY = to_8_bits(make_values(32))
NUM_FILMS = 70  # two blocks


@pytest.fixture
def films(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(NUM_FILMS):
        Image.fromarray(np.roll(GRAY, number, axis=1)).save(tmp_path / "in" / f"{number}.png")
    return tmp_path


def convert(folder, image_format="png", num_films=NUM_FILMS, name="{}.png"):
    config = OutputConfig(out=folder / "out", size=32, image_format=image_format, num_workers=1)
    suffix = "png" if image_format == "png" else "jpg"

    def jobs(numbers):
        return [Job(str(folder / "in"), name.format(i), f"images/{i}.{suffix}") for i in numbers]

    return convert_films(config, jobs, num_films)


def contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "out" / "images").iterdir()}


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_a_later_run_makes_what_was_lost_or_cut_of_an_earlier_one(films, image_format):
    assert convert(films, image_format) == {}
    whole = contents(films)
    assert len(whole) == NUM_FILMS
    suffix = "png" if image_format == "png" else "jpg"
    images = films / "out" / "images"
    (images / f"3.{suffix}").write_bytes(b"")
    (images / f"5.{suffix}").write_bytes(whole[f"5.{suffix}"][: len(whole[f"5.{suffix}"]) // 2])
    (images / f"66.{suffix}").unlink()
    (images / f"69.{suffix}").write_bytes(b"<html>not a film</html>")
    assert convert(films, image_format) == {}
    assert contents(films) == whole


def test_a_film_whose_source_went_with_it_is_listed(films):
    convert(films)
    (films / "out" / "images" / "66.png").unlink()
    (films / "in" / "66.png").unlink()
    assert convert(films) == {66: "no such file"}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"failed": {"9999": "x"}, "notes": {}}', '{"failed": 3}'])
def test_a_damaged_outcome_is_made_again(films, damage):
    (films / "in" / "7.png").write_bytes(b"")
    first = convert(films)
    assert first == {7: "is empty (0 bytes)"}
    part = sorted((films / "out" / ".parts").glob("0*.json"))[0]
    content = part.read_text()
    part.write_text(damage)
    assert convert(films) == first
    assert part.read_text() == content


def test_a_film_that_was_damaged_since_is_made_again(films):
    convert(films)
    film = films / "out" / "images" / "66.png"
    content = film.read_bytes()
    film.write_bytes(content[:60] + bytes([content[60] ^ 4]) + content[61:])
    assert convert(films) == {}
    assert film.read_bytes() == content


def test_blank_and_special_films_are_listed(films):
    noise = 100 + np.random.default_rng(0).normal(0, 0.3, (32, 32))
    Image.fromarray(np.round(noise).astype(np.uint8)).save(films / "in" / "1.png")
    for number in (2, 3, 4):
        (films / "in" / f"{number}.png").unlink()
    os.mkfifo(films / "in" / "2.png")
    (films / "in" / "3.png").symlink_to("nowhere.png")
    (films / "in" / "4.png").mkdir()
    assert convert(films) == {
        1: "blank, nearly every pixel is about 100",
        2: "is a named pipe, not a film",
        3: "no such file",
        4: "is a folder, not a film",
    }


def test_flaws_of_films_that_were_read_are_counted(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in range(3):
        write_dicom(
            tmp_path / "in" / f"{number}.dcm", make_values(), WindowCenter=0, WindowWidth=number and 1
        )
    write_dicom(tmp_path / "in" / "3.dcm", make_values(), RescaleSlope=0)
    assert convert(tmp_path, num_films=4, name="{}.dcm") == {}
    said = capsys.readouterr().err
    assert "3 film(s) with a window or VOI LUT that shows nothing of the film" in said
    assert "1 film(s) with a RescaleSlope that is empty, 0 or no number" in said


def test_paths_as_windows_writes_them(tmp_path):
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "a.png").touch()
    assert resolve_inside(tmp_path, "p1\\a.png") == (tmp_path / "p1" / "a.png").resolve()
    (tmp_path / "p1\\a.png").touch()  # a name of this system
    assert resolve_inside(tmp_path, "p1\\a.png").name == "p1\\a.png"
    with pytest.raises(FilmError, match="outside"):
        resolve_inside(tmp_path, "..\\a.png")


def test_open_i_goes_on_past_links_and_pipes(tmp_path):
    films = ["CXR1_1_IM-0001-3001", "CXR2_IM-0652-1001", "CXR2_IM-0652-2001"]
    (tmp_path / "reports").mkdir()
    parents = "".join(f'<parentImage id="{film}"/>' for film in films)
    text = '<AbstractText Label="FINDINGS">Clear lungs.</AbstractText>'
    (tmp_path / "reports" / "1.xml").write_text(
        f'<eCitation><uId id="CXR1"/><Abstract>{text}</Abstract>{parents}</eCitation>'
    )
    (tmp_path / "reports" / "2.xml").symlink_to("nowhere.xml")
    os.mkfifo(tmp_path / "reports" / "3.xml")
    (tmp_path / "images").mkdir()
    Image.fromarray(GRAY).save(tmp_path / "images" / f"{films[0]}.png")
    (tmp_path / "images" / f"{films[1]}.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "images" / f"{films[2]}.png")
    (tmp_path / "images" / "loop.png").symlink_to("loop.png")
    pairs = prepare_open_i(
        OpenIConfig(
            out=tmp_path / "out",
            reports=tmp_path / "reports",
            images=tmp_path / "images",
            size=32,
            views=("PA", "AP", "L", ""),
            num_workers=1,
        )
    )
    assert len(pairs) == 1
    skipped = (tmp_path / "out" / "skipped.csv").read_text()
    assert "2.xml,no such file" in skipped
    assert "3.xml,is a named pipe" in skipped
    assert f"{films[1]},no such file" in skipped
    assert f'{films[2]},"is a named pipe, not a film"' in skipped
