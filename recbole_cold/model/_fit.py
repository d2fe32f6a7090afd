"""``Fit``, the description of a part of training: steps, batches, epochs, mode."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from recbole_cold.data.rows import Batch, Rows
from recbole_cold.device import sent
from recbole_cold.errors import Misuse, nearest

MODES = ("frozen", "train")
OPTIMIZERS = ("adam", "sgd")


def no_such_mode(what: str, mode: str, known: Sequence[str]) -> Misuse:
    """The error for a mode that is none of the ``known`` ones."""
    guess = nearest(str(mode), known)
    return Misuse(
        f"{what} is none of {', '.join(known)}"
        + (f"; did you mean '{guess}'?" if guess else "; choose one of them")
    )


@dataclass(frozen=True)
class Step:
    """An optimizer with its loss, and the only parameters that it may move.

    Args:
        loss: of a batch; a tuple is added up.
        parameters: what moves.
        learning_rate: in the first epoch of the fit.
        weight_decay: Adam's L2 penalty.
        names: of the parts of a loss that is a tuple, for the message if one is NaN.
        optimizer: ``adam``, or ``sgd``: plain gradient descent.
        betas: Adam's.
        decay: what the learning rate is multiplied by after each epoch of the fit.
        with_next: the optimizer of the fit's next step takes this one too, with this learning
            rate: both move one set of moments. The next step's parameters include these.

    Raises:
        UserError: there is no such optimizer.
    """

    loss: Callable[[Any], Tensor | tuple[Tensor, ...]]
    parameters: Sequence[nn.Parameter]
    learning_rate: float
    weight_decay: float = 0.0
    names: Sequence[str] = ()
    optimizer: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 1.0
    with_next: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise no_such_mode(
                f"optimizer '{self.optimizer}' of a Step", self.optimizer, OPTIMIZERS
            )


class RowBatches:
    """Mini-batches of row indices, shuffled; the batches of ``Fit`` unless it brings its own.

    A single row left over goes with the batch before it: BatchNorm has no variance of one row.

    Args:
        index: numbers of rows [n].
        shuffle: draw the order anew in each epoch; else it is that of ``index``.
        most: rows of an epoch at most, the first ones of its order; None for all.
    """

    def __init__(
        self,
        index: Tensor,
        batch_size: int,
        rows: Rows,
        shuffle: bool = True,
        most: int | None = None,
    ) -> None:
        self.index, self.batch_size, self.rows = index, batch_size, rows
        self.shuffle = shuffle
        self.size = len(index) if most is None else min(most, len(index))

    def __len__(self) -> int:
        full, left = divmod(self.size, self.batch_size)
        return full + (left > 1 or (left == 1 and full == 0))

    def epoch(self, generator: Generator, epoch: int, start: int = 0) -> Iterable[Batch]:
        """Batches ``start``, ``start + 1``, ... of one epoch, in the generator's order."""
        order = None
        if self.shuffle:
            # The same draws in either type; of many million rows four bytes each are a lot.
            small = torch.int32 if len(self.index) < 2**31 else torch.int64
            order = torch.randperm(len(self.index), generator=generator, dtype=small)
            order = sent(order, self.index.device)
        last = len(self) - 1
        for position in range(start, last + 1):
            end = self.size if position == last else (position + 1) * self.batch_size
            part = slice(position * self.batch_size, end)
            # A batch at a time: of all rows it would be one more copy, and takes twice as long.
            own = self.index[part] if order is None else self.index.index_select(0, order[part])
            yield self.rows.batch(own)


@dataclass(frozen=True)
class Fit:
    """A part of training: epochs over batches, each of which is used for every step.

    Args:
        name: for the progress bar and the report.
        steps: carried out in this order for each batch.
        batches: an object with ``len()`` (batches of an epoch) and ``epoch(generator, epoch,
            start)``.
        epochs: passes over the batches.
        repeats: how many times in a row each batch is used.
        mode: ``frozen``: the backbone's BatchNorm and dropout as the keys ``batch_norm`` and
            ``backbone_dropout`` say, off by default; ``train``: everything is in training mode.
        after: called once at the end, for instance to serve what was learned.
        keep: the optimizers' state is kept under this name, and a later ``Fit`` with the same
            name continues from it. The last step continues the last one's, and so on backwards:
            a fit may leave out steps that come first.
        capturable: whether a batch that has the shapes of another takes the very same operations,
            none of which waits for a card, copies from the host, or reads a number of Python that
            changes from batch to batch; with ``cuda_graph`` they are then replayed. Batches are
            those of ``rows.batch`` or ``Episode``.

    Raises:
        UserError: there is no such mode.
    """

    name: str
    steps: Sequence[Step]
    batches: Any
    epochs: int = 1
    repeats: int = 1
    mode: str = "frozen"
    after: Callable[[], None] | None = None
    keep: str | None = None
    capturable: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise no_such_mode(f"mode '{self.mode}' of the Fit '{self.name}'", self.mode, MODES)

    @property
    def optimizer_steps(self) -> int:
        return self.epochs * len(self.batches) * self.repeats * len(self.steps)
