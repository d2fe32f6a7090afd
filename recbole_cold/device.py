"""What depends on the device that a run is on: sizes of work, and how tensors get there.

A CPU is quick on what fits into its cache, a card on what is large: every operation costs it some
microseconds, however small. Sizes here change no number but for the order of sums. What would
change an algorithm does not follow the device: from how many rows on a table gets lazy Adam.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import deterministic


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
