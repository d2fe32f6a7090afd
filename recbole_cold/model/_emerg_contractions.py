"""Three contractions that are each other's derivatives, without large intermediates.

All are derivatives of ``sum p[o,h,a,n] y[h,d,a,n] x[d,o,n]``: by p, by y and by x. So the gradient
of each is made of the other two, to any order. Written with autograd's own products the gradients
would go through tensors of all indices at once; here they stay in a processor's cache.
Shape letters: n nodes, d embedding size, h heads, a and o orders.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

# Nodes at a time on a CPU: h * d * a of them in single precision are to fit into its cache.
_BLOCK = 2048


def _blocks(tensor: Tensor) -> Iterator[slice]:
    n = tensor.shape[-1]
    size = _BLOCK if tensor.device.type == "cpu" else max(n, 1)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


class _Score(Function):
    @staticmethod
    def forward(ctx: Any, y_hdan: Tensor, x_don: Tensor) -> Tensor:
        ctx.save_for_backward(y_hdan, x_don)
        h, _, a, n = y_hdan.shape
        out = y_hdan.new_empty(x_don.shape[1], h, a, n)
        for part in _blocks(y_hdan):
            y, x = y_hdan[..., part], x_don[:, :, None, part]
            product = torch.empty_like(y)
            for order, target in enumerate(out[..., part]):
                torch.mul(y, x[:, order], out=product)
                torch.sum(product, dim=1, out=target)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        y, x = ctx.saved_tensors
        return (
            mix(grad, x) if ctx.needs_input_grad[0] else None,
            pull(grad, y) if ctx.needs_input_grad[1] else None,
        )


class _Mix(Function):
    @staticmethod
    def forward(ctx: Any, p_ohan: Tensor, x_don: Tensor) -> Tensor:
        ctx.save_for_backward(p_ohan, x_don)
        o, h, a, n = p_ohan.shape
        out = p_ohan.new_empty(h, x_don.shape[0], a, n)
        for part in _blocks(p_ohan):
            p, x = p_ohan[:, :, None, :, part], x_don[:, :, None, part]
            target = out[..., part]
            torch.mul(p[0], x[:, 0], out=target)
            for order in range(1, o):
                target.addcmul_(p[order], x[:, order])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        p, x = ctx.saved_tensors
        return (
            score(grad, x) if ctx.needs_input_grad[0] else None,
            pull(p, grad) if ctx.needs_input_grad[1] else None,
        )


class _Pull(Function):
    @staticmethod
    def forward(ctx: Any, p_ohan: Tensor, y_hdan: Tensor) -> Tensor:
        ctx.save_for_backward(p_ohan, y_hdan)
        o, h, a, n = p_ohan.shape
        out = p_ohan.new_empty(y_hdan.shape[1], o, n)
        for part in _blocks(p_ohan):
            p, y, target = p_ohan[..., part], y_hdan[..., part], out[..., part]
            torch.mul(p[:, 0, 0], y[0, :, None, 0], out=target)
            for head, order in list(itertools.product(range(h), range(a)))[1:]:
                target.addcmul_(p[:, head, order], y[head, :, None, order])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        p, y = ctx.saved_tensors
        return (
            score(y, grad) if ctx.needs_input_grad[0] else None,
            mix(p, grad) if ctx.needs_input_grad[1] else None,
        )


def score(y_hdan: Tensor, x_don: Tensor) -> Tensor:
    """``sum_d y[h,d,a,n] x[d,o,n]``: [o, h, a, n]."""
    if torch.compiler.is_compiling():  # an exporter follows no blocks of an unknown number of nodes
        return torch.einsum("hdan,don->ohan", y_hdan, x_don)
    return _Score.apply(y_hdan, x_don)


def mix(p_ohan: Tensor, x_don: Tensor) -> Tensor:
    """``sum_o p[o,h,a,n] x[d,o,n]``: [h, d, a, n]."""
    if torch.compiler.is_compiling():
        return torch.einsum("ohan,don->hdan", p_ohan, x_don)
    return _Mix.apply(p_ohan, x_don)


def pull(p_ohan: Tensor, y_hdan: Tensor) -> Tensor:
    """``sum_ha p[o,h,a,n] y[h,d,a,n]``: [d, o, n]."""
    return _Pull.apply(p_ohan, y_hdan)
