"""Switches modules to evaluation mode and back."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*parts: nn.Module) -> Iterator[None]:
    """Context: ``parts`` are in evaluation mode; afterwards each module has its own mode again."""
    modes = [(module, module.training) for part in parts for module in part.modules()]
    for part in parts:
        part.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
