import json

import numpy as np
import pandas as pd
import pytest
from helpers.open_i_archive import make_archive, report_xml
from PIL import Image

from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder
from data_module.sources import films as films_module
from data_module.sources.built_report import build_report
from data_module.sources.config import OpenIConfig, TableConfig
from data_module.sources.films import FilmFormat, convert_film, name_films
from data_module.sources.label_map import BUILT_IN, LabelMap, merge_codes
from data_module.sources.open_i import prepare_open_i
from data_module.sources.open_i_reports import parse_report, read_reports, text_key
from data_module.sources.table import prepare_table

FILM = np.random.default_rng(0).integers(256, size=(20, 24), dtype=np.uint8)


def label_by_word(texts):
    """A labeler of one finding, by the contract of data_module.labeler.label_reports."""
    labels = np.full((len(texts), len(FINDINGS)), np.nan, dtype=np.float32)
    for row, text in enumerate(texts):
        if "fracture" in text.lower():
            labels[row, FINDINGS.index("Fracture")] = 0.0 if "no fracture" in text.lower() else 1.0
    return labels


def make_table(folder, rows):
    """Write a table and a film for each row whose `image` does not stand for a broken one."""
    images = folder / "films"
    images.mkdir(parents=True, exist_ok=True)
    for row in rows:
        path = images / row["image"]
        if row["image"] and "outside" not in row["image"] and "missing" not in row["image"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(FILM).save(path)
    pd.DataFrame(rows).to_csv(folder / "films.csv", index=False)
    return {"table": folder / "films.csv", "images": images, "size": 16, "num_workers": 2}


NIH_ROWS = [
    {
        "image": "a_000.png",
        "patient_id": "1",
        "labels": "Effusion|Mass",
        "age": "63",
        "sex": "F",
        "view": "PA",
    },
    {
        "image": "a_001.png",
        "patient_id": "1",
        "labels": "No Finding",
        "age": "063Y",
        "sex": "female",
        "view": "",
    },
    {"image": "deep/b.png", "patient_id": "2", "labels": "Hernia", "age": "", "sex": "M", "view": "AP"},
    {"image": "c.jpg", "patient_id": "3", "labels": "COVID-19", "age": "6M", "sex": "", "view": "AP"},
]
COLUMNS = {"labels_column": "labels", "age_column": "age", "sex_column": "sex", "view_column": "view"}


def prepare(tmp_path, rows=NIH_ROWS, labeler=None, **options):
    flags = {
        **make_table(tmp_path, rows),
        **COLUMNS,
        "source_name": "nih",
        "out": tmp_path / "pairs",
        **options,
    }
    return prepare_table(TableConfig(**flags), labeler)


def reasons_of(folder):
    table = pd.read_csv(folder / "skipped.csv", dtype=str, keep_default_na=False)
    return dict(zip(table["item"], table["reason"], strict=True))


def test_a_table_of_labels_becomes_pairs(tmp_path):
    table = prepare(tmp_path).table
    assert table["file_name"].tolist() == [f"images/{name}.png" for name in ("a_000", "a_001", "deep/b", "c")]
    assert (table.loc[0, "Pleural Effusion"], table.loc[0, "Lung Lesion"]) == (1, 1)
    assert table.loc[0, list(FINDINGS)].notna().sum() == 2  # silence stays silence
    assert table.loc[0, "prompt"] == "A chest X ray image with lung lesion and pleural effusion"
    assert table.loc[1, "No Finding"] == 1
    assert table.loc[2, list(FINDINGS)].isna().all()
    assert "hiatal hernia" in table.loc[2, "report"]
    assert table.loc[3, "Pneumonia"] == -1
    assert table["age"].tolist()[:2] == [63, 63]
    assert table["age"].isna().tolist() == [False, False, True, False]
    assert table.loc[3, "age"] == 0.5
    assert table["sex"].fillna("").tolist() == ["F", "F", "M", ""]
    assert set(table["source"]) == {"nih (text from labels)"}
    assert table.loc[0, "split"] == table.loc[1, "split"]
    report = table.loc[0, "report"]
    assert report.startswith("FINDINGS: PA view of the chest of a 63-year-old woman.")
    assert "pleural effusion" in report.lower()
    assert "a lung mass" in report
    assert "IMPRESSION: " in report
    with Image.open(tmp_path / "pairs" / "images" / "a_000.png") as image:
        assert (image.size, image.mode) == ((16, 16), "L")


def test_notes_go_before_built_text_and_are_labeled(tmp_path):
    rows = [
        {**NIH_ROWS[0], "notes": "Left rib fracture.\nIMPRESSION: Rib fracture."},
        {**NIH_ROWS[1], "notes": "A rib fracture."},
        {**NIH_ROWS[2], "notes": ""},
    ]
    table = prepare(tmp_path, rows, label_by_word, report_column="notes").table
    assert table.loc[0, "report"] == "FINDINGS: Left rib fracture. IMPRESSION: Rib fracture."
    assert table.loc[0, "impression_section"] == "Rib fracture."
    assert (table.loc[0, "Fracture"], table.loc[0, "Lung Lesion"]) == (1, 1)
    assert np.isnan(table.loc[1, "No Finding"])  # which the note contradicts
    assert table["source"].tolist() == ["nih (notes)", "nih (notes)", "nih (text from labels)"]
    assert table["labels_from"].fillna("").tolist() == ["table + rule labeler", "table + rule labeler", ""]


def test_labels_of_the_rule_labeler_are_marked(tmp_path):
    rows = [
        {"image": f"{n}.png", "patient_id": str(n), "notes": text}
        for n, text in enumerate(("A fracture.", "Cough."))
    ]
    flags = {**make_table(tmp_path, rows), "out": tmp_path / "pairs", "report_column": "notes"}
    table = prepare_table(TableConfig(**flags), label_by_word).table
    assert table["labels_from"].fillna("").tolist() == ["rule labeler", ""]
    assert table["Fracture"].tolist()[0] == 1


def test_a_report_in_the_wrong_column_is_not_shown(tmp_path, capfd):
    secret = "Zebulon Quux, aged 63, has had a cough since his fall in the garden."
    rows = [{**NIH_ROWS[0], "age": secret}, {**NIH_ROWS[1], "Edema": secret}, NIH_ROWS[2]]
    flags = {**make_table(tmp_path, rows), "out": tmp_path / "pairs", "age_column": "age"}
    with pytest.raises(ValueError) as error:
        prepare_table(TableConfig(**flags, strict=True))
    with pytest.raises(ValueError, match="a text of 68 characters") as labels_error:
        prepare(tmp_path / "b", [{**NIH_ROWS[0], "labels": secret}])
    said = "".join([str(error.value), str(labels_error.value), *capfd.readouterr()])
    assert "Zebulon" not in said


SECRET = "Zebulon Quux, aged 63, has had a cough. Seen by Dr. Quux"


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (f"a_000.png,p1,{SECRET}\n", {}, "no header: its first row looks like data"),
        (f"path,patient_id,{SECRET}\n", {}, "it has path, patient_id, a text of 5. characters"),
        (f'path,image,patient_id,labels\na_000.png,"{SECRET}",p1,Mass\n', {}, "row 2: .* holds no file name"),
        (f'image,patient_id,labels\na_000.png,p1,"{SECRET}\n', {}, "cannot be read as a CSV table"),
        (f'image,patient_id,labels\na_000.png,p1,Mass,"{SECRET}"\n', {}, "cannot be read as a CSV table"),
        (f'labels,patient_id\n"{SECRET}",p1\n', {"image_column": "labels"}, "row 2|a text of"),
    ],
)
def test_a_table_that_is_wrong_shows_no_text(tmp_path, capfd, text, flags, message):
    options = make_table(tmp_path, NIH_ROWS[:1])
    text = text.replace(SECRET, SECRET.replace(",", ";"))
    options["table"].write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        prepare_table(TableConfig(**options, out=tmp_path / "out", labels_column="labels", **flags))
    written = [path.read_text() for path in (tmp_path / "out").rglob("*.*") if path.is_file()]
    assert "Zebulon" not in "".join([str(error.value), *capfd.readouterr(), *written])


