"""Rows in a model's folder are read as they were written."""

import numpy as np
import pytest
import torch

from recbole_cold.experiment.kept_rows import read_rows, write_rows


@pytest.mark.parametrize("number", [0, 2])
def test_round_trip(number, tmp_path):
    """Also none of them: a few-shot learner has no rows of new items before the first phase."""
    columns = {"item_id": torch.arange(number, dtype=torch.int32),
               "words": torch.arange(3 * number).reshape(number, 3),
               "rating": torch.ones(number)}  # fmt: skip
    write_rows(tmp_path / "rows.parquet", columns, np.arange(number))
    found, time = read_rows(tmp_path / "rows.parquet")
    assert {*found} == {*columns} and time.tolist() == [*range(number)]
    for field, column in columns.items():
        assert found[field].dtype == column.dtype and torch.equal(found[field], column)
