"""The chain end to end on really trained tiny models: sampling, its promises, plain libraries, bad input."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import sample_pairs
from data_module.images import read_pixels
from data_module.pairs import PairsFolder


def sample(chain, out, **flags):
    sample_pairs.main(chain.sample_flags(out, **flags))
    return PairsFolder.open(out)


def content(pairs):
    """Everything that an item is: file name -> (film bytes, row)."""
    table = pd.read_csv(pairs.root / "metadata.csv", dtype=str, keep_default_na=False)
    return {
        row["file_name"]: ((pairs.root / row["file_name"]).read_bytes(), tuple(row))
        for _, row in table.iterrows()
    }


@pytest.fixture(scope="module")
def whole(chain, tmp_path_factory):
    """Items 0 to 11, in batches of 4."""
    return sample(chain, tmp_path_factory.mktemp("sampled") / "whole", num_pairs=12)


def test_a_pairs_folder_comes_out(chain, whole):
    assert len(whole) == 12
    films = [read_pixels(path) for path in whole.image_paths]
    assert {film.shape for film in films} == {(64, 64)}
    assert whole.table["report"].notna().any()
    data = PairsFolder.open(chain.run("data"))
    test_rows, train_rows = data.split("test").table, data.split("train").table
    assert set(whole.table["prompt"]) <= set(test_rows["prompt"])
    references = train_rows.set_index("file_name")["patient_id"]
    assert set(whole.table["reference"]) <= set(references.index)
    provenance = json.loads((whole.root / "provenance.json").read_text())
    assert set(provenance["models"]) == {"vision", "language", "prior"}
    assert "Not for clinical" in (whole.root / "README.md").read_text()
    assert (whole.root / "contact_sheet.png").stat().st_size > 10_000


def test_items_alone_equal_items_of_a_run(chain, whole, tmp_path):
    """Items 5 to 10 sampled alone, other neighbors missing, are the same bytes."""
    alone = sample(chain, tmp_path / "alone", num_pairs=6, start=5)
    every, some = content(whole), content(alone)
    assert len(some) == 6
    assert all(every[name] == value for name, value in some.items())


def test_shards_make_the_same_folder(chain, whole, tmp_path):
    out = tmp_path / "shards"
    sample_pairs.main(chain.sample_flags(out, num_pairs=12, shard="1/2"))
    assert not (out / "metadata.csv").exists()
    assert content(sample(chain, out, num_pairs=12, shard="0/2")) == content(whole)


@pytest.mark.slow
def test_killed_run_goes_on(chain, whole, tmp_path):
    """SIGKILL between the films and the record of the second batch; the same command then completes."""
    out = tmp_path / "killed"
    script = f"""
import os, signal, sys
sys.path.insert(0, {os.getcwd()!r})
import runtime.ledger as ledger, sample_pairs
plain, calls = ledger.BlockLedger.write, []
def write(self, block, record):
    calls.append(block)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(self, block, record)
ledger.BlockLedger.write = write
sample_pairs.main({chain.sample_flags(out, num_pairs=12)!r})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert not (out / "metadata.csv").exists()
    assert content(sample(chain, out, num_pairs=12)) == content(whole)
    assert len(list((out / "images").rglob("*"))) == 1 + 12  # one sub-folder, nothing half written


def test_batch_size_changes_at_most_rounding(chain, whole, tmp_path):
    one = sample(chain, tmp_path / "one", num_pairs=6, batch_size=1)
    for name in one.table["file_name"]:
        a, b = (read_pixels(pairs.root / name).astype(int) for pairs in (one, whole))
        assert np.abs(a - b).max() <= 1
    assert one.table["report"].equals(whole.table["report"][:6])


def test_more_pairs_extend_the_folder(chain, whole, tmp_path):
    out = tmp_path / "grown"
    first = content(sample(chain, out, num_pairs=3))
    grown = content(sample(chain, out, num_pairs=12))
    assert all(grown[name] == value for name, value in first.items())
    assert grown == content(whole)


def test_other_settings_are_refused(chain, whole):
    with pytest.raises(ValueError, match=r"guidance_scale = 3.0, now 4.0.*--overwrite"):
        sample_pairs.main(chain.sample_flags(whole.root, num_pairs=12, guidance_scale=4.0))
    assert len(PairsFolder.open(whole.root)) == 12


def test_a_folder_from_before_a_setting_goes_on(chain, whole, tmp_path):
    out = tmp_path / "older"
    sample(chain, out, num_pairs=3)
    path = out / ".parts" / "identity.json"
    identity = json.loads(path.read_text())
    del identity["models.drawing.truncate_prompts"], identity["plan.prompt_order"]
    path.write_text(json.dumps(identity))
    assert content(sample(chain, out, num_pairs=12)) == content(whole)
    with pytest.raises(ValueError, match=r"plan.prompt_order = 'random', now 'table'"):
        sample_pairs.main(chain.sample_flags(out, num_pairs=12, prompt_order="table"))


def test_prompts_reference_and_films_only(chain, tmp_path):
    """A free prompt gets its findings from the labeler; one reference film serves all."""
    data = PairsFolder.open(chain.run("data"))
    flags = chain.sample_flags(
        tmp_path / "free",
        prompt="Big right-sided pleural effusion",
        reference=data.image_paths[0],
        num_pairs=2,
    )
    sample_pairs.main([*flags, "--films-only"])
    table = PairsFolder.open(tmp_path / "free").table
    assert table["Pleural Effusion"].tolist() == [1, 1]
    assert table["reference"].tolist() == [str(data.image_paths[0])] * 2
    (tmp_path / "prompts.csv").write_text("prompt,other\nCardiomegaly.,1\nNo pneumothorax.,2\n")
    listed = sample(chain, tmp_path / "listed", prompts=tmp_path / "prompts.csv", num_pairs=0)
    assert listed.table["prompt"].tolist() == ["Cardiomegaly.", "No pneumothorax."]
    assert listed.table["Pneumothorax"][1] == 0


