"""Processes that wait for each other's part."""

from runtime import shards
from runtime.shards import wait_for_others


def test_a_long_wait_is_told_once(monkeypatch, capsys):
    monkeypatch.setattr(shards, "_PATIENCE_S", 0.0)
    looks = iter([False] * 4 + [True])
    wait_for_others(lambda: next(looks), "latent cache x")
    assert capsys.readouterr().err.splitlines() == [
        "latent cache x: waiting for the other processes; does each still run?"
    ]
    monkeypatch.setattr(shards, "_PATIENCE_S", 60.0)
    looks = iter([False, True])
    wait_for_others(lambda: next(looks), "latent cache x")
    assert not capsys.readouterr().err
