"""``recbole-cold predict``: files in, a file of scores out, some rows at a time."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from recbole_cold import paths
from recbole_cold.device import scored_at_once
from recbole_cold.errors import UserError
from recbole_cold.serving.encoding import as_texts
from recbole_cold.serving.files import SCREEN, Source, sink
from recbole_cold.serving.fitted import Fitted, load
from recbole_cold.serving.frames import refuse_missing, whole
from recbole_cold.serving.ranking import best_of
from recbole_cold.serving.report import Report
from recbole_cold.store import write_bytes

CHUNK = 1_000_000  # rows in memory at a time


@dataclass(frozen=True)
class Task:
    """What is to be scored; the names are those of the flags."""

    run: str
    rows: str | None = None
    items: str | None = None
    users: str | None = None
    out: str = SCREEN
    topk: int | None = None
    candidates: str = "all"
    seen: str | None = None
    phase: str | None = None
    unseen: Mapping[str, str] | None = None
    strict_ids: bool = False


def predict(task: Task, chunk: int = CHUNK) -> tuple[Report, float]:
    """Score a file of rows, or rank items for users; what was met, and the seconds of scoring.

    Beside a file of scores stands ``<file>.report.json``.

    Raises:
        UserError: a file, a flag or the model is wrong; nothing has been written.
    """
    if task.rows is None and (task.topk is None or task.users is None):
        raise UserError("predict scores the rows of a file; give it, --rows=FILE")
    if task.topk is None and (task.seen is not None or task.candidates != "all"):
        name = "candidates" if task.seen is None else "seen"
        raise UserError(f"--{name} goes with --topk, which is not given; add it or leave this out")
    rows = Source(task.users if task.rows is None else task.rows)
    fitted = load(task.run, phase=task.phase, unseen=task.unseen, strict_ids=task.strict_ids)
    report = fitted.new_report()
    for side, path in (("item", task.items), ("user", task.users)):
        if path is not None:
            fitted.add(side, Source(path).whole())
    began = time.perf_counter()
    if task.topk is None:
        _score(fitted, rows, task.out, chunk)
    else:
        _rank(fitted, rows, task)
    fitted.tell_hints()
    if task.out != SCREEN:
        model = {**fitted.kept.origin, "policies": fitted.policies}
        text = json.dumps({"model": model, **report.as_dict()}, indent=1)
        write_bytes(paths.expanded(f"{task.out}.report.json"), text.encode())
    return report, time.perf_counter() - began


def _score(fitted: Fitted, rows: Source, out: str, chunk: int) -> None:
    dataset = fitted.dataset
    ids = [dataset.uid_field, dataset.iid_field]
    needed = [*ids, *fitted.context]
    refuse_missing(
        pa.table({name: [] for name in rows.names}), needed, f"the rows of '{rows.path}'"
    )
    unread = [name for name in rows.names if name not in needed]
    if unread:
        fitted.report.notes.append(f"columns that are not read: {', '.join(unread)}")
    # A batch begins at the same row whatever the chunk.
    batch = scored_at_once(fitted.method.config, fitted.method.device)
    size = max(1, chunk // batch) * batch
    curve = [("probability", pa.float64())] if "calibration" in fitted.about else []
    schema = pa.schema([*((name, pa.large_string()) for name in ids), ("score", pa.float64()),
                        *curve, ("policy", pa.string())])  # fmt: skip
    with sink(out, schema) as write:
        for part in rows.parts(needed, size):
            scores, policy = fitted.score_table(part)
            columns = [as_texts(name, whole(part[name])) for name in ids]
            columns += [pa.array(scores), *(pa.array(fitted.calibrated(scores)) for _ in curve)]
            write(pa.table([*columns, policy.cast(pa.string())], schema))


def _rank(fitted: Fitted, rows: Source, task: Task) -> None:
    dataset = fitted.dataset
    field = dataset.uid_field
    wanted = [name for name in (field, *fitted.context) if name in rows.names]
    table = rows.whole(wanted)
    refuse_missing(table, [field], f"the rows of '{rows.path}'")
    # Of each user the first row says what else is read.
    first = table.to_pandas().drop_duplicates(field)
    users = pa.Table.from_pandas(first, preserve_index=False)
    candidates: Any = task.candidates
    if candidates not in ("all", "new"):
        listed = Source(candidates)
        one = [dataset.iid_field] if dataset.iid_field in listed.names else listed.names[:1]
        candidates = whole(listed.whole(one)[one[0]]).to_pylist()
    seen = None if task.seen is None else Source(task.seen).whole([field, dataset.iid_field])
    schema = pa.schema([(field, pa.large_string()), ("rank", pa.int64()),
                        (dataset.iid_field, pa.large_string()),
                        ("score", pa.float64())])  # fmt: skip
    assert task.topk is not None
    with sink(task.out, schema) as write:
        for part in best_of(fitted, users, task.topk, candidates, seen):
            write(_arrow(part, schema))


def _arrow(part: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pandas(part, schema=schema, preserve_index=False)
