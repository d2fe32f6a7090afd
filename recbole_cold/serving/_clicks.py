"""The rows that a kept model goes on learning from: which, in what order, and their hash.

Shape letters: r rows.
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.errors import UserError
from recbole_cold.experiment.kept_rows import ROWS, read_rows
from recbole_cold.experiment.model_folder import DROPPED, LISTED, OLD
from recbole_cold.serving._catalogue import Catalogue
from recbole_cold.serving.encoding import as_numbers, as_texts
from recbole_cold.serving.fitted import Fitted
from recbole_cold.serving.frames import refuse_missing, whole

Array = np.ndarray


def of_new_items(table: pa.Table, catalogue: Catalogue) -> tuple[pa.Table, int]:
    """The rows of new and grown items, and how many of old ones are left out.

    Items of which the model has features and no vector are grown by their rows.

    Raises:
        UserError: a row is of an item of which nobody knows features, or none is of a new one.
    """
    field, side = catalogue.id_field, catalogue.side
    refuse_missing(table, [field], "the rows")
    texts = as_texts(field, whole(table[field]))
    if texts.null_count:
        raise UserError(f"{texts.null_count:,} of the rows have no '{field}'; fill it")
    code = catalogue.codes(texts)
    if (code < 0).any():
        first = str(texts[int(np.flatnonzero(code < 0)[0])])
        raise UserError(
            f"{int((code < 0).sum()):,} rows are of {side}s that nobody knows, '{first[:80]}' the "
            "first; give their features with --items, or leave these rows out"
        )
    status = catalogue.status[code]
    catalogue.claim(code[status == LISTED])
    of_old = status == OLD
    if of_old.all():
        raise UserError(
            f"none of the {len(table):,} rows is of a new {side}: old ones do not move; train "
            "anew for these"
        )
    return table.filter(pa.array(~of_old)), int(of_old.sum())


def digest_of(table: pa.Table, fields: Sequence[str], numbers: Collection[str]) -> str:
    """SHA-256 of rows, in whatever order and kind of file they come: of the texts of ``fields``.

    Args:
        numbers: those of them that are read as numbers: 5 and 5.0 are the same.
    """
    texts = []
    for field in fields:
        column = whole(table[field])
        if field in numbers:
            column = pa.array(as_numbers(field, column))
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.binary_join(column.cast(pa.list_(pa.large_string())), " ")
        texts.append(pc.fill_null(as_texts(field, column), ""))
    lines = pc.binary_join_element_wise(*texts, pa.scalar("\x1f", pa.large_string()))
    found = hashlib.sha256("\x1f".join(fields).encode())
    for part in Vocabulary(lines.take(pc.sort_indices(lines))).parts():
        found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


class Clicks:
    """Rows put into a method's columns, behind the made-up ones that it was built on.

    Args:
        fitted: the model that has the items by now.
        table: the rows of new items.

    Attributes:
        columns: field -> the new rows [r] as the model reads them, in the order of the file.
        label: 0 and 1, [r]. code, other: codes of the cold side and the other, [r].

    Raises:
        UserError: a field is missing, or a label, a time or a value is none.
    """

    def __init__(self, fitted: Fitted, table: pa.Table) -> None:
        self.fitted, method = fitted, fitted.method
        self.label = fitted.labels(table)
        self.columns = fitted.encoded(table)
        self.columns[method.label_field] = fitted.tensor(self.label.astype(np.float32))
        self.code = self.columns[method.id_field].cpu().numpy()
        self.other = self.columns[method.other_field].cpu().numpy()
        self.time = self._time(table)

    def _time(self, table: pa.Table) -> Array | None:
        field = self.fitted.about["time_field"]
        if field is None or field not in table.column_names:
            return None
        found = as_numbers(field, whole(table[field]))
        if np.isnan(found).any():
            raise UserError(
                f"{int(np.isnan(found).sum()):,} rows have no '{field}'; fill it, or leave the "
                "column out: rows are then taken in the order of the file"
            )
        return found

    def put_in(self) -> Array:
        """Exchange the method's columns for the rows that were seen and these, oldest first.

        Returns:
            The numbers of these rows, as a warm phase of a run has them: by item, oldest first.
        """
        method = self.fitted.method
        held, held_time = held_rows(self.fitted)
        made_up = len(method.train_index)
        n_held = len(next(iter(held.values()))) if held else 0
        n = n_held + len(self.code)
        order = np.arange(n)
        if self.time is not None and (held_time is not None or not n_held):
            time = np.concatenate([np.zeros(0) if held_time is None else held_time, self.time])
            order = np.argsort(time, kind="stable")
            self.all_time: Array | None = time[order]
        else:
            self.all_time = None
        for field, column in method.rows.columns.items():
            parts = [held[field].to(column.device)] if held else []
            parts.append(self.columns[field])
            real = torch.cat([part.to(self.columns[field].dtype) for part in parts])
            first = column[:made_up].to(real.dtype)
            method.rows.columns[field] = torch.cat([first, real[self.fitted.tensor(order)]])
        place = np.empty(n, dtype=np.int64)
        place[order] = made_up + np.arange(n)
        method.rows_seen.index = self.fitted.tensor(np.sort(place[:n_held]))
        own = place[n_held:]
        # Where times are equal, or there is none, the file's order.
        time = np.zeros(len(own)) if self.time is None else self.time
        return own[np.lexsort((time, self.code))]


def held_rows(fitted: Fitted) -> tuple[dict[str, Tensor], Array | None]:
    """The rows that the folder of a method has that fits them anew, and their times: without those
    of dropped items, which are forgotten with them."""
    path = fitted.kept.folder / ROWS
    if not path.is_file():
        return {}, None
    columns, time = read_rows(path)
    code = columns[fitted.method.id_field].numpy()
    stays = fitted.dataset.status[fitted.dataset.split.cold_side][code] != DROPPED
    found = {field: column[torch.from_numpy(stays)] for field, column in columns.items()}
    return found, None if time is None else time[stays]


def seen_rows(method: Any, time: Array | None) -> tuple[dict[str, Tensor], Array | None]:
    """What a folder is to hold of the rows that ``method`` has seen: columns, and their times.

    Args:
        time: of all rows behind the made-up ones.
    """
    index = method.rows_seen.index
    columns = {field: column[index] for field, column in method.rows.columns.items()}
    if time is None:
        return columns, None
    return columns, time[index.cpu().numpy() - len(method.train_index)]
