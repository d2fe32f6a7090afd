"""How good the best of some trials is to be expected: what a method gains from tuning.

Source: Dodge et al., "Show Your Work: Improved Reporting of Experimental Results", EMNLP 2019,
equation 5 with the empirical distribution of the trials' values.
"""

import math
from collections.abc import Sequence


def expected_best(values: Sequence[float], n: int, lower: bool = False) -> float:
    """The expected best of ``n`` draws, with replacement, from the values of N trials.

    With the values in ascending order, v(1) to v(N), the chance that all n draws are among the
    first i is (i / N)^n, so that

        E[max] = sum over i of v(i) ((i / N)^n - ((i - 1) / N)^n)

    Args:
        n: at least 1.
        lower: whether lower values are better; then the expected minimum.

    Raises:
        ValueError: there are no values, or n is below 1.
    """
    if not values or n < 1:
        raise ValueError(f"the best of {n} draws from {len(values)} values is nothing")
    if lower:
        return -expected_best([-value for value in values], n)
    count = len(values)
    return math.fsum(
        value * ((place / count) ** n - ((place - 1) / count) ** n)
        for place, value in enumerate(sorted(values), 1)
    )


def best_of_curve(
    first: float | None, drawn: Sequence[float], most: int, lower: bool = False
) -> list[float]:
    """The expected best of the first 1, 2, ..., ``most`` trials, where the first one is no draw.

    The first trial is the default setting: it is always tried, so the best of n trials is the
    better of its value and the best of n - 1 draws from the others. A trial that failed cannot be
    chosen, so it counts as the first one's value.

    Args:
        first: the default setting's value; None where it failed. Then the best of n is that of n
            draws from those that came through.
        drawn: values of the other trials; nan where one failed.

    Returns:
        ``most`` values; none where no trial came through.
    """
    if first is None or math.isnan(first):
        known = [value for value in drawn if not math.isnan(value)]
        return [expected_best(known, n, lower) for n in range(1, most + 1)] if known else []
    better = min if lower else max
    reached = [first if math.isnan(value) else better(first, value) for value in drawn]
    later = [expected_best(reached, n, lower) for n in range(1, most)] if reached else []
    return [first, *(later or [first] * (most - 1))]
