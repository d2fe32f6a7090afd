"""New items into a kept model, and their first rows: seconds by method."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks._kept import kept_run, rows_of
from recbole_cold.serving.fitted import load
from recbole_cold.serving.grow import grow

ITEMS, ROWS = 10_000, 10  # new items, and rows of each
METHODS = ("ItemBias", "MetaE", "CVAR")
SECONDS = 30.0  # what is still "seconds"


def new_items(fitted, number: int, seed: int = 0) -> pd.DataFrame:
    """Items with the features of others, drawn column by column."""
    draw = np.random.default_rng(seed)
    known = fitted.kept.table("item").slice(1).to_pandas()
    field = fitted.dataset.iid_field
    frame = pd.DataFrame({field: [f"new-{n}" for n in range(number)]})
    for name, spec in fitted.dataset.spec.items():
        if spec["side"] == "item" and name in known and name != field:
            frame[name] = known[name].to_numpy()[draw.integers(len(known), size=number)]
    return frame


def first_rows(fitted, items: pd.DataFrame, each: int) -> pd.DataFrame:
    """Rows of random users with random labels, the rule's threshold or one below it."""
    field, rule = fitted.dataset.iid_field, fitted.about["label_rule"]
    rows = rows_of(fitted, len(items) * each)
    rows[field] = np.repeat(items[field].to_numpy(), each)
    clicked = np.random.default_rng(1).integers(2, size=len(rows))
    rows[rule["field"]] = clicked if rule["least"] is None else rule["least"] - 1 + clicked
    return rows


def measure(options: Options) -> Table:
    """CPU seconds of one call, which reads, learns and writes the folder."""
    names = options.models or METHODS
    table_rows, claims, agreement = [], [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = kept_run(options, ",".join(names), folder)
        for method in names:
            fitted = load(run, method, device="cpu")
            items = new_items(fitted, ITEMS)
            rows = first_rows(fitted, items, ROWS)
            parts = {"items": {"items": items}, "both": {"items": items, "rows": rows}}
            seconds, made = {part: [] for part in parts}, 0
            for _ in range(options.repeats):
                for part, given in parts.items():
                    out, made = folder / f"{method}-{made}", made + 1
                    seconds[part].append(
                        common.cpu_seconds(lambda: grow(run, method, out=out, **given))  # noqa: B023
                    )
            grown = load(out, device="cpu")
            old = fitted.ids()
            agreement[f"{method}: vectors of items that it knew"] = common.largest_difference(
                [torch.from_numpy(fitted.vectors(old))], [torch.from_numpy(grown.vectors(old))]
            )
            both = min(seconds["both"])
            table_rows.append(
                [method, round(min(seconds["items"]), 2), round(both, 2),
                 round(common.median(seconds["both"]), 2),
                 round(1e6 * both / (ITEMS * ROWS), 1)]
            )  # fmt: skip
            claims.append((f"{method}: CPU seconds", both, SECONDS, "<="))
    return Table(
        f"grow: {ITEMS:,} new items with {ROWS} rows each, {options.dataset}, DeepFM",
        ["method", "items alone, CPU s", "items and rows, CPU s", "median", "µs a row"],
        table_rows,
        claims,
        agreement,
        ["Features are those of known items, users and labels are drawn; the model is read, one "
         "warm phase learned, and the new folder written and synced."],
    )  # fmt: skip