def test_a_name_that_is_no_file_is_listed_without_the_machines_path(tmp_path):
    flags = {**make_table(tmp_path, NIH_ROWS), **COLUMNS}
    lines = flags["table"].read_text().splitlines()
    names = ("x" * 300 + ".png", "a\0b.png", "loop.png")
    (flags["images"] / "loop.png").symlink_to("loop.png")
    lines += [lines[1].replace("a_000.png", name) for name in names]
    flags["table"].write_text("\n".join(lines) + "\n")
    pairs = prepare_table(TableConfig(**flags, out=tmp_path / "pairs"))
    reasons = reasons_of(pairs.root)
    assert len(reasons) == 3
    assert len(pairs) == 4
    assert str(tmp_path) not in " ".join(reasons.values())


@pytest.mark.parametrize(("num_workers", "shard"), [(2, ""), (1, "0/2")])
def test_a_table_is_the_same_by_workers_and_shards(tmp_path, num_workers, shard):
    rows = [{**NIH_ROWS[0], "image": f"{number}.png", "patient_id": str(number)} for number in range(150)]
    whole = prepare(tmp_path, rows, num_workers=1)
    if shard:
        assert prepare(tmp_path, rows, out=tmp_path / "other", num_workers=1, shard="1/2") is None
        options = {"num_workers": 1, "shard": shard}
    else:
        options = {"num_workers": num_workers}
    other = prepare(tmp_path, rows, out=tmp_path / "other", **options)
    files = [path.relative_to(whole.root) for path in sorted(whole.root.rglob("*")) if path.is_file()]
    assert len(files) > 150
    for name in files:
        assert (whole.root / name).read_bytes() == (other.root / name).read_bytes(), name


