"""What a run is given is its own: nothing moves when others ask the same store."""

import pytest
import torch

from recbole_cold.config import make_config
from recbole_cold.data.phases import run_phases
from recbole_cold.experiment import data_store
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.training.trainer import Trainer


@pytest.fixture
def configured(tiny_keys):
    def make(method="Base", **keys):
        small = {"embedding_size": 4, "train_batch_size": 64, "show_progress": False, "seed": 5}
        overrides = {**tiny_keys, **small, "device": "cpu", **keys}
        return make_config(method, "tiny", "DeepFM", overrides=overrides)

    return make


@pytest.mark.parametrize(
    "other",
    [
        {"fit_on": "valid"},
        {"eval_on": "next"},
        {"common_phases": 1, "common_size": 1},
        {"warm_size": 2},
        {"warm_sets": 2},
        {"cold_threshold": 33},
        {"seed": 6, "fit_on": "valid"},
    ],
    ids=str,
)
def test_a_held_split_stays_when_another_configuration_asks(configured, other):
    store = DataStore()
    held = store.data(configured())
    split, parts = held.split, {name: rows.copy() for name, rows in held.split.parts.items()}
    second = store.data(configured(**other))
    assert held.split is split and second.split != split
    assert {n: r.tolist() for n, r in parts.items()} == {
        n: r.tolist() for n, r in held.split.parts.items()
    }
    assert len(store._data) == 1  # the rows themselves are loaded once
    assert second.inter["item_id"] is held.inter["item_id"]


def test_two_seeds_have_a_split_each(configured):
    store = DataStore()
    keys = {"fit_on": "valid"}
    five, six = (store.data(configured(seed=seed, **keys)) for seed in (5, 6))
    assert five.split.manifest["seed"] == 5 and six.split.manifest["seed"] == 6
    assert five.split != six.split
    assert store.data(configured(seed=5, **keys)).split is five.split  # made once


def test_equal_splits_of_seeds_are_kept_once(configured):
    """Rows that have times need no draw; their arrays, and scaled columns, are one."""
    store = DataStore()
    five, six = (store.data(configured(seed=seed)) for seed in (5, 6))
    assert five is not six and five.split is six.split
    assert five.item_table["price"] is six.item_table["price"]
    other = store.data(configured(seed=6, number_scale="recbole"))
    assert not (other.item_table["price"] == six.item_table["price"]).all()


def test_splits_of_a_data_set_do_not_pile_up(configured):
    store = DataStore()
    for seed in range(data_store._MOST_SPLITS + 3):
        store.data(configured(seed=seed))
    (views,) = store._views.values()
    assert len(views) == data_store._MOST_SPLITS


def test_views_share_arrays_and_own_what_holds_them(configured):
    store, config = DataStore(), configured(use_count=True)
    one, other = store.data(config), store.data(config)
    assert one is not other and one.rows is not other.rows
    for field, column in one.rows.columns.items():
        assert column is other.rows.columns[field]
    for field, column in one.rows.item_features.items():
        assert column is other.rows.item_features[field]
    one.rows.item_features["count"] = torch.ones_like(one.rows.item_features["count"])
    one.item_table["year"] = one.item_table["year"] * 0
    one.inter["label"] = 1 - one.inter["label"]
    assert not other.rows.item_features["count"].any()
    assert other.item_table["year"].any()
    assert (other.inter["label"] != one.inter["label"]).all()


def test_nobody_can_put_down_another_split(configured):
    view = DataStore().data(configured())
    with pytest.raises(AttributeError):
        view.split = view.split
    with pytest.raises(AttributeError):
        view.rows = view.rows
    with pytest.raises(AttributeError, match="was not split yet"):
        _ = data_store.load_data(configured()).split


def test_loading_leaves_the_configuration_alone(configured):
    """The models' inputs are complete before the data is; later ones find the same."""
    keys = {"use_count": True, "use_timestamp": True, "numerical_features": ["price"]}
    first, second = configured(**keys), configured("MWUF", **keys)
    before, store = dict(first.final_config_dict), DataStore()
    assert store.data(first).numbers == ["price", "count", "timestamp"]
    assert first.final_config_dict == before
    store.data(second)
    assert second["numerical_features"] == ["price", "count", "timestamp"]


class TestTwoAtOnce:
    """Methods that are alive together, phase by phase in turns, give the numbers of each alone."""

    KEYS = {"use_count": True, "count_source": "visible", "pretrain_epochs": 2}
    METHODS = ("Base", "MWUF")

    @pytest.fixture
    def started(self, configured):
        def start(name, dataset=None, store=None):
            config = configured(name, **self.KEYS)
            dataset = dataset or (store or DataStore()).data(config)
            method = build_method(config, dataset)
            trainer = Trainer(method, config["seed"])
            return method, trainer, dataset.split

        return start

    def alone(self, started, name):
        method, trainer, split = started(name)
        results = run_phases(trainer, split, trainer.evaluate)
        return results, {k: v.clone() for k, v in method.state_dict().items()}

    @pytest.mark.parametrize("shared", ["store", "view"])
    def test_interleaved_phases(self, started, configured, shared):
        store = DataStore()
        view = store.data(configured(**self.KEYS)) if shared == "view" else None
        runs = [started(name, view, store) for name in self.METHODS]
        found = [{} for _ in runs]
        for _, trainer, _ in runs:
            trainer.pretrain()
        for _, trainer, _ in runs:
            trainer.learn()
        (_, ahead, split), (_, behind, _) = runs

        def score(which, phase):
            method, trainer, split = runs[which]
            found[which][phase.name] = trainer.evaluate(phase.name, split[phase.score_on])
            column = method.rows.features_of("item_id")["count"]
            assert torch.equal(column, method.frequency())

        # One method is a phase ahead whenever the other one is scored.
        last = None
        for phase in split.phases:
            if phase.warm_up_on is not None:
                ahead.warm_up(phase.name, split[phase.warm_up_on])
            if last is not None:
                score(1, last)
            if phase.warm_up_on is not None:
                behind.warm_up(phase.name, split[phase.warm_up_on])
            score(0, phase)
            last = phase
        score(1, last)
        for name, (method, _, _), results in zip(self.METHODS, runs, found, strict=True):
            wanted, state = self.alone(started, name)
            assert results == wanted
            assert all(torch.equal(value, state[k]) for k, value in method.state_dict().items())

    def test_what_one_observes_the_other_does_not_see(self, started, configured):
        view = DataStore().data(configured(**self.KEYS))
        (one, _, split), (other, _, _) = started("Base", view), started("MWUF", view)
        index = one.rows.index(split["test"])
        one.set_mode("evaluate")
        before = one.rows.batch(index)["count"].clone()
        with torch.no_grad():
            scores = one.predict(one.rows.batch(index)).clone()
        for _ in range(3):
            other.observe(other.rows.index(split["warm_a"]))
        assert other.rows.batch(index)["count"][:, 0].any()
        assert torch.equal(one.rows.batch(index)["count"], before)
        with torch.no_grad():
            assert torch.equal(one.predict(one.rows.batch(index)), scores)
        assert not view.rows.item_features["count"].any()  # the data set's own column
