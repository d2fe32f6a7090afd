"""The backbone seam: any RecBole context model with the item-ID embedding given from outside.

RecBole keeps all token fields in one table and the first-order weights in a second one. Forward
hooks on both put the given vector (and weight) into the slot of the item ID, out of place, so that
gradients reach it and ``state_dict`` is the plain model's.
Shape letters: b rows of a batch, n items, d embedding size, s width of the side information.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.model.layers import FMFirstOrderLinear
from recbole.utils import FeatureSource, FeatureType
from torch import Tensor, nn

from recbole_cold.errors import UserError
from recbole_cold.rows import Rows

# Known without trying; the checks at construction find the same, and others, by trying.
UNWRAPPABLE = {
    "FFM": "it has embedding tables of its own, so it ignores the vector",
    "KD_DAGFM": "it trains a teacher first, and distils",
    "LR": "it has first-order weights only, no embeddings",
}
_CHUNK = 65536  # items pooled at a time: bounds the [items, sequence length, d] intermediate


def _sum_with_pad(model: nn.Module, token_seq_fields: list[Tensor]) -> Tensor | None:
    """Released code's pooling: the plain sum over all positions, the padding row included."""
    pooled = [
        table(field).sum(dim=1, keepdim=True)
        for table, field in zip(model.token_seq_embedding_table, token_seq_fields, strict=True)
    ]
    return torch.cat(pooled, dim=1) if pooled else None


def _with_pooling(model_class: type, pooling: str) -> type:
    if pooling == "mean":
        return model_class

    class SummedWithPad(model_class):
        def embed_token_seq_fields(self, token_seq_fields, mode="mean"):
            return _sum_with_pad(self, token_seq_fields)

    SummedWithPad.__name__ = model_class.__name__
    return SummedWithPad