def test_labels_from_columns_by_name(tmp_path):
    rows = [
        {"image": "a.png", "patient_id": "1", "Edema": "1.0", "Cardiomegaly": "-1", "Pneumothorax": "0"},
        {"image": "b.png", "patient_id": "2", "Edema": "", "Cardiomegaly": "2", "Pneumothorax": ""},
    ]
    flags = {**make_table(tmp_path, rows), "out": tmp_path / "pairs"}
    table = prepare_table(TableConfig(**flags)).table
    assert len(table) == 1
    assert table.loc[0, ["Edema", "Cardiomegaly", "Pneumothorax"]].tolist() == [1, -1, 0]
    assert "pneumothorax" in table.loc[0, "findings_section"]
    assert "Cardiomegaly holds no certainty" in reasons_of(tmp_path / "pairs")["b.png"]


BAD_ROWS = [
    {**NIH_ROWS[0], "image": "missing.png"},
    {**NIH_ROWS[0], "image": "../outside.png"},
    {**NIH_ROWS[0], "image": "/etc/outside.png"},
    {**NIH_ROWS[0], "image": "truncated.png"},
    {**NIH_ROWS[0], "image": "text.png"},
    {**NIH_ROWS[0], "image": "black.png"},
    {**NIH_ROWS[0], "image": "a_000.png"},
    {**NIH_ROWS[0], "image": ""},
    {**NIH_ROWS[0], "image": "patient.png", "patient_id": ""},
    {**NIH_ROWS[0], "image": "nothing.png", "labels": "nan"},
    {**NIH_ROWS[0], "image": "todo.png", "labels": "todo"},
]


