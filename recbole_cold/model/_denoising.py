"""CSDM's denoising of many rows over all visited times, forward and backward as one function.

``csdm.generate`` and ``csdm.Denoiser`` are the equations; what is served goes by them. Learning
goes by the functions here, with the same values and gradients up to rounding, since most of what
autograd makes of those is small operations around the matrix products:

* the time code's part of the first layer, ``W_code code(t) + b``, is worked out once per time;
* ``tanh(u) = 2 sigmoid(2 u) - 1``: a sigmoid takes a third of the time of a tanh on a processor,
  and the numbers around it go into the weights of the layers before and after it;
* gradients of weights are summed as they are multiplied;
* all masks of dropout are drawn at once, those of one half from single random bits.

Shape letters: b rows or items, d embedding size, t times, c time code.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.device import in_float32

_COINS = 31  # of a word of 32 bits: a shift to the left by 0 to 30 puts each on bit 30
_TWO = 0x40000000  # bit 30 alone is the float32 number 2

sigmoid_backward = torch.ops.aten.sigmoid_backward.default


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
    codes = denoiser.codes
    if len(codes) < len(time_b):  # each time once
        part_td = codes_part(denoiser, torch.arange(len(codes), device=codes.device))
        part_bd = lookup(part_td, time_b)
    else:
        part_bd = codes_part(denoiser, time_b)
    return _chained(denoiser, z_bd, z_bd, part_bd[None], ((0.0, 0.0, 1.0, 0.0),), None)


def generated(
    denoiser: Any, start_bd: Tensor, h_bd: Tensor, steps: Sequence[Any], time_t: Tensor
) -> Tensor:
    """``csdm.generate(denoiser, start_bd, h_bd, steps)``, which can be differentiated once.

    It holds what all steps keep for the gradient; where none is wanted, ``generate`` takes less.

    Args:
        denoiser: a ``csdm.Denoiser``.
        start_bd: where z begins [b, d].
        h_bd: the encoded side information [b, d].
        steps: of ``csdm.StepDown``, in their order.
        time_t: their times, on the device, where a step would have to bring them otherwise.
    """
    factors = tuple((step.a, step.b, step.c, step.sigma) for step in steps)
    noise_tbd = None
    if any(step.sigma > 0.0 for step in steps):
        shape = (len(steps), *start_bd.shape)
        noise_tbd = torch.randn(shape, dtype=start_bd.dtype, device=start_bd.device)
    part_t1d = codes_part(denoiser, time_t)[:, None]
    return _chained(denoiser, start_bd, h_bd, part_t1d, factors, noise_tbd)


@in_float32
def _chained(
    denoiser: Any,
    start_bd: Tensor,
    h_bd: Tensor,
    part_tbd: Tensor,
    factors: tuple[tuple[float, float, float, float], ...],
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


def _unfolded(by_weight: Tensor, by_bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Gradients of weight and bias, from those of what ``_folded`` multiplies by and adds."""
    by_bias = scale * by_bias
    return 2.0 * scale * by_weight - by_bias[:, None], by_bias


class Chain(torch.autograd.Function):
    """``z <- a z + b h + c U(keep z) + sigma noise`` over times, where U is CSDM's denoiser.

    The arguments of ``apply``: ``z`` and ``h`` [b, d]; ``keep`` and ``noise`` [t, b, d] or None;
    (a, b, c, sigma) of each time; the first layer's part of the time [t, 1, d] or [t, b, d]; the
    rest of the first layer's weight [d, d]; weight and bias of the three other layers.
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
        # One small tensor per time and layer: a step gets the last one's memory again. A big one
        # may be new memory each time, which comes page by page at the price of a multiplication.
        inside = []
        for t, (a, b, c, sigma) in enumerate(factors):
            x = z_bd if keep_tbd is None else z_bd * keep_tbd[t]
            s1 = torch.addmm(part_tbd[t], x, w1).sigmoid_()
            s2 = torch.addmm(b2, s1, w2).sigmoid_()
            s3 = torch.addmm(b3, s2, w3).sigmoid_()
            inside += [x, s1, s2, s3]
            z_bd = torch.add(a * z_bd, h_bd, alpha=b).add_(b4, alpha=c)
            z_bd.addmm_(s3, w4, alpha=c)
            if noise_tbd is not None:
                z_bd.add_(noise_tbd[t], alpha=sigma)
        ctx.save_for_backward(keep_tbd, w1, w2, w3, w4, *inside)
        ctx.factors, ctx.part_shape = factors, part_tbd.shape
        return z_bd

    @staticmethod
    @once_differentiable
    def backward(ctx, by_z):  # type: ignore[override]
        keep_tbd, *weights = ctx.saved_tensors[:5]
        w1, w2, w3, w4 = (weight.t().contiguous() for weight in weights)
        inside, learns = ctx.saved_tensors[5:], any(ctx.needs_input_grad[5:])
        by_h, by_part = torch.zeros_like(by_z), by_z.new_empty(ctx.part_shape)
        by_w1, by_w2, by_w3, by_w4 = by_z.new_zeros(4, *w2.shape)
        by_b2, by_b3, by_b4 = by_z.new_zeros(3, len(w2))
        for t in reversed(range(len(ctx.factors))):
            a, b, c, _ = ctx.factors[t]
            x, s1, s2, s3 = inside[4 * t : 4 * t + 4]
            # Of what the denoiser says, and of what goes into each sigmoid.
            d4 = c * by_z
            d3 = sigmoid_backward(d4 @ w4, s3)
            d2 = sigmoid_backward(d3 @ w3, s2)
            d1 = sigmoid_backward(d2 @ w2, s1)
            by_x = d1 @ w1
            by_h.add_(by_z, alpha=b)
            by_z = a * by_z
            by_z = by_z.add_(by_x) if keep_tbd is None else by_z.addcmul_(keep_tbd[t], by_x)
            if not learns:
                continue
            by_w1.addmm_(d1.t(), x)
            by_w2.addmm_(d2.t(), s1)
            by_w3.addmm_(d3.t(), s2)
            by_w4.addmm_(d4.t(), s3)
            by_part[t] = d1.sum(dim=0) if ctx.part_shape[1] == 1 else d1
            by_b2 += d2.sum(dim=0)
            by_b3 += d3.sum(dim=0)
            by_b4 += d4.sum(dim=0)
        if not learns:  # a denoiser that stays at its start
            return by_z, by_h, *[None] * 11
        by_layers = (
            2.0 * by_part,
            2.0 * by_w1,
            *_unfolded(by_w2, by_b2, 2.0),
            *_unfolded(by_w3, by_b3, 2.0),
            *_unfolded(by_w4, by_b4, 1.0),
        )
        return by_z, by_h, None, None, None, *by_layers
