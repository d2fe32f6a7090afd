"""The request of a sweep, and a setting with its trials."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole_cold import keys, paths
from recbole_cold.config import make_config, read_yaml, sweep_space
from recbole_cold.data.phases import some_phase_learns
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Entry, Request, parse_entries, take_numbers
from recbole_cold.keys import COMMAND_LINE
from recbole_cold.model._method import FINE_TUNING
from recbole_cold.registry import find_method, properties_dir
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
        axes=[list(axis) for axis in axes_of(request, given, grids)],
        **own,
    )


def axes_of(
    request: Request, given: str | Path | Mapping[str, Any] | None, grids: Sequence[str]
) -> list[Axis]:
    """The space that is asked for: a file or mapping and ``--grid`` texts, or the usual one.

    The usual one is the space that all methods share and the method's own, all of it drawn from:
    as a grid it would have hundreds of points. A key that is given holds for all trials instead.

    Raises:
        UserError: something in it is no axis.
    """
    axes = given_axes(given)
    axes += [axis for text in grids for axis in space.read_grid(text)]
    if axes or given or grids:
        return axes
    entry = one_entry(str(request.models))
    own = own_axes(entry)
    files = (key for file in request.config_files for key in read_yaml(file))
    held = {*request.overrides, *files, *entry.variant}
    held |= {"pretrain_epochs"} if "epochs" in held else set()
    idle = {*find_method(entry.spec).idle_keys, *(axis.key for axis in own)}
    if request.dataset is not None:
        config = make_config(
            entry.spec, request.dataset, request.backbone, request.config_files,
            {**request.overrides, **entry.variant}, check_data=False,
        )  # fmt: skip
        idle |= set() if some_phase_learns(config) else set(FINE_TUNING)
    shared = [axis for axis in shared_axes() if axis.key not in idle]
    return [axis for axis in space.at_random([*shared, *own]) if axis.root not in held]


def one_entry(model: str) -> Entry:
    (entry, *others) = parse_entries(model)
    if others:
        raise UserError(f"tune takes one --model, not '{model}'; `compare` takes several")
    return entry


def given_axes(given: str | Path | Mapping[str, Any] | None) -> list[Axis]:
    """The axes of a file or mapping; none without one."""
    if isinstance(given, Mapping):
        return space.read_space(given, "space")
    return space.read_space(paths.expanded(given)) if given else []


def shared_axes() -> list[Axis]:
    """The axes that all methods share: ``properties/sweep_space.yaml``."""
    return space.read_space(properties_dir() / "sweep_space.yaml", "properties/sweep_space.yaml")


def own_axes(entry: Entry) -> list[Axis]:
    """The axes in the ``sweep_space`` of the yaml of an entry's method."""
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


def fixed_keys(what: str) -> dict[str, str]:
    """Keys that cannot be searched, and why not.

    Args:
        what: the word for all trials together.
    """
    scored = keys.names(touching=[keys.SPLIT, keys.TABLE])
    fixed = dict.fromkeys(
        keys.names(run_wide=True), f"it holds for the whole {what}; give it as a flag"
    )
    fixed |= dict.fromkeys(scored, "it decides what is scored, so values would not compare")
    fixed |= dict.fromkeys(
        ("backbone", "model", "dataset"), "compare several with `recbole-cold compare`"
    )
    fixed |= dict.fromkeys(("seed", "seeds"), "every setting runs on all seeds, see --seeds")
    return fixed


@dataclass(frozen=True)
class Setting:
    """One point of the space, and its trials, one per seed."""

    params: dict[str, Any]
    specs: list[TrialSpec]


def roots(params: Mapping[str, Any]) -> set[str]:
    return {key.partition(".")[0] for key in params}
