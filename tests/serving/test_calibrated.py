"""A kept model with a curve for its scores: fitted on old items; no number of the run moves."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from kept_here import KEYS, frame_of
from tiny_here import tiny_files

import recbole_cold
from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.errors import UserError
from recbole_cold.evaluation.calibrators import RULES, calibrated
from recbole_cold.evaluation.calibrators import fitted as fitted_curve
from recbole_cold.experiment import calibrating
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.store import write_bytes
from recbole_cold.training.trainer import Trainer


@pytest.fixture(scope="module")
def runs(tmp_path_factory, write_atomic):
    """Runs with and without a curve, and what was scored and labelled to fit it."""
    folder = tmp_path_factory.mktemp("calibrated")
    write_atomic(folder / "data" / "tiny", "tiny", **tiny_files())
    keys = {**KEYS, "data_path": str(folder / "data"), "cache_dir": str(folder / "cache"),
            "pretrain_epochs": 10, "learning_rate": 0.02, "valid_fraction": 0.4}  # fmt: skip
    fits = {rule: [] for rule in RULES}

    def seen(rule, chance, positive):
        fits[rule].append((np.array(chance), np.array(positive)))
        return fitted_curve(rule, chance, positive)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "plot_curves", lambda _, path, bands: write_bytes(path, b"-"))
        patch.setattr(calibrating, "fitted", seen)
        found = {
            rule: recbole_cold.run("Base", "tiny", "DeepFM", 1, config={**keys, "calibrate": rule},
                                   saved_dir=str(folder / rule))
            for rule in ("none", *RULES)
        }  # fmt: skip
    return found, fits, keys


def about(run):
    return json.loads(next(run.folder.glob("*/model/model.json")).read_text())


class TestFitted:
    def test_no_number_of_the_run_moves(self, runs, numbers):
        found, _, _ = runs
        plain = numbers(found["none"].document)
        assert all(numbers(found[rule].document) == plain for rule in RULES)
        weights = [torch.load(next(each.folder.glob("*/model/weights.pt")), weights_only=True)
                   for each in found.values()]  # fmt: skip
        for name, each in weights[0].items():
            assert all(torch.equal(each, other[name]) for other in weights[1:])

    def test_on_rows_of_old_items_alone(self, runs):
        """The rows are those on which settings are chosen: none of a new item, none of test."""
        found, fits, keys = runs
        store = DataStore(most=4)
        configs = [make_config("Base", "tiny", "DeepFM", (), {**keys, "fit_on": fit_on})
                   for fit_on in ("full", "valid")]  # fmt: skip
        full, valid = (store.data(config) for config in configs)
        rows = valid.split["test"]
        assert np.isin(np.asarray(full.inter["item_id"])[rows], full.split.old_ids).all()
        assert not np.isin(rows, full.split["test"]).any()
        label = np.asarray(full.inter[full.label_field])[rows] > 0
        for rule, each in fits.items():
            assert len(each) == 4 and all(np.array_equal(positive, label) for _, positive in each)
            told = about(found[rule])["calibration"]
            assert (told["rows"], told["clicks"]) == (len(rows), label.sum())

    @pytest.mark.parametrize("rule", sorted(RULES))
    def test_each_phase_has_its_own(self, runs, rule):
        found, fits, _ = runs
        told = about(found[rule])["calibration"]
        assert told == {**fitted_curve(rule, *fits[rule][-1]), "phase": "warm_c"}
        assert "calibration" not in about(found["none"])


class TestPredict:
    @pytest.mark.parametrize("rule", sorted(RULES))
    def test_a_column_beside_the_score(self, runs, rule, tmp_path):
        run = runs[0][rule]
        rows = pd.DataFrame({"user_id": [f"u{n}" for n in range(30)], "device": "desk",
                             "item_id": [f"i{n + 5}" for n in range(30)]})  # fmt: skip
        rows.to_csv(tmp_path / "rows.csv", index=False)
        out = tmp_path / "scores.csv"
        assert main(["predict", str(run.folder), f"--rows={tmp_path / 'rows.csv'}",
                     f"--out={out}"]) == 0  # fmt: skip
        got = pd.read_csv(out)
        assert list(got) == ["user_id", "item_id", "score", "probability", "policy"]
        model, plain = recbole_cold.load(run.folder), recbole_cold.load(runs[0]["none"].folder)
        assert np.array_equal(model.score(rows), plain.score(rows))
        assert np.allclose(got["score"], model.score(rows), rtol=0, atol=1e-15)
        assert np.allclose(
            got["probability"], model.score(rows, calibrated=True), rtol=0, atol=1e-15
        )
        read = calibrated(model.score(rows), about(run)["calibration"])
        assert np.allclose(got["probability"], read, rtol=0, atol=1e-15)
        order = np.argsort(got["score"].to_numpy(), kind="stable")
        assert (np.diff(got["probability"].to_numpy()[order]) >= 0).all()
        assert np.abs(got["probability"] - got["score"]).max() > 0.01

    def test_none_was_fitted(self, runs):
        model = recbole_cold.load(runs[0]["none"].folder)
        rows = pd.DataFrame({"user_id": ["u1"], "item_id": ["i5"], "device": ["desk"]})
        with pytest.raises(
            UserError, match=r"Base@2020 after warm_c has no calibration; run again"
        ):
            model.score(rows, calibrated=True)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_model_that_grows_has_it_until_it_learns(runs, rule, tmp_path):
    """The curve says what scores after its phase mean; new items alone are no phase."""
    before = recbole_cold.load(runs[0][rule].folder)
    files = tiny_files()
    inter, item = frame_of(files["inter"]), frame_of(files["item"])
    rows = inter[inter["item_id"].isin(before.ids("new"))].tail(20)
    more = item.head(1).assign(item_id="more")
    first = recbole_cold.grow(runs[0][rule].folder, items=more, out=tmp_path / "a")["folder"]
    one = recbole_cold.load(first)
    assert one.about["calibration"] == before.about["calibration"]
    expected = before.score(rows, calibrated=True)
    assert np.array_equal(one.score(rows, calibrated=True), expected)
    second = recbole_cold.grow(first, rows=rows, out=tmp_path / "b")
    assert any("no calibration any more" in note for note in second["notes"])
    with pytest.raises(UserError, match="after warm_d has no calibration"):
        recbole_cold.load(second["folder"]).score(rows, calibrated=True)


class TestRefused:
    def test_where_no_model_is_kept(self, tiny_flags, capsys):
        assert main([*tiny_flags, "--model=Base", "--calibrate=platt", "--seeds=2"]) == 2
        assert "calibrate: platt fits what a kept model's scores mean, and this run keeps none" in (
            capsys.readouterr().err
        )

    def test_where_there_is_no_folder(self, tiny_path):
        with pytest.raises(UserError, match="and one without saved_dir keeps none"):
            recbole_cold.run("Base", "tiny", seeds=1, saved_dir=None, calibrate="platt",
                             data_path=str(tiny_path.parent), threshold={"rating": 4},
                             cold_threshold=30, warm_size=3)  # fmt: skip

    def test_before_anything_is_trained(self, tiny_flags, capsys, monkeypatch):
        """Where there are no rows to fit on, hours of training are not for nothing."""
        monkeypatch.setattr(Trainer, "pretrain", lambda _: pytest.fail("trained"))
        one_label = SimpleNamespace(asarray=np.asarray, unique=lambda _: [0.0])
        monkeypatch.setattr(calibrating, "np", one_label)
        assert main([*tiny_flags, "--model=Base", "--calibrate=platt"]) == 2
        assert "calibrate: platt needs rows of both labels" in capsys.readouterr().err

    def test_where_old_items_play_new_ones_already(self, tiny_flags, capsys, monkeypatch):
        monkeypatch.setattr(Trainer, "pretrain", lambda _: pytest.fail("trained"))
        flags = ["--model=Base", "--calibrate=platt", "--fit_on=valid"]
        assert main([*tiny_flags, *flags]) == 2
        assert "calibrate: platt fits on the rows that fit_on: valid scores" in (
            capsys.readouterr().err
        )

    def test_an_unknown_rule(self, tiny_flags, capsys):
        assert main([*tiny_flags, "--model=Base", "--calibrate=plat"]) == 2
        assert "none, platt, isotonic" in capsys.readouterr().err
