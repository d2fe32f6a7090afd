"""The request of a comparison, and its cells."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from recbole_cold import report
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Entry, Request, from_files, take_numbers
from recbole_cold.keys import COMMAND_LINE

VERB = "compare"


@dataclass(frozen=True)
class CompareRequest:
    """The request of one comparison: plain values, which a later ``--resume`` reads back."""

    models: str
    backbones: str
    dataset: str | None = None
    config_files: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None
    concurrent: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    ray_address: str | None = None
    command: str = ""
    verb: str = VERB
    place: str = COMMAND_LINE


def one_name_each(keys: Mapping[str, Any]) -> dict[str, Any]:
    """``keys`` with ``models`` and ``backbones`` under the names that a run has for them.

    Raises:
        UserError: both names are given.
    """
    keys = dict(keys)
    for many, one in (("models", "model"), ("backbones", "backbone")):
        if many in keys and one in keys:
            raise UserError(f"--{many} and --{one} are the same here; give --{many} only")
        if many in keys:
            keys[one] = keys.pop(many)
    return keys


def comparison_of(
    keys: Mapping[str, Any],
    asked: Callable[[dict[str, Any]], Request],
    command: str,
    place: str = COMMAND_LINE,
) -> CompareRequest:
    """The request of a comparison, from its keys.

    Args:
        asked: makes a run's request from the keys that are not a comparison's own.

    Raises:
        UserError: a key is given under two names, or a share of a machine is no number.
    """
    keys = one_name_each(keys)
    own = {name: keys.pop(name) for name in ("against", "ray_address") if name in keys}
    own |= take_numbers(keys, place=place)
    request = asked(keys)
    given = [request.backbone, *from_files(request.config_files, "backbone")]
    return CompareRequest(
        models=request.models,
        backbones=next((names for names in given if names), "DeepFM"),
        dataset=request.dataset,
        config_files=request.config_files,
        overrides=request.overrides,
        command=command,
        place=place,
        **own,
    )


class Cell(NamedTuple):
    """One number per phase and metric: a method on a backbone with a seed."""

    backbone: str
    entry: Entry
    text: str  # the entry as on the command line
    seed: int

    @property
    def place(self) -> tuple[str, str, int]:
        """A hashable name of the cell, which the entry (it holds mappings) is not."""
        return self.backbone, self.entry.label, self.seed


def row_name(name: str) -> str:
    return report.MATCHED if name in ("matched", "Base (matched steps)") else name
