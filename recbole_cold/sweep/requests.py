"""What one sweep asks for, and the point of its space that a trial is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_cold.config import (
    sweep_space,
)
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import parse_entries
from recbole_cold.keys import COMMAND_LINE
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
    place: str = COMMAND_LINE


def axes_of(model: str, space_file: str | None, grids: Sequence[str]) -> list[Axis]:
    """The space of a command: a file and ``--grid`` texts, or else the method's own.

    Raises:
        UserError: something in it is no axis.
    """
    axes = space.read_space(Path(space_file).expanduser()) if space_file else []
    axes += [axis for text in grids for axis in space.read_grid(text)]
    if axes or space_file or grids:
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
