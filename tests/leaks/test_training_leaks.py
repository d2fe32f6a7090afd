"""Leak checks that train: each finds what was made to leak, and plain methods pass."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from recbole_cold.evaluation.metrics import auc
from recbole_cold.leaks import features, shuffled
from recbole_cold.leaks.checks import chosen
from recbole_cold.leaks.subject import distances
from recbole_cold.leaks.uncertainty import auc_with_error
from recbole_cold.methods import ColdStartRecommender
from recbole_cold.registry import methods


def liked(dataset, field, rows):
    """The share of clicks of each code of ``field`` in some rows, less one half; 0 without any."""
    codes = np.asarray(dataset.inter[field])[rows]
    clicks = np.asarray(dataset.inter[dataset.label_field])[rows]
    size = dataset.num(field)
    n = np.bincount(codes, minlength=size)
    return torch.tensor((np.bincount(codes, clicks, size) - n / 2) / np.maximum(n, 1))


class Shifted(ColdStartRecommender):
    """The plain backbone, and on top of its logits one number per item: ``shift`` [n]."""

    size: ClassVar[float] = 8.0

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.shift = self.size * self.known(config, dataset)

    def predict(self, interaction):
        logit = torch.logit(super().predict(interaction))
        return torch.sigmoid(logit + self.shift[interaction[self.id_field]])


class ReadsTestLabels(Shifted):
    """Items' clicks in the test rows are known to it."""

    def known(self, config, dataset):
        return liked(dataset, self.id_field, dataset.split["test"])


class Remembers(Shifted):
    """It has met the new items before, and knows them by their codes."""

    memory: ClassVar[dict] = {}

    def known(self, config, dataset):
        if dataset.data_hash not in self.memory:
            rows = np.arange(dataset.n_rows)
            self.memory[dataset.data_hash] = liked(dataset, self.id_field, rows)
        return self.memory[dataset.data_hash]


class PretrainsOnAllRows(ColdStartRecommender):
    """New items' rows are in its pre-training."""

    def pretrain_fits(self):
        self.train_index = torch.arange(len(self.rows.columns[self.label_field]))
        return super().pretrain_fits()

    def pretrain_key(self):
        return {"all": True}


class CountsAllRows(ColdStartRecommender):
    """The backbone is plain; a cold vector is longer the more rows the log has of its item."""

    def cold_vectors(self):
        ids = self.rows.columns[self.id_field].long()
        count = torch.bincount(ids, minlength=self.n_ids)[self.new_ids]
        return super().cold_vectors() + count[:, None].float()


class Draws(ColdStartRecommender):
    """A cold vector is drawn, one after the other."""

    def cold_vectors(self):
        mean = super().cold_vectors()
        return mean + 0.1 * torch.randn_like(mean)


class NeverTheSame(Shifted):
    """Its numbers come from nowhere."""

    def known(self, config, dataset):
        return torch.tensor(np.random.default_rng().normal(size=dataset.num(self.id_field)))


class Guesses(Shifted):
    """Ranks items by something coarse that goes with clicks, in a direction that it drew."""

    direction: ClassVar[dict] = {0: 1.0, 1: -1.0}

    def known(self, config, dataset):
        if "truth" not in Guesses.__dict__:
            Guesses.truth = liked(dataset, self.id_field, dataset.split["test"])
        return self.direction[config["seed"] % 2] * self.truth


def spec(cls):
    return f"{cls.__module__}:{cls.__name__}"


@pytest.fixture(autouse=True)
def forget():
    yield
    Remembers.memory.clear()


# ------------------------------------------------------------------------------- plain methods
def test_the_plain_backbone_is_clean(leaks):
    found = leaks("L1,L2,L3,L4,L7", count_source="visible", use_count=True)
    assert {name: each.verdict for name, each in found.items() if name} == dict.fromkeys(
        ["L1", "L2", "L3", "L4", "L7"], "ok"
    )
    assert (found["L1"].number, found["L3"].number) == (0.0, 0.0)


