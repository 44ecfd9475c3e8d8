"""Tables of films with labels or reports become pairs folders, and what is wrong in them is named."""

import json

import numpy as np
import pytest
from helpers.label_tables import COLUMNS, FILM, NIH_ROWS, label_by_word, make_table, prepare, reasons_of
from PIL import Image

from data_module.findings import FINDINGS
from data_module.sources.built_report import build_report
from data_module.sources.config import TableConfig
from data_module.sources.films import FilmFormat, convert_film, name_films
from data_module.sources.label_map import BUILT_IN, LabelMap, merge_codes
from data_module.sources.table import prepare_table


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
