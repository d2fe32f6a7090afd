"""The phases of the protocol, and the loop over them.

Names of phases and of the parts that they learn on are made only here; a ``Split`` carries its
phases, and all other code reads them there.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

LETTERS = "abcdefghijklmnopqrstuvwxyz"
COLD = "cold"


class Phase(NamedTuple):
    """One row of the results: what to learn on first, if anything, and what is scored then."""

    name: str
    warm_up_on: str | None
    score_on: str


def warm_names(number: int) -> list[str]:
    """``warm_a``, ``warm_b``, ...: the warm-up parts of a rule that makes ``number`` of them."""
    return [f"warm_{letter}" for letter in LETTERS[:number]]


def common_names(number: int) -> list[str]:
    """``common_1``, ``common_2``, ...: the shared warm-up parts that are cut from ``test``."""
    return [f"common_{count}" for count in range(1, number + 1)]


FINE_TUNING = ("ft_a", "ft_b", "ft_c")
"""The parts of sessions that phases learn on; each user's last session is in one of them or in
``test``."""


def session_phases() -> list[Phase]:
    """The phases of sessions: before any fine-tuning, then after each part; all on ``test``."""
    return [Phase("none", None, "test"), *(Phase(name, name, "test") for name in FINE_TUNING)]


def is_warm_file(part: str) -> bool:
    """Whether a ready file (``benchmark_filename``) is a warm-up part; its name alone says so."""
    return part.startswith("warm_")


def protocol(warm_sets: Sequence[str], eval_on: str = "test", common: int = 0) -> list[Phase]:
    """The phases over ``warm_sets`` (``warm_a``, ...), then ``common`` shared warm-up sets.

    ``eval_on='test'`` scores every phase on ``test``; ``'next'`` scores each phase on the rows
    that the following one learns on, as the MWUF paper does, and the last one on ``test``.
    """
    sets = [*warm_sets, *common_names(common)]
    phases = [Phase(COLD, None, "test"), *(Phase(name, name, "test") for name in sets)]
    return scored_on_next(phases) if eval_on == "next" else phases


def scored_on_next(phases: Sequence[Phase]) -> list[Phase]:
    """The same phases, each scored on what the following one learns on, if it learns."""
    following = [phase.warm_up_on for phase in phases[1:]] + [None]
    return [
        phase._replace(score_on=part or phase.score_on)
        for phase, part in zip(phases, following, strict=True)
    ]


def has_new_items(config: Any) -> bool:
    """Whether the rule of a configuration makes items (or users) new; known before any data."""
    return config["split_rule"] not in _WITHOUT_NEW_ITEMS


_WITHOUT_NEW_ITEMS = ("sessions",)


def phase_names(config: Any) -> list[str]:
    """The names of the phases that a configuration will give, known before any data is loaded."""
    files = config["benchmark_filename"]
    own = [name for name in files if is_warm_file(name)] if files else None
    return [
        phase.name for phase in _PHASES["files" if files else config["split_rule"]](config, own)
    ]


def some_phase_learns(config: Any) -> bool:
    """Whether there is a phase after the first; with ``warm_sets: 0`` there is the cold one alone,
    and what is said of fine-tuning changes nothing."""
    return len(phase_names(config)) > 1


def _of_sets(config: Any, own: list[str] | None) -> list[Phase]:
    warm = warm_names(config["warm_sets"]) if own is None else own
    return protocol(warm, common=config["common_phases"])


# What makes the parts -> the phases by a configuration and the warm-up parts among ready files.
_PHASES: dict[str, Callable[[Any, list[str] | None], list[Phase]]] = {
    "files": _of_sets,
    "frequency": _of_sets,
    "sessions": lambda config, own: session_phases(),
}


class Verbs(Protocol):
    """The methods of a trainer that ``run_phases`` calls."""

    def pretrain(self) -> None: ...
    def learn(self) -> None: ...
    def warm_up(self, name: str, rows: Any) -> None: ...


def run_phases(
    trainer: Verbs,
    split: Any,
    evaluate: Callable[[str, Any], dict[str, Any]],
    phases: Sequence[Phase] | None = None,
) -> dict[str, dict[str, Any]]:
    """Results per phase; ``evaluate(phase name, rows)`` scores the trainer's model.

    Args:
        split: a ``Split``, or row numbers by part name.
        phases: which ones; ``None``: all that the split carries.
    """
    trainer.pretrain()
    trainer.learn()
    results = {}
    for phase in split.phases if phases is None else phases:
        if phase.warm_up_on is not None:
            trainer.warm_up(phase.name, split[phase.warm_up_on])
        results[phase.name] = evaluate(phase.name, split[phase.score_on])
    return results
