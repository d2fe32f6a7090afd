"""Optimizers with the numbers of ``torch.optim``'s, bit for bit, and without what they import.

The first ``torch.optim.Optimizer`` of a process imports ``torch._dynamo``, a compiler that nothing
here uses: two CPU seconds of each process that trains, as much as torch itself. What is left of an
optimizer without the compiler's hooks is short; a parameter's state is as in ``torch.optim``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class LightOptimizer:
    """Parameters of one group with a state each; a subclass says in ``step`` how they move.

    Attributes:
        param_groups: one mapping: ``params`` and the options by name, which may be changed.
        state: of each parameter that has been moved.
    """

    def __init__(self, params: Iterable[nn.Parameter], **options: Any) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(params), **options}]
        self.state: dict[Tensor, dict[str, Any]] = {}

    def step(self) -> None:
        """Move the parameters that have a gradient."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The states by the parameters' positions, and the options."""
        [group] = self.param_groups
        places = {parameter: place for place, parameter in enumerate(group["params"])}
        return {
            "state": {places[parameter]: state for parameter, state in self.state.items()},
            "param_groups": [{**group, "params": [places[each] for each in group["params"]]}],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on with states of as many parameters, which are brought to their kind and device.

        Raises:
            ValueError: they are of another number of parameters.
        """
        [group], [options] = self.param_groups, saved["param_groups"]
        if len(group["params"]) != len(options["params"]):
            raise ValueError("an optimizer's state is of another number of parameters")
        group.update({name: value for name, value in options.items() if name != "params"})
        self.state = {
            group["params"][place]: {
                name: _like(group["params"][place], name, value) for name, value in state.items()
            }
            for place, state in saved["state"].items()
        }


def _like(parameter: Tensor, name: str, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    # Single precision counts no further than 2 ** 24, but it is what the kernel takes.
    return value.to(parameter.device, torch.float32 if name == "step" else parameter.dtype)


class Adam(LightOptimizer):
    """The options of every Adam.

    Args:
        params: what moves.
        lr: the learning rate.
        betas: of the moments.
        eps: added to the root of the second one.
        weight_decay: the L2 penalty, added to the gradients.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class FusedAdam(Adam):
    """``torch.optim.Adam(..., fused=True)``, for dense gradients: the same kernel, so the same
    numbers."""

    @torch.no_grad()
    def step(self) -> None:
        [group] = self.param_groups
        # A card's kernel takes tensors of one kind at once.
        alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                if parameter.grad.is_sparse:
                    raise RuntimeError("dense Adam takes no sparse gradient")
                alike.setdefault((parameter.device, parameter.dtype), []).append(parameter)
        for parameters in alike.values():
            states = [self.state.get(parameter) or self._begin(parameter)
                      for parameter in parameters]  # fmt: skip
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                parameters,
                [parameter.grad for parameter in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def _begin(self, parameter: Tensor) -> dict[str, Tensor]:
        self.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        return self.state[parameter]


class GradientDescent(LightOptimizer):
    """``torch.optim.SGD`` without momentum: a step down the gradient, with the L2 penalty's."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float = 1e-3, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self) -> None:
        [group] = self.param_groups
        for parameter in group["params"]:
            if parameter.grad is not None:
                slope = parameter.grad
                if group["weight_decay"]:
                    slope = slope.add(parameter, alpha=group["weight_decay"])
                parameter.add_(slope, alpha=-group["lr"])