def _view(module: nn.Module, **children: nn.Module) -> nn.Module:
    """The same module with some children exchanged; parameters and other children are shared."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = {**module._modules, **children}
    return twin


class _Collapsed(dict):
    """An interaction whose collapsed fields are the code of their user or item, one position."""

    def __init__(self, interaction: Mapping[str, Tensor], id_of_field: Mapping[str, str]) -> None:
        super().__init__()
        self._interaction, self._id_of_field = interaction, id_of_field

    def __missing__(self, field: str) -> Tensor:
        id_field = self._id_of_field.get(field)
        whole = self._interaction
        value = self[field] = whole[field] if id_field is None else whole[id_field][:, None]
        return value


class Backbone(nn.Module):
    """A RecBole ``ContextRecommender`` that takes the embedding of its item ID as an argument.

    Args:
        model: the context model, as RecBole builds it.
        dataset: names, positions and sizes of the fields; its feature tables give side information.
        rows: the data set's rows on the device.
        id_field: the ID whose embedding is given: the item's, or the user's for cold users.
        first_order: whether the ID's scalar weight takes part where the model has one
            (``id_first_order: off`` removes it).

    Raises:
        UserError: the model's output ignores the given vector, or cannot be reproduced with the
            table's own rows.
    """

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
        self.id_field = id_field
        self.embedding_size = model.embedding_size
        self.n_ids = dataset.num(id_field)
        self._rows = rows
        self._first_order_on = first_order
        self._slot: tuple[Tensor, Tensor | None] | None = None
        self._collapsed: dict[str, str] | None = None
        self._field_sources(dataset)
        self._hook()
        sigmoid = {"sigmoid": nn.Identity()} if "sigmoid" in model._modules else {}
        # Plain attributes: a registered view would double every key of the state dict.
        self.__dict__["_plain"] = _view(model, **sigmoid)
        self.__dict__["_frozen"] = None
        self.has_first_order = self._probe()

    def _field_sources(self, dataset) -> None:
        item_side = self.id_field == dataset.iid_field
        own = FeatureSource.ITEM if item_side else FeatureSource.USER
        self.side_fields = dataset.fields(source=[own])
        self._id_of_field = {
            **dict.fromkeys(dataset.fields(source=[FeatureSource.ITEM]), dataset.iid_field),
            **dict.fromkeys(dataset.fields(source=[FeatureSource.USER]), dataset.uid_field),
        }
        self._field_type = dict(dataset.field2type)

    # ---------------------------------------------------------------- the slot of the item ID
    def _hook(self) -> None:
        main = getattr(self.model, "token_embedding_table", None)
        if main is None or self.id_field not in self.model.token_field_names:
            raise UserError(
                f"backbone '{self.name}' cannot be wrapped: it has no embedding table with the "
                f"field '{self.id_field}'; choose another backbone (see 'recbole-cold list')"
            )
        position = self.model.token_field_names.index(self.id_field)
        self._offset = int(self.model.token_field_offsets[position])
        linear = self.model.first_order_linear
        first_position = linear.token_field_names.index(self.id_field)
        self._first_offset = int(linear.token_field_offsets[first_position])

        def splice(_module, _inputs, table_bfd: Tensor) -> Tensor | None:
            if self._slot is None:
                return None
            vector_bd = self._slot[0]
            return torch.cat(
                [table_bfd[:, :position], vector_bd[:, None], table_bfd[:, position + 1 :]], dim=1
            )

        def splice_first(_module, _inputs, table_bf1: Tensor) -> Tensor | None:
            weight_b1 = None if self._slot is None else self._slot[1]
            if not self._first_order_on:
                weight_b1 = torch.zeros_like(table_bf1[:, first_position])
            if weight_b1 is None:
                return None
            before, after = table_bf1[:, :first_position], table_bf1[:, first_position + 1 :]
            return torch.cat([before, weight_b1[:, None], after], dim=1)

        main.register_forward_hook(splice)
        linear.token_embedding_table.register_forward_hook(splice_first)

    @contextmanager
    def item_slot(self, vector: Tensor, first_order: Tensor | None = None) -> Iterator[None]:
        """While open, the wrapped model reads ``vector`` [b, d] in place of the ID's rows."""
        self._slot = (vector, first_order)
        try:
            yield
        finally:
            self._slot = None

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
        module = self._plain
        if self._collapsed is not None:
            module = self._frozen
            interaction = _Collapsed(interaction, self._collapsed)
        module.training = self.model.training
        if item_vector is None:
            return module(interaction).reshape(-1)
        with self.item_slot(item_vector, first_order):
            return module(interaction).reshape(-1)

    def calculate_loss(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """The wrapped model's own training loss, regularisers included."""
        return self.model.calculate_loss(interaction)

    def id_rows(self) -> Tensor:
        """The ID's embedding table [n, d], a view of the model's shared token table."""
        weight = self.model.token_embedding_table.embedding.weight
        return weight[self._offset : self._offset + self.n_ids]

    def first_order_rows(self) -> Tensor | None:
        """The ID's scalar weights [n, 1], or ``None`` where the model has none."""
        if not self.has_first_order:
            return None
        weight = self.model.first_order_linear.token_embedding_table.embedding.weight
        return weight[self._first_offset : self._first_offset + self.n_ids]

    def table_of(self, field: str) -> Tensor:
        """The embedding rows [number of tokens, d] of any token field."""
        position = self.model.token_field_names.index(field)
        offset = int(self.model.token_field_offsets[position])
        size = int(self.model.token_field_dims[position])
        return self.model.token_embedding_table.embedding.weight[offset : offset + size]

    # ---------------------------------------------------------------- checks at construction
    @torch.no_grad()
    def _probe(self) -> bool:
        """Compare with the plain model on a few rows; says whether the scalar weight matters."""
        device = self._rows.device
        index = torch.arange(min(8, len(next(iter(self._rows.columns.values())))), device=device)
        batch = self._rows.batch(index)
        training = self.model.training
        self.model.eval()
        try:
            ids = batch[self.id_field]
            own = self.id_rows()[ids]
            plain = self.logits(batch)
            if not torch.equal(self.logits(batch, own), plain):
                raise UserError(
                    f"backbone '{self.name}' cannot be wrapped: its logits change when it is given "
                    "the rows of its own table; choose another backbone (see 'recbole-cold list')"
                )
            if torch.equal(self.logits(batch, own + 1.0), plain):
                raise UserError(
                    f"backbone '{self.name}' cannot be wrapped: its output ignores the embedding "
                    f"of '{self.id_field}'; choose another backbone (see 'recbole-cold list')"
                )
            if not self._first_order_on:
                return False
            ones = torch.ones(len(index), 1, device=device, dtype=own.dtype)
            table = self.model.first_order_linear.token_embedding_table.embedding.weight
            bumped = table[self._first_offset + ids] + ones
            return not torch.equal(self.logits(batch, own, bumped), plain)
        except UserError:
            raise
        except (RuntimeError, AttributeError, TypeError, KeyError) as error:
            raise UserError(
                f"backbone '{self.name}' cannot be wrapped: its forward pass does not run on this "
                f"data ({type(error).__name__}: {error}); choose another backbone"
            ) from error
        finally:
            self.model.train(training)

    # ---------------------------------------------------------------- frozen tables
    def _pooled(self, module: nn.Module, position: int, field: str) -> Tensor:
        """What ``module`` makes of one sequence field, for every item or user: [n, width]."""
        one = _view(
            module,
            token_seq_embedding_table=nn.ModuleList([module.token_seq_embedding_table[position]]),
        )
        column = self._rows.features_of(self._id_of_field[field])[field]
        return torch.cat(
            [one.embed_token_seq_fields([part])[:, 0] for part in column.split(_CHUNK)]
        )

    @contextmanager
    def frozen_tables(self) -> Iterator[None]:
        """While open, sequences of user and item features are pooled once, not once per row.

        Only for stretches in which no parameter of the backbone moves: the pooled vectors are
        computed on entry. A sequence field becomes a sequence of length one, the code of its user
        or item, in a table of pooled vectors; RecBole's own masked mean over one vector is that
        vector.
        """
        if self._collapsed is not None:
            yield
            return
        fields = [name for name in self.model.token_seq_field_names if name in self._id_of_field]
        if not fields:
            yield
            return
        self.__dict__["_frozen"] = self._frozen_view()
        self._collapsed = {field: self._id_of_field[field] for field in fields}
        try:
            yield
        finally:
            self._collapsed = None
            self.__dict__["_frozen"] = None

    @torch.no_grad()
    def _frozen_view(self) -> nn.Module:
        def pooled_tables(module: nn.Module) -> nn.ModuleList:
            tables = list(module.token_seq_embedding_table)
            for position, field in enumerate(module.token_seq_field_names):
                if field in self._id_of_field:
                    pooled = self._pooled(module, position, field)
                    tables[position] = nn.Embedding.from_pretrained(pooled)
            return nn.ModuleList(tables)

        linear: FMFirstOrderLinear = self.model.first_order_linear
        return _view(
            self._plain,
            token_seq_embedding_table=pooled_tables(self.model),
            first_order_linear=_view(linear, token_seq_embedding_table=pooled_tables(linear)),
        )

    # ---------------------------------------------------------------- side information
    @torch.no_grad()
    def side_vectors(self, include_id: bool = False) -> Tensor:
        """Side information s_i of every item from the backbone's own tables: [n, s].

        Item fields in data-set order: tokens and pooled sequences give d columns each, numbers one.
        The item ID is not side information unless ``include_id`` (released code has it there).
        """
        features = self._rows.features_of(self.id_field)
        parts = [self.id_rows()] if include_id else []
        for field in self.side_fields:
            kind = self._field_type[field]
            if kind == FeatureType.TOKEN:
                parts.append(self.table_of(field)[features[field]])
            elif kind == FeatureType.TOKEN_SEQ:
                position = self.model.token_seq_field_names.index(field)
                parts.append(self._pooled(self.model, position, field))
            elif kind == FeatureType.FLOAT and field in features:
                parts.append(features[field][:, None])
        if not parts:
            raise UserError(
                f"the data set has no side information for '{self.id_field}', which this method "
                "needs; list feature fields under load_col, or choose a method that works without"
            )
        return torch.cat(parts, dim=1).detach()


def build_backbone(config, dataset, rows: Rows, id_field: str) -> Backbone:
    """The configured backbone, initialised from torch's global generator, behind the seam."""
    model_class = _with_pooling(config.backbone_class, config["pooling"])
    model = model_class(config, dataset).to(rows.device)
    if config["embedding_init"] == "uniform":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.01, 0.01)
    return Backbone(model, dataset, rows, id_field, config["id_first_order"] != "off")
