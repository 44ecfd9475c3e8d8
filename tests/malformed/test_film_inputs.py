"""The seeds of mutations are films, and a few damaged ones of each kind are refused by name or read."""

import numpy as np
import pytest

from malformed.film_inputs import film_seeds, read

NUM_TRIALS = 4  # of each seed


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_kind_of_film(tmp_path):
    seeds = film_seeds(tmp_path / "seeds")
    assert len(seeds) > 40
    random, num_refused = np.random.default_rng(0), 0
    for seed in seeds:
        read(seed)
        whole, damaged = seed.read_bytes(), tmp_path / f"damaged{seed.suffix}"
        for trial in range(NUM_TRIALS):
            content = bytearray(whole)
            if trial % 2:
                content = content[: random.integers(len(whole))]
            for place in random.integers(len(content), size=4) if content else ():
                content[place] = random.integers(256)
            damaged.write_bytes(content)
            try:
                read(damaged)
            except ValueError as error:
                assert damaged.name in str(error)  # noqa: PT017
                num_refused += 1
    assert num_refused > NUM_TRIALS * len(seeds) // 3
