"""Base classes of few-shot learners, which score an item's rows by a state made of its support.

Such a method has its own network with two functions, ``state`` (computed from the support) and
``task_logits`` (scores given the state), and a loss of episodes. It is meta-trained on old items as
if they were new; in every phase a new item's state is computed from all its rows seen so far.

Where rows are sessions no item is new, and a task is a user: his state is computed from the targets
that he has in ``train``, and in the phases meta-training goes on with held-out targets as queries.
"Item" below means what a task is. Shape letters: t tasks, k rows of a task, p width of the own
side, q of everything else, b rows of a batch, m items with a support of their own.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.utils import FeatureSource
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._beyond import read_beyond
from recbole_cold.backbone._seam import Backbone, OwnNetwork, build_backbone
from recbole_cold.backbone._shortcuts import view
from recbole_cold.data.episodes import Episode, FewShotBatches
from recbole_cold.data.rows import Batch
from recbole_cold.device import whole
from recbole_cold.distinct import codes_in
from recbole_cold.errors import UserError
from recbole_cold.keys import COUNT, EPOCHS, Key
from recbole_cold.kinds import flag
from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._inner import Chunks
from recbole_cold.model._layers import click_loss
from recbole_cold.model._method import FINE_TUNING, ColdStartRecommender
from recbole_cold.model._supports import QueryBatches, supports_of, times_of_tasks

logger = logging.getLogger(__name__)

State = dict[str, Tensor]
# States of items are kept between batches up to this size, and made anew for each beyond it.
_STATE_BYTES = 2**31


class TaskRows(NamedTuple):
    """Rows of tasks, embedded and padded: ids [t], own [t, p], other [t, k, q], label and mask
    [t, k]. ``own`` is the same for all rows of a task, and also there where a task has no row."""

    ids_t: Tensor
    own_tp: Tensor
    other_tkq: Tensor
    label_tk: Tensor
    mask_tk: Tensor

    def inputs(self) -> Tensor:
        """Both sides of every row: [t, k, p + q]."""
        own_tkp = self.own_tp[:, None].expand(-1, self.other_tkq.shape[1], -1)
        return torch.cat([own_tkp, self.other_tkq], dim=2)

    def empty(self) -> "TaskRows":
        """The same tasks with all rows masked."""
        rows = (part[:, :0] for part in (self.other_tkq, self.label_tk, self.mask_tk))
        return TaskRows(self.ids_t, self.own_tp, *rows)


class FieldGroup:
    """Some of a model's fields, embedded by RecBole's code from the model's own tables."""

    def __init__(self, model: ContextRecommender, fields: Iterable[str]) -> None:
        fields = set(fields)
        twin = view(model)
        for kind in ("token", "float"):
            names = getattr(model, f"{kind}_field_names")
            kept = [n for n, name in enumerate(names) if name in fields]
            setattr(twin, f"{kind}_field_names", [names[n] for n in kept])
            if kept:
                table = view(getattr(model, f"{kind}_embedding_table"))
                table.offsets = table.offsets[kept]
                # Hooks on the whole table know its positions, not these.
                table._forward_hooks, table._forward_pre_hooks = OrderedDict(), OrderedDict()
                if kind == "token":
                    twin.token_field_dims = [model.token_field_dims[n] for n in kept]
                    twin.token_field_offsets = table.offsets
                twin._modules[f"{kind}_embedding_table"] = table
        for kind in ("token_seq", "float_seq"):
            names = getattr(model, f"{kind}_field_names")
            kept = [n for n, name in enumerate(names) if name in fields]
            setattr(twin, f"{kind}_field_names", [names[n] for n in kept])
            tables = getattr(model, f"{kind}_embedding_table", None)
            if tables is not None:
                picked = nn.ModuleList(tables[n] for n in kept)
                twin._modules[f"{kind}_embedding_table"] = picked
        # RecBole embeds sequences before single tokens.
        kinds = ("token_seq", "token", "float_seq", "float")
        self.names: list[str] = [n for k in kinds for n in getattr(twin, f"{k}_field_names")]
        self.view, self._size = twin, model.embedding_size
        self._like = model.token_embedding_table.embedding

    @property
    def width(self) -> int:
        return len(self.names) * self._size

    def __call__(self, interaction: Mapping[str, Tensor], n_rows: int) -> Tensor:
        """The embedded fields of ``n_rows`` rows, side by side in the order of ``names``: [b, p]"""
        if not self.names or n_rows == 0:
            return self._like.weight.new_zeros(n_rows, self.width)
        return self.view.concat_embed_input_fields(interaction).flatten(1)


