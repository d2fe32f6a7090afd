"""Float fields at a scale that networks can read, fitted on the values that may be seen.

A ``Scale`` is fitted once per field and split, on float64 values, and gives float32. Its rules:

* ``standard``: mean 0 and standard deviation 1 over the seen values;
* ``log``: the same of ``sign(x) log(1 + |x| / m)``, m the median of the seen ``|x|`` above 0;
* ``minmax``: the seen range becomes 0..1.

Values outside of the seen range are clipped to it, gaps take the mean of the seen values. No rule
asks for the unit of a field: in cents or in euros, a price comes out the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray

# ``auto`` takes the logarithm of fields whose largest |x| is beyond this many medians. A normal
# distribution stays below 8 at a million values and an exponential one at about 20: what goes
# beyond has a heavier tail, and its standard deviation would be that of a few values.
WIDE = 20.0
# Standardised values end here: one value among n can be sqrt(n) standard deviations away, and a
# network that adds up its inputs would then read that field alone.
MOST_SDS = 5.0


@dataclass(frozen=True)
class Scale:
    """How the values of one field are scaled.

    Attributes:
        rule: ``standard``, ``log`` or ``minmax``; ``constant`` where the seen values are all equal,
            ``unseen`` where there is none. The last two give 0 for every value.
        low, high: the smallest and the largest seen value.
        unit: m of the logarithm.
        mean, sd: of the seen values, as shares of the seen range (after the logarithm).
    """

    rule: str
    low: float = np.nan
    high: float = np.nan
    unit: float = 1.0
    mean: float = 0.0
    sd: float = 1.0

    def apply(self, values: Array) -> Array:
        """Scaled ``values`` (any shape, NaN where there is none) as float32, without gaps."""
        values = np.asarray(values, dtype=np.float64)
        if self.rule in ("constant", "unseen"):
            return np.zeros(values.shape, dtype=np.float32)
        share = self._share(values)
        share = np.where(np.isnan(share), self.mean, share)
        if self.rule == "minmax":
            return share.astype(np.float32)
        return ((share - self.mean) / self.sd).clip(-MOST_SDS, MOST_SDS).astype(np.float32)

    def clipped(self, values: Array) -> Array:
        """Which of ``values`` are outside of what was seen, or end at ``MOST_SDS``: bool."""
        values = np.asarray(values, dtype=np.float64)
        if self.rule == "unseen":
            return np.zeros(values.shape, dtype=bool)
        outside = (values < self.low) | (values > self.high)
        if self.rule in ("standard", "log"):
            outside |= np.abs(self._share(values) - self.mean) > MOST_SDS * self.sd
        return outside

    def _share(self, values: Array) -> Array:
        """Places of values in the seen range, clipped to 0..1; NaN stays."""
        ends = np.array([self.low, self.high])
        low, high = self._transformed(ends) / 2
        # Halves, for the range of two large numbers may not be a number itself.
        return ((self._transformed(values) / 2 - low) / (high - low)).clip(0.0, 1.0)

    def _transformed(self, values: Array) -> Array:
        return signed_log(values, self.unit) if self.rule == "log" else values


def signed_log(values: Array, unit: float) -> Array:
    """``sign(x) log(1 + |x| / unit)``, also where the quotient is no number any more."""
    # log 0 is -inf, and what follows of it is 0; gaps stay gaps.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sign(values) * np.logaddexp(0.0, np.log(np.abs(values)) - np.log(unit))


def fit(values: Array, rule: str) -> Scale:
    """The scale of a field by its seen values [n] (float64, NaN where there is none).

    Args:
        rule: ``auto`` (``log`` where the spread asks for it, else ``standard``), ``standard`` or
            ``minmax``.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return Scale("unseen")
    low, high = float(values.min()), float(values.max())
    if not high / 2 - low / 2 > 0:
        return Scale("constant", low, high)
    unit, found = 1.0, "standard" if rule == "auto" else rule
    if rule == "auto":
        size = np.abs(values[values != 0])
        # "lower": a value that occurs, for the mean of two may be too large a number.
        median, largest = float(np.quantile(size, 0.5, method="lower")), float(size.max())
        if largest / WIDE > median:
            unit, found = median, "log"
    raw = Scale(found, low, high, unit)
    share = raw._share(values)
    return Scale(found, low, high, unit, float(share.mean()), float(share.std()))


# ------------------------------------------------------------------------------- as RecBole has it
@dataclass(frozen=True)
class AsRead:
    """RecBole's own treatment of a field, for values that come later.

    Attributes:
        mean: what a gap takes.
        low, high: the range that becomes 0..1; NaN where values stay as they are.
    """

    mean: float
    low: float = np.nan
    high: float = np.nan
    rule: str = "recbole"

    def apply(self, values: Array) -> Array:
        """``values`` (NaN where there is none) as ``as_recbole`` gives them, float32."""
        values = np.asarray(values, dtype=np.float64)
        values = np.where(np.isnan(values), self.mean, values)
        if np.isnan(self.low):
            return values.astype(np.float32)
        if self.low >= self.high:
            return np.ones(values.shape, dtype=np.float32)
        share = (values.clip(self.low, self.high) - self.low) / (self.high - self.low)
        return share.astype(np.float32)

    def clipped(self, values: Array) -> Array:
        """Which of ``values`` are outside of the range, where there is one: bool."""
        values = np.asarray(values, dtype=np.float64)
        return (values < self.low) | (values > self.high)


def fit_as_read(values: Array, in_range: bool) -> AsRead:
    """What ``as_recbole`` does with all ``values`` [n] of a field, for those that come later."""
    gaps = np.isnan(values)
    mean = float(values[~gaps].mean()) if not gaps.all() else 0.0
    if not in_range:
        return AsRead(mean)
    return AsRead(mean, float(values[~gaps].min()), float(values[~gaps].max()))


def asks_for_range(config: Any, field: str) -> bool:
    """Whether ``normalize_field`` or ``normalize_all`` asks for 0..1 in a float field."""
    listed = config["normalize_field"]
    return field in listed if listed else bool(config["normalize_all"])


def as_recbole(values: Array, in_range: bool) -> Array:
    """Numbers [n] as RecBole's loader gives them, float32: gaps are the mean of all values.

    Args:
        in_range: scale to 0..1 over all values.
    """
    gaps = np.isnan(values)
    if gaps.any():
        values = np.where(gaps, values[~gaps].mean(), values)
    if in_range:
        low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        values = np.ones_like(values) if low >= high else (values - low) / (high - low)
    return values.astype(np.float32)


def unit_range(values: Array) -> Array:
    """Times [n] scaled to 0..1 over all rows; 1 where all are equal."""
    low, high = float(values.min()), float(values.max())
    return np.ones_like(values) if low == high else (values - low) / (high - low)
