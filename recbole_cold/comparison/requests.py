"""What one comparison asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from recbole_cold import report
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
