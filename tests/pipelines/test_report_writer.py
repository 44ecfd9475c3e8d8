"""generate_reports.py on single films and folders, through every kind of --model."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import generate_reports
import sample_pairs
import train_bart
import train_classifier
import train_prior_model
import train_report_gpt
from data_module.consensus import ConsensusBleu
from data_module.demo.film import render_film
from data_module.demo.source import write_demo
from data_module.demo.study import get_study
from data_module.findings import FINDINGS
from data_module.labeler.attributes import NUM_ATTRIBUTES
from data_module.labeler.consistency import find_contradictions
from data_module.pairs import PairsFolder
from evaluation.reports.overlap import score_text
from language_module.codec import ReportCodec
from language_module.config import DecodingConfig
from language_module.image_encoder import ImageEncoder
from pipelines.config import WriterConfig
from pipelines.drafts import choose_by_consensus, choose_drafts
from prior_model.prior import ReportPrior

TRAIN = ["--num-steps", "2", "--batch-size", "4", "--warmup-steps", "0", "--num-validation-batches", "1"]
BART = ["--vocab-size", "400", "--d-model", "32", "--encoder-layers", "1", "--decoder-layers", "1"]
BART += ["--num-heads", "2", "--ffn-dim", "32", "--num-embeddings", "2", "--max-tokens", "32"]
BASELINES = ("retrieval", "most-frequent", "most-typical")
MODELS = ("prior", "tuned", "report_gpt", *BASELINES)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Data, a classifier, a codec, priors on its features as they are and tuned, and the baseline."""
    root = tmp_path_factory.mktemp("models")
    data = ["--data", f"{root}/data"]
    write_demo(root / "data", num_studies=60, size=32, num_workers=1)
    sizes = ["--image-size", "32", "--hidden-sizes", "8", "16", "--depths", "1", "1"]
    train_classifier.main([*data, *sizes, *TRAIN, "--out", f"{root}/classifier"])
    train_bart.main([*data, *BART, *TRAIN, "--out", f"{root}/bart"])
    prior = ["--features", "classifier", "--classifier", f"{root}/classifier", "--language", f"{root}/bart"]
    prior += ["--patch-size", "1", "--stem-depth", "0", "--max-shift", "0", "--dim", "32", "--num-heads", "2"]
    train_prior_model.main([*data, *prior, *TRAIN, "--out", f"{root}/prior"])
    tuned = ["--tune-encoder", "--tune-decoder", "--feature-levels", "2", "--num-attributes", "70"]
    tuned += ["--decoder-loss-weight", "1"]
    train_prior_model.main([*data, *prior, *tuned, *TRAIN, "--out", f"{root}/tuned"])
    gpt = ["--encoder", f"{root}/classifier", "--vocab-size", "400", "--dim", "32", "--depth", "1"]
    gpt += ["--num-heads", "2", "--num-prefix", "2", "--mapping-heads", "2", "--max-tokens", "32"]
    train_report_gpt.main([*data, *gpt, *TRAIN, "--out", f"{root}/report_gpt"])
    return root


def flags(root, model, *more):
    name = model if model in BASELINES else f"{root}/{model}"
    values = ["--model", name, "--data", f"{root}/data", "--batch-size", "4", *more]
    return [*values, "--classifier", f"{root}/classifier"] if model == "retrieval" else values


def write_dicom(path, pixels):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = (pixels.astype(np.uint16) * 16).tobytes()
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def films(root):
    """One film in four formats and sizes, and four files that are none."""
    folder = root / "films"
    (folder / "more").mkdir(parents=True)
    pixels = render_film(get_study(0, 5), 64)
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray((pixels.astype(np.uint16) * 257).astype(np.uint16)).save(folder / "b.png")
    wide = np.zeros((64, 100), np.uint8)
    wide[:, 18:82] = pixels
    Image.fromarray(wide).resize((400, 256)).convert("RGB").save(folder / "c.jpg", quality=95)
    write_dicom(folder / "more" / "d.dcm", pixels)
    (folder / "corrupt.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3" * 50)
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (folder / "notes.txt").write_text("no film")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.mark.parametrize("model", MODELS)
def test_a_folder_of_films(root, films, tmp_path, model):
    """Films of any format are read, the others are listed, and the batch goes on."""
    out = tmp_path / "reports.csv"
    generate_reports.main(flags(root, model, "--images", str(films), "--out", str(out)))
    table = pd.read_csv(out, keep_default_na=False)
    assert table["file_name"].tolist() == ["a.png", "b.png", "c.jpg", "more/d.dcm"]
    skipped = pd.read_csv(tmp_path / "reports.skipped.csv")
    assert skipped["item"].tolist() == ["corrupt.dcm", "cut.png", "empty.jpg", "notes.txt"]
    assert all(name in reason for name, reason in zip(skipped["item"], skipped["reason"], strict=True))
    # The same film at 8 and 16 bits gives the same report.
    assert table["report"][0] == table["report"][1]
    assert {path.name for path in tmp_path.iterdir()} == {
        "reports.csv",
        "reports.skipped.csv",
        "reports.provenance.json",
    }


