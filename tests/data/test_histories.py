"""Histories hold what was there before a row and was visible, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_cold.config import make_config
from recbole_cold.data.histories import (
    SessionHistories,
    VisibleHistories,
    are_read,
    histories_of,
    notes,
)
from recbole_cold.data.split import times_of
from recbole_cold.errors import UserError
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import DataStore

KEYS = {
    "numerical_features": ["income", "price"], "embedding_size": 4, "device": "cpu",
    "show_progress": False, "history_length": 4, "mlp_hidden_size": [4], "seed": 7,
}  # fmt: skip


@pytest.fixture(scope="module")
def store():
    return DataStore()


@pytest.fixture
def make(tiny_keys, store):
    """``make(key=value)``: a method on GRU4RecCTR, and its data set."""

    def make(backbone="GRU4RecCTR", **keys):
        config = make_config("Base", "tiny", backbone, overrides={**tiny_keys, **KEYS, **keys})
        dataset = store.data(config)
        return build_method(config, dataset), dataset

    return make


def as_dicts(dataset):
    """The rows as dictionaries, in file order."""
    columns = {
        "user": dataset.inter[dataset.uid_field],
        "item": dataset.inter[dataset.iid_field],
        "label": dataset.inter[dataset.label_field],
        "time": dataset.time,
    }
    return [{name: column[n] for name, column in columns.items()} for n in range(dataset.n_rows)]


def by_hand(rows, number, *, side, length, clicked, seen, unwanted):
    """A history by its definition: ``unwanted`` is the other side and its codes that are new."""
    own = rows[number]
    found = [
        k
        for k, row in enumerate(rows)
        if row[side] == own[side]
        and row["time"] < own["time"]
        and k in seen
        and (row["label"] == 1 or not clicked)
        and (unwanted is None or row[unwanted[0]] not in unwanted[1])
    ]
    return sorted(found, key=lambda k: rows[k]["time"])[-length:]


def listed(row_bn):
    """Histories as lists, after a look at their form: left-aligned, padded with -1."""
    there = row_bn >= 0
    assert torch.equal(there, there.sort(dim=1, descending=True, stable=True)[0])
    return [row[row >= 0].tolist() for row in row_bn]


@pytest.mark.parametrize(
    ("side", "history", "cold"),
    [("user", "clicked", "item"), ("item", "clicked", "item"), ("item", "all", "item"),
     ("user", "all", "user"), ("item", "clicked", "user")],
)  # fmt: skip
def test_histories_are_those_of_lists_of_dictionaries(make, side, history, cold):
    """200 rows of all parts, with ``train`` visible, then with warm_a and warm_b as well."""
    keys = {"cold_side": cold, "cold_threshold": 16} if cold == "user" else {}
    method, dataset = make(history_side=side, history=history, **keys)
    rows, split = as_dicts(dataset), dataset.split
    unwanted = None if side == cold else (cold, set(split.new_ids.tolist()))
    chosen = np.random.default_rng(3).choice(dataset.n_rows, 200, replace=False)
    seen, longest = set(split["train"].tolist()), 0
    for part in (None, "warm_a", "warm_b"):
        if part is not None:
            method.observe(method.rows.index(split[part]))
            seen |= set(split[part].tolist())
        found = listed(method.rows.histories.of(torch.from_numpy(chosen)))
        assert found == [
            by_hand(rows, k, side=side, length=4, clicked=history == "clicked", seen=seen,
                    unwanted=unwanted)
            for k in chosen
        ]  # fmt: skip
        longest = max(longest, *map(len, found))
    assert longest == 4


def small(wanted=(1, 1, 1, 1, 1, 1), visible=range(6), length=9, times=(5, 1, 3, 3, 9, 2)):
    """Six rows; the last but one is another id's."""
    return VisibleHistories(
        torch.tensor([1, 1, 1, 1, 2, 1]), np.array(times), torch.tensor(wanted) > 0,
        torch.tensor([*visible], dtype=torch.long), length=length, side="user",
    )  # fmt: skip


