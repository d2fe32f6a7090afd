"""Screen output of a command while it works, and the signals that stop it."""

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

logger = logging.getLogger("recbole_cold")


def columns(least: int = 120) -> int:
    """The width of the terminal, or ``least`` where there is none or a narrower one."""
    return max(least, shutil.get_terminal_size((least, 24)).columns)


class Stop:
    """Remembers that the user asked to stop; a second request stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def _ask(self, signum: int, _frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping at the next batch; once more to stop at once", file=sys.stderr)

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """SIGINT and SIGTERM ask to stop while open; in another thread than the main one, which
        alone may listen to signals, nothing does."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def log_to_screen() -> Iterator[None]:
    """Context: our messages go to stderr."""
    with handled_by(to_stderr(), logging.INFO):
        yield


def to_stderr() -> logging.Handler:
    """A handler that shows messages as they are."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


@contextlib.contextmanager
def handled_by(handler: logging.Handler, level: int) -> Iterator[None]:
    """Context: our messages from ``level`` on go to this handler, beside logs of folders, and
    nowhere else; the logger's own set-up is restored afterwards."""
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Lasting:
    """A stream that never raises: output that it cannot write is dropped.

    A reader that stops (``| head``) or a closed terminal must not cost a run its training, nor
    print a traceback; a letter that the terminal's encoding lacks becomes ``?``.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            return self.write(text.encode(encoding, "replace").decode(encoding))
        except (OSError, ValueError) as error:  # ValueError: closed in this process
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        if self.error is None and isinstance(error, OSError):
            self.error = error
        # Otherwise Python would try to write the buffer again at exit, and report the failure.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def lasting_streams() -> Iterator[Callable[[], bool]]:
    """Context: writing to stdout and stderr never fails.

    Yields a function that tells, afterwards, whether output was lost for another reason than a
    reader who had seen enough (a full disk, say).
    """
    out, err = sys.stdout, sys.stderr
    lasting = [_Lasting(stream) if stream is not None else None for stream in (out, err)]
    sys.stdout, sys.stderr = lasting  # type: ignore[assignment]

    def lost() -> bool:
        error = lasting[0].error if lasting[0] is not None else None
        if error is None or isinstance(error, BrokenPipeError):
            return False
        print(f"error: the output could not be written ({error.strerror})", file=sys.stderr)
        return True

    try:
        yield lost
    finally:
        for stream in filter(None, lasting):
            stream.flush()
        sys.stdout, sys.stderr = out, err
