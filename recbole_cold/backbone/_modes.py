"""Training and evaluation modes of modules: some for a while, or statistics and dropout apart."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


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


def set_apart(module: nn.Module, *, statistics: bool, dropout: bool) -> None:
    """Training mode for BatchNorm iff ``statistics`` may move, for all else iff ``dropout`` is on.

    Dropout is more than layers of that name: models call the function, too, and ask the
    ``training`` flag of the module around it.
    """
    for part in module.modules():
        part.training = statistics if isinstance(part, _NormBase) else dropout
