"""A trained method as a folder that is enough to score with: what is in it, and how it is written.

``weights.pt`` holds the state dict, ``tokens/<field>.parquet`` the token of each code,
``items.parquet`` and ``users.parquet`` the features, counts and vectors by code, and ``model.json``
the rest: what the method was, how fields are read, and the SHA-256 of the other files. Rows of the
interactions are in it only where scores are made of them, or later phases fit them anew
(``kept_rows.py``).
Shape letters: n items or users, d embedding size.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from recbole.utils import FeatureSource, FeatureType

from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.split import Split
from recbole_cold.distinct import codes_in
from recbole_cold.errors import WriteError
from recbole_cold.experiment.kept_rows import ROWS, write_rows
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.paths import sha256
from recbole_cold.store import whole_folder, write_bytes

Array = np.ndarray

FORMAT = 1
NEWEST = 2  # of grown models; the latest that is read
ABOUT, WEIGHTS, TOKENS = "model.json", "weights.pt", "tokens"
TABLES = {"item": "items.parquet", "user": "users.parquet"}
# Columns of these tables that are no features.
OURS = ("visible_rows", "clicks", "status", "vector", "first_order")
OLD, NEW, LISTED = "old", "new", "listed"  # the last: in the item file alone, or too rare
GROWN, DROPPED = "grown", "dropped"  # in grown models; a dropped one has no token any more
WITH_VECTORS = (OLD, NEW, GROWN)
# A column of grown models, and its words: without a row, with some, with enough (promote_after).
PHASE, GENERATED, WARMING, WARM = "phase", "generated", "warming", "warm"
TOKEN_KINDS = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
_SIDES = {
    FeatureSource.USER_ID: "user",
    FeatureSource.USER: "user",
    FeatureSource.ITEM_ID: "item",
    FeatureSource.ITEM: "item",
}


def why_not(method: ColdStartRecommender, dataset: ColdStartDataset) -> str | None:
    """Why a method cannot be kept, in words that follow "because"; None where it can."""
    reason = method.why_not_kept()
    if reason is not None:
        return reason
    if method.rows.histories is not None:
        return f"{method.backbone.name} reads histories, which a folder does not hold"
    if dataset.split.histories is not None or not len(dataset.split.new_ids):
        return "its split has no new items"
    wide = [f for f, kind in dataset.field2type.items() if kind == FeatureType.FLOAT_SEQ]
    if wide:
        return f"the content vectors of '{wide[0]}' are not written into it"
    tables = (*dataset.user_table, *dataset.item_table)
    taken = sorted({*OURS} & {*tables})
    return f"a feature is called '{taken[0]}', as a column of its own" if taken else None


def write_model(
    folder: Path,
    method: ColdStartRecommender,
    dataset: ColdStartDataset,
    seen: Array,
    about: Mapping[str, Any],
) -> None:
    """Write ``folder``, whole or not at all; one that is there is exchanged.

    Args:
        method: as it is to be served; nothing of it is changed.
        dataset: the view that it was built on.
        seen: int [r], the rows that it has seen so far.
        about: what else ``model.json`` says, in types of JSON.

    Raises:
        WriteError: the disk is full or read-only; nothing is left behind.
    """
    with _whole_folder(folder) as place:
        state = {name: each.detach().cpu() for name, each in method.state_dict().items()}
        torch.save(state, place / WEIGHTS)
        (place / TOKENS).mkdir()
        for number, field in enumerate(token_fields(dataset)):
            pq.write_table(_tokens(dataset, field), place / TOKENS / token_file(number))
        for side, name in TABLES.items():
            pq.write_table(_table(method, dataset, side, seen), place / name)
        _write_rows(place, method, dataset)
        seal(place, {"format": FORMAT, **about, **_described(method, dataset)})


def seal(place: Path, about: Mapping[str, Any]) -> None:
    """Write ``model.json``, the last file of a folder: ``about``, and the SHA-256 of the others."""
    files = sorted(path for path in place.rglob("*") if path.is_file())
    hashes = {path.relative_to(place).as_posix(): sha256(path) for path in files}
    told = json.dumps({**about, "sha256": hashes}, indent=1, default=str)
    write_bytes(place / ABOUT, told.encode())


def _write_rows(place: Path, method: ColdStartRecommender, dataset: ColdStartDataset) -> None:
    index = method.kept_rows()
    if index is not None:
        columns = {name: column[index] for name, column in method.rows.columns.items()}
        time = None if dataset.time is None else np.asarray(dataset.time)[index.cpu().numpy()]
        write_rows(place / ROWS, columns, time)


def token_fields(dataset: ColdStartDataset) -> list[str]:
    """The fields with tokens, in the order of their files."""
    return [field for field, kind in dataset.field2type.items() if kind in TOKEN_KINDS]


def token_file(number: int) -> str:
    """Numbered: a field may be called what no file can be."""
    return f"{number:03d}.parquet"


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Context: a new folder beside ``folder``, which takes its place when all is written."""
    try:
        with whole_folder(folder) as place:
            yield place
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's, of a full disk
        if not isinstance(error, OSError) and "write" not in str(error):
            raise
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise WriteError(
            f"cannot write the model '{folder}' ({why}); free some space there or choose another "
            "folder with --saved_dir, or leave it out with --keep_model=False"
        ) from error