def make_bad(tmp_path):
    flags = {**make_table(tmp_path, [*NIH_ROWS, *BAD_ROWS]), **COLUMNS, "out": tmp_path / "pairs"}
    images = flags["images"]
    Image.fromarray(FILM).save(tmp_path / "outside.png")
    whole = (images / "truncated.png").read_bytes()
    (images / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (images / "text.png").write_text("no film")
    Image.new("L", (20, 20)).save(images / "black.png")
    return flags


def test_every_row_that_cannot_be_used_is_listed(tmp_path):
    pairs = prepare_table(TableConfig(**make_bad(tmp_path)))
    assert len(pairs) == len(NIH_ROWS)
    reasons = reasons_of(pairs.root)
    assert len(reasons) == len(BAD_ROWS)
    for item, reason in {
        "missing.png": "no such file",
        "../outside.png": "outside the folder",
        "/etc/outside.png": "outside the folder",
        "truncated.png": "cannot be decoded",
        "text.png": "not an image",
        "black.png": "blank",
        "a_000.png": "duplicate",
        "row 13": "image column is empty",
        "patient.png": "patient_id is empty",
        "nothing.png": "no report, and no label",
        "todo.png": "no report, and no label",
    }.items():
        assert reason in reasons[item]
    on_disk = {
        f"images/{path.relative_to(pairs.root / 'images')}" for path in pairs.root.rglob("images/**/*.*")
    }
    assert on_disk == set(pairs.table["file_name"])


def test_strict_makes_them_an_error(tmp_path):
    with pytest.raises(ValueError, match="--strict: 11 row"):
        prepare_table(TableConfig(**make_bad(tmp_path), strict=True))
    assert not (tmp_path / "pairs" / "metadata.csv").exists()


def test_unknown_labels_are_all_named(tmp_path):
    rows = [{**NIH_ROWS[0], "labels": "Effusion|Goitre"}, {**NIH_ROWS[1], "labels": "Scoliosis"}]
    with pytest.raises(ValueError, match=r"'Goitre' \(1\), 'Scoliosis' \(1\).*--label-map"):
        prepare(tmp_path, rows)
    mapping = tmp_path / "map.json"
    mapping.write_text(json.dumps({"goitre": {"Enlarged Cardiomediastinum": -1}, "Scoliosis": None}))
    table = prepare(tmp_path / "mapped", rows[:1], label_map=mapping).table
    assert table.loc[0, "Enlarged Cardiomediastinum"] == -1


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read"), ("[]", "JSON object"), ('{"x": "Oedema"}', "Oedema"), ('{"x": 3}', "'x'")],
)
def test_a_wrong_label_map_is_named(tmp_path, content, message):
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(ValueError, match=r"map\.json") as error:
        LabelMap(tmp_path / "map.json")
    assert message in str(error.value)


def test_label_map_from_csv(tmp_path):
    (tmp_path / "map.csv").write_text(
        "label,finding,certainty\nGoitre,Lung Lesion,-1\nGoitre,Edema,\nCyst,,\n"
    )
    label_map = LabelMap(tmp_path / "map.csv")
    assert label_map.code(["goitre"]) == {"Lung Lesion": -1, "Edema": 1}
    assert label_map.code(["cyst"]) == {}


def test_label_map_rules():
    label_map = LabelMap()
    assert label_map.code(["COVID-19", "Pneumonia"]) == {"Pneumonia": 1}  # positive over uncertain
    assert label_map.code(["No Finding", "Emphysema"]) == {"No Finding": 1}
    assert label_map.code(["No Finding", "pleural_thickening"]) == {"Pleural Other": 1}
    text = label_by_word(["a fracture"])[0]
    text[FINDINGS.index("Pneumonia")] = 1.0
    text[FINDINGS.index("Edema")] = 0.0
    assert merge_codes({"Pneumonia": -1, "Edema": 1}, text) == {"Pneumonia": 1, "Edema": 1, "Fracture": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": "nowhere.csv"}, "--table .*nowhere.csv: no such file"),
        ({"images": "nowhere"}, "--images .*nowhere"),
        ({"image_column": "film"}, "--image-column 'film'.*patient_id"),
        ({"age_column": "years"}, "--age-column 'years'"),
        ({"patient_column": ""}, "--patient-column"),
        ({"resize": "stretch"}, "--resize stretch"),
        ({"image_format": "gif"}, "--image-format gif"),
        ({"size": 0}, "--size 0"),
        ({"labels_column": ""}, "--labels-column or --report-column"),
    ],
)
def test_a_wrong_flag_is_named_before_anything_is_written(tmp_path, change, message):
    change = {key: tmp_path / value if key in ("table", "images") else value for key, value in change.items()}
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, **change)
    assert not (tmp_path / "pairs").exists()


def test_a_finished_folder_is_kept_and_other_settings_are_refused(tmp_path):
    pairs = prepare(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in pairs.root.rglob("*")}
    assert len(prepare(tmp_path, num_workers=1)) == 4
    assert times == {path: path.stat().st_mtime_ns for path in pairs.root.rglob("*")}
    with pytest.raises(ValueError, match=r"other settings \(size\).*--overwrite"):
        prepare(tmp_path, size=32)
    with pytest.raises(ValueError, match="table_hash"):
        prepare(tmp_path, NIH_ROWS[:2])
    assert len(prepare(tmp_path, NIH_ROWS[:2], size=32, overwrite=True)) == 2
    assert len(list(pairs.root.rglob("*.png"))) == 2