@pytest.mark.parametrize("model", MODELS)
def test_a_report_depends_on_its_film_alone(root, films, tmp_path, model, capsys):
    """One film alone in its batch, and the same among others. Another --batch-size may round otherwise."""
    generate_reports.main(flags(root, model, "--images", str(films), "--out", f"{tmp_path}/all.csv"))
    capsys.readouterr()
    generate_reports.main(flags(root, model, "--image", str(films / "a.png")))
    alone = capsys.readouterr().out.strip()
    assert alone == pd.read_csv(tmp_path / "all.csv", keep_default_na=False)["report"][0].strip()


def test_floors(root, tmp_path):
    """The most frequent report of the training rows; and a training film finds its own report."""
    generate_reports.main(flags(root, "most-frequent", "--out", f"{tmp_path}/one.csv"))
    train = PairsFolder.open(root / "data").split("train").table
    reports = pd.read_csv(tmp_path / "one.csv")["report"]
    assert reports.nunique() == 1
    assert (train["report"] == reports[0]).sum() == train["report"].value_counts().max()
    generate_reports.main(flags(root, "retrieval", "--split", "train", "--out", f"{tmp_path}/own.csv"))
    assert pd.read_csv(tmp_path / "own.csv")["report"].tolist() == train["report"].tolist()


def test_neighbors_agree_on_a_report(root, tmp_path):
    """All training films as neighbors have the most typical report; which overlaps more than the frequent."""
    train = PairsFolder.open(root / "data").split("train").table["report"].tolist()
    written, out = {}, ["--out", f"{tmp_path}/x.csv"]
    for name, model, more in (
        ("typical", "most-typical", []),
        ("frequent", "most-frequent", []),
        ("all", "retrieval", ["--num-neighbors", str(len(train))]),
        ("some", "retrieval", ["--num-neighbors", "7"]),
        ("few", "retrieval", ["--num-neighbors", "7", "--max-films", "3", "--batch-size", "2"]),
    ):
        generate_reports.main(flags(root, model, *more, *out, "--overwrite"))
        written[name] = pd.read_csv(tmp_path / "x.csv")["report"].tolist()
    assert written["all"] == written["typical"]
    assert len(set(written["typical"])) == 1
    assert set(written["some"]) <= set(train)
    assert len(set(written["some"])) > 1
    assert written["some"][:3] == written["few"]
    typical, frequent = (
        score_text(train, [written[name][0]] * len(train)) for name in ("typical", "frequent")
    )
    assert typical["bleu_4"] > frequent["bleu_4"]
    with pytest.raises(ValueError, match=f"--num-neighbors 1000: there are {len(train)} training films"):
        generate_reports.main(flags(root, "retrieval", "--num-neighbors", "1000", *out, "--overwrite"))
    with pytest.raises(ValueError, match="--num-neighbors 0: must be at least 1"):
        WriterConfig(model="retrieval", num_neighbors=0)
    with pytest.raises(ValueError, match="--num-neighbors 5 is for --model retrieval"):
        WriterConfig(num_neighbors=5)


