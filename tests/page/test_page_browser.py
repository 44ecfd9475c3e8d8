"""The page in a real browser: each tab, what is no film, scripts, two users at once."""

import csv
import re

import pytest
from helpers.film_files import make_values, write_dicom

from data_module.pairs import PairsFolder
from page import pieces
from page.models import Wish

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect
HOSTILE = '<img src=x onerror="window.hacked=1"> ${window.hacked=2} {{constructor}} <script>hacked=3</script>'


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def ask(page, prompt, seed=0, films=1):
    page.locator("#prompt textarea").fill(prompt)
    page.get_by_label("Seed", exact=True).first.fill(str(seed))
    page.get_by_label("number input for Films").fill(str(films))
    page.get_by_role("button", name="Draw", exact=True).click()


def drawn_films(page, films=1):
    """The data of the films drawn, once the reports stand beside them."""
    cards = page.locator("#drawn .card")
    expect(page.locator("#save-button")).to_be_visible(timeout=60_000)
    expect(cards).to_have_count(films)
    return [cards.nth(place).locator("img").first.get_attribute("src") for place in range(films)]


def test_films_are_drawn_saved_and_browsed(visit, models, config):
    page = visit()
    previews = page.evaluate_handle(
        """() => { const seen = []; new MutationObserver(() => {
             const films = document.querySelectorAll('#drawn .preview img');
             if (films.length) seen.push(films.length);
             }).observe(document.body, {childList: true, subtree: true});
             return seen; }"""
    )
    ask(page, "Large right pleural effusion.", seed=5, films=2)
    films = drawn_films(page, 2)
    assert 2 in previews.json_value(), "no preview was shown"
    expected = models.draw(Wish("Large right pleural effusion.", num_inference_steps=3, seed=5, num_films=2))
    assert films == [pieces.picture(film) for film in expected.pixels]
    assert "--seed 5" in page.locator(".command code").text_content()
    page.get_by_role("button", name="Save as a pairs folder").click()
    saved = page.locator("#draw-note", has_text="saved:")
    saved.wait_for()
    folder = re.search(r"saved: (\S+) \(2 pairs\)", saved.text_content())[1]
    pairs = PairsFolder.open(folder)
    assert len(pairs) == 2
    assert folder.startswith(str(config.out))
    tab(page, "Browse")
    page.get_by_label("Folder", exact=True).click()
    page.get_by_role("option", name=folder).click()
    expect(page.locator("#browse-grid button")).to_have_count(2)


def test_a_film_is_read_dicom_too(visit, film_file, tmp_path):
    page = visit()
    tab(page, "Read")
    write_dicom(tmp_path / "study.dcm", make_values(), PatientName="Doe^Jane")
    for path, size in ((film_file, "80 x 96"), (tmp_path / "study.dcm", "64 x 64")):
        page.locator("#read-file input[type=file]").set_input_files(path)
        expect(page.locator("#reading .card")).to_have_count(1, timeout=60_000)
        expect(page.locator("#reading figcaption")).to_have_text(f"{size} pixels")
        assert page.locator("#reading .report").first.text_content().strip()
        assert "Doe" not in page.content()
        page.get_by_role("button", name="Clear").first.click()
        expect(page.locator("#reading .card")).to_have_count(0)


def test_what_is_no_film_is_said_as_on_the_command_line(visit, tmp_path):
    page = visit()
    tab(page, "Read")
    note = tmp_path / "note<b>.txt"
    note.write_text("no film")
    page.locator("#read-file input[type=file]").set_input_files(note)
    error = page.locator("#read-note .error")
    error.wait_for()
    text = error.text_content()
    assert "not an image file, or of a kind that is not read" in text
    assert "/" not in text.split(":")[0], "the place of uploads is shown"
    assert page.locator("#read-note b").count() == 0, "the file's name was taken for HTML"
    expect(page.locator("#reading .card")).to_have_count(0)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("", "write a prompt"), ("word " * 400, "the text encoder reads"), ("x" * 10_001, "10,000 at most")],
)
def test_a_prompt_that_cannot_be_taken_is_said(visit, prompt, message):
    page = visit()
    ask(page, prompt)
    page.locator("#draw-note .error", has_text=message).wait_for()


def test_a_reference_is_picked_by_finding_or_dropped(visit, film_file, models):
    page = visit()
    page.get_by_label("pick one by finding").check()
    ask(page, "Cardiomegaly.")
    page.locator("#draw-note .error", has_text="choose a finding").wait_for()
    page.get_by_label("Finding of the reference film").click()
    page.get_by_role("option", name="Cardiomegaly", exact=True).click()
    first = page.locator("#candidates button").first
    row = int(first.get_attribute("data-row"))
    assert models.data.table["Cardiomegaly"][row] == 1
    first.click()
    page.locator("#candidates button.chosen").wait_for()
    ask(page, "Cardiomegaly.")
    drawn_films(page)
    name = models.data.table["file_name"][row]
    expect(page.locator("#drawn figcaption").nth(1)).to_have_text(f"reference: {name}")
    page.get_by_label("a film of my own").check()
    page.locator("input[type=file]").first.set_input_files(film_file)
    page.locator(".preview img").wait_for()
    ask(page, "Cardiomegaly.")
    drawn_films(page)
    assert film_file.name not in page.locator("#drawn").text_content()


