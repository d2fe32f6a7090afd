"""Search spaces of sweeps as plain values.

A list is a grid axis. A distribution has a name and its numbers, as a mapping
(``learning_rate: {loguniform: [1e-4, 1e-1]}``) or as a text (``loguniform(1e-4, 1e-1)``). Nested
mappings become dotted keys. RecBole's ``.hyper`` lines are read, too.
"""

import itertools
import json
import math
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_cold import paths
from recbole_cold.compat import parse_text
from recbole_cold.config import read_yaml
from recbole_cold.errors import UserError, nearest
from recbole_cold.kinds import is_number, text_of

# Numbers that each distribution takes.
DISTRIBUTIONS = {
    "choice": None,
    "uniform": ("low", "high"),
    "loguniform": ("low", "high"),
    "quniform": ("low", "high", "step"),
    "randint": ("low", "high"),
}
DEFAULT_SAMPLES = 10


class Axis(NamedTuple):
    """One key and what it may be: ``grid`` and ``choice`` hold the values themselves.

    ``uniform`` and ``loguniform`` hold low and high, ``quniform`` also a step, ``randint`` low and
    a high that is never drawn, as in numpy and Ray. ``where`` is for messages.
    """

    key: str
    kind: str
    values: tuple[Any, ...]
    where: str

    @property
    def root(self) -> str:
        """The configuration key that it changes, or a part of it."""
        return self.key.partition(".")[0]

    def __str__(self) -> str:
        if self.kind == "grid":
            return f"{self.key}: {text_of(list(self.values))}"
        return f"{self.key}: {self.kind}({', '.join(map(text_of, self.values))})"


# ------------------------------------------------------------------------------- reading
def read_space(source: Mapping[str, Any] | str | Path, where: str = "") -> list[Axis]:
    """The axes of a mapping, a yaml file or a ``.hyper`` file.

    Raises:
        UserError: the file cannot be read, or something in it is no axis; one sentence.
    """
    if not isinstance(source, Mapping):
        where = where or str(source)
        if str(source).endswith(".hyper"):
            return _read_hyper(Path(source), where)
        source = read_yaml(source)
        # In a method's yaml the space is this block.
        block = source.get("sweep_space")
        source = block if isinstance(block, Mapping) else source
    return [axis for key, value in source.items() for axis in _axes(str(key), value, where)]


