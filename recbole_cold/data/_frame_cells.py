"""Converts columns of pandas frames into cells of atomic files, or refuses them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recbole_cold.data._atomic import MISSING
from recbole_cold.errors import UserError


class FrameColumn:
    """A column of a frame, with its place for messages."""

    def __init__(self, frame: str, name: str, values: pd.Series) -> None:
        self.frame, self.name, self.values = frame, name, values
        self.known = values[values.notna()]

    def __str__(self) -> str:
        return f"column '{self.name}' of {self.frame}"


class Cells:
    """A column as it goes into a file: an Arrow array, or a list of lists of text or numbers."""

    def __init__(self, column: FrameColumn, kind: str, values: Any) -> None:
        if kind.endswith("_seq") and not any(values):
            raise UserError(f"{column} has no value at all; drop it")
        self.name, self.kind, self.values, self.place = column.name, kind, values, str(column)

    def text(self, separator: str) -> pa.Array:
        """The cells as a file holds them; a missing one is null."""
        if not self.kind.endswith("_seq"):
            return self.values
        joined = [None if row is None else separator.join(row) for row in self.values]
        for row in joined:
            if row in MISSING and row:
                raise UserError(reads_as_missing(self.place, row))
        return pa.array([row or None for row in joined], pa.string())


def cells_of(
    column: FrameColumn,
    roles: Mapping[str, str | None],
    threshold: float | None,
    kinds: Mapping[str, str],
) -> Cells:
    if column.name in (roles["user"], roles["item"]):
        if kinds.get(column.name, "token") != "token":
            raise UserError(f"{column} holds ids and is always a token; take it out of kinds")
        _refuse_gaps(column, "an id")
        return Cells(column, "token", _tokens(column))
    if column.frame == "interactions" and column.name in (roles["label"], roles["time"]):
        is_label = column.name == roles["label"]
        _refuse_gaps(column, "a label" if is_label else "a time")
        numbers = _numbers(column)
        if is_label and threshold is None:
            _check_labels(column, numbers)
        return Cells(column, "float", numbers)
    kind = kinds.get(column.name) or _kind_of(column)
    make = {"token": _tokens, "float": _numbers, "token_seq": _token_lists}.get(kind, _number_lists)
    return Cells(column, kind, make(column))


def _kind_of(column: FrameColumn) -> str:
    """RecBole's kind of a feature, by the type of its values."""
    values = column.values
    if not len(column.known):
        raise UserError(f"{column} has no value at all; drop it")
    if pd.api.types.is_bool_dtype(values.dtype) or isinstance(values.dtype, pd.CategoricalDtype):
        return "token"
    if pd.api.types.is_complex_dtype(values.dtype):
        raise UserError(f"{column} holds complex numbers; make them real ones")
    if pd.api.types.is_numeric_dtype(values.dtype) or _is_date(values):
        return "float"
    if all(isinstance(value, list | tuple | np.ndarray) for value in column.known):
        elements = pd.api.types.infer_dtype([e for row in column.known for e in row], skipna=True)
        if elements in ("string", "empty"):
            return "token_seq"
        if elements in ("integer", "floating", "mixed-integer-float"):
            return "float_seq"
        raise UserError(
            f"{column} has lists of {elements} values; make them all texts or all numbers"
        )
    found = pd.api.types.infer_dtype(column.known, skipna=True)
    if found in ("string", "boolean", "categorical"):
        return "token"
    if found in ("integer", "floating", "mixed-integer-float", "decimal", "datetime", "date"):
        return "float"
    types = sorted({type(value).__name__ for value in column.known.head(1000)})
    raise UserError(f"{column} holds values of type {', '.join(types)}; make them all of one kind")


