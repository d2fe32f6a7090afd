"""``recbole-cold export``: a kept model as files for programs that have neither RecBole nor us.

Every export has the tokens of each field (the row number is the code), and ``items.parquet`` and
``users.parquet`` with what a scorer is given for an id; each table has one row more, for the
unknown. Shape letters: n items or users, d embedding size.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from recbole_cold import paths
from recbole_cold.errors import UserError, WriteError
from recbole_cold.experiment.model_folder import TABLES, TOKENS
from recbole_cold.serving.encoding import MEAN
from recbole_cold.serving.export_check import rows_to_check
from recbole_cold.serving.files import new_folder
from recbole_cold.serving.fitted import Fitted
from recbole_cold.serving.graph import (
    BIAS,
    VECTOR,
    WEIGHT,
    Served,
    refuse,
    scorer_of,
    with_mean_row,
)
from recbole_cold.serving.graph_files import FORMATS, check_formats, heading, write_scorer
from recbole_cold.serving.kept import Kept, find_kept, rebuild
from recbole_cold.store import whole_folder, write_bytes

VECTORS, FIELDS, ABOUT = "vectors", "fields", "export.json"
DEFAULT = (VECTORS, "pt2")
READER = "read_vectors.py"
VECTOR_COLUMN = "vector"
UNKNOWN = "unknown"  # the status of the last row of a table


def export(
    run: str | Path,
    out: str | Path,
    method: str | None = None,
    seed: int | None = None,
    phase: str | None = None,
    *,
    formats: Sequence[str] = DEFAULT,
    bake: bool = False,
    check: int = 1000,
) -> dict[str, Any]:
    """Write the model that a finished run kept as files: docs/serving.md says which.

    Args:
        run, method, seed, phase: which model, as ``load`` takes it.
        out: a folder that is not there yet, or is empty.
        formats: of ``vectors``, ``pt2``, ``onnx``.
        bake: whether a scorer has the items' vectors inside.
        check: on how many drawn rows a scorer must agree with the model, beside 16 of every kind
            of unseen value.

    Returns:
        What ``export.json`` says.

    Raises:
        UserError: there is no such model, it cannot be written down, a package is missing, ``out``
            is there already, or a scorer does not agree. Nothing is left then.
    """
    _check(formats, bake, check)
    folder = new_folder(out)
    kept = find_kept(run, method, seed, phase)
    means = {
        field["name"]: MEAN
        for field in kept.about["fields"]
        if field["type"] == "token" and field["name"] not in (_id_field(kept), _label_field(kept))
    }
    fitted = Fitted(kept, unseen=means, device="cpu")
    refuse(fitted.method)
    try:
        with whole_folder(folder, new=True) as place:
            return _write(place, fitted, formats, bake, check)
    except (OSError, WriteError) as error:
        cause = error.__cause__ if isinstance(error, WriteError) else error
        why = getattr(cause, "strerror", None) or str(cause)
        raise UserError(f"cannot write '{out}' ({why}); choose another --out") from error


def _check(formats: Sequence[str], bake: bool, check: int) -> None:
    if not formats:
        raise UserError(f"--format= names none; it takes {', '.join((VECTORS, *FORMATS))}")
    check_formats([name for name in formats if name != VECTORS], (VECTORS, *FORMATS))
    if len({*formats}) < len(formats):
        raise UserError(f"--format={','.join(formats)} names one twice; name each once")
    if check < 1:
        raise UserError(f"--check={check} is no number of rows; give one from 1 on")
    if bake and {*formats} == {VECTORS}:
        raise UserError("--bake=on goes with --format=pt2 or onnx; add one, or leave it out")


def _id_field(kept: Kept) -> str:
    return str(kept.about[f"{kept.about['cold_side']}_field"])


def _label_field(kept: Kept) -> str:
    return str(kept.about["label_field"])


def _write(
    place: Path, fitted: Fitted, formats: Sequence[str], bake: bool, check: int
) -> dict[str, Any]:
    kept = fitted.kept
    _write_tokens(place, fitted)
    served = _served(fitted, torch.arange(fitted.dataset.num(fitted.method.id_field) + 1))
    for side, name in TABLES.items():
        pq.write_table(_table(fitted, side, served), place / name)
    if VECTORS in formats:
        _write_fields(place, fitted)
    scorers = [name for name in formats if name != VECTORS]
    told = _write_scorer(place, fitted, scorers, served, bake, check) if scorers else heading({})
    told = {
        **told,
        "model": kept.origin,
        "cold_side": kept.about["cold_side"],
        "fields": [_told(field, VECTORS in formats) for field in kept.about["fields"]
                   if field["name"] in fitted.policies],
        "sha256": {path.relative_to(place).as_posix(): paths.sha256(path)
                   for path in sorted(place.rglob("*")) if path.is_file()},
    }  # fmt: skip
    write_bytes(place / ABOUT, json.dumps(told, indent=1, allow_nan=False).encode())
    return told


def _served(fitted: Fitted, place: Tensor) -> Served:
    """What the items at these places are scored with."""
    vector, weight, bias = fitted.served_at(place)
    assert vector is not None
    return Served(vector, weight, bias, fitted.more_at(place, vector))


# ------------------------------------------------------------------------------- tables
def _write_tokens(place: Path, fitted: Fitted) -> None:
    """The token files of the model, with the code that a scorer is given for each."""
    (place / TOKENS).mkdir()
    dataset = fitted.dataset
    for field in fitted.kept.about["fields"]:
        if field["tokens"]:
            table = fitted.kept.tokens(field)
            code = np.arange(len(table))
            is_id = field["name"] in (dataset.uid_field, dataset.iid_field)
            if not is_id and dataset.config["unseen_tokens"] == "mask":
                code[~dataset.trained[field["name"]]] = 0  # read as missing, as in the run
            table = table.append_column("code", pa.array(code))
            pq.write_table(table, place / TOKENS / field["tokens"])


def _table(fitted: Fitted, side: str, served: Served) -> pa.Table:
    """By code, the unknown one last: token, status, visible rows, what is served, features as a
    scorer reads them."""
    kept = fitted.kept.table(side)
    id_field = fitted.dataset.id_field_of(side)
    columns: dict[str, Any] = {}
    for name, last in ((id_field, None), ("status", UNKNOWN), ("visible_rows", 0)):
        columns[name] = pa.array([*kept[name].to_pylist(), last], kept[name].type)
    n = len(kept)
    if id_field == fitted.method.id_field:
        columns[VECTOR_COLUMN] = _lists(served.vectors)
        if fitted.method.backbone.has_first_order and served.first_order is not None:
            columns[WEIGHT] = pa.array(served.first_order[:, 0].numpy())
        for name, each in (served.more or {}).items():
            columns[name] = _lists(each.flatten(1))
        if served.bias is not None:
            columns[BIAS] = pa.array(served.bias.double().numpy())
    else:
        columns |= _vectors_of(fitted, id_field)
    for field, column in fitted.method.rows.features_of(id_field).items():
        if field in columns:
            raise UserError(
                f"the feature '{field}' has the name of a column that an export has for itself; "
                "rename it in the data"
            )
        columns[field] = _feature(column[: n + 1])
    return pa.table(columns)


def _feature(column: Tensor) -> pa.Array:
    flat = pa.array(column.reshape(-1).numpy())
    return flat if column.dim() == 1 else pa.FixedSizeListArray.from_arrays(flat, column.shape[1])


def _lists(vector: Tensor) -> pa.Array:
    flat = pa.array(vector.detach().float().reshape(-1).numpy())
    return pa.FixedSizeListArray.from_arrays(flat, vector.shape[1])


@torch.no_grad()
def _vectors_of(fitted: Fitted, field: str) -> dict[str, pa.Array]:
    """Rows of a field's table by code, the mean of the trained ones last; and scalar weights."""
    seam = fitted.method.backbone
    used = np.flatnonzero(fitted.dataset.trained[field])
    found = {VECTOR_COLUMN: _lists(with_mean_row(_rows_of(seam.model, field), used))}
    if seam.has_first_order:
        weight = with_mean_row(_rows_of(seam.model.first_order_linear, field), used)
        found[WEIGHT] = pa.array(weight[:, 0].numpy())
    return found


