"""Pseudo-new items: old ones that play the new ones while settings are chosen.

What is chosen on them is used on really new items, so they should be alike. Old items have more
rows than any new one; the rule ``rare`` draws from those with the fewest, and cuts what is beyond
the rows that a new item can have.
"""

import numpy as np

from recbole_cold.data.split import Array, Split, parts_in_order, times_of
from recbole_cold.errors import UserError

# Old ids that ``rare`` draws from, per id that is wanted: another seed must be another draw.
_POOL = 2


def pseudo_new(
    split: Split,
    ids: Array,
    time: Array | None,
    *,
    fraction: float,
    size: int,
    seed: int,
    draw: str = "rare",
) -> Split:
    """``split`` for tuning: a drawn ``fraction`` of the old ids plays the new ones.

    Their rows become the warm-up parts and ``test`` (the validation target), the other old ids
    keep ``train``. Rows of the genuinely new ids appear nowhere. Phases keep their names.

    Args:
        split: with the rule's own phases only; ``common_phases`` come after this.
        size: K, the rows per drawn id in each warm-up part, if there are any.
        draw: ``uniform``: among all old ids with enough rows, and with all their rows; ``rare``:
            among the rarest of these, twice as many as are wanted, and with their oldest N rows.
            Further rows are in no part (``cut_rows`` of the manifest). Where there is no N, in
            ready-made parts, as many rows as the rarest of them has stand for it: an N at or above
            that would not have made it old. Nothing of a new id is looked at.

    Raises:
        UserError: the fraction is not between 0 and 1, or too few old ids have enough rows.
    """
    if not 0 < fraction < 1:
        raise UserError(f"valid_fraction is {fraction}; it must lie between 0 and 1")
    ids = np.asarray(ids)
    train = split["train"]
    names = split.warm_parts
    n_warm = len(names)
    warm_rows = n_warm * size
    counts = np.bincount(ids[train], minlength=int(split.old_ids.max(initial=0)) + 1)
    enough = split.old_ids[counts[split.old_ids] > warm_rows]
    wanted = max(1, round(fraction * len(split.old_ids)))
    side = split.cold_side
    if len(enough) < wanted or len(split.old_ids) < 2:
        raise UserError(
            f"validation needs {wanted} of the {len(split.old_ids)} old {side}s with more than "
            f"{warm_rows} rows each, and {len(enough)} have them; lower "
            f"{'warm_size or ' * bool(n_warm)}valid_fraction, or lower cold_threshold to have more "
            "old ones"
        )
    rare = draw == "rare"
    pool = _rarest(enough, counts, _POOL * wanted) if rare else enough
    drawn = np.sort(np.random.default_rng(seed).choice(pool, size=wanted, replace=False))
    order_seed = split.manifest.get("seed")
    times = times_of(time, len(ids), seed if order_seed is None else int(order_seed))
    of_drawn = np.isin(ids[train], drawn)
    played = train[of_drawn]
    manifest = {
        "rule": "pseudo-new",
        "draw": draw,
        "N": split.manifest.get("N"),
        "K": int(size) if n_warm else None,
        "warm_sets": n_warm,
        "cold_side": side,
        "order": split.manifest.get("order", "time"),
        "seed": int(seed),
        "fraction": float(fraction),
        "of": split.hash,
        "data_hash": split.manifest.get("data_hash", ""),
    }
    most = None
    if rare:
        most = split.manifest.get("N") or int(counts[pool].min())
        manifest |= {
            "kept": most,
            "cut_rows": int((counts[drawn] - np.minimum(counts[drawn], most)).sum()),
        }
    return Split(
        {
            "train": train[~of_drawn],
            **parts_in_order(played, ids, times, int(size), names, most),
        },
        np.setdiff1d(split.old_ids, drawn),
        drawn,
        manifest,
        split.phases,
    )


def _rarest(ids: Array, counts: Array, n: int) -> Array:
    """The ``n`` ids with the fewest rows, or all; of equal ones the smaller code comes first."""
    return ids[np.argsort(counts[ids], kind="stable")[:n]]
