"""What a call from Python changes in the caller's process, and that it is restored.

Threads and random state of torch, our logger's level and handlers, and Python's own handler of
Ctrl-C, which is listened to only in the main thread and only while a call lasts.
"""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

from recbole_cold import seeding
from recbole_cold.cli.screen import handled_by, to_stderr
from recbole_cold.errors import Interrupted, Stopped

logger = logging.getLogger("recbole_cold")
_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def working(verbose: bool) -> Iterator[Callable[[], bool]]:
    """Context: whatever a call changes in this process is restored; gives ``stop``.

    Raises:
        Stopped: instead of ``Interrupted``.
    """
    with _ONE_AT_A_TIME, _torch_as_it_was(), _messages(verbose), _listening() as stop:
        try:
            yield stop
        except Interrupted as interrupted:
            told = str(interrupted) or "interrupted; nothing was kept"
            raise Stopped(told, interrupted.folder) from None


@contextlib.contextmanager
def _torch_as_it_was() -> Iterator[None]:
    threads, random = torch.get_num_threads(), seeding.layer_state()
    untouched = not torch.cuda.is_initialized()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        seeding.restore_layers(random)
        if untouched and torch.cuda.is_initialized():
            # Cards had nothing to keep, and would have begun with the seed of the CPU's generator.
            torch.cuda.manual_seed_all(torch.initial_seed())


class _Stop:
    """Whether Ctrl-C was pressed, as an object that Ray Tune can pickle."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked


@contextlib.contextmanager
def _listening() -> Iterator[Callable[[], bool]]:
    """Context: Ctrl-C asks to stop at the next batch, if Python's own handler was installed.

    A second one stops at once. In other threads, and where the caller has a handler, nothing is
    touched.
    """
    stop = _Stop()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield stop
        return

    def ask(signum: int, frame: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def _messages(verbose: bool) -> Iterator[None]:
    """Context: our logger passes everything to the run's log; other handlers get what they did.

    ``verbose`` shows messages on stderr, as the command line does.
    """
    least = logger.getEffectiveLevel()
    handler = to_stderr() if verbose else _Outwards(least)
    with handled_by(handler, min(least, logging.INFO)):
        yield


class _Outwards(logging.Handler):
    """Hands records on to the handlers that they would have reached at the level of before."""

    def emit(self, record: logging.LogRecord) -> None:
        if logger.parent is not None:
            logger.parent.callHandlers(record)
