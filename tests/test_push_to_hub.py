"""Cards of models, and push_to_hub.py against a server that speaks as the hub does."""

import dataclasses
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from helpers.hub_server import serve_hub
from huggingface_hub import ModelCard
from PIL import Image

import push_to_hub
from data_module.pairs import PairsFolder, write_pairs
from runtime.hub import FILES_PER_COMMIT
from runtime.origins import find_origins
from runtime.runs import RunFolder
from training.model_card import COMMANDS, make_card

ROOT = Path(__file__).resolve().parents[1]
# Run of the chain -> kind, and the library that loads its folder.
RUNS = {
    "autoencoder": ("autoencoder", "diffusers"),
    "clip": ("clip", "transformers"),
    "classifier": ("classifier", "transformers"),
    "uvit": ("clipUViT", None),
    "sd": ("clipSD", "diffusers"),
    "bart": ("bart", "transformers"),
    "prior": ("prior", None),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_card_tells_what_the_model_is(chain, name):
    kind, library = RUNS[name]
    run = RunFolder.open(chain.root / name, kind)
    card = ModelCard.load(run.model_dir / "README.md")
    assert (card.data.license, card.data.datasets) == ("apache-2.0", ["demo"])
    assert card.data.library_name == library
    assert {"chest-x-ray", kind} <= set(card.data.tags)
    assert "Not for clinical use" in card.text
    assert "80 rows" in card.text
    assert str(chain.root) not in card.text
    (last,) = [line["validation_loss"] for line in run.read_log() if "validation_loss" in line]
    assert f"| validation_loss | {last:.6g} |" in card.text
    assert "| train.num_steps | 2 |" in card.text
    contents = json.loads((run.root / "config.json").read_text())["contents"]
    assert f"| data | {contents['data']} |" in card.text


@pytest.mark.parametrize("name", RUNS)
def test_what_a_card_says_of_loading_works(chain, name, capsys):
    run = RunFolder.open(chain.root / name, RUNS[name][0])
    text = (run.model_dir / "README.md").read_text()
    found = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert (found is None) == (name == "prior")  # of a class of our own
    if found:
        names: dict = {}
        exec(found[1].replace("FOLDER", str(run.model_dir)), names)
        assert {"model", "vae"} & names.keys()
    (command,) = re.findall(r"^    python (.*)$", text, flags=re.MULTILINE)
    assert command == COMMANDS[run.kind]
    arguments = shlex.split(command)
    module = "evaluation.__main__" if arguments[0] == "-m" else arguments[0].removesuffix(".py")
    importlib.import_module(module).main([*arguments[2 if arguments[0] == "-m" else 1 :], "--dry-run"])
    assert "FOLDER" in capsys.readouterr().out


def test_equal_runs_have_equal_cards_wherever_they_lie(chain, tmp_path):
    import train_autoencoder

    shutil.copytree(chain.root / "data", tmp_path / "moved data")
    flags = [
        "--num-steps",
        "2",
        "--batch-size",
        "4",
        "--warmup-steps",
        "0",
        "--block-out-channels",
        "8",
        "8",
        "8",
    ]
    out = tmp_path / "elsewhere"
    train_autoencoder.main(["--data", str(tmp_path / "moved data"), "--out", str(out), *flags])
    cards = [(root / "model" / "README.md").read_bytes() for root in (chain.root / "autoencoder", out)]
    assert cards[0] == cards[1]


def test_a_damaged_provenance_ends_no_training(chain, tmp_path):
    run = RunFolder.open(chain.root / "bart", "bart")
    (tmp_path / "provenance.json").write_text("{")
    moved = dataclasses.replace(run, config={**run.config, "data": str(tmp_path)})
    assert ModelCard(make_card(run.model_dir, moved, 2)).data.datasets == ["unknown"]


@pytest.fixture
def hub(tmp_path):
    with serve_hub(tmp_path / "hub") as server:
        yield server


def push(hub_address, *flags, **environment):
    """Run the command as a user would."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    kept |= {"HF_ENDPOINT": hub_address, "HF_TOKEN": "hf_write", "HF_HUB_DISABLE_XET": "1"}
    kept |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
    command = [sys.executable, "push_to_hub.py", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)


def read_all(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_pairs_arrive_and_load_as_a_data_set(chain, hub, tmp_path):
    folder = tmp_path / "pairs"
    shutil.copytree(chain.root / "data", folder)
    for extra in (".parts/0.json", "cache/0.npz", "contact_sheet.png", "images/.00.png.7.tmp", ".lock"):
        (folder / extra).parent.mkdir(exist_ok=True)
        (folder / extra).write_text("not to be sent")
    done = push(hub.address, folder, "--repo", "me/pairs", "--private")
    assert done.returncode == 0, done.stderr
    assert "83 files" in done.stdout
    assert hub.created["me/pairs"]["type"] == "dataset"
    assert hub.created["me/pairs"].get("private") or hub.created["me/pairs"].get("visibility") == "private"

    sent = read_all(hub.root / "me" / "pairs")
    own = read_all(chain.root / "data")
    table = PairsFolder.open(folder).table
    assert set(sent) == {*table["file_name"], "metadata.csv", "provenance.json", "README.md"}
    assert all(own[name] == content for name, content in sent.items())
    for split in ("train", "test"):
        loaded = datasets.load_dataset(
            str(hub.root / "me" / "pairs"), split, cache_dir=str(tmp_path / "cache")
        )
        rows = table[table["split"] == split]
        assert loaded[split]["report"] == rows["report"].tolist()
        for film, name in zip(loaded[split]["image"], rows["file_name"], strict=True):
            np.testing.assert_array_equal(np.asarray(film), np.asarray(Image.open(folder / name)))

    again = push(hub.address, folder, "--repo", "me/pairs")
    assert again.returncode == 0, again.stderr
    assert len(hub.commits) == 1  # nothing has changed


def test_a_model_arrives_and_loads_by_plain_diffusers(chain, hub):
    done = push(hub.address, chain.root / "autoencoder", "--repo", "me/vae")
    assert done.returncode == 0, done.stderr
    assert read_all(hub.root / "me" / "vae") == read_all(chain.root / "autoencoder" / "model")
    assert hub.objects  # its weights went by LFS
    received, own = (
        AutoencoderKL.from_pretrained(root).state_dict()
        for root in (hub.root / "me" / "vae", chain.root / "autoencoder" / "model")
    )
    assert received.keys() == own.keys()
    assert all(torch.equal(received[name], own[name]) for name in own)
    assert find_origins(hub.root / "me" / "vae") == {"demo"}


def test_an_upload_that_broke_goes_on(chain, hub):
    hub.fail_commits = 1
    flags = (chain.root / "clip", "--repo", "me/clip")
    failed = push(hub.address, *flags)
    assert failed.returncode == 2
    assert (
        failed.stderr.strip() == "error: --repo me/clip: run the command again later, it goes on (HTTP 500)"
    )
    sent_before = dict(hub.objects)
    assert push(hub.address, *flags).returncode == 0
    assert hub.objects == sent_before
    assert read_all(hub.root / "me" / "clip") == read_all(chain.root / "clip" / "model")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HF_TOKEN": "", "HF_HOME": "nowhere"}, "no token of the hub"),
        ({"HF_TOKEN": "hf_wrong"}, "does not know the token"),
        ({"HF_TOKEN": "hf_read"}, "may not write there"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
    ids=["no token", "unknown token", "no right", "no network", "offline"],
)
def test_what_goes_wrong_is_said_in_one_line(chain, hub, environment, message):
    done = push(hub.address, chain.root / "clip", "--repo", "me/clip", **environment)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*\n", done.stderr), done.stderr
    assert message in done.stderr
    assert not hub.commits


def test_a_dry_run_lists_and_sends_nothing(chain, capsys):
    push_to_hub.main([str(chain.root / "autoencoder"), "--repo", "me/vae", "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    weights = chain.root / "autoencoder" / "model" / "diffusion_pytorch_model.safetensors"
    assert f"{weights.stat().st_size / 1000:.0f} kB  {weights.name}" in [line.strip() for line in lines]
    assert lines[-1].endswith("files, as a model")


def write_rows(root, source, **provenance):
    """A pairs folder of two films of one source."""
    (root / "images").mkdir(parents=True)
    rows = []
    for number in range(2):
        Image.new("L", (8, 8), 100 + number).save(root / "images" / f"{number}.png")
        row = {"file_name": f"images/{number}.png", "report": "Clear.", "patient_id": str(number)}
        rows.append({**row, "split": "train", "source": source})
    return write_pairs(root, rows, provenance, "# Card\n").root


@pytest.mark.parametrize("source", ["mimic-cxr", "open-i", "films (text from labels)", "", "MIMIC"])
def test_films_that_may_not_be_passed_on_are_refused(tmp_path, source, capsys):
    folder = write_rows(tmp_path / "real", source)
    flags = [str(folder), "--repo", "me/pairs", "--dry-run"]
    with pytest.raises(ValueError, match="--i-have-the-right"):
        push_to_hub.main(flags)
    push_to_hub.main([*flags, "--i-have-the-right"])
    assert "warning: films or reports of" in capsys.readouterr().err


def test_pairs_drawn_by_a_model_of_such_films_are_warned_of(tmp_path, capsys):
    real = write_rows(tmp_path / "real", "open-i")
    drawn = write_rows(tmp_path / "drawn", "paircxr", config={"plan": {"data": str(real)}})
    assert json.loads((drawn / "provenance.json").read_text())["learned_from"] == ["open-i"]
    shutil.rmtree(real)  # what is known is in the folder itself
    push_to_hub.main([str(drawn), "--repo", "me/pairs", "--dry-run"])
    assert "learned from open-i (CC BY-NC-ND 4.0" in capsys.readouterr().err
    card = ModelCard.load(drawn / "README.md")
    assert card.data.license == "cc-by-nc-nd-4.0"
    assert card.data.tags == ["chest-x-ray", "synthetic"]


def test_what_a_model_learned_from_goes_with_its_pairs(chain, tmp_path):
    """Sampled, converted, mixed and exported: the folder tells it, and the phantoms' license holds."""
    import prepare_data
    import sample_pairs
    from data_module.__main__ import main as data_module
    from data_module.mixing import mix_folders

    drawn = tmp_path / "drawn"
    sample_pairs.main(chain.sample_flags(drawn))
    prepare_data.main(["csv", "--table", str(drawn), "--size", "32", "--out", str(tmp_path / "smaller")])
    mix_folders(chain.root / "data", tmp_path / "smaller", tmp_path / "mixed")
    data_module(["export", "--layout", "dicom", "--data", str(drawn), "--out", str(tmp_path / "dicom")])
    for folder in (drawn, tmp_path / "smaller", tmp_path / "mixed", tmp_path / "dicom"):
        assert json.loads((folder / "provenance.json").read_text())["learned_from"] == ["demo"], folder
        assert ModelCard.load(folder / "README.md").data.license == "apache-2.0"
        assert find_origins(folder) == {"demo"}


def test_a_model_of_such_films_is_refused(chain, tmp_path):
    real = write_rows(tmp_path / "real", "mimic-cxr")
    run = tmp_path / "run"
    shutil.copytree(chain.root / "clip", run)
    saved = json.loads((run / "config.json").read_text())
    saved["config"]["data"] = str(real)
    (run / "config.json").write_text(json.dumps(saved))
    (run / "model" / "README.md").unlink()  # as of a run of before there were cards
    with pytest.raises(ValueError, match=r"a model of mimic-cxr \(PhysioNet"):
        push_to_hub.main([str(run), "--repo", "me/clip", "--dry-run"])


def test_what_is_not_whole_is_refused(chain, tmp_path):
    def refused(folder, message, repo="me/x"):
        with pytest.raises(ValueError, match=message):
            push_to_hub.main([str(folder), "--repo", repo, "--dry-run"])

    refused(chain.root / "clip", "OWNER/NAME", repo="clip")
    refused(chain.root / "clip", "OWNER/NAME", repo="a/b/c")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "neither a pairs folder nor a run")
    shutil.copytree(chain.root / "clip", tmp_path / "run", ignore=shutil.ignore_patterns("model"))
    refused(tmp_path / "run", "not finished")
    folder = write_rows(tmp_path / "pairs", "demo")
    (folder / "images" / "0.png").rename(tmp_path / "0.png")
    refused(folder, "1 of its films are not there")
    (folder / "images" / "0.png").symlink_to(tmp_path / "0.png")
    refused(folder, "a link to a file outside")
    (folder / "metadata.csv").unlink()
    refused(folder, "not finished")


def test_many_files_go_in_several_commits(hub, tmp_path):
    folder = tmp_path / "pairs"
    (folder / "images").mkdir(parents=True)
    names = [f"images/{number:04d}.png" for number in range(FILES_PER_COMMIT + 10)]
    Image.new("L", (8, 8), 100).save(folder / names[0])
    for name in names[1:]:
        shutil.copyfile(folder / names[0], folder / name)
    base = {"report": "Clear.", "split": "train", "source": "demo"}
    rows = [{"file_name": name, "patient_id": name[7:11], **base} for name in names]
    write_pairs(folder, rows, {}, "# Card\n")
    done = push(hub.address, folder, "--repo", "me/many")
    assert done.returncode == 0, done.stderr
    assert [len(commit) for commit in hub.commits] == [FILES_PER_COMMIT, 13]
    assert hub.commits[-1][-2:] == ["metadata.csv", "README.md"]
