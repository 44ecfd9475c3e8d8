"""Seeded damage to tables and archives: a message or a result in which all rows are told of, nothing else."""

import random
import shutil

import pytest

from malformed.table_inputs import NUM_ROWS, READERS, ROWS_IN, write_inputs

NUM_MUTATIONS = 12
INSERTED = (b'"', b"\n", b",", b"\xff\xfe", b"\xe4", b"{", b"]")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def mutate(content: bytes, draw: random.Random) -> bytes:
    """One kind of damage: a flipped bit, a cut, a part lost, doubled or zeroed, other bytes put in."""
    place, length = draw.randrange(len(content)), draw.randrange(1, 64)
    match draw.randrange(6):
        case 0:
            return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
        case 1:
            return content[:place]
        case 2:
            return content[:place] + content[place + length :]
        case 3:
            return content[:place] + content[place : place + length] + content[place:]
        case 4:
            return content[:place] + bytes(length) + content[place + length :]
        case _:
            return content[:place] + draw.choice(INSERTED) + content[place:]


def try_to_read(kind, path, out):
    """What was read, or the message of the error that says why not. Any other error fails the test."""
    try:
        return READERS[kind](path, out)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("kind", list(READERS))
def test_every_input_is_read(inputs, tmp_path, kind):
    read = READERS[kind](inputs[kind], tmp_path / "out")
    assert read.told in (0, NUM_ROWS - 2 if kind == "reports" else 0)
    assert read.kept >= 2


@pytest.mark.parametrize("kind", list(READERS))
def test_damage_is_named_or_told_of(inputs, tmp_path, kind):
    draw = random.Random(kind)
    good = inputs[kind]
    for number in range(NUM_MUTATIONS):
        folder = tmp_path / str(number)
        shutil.copytree(good.parent, folder)
        path = folder / good.name
        path.write_bytes(mutate(good.read_bytes(), draw))
        read = try_to_read(kind, path, tmp_path / f"out{number}")
        if isinstance(read, str):
            assert read
        elif kind in ROWS_IN:
            assert read.kept + read.told >= ROWS_IN[kind], number
