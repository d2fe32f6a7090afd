"""Training rows of the future: how many test rows are scored with them, and a split without them.

The published protocol keeps all rows of the old items, whenever they were made. So a user of a test
row may have later rows in ``train``: what the model knows of the user then includes the future.
"""

from typing import Any

import numpy as np

from recbole_cold.data.split import Split
from recbole_cold.errors import UserError

Array = np.ndarray


def first_scored(split: Split, time: Array) -> float:
    """The time of the oldest row that some phase is scored on."""
    rows = np.concatenate([split[name] for name in {phase.score_on for phase in split.phases}])
    return float(np.min(time[rows]))


def until_first_scored(split: Split, ids: Array, time: Array | None) -> Split:
    """``split`` with no row in ``train`` that is later than the oldest row to be scored.

    Rows of that very moment stay. An old id that keeps no row is neither old nor new any more. The
    other parts are as they were.

    Args:
        ids: codes of the cold side, one per row.
        time: one number per row.

    Raises:
        UserError: there are no times, or no row is left to train on.
    """
    if time is None:
        raise UserError(
            "train_until=first_test needs times, and the data have none; set TIME_FIELD, or leave "
            "train_until out"
        )
    ids, time, train = np.asarray(ids), np.asarray(time), split["train"]
    if np.isnan(time).any():
        raise UserError("the time column has missing values; fill them or leave the column out")
    limit = first_scored(split, time)
    kept = train[time[train] <= limit]
    if not len(kept):
        raise UserError(
            f"train_until=first_test leaves no row to train on: all {len(train):,} are later than "
            f"the first row to be scored (time {limit:.0f}); leave train_until out, or choose "
            "another cold_threshold or warm_size"
        )
    old = np.intersect1d(split.old_ids, ids[kept])
    later = int(split.manifest.get("later_rows", 0)) + len(train) - len(kept)
    manifest = {
        **split.manifest,
        "train_until": "first_test",
        "until_time": limit,
        "later_rows": later,
        "later_old": int(split.manifest.get("later_old", 0)) + len(split.old_ids) - len(old),
    }
    parts = {**split.parts, "train": kept}
    return Split(parts, old, split.new_ids, manifest, split.phases)


def future_rows(split: Split, others: Array, time: Array) -> Array:
    """Which of the scored rows (``test``) have a partner with a later row in ``train``.

    Args:
        others: codes of the side that is not cold (users, where items are), one per row.

    Returns:
        One truth value per row of ``test``.
    """
    train, test = split["train"], split["test"]
    last = np.full(int(np.max(others, initial=0)) + 1, -np.inf)
    np.maximum.at(last, others[train], time[train])
    return last[others[test]] > time[test]


def describe(split: Split, dataset: Any) -> list[str]:
    """What times say of a split, as lines; none where there are no times.

    Args:
        dataset: the data set that ``split`` is of.
    """
    time = dataset.time
    if time is None:
        return []
    time = np.asarray(time)
    field = dataset.iid_field if split.cold_side == "user" else dataset.uid_field
    partner = "user" if split.cold_side == "item" else "item"
    train = split["train"]
    shared = future_rows(split, np.asarray(dataset.inter[field]), time)
    after = time[train] > first_scored(split, time)
    lines = [
        f"time: {shared.mean():.1%} of the test rows have a {partner} with later rows in train; "
        f"{after.mean():.1%} of train is later than the first row that is scored"
    ]
    if "train_until" in split.manifest:
        lines.append(
            f"train_until=first_test left out {split.manifest['later_rows']:,} later rows, and "
            f"{split.manifest['later_old']:,} old {split.cold_side}s that had no others"
        )
    elif shared.any():
        lines.append("  (as published; --train_until=first_test leaves these rows out)")
    return lines
