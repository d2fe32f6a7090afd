"""What can end the warm phase of any method: one number per new item, or vectors by MAP.

Both are fitted on all rows of new items seen so far, phase by phase anew.
"""

import logging
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from recbole_cold.device import scored_at_once
from recbole_cold.errors import UserError
from recbole_cold.model import _item_bias, _map
from recbole_cold.model._token_rows import TokenRows
from recbole_cold.seeding import generator

logger = logging.getLogger(__name__)


class SeenRows(nn.Module):
    """Numbers of the rows seen in warm phases, ascending; part of a method's state."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.index = torch.empty(0, dtype=torch.long, device=device)

    def add(self, index: Tensor) -> None:
        self.index = torch.cat([self.index, index]).unique()

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        """Numbers of the data's rows have no place in other data."""
        return {"_extra_state": ()}

    def get_extra_state(self) -> Tensor:
        return self.index

    def set_extra_state(self, state: Tensor) -> None:
        self.index = state.to(self.index.device)


def prepare(method) -> None:
    """Import what the ends of phases need, before a clock runs; most methods need nothing.

    Raises:
        UserError: ``warm: map`` moves the vectors that the backbone reads, and the method has a
            network of its own.
    """
    if method.has_item_bias():
        import_module("scipy.optimize")
    if method.config["warm"] == "map" and not method.backbone.reads_vector:
        raise UserError(
            f"warm: map moves ID vectors, and {type(method).__name__} has a network of its own; "
            "use item_bias: True, which any method can end its phases with"
        )


@torch.no_grad()
def note_rows(method, index: Tensor) -> None:
    """Note new rows before ``method`` learns from them, and how much items differ in them.

    ``item_bias_variance: auto`` is read off the scores of rows that nothing was learned from yet.
    Of rows that were, a method has explained what it can, and their residuals are too small.
    """
    if method.config["item_bias_variance"] == "auto" and len(index):
        method.set_mode("evaluate")
        ascending = index.unique()
        with method.backbone.frozen_tables():
            if method.config["warm"] == "map":  # whose prior is around the cold vectors
                rows = _rows_of(method, ascending)
                scored = rows.logits(method.cold_rows), rows.label, rows.item
            else:
                scored = _logits(method, ascending), *_labels_and_items(method, ascending)
        drawn = generator(method.config["seed"], "item bias", len(method.rows_seen.index))
        variance = _item_bias.learned_variance(*scored, len(method.new_shift), drawn)
        method.residual_variance.fill_(variance)
    method.rows_seen.add(index)


@torch.no_grad()
def fit_seen(method, phase: str) -> None:
    """Fit what the configuration asks for on the rows that ``method`` has seen."""
    if not len(method.rows_seen.index):
        return
    method.set_mode("evaluate")
    with method.backbone.frozen_tables():
        if method.config["warm"] == "map":
            _fit_vectors(method, phase)
        else:
            _fit_numbers(method, phase)


def _at_once(method) -> int:
    return scored_at_once(method.config, method.device)


def _pieces(method, index: Tensor) -> list[Any]:
    return [method.rows.batch(part) for part in index.split(_at_once(method))]


def _logits(method, index: Tensor) -> Tensor:
    """The method's own logits [n] of rows, float64."""
    return torch.cat([method.logits(batch) for batch in _pieces(method, index)]).double()


def _labels_and_items(method, index: Tensor) -> tuple[Tensor, Tensor]:
    columns = method.rows.columns
    return (
        columns[method.label_field][index].double(),
        method.shift_index[columns[method.id_field][index].long()],
    )


def _variance(method) -> float:
    given = method.config["item_bias_variance"]
    return float(method.residual_variance) if given == "auto" else float(given)


def _fit_numbers(method, phase: str) -> None:
    index = method.rows_seen.index
    rows = (_logits(method, index), *_labels_and_items(method, index))
    variance = _variance(method)
    found = _item_bias.fit(*rows, len(method.new_shift), variance)
    method.new_shift.copy_(found.shift + found.bias)
    logger.info("%s: item bias with variance %.3g, shift %.3g", phase, variance, found.shift)


def _rows_of(method, index: Tensor) -> _map.Rows:
    """The rows, item by item, in pieces of about as many as are scored at once."""
    label, item = _labels_and_items(method, index)
    item, order = torch.sort(item, stable=True)
    index, label = index[order], label[order]
    count_u = torch.unique_consecutive(item, return_counts=True)[1]
    # A piece ends with the item that fills it.
    filled_u = count_u.cumsum(0).div(_at_once(method), rounding_mode="floor")
    sizes = torch.zeros(int(filled_u[-1]) + 1, dtype=torch.long, device=item.device)
    sizes = sizes.index_add(0, filled_u, count_u)
    sizes = sizes[sizes > 0].tolist()

    def piece(own: Tensor, label: Tensor, item: Tensor) -> _map.Piece:
        batch, weight = method.rows.batch(own), None
        if method.backbone.has_first_order:
            weight = method.new_first_order.detach()[item]
        return _map.Piece(
            lambda vector_nd: method.backbone.logits(batch, vector_nd, weight), label, item
        )

    parts = zip(index.split(sizes), label.split(sizes), item.split(sizes), strict=True)
    return _map.Rows([piece(*part) for part in parts])


def _fit_vectors(method, phase: str) -> None:
    """Vectors around the cold ones. Half of the rows choose how far they may move."""
    index, prior_md = method.rows_seen.index, method.cold_rows
    rows = _rows_of(method, index)
    variance = _variance(method)
    deviation = method.config["map_deviation"]
    if deviation == "auto":
        drawn = generator(method.config["seed"], "map", phase)
        half = torch.randperm(len(index), generator=drawn).to(index.device) < len(index) / 2
        seen, later = _rows_of(method, index[half]), _rows_of(method, index[~half])
        old = method.backbone.id_vectors(method.old_ids).detach()
        unit = float((old - old.mean(dim=0)).square().mean().sqrt())
        deviation = _map.chosen_deviation(seen, later, prior_md, unit, variance)
    vectors, found = _map.fit(rows, prior_md, float(deviation), variance)
    method.new_vectors.copy_(vectors)
    method.new_shift.copy_(found.shift + found.bias)
    logger.info(
        "%s: vectors within %.3g of their cold ones, item bias with variance %.3g",
        phase, float(deviation), variance,
    )  # fmt: skip