def read_grid(text: str) -> list[Axis]:
    """The axis of ``key=[a, b]`` or ``key=loguniform(1e-4, 1e-1)``, as given to ``--grid``."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--grid '{text}' is not key=[value, value]; write for instance "
                        "--grid=\"learning_rate=[1e-3,1e-2]\"")  # fmt: skip
    return _axes(key.strip(), parse_text(value.strip()), "--grid")


def _axes(key: str, value: Any, where: str) -> list[Axis]:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([a-z]+)\s*\((.*)\)\s*", value, re.DOTALL)
        if match is not None and match[1] in DISTRIBUTIONS:
            inside = match[2].strip()
            whole = inside if inside.startswith("[") and match[1] == "choice" else f"[{inside}]"
            return [_axis(key, match[1], parse_text(whole), where)]
    if isinstance(value, Mapping) and value:
        (first, *others) = value
        if first in DISTRIBUTIONS and not others:
            return [_axis(key, first, value[first], where)]
        return [axis for k, inner in value.items() for axis in _axes(f"{key}.{k}", inner, where)]
    if isinstance(value, list | tuple):
        return [_axis(key, "grid", value, where)]
    guess = nearest(re.split(r"[(\s]", str(value))[0], DISTRIBUTIONS)
    raise UserError(
        f"'{key}: {text_of(value)}' in {where} is no axis; write a list of values, or one of "
        f"{', '.join(DISTRIBUTIONS)} as in {key}: {{uniform: [0, 1]}}"
        + (f" (did you mean '{guess}'?)" if guess else "")
    )


def _axis(key: str, kind: str, values: Any, where: str) -> Axis:
    """An axis whose numbers make sense for its kind."""
    if not isinstance(values, list | tuple):
        raise UserError(f"{key} in {where}: {kind} needs a list, not '{text_of(values)}'")
    if not values:
        raise UserError(f"{key} in {where} has no values; give at least one")
    axis = Axis(key, kind, tuple(values), where)
    names = DISTRIBUTIONS.get(kind)
    if names is None:
        texts = [text_of(value) for value in values]
        twice = [text for text in texts if texts.count(text) > 1]
        if twice:
            raise UserError(f"{key} in {where} has {twice[0]} twice; give each value once")
        return axis
    told = f"{axis} in {where}"
    if len(values) != len(names) or not all(map(_is_number, values)):
        raise UserError(f"{told} needs {len(names)} numbers: {', '.join(names)}")
    low, high = values[:2]
    if not low < high:
        raise UserError(f"{told} is empty; the first number must be below the second")
    if kind == "loguniform" and low <= 0:
        raise UserError(f"{told} must begin above 0; a logarithm has no value there")
    if kind == "randint" and not all(isinstance(value, int) for value in values):
        raise UserError(f"{told} needs whole numbers")
    if kind == "quniform" and not 0 < values[2] <= high - low:
        raise UserError(f"{told} needs a step between 0 and high - low")
    return axis


def _read_hyper(path: Path, where: str) -> list[Axis]:
    """RecBole's lines ``name kind values``; its loguniform has exponents of e, as hyperopt's."""
    try:
        lines = paths.text_of(path).splitlines()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"search space {path} cannot be read ({reason}); check the path") from error
    axes = []
    for number, line in enumerate(lines, 1):
        words = line.split(None, 2)
        if not words or words[0].startswith("#"):
            continue
        here = f"{where}, line {number}"
        if len(words) < 3 or words[1] not in DISTRIBUTIONS:
            raise UserError(
                f"{here}: '{line.strip()}' is not 'name kind values' with a kind of "
                f"{', '.join(DISTRIBUTIONS)}"
            )
        key, kind, rest = words
        values = parse_text(rest if rest.startswith("[") else f"[{rest}]")
        if kind == "loguniform" and isinstance(values, list) and all(map(_is_number, values)):
            values = [float(f"{math.exp(value):.6g}") for value in values]
        # RecBole's usual search walks through all choices.
        axes.append(_axis(key, "grid" if kind == "choice" else kind, values, here))
    return axes


# ------------------------------------------------------------------------------- checking
def check(
    axes: Sequence[Axis],
    known: Collection[str],
    fixed: Mapping[str, str],
    try_value: Callable[[Axis, Any], None],
) -> None:
    """Refuse a space that cannot be searched.

    Args:
        known: keys that the method has.
        fixed: key -> why it cannot be an axis.
        try_value: raises a ``UserError`` for a value out of range; called once per value, with both
            ends of a distribution.

    Raises:
        UserError: one sentence.
    """
    if not axes:
        raise UserError('the search space is empty; give --space=FILE or --grid="key=[a,b]"')
    names = [axis.key for axis in axes]
    for axis in axes:
        if names.count(axis.key) > 1:
            places = [other.where for other in axes if other.key == axis.key]
            raise UserError(
                f"'{axis.key}' is an axis twice ({' and '.join(places)}); keep one of them"
            )
        first = axis.key.partition(".")[0]
        if first in fixed:
            raise UserError(f"'{axis.key}' in {axis.where} cannot be searched: {fixed[first]}")
        if first not in known:
            guess = nearest(first, known)
            raise UserError(
                f"unknown key '{axis.key}' in {axis.where}"
                + (f"; did you mean '{guess}'?" if guess else "; the method has no such key")
            )
    for axis in axes:
        for value in _to_try(axis):
            try_value(axis, value)


def _to_try(axis: Axis) -> list[Any]:
    if axis.kind in ("grid", "choice"):
        return list(axis.values)
    if axis.kind == "randint":
        return [axis.values[0], axis.values[1] - 1]
    return [_whole(axis, value) for value in axis.values[:2]]


# ------------------------------------------------------------------------------- drawing
def expand(axes: Sequence[Axis], samples: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Settings to try: every point of the grid axes, each with ``samples`` draws of the others.

    The draws of an axis follow from ``seed`` and its key alone. A setting that was drawn twice is
    tried once.
    """
    grid = [axis for axis in axes if axis.kind == "grid"]
    drawn = [axis for axis in axes if axis.kind != "grid"]
    points = list(itertools.product(*(axis.values for axis in grid)))
    count = (DEFAULT_SAMPLES if samples is None else samples) if drawn else 1
    columns = [_draw(axis, count * len(points), seed) for axis in drawn]
    settings: dict[str, dict[str, Any]] = {}
    for number, (point, _) in enumerate(itertools.product(points, range(count))):
        values = dict(zip([axis.key for axis in grid], point, strict=True))
        values |= {axis.key: column[number] for axis, column in zip(drawn, columns, strict=True)}
        setting = {axis.key: values[axis.key] for axis in axes}
        settings.setdefault(json.dumps(setting, sort_keys=True, default=str), setting)
    return list(settings.values())


