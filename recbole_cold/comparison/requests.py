"""What one comparison asks for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import report
from recbole_cold.errors import UserError
from recbole_cold.experiment.folders import verb_of
from recbole_cold.experiment.requests import Entry
from recbole_cold.keys import COMMAND_LINE

VERB = "compare"


@dataclass(frozen=True)
class CompareRequest:
    """What one ``compare`` asks for; plain values, so that a later ``--resume`` reads it back."""

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


def is_comparison(path: Path) -> bool:
    """Whether a ``request.json`` is a comparison's."""
    return verb_of(path) == VERB


def read_request(folder: Path) -> CompareRequest:
    """What the comparison in ``folder`` was asked for.

    Raises:
        UserError: the folder is no comparison's, or the file in it is damaged.
    """
    path = folder / "request.json"
    if not is_comparison(path):
        raise UserError(
            f"'{folder}' is not the folder of a comparison that was run; give the folder that the "
            "interrupted one printed"
        )
    try:
        return CompareRequest(**{**json.loads(path.read_text()), "place": str(path)})
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"'{path}' is damaged ({error}); compare again") from error


class Cell(NamedTuple):
    """One number per phase and metric: a method on a backbone with a seed."""

    backbone: str
    entry: Entry
    text: str  # the entry as on the command line
    seed: int

    @property
    def place(self) -> tuple[str, str, int]:
        """What tells cells apart: an entry holds mappings, which cannot be keys."""
        return self.backbone, self.entry.label, self.seed


def row_name(name: str) -> str:
    return report.MATCHED if name in ("matched", "Base (matched steps)") else name
