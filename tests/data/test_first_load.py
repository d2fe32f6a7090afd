"""The first load of big files: how much memory a row takes while its columns are made."""

import tracemalloc

import numpy as np
import pytest
from recbole.utils import FeatureType

from recbole_cold.config import make_config
from recbole_cold.data._atomic import Column
from recbole_cold.data._filters import restrict
from recbole_cold.data.dataset import ColdStartDataset


@pytest.mark.parametrize("is_mask", [True, False])
def test_rows_are_dropped_column_by_column(is_mask):
    """Eight columns of 0.8 MB: one at a time is there twice."""
    n = 100_000
    keep = np.arange(n) % 10 > 0
    keep = keep if is_mask else np.flatnonzero(keep)
    tracemalloc.start()
    table = {str(k): Column(FeatureType.FLOAT, np.arange(n) + float(k)) for k in range(8)}
    kept = restrict(table, keep)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 11 * 8 * n  # eight columns, one being made, row numbers; twice eight before
    for k, column in enumerate(kept.values()):
        assert column.values[:3].tolist() == [k + 1, k + 2, k + 3]
        assert len(column) == 90_000


def test_bytes_a_row_while_columns_are_made(write_atomic, tmp_path):
    """Two ids, a time and a label are kept in 20 bytes a row, beside row numbers of 4."""
    n = 60_000
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 2_000, n), rng.integers(0, 600, n)
    columns = (*ids, np.arange(n), np.arange(n) % 2)
    rows = np.stack(columns, axis=1).astype(str).tolist()
    header = ["user_id:token", "item_id:token", "timestamp:float", "label:float"]
    items = [["item_id:token", "kind:token"], *([str(k), str(k % 7)] for k in range(580))]
    folder = write_atomic(tmp_path / "many", "many", inter=[header, *rows], item=items)
    keys = {"data_path": str(folder.parent), "cache_dir": str(tmp_path / "cache"),
            "threshold": None, "load_col": None}  # fmt: skip
    config = make_config("Base", "many", overrides=keys)
    del rows
    tracemalloc.start()
    data = ColdStartDataset(config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not data.from_cache and data.n_rows == int((ids[1] < 580).sum())
    assert peak < 55 * n
