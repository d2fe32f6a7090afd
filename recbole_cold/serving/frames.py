"""Frames of any kind as arrow tables, and what their columns must be called."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_cold.errors import UserError, nearest


def as_table(frame: Any) -> pa.Table:
    """A pandas frame, an arrow table, or columns by name, as an arrow table.

    Raises:
        UserError: it is none of these.
    """
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, Mapping):
        frame = pd.DataFrame(dict(frame))
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"rows are a pandas frame or an arrow table, not a {type(frame).__name__}")
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"a column mixes types ({error}); make it one of them") from None


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    found = column.combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def index_in(values: pa.Array, among: pa.Array) -> np.ndarray:
    """Places of values among others, -1 where they are not: int64 [n]."""
    if not len(among):
        return np.full(len(values), -1, dtype=np.int64)
    found = pc.index_in(values, value_set=among)
    return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def refuse_twice(ids: pa.Array, side: str) -> None:
    """
    Raises:
        UserError: an id stands there twice; names it.
    """
    counts = ids.value_counts().flatten()
    twice = counts[0].filter(pa.array(counts[1].to_numpy() > 1))
    if len(twice):
        raise UserError(f"the {side} '{str(twice[0])[:80]}' is given twice; give it once")


def refuse_missing(table: pa.Table, needed: Sequence[str], what: str) -> None:
    """Refuse a table without a field.

    Args:
        what: what its rows are, for the message.

    Raises:
        UserError: names the field, and the nearest column.
    """
    lacking = [field for field in needed if field not in table.column_names]
    if lacking:
        guess = nearest(lacking[0], [name for name in table.column_names if name not in needed])
        there = ", ".join(map(str, table.column_names[:20])) or "none"
        raise UserError(
            f"{what} have no field '{lacking[0]}', which the model reads; "
            + (f"is it the column '{guess}'? Call it so" if guess else f"there are {there}")
        )
