"""The settings that methods are tried with: the default one, then draws that all methods share.

Draw j of the shared keys is the same for every method, so that nobody has the luckier numbers, and
so that trials of different methods start from the same pre-trained backbones.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recbole_cold.sweep import space
from recbole_cold.sweep.space import Axis

# Draws of a space before the rest of it, if it has an end, is walked through; a constant, so that
# more trials begin with the settings of fewer ones.
_DRAWS = 1000


def in_drawn_order(axes: Sequence[Axis], seed: int, most: int = _DRAWS) -> list[dict[str, Any]]:
    """Different points of a space, as they are drawn; at most ``most``.

    Of a space with an end the points that were not drawn come last. Without axes there is one
    point, that sets nothing.
    """
    if not axes:
        return [{}]
    found = space.expand(space.at_random(axes), _DRAWS, seed)
    total = space.size(axes)
    if total is not None and len(found) < min(total, most):
        known = {space.name_of(point) for point in found}
        points = (space.point(axes, number) for number in range(min(total, most + len(found))))
        found += [point for point in points if space.name_of(point) not in known]
    return found[:most]


def settings_of(
    default: Mapping[str, Any],
    shared: Sequence[Mapping[str, Any]],
    own: Sequence[Mapping[str, Any]],
    keys: Collection[str],
    n: int,
    seed: int,
) -> list[dict[str, Any]]:
    """``n`` different settings of one method, or all that its space has.

    The first is the default one. Number j + 1 has the j-th shared draw, as far as the method has
    its keys, and a point of its own space that follows from ``seed`` and j. Where that gives
    nothing new (two draws may differ only in keys that the method lacks), others make up.

    Args:
        default: the method's own values.
        shared: draws of the shared keys, all different.
        own: points of the method's own space; one that sets nothing where it has none.
        keys: the shared keys that the method has.
    """
    found, taken = [dict(default)], {space.name_of(default)}

    def add(number: int) -> bool:
        row = {key: value for key, value in shared[number].items() if key in keys}
        order = np.random.default_rng([seed, number]).permutation(len(own))
        for place in order.tolist():
            setting = {**row, **own[place]}
            if space.name_of(setting) not in taken:
                taken.add(space.name_of(setting))
                found.append({key: setting[key] for key in default})
                return True
        return False

    def fill(numbers: Iterable[int]) -> bool:
        return any([add(number) for number in numbers if len(found) < n])

    fill(range(min(n - 1, len(shared))))
    while len(found) < n and fill(range(len(shared))):
        pass
    return found
