"""A few damaged files of each kind of ours; `python tests/malformed` damages as many as are asked for."""

import pytest

from malformed.runner import run_kind


@pytest.mark.parametrize("kind", ["runs", "weights", "caches"])
def test_damage_is_refused_or_mended(kind):
    report = run_kind(kind, num=8, seed=1)
    assert not report.num_faults, "\n".join(report.faults)
    assert sum(report.counts.values()) == 8
