"""Rows of old items that nobody learns from: what serving new items costs the old ones."""

import numpy as np

from recbole_cold import seeding
from recbole_cold.data.split import Array, Split, rank_in_run

HELD_OUT = "old_test"
"""The part with these rows."""


def hold_out(split: Split, ids: Array, fraction: float, seed: int) -> Split:
    """``split`` with ``fraction`` of each old id's training rows in ``old_test``, drawn anew per
    seed.

    Of n rows of an id, the whole part of ``fraction * n`` goes, so that every old id keeps some.

    Args:
        ids: codes of the cold side, one per row.
        fraction: from 0, which changes nothing, to below 1.
    """
    if not fraction:
        return split
    train = split["train"]
    draw = np.random.default_rng(seeding.derive(seed, HELD_OUT)).random(len(train))
    order = np.lexsort((draw, np.asarray(ids)[train]))
    of_train = np.asarray(ids)[train][order]
    most = np.floor(fraction * np.bincount(of_train))
    held = np.zeros(len(train), dtype=bool)
    held[order] = rank_in_run(of_train) < most[of_train]
    rows = train[held]
    parts = {**split.parts, "train": train[~held]}
    parts[HELD_OUT] = rows[np.argsort(np.asarray(ids)[rows], kind="stable")]
    manifest = {**split.manifest, "old_test_fraction": float(fraction), "old_test_seed": int(seed)}
    return Split(parts, split.old_ids, split.new_ids, manifest, split.phases)
