"""The tokens of a field by code, as texts one after the other, however long one of them is."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PADDING = "[PAD]"


class Vocabulary(Sequence):
    """The token of each code, ``[PAD]`` first; read like the array that RecBole has here.

    An array of numpy is as wide as its longest text at every place: one token of 2,000 letters
    among 300,000 takes 2.4 GB. Here a token takes its letters and 8 bytes. ``vocabulary[code]`` is
    a text, ``vocabulary[codes]`` (a list, an array or a tensor of any shape, a mask, a slice) an
    array of texts, and ``np.asarray(vocabulary)`` all of them.

    Args:
        texts: the tokens, ``large_string`` [n].
    """

    def __init__(self, texts: pa.Array) -> None:
        self._texts = texts

    @classmethod
    def of(cls, tokens: pa.Array) -> "Vocabulary":
        """Padding and then ``tokens``."""
        pieces = [pa.array([PADDING], pa.large_string()), tokens.cast(pa.large_string())]
        return cls(pa.concat_arrays(pieces))

    def some(self, codes: np.ndarray) -> "Vocabulary":
        """The tokens of ``codes`` [k] alone, in this order: they are those of 0 to k - 1."""
        return Vocabulary(self._texts.take(pa.array(codes)))

    @classmethod
    def from_parts(cls, letters: np.ndarray, ends: np.ndarray) -> "Vocabulary":
        """What ``parts`` gave, without a copy."""
        buffers = pa.py_buffer(np.ascontiguousarray(ends)), pa.py_buffer(letters)
        return cls(pa.LargeStringArray.from_buffers(len(ends) - 1, *buffers))

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """All letters in UTF-8, uint8 [bytes], and where tokens begin and end, int64 [n + 1]."""
        _, ends, letters = self._texts.buffers()
        if not len(self):  # Arrow then leaves its buffers out, or not
            return np.zeros(0, np.uint8), np.zeros(1, np.int64)
        ends_1 = np.frombuffer(ends, np.int64)[: len(self) + 1]
        return np.frombuffer(letters or b"", np.uint8)[: ends_1[-1]], ends_1

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, codes: Any) -> Any:
        if not isinstance(codes, slice):
            codes = np.asarray(codes)
            if not codes.shape and codes.dtype.kind in "iu":
                code = int(codes)
                if not -len(self) <= code < len(self):
                    raise IndexError(f"code {code} is out of the {len(self)} of the vocabulary")
                return self._texts[code].as_py()
            if not codes.size and codes.dtype.kind == "f":  # an empty list
                codes = codes.astype(np.int64)
        at = np.arange(len(self))[codes]
        return _array(self._texts.take(pa.array(at.reshape(-1)))).reshape(at.shape)

    def __iter__(self) -> Iterator[str]:
        return (text.as_py() for text in self._texts)

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and pc.index(self._texts, token).as_py() >= 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        texts = _array(self._texts)
        return texts if dtype is None else texts.astype(dtype, copy=False)

    def __eq__(self, other: object) -> np.ndarray:  # type: ignore[override]
        """Where tokens are ``other`` (a text, or texts [n]): bool [n], as arrays have it."""
        if isinstance(other, str):
            return pc.equal(self._texts, other).to_numpy(zero_copy_only=False)
        return np.asarray(self) == np.asarray(other)

    def __ne__(self, other: object) -> np.ndarray:  # type: ignore[override]
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} tokens)"

    def tolist(self) -> list[str]:
        """All tokens."""
        return self._texts.to_pylist()


def _array(texts: pa.Array) -> np.ndarray:
    return np.array(texts.to_pylist(), dtype=str)
