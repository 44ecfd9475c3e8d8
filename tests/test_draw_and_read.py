"""The notebook draws and reads as a newcomer would, and gives the command's films."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def test_the_notebook_draws_what_the_command_draws(chain, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat and nbclient")
    client = pytest.importorskip("nbclient", reason="notebooks need nbformat and nbclient")
    notebook = nbformat.read(ROOT / "notebooks" / "draw_and_read.ipynb", as_version=4)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PAIRCXR_RUNS", str(chain.root))
    client.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("agree to the last bit" in output.get("text", "") for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
