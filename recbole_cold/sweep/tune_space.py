"""Converts our search spaces into distributions of Ray Tune."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cold import paths
from recbole_cold.sweep.requests import one_entry, own_axes
from recbole_cold.sweep.space import Axis, read_space


def param_space(
    source: str | Path | Mapping[str, Any], *, grid: bool = True, **more: Any
) -> dict[str, Any]:
    """The ``param_space`` of a ``tune.Tuner`` for ``recbole_cold.trainable``.

    Values that are no numbers or words (``[64, 32]``) become texts, which search algorithms can
    tell apart and the configuration reads as on the command line.

    Args:
        source: a method (the ``sweep_space:`` of its yaml), a yaml or ``.hyper`` file, or a mapping
            like the block in such a file.
        grid: whether lists are walked through (``tune.grid_search``); false draws from them
            (``tune.choice``), as Optuna and other search algorithms need.
        more: further entries, in Tune's own words, such as ``seed=tune.grid_search([1, 2])``.

    Raises:
        UserError: the method has no such block, the file cannot be read, or something in it is no
            axis; one sentence.
    """
    if isinstance(source, Mapping):
        axes = read_space(source, "the search space")
    elif str(source).endswith((".yaml", ".yml", ".hyper")):
        axes = read_space(paths.expanded(source))
    else:
        axes = own_axes(one_entry(str(source)))
    return {**{axis.key: distribution(axis, grid) for axis in axes}, **more}


def distribution(axis: Axis, grid: bool = True) -> Any:
    """An axis as a distribution of Tune, over the values that our own sweeps draw from."""
    from ray import tune

    if axis.kind in ("grid", "choice"):
        values = [_simple(value) for value in axis.values]
        return tune.grid_search(values) if grid and axis.kind == "grid" else tune.choice(values)
    low, high = axis.values[:2]
    if axis.kind == "quniform":
        return _steps(axis)
    return getattr(tune, axis.kind)(low, high)


def _steps(axis: Axis) -> Any:
    """Multiples of a step, whole numbers where all three are.

    Tune takes bounds that are multiples themselves; other bounds are values of their own, as in
    ``space.expand``, so there the values are listed.
    """
    from ray import tune

    low, high, step = axis.values
    whole = all(float(number).is_integer() for number in axis.values)
    if all(float(bound / step).is_integer() for bound in (low, high)):
        if not whole:
            return tune.quniform(low, high, step)
        low, high, step = int(low), int(high), int(step)
        return tune.randint(low, high + 1) if step == 1 else tune.qrandint(low, high, step)
    count = round((high - low) / step)
    numbers = np.round((low + step * np.arange(count + 1)) / step) * step
    values = sorted({float(f"{number:.6g}") for number in np.clip(numbers, low, high)})
    return tune.choice([int(value) if whole else value for value in values])


def _simple(value: Any) -> Any:
    """A value that search algorithms can compare: a number or word as it is, else a text."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def from_text(axis: Axis, value: Any) -> Any:
    """The value of an axis that ``distribution`` made a text of."""
    if axis.kind in ("grid", "choice"):
        return next((own for own in axis.values if _simple(own) == value), value)
    return value
