"""A stream for the output of one thread: Ray's own threads print as they please."""

import threading
from typing import Any


class OneThread:
    """A stream that passes on text from the thread that made it and drops that of others.

    Ray's listener thread prints messages about dead processes on stdout at any log level.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        ours = threading.get_ident() == self._thread
        return self._stream.write(text) if ours else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
