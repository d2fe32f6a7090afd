"""A synthetic log in Avazu's official form, through the converter and both protocols."""

import json
import math

import numpy as np
import pytest

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.data.phases import FINE_TUNING
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import run_data
from recbole_cold.testing.big import generate

pytestmark = pytest.mark.slow

SMALL = {
    "embedding_size": 4, "train_batch_size": 512, "show_progress": False,
    "bootstrap_resamples": 20, "device": "cpu",
}  # fmt: skip
SESSIONS = {"split_rule": "sessions", "session_length": 5, "session_min": 2}


@pytest.fixture
def keys(tmp_path, capsys):
    """The converted log, with N and K from what the converter says of its items."""
    sizes = {"rows": 5000, "users": 150, "items": 40, "sigma_users": 0.4, "ctr": 0.4}
    folder, _ = generate("avazu", tmp_path, seed=3, **sizes)
    words = ["--item_columns=C17,C21", f"--data_path={tmp_path}"]
    assert main(["convert", "avazu", str(folder), *words]) == 0
    told = capsys.readouterr().out
    assert "5,000" in told and "40 items" in told and "as logged" in told
    shares = json.loads((tmp_path / "avazu" / "manifest.json").read_text())["rows_per_item"]
    of_items = {"cold_threshold": int(shares["80"]) - 1, "warm_size": int(shares["40"]) // 3}
    return {**SMALL, **of_items, "data_path": str(tmp_path)}


def ran(keys, folder, *words):
    """The results document of one run; it must have succeeded, with numbers alone."""
    flags = [f"--{key}={value}" for key, value in keys.items()]
    assert main(["run", "--dataset=avazu", *flags, f"--saved_dir={folder}", *words]) == 0
    (made,) = folder.iterdir()
    document = report.load(made)
    for run in document["runs"]:
        for seed in run["seeds"]:
            assert list(seed["phases"]) == document["phases"]
            for phase in seed["phases"].values():
                assert 0 < phase["positives"] < phase["rows"]
                assert all(math.isfinite(value) for value in phase["metrics"].values())
    return document


def histories(keys, model, backbone):
    """The histories of the training rows [n, length], the rows, and the data set."""
    dataset = run_data(make_config(model, "avazu", backbone, overrides=keys))
    method = build_method(make_config(model, "avazu", backbone, overrides=keys), dataset)
    index = method.rows.index(dataset.split["train"])
    return method.rows.histories.of(index).numpy(), np.asarray(dataset.split["train"]), dataset


def earlier_rows_of_the_user(found, rows, dataset):
    user = np.asarray(dataset.inter[dataset.uid_field])
    real = found >= 0
    assert real.any(axis=1).mean() > 0.5
    own = np.broadcast_to(rows[:, None], found.shape)
    assert (user[found[real]] == user[own[real]]).all()
    assert (dataset.time[found[real]] <= dataset.time[own[real]]).all()
    return real


def test_warm_up_with_a_sequence_model(keys, tmp_path):
    flags = {**keys, "history": "all", "history_length": 5}
    words = ["--model=Base,MetaE", "--backbone=DIN", "--reference_rows=[]", "--matched_row=False",
             "--pretrain_epochs=1"]  # fmt: skip
    document = ran(flags, tmp_path / "saved", *words)
    assert document["phases"] == ["cold", "warm_a", "warm_b", "warm_c"]
    assert [run["label"] for run in document["runs"]] == ["Base", "MetaE"]
    assert document["split"]["old"] >= 5 and document["split"]["new"] >= 5
    found, rows, dataset = histories(flags, "Base", "DIN")
    earlier_rows_of_the_user(found, rows, dataset)
    items = np.asarray(dataset.inter[dataset.iid_field])[found[found >= 0]]
    assert not np.isin(items, dataset.split.new_ids).any()


def test_sessions_with_rml(keys, tmp_path):
    flags = {**keys, **SESSIONS}
    document = ran(flags, tmp_path / "saved", "--model=RML", "--rml_epochs=1")
    assert document["phases"] == ["none", *FINE_TUNING]
    assert document["split"]["rule"] == "sessions"
    found, rows, dataset = histories(flags, "RML", None)
    # All windows of at most four rows before the target, the shortest ones of one.
    real = earlier_rows_of_the_user(found, rows, dataset)
    assert set(real.sum(axis=1)) == {1, 2, 3, 4}
