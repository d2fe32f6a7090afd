"""The scorer: a trained backbone as a network of tensors alone, which torch.export can write down.

Its inputs are the fields of rows, without the ID that may be cold, and that ID's vector; its output
is the click probability. What the outside world knows and training did not is answered in the graph
itself, without a branch: every table has one row more, the mean of the rows that training moved,
and each code from the table's size on means that row.
Shape letters: b rows, d embedding size, s tokens of a sequence, m width of a content vector, n
codes of a field.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recbole_cold.backbone._base import embedded_fields
from recbole_cold.backbone._modes import set_apart
from recbole_cold.backbone._seam import Backbone
from recbole_cold.backbone._vectors import VectorTable
from recbole_cold.data.rows import Batch, Rows
from recbole_cold.data.vectors import Scaled
from recbole_cold.errors import UserError
from recbole_cold.model._method import ColdStartRecommender

VECTOR, WEIGHT, BIAS = "item_vector", "first_order", "item_bias"
OUTPUT = "probability"

Feed = Mapping[str, Tensor]  # the inputs of a scorer by name


@dataclass(frozen=True)
class Input:
    """One input of a scorer.

    Attributes:
        name: the field's, or that of what the method gives: ``item_vector``, ``first_order``,
            ``item_bias``, and what else it serves items with (EmerG: ``item_graph``).
        kind: ``token``, ``token_seq``, ``number``, ``content_vector`` or ``given``.
        dtype: ``int64`` or ``float32``, as NumPy says it.
        shape: words (``batch``, ``length_0``, ...) stand for any size.
        size: how many codes are known, padding included; 0 where the input is no code.
        unseen: what a value that is not known is answered by.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[str | int, ...]
    size: int = 0
    unseen: str = ""


@dataclass(frozen=True)
class Served:
    """What is served for the items (users, if those may be cold): the vectors to be baked in.

    The last of each is that of an unknown ID.

    Attributes:
        vectors: [n + 1, d] by code.
        first_order: [n + 1, 1], or ``None`` where the backbone has no scalar weights.
        bias: [n + 1], added to the logit, or ``None``.
        more: what else items are scored with, by name: [n + 1, ..].
    """

    vectors: Tensor
    first_order: Tensor | None
    bias: Tensor | None
    more: Mapping[str, Tensor] | None = None


# ------------------------------------------------------------------------------- unknown values
def with_mean_row(table_nd: Tensor, used: Any) -> Tensor:
    """The table with the mean of its ``used`` rows as one row more: [n + 1, d].

    Zeros where no row was used: such a field has moved nothing.
    """
    codes = torch.as_tensor(np.asarray(used, dtype=np.int64), device=table_nd.device)
    extra = table_nd[codes].mean(dim=0) if len(codes) else torch.zeros_like(table_nd[0])
    return torch.cat([table_nd, extra[None]])


def known_or_last(code: Tensor, size: int) -> Tensor:
    """Codes in 0 .. ``size``: what is not known becomes ``size``, the row behind the last one."""
    unknown = (code < 0) | (code >= size)
    return torch.where(unknown, size, code)


def known_tokens(code_bs: Tensor, size: int) -> Tensor:
    """Sequences without their unknown tokens; ``size`` alone where a sequence has no other.

    A token that is left out becomes padding where it stands.
    """
    unknown_bs = (code_bs < 0) | (code_bs >= size)
    known_bs = torch.where(unknown_bs, 0, code_bs)
    has_known_b1 = (known_bs != 0).any(dim=1, keepdim=True)
    alone_b1 = unknown_bs.any(dim=1, keepdim=True) & ~has_known_b1
    # By its number, not by a slice: the length of a slice would be fixed where it is 1.
    first_s = torch.arange(code_bs.shape[1], device=code_bs.device) == 0
    return torch.where(alone_b1 & first_s, size, known_bs)


# ------------------------------------------------------------------------------- what is refused
def _refuse(seam: Backbone) -> None:
    if not seam.reads_vector:
        raise UserError(
            f"{seam.name} has a network of its own that no item vector goes into, so there is no "
            "scorer to export; score with `recbole-cold predict`"
        )
    if getattr(seam.model, "element_fields", ()):
        raise UserError(
            f"backbone '{seam.name}' reads histories, whose rows an exported scorer does not have; "
            "score with `recbole-cold predict` or choose a backbone without a history"
        )


