"""The backbone seam: any RecBole context model with the item-ID embedding given from outside.

RecBole keeps all token fields in one table and the first-order weights in a second one. Forward
hooks on both put the given vector (and weight) into the slot of the item ID, out of place, so that
gradients reach it and ``state_dict`` is the plain model's.
Shape letters: b rows of a batch, n items, d embedding size, s width of the side information.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.utils import FeatureSource, FeatureType
from torch import Tensor, nn

from recbole_cold.backbone._constants import copies_from_host, without_host_constants
from recbole_cold.backbone._modes import evaluating
from recbole_cold.backbone._published import (
    numbers_alone,
    with_batch_norm,
    without_number_vectors,
)
from recbole_cold.backbone._shortcuts import (
    NOT_THIS_WAY,
    FrozenView,
    pooled,
    view,
    with_shortcuts,
)
from recbole_cold.backbone._unseen import zero_unseen
from recbole_cold.backbone._vectors import AsCodes, read_vectors
from recbole_cold.data.rows import Rows
from recbole_cold.device import whole
from recbole_cold.errors import UserError, blaming

logger = logging.getLogger(__name__)
# A backbone's view for the time in which it is frozen, and what was made once in that time.
Frozen = tuple[FrozenView | None, dict[str, Tensor]]


def _sum_with_pad(model: nn.Module, token_seq_fields: list[Tensor]) -> Tensor | None:
    """Released code's pooling: the plain sum over all positions, the padding row included."""
    if not token_seq_fields:  # a model without such fields has no list of tables
        return None
    pooled = [
        table(field).sum(dim=1, keepdim=True)
        for table, field in zip(model.token_seq_embedding_table, token_seq_fields, strict=True)
    ]
    return torch.cat(pooled, dim=1)


def _with_pooling(model_class: type, pooling: str) -> type:
    model_class = without_host_constants(model_class)
    if pooling == "mean":
        return model_class

    class SummedWithPad(model_class):
        def embed_token_seq_fields(self, token_seq_fields, mode="mean"):
            return _sum_with_pad(self, token_seq_fields)

    SummedWithPad.__name__ = model_class.__name__
    return SummedWithPad


