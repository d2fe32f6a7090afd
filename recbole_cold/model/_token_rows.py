"""Whose rows a method's tensors hold: which tensor has one row per token, of which fields.

Codes of tokens are those of one data set. What a row is about is its token's name; with it, rows
find their places in tables that are made for another data set.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from recbole.model.layers import FLEmbedding
from torch import Tensor, nn

from recbole_cold.backbone._vectors import VectorTable


class TokenRows(NamedTuple):
    """Rows of a tensor that belong to the tokens of a field.

    Attributes:
        field: with tokens.
        codes: int64 [r], the code of each row; ``None``: every code of the field, in order.
        axis: along which the rows lie.
    """

    field: str
    codes: Tensor | None = None
    axis: int = 0


# By the name that a tensor has in its module's state: the fields whose rows it holds one behind the
# other; none: it holds numbers of the data's rows, which mean nothing in other data. Only rows of a
# single field lie along another axis than the first.
ByName = Mapping[str, tuple[TokenRows, ...]]


def rows_by_token(method: nn.Module) -> dict[str, tuple[TokenRows, ...]]:
    """Every tensor of a method's state that has rows by token, by its name in the state.

    A module of ours says so itself, in ``token_rows()``; of click models and of tables that name
    their fields as RecBole's do, it follows from these names.
    """
    found: dict[str, tuple[TokenRows, ...]] = {}
    for place, module in method.named_modules(remove_duplicate=False):
        before = f"{place}." if place else ""
        for name, rows in (*_of_click_model(module), *_said(module).items()):
            found[before + name] = rows
    return found


def _said(module: nn.Module) -> ByName:
    say = getattr(module, "token_rows", None)
    return say() if callable(say) else {}


def _of_click_model(module: nn.Module) -> Iterator[tuple[str, tuple[TokenRows, ...]]]:
    if getattr(module, "token_embedding_table", None) is not None:
        fields = tuple(TokenRows(field) for field in getattr(module, "token_field_names", ()))
        if fields:
            yield "token_embedding_table.embedding.weight", fields
    tables = getattr(module, "token_seq_embedding_table", None)
    names = getattr(module, "token_seq_field_names", ())
    for position, (field, table) in enumerate(zip(names, tables or (), strict=True)):
        # Of content vectors a row is a coordinate, not a token.
        if not isinstance(table, VectorTable):
            yield f"token_seq_embedding_table.{position}.weight", (TokenRows(field),)


def without_owner(method: nn.Module) -> list[str]:
    """Tables of embeddings of which nothing says whose rows they are; names in the state.

    Those of numbers have a row per field, not per token, and are copied whole.
    """
    said = rows_by_token(method)
    numbers = {id(each.embedding) for each in method.modules() if isinstance(each, FLEmbedding)}
    return [
        f"{place}.weight"
        for place, module in method.named_modules(remove_duplicate=False)
        if isinstance(module, nn.Embedding)
        and not isinstance(module, VectorTable)
        and id(module) not in numbers
        and f"{place}.weight" not in said
    ]
