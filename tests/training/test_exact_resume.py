"""Every training script, stopped and given again, ends with the bits of a run that was not stopped."""

import importlib
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from training.loop import _Trainer

ENCODERS = "--autoencoder {autoencoder} --clip {clip}"
SMALL = "--dim 16 --depth 1 --num-heads 2"
SCRIPTS = {
    "train_autoencoder": "--block-out-channels 8 8 --adversarial-weight 0.1 --discriminator-channels 4",
    "train_clip": "--width 32 --num-layers 1 --patch-size 16",
    "train_classifier": "--hidden-sizes 8 16",
    "train_diffusion_clipUViT": f"{ENCODERS} --embed-dim 32 --depth 3 --num-heads 2 --optimizer muon",
    "train_diffusion_clipSD": f"{ENCODERS} --block-out-channels 8 16 --num-heads 2",
    "train_text_to_latent": f"{ENCODERS} --hidden-dim 16",
    "train_bart": "--d-model 32 --ffn-dim 64 --num-heads 2 --num-embeddings 2 --max-tokens 48",
    "train_prior_model": f"--autoencoder {{autoencoder}} --language {{bart}} {SMALL}",
    "train_report_gpt": f"--encoder {{classifier}} {SMALL} --mapping-depth 1 --mapping-heads 2 "
    "--max-tokens 48 --vocab-size 400",
    "distill_diffusion": "--teacher {uvit} --num-paths 16 --num-validation-paths 4 --teacher-steps 8",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_stopped_and_given_again(chain, tmp_path, monkeypatch, name):
    script = importlib.import_module(name)
    flags = ["--data", chain.run("data"), "--num-steps", "5", "--batch-size", "4", "--warmup-steps", "0"]
    folders = {name: chain.run(name) for name in ("autoencoder", "clip", "classifier", "bart", "uvit")}
    flags += [part.format(**folders) for part in SCRIPTS[name].split()]
    if any(part in flags for part in ("--clip", "--teacher", "--language")):
        flags += ["--cache", str(tmp_path / "cache")]
    script.main([*flags, "--out", str(tmp_path / "whole")])

    step = _Trainer._optimize

    def stopping(trainer, batches):
        if trainer.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, batches)

    with monkeypatch.context() as patched:
        patched.setattr(_Trainer, "_optimize", stopping)
        with pytest.raises(KeyboardInterrupt):
            script.main([*flags, "--out", str(tmp_path / "cut")])
    assert (tmp_path / "cut" / "checkpoints" / "step_0000003").is_dir()
    script.main([*flags, "--out", str(tmp_path / "cut")])

    files = sorted(
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole" / "model").rglob("*.safetensors")
    )
    assert files
    for file in files:
        whole, resumed = (load_file(tmp_path / run / file) for run in ("whole", "cut"))
        for key, value in whole.items():
            assert torch.equal(value, resumed[key]), f"{file.name}: {key}"