def test_settings_of_an_older_folder(tmp_path):
    """One had another name then, and one was not there, which stands for its default."""
    pairs = prepare(tmp_path)
    path = pairs.root / "prepare.json"
    settings = json.loads(path.read_text())
    settings["colour"] = settings.pop("color")
    assert settings.pop("split_shares") == [0.8, 0.1, 0.1]
    path.write_text(json.dumps(settings))
    written = (pairs.root / "metadata.csv").stat().st_mtime_ns
    assert prepare(tmp_path).table.equals(pairs.table)
    assert (pairs.root / "metadata.csv").stat().st_mtime_ns == written
    for change, name in (({"color": "refuse"}, "color"), ({"split_shares": (0.6, 0.2, 0.2)}, "split_shares")):
        with pytest.raises(ValueError, match=rf"other settings \({name}\)"):
            prepare(tmp_path, **change)


def test_a_film_that_was_deleted_is_made_again(tmp_path):
    pairs = prepare(tmp_path)
    content = pairs.image_paths[2].read_bytes()
    pairs.image_paths[2].unlink()
    assert prepare(tmp_path).image_paths[2].read_bytes() == content


def test_damaged_settings_are_named(tmp_path):
    prepare(tmp_path)
    (tmp_path / "pairs" / "prepare.json").write_text("{")
    with pytest.raises(ValueError, match=r"prepare\.json"):
        prepare(tmp_path)


def test_a_link_out_of_the_images_folder_is_refused(tmp_path):
    flags = {**make_table(tmp_path, NIH_ROWS), **COLUMNS, "out": tmp_path / "pairs"}
    Image.fromarray(FILM).save(tmp_path / "secret.png")
    (flags["images"] / "a_000.png").unlink()
    (flags["images"] / "a_000.png").symlink_to(tmp_path / "secret.png")
    pairs = prepare_table(TableConfig(**flags))
    assert "outside the folder" in reasons_of(pairs.root)["a_000.png"]


def test_a_table_from_a_spreadsheet(tmp_path):
    """A byte order mark, Windows line ends, quotes, and a tab-separated form."""
    flags = {**make_table(tmp_path, NIH_ROWS), **COLUMNS}
    text = flags["table"].read_text()
    flags["table"].write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert len(prepare_table(TableConfig(**flags, out=tmp_path / "a"))) == 4
    flags["table"] = tmp_path / "films.tsv"
    flags["table"].write_text(text.replace(",", "\t"))
    assert len(prepare_table(TableConfig(**flags, out=tmp_path / "b"))) == 4
    flags["table"].write_bytes("image,patient_id\nä,ö\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"--table .*films\.tsv"):
        prepare_table(TableConfig(**flags, out=tmp_path / "c"))


def test_a_strangers_folder_is_never_touched(tmp_path):
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not empty"):
        prepare(tmp_path, overwrite=True)
    assert (tmp_path / "pairs" / "thesis.txt").is_file()


def test_what_a_run_left_that_was_killed_as_it_began_is_no_strangers(tmp_path):
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / ".prepare.json.4711.tmp").write_text("{")
    prepare(tmp_path)
    assert not list((tmp_path / "pairs").glob(".*.tmp"))


def test_a_killed_conversion_goes_on(tmp_path, monkeypatch):
    prepare(tmp_path / "whole")
    read, seen = films_module.read_resized, []

    def read_two(path, *settings):
        seen.append(path)
        if len(seen) > 2:
            raise KeyboardInterrupt
        return read(path, *settings)

    monkeypatch.setattr(films_module, "read_resized", read_two)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "killed", num_workers=1)
    assert len(list((tmp_path / "killed" / "pairs").rglob("*.png"))) == 2
    half_written = tmp_path / "killed" / "pairs" / "images" / ".c.png.123.tmp"
    half_written.write_bytes(b"half a film")
    monkeypatch.setattr(films_module, "read_resized", lambda path, *s: seen.append(path) or read(path, *s))
    seen.clear()
    resumed = prepare(tmp_path / "killed")
    assert len(seen) == 2
    assert not half_written.exists()
    whole = PairsFolder.open(tmp_path / "whole" / "pairs")
    pd.testing.assert_frame_equal(resumed.table, whole.table)
    for ours, theirs in zip(resumed.image_paths, whole.image_paths, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()


def test_film_names_are_distinct_and_mean_no_split():
    names = [
        "a/b.png",
        "a/b.jpg",
        "A/B.png",
        "test_1.png",
        "x/train/2.png",
        "ü ber.png",
        "a//b.png",
        "latest.png",
    ]
    out = name_films(names, "jpeg")
    assert out[0] == "images/a/b.jpg"
    assert out[-1] == "images/latest.jpg"
    assert len({name.lower() for name in out}) == len(names)
    assert not any(word in name for name in out[:-1] for word in ("test", "train", "ü", "//"))


def test_jpeg_films(tmp_path):
    Image.fromarray(FILM).resize((64, 64)).save(tmp_path / "a.png")
    film = FilmFormat(32, "pad", "jpeg")
    convert_film(tmp_path / "a.png", tmp_path / "a.jpg", film)
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "L", (32, 32))


