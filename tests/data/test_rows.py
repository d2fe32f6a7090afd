"""Rows on the device give what RecBole's joined table would."""

import numpy as np
import pytest
import torch
from recbole.utils import FeatureType

from recbole_cold.config import make_config
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.rows import Rows
from recbole_cold.data.split import Split


@pytest.fixture
def dataset(tiny_keys):
    keys = {**tiny_keys, "numerical_features": ["income", "price"]}
    return ColdStartDataset(make_config("Base", "tiny", overrides=keys))


@pytest.fixture
def rows(dataset):
    return Rows(dataset, "cpu")


def joined(dataset, field):
    """A field of all rows, by plain lookups."""
    if field in dataset.inter:
        return np.asarray(dataset.inter[field])
    for table, id_field in (
        (dataset.item_table, dataset.iid_field),
        (dataset.user_table, dataset.uid_field),
    ):
        if field in table:
            return np.asarray(table[field])[np.asarray(dataset.inter[id_field])]
    raise AssertionError(field)


def test_every_field_of_a_batch_is_the_joined_column(dataset, rows):
    index = torch.tensor([5, 0, 17, 5, dataset.n_rows - 1])
    batch = rows.batch(index)
    inputs = [
        field
        for field in dataset.fields()
        if dataset.field2type[field] != FeatureType.FLOAT or field in rows.numerical
    ]
    assert {"user_id", "item_id", "device", "title", "genre", "income", "price"} <= set(inputs)
    for field in inputs:
        wanted = torch.as_tensor(joined(dataset, field)[index.numpy()])
        if field in rows.numerical:
            assert torch.equal(batch[field][:, 0], wanted)
            assert torch.equal(batch[field][:, 1], torch.ones(5))  # what FLEmbedding looks up
        else:
            assert batch[field].dtype == torch.long
            assert torch.equal(batch[field], wanted.long())


def test_rows_of_a_split_are_shared_and_others_copied(rows):
    """A tensor over frozen row numbers costs nothing; one over a caller's own array is apart."""
    own = np.arange(5)
    taken = rows.index(own)
    own[0] = 7
    assert taken.tolist() == [0, 1, 2, 3, 4]
    # torch would warn of frozen arrays, and warnings are errors here.
    frozen = Split({"train": np.arange(5)}, [0], [1])["train"]
    assert rows.index(frozen).data_ptr() == frozen.ctypes.data
    small = frozen.astype(np.int32)
    small.flags.writeable = False
    assert torch.equal(rows.index(small), rows.index(frozen))


def test_labels_are_plain_numbers(dataset, rows):
    batch = rows.batch(torch.arange(10))
    assert batch[dataset.label_field].dtype == torch.float32
    assert torch.equal(
        batch[dataset.label_field], torch.as_tensor(dataset.inter[dataset.label_field][:10].copy())
    )


def test_row_columns_keep_their_small_type(rows):
    assert rows.columns["user_id"].dtype == torch.int32


def test_a_field_is_gathered_when_asked_for_and_once(rows, monkeypatch):
    asked = []
    read = rows.input
    monkeypatch.setattr(rows, "input", lambda f, b: (asked.append(f), read(f, b))[1])
    batch = rows.batch(torch.arange(3))
    assert not asked
    assert batch["age"] is batch["age"]
    assert asked == ["age", "user_id"]


def test_an_unknown_field_is_a_key_error_as_in_recbole(rows):
    with pytest.raises(KeyError, match="nothing"):
        rows.batch(torch.arange(3))["nothing"]


def test_length_is_the_number_of_rows(rows):
    assert len(rows.batch(torch.arange(7))) == 7
    assert len(rows.batch(torch.arange(0))) == 0
    assert rows.batch(torch.arange(0))["title"].shape[0] == 0


def test_different_codes_and_places_give_the_rows_back(rows):
    batch = rows.batch(torch.tensor([3, 1, 3, 2]))
    codes, place = batch.unique("item_id")
    assert torch.equal(codes[place], batch["item_id"])
    assert len(codes) == len(set(batch["item_id"].tolist()))


@pytest.mark.parametrize("numbers", [np.array([3, 1], np.int32), [3, 1], torch.tensor([3, 1])])
def test_index_takes_what_people_have(rows, numbers):
    assert torch.equal(rows.index(numbers), torch.tensor([3, 1]))


def test_features_by_side(dataset, rows):
    assert set(rows.features_of("item_id")) == {"title", "year", "genre", "price"}
    assert set(rows.features_of("user_id")) == {"age", "gender", "income"}
    assert len(rows.features_of("item_id")["year"]) == dataset.item_num


def test_columns_of_the_cache_are_shared_not_copied(tiny_keys):
    """All processes of a machine that map the same file hold its pages once."""
    make = lambda: ColdStartDataset(make_config("Base", "tiny", overrides=tiny_keys))  # noqa: E731
    make()
    dataset = make()
    assert dataset.from_cache
    rows = Rows(dataset, "cpu")
    column = dataset.inter[dataset.iid_field]
    assert not column.flags.writeable
    assert rows.columns[dataset.iid_field].data_ptr() == column.ctypes.data
