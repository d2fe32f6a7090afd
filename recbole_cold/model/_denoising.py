"""CSDM's denoising of many rows over all visited times, forward and backward as one function.

``csdm.generate`` and ``csdm.Denoiser`` are the equations. Written as autograd sees them they are
some four hundred small operations a step, most of them bookkeeping; here they are the matrix
products and little else, with the same values and gradients up to rounding:

* the time code's part of the first layer, ``W_code code(t) + b``, is worked out once per time;
* ``tanh(u) = 2 sigmoid(2 u) - 1``: a sigmoid takes a third of the time of a tanh on a processor,
  and the numbers around it go into the weights of the layers before and after it;
* the gradient of a layer's weights is one matrix product over all times;
* masks of dropout are drawn at once.

Shape letters: b rows or items, d embedding size, t times, c time code.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recbole_cold.backbone._shortcuts import lookup

_COINS = 31  # of a word of 32 bits: a shift to the left by 0 to 30 puts each on bit 30
_TWO = 0x40000000  # bit 30 alone is the float32 number 2


def keep_masks(shape: Sequence[int], dropout: float, like: Tensor) -> Tensor:
    """What dropout multiplies by: 0 with probability ``dropout``, else ``1 / (1 - dropout)``.

    For one half it is a fair coin, one random bit, which takes a twentieth of the time of a number
    that is compared with one half.

    Args:
        shape: of the masks.
        dropout: from 0 to 1.
        like: of this type and on this device.
    """
    if dropout != 0.5:
        return F.dropout(torch.ones(*shape, dtype=like.dtype, device=like.device), dropout)
    count = int(torch.Size(shape).numel())
    words = torch.empty(-(-count // (2 * _COINS)), dtype=torch.int64, device=like.device)
    words = words.random_(-(2**63), None).view(torch.int32)
    places = torch.arange(_COINS, dtype=torch.int32, device=like.device)[:, None]
    coins = (words << places).bitwise_and_(_TWO).view(torch.float32)
    return coins.view(-1)[:count].view(*shape).to(like.dtype)


def dropped(value: Tensor, dropout: float, training: bool) -> Tensor:
    """``F.dropout``, with masks of ``keep_masks``."""
    if not training or dropout == 0.0:
        return value
    return value * keep_masks(value.shape, dropout, value)


def codes_part(denoiser: Any, time: Tensor) -> Tensor:
    """What the times [t] add to the first layer's output, bias and all: [t, d]."""
    first = denoiser.layers[0]
    size = first.out_features
    return F.linear(denoiser.time(lookup(denoiser.codes, time)), first.weight[:, size:], first.bias)


def noise_in(denoiser: Any, z_bd: Tensor, time_b: Tensor) -> Tensor:
    """``denoiser(z_bd, time_b)``: the noise [b, d] in rows of a time each."""
    table = denoiser.codes
    if len(table) < len(time_b):  # each time once
        part_bd = lookup(codes_part(denoiser, torch.arange(len(table), device=table.device)), time_b)
    else:
        part_bd = codes_part(denoiser, time_b)
    return _chained(denoiser, z_bd, z_bd, part_bd[None], ((0.0, 0.0, 1.0),), None)


def generated(denoiser: Any, start_bd: Tensor, h_bd: Tensor, steps: Sequence[Any]) -> Tensor:
    """``csdm.generate(denoiser, start_bd, h_bd, steps)``, which can be differentiated once.

    It holds what all steps keep for the gradient; where none is wanted, ``generate`` takes less.

    Args:
        denoiser: a ``csdm.Denoiser``.
        start_bd: where z begins [b, d].
        h_bd: the encoded side information [b, d].
        steps: of ``csdm.StepDown``, in their order.
    """
    time = torch.tensor([step.time for step in steps], device=start_bd.device)
    factors = tuple((step.a, step.b, step.c) for step in steps)
    noise_tbd = None
    if any(step.sigma > 0.0 for step in steps):
        sigma_t = start_bd.new_tensor([step.sigma for step in steps])
        shape = (len(steps), *start_bd.shape)
        noise_tbd = sigma_t[:, None, None] * torch.randn(
            shape, dtype=start_bd.dtype, device=start_bd.device
        )
    part_t1d = codes_part(denoiser, time)[:, None]
    return _chained(denoiser, start_bd, h_bd, part_t1d, factors, noise_tbd)


def _chained(
    denoiser: Any,
    start_bd: Tensor,
    h_bd: Tensor,
    part_tbd: Tensor,
    factors: tuple[tuple[float, float, float], ...],
    noise_tbd: Tensor | None,
) -> Tensor:
    first, second, third, fourth = (denoiser.layers[place] for place in (0, 2, 4, 6))
    keep_tbd = None
    if denoiser.training and denoiser.dropout.p > 0.0:
        shape = (len(factors), *start_bd.shape)
        keep_tbd = keep_masks(shape, denoiser.dropout.p, start_bd)
    return Chain.apply(
        start_bd, h_bd, keep_tbd, noise_tbd, factors, part_tbd,
        first.weight[:, : first.out_features], second.weight, second.bias,
        third.weight, third.bias, fourth.weight, fourth.bias,
    )  # fmt: skip