def test_own_row_rows_of_its_moment_and_unwanted_rows_are_absent():
    every = torch.arange(6)
    assert listed(small().of(every)) == [[1, 5, 2, 3], [], [1, 5], [1, 5], [], [1]]
    assert listed(small(times=[4] * 6).of(every)) == [[]] * 6
    assert listed(small(wanted=(1, 0, 1, 1, 1, 1)).of(every)) == [[5, 2, 3], [], [5], [5], [], []]
    assert listed(small(length=2).of(every))[0] == [2, 3]
    assert listed(small(visible=[]).of(every)) == [[]] * 6


def test_rows_that_come_later_change_no_earlier_history():
    """Rows appended at the end of the log, of later moments, whoever's they are."""
    rng = np.random.default_rng(1)
    ids, time = rng.integers(1, 4, 60), rng.integers(0, 30, 60)

    def histories(n):
        wanted = torch.ones(n, dtype=torch.bool)
        return VisibleHistories(
            torch.from_numpy(ids[:n]), time[:n], wanted, torch.arange(n), length=50, side="item"
        )

    time[40:] += 30
    assert torch.equal(histories(60).of(torch.arange(40)), histories(40).of(torch.arange(40)))


def test_an_item_has_its_clicks_of_a_phase_once_that_is_learned(make):
    """Nothing at first; then exactly the users who clicked on it in warm_a."""
    method, dataset = make(history_side="item", history_length=50)
    split, inter = dataset.split, dataset.inter
    test = method.rows.index(split["test"])
    assert not method.rows.batch(test)["history/length"].any()
    method.observe(method.rows.index(split["warm_a"]))
    batch = method.rows.batch(test)
    some = 0
    for row, users, length in zip(
        split["test"], batch["history/user_id"], batch["history/length"], strict=True
    ):
        mine = split["warm_a"][inter["item_id"][split["warm_a"]] == inter["item_id"][row]]
        clicks = mine[np.asarray(inter[dataset.label_field])[mine] == 1]
        before = clicks[dataset.time[clicks] < dataset.time[row]]
        assert sorted(users[:length].tolist()) == sorted(inter["user_id"][before].tolist())
        assert not users[length:].any()
        some += len(before)
    assert some > 20


def test_no_history_knows_of_new_items_or_of_rows_outside_of_train(make):
    """Whatever their labels are: histories of users are those of ``train`` in every phase."""
    method, dataset = make()
    split, every = dataset.split, torch.arange(dataset.n_rows)
    before = method.rows.histories.of(every)
    assert set(before[before >= 0].tolist()) <= set(split["train"].tolist())
    for phase in split.warm_parts:
        method.observe(method.rows.index(split[phase]))
    assert torch.equal(method.rows.histories.of(every), before)
    label = torch.tensor(np.asarray(dataset.inter[dataset.label_field]))
    outside = torch.ones(len(label), dtype=torch.bool)
    outside[method.train_index] = False
    method.rows.columns[method.label_field] = torch.where(outside, 1 - label, label)
    relabelled = histories_of(method.config, dataset, method.rows)
    assert torch.equal(relabelled.of(every), before)


def test_fields_of_a_history_are_those_of_its_rows(make):
    method, dataset = make(history="all")
    first = np.argsort(dataset.time)[[0, 300]].tolist()  # the log's first row has no history
    index = torch.tensor([5, *first, 17, 5])
    batch = method.rows.batch(index)
    row_bn = method.rows.histories.of(index)
    assert batch["history/length"].tolist() == (row_bn >= 0).sum(dim=1).tolist()
    assert batch["history/length"].min() == 0 and batch["history/length"].max() == 4
    shapes = {"item_id": (), "title": (4,), "price": (2,), dataset.label_field: (), "device": ()}
    for field, shape in shapes.items():
        value = batch[f"history/{field}"]
        assert value.shape == (5, 4, *shape)
        for each_n, rows_n in zip(value, row_bn, strict=True):
            for each, row in zip(each_n, rows_n, strict=True):
                alone = method.rows.batch(row.clamp(min=0).reshape(1))[field][0]
                assert each.dtype == alone.dtype
                assert torch.equal(each, alone if row >= 0 else torch.zeros_like(alone))
    with pytest.raises(KeyError):
        batch["history/nonsense"]


