"""A trial is plain values in, one results document out."""

import json

import pytest

from recbole_cold import report
from recbole_cold.errors import UserError
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Request
from recbole_cold.training.callbacks import Callback
from recbole_cold.trials import trial as trials
from recbole_cold.trials.trial import TrialSpec, run_trial, score_of

SMALL = {"train_batch_size": 64, "embedding_size": 4, "show_progress": False, "fit_on": "valid"}


@pytest.fixture
def spec(tiny_keys):
    def make(model="Base", seed=5, matched_steps=None, **overrides):
        keys = {**tiny_keys, **SMALL, **overrides}
        return TrialSpec(model, "tiny", "DeepFM", (), keys, seed, matched_steps)

    return make


class TestSpec:
    def test_goes_through_json_and_keeps_its_key(self, spec):
        one = spec("MWUF[mwuf_parts=[scale]]", 7)
        again = TrialSpec.from_dict(json.loads(json.dumps(one.as_dict())))
        assert again == one
        assert again.key == one.key
        assert len(one.key) == 16

    def test_every_part_changes_the_key(self, spec):
        parts = [
            spec(),
            spec("MWUF"),
            spec(seed=6),
            spec(matched_steps=3),
            spec(learning_rate=0.1),
        ]
        assert len({part.key for part in parts}) == len(parts)


class TestRun:
    def test_gives_the_numbers_of_the_same_run_alone(self, spec, tiny_keys, numbers):
        document = run_trial(spec("MWUF"))
        keys = {**tiny_keys, **SMALL, "seed": 5, "matched_row": False}
        alone = Experiment(Request("MWUF", "tiny", "DeepFM", overrides=keys)).run()
        assert numbers(report.validate(document)) == numbers(alone)
        assert document["fit_on"] == "valid"
        trial = document["trial"]
        assert trial["key"] == spec("MWUF").key
        assert 0 < trial["first_step_seconds"] < trial["seconds"]

    def test_the_matched_row_is_the_plain_backbone_with_those_steps(self, spec):
        (run,) = run_trial(spec(matched_steps=4))["runs"]
        assert (run["label"], run["matched_steps"]) == ("Base (4 steps)", 4)
        steps = {stage["name"]: stage["steps"] for stage in run["seeds"][0]["stages"]}
        assert [steps[name] for name in ("warm_a", "warm_b", "warm_c")] == [4, 4, 4]

    def test_the_second_one_finds_the_data_loaded(self, spec, monkeypatch):
        run_trial(spec())
        monkeypatch.setattr(
            "recbole_cold.experiment.data_store.load_data", None
        )  # cannot be called
        run_trial(spec(learning_rate=0.01))
        run_trial(spec("MWUF", seed=6))

    def test_the_store_keeps_no_more_than_it_may(self, spec, monkeypatch):
        store = trials.DataStore(most=1)
        monkeypatch.setattr(trials, "_STORE", store)
        first = run_trial(spec())
        run_trial(spec(use_timestamp=True))
        assert len(store._data) == len(store._views) == 1
        again = run_trial(spec())
        assert again["runs"][0]["seeds"][0]["phases"] == first["runs"][0]["seeds"][0]["phases"]


class Epochs(Callback):
    wants_epoch_metrics = True

    def __init__(self, told):
        self.told = told

    def epoch(self, number, metrics):
        self.told.append((number, metrics))


class TestEpochs:
    def test_are_told_with_the_cold_metrics_of_the_backbone_so_far(self, spec, monkeypatch):
        told = []
        whole = spec(pretrain_epochs=3, learning_rate=0.017, embedding_init="uniform")
        document = run_trial(whole, callbacks=[Epochs(told)])
        assert [number for number, _ in told] == [1, 2, 3]
        cold = document["runs"][0]["seeds"][0]["phases"]["cold"]["metrics"]
        assert told[-1][1] == cold  # Base learns nothing between pre-training and cold
        one = run_trial(spec(pretrain_epochs=1, learning_rate=0.017, embedding_init="uniform"))
        assert told[0][1] == one["runs"][0]["seeds"][0]["phases"]["cold"]["metrics"]

    def test_telling_changes_no_number(self, spec, tmp_path, numbers):
        keys = {"pretrain_epochs": 2, "dropout_prob": 0.3, "weight_decay": 1e-4}
        told = run_trial(
            spec("MWUF", cache_dir=str(tmp_path / "a"), **keys), callbacks=[Epochs([])]
        )
        quiet = run_trial(spec("MWUF", cache_dir=str(tmp_path / "a2"), **keys))
        drop = "cache_dir"
        for document in (told, quiet):
            document["runs"][0]["config"].pop(drop)
        assert numbers(told) == numbers(quiet)


class TestScore:
    document = {
        "phases": ["cold", "warm_a"],
        "metrics": ["AUC"],
        "runs": [
            {
                "seeds": [
                    {
                        "phases": {
                            "cold": {"metrics": {"AUC": 0.5}},
                            "warm_a": {"metrics": {"AUC": 0.7}},
                        }
                    }
                ]
            }
        ],
    }

    def test_is_one_phase_or_the_mean(self):
        assert score_of(self.document, "AUC", "cold") == 0.5
        assert score_of(self.document, "AUC") == pytest.approx(0.6)

    def test_refuses_what_is_not_there(self):
        with pytest.raises(UserError, match="no phase; use mean or one of cold, warm_a"):
            score_of(self.document, "AUC", "warm_z")
        with pytest.raises(UserError, match="metric 'F1' was not computed, only AUC"):
            score_of(self.document, "F1")
