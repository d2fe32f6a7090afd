"""Checks of what a method asks training to do, of losses, and the sharing of step budgets."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recbole_cold.errors import Diverged, Misuse, blaming
from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._method import STAGES, ColdStartRecommender

_FINITE_EVERY = 50


def planned(method: ColdStartRecommender, question: str, *args: Any) -> list[Fit]:
    """The fits that ``pretrain_fits``, ``learn_fits`` or ``warm_fits`` of a method gave, checked.

    Raises:
        UserError: it is no list of ``Fit``, or a step moves nothing or what is not the method's.
    """
    with blaming(type(method), f"{question}()"):
        fits = getattr(method, question)(*args)
        if not isinstance(fits, list | tuple) or not all(isinstance(fit, Fit) for fit in fits):
            raise Misuse(f"{question}() gives {_kind(fits)}, and must give a list of Fit")
        for fit in fits:
            for number, step in enumerate(fit.steps):
                where = f"step {number + 1} of the Fit '{fit.name}' in {question}()"
                if not isinstance(step, Step):
                    raise Misuse(f"{where} is {_kind(step)}, and must be a Step")
                _refuse_foreign(method, step.parameters, where)
                if not step.parameters:
                    raise Misuse(f"{where} has no parameters to move; leave it out")
    return list(fits)


def check_trainable(method: ColdStartRecommender) -> None:
    """Ask a method for its parameters of every stage, before anything is trained.

    Raises:
        UserError: an answer is no list of its own parameters, or there is none.
    """
    for stage in STAGES:
        question = f"trainable('{stage}')"
        with blaming(type(method), question):
            _refuse_foreign(method, method.trainable(stage), question)


def _refuse_foreign(method: nn.Module, parameters: Any, where: str) -> None:
    own = {id(parameter) for parameter in method.parameters()}
    if not isinstance(parameters, list | tuple):
        raise Misuse(f"{where} gives {_kind(parameters)}, and must give a list of parameters")
    for parameter in parameters:
        if id(parameter) not in own:
            raise Misuse(
                f"{where} names {_kind(parameter)} that is no parameter of the method; make it an "
                "attribute of the method or of a module in it"
            )


def _kind(value: Any) -> str:
    """The type of a value for messages, with the types of its items if it is a list."""
    if isinstance(value, list | tuple) and value:
        kinds = dict.fromkeys(type(item).__name__ for item in value)
        return f"a {type(value).__name__} of {', '.join(kinds)}"
    return "None" if value is None else f"a {type(value).__name__}"


@contextmanager
def only_moving(method: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Context: gradients are computed for these parameters only."""
    moving = {id(parameter) for parameter in parameters}
    for parameter in method.parameters():
        parameter.requires_grad_(id(parameter) in moving)
    try:
        yield
    finally:
        for parameter in method.parameters():
            parameter.requires_grad_(True)
            parameter.grad = None


class LossCheck:
    """Stops a fit at the first loss, or part of one, that is no number.

    On a CPU every loss is checked before its gradients are computed. On a GPU that would mean a
    wait for each, so losses are checked together: every few batches, before a state is saved, and
    at the end.
    """

    def __init__(self, fit: Fit, device: torch.device) -> None:
        self._fit, self._each = fit, device.type == "cpu"
        self._seen: list[tuple[Step, tuple[Tensor, ...], str]] = []

    def see(self, step: Step, parts: tuple[Tensor, ...], where: str) -> None:
        """Note a loss that was just computed; ``where`` names its batch."""
        self._seen.append((step, tuple(part.detach().reshape(()) for part in parts), where))
        if self._each or len(self._seen) >= _FINITE_EVERY:
            self.look()

    def look(self) -> None:
        """Raise ``Diverged`` if a loss noted since the last check is NaN or infinite."""
        seen, self._seen = self._seen, []
        if not seen:
            return
        known = torch.stack([part for _, parts, _ in seen for part in parts]).isfinite()
        if bool(known.all()):
            return
        first = int(torch.nonzero(~known)[0])
        for step, parts, where in seen:
            if first < len(parts):
                name = f" '{step.names[first]}'" if len(step.names) == len(parts) else ""
                raise Diverged(
                    f"the loss{name} of '{self._fit.name}' is {parts[first].item()} in {where}; "
                    "try a smaller learning rate"
                )
            first -= len(parts)

    def look_at_all(self) -> None:
        """As ``look``, and also check the fit's parameters, so that a saved state is usable."""
        self.look()
        for number, step in enumerate(self._fit.steps):
            known = torch.stack([parameter.isfinite().all() for parameter in step.parameters])
            if not bool(known.all()):  # one answer to wait for
                which = f"step {number + 1} of " if len(self._fit.steps) > 1 else ""
                raise Diverged(
                    f"{which}'{self._fit.name}' made parameters that are no numbers, of a loss "
                    "that is one; try a smaller learning rate"
                )


def share_budget(budget: int, fits: Sequence[Fit]) -> list[int]:
    """Optimizer steps of each fit, ``budget`` in all, in proportion to what each would take.

    Parts are rounded down to whole batches' worth of steps, but no fit that has something to learn
    on goes without while there is room; what is left goes to the largest.
    """
    own = [fit.optimizer_steps for fit in fits]
    if not any(own):
        return own
    shares = [
        budget * steps // sum(own) // len(fit.steps) * len(fit.steps)
        for steps, fit in zip(own, fits, strict=True)
    ]
    widths = [len(fit.steps) if steps else 0 for steps, fit in zip(own, fits, strict=True)]
    if sum(widths) <= budget:
        shares = [max(share, width) for share, width in zip(shares, widths, strict=True)]
    largest = own.index(max(own))
    width = len(fits[largest].steps)
    shares[largest] += (budget - sum(shares)) // width * width
    return shares
