"""L6: a row that is learned from must not be scored as well."""

import numpy as np

from recbole_cold.leaks.finding import LEAK, NOTE, OK, Finding, counted
from recbole_cold.leaks.subject import Array, Subject


def find(subject: Subject) -> Finding:
    """Rows that are equal in every column of the files and stand in more than one part."""
    parts = subject.split.parts
    rows = np.concatenate(list(parts.values()))
    part = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    pair = subject.ids[rows].astype(np.int64) * (int(subject.others.max(initial=0)) + 1)
    met = in_several(pair + subject.others[rows], part)
    of_met, part = rows[met], part[met]
    same = in_several(_contents(subject, of_met), part) if met.any() else met[:0]
    if same.any():
        names = list(parts)
        where = ", ".join(names[number] for number in np.unique(part[same]))
        copies = counted(int(same.sum()), "row")
        said = f"{copies} of {where} equal one of another part in every column"
        if subject.time is None:
            said += " (without times a repeated row looks the same)"
        return Finding(LEAK, said, float(same.sum()))
    if met.any():
        return Finding(
            NOTE,
            f"no row stands in two parts; {met.sum():,} rows are of a user and an item that meet "
            "in another part, too, at another time or with other values",
            0.0,
        )
    return Finding(OK, f"none of {len(met):,} rows stands in two parts", 0.0)


def in_several(key: Array, part: Array) -> Array:
    """Which entries have a ``key`` [n] that is in more than one ``part`` [n]: bool [n]."""
    if not len(key):
        return np.zeros(0, dtype=bool)
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.r_[True, key[order][1:] != key[order][:-1]])
    least, most = (extreme.reduceat(part[order], starts) for extreme in (np.minimum, np.maximum))
    several = np.zeros(len(key), dtype=bool)
    several[order] = np.repeat(least != most, np.diff(np.r_[starts, len(key)]))
    return several


def _contents(subject: Subject, rows: Array) -> Array:
    """A number per row, equal where all columns of the files are."""
    loaded = subject.loaded
    columns = {**loaded.inter, **loaded.raw["inter"]}
    if loaded.time is not None:
        columns[loaded.time_field] = loaded.time
    code = np.zeros(len(rows), dtype=np.int64)
    for column in columns.values():
        values = np.ascontiguousarray(np.asarray(column)[rows]).reshape(len(rows), -1)
        whole = values.view(np.dtype((np.void, values.itemsize * values.shape[1])))
        _, place = np.unique(whole[:, 0], return_inverse=True)
        _, code = np.unique(code * (len(rows) + 1) + place, return_inverse=True)
    return code
