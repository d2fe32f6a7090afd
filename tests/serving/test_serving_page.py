"""The page on serving runs from top to bottom, its commands from the wheel in an environment of its
own."""

import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "serving.md"


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, fresh_environment):
    monkeypatch.chdir(tmp_path)
    installed = fresh_environment(ROOT)
    command, python = installed.folder / "bin" / "recbole-cold", str(installed.python)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"),
                        re.MULTILINE | re.DOTALL)  # fmt: skip
    assert [language for language, _ in blocks] == ["bash"] * 5 + ["python"]
    names: dict = {}
    for language, block in blocks:
        if language == "bash":
            block = re.sub(r"^recbole-cold\b", str(command), block, flags=re.MULTILINE)
            block = re.sub(r"^python\b", python, block, flags=re.MULTILINE)
            subprocess.run(["bash", "-ec", block], check=True, env=environment)
        else:
            exec(compile(block, str(PAGE), "exec"), names)
    scores = pd.read_csv("scores.csv")
    assert scores["policy"].tolist() == ["own", "own", "own+user_id:mean", "generated"]
    assert abs(scores["score"] - names["scores"]).max() < 1e-12
    assert (Path("exported") / "scorer.pt2").is_file()
    grown = pd.read_csv("grown.csv")
    assert grown["policy"].tolist() == ["own", "own", "own+user_id:mean", "own"]
    assert grown["score"].tolist()[:3] == scores["score"].tolist()[:3]
    assert grown["score"].tolist()[3] > scores["score"].tolist()[3]  # two clicks
    best = pd.read_csv("best.csv")
    assert best["item_id"].astype(str).tolist() == names["best"]["item_id"].tolist()
    assert names["vectors"].shape == (2, 16) and 0 <= names["metrics"]["AUC"] <= 1
