"""Scores made probabilities: a curve that is fitted on scored rows with labels, as plain numbers.

``platt``: ``sigmoid(shift + slope * logit)`` (Platt, 1999). ``isotonic``: the non-decreasing steps
with the least squared error, linear between their corners (Zadrozny & Elkan, KDD 2002).
Shape letters: n rows, c corners.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from recbole_cold.evaluation._calibration import shift_and_slope

Array = np.ndarray
Curve = Mapping[str, Any]
_LEAST = 1e-15  # probabilities are kept this far from 0 and 1


def platt(chance: Array, positive: Array) -> dict[str, float]:
    """The shift and slope with the least log-loss of ``sigmoid(shift + slope * logit)``.

    Args:
        chance: float64 [n]. positive: bool [n], both classes present.
    """
    shift, slope = shift_and_slope(torch.from_numpy(_logit(chance)), torch.from_numpy(positive))
    return {"shift": shift, "slope": slope}


def of_platt(chance: Array, curve: Curve) -> Array:
    """Calibrated probabilities [n]."""
    return 1.0 / (1.0 + np.exp(-(curve["shift"] + curve["slope"] * _logit(chance))))


def isotonic(chance: Array, positive: Array) -> dict[str, list[float]]:
    """The corners of the non-decreasing curve with the least squared error: ``score`` and
    ``probability``, [c] each."""
    from sklearn.isotonic import IsotonicRegression  # half a second, for whoever calibrates

    found = IsotonicRegression(y_min=0.0, y_max=1.0).fit(chance, positive.astype(np.float64))
    return {
        "score": found.X_thresholds_.tolist(),
        "probability": found.y_thresholds_.tolist(),
    }


def of_isotonic(chance: Array, curve: Curve) -> Array:
    """Calibrated probabilities [n]; beyond the corners those of the outermost."""
    return np.interp(chance, curve["score"], curve["probability"])


class Rule(NamedTuple):
    """How a curve is fitted, and how it is read."""

    fit: Callable[[Array, Array], dict[str, Any]]
    read: Callable[[Array, Curve], Array]


RULES = {"platt": Rule(platt, of_platt), "isotonic": Rule(isotonic, of_isotonic)}


def fitted(rule: str, chance: Array, positive: Array) -> dict[str, Any] | None:
    """The curve of a rule, with the rows it was fitted on; ``None`` where it would turn scores
    around: they then order these rows no better than chance.

    Args:
        chance: float64 [n]. positive: bool [n], both classes present.
    """
    curve = RULES[rule].fit(np.asarray(chance, np.float64), np.asarray(positive, bool))
    ends = RULES[rule].read(np.array([0.0, 1.0]), curve)
    if not ends[0] < ends[1]:
        return None
    return {"rule": rule, **curve, "rows": len(chance), "clicks": int(np.sum(positive))}


def calibrated(chance: Array, curve: Curve) -> Array:
    """Probabilities float64 [n] of scores, by a curve of ``fitted``."""
    return RULES[curve["rule"]].read(np.asarray(chance, np.float64), curve)


def _logit(chance: Array) -> Array:
    kept = np.clip(np.asarray(chance, np.float64), _LEAST, 1.0 - _LEAST)
    return np.log(kept) - np.log1p(-kept)