@pytest.mark.parametrize("model", ["MWUF", "CVAR", "MeLU"])
def test_our_methods_are_clean(model, leaks):
    found = leaks("L1,L2,L3", model)
    assert {found[name].verdict for name in ("L1", "L2", "L3")} == {"ok"}


@pytest.mark.slow
def test_all_our_methods_are_clean(leaks):
    """Those whose new items start at random vectors cannot be asked for ids."""
    ours = [name for name, cls in methods().items() if cls.__module__.startswith("recbole_cold.")]
    found = leaks("L1,L2,L3", ",".join(ours))
    assert {each.verdict for name in ("L1", "L3") for each in found[name]} == {"ok"}
    assert {
        each.sentence.startswith("new_item_init: random")
        for each in found["L2"]
        if each.verdict != "ok"
    } <= {True}


def test_new_users(leaks):
    found = leaks("L1,L2,L3,L4,L5,L6,L7,L8,L9", cold_side="user", cold_threshold=20, warm_size=3)
    verdicts = {name: found[name].verdict for name in ("L1", "L2", "L3", "L6", "L7", "L8")}
    assert set(verdicts.values()) == {"ok"}
    assert "new users' features carry" in found["L4"].sentence
    assert "of the same item in train" in found["L5"][0].sentence
    assert "a new user is one with" in found[""].sentence


def test_data_without_times_and_features(leaks):
    found = leaks(None, load_col={"inter": ["user_id", "item_id", "rating"]})
    assert [each.sentence for each in found["L5"]] == ["no timestamp"] * 2
    assert found["L4"].sentence == "no feature of items"
    assert found["L8"].sentence == "no feature that a model reads"
    assert {found[name].verdict for name in ("L4", "L8", "L9")} == {"not applicable"}
    assert {found[name].verdict for name in ("L1", "L2", "L3", "L6", "L7")} == {"ok"}


@pytest.mark.parametrize(
    "keys",
    [
        {"fit_on": "valid"},
        {"eval_on": "next"},
        {"common_phases": 1, "common_size": 1},
        {"train_until": "first_test", "warm_size": 1},
    ],
    ids=["pseudo-new", "next", "common", "until"],
)
def test_other_protocols(keys, leaks):
    found = leaks("L1,L3,L5,L6,L7", **keys)
    assert {found[name].verdict for name in ("L1", "L3", "L6", "L7")} == {"ok"}
    assert found["L5"][0].verdict == ("ok" if "train_until" in keys else "leak")


class Breaks(ColdStartRecommender):
    """It cannot be trained."""

    tries: ClassVar[list] = []

    def learn_fits(self):
        self.tries.append("learn")
        raise ValueError("nothing to learn")


def test_a_method_that_cannot_be_trained_fails_in_its_checks(leaks):
    found = leaks("L1,L2,L6", spec(Breaks))
    assert (found["L1"].verdict, found["L2"].verdict, found["L6"].verdict) == (
        "failed", "failed", "ok",
    )  # fmt: skip
    assert "nothing to learn" in found["L1"].sentence
    assert len(Breaks.tries) == 1


# ------------------------------------------------------------------------------- L1
def test_known_test_labels_are_found(leak):
    found = leak("L1", spec(ReadsTestLabels))
    assert found.verdict == "leak" and found.number > 0.05


def test_known_test_labels_are_found_where_phases_score_the_next_rows(leak):
    found = leak("L1", spec(ReadsTestLabels), eval_on="next")
    assert found.verdict == "leak" and found.number > 0.05


def test_what_does_not_repeat_tells_nothing(leaks):
    """Other numbers each time are no leak of labels: they are so without any change."""
    found = leaks("L1,L2,L3", spec(NeverTheSame))
    assert found["L1"].verdict == found["L2"].verdict == "not applicable"
    assert "each time" in found["L1"].sentence
    assert found["L3"].verdict == "ok"  # backbone and vectors are the plain ones


