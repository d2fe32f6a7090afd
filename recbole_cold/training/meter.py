"""Measures what a stage costs (seconds, CPU seconds, peak memory), in a process that is warm."""

import resource
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch.nn import functional as F

from recbole_cold.training.lazy_adam import LazyAdam
from recbole_cold.training.light_optimizers import FusedAdam

# Peaks of this process in MiB, one for each time between resets: the system knows only the last.
_before_resets: list[float] = []
# The same of a card's memory, by card.
_of_cards: dict[torch.device, list[float]] = {}


class Meter:
    """Seconds, CPU seconds and peak memory of one stage, continued after a resume.

    Meters may run within each other: one that begins resets the system's peak, and the peaks before
    that are kept for those around it.

    Args:
        earlier: what the stage had cost before it was interrupted.
        device: where it runs. Of a card, ``peak_gpu_memory_mb`` is read as well: what tensors took
            there, without what torch and CUDA keep for themselves.
    """

    def __init__(
        self, earlier: dict[str, float] | None = None, device: torch.device | None = None
    ) -> None:
        self.earlier = earlier or {}
        self.card = device if device is not None and device.type == "cuda" else None
        self._wait()
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        self.first = _reset_peak()
        self.first_of_card = 0 if self.card is None else _reset_card(self.card)

    def _wait(self) -> None:
        """Let a card end what it was given: its seconds belong to the stage that asked for them."""
        if self.card is not None:
            torch.cuda.synchronize(self.card)

    def read(self) -> dict[str, float]:
        """Figures since the stage began: seconds, CPU seconds, MiB."""
        self._wait()
        peaks = {"peak_memory_mb": [*_before_resets[self.first :], _peak_mb()]}
        if self.card is not None:
            before = _of_cards[self.card][self.first_of_card :]
            peaks["peak_gpu_memory_mb"] = [*before, _peak_of_card(self.card)]
        return {
            "seconds": self.earlier.get("seconds", 0.0) + time.perf_counter() - self.wall,
            "cpu_seconds": self.earlier.get("cpu_seconds", 0.0) + time.process_time() - self.cpu,
            **{name: max(self.earlier.get(name, 0.0), *several) for name, several in peaks.items()},
        }


@cache
def start_up(device: torch.device) -> None:
    """Have PyTorch load what it loads at first use; done once per process and device.

    The first backward pass and optimizer step begin threads and fill caches, and a GPU's first
    product loads its libraries. Without this they were in the costs of whichever method came first.
    Nothing is drawn, so random states stay as they are.
    """
    table, weight = (torch.zeros(2, 2, device=device, requires_grad=True) for _ in range(2))
    code = torch.tensor([0, 1], device=device)
    optimizers = [FusedAdam([weight]), LazyAdam([table])]
    logits = F.linear(F.embedding(code, table, sparse=True), weight)
    F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
    for optimizer in optimizers:
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak() -> int:
    """Begin a new peak, where the system can; the number of peaks before it."""
    _before_resets.append(_peak_mb())
    with suppress(OSError):  # Linux: restart the peak of this process
        Path("/proc/self/clear_refs").write_text("5")
    return len(_before_resets)


def _reset_card(card: torch.device) -> int:
    """Begin a new peak of a card's memory; the number of peaks before it."""
    before = _of_cards.setdefault(card, [])
    before.append(_peak_of_card(card))
    torch.cuda.reset_peak_memory_stats(card)
    return len(before)


def _peak_of_card(card: torch.device) -> float:
    return torch.cuda.max_memory_allocated(card) / 2**20


def peak_memory_mb() -> float:
    """Peak resident memory of this process since it began, in MiB, whatever meters began since."""
    return max([_peak_mb(), *_before_resets])


def _peak_mb() -> float:
    """Peak resident memory of this process since the last reset, in MiB."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
