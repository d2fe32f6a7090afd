"""A run that begins with the weights of a kept model (``init_from``): its parent, and what fits.

The backbone is taken whole: rows of tokens by their names, other tensors as they are. A method of
the same class also takes its own network. What the parent knows of this run's new items is not
taken: they begin as in any run.
Shape letters: n codes of the parent's cold side, d embedding size.
"""

import logging
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from recbole.utils import FeatureSource
from torch import nn

from recbole_cold.config import ColdConfig
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.carried import Carried, Held, carry, places_of, rows_by_code
from recbole_cold.experiment.kept_models import Kept, kept_for, refuse_damaged
from recbole_cold.experiment.model_folder import (
    ABOUT,
    OLD,
    TOKEN_KINDS,
    WEIGHTS,
    WITH_VECTORS,
)
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.paths import sha256

logger = logging.getLogger(__name__)

KEY = "init_from"
_BACKBONE = "backbone."
_VECTORS = "backbone.model.token_embedding_table.embedding.weight"
_WEIGHTS = "backbone.model.first_order_linear.token_embedding_table.embedding.weight"
# Where a run has several models and none of a row's own method, its row begins from this one.
_PLAIN = "Base"


@dataclass(frozen=True)
class Parent:
    """The model that a run begins from."""

    kept: Kept

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its ``model.json``, which has those of its other files."""
        return sha256(self.kept.folder / ABOUT)

    def __str__(self) -> str:
        return f"the model '{self.kept.folder}' ({self.kept.name})"


def parent_of(config: ColdConfig) -> Parent | None:
    """The model that a row begins from, by ``init_from``; ``None`` where it begins from nothing.

    Raises:
        UserError: there is no such model, or several.
    """
    if config[KEY] is None:
        return None
    try:
        return Parent(kept_for(config[KEY], [config["model"], _PLAIN]))
    except UserError as error:
        raise UserError(f"{KEY}: {error}") from error


def digest_of(config: ColdConfig) -> str | None:
    """What a parent is known by; part of what a result and a pre-trained backbone follow from."""
    parent = parent_of(config)
    return None if parent is None else parent.digest


def told_config(config: ColdConfig) -> dict[str, Any]:
    """The values of a row, its parent by its content: a continued run must find the same one."""
    values, digest = config.as_dict(), digest_of(config)
    return values if digest is None else {**values, KEY: [values[KEY], digest]}


def built(
    config: ColdConfig, dataset: ColdStartDataset
) -> tuple[ColdStartRecommender, dict[str, Any]]:
    """The method of a configuration with what it takes from its parent, and what that was: parts
    of a document, empty without one.

    Raises:
        UserError: the method cannot be built, or its parent does not fit it.
    """
    method = build_method(config, dataset)
    parent = parent_of(config)
    if parent is None:
        return method, {}
    return method, {KEY: _begin(method, dataset, parent)}


def warnings_of(told: Mapping[str, Any]) -> list[str]:
    """What the user is to know of a parent, out of what ``built`` said."""
    if not told:
        return []
    about, found = told[KEY], []
    if about["same_data"]:
        found.append(
            f"the model '{about['model']}' was trained on these same data: rows that this run "
            "scores may be among those that it learned from, and the scores then mean nothing"
        )
    found += [
        f"the numbers of '{field}' are scaled by this run's own rows, and those of the model "
        f"'{about['model']}' were by others, so its weights read them otherwise until they have "
        "learned"
        for field in about["other_scales"]
    ]
    return found


def tell_begun(row: str, told: Mapping[str, Any]) -> None:
    """Log what came along, out of what ``built`` said; nothing without a parent.

    Args:
        row: which one it is, for the log.
    """
    if not told:
        return
    about = told[KEY]
    tokens = ", ".join(f"{field} {n:,} of {of:,}" for field, (n, of) in about["tokens"].items())
    own = about["own_network"]
    logger.info(
        "%s: begins from '%s' (%s); tokens found: %s; %s%s", row, about["model"], about["name"],
        tokens, "with its own network" if own is True else f"the backbone alone: {own}",
        f"; {about['new_known']:,} new ones that it knows begin anew" if about["new_known"] else "",
    )  # fmt: skip


# ------------------------------------------------------------------------------- what fits
def _begin(
    method: ColdStartRecommender, dataset: ColdStartDataset, parent: Parent
) -> dict[str, Any]:
    """Put what fits of the parent into ``method``, as it was just built."""
    about = parent.kept.about
    _refuse_unlike(method, dataset, parent)
    refuse_damaged(parent.kept)
    new = Held.by(method, dataset)
    old, trained = _held(method, new, parent)
    fresh = {method.id_field: np.asarray(dataset.split.new_ids)}
    backbone = {name for name in new.state if name.startswith(_BACKBONE)}
    own, reason = _own_network(method, new, old, about)
    result = carry(old, new, taken=backbone | own, trained=trained, fresh=fresh)
    _refuse_left(backbone, new, old, result, parent)
    unfit = sorted(own & result.left.keys())
    if unfit:
        reason = f"of its own network '{unfit[0]}' does not fit: {result.left[unfit[0]]}"
        result = carry(old, new, taken=backbone, trained=trained, fresh=fresh)
    method.load_state_dict(result.state)
    method.restored()
    found, of = result.found[method.id_field]
    tokens = {**result.found, method.id_field: (found, of - len(dataset.split.new_ids))}
    return {
        "model": str(parent.kept.folder),
        "name": parent.kept.name,
        "sha256": parent.digest,
        "tokens": {field: list(pair) for field, pair in tokens.items()},
        "new_known": _known_new(method, dataset, old, trained),
        "own_network": reason or True,
        "same_data": about["data_hash"] == dataset.data_hash,
        "other_scales": _other_scales(method, dataset, about),
    }


def _refuse_unlike(method: ColdStartRecommender, dataset: Any, parent: Parent) -> None:
    """Refuse a parent whose backbone is another one, or reads other fields.

    Raises:
        UserError: says what differs.
    """
    about, config = parent.kept.about, method.config
    pairs = (
        ("backbone", about["config"].get("backbone"), config.backbone_name),
        ("embedding_size", about["config"].get("embedding_size"), config["embedding_size"]),
        ("cold_side", about["cold_side"], dataset.split.cold_side),
    )
    for key, before, now in pairs:
        if before != now:
            raise UserError(
                f"{KEY}: {parent} has {key}: {before}, and {config['model']} has {now}; give the "
                "same, or another model"
            )
    before = [
        (field["name"], _read_as(field["type"], field["name"] in about["numbers"]))
        for field in about["fields"]
        if field["tokens"] or field["side"] != "inter" or field["name"] in about["numbers"]
    ]
    rows = FeatureSource.INTERACTION
    now = [
        (name, _read_as(dataset.field2type[name].value, name in dataset.numbers))
        for name in dataset.fields()
        if dataset.field2type[name] in TOKEN_KINDS
        or dataset.field2source[name] != rows
        or name in dataset.numbers
    ]
    if before != now:
        told = (", ".join(f"{name} ({kind})" for name, kind in each) for each in (before, now))
        raise UserError(
            f"{KEY}: {parent} reads the fields {next(told)}, and this run {next(told)}; its layers "
            "mean those, in that order: choose them with load_col and numerical_features, or begin "
            "without it"
        )


def _read_as(kind: str, is_number: bool) -> str:
    """A field's type, and whether click models read it: numbers may be there for methods alone."""
    return f"{kind}, an input" if is_number else kind


