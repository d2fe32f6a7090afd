"""Locks of files, which the system frees with the process that holds them."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from recbole_cold.errors import Interrupted


def try_lock(file: IO[bytes] | int, shared: bool = False) -> bool:
    """Lock an open file for this process; false while another process holds it.

    The lock goes when the file is closed, and with the process that holds it.

    Args:
        shared: others may hold it as well, if theirs are shared, too.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path, stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Context: hold the lock file ``path``, which is removed afterwards.

    Raises:
        Interrupted: ``stop`` was asked for while another process held it.
        OSError: the folder cannot be written, or the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("wb") as file:
            while not try_lock(file):
                if stop():
                    raise Interrupted
                time.sleep(0.05)
            if not _is_at(file, path):
                continue  # the holder before has removed it, so this lock excludes nobody
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
