"""What spreadsheets and data frames make of a column on its way to a file, and the way back.

Each mend is told in a note; none touches a file that reads as its header says.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_cold.data._atomic import Column, Format
from recbole_cold.data._sources import place_of
from recbole_cold.errors import UserError

# Numbers beyond are inf in single precision, in which models compute.
LARGEST = float(np.finfo(np.float32).max)
Table = dict[str, Column]
# Elements of a sequence: a batch of 2,048 such rows takes gigabytes for one field.
LONGEST = 20_000
_OTHER_SEPARATORS = "|,;"


def in_order(piece: Table, first: Table, path: Path, beside: Path) -> Table:
    """A part's columns in the order of the first part.

    Raises:
        UserError: it has other fields, or one of another type.
    """
    kinds, wanted = ({field: column.kind for field, column in table.items()}
                     for table in (piece, first))  # fmt: skip
    if kinds != wanted:
        odd = min(field for field in {*kinds, *wanted} if kinds.get(field) != wanted.get(field))
        raise UserError(
            f"the fields of '{path}' differ from those of '{beside}', the first one in {odd!r}"
        )
    return {field: piece[field] for field in first}


def look_at(
    table: Table, fields: Collection[str], paths: Sequence[Path], form: Format, time: str
) -> list[str]:
    """Refuse numbers that no model can read; notes on lists that look unseparated.

    Args:
        fields: the columns to look at.
        paths: the files of the table.
        time: the field that stays in double precision.

    Raises:
        UserError: see ``refuse_infinite``.
    """
    notes = []
    for field, column in table.items():
        if column.offsets is not None:
            _refuse_endless(field, column, paths[0])
        if column.vocab is not None:
            notes.append(hint_of_separator(field, column, form.seq_separator))
        elif field in fields:
            largest = float(np.finfo(np.float64).max) if field == time else LARGEST
            refuse_infinite(field, column, paths, largest)
    return [note for note in notes if note]


def refuse_infinite(
    field: str,
    column: Column,
    paths: Sequence[Path],
    largest: float = LARGEST,
    gaps: bool = True,
) -> None:
    """Refuse inf, and what would become it, in a float column.

    Args:
        gaps: whether NaN is a gap, to be filled later; if not, it is refused as well.

    Raises:
        UserError: names the field, the line and the file.
    """
    # Both are false for NaN; the absolute values would be a copy of the column.
    odd = (column.values > largest) | (column.values < -largest)
    if not gaps:
        odd |= np.isnan(column.values)
    if not odd.any():
        return
    place = int(np.flatnonzero(odd)[0])
    row = place
    if column.offsets is not None:
        row = int(np.searchsorted(column.offsets, place, side="right")) - 1
    raise UserError(
        f"{place_of(paths, row)} has {column.values[place]:g} in the field {field!r}, which no "
        "model can read; correct it, leave the cell empty, or leave the field out with unload_col"
    )


def _refuse_endless(field: str, column: Column, path: Path) -> None:
    """Refuse a sequence that would make every row of every batch as long as a book.

    Raises:
        UserError: names the field, its longest and a usual sequence, and ``seq_len``.
    """
    longest = int(column.lengths.max(initial=0))
    if longest > LONGEST:
        usual = int(np.quantile(column.lengths, 0.99))
        raise UserError(
            f"the field {field!r} of '{path}' has a sequence of {longest:,} elements, to which all "
            f'others would be padded; cut it with --seq_len="{{{field}: {max(1, usual)}}}" (99 of '
            "100 are no longer)"
        )


def hint_of_separator(field: str, column: Column, separator: str) -> str:
    """A note where most tokens of a sequence look like lists under another separator; else ''."""
    vocab = column.vocab
    if vocab is None or column.offsets is None or not len(vocab):
        return ""
    for letter in _OTHER_SEPARATORS:
        having = pc.sum(pc.match_substring(vocab, letter)).as_py() or 0
        if letter != separator and 2 * having >= len(vocab):
            return (
                f"{having:,} of {len(vocab):,} tokens of the field {field!r} hold {letter!r}; if "
                f"that stands between tokens, set seq_separator to it"
            )
    return ""


def align_ids(inter: Column, listed: Column, what: str, field: str) -> list[str]:
    """Write ids of ``.inter`` and of a feature file alike where tools made them differ.

    Spaces around ids are dropped, and the ``.0`` that data frames give whole numbers beside gaps.
    Nothing is touched where all ids of ``.inter`` have a row already.

    Args:
        what: "item", for sentences.

    Returns:
        Notes on what was done.

    Raises:
        UserError: no id of ``.inter`` has a row, and why is plain.
    """
    notes: list[str] = []
    common = _common(inter, listed)
    for mend, told in _MENDS:
        if common == len(inter.vocab or ()):
            return notes
        new = [mend(column.vocab) for column in (inter, listed)]
        if all(
            texts.equals(column.vocab) for texts, column in zip(new, (inter, listed), strict=True)
        ):
            continue
        merged = any(
            len(pc.unique(texts)) < len(column.vocab or ())
            for texts, column in zip(new, (inter, listed), strict=True)
        )
        if (merged and mend is _without_point) or _matching(*new) <= common:
            continue
        for column, texts in zip((inter, listed), new, strict=True):
            _exchange(column, texts)
        common = _common(inter, listed)
        notes.append(
            f"ids of {what}s differ between '.inter' and '.{what}' by {told}; they are read without"
        )
    if common == 0 and len(inter.vocab or ()) and len(listed.vocab or ()):
        raise UserError(_why_apart(inter, listed, what, field))
    return notes


def _why_apart(inter: Column, listed: Column, what: str, field: str) -> str:
    assert inter.vocab is not None and listed.vocab is not None
    one, other = inter.vocab[0].as_py(), listed.vocab[0].as_py()
    sentence = (
        f"no {what} of '.inter' has a row in '.{what}': ids of the field {field!r} look like "
        f"{one!r} there and like {other!r} here"
    )
    for change, told in (
        (lambda texts: pc.utf8_ltrim(texts, "0"), "zeros in front"),
        (pc.utf8_lower, "capitals"),
    ):
        if _matching(change(inter.vocab), change(listed.vocab)):
            return f"{sentence}; they differ by {told}; write them alike"
    return f"{sentence}; write them alike, or leave the file out with load_col"


def _matching(one: pa.Array, other: pa.Array) -> int:
    """How many different texts of ``one`` are in ``other``, too."""
    return int(pc.sum(pc.is_in(pc.unique(one), value_set=pc.unique(other))).as_py() or 0)


def _common(inter: Column, listed: Column) -> int:
    return _matching(inter.vocab, listed.vocab)


def _exchange(column: Column, texts: pa.Array) -> None:
    """Give a token column other texts for its codes; equal texts become one code."""
    encoded = texts.dictionary_encode()
    codes = np.r_[np.asarray(encoded.indices), -1].astype(np.int32)  # the last one: missing
    column.values, column.vocab = codes[column.values], encoded.dictionary


def _without_point(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, r"^(-?\d+)\.0$", r"\1")


_MENDS = (
    (pc.utf8_trim_whitespace, "spaces around them"),
    (_without_point, "'.0' behind them (a data frame writes 12 as 12.0 beside gaps)"),
)
