"""EmerG's node states and attention in C, where there is a compiler: equal but for rounding.

What PyTorch's operations write for the next one to read stays in a cache here. Shape letters as in
``_emerg_contractions.py``; l layers, r rows of the matrix of all keys and values, 2 h d.
"""

import ctypes
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recbole_cold.device import in_float32
from recbole_cold.model._compiled import NotCompiled, library
from recbole_cold.model._emerg_attention import attend_by_differences, keys_and_values
from recbole_cold.model._emerg_kernel import SOURCE
from recbole_cold.model._emerg_states import states

logger = logging.getLogger(__name__)
# Nodes of a block; what is computed of them is in a cache.
_BLOCK = 32
# It runs in one thread, and is as fast as about so many are in the plain form.
_MOST_THREADS = 4
# All loops over orders are unrolled; a larger network's operations are long enough for PyTorch.
_MOST_ORDERS, _MOST_NUMBERS = 5, 2048
# By which part of the largest number a block may differ from the plain form; rounding is 3e-7.
_MOST_APART = 1e-3
_turn = Lock()


class Kernel:
    """The compiled functions for one embedding size and number of heads and orders."""

    def __init__(self, made: ctypes.CDLL) -> None:
        self._made = made
        made.work_bytes.restype = ctypes.c_long
        self._work_bytes = made.work_bytes()

    def __call__(self, name: str, parts: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        """Run the function ``name`` on contiguous arrays, of which the first one is [d, n]."""
        work = torch.empty(self._work_bytes, dtype=torch.uint8, device="cpu")
        places = [ctypes.c_void_p(array.data_ptr()) for array in (*parts, work, *out)]
        getattr(self._made, name)(ctypes.c_long(parts[0].shape[1]), *places)


@lru_cache(maxsize=64)
def _made(size: int, heads: int, orders: int, folder: Path) -> Kernel | None:
    defined = {"SIZE": size, "HEADS": heads, "ORDERS": orders, "NODES": _BLOCK}
    try:
        kernel = Kernel(library("emerg-attention", SOURCE, defined, folder))
        _check(kernel, size, heads, orders)
    except NotCompiled as why:
        _say_plain(f"some times slower: {why}")
        return None
    logger.info("EmerG's attention runs compiled on the CPU, by this machine's C compiler")
    return kernel


@torch.no_grad()
def _check(kernel: Kernel, size: int, heads: int, orders: int) -> None:
    """A block of nodes in both forms.

    Raises:
        NotCompiled: they differ by more than rounding.
    """
    draw, rows = torch.Generator().manual_seed(1), 2 * heads * size
    shapes = (size, _BLOCK), (orders - 1, size, _BLOCK), (rows, size), (size, size), (size,)
    parts = [torch.rand(s, generator=draw, dtype=torch.float32, device="cpu") for s in shapes]
    # Small scores: where a softmax is steep, rounding is large.
    scales = 1.0, 1.0, *[size**-0.5] * 3
    parts = [scale * (2 * part - 1) for scale, part in zip(scales, parts, strict=True)]
    found = torch.empty_like(parts[0])
    kernel("attend", parts, [found])
    # In 64 bits, which no setting of PyTorch makes fewer.
    fields_dn, messages_ldn, *weights = (part.double() for part in parts)
    plain = in_float32(attend_by_differences)
    expected = plain(states(fields_dn, messages_ldn, "product"), *weights)
    apart = float((found - expected).abs().max() / expected.abs().max())
    if not apart <= _MOST_APART:  # what is no number is far
        raise NotCompiled(f"compiled numbers are wrong, by {apart:.2g} of the largest")


@lru_cache(maxsize=64)  # once
def _say_plain(why: str) -> None:
    logger.info("EmerG's attention runs in PyTorch's operations, %s", why)


def kernel_for(messages_ldn: Tensor, score_hdd: Tensor, folder: Path) -> Kernel | None:
    """What computes this attention; None where it is left to PyTorch's operations.

    That is so on other devices, in other precisions, in many threads, in large networks, and where
    nothing can be compiled. Of the last three the log says so once.

    Args:
        folder: where compiled libraries are kept.
    """
    layers, size, n = messages_ldn.shape
    is_kind = messages_ldn.dtype == score_hdd.dtype == torch.float32
    if messages_ldn.device.type != "cpu" or not is_kind or n == 0:
        return None
    if layers >= _MOST_ORDERS or len(score_hdd) * size * layers > _MOST_NUMBERS:
        _say_plain("since its network is large")
        return None
    threads = torch.get_num_threads()
    if threads > _MOST_THREADS:
        _say_plain(f"since they have {threads} threads, more than {_MOST_THREADS}")
        return None
    with _turn:  # threads that serve compile once
        return _made(size, len(score_hdd), layers + 1, folder)


def attend_compiled(
    kernel: Kernel,
    fields_dn: Tensor,
    messages_ldn: Tensor,
    score_hdd: Tensor,
    out_hdd: Tensor,
    bias_d: Tensor,
) -> Tensor:
    """``attend`` of the ``states`` that are products of fields and messages: [d, n]."""
    n = fields_dn.shape[1]
    if n < _BLOCK:
        fields_dn, messages_ldn = (F.pad(x, (0, _BLOCK - n)) for x in (fields_dn, messages_ldn))
    weight_rd, first_dd = keys_and_values(score_hdd, out_hdd)
    parts = (fields_dn, messages_ldn, weight_rd, first_dd, bias_d)
    # Here, where autograd sees it: inside, derivatives would end at the copies.
    return _Attend.apply(kernel, *(part.contiguous() for part in parts))[:, :n]


def _plain_second(parts: Sequence[Tensor], given: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """The gradients of ``_Gradient`` to its parts by autograd, those to what it gives ``given``."""
    with torch.enable_grad():
        grad, *rest = (part.detach().requires_grad_() for part in parts)
        fields_dn, messages_ldn, *weights = rest
        node_dn = attend_by_differences(states(fields_dn, messages_ldn, "product"), *weights)
        found = torch.autograd.grad(node_dn, rest, grad, create_graph=True)
        used = [(f, g) for f, g in zip(found, given, strict=True) if g is not None]
        return torch.autograd.grad(
            [f for f, _ in used], [grad, *rest], [g for _, g in used], allow_unused=True
        )


class _Attend(Function):
    """``attend_by_differences`` of contiguous fields, messages and three weights."""

    @staticmethod
    def forward(ctx: Any, kernel: Kernel, *parts: Tensor) -> Tensor:
        out = torch.empty_like(parts[0])
        kernel("attend", parts, [out])
        ctx.kernel = kernel
        ctx.save_for_backward(*parts)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return None, *_Gradient.apply(ctx.kernel, grad, *ctx.saved_tensors)


class _Gradient(Function):
    """The gradients of ``_Attend`` to fields, messages and the three weights."""

    @staticmethod
    def forward(ctx: Any, kernel: Kernel, grad: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        out = [torch.empty_like(part) for part in parts]
        kernel("gradient", (grad.contiguous(), *parts), out)
        ctx.kernel = kernel
        ctx.save_for_backward(grad, *parts)
        return tuple(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        for_fields, for_messages, *for_weights = given
        grad, *rest = ctx.saved_tensors
        parts = (grad.contiguous(), *rest)
        # An inner step moves no weights: only others differentiate through their gradients.
        if for_fields is None or for_messages is None or any(g is not None for g in for_weights):
            return None, *_plain_second(parts, given)
        out = [torch.empty_like(part) for part in parts[:-1]]
        ctx.kernel("second", (for_fields.contiguous(), for_messages.contiguous(), *parts), out)
        return None, *out, None
