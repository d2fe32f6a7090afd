"""What depends on the device that a run is on: sizes of work, and how tensors get there.

A CPU is quick on what fits into its cache, a card on what is large: every operation costs it some
microseconds, however small. Sizes here change no number but for the order of sums. What would
change an algorithm does not follow the device: from how many rows on a table gets lazy Adam.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils import deterministic

# In which numbers matrices are multiplied: the values of the key ``precision``.
FLOAT32, TF32, BF16 = PRECISIONS = ("float32", "tf32", "bf16")
_NARROW = (torch.bfloat16, torch.float16)
T = TypeVar("T")


@dataclass(frozen=True)
class Sizes:
    """How much to do at a time.

    Attributes:
        scored: rows of a batch that is scored, with ``eval_batch_size: auto``.
        differentiated: support rows of a meta step through which second-order gradients pass.
    """

    scored: int
    differentiated: int


# Those of a CPU are measured (benchmarks/), those of a card are not: none was at hand. They keep
# intermediates of histories of 50 rows, and of a meta step, below 2 GiB.
_OF_CPU = Sizes(scored=4096, differentiated=5120)
_OF_CARD = Sizes(scored=16384, differentiated=40960)


def sizes_of(device: torch.device) -> Sizes:
    """How much to do at a time on a device."""
    return _OF_CPU if device.type == "cpu" else _OF_CARD


def scored_at_once(config: Any, device: torch.device) -> int:
    """Rows of a batch that is scored: the key ``eval_batch_size``, or what suits the device."""
    asked = config["eval_batch_size"]
    return sizes_of(device).scored if asked == "auto" else int(asked)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor that was made on the CPU, on ``device``; no card is waited for.

    Orders, seeds and samples are drawn on the CPU, so that they are the same on every device. A
    copy out of ordinary memory would wait until the card has done all that it was given before.
    """
    if device.type == "cpu" or tensor.device.type != "cpu":
        return tensor.to(device)
    with torch.cuda.device(device):  # pinning opens a context on the current card
        return tensor.pin_memory().to(device, non_blocking=True)


def sums_at(place_n: Tensor, value_n: Tensor, size: int) -> Tensor:
    """The sum of the values [n] at each of ``size`` places: [size].

    ``bincount`` with weights adds up on a card in whatever order its threads come.
    """
    if value_n.device.type == "cpu":
        return torch.bincount(place_n, value_n, size)
    return value_n.new_zeros(size).index_add_(0, place_n, value_n)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Context: same seed, same numbers, on a card as well; on a CPU they are without it.

    A card adds gradients of the same row in whatever order its threads come, unless it is told not
    to. What torch has no such sum for gives a warning that names it.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = deterministic.fill_uninitialized_memory
    # torch.use_deterministic_algorithms is this and the import of a compiler.
    torch._C._set_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = False  # nothing here reads what it has not written
    try:
        yield
    finally:
        torch._C._set_deterministic_algorithms(before, warn_only=only_warned)
        deterministic.fill_uninitialized_memory = filled


# ------------------------------------------------------------------------------- precision
@contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Context of all that a run computes: ``repeatable``, and float32 is multiplied on a card as
    ``precision`` says. By itself torch takes TF32 in convolutions and recurrent layers."""
    with repeatable(device), _float32_as(device, precision):
        yield


@contextmanager
def _float32_as(device: torch.device, precision: str) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    flag, value, places = "allow_tf32", precision == TF32, [cuda, cudnn]
    if hasattr(cuda, "fp32_precision"):  # these have more values than the older flags can put back
        flag, value = "fp32_precision", "tf32" if precision == TF32 else "ieee"
        places = [cuda, cudnn.conv, cudnn.rnn]
    before = [getattr(place, flag) for place in places]
    try:
        for place in places:
            setattr(place, flag, value)
        yield
    finally:
        for place, known in zip(places, before, strict=True):
            setattr(place, flag, known)


def narrowed(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Context of a loss or of scores, not of gradients: ``bf16`` multiplies matrices in bfloat16.

    Parameters stay float32. Their narrow copies are made anew for each product: kept ones would
    outlive an optimizer step, and a copy that was made without gradients would give none.
    """
    if precision != BF16:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def whole(value: Tensor) -> Tensor:
    """``value``, as float32 if it is the result of a narrow product: what sums, losses and inner
    steps are made of."""
    return value.float() if value.dtype in _NARROW else value


def _whole_if_tensor(value: Any) -> Any:
    return whole(value) if isinstance(value, Tensor) else value


def in_float32(function: Callable[..., T]) -> Callable[..., T]:
    """Decorator of a function whose gradients are written by hand: it multiplies in float32, and
    gets float32, where narrow products are asked for.

    Its work is done in place and into tensors that are there, which autocast leaves as they are.
    """

    @wraps(function)
    def apart(*given: Any, **named: Any) -> T:
        kinds = (x.device.type for x in (*given, *named.values()) if isinstance(x, Tensor))
        device = next(kinds, "meta")
        if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
            return function(*given, **named)
        given = tuple(map(_whole_if_tensor, given))
        named = {name: _whole_if_tensor(value) for name, value in named.items()}
        with torch.autocast(device, enabled=False):
            return function(*given, **named)

    return apart
