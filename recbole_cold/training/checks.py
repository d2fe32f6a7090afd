"""What keeps training sound: which parameters move, losses that are numbers, shared budgets."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recbole_cold.errors import Diverged
from recbole_cold.model._fit import Fit, Step

_FINITE_EVERY = 50


@contextmanager
def only_moving(method: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Gradients are computed for these parameters and for no others."""
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

    A CPU's losses are looked at before their gradients are taken; asking a GPU each time would make
    it wait, so its losses are looked at together: every few batches, before anything is saved, and
    at the end.
    """

    def __init__(self, fit: Fit, device: torch.device) -> None:
        self._fit, self._each = fit, device.type == "cpu"
        self._seen: list[tuple[Step, tuple[Tensor, ...], str]] = []

    def see(self, step: Step, parts: tuple[Tensor, ...], where: str) -> None:
        """A loss that was just computed; ``where`` says of which batch."""
        self._seen.append((step, tuple(part.detach().reshape(()) for part in parts), where))
        if self._each or len(self._seen) >= _FINITE_EVERY:
            self.look()

    def look(self) -> None:
        """Raise ``Diverged`` if a loss seen since the last look is no number."""
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
        """The same, and whether what the fit moves are numbers still: what is saved can be used."""
        self.look()
        for number, step in enumerate(self._fit.steps):
            if not all(bool(parameter.isfinite().all()) for parameter in step.parameters):
                which = f"step {number + 1} of " if len(self._fit.steps) > 1 else ""
                raise Diverged(
                    f"{which}'{self._fit.name}' made parameters that are no numbers, of a loss "
                    "that is one; try a smaller learning rate"
                )


def share_budget(budget: int, fits: Sequence[Fit]) -> list[int]:
    """``budget`` optimizer steps over fits, in proportion to what each would take by itself.

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
