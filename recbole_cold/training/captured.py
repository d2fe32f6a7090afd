"""The steps of a batch: one operation after the other, or replayed as a CUDA graph.

Networks here are small: a step is hundreds of operations of some microseconds each, and a card
waits for the processor that asks for them. A CUDA graph is recorded once and then asked for in one
call. What is recorded are addresses and numbers, so a batch is copied to where the recorded one
was, and all else must lie where it lay: parameters, moments, columns.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from recbole_cold.device import narrowed
from recbole_cold.errors import UserError
from recbole_cold.model._fit import Fit, Step
from recbole_cold.training.optimizers import Optimizers

logger = logging.getLogger(__name__)
T = TypeVar("T")
# Steps with the parts of their losses, one by one as they are taken.
Taken = Iterator[tuple[Step, tuple[Tensor, ...]]]
Within = Callable[[], AbstractContextManager[Any]]
# Batches of the recorded shapes that are taken as ever before: libraries choose their kernels and
# take their memory in the first ones, and optimizers make their moments.
BEFORE = 3


def taken(fit: Fit, optimizers: Sequence[Optimizers], within: Within, batch: Any) -> Taken:
    """Take every step of a fit on one batch; a loss is given before its gradients are computed.

    Args:
        fit: whose steps.
        optimizers: of its steps.
        within: the context of a loss, anew for each.
        batch: what their losses are of.
    """
    for step, optimizer in zip(fit.steps, optimizers, strict=True):
        optimizer.zero_grad()
        with within():
            found = step.loss(batch)
        parts = found if isinstance(found, tuple) else (found,)
        yield step, parts
        sum(parts[1:], parts[0]).backward()
        optimizer.step()


class Recorder(Protocol):
    """Records what a card is asked for, and asks again."""

    def aside(self, work: Callable[[], T]) -> T:
        """Do some work now, in the stream in which it will be recorded."""

    def record(self, work: Callable[[], None]) -> None:
        """Record what ``work`` asks of the card, which does nothing of it yet."""

    def replay(self) -> None:
        """Let the card do what was recorded."""


class CudaRecorder:
    """A CUDA graph of a card, recorded in a stream of its own as torch asks for.

    Dropout and noise draw on: torch registers the card's generator with each graph, and a replay
    moves it as far as the recorded operations would.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()

    def aside(self, work: Callable[[], T]) -> T:
        now = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            done = work()
        now.wait_stream(self._stream)
        return done

    def record(self, work: Callable[[], None]) -> None:
        now = torch.cuda.current_stream(self._device)
        try:
            with (
                torch.cuda.device(self._device),
                torch.cuda.graph(self._graph, stream=self._stream),
            ):
                work()
        finally:  # torch stays in its stream if a recording cannot be ended
            torch.cuda.set_stream(now)

    def replay(self) -> None:
        self._graph.replay()


def recorder_of(device: torch.device) -> Callable[[], Recorder] | None:
    """What makes a recorder for each fit on a device; ``None`` where nothing can be recorded."""
    return partial(CudaRecorder, device) if device.type == "cuda" else None


class Captured:
    """Takes a fit's steps: on the shapes that are the first to come often enough by replaying.

    Other batches, such as a smaller last one, are taken one operation after the other.

    Args:
        fit: one that says that it is ``capturable``.
        take: takes its steps on a batch: ``taken``.
        recorder: of the device.
        owner: whose fit it is, for messages.
    """

    def __init__(
        self, fit: Fit, take: Callable[[Any], Taken], recorder: Recorder, owner: str
    ) -> None:
        self._fit, self._take, self._recorder, self._owner = fit, take, recorder, owner
        self._seen: Counter[tuple[torch.Size, ...]] = Counter()
        self._shapes: tuple[torch.Size, ...] | None = None  # of what is recorded
        self._held: tuple[Tensor, ...] = ()  # what the recorded steps read
        self._parts: list[tuple[Step, int]] = []  # steps, and how many parts their losses have
        self._losses: list[Tensor] = []  # of the recorded steps, anew with each replay

    def __call__(self, batch: Any) -> Taken:
        inputs = batch.inputs()
        shapes = tuple(each.shape for each in inputs)
        if self._shapes is None:
            self._seen[shapes] += 1
            if self._seen[shapes] <= BEFORE:
                yield from self._recorder.aside(lambda: self._all(batch))
                return
            self._record(batch)
        if shapes != self._shapes:
            yield from self._take(batch)
            return
        for held, value in zip(self._held, inputs, strict=True):
            held.copy_(value)
        self._recorder.replay()
        losses = self._losses[0].clone()  # of this batch; the next one overwrites them
        numbers = [number for _, number in self._parts]
        for (step, _), parts in zip(self._parts, losses.split(numbers), strict=True):
            yield step, parts.unbind()

    def _all(self, batch: Any) -> list[tuple[Step, tuple[Tensor, ...]]]:
        steps = self._take(batch)
        return [(step, tuple(part.detach() for part in parts)) for step, parts in steps]

    def _record(self, batch: Any) -> None:
        self._held = tuple(each.clone() for each in batch.inputs())

        def work() -> None:
            found = self._all(batch.of_inputs(*self._held))
            self._parts = [(step, len(parts)) for step, parts in found]
            flat = [part.reshape(()) for _, parts in found for part in parts]
            self._losses = [torch.stack(flat)]

        try:
            self._recorder.record(work)
        except RuntimeError as error:
            raise UserError(
                f"the steps of '{self._fit.name}' of {self._owner} cannot be recorded as a CUDA "
                f"graph: {_first_line(error)}; use cuda_graph=False, in a new process"
            ) from error
        self._shapes = tuple(each.shape for each in self._held)


def _first_line(error: BaseException) -> str:
    """What torch said first: to end a recording that has failed is one more error."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


class Capturing:
    """How the fits of a run are taken: as the key ``cuda_graph`` says, where it can be.

    Args:
        asked: the key.
        precision: the key of this name.
        device: of the run.
        owner: the method's name, for messages.
    """

    def __init__(self, asked: bool, precision: str, device: torch.device, owner: str) -> None:
        self._owner, self._told = owner, set[str]()
        self._within = partial(narrowed, device, precision)
        self._make = recorder_of(device) if asked else None
        if asked and self._make is None:
            logger.warning("cuda_graph=True is for a GPU; this run is on '%s'", device.type)

    def steps_of(self, fit: Fit, optimizers: Sequence[Optimizers]) -> Callable[[Any], Taken]:
        """What takes the steps of a fit on a batch."""
        take = partial(taken, fit, optimizers, self._within)
        if self._make is not None:
            reason = why_not(fit, optimizers)
            if not reason:
                return Captured(fit, take, self._make(), self._owner)
            if fit.name not in self._told:
                self._told.add(fit.name)
                logger.info("'%s' of %s runs without a CUDA graph: %s", fit.name, self._owner,
                            reason)  # fmt: skip
        return take


def why_not(fit: Fit, optimizers: Sequence[Optimizers]) -> str:
    """Why the steps of a fit are not recorded; empty where they are."""
    if not fit.capturable:
        return "its steps wait for the card, copy to it, or change from batch to batch"
    if any(optimizer.lazy for optimizer in optimizers):
        return "a table that is updated lazily asks for the rows of each batch"
    if any(step.decay != 1.0 for step in fit.steps):
        return "its learning rate changes from epoch to epoch"
    return ""
