"""Suggests settings that can split a data set if the given ones cannot."""

import numpy as np

Array = np.ndarray


def suggest(counts: Array, threshold: int, size: int, n_warm: int = 3) -> tuple[int, int] | None:
    """(threshold, size) near the given ones that leave old ids, new ids and test rows, or None.

    Args:
        counts: rows per id.
        size: K; returned as it is where there are no warm-up parts.
    """
    counts = np.unique(counts[counts > 0])
    if not n_warm:  # K means nothing: any N between two counts will do
        return (int(counts[(len(counts) - 1) // 2]), size) if len(counts) >= 2 else None
    below = counts[counts <= threshold]
    if len(below) and len(below) < len(counts):  # there are old ids: keep N, lower K
        fitting = min(size, (int(below[-1]) - 1) // n_warm)
        if fitting >= 1:
            return threshold, fitting
    candidates = counts[counts > n_warm * size]
    if len(candidates) >= 2:  # keep K, choose N
        return int(candidates[(len(candidates) - 1) // 2]), size
    if len(counts) >= 2 and counts[-2] > n_warm:
        return int(counts[-2]), (int(counts[-2]) - 1) // n_warm
    return None


def why_empty(counts: Array, threshold: int, size: int, n_warm: int, cold_side: str) -> str:
    """The message for an empty split, with a threshold and a size that would work."""
    present = counts[counts > 0]
    if not len(present):
        return f"there is no interaction to split into old and new {cold_side}s; check the filters"
    found = f"{cold_side}s have {int(present.min()):,} to {int(present.max()):,} rows"
    if not (counts > threshold).any():
        problem = f"no {cold_side} has more than cold_threshold={threshold} rows, so none is old"
    elif not n_warm:
        problem = f"no {cold_side} has at most cold_threshold={threshold} rows, so none is new"
    elif not ((counts >= n_warm * size) & (counts <= threshold)).any():
        problem = (
            f"no {cold_side} has {n_warm * size} to {threshold} rows (warm_sets times warm_size "
            "to cold_threshold), so none is new"
        )
    else:
        problem = f"every new {cold_side} has exactly {n_warm * size} rows, so none is left to test"
    working = suggest(counts, threshold, size, n_warm)
    if working is None:
        return (
            f"{problem} ({found}); no setting can split this data with warm_sets={n_warm}, use "
            "more data"
        )
    least = n_warm * working[1] if n_warm else 1
    new = int(((present >= least) & (present <= working[0])).sum())
    old = int((present > working[0]).sum())
    settings = f"cold_threshold={working[0]}" + f" and warm_size={working[1]}" * bool(n_warm)
    return f"{problem} ({found}); {settings} would give {old:,} old and {new:,} new {cold_side}s"
