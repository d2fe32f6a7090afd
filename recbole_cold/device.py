"""What depends on the device that a run is on: sizes of work, and how tensors get there.

A CPU is quick on what fits into its cache, a card on what is large: every operation costs it some
microseconds, however small. Sizes here change no number but for the order of sums. What would
change an algorithm does not follow the device: from how many rows on a table gets lazy Adam.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


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
