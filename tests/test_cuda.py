"""Every script on an NVIDIA GPU: steps, a pair, students, resuming, two GPUs. Skipped where there is none."""

import json
import math
import signal

import numpy as np
import pytest
import torch
from helpers import forked
from safetensors.torch import load_file

import distill_diffusion
import generate_reports
import sample_pairs
import train_diffusion_clipUViT
import train_report_gpt
import train_text_to_latent
from data_module.images import read_pixels
from data_module.pairs import PairsFolder
from evaluation.__main__ import main as evaluate

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
UVIT = ["--embed-dim", "32", "--depth", "3", "--num-heads", "2", "--warmup-steps", "0"]


def common(chain, out, *flags):
    return ["--data", chain.run("data"), "--cache", chain.run("cache"), "--out", str(out), *flags]


def uvit_flags(chain, out, *flags):
    encoders = ["--autoencoder", chain.run("autoencoder"), "--clip", chain.run("clip")]
    steps = ["--num-steps", "8", "--batch-size", "4", "--checkpoint-every", "4"]
    return [*common(chain, out), *encoders, *UVIT, *steps, *flags]


def assert_trained(run):
    losses = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(line["loss"]) for line in losses if "loss" in line)
    files = list((run / "model").rglob("*.safetensors"))
    assert files
    for file in files:
        assert all(value.isfinite().all() for value in load_file(file).values()), file


def test_every_training_script(chain, tmp_path):
    """The chain was trained here, on the GPU that its scripts found."""
    encoders = ["--autoencoder", chain.run("autoencoder"), "--clip", chain.run("clip")]
    few = ["--num-steps", "2", "--batch-size", "4", "--warmup-steps", "0"]
    train_text_to_latent.main([*common(chain, tmp_path / "t2l", *encoders, *few), "--hidden-dim", "16"])
    gpt = ["--encoder", chain.run("classifier"), "--dim", "16", "--depth", "1", "--num-heads", "2"]
    gpt += ["--mapping-depth", "1", "--mapping-heads", "2", "--max-tokens", "48", "--vocab-size", "400"]
    train_report_gpt.main(["--data", chain.run("data"), "--out", str(tmp_path / "gpt"), *few, *gpt])
    names = ("autoencoder", "clip", "classifier", "uvit", "sd", "bart", "prior")
    for run in (*(chain.root / name for name in names), tmp_path / "t2l", tmp_path / "gpt"):
        assert_trained(run)


@pytest.mark.parametrize("vision", ["uvit", "sd"])
def test_pairs_and_reports_and_scores(chain, tmp_path, vision):
    """In bfloat16 and channels last, and in float32 nearly the films of the CPU."""
    films = {}
    for precision in ("auto", "no"):
        out = tmp_path / precision
        flags = chain.sample_flags(out, vision=chain.run(vision), mixed_precision=precision)
        sample_pairs.main(flags)
        films[precision] = np.stack([read_pixels(path) for path in PairsFolder.open(out).image_paths])
    flags = chain.sample_flags(tmp_path / "cpu", vision=chain.run(vision))
    (ended,) = forked.run_ranks(sample_pairs.main, flags, num=1)
    assert ended.exitcode == 0, ended.output
    cpu = np.stack([read_pixels(path) for path in PairsFolder.open(tmp_path / "cpu").image_paths])
    assert np.abs(films["no"].astype(int) - cpu).mean() < 2  # TF32
    assert np.abs(films["auto"].astype(int) - cpu).mean() < 10
    reports = ["--model", chain.run("prior"), "--data", chain.run("data"), "--out", str(tmp_path / "r.csv")]
    generate_reports.main([*reports, "--max-films", "8"])
    scored = ["--real", chain.run("data"), "--synthetic", str(tmp_path / "auto"), "--device", "auto"]
    scored += ["--classifier", chain.run("classifier"), "--out", str(tmp_path / "scores")]
    evaluate(["images", *scored, "--num-bootstrap", "5"])


def test_a_student(chain, tmp_path):
    paths = ["--num-paths", "16", "--num-validation-paths", "4", "--teacher-steps", "8"]
    steps = ["--num-steps", "2", "--batch-size", "4", "--warmup-steps", "0", "--teacher", chain.run("uvit")]
    distill_diffusion.main([*common(chain, tmp_path / "four"), *paths, *steps])
    assert_trained(tmp_path / "four")
    flags = {"vision": tmp_path / "four", "solver": "few-step", "num_inference_steps": 4}
    sample_pairs.main(chain.sample_flags(tmp_path / "pairs", **flags))


def test_a_killed_run_goes_on(chain, tmp_path, capsys):
    """To nearly the same weights: kernels of a GPU may add in another order."""
    train_diffusion_clipUViT.main(uvit_flags(chain, tmp_path / "whole"))
    flags = uvit_flags(chain, tmp_path / "killed")
    for event in range(8, 60, 2):
        assert forked.run(train_diffusion_clipUViT.main, flags, kill_at=event).exitcode == -signal.SIGKILL
        if list((tmp_path / "killed" / "checkpoints").glob("step_*")):
            break
    train_diffusion_clipUViT.main(flags)
    assert "going on from step 4" in capsys.readouterr().out
    found = [
        load_file(next((tmp_path / name / "model" / "unet").glob("*.safetensors")))
        for name in ("whole", "killed")
    ]
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=0.02, atol=2e-3)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two NVIDIA GPUs")
def test_two_gpus(chain, tmp_path):
    """They train one model, and sample the folder of one process."""
    ranks = forked.run_ranks(train_diffusion_clipUViT.main, uvit_flags(chain, tmp_path / "run"), gpus=True)
    assert [ended.exitcode for ended in ranks] == [0, 0], ranks[0].output + ranks[1].output
    assert_trained(tmp_path / "run")
    for num in (1, 2):
        flags = chain.sample_flags(tmp_path / f"pairs{num}", num_pairs=16)
        ranks = forked.run_ranks(sample_pairs.main, flags, num=num, gpus=True)
        assert [ended.exitcode for ended in ranks] == [0] * num, "\n".join(r.output for r in ranks)
    films = [
        {path.name: path.read_bytes() for path in (tmp_path / f"pairs{num}").rglob("*.png")} for num in (1, 2)
    ]
    assert len(films[0]) == 17  # and the contact sheet
    assert films[0] == films[1]
