"""A pairs folder through `prepare_data.py csv`: its films change their size, its table stays."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.scored_folders import write_random_pairs
from PIL import Image

import prepare_data
from data_module.mixing import mix_folders
from data_module.pairs import PairsFolder
from data_module.sources.films import FilmFormat
from data_module.sources.pairs_table import name_again

SYNTHETIC = {"reference": "images/ref.png", "source": "paircxr", "note": "007"}


def prepare(out, table, *flags):
    argv = ["csv", "--table", str(table), "--out", str(out), "--size", "16", "--num-workers", "1", *flags]
    prepare_data.main(argv)
    return PairsFolder.open(out)


@pytest.fixture
def synthetic(tmp_path):
    """A folder as sampling writes it: all train, prompts that no labels give, reports with a heading."""
    made = write_random_pairs(tmp_path / "made", 12, 1, ("train",), **SYNTHETIC)
    table = made.table.assign(
        prompt=[f"Film {row}: large left effusion,  no devices" for row in range(12)],
        report=[f"IMPRESSION: Normal.  Row {row}" for row in range(12)],
        seed=3,
        note="007",
    )
    table.to_csv(tmp_path / "made" / "metadata.csv", index=False)
    return PairsFolder.open(tmp_path / "made")


def as_text(table):
    """A column of strangers' stays text: 007 is no 7, though pandas reads it so."""
    return table.assign(note=table["note"].astype(str).str.zfill(3))


def test_a_synthetic_folder_keeps_prompts_splits_and_every_column(synthetic, tmp_path):
    """As it was tried: the prompts were rewritten, and rows moved to test and validation."""
    flags = ["--image-column", "file_name", "--report-column", "report", "--images", str(synthetic.root)]
    found = prepare(tmp_path / "out", synthetic.root / "metadata.csv", *flags)
    pd.testing.assert_frame_equal(as_text(found.table), as_text(synthetic.table))
    assert (tmp_path / "out" / "metadata.csv").read_text().count(",007") == 12
    with Image.open(found.image_paths[0]) as film:
        assert film.size == (16, 16)
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["num_rows"] == 12
    assert record["splits"] == {"train": 12}


def test_a_folder_is_enough_and_parquet_is_read(synthetic, tmp_path):
    as_text(synthetic.table).to_parquet(synthetic.root / "metadata.parquet")
    (synthetic.root / "metadata.csv").unlink()
    found = prepare(tmp_path / "out", synthetic.root)
    pd.testing.assert_frame_equal(as_text(found.table), as_text(synthetic.table))


def test_every_split_stays_and_a_broken_film_is_listed(tmp_path, capsys):
    made = write_random_pairs(tmp_path / "made", 18, 0, ("train", "validation", "test"))
    (made.root / "images" / "4.png").write_bytes(b"not a film")
    found = prepare(tmp_path / "out", made.root)
    kept = made.table.drop(index=4).reset_index(drop=True)
    pd.testing.assert_frame_equal(found.table, kept)
    skipped = pd.read_csv(tmp_path / "out" / "skipped.csv")
    assert skipped["item"].tolist() == ["images/4.png"]
    prepare(tmp_path / "out", made.root)
    assert "already done" in capsys.readouterr().out


def test_a_film_of_another_format_gets_another_suffix(synthetic, tmp_path):
    found = prepare(tmp_path / "out", synthetic.root, "--image-format", "jpeg")
    assert found.table["file_name"].tolist() == [f"images/{row}.jpg" for row in range(12)]
    pd.testing.assert_frame_equal(
        found.table.drop(columns="file_name"), synthetic.table.drop(columns="file_name")
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--split-shares", "0.5", "0.25", "0.25"], "--split-shares"),
        (["--remove-priors"], "--remove-priors"),
        (["--blanks", "remove"], "--blanks"),
        (["--views", "PA"], "--views"),
    ],
)
def test_what_would_change_its_table_is_refused(synthetic, tmp_path, flags, message):
    with pytest.raises(ValueError, match=f"pairs folder.*{message}|{message}.*pairs folder"):
        prepare(tmp_path / "out", synthetic.root, *flags)
    assert not (tmp_path / "out" / "metadata.csv").exists()


def test_a_text_only_folder_has_nothing_to_convert(tmp_path):
    row = {"file_name": "", "report": "A.", "patient_id": "1", "split": "train"}
    (tmp_path / "texts").mkdir()
    pd.DataFrame([row]).to_csv(tmp_path / "texts" / "metadata.csv", index=False)
    with pytest.raises(ValueError, match="no films"):
        prepare(tmp_path / "out", tmp_path / "texts")


def test_a_strangers_table_of_some_of_its_columns_is_a_table(tmp_path, capsys):
    """film and report columns of other names: it is read by the flags; a split column can be kept."""
    images = tmp_path / "films"
    images.mkdir()
    rows = []
    for number in range(4):
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(images / f"{number}.png")
        rows.append({"film": f"{number}.png", "who": f"p{number // 2}", "text": "No edema.", "part": "dev"})
        rows[-1]["part"] = ("dev", "test")[number // 2]
        rows[-1]["ask"] = f"Draw film {number}"
    pd.DataFrame(rows).to_csv(tmp_path / "films.csv", index=False)
    flags = [*("--image-column", "film", "--patient-column", "who", "--report-column", "text")]
    flags += ["--images", str(images), "--split-column", "part", "--prompt-column", "ask"]
    found = prepare(tmp_path / "out", tmp_path / "films.csv", *flags)
    assert found.table["split"].tolist() == ["validation", "validation", "test", "test"]
    assert found.table["prompt"].tolist() == [f"Draw film {number}" for number in range(4)]


def test_split_columns_that_share_patients_or_hold_other_words_are_refused(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "a.png")
    base = {"patient_id": "p", "report": "No edema."}
    flags = ["--report-column", "report", "--split-column", "split"]
    for splits, message in ((("train", "test"), "stand in several"), (("train", "holdout"), "none of train")):
        rows = [{"image": name, **base, "split": split} for name, split in zip("ab", splits, strict=True)]
        pd.DataFrame(rows).to_csv(tmp_path / "films.csv", index=False)
        with pytest.raises(ValueError, match=message):
            prepare(tmp_path / message[:5], tmp_path / "films.csv", *flags)


def test_names_are_kept_where_they_can_be():
    film = FilmFormat(16, "pad", "png")
    names = ["images/a/b.jpg", "c.png", "images/test/d.png", "images/C.png"]
    again = name_again(names, film)
    assert again[:2] == ["images/a/b.png", "images/c.png"]
    assert all(name.startswith("images/") for name in again)
    assert "test" not in again[2]
    assert len({name.lower() for name in again}) == 4


def test_a_mix_keeps_strangers_columns_as_text(synthetic, tmp_path):
    real = write_random_pairs(tmp_path / "real", 6, 0, note="0042")
    mixed = mix_folders(real.root, synthetic.root, tmp_path / "mixed")
    text = (mixed.root / "metadata.csv").read_text()
    assert (text.count(",0042"), text.count(",007")) == (6, 12)
