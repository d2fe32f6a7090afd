"""Shortcuts that do repeated work of a backbone's forward pass once; RecBole's code stays.

RecBole pools a multi-hot field (a title's words) for every row of a batch, although it belongs to
the item, and embeds all fields anew although only the item's vector changes. While the backbone is
frozen, both are done once, by views: the same modules with some children exchanged. A sequence
field becomes a sequence of length one, a code into a table of pooled vectors; RecBole's own pooling
of one vector is that vector. A view is compared with the plain model before it is used.
Shape letters: b rows of a batch, f fields, u users or items, d embedding size.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from recbole.model.context_aware_recommender.pnn import OuterProductLayer
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.data.histories import PREFIX

_CHUNK = 65536  # items pooled at a time: bounds the [items, sequence length, d] intermediate


def view(module: nn.Module, **children: nn.Module) -> nn.Module:
    """The same module with some children exchanged; parameters and other children are shared."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = {**module._modules, **children}
    return twin


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


def with_shortcuts(model: nn.Module) -> nn.Module:
    """``model`` with plain embedding tables looked up by ``lookup``, and its outer products by
    matrix products; in place.
    """
    for module in model.modules():
        if type(module) is OuterProductLayer:
            module.__class__ = OuterProduct
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

    def _tables(self, module: nn.Module) -> dict[str, nn.Module]:
        positions = {field: at for at, field in enumerate(module.token_seq_field_names)}
        return {
            field: Given(pooled(module, positions[field], self.seam.features_of(id_field)[field]))
            for field, id_field in self.id_of_field.items()
        }

    def __call__(self, interaction: Mapping[str, Tensor]) -> Tensor:
        codes = {field: interaction[id_field] for field, id_field in self._code_of.items()}
        collapsed = Collapsed(interaction, codes)
        self._model.training = self.seam.model.training
        return self._model(collapsed)

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
            with self._without_slot():
                return self._embed(self._plain_fields, interaction)

        sparse_bfd, dense = remember(interaction.whole, (self, "fields"), compute)
        vector_bd = self.seam.slot and self.seam.slot[0]
        if vector_bd is None:
            return sparse_bfd, dense
        # RecBole puts the sequence fields before the token fields.
        at = len(self.seam.model.token_seq_field_names) + self.seam.position
        parts = [sparse_bfd[:, :at], vector_bd[:, None], sparse_bfd[:, at + 1 :]]
        return torch.cat(parts, dim=1), dense

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
