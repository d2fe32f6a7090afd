"""Rows of new items in the folder of a model: those that scores are made of (few-shot learners), or
that are fitted anew in each phase.

``item_bias`` and ``warm: map`` fit numbers and vectors on all rows seen so far, so a model that
goes on learning (``grow``) needs these. They are written as the model reads them: codes and scaled
numbers.
Shape letters: r rows, l length of a sequence.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

ROWS = "rows.parquet"
_TIME = ":time"  # no field is called so: atomic headers have the type behind a colon


def write_rows(path: Path, columns: Mapping[str, Tensor], time: np.ndarray | None) -> None:
    """Write rows.

    Args:
        columns: field -> [r] or [r, l].
        time: of each row [r], or ``None``.
    """
    table = {field: _array(column.cpu().numpy()) for field, column in columns.items()}
    if time is not None:
        table[_TIME] = pa.array(np.asarray(time, dtype=np.float64))
    pq.write_table(pa.table(table), path)


def read_rows(path: Path) -> tuple[dict[str, Tensor], np.ndarray | None]:
    """What ``write_rows`` was given."""
    table = pq.read_table(path)
    time = table[_TIME].to_numpy() if _TIME in table.column_names else None
    columns = {}
    for field in table.column_names:
        if field != _TIME:
            column = table[field].combine_chunks()
            wide = pa.types.is_fixed_size_list(column.type)
            flat = (column.flatten() if wide else column).to_numpy(zero_copy_only=False)
            shape = (len(column), column.type.list_size) if wide else (len(column),)
            columns[field] = torch.from_numpy(flat.copy()).reshape(shape)
    return columns, time


def _array(column: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(column).reshape(-1))
    if column.ndim == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, column.shape[1])
