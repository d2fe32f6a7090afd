"""L1: labels that no phase learns from must not reach a score."""

import numpy as np

from recbole_cold.leaks._edits import with_labels
from recbole_cold.leaks.finding import LEAK, OK, Finding, counted, not_applicable
from recbole_cold.leaks.subject import Subject, distances


def find(subject: Subject) -> Finding:
    """Whether any score of any phase changes by a bit with other labels of ``test``.

    The labels are turned over and dealt out anew, so that the share of clicks changes, of all rows
    and of each item.
    """
    hidden = subject.split["test"]
    draws = np.random.default_rng(subject.seed)
    other = draws.permutation(1 - subject.labels[hidden])
    edited, plain = with_labels(subject.data, hidden, other), subject.plain.scores
    found = subject.train(edited, "other labels of the test rows").scores
    moved = {name: distances(found[name], plain[name]) for name in plain}
    changed = sum(int((gap > 0).sum()) for gap in moved.values())
    total = sum(len(gap) for gap in moved.values())
    if not changed:
        return Finding(
            OK, f"none of {total:,} scores changes with other labels of the test rows", 0.0
        )
    if not subject.repeats:
        return not_applicable(
            "the same training gives other scores each time on this device; try --device=cpu"
        )
    worst = max(moved, key=lambda name: moved[name].max(initial=0))
    largest = float(moved[worst].max())
    return Finding(
        LEAK,
        f"{changed:,} of {counted(total, 'score')} change with other labels of the test rows, by "
        f"up to {largest:.2g} (phase {worst})",
        largest,
    )
