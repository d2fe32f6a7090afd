"""What a training step costs by the number of items in the catalogue: every method, every stage.

A catalogue of 4,000 items and a large one have the same rows per item, and a step takes as many
rows; so a ratio above 1 is work on items that the batch does not have.
"""

import gc
from itertools import chain
from typing import Any

from benchmarks import _catalogue as catalogue
from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks._steps import STAGES, Clock, shorten
from benchmarks.learning import every_method
from recbole_cold.config import make_config
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError
from recbole_cold.training.meter import Meter
from recbole_cold.training.trainer import Trainer

SMALL = 4_000
# Batches of each fit that are used, and how many of them come before the clock counts.
BATCHES, UNTIMED = 45, 25


def timed(dataset: ColdStartDataset, config: Any) -> tuple[dict[str, float | None], float]:
    """CPU ms of an optimizer step by stage, and the process's peak memory meanwhile in MiB."""
    gc.collect()  # what the method before this one has held
    method = config.method_class(config, dataset.view())
    shorten(method, BATCHES, repeats=1)
    clock, meter = Clock(BATCHES, UNTIMED), Meter()
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
