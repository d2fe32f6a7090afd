"""Several files that appear in a folder together, or not at all."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from recbole_cold.errors import WriteError

_PREFIX = ".converting."


@contextlib.contextmanager
def all_or_none(out: Path, last: str, name: str = "--out") -> Iterator[Path]:
    """Context: an empty folder; what is in it at the end moves to ``out``, file by file.

    After an error or an interruption ``out`` is as it was before, and absent if it was absent. A
    process that is killed leaves its folder, with a dot before its name; the next one that comes
    to an end removes it.

    Args:
        last: the name of the file that moves last: after a power cut, files are as it describes
            them or it is not there.
        name: what the user calls ``out``, for messages.

    Raises:
        WriteError: ``out`` cannot be written.
    """
    absent = [folder for folder in (out, *out.parents) if not folder.exists()]
    temporary = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _shared(out) as is_alone:
            temporary = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out))
            yield temporary
            _move(temporary, out, last)
            if is_alone():
                for left in out.glob(f"{_PREFIX}*"):
                    shutil.rmtree(left, ignore_errors=True)
    except BaseException as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for folder in absent:
            with contextlib.suppress(OSError):  # never made, or somebody else's files are in it
                folder.rmdir()
        if not isinstance(error, OSError):
            raise
        raise WriteError(
            f"cannot write to '{out}' ({error.strerror or error}); choose another {name}"
        ) from error
    shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _shared(out: Path) -> Iterator[Callable[[], bool]]:
    """Context: what says whether no other process is in this context for this folder."""
    folder = os.open(out, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: nobody is ever alone
            fcntl.flock(folder, fcntl.LOCK_SH)

        def is_alone() -> bool:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        yield is_alone
    finally:
        os.close(folder)


def _move(temporary: Path, out: Path, last: str) -> None:
    """Move all files to ``out``; the files of before are put back if one cannot be moved."""
    names = sorted(path.name for path in temporary.iterdir())
    before = temporary / "before"
    before.mkdir()
    try:
        for name in [last, *names]:
            if (out / name).is_file():
                os.replace(out / name, before / name)
        for name in [*(name for name in names if name != last), last]:
            os.replace(temporary / name, out / name)
    except BaseException:
        for name in names:
            if (before / name).exists():
                os.replace(before / name, out / name)
            elif not (temporary / name).exists():
                (out / name).unlink(missing_ok=True)
        raise


def remove_others(out: Path, before: Iterable[str], now: Iterable[str]) -> None:
    """Remove what an earlier conversion to ``out`` wrote and this one does not.

    Features of another choice of columns must not stay beside interactions that lack them.
    """
    for name in {*before} - {*now}:
        if Path(name).name == name:
            (out / name).unlink(missing_ok=True)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Context: SIGTERM is a KeyboardInterrupt, so that nothing half-written is left behind."""

    def interrupt(_number, _frame) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # it alone listens to signals
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
