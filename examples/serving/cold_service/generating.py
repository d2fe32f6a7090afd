"""Vectors of new items, made by the kept model in a process of its own: RecBole is there alone."""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import pyarrow as pa

from cold_service.scoring import plain

TYPES = {"token": pa.string(), "token_seq": pa.list_(pa.string()), "float": pa.float64()}


class Generator:
    """A process that has a kept model loaded.

    Args:
        model: the folder of the kept model.
    """

    def __init__(self, model: Path) -> None:
        # Not forked: this process has threads, and locks that a copy of it would hold for ever.
        self._pool = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_load, initargs=(str(model),)
        )

    def make(self, table: pa.Table) -> dict[str, Any]:
        """What an item is served with: its columns in ``items.parquet``, and the ``policy``.

        Args:
            table: one row: the item's id and features (``item_table``).

        Raises:
            ValueError: the model refuses the item; its own sentence.
            BrokenProcessPool: the process has died.
        """
        found = self._pool.submit(_make, table).result()
        if "refused" in found:
            raise ValueError(found["refused"])
        return found

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def item_table(
    fields: Sequence[Mapping[str, Any]], id_field: str, items: Sequence[Mapping[str, Any]]
) -> pa.Table:
    """Items as a table that ``recbole_cold.load`` and ``recbole-cold grow`` take.

    Args:
        fields: of ``export.json``.
        items: ``item`` and ``features`` of each; what a feature lacks is missing.
    """
    columns = {id_field: pa.array([each["item"] for each in items], pa.string())}
    for field in fields:
        if field["side"] == "item" and field["name"] != id_field:
            given = [plain(each["features"].get(field["name"]), field) for each in items]
            columns[field["name"]] = pa.array(given, TYPES[field["type"]])
    return pa.table(columns)


# ------------------------------------------------------------------------------- in the process
_fitted: Any = None


def _load(model: str) -> None:
    global _fitted
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends this process
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    import recbole_cold

    _fitted = recbole_cold.load(model, device="cpu")


def _end_with_the_service() -> None:
    """A service that is killed cannot tell this process."""
    service = parent_process()
    assert service is not None
    service.join()
    os._exit(1)


def _make(table: pa.Table) -> dict[str, Any]:
    from recbole_cold import UserError

    try:
        _fitted.add("item", table)
        place = _fitted.tensor(_fitted.places("item", table.column(0).combine_chunks()))
    except UserError as error:
        return {"refused": str(error)}
    vector, weight, bias = _fitted.served_at(place)
    found = {"vector": vector[0].tolist()}
    if _fitted.method.backbone.has_first_order:  # else items.parquet has no such column
        found["first_order"] = float(weight[0, 0])
    if bias is not None:
        found["item_bias"] = float(bias[0])
    features = _fitted.method.rows.features_of(_fitted.method.id_field)
    found |= {name: column[int(place[0])].tolist() for name, column in features.items()}
    mean = _fitted.method.old_mean()
    return {**found, "policy": "mean" if bool((vector[0] == mean).all()) else "generated"}