def test_what_is_tuned_lies_in_the_run(root):
    """Encoder and decoder have moved, the codec's encoder has not, and the prior speaks to its own codec."""
    before = ReportCodec.from_pretrained(root / "bart" / "model")
    after = ReportCodec.from_pretrained(root / "tuned" / "model" / "codec")
    prior = ReportPrior.from_pretrained(root / "tuned" / "model")
    prior.check_codec(after.num_embeddings, after.embedding_dim, after.fingerprint())
    with pytest.raises(ValueError, match="was trained for codec"):
        prior.check_codec(before.num_embeddings, before.embedding_dim, before.fingerprint())
    old, new = before.state_dict(), after.state_dict()
    for part, fixed in (("encoder.layers.", True), ("decoder.layers.", False)):
        names = [name for name in old if name.startswith(f"bart.model.{part}")]
        assert names
        assert all(torch.equal(old[name], new[name]) for name in names) == fixed, part
    folders = (root / "classifier" / "model", root / "tuned" / "model" / "encoder")
    encoders = [ImageEncoder.from_pretrained(folder) for folder in folders]
    film = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(*(encoder(film) for encoder in encoders))


def test_levels_are_the_stages_maps(root):
    """The finest of them as it is, the last one at its places; too many are named."""
    folder = root / "classifier" / "model"
    film = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    last = ImageEncoder.from_pretrained(folder)(film)
    both = ImageEncoder.from_pretrained(folder, num_levels=2)(film)
    assert last.shape == (1, 16, 4, 4)
    assert both.shape == (1, 24, 8, 8)
    assert torch.equal(both[:, 8:], last.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    with pytest.raises(ValueError, match="--feature-levels 9"):
        ImageEncoder.from_pretrained(folder, num_levels=9)


def test_the_draft_that_says_what_is_seen_is_chosen():
    """By findings, by side where findings agree, and a side that is told rightly before none."""
    names = (
        "FINDINGS: {} IMPRESSION: {}".format(*[text] * 2)
        for text in (
            "The heart is moderately enlarged.",
            "There is a small left pneumothorax.",
            "There is a small right pneumothorax.",
            "There is a pneumothorax.",
        )
    )
    drafts = [[text, text] for text in names]
    logits = torch.full((2, 14 + NUM_ATTRIBUTES), -0.1)
    place = FINDINGS.index("Pneumothorax")
    logits[0, place], logits[1, FINDINGS.index("Cardiomegaly")] = 3.0, 3.0
    logits[:, 14 + 5 * place], logits[:, 14 + 5 * place + 1] = -4.0, 4.0
    assert choose_drafts(drafts, logits) == [drafts[2][0], drafts[0][1]]
    assert choose_drafts(drafts[1:2] + drafts[3:], logits)[0] == drafts[3][0]


def test_drafts_are_assembled(root, tmp_path):
    """Through the command: the reports assert only what the prior sees, and depend on no neighbor."""
    decoding = ["--method", "sample", "--num-candidates", "2", "--assemble"]
    for name, more in (("all", []), ("some", ["--max-films", "3", "--batch-size", "2"])):
        generate_reports.main(flags(root, "tuned", *decoding, "--out", f"{tmp_path}/{name}.csv", *more))
    every, some = (
        pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)["report"] for name in ("all", "some")
    )
    assert every[: len(some)].tolist() == some.tolist()
    assert not find_contradictions(every.tolist()).any()


@pytest.mark.parametrize("model", BASELINES)
@pytest.mark.parametrize("decoding", [["--assemble"], ["--method", "sample", "--num-candidates", "3"]])
def test_drafts_are_refused_where_there_are_none(root, tmp_path, model, decoding):
    with pytest.raises(ValueError, match="writes one report for a film: leave out --assemble"):
        generate_reports.main(flags(root, model, *decoding, "--out", f"{tmp_path}/x.csv"))
    reconstruct = ["--reconstruct", "--language", f"{root}/bart", "--out", f"{tmp_path}/x.csv"]
    with pytest.raises(ValueError, match="--reconstruct writes one report"):
        generate_reports.main([*flags(root, "prior", *decoding), *reconstruct])


