"""Columns of text for files: Arrow arrays made of codes, without a Python object per row."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv

# The four hexadecimal digits of each number of 16 bits, as the 32 bits of their ASCII codes.
_DIGITS = np.frombuffer("".join(f"{n:04x}" for n in range(1 << 16)).encode(), dtype=np.uint32)


def words(codes: np.ndarray, vocabulary: Sequence[object]) -> pa.Array:
    """The word of each code, as text."""
    return pa.array([str(word) for word in vocabulary]).take(pa.array(codes))


def or_empty(numbers: np.ndarray, absent: np.ndarray) -> pa.Array:
    """Numbers, and nothing at all where ``absent``."""
    return pa.array(numbers, mask=absent)


def or_word(numbers: np.ndarray, absent: np.ndarray, word: str) -> pa.Array:
    """Numbers as text, and a word where ``absent``."""
    return pa.array(numbers, mask=absent).cast(pa.string()).fill_null(word)


def money(cents: np.ndarray) -> pa.Array:
    """Amounts as Python writes floats: 170.0, 99.9, 12.34."""
    return pa.array([repr(value) for value in (cents / 100).tolist()])


def hexadecimal(numbers: np.ndarray) -> pa.Array:
    """Numbers of 32 bits as eight hexadecimal digits."""
    halves = np.empty((len(numbers), 2), dtype=np.uint32)
    halves[:, 0] = _DIGITS[numbers >> np.uint32(16)]
    halves[:, 1] = _DIGITS[numbers & np.uint32(0xFFFF)]
    offsets = np.arange(0, 8 * len(numbers) + 1, 8, dtype=np.int32)
    return pa.StringArray.from_buffers(
        len(numbers), pa.py_buffer(offsets), pa.py_buffer(halves.reshape(-1))
    )


def lines(columns: Sequence[pa.Array]) -> memoryview:
    """The rows of a file: cells separated by commas, no quotes, an empty cell where there is
    nothing, ends of lines as in Unix."""
    stream = pa.BufferOutputStream()
    table = pa.table(list(columns), names=[str(n) for n in range(len(columns))])
    options = pa.csv.WriteOptions(include_header=False, quoting_style="none", batch_size=1 << 14)
    pa.csv.write_csv(table, stream, options)
    return memoryview(stream.getvalue())
