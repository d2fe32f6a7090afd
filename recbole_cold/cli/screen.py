"""What a command says while it works: messages, logs, and the request to stop."""

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator
from typing import Any

logger = logging.getLogger("recbole_cold")


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
        """SIGINT and SIGTERM ask to stop while open."""
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
    """Our messages go to stderr while open; what the process had set up for itself returns."""
    before = logger.level, logger.propagate
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