def test_built_reports_say_what_the_labels_say():
    codes = {"Edema": 1.0, "Fracture": 0.0, "Pneumonia": -1.0}
    texts = {" ".join(build_report(codes, [], row_id=str(number))) for number in range(50)}
    assert len(texts) > 10  # several forms
    assert all("edema" in t.lower() and "fracture" in t and "pneumonia" in t.lower() for t in texts)
    first = build_report(codes, [], row_id="1", view="AP", sex="M", age=8)
    assert first == build_report(codes, [], row_id="1", view="AP", sex="M", age=8)
    assert first.findings.startswith("AP view of the chest of an 8-year-old boy.")
    assert build_report({}, ["todo"], row_id="1") is None
    for label in BUILT_IN:
        report = build_report(LabelMap().code([label]), [label.lower()], row_id=label)
        assert report is None or "a a" not in " ".join(report)


FILES = {
    "r/1.xml": report_xml("CXR1", "Clear lungs.", "No fracture.", ["CXR1_1_IM-0001-3001"], ["a/b", "c"]),
    "r/10.xml": report_xml("CXR10", "clear  lungs", "no fracture", ["CXR10_IM-0002-1001"]),
    "r/2.xml": report_xml("CXR2", "", "A fracture."),
    "r/3.xml": report_xml("CXR3"),
    "r/4.xml": b"<eCitation><uId",
    "r/5.xml": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><eCitation/>',
    "r/6.xml": report_xml("CXR1", "A copy of the id."),
    "r/7.xml": b"<other/>",
    "../../evil.txt": b"not read, not unpacked",
}


def test_open_i_reports(tmp_path):
    reports, skipped = read_reports(make_archive(tmp_path / "r.tgz", FILES))
    assert [report.uid for report in reports] == ["CXR1", "CXR2", "CXR10"]
    assert reports[0].text == "FINDINGS: Clear lungs. IMPRESSION: No fracture."
    assert reports[1].text == "IMPRESSION: A fracture."
    assert reports[0].mesh == ("a/b", "c")
    reasons = {row["item"]: row["reason"] for row in skipped}
    for name, reason in {
        "3.xml": "empty",
        "4.xml": "XML",
        "5.xml": "DTD",
        "6.xml": "duplicate",
        "7.xml": "uId",
    }.items():
        assert reason in reasons[name]
    assert len(reasons) == 5


def test_open_i_becomes_a_text_only_folder(tmp_path):
    archive = make_archive(tmp_path / "r.tgz", FILES)
    pairs = prepare_open_i(OpenIConfig(out=tmp_path / "out", reports=archive), label_by_word)
    assert not pairs.has_films
    table = pairs.table.set_index("study_id")
    assert table.loc["CXR1", "mesh"] == "a/b|c"
    assert (table.loc["CXR1", "Fracture"], table.loc["CXR2", "Fracture"]) == (0, 1)
    assert table.loc["CXR2", "prompt"] == "A chest X ray image with fracture"
    assert text_key(table.loc["CXR1", "report"]) == text_key(table.loc["CXR10", "report"])
    assert table.loc["CXR1", "split"] == table.loc["CXR10", "split"]
    assert len(reasons_of(pairs.root)) == 5
    with pytest.raises(ValueError, match="--strict: 5"):
        prepare_open_i(OpenIConfig(out=tmp_path / "strict", reports=archive, strict=True))


