"""What one sweep asks for, and the point of its space that a trial is."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_cold.config import (
    sweep_space,
)
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Request, parse_entries, take_numbers
from recbole_cold.sweep import space
from recbole_cold.sweep.space import Axis
from recbole_cold.trials.trial import TrialSpec


@dataclass(frozen=True)
class SweepRequest:
    """What one ``tune`` command asks for; plain values, so that ``--resume`` reads it back."""

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
    verb: str = "tune"


def sweep_of(
    keys: Mapping[str, Any],
    asked: Callable[[dict[str, Any]], Request],
    command: str,
    grids: Sequence[str] = (),
) -> SweepRequest:
    """What ``keys`` ask of a sweep.

    Args:
        asked: gives the request of the keys that a run has, too.
        grids: texts of ``--grid``.

    Raises:
        UserError: there is no method, the space has no axes, a number is none.
    """
    keys = dict(keys)
    names = ("search", "scheduler", "select_on", "ray_address")
    own = {name: keys.pop(name) for name in names if name in keys}
    own |= take_numbers(keys, "samples")
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
        axes = space.read_space(Path(given).expanduser())
    axes += [axis for text in grids for axis in space.read_grid(text)]
    if axes or given or grids:
        return axes
    (entry, *others) = parse_entries(model)
    if others:
        raise UserError(f"tune takes one --model, not '{model}'; `compare` takes several")
    return space.read_space(sweep_space(entry.spec), f"the sweep_space of {entry.label}")


@dataclass(frozen=True)
class Setting:
    """One point of the space, and its trials, one per seed."""

    params: dict[str, Any]
    specs: list[TrialSpec]


def roots(params: Mapping[str, Any]) -> set[str]:
    return {key.partition(".")[0] for key in params}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values, default=str))


def absolute(spec: str) -> str:
    """A method or backbone given as a file, by a path that holds from any folder."""
    path, colon, name = spec.partition(":")
    if not path.endswith(".py"):
        return spec
    return f"{Path(path).expanduser().resolve()}{colon}{name}"


def read_sweep_request(folder: Path) -> SweepRequest:
    """What the sweep in ``folder`` was asked for.

    Raises:
        UserError: the folder is not a sweep's, or the file in it is damaged.
    """
    path = folder / "request.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("verb") != "tune":
            raise UserError(
                f"'{folder}' is not the folder of a sweep; give the one that tune printed"
            )
        return SweepRequest(**values)
    except FileNotFoundError:
        raise UserError(
            f"'{folder}' is not the folder of a sweep: it has no request.json; give the folder "
            "that the interrupted sweep printed"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is damaged ({error}); start the sweep again") from error