def test_what_sees_no_findings_chooses_by_consensus(root, tmp_path):
    """A GPT has nothing else to choose by, and is told so; what it keeps depends on its film alone."""
    draws = ["--method", "sample", "--num-candidates", "3"]
    out = ["--out", f"{tmp_path}/x.csv"]
    with pytest.raises(ValueError, match=r"--num-candidates needs a prior .*or --choose-by consensus"):
        generate_reports.main(flags(root, "report_gpt", *draws, *out))
    with pytest.raises(ValueError, match=r"--assemble needs a prior that predicts findings.*14\)$"):
        generate_reports.main(flags(root, "report_gpt", "--assemble", *out))
    tables = []
    for more in ([], ["--max-films", "3", "--batch-size", "2"]):
        values = [*draws, "--choose-by", "consensus", *out, "--overwrite", *more]
        generate_reports.main(flags(root, "report_gpt", *values))
        tables.append(pd.read_csv(tmp_path / "x.csv", keep_default_na=False)["report"].tolist())
    assert len(tables[1]) == 3
    assert tables[0][:3] == tables[1]
    with pytest.raises(ValueError, match="--choose-by consensus: must be findings with --assemble"):
        DecodingConfig(method="sample", num_candidates=3, choose_by="consensus", assemble=True)
    with pytest.raises(ValueError, match="--choose-by consensus: must be findings with fewer than 3"):
        DecodingConfig(method="sample", num_candidates=2, choose_by="consensus")


@pytest.mark.parametrize("model", ["prior", "report_gpt"])
def test_the_draft_that_the_others_agree_with_is_chosen(root, tmp_path, model):
    """Of the same draws, each written by itself."""
    draws = ["--method", "sample", "--temperature", "0.5", "--out", f"{tmp_path}/x.csv", "--overwrite"]
    generate_reports.main(flags(root, model, *draws, "--num-candidates", "4", "--choose-by", "consensus"))
    chosen = pd.read_csv(tmp_path / "x.csv", keep_default_na=False)["report"].tolist()
    generate_reports.main(flags(root, model, *draws))
    first = pd.read_csv(tmp_path / "x.csv", keep_default_na=False)["report"].tolist()
    assert len(chosen) == len(first)
    assert chosen != first  # another draft than the first one for some film


def test_drafts_vote_and_the_greedy_one_does_not():
    """Two of three drawn drafts say the same; the last, greedy one is chosen only if they agree with it.
    Findings count as much as words: what is told in other words has a vote for its finding."""
    clear, wet = "The lungs are clear. The heart is normal.", "There is a large left pleural effusion."
    mixed = "The lungs are clear. The heart is large."
    drafts = [[clear, wet], [wet, wet], [clear, mixed], [wet, clear]]
    assert choose_by_consensus(drafts) == [clear, wet]
    assert choose_by_consensus([[clear], [wet], [wet], [clear]]) == [wet]  # a tie if it voted
    texts = [
        "The lungs are clear and there is no effusion.",
        "The heart is enlarged.",
        "There is cardiomegaly.",
    ]
    assert ConsensusBleu(texts, texts).score(np.full((3, 1), 1 / 3)).argmax() == 0
    assert choose_by_consensus([[text] for text in [*texts, texts[0]]]) == [texts[1]]


def test_what_the_prior_sees_breaks_a_tie_of_votes():
    """Two sides have as many votes; so has a draft that contradicts itself, with or without a prior."""
    left, right = ("There is a small left pneumothorax.", "There is a small right pneumothorax.")
    logits = torch.zeros(1, 14 + NUM_ATTRIBUTES)
    place = FINDINGS.index("Pneumothorax")
    logits[0, place], logits[0, 14 + 5 * place], logits[0, 14 + 5 * place + 1] = 3.0, -0.5, 0.5
    tie = [[left], [right], [left], [right], [left]]
    assert choose_by_consensus(tie) == [left]
    assert choose_by_consensus(tie, logits) == [right]
    assert choose_by_consensus([*[[left]] * 9, [right], [left]], logits) == [left]  # votes decide elsewhere
    torn = "FINDINGS: There is a left pneumothorax. IMPRESSION: No pneumothorax."
    whole = "FINDINGS: There is a left pneumothorax. IMPRESSION: Left pneumothorax."
    assert find_contradictions([torn]).any()
    assert choose_by_consensus([[torn], [whole], [torn], [whole], [torn]]) == [whole]


@pytest.mark.parametrize("model", ["prior", "tuned", "report_gpt", "retrieval"])
def test_a_photo_is_warned_of_and_films_are_not(root, tmp_path, model, capsys):
    """A photograph of a flower, which comes with scikit-learn, against the demo's own films."""
    from sklearn.datasets import load_sample_image

    Image.fromarray(load_sample_image("flower.jpg")).save(tmp_path / "flower.png")
    generate_reports.main(flags(root, model, "--image", f"{tmp_path}/flower.png"))
    captured = capsys.readouterr()
    assert "flower.png: unlike the films the model was trained on" in captured.err
    assert captured.out.strip() or model != "retrieval"
    generate_reports.main(flags(root, model, "--split", "train", "--out", f"{tmp_path}/own.csv"))
    assert (pd.read_csv(tmp_path / "own.csv", keep_default_na=False)["warning"] == "").all()