def test_stable_diffusion_folder_in_plain_diffusers(chain, tmp_path):
    """StableDiffusionPipeline loads the clipSD model and draws a gray film; ours samples from it too."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPVisionModelWithProjection

    pipeline = StableDiffusionPipeline.from_pretrained(chain.run("sd/model"))
    assert isinstance(pipeline.image_encoder, CLIPVisionModelWithProjection)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    film = pipeline("pleural effusion", num_inference_steps=2, height=64, width=64, generator=generator)
    assert film.images[0].size == (64, 64)
    assert film.images[0].mode == "L"
    assert len(sample(chain, tmp_path / "sd", vision=chain.run("sd"))) == 4


def test_codec_in_plain_transformers(chain):
    from transformers import AutoTokenizer, BartForConditionalGeneration

    folder = chain.run("bart/model")
    bart = BartForConditionalGeneration.from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(["The heart is enlarged."], return_tensors="pt")
    assert bart(**tokens).logits.shape[:2] == tokens.input_ids.shape


def test_imagefolder_reads_the_synthetic_folder(whole, tmp_path):
    from datasets import load_dataset

    rows = load_dataset("imagefolder", data_dir=str(whole.root), split="train", cache_dir=str(tmp_path))
    assert len(rows) == 12
    assert rows[3]["image"].size == (64, 64)
    assert rows[3]["prompt"] == whole.table["prompt"][3]
    assert (rows[3]["report"] or "") == whole.table["report"][3]


def test_evaluation_of_the_chain(chain, whole, tmp_path):
    """generate_reports and `python -m evaluation all` give every key of results.json that is promised."""
    import generate_reports
    from evaluation.__main__ import main as evaluate

    flags = ["--data", chain.run("data"), "--language", chain.run("bart"), "--model", chain.run("prior")]
    reports = tmp_path / "reports.csv"
    generate_reports.main([*flags, "--autoencoder", chain.run("autoencoder"), "--out", str(reports)])
    assert pd.read_csv(reports)["file_name"].is_unique
    folders = ["--real", chain.run("data"), "--synthetic", str(whole.root), "--reports", str(reports)]
    out = tmp_path / "results"
    evaluate(["all", *folders, "--classifier", chain.run("classifier"), "--out", str(out)])
    results = json.loads((out / "results.json").read_text())
    promised = {
        "films": ("auroc_mean", "auroc_mean_real", "fid", "fid_floor"),
        "reports": ("micro_f1_14",),
        "pairs": ("report_vs_prompt_micro_f1_14", "film_report_agreement"),
    }
    for section, names in promised.items():
        assert set(names) <= set(results[section]), section


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"vision": "{bart}"}, r"--vision .*bart holds a bart run; a clipSD or clipUViT run is needed"),
        ({"prior": "{bart}"}, r"--prior .*holds a bart run"),
        ({"data": "{bart}"}, r"bart is not a pairs folder"),
        ({"prompt": "effusion " * 500}, r"--prompt: \d+ tokens \(500 words\)"),
        ({"prompts": "nowhere.txt"}, r"--prompts nowhere.txt: no such file"),
        ({"prompt": "a", "prompts": "b.txt"}, r"--prompt or --prompts, not both"),
        ({"shard": "2/2"}, r"--shard '2/2'"),
        ({"solver": "rk45"}, r"--solver 'rk45': choose one of dpm-solver\+\+"),
        ({"reference": "nowhere.png"}, r"--reference nowhere.png: no such file"),
        ({"reference": "{blank}"}, r"--reference .*blank.png: blank, every pixel is 9"),
        ({"init_film": "{blank}", "strength": 0.5}, r"--init-film .*blank.png: blank, every pixel is 9"),
        ({"prompt": "No effusion. Large effusion."}, r"--prompt: .*asserts and denies Pleural Effusion"),
        ({"batch_size": -1}, r"--batch-size, --num-pairs and --start must be 0 or more"),
    ],
)
def test_bad_input_is_named(chain, tmp_path, capsys, flags, message):
    blank = tmp_path / "blank.png"
    Image.new("L", (64, 64), 9).save(blank)
    flags = {name: str(value).format(bart=chain.run("bart"), blank=blank) for name, value in flags.items()}
    with pytest.raises((ValueError, SystemExit)) as error:  # tyro itself prints what a config refuses
        sample_pairs.main(chain.sample_flags(tmp_path / "out", **flags))
    printed = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert re.search(message, f"{error.value} {printed}")


def test_prompts_that_deny_what_they_assert_are_warned_of(chain, tmp_path, capsys):
    """A file may hold thousands, and a labeler errs: its prompts are drawn, but not in silence."""
    (tmp_path / "p.txt").write_text("Mild edema.\nLarge effusion, no effusion.\nNo acute disease.\n")
    flags = chain.sample_flags(tmp_path / "out", prompts=tmp_path / "p.txt", num_pairs=3)
    sample_pairs.main([*flags, "--films-only"])
    message = capsys.readouterr().err
    assert "1 of 3 prompts both assert and deny a finding" in message
    assert "prompt 2" in message
    assert "effusion" not in message.lower().replace(str(tmp_path).lower(), "")


@pytest.mark.slow
def test_an_error_has_no_traceback(chain, tmp_path):
    command = [sys.executable, "sample_pairs.py", *chain.sample_flags(tmp_path / "out", vision="no/such/run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().startswith("error: --vision no/such/run: no such folder")
    assert "Traceback" not in done.stderr
