"""External values to the codes and numbers that a kept method reads, by one policy per field.

Shape letters: n rows, l length of a sequence.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from recbole.utils import FeatureType

from recbole_cold.errors import UserError, nearest
from recbole_cold.serving.frames import index_in
from recbole_cold.serving.kept import KeptDataset
from recbole_cold.serving.report import Report

Array = np.ndarray

GENERATE, MEAN, PAD, REFUSE, DROP, CLIP = "generate", "mean", "pad", "refuse", "drop", "clip"


def policies_of(
    dataset: KeptDataset,
    cold_field: str,
    generates: bool,
    has_mean: bool,
    asked: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Field -> what is done with a value that the run has never seen.

    Args:
        cold_field: the id field of the side that can be new.
        generates: whether the method has a cold answer for features.
        has_mean: whether there is a mean of what old items are scored with.
        asked: other policies than the default ones.

    Raises:
        UserError: a field is not read, or has no such policy.
    """
    other = dataset.uid_field if cold_field == dataset.iid_field else dataset.iid_field
    allowed: dict[str, tuple[str, ...]] = {}
    for name in read_fields(dataset):
        kind = FeatureType(dataset.spec[name]["type"])
        if name == cold_field:
            own = (GENERATE,) * generates + (MEAN,) * has_mean
            allowed[name] = (*own, REFUSE)
        elif name == other:
            allowed[name] = (MEAN, PAD, REFUSE)
        elif kind == FeatureType.TOKEN:
            allowed[name] = (PAD, MEAN, REFUSE)
        else:
            allowed[name] = (DROP if kind == FeatureType.TOKEN_SEQ else CLIP, REFUSE)
    found = {name: words[0] for name, words in allowed.items()}
    for name, word in (asked or {}).items():
        if name not in allowed:
            guess = nearest(str(name), allowed)
            raise UserError(
                f"unseen names the field '{name}', which the model does not read; "
                + (f"did you mean '{guess}'?" if guess else f"it reads {', '.join(allowed)}")
            )
        if word not in allowed[name]:
            raise UserError(
                f"unseen says '{word}' of '{name}', which is none of its policies; use "
                f"{' or '.join(allowed[name])}"
            )
        found[name] = word
    return found


def read_fields(dataset: KeptDataset) -> list[str]:
    """The fields that somebody reads: ids, tokens, features, and numbers of a row that are inputs.

    The popularity is the method's own count and is never given.
    """
    count = dataset.config["COUNT_FIELD"] if dataset.config["use_count"] else None
    return [
        name
        for name, field in dataset.spec.items()
        if name not in (dataset.label_field, count)
        and (field["tokens"] or field["side"] != "inter" or name in dataset.numbers)
        and (field["tokens"] or name in dataset.scales)
    ]