def test_reports_of_tables_and_open_i_are_prepared_alike(tmp_path):
    """Blanks and references to earlier films, by the flags that mimic-cxr takes too; counted."""
    flags = {"blanks": "drop-sentence", "remove_priors": True}
    findings, impression = "Told to Dr. XXXX. Edema, unchanged from prior.", "Seen by XXXX."
    text = f"EXAM: Chest.\nFINDINGS: {findings}\nIMPRESSION: {impression}"
    files = {"1.xml": report_xml("CXR1", findings, impression), "2.xml": report_xml("CXR2", "Seen by XXXX.")}
    archive = make_archive(tmp_path / "r.tgz", files)
    rows = [{**NIH_ROWS[0], "notes": text}, {**NIH_ROWS[1], "notes": "FINDINGS: Seen by XXXX."}]
    folders = (
        prepare_open_i(OpenIConfig(out=tmp_path / "open_i", reports=archive, **flags)),
        prepare(tmp_path / "csv", rows, report_column="notes", **flags),
    )
    for pairs, skipped in zip(folders, ("CXR2", "a_001.png"), strict=True):
        assert pairs.table["report"].tolist() == ["FINDINGS: Edema."]
        assert "after --blanks and --remove-priors" in reasons_of(pairs.root)[skipped]
        record = json.loads((pairs.root / "provenance.json").read_text())
        assert record["texts"]["prior_phrases_removed"] == 2  # "unchanged", "from prior"
        assert record["texts"]["sentences_dropped_for_blanks"] >= 2


def test_open_i_joins_films(tmp_path):
    archive = make_archive(tmp_path / "r.tgz", FILES)
    (tmp_path / "films" / "deep").mkdir(parents=True)
    Image.fromarray(FILM).save(tmp_path / "films" / "deep" / "CXR10_IM-0002-1001.png")
    config = OpenIConfig(
        out=tmp_path / "out", reports=archive, images=tmp_path / "films", size=16, views=("PA", "AP", "L")
    )
    pairs = prepare_open_i(config)
    assert pairs.has_films
    assert pairs.table["study_id"].tolist() == ["CXR10"]
    assert pairs.image_paths[0].is_file()
    assert "no such film" in reasons_of(pairs.root)["CXR1_1_IM-0001-3001"]


def test_packaged_open_i_reports():
    """The 3,955 reports inside the torchxrayvision package."""
    from data_module.sources.open_i_reports import find_packaged

    reports, skipped = read_reports(find_packaged("NLMCXR_reports.tgz"))
    assert len(reports) + len(skipped) == 3955
    assert len(reports) == 3927
    assert {row["reason"] for row in skipped} == {"empty report: neither findings nor impression"}


def test_loose_open_i_reports_are_read_within_their_folder(tmp_path):
    """A link out of the folder and a file too large are listed; the rest is read."""
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "1.xml").write_bytes(report_xml("CXR1", "Clear lungs."))
    (tmp_path / "secret.xml").write_bytes(report_xml("CXR2", "Of another study."))
    (folder / "2.xml").symlink_to(tmp_path / "secret.xml")
    (folder / "3.xml").write_bytes(report_xml("CXR3", "Long. " * 200_000))
    reports, skipped = read_reports(folder)
    assert [report.uid for report in reports] == ["CXR1"]
    assert skipped == [
        {"item": "2.xml", "reason": "lies outside the folder"},
        {"item": "3.xml", "reason": "larger than 1,048,576 bytes"},
    ]


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_wrong_archive_is_named(tmp_path, content):
    (tmp_path / "r.tgz").write_bytes(content)
    with pytest.raises(ValueError, match=r"--reports .*r\.tgz"):
        prepare_open_i(OpenIConfig(out=tmp_path / "out", reports=tmp_path / "r.tgz"))
    with pytest.raises(ValueError, match=r"--reports .*absent"):
        prepare_open_i(OpenIConfig(out=tmp_path / "out2", reports=tmp_path / "absent"))


def test_a_billion_laughs_are_refused():
    bomb = b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><eCitation><uId id="&c;"/></eCitation>'
    with pytest.raises(ValueError, match="DTD"):
        parse_report(bomb)
    with pytest.raises(ValueError, match="UTF-8"):
        parse_report(bomb.decode().encode("utf-16"))
