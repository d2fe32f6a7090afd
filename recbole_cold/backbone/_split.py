"""Layers of a frozen backbone that read all fields' vectors, split: the ID's vector and the rest.

A batch that is used several times in a row changes in the ID's vector alone, so what a layer makes
of all other fields is computed once per batch; what is left, and its gradient, is as small as one
field. Which layers these are is not told by names: a layer can be split if it was seen to read the
vectors of all fields, unchanged, and nothing else.
Shape letters: b rows of a batch, f fields, d embedding size, h width of a layer's output.
"""

from collections.abc import Callable

import torch
from recbole.model.layers import BaseFactorizationMachine
from torch import Tensor, nn
from torch.nn import functional as F


class Split(nn.Module):
    """A layer as a function of the ID's vector and of what the other fields give.

    Args:
        place: the ID's field on the axis f.
        size: d.
        now: the present batch's ``rest`` of a split layer, and the ID's vectors [b, d].
    """

    def __init__(
        self, place: int, size: int, now: Callable[["Split"], tuple[Tensor, Tensor]]
    ) -> None:
        super().__init__()
        self.place, self.size, self._now = place, size, now

    def rest(self, fields_bfd: Tensor) -> Tensor:
        """What does not depend on the ID's vector, whatever stands in its place."""
        raise NotImplementedError

    def of(self, rest: Tensor, vector_bd: Tensor) -> Tensor:
        """The layer's output."""
        raise NotImplementedError

    def forward(self, _fields: Tensor) -> Tensor:
        return self.of(*self._now(self))


class SplitLinear(Split):
    """``W x + b = (W_others x_others + b) + W_id v``, of all fields' vectors x [b, f d]."""

    def __init__(self, layer: nn.Linear, *place) -> None:
        super().__init__(*place)
        own = slice(self.place * self.size, (self.place + 1) * self.size)
        weight_hx = layer.weight.detach()
        # Not parameters: they follow from the layer's.
        self.__dict__["_own_dh"] = weight_hx[:, own].t().contiguous()
        # With zeros for the ID no field has to be cut out of a batch.
        self.__dict__["_others_hx"] = weight_hx.clone()
        self._others_hx[:, own] = 0.0
        self.__dict__["_bias"] = None if layer.bias is None else layer.bias.detach()

    @staticmethod
    def reads(layer: nn.Linear, read: Tensor, fields_bfd: Tensor) -> bool:
        return read.shape == (fields_bfd.shape[0], fields_bfd[0].numel())

    def rest(self, fields_bfd: Tensor) -> Tensor:
        return F.linear(fields_bfd.flatten(1), self._others_hx, self._bias)

    def of(self, rest: Tensor, vector_bd: Tensor) -> Tensor:
        return torch.addmm(rest, vector_bd, self._own_dh)


class SplitPairs(Split):
    """RecBole's factorisation machine, ``((s + v)^2 - (q + v^2)) / 2 = (s^2 - q) / 2 + s v``.

    s and q are the sums of the other fields' vectors, and of their squares; one number a row, or
    one of each column.
    """

    def __init__(self, layer: BaseFactorizationMachine, *place) -> None:
        super().__init__(*place)
        self._reduce = layer.reduce_sum

    @staticmethod
    def reads(layer: BaseFactorizationMachine, read: Tensor, fields_bfd: Tensor) -> bool:
        return read.shape == fields_bfd.shape

    def rest(self, fields_bfd: Tensor) -> Tensor:
        """The sums s, and behind them what all pairs of the other fields make: [b, d + 1 or d]."""
        before, after = fields_bfd[:, : self.place], fields_bfd[:, self.place + 1 :]
        sum_bd = before.sum(dim=1) + after.sum(dim=1)
        square_bd = before.square().sum(dim=1) + after.square().sum(dim=1)
        pairs = 0.5 * (sum_bd.square() - square_bd)
        return torch.cat([sum_bd, pairs.sum(1, keepdim=True) if self._reduce else pairs], dim=1)

    def of(self, rest: Tensor, vector_bd: Tensor) -> Tensor:
        sum_bd, pairs = rest[:, : self.size], rest[:, self.size :]
        with_id = sum_bd * vector_bd
        return pairs + (with_id.sum(dim=1, keepdim=True) if self._reduce else with_id)


# By exact type: a subclass may compute something else.
KINDS: dict[type, type] = {nn.Linear: SplitLinear, BaseFactorizationMachine: SplitPairs}


def readers(model: nn.Module, run: Callable[[], Tensor | None]) -> dict[str, nn.Module]:
    """The layers that can be split, by name: of a kind in ``KINDS``, and each input that they got
    was the vectors of all fields as they are.

    Args:
        run: runs the model in evaluation mode; gives the fields' vectors [b, f, d] that it read, or
            ``None`` where it did not read them once.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if type(module) in KINDS and not _has_hooks(module)
    }
    read: dict[str, list[tuple[Tensor, int]]] = {name: [] for name in found}
    hooks = [
        module.register_forward_pre_hook(
            lambda _module, given, name=name: read[name].append((given[0], given[0]._version))
        )
        for name, module in found.items()
    ]
    try:
        fields_bfd = run()
    finally:
        for hook in hooks:
            hook.remove()
    if fields_bfd is None:
        return {}

    def same(given: Tensor, version: int) -> bool:
        # Dropout that is off, `view` and `flatten` give the same memory; a change in place is told
        # by its version.
        return given.data_ptr() == fields_bfd.data_ptr() and version == 0

    return {
        name: module
        for name, module in found.items()
        if read[name]
        and all(
            same(*each) and KINDS[type(module)].reads(module, each[0], fields_bfd)
            for each in read[name]
        )
    }


def _has_hooks(module: nn.Module) -> bool:
    """Whether somebody else looks at a layer's calls, or changes them."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