# ------------------------------------------------------------------------------- L2
def test_remembered_items_are_found_by_exchanged_ids(leaks):
    """Other labels do not matter any more to what was remembered before."""
    found = leaks("L1,L2", spec(Remembers))
    assert found["L1"].verdict == "ok"
    assert found["L2"].verdict == "leak" and found["L2"].number > 0.05


def test_drawn_vectors_are_no_memory(leak):
    found = leak("L2", spec(Draws))
    assert found.verdict == "note" and "draws something" in found.sentence


def test_random_starts_cannot_be_asked(leak):
    assert leak("L2", new_item_init="random").verdict == "not applicable"


# ------------------------------------------------------------------------------- L3
def test_rows_of_new_items_in_pre_training_are_found(leak):
    found = leak("L3", spec(PretrainsOnAllRows))
    assert found.verdict == "leak" and found.number > 0
    assert "backbone is another one" in found.sentence


def test_rows_of_new_items_in_cold_vectors_are_found(leak):
    found = leak("L3", spec(CountsAllRows))
    assert found.verdict == "leak" and "the backbone is the same" in found.sentence


def test_popularity_of_the_whole_log_changes_the_backbone(leak):
    """As released; the rarest item of the log, where its scale starts, is a new one."""
    assert leak("L3", use_count=True, count_source="full").verdict == "leak"


def test_a_scale_over_all_rows_changes_the_backbone(leak, tables, new_items):
    """RecBole's loader scales times to 0..1 over all rows; ours does by those of training."""
    for rows in new_items(tables["inter"]).values():
        late = rows[-1]
        late[3] = str(float(late[3]) + 1e6)
    assert leak("L3", tables=tables, use_timestamp=True, number_scale="recbole").verdict == "leak"
    assert leak("L3", tables=tables, use_timestamp=True).verdict == "ok"


# ------------------------------------------------------------------------------- L4
def counts(tables):
    found = {}
    for row in tables["inter"][1:]:
        found[row[1]] = found.get(row[1], 0) + 1
    return [found.get(row[0], 0) for row in tables["item"][1:]]


def test_popularity_of_the_whole_log_is_found(leak):
    found = leak("L4", use_count=True, count_source="full")
    assert found.verdict == "leak"
    assert "the count of the whole log is in count (rank correlation +1.00)" in found.sentence