def _refuse_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"the field '{twice[0]}' has the name of an input that the scorer has for itself "
            f"({VECTOR}, {WEIGHT}, {BIAS}); rename it in the data"
        )


def _on_cpu(seam: Backbone) -> None:
    """RecBole's modules keep the device that they make new tensors on."""
    for module in [*seam.modules(), seam.plain, *seam.plain.modules()]:
        if "device" in vars(module):
            module.device = torch.device("cpu")


# ------------------------------------------------------------------------------- the network
class KeepsBatch(TorchFunctionMode):
    """Leaves the one axis of a vector alone when it is squeezed: it is the batch.

    RecBole 1.2's DSSM ends so. Torch takes the axis away from a batch of one row only, but an
    exporter writes the operation down, and other runtimes refuse it for every other size.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        squeezes = func in (Tensor.squeeze, torch.squeeze)
        if squeezes and isinstance(args[0], Tensor) and args[0].dim() == 1:
            return args[0]
        return func(*args, **(kwargs or {}))


class _Given:
    """Content vectors [b, m] of the rows that are being scored, by field.

    An object, where a dictionary would do: torch.export replaces the dictionaries that modules have
    by copies, which the tables below would not see.
    """

    vectors: Mapping[str, Tensor]


class _OfGiven(nn.Module):
    """Replaces the table of a content vector: ``P c`` of the vectors that the rows bring.

    Args:
        table: the ``VectorTable`` in whose place it stands.
        given: the vectors of the rows that are being scored.
        field: whose table it is.
    """

    def __init__(self, table: VectorTable, given: _Given, field: str) -> None:
        super().__init__()
        self.scaled: Scaled = table.vectors
        self.register_buffer("weight_md", table.weight.detach().clone())
        self.register_buffer("mean", table.vectors.mean.detach().cpu().clone())
        self.given, self.field = given, field

    def forward(self, _code: Tensor) -> Tensor:
        raw_bm = self.given.vectors[self.field]
        return self.scaled.projected_raw(raw_bm, self.mean, self.weight_md)[:, None]


def _plain(rows_nd: Tensor) -> nn.Embedding:
    """A table without the shortcuts and sparse gradients of training."""
    return nn.Embedding.from_pretrained(rows_nd.detach().clone(), freeze=True)


class Scorer(nn.Module):
    """A trained backbone behind its seam as a network without rows, methods or RecBole's batches.

    ``forward`` takes one tensor per input, in the order of ``inputs``, and gives the probabilities
    of a click [b] in double precision: different logits stay different.

    Args:
        seam: the backbone, which stays as it is; the scorer has copies of its tensors, on the CPU.
        used: field -> codes whose mean answers what is unknown.
        item_bias: whether a number of the item is added to the logit.
        served: the vectors to be baked in; the ID's code is then an input in their place.
        more: the sizes of what items are scored with beside their vectors, by name.

    Raises:
        UserError: the backbone cannot be written down as such a network.
    """

    def __init__(
        self,
        seam: Backbone,
        used: Mapping[str, Any],
        *,
        item_bias: bool = False,
        served: Served | None = None,
        more: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__()
        self.more = dict(more or {})
        _refuse(seam)
        self.backbone, self.id_field = seam.name, seam.id_field
        self.embedding_size = seam.embedding_size
        # Rows of data are no part of the network, and a copy of them would be large.
        rows = seam._rows
        self.seam = copy.deepcopy(seam, {id(rows): rows}).cpu()
        self.seam._rows = None
        _on_cpu(self.seam)
        set_apart(self.seam, statistics=False, dropout=False)
        self.requires_grad_(False)
        self._given = _Given()
        model = self.seam.model
        vectors = self._exchange_tables(used)
        self._sizes = {
            **dict(zip(model.token_field_names, seam.model.token_field_dims, strict=True)),
            **dict(zip(model.token_seq_field_names, model.token_seq_field_dims, strict=True)),
        }
        self.inputs = tuple(self._field_inputs(vectors)) + tuple(
            self._served_inputs(item_bias, served)
        )
        _refuse_names([each.name for each in self.inputs])
        self._bake(served)

    # ---------------------------------------------------------------- tables
    @torch.no_grad()
    def _exchange_tables(self, used: Mapping[str, Any]) -> dict[str, int]:
        """Give all tables their row for the unknown; field -> width of those of content vectors."""
        vectors = {}
        for module in self.seam.model.modules():
            if hasattr(module, "token_field_names") and hasattr(module, "token_embedding_table"):
                self._extend_tokens(module, used)
            names = getattr(module, "token_seq_field_names", ())
            for place, field in enumerate(names):
                table = module.token_seq_embedding_table[place]
                if isinstance(table, VectorTable):
                    vectors[field] = table.vectors.width
                    exchanged: nn.Module = _OfGiven(table, self._given, field)
                else:
                    exchanged = _plain(with_mean_row(table.weight, used.get(field, ())))
                module.token_seq_embedding_table[place] = exchanged
        return vectors

    def _extend_tokens(self, module: nn.Module, used: Mapping[str, Any]) -> None:
        """Tables of several fields: a row more for each, one row alone for the ID, whose vector is
        given."""
        weight = module.token_embedding_table.embedding.weight
        parts, begin = [], 0
        for field, size in zip(module.token_field_names, module.token_field_dims, strict=True):
            own = weight[begin : begin + size]
            begin += size
            is_id = field == self.id_field
            parts.append(own[:1] if is_id else with_mean_row(own, used.get(field, ())))
        sizes = [len(part) for part in parts]
        module.token_field_dims = sizes
        module.token_field_offsets = np.array((0, *np.cumsum(sizes)[:-1]), dtype=np.int64)
        module.token_embedding_table.offsets = module.token_field_offsets
        module.token_embedding_table.embedding = _plain(torch.cat(parts))

    # ---------------------------------------------------------------- inputs
    def _field_inputs(self, vectors: Mapping[str, int]) -> Iterator[Input]:
        model = self.seam.model
        for place, field in enumerate(embedded_fields(model)):
            if field == self.id_field:
                continue
            if field in vectors:
                shape = ("batch", vectors[field])
                yield Input(field, "content_vector", "float32", shape, 0, "zeros mean: missing")
            elif field in model.float_field_names:
                yield Input(field, "number", "float32", ("batch",))
            elif field in model.token_seq_field_names:
                said = "left out; where no token is known, the mean row"
                shape = ("batch", f"length_{place}")
                yield Input(field, "token_seq", "int64", shape, self._sizes[field], said)
            else:
                yield Input(field, "token", "int64", ("batch",), self._sizes[field], "the mean row")

    def _served_inputs(self, item_bias: bool, served: Served | None) -> Iterator[Input]:
        if served is not None:
            n, said = len(served.vectors) - 1, "the mean of the old ones"
            yield Input(self.id_field, "token", "int64", ("batch",), n, said)
            return
        yield Input(VECTOR, "given", "float32", ("batch", self.embedding_size))
        if self.seam.has_first_order:
            yield Input(WEIGHT, "given", "float32", ("batch", 1))
        for name, size in self.more.items():
            yield Input(name, "given", "float32", ("batch", *size))
        if item_bias:
            yield Input(BIAS, "given", "float64", ("batch",))

    def _bake(self, served: Served | None) -> None:
        self.baked = served is not None
        self.n_ids = 0
        if served is None:
            return
        self.n_ids = len(served.vectors) - 1
        weights, bias = served.first_order, served.bias
        self.register_buffer("vectors", served.vectors.detach().cpu())
        if weights is not None and self.seam.has_first_order:
            self.register_buffer("weights", weights.detach().cpu())
        if bias is not None:
            self.register_buffer("bias", bias.detach().cpu().double())
        for name in self.more:
            self.register_buffer(f"served_{name}", (served.more or {})[name].detach().cpu())

    def feed(self, batch: Batch, served: Feed) -> dict[str, Tensor]:
        """The inputs by name for rows of a data set, on the CPU.

        Args:
            batch: rows of the run's own data.
            served: ``item_vector`` [b, d], and those of ``first_order`` [b, 1] and ``item_bias``
                [b] that are inputs; with baked vectors nothing.
        """
        found = {}
        for each in self.inputs:
            if each.kind == "given":
                value = served[each.name]
            elif each.kind == "number":
                value = batch[each.name][..., 0]
            else:
                value = batch.rows.gather(each.name, batch)
            found[each.name] = value.detach().cpu().to(getattr(torch, each.dtype))
        return found

    # ---------------------------------------------------------------- forward
    def forward(self, *values: Tensor) -> Tensor:
        """Probabilities [b], float64, of one tensor per input."""
        value = {
            each.name: each_value for each, each_value in zip(self.inputs, values, strict=True)
        }
        vector_bd, weight_b1, bias_b, more = self._of_id(value)
        fields = {each.name: self._field(each, value[each.name]) for each in self._fields()}
        # The table must be asked for some row; what it gives is replaced.
        fields[self.id_field] = torch.zeros_like(vector_bd[:, 0], dtype=torch.int64)
        self._given.vectors = {
            each.name: value[each.name] for each in self.inputs if each.kind == "content_vector"
        }
        with KeepsBatch():
            logit_b = self.seam.served_logits(fields, vector_bd, weight_b1, more)
        logit_b = logit_b.reshape(-1).double()
        return torch.sigmoid(logit_b if bias_b is None else logit_b + bias_b)

    def _fields(self) -> Iterator[Input]:
        return (each for each in self.inputs if each.kind != "given" and each.name != self.id_field)

    def _of_id(
        self, value: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor | None, Tensor | None, dict[str, Tensor]]:
        """Vector, scalar weight, number on the logit, and what else items are scored with."""
        if not self.baked:
            more = {name: value[name] for name in self.more}
            return value[VECTOR], value.get(WEIGHT), value.get(BIAS), more
        code_b = known_or_last(value[self.id_field], self.n_ids)
        tables = [getattr(self, name, None) for name in ("vectors", "weights", "bias")]
        vector, weight, bias = (None if table is None else table[code_b] for table in tables)
        assert vector is not None
        more = {name: getattr(self, f"served_{name}")[code_b] for name in self.more}
        return vector, weight, bias, more

    @staticmethod
    def _field(each: Input, value: Tensor) -> Tensor:
        """A field as RecBole's models read it."""
        if each.kind == "number":
            return Rows.as_number(value)
        if each.kind == "content_vector":
            # Its table reads the vectors themselves; the code says whether there is one.
            return (value != 0).any(dim=1, keepdim=True).long()
        return (known_tokens if each.kind == "token_seq" else known_or_last)(value, each.size)