def test_what_is_shown_is_one_views_alone_and_part_of_its_state(make):
    method, dataset = make(history_side="item")
    other, again = (make(history_side="item")[0] for _ in range(2))
    every = torch.arange(dataset.n_rows)
    before, view = other.rows.histories.of(every), method.rows.view()
    method.observe(method.rows.index(dataset.split["warm_a"]))
    method.observe(method.rows.index(dataset.split["warm_b"]))
    after = method.rows.histories.of(every)
    assert not torch.equal(after, before)
    assert torch.equal(other.rows.histories.of(every), before)
    assert torch.equal(view.histories.of(every), before)
    again.load_state_dict(method.state_dict())
    again.restored()
    assert torch.equal(again.rows.histories.of(every), after)


def test_rows_without_times_are_in_the_order_of_their_seed(make):
    """Training rows first, in an order that no other row changes."""
    method, dataset = make(history="all")
    dataset.time = None
    config, split = method.config, dataset.split
    found = histories_of(config, dataset, method.rows)
    row_bn = found.of(torch.arange(dataset.n_rows))
    order = np.full(dataset.n_rows, 10_000)
    order[split["train"]] = times_of(None, len(split["train"]), 7)
    user = np.asarray(dataset.inter["user_id"])
    for row, history in enumerate(listed(row_bn)):
        mine = split["train"][user[split["train"]] == user[row]]
        before = mine[order[mine] < order[row]]
        assert history == before[np.argsort(order[before])][-4:].tolist()
    method.observe(method.rows.index(split["warm_a"]))
    again = histories_of(config, dataset, method.rows)
    assert torch.equal(again.of(torch.arange(dataset.n_rows)), row_bn)
    (said,) = notes(config, dataset)
    assert said.endswith("earlier means an order drawn with seed 7, training rows first")


def test_models_that_read_none_have_none(make):
    method, dataset = make("DeepFM")
    assert method.rows.histories is None and not are_read(method.config)
    assert "rows_shown" not in dict(method.named_modules())
    method.rows.show(torch.tensor([0]))
    with pytest.raises(KeyError):
        method.rows.batch(torch.tensor([0]))["history/length"]
    assert not any("history" in note for note in dataset.notes)


def test_the_split_is_the_same_and_a_note_says_what_a_history_is(make):
    (_, plain), (_, dataset) = make("DeepFM"), make("Basic", basic_history="mean")
    assert dataset.split.hash == plain.split.hash
    assert dataset.notes[:-1] == plain.notes
    assert dataset.notes[-1] == (
        "a history is the last 4 clicked rows of the row's user that are visible and strictly "
        "earlier, rows of new items left out"
    )


TABLE = torch.tensor([[3, 4, 5], [8, -1, -1], [9, 1, -1]])


class Sessions:
    """Sessions of the rows 10, 11 and 12, as a split carries them."""

    rows = TABLE.numpy()

    @staticmethod
    def of(index):
        none = torch.full((len(index), 3), -1)
        known = (index >= 10) & (index < 13)
        return torch.where(known[:, None], TABLE[(index - 10).clamp(0, 2)], none)


def test_sessions_are_read_from_their_table(make):
    index = torch.tensor([12, 10, 2, 11])
    whole = SessionHistories(Sessions, 50)
    assert whole.length == 3 and whole.side == "user"
    assert whole.of(index).tolist() == [[9, 1, -1], [3, 4, 5], [-1, -1, -1], [8, -1, -1]]
    newest = SessionHistories(Sessions, 2)
    assert newest.of(index).tolist() == [[9, 1], [4, 5], [-1, -1], [8, -1]]
    newest.show(torch.tensor([2]))
    assert newest.of(index).tolist() == [[9, 1], [4, 5], [-1, -1], [8, -1]]
    method, _ = make()
    split = SimpleNamespace(histories=Sessions)
    found = histories_of(method.config, SimpleNamespace(split=split, field2type={}), method.rows)
    assert isinstance(found, SessionHistories) and found.length == 3


def test_what_cannot_be_is_refused(make):
    method, _ = make(history_side="item")
    named = SimpleNamespace(split=SimpleNamespace(histories=Sessions), field2type={})
    with pytest.raises(UserError, match="a split into sessions has the histories of users"):
        histories_of(method.config, named, method.rows)
    named.field2type = {"length": None}
    with pytest.raises(UserError, match="the data have a field 'length'"):
        histories_of(method.config, named, method.rows)