def _rows_of(module: Any, field: str) -> Tensor:
    """Of a module of RecBole with tables, that of one token field: [n, d]."""
    if field in module.token_seq_field_names:
        place = list(module.token_seq_field_names).index(field)
        table: Tensor = module.token_seq_embedding_table[place].weight
        return table
    place = list(module.token_field_names).index(field)
    begin, size = int(module.token_field_offsets[place]), int(module.token_field_dims[place])
    rows: Tensor = module.token_embedding_table.embedding.weight[begin : begin + size]
    return rows


def _write_fields(place: Path, fitted: Fitted) -> None:
    """The tables of every token field that the backbone reads, and a reader of all tables."""
    (place / FIELDS).mkdir()
    model = fitted.method.backbone.model
    read = {*model.token_field_names, *model.token_seq_field_names} - {fitted.method.id_field}
    for field in fitted.kept.about["fields"]:
        if field["name"] in read:
            tokens = fitted.kept.tokens(field)["token"]
            columns = {"token": pa.array([*tokens.to_pylist(), None], tokens.type)}
            table = pa.table({**columns, **_vectors_of(fitted, field["name"])})
            pq.write_table(table, place / FIELDS / field["tokens"])
    write_bytes(place / READER, Path(__file__).with_name(READER).read_bytes())


# ------------------------------------------------------------------------------- scorers
def _write_scorer(
    place: Path,
    fitted: Fitted,
    formats: Sequence[str],
    served: Served,
    bake: bool,
    check: int,
) -> dict[str, Any]:
    # The tables of a model that scores have hooks for the unknown; a scorer has rows instead.
    method, dataset = rebuild(fitted.kept, "cpu")
    scorer = scorer_of(method, dataset, served=served if bake else None)
    rows = rows_to_check(fitted, check, bake)
    expected = fitted.scored(rows.columns)
    each = _served(fitted, rows.columns[fitted.method.id_field])
    given = {VECTOR: each.vectors, WEIGHT: each.first_order, BIAS: each.bias, **(each.more or {})}
    with torch.no_grad():
        feed = scorer.feed(fitted.shown(rows.columns).batch(torch.arange(len(expected))), given)
    for field, where in rows.unknown_tokens.items():
        feed[field][where, 1] = dataset.num(field)
    return {**write_scorer(scorer, place, formats, feed, expected), "checked": rows.counts}


# ------------------------------------------------------------------------------- export.json
def _told(field: Mapping[str, Any], with_vectors: bool) -> dict[str, Any]:
    """How a value of a field becomes what a scorer reads."""
    told = {"name": field["name"], "side": field["side"], "type": field["type"]}
    if field["tokens"]:
        told |= {"tokens": f"{TOKENS}/{field['tokens']}", UNKNOWN: field["size"], "missing": 0}
        if with_vectors:
            told["vectors"] = f"{FIELDS}/{field['tokens']}"
    if "scale" in field:
        told["scale"] = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in field["scale"].items()
        }
    return told
