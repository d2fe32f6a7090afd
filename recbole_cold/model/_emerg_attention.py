"""EmerG's attention of a node over its orders, with its first two derivatives written out.

Meta-training differentiates it twice. Autograd would go through every product one by one, to the
second order through many that cancel; here each order of derivative is one call. A third order is
refused. Shape letters as in ``_emerg_contractions.py``.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recbole_cold.device import in_float32
from recbole_cold.model._emerg_contractions import pull, score, spread

# Nodes at a time on a CPU: with less, calls cost more than what they compute; with more, what one
# call leaves is no longer in a cache for the next.
_NODES = 8192


def attend_plainly(
    orders_dan: Tensor, score_hdd: Tensor, out_hdd: Tensor, bias_d: Tensor
) -> Tensor:
    """Each node's orders attend to each other and are summed: [d, n].

    ``sum_a ReLU(sum_h O_h sum_o p_hoa x_o + b)``, p the softmax over o of ``x_o S_h x_a``.
    What the others here compute; an exporter takes it as it stands.

    Args:
        orders_dan: x, the states of all orders.
        score_hdd: S, each head's queries with its keys.
        out_hdd: O, each head's values with its part of the output.
        bias_d: b.
    """
    share_hoan = torch.einsum("con,hcd,dan->hoan", orders_dan, score_hdd, orders_dan).softmax(dim=1)
    value_hdon = torch.einsum("hcd,don->hcon", out_hdd, orders_dan)
    out = torch.einsum("hoan,hcon->can", share_hoan, value_hdon) + bias_d[:, None, None]
    return F.relu(out).sum(dim=1)


@in_float32
def attend(orders_dan: Tensor, score_hdd: Tensor, out_hdd: Tensor, bias_d: Tensor) -> Tensor:
    """``attend_plainly`` with less work: [d, n].

    Shares sum to 1 and a softmax knows differences only. So order 0 is taken from all others, and
    one less is asked for its key and its value.
    """
    weight_rd, first_dd = keys_and_values(score_hdd, out_hdd)
    parts = math.ceil(orders_dan.shape[2] / _NODES) if orders_dan.device.type == "cpu" else 1
    if parts <= 1:
        return attend_by_differences(orders_dan, weight_rd, first_dd, bias_d)
    some = orders_dan.tensor_split(parts, dim=2)
    return torch.cat(
        [attend_by_differences(part, weight_rd, first_dd, bias_d) for part in some], dim=1
    )


def keys_and_values(score_hdd: Tensor, out_hdd: Tensor) -> tuple[Tensor, Tensor]:
    """One matrix for the keys and values of all heads [2 h d, d], one for order 0's values."""
    return torch.cat([score_hdd.transpose(1, 2), out_hdd]).flatten(0, 1), out_hdd.sum(dim=0)


def attend_by_differences(
    orders_dan: Tensor, weight_rd: Tensor, first_dd: Tensor, bias_d: Tensor
) -> Tensor:
    """``attend`` with what ``keys_and_values`` gives, all nodes at once."""
    size, n_orders, nodes = orders_dan.shape
    first_dn, apart_don = _Apart.apply(orders_dan)
    z = (weight_rd @ apart_don.reshape(size, -1)).view(2, -1, size, n_orders - 1, nodes)
    return _Attend.apply(z, orders_dan, torch.addmm(bias_d[:, None], first_dd, first_dn))


def _shares(z_hdon: Tensor, x_dan: Tensor) -> Tensor:
    """The softmax of the scores and of order 0, which scores 0; order 0 is left out of it."""
    h, _, o, n = z_hdon.shape
    scores = z_hdon.new_empty(h, o + 1, x_dan.shape[1], n)
    scores[:, 0] = 0
    score(z_hdon, x_dan, scores[:, 1:])
    return torch.softmax(scores, dim=1)[:, 1:]


def _to_scores(p: Tensor, grad_p: Tensor) -> Tensor:
    """The gradient to the scores from that to their softmax."""
    product = p * grad_p
    return product.addcmul_(p, product.sum(dim=1, keepdim=True), value=-1)


class _Apart(Function):
    """Order 0, and all others less it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, 0].clone(), x[:, 1:] - x[:, :1]

    @staticmethod
    def backward(ctx: Any, for_first: Tensor, for_apart: Tensor) -> Tensor:
        return _Together.apply(for_first, for_apart)


class _Together(Function):
    """The transpose of ``_Apart``: both are linear, and each is the other's derivative."""

    @staticmethod
    def forward(ctx: Any, for_first: Tensor, for_apart: Tensor) -> Tensor:
        first = for_first - for_apart.sum(dim=1)
        return torch.cat([first[:, None], for_apart], dim=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return _Apart.apply(grad)


class _Attend(Function):
    """``sum_a ReLU(base + sum_ho p[h,o,a] v[h,:,o])`` of keys and values ``z = (u, v)``."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, x: Tensor, base: Tensor) -> Tensor:
        u, v = z
        p = _shares(u, x)
        out = base[:, None].expand_as(x).contiguous()
        pull(p, v, out, more=True)
        ctx.save_for_backward(z, x, p, out > 0)
        return out.clamp_(min=0).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _Gradient.apply(grad, *ctx.saved_tensors)


class _Gradient(Function):
    """The gradients of ``_Attend`` to z, x and base."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, z: Tensor, x: Tensor, p: Tensor, positive: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        u, v = z
        to_out = torch.where(positive, grad[:, None], 0)
        to_p = score(v, to_out, torch.empty_like(p))
        to_s = _to_scores(p, to_p)
        to_z = torch.empty_like(z)
        spread(to_s, x, to_z[0])
        spread(p, to_out, to_z[1])
        to_x = pull(to_s, u, torch.empty_like(x))
        ctx.save_for_backward(z, x, p, positive, to_out, to_p, to_s)
        return to_z, to_x, to_out.sum(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_z: Tensor, for_x: Tensor, for_base: Tensor) -> tuple[Any, ...]:
        """``for_z`` and so on are the gradients to what ``forward`` gives."""
        z, x, p, positive, to_out, to_p, to_s = ctx.saved_tensors
        (u, v), (for_u, for_v) = z, for_z
        for_s = score(for_u, x, torch.empty_like(p))
        score(u, for_x, for_s, more=True)
        back = _to_scores(p, for_s)
        # To p: from the values' gradient, and from both places in that of the softmax.
        for_p = score(for_v, to_out, torch.empty_like(p))
        inner = (p * to_p).sum(dim=1, keepdim=True)
        for_p.addcmul_(for_s, to_p - inner)
        for_p.addcmul_(to_p, (p * for_s).sum(dim=1, keepdim=True), value=-1)
        more_s = _to_scores(p, for_p)
        z_out, x_out = torch.empty_like(z), torch.empty_like(x)
        spread(to_s, for_x, z_out[0])
        spread(more_s, x, z_out[0], more=True)
        spread(back, to_out, z_out[1])
        pull(to_s, for_u, x_out)
        pull(more_s, u, x_out, more=True)
        for_out = for_base[:, None].expand_as(x).contiguous()
        pull(p, for_v, for_out, more=True)
        pull(back, v, for_out, more=True)
        return torch.where(positive, for_out, 0).sum(dim=1), z_out, x_out, None, None
