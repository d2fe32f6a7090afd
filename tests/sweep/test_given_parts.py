"""Parts of Ray Tune that only Python can give: they choose, run, and are asked for on a resume."""

import json
from contextlib import nullcontext

import pytest
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher
from ray.tune.search.basic_variant import BasicVariantGenerator

from recbole_cold.errors import Interrupted, UserError
from recbole_cold.experiment.folders import read_request
from recbole_cold.sweep.requests import SweepRequest
from recbole_cold.sweep.sweep import Sweep
from recbole_cold.trials import ray_pool, worker

AXES = [["learning_rate", "loguniform", [1e-3, 1e-1], "here"],
        ["meta_hidden_size", "grid", [[16], [8, 8]], "here"]]  # fmt: skip


class Ladder(Searcher):
    """Suggests a fixed row of settings and writes down what it is told."""

    rows = ((1e-3, "[16]"), (1e-2, "[8, 8]"), (1e-2, "[8, 8]"), (0.1, "[16]"))

    def __init__(self):
        super().__init__()
        self.told = []

    def set_search_properties(self, metric, mode, config, **spec):
        self.asked = (metric, mode, config)
        return True

    def suggest(self, trial_id):
        number = int(trial_id.rpartition("-")[2])
        if number >= len(self.rows):
            return None
        rate, sizes = self.rows[number]
        return {"learning_rate": rate, "meta_hidden_size": sizes}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result, error))


@pytest.fixture
def calls(monkeypatch):
    """Trials run in this process; the words of every call of the pool."""
    calls = []

    def run_all(specs, *, on_done, on_failed, stop, gpus, **words):
        calls.append((len(specs), words))
        for spec in specs:
            if stop():
                raise Interrupted
            outcome = worker.outcome_of(spec, gpus)
            on_done(spec, json.loads(outcome["document"]))

    monkeypatch.setattr(ray_pool, "run_all", run_all)
    monkeypatch.setattr(ray_pool, "session", lambda address: nullcontext())
    monkeypatch.setattr(ray_pool, "_nodes", lambda address: [(2.0, 0.0)])
    return calls


@pytest.fixture
def request_of(tiny_keys, tmp_path):
    def make(**words):
        keys = {
            **tiny_keys, "train_batch_size": 64, "embedding_size": 4, "show_progress": False,
            "saved_dir": str(tmp_path / "saved"),
        }  # fmt: skip
        return SweepRequest("MWUF", "tiny", "FM", overrides=keys, axes=AXES, **words)

    return make


def test_a_searcher_chooses_in_rounds_and_learns_the_means(request_of, calls):
    search = Ladder()
    sweep = Sweep(request_of(samples=4), search_alg=search)
    folder = sweep.open_folder()
    document = sweep.run()
    metric, mode, space = search.asked
    assert (metric, mode) == ("AUC", "max")
    assert space["meta_hidden_size"].categories == ["[16]", "[8, 8]"]
    tried = [each["params"] for each in document["settings"]]
    assert [setting["meta_hidden_size"] for setting in tried] == [[16], [8, 8], [16]]
    assert [count for count, _ in calls] == [2, 1]  # the third one was run before
    means = [each["mean"] for each in document["settings"]]
    told = [result["AUC"] for _, result, error in search.told if not error]
    assert told == [means[0], means[1], means[1], means[2]]
    assert document["best"]["mean"] == max(means)

    kept = read_request(folder, "tune", SweepRequest)
    assert kept.given == {"search_alg": "Ladder"}
    with pytest.raises(UserError, match=r"search_alg=Ladder, an object, .* give it again"):
        Sweep(kept)
    again = Sweep(kept, search_alg=Ladder())
    again.folder = folder
    del calls[:]
    assert again.run()["best"] == document["best"]
    assert sum(count for count, _ in calls) == 0


def test_what_was_tried_is_asked_for_anew(request_of, calls):
    """A searcher of four suggestions, three of them different: told each, and then it is said."""
    told, search = [], Ladder()
    sweep = Sweep(request_of(samples=10), tell=told.append, search_alg=search)
    sweep.open_folder()
    assert len(sweep.run()["settings"]) == 3
    assert [name for name, _, _ in search.told] == [f"setting-{number}" for number in range(4)]
    line = "Ladder suggests no other settings than the 3 that were tried; the search ends here"
    assert told.count(line) == 1


def test_a_searcher_that_repeats_itself_for_ever_ends(request_of, calls):
    class Stubborn(Ladder):
        rows = ((1e-3, "[16]"),) * 1000

    told = []
    sweep = Sweep(request_of(samples=4), tell=told.append, search_alg=Stubborn())
    sweep.open_folder()
    assert len(sweep.run()["settings"]) == 1
    assert any("suggests no other settings than the 1 that" in line for line in told)


def test_optuna_search_of_ray_serves(request_of, calls):
    pytest.importorskip("optuna")
    from ray.tune.search.optuna import OptunaSearch

    sweep = Sweep(request_of(samples=3), search_alg=OptunaSearch(seed=1))
    sweep.open_folder()
    tried = [each["params"] for each in sweep.run()["settings"]]
    assert len(tried) == 3
    assert all(setting["meta_hidden_size"] in ([16], [8, 8]) for setting in tried)
    own = OptunaSearch(space={"learning_rate": tune.uniform(0, 1)}, metric="AUC", mode="max")
    sweep = Sweep(request_of(samples=3), search_alg=own)
    sweep.open_folder()
    with pytest.raises(UserError, match=r"OptunaSearch was made with .* a space of its own"):
        sweep.run()


def test_scheduler_callbacks_and_loggers_reach_the_pool(request_of, calls):
    callback, scheduler = tune.Callback(), ASHAScheduler(time_attr="epoch")
    sweep = Sweep(
        request_of(samples=1, loggers=True), scheduler=scheduler, ray_callbacks=[callback]
    )
    folder = sweep.open_folder()
    sweep.run()
    (_, words), *_ = calls
    parts = words["tune_parts"]
    assert isinstance(parts.scheduler, ASHAScheduler)
    assert parts.scheduler is not scheduler  # a round ends its own
    assert (parts.callbacks, parts.loggers, parts.logs) == ([callback], True, folder / "ray")
    assert (parts.metric, parts.mode) == ("AUC", "max")
    assert json.loads((folder / "request.json").read_text())["given"] == {
        "scheduler": "AsyncHyperBandScheduler", "ray_callbacks": "Callback"
    }  # fmt: skip


def test_without_them_nothing_is_kept_of_tune(request_of, calls):
    sweep = Sweep(request_of(samples=1))
    folder = sweep.open_folder()
    sweep.run()
    parts = calls[0][1]["tune_parts"]
    assert (parts.scheduler, list(parts.callbacks), parts.logs) == (None, [], None)
    assert not (folder / "ray").exists()


@pytest.mark.parametrize(
    ("words", "parts", "message"),
    [
        ({"search": "optuna"}, {"search_alg": Ladder()}, "both choose settings"),
        ({}, {"search_alg": BasicVariantGenerator()}, "must be a Searcher of Ray Tune"),
        ({"scheduler": "asha"}, {"scheduler": ASHAScheduler()}, "by name or as an object"),
    ],
)
def test_what_does_not_go_together(request_of, words, parts, message):
    words = {**words, "samples": 2}
    with pytest.raises(UserError, match=message):
        Sweep(request_of(**words), **parts)
