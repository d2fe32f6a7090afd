"""Whether new rows are like those of a run: shares, and how far apart they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# From here on a population is said to have shifted, where credit scoring has this index from.
MOST_PSI = 0.2
# A share of zero has no logarithm.
_LEAST_SHARE = 1e-4
_BINS = 10


def psi(expected: np.ndarray, observed: np.ndarray) -> float:
    """Population stability index ``sum (o - e) log(o / e)`` of two histograms of shares [k]."""
    expected, observed = (
        np.clip(each / max(float(np.sum(each)), 1e-300), _LEAST_SHARE, None)
        for each in (np.asarray(expected, float), np.asarray(observed, float))
    )
    return float(np.sum((observed - expected) * np.log(observed / expected)))


def of_clicks(score: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Predicted and observed share of clicks of rows [r] before they are learned, and their PSI."""
    predicted, observed = float(np.mean(score)), float(np.mean(label))
    apart = psi(np.array([1 - predicted, predicted]), np.array([1 - observed, observed]))
    return {"predicted": predicted, "observed": observed, "psi": apart}


def of_counts(rows: np.ndarray, count_range: tuple[float, float]) -> dict[str, Any]:
    """Rows of the new items [m] beside the range that the method scales counts by.

    Returns:
        ``histogram``: items in ten equal parts of the range; ``clipped``: the share above it.
    """
    low, high = count_range
    inside = rows[(rows >= low) & (rows <= high)]
    histogram, _ = np.histogram(inside, _BINS, (low, max(high, low + 1)))
    return {
        "range": [low, high],
        "histogram": histogram.tolist(),
        # Below it are new items with few rows where it begins at the rarest old one.
        "clipped": int((rows > high).sum()) / max(len(rows), 1),
    }


def unseen_share(unseen: Mapping[str, int], given: Mapping[str, int]) -> dict[str, float]:
    """Field -> the share of its values that the run has never seen."""
    return {field: unseen.get(field, 0) / total for field, total in given.items() if total}


def warnings_of(told: Mapping[str, Any]) -> list[str]:
    """Sentences on what has shifted."""
    clicks = told.get("clicks")
    if not clicks or clicks["psi"] <= MOST_PSI:
        return []
    return [
        f"the share of clicks has shifted: {clicks['predicted']:.1%} predicted, "
        f"{clicks['observed']:.1%} observed (PSI {clicks['psi']:.2f} > {MOST_PSI}); look into the "
        "rows' labels, or train anew"
    ]
