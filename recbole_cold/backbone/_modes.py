"""Training and evaluation modes of modules, put back one by one."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*parts: nn.Module) -> Iterator[None]:
    """While open, ``parts`` are in evaluation mode; every module inside then has its mode again."""
    modes = [(module, module.training) for part in parts for module in part.modules()]
    for part in parts:
        part.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
