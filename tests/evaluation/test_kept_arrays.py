"""Arrays that are kept from run to run: what is whole is read, anything else made again."""

import os

import numpy as np
import pytest

from evaluation.networks.cache import read_arrays


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "kept.npz"
    np.savez(path, pixels=np.arange(50.0), failures=np.array("{}"))
    return path


def test_whole_arrays_are_read(kept):
    found = read_arrays(kept, ("pixels", "failures"))
    assert found is not None
    np.testing.assert_array_equal(found["pixels"], np.arange(50.0))
    assert str(found["failures"]) == "{}"


def test_every_flipped_bit_and_every_cut_is_noticed(kept):
    """Or was of no account, such as a date in the archive."""
    whole = kept.read_bytes()
    for place in range(0, len(whole), 7):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]):
            kept.write_bytes(content)
            found = read_arrays(kept, ("pixels",))
            assert found is None or np.array_equal(found["pixels"], np.arange(50.0))


def test_what_is_no_file_is_not_waited_for(kept, tmp_path):
    assert read_arrays(tmp_path / "absent.npz", ("pixels",)) is None
    assert read_arrays(tmp_path, ("pixels",)) is None
    kept.unlink()
    os.mkfifo(kept)
    assert read_arrays(kept, ("pixels",)) is None


def test_another_array_is_asked_for(kept):
    assert read_arrays(kept, ("pixels", "features")) is None
