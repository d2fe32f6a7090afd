"""What a method answers, checked before it is used."""

from typing import Any

import torch
from torch import Tensor

from recbole_cold.errors import Misuse


def refuse_unlike(what: str, value: Any, like: Tensor, shapes: list[torch.Size]) -> None:
    """Raise a ``UserError`` if a method's answer is no tensor that can be copied as it stands."""
    if not isinstance(value, Tensor):
        raise Misuse(f"{what} gives a {type(value).__name__}, and must give a tensor")
    wanted = " or ".join(str(list(shape)) for shape in shapes)
    found, right = (value.dtype, value.device), (like.dtype, like.device)
    if value.shape not in shapes or found != right:
        raise Misuse(
            f"{what} gives {_described(value, str(list(value.shape)))}, and must give "
            f"{_described(like, wanted)}"
        )


def _described(value: Tensor, shape: str) -> str:
    return f"{shape} {str(value.dtype).removeprefix('torch.')} on {value.device}"
