"""FLOPs, FLOP/s and MFU of a training run."""

import json
from contextlib import nullcontext

import pytest
import torch
from helpers.tiny_training import main, read_weights
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.throughput import Throughput, describe, find_peak
from vision_module.uvit import UViT


def read_log(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_flops_of_a_u_vit():
    """Against the count by hand: twice the products of matrices and of attention, and thrice for training."""
    dim, depth, tokens, batch = 16, 3, 2 + 16, 2
    model = UViT(sample_size=8, embed_dim=dim, depth=depth, num_heads=2, context_dim=8)
    throughput = Throughput([], 0, batch, 2, torch.device("cpu"))
    with throughput.step(0), sdpa_kernel(SDPBackend.MATH):
        output = model(torch.randn(batch, 4, 8, 8), torch.arange(batch), torch.randn(batch, 1, 8))
        output.sample.sum().backward()
    linear = tokens * (depth * 12 * dim**2 + (depth // 2) * 2 * dim**2 + dim * 16) + 8 * dim
    attention = depth * 2 * tokens**2 * dim
    convolution = 16 * 16 * dim + 64 * 9 * 4 * 4  # patches, and the last 3x3
    forward = 2 * batch * (linear + attention + convolution)
    # Neither the latents nor the context ask for a gradient.
    backward = 2 * forward - 2 * batch * (16 * 16 * dim + 8 * dim)
    assert throughput.tflops == pytest.approx(2 * (forward + backward) / 1e12, rel=1e-3)  # two processes
    throughput.peak = 1e12
    figures = throughput.figures(10)
    assert figures["mfu"] == pytest.approx(figures["tflops_per_s"] / 2, abs=1e-4)
    assert describe(figures)["MFU"].endswith("%")


def test_the_log_tells_them_and_bits_stay(tmp_path, monkeypatch):
    main(["--out", str(tmp_path / "counted")])
    lines = [line for line in read_log(tmp_path / "counted") if "loss" in line]
    # Four points through 1x8, two 8x8 and 8x1, their losses' gradients to weights and inputs.
    wanted = 2 * 4 * (3 * (8 + 128 + 8) - 8) / 1e12
    assert [line["tflops_per_step"] for line in lines] == pytest.approx([wanted] * len(lines))
    assert all(line["tflops_per_s"] > 0 for line in lines)
    assert not any("mfu" in line for line in lines)  # no peak of this processor is known
    monkeypatch.setattr(Throughput, "step", lambda self, number: nullcontext())
    main(["--out", str(tmp_path / "plain")])
    assert not any("tflops_per_step" in line for line in read_log(tmp_path / "plain"))
    for name, value in read_weights(tmp_path / "plain").items():
        assert torch.equal(value, read_weights(tmp_path / "counted")[name]), name


def test_a_slow_beginning_does_not_lower_later_rates(monkeypatch):
    """Ten steps in 40 s, most of it compiling, then ten in 2 s."""
    times = iter([0.0, 40.0, 42.0])
    monkeypatch.setattr("training.throughput.time.perf_counter", lambda: next(times))
    throughput = Throughput([], 0, 8, 1, torch.device("cpu"))
    assert throughput.figures(10)["items_per_s"] == pytest.approx(2.0)
    assert throughput.figures(20)["items_per_s"] == pytest.approx(40.0)


def test_a_resumed_run_counts_nothing_anew():
    throughput = Throughput([{"step": 2, "tflops_per_step": 3.0}], 4, 8, 1, torch.device("cpu"))
    with throughput.step(4):
        torch.ones(4, 4) @ torch.ones(4, 4)
    assert throughput.tflops == 3.0
    from_before_there_was_a_count = Throughput([{"step": 2}], 4, 8, 1, torch.device("cpu"))
    assert "tflops_per_s" not in from_before_there_was_a_count.figures(6)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA A1000", None),
        ("NVIDIA L40", None),
        ("AMD Instinct MI300X", None),
    ],
)
def test_peaks_by_name(name, peak):
    assert find_peak(name) == peak
