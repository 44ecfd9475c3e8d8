"""The notebooks run as a newcomer runs them, and give the commands' numbers and films.

One kernel runs one after the other, each in a folder of its own with no name left of the one before: starting
three, and importing the libraries thrice, takes as long as all that they do.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from data_module.pairs import PairsFolder
from evaluation import evaluate
from evaluation.__main__ import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BEGIN = "%reset -f\nimport os\nos.chdir({folder!r})\nos.environ.update({environment!r})"
KEEP = 'import json\nPath("call.json").write_text(json.dumps(results))'


@dataclass(frozen=True)
class Executed:
    """A notebook after it ran: what its cells gave, and the folder that it ran in."""

    outputs: list
    folder: Path

    @property
    def num_pictures(self) -> int:
        return sum("image/png" in output.get("data", {}) for output in self.outputs)

    def printed(self, words: str) -> bool:
        return any(words in output.get("text", "") for output in self.outputs)


@pytest.fixture(scope="module")
def executed(chain, tmp_path_factory) -> dict[str, Executed]:
    """Name of a notebook -> what it gave. The one that draws does so with the tiny chain's models."""
    root = tmp_path_factory.mktemp("notebooks")
    environment = {"PAIRCXR_RUNS": str(chain.root), "PAIRCXR_SMALL": "1"}
    whole, cells = nbformat.v4.new_notebook(), {}
    for path in PATHS:
        folder = root / path.stem
        folder.mkdir()
        cells[path.stem] = nbformat.read(path, as_version=4).cells
        if path.stem == "evaluate_your_generator":
            cells[path.stem].append(nbformat.v4.new_code_cell(KEEP))
        begin = BEGIN.format(folder=str(folder), environment=environment)
        whole.cells += [nbformat.v4.new_code_cell(begin), *cells[path.stem]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        NotebookClient(whole, timeout=1200, resources={"metadata": {"path": str(root)}}).execute()
    return {
        name: Executed([output for cell in its for output in cell.get("outputs", [])], root / name)
        for name, its in cells.items()
    }


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebooks_hold_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 30_000
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
    text = path.read_text()
    assert not re.search(r"https?://|/work/|/home/|/tmp/", text)


def test_notebooks_begin_alike():
    """The cell that makes them run on Colab."""
    firsts = [
        next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        for path in PATHS
    ]
    assert len(firsts) == 3
    assert len(set(firsts)) == 1
    assert "git" in firsts[0]


def test_the_call_in_the_notebook_gives_the_commands_numbers(executed, monkeypatch):
    ran = executed["evaluate_your_generator"]
    assert ran.printed("agree to the last digit")
    monkeypatch.chdir(ran.folder)
    called = json.loads(Path("call.json").read_text())
    work = Path("runs/notebook")
    flags = ["--real", str(work / "real"), "--synthetic", str(work / "synthetic"), "--out", "out"]
    flags += ["--classifier", str(work / "classifier"), "--num-bootstrap", "100", "--device", "cpu"]
    for command, section in (("images", "films"), ("pairs", "pairs"), ("privacy", "privacy")):
        main([command, *flags])
        assert json.loads(Path("out/results.json").read_text())[section] == called[section]
    again = evaluate(work / "real", work / "synthetic", ["fid"], classifier=work / "classifier", device="cpu")
    assert again["films"]["fid"] == called["films"]["fid"]


def test_the_notebook_draws_what_the_command_draws(executed):
    ran = executed["draw_and_read"]
    assert ran.printed("agree to the last bit")
    assert ran.num_pictures == 2


def test_the_notebook_trains_from_a_folder_of_films_and_a_table_of_reports(executed):
    ran = executed["train_on_your_films"]
    work = ran.folder / "runs/small"
    mine, data = (PairsFolder.open(work / name) for name in ("mine", "data"))
    assert len(data) == len(mine) == 80
    assert data.table["report"].tolist() == mine.table["report"].tolist()
    drawn = PairsFolder.open(work / "pairs")
    assert len(drawn) == 4
    assert drawn.table["report"].str.len().gt(0).any()  # models of two steps may say nothing
    assert ran.num_pictures == 2  # the losses and the contact sheet
    (scores,) = (output["data"]["text/markdown"] for output in ran.outputs[-1:])
    assert "FID" in scores