class FewShotNetwork(ContextRecommender):
    """The embedding tables of a few-shot learner; subclasses add layers and two functions.

    The ID of a task is left out unless ``own_id``: a new item's row was never trained.

    Attributes:
        own: the fields of the tasks' side, ``own.width`` is p.
        other: all other fields, ``other.width`` is q.
    """

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        user_side = dataset.split.task_side == "user"
        self.id_field = dataset.uid_field if user_side else dataset.iid_field
        self.id_word = "user" if user_side else "item"
        sources = (
            (FeatureSource.USER, FeatureSource.USER_ID)
            if user_side
            else (FeatureSource.ITEM, FeatureSource.ITEM_ID)
        )
        own = set(dataset.fields(source=list(sources)))
        # Plain attributes: a registered view would double every key of the state dict.
        self.__dict__["own"] = FieldGroup(self, own - ({self.id_field} - self._wanted(config)))
        self.__dict__["other"] = FieldGroup(self, set(self.field_names) - own)
        self.tokens = dataset.field2id_token[self.id_field]

    def _wanted(self, config) -> set[str]:
        return {self.id_field} if config["own_id"] else set()

    # ---------------------------------------------------------------- the two questions
    def state(self, support: TaskRows) -> State:
        """The state of each task, computed from its support: tensors with a leading axis t.

        A task without any real row gets an unadapted state.
        """
        raise NotImplementedError

    def task_logits(self, state: State, rows: TaskRows) -> Tensor:
        """Logits [t, k] of rows, given their tasks' states; labels are not read."""
        raise NotImplementedError

    # ---------------------------------------------------------------- tools
    def names_of(self, tasks: TaskRows) -> Callable[[int], str]:
        """The item (or user) of a task in words, for ``adapt``."""
        return lambda task: f"{self.id_word} '{self.tokens[int(tasks.ids_t[task])]}'"

    def forward(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """Logits [b] of rows whose items have no support."""
        ids = interaction[self.id_field]
        own, other = self.own(interaction, len(ids)), self.other(interaction, len(ids))
        label = own.new_zeros(len(ids), 1)
        rows = TaskRows(ids, own, other[:, None], label, torch.ones_like(label))
        return self.task_logits(self.state(rows.empty()), rows)[:, 0]

    def predict(self, interaction: Mapping[str, Tensor]) -> Tensor:
        return torch.sigmoid(self.forward(interaction))

    def calculate_loss(self, interaction: Mapping[str, Tensor]) -> Tensor:
        label = interaction[self.LABEL]
        return F.binary_cross_entropy_with_logits(self.forward(interaction), label)


def row_loss(logit_tk: Tensor, rows: TaskRows) -> Tensor:
    """Mean binary cross entropy of each task's real rows: [t]."""
    return click_loss(logit_tk, rows.label_tk, rows.mask_tk)


class FewShotRecommender(ColdStartRecommender):
    """Meta-training on old items and serving of new ones; subclasses name their ``network``.

    There is no pre-training and no optimizer step in the phases: each phase adds rows to the new
    items' supports. An item without any is scored unadapted. In sessions supports stand from the
    beginning, and the phases go on with meta-training.
    """

    serves = ("warm",)
    needs_new_items: ClassVar = False
    # It learns by meta_epochs alone; sessions fine-tune, but not while settings are chosen.
    idle_keys: ClassVar = ("pretrain_epochs", *FINE_TUNING)
    network: ClassVar[type[FewShotNetwork]]
    keys: ClassVar = (
        Key("own_id", flag()),
        Key("episode_support", COUNT),
        Key("episode_query", COUNT),
        Key("meta_batch_size", COUNT),
        Key("meta_epochs", EPOCHS),
        Key("task_chunk", COUNT),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        split = dataset.split
        self.task_field = dataset.uid_field if split.task_side == "user" else dataset.iid_field
        self._time = times_of_tasks(dataset)
        self._all_ids = np.asarray(dataset.inter[self.task_field])
        self._train = np.asarray(dataset.split["train"])
        self._chunks = Chunks(config["task_chunk"])
        self._states: State | None = None
        self._keeps_states = True
        self.supports = supports_of(dataset, self.task_field, self.rows, config["episode_support"])

    def make_backbone(self, config, dataset) -> Backbone:
        return build_backbone(config, dataset, self.rows, self.id_field, OwnNetwork)

    @property
    def net(self) -> FewShotNetwork:
        return self.backbone.model

    # ---------------------------------------------------------------- meta-training
    def pretrain_fits(self) -> list[Fit]:
        return []

    def trainable(self, stage: str) -> list[nn.Parameter]:
        moves = stage == "learn" or not self.supports.grow
        return list(self.backbone.parameters()) if moves else []

    def warm_fits(self, index: Tensor) -> list[Fit]:
        return [] if self.supports.grow else [self.query_fit(index)]

    def adapts(self, warmed_up: bool) -> bool:
        return not self.supports.grow or super().adapts(warmed_up)

    def learn_fits(self) -> list[Fit]:
        return [self.meta_fit()]

    def meta_fit(
        self,
        name: str = "meta-train",
        loss: Callable[[Episode], Tensor] | None = None,
        parameters: Sequence[nn.Parameter] | None = None,
        epochs: int | None = None,
    ) -> Fit:
        """A ``Fit`` over tasks of all old items; its default loss is ``episode_loss``."""
        loss = loss or self.episode_loss
        parameters = self.trainable("learn") if parameters is None else parameters
        step = Step(
            lambda episode: self._within_memory(loss, episode, parameters),
            parameters,
            self.config["learning_rate"],
            self.config["weight_decay"],
        )
        epochs = self.config["meta_epochs"] if epochs is None else epochs
        return Fit(name, [step], self.batches(), epochs=epochs, mode="train")

    def query_fit(self, index: Tensor) -> Fit:
        """Meta-training goes on: each row of ``index`` is the query of its task.

        A batch has as many of them as other models fine-tune on in a step. Adam's moments are
        carried from one phase to the next; in the first they begin at zero, as those of others do.
        """
        moving = self.trainable("warm_up")
        step = Step(
            lambda episode: self._within_memory(self.episode_loss, episode, moving),
            moving,
            self.config["warm_learning_rate"],
            self.config["weight_decay"],
        )
        size, epochs = self.config["train_batch_size"], self.config["warm_epochs"]
        batches = QueryBatches(index, size, self.rows, self.queries)
        after, kept = self._forget_states, "fine-tune"
        return Fit("fine-tune", [step], batches, epochs, mode="train", after=after, keep=kept)

    def queries(self, query: Batch) -> Episode:
        """A task for each row of ``query``: the row, and the support of its item."""
        ids_t = query[self.task_field]
        rows_tk, mask_tk = self.supports.of(self.supports.slot_n[ids_t])
        support = self.rows.batch(rows_tk.reshape(-1))
        return Episode(ids_t, support, mask_tk, query, torch.ones_like(mask_tk[:, :1]))

    def support_sizes(self) -> list[int]:
        """How many rows a new item has in each phase: K, 2K, 3K; one size where no phase gives it
        any (``warm_sets: 0``), or none is new."""
        n_warm = self.config["warm_sets"]
        if not n_warm or not self.supports.grow:
            return [self.config["episode_support"]]
        size = self.config["warm_size"]
        return [size * (number + 1) for number in range(n_warm)]

    def batches(self) -> FewShotBatches:
        batches = FewShotBatches(
            self.rows,
            self._all_ids,
            self._time,
            self._train,
            self.support_sizes(),
            self.config["episode_query"],
            self.config["meta_batch_size"],
        )
        most = max(self.support_sizes()) + self.config["episode_query"]
        word, lower = f"{self.net.id_word}s", "session_min"
        if self.supports.grow:
            word, lower = f"old {word}", "cold_threshold"
        if not len(batches):
            raise UserError(
                f"{type(self).__name__} needs {word} with at least 2 rows (one to learn from, one "
                f"to be tested on); lower {lower} or use other data"
            )
        if batches.short:
            logger.info(
                "%d of %d %s have fewer than the %d rows of the largest support and its query; "
                "theirs are shorter and masked",
                batches.short,
                len(codes_in(self._all_ids[self._train])),
                word,
                most,
            )
        return batches

    def episode_loss(self, episode: Episode) -> Tensor:
        """The mean over tasks of their queries' loss, after their supports."""
        support, query = self.both_of(episode)
        return row_loss(self.net.task_logits(self.net.state(support), query), query).mean()

    def _within_memory(
        self,
        loss: Callable[[Episode], Tensor],
        episode: Episode,
        parameters: Sequence[nn.Parameter],
    ) -> Tensor:
        """The loss of an episode, in chunks of tasks where it is larger than ``task_chunk``."""
        n_tasks = len(episode.ids_t)
        if n_tasks <= self._chunks.most:
            try:
                return loss(episode)
            except (MemoryError, RuntimeError) as error:
                self._chunks.halve(error, n_tasks)

        def share(tasks: slice) -> Tensor:
            part = episode.tasks(tasks)
            return loss(part) * (len(part.ids_t) / n_tasks)

        return self._chunks.summed(share, n_tasks, parameters)

    def both_of(self, episode: Episode) -> tuple[TaskRows, TaskRows]:
        """Support and query, ``task_rows`` of each, with one look-up of each field for both."""
        index = torch.cat([episode.support.index, episode.query.index])
        batches = episode.support, episode.query
        masks = episode.support_mask_tk, episode.query_mask_tk
        rows = self.task_rows(episode.ids_t, self.rows.batch(index), torch.ones_like(index)[None])
        parts = rows.other_tkq[0].split([len(batch) for batch in batches])
        support, query = (
            rows._replace(
                other_tkq=other.view(*mask.shape, other.shape[1]),
                label_tk=batch[self.label_field].view_as(mask),
                mask_tk=mask,
            )
            for other, batch, mask in zip(parts, batches, masks, strict=True)
        )
        return support, query

    def task_rows(self, ids_t: Tensor, batch: Batch, mask_tk: Tensor) -> TaskRows:
        """The rows of ``batch`` [t * k], those of one task after the other."""
        t, k = mask_tk.shape
        other_tkq = self.net.other(batch, t * k).reshape(t, k, self.net.other.width)
        label_tk = batch[self.label_field].view(t, k)
        return TaskRows(ids_t, self.own_side(ids_t), other_tkq, label_tk, mask_tk)

    def own_side(self, ids: Tensor) -> Tensor:
        """The embedded own side of items: [t, p]; it belongs to no row."""
        batch = self.rows.batch(torch.zeros_like(ids))
        batch[self.task_field] = ids
        return self.net.own(batch, len(ids))

    # ---------------------------------------------------------------- supports
    def observe(self, index: Tensor) -> None:
        super().observe(index)
        if self.supports.grow:
            self.supports.add(index, self.rows.columns[self.task_field][index].long())
            self._states = None

    def restored(self) -> None:
        super().restored()
        self._states = None

    def _forget_states(self) -> None:
        self._states = None

    def _support(self, slot_t: Tensor) -> TaskRows:
        """The supports of the items ``slot_t``, padded to the longest."""
        rows_tk, mask_tk = self.supports.of(slot_t)
        batch = self.rows.batch(rows_tk.reshape(-1))
        return self.task_rows(self.supports.ids[slot_t], batch, mask_tk)

    # ---------------------------------------------------------------- serving
    def adapted(self) -> State | None:
        """The states of all items with supports, [m, ...] each; None where they would not fit."""
        if self._states is None and self._keeps_states:
            parts: list[State] = []
            for part in self._chunks.each(len(self.supports), self._state_of):
                parts.append(part)
                size = sum(v.numel() * v.element_size() for v in part.values())
                share = size / max(len(next(iter(part.values()))), 1)
                if share * len(self.supports) > _STATE_BYTES:
                    self._keeps_states = False
                    return None
            self._states = {k: whole(torch.cat([p[k] for p in parts])) for k in parts[0]}
        return self._states

    def _state_of(self, tasks: slice) -> State:
        slot = torch.arange(len(self.supports), device=self.device)[tasks]
        return self.net.state(self._support(slot))

    @torch.no_grad()
    def logits(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """Logits [b]: each row by the state of its item, whatever else is in the batch."""
        ids = interaction[self.task_field]
        other_bq = self.net.other(interaction, len(ids))
        slot = self.supports.slot_of(ids)
        warm = (slot >= 0) & (self.supports.count[slot.clamp(min=0)] > 0)
        out = other_bq.new_empty(len(ids))
        for part, state_of in ((warm, self._states_for), (~warm, self._unadapted)):
            row = torch.nonzero(part)[:, 0]
            if len(row):
                out[row] = self._by_task(ids[row], other_bq[row], state_of)
        return out

    def _by_task(
        self, ids: Tensor, other_bq: Tensor, state_of: Callable[[TaskRows], State]
    ) -> Tensor:
        """Logits [b] of rows, scored together by item."""
        ids_t, place_tk, mask_tk = _grouped(ids)

        def scores(tasks: slice) -> Tensor:
            other_tkq, mask = other_bq[place_tk[tasks]], mask_tk[tasks].to(other_bq.dtype)
            own_tp, unseen = self.own_side(ids_t[tasks]), torch.zeros_like(mask)
            rows = TaskRows(ids_t[tasks], own_tp, other_tkq, unseen, mask)
            return whole(self.net.task_logits(state_of(rows), rows))

        logit_tk = torch.cat(list(self._chunks.each(len(ids_t), scores)))
        out = logit_tk.new_empty(len(ids))
        out[place_tk[mask_tk]] = logit_tk[mask_tk]
        return out

    def _unadapted(self, rows: TaskRows) -> State:
        return self.net.state(rows.empty())

    def _states_for(self, rows: TaskRows) -> State:
        slot_t, states = self.supports.slot_n[rows.ids_t], self.adapted()
        if states is None:
            return self.net.state(self._support(slot_t))
        return {name: value[slot_t] for name, value in states.items()}

    # ---------------------------------------------------------------- a folder, and what is unseen
    def why_not_kept(self) -> str | None:
        return self.unlike(FewShotRecommender)

    def why_not_exported(self) -> str | None:
        return "its network makes a state of each item's own rows, which is no vector"

    def kept_rows(self) -> Tensor:
        """The supports."""
        return self.supports.rows[self.supports.is_row()]

    def kept_rows_are(self, index: Tensor) -> None:
        self.supports.rows[self.supports.is_row()] = index

    def kept_vectors(self, ids: Tensor) -> tuple[None, None]:
        return None, None

    def answers_unseen(self) -> bool:
        """By their features, without a support."""
        return True

    def read_beyond(self, trained: Mapping[str, np.ndarray], means: set[str]) -> None:
        if self.config["own_id"]:
            means = {*means, self.id_field}
        read_beyond(self.net, trained, means, [self.net.own.view, self.net.other.view])

    def served_logits(self, interaction: Batch, *_: object) -> Tensor:
        return self.logits(interaction)


def _grouped(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows by item, long items in several pieces: their ids [t], places in ``ids`` and mask [t, k].

    A piece has about as many rows as an item has on average, so that padding stays bounded.
    """
    order = torch.argsort(ids, stable=True)
    unique, count = torch.unique_consecutive(ids[order], return_counts=True)
    width = -(-len(ids) // len(unique))
    pieces = -(-count // width)
    item_t = torch.arange(len(unique), device=ids.device).repeat_interleave(pieces)
    piece_t = torch.arange(len(item_t), device=ids.device) - (pieces.cumsum(0) - pieces)[item_t]
    offset_tk = piece_t[:, None] * width + torch.arange(width, device=ids.device)
    mask_tk = offset_tk < count[item_t][:, None]
    start_t = (count.cumsum(0) - count)[item_t]
    place_tk = order[torch.where(mask_tk, start_t[:, None] + offset_tk, 0)]
    return unique[item_t], place_tk, mask_tk
