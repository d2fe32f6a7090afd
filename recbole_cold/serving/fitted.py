"""A finished run's method that scores rows by the ids of the outside world.

Shape letters: n rows, b rows of a batch, d embedding size.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from recbole_cold.backbone._seam import Frozen
from recbole_cold.data.rows import Batch, Rows
from recbole_cold.device import FLOAT32, computing, scored_at_once
from recbole_cold.errors import UserError
from recbole_cold.evaluation.calibrators import calibrated
from recbole_cold.evaluation.metrics import evaluate_with_groups
from recbole_cold.experiment.model_folder import GROWN, NEW, WITH_VECTORS
from recbole_cold.serving import _cold
from recbole_cold.serving.encoding import (
    GENERATE,
    MEAN,
    Encoder,
    as_numbers,
    as_texts,
    policies_of,
    read_fields,
)
from recbole_cold.serving.frames import as_table, index_in, refuse_missing, refuse_twice, whole
from recbole_cold.serving.kept import Kept, find_kept, rebuild
from recbole_cold.serving.ranking import best_of
from recbole_cold.serving.report import Report

OWN, GENERATED = "own", "generated"


def load(
    run: str | Path,
    method: str | None = None,
    seed: int | None = None,
    phase: str | None = None,
    *,
    items: Any = None,
    users: Any = None,
    unseen: Mapping[str, str] | None = None,
    strict_ids: bool = False,
    device: str | None = None,
) -> "Fitted":
    """The model that a finished run kept (``keep_model``), ready to score; no data set is needed.

    Args:
        run: the folder of a run, ``RUN/METHOD@SEED``, or a model's own folder.
        method, seed, phase: which model, where the run has several; the last phase without it.
        items, users: features of further items and users, a frame with one row of each.
        unseen: field -> what is done with values that the run has never seen, if not the default:
            docs/serving.md.
        strict_ids: whether such a value is an error.
        device: as the configuration key; what the run would take here without it.

    Raises:
        UserError: there is no such model, it is damaged, or an argument does not fit it.
    """
    kept = find_kept(run, method, seed, phase)
    fitted = Fitted(kept, unseen=unseen, strict_ids=strict_ids, device=device)
    for side, frame in (("item", items), ("user", users)):
        if frame is not None:
            fitted.add(side, frame)
    return fitted


class Fitted:
    """A kept model. ``load`` makes it.

    Attributes:
        about: what ``model.json`` says.
        policies: field -> what is done with a value that the run has never seen.
        report: what the last call met.
    """

    def __init__(
        self,
        kept: Kept,
        *,
        unseen: Mapping[str, str] | None = None,
        strict_ids: bool = False,
        device: str | None = None,
    ) -> None:
        self.kept, self.about = kept, kept.about
        self.method, self.dataset = rebuild(kept, device)
        method, dataset = self.method, self.dataset
        self.label_field = dataset.label_field
        own = method.answers_unseen(), method.has_vectors
        self.policies = policies_of(dataset, method.id_field, *own, unseen)
        self.encoder = Encoder(dataset, self.policies, strict_ids)
        means = {f for f, word in self.policies.items() if word == MEAN} - {method.id_field}
        method.read_beyond(dataset.trained, means)
        self._own = {
            field: column
            for field, column in method.rows.features_of(method.id_field).items()
            if field != (method.config["COUNT_FIELD"] if method.config["use_count"] else None)
        }
        self._frozen: Frozen | None = None  # of the last call, until features are added
        self._further: dict[str, pa.Array] = {}
        for side in ("item", "user"):
            self._add_bare(side)
        listed = ~np.isin(dataset.status[dataset.split.cold_side], WITH_VECTORS)
        self._listed = torch.from_numpy(np.append(listed, True)).to(method.device)
        # Vectors of items without rows, made when first asked for.
        self._cold = method.mean_vector().detach().repeat(len(self._listed), 1)
        self._is_made = torch.full_like(self._listed, not method.has_vectors)
        # What is asked of the row's features, apart from the ids: fields of interactions.
        ids = (dataset.uid_field, dataset.iid_field)
        self.context = [name for name in read_fields(dataset)
                         if dataset.spec[name]["side"] == "inter" and name not in ids]  # fmt: skip

    @property
    def report(self) -> Report:
        return self.encoder.report

    def new_report(self) -> Report:
        """Begin to count anew; every call does, but those of one file."""
        self.encoder.report = Report()
        return self.encoder.report

    # ---------------------------------------------------------------- items and users
    def _add_bare(self, side: str) -> None:
        """One more row of features: that of an id of which nothing is known."""
        id_field = self.dataset.id_field_of(side)
        features = self.method.rows.features_of(id_field)
        more = {field: self._absent(field, 1) for field in features}
        _cold.extended(self.method.rows, id_field, more)
        self._further[side] = pa.array([], pa.large_string())

    def _absent(self, field: str, number: int) -> Tensor:
        if field in self.dataset.scales or self.dataset.spec[field]["tokens"]:
            return self.tensor(self.encoder.absent(field, number))
        return _cold.count_of_unseen(self.method).expand(number)

    def tensor(self, column: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(column)).to(self.method.device)

    def add(self, side: str, frame: Any) -> None:
        """Features of items (users) that the run does not know: one row each, by their ids.

        Those that the run knows keep the features they were trained with.

        Args:
            side: ``item`` or ``user``.
            frame: a pandas frame or an arrow table; features that it lacks are missing.

        Raises:
            UserError: there is no id column, or an id stands there twice.
        """
        id_field, encoder = self.dataset.id_field_of(side), self.encoder
        table = as_table(frame)
        refuse_missing(table, [id_field], f"the {side}s")
        texts = as_texts(id_field, whole(table[id_field]))
        known = (
            index_in(texts, pa.concat_arrays([encoder.known(id_field), self._further[side]])) >= 0
        )
        new = table.filter(pa.array(~known))
        texts = texts.filter(pa.array(~known))
        encoder.report.known += int(known.sum())
        refuse_twice(texts, side)
        features = self.method.rows.features_of(id_field)
        more = {
            field: self.tensor(encoder.column(field, whole(new[field])))
            if field in new.column_names and field in self.policies
            else self._absent(field, len(new))
            for field in features
        }
        _cold.extended(self.method.rows, id_field, more)
        self._frozen = None
        self._further[side] = pa.concat_arrays([self._further[side], texts])
        if side == self.dataset.split.cold_side:
            true = torch.ones(len(new), dtype=torch.bool, device=self.method.device)
            self._listed = torch.cat([self._listed, true])
            made = torch.full_like(true, not self.method.has_vectors)
            self._is_made = torch.cat([self._is_made, made])
            mean = self.method.mean_vector().detach()
            self._cold = torch.cat([self._cold, mean.repeat(len(new), 1)])

    def places(self, side: str, values: pa.Array) -> np.ndarray:
        """Where the features of ids are: their codes, else behind those, int64 [n]."""
        field = self.dataset.id_field_of(side)
        code, texts = self.encoder.ids(field, values)
        unseen = code == 0
        if side == self.dataset.split.cold_side:
            unseen |= ~np.isin(self.dataset.status[side][code], WITH_VECTORS)
        self.encoder.refuse(field, texts, unseen)
        if unseen.any():
            self.encoder.report.unseen[field] += len(texts.filter(pa.array(unseen)).unique())
        n = self.dataset.num(field)
        further = index_in(texts, self._further[side])
        return np.where(code > 0, code, n + 1 + further)

    # ---------------------------------------------------------------- vectors of unseen items
    def _make(self, place: Tensor) -> None:
        """Make the vectors of items without rows at these places, where they were not yet."""
        method, id_field = self.method, self.method.id_field
        wanted = torch.unique(place[self._listed[place] & ~self._is_made[place]])
        bare = self.dataset.num(id_field)
        wanted = wanted[wanted != bare]
        if not len(wanted) or self.policies[id_field] != GENERATE or not self._own:
            return
        features = method.rows.features_of(id_field)
        values = {}
        for field in self._own:
            column = features[field].index_select(0, wanted)
            if not column.is_floating_point():
                # The tables of a generator end where the run's do.
                column = column.masked_fill(column >= self.dataset.num(field), 0)
            values[field] = column
        own = {field: features[field][:bare] for field in self._own}
        seed, names = int(self.about["seed"]), self._names_at(wanted)
        self._cold[wanted] = _cold.cold_vectors(method, own, values, names, seed)
        self._is_made[wanted] = True

    def _names_at(self, place: Tensor) -> list[str]:
        """Ids of the cold side by their places."""
        n, tokens = self.dataset.num(self.method.id_field), self.dataset.field2id_token
        further = self._further[self.dataset.split.cold_side]
        return [tokens[self.method.id_field][at] if at < n else further[at - n - 1].as_py()
                for at in place.tolist()]  # fmt: skip

    def _policy_of(self, place: Tensor) -> np.ndarray:
        """How each row's item is answered: 0 own, 1 generated, 2 the mean."""
        answer = torch.zeros_like(place)
        unseen = self._listed[place]
        answer[unseen] = 2 - self._is_made[place[unseen]].long()
        return answer.cpu().numpy()

    # ---------------------------------------------------------------- scoring
    def encoded(self, table: pa.Table) -> dict[str, Tensor]:
        """The columns of rows as the method reads them."""
        dataset = self.dataset
        needed = [dataset.uid_field, dataset.iid_field, *self.context]
        refuse_missing(table, needed, "the rows")
        columns = {
            dataset.id_field_of(side): self.places(side, whole(table[dataset.id_field_of(side)]))
            for side in ("user", "item")
        }
        for field in self.context:
            columns[field] = self.encoder.column(field, whole(table[field]))
        return {field: self.tensor(column) for field, column in columns.items()}

    def scored(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Click probabilities float64 [n] of encoded rows."""
        method, place = self.method, columns[self.method.id_field]
        with computing(method.device, FLOAT32):
            self._make(place)
            return self._scored(columns, place)

    def _scored(self, columns: Mapping[str, Tensor], place: Tensor) -> Tensor:
        method = self.method
        scores = torch.empty(len(place), dtype=torch.float64, device=method.device)
        size = scored_at_once(method.config, method.device)
        rows = self.shown(columns)
        with torch.no_grad(), method.backbone.frozen_tables(self._frozen) as self._frozen:
            for start in range(0, len(place), size):
                end = min(start + size, len(place))
                index = torch.arange(start, end, device=method.device)
                scores[start:end] = self._chances(rows.batch(index))
        return scores

    def shown(self, columns: Mapping[str, Tensor]) -> Rows:
        """Rows whose columns are these, encoded ones; those that the method keeps stay its own."""
        rows = self.method.rows.view()
        rows.columns.update(columns)
        return rows

    def _chances(self, batch: Batch) -> Tensor:
        """As the run scored rows; items without rows get their cold vectors."""
        method, ids = self.method, batch[self.method.id_field]
        unseen = self._listed[ids]
        if not bool(unseen.any()):
            return method.predict(batch)
        vector, weight, bias = self.served_at(ids)
        more = self.more_at(ids, vector)
        logit = method.served_logits(batch, vector, weight, more).double()
        return torch.sigmoid(logit if bias is None else logit + bias)

    @torch.no_grad()
    def served_at(self, place: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """What the items at places [b] are scored with: vectors [b, d], if they have any, scalar
        weights [b, 1] (zeros where the backbone has none) and the numbers [b] that are added to
        logits, if any."""
        method = self.method
        self._make(place)
        unseen = self._listed[place]
        known = torch.where(unseen, method.old_ids[0], place)
        vector, weight = method.kept_vectors(known)
        if vector is not None:
            vector = torch.where(unseen[:, None], self._cold[place], vector)
        if weight is None:
            weight = torch.zeros(len(place), 1, device=method.device)
        weight = torch.where(unseen[:, None], method.cold_first_order()[:1], weight)
        if not method.has_item_bias():
            return vector, weight, None
        slot = torch.where(unseen, -1, method.shift_index[known])
        return vector, weight, torch.where(slot >= 0, method.new_shift[slot.clamp(min=0)], 0.0)

    @torch.no_grad()
    def more_at(self, place: Tensor, vector: Tensor | None) -> dict[str, Tensor]:
        """What else the items at places [b] are scored with, given their vectors."""
        if vector is None:
            return {}
        nothing = self._listed[place] & ~self._is_made[place]
        bare = self.dataset.num(self.method.id_field)
        return self.method.more_served(torch.where(nothing, bare, place), vector)

    def score_table(self, table: pa.Table) -> tuple[np.ndarray, pa.Array]:
        """Scores float64 [n] of rows, and how each was answered (``own``, ``generated``, ``mean``;
        behind a + the other side's id, where that was unseen). The report goes on counting."""
        columns = self.encoded(table)
        scores = self.scored(columns).cpu().numpy()
        answer = self._policy_of(columns[self.method.id_field])
        words = [OWN, GENERATED, MEAN]
        other = self.method.other_field
        beyond = (columns[other] >= self.dataset.num(other)).cpu().numpy()
        words += [f"{word}+{other}:{self.policies[other]}" for word in words]
        code = (answer + 3 * beyond).astype(np.int8)
        for number, count in enumerate(np.bincount(code, minlength=len(words))):
            if count:
                self.report.answers[words[number]] += int(count)
        self.report.rows += len(code)
        return scores, pa.DictionaryArray.from_arrays(pa.array(code), pa.array(words))

    def score(self, frame: Any, calibrated: bool = False) -> np.ndarray:
        """Click probabilities float64 [n] of rows: a frame with user, item and context fields.

        Args:
            calibrated: whether by the curve that the run fitted (``calibrate``), or as it scored.

        Raises:
            UserError: a field is missing, a value is refused, or the run fitted no curve.
        """
        self.new_report()
        scores, _ = self.score_table(as_table(frame))
        self.tell_hints()
        return self.calibrated(scores) if calibrated else scores

    def calibrated(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities float64 [n] by the curve that the run fitted.

        Raises:
            UserError: it fitted none.
        """
        if "calibration" not in self.about:
            raise UserError(
                f"{self.kept.name} has no calibration; run again with --calibrate=platt or "
                "isotonic (its log.txt says why there is none, if it was asked for)"
            )
        return calibrated(scores, self.about["calibration"])

    def tell_hints(self) -> None:
        self.report.notes += self.encoder.hints()

    # ---------------------------------------------------------------- vectors, metrics
    def vectors(self, items: Any = None) -> np.ndarray:
        """Embeddings [n, d] that ids of the cold side are served with.

        Args:
            items: their ids; ``None``: all old and new ones, as ``ids`` lists them.

        Raises:
            UserError: the method has no vectors.
        """
        self.new_report()
        values = self.ids() if items is None else list(items)
        side = self.dataset.split.cold_side
        place = self.tensor(self.places(side, pa.array([str(value) for value in values],
                                                         pa.large_string())))  # fmt: skip
        vector, _, _ = self.served_at(place)
        if vector is None:
            raise UserError(
                f"{self.about['label']} scores the items by states of its own network and has no "
                "vectors of them; score rows with it"
            )
        return vector.cpu().numpy()

    def ids(self, which: str = "all") -> list[str]:
        """The ids of the cold side that have vectors of their own, by code.

        Args:
            which: ``all`` or ``new``, grown ones among these.
        """
        side = self.dataset.split.cold_side
        status = self.dataset.status[side]
        wanted = np.isin(status, (NEW, GROWN) if which == "new" else WITH_VECTORS)
        tokens = self.dataset.field2id_token[self.method.id_field]
        return [tokens[int(code)] for code in np.flatnonzero(wanted)]

    def evaluate(self, frame: Any) -> dict[str, float]:
        """The run's metrics on rows with labels: by the label rule of the run.

        Raises:
            UserError: the label's field is missing, or a label is none.
        """
        self.new_report()
        table = as_table(frame)
        label = self.labels(table)
        columns = self.encoded(table)
        scores = self.scored(columns)
        config = self.method.config
        groups = {"cold": columns[self.method.id_field], "user": columns[self.dataset.uid_field]}
        wanted = [name for name in config["metrics"] if name != "RelaImpr"]
        labels = self.tensor(label.astype(np.float32))
        values, _ = evaluate_with_groups(scores, labels, wanted, config["f1_threshold"], groups)
        return values

    def labels(self, table: pa.Table) -> np.ndarray:
        """Labels 0 and 1 of rows by the label rule of the run: float64 [n].

        Raises:
            UserError: the label's field is missing, or a label is none.
        """
        rule = self.about["label_rule"]
        refuse_missing(table, [rule["field"]], "the rows")
        given = as_numbers(rule["field"], whole(table[rule["field"]]))
        if np.isnan(given).any():
            raise UserError(f"{int(np.isnan(given).sum()):,} rows have no '{rule['field']}'")
        label = given if rule["least"] is None else (given >= rule["least"]).astype(float)
        if not np.isin(label, (0.0, 1.0)).all():
            odd = label[~np.isin(label, (0.0, 1.0))][0]
            raise UserError(
                f"the label '{rule['field']}' has the value {odd:g}; use only 0 and 1, as the run"
            )
        return label

    def topk(
        self,
        users: Any,
        k: int = 10,
        candidates: str | Sequence[Any] = "all",
        seen: Any = None,
    ) -> pd.DataFrame:
        """The ``k`` best items of each user: columns user, rank (from 1), item, score.

        Ties are in the order of the item ids, as texts.

        Args:
            users: ids, or a frame with the user field and all context fields of the model, one row
                per user.
            k: how many.
            candidates: ``all`` items of the run, its ``new`` ones, or a list of ids.
            seen: a frame of user and item ids; these pairs are left out.

        Raises:
            UserError: the model reads fields of a row, and ``users`` does not give them.
        """
        self.new_report()
        found = pd.concat(list(best_of(self, users, k, candidates, seen)), ignore_index=True)
        self.tell_hints()
        return found
