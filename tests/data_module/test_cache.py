import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import time

import numpy as np
import pytest
import torch

from data_module import cache as cache_module
from data_module.cache import CacheWriter, LatentCache, cache_key, find_distinct_texts, open_or_write
from data_module.demo.source import write_demo
from runtime.contents import model_hash
from vision_module.autoencoder import build_autoencoder
from vision_module.config import AutoencoderConfig
from vision_module.encoding import encode_latents


def encode(items):
    grid = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    return {"latents_mean": grid * items[:, None, None, None], "embeddings": items[:, None] / 7.0}


def write(directory, encode=encode, num_items=23, chunk_size=5):
    with CacheWriter(directory, "key").lock() as writer:
        writer.fill("films", num_items, encode, chunk_size)
        writer.put("text_index", np.arange(6, dtype=np.int32).reshape(3, 2))
        return writer.finish()


def test_what_goes_in_comes_out(tmp_path):
    write(tmp_path)
    cache = LatentCache.open(tmp_path, "key")
    assert sorted(cache) == ["embeddings", "latents_mean", "text_index"]
    expected = encode(np.arange(23))
    for name, values in expected.items():
        assert isinstance(cache[name], np.memmap)
        assert cache[name].dtype == np.float16
        assert (cache[name] == values.astype(np.float16)).all()
    assert cache["text_index"].dtype == np.int32
    assert "key" in os.listdir(tmp_path)
    assert "key.partial" not in os.listdir(tmp_path)


def test_an_unfinished_cache_does_not_open(tmp_path):
    with CacheWriter(tmp_path, "key").lock() as writer:
        writer.fill("films", 4, encode, 2)
    assert not LatentCache.exists(tmp_path, "key")
    with pytest.raises(ValueError, match="no finished latent cache"):
        LatentCache.open(tmp_path, "key")


def test_an_array_that_a_cache_has_lost_is_missed(tmp_path, capsys):
    write(tmp_path)
    path = tmp_path / "key" / "complete.json"
    record = json.loads(path.read_text())
    del record["arrays"]["text_index"]
    path.write_text(json.dumps(record))
    assert not LatentCache.exists(tmp_path, "key")
    assert "complete.json is damaged: it is made anew" in capsys.readouterr().err


def test_an_unfinished_array_with_a_broken_header_is_written_anew(tmp_path):
    expected = {name: np.array(values) for name, values in write(tmp_path / "whole").items()}
    with CacheWriter(tmp_path, "key").lock() as writer:
        writer.fill("films", 23, encode, 5)
    path = tmp_path / "key.partial" / "embeddings.npy"
    path.write_bytes(path.read_bytes().replace(b"}", b"{", 1))  # Python's tokenizer finds no end of it
    cache = write(tmp_path)
    assert all((cache[name] == values).all() for name, values in expected.items())


def test_unknown_array_is_named(tmp_path):
    with pytest.raises(ValueError, match="latents_mean"):
        write(tmp_path)["latents"]


def write_and_die(directory):
    def encode_and_die(items):
        if items[0] >= 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(items)

    write(directory, encode_and_die)


def test_a_killed_writer_goes_on_where_it_stopped(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=write_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not LatentCache.exists(tmp_path, "key")
    seen = []

    def encode_and_watch(items):
        seen.extend(items.tolist())
        return encode(items)

    resumed = write(tmp_path, encode_and_watch)
    assert seen == list(range(10, 23))
    assert (resumed["latents_mean"] == encode(np.arange(23))["latents_mean"].astype(np.float16)).all()


def write_shard(directory, index, num_shards, fail_at=None):
    def encode_or_die(items):
        if items[0] == fail_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(items)

    with CacheWriter(directory, "key", (index, num_shards)).lock() as writer:
        writer.fill("films", 23, encode_or_die, 5)
        writer.put("text_index", np.arange(6, dtype=np.int32).reshape(3, 2))
        writer.finish()


def write_slowly(directory, begun):
    def fill(writer):
        writer.fill("films", 23, encode, 5)
        begun.set()
        time.sleep(1.0)

    open_or_write(directory, "key", fill)


def test_a_second_run_waits_for_the_cache_that_another_writes(tmp_path, monkeypatch, capsys):
    """As two trainings beside each other: it is written once, and both have it."""
    monkeypatch.setattr("runtime.locks._TELL_AFTER_S", 0.1)
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    process = context.Process(target=write_slowly, args=(tmp_path, begun))
    process.start()
    assert begun.wait(30)
    cache = open_or_write(tmp_path, "key", lambda writer: pytest.fail("written twice"))
    assert len(cache["latents_mean"]) == 23
    assert capsys.readouterr().err.count("being written by another run: waiting for its end") == 1
    process.join(30)
    assert process.exitcode == 0


def test_a_second_run_writes_what_a_killed_one_left(tmp_path):
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    process = context.Process(target=write_slowly, args=(tmp_path, begun))
    process.start()
    assert begun.wait(30)
    process.kill()
    cache = open_or_write(tmp_path, "key", lambda writer: writer.fill("films", 23, encode, 5))
    assert (cache["latents_mean"] == encode(np.arange(23))["latents_mean"].astype(np.float16)).all()


def run_shards(directory, num_shards, dying=None):
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(
            target=write_shard, args=(directory, i, num_shards, 5 * dying if i == dying else None)
        )
        for i in range(num_shards)
    ]
    for process in processes:
        process.start()
    return processes


