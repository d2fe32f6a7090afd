"""What a training step costs by the number of items in the catalogue: every method, every stage.

A catalogue of 4,000 items and a large one have the same rows per item, and a step takes as many
rows; so a ratio above 1 is work on items that the batch does not have.
"""

import gc
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, count, islice, pairwise
from typing import Any

from benchmarks import _catalogue as catalogue
from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks.learning import every_method
from recbole_cold.config import make_config
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError
from recbole_cold.model._fit import Fit
from recbole_cold.training.callbacks import Callback
from recbole_cold.training.meter import Meter
from recbole_cold.training.trainer import Trainer

SMALL = 4_000
STAGES = ("pretrain", "learn", "warm_a")
# Batches of each fit that are used, and how many of them come before the clock counts: in the first
# ones the system hands out the memory of moments, a page when one of its rows is first touched.
BATCHES, UNTIMED = 45, 25


class First:
    """The first ``BATCHES`` batches of a fit's, from the next epochs where one has fewer."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return BATCHES if len(self._batches) else 0

    def epoch(self, generator: Any, epoch: int, start: int = 0) -> Iterable[Any]:
        epochs = (self._batches.epoch(generator, number) for number in count(epoch))
        return islice(chain.from_iterable(epochs), len(self))


def shorten(method: Any) -> None:
    """Let each of the method's fits take ``BATCHES`` batches, each of them once."""
    for question in ("pretrain_fits", "learn_fits", "warm_fits"):
        asked = getattr(method, question)

        def short(*args: Any, asked: Any = asked) -> list[Fit]:
            return [
                replace(fit, batches=First(fit.batches), repeats=1, epochs=1)
                for fit in asked(*args)
            ]

        setattr(method, question, short)


class Clock(Callback):
    """CPU time at each batch's end, by stage."""

    def __init__(self) -> None:
        self.ends: dict[str, list[tuple[int, float]]] = {}

    def step(self, stage: str, number: int) -> None:
        self.ends.setdefault(stage, []).append((number, time.process_time()))

    def milliseconds(self, stage: str) -> float | None:
        """CPU ms of an optimizer step of a stage: those of its timed batches, the median of each
        fit and the mean of the fits; None where nothing is learned by steps."""
        ends = self.ends.get(stage, [])
        fits = [ends[start : start + BATCHES] for start in range(0, len(ends), BATCHES)]
        medians = [
            common.median(
                [
                    1e3 * (after - before) / (m - n)
                    for (n, before), (m, after) in pairwise(fit[UNTIMED - 1 :])
                ]
            )
            for fit in fits
        ]
        return sum(medians) / len(medians) if medians else None


def timed(dataset: ColdStartDataset, config: Any) -> tuple[dict[str, float | None], float]:
    """CPU ms of an optimizer step by stage, and the process's peak memory meanwhile in MiB."""
    gc.collect()  # what the method before this one has held
    method = config.method_class(config, dataset.view())
    shorten(method)
    clock, meter = Clock(), Meter()
    trainer = Trainer(method, config["seed"], callbacks=[clock])
    trainer.pretrain()
    trainer.learn()
    trainer.warm_up("warm_a", dataset.split["warm_a"])
    return {stage: clock.milliseconds(stage) for stage in STAGES}, meter.read()["peak_memory_mb"]


def configuration(options: Options, name: str, protocol: str) -> Any:
    """That of all benchmarks, on data that no file holds."""
    keys = {**common.KEYS, **common.QUIET, **catalogue.KEYS, **options.keys, "protocol": protocol}
    known = {*common.KEYS, *catalogue.KEYS}
    return make_config(
        name, "generated", "DeepFM", overrides=keys, also_known=known, check_data=False
    )


def pairs_of(
    options: Options, sizes: tuple[int, int], name: str, protocol: str, loaded: dict
) -> tuple[list[tuple[float, float] | None], float]:
    """ms of a step in the small and in the large catalogue by stage, None where nothing is learned
    by steps, and the peak memory in MiB with the large one.

    They take turns, so that what else the machine does meets both; the least of the turns counts.

    Args:
        loaded: data sets by size and by whether popularity is a field: EmerG alone has it not.
    """
    config = configuration(options, name, protocol)
    turns: dict[int, list[dict[str, float | None]]] = {size: [] for size in sizes}
    peak = 0.0
    for _ in range(options.repeats):
        for size in sizes:
            place = size, config["use_count"]
            if place not in loaded:
                loaded[place] = catalogue.load(config, catalogue.columns_of(size))
            found, peak = timed(loaded[place], config)
            turns[size].append(found)
    few, many = (
        {stage: min((turn[stage] for turn in turns[size]), key=lambda ms: ms or 0.0)
         for stage in STAGES}
        for size in sizes
    )  # fmt: skip
    pairs = [(few[stage], many[stage]) for stage in STAGES]
    return [None if a is None or b is None else (a, b) for a, b in pairs], peak


def measure(options: Options) -> Table:
    """A row per method and protocol: ms of a step in each stage, small and large, and ratios."""
    large = (options.catalogue if options.full else options.small_catalogue)[-1]
    small = min(SMALL, large)
    rows, claims, notes = [], [], []
    for protocol in options.protocols:
        loaded: dict[tuple[int, bool], ColdStartDataset] = {}
        for name in options.models or every_method():
            try:
                pairs, peak = pairs_of(options, (small, large), name, protocol, loaded)
            except UserError as error:
                notes.append(f"{name}, {protocol}: {error}")
                continue
            cells = [
                ["", "", ""]
                if pair is None
                else [round(pair[0], 2), round(pair[1], 2), round(pair[1] / pair[0], 2)]
                for pair in pairs
            ]
            rows.append([f"{name}, {protocol}", *chain.from_iterable(cells), round(peak)])
            worst = max((pair[1] / pair[0] for pair in pairs if pair), default=1.0)
            claims.append((f"{name}, {protocol}, its worst stage", worst, 1.5, "<="))
    return Table(
        f"A training step, CPU ms, with {small:,} and with {large:,} items in the catalogue",
        ["method", *(f"{stage}, {what}" for stage in STAGES
                     for what in (f"{small:,}", f"{large:,}", "ratio")), "peak MiB"],
        sorted(rows),
        sorted(claims),
        {},
        [
            f"The median of {BATCHES - UNTIMED} batches, the least of {options.repeats} turns. A "
            f"tenth of the items is old, at least {catalogue.LEAST_OLD:,}, with "
            f"{catalogue.OLD_ROWS} rows each; {catalogue.NEW:,} are new. The peak is that of the "
            f"process with {large:,} items, which holds both catalogues.",
            *notes,
        ],
    )  # fmt: skip