def _folded(weight: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Weight, transposed, and bias that make of s what the layer makes of ``2 s - 1``; scaled."""
    return 2.0 * scale * weight.t().contiguous(), scale * (bias - weight.sum(dim=1))


def _unfolded(scale: float, out_nd: Tensor, in_nd: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of weight and bias, from those of a folded layer's outputs, and its inputs."""
    by_bias = scale * out_nd.sum(dim=0)
    return 2.0 * scale * (out_nd.t() @ in_nd) - by_bias[:, None], by_bias


class Chain(torch.autograd.Function):
    """``z <- a z + b h + c U(keep z) + noise`` over times, where U is CSDM's denoiser.

    The arguments of ``apply``: ``z`` and ``h`` [b, d]; ``keep`` and ``noise`` [t, b, d] or None;
    (a, b, c) of each time; the first layer's part of the time [t, 1, d] or [t, b, d]; the rest of
    the first layer's weight [d, d]; weight and bias of the three other layers.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx, z_bd, h_bd, keep_tbd, noise_tbd, factors, part_tbd, w1, w2, b2, w3, b3, w4, b4
    ):
        # What goes into a sigmoid is doubled: it is twice what goes into a tanh.
        w1, part_tbd = 2.0 * w1.t().contiguous(), 2.0 * part_tbd
        w2, b2 = _folded(w2, b2, 2.0)
        w3, b3 = _folded(w3, b3, 2.0)
        w4, b4 = _folded(w4, b4, 1.0)
        x, s1, s2, s3 = z_bd.new_empty(4, len(factors), *z_bd.shape)
        for t, (a, b, c) in enumerate(factors):
            if keep_tbd is None:
                x[t].copy_(z_bd)
            else:
                torch.mul(z_bd, keep_tbd[t], out=x[t])
            torch.addmm(part_tbd[t], x[t], w1, out=s1[t]).sigmoid_()
            torch.addmm(b2, s1[t], w2, out=s2[t]).sigmoid_()
            torch.addmm(b3, s2[t], w3, out=s3[t]).sigmoid_()
            z_bd = torch.add(a * z_bd, h_bd, alpha=b).add_(b4, alpha=c)
            z_bd.addmm_(s3[t], w4, alpha=c)
            if noise_tbd is not None:
                z_bd.add_(noise_tbd[t])
        ctx.save_for_backward(keep_tbd, x, s1, s2, s3, w1, w2, w3, w4)
        ctx.factors, ctx.part_shape = factors, part_tbd.shape
        return z_bd

    @staticmethod
    @once_differentiable
    def backward(ctx, by_z):  # type: ignore[override]
        keep_tbd, x, s1, s2, s3, *weights = ctx.saved_tensors
        w1, w2, w3, w4 = (weight.t().contiguous() for weight in weights)
        by_h = torch.zeros_like(by_z)
        # Of what goes into each sigmoid, and of what the denoiser says.
        d1, d2, d3, d4 = by_z.new_empty(4, *x.shape)
        for t in reversed(range(len(x))):
            a, b, c = ctx.factors[t]
            torch.mul(by_z, c, out=d4[t])
            _sigmoid_backward(d4[t] @ w4, s3[t], d3[t])
            _sigmoid_backward(d3[t] @ w3, s2[t], d2[t])
            _sigmoid_backward(d2[t] @ w2, s1[t], d1[t])
            by_x = d1[t] @ w1
            by_h.add_(by_z, alpha=b)
            by_z = a * by_z
            by_z = by_z.add_(by_x) if keep_tbd is None else by_z.addcmul_(keep_tbd[t], by_x)
        by_layers = [None] * 8
        if any(ctx.needs_input_grad[5:]):
            by_part = 2.0 * d1.sum(dim=1, keepdim=True) if ctx.part_shape[1] == 1 else 2.0 * d1
            x, s1, s2, s3, d1, d2, d3, d4 = (
                part.flatten(0, 1) for part in (x, s1, s2, s3, d1, d2, d3, d4)
            )
            by_layers = [
                by_part,
                2.0 * (d1.t() @ x),
                *_unfolded(2.0, d2, s1),
                *_unfolded(2.0, d3, s2),
                *_unfolded(1.0, d4, s3),
            ]
        return by_z, by_h, None, None, None, *by_layers


def _sigmoid_backward(by_s: Tensor, s: Tensor, out: Tensor) -> None:
    torch.ops.aten.sigmoid_backward.grad_input(by_s, s, grad_input=out)
