"""train_bart.py, train_prior_model.py and generate_reports.py, end to end at tiny size."""

import json
import shutil

import pandas as pd
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

import generate_reports
import train_bart
import train_prior_model
from data_module.demo.source import write_demo
from data_module.pairs import PairsFolder
from language_module.codec import ReportCodec
from prior_model.prior import ReportPrior
from runtime.runs import RunFolder
from training.config import with_epochs
from training.loop import _Trainer

TRAIN = ["--num-steps", "6", "--batch-size", "4", "--warmup-steps", "2", "--checkpoint-every", "3"]
TRAIN += ["--num-validation-batches", "1", "--ema-decay", "0.9"]
BART = ["--vocab-size", "400", "--d-model", "32", "--encoder-layers", "1", "--decoder-layers", "1"]
BART += ["--num-heads", "2", "--ffn-dim", "32", "--num-embeddings", "2", *TRAIN]
PRIOR = ["--dim", "32", "--depth", "1", "--num-heads", "2", "--stem-channels", "8", *TRAIN]


def weights(run, name):
    return load_file(run / "model" / name)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def run_interrupted(main, argv):
    """Start a run that is told to stop in its fourth step, then run the same command again."""
    optimize = _Trainer._optimize

    def stop_at_four(self, batches):
        self.stop_signal = 15 if self.step == 3 else 0
        return optimize(self, batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Trainer, "_optimize", stop_at_four)
        with pytest.raises(KeyboardInterrupt):
            main(argv)
    main(argv)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, an untrained autoencoder run, and trained codec and prior runs."""
    root = tmp_path_factory.mktemp("language")
    write_demo(root / "data", num_studies=30, size=32, num_workers=1)
    run = RunFolder.create(root / "autoencoder", "autoencoder", train_bart.DEMO)
    torch.manual_seed(0)
    AutoencoderKL(
        in_channels=1,
        out_channels=1,
        sample_size=32,
        latent_channels=4,
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        mid_block_add_attention=False,
    ).save_pretrained(run.model_dir)
    train_bart.main(["--data", f"{root}/data", "--out", f"{root}/bart", *BART])
    train_prior_model.main([*prior_flags(root), "--out", f"{root}/prior"])
    return root


def prior_flags(root):
    runs = ["--autoencoder", f"{root}/autoencoder", "--language", f"{root}/bart", "--cache", f"{root}/cache"]
    return ["--data", f"{root}/data", *runs, *PRIOR]


def report_flags(root, out, *more):
    runs = [f"--{name}={root}/{folder}" for name, folder in (("language", "bart"), ("model", "prior"))]
    runs.append(f"--autoencoder={root}/autoencoder")
    return [
        "--data",
        f"{root}/data",
        "--split",
        "train",
        "--out",
        str(out),
        *runs,
        "--batch-size",
        "4",
        *more,
    ]


def test_codec_resumes_bit_for_bit(folder, tmp_path):
    run_interrupted(train_bart.main, ["--data", f"{folder}/data", "--out", f"{tmp_path}/bart", *BART])
    for name in ("model.safetensors", "pooler.safetensors"):
        assert same(weights(tmp_path / "bart", name), weights(folder / "bart", name))


def test_prior_resumes_bit_for_bit(folder, tmp_path):
    run_interrupted(train_prior_model.main, [*prior_flags(folder), "--out", f"{tmp_path}/prior"])
    name = "diffusion_pytorch_model.safetensors"
    assert same(weights(tmp_path / "prior", name), weights(folder / "prior", name))


def test_metrics_are_logged(folder):
    for run, losses in (("bart", {"loss"}), ("prior", {"loss", "mse", "cosine", "decoder", "findings"})):
        lines = [json.loads(line) for line in (folder / run / "metrics.jsonl").read_text().splitlines()]
        assert {f"validation_{name}" for name in losses} <= set(lines[-1])


def test_prior_fits_its_codec(folder):
    codec = ReportCodec.from_pretrained(folder / "bart" / "model")
    prior = ReportPrior.from_pretrained(folder / "prior" / "model")
    prior.check_codec(codec.num_embeddings, codec.embedding_dim, codec.fingerprint())
    reports = codec.decode(prior(torch.randn(3, 4, 8, 8)))
    assert len(reports) == 3


def test_epochs_set_the_steps():
    train = train_bart.PRESETS["paper"].train
    assert with_epochs(train, 20.0, 160).num_steps == 400  # 20 epochs of 20 batches of 8
    assert with_epochs(train, 0.0, 160).num_steps == train.num_steps


def test_generated_table(folder, tmp_path):
    out = tmp_path / "reports.csv"
    generate_reports.main(report_flags(folder, out, "--max-films", "6"))
    table = pd.read_csv(out, keep_default_na=False)
    rows = PairsFolder.open(folder / "data").split("train").table.head(6)
    assert table.columns.tolist() == ["study_id", "file_name", "report", "warning"]
    assert table["file_name"].tolist() == rows["file_name"].tolist()
    assert table["study_id"].tolist() == rows["study_id"].tolist()
    assert {path.name for path in tmp_path.iterdir()} == {"reports.csv", "reports.provenance.json"}
    with pytest.raises(ValueError, match="is there already"):
        generate_reports.main(report_flags(folder, out))


@pytest.mark.parametrize("mode", ["--reconstruct", "--no-reconstruct"])
@pytest.mark.parametrize("method", ["greedy", "sample"])
def test_killed_generation_goes_on(folder, tmp_path, mode, method):
    """Killed in the middle of writing the second batch: nothing lost, repeated or changed."""
    flags = (mode, "--method", method, "--max-films", "10", "--max-new-tokens", "12")
    generate_reports.main(report_flags(folder, tmp_path / "whole.csv", *flags))
    decode, calls = ReportCodec.decode, []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(self, *arguments)

    flags = report_flags(folder, tmp_path / "again.csv", *flags)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReportCodec, "decode", killed)
        with pytest.raises(KeyboardInterrupt):
            generate_reports.main(flags)
    (partial,) = tmp_path.glob(".again.csv.parts/00000000.json")
    assert not (tmp_path / "again.csv").exists()
    partial.write_text(partial.read_text()[:-5])
    generate_reports.main(flags)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_finished_generation_says_so(folder, tmp_path, capsys):
    """The same command again is no error and leaves nothing; a pairs folder's own files are safe."""
    flags = report_flags(folder, tmp_path / "reports.csv", "--max-films", "2")
    generate_reports.main(flags)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    generate_reports.main(flags)
    assert "reports.csv is finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    for name in ("metadata.csv", "skipped.csv"):
        own = folder / "data" / name
        content = own.read_bytes()
        with pytest.raises(ValueError, match="is a file of the pairs folder"):
            generate_reports.main(report_flags(folder, own, "--max-films", "2", "--overwrite"))
        assert own.read_bytes() == content


