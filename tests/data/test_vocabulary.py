"""A vocabulary reads like an array of texts, and takes the memory of its letters."""

import pickle
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
import torch

from recbole_cold.config import make_config
from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.data.dataset import ColdStartDataset

TOKENS = ["b", "", "née", "x" * 300, "東京", "b b"]
WHOLE = np.array(["[PAD]", *TOKENS])


@pytest.fixture(params=["made", "stored", "pickled"])
def vocabulary(request, tmp_path):
    made = Vocabulary.of(pa.array(TOKENS, pa.string()))
    if request.param == "pickled":
        return pickle.loads(pickle.dumps(made))
    if request.param == "made":
        return made
    for name, part in zip(("letters", "ends"), made.parts(), strict=True):
        np.save(tmp_path / f"{name}.npy", part)
    mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("letters", "ends"))
    return Vocabulary.from_parts(*map(np.asarray, mapped))


def test_all_of_it(vocabulary):
    assert len(vocabulary) == len(WHOLE)
    assert list(vocabulary) == vocabulary.tolist() == WHOLE.tolist()
    np.testing.assert_array_equal(np.asarray(vocabulary), WHOLE)
    assert "東京" in vocabulary and "東" not in vocabulary and 0 not in vocabulary
    assert vocabulary.index("née") == 3


CODES = [
    [2, 0, 2], [], [-1], np.array([[1, 2], [3, 0]], np.int32), np.zeros((0, 3), int),
    torch.tensor([4, 1]), np.arange(7) % 2 == 0, slice(1, None), slice(None, None, -2),
]  # fmt: skip


@pytest.mark.parametrize("codes", CODES, ids=str)
def test_some_of_it(vocabulary, codes):
    # Of numpy an empty list would be of floats, which is no index of an array in a variable.
    wanted = WHOLE[codes if not isinstance(codes, list) else np.array(codes, dtype=int)]
    found = vocabulary[codes]
    assert found.shape == wanted.shape and found.dtype.kind == "U"
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("code", [3, -1, np.int32(4), torch.tensor(2), np.array(5)], ids=repr)
def test_one_of_it(vocabulary, code):
    assert vocabulary[code] == WHOLE[int(code)] and isinstance(vocabulary[code], str)


@pytest.mark.parametrize(
    "codes", [7, -8, [0, 7], [[-8]], 1.5, [0.5], "b", np.ones(3, bool)], ids=repr
)
def test_what_is_no_code(vocabulary, codes):
    with pytest.raises(IndexError):
        vocabulary[codes]


def test_where_tokens_are(vocabulary):
    for other in ("b", "none", WHOLE[::-1], WHOLE.tolist()):
        np.testing.assert_array_equal(vocabulary == other, np.asarray(other) == WHOLE)
        np.testing.assert_array_equal(vocabulary != other, np.asarray(other) != WHOLE)
    assert (vocabulary == vocabulary).all()


def test_without_a_token():
    letters, ends = Vocabulary.of(pa.array([], pa.string())).parts()
    assert Vocabulary.from_parts(letters, ends).tolist() == ["[PAD]"]
    assert letters.tobytes() == b"[PAD]" and ends.tolist() == [0, 5]


def test_a_long_token_is_long_once(write_atomic, tmp_path):
    """4,000 items and one name of 50,000 letters: as an array, 800 MB."""
    names = [f"item {number}" for number in range(3_999)] + ["long " * 10_000]
    item = [["item_id:token", "name:token"], *([str(n), name] for n, name in enumerate(names))]
    rows = [[f"u{n % 7}", str(n), str(n % 2)] for n in range(len(names))]
    inter = [["user_id:token", "item_id:token", "label:float"], *rows]
    folder = write_atomic(tmp_path / "long", "long", inter=inter, item=item)
    keys = {"data_path": str(folder.parent), "cache_dir": str(tmp_path / "cache"),
            "threshold": None, "load_col": None}  # fmt: skip
    config = make_config("Base", "long", overrides=keys)
    for from_cache in (False, True):
        tracemalloc.start()
        data = ColdStartDataset(config)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert data.from_cache is from_cache
        assert peak < 20e6
        assert data.id2token("name", [1, 4_000]).tolist() == ["item 0", names[-1]]
        assert data.token2id("name", names[-1]) == 4_000
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.npy")) < 1e6
