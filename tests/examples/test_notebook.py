"""The notebook runs from top to bottom in a real kernel, and lies here without what it printed."""

import os
import warnings
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_nothing_printed_is_kept(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert {*notebook["metadata"]} == {"kernelspec"}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.getenv("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the notebook writes
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(path, as_version=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the client, not of the kernel
        nbclient.NotebookClient(notebook, timeout=600).execute()
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    shown = [
        output.get("data", {}) | ({"text": output["text"]} if "text" in output else {})
        for cell in code
        for output in cell["outputs"]
    ]
    assert any("image/png" in each for each in shown)
    assert any("generated" in each.get("text", "") for each in shown)
    assert list(tmp_path.glob("*/exported/scorer.onnx"))