# ------------------------------------------------------------------------------- of a method
def refuse(method: ColdStartRecommender) -> None:
    """
    Raises:
        UserError: the method's scores are not those of a network that is given one vector per item.
    """
    reason = method.why_not_exported()
    if reason is not None:
        raise UserError(
            f"{type(method).__name__} has no scorer to export: {reason}; score with `recbole-cold "
            "predict`"
        )


def scorer_of(
    method: ColdStartRecommender, dataset: Any, *, served: Served | None = None
) -> Scorer:
    """The scorer of a trained method.

    Args:
        method: as a phase has left it, in evaluation mode.
        dataset: the view of its run.
        served: the vectors to be inside, and the ID's code an input in their place.

    Raises:
        UserError: the method's scores are not those of a backbone that is given one vector, or its
            backbone cannot be written down.
    """
    refuse(method)
    codes = {field: np.flatnonzero(has) for field, has in dataset.trained.items()}
    return Scorer(
        method.backbone,
        codes,
        item_bias=method.has_item_bias(),
        served=served,
        more={name: tuple(each.shape[1:]) for name, each in _more_of_one(method).items()},
    )


@torch.no_grad()
def _more_of_one(method: ColdStartRecommender) -> dict[str, Tensor]:
    one = method.old_ids[:1]
    return method.more_served(one, method.item_vectors(one)[0])


@torch.no_grad()
def served_values(method: ColdStartRecommender, ids: Tensor) -> dict[str, Tensor]:
    """What a method gives a scorer for IDs [b]: ``item_vector``, ``first_order``, ``item_bias``;
    the last two where there are such numbers, and what else it scores items with."""
    vector, weight = method.item_vectors(ids)
    found = {VECTOR: vector} if weight is None else {VECTOR: vector, WEIGHT: weight}
    found |= method.more_served(ids, vector)
    if method.has_item_bias():
        slot = method.shift_index[ids]
        own = method.new_shift[slot.clamp(min=0)]
        found[BIAS] = torch.where(slot >= 0, own, torch.zeros_like(own))
    return found


@torch.no_grad()
def feed_of(method: ColdStartRecommender, scorer: Scorer, index: Tensor) -> Feed:
    """Inputs of a scorer, by name, for the rows ``index`` [b] of the run's data, on the CPU."""
    batch = method.rows.batch(index)
    served = {} if scorer.baked else served_values(method, batch[method.id_field])
    return scorer.feed(batch, served)