@pytest.mark.parametrize("kind", ["float", "token"])
def test_a_column_with_the_count_is_found(kind, leak, tables):
    # As tokens, half as many: a count of one item alone would tell that item.
    values = [str(count // 2 if kind == "token" else -count) for count in counts(tables)]
    head, *rows = tables["item"]
    tables["item"] = [
        [*head, f"sold:{kind}"],
        *([*row, value] for row, value in zip(rows, values, strict=True)),
    ]
    found = leak("L4", tables=tables)
    assert found.verdict == "leak" and "sold (rank correlation" in found.sentence
    # Tokens of old items differ from these: the backbone reads those of new ones as missing.
    assert "no score here depends on it" in found.sentence


def test_a_feature_that_carries_the_auc_is_told(leaks, tables):
    """Labels follow from one of two genres and nothing else; shuffled, from nothing at all."""
    draws = np.random.default_rng(0)
    good = {row[0]: bool(draws.integers(2)) for row in tables["item"][1:]}
    for row in tables["item"][1:]:
        row[3] = "war" if good[row[0]] else "drama"
    for row in tables["inter"][1:]:
        row[2] = "5" if good[row[1]] != (draws.uniform() < 0.15) else "1"
    keys = {"pretrain_epochs": 20, "learning_rate": 0.03, "backbone": "FM"}
    found = leaks("L4,L7", tables=tables, **keys)
    assert found["L4"].verdict == "ok" and found["L4"].number > 0.2
    assert "carry: genre" in found["L4"].sentence
    assert found["L7"].verdict == "ok"


def test_likeness_to_a_count():
    draws = np.random.default_rng(1)
    count = draws.integers(10, 200, 40).astype(float)
    assert features.count_likeness(count, count) == pytest.approx(1.0)
    assert features.count_likeness(-np.log(count), count) == pytest.approx(-1.0)
    with_gaps = np.where(draws.uniform(size=40) < 0.3, np.nan, count)
    assert features.count_likeness(with_gaps, count) == pytest.approx(1.0)
    noisy = count + draws.normal(0, 60, 40)
    assert features.count_likeness(noisy, count) == 0
    assert features.count_likeness(np.ones((40, 1)), count) == 0
    # Of 20,000 columns some follow six counts by chance.
    few = draws.permutation(6).astype(float)
    assert features.count_likeness(draws.normal(size=(6, 20_000)), few) == 0
    wide = np.c_[draws.normal(size=(40, 5)), count]
    assert features.count_likeness(wide, count) == pytest.approx(1.0)


def test_a_token_stands_for_the_others_that_have_it():
    codes, count = np.array([[1, 2], [1, 0], [2, 2], [3, 0]]), np.array([10.0, 20.0, 40.0, 80.0])
    found = features.others_mean(codes, count)
    assert found[:3].tolist() == [(20 + 40) / 2, 10.0, 10.0]
    assert np.isnan(found[3])


# ------------------------------------------------------------------------------- L5
def test_auc_without_the_future_is_that_of_the_other_rows(leak):
    data, model = leak("L5")
    assert model.verdict == "note" and 0 < model.number < 1
    assert data.verdict == "leak"
    kept = round(
        (1 - data.number) * int(data.sentence.split(" of ")[1].split()[0].replace(",", ""))
    )
    assert f"on the {kept} without later rows" in model.sentence


# ------------------------------------------------------------------------------- L7
def test_a_method_that_knows_the_labels_is_found_by_shuffled_ones(leak):
    found = leak("L7", spec(ReadsTestLabels))
    assert found.verdict == "leak" and found.number > 0.6


def test_a_chance_ranking_of_coarse_groups_is_no_leak(leak):
    """The first training is far off 0.5; others are as far on the other side."""
    found = leak("L7", spec(Guesses))
    assert found.verdict == "ok" and "which chance does" in found.sentence
    assert 0.3 < found.number < 0.7


def test_p_value_of_several_trainings():
    assert shuffled.off_half([0.9, 0.91, 0.89, 0.9, 0.9]) < 1e-4
    assert shuffled.off_half([0.8, 0.2, 0.8, 0.2, 0.2]) > 0.5
    assert shuffled.off_half([0.7] * 5) == 0.0 and shuffled.off_half([0.5] * 5) == 1.0


def test_error_of_an_auc_holds_rows_together():
    """Items and users of their own levels: rows alone would give half of the spread over logs."""
    draws = np.random.default_rng(5)
    values, errors = [], []
    for _ in range(40):
        item, user = draws.integers(0, 30, (2, 800))
        of_item, of_user = draws.normal(size=(2, 30))
        label = (of_item[item] + of_user[user] + draws.logistic(size=800) > 0).astype(float)
        guess = draws.normal(size=30)[item] + draws.normal(size=30)[user]
        value, error = auc_with_error(guess, label, item, user)
        assert value == auc(guess, label)
        values.append(value)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)
    assert np.isnan(auc_with_error(guess, np.ones(800), item, user)).all()


def test_a_score_that_is_no_number_is_far_from_one():
    found = distances(np.array([0.5, np.nan, np.nan, 0.2]), np.array([0.25, np.nan, 0.5, np.nan]))
    assert found.tolist() == [0.25, 0.0, np.inf, np.inf]


def test_checks_are_in_the_tables_order():
    assert [check.name for check in chosen("L7, l6,L1")] == ["L6", "L1", "L7"]
    assert {check.name for check in chosen(None)} == {f"L{number}" for number in range(1, 10)}
