"""Shortcuts that do repeated work of a backbone's forward pass once; RecBole's code stays.

RecBole pools a multi-hot field (a title's words) for every row of a batch, although it belongs to
the item, and embeds all fields anew although only the item's vector changes. While the backbone is
frozen, both are done once, by views: the same modules with some children exchanged. A sequence
field becomes a sequence of length one, a code into a table of pooled vectors; RecBole's own pooling
of one vector is that vector. Layers that read the vectors of all fields are split (``_split``). A
view is compared with the plain model before it is used.
Shape letters: b rows of a batch, f fields, u users or items, d embedding size.
"""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.model.context_aware_recommender.pnn import InnerProductLayer, OuterProductLayer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from recbole_cold.backbone._constants import InnerProduct, with_offsets
from recbole_cold.backbone._split import KINDS, Split, readers
from recbole_cold.data.histories import PREFIX

logger = logging.getLogger(__name__)
# What a forward pass raises that does not run in an exchanged form.
NOT_THIS_WAY = (RuntimeError, AttributeError, TypeError, ValueError)
_CHUNK = 65536  # items pooled at a time: bounds the [items, sequence length, d] intermediate


def view(module: nn.Module, **children: nn.Module) -> nn.Module:
    """The same module with some children exchanged; parameters and other children are shared."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = {**module._modules, **children}
    return twin


def with_layers(module: nn.Module, layers: Mapping[str, nn.Module]) -> nn.Module:
    """As ``view``, with layers at any depth exchanged by their dotted names."""
    below: dict[str, dict[str, nn.Module]] = {}
    for name, layer in layers.items():
        child, _, rest = name.partition(".")
        below.setdefault(child, {})[rest] = layer
    children = {
        child: inner[""] if "" in inner else with_layers(module.get_submodule(child), inner)
        for child, inner in below.items()
    }
    return view(module, **children)


def lookup(table: Tensor, code: Tensor) -> Tensor:
    """Rows of ``table`` [n, d] at the codes: [..., d]; ``F.embedding`` with a cheaper gradient.

    On a CPU the gradient of ``F.embedding`` costs five times that of ``index_select``, for the same
    sums in the same order.
    """
    if table.device.type != "cpu" and table.dim() == 2:  # F.embedding takes no other
        return F.embedding(code, table)
    return table.index_select(0, code.reshape(-1)).view(*code.shape, *table.shape[1:])


class Lookup(nn.Embedding):
    """``nn.Embedding`` by ``lookup``; a table that wants sparse gradients stays as it was."""

    def forward(self, code: Tensor) -> Tensor:
        return super().forward(code) if self.sparse else lookup(self.weight, code)


class OuterProduct(OuterProductLayer):
    """RecBole's outer products of PNN, as one matrix product per pair of fields.

    RecBole multiplies element by element and sums afterwards, through an intermediate of
    [b, d, pairs, d]. The sums here are the same but for their order.
    """

    def forward(self, feat_emb: Tensor) -> Tensor:
        """Products [b, pairs] of all pairs among the vectors ``feat_emb`` [b, f, d]."""
        first, second = torch.triu_indices(
            self.num_feature_field, self.num_feature_field, 1, device=feat_emb.device
        )
        p_bpd, q_bpd = feat_emb[:, first], feat_emb[:, second]
        return (torch.einsum("bpe,kpe->bpk", p_bpd, self.kernel) * q_bpd).sum(dim=-1)


_PRODUCTS = {OuterProductLayer: OuterProduct, InnerProductLayer: InnerProduct}


def with_shortcuts(model: nn.Module) -> nn.Module:
    """``model`` with plain embedding tables looked up by ``lookup``, its outer products by matrix
    products, and the constants of RecBole's layers on the device; in place.
    """
    for module in model.modules():
        if type(module) in _PRODUCTS:
            module.__class__ = _PRODUCTS[type(module)]
        with_offsets(module)
        special = type(module) is not nn.Embedding or (
            module.padding_idx is not None or module.max_norm is not None
        )
        if not special and not module.scale_grad_by_freq:
            module.__class__ = Lookup
    return model


class Given(nn.Module):
    """An embedding table whose rows are a given tensor, through which gradients pass."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.__dict__["rows"] = rows

    def forward(self, code: Tensor) -> Tensor:
        return lookup(self.rows, code)