# ------------------------------------------------------------------------------- tables
def _tokens(dataset: ColdStartDataset, field: str) -> pa.Table:
    """Token and whether a training row has it, by code."""
    texts = pa.array(dataset.field2id_token[field].tolist(), pa.large_string())
    return pa.table({"token": texts, "trained": pa.array(dataset.trained[field])})


def _table(
    method: ColdStartRecommender, dataset: ColdStartDataset, side: str, seen: Array
) -> pa.Table:
    """One row per code of a side, padding first: token, features as given, counts, vectors."""
    id_field = dataset.iid_field if side == "item" else dataset.uid_field
    table = dataset.item_table if side == "item" else dataset.user_table
    n = dataset.num(id_field)
    columns: dict[str, Any] = {id_field: pa.array(dataset.field2id_token[id_field].tolist())}
    for field, column in table.items():
        if field in dataset.raw[side]:
            columns[field] = pa.array(dataset.raw[side][field], from_pandas=True)
        elif dataset.field2type[field] in TOKEN_KINDS:
            columns[field] = texts_of(dataset, field, np.asarray(column))
    ids = np.asarray(dataset.inter[id_field])[seen]
    label = np.asarray(dataset.inter[dataset.label_field])[seen]
    columns["visible_rows"] = np.bincount(ids, minlength=n)
    columns["clicks"] = np.bincount(ids, weights=label, minlength=n).astype(np.int64)
    columns["status"] = _status(dataset.split, id_field == method.id_field, ids, n)
    vector, weight = vectors_of(method, id_field)
    if vector is not None:
        columns["vector"] = _column(vector)
    if weight is not None:
        columns["first_order"] = pa.array(weight, pa.float32())
    return pa.table(columns)


def texts_of(dataset: ColdStartDataset, field: str, column: Array) -> pa.Array:
    """Codes [n] or [n, l] as tokens, null for padding; of sequences the padding at the end left
    out, and that in between, of tokens read as missing, kept as null: sums keep their order."""
    texts = pa.array(dataset.field2id_token[field].tolist(), pa.large_string())
    if column.ndim == 1:
        return texts.take(pa.array(column, mask=column == 0))
    length = column.shape[1] - (column[:, ::-1] != 0).argmax(axis=1)
    length[~(column != 0).any(axis=1)] = 0
    inside = np.arange(column.shape[1]) < length[:, None]
    flat = column[inside]
    ends = pa.array(np.r_[0, length.cumsum()], pa.int32())
    return pa.ListArray.from_arrays(ends, texts.take(pa.array(flat, mask=flat == 0)))


def _status(split: Split, cold: bool, ids: Array, n: int) -> pa.Array:
    """Of the cold side, what the split says; of the other, whether a row was seen."""
    status = np.full(n, LISTED, dtype=object)
    if cold:
        status[split.old_ids], status[split.new_ids] = OLD, NEW
    else:
        status[codes_in(ids)] = OLD
    return pa.array(status)


def _column(values: Array) -> pa.Array:
    """Values [n] or [n, any], in the type that they have."""
    flat = pa.array(values.reshape(-1))
    if values.ndim == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


@torch.no_grad()
def vectors_of(method: ColdStartRecommender, id_field: str) -> tuple[Array | None, Array | None]:
    """Vectors [n, d] and scalar weights [n] as they are served."""
    if id_field == method.id_field:
        ids = torch.arange(method.n_ids, device=method.device)
        parts = [method.kept_vectors(part) for part in ids.split(1 << 16)]
        vectors, weights = ([each[at] for each in parts if each[at] is not None] for at in (0, 1))
        vector = torch.cat(vectors).cpu().numpy() if vectors else None
        return vector, torch.cat(weights)[:, 0].cpu().numpy() if weights else None
    return method.backbone.table_of(id_field).cpu().numpy(), None


# ------------------------------------------------------------------------------- model.json
def _described(method: ColdStartRecommender, dataset: ColdStartDataset) -> dict[str, Any]:
    """The fields in their order, and how each is read."""
    return {
        "user_field": dataset.uid_field,
        "item_field": dataset.iid_field,
        "label_field": dataset.label_field,
        "time_field": dataset.time_field,
        "cold_side": dataset.split.cold_side,
        "numbers": dataset.numbers,
        "split_hash": dataset.split.hash,
        "data_hash": dataset.data_hash,
        "rule": str(dataset.split.manifest.get("rule", "")),
        "phases": [list(phase) for phase in dataset.split.phases],
        "answers": method.answers_unseen(),
        "fields": [_field(method, dataset, field) for field in dataset.fields()],
    }


def _field(method: ColdStartRecommender, dataset: ColdStartDataset, field: str) -> dict[str, Any]:
    kind, source = dataset.field2type[field], dataset.field2source[field]
    token = kind in TOKEN_KINDS
    told: dict[str, Any] = {
        "name": field,
        "type": kind.value,
        "source": source.value,
        "side": _SIDES.get(source, "inter"),
        "size": len(dataset.field2id_token[field]) if token else None,
        "length": dataset.field2seqlen[field],
        "tokens": token_file(token_fields(dataset).index(field)) if token else None,
    }
    if field in dataset.scales:
        told["scale"] = asdict(dataset.scales[field])
    return told
