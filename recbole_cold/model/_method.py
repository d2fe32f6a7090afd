"""Base class of cold-start methods: a backbone behind the seam, and vectors for new items.

The trainer calls the same methods (questions) of every class. Their defaults are the plain
backbone: nothing to learn, new items start from ``new_item_init`` and are fine-tuned.
Shape letters: b rows of a batch, n all items, m new items, d embedding size, s side information.
"""

import builtins
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from recbole.model.abstract_recommender import AbstractRecommender, ContextRecommender
from recbole.utils import InputType, ModelType
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._modes import set_apart
from recbole_cold.backbone._seam import Backbone, build_backbone
from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.data.histories import histories_of
from recbole_cold.data.rows import Batch, Rows
from recbole_cold.errors import Misuse, UserError, blaming, nearest
from recbole_cold.keys import Key
from recbole_cold.model._answers import refuse_unlike
from recbole_cold.model._fit import MODES, Fit, RowBatches, Step, no_such_mode
from recbole_cold.model._phase_end import SeenRows, fit_seen, note_rows, prepare
from recbole_cold.model._serving import Serving
from recbole_cold.model._token_rows import TokenRows
from recbole_cold.seeding import seed_layers

# What ``trainable`` is asked for; pre-training says its parameters in ``pretrain_fit``.
STAGES = ("learn", "warm_up")
# General keys that only fine-tuning reads: idle where a warm phase takes no optimizer step.
FINE_TUNING = ("warm_learning_rate", "warm_epochs", "warm_steps")
# Rows that are counted at a time: counting makes 8 bytes of each code.
_COUNTED = 2**20


class Untouched(NamedTuple):
    """Rows of a tensor that belong to new items, and what they hold before any row was seen.

    Attributes:
        state: a tensor [n, ..] of the method.
        index: which rows of it are those of ``new_ids``, [m].
        value: a number, or a tensor that is broadcast to these rows.
    """

    state: Tensor
    index: Tensor
    value: float | Tensor


