"""Scores rows with a method as it is now, and measures what came out."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recbole_cold.backbone._modes import evaluating
from recbole_cold.data.rows import Batch
from recbole_cold.device import narrowed, scored_at_once
from recbole_cold.evaluation.bootstrap import auc_error
from recbole_cold.evaluation.metrics import auc, evaluate_with_groups, reliability, score_warnings
from recbole_cold.model._method import ColdStartRecommender


class Scoring:
    """Scores and metrics of one method, or of the plain backbone under it.

    Args:
        method: whose ``predict`` gives click probabilities.
    """

    def __init__(self, method: ColdStartRecommender) -> None:
        self.method, self.config = method, method.config

    @torch.no_grad()
    def scores(self, index: Tensor, predict: Callable[[Batch], Tensor] | None = None) -> Tensor:
        """Click probabilities float64 [n] of the rows ``index`` [n], in one pre-allocated tensor.

        Args:
            predict: what scores a batch; ``None`` is the method.
        """
        method, predict = self.method, predict or self.method.predict
        method.set_mode("evaluate")
        scores = torch.empty(len(index), dtype=torch.float64, device=index.device)
        size = scored_at_once(self.config, index.device)
        with method.backbone.frozen_tables():
            for start in range(0, len(index), size):
                batch = method.rows.batch(index[start : start + size])
                with narrowed(method.device, self.config["precision"]):
                    scores[start : start + size] = predict(batch)
        return scores

    def labels(self, index: Tensor) -> Tensor:
        return self.method.rows.columns[self.method.label_field][index]

    # ---------------------------------------------------------------- the method
    def of_phase(self, rows: Any) -> tuple[Tensor, dict[str, Any]]:
        """Scores of the rows, and what ``results.json`` tells of them."""
        index = self.method.rows.index(rows)
        scores, labels = self.scores(index), self.labels(index)
        values, groups = self._metrics(index, scores, labels)
        told: dict[str, Any] = {
            "rows": len(index),
            "positives": int(labels.sum()),
            "metrics": values,
            "warnings": score_warnings(scores, labels, values),
        }
        if groups:
            told["groups"] = groups
        if "AUC" in values:
            told["auc_error"] = auc_error(scores.cpu().numpy(), labels.cpu().numpy())
        if (bins := reliability(scores, labels)) is not None:
            told["reliability"] = bins
        return scores, told

    def of_old_items(self, rows: Any, before: float) -> dict[str, Any]:
        """AUC of old items' held-out rows now, and as it was after pre-training."""
        return {"rows": len(rows), "before": before, "AUC": self._auc(rows, self.method.predict)}

    def _metrics(self, index: Tensor, scores: Tensor, labels: Tensor) -> tuple[dict, dict]:
        """The configured metrics of scored rows, and what those inside groups rest on."""
        wanted = [name for name in self.config["metrics"] if name != "RelaImpr"]
        if not len(index):
            return dict.fromkeys(wanted, math.nan), {}
        method = self.method
        codes = {"cold": method.id_field, "user": method.rows.user_field}
        columns = {name: method.rows.columns[field] for name, field in codes.items()}
        groups = {name: column[index] for name, column in columns.items()}
        return evaluate_with_groups(scores, labels, wanted, self.config["f1_threshold"], groups)

    def _auc(self, rows: Any, predict: Callable[[Batch], Tensor]) -> float:
        index = self.method.rows.index(rows)
        return auc(self.scores(index, predict), self.labels(index))

    # ---------------------------------------------------------------- the plain backbone
    def pretrained_auc(self, rows: Any) -> float:
        """AUC of old items' held-out rows by the backbone as pre-trained.

        A method with a network of its own has none: NaN.
        """
        if self.method.network is not None:
            return math.nan
        with evaluating(self.method):
            return self._auc(rows, self._plain_chance)

    def plain_cold_metrics(self, rows: Any) -> dict[str, float]:
        """Metrics of the rows by the backbone as it is now, without rows for new items."""
        method, plain = self.method, ColdStartRecommender
        index = method.rows.index(rows)
        predict = self._plain_chance
        with evaluating(method):
            if len(method.new_ids):
                with torch.no_grad():
                    vectors = plain.cold_vectors(method)
                    first_order = plain.cold_first_order(method)
                predict = self._with_vectors(vectors, first_order)
            return self._metrics(index, self.scores(index, predict), self.labels(index))[0]

    def _plain_chance(self, batch: Batch) -> Tensor:
        return torch.sigmoid(self.method.backbone.logits(batch).double())

    def _with_vectors(self, vectors: Tensor, first_order: Tensor) -> Callable[[Batch], Tensor]:
        """Click probabilities of new items' rows with these vectors and one first-order weight."""
        method = self.method

        def predict(batch: Batch) -> Tensor:
            vector = vectors[method.new_index[batch[method.id_field]]]
            weight = None
            if method.backbone.has_first_order:
                weight = first_order.expand(len(vector), 1)
            return torch.sigmoid(method.backbone.logits(batch, vector, weight).double())

        return predict