def test_bad_reports_are_listed(root, tmp_path):
    """Empty, of 5,000 words, and in another language: the batch goes on, each is named."""
    rows = pd.read_csv(root / "data" / "metadata.csv", dtype=str).head(5).assign(split="test")
    texts = ["", "The lungs are clear. " * 1250, "Кардиомегалия, плевральный выпот слева.", "   "]
    rows["report"] = [*texts, rows["report"][4]]
    (tmp_path / "text").mkdir()
    rows.to_csv(tmp_path / "text" / "metadata.csv", index=False)
    values = ["--data", f"{tmp_path}/text", "--language", f"{root}/bart", "--reconstruct"]
    generate_reports.main([*values, "--out", f"{tmp_path}/out.csv"])
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert len(table) == 3
    assert "the codec takes 32" in table["warning"][0]
    assert "another language" in table["warning"][1]
    skipped = pd.read_csv(tmp_path / "out.skipped.csv")
    assert skipped["item"].tolist() == rows["file_name"][[0, 3]].tolist()
    assert (skipped["reason"] == "the report is empty").all()


def test_bad_flags_are_named(root, films, tmp_path):
    for wrong, message in (
        (["--images", f"{tmp_path}/none"], "--images .*no such folder"),
        (["--image", f"{films}/notes.txt"], "notes.txt: not an image"),
        (["--image", f"{tmp_path}/none.png"], "none.png: no such file"),
        (["--model", f"{root}/bart"], "holds a bart run; a prior or report_gpt run is needed"),
        (["--batch-size", "0"], "--batch-size 0"),
    ):
        with pytest.raises(ValueError, match=message):
            generate_reports.main([*flags(root, "prior"), "--out", f"{tmp_path}/x.csv", *wrong])
    assert not list(tmp_path.glob("*.csv"))


def test_prior_on_features_standardizes(root):
    """What the prior was trained on has zero mean and unit deviation per channel, and is saved with it."""
    prior = ReportPrior.from_pretrained(root / "prior" / "model")
    assert prior.config.features == "classifier"
    train = (PairsFolder.open(root / "data").table["split"] == "train").to_numpy()
    caches = [np.load(path) for path in (root / "cache").glob("*/features.npy")]
    (maps,) = (torch.from_numpy(cache.astype(np.float32)) for cache in caches if len(cache) == len(train))
    scaled = prior.standardize(maps[train])
    torch.testing.assert_close(scaled.mean(dim=(0, 2, 3)), torch.zeros(16), rtol=0, atol=1e-3)
    assert (scaled.std(dim=(0, 2, 3)) <= 1.01).all()


@pytest.mark.parametrize("model", ["prior", "tuned"])
def test_pairs_by_a_prior_on_films_say_what_the_command_says_of_the_saved_films(chain, root, tmp_path, model):
    """sample_pairs.py reads films as they are saved, through the encoder and codec of the prior's run."""
    flags_ = chain.sample_flags(
        tmp_path / "pairs", prior=root / model, language=root / "bart", method="greedy"
    )
    sample_pairs.main([*flags_, "--num-candidates", "1", "--no-assemble"])
    provenance = json.loads((tmp_path / "pairs/provenance.json").read_text())
    assert set(provenance["models"]) == {"vision", "language", "prior", "encoder"}
    generate_reports.main(
        [
            "--model",
            f"{root}/{model}",
            "--images",
            f"{tmp_path}/pairs/images",
            "--out",
            f"{tmp_path}/reports.csv",
        ]
        + ["--out", f"{tmp_path}/reports.csv", "--num-candidates", "1", "--method", "greedy"]
    )
    pairs = pd.read_csv(tmp_path / "pairs/metadata.csv").set_index("file_name")["report"].fillna("")
    reports = pd.read_csv(tmp_path / "reports.csv").set_index("file_name")["report"].fillna("")
    reports.index = [f"images/{name}" for name in reports.index]
    assert pairs.to_dict() == reports.to_dict()
