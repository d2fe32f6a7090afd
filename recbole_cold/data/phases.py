"""The protocol as a value, and the runner over it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Phase(NamedTuple):
    """One row of the results: what to learn on first, if anything, and what is scored then."""

    name: str
    warm_up_on: str | None
    score_on: str


def protocol(warm_sets: Sequence[str], eval_on: str = "test", common: int = 0) -> list[Phase]:
    """The phases over ``warm_sets`` (``warm_a``, ...), then ``common`` shared warm-up sets.

    ``eval_on='test'`` scores every phase on ``test``; ``'next'`` scores each phase on the rows
    that the following one learns on, as the MWUF paper does, and the last one on ``test``.
    """
    sets = [*warm_sets, *(f"common_{number}" for number in range(1, common + 1))]
    targets = ["test"] * (len(sets) + 1) if eval_on == "test" else [*sets, "test"]
    names = ["cold", *sets]
    return [Phase(*row) for row in zip(names, [None, *sets], targets, strict=True)]


class Verbs(Protocol):
    """What the runner needs of a trainer."""

    def pretrain(self) -> None: ...
    def learn(self) -> None: ...
    def warm_up(self, name: str, rows: Any) -> None: ...


def run_phases(
    trainer: Verbs,
    split: Mapping[str, Any],
    evaluate: Callable[[str, Any], dict[str, Any]],
    phases: Sequence[Phase],
) -> dict[str, dict[str, Any]]:
    """Results per phase; ``evaluate(phase name, rows)`` scores the trainer's model."""
    trainer.pretrain()
    trainer.learn()
    results = {}
    for phase in phases:
        if phase.warm_up_on is not None:
            trainer.warm_up(phase.name, split[phase.warm_up_on])
        results[phase.name] = evaluate(phase.name, split[phase.score_on])
    return results