def n_draws(axes: Sequence[Axis], samples: int | None = None) -> int:
    """How many settings ``expand`` draws, those that it draws twice included."""
    grid = math.prod(len(axis.values) for axis in axes if axis.kind == "grid")
    drawn = any(axis.kind != "grid" for axis in axes)
    return grid * (DEFAULT_SAMPLES if samples is None else samples) if drawn else grid


def size(axes: Sequence[Axis]) -> int | None:
    """How many different settings there are; None where there is no end of them."""
    counts = [_count(axis) for axis in axes]
    return None if None in counts else math.prod(filter(None, counts))


def point(axes: Sequence[Axis], number: int) -> dict[str, Any]:
    """The setting with a number, from 0, in a space that has an end; the last axis runs fastest."""
    found = {}
    for axis in reversed(axes):
        number, place = divmod(number, _count(axis) or 1)
        found[axis.key] = _value(axis, place)
    return {axis.key: found[axis.key] for axis in axes}


def _count(axis: Axis) -> int | None:
    if axis.kind in ("grid", "choice"):
        return len(axis.values)
    if axis.kind == "randint":
        return axis.values[1] - axis.values[0]
    if axis.kind == "quniform":
        low, high, step = axis.values
        steps = (high - low) / step
        return math.floor(steps * (1 + 1e-12) + 1e-9) + 1  # 0.3 / 0.1 is below 3
    return None


def _value(axis: Axis, number: int) -> Any:
    """The value with a number on an axis that has an end, from its lower end on."""
    if axis.kind in ("grid", "choice"):
        return axis.values[number]
    step = axis.values[2] if axis.kind == "quniform" else 1
    value = axis.values[0] + number * step
    return value if axis.kind == "randint" else _whole(axis, float(f"{value:.12g}"))


def name_of(setting: Mapping[str, Any]) -> str:
    """Equal for equal settings, however their numbers were computed."""
    parts = {k: f"{v:.9g}" if is_number(v) else v for k, v in setting.items()}
    return json.dumps(parts, sort_keys=True, default=str)


def at_random(axes: Iterable[Axis]) -> list[Axis]:
    """The same space for random draws: grid axes become choices."""
    return [axis._replace(kind="choice") if axis.kind == "grid" else axis for axis in axes]


def _draw(axis: Axis, count: int, seed: int) -> list[Any]:
    rng = np.random.default_rng([seed, zlib.crc32(axis.key.encode())])
    if axis.kind == "choice":
        return [axis.values[number] for number in rng.integers(len(axis.values), size=count)]
    low, high = axis.values[:2]
    if axis.kind == "randint":
        return [int(value) for value in rng.integers(low, high, size=count)]
    if axis.kind == "loguniform":
        values = np.exp(rng.uniform(math.log(low), math.log(high), size=count))
    else:
        values = rng.uniform(low, high, size=count)
    if axis.kind == "quniform":
        step = axis.values[2]
        values = np.round(values / step) * step
    # Six digits are enough for a hyper-parameter, and readable.
    return [_whole(axis, min(max(float(f"{value:.6g}"), low), high)) for value in values]


def _whole(axis: Axis, value: float) -> Any:
    """A whole number where only whole ones can be drawn: layers and sizes are searched so, too."""
    if axis.kind == "quniform" and all(float(number).is_integer() for number in axis.values):
        return int(value)
    return value


# ------------------------------------------------------------------------------- telling
def describe(axes: Sequence[Axis], samples: int | None = None) -> str:
    """The axes as text, a line each, and the number of settings."""
    lines = [f"  {axis}" for axis in axes]
    sizes = [len(axis.values) for axis in axes if axis.kind == "grid"]
    parts = [" x ".join(map(str, sizes)) + " grid"] if sizes else []
    if len(sizes) < len(axes):
        parts.append(f"{DEFAULT_SAMPLES if samples is None else samples} draws")
    return "\n".join([*lines, "  " + " x ".join(parts)])


def setting_text(setting: Mapping[str, Any]) -> str:
    """A setting in one line."""
    return " ".join(f"{key}={text_of(value)}" for key, value in setting.items())


def _is_number(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)