class Backbone(nn.Module):
    """A RecBole ``ContextRecommender`` that takes the embedding of its item ID as an argument.

    Args:
        model: the context model, as RecBole builds it.
        dataset: names, positions and sizes of the fields; its feature tables give side information.
        rows: the data set's rows on the device.
        id_field: the ID whose embedding is given: the item's, or the user's for cold users.
        first_order: whether the ID's scalar weight takes part where the model has one
            (``id_first_order: off`` removes it, and so does ``first_order: numbers``).

    Raises:
        UserError: the model's output ignores the given vector, cannot be reproduced with the
            table's own rows, or is no logit.
    """

    reads_vector: ClassVar[bool] = True

    def __init__(
        self,
        model: ContextRecommender,
        dataset,
        rows: Rows,
        id_field: str,
        first_order: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.name = type(model).__name__
        self.needed_by = "this method"  # for sentences; the method says its own name
        self.id_field = id_field
        self.embedding_size = model.embedding_size
        self.n_ids = dataset.num(id_field)
        self._rows = rows
        self.first_order_on = first_order
        self.slot: tuple[Tensor | None, Tensor | None] | None = None
        self._frozen: FrozenView | None = None
        self._kept: dict[str, Tensor] | None = None
        self._field_sources(dataset)
        self._hook()
        sigmoid = {"sigmoid": nn.Identity()} if "sigmoid" in model._modules else {}
        # A plain attribute: a registered view would double every key of the state dict.
        self.__dict__["plain"] = view(model, **sigmoid)
        with evaluating(self.model):
            self.has_first_order = self._probe()

    def _field_sources(self, dataset) -> None:
        item_side = self.id_field == dataset.iid_field
        own = FeatureSource.ITEM if item_side else FeatureSource.USER
        self.side_fields = dataset.fields(source=[own])
        self.id_of_field = {
            **dict.fromkeys(dataset.fields(source=[FeatureSource.ITEM]), dataset.iid_field),
            **dict.fromkeys(dataset.fields(source=[FeatureSource.USER]), dataset.uid_field),
        }
        self._field_type = dict(dataset.field2type)
        # Of training rows, whose vectors are not zero: a product with zeros would hide the ID's.
        self._probe_rows = self._rows.index(dataset.split["train"][:8])

    # ---------------------------------------------------------------- the slot of the item ID
    def _hook(self) -> None:
        main = getattr(self.model, "token_embedding_table", None)
        if main is None or self.id_field not in self.model.token_field_names:
            raise UserError(
                f"backbone '{self.name}' cannot be wrapped: it has no embedding table with the "
                f"field '{self.id_field}'; choose another backbone (see 'recbole-cold list')"
            )
        self.position = self.model.token_field_names.index(self.id_field)
        self._offset = int(self.model.token_field_offsets[self.position])
        linear = self.model.first_order_linear
        self._first_position = linear.token_field_names.index(self.id_field)
        self._first_offset = int(linear.token_field_offsets[self._first_position])
        # Methods, not closures: a deep copy's hooks then read the copy's slot.
        main.register_forward_hook(self._splice)
        linear.token_embedding_table.register_forward_hook(self._splice_first)

    def _splice(self, _module, _inputs, table_bfd: Tensor) -> Tensor | None:
        vector_bd = None if self.slot is None else self.slot[0]
        if vector_bd is None:
            return None
        before, after = table_bfd[:, : self.position], table_bfd[:, self.position + 1 :]
        return torch.cat([before, vector_bd[:, None], after], dim=1)

    def _splice_first(self, _module, _inputs, table_bf1: Tensor) -> Tensor | None:
        position = self._first_position
        weight_b1 = None if self.slot is None else self.slot[1]
        if not self.first_order_on:
            weight_b1 = torch.zeros_like(table_bf1[:, position])
        if weight_b1 is None:
            return None
        before, after = table_bf1[:, :position], table_bf1[:, position + 1 :]
        return torch.cat([before, weight_b1[:, None], after], dim=1)

    @property
    def replayable(self) -> bool:
        """Whether a forward pass copies nothing from the host, as a CUDA graph asks."""
        return not copies_from_host(self.model)

    @contextmanager
    def item_slot(self, vector: Tensor, first_order: Tensor | None = None) -> Iterator[None]:
        """Context: the wrapped model reads ``vector`` [b, d] in place of the ID's rows.

        The vector is kept in this object, although an argument would be better: RecBole's
        ``forward`` takes only an interaction, so hooks on its tables must read it from here. Uses
        may be nested, the outer vector returns afterwards; two threads need two copies of the
        backbone.
        """
        outer, self.slot = self.slot, (vector, first_order)
        try:
            yield
        finally:
            self.slot = outer

    def logits(
        self,
        interaction: Mapping[str, Tensor],
        item_vector: Tensor | None = None,
        first_order: Tensor | None = None,
    ) -> Tensor:
        """Logits [b] of the model's forward pass with the item ID embedded as ``item_vector``.

        Args:
            interaction: the fields of b rows.
            item_vector: [b, d]; ``None`` reads the table, as the plain model does.
            first_order: [b, 1], the ID's scalar weight; ``None`` reads the table. Ignored by
                models without a first-order part.
        """
        self.plain.training = self.model.training
        module = self.plain if self._frozen is None else self._frozen
        if item_vector is None:
            return whole(module(interaction)).reshape(-1)
        with self.item_slot(item_vector, first_order):
            return whole(module(interaction)).reshape(-1)

    def served_logits(
        self,
        interaction: Mapping[str, Tensor],
        item_vector: Tensor,
        first_order: Tensor | None,
        more: Mapping[str, Tensor],
    ) -> Tensor:
        """Logits [b] of rows whose items are served with a vector and, in a method's own network,
        with ``more`` [b, ..] than that, by name: what its ``item_logits`` takes."""
        if not more:
            return self.logits(interaction, item_vector, first_order)
        logits: Tensor = self.model.item_logits(interaction, item_vector, **more)
        return whole(logits)

    def calculate_loss(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """The wrapped model's own training loss, regularisers included."""
        return self.model.calculate_loss(interaction)

    def id_table(self) -> Tensor:
        """The ID's whole embedding table [n, d], a view of the model's shared token table; of some
        rows ``id_vectors`` costs less."""
        weight = self.model.token_embedding_table.embedding.weight
        return weight[self._offset : self._offset + self.n_ids]

    def id_vectors(self, ids: Tensor) -> Tensor:
        """The table's rows [.., d] of some IDs, looked up through the table's module.

        What a method that means some rows asks for: a slice of the table has a gradient of the
        whole table's size, and this one has, where the table is updated lazily, a gradient of these
        rows alone.
        """
        return self.model.token_embedding_table.embedding(ids + self._offset)

    def id_weights(self, ids: Tensor) -> Tensor | None:
        """The scalar weights [.., 1] of some IDs, as ``id_vectors``; ``None`` where the model has
        none."""
        if not self.has_first_order:
            return None
        table = self.model.first_order_linear.token_embedding_table.embedding
        return table(ids + self._first_offset)

    @property
    def moves_rows_alone(self) -> bool:
        """Whether a training step moves no other rows of the ID's tables than it looked up."""
        linear = self.model.first_order_linear.token_embedding_table
        return self.model.token_embedding_table.embedding.sparse and linear.embedding.sparse

    def first_order_rows(self) -> Tensor | None:
        """The ID's scalar weights [n, 1], or ``None`` where the model has none."""
        if not self.has_first_order:
            return None
        return self.first_order_table()

    def first_order_table(self) -> Tensor:
        """The ID's rows [n, 1] of the linear part, whether the model reads them or not."""
        weight = self.model.first_order_linear.token_embedding_table.embedding.weight
        return weight[self._first_offset : self._first_offset + self.n_ids]

    def features_of(self, id_field: str) -> dict[str, Tensor]:
        """Feature columns of all items, or of all users, by code."""
        return self._rows.features_of(id_field)

    def table_of(self, field: str) -> Tensor:
        """The embedding rows [number of tokens, d] of any token field."""
        position = self.model.token_field_names.index(field)
        offset = int(self.model.token_field_offsets[position])
        size = int(self.model.token_field_dims[position])
        return self.model.token_embedding_table.embedding.weight[offset : offset + size]

    # ---------------------------------------------------------------- checks at construction
    @torch.no_grad()
    def _probe(self) -> bool:
        """Compare with the plain model on a few rows; whether the scalar weight matters."""
        batch = self._probe_batch()
        try:
            ids = batch[self.id_field]
            own = self.id_table()[ids]
            plain = self.logits(batch)
            if not torch.equal(self.logits(batch, own), plain):
                raise UserError(
                    f"backbone '{self.name}' cannot be wrapped: its logits change when it is given "
                    "the rows of its own table; choose another backbone (see 'recbole-cold list')"
                )
            if self.reads_vector and torch.equal(self.logits(batch, own + 1.0), plain):
                raise UserError(
                    f"backbone '{self.name}' cannot be wrapped: its output ignores the embedding "
                    f"of '{self.id_field}'; choose another backbone (see 'recbole-cold list')"
                )
            if self.reads_vector:
                self._refuse_second_tables(batch, own, plain)
            predicted = self.model.predict(batch).reshape(-1)
            if not torch.allclose(torch.sigmoid(plain), predicted, equal_nan=True):
                raise UserError(
                    f"backbone '{self.name}' cannot be wrapped: its predictions are not the "
                    "sigmoid of its logits; choose another backbone (see 'recbole-cold list')"
                )
            if not self.first_order_on:
                return False
            bumped = self.first_order_table()[ids] + 1.0
            return not torch.equal(self.logits(batch, own, bumped), plain)
        except UserError:
            raise
        except (RuntimeError, AttributeError, TypeError, KeyError) as error:
            raise UserError(
                f"backbone '{self.name}' cannot be wrapped: its forward pass does not run on this "
                f"data ({type(error).__name__}: {error}); choose another backbone"
            ) from error

    # ---------------------------------------------------------------- frozen tables
    @contextmanager
    def frozen_tables(self, again: Frozen | None = None) -> Iterator[Frozen]:
        """Context: fields that do not depend on the item's vector are embedded once per batch.

        Only for a time in which no parameter of the backbone moves.

        Args:
            again: what an earlier such context gave, if neither a parameter nor a feature of users
                and items has moved since; nothing is pooled anew then.
        """
        if self._frozen is not None and self._kept is not None:
            yield self._frozen, self._kept
            return
        # Split layers pay where a batch is used several times with gradients, as Fits do.
        self._frozen, self._kept = again or (self._frozen_view(torch.is_grad_enabled()), {})
        try:
            yield self._frozen, self._kept
        finally:
            self._frozen = self._kept = None

    def once_while_frozen(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """What ``compute`` makes of the backbone's parameters; in ``frozen_tables`` made once."""
        if self._kept is None:
            return compute()
        if name not in self._kept:
            self._kept[name] = compute()
        return self._kept[name]

    @torch.no_grad()
    def _frozen_view(self, split: bool) -> FrozenView | None:
        """The view, if it gives the plain model's logits on a few rows; with layers split on
        request, if it then gives the same gradients."""
        batch = self._probe_batch()
        vector = self.id_table()[batch[self.id_field]] + 1.0
        weight = torch.ones_like(vector[:, :1])
        try:
            with evaluating(self.model):
                frozen = FrozenView(self)
                expected = self.logits(batch, vector, weight)
                self._frozen = frozen
                found = self.logits(batch, vector, weight)
        except NOT_THIS_WAY as error:
            logger.info("backbone '%s' runs without frozen tables: %s", self.name, error)
            return None
        finally:
            self._frozen = None
        if torch.allclose(expected, found, rtol=1e-4, atol=1e-5):
            if split:
                with evaluating(self.model):
                    frozen.split_layers(batch)
            return frozen
        logger.info("backbone '%s' runs without frozen tables: its logits differ", self.name)
        return None

    def _refuse_second_tables(self, batch: dict[str, Tensor], own: Tensor, plain: Tensor) -> None:
        """With its vector and scalar weight given, the ID itself must not matter any more."""
        ids = batch[self.id_field]
        other = {**batch, self.id_field: (ids + 1) % self.n_ids}  # all fields that were read
        if not torch.equal(self.logits(other, own, self.first_order_table()[ids]), plain):
            raise UserError(
                f"backbone '{self.name}' cannot be wrapped: it reads '{self.id_field}' from a "
                "second table as well, which a given vector does not reach; leave the ID out of "
                "that table or choose another backbone (see 'recbole-cold list')"
            )

    def learns_from_zero(self) -> bool:
        """Whether an ID whose vector is exactly zero can learn: its logit has a gradient there."""
        batch = self._probe_batch()
        vector = torch.zeros_like(self.id_table()[batch[self.id_field]]).requires_grad_()
        with evaluating(self.model), torch.enable_grad():
            total = self.logits(batch, vector).sum()
            (gradient,) = torch.autograd.grad(total, vector, allow_unused=True)
        return gradient is None or bool(gradient.any())

    def _probe_batch(self):
        return self._rows.batch(self._probe_rows)

    # ---------------------------------------------------------------- side information
    @torch.no_grad()
    def side_vectors(self, include_id: bool = False, ids: Tensor | None = None) -> Tensor:
        """Side information s_i of every item, or of the items ``ids`` [b], from the backbone's own
        tables: [n, s] or [b, s].

        Item fields in data-set order: tokens, pooled sequences and projected content vectors give d
        columns each, numbers one.
        The item ID is not side information unless ``include_id`` (released code has it there).
        """
        features = self._rows.features_of(self.id_field)

        def of(whole: Tensor) -> Tensor:
            return whole if ids is None else whole.index_select(0, ids)

        parts = [of(self.id_table())] if include_id else []
        for field in self.side_fields:
            kind = self._field_type[field]
            if kind == FeatureType.TOKEN:
                parts.append(self.table_of(field)[of(features[field])])
            elif kind in (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ):
                position = self.model.token_seq_field_names.index(field)
                parts.append(pooled(self.model, position, of(features[field])))
            elif kind == FeatureType.FLOAT and field in features:
                parts.append(of(features[field])[:, None])
        if not parts:
            raise UserError(
                f"the data set has no side information for '{self.id_field}', which "
                f"{self.needed_by} needs; list feature fields under load_col, or "
                "choose a method that works without"
            )
        return torch.cat(parts, dim=1).detach()


class OwnNetwork(Backbone):
    """A method's own network: may leave the ID's embedding out, and is never given a vector."""

    reads_vector = False

    @contextmanager
    def frozen_tables(self, again: Frozen | None = None) -> Iterator[Frozen]:
        """Context without effect: the method embeds its fields itself."""
        yield None, {}


def build_backbone(
    config, dataset, rows: Rows, id_field: str, seam: type[Backbone] = Backbone
) -> Backbone:
    """The configured backbone, initialised from torch's global generator, behind the seam."""
    model_class = _with_pooling(config.backbone_class, config["pooling"])
    wrapped = seam is Backbone  # a method's own network is what its paper says
    with blaming(config.backbone_class, "its construction"):
        if wrapped and not config["number_vectors"]:
            built = without_number_vectors(model_class, config, AsCodes(dataset))
        else:
            built = model_class(config, AsCodes(dataset))
    if wrapped and config["mlp_batch_norm"]:
        with_batch_norm(built)
    alone = wrapped and config["first_order"] == "numbers"
    if alone:
        numbers_alone(built.first_order_linear)
    model = with_shortcuts(built.to(rows.device))
    if config["embedding_init"] == "uniform":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.01, 0.01)
    zero_unseen(model, dataset.unseen)
    read_vectors(model, rows.scaled_vectors(dataset))
    return seam(model, dataset, rows, id_field, config["id_first_order"] != "off" and not alone)