class Encoder:
    """Encodes columns of values; what it meets is counted in ``report``.

    Args:
        dataset: the kept one.
        policies: as ``policies_of`` gives them.
        strict: whether a value that the run has never seen is an error.
    """

    def __init__(self, dataset: KeptDataset, policies: Mapping[str, str], strict: bool) -> None:
        self.dataset, self.policies, self.strict = dataset, policies, strict
        self.report = Report()
        self._known: dict[str, pa.Array] = {}
        # Unseen ids that look like known ones with '.0' behind them, and all unseen ones.
        self._looks_like_number: dict[str, list[int]] = {}
        self._masked = dataset.config["unseen_tokens"] == "mask"

    def known(self, field: str) -> pa.Array:
        """The tokens of a field by code, without padding."""
        if field not in self._known:
            texts = pa.array(self.dataset.field2id_token[field].tolist(), pa.large_string())
            self._known[field] = texts[1:]
        return self._known[field]

    def column(self, field: str, values: pa.Array) -> Array:
        """Codes int64 [n] or [n, l], or numbers float32 [n], of a feature or a field of rows."""
        kind = FeatureType(self.dataset.spec[field]["type"])
        if kind == FeatureType.FLOAT:
            return self._numbers(field, values)
        if kind == FeatureType.TOKEN:
            return self._tokens(field, as_texts(field, values))
        return self._sequences(field, values)

    def absent(self, field: str, number: int) -> Array:
        """``column`` of values that are not there."""
        kind, length = self.dataset.spec[field]["type"], self.dataset.spec[field]["length"]
        if kind == FeatureType.FLOAT.value:
            return self.dataset.scales[field].apply(np.full(number, np.nan))
        shape = (number, length) if kind == FeatureType.TOKEN_SEQ.value else (number,)
        return np.zeros(shape, dtype=np.int64)

    def ids(self, field: str, values: pa.Array) -> tuple[Array, pa.Array]:
        """Codes int64 [n] of ids, 0 for those that the run does not know; and the ids as texts.

        Raises:
            UserError: a row has no id.
        """
        texts = as_texts(field, values)
        if texts.null_count:
            row = int(np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False))[0])
            raise UserError(
                f"{texts.null_count:,} rows have no '{field}', the first is row {row + 1:,}; fill "
                "it or leave these rows out"
            )
        code = self._find(field, texts)
        if not code.all():
            lost = texts.filter(pa.array(code == 0))
            stripped = pc.replace_substring_regex(lost, r"\.0+$", "")
            like = pc.is_in(stripped, value_set=self.known(field))
            counts = self._looks_like_number.setdefault(field, [0, 0, 0])
            counts[0] += int(pc.sum(like).as_py() or 0)
            counts[1] += len(lost)
        self._looks_like_number.setdefault(field, [0, 0, 0])[2] += len(texts)
        return code, texts

    def hints(self) -> list[str]:
        """Sentences on ids that were probably meant to be others."""
        return [
            f"{like:,} of {total:,} values of '{field}' are unseen, and known with '.0' left out: "
            "give ids as whole numbers or texts"
            for field, (like, lost, total) in self._looks_like_number.items()
            if lost > total / 2 and like > lost / 2
        ]

    def refuse(self, field: str, texts: pa.Array, unseen: Array, what: str = "has never seen"):
        """
        Raises:
            UserError: there is an unseen value, and the policy of the field or ``strict`` minds.
        """
        if not unseen.any() or not (self.strict or self.policies[field] == REFUSE):
            return
        first = str(texts[int(np.flatnonzero(unseen)[0])])
        why = "strict_ids" if self.strict else f"unseen: {field}: refuse"
        raise UserError(
            f"'{first[:80]}' in '{field}' is a value that the run {what} ({int(unseen.sum()):,} "
            f"such), and {why} takes none; leave those rows out, or leave that out"
        )

    # ---------------------------------------------------------------- by type
    def _find(self, field: str, texts: pa.Array) -> Array:
        return index_in(texts, self.known(field)) + 1

    def _trained(self, field: str, code: Array) -> Array:
        return self.dataset.trained[field][code] if self._masked else code > 0

    def _tokens(self, field: str, texts: pa.Array) -> Array:
        code = self._find(field, texts)
        given = texts.is_valid().to_numpy(zero_copy_only=False)
        unseen = given & ~self._trained(field, code)
        self.refuse(field, texts, unseen)
        self._count(self.report.unseen, field, unseen)
        self._count(self.report.missing, field, ~given)
        beyond = self.dataset.num(field) if self.policies[field] == MEAN else 0
        return np.where(unseen, beyond, code)

    def _sequences(self, field: str, values: pa.Array) -> Array:
        if pa.types.is_null(values.type):
            values = values.cast(pa.large_string())
        if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
            separator = self.dataset.config["seq_separator"]
            values = pc.split_pattern(as_texts(field, values), separator)
        length_n = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        flat = as_texts(field, values.flatten())
        code = self._find(field, flat)
        given = pc.fill_null(pc.not_equal(flat, ""), False).to_numpy(zero_copy_only=False)
        unseen = given & ~self._trained(field, code)
        self.refuse(field, flat, unseen)
        self._count(self.report.unseen, field, unseen)
        row = np.repeat(np.arange(len(length_n)), length_n)
        width = self.dataset.spec[field]["length"]
        # Tokens that training has not seen keep their place, as in the run; only empty ones go.
        row, code = row[given], np.where(unseen, 0, code)[given]
        start = np.searchsorted(row, np.arange(len(length_n)))
        place = np.arange(len(row)) - start[row]
        self._count(self.report.cut, field, np.unique(row[place >= width]), size=True)
        matrix = np.zeros((len(length_n), width), dtype=np.int64)
        inside = place < width
        matrix[row[inside], place[inside]] = code[inside]
        return matrix

    def _numbers(self, field: str, values: pa.Array) -> Array:
        given = as_numbers(field, values)
        scale = self.dataset.scales[field]
        clipped = scale.clipped(given)
        self.refuse(field, values, clipped, "saw nothing like")
        self._count(self.report.clipped, field, clipped)
        self._count(self.report.missing, field, np.isnan(given))
        return scale.apply(given)

    @staticmethod
    def _count(counter: Any, field: str, which: Array, size: bool = False) -> None:
        number = len(which) if size else int(which.sum())
        if number:
            counter[field] += number


# ------------------------------------------------------------------------------- arrow
def as_texts(field: str, values: pa.Array) -> pa.Array:
    """Tokens as texts, null where there is none.

    Raises:
        UserError: they are neither texts nor numbers.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_nested(values.type):
        raise UserError(f"'{field}' is a field of single tokens, and its column has lists")
    try:
        texts = values.cast(pa.large_string())
    except pa.ArrowInvalid as error:
        raise UserError(f"the column '{field}' is no text ({error}); mend it") from None
    return pc.if_else(pc.fill_null(pc.equal(texts, ""), False), None, texts)


def as_numbers(field: str, values: pa.Array) -> Array:
    """Numbers float64 [n], NaN where there is none.

    Raises:
        UserError: one is no number.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = as_texts(field, values)
    try:
        found = values.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"'{field}' is a field of numbers ({error}); mend its column") from None
    return found.to_numpy(zero_copy_only=False).astype(np.float64)
