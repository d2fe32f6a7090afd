"""``check --write``: the split as ready files, and a yaml for a run that has its parts."""

import re

import pytest
import yaml

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.experiment.data_store import load_data, make_split
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Request


def interactions(dataset, rows):
    names = [
        dataset.id2token(f, dataset.inter[f][rows]).tolist() for f in ("user_id", "item_id")
    ]  # fmt: skip
    return list(zip(*names, dataset.inter["label"][rows].tolist(), strict=True))


def split_of(config):
    dataset = load_data(config)
    return dataset, make_split(dataset, config)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"warm_sets": 2, "warm_size": 2},
        {"cold_side": "user", "cold_threshold": 14},
        {"user_inter_num_interval": "[15,inf)", "cold_threshold": 12, "warm_size": 2},
        {"load_col": {"inter": ["user_id", "item_id", "rating"], "item": ["item_id", "genre"]}},
        {"fit_on": "valid"},
    ],
    ids=["plain", "sets", "users", "filters", "timeless", "pseudo-new"],
)
def test_a_run_on_the_files_has_the_parts_of_the_split(
    keys, tiny_keys, tiny_flags, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(report, "plot_curves", lambda *_, **__: None)
    flags = [flag for flag in tiny_flags if flag.partition("=")[0][2:] not in keys]
    words = [f"--{key}={value}" for key, value in keys.items()]
    assert main(["check", *flags, *words, "--write", str(tmp_path / "ready")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^train +\d+", out, re.MULTILINE)  # what check says is still said
    text = out[out.index("a yaml for it:\n") :].partition("\n")[2]
    (tmp_path / "ready.yaml").write_text(text)

    data, split = split_of(make_config("Base", "tiny", overrides={**tiny_keys, **keys}))
    again, back = split_of(make_config("Base", config_files=[tmp_path / "ready.yaml"]))
    assert list(back.parts) == list(split.parts)
    for name in split.parts:
        assert interactions(again, back[name]) == interactions(data, split[name]), name

    rest = [flag for flag in tiny_flags if not re.match("--(data|thres|cold|warm)", flag)]
    files = f"--config_files={tmp_path / 'ready.yaml'}"
    assert main([files, *rest, "--model=Base"]) == 0
    (folder,) = (tmp_path / "saved").iterdir()
    counts = report.load(folder / "results.json")["split"]["counts"]
    assert counts == {name: len(rows) for name, rows in split.parts.items()}


def test_nothing_is_written_over(tiny_flags, tmp_path, tiny_path, capsys):
    before = {path: path.read_bytes() for path in tiny_path.iterdir()}
    assert main(["check", *tiny_flags, f"--write={tiny_path.parent}"]) == 2
    assert "--write would change files in" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tiny_path.iterdir()} == before
    assert main(["check", *tiny_flags, "--write="]) == 2
    assert "--write= names no folder" in capsys.readouterr().err


def test_common_phases_belong_to_the_runs(tiny_flags, tmp_path, capsys):
    assert main(["check", *tiny_flags, "--common_phases=1", f"--write={tmp_path / 'ready'}"]) == 2
    assert "without common_phases" in capsys.readouterr().err
    assert not (tmp_path / "ready").exists()


def test_without_write_nothing_is_written(tiny_flags, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main(["check", *tiny_flags]) == 0
    assert "a yaml for it" not in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


def test_the_yaml_is_whole(tiny_keys, tmp_path, capsys, tiny_flags):
    """It names data set, folder, parts and what makes the label; nothing of the split's rule."""
    main(["check", *tiny_flags, f"--write={tmp_path / 'ready'}"])
    text = capsys.readouterr().out.partition("a yaml for it:\n")[2]
    assert yaml.safe_load(text) == {
        "dataset": "tiny",
        "data_path": str(tmp_path / "ready"),
        "benchmark_filename": ["train", "warm_a", "warm_b", "warm_c", "test"],
        "threshold": {"rating": 4},
    }
    request = Request("Base", overrides={**yaml.safe_load(text), "cold_threshold": 1000})
    assert "train" in Experiment(request).describe()