def _held(
    method: ColdStartRecommender, new: Held, parent: Parent
) -> tuple[Held, dict[str, np.ndarray]]:
    """What the parent holds, items as they are served; and which of its tokens it has learned."""
    kept = parent.kept
    try:
        state = torch.load(kept.folder / WEIGHTS, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{KEY}: the weights of {parent} cannot be read ({first})") from error
    tokens, trained = {}, {}
    for field in kept.about["fields"]:
        if field["tokens"]:
            table = kept.tokens(field)
            tokens[field["name"]] = table["token"].combine_chunks()
            trained[field["name"]] = table["trained"].to_numpy()
    # Rows of some items alone are those of new ones, which begin anew; ``_own_network`` asks for
    # none of them.
    rows = {name: parts for name, parts in new.rows.items() if all(p.codes is None for p in parts)}
    old = Held(dict(state), tokens, rows, new.unowned)
    items = kept.table(kept.about["cold_side"])
    status = items["status"].to_numpy(zero_copy_only=False)
    served = np.isin(status, WITH_VECTORS) if "vector" in items.column_names else status == OLD
    is_old = torch.from_numpy(status == OLD)
    own = torch.from_numpy(served) & ~is_old  # their rows are not in the tables
    for name, column in ((_VECTORS, "vector"), (_WEIGHTS, "first_order")):
        if name in old.state and _numbers_of(items, column) == old.state[name].shape[1]:
            table = old.state[name]
            place = torch.from_numpy(rows_by_code(old, name)[method.id_field])
            values = torch.from_numpy(_flat(items[column]).reshape(len(items), -1)).to(table.dtype)
            # Of ALDIMF the vectors are factors: not even those of old items are in the tables.
            if torch.equal(values[is_old], table[place[is_old]]):
                table[place[own]] = values[own]
    trained[method.id_field] = served
    return old, trained


def _numbers_of(items: pa.Table, column: str) -> int:
    """How many numbers a column has in each row; 0 where there is no such column."""
    if column not in items.column_names:
        return 0
    kind = items.schema.field(column).type
    return kind.list_size if pa.types.is_fixed_size_list(kind) else 1


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of a column of numbers, or of vectors: float32."""
    found = column.combine_chunks()
    found = found.flatten() if pa.types.is_fixed_size_list(found.type) else found
    return np.array(found.to_numpy(zero_copy_only=False), np.float32)


def _known_new(
    method: ColdStartRecommender, dataset: Any, old: Held, trained: Mapping[str, np.ndarray]
) -> int:
    """How many of this run's new items the parent has learned."""
    field = method.id_field
    at = places_of(old.tokens[field], dataset.field2id_token[field])[dataset.split.new_ids]
    return int(trained[field][at[at >= 0]].sum())


def _own_network(
    method: ColdStartRecommender, new: Held, old: Held, about: Mapping[str, Any]
) -> tuple[set[str], str]:
    """What a method has learned apart from the backbone, by name; or why it is not taken.

    Learned are parameters, and the statistics of batch normalisation; other buffers are counts of
    the rows that a run has seen, and begin anew.
    """
    config = method.config
    if about["config"].get("model") != config["model"]:
        return set(), f"it is of {about['label']}"
    own = {name for name in method.state_dict() if not name.startswith(_BACKBONE)}
    norms = [
        f"{place}.{name}"
        for place, module in method.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, _ in module.named_buffers(recurse=False)
    ]
    learned = {name for name, _ in method.named_parameters()} | set(norms)
    coded = new.rows.keys() - old.rows.keys()
    taken = (learned & own) - coded
    return taken, "" if taken else "there is nothing else"


def _refuse_left(backbone: set[str], new: Held, old: Held, result: Carried, parent: Parent) -> None:
    """The backbone must come along whole.

    Raises:
        UserError: names a tensor that does not fit.
    """
    left = {name: why for name, why in result.left.items() if name in backbone}
    for name in old.state:
        if name.startswith(_BACKBONE) and name not in new.state:
            left[name] = "this run has none"
    if left:
        name = min(left)
        raise UserError(
            f"{KEY}: the backbone of {parent} does not fit: '{name.removeprefix(_BACKBONE)}': "
            f"{left[name]}; give the keys of the backbone that it was trained with ({ABOUT} has "
            "them under 'config')"
        )


def _other_scales(
    method: ColdStartRecommender, dataset: ColdStartDataset, about: Mapping[str, Any]
) -> list[str]:
    """Numbers that somebody reads and that the parent was trained with in another scale."""
    read = {*dataset.numbers, *method.backbone.side_fields}
    before = {field["name"]: field.get("scale") for field in about["fields"]}
    return [
        name
        for name, scale in dataset.scales.items()
        if name in read and _plain(asdict(scale)) != _plain(before.get(name) or {})
    ]


def _plain(scale: Mapping[str, Any]) -> dict[str, str]:
    """As a text: nan equals nan."""
    return {name: str(value) for name, value in scale.items()}
