"""Scores one user's candidates with an exported folder: numpy, pyarrow and onnxruntime (or torch).

Neither RecBole nor recbole_cold is imported here. ``docs/exported-scorer.md`` of recbole_cold
describes the inputs. Shape letters: n candidates, d embedding size.
"""

import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

OWN, GENERATED, MEAN = "own", "generated", "mean"
# Files of an export that score, by format: the first that is there is used.
READERS = {"onnx": "score_onnx.py", "pt2": "score_pt2.py"}
SERVED = {"item_vector": "vector", "first_order": "first_order", "item_bias": "item_bias"}
MOST_SDS = 5.0  # standardised numbers end here, as in the run


class BadRequest(ValueError):
    """What a caller can mend, in one sentence."""


class Exported:
    """An exported folder in memory.

    Args:
        folder: as ``recbole-cold export RUN --out=FOLDER --format=vectors,onnx`` writes it.

    Raises:
        ValueError: it has no scorer, or one that this service does not serve.
    """

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        kind = next((kind for kind in READERS if kind in self.about["files"]), None)
        if kind is None:
            raise ValueError(f"'{folder}' has no scorer; export it with --format=vectors,onnx")
        if self.about["bake"] != "off" or self.about["cold_side"] != "item":
            raise ValueError(
                f"'{folder}' has its vectors inside, or its users are what can be new; this "
                "service needs --bake=off and new items"
            )
        given = [each["name"] for each in self.about["inputs"] if each["kind"] == "given"]
        more = [name for name in given if name not in SERVED]
        if more:
            raise ValueError(
                f"'{folder}' has items with '{more[0]}' beside their vectors, which this service "
                "does not make; choose a method of which an item is a vector"
            )
        self._scorer = _reader(folder / READERS[kind]).Scorer(folder)
        self.users, self.items = Table(folder / "users.parquet"), Table(folder / "items.parquet")
        self._fields = {field["name"]: field for field in self.about["fields"]}
        self._codes = {
            name: _codes(folder / field["tokens"])
            for name, field in self._fields.items()
            if "tokens" in field and name not in (self.users.id_field, self.items.id_field)
        }
        self.context = [
            each["name"]
            for each in self.about["inputs"]
            if each["kind"] != "given" and self._fields[each["name"]]["side"] == "inter"
        ]

    # ---------------------------------------------------------------- items and users
    def knows(self, item: str) -> bool:
        return item in self.items.place

    def add(self, item: str, values: Mapping[str, Any], policy: str) -> None:
        """Serve one more item: its row of ``items.parquet``, by column.

        Raises:
            ValueError: the values are no such row.
        """
        self.items.add(item, {**values, "status": policy})

    def was_added(self, item: str) -> bool:
        """Whether it is served by ``add``, not by the export."""
        return self.status(item) in (GENERATED, MEAN)

    def status(self, item: str) -> str:
        """``old``, ``new``, ... as the export says; ``unknown`` of any other item."""
        return str(self.items.columns["status"][self.items.at([item])[0]])

    def _policies(self, place: np.ndarray) -> list[str]:
        """How each item is answered, in the words of ``recbole-cold predict``."""
        items, words = self.items, []
        for code in place.tolist():
            status = items.columns["status"][code]
            if status in ("listed", "unknown"):  # it has no row, so it is served a cold vector
                vector = items.columns["vector"]
                is_mean = np.array_equal(vector[code], vector[items.unknown])
                words.append(MEAN if is_mean else GENERATED)
            else:
                words.append(status if status in (GENERATED, MEAN) else OWN)
        return words

    # ---------------------------------------------------------------- scoring
    def score(
        self,
        user: str,
        candidates: Sequence[str],
        context: Mapping[str, Any],
        user_features: Mapping[str, Any],
    ) -> tuple[np.ndarray, list[str]]:
        """Click probabilities [n] of one user's candidates, and how each was answered.

        Args:
            context: every field of a row that the model reads, for instance the device.
            user_features: of a user that the model does not know; else not read.

        Raises:
            BadRequest: a field is missing or unknown, or its value is none.
        """
        one_context = self.encode_context(context)
        self._refuse_fields(user_features, self._features_of("user"), "user_features")
        n, item = len(candidates), self.items.at(candidates)
        at = self.users.at([user])
        one = {name: column[at] for name, column in self.users.columns.items()}
        one[self.users.id_field] = at
        if at[0] == self.users.unknown:
            one.update({name: self.encode(name, each) for name, each in user_features.items()})
        one.update(one_context)
        feed = {}
        for each in self.about["inputs"]:
            name = each["name"]
            if each["kind"] == "given":
                feed[name] = self._served(name, item).reshape(n, *each["shape"][1:])
            elif self._fields[name]["side"] == "item":
                feed[name] = self.items.columns[name][item]
            else:
                feed[name] = np.repeat(one[name], n, axis=0)
        words = self._policies(item)
        if at[0] == self.users.unknown:
            words = [f"{word}+{self.users.id_field}:{MEAN}" for word in words]
        return self._scorer.score(feed), words

    def _served(self, name: str, place: np.ndarray) -> np.ndarray:
        column = self.items.columns.get(SERVED[name])
        return np.zeros(len(place)) if column is None else column[place]

    def encode_context(self, context: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Every field of a row that the model reads, encoded.

        Raises:
            BadRequest: one is missing or unknown, or its value is none.
        """
        self._refuse_fields(context, self.context, "context")
        lacking = [name for name in self.context if name not in context]
        if lacking:
            raise BadRequest(
                f"context lacks '{lacking[0]}', which the model reads; give null if it is missing"
            )
        return {name: self.encode(name, context[name]) for name in self.context}

    def refuse_item_features(self, features: Mapping[str, Any]) -> None:
        """
        Raises:
            BadRequest: the items of the run have no such feature, or a value is of another kind.
        """
        self._refuse_fields(features, self._features_of("item"), "features")
        for name, value in features.items():
            self.encode(name, value)

    def _features_of(self, side: str) -> list[str]:
        ids = (self.users.id_field, self.items.id_field)
        return [n for n, f in self._fields.items() if f["side"] == side and n not in ids]

    @staticmethod
    def _refuse_fields(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
        unknown = [name for name in given if name not in known]
        if unknown:
            there = ", ".join(known) or "none"
            raise BadRequest(f"{what} has no field '{unknown[0][:80]}'; there are: {there}")

    def encode(self, field: str, value: Any) -> np.ndarray:
        """A value as the scorer reads it: [1] of a token or a number, [1, length] of a sequence.

        ``None`` is a missing value. A token that training has not seen is read as missing, and a
        number outside of what training saw is clipped, as ``recbole-cold predict`` does.

        Raises:
            BadRequest: the value is of another kind.
        """
        value = plain(value, self._fields[field])
        kind = self._fields[field]["type"]
        if kind == "float":
            return np.array([scaled(value, self._fields[field]["scale"])], dtype=np.float32)
        codes = self._codes[field]
        if kind == "token":
            return np.array([codes.get(value, 0)])
        return np.array([[codes.get(each, 0) for each in value or []] or [0]])


def plain(value: Any, field: Mapping[str, Any]) -> Any:
    """A value of JSON as its field has it: a float, a text, a list of texts, or ``None``.

    Raises:
        BadRequest: it is of another kind.
    """
    kind, told = field["type"], f"not {json.dumps(value)[:80]}"
    if value is None:
        return None
    if kind == "float":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise BadRequest(f"'{field['name']}' is a number, {told}")
        if not abs(value) < 1e300:
            raise BadRequest(f"'{field['name']}' is a finite number, {told}")
        return float(value)
    if kind == "token":
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise BadRequest(f"'{field['name']}' is a single token, {told}")
        tokens = [str(value)]
    else:
        tokens = value.split() if isinstance(value, str) else value
        if not isinstance(tokens, list) or not all(isinstance(each, str) for each in tokens):
            raise BadRequest(f"'{field['name']}' is a list of tokens, {told}")
    if not all(map(can_be_written, tokens)):
        raise BadRequest(f"'{field['name']}' has half a letter: {json.dumps(value)[:80]}")
    return tokens[0] if kind == "token" else tokens


def can_be_written(text: str) -> bool:
    """Whether a text is one of whole letters; JSON can have halves of them."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


class Table:
    """``items.parquet`` or ``users.parquet`` by column; rows can be added while others read.

    Attributes:
        id_field: its first column.
        place: id -> row.
        unknown: the row of any other id.
    """

    def __init__(self, path: Path) -> None:
        table = pq.read_table(path)
        self.id_field = table.column_names[0]
        ids = table.column(0).to_pylist()
        self.unknown = len(ids) - 1
        self.place = {each: row for row, each in enumerate(ids[1:-1], start=1)}  # 0 is padding
        self.columns = {name: _array(table[name]) for name in table.column_names[1:]}
        self._n = len(ids)

    def at(self, ids: Sequence[str]) -> np.ndarray:
        """Rows int64 [n] of ids."""
        return np.array([self.place.get(each, self.unknown) for each in ids], dtype=np.int64)

    def refuse(self, values: Mapping[str, Any]) -> None:
        """
        Raises:
            ValueError: no row can have these values.
        """
        for name, value in values.items():
            if name not in self.columns:
                raise ValueError(f"'{name}' is no column of the export")
            column = self.columns[name]
            shape, expected = np.asarray(value, column.dtype).shape, column.shape[1:]
            if shape != expected:
                raise ValueError(f"'{name}' has the shape {shape}, in the export {expected}")

    def add(self, id_: str, values: Mapping[str, Any]) -> None:
        """One row more; columns that ``values`` lacks are those of the unknown.

        Raises:
            ValueError: no row can have these values.
        """
        self.refuse(values)
        if self._n == len(self.columns["status"]):
            self.columns = {
                name: np.concatenate([column, np.repeat(column[[self.unknown]], self._n, 0)])
                for name, column in self.columns.items()
            }
        for name, value in values.items():
            self.columns[name][self._n] = value
        self._n += 1
        self.place[id_] = self._n - 1  # last: only a whole row can be found


def scaled(number: float | None, scale: Mapping[str, Any]) -> float:
    """A number at the scale that the run fitted, which ``export.json`` has."""
    rule, low, high = scale["rule"], scale["low"], scale["high"]
    if rule in ("constant", "unseen"):
        return 0.0
    if rule == "recbole":
        number = scale["mean"] if number is None else number
        if low is None:
            return number
        return (min(max(number, low), high) - low) / (high - low) if low < high else 1.0
    share = scale["mean"]
    if number is not None:
        if rule == "log":
            low, high, number = (_signed_log(each, scale["unit"]) for each in (low, high, number))
        share = min(max((number - low) / (high - low), 0.0), 1.0)
    if rule == "minmax":
        return share
    return min(max((share - scale["mean"]) / scale["sd"], -MOST_SDS), MOST_SDS)


def _signed_log(number: float, unit: float) -> float:
    return math.copysign(math.log1p(abs(number) / unit), number)


def _codes(path: Path) -> dict[str, int]:
    table = pq.read_table(path)
    codes = dict(zip(table["token"].to_pylist(), table["code"].to_pylist(), strict=True))
    return {token: code for token, code in codes.items() if code}  # 0: read as missing


def _array(column: Any) -> np.ndarray:
    whole = column.combine_chunks()
    if not hasattr(whole.type, "list_size"):
        return whole.to_numpy(zero_copy_only=False).copy()
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1).copy()


def _reader(path: Path) -> Any:
    """The module that lies beside the scorer and reads it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
