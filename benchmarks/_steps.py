"""A few timed batches of each stage of any method: CPU ms of an optimizer step."""

import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, count, islice, pairwise
from typing import Any

from benchmarks import _common as common
from recbole_cold.model._fit import Fit
from recbole_cold.training.callbacks import Callback

STAGES = ("pretrain", "learn", "warm_a")


class First:
    """The first ``number`` batches of a fit's, from the next epochs where one has fewer."""

    def __init__(self, batches: Any, number: int) -> None:
        self._batches, self._number = batches, number

    def __len__(self) -> int:
        return self._number if len(self._batches) else 0

    def epoch(self, generator: Any, epoch: int, start: int = 0) -> Iterable[Any]:
        epochs = (self._batches.epoch(generator, number) for number in count(epoch))
        return islice(chain.from_iterable(epochs), len(self))


def shorten(method: Any, batches: int, **more: Any) -> None:
    """Let each of the method's fits take ``batches`` batches, with ``more`` of it exchanged."""
    for question in ("pretrain_fits", "learn_fits", "warm_fits"):
        asked = getattr(method, question)

        def short(*args: Any, asked: Any = asked) -> list[Fit]:
            return [
                replace(fit, batches=First(fit.batches, batches), epochs=1, **more)
                for fit in asked(*args)
            ]

        setattr(method, question, short)


class Clock(Callback):
    """CPU time at each batch's end, by stage.

    Args:
        batches: of each fit, as ``shorten`` was told.
        untimed: how many of them come before the clock counts: in the first ones the system hands
            out the memory of moments, a page when one of its rows is first touched.
    """

    def __init__(self, batches: int, untimed: int) -> None:
        self.batches, self.untimed = batches, untimed
        self.ends: dict[str, list[tuple[int, float]]] = {}

    def step(self, stage: str, number: int) -> None:
        self.ends.setdefault(stage, []).append((number, time.process_time()))

    def milliseconds(self, stage: str) -> float | None:
        """CPU ms of an optimizer step of a stage: those of its timed batches, the median of each
        fit and the mean of the fits; None where nothing is learned by steps."""
        ends = self.ends.get(stage, [])
        fits = [ends[start : start + self.batches] for start in range(0, len(ends), self.batches)]
        medians = [
            common.median(
                [
                    1e3 * (after - before) / (m - n)
                    for (n, before), (m, after) in pairwise(fit[self.untimed - 1 :])
                ]
            )
            for fit in fits
        ]
        return sum(medians) / len(medians) if medians else None
