"""The request of a benchmark."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from recbole_cold.comparison.requests import VERB as COMPARE
from recbole_cold.comparison.requests import CompareRequest, comparison_of
from recbole_cold.config import read_yaml
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Request, parse_entries
from recbole_cold.keys import COMMAND_LINE, check_flag
from recbole_cold.registry import entry_texts
from recbole_cold.sweep.requests import given_axes, shared_axes
from recbole_cold.sweep.space import Axis

VERB = "benchmark"
# Rows that every benchmark has: without them nobody knows what a gain is worth.
REFERENCE_ROWS = ("Base", "ItemBias")
TRIALS, TUNE_SEEDS, SEEDS = 16, 2, 5


@dataclass(frozen=True)
class BenchmarkRequest(CompareRequest):
    """The request of one benchmark: that of a comparison, and how its rows are tuned before."""

    verb: str = VERB
    trials: int = TRIALS
    tune_seeds: int = TUNE_SEEDS
    axes: Sequence[Sequence[Any]] = ()

    def comparison(self) -> CompareRequest:
        """The request of the comparison that the chosen settings end in."""
        own = {each.name: getattr(self, each.name) for each in fields(CompareRequest)}
        return CompareRequest(**{**own, "verb": COMPARE})

    def shared(self) -> list[Axis]:
        """The axes that all methods share."""
        return [Axis(key, kind, tuple(values), where) for key, kind, values, where in self.axes]


def benchmark_of(
    keys: Mapping[str, Any],
    asked: Callable[[dict[str, Any]], Request],
    command: str,
    place: str = COMMAND_LINE,
) -> BenchmarkRequest:
    """The request of a benchmark, from its keys.

    Rows that every benchmark has are added where they are missing.

    Args:
        asked: makes a run's request from the keys that are not a benchmark's own.

    Raises:
        UserError: there is no method, a number is none, something in the space is no axis.
    """
    keys = dict(keys)
    numbers = {
        name: check_flag(name, keys.pop(name), place)
        for name in ("trials", "tune_seeds")
        if name in keys
    }
    given = keys.pop("space", None)
    compared = comparison_of(keys, asked, command, place)
    if not compared.models:
        raise UserError("benchmark needs --models=<name>,...; `recbole-cold list` shows all")
    overrides = dict(compared.overrides)
    if not any("seeds" in read_yaml(file) for file in compared.config_files):
        overrides.setdefault("seeds", SEEDS)
    return BenchmarkRequest(
        **{
            **vars(compared),
            "models": ",".join(_with_references(compared.models)),
            "overrides": overrides,
            "verb": VERB,
        },
        axes=[list(axis) for axis in (given_axes(given) or shared_axes())],
        **numbers,
    )


def _with_references(models: str) -> list[str]:
    """The entries as texts: the reference rows, whether they are named or not, and the others."""
    texts = entry_texts(models)
    by_label = {entry.label: text for entry, text in zip(parse_entries(models), texts, strict=True)}
    first = [by_label.pop(name, name) for name in REFERENCE_ROWS]
    return [*first, *by_label.values()]