class ColdStartRecommender(Serving, AbstractRecommender):
    """A cold-start method on a backbone; subclasses override what they do differently.

    Args:
        config: a ``ColdConfig``.
        dataset: a ``ColdStartDataset`` that carries ``split`` (a ``Split``) and ``rows``
            (its ``Rows`` on the training device). Nothing in it is changed: what the method writes
            goes into a view of the rows that is its own.
    """

    # The method's own network, if it has one: a class that takes the place of the backbone.
    network: ClassVar[builtins.type[ContextRecommender] | None] = None
    type = ModelType.CONTEXT
    input_type = InputType.POINTWISE
    paper: ClassVar[str] = ""
    year: ClassVar[int | None] = None
    # The rows of the method's own keys: what values they take. A subclass adds to its parents'.
    keys: ClassVar[tuple[Key, ...]] = ()
    # The phases in which a method adapts to new items; tables mark the others as unadapted.
    serves: ClassVar[tuple[str, ...]] = ("cold", "warm")
    # Whether it only has something to do where items (or users) are new; split_rule: sessions has
    # none, and a method that works there says False.
    needs_new_items: ClassVar[bool] = True
    # General keys that change no score of this method: a search leaves them out.
    idle_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config, dataset) -> None:
        super().__init__()
        self.config = config
        self._refuse_without_new_items(dataset.split)
        self.rows: Rows = dataset.rows.view()
        self.rows.histories = histories_of(config, dataset, self.rows)
        self.device = self.rows.device
        self.label_field = dataset.label_field
        user_side = dataset.split.cold_side == "user"
        self.id_field = dataset.uid_field if user_side else dataset.iid_field
        self.other_field = dataset.iid_field if user_side else dataset.uid_field
        pretrain_seed = config["pretrain_seed"]
        first_seed = config["seed"] if pretrain_seed is None else pretrain_seed
        seed_layers(first_seed, "backbone", device=self.device)
        self.backbone = self.make_backbone(config, dataset)
        self.backbone.needed_by = type(self).__name__
        prepare(self)
        if config["new_item_init"] == "zero" and not self.backbone.learns_from_zero():
            raise UserError(
                f"new_item_init: zero gives new items a vector at which '{self.backbone.name}' "
                "has no gradient, so no warm phase would move it; use new_item_init: mean or random"
            )
        seed_layers(config["seed"], "method", device=self.device)
        self.embedding_size = self.backbone.embedding_size
        self.n_ids = self.backbone.n_ids
        self.train_index = self._index(dataset.split["train"])
        self._register_ids(dataset.split)
        self._register_counts(dataset)

    def _refuse_without_new_items(self, split) -> None:
        """Raise a ``UserError`` where the split has no new item and this run is about such."""
        if len(split.new_ids):
            return
        side, rule = split.cold_side, split.manifest.get("rule", "")
        if self.needs_new_items:
            raise UserError(
                f"{builtins.type(self).__name__} is about new {side}s, and split_rule: {rule} has "
                "none; use Base, or another split_rule"
            )
        if self.config["warm"] == "map":
            raise UserError(
                f"warm: map fits vectors of new {side}s, and split_rule: {rule} has none; leave it "
                "out"
            )

    def make_backbone(self, config, dataset) -> Backbone:
        """The click model, or the method's own network, behind the seam."""
        return build_backbone(config, dataset, self.rows, self.id_field)

    def _index(self, rows) -> Tensor:
        return self.rows.index(rows)

    def _register_ids(self, split) -> None:
        new_ids, old_ids = self._index(split.new_ids), self._index(split.old_ids)
        new_index = torch.full((self.n_ids,), -1, dtype=torch.long, device=self.device)
        new_index[new_ids] = torch.arange(len(new_ids), device=self.device)
        self.register_buffer("new_ids", new_ids, persistent=False)
        self.register_buffer("old_ids", old_ids, persistent=False)
        self.register_buffer("new_index", new_index, persistent=False)
        shape = (len(new_ids), self.embedding_size)
        self.new_vectors = nn.Parameter(torch.zeros(shape, device=self.device))
        self.new_first_order = nn.Parameter(torch.zeros((len(new_ids), 1), device=self.device))
        # New items whose vectors are part of ``old_mean``, by what a grown model says of them.
        self.register_buffer("promoted_ids", new_ids[:0], persistent=False)
        # Whether new items have rows of their own by now.
        self.register_buffer("new_items_started", torch.tensor(False))
        # One number per new item on top of the logits, in double precision; see ``item_bias``.
        # It is that of every item where none is new (sessions).
        biased = new_ids if len(new_ids) else old_ids
        shift_index = torch.full_like(new_index, -1)
        shift_index[biased] = torch.arange(len(biased), device=self.device)
        self.register_buffer("shift_index", shift_index, persistent=False)
        shift = torch.zeros(len(biased), dtype=torch.float64, device=self.device)
        self.register_buffer("new_shift", shift)
        self.rows_seen = SeenRows(self.device)
        if self.rows.histories is not None:  # a state brings back what they show
            self.rows_shown = SeenRows(self.device)
        self.register_buffer(
            "residual_variance", torch.tensor(1.0, dtype=shift.dtype, device=self.device)
        )
        self.register_buffer("cold_rows", torch.zeros_like(self.new_vectors.detach()))

    def _apply(self, *args: Any, **kwargs: Any) -> "ColdStartRecommender":
        started = self.new_items_started  # asked for with every batch: it stays on the CPU
        super()._apply(*args, **kwargs)
        self.new_items_started = started
        return self

    # ---------------------------------------------------------------- counts
    def _register_counts(self, dataset) -> None:
        """Register the counts of visible rows per item; the scale follows from the first ones."""
        full = self.config["count_source"] == "full"
        index = torch.arange(dataset.n_rows, device=self.device) if full else self.train_index
        counts = self._count(index)
        # Without the leak the scale starts at an item without visible rows: the rarest old item has
        # more rows than a new one ever gets, so that every new item would stay at 0 for good.
        low = counts[counts > 0].min() if full else torch.zeros_like(counts[0])
        self.register_buffer("counts", counts)
        self.register_buffer("count_range", torch.stack([low, counts.max()]))
        self.feed_counts()

    def _count(self, index: Tensor) -> Tensor:
        column = self.rows.columns[self.id_field]
        counts = torch.zeros(self.n_ids, dtype=torch.long, device=self.device)
        for part in index.split(max(_COUNTED, self.n_ids)):
            counts += torch.bincount(column.index_select(0, part), minlength=self.n_ids)
        return counts.to(torch.float32)

    def feed_counts(self) -> None:
        features = self.rows.features_of(self.id_field)  # of this method's own view
        if self.config["use_count"] and self.config["COUNT_FIELD"] in features:
            features[self.config["COUNT_FIELD"]] = self.frequency()

    def frequency(self, ids: Tensor | None = None) -> Tensor:
        """Rows of each item (or of the items ``ids`` [b]) seen so far, scaled to [0, 1]: [n].

        1 is the most frequent item among those seen before the first phase, 0 one without rows
        (``count_source: full``: the rarest and the most frequent item of the log, as released).
        """
        low, high = self.count_range
        counts = self.counts if ids is None else self.counts[ids]
        return ((counts - low) / (high - low).clamp(min=1.0)).clamp(0.0, 1.0)

    def observe(self, index: Tensor) -> None:
        """Note rows that are visible from now on: a warm-up set, before it is learned on.

        Histories may show them at once: a row's own history has strictly earlier ones alone.
        """
        if self.rows.histories is not None:
            self.rows_shown.add(index)
            self.rows.show(index)
        if self.has_item_bias():
            note_rows(self, index)
        if self.config["count_source"] != "full":
            self.counts += self._count(index)
        self.feed_counts()

    # ---------------------------------------------------------------- questions
    def pretrain_fits(self) -> list[Fit]:
        """How the backbone is trained on the rows of old items."""
        return [self.pretrain_fit(self.backbone.calculate_loss)]

    def pretrain_fit(self, loss: Callable[[Batch], Tensor]) -> Fit:
        """A ``Fit`` for pre-training with the given loss of a batch."""
        step = Step(
            loss,
            list(self.backbone.parameters()),
            self.config["learning_rate"],
            self.config["weight_decay"],
        )
        epochs, batches = self.config["pretrain_epochs"], self.row_batches(self.train_index)
        # Histories are cut to the longest one of a batch.
        same = loss == self.backbone.calculate_loss and self.rows.histories is None
        capturable = same and self.network is None and self.backbone.replayable
        return Fit("pretrain", [step], batches, epochs, mode="train", capturable=capturable)

    def pretrain_key(self) -> dict[str, Any]:
        """This method's changes of pre-training; equal keys share one pre-trained backbone."""
        return {}

    def trainable(self, stage: str) -> list[nn.Parameter]:
        """The parameters that move in ``learn`` or ``warm_up``.

        Those of the backbone never do, but where no item is new (sessions): the phases then go on
        training the whole model.

        Raises:
            UserError: another stage.
        """
        if stage not in STAGES:
            guess = nearest(str(stage), STAGES)
            raise Misuse(
                f"trainable('{stage}') asks for a stage that is none of {', '.join(STAGES)}"
                + (f"; did you mean '{guess}'?" if guess else "; choose one of them")
            )
        if stage == "learn":
            return []
        if not len(self.new_ids):
            return list(self.backbone.parameters())
        rows = [self.new_vectors]
        return [*rows, self.new_first_order] if self.backbone.has_first_order else rows

    def calculate_loss(self, interaction: Batch) -> Tensor | tuple[Tensor, ...]:
        """The loss of a batch of old items' rows in the learning stage."""
        return self.loss(self.logits(interaction), interaction)

    def learn_fits(self) -> list[Fit]:
        """The fits of the learning stage, on old items, after pre-training."""
        parameters = self.trainable("learn")
        if not parameters:
            return []
        step = Step(self.calculate_loss, parameters, self.config["learning_rate"])
        return [Fit("learn", [step], self.row_batches(self.train_index))]

    def cold_vectors(self) -> Tensor:
        """ID embeddings [m, d] of the new items before any of their rows is seen."""
        rule = self.config["new_item_init"]
        if rule == "zero":
            return torch.zeros_like(self.new_vectors)
        if rule == "mean":
            return self.old_mean().detach().expand(len(self.new_ids), -1).clone()
        # The backbone's own initialiser drew these rows and no row of data moved them.
        return self.backbone.id_vectors(self.new_ids).detach()

    def cold_first_order(self) -> Tensor:
        """The scalar weight [1] that an item without interactions gets."""
        if not self.backbone.has_first_order or self.config["id_first_order"] != "mean":
            return self.new_first_order.new_zeros(1)
        return self.backbone.once_while_frozen("mean weight of old items", self._old_mean_weight)

    @torch.no_grad()
    def _old_mean_weight(self) -> Tensor:
        old = self.backbone.id_weights(self.old_ids)
        return self._with_promoted(old, self.new_first_order).mean(dim=0)

    def warm_fits(self, index: Tensor) -> list[Fit]:
        """The fits of a warm phase, on a warm-up set: the rows ``index`` of new items.

        Where no item is new, these are rows of any, and the whole model goes on learning.
        """
        fit = self.finetune_fit if len(self.new_ids) else self.whole_model_fit
        return [fit(index)]

    def whole_model_fit(self, index: Tensor) -> Fit:
        """Further training of the whole model, as in pre-training; for splits without new items.

        Adam's moments are carried from one phase to the next. In the first they begin at zero: a
        pre-trained backbone out of the cache has none.
        """
        rate, decay = self.config["warm_learning_rate"], self.config["weight_decay"]
        step = Step(self.backbone.calculate_loss, self.trainable("warm_up"), rate, decay)
        epochs, batches = self.config["warm_epochs"], self.row_batches(index)
        return Fit("fine-tune", [step], batches, epochs, mode="train", keep="fine-tune")

    def finetune_fit(self, index: Tensor) -> Fit:
        """Fine-tuning of the new items' own rows and scalar weights, everything else frozen."""
        step = Step(
            lambda batch: self.loss(self.logits(batch), batch),
            self.trainable("warm_up"),
            self.config["warm_learning_rate"],
            self.config["weight_decay"],
        )
        return Fit(
            "fine-tune",
            [step],
            self.row_batches(index),
            epochs=self.config["warm_epochs"],
        )

    def has_item_bias(self) -> bool:
        """Whether each warm phase ends with one fitted number per new item (``item_bias``)."""
        return bool(self.config["item_bias"]) or self.config["warm"] == "map"

    def adapts(self, warmed_up: bool) -> bool:
        """Whether scores are adapted to rows that were seen, before (False) or after the first warm
        phase; tables mark those that are not."""
        return ("warm" if warmed_up else "cold") in self.serves

    def decided_keys(self) -> dict[str, Any]:
        """Configuration keys that this run has decided, written to a file for later runs."""
        return {}

    def artifacts(self) -> Mapping[str, bytes]:
        """Files that a finished run leaves beside its results: name -> content; none here."""
        return {}

    def untouched(self) -> list[Untouched] | None:
        """What the state of a new item was before any of its rows was seen: what ``cold_vectors``
        is to read where another item takes the place of a new one.

        ``None``: ``cold_vectors`` does not follow from the features of an item as they are now, so
        an item that the run has never seen starts at the mean of old ones.
        """
        return [Untouched(self.counts, self.new_ids, 0.0)]

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        """The tensors of the state, by name, that have a row per user, item or token, and whose
        these are; so a model finds its rows again where tokens have other codes. Click models and
        modules that answer this themselves are found without it."""
        every, new = TokenRows(self.id_field), TokenRows(self.id_field, self.new_ids)
        shifted = TokenRows(self.id_field, (self.shift_index >= 0).nonzero()[:, 0])
        rows = {"counts": every, "new_vectors": new, "new_first_order": new, "cold_rows": new}
        return {name: (part,) for name, part in {**rows, "new_shift": shifted}.items()}

    def answers_unseen(self) -> bool:
        """Whether cold vectors follow from an item's features as they are given."""
        own = builtins.type(self).cold_vectors is not ColdStartRecommender.cold_vectors
        return own and self.untouched() is not None

    def why_not_kept(self) -> str | None:
        """Why a folder of weights, features and ``kept_rows`` is not enough to score rows as this
        does, in words that follow "because"; ``None`` where it is."""
        if self.network is not None:
            return "it has a network of its own, which adapts to rows that a folder does not hold"
        return self.unlike(ColdStartRecommender)

    def why_not_exported(self) -> str | None:
        """Why a network of tensors with each item's vector as an input cannot score as this does,
        in words that follow a colon; ``None`` where it can."""
        return self.unlike(ColdStartRecommender)

    # ---------------------------------------------------------------- tools for subclasses
    def row_batches(self, index: Tensor) -> RowBatches:
        return RowBatches(index, self.config["train_batch_size"], self.rows)

    def loss(self, logits: Tensor, interaction: Batch) -> Tensor:
        """Mean binary cross entropy of the rows."""
        return F.binary_cross_entropy_with_logits(logits, interaction[self.label_field])

    def old_mean(self) -> Tensor:
        """The mean embedding of old items [d]; padding and new rows take no part, but for new items
        of a grown model that have seen enough rows (``promoted_ids``)."""
        old = self.backbone.id_vectors(self.old_ids)
        return self._with_promoted(old, self.new_vectors).mean(dim=0)

    def _with_promoted(self, old: Tensor, new: Tensor) -> Tensor:
        if not len(self.promoted_ids):
            return old
        return torch.cat([old, new[self.new_index[self.promoted_ids]].detach()])

    def side_vectors(self, ids: Tensor | None = None) -> Tensor:
        """Side information from the backbone's frozen tables, of every item [n, s] or of the items
        ``ids`` [b, s]."""
        return self.backbone.side_vectors(self.config["side_includes_id"], ids)

    @property
    def side_width(self) -> int:
        """How many numbers the side information of an item has: s."""
        return self.side_vectors(self.old_ids[:1]).shape[1]

    def cold_logits(self, interaction: Batch, vector_bd: Tensor) -> Tensor:
        """Logits [b] with generated embeddings, as if the rows' items were new."""
        first = self.cold_first_order().expand(len(vector_bd), 1)
        return self.backbone.logits(interaction, vector_bd, first)

    # ---------------------------------------------------------------- stages and serving
    def begin_learn(self) -> None:
        """Called once when the backbone is trained, before ``learn_fits``."""

    def restored(self) -> None:
        """Called after a state was loaded; rebuilds whatever is derived from it."""
        self.feed_counts()
        if self.rows.histories is not None:
            self.rows.show(self.rows_shown.index)

    @torch.no_grad()
    def start_new_items(self) -> None:
        """Give the new items their rows; called once, when learning is over.

        Raises:
            UserError: ``cold_vectors`` or ``cold_first_order`` gives a wrong shape, type or device.
        """
        with blaming(type(self), "cold_vectors()"):
            vectors = self.cold_vectors()
            refuse_unlike("cold_vectors()", vectors, self.new_vectors, [self.new_vectors.shape])
        with blaming(type(self), "cold_first_order()"):
            weights, like = self.cold_first_order(), self.new_first_order
            refuse_unlike("cold_first_order()", weights, like, [torch.Size([1]), like.shape])
        self.new_vectors.copy_(vectors)
        self.cold_rows.copy_(vectors)
        self.new_first_order.copy_(weights.expand_as(self.new_first_order))
        self.new_items_started.fill_(True)

    def end_phase(self, phase: str) -> None:
        """Called when a warm phase has learned: fits ``item_bias``, or vectors with ``warm: map``,
        on all rows seen so far."""
        if self.has_item_bias():
            fit_seen(self, phase)

    def item_vectors(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Served embedding [b, d] and scalar weight [b, 1]: own rows if new, the table's if old."""
        vector = self._served(ids, self.new_vectors, self.backbone.id_vectors(ids))
        return vector, self.first_order_of(ids)

    def first_order_of(self, ids: Tensor) -> Tensor | None:
        """Served scalar weight [b, 1], or ``None`` where the backbone has none."""
        weights = self.backbone.id_weights(ids)
        return None if weights is None else self._served(ids, self.new_first_order, weights)

    def _served(self, ids: Tensor, new_vectors: Tensor, old_bd: Tensor) -> Tensor:
        if not len(new_vectors):  # of nothing no row can be looked up
            return old_bd
        slot = self.new_index[ids]
        new = lookup(new_vectors, slot.clamp(min=0))
        return torch.where((slot >= 0)[:, None], new, old_bd)

    def logits(self, interaction: Batch) -> Tensor:
        """Logits [b] with the served embeddings."""
        return self.backbone.logits(interaction, *self.item_vectors(interaction[self.id_field]))

    def predict(self, interaction: Batch) -> Tensor:
        """Click probabilities [b], in double precision: different logits stay different."""
        logit = self.logits(interaction).double()
        if self.has_item_bias():
            slot = self.shift_index[interaction[self.id_field]]
            logit = logit + torch.where(slot >= 0, self.new_shift[slot.clamp(min=0)], 0.0)
        return torch.sigmoid(logit)

    def set_mode(self, mode: str) -> None:
        """Training or evaluation mode of the method and, separately, of its backbone.

        Args:
            mode: that of a ``Fit``, or ``evaluate``.

        Raises:
            UserError: there is no such mode.
        """
        known = (*MODES, "evaluate")
        if mode not in known:
            raise no_such_mode(f"'{mode}', given to set_mode,", mode, known)
        self.train(mode != "evaluate")
        if mode == "frozen":
            self.set_backbone_mode(dropout=self.config["backbone_dropout"])

    def set_backbone_mode(self, dropout: bool) -> None:
        """The backbone's dropout on or off; its statistics move iff ``batch_norm: moving``."""
        moving = self.config["batch_norm"] == "moving"
        set_apart(self.backbone, statistics=moving, dropout=dropout)