def test_text_only_folder(folder, tmp_path):
    """Reports without films train a codec and come back through it."""
    table = pd.read_csv(folder / "data" / "metadata.csv", dtype=str).assign(file_name="")
    (tmp_path / "text").mkdir()
    table.to_csv(tmp_path / "text" / "metadata.csv", index=False)
    train_bart.main(["--data", f"{tmp_path}/text", "--out", f"{tmp_path}/bart", *BART])
    flags = ["--data", f"{tmp_path}/text", "--split", "train", "--language", f"{tmp_path}/bart"]
    out = tmp_path / "out.csv"
    generate_reports.main([*flags, "--out", str(out), "--reconstruct", "--max-films", "2"])
    assert len(pd.read_csv(out)) == 2
    with pytest.raises(ValueError, match="no film"):
        generate_reports.main([*flags, "--out", str(tmp_path / "other.csv")])


def test_wrong_folders_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="holds a autoencoder run; a bart run is needed"):
        train_prior_model.main(
            [*prior_flags(folder), "--language", f"{folder}/autoencoder", "--out", f"{tmp_path}/p"]
        )
    with pytest.raises(ValueError, match="not a run folder"):
        generate_reports.main(report_flags(folder, tmp_path / "o.csv", "--model", str(tmp_path)))
    assert not (tmp_path / "p").exists()


def test_findings_need_their_outputs(folder, tmp_path):
    flags = [*prior_flags(folder), "--out", f"{tmp_path}/p", "--num-findings", "0"]
    with pytest.raises(ValueError, match="--findings-weight needs --num-findings 14"):
        train_prior_model.main(flags)


def test_prior_of_another_codec_is_refused(folder, tmp_path):
    """Another K, and the same K with other weights."""
    for number, change in enumerate((["--num-embeddings", "3"], ["--seed", "5"])):
        other = tmp_path / f"bart{number}"
        train_bart.main(["--data", f"{folder}/data", "--out", str(other), *BART, *change])
        flags = report_flags(folder, tmp_path / "o.csv", "--language", str(other))
        with pytest.raises(ValueError, match=r"train the prior on this codec|trained for codec"):
            generate_reports.main(flags)


@pytest.mark.parametrize("script", [train_bart, train_prior_model, generate_reports])
def test_dry_runs_write_nothing(script, tmp_path, capsys):
    for preset in script.PRESETS:
        script.main(["--preset", preset, "--data", f"{tmp_path}/no", "--out", f"{tmp_path}/out", "--dry-run"])
        assert f"{tmp_path}/out" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_config_file_replays(folder, tmp_path):
    shutil.copy(folder / "bart" / "config.json", tmp_path / "config.json")
    train_bart.main(["--config", f"{tmp_path}/config.json", "--out", f"{tmp_path}/again"])
    name = "model.safetensors"
    assert same(weights(tmp_path / "again", name), weights(folder / "bart", name))