def test_shards_write_one_cache(tmp_path):
    """Three processes; one is killed, and the rest is done by two."""
    whole = write(tmp_path / "whole")
    processes = run_shards(tmp_path / "shards", 3, dying=1)
    processes[1].join()
    assert processes[1].exitcode == -signal.SIGKILL
    for process in (processes[0], processes[2]):
        process.join(timeout=1)  # they wait for the dead one
        assert process.is_alive()
        process.kill()
        process.join()
    assert not LatentCache.exists(tmp_path / "shards", "key")
    for process in run_shards(tmp_path / "shards", 2):
        process.join(timeout=30)
        assert process.exitcode == 0
    shards = LatentCache.open(tmp_path / "shards", "key")
    assert sorted(shards) == sorted(whole)
    for name in whole:
        assert (shards[name] == whole[name]).all()


def test_a_launcher_says_which_shard_this_is(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    writer = CacheWriter(tmp_path, "key")
    assert writer.shard == (2, 4)


def test_another_chunk_size_begins_anew(tmp_path):
    with CacheWriter(tmp_path, "key").lock() as writer:
        writer.fill("films", 23, encode, 7)
    assert (write(tmp_path)["embeddings"] == encode(np.arange(23))["embeddings"].astype(np.float16)).all()


def test_one_writer_at_a_time(tmp_path):
    with (
        CacheWriter(tmp_path, "key").lock(),
        pytest.raises(ValueError, match="is being written"),
        CacheWriter(tmp_path, "key").lock(),
    ):
        pass


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e6])
def test_values_that_float16_cannot_hold(tmp_path, value):
    with pytest.raises(ValueError, match=r"latents_mean.*float16"):
        write(tmp_path, lambda items: {"latents_mean": np.full((len(items), 2), value, dtype=np.float32)})


def test_too_little_disk_space_is_said_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_FREE_MARGIN", shutil.disk_usage(tmp_path).total)
    with pytest.raises(ValueError, match="needs"):
        write(tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def make_model(folder, weights=b"weights", config="{}"):
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(config)
    return folder


def test_model_hash_is_by_content(tmp_path):
    first = make_model(tmp_path / "a")
    copy = make_model(tmp_path / "elsewhere" / "b")
    os.utime(copy / "config.json", (0, 0))
    (copy / "README.md").write_text("a card does not change a model")
    assert model_hash(first) == model_hash(copy)
    assert model_hash(first) != model_hash(make_model(tmp_path / "c", weights=b"other"))
    assert model_hash(first) != model_hash(make_model(tmp_path / "d", config='{"a": 1}'))
    with pytest.raises(ValueError, match="safetensors"):
        model_hash(tmp_path / "nothing")


def test_key_follows_manifest_models_and_settings():
    keys = {
        cache_key("m", {"autoencoder": "a"}, {"size": 64}),
        cache_key("n", {"autoencoder": "a"}, {"size": 64}),
        cache_key("m", {"autoencoder": "b"}, {"size": 64}),
        cache_key("m", {"clip": "a"}, {"size": 64}),
        cache_key("m", {"autoencoder": "a"}, {"size": 128}),
    }
    assert len(keys) == 5
    assert cache_key("m", {"a": "1", "b": "2"}, {}) == cache_key("m", {"b": "2", "a": "1"}, {})


def test_a_changed_model_or_manifest_is_encoded_anew(tmp_path):
    """Through the function that training calls, with a real autoencoder."""
    torch.manual_seed(0)
    pairs = write_demo(tmp_path / "data", 6, 32, num_workers=1)
    config = AutoencoderConfig(block_out_channels=(8, 8))
    for name in ("first", "second"):
        build_autoencoder(config, 32).save_pretrained(tmp_path / name)

    def folder_of(pairs, model):
        return encode_latents(pairs, tmp_path / model, tmp_path / "cache").folder.name

    first = folder_of(pairs, "first")
    assert folder_of(pairs, "first") == first
    second = folder_of(pairs, "second")
    other_text = dataclasses.replace(pairs, table=pairs.table.assign(report="Clear."))
    assert len({first, second, folder_of(other_text, "first")}) == 3
    latents = LatentCache.open(tmp_path / "cache", first)["latents_mean"]
    assert latents.shape[0] == 6
    assert latents.dtype == np.float16


def test_distinct_texts():
    prompts, impressions = ["aa", "b", "aa"], ["x", "aa", "x"]
    texts, index = find_distinct_texts(prompts, impressions)
    assert texts == ["b", "x", "aa"]
    assert index.tolist() == [[2, 1], [0, 2], [2, 1]]
    assert index.dtype == np.int32
