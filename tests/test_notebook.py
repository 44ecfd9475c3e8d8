"""The notebook runs as a newcomer runs it, and gives the command's numbers."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from evaluation import evaluate
from evaluation.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


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


@pytest.mark.slow
def test_the_call_in_the_notebook_gives_the_commands_numbers(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "notebooks" / "evaluate_your_generator.ipynb", as_version=4)
    keep = 'Path("call.json").write_text(json.dumps(results))'
    notebook.cells.append(nbformat.v4.new_code_cell(keep))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [
        output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    ]
    assert any("agree to the last digit" in text for text in printed)
    monkeypatch.chdir(tmp_path)
    called = json.loads(Path("call.json").read_text())
    work = Path("runs/notebook")
    flags = ["--real", str(work / "real"), "--synthetic", str(work / "synthetic"), "--out", "out"]
    flags += ["--classifier", str(work / "classifier"), "--num-bootstrap", "100", "--device", "cpu"]
    for command, section in (("images", "films"), ("pairs", "pairs"), ("privacy", "privacy")):
        main([command, *flags])
        assert json.loads(Path("out/results.json").read_text())[section] == called[section]
    again = evaluate(work / "real", work / "synthetic", ["fid"], classifier=work / "classifier", device="cpu")
    assert again["films"]["fid"] == called["films"]["fid"]
