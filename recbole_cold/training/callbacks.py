"""Callbacks: hooks for user code while a method is trained and scored."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch

from recbole_cold import seeding
from recbole_cold.errors import CallbackError, Interrupted, UserError


class Callback:
    """Progress callback: override the hooks you need; the default ignores all events.

    Hooks get plain values of their own (texts, numbers, dicts), so that nothing done with them
    reaches the run, and what they draw from torch's global generators is given back: a callback
    changes no number. What a hook raises ends the command with one sentence that names the class;
    ``recbole_cold.errors.Interrupted`` ends it as Ctrl+C does.

    A resumed run does not repeat the events from before the interruption.
    """

    #: Whether ``epoch`` gets metrics. They cost one scoring of the cold phase's rows per epoch.
    wants_epoch_metrics: ClassVar[bool] = False

    def run_begins(self, method: str, seed: int) -> None:
        """One method (its label in the table) starts or continues with one seed."""

    def run_ends(self, method: str, seed: int, phases: dict[str, dict[str, float]]) -> None:
        """All phases are scored: phase -> metric -> value. A run that diverges has no end."""

    def stage_begins(self, stage: str) -> None:
        """``pretrain``, ``learn``, ``warm_a``, ... begins, or continues after a resume."""

    def stage_ends(self, stage: str, record: dict[str, Any]) -> None:
        """The stage is over; ``record`` has its steps, rows, seconds and ``cached``."""

    def step(self, stage: str, number: int) -> None:
        """A batch was used; ``number`` optimizer steps of the stage are done."""

    def epoch(self, number: int, metrics: dict[str, float]) -> None:
        """Pre-training epoch ``number`` (from 1) is over; a cached backbone has none.

        ``metrics`` are those of the plain backbone in the cold phase, or ``{}`` where
        ``wants_epoch_metrics`` is false.
        """

    def phase_scored(self, phase: str, metrics: dict[str, float]) -> None:
        """The metrics of ``cold``, ``warm_a``, ..., as they stand in the results."""


_HOOKS = [name for name, value in vars(Callback).items() if callable(value)]


class CallbackList:
    """Several callbacks, called in order; a hook that none of them overrides costs nothing.

    Args:
        callbacks: instances of ``Callback``.
        device: of the run, whose random state is not theirs to change; None: of every card in use.

    Raises:
        UserError: one of them is something else.
    """

    def __init__(
        self, callbacks: Iterable[Callback] = (), device: torch.device | None = None
    ) -> None:
        self.all, self.device = list(callbacks), device
        for each in self.all:
            if not isinstance(each, Callback):
                told = f"the class {each.__name__}" if isinstance(each, type) else repr(each)
                raise UserError(
                    f"callbacks must be instances of recbole_cold.Callback, but one is {told}"
                )
        self._listeners = {
            hook: [each for each in self.all if _overrides(each, hook)] for hook in _HOOKS
        }

    @property
    def want_epoch_metrics(self) -> bool:
        """Whether a callback wants the metrics of pre-training epochs."""
        return any(each.wants_epoch_metrics for each in self._listeners["epoch"])

    def hear(self, hook: str) -> bool:
        """Whether a callback overrides ``hook``; ask once, outside of a loop."""
        return bool(self._listeners[hook])

    def tell(self, hook: str, *values: Any) -> None:
        """Call one hook of all callbacks, each with copies of the values.

        Raises:
            CallbackError: a callback raised; names its class and what it raised.
        """
        listeners = self._listeners[hook]
        if not listeners:
            return
        state = seeding.layer_state(self.device)
        try:
            for each in listeners:
                _call(each, hook, copy.deepcopy(values))
        finally:
            seeding.restore_layers(state, self.device)

    def tell_epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Call ``epoch`` of all, with metrics for the callbacks that want them."""
        for each in self._listeners["epoch"]:
            one = CallbackList([each], self.device)
            one.tell("epoch", number, dict(metrics) if each.wants_epoch_metrics else {})


def _overrides(callback: Callback, hook: str) -> bool:
    found = getattr(callback, hook)
    return getattr(found, "__func__", found) is not getattr(Callback, hook)


def _call(callback: Callback, hook: str, values: tuple[Any, ...]) -> None:
    try:
        getattr(callback, hook)(*values)
    except Interrupted:
        raise
    except Exception as error:
        words = " ".join(str(error).split())
        raise CallbackError(
            f"callback {type(callback).__name__} raised {type(error).__name__} in its {hook}"
            + (f": {words}" if words else "")
        ) from error
