"""The request of a sweep, and a setting with its trials."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole_cold import paths
from recbole_cold.config import (
    sweep_space,
)
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Request, parse_entries, take_numbers
from recbole_cold.keys import COMMAND_LINE
from recbole_cold.sweep import space
from recbole_cold.sweep.space import Axis
from recbole_cold.trials.trial import TrialSpec


@dataclass(frozen=True)
class SweepRequest:
    """The request of one sweep: plain values, which a later ``--resume`` reads back.

    Of objects that only Python can give (``search_alg``, ``scheduler``, ``ray_callbacks``),
    ``given`` keeps the names of their classes; see ``Sweep``.
    """

    model: str
    dataset: str | None = None
    backbone: str | None = None
    config_files: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    axes: Sequence[Sequence[Any]] = ()
    samples: int | None = None
    search: str = "grid"
    scheduler: str = "none"
    select_on: str = "mean"
    concurrent: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    ray_address: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    loggers: bool = False
    verb: str = "tune"
    place: str = COMMAND_LINE


def sweep_of(
    keys: Mapping[str, Any],
    asked: Callable[[dict[str, Any]], Request],
    command: str,
    grids: Sequence[str] = (),
    place: str = COMMAND_LINE,
) -> SweepRequest:
    """The request of a sweep, from its keys.

    Args:
        asked: makes a run's request from the keys that are not a sweep's own.
        grids: texts of ``--grid``.

    Raises:
        UserError: there is no method, the space has no axes, a number is none.
    """
    keys = dict(keys)
    names = ("search", "scheduler", "select_on", "ray_address", "loggers")
    own = {name: keys.pop(name) for name in names if name in keys}
    own |= take_numbers(keys, "samples", place=place)
    given = keys.pop("space", None)
    request = asked(keys)
    if not request.models:
        raise UserError("tune needs --model=<name>; `recbole-cold list` shows all")
    return SweepRequest(
        model=request.models,
        dataset=request.dataset,
        backbone=request.backbone,
        config_files=request.config_files,
        overrides=request.overrides,
        command=command,
        place=place,
        axes=[list(axis) for axis in axes_of(request.models, given, grids)],
        **own,
    )


def axes_of(
    model: str, given: str | Path | Mapping[str, Any] | None, grids: Sequence[str]
) -> list[Axis]:
    """The space that is asked for: a file or mapping and ``--grid`` texts, or the method's own.

    Raises:
        UserError: something in it is no axis.
    """
    axes: list[Axis] = []
    if isinstance(given, Mapping):
        axes = space.read_space(given, "space")
    elif given:
        axes = space.read_space(paths.expanded(given))
    axes += [axis for text in grids for axis in space.read_grid(text)]
    if axes or given or grids:
        return axes
    (entry, *others) = parse_entries(model)
    if others:
        raise UserError(f"tune takes one --model, not '{model}'; `compare` takes several")
    return space.read_space(sweep_space(entry.spec), f"the sweep_space of {entry.label}")


def with_objects(request: SweepRequest, objects: Mapping[str, Any]) -> SweepRequest:
    """The request with the names of the objects it runs with.

    Raises:
        UserError: the sweep that is resumed had an object that is not given now, or another one.
    """
    names = {
        key: ", ".join(type(each).__name__ for each in value)
        if isinstance(value, list | tuple)
        else type(value).__name__
        for key, value in objects.items()
        if value is not None and value != ()
    }
    for key, name in request.given.items():
        if names.get(key) != name:
            raise UserError(
                f"this sweep was started with {key}={name}, an object, which no file can hold; "
                "give it again when you resume from Python"
            )
    return replace(request, given=names)


@dataclass(frozen=True)
class Setting:
    """One point of the space, and its trials, one per seed."""

    params: dict[str, Any]
    specs: list[TrialSpec]


def roots(params: Mapping[str, Any]) -> set[str]:
    return {key.partition(".")[0] for key in params}
