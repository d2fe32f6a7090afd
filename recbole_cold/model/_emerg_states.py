"""EmerG's node states, with the first two derivatives of their products written out.

As in ``_emerg_attention``, each order of derivative is one call. Shape letters as in ``emerg.py``,
l layers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_cold.device import in_float32


def combine(before: Tensor, message: Tensor, interact: str) -> Tensor:
    """A node's next state from its last one and its message."""
    if interact == "product":
        return before * message
    return torch.maximum(before, message) if interact == "max" else before + message


def states_plainly(fields: Tensor, messages: Sequence[Tensor], interact: str) -> Tensor:
    """Node states of all orders [d, a, ...] from fields and messages [d, ...] of each layer."""
    orders = [fields]
    for message in messages:
        orders.append(combine(orders[-1], message, interact))
    return torch.stack(orders, dim=1)


@in_float32
def states(fields: Tensor, messages_ld: Tensor, interact: str) -> Tensor:
    """``states_plainly`` of messages [l, d, ...]; products with their derivatives by hand."""
    # An exporter follows no derivatives.
    if interact != "product" or torch.compiler.is_compiling():
        return states_plainly(fields, messages_ld.unbind(0), interact)
    return _Products.apply(fields, messages_ld)


class _Products(Function):
    """``x_0 = fields``, ``x_{i+1} = x_i m_i``."""

    @staticmethod
    def forward(ctx: Any, fields: Tensor, messages: Tensor) -> Tensor:
        size, *rest = fields.shape
        x = fields.new_empty(size, len(messages) + 1, *rest)
        x[:, 0] = fields
        for at, message in enumerate(messages):
            torch.mul(x[:, at], message, out=x[:, at + 1])
        ctx.save_for_backward(messages, x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        messages, x = ctx.saved_tensors
        return _GradientOfProducts.apply(grad, messages, x)


class _GradientOfProducts(Function):
    """``c_l = g_l``, ``c_i = g_i + c_{i+1} m_i``: c_0 to the fields, ``c_{i+1} x_i`` to m_i."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, messages: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        to_messages, later, kept = torch.empty_like(messages), grad[:, -1], []
        for at in reversed(range(len(messages))):
            kept.append(later)
            torch.mul(later, x[:, at], out=to_messages[at])
            later = torch.addcmul(grad[:, at], later, messages[at])
        ctx.save_for_backward(messages, x, *reversed(kept))
        return later, to_messages

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_fields: Tensor, for_messages: Tensor) -> tuple[Tensor, ...]:
        messages, x, *later = ctx.saved_tensors
        to_grad, to_messages = torch.empty_like(x), torch.empty_like(messages)
        to_x = torch.empty_like(x)
        to_grad[:, 0] = for_fields
        to_x[:, -1] = 0
        for at, message in enumerate(messages):
            for_message, part = for_messages[at], to_grad[:, at + 1]
            torch.mul(to_grad[:, at], later[at], out=to_messages[at])
            torch.mul(to_grad[:, at], message, out=part).addcmul_(for_message, x[:, at])
            torch.mul(for_message, later[at], out=to_x[:, at])
        return to_grad, to_messages, to_x