def _is_date(values: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(values.dtype)


def _refuse_gaps(column: FrameColumn, what: str) -> None:
    gaps = len(column.values) - len(column.known)
    if gaps:
        row = column.values.index[column.values.isna().to_numpy()][:1].tolist()[0]
        raise UserError(
            f"{column} lacks {what} in {gaps:,} rows, the first at index {row!r}; fill or drop them"
        )


def _numbers(column: FrameColumn) -> pa.Array:
    values = column.values
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in (
        "datetime", "date",
    ):  # fmt: skip
        values = pd.to_datetime(values)
    if _is_date(values):
        utc = values.dt.tz_convert("UTC").dt.tz_localize(None) if values.dt.tz else values
        seconds = utc.to_numpy("datetime64[ns]").astype("int64") / 1e9
        numbers = np.where(values.isna().to_numpy(), np.nan, seconds)
    else:
        try:
            numbers = pd.to_numeric(values).astype("Float64").to_numpy("float64", na_value=np.nan)
        except (TypeError, ValueError):
            raise UserError(f"{column} holds what is no number; make it numbers") from None
    if np.isinf(numbers).any():
        raise UserError(f"{column} holds an infinite number; replace it")
    return pa.array(numbers, pa.float64(), mask=np.isnan(numbers))


def _check_labels(column: FrameColumn, numbers: pa.Array) -> None:
    values = numbers.to_numpy()
    odd = values[~np.isin(values, (0.0, 1.0))]
    if len(odd):
        raise UserError(
            f"{column} has the value {odd[0]:g}; a label is 0 or 1, or threshold= says from which "
            "value on it is 1"
        )


def _tokens(column: FrameColumn) -> pa.Array:
    values = column.values
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    # Only different values are converted: a long column has few.
    codes, unique = pd.factorize(values)
    texts = [token_text(value, column) for value in unique]
    if len(set(texts)) < len(texts):
        (first, *_) = [text for text in texts if texts.count(text) > 1]
        raise UserError(f"{column} has '{first}' both as a number and as a text; make it one kind")
    table = pa.array(texts, pa.string())
    return table.take(pa.array(codes, mask=codes < 0))


def token_text(value: Any, column: object) -> str:
    """A value as the text of a token; a number that is whole has no decimals, whatever its type.

    Args:
        column: its place, for sentences.
    """
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            raise UserError(f"{column} holds an infinite number; replace it")
        value = int(value) if float(value).is_integer() else value
    if not isinstance(value, str | bool | int | float | np.generic | pd.Timestamp):
        raise UserError(
            f"{column} holds a value of type {type(value).__name__}; make it texts or numbers"
        )
    text = str(value)
    if "\n" in text or "\r" in text:
        raise UserError(f"{column} has a line break in {text[:40]!r}; replace it, by a space say")
    if text in MISSING:
        raise UserError(reads_as_missing(str(column), text))
    return text


def reads_as_missing(place: str, text: str) -> str:
    return (
        f"{place} has the text {text!r}, which a file reads as a missing value; write None for a "
        "missing value, or another text"
    )


def _token_lists(column: FrameColumn) -> list[list[str] | None]:
    known: dict[Any, str] = {}

    def text(element: Any) -> str:
        if element not in known:
            known[element] = "" if element == "" else token_text(element, column)
        return known[element]

    rows = _lists(column)
    # As in the files: an empty text between two separators is no element.
    return [None if row is None else [t for t in map(text, row) if t] for row in rows]


def _number_lists(column: FrameColumn) -> list[list[str] | None]:
    rows: list[list[str] | None] = []
    for row in _lists(column):
        if row is None:
            rows.append(None)
            continue
        try:
            numbers = [float(element) for element in row]
        except (TypeError, ValueError):
            raise UserError(f"{column} has a list with what is no number; mend it") from None
        if not np.isfinite(numbers).all():
            raise UserError(f"{column} has a list with a number that is not finite; replace it")
        rows.append([repr(number) for number in numbers])
    widths = {len(row) for row in rows if row}
    if len(widths) > 1:
        raise UserError(
            f"{column} has lists of {min(widths)} and of {max(widths)} numbers; a content vector "
            "has one width: make them equally long, an empty list for a missing vector"
        )
    return rows


def _lists(column: FrameColumn) -> Iterable[Any]:
    """Rows as lists, None where one is missing; a text is its words."""
    gaps = ~column.values.isna().to_numpy()
    for value, there in zip(column.values, gaps, strict=True):
        if not there:
            yield None
        elif isinstance(value, str):
            yield value.split()
        elif isinstance(value, list | tuple | np.ndarray):
            yield list(value)
        else:
            raise UserError(
                f"{column} holds a value of type {type(value).__name__} where a list is wanted; "
                "make it lists"
            )