class Collapsed(dict):
    """An interaction whose collapsed fields are one code per row [b, 1], in histories [b, n, 1]."""

    def __init__(self, interaction: Mapping[str, Tensor], codes: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.whole, self._codes = interaction, codes

    def __missing__(self, field: str) -> Tensor:
        code = self._codes.get(field)
        value = self[field] = self.whole[field] if code is None else code[..., None]
        return value


def pooled(module: nn.Module, position: int, column: Tensor) -> Tensor:
    """The sequences ``column`` [u, length] of one field, pooled by ``module``: [u, width]."""
    tables = nn.ModuleList([module.token_seq_embedding_table[position]])
    one = view(module, token_seq_embedding_table=tables)
    if torch.compiler.is_compiling():  # an exporter does not know how many parts there are
        return one.embed_token_seq_fields([column])[:, 0]
    return torch.cat([one.embed_token_seq_fields([part])[:, 0] for part in column.split(_CHUNK)])


def with_tables(module: nn.Module, tables: Mapping[str, nn.Module]) -> nn.Module:
    """A view of ``module`` that looks sequence fields up in ``tables`` where they have one."""
    own = module.token_seq_embedding_table
    exchanged = [
        tables.get(field, own[position])
        for position, field in enumerate(module.token_seq_field_names)
    ]
    return view(module, token_seq_embedding_table=nn.ModuleList(exchanged))


def remember(interaction: Any, key: object, compute: Callable[[], Any]) -> Any:
    """The value of ``compute()``, cached in ``interaction.memo`` if there is one."""
    memo = getattr(interaction, "memo", None)
    if memo is None:
        return compute()
    if key not in memo:
        memo[key] = compute()
    return memo[key]


def _sequences_with_an_owner(seam) -> dict[str, str]:
    """Sequence field -> the ID field of the user or item whose feature it is."""
    names = seam.model.token_seq_field_names
    return {field: id_field for field, id_field in seam.id_of_field.items() if field in names}


class FrozenView:
    """The forward pass of a backbone whose parameters do not move while this is in use.

    Multi-hot fields of users and items are pooled on construction, and what does not depend on the
    item's vector is embedded once per batch, however often the batch is used.

    Args:
        seam: the ``Backbone``.
    """

    def __init__(self, seam) -> None:
        self.seam = seam
        model = seam.model
        self.id_of_field = _sequences_with_an_owner(seam)
        # Elements of histories have the same fields, and their codes are in the history's ids.
        elements = self.id_of_field.keys() & set(getattr(model, "element_fields", ()))
        self._code_of = self.id_of_field | {
            PREFIX + field: PREFIX + self.id_of_field[field] for field in elements
        }
        plain_model, linear = seam.plain, model.first_order_linear
        if self.id_of_field:
            with torch.no_grad():
                plain_model = with_tables(plain_model, self._tables(model))
                linear = with_tables(linear, self._tables(linear))
        self._linear = linear
        self._model = view(plain_model, first_order_linear=_FirstOrderOnce(self))
        self._embed = type(model).embed_input_fields
        # An attribute of this instance hides the class's method, in this view only.
        self._model.__dict__["embed_input_fields"] = self._embed_input_fields
        self._plain_fields = view(plain_model)
        for name in getattr(model, "once_per_batch", ()):
            self._model.__dict__[name] = partial(self._once, name)
        if type(model).concat_embed_input_fields is ContextRecommender.concat_embed_input_fields:
            self._model.__dict__["concat_embed_input_fields"] = self._fields
        # Dropout is more than layers of that name; BatchNorm's mode changes no other layer's input.
        self._chance = [part for part in model.modules() if not isinstance(part, _NormBase)]
        self.split: nn.Module | None = None  # used where a vector is given and dropout is off
        self.filling = torch.nan  # what is read by those who may not read the fields' vectors
        self._now: Collapsed | None = None

    def _tables(self, module: nn.Module) -> dict[str, nn.Module]:
        positions = {field: at for at, field in enumerate(module.token_seq_field_names)}
        return {
            field: Given(pooled(module, positions[field], self.seam.features_of(id_field)[field]))
            for field, id_field in self.id_of_field.items()
        }

    def __call__(self, interaction: Mapping[str, Tensor]) -> Tensor:
        codes = {field: interaction[id_field] for field, id_field in self._code_of.items()}
        collapsed = Collapsed(interaction, codes)
        if self.split is None or self._vector is None or any(p.training for p in self._chance):
            self._model.training = self.seam.model.training
            return self._model(collapsed)
        outer, self._now = self._now, collapsed
        try:
            return self.split(collapsed)
        finally:
            self._now = outer

    @property
    def _vector(self) -> Tensor | None:
        return self.seam.slot and self.seam.slot[0]

    @contextmanager
    def _without_slot(self, first_order: Tensor | None = None) -> Iterator[None]:
        slot, self.seam.slot = self.seam.slot, (None, first_order)
        try:
            with torch.no_grad():
                yield
        finally:
            self.seam.slot = slot

    def _embed_input_fields(self, interaction: Collapsed) -> tuple[Tensor, Tensor | None]:
        def compute() -> tuple[Tensor, Tensor | None]:
            return self._embedded(interaction)

        sparse_bfd, dense = remember(interaction.whole, (self, "fields"), compute)
        return self._with_vector(sparse_bfd), dense

    def _embedded(self, interaction: Collapsed) -> tuple[Tensor, Tensor | None]:
        with self._without_slot():
            return self._embed(self._plain_fields, interaction)

    def _with_vector(self, fields_bfd: Tensor) -> Tensor:
        if self._vector is None:
            return fields_bfd
        at = self._place
        parts = [fields_bfd[:, :at], self._vector[:, None], fields_bfd[:, at + 1 :]]
        return torch.cat(parts, dim=1)

    @property
    def _place(self) -> int:
        # RecBole puts the sequence fields before the token fields.
        return len(self.seam.model.token_seq_field_names) + self.seam.position

    def _fields(self, interaction: Collapsed) -> Tensor:
        """RecBole's ``concat_embed_input_fields`` [b, f, d], with one copy where it makes two."""
        fields_bfd = self._kept_fields(interaction)
        # A copy, too, without a vector: a model may change in place what it is given.
        return fields_bfd.clone() if self._vector is None else self._with_vector(fields_bfd)

    def _kept_fields(self, interaction: Collapsed) -> Tensor:
        """The vectors of all fields once per batch, with the ID's row of the table."""

        def compute() -> Tensor:
            sparse_bfd, dense = self._embedded(interaction)
            if dense is None or dense.dim() != 3:
                return sparse_bfd
            return torch.cat([sparse_bfd, dense], dim=1)

        return remember(interaction.whole, (self, "all fields"), compute)

    # ---------------------------------------------------------------- split layers
    def split_layers(self, batch: Mapping[str, Tensor]) -> None:
        """Split the layers that can be, if logits and gradients stay the plain model's on ``batch``
        (in evaluation mode), with either of two vectors in each row."""
        seam = self.seam
        own = seam.id_table()[batch[seam.id_field]].detach()
        drawn = torch.randn(own.shape, generator=torch.Generator().manual_seed(1)).to(own)
        weight = torch.ones_like(own[:, :1])

        def outcome(model: Callable[[Mapping[str, Tensor]], Tensor]) -> list[Tensor]:
            found = []
            for vector in (own + 1.0, drawn):
                leaf = vector.requires_grad_()
                with torch.enable_grad(), seam.item_slot(leaf, weight):
                    logits = model(batch)
                    found += [logits.detach(), *torch.autograd.grad(logits.sum(), leaf)]
            return found

        seam.plain.training = seam.model.training
        try:
            expected = outcome(seam.plain)
            with seam.item_slot(drawn, weight):
                split = self._split(lambda: self(batch))
            if split is None:
                return
        except NOT_THIS_WAY as error:
            logger.info("backbone '%s' runs without split layers: %s", seam.name, error)
            return
        self.split = split
        with suppress(*NOT_THIS_WAY):
            if self._agrees(expected, outcome):
                return
        self.split = None

    def _agrees(self, expected: list[Tensor], outcome: Callable[[Callable], list[Tensor]]) -> bool:
        """Whether the split form gives ``expected``, whatever stands for the fields' vectors: no
        comparison, for instance of a vector with zero, makes a number of NaN and is still wrong."""
        for self.filling in (0.0, torch.nan):  # NaN stays
            pairs = zip(expected, outcome(self), strict=True)
            if not all(torch.allclose(*pair, rtol=1e-4, atol=1e-5) for pair in pairs):
                return False
        return True

    def _split(self, run: Callable[[], Any]) -> nn.Module | None:
        """The forward pass with split layers, if there are any.

        Nobody is given the fields' vectors, but ``filling``: of NaN the outcome is a number only if
        no other layer reads them. With those, to split some layers alone gains nothing.

        Args:
            run: a forward pass of this view, with a vector.
        """
        model, given = self._model, []
        if "concat_embed_input_fields" not in model.__dict__:
            return None
        self._model = view(model)

        def note(interaction: Collapsed) -> Tensor:
            given.append(self._fields(interaction))
            return given[-1]

        def read() -> Tensor | None:
            run()
            return given[0] if len(given) == 1 else None

        self._model.__dict__["concat_embed_input_fields"] = note
        try:
            found = readers(self._model, read)
        finally:
            self._model = model
        if not found:
            return None
        _, fields, size = given[0].shape
        layers = {
            name: KINDS[type(layer)](layer, self._place, size, self._parts)
            for name, layer in found.items()
        }
        split = with_layers(model, layers)
        split.__dict__["concat_embed_input_fields"] = partial(self._nothing, fields)
        return split

    def _nothing(self, fields: int, _interaction: Collapsed) -> Tensor:
        vector_bd = self.seam.slot[0]
        shape = vector_bd.shape[0], fields, vector_bd.shape[1]
        return vector_bd.new_full((), self.filling).expand(shape)

    def _parts(self, layer: Split) -> tuple[Tensor, Tensor]:
        """What the other fields give to a split layer, once per batch, and the ID's vector."""
        interaction = self._now
        assert interaction is not None and self._vector is not None

        def compute() -> Tensor:
            with torch.no_grad():
                return layer.rest(self._kept_fields(interaction))

        return remember(interaction.whole, (self, layer), compute), self._vector

    def _once(self, name: str, interaction: Collapsed) -> Any:
        """What a function of the model that knows nothing of the ID's vector gives, once per
        batch."""

        def compute() -> Any:
            with self._without_slot():
                return getattr(type(self._model), name)(self._plain_fields, interaction)

        return remember(interaction.whole, (self, name), compute)

    def first_order(self, interaction: Collapsed) -> Tensor:
        """The linear part [b, 1]: all but the ID's weight once per batch, and that weight."""
        seam = self.seam
        ids = interaction[seam.id_field]

        def compute() -> Tensor:
            zero = torch.zeros(len(ids), 1, device=ids.device)
            with self._without_slot(zero):
                return self._linear(interaction)

        rest = remember(interaction.whole, (self, "first order"), compute)
        if not seam.first_order_on:
            return rest
        weight = seam.slot and seam.slot[1]
        if weight is None:
            weight = lookup(seam.first_order_table(), ids)
        return rest + weight


class _FirstOrderOnce(nn.Module):
    """Replaces the first-order layer; caches its output per batch."""

    def __init__(self, frozen: FrozenView) -> None:
        super().__init__()
        self.__dict__["_frozen"] = frozen

    def forward(self, interaction: Collapsed) -> Tensor:
        return self._frozen.first_order(interaction)
