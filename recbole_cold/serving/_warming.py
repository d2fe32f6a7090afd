"""What a grown model does with its new items: their first vectors, and a warm phase on their rows.

Shape letters: k items that begin, m new items, d embedding size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cold.data.phases import LETTERS
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.serving import _cold
from recbole_cold.serving.fitted import Fitted
from recbole_cold.training.trainer import Trainer

Array = np.ndarray


def without_bare_row(fitted: Fitted) -> None:
    """Features of the items alone: what methods read side by side with tensors of all items."""
    features, n = fitted.method.rows.features_of(fitted.method.id_field), fitted.method.n_ids
    for name, column in features.items():
        features[name] = column[:n]


@torch.no_grad()
def start(fitted: Fitted, codes: Array) -> None:
    """Give the items ``codes`` their first vectors, as ``start_new_items`` does in a run."""
    method = fitted.method
    if not len(codes):
        return
    ids = method.rows.index(codes)
    slot = method.new_index[ids]
    for each in method.untouched() or ():
        before = each.state[each.index]
        value = torch.as_tensor(each.value, dtype=before.dtype, device=before.device)
        each.state[each.index[slot]] = value.expand_as(before)[slot]
    method.feed_counts()
    vectors = _first_vectors(fitted, ids)
    method.new_vectors[slot] = vectors
    method.cold_rows[slot] = vectors
    weight = method.cold_first_order()
    method.new_first_order[slot] = weight.expand(len(slot), 1) if len(weight) == 1 else weight[slot]
    method.new_shift[method.shift_index[ids]] = 0.0
    method.new_items_started.fill_(True)


def _first_vectors(fitted: Fitted, ids: Tensor) -> Tensor:
    """The method's own cold answer, or else its rule for new items: [k, d]."""
    method = fitted.method
    if method.answers_unseen():
        features = method.rows.features_of(method.id_field)
        own = {name: column for name, column in features.items() if name in fitted.policies}
        values = {name: column[ids] for name, column in own.items()}
        names = fitted.dataset.field2id_token[method.id_field][ids.cpu().numpy()].tolist()
        return _cold.cold_vectors(method, own, values, names, int(fitted.about["seed"]))
    if method.config["new_item_init"] == "zero":
        return torch.zeros_like(method.new_vectors[: len(ids)])
    return method.old_mean().detach().expand(len(ids), -1)


def learn(method: ColdStartRecommender, seed: int, name: str, index: Array) -> None:
    """A warm phase on the rows ``index`` of the method's columns; only their items' rows move.

    In a run every new item has rows in each phase, and some methods decode all of them anew. Here
    items without a row keep their vectors. What a method fits on all rows seen so far comes after.
    """
    items = method.rows.columns[method.id_field][method.rows.index(index)]
    touched = torch.zeros(len(method.new_ids), dtype=torch.bool, device=method.device)
    touched[method.new_index[items]] = True
    before = [each.detach().clone() for each in (method.new_vectors, method.new_first_order)]
    end: Callable[[str], None] = method.end_phase

    @torch.no_grad()
    def put_back_then_end(phase: str) -> None:
        for each, value in zip((method.new_vectors, method.new_first_order), before, strict=True):
            each.copy_(torch.where(touched[:, None], each, value))
        with torch.enable_grad():
            end(phase)

    method.end_phase = put_back_then_end  # type: ignore[method-assign]
    try:
        Trainer(method, seed).warm_up(name, index)
    finally:
        del method.end_phase


def next_phase(about: Any) -> str:
    """The name of the phase after the model's: the run's next one, then ``warm_`` and letters."""
    known = [name for name, *_ in about["phases"]]
    rest = known[known.index(about["phase"]) + 1 :]
    if rest:
        return str(rest[0])
    return warm_name(sum(name.startswith("warm_") for name in known))


def warm_name(number: int) -> str:
    """``warm_a`` for 0, ``warm_z`` for 25, ``warm_aa`` for 26, and so on."""
    letters = ""
    number += 1
    while number:
        number, at = divmod(number - 1, len(LETTERS))
        letters = LETTERS[at] + letters
    return f"warm_{letters}"