def test_a_film_is_edited(visit, film_file):
    page = visit()
    tab(page, "Edit")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.locator("#edit-note .error", has_text="drop a film first").wait_for()
    page.locator("#edit-file input[type=file]").set_input_files(film_file)
    page.get_by_role("button", name="Edit", exact=True).click()
    slider = page.locator("#edited .slider")
    slider.wait_for()
    slider.locator("input").fill("20")
    assert slider.evaluate("element => element.style.getPropertyValue('--part')") == "20%"


def test_rows_are_filtered_and_opened(visit, config):
    page = visit()
    tab(page, "Browse")
    expect(page.locator("#browse-grid button")).to_have_count(6)
    page.get_by_label("Folder", exact=True).click()
    page.get_by_role("option", name=str(config.data)).click()
    table = PairsFolder.open(config.data).table
    page.get_by_label("Split").click()
    page.get_by_role("option", name="test", exact=True).click()
    fits = (table["split"] == "test").sum()
    page.locator("#browse-note", has_text=f"{fits} of {len(table)} rows").wait_for()
    page.get_by_label("Finding", exact=True).click()
    page.get_by_role("option", name="No Finding").click()
    rows = table.index[(table["split"] == "test") & (table["No Finding"] == 1)].tolist()
    page.locator("#browse-note", has_text=f"{len(rows)} of {len(table)} rows").wait_for()
    buttons = page.locator("#browse-grid button")
    assert [int(button.get_attribute("data-row")) for button in buttons.all()] == rows
    buttons.last.click()
    opened = page.locator("#browse-opened")
    opened.locator(".facts").wait_for()
    assert f"row{rows[-1]}" in re.sub(r"\s", "", opened.locator(".facts").text_content())
    expect(page.locator("#browse-neighbors img")).to_have_count(3)


def test_a_reader_tells_real_from_made_and_votes_are_kept(visit, config):
    page = visit()
    tab(page, "Compare")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#compare-films img")).to_have_count(2)
    shapes = page.locator("#compare-films img").evaluate_all("list => list.map(e => e.naturalWidth)")
    assert shapes[0] == shapes[1], "the sizes tell them apart"
    for count in (1, 2, 3):
        page.get_by_role("button", name="The left one is real").click()
        page.locator("#compare-note", has_text=f"of {count} right").wait_for()
    with (config.out / "votes.csv").open() as file:
        votes = list(csv.DictReader(file))
    mine = [vote for vote in votes if vote["reader"] == votes[-1]["reader"]]
    assert len(mine) == 3
    for vote in mine:
        assert vote["said"] == "left"
        assert int(vote["right"]) == (vote["real_side"] == "left")
        assert (config.data / vote["real_film"]).is_file()
        assert (config.pairs[0] / vote["made_film"]).is_file()
    right = sum(int(vote["right"]) for vote in mine)
    assert f"{right} of 3 right" in page.locator("#compare-note").text_content()


def test_scripts_in_a_prompt_stay_text(visit):
    page = visit()
    ask(page, HOSTILE)
    drawn_films(page)
    page.locator(".command summary").click()
    assert "onerror=" in page.locator(".command code").text_content()
    page.get_by_role("button", name="Save as a pairs folder").click()
    page.locator("#draw-note", has_text="saved:").wait_for()
    folder = re.search(r"saved: (\S+)", page.locator("#draw-note").text_content())[1]
    tab(page, "Browse")
    page.get_by_label("Folder", exact=True).click()
    page.get_by_role("option", name=folder).click()
    expect(page.locator("#browse-grid button")).to_have_count(1)
    page.locator("#browse-grid button").click()
    expect(page.locator("#browse-opened .prompt")).to_have_text(HOSTILE)
    assert page.evaluate("window.hacked === undefined")
    assert page.locator("#browse-opened .prompt img, #browse-opened script").count() == 0


def test_two_users_at_once_do_not_mix(visit, models):
    one, other = visit(), visit()
    ask(one, "Large right pleural effusion.", seed=1, films=2)
    ask(other, "Severe cardiomegaly.", seed=2, films=1)
    for page, wish in (
        (one, Wish("Large right pleural effusion.", num_inference_steps=3, seed=1, num_films=2)),
        (other, Wish("Severe cardiomegaly.", num_inference_steps=3, seed=2)),
    ):
        expected = models.draw(wish)
        assert drawn_films(page, wish.num_films) == [pieces.picture(film) for film in expected.pixels]
    one.get_by_role("button", name="Save as a pairs folder").click()
    one.locator("#draw-note", has_text="(2 pairs)").wait_for()
    folder = re.search(r"saved: (\S+)", one.locator("#draw-note").text_content())[1]
    tab(other, "Browse")
    other.get_by_label("Folder", exact=True).click()
    other.get_by_role("option").first.wait_for()
    assert other.get_by_role("option", name=folder).count() == 0, "another's folder is listed"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_nothing_is_wider_than_the_window(visit, width, scheme):
    page = visit(width, color_scheme=scheme)
    for name in ("Draw", "Edit", "Read", "Browse", "Compare"):
        tab(page, name)
        if name == "Browse":
            page.locator("#browse-grid button").first.click()
            page.locator("#browse-neighbors img").first.wait_for()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} pixels wide"
