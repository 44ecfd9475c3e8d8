"""Shared by the tests: no network, few threads, and a tiny chain of really trained models."""

import os

from runtime.threads import openmp_settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(openmp_settings(os.environ))  # threads wait as in every script; set before torch loads

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.float64 import in_float64
from tqdm import tqdm

# Tests fork and kill: tqdm's own lock is shared by forks, and one that is killed while it holds the lock
# stops the test run for good. Its monitor is a thread that a fork could find holding it.
tqdm.monitor_interval = 0
tqdm.set_lock(threading.RLock())


def pytest_addoption(parser):
    parser.addoption("--renew", action="store_true", help="write the files of tests/golden anew")


@pytest.fixture
def float64():
    """Two ways to one result agree to float64: in float32 they differ by processor and number of threads."""
    with in_float64():
        yield


@dataclass(frozen=True)
class Chain:
    """Folders of a chain trained for a step or two at tiny sizes."""

    root: Path

    def run(self, name: str) -> str:
        return str(self.root / name)

    def sample_flags(self, out: Path, **flags: object) -> list[str]:
        """Command line of sample_pairs.py over this chain."""
        values = {
            "vision": self.run("uvit"),
            "language": self.run("bart"),
            "prior": self.run("prior"),
            "data": self.run("data"),
            "out": out,
            "num-pairs": 4,
            "batch-size": 4,
            "num-inference-steps": 2,
            "mixed-precision": "no",
            **{name.replace("_", "-"): value for name, value in flags.items()},
        }
        return [part for name, value in values.items() for part in (f"--{name}", str(value)) if value != ""]


@pytest.fixture(scope="session")
def chain(tmp_path_factory) -> Chain:
    """prepare_data and every train script, run as a user would, at sizes of a second each."""
    import prepare_data
    import train_autoencoder
    import train_bart
    import train_classifier
    import train_clip
    import train_diffusion_clipSD
    import train_diffusion_clipUViT
    import train_prior_model

    chain = Chain(tmp_path_factory.mktemp("chain"))
    prepare_data.main(["demo", "--out", chain.run("data"), "--num-studies", "80", "--num-workers", "1"])
    common = ["--data", chain.run("data"), "--num-steps", "2", "--batch-size", "4", "--warmup-steps", "0"]
    autoencoder = ["--autoencoder", chain.run("autoencoder")]
    encoders = [*autoencoder, "--clip", chain.run("clip")]

    def train(script, name: str, *flags: str) -> None:
        script.main([*common, "--out", chain.run(name), *flags])

    train(train_autoencoder, "autoencoder", "--block-out-channels", "8", "8", "8")
    train(train_clip, "clip", "--width", "32", "--num-layers", "1", "--patch-size", "16")
    train(train_classifier, "classifier", "--hidden-sizes", "8", "16")
    tiny = ["--embed-dim", "32", "--depth", "3", "--num-heads", "2"]
    betas = ["--prediction-type", "v_prediction", "--time-sampling", "uniform"]  # what every solver knows
    train(train_diffusion_clipUViT, "uvit", *encoders, *tiny, *betas, "--learning-rate", "2e-3")
    unet = ["--block-out-channels", "8", "16", "--num-heads", "2"]
    train(train_diffusion_clipSD, "sd", *encoders, *unet)
    bart = ["--d-model", "32", "--ffn-dim", "64", "--num-heads", "2", "--num-embeddings", "2"]
    train(train_bart, "bart", *bart, "--max-tokens", "48")
    prior = ["--dim", "32", "--depth", "1", "--num-heads", "2"]
    train(train_prior_model, "prior", *autoencoder, "--language", chain.run("bart"), *prior)
    return chain
