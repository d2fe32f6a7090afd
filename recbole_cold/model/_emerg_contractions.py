"""Three contractions of a node's orders, without large intermediates.

All are derivatives of ``sum p[h,o,a,n] z[h,d,o,n] x[d,a,n]``: by p, by z and by x. Written as
``torch.einsum`` they would be products of many tiny matrices; here the nodes are the innermost
axis, and what is summed is summed while it is multiplied. They have no gradient of their own.
Shape letters: n nodes, d embedding size, h heads, a orders that ask, o orders that are asked.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


def _sum_products(
    target: Tensor, lefts: Iterable[Tensor], rights: Iterable[Tensor], more: bool
) -> Tensor:
    for left, right in zip(lefts, rights, strict=True):
        if more:
            target.addcmul_(left, right)
        else:
            torch.mul(left, right, out=target)
        more = True
    return target


def score(z_hdon: Tensor, x_dan: Tensor, out: Tensor, *, more: bool = False) -> Tensor:
    """``sum_d z[h,d,o,n] x[d,a,n]`` into ``out`` [h, o, a, n]; ``more`` adds to what is there."""
    if out.device.type != "cpu":
        # One launch for all numbers of an embedding costs less than its large product.
        product = (z_hdon[:, :, :, None] * x_dan[:, None]).sum(dim=1)
        return out.add_(product) if more else out.copy_(product)
    return _sum_products(out, z_hdon[:, :, :, None].unbind(1), x_dan.unbind(0), more)


def spread(p_hoan: Tensor, x_dan: Tensor, out: Tensor, *, more: bool = False) -> Tensor:
    """``sum_a p[h,o,a,n] x[d,a,n]`` into ``out`` [h, d, o, n]; ``more`` adds to what is there."""
    return _sum_products(out, p_hoan[:, None].unbind(3), x_dan[:, None].unbind(2), more)


def pull(p_hoan: Tensor, z_hdon: Tensor, out: Tensor, *, more: bool = False) -> Tensor:
    """``sum_ho p[h,o,a,n] z[h,d,o,n]`` into ``out`` [d, a, n]; ``more`` adds to what is there."""
    lefts = [p for head in p_hoan[:, :, None].unbind(0) for p in head.unbind(0)]
    rights = [z for head in z_hdon[:, :, :, None].unbind(0) for z in head.unbind(1)]
    return _sum_products(out, lefts, rights, more)
