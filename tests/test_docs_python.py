"""The page on the Python API runs from top to bottom."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) >= 5
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert set(names["auc"]["method"]) >= {"Base", "MWUF"}
    assert names["again"].document["runs"] == names["found"].document["runs"]
    assert names["mine"].document["dataset"] == "frames"
    assert set(names["compared"].frame()["backbone"]) == {"FM", "DeepFM"}
    assert names["best"].document["runs"][0]["config"]["learning_rate"] in (0.001, 0.01)
