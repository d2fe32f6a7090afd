"""What the service has on disk: one model after the other, and what it was told.

STORE/current -> models/000002     what is served: exchanged by one rename
STORE/models/000000/model          a kept model of recbole_cold
STORE/models/000000/exported       the same, exported
STORE/models/000000/about.json     its ancestors, and how many lines of feedback it has learned
STORE/items.jsonl                  features of items that came after the run, and their vectors
STORE/feedback.jsonl               click rows, in the order of their coming; nothing is removed
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cold_service.scoring import Exported

COMMAND = (sys.executable, "-m", "recbole_cold")
FORMATS = "--format=vectors,onnx"


class Failed(RuntimeError):
    """A command of recbole_cold refused; its own sentence."""


class Store:
    """A folder that one process serves from.

    Args:
        folder: made where it is missing.

    Raises:
        Failed: another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        (self.folder / "models").mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise Failed(
                f"another process serves from '{folder}'; stop it, or take another folder"
            ) from None
        self.items, self.feedback = (Log(self.folder / f"{n}.jsonl") for n in ("items", "feedback"))
        for left in self.folder.joinpath("models").glob(".*"):  # of a process that was killed
            shutil.rmtree(left)

    def close(self) -> None:
        self.items.close()
        self.feedback.close()
        self._lock.close()

    @property
    def current(self) -> Path | None:
        """The folder of the model that is served, if there is one."""
        link = self.folder / "current"
        return link.resolve() if link.exists() else None

    def begin(self, model: Path) -> None:
        """Make the first model.

        Args:
            model: the folder of a kept model, ``saved/RUN/METHOD/model``.

        Raises:
            Failed: it is none, or it cannot be exported.
            ValueError: it is one that this service does not serve; the store has none then.
        """
        with self._next() as place:
            called("export", str(model), f"--out={place / 'exported'}", FORMATS)
            Exported(place / "exported")
            shutil.copytree(model, place / "model")
            _describe(place, [], 0)

    def grow(self, items: Path, rows: Path, lines: int) -> None:
        """Make the next model: new items and their first clicks, learned by ``recbole-cold grow``.

        Args:
            items, rows: files of features and of rows with labels.
            lines: how many of all lines of feedback have been learned then.

        Raises:
            Failed: recbole_cold refuses; what is served is as before.
        """
        parent = self.current
        assert parent is not None
        with self._next() as place:
            model = place / "model"
            called(
                "grow",
                str(parent / "model"),
                f"--items={items}",
                f"--rows={rows}",
                f"--out={model}",
            )
            called("export", str(model), f"--out={place / 'exported'}", FORMATS)
            _describe(place, about(parent)["lineage"], lines)

    @contextmanager
    def _next(self) -> Iterator[Path]:
        """Context: the folder of the next model, which is whole and current when it ends."""
        models = self.folder / "models"
        number = 1 + max((int(path.name) for path in models.glob("[0-9]*")), default=-1)
        place = models / f".{number:06d}"
        place.mkdir()
        try:
            yield place
            place.rename(models / f"{number:06d}")
        finally:
            shutil.rmtree(place, ignore_errors=True)
        link = self.folder / ".current"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("models") / f"{number:06d}")
        link.replace(self.folder / "current")
        _synced(self.folder)


def about(model: Path) -> dict[str, Any]:
    """``number``, ``lineage`` (SHA-256 of each model.json, the run's first), ``lines``."""
    return json.loads((model / "about.json").read_text(encoding="utf-8"))


def _describe(place: Path, ancestors: Sequence[str], lines: int) -> None:
    digest = hashlib.sha256((place / "model" / "model.json").read_bytes()).hexdigest()
    told = {"number": int(place.name[1:]), "lineage": [*ancestors, digest], "lines": lines}
    (place / "about.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def called(*words: str) -> None:
    """Run a command of recbole_cold in a process of its own, whose memory goes with it.

    Raises:
        Failed: it does not end well; the last line that it says.
    """
    done = subprocess.run([*COMMAND, *words], text=True, capture_output=True)
    if done.returncode:
        said = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[-1]
        raise Failed(f"recbole-cold {words[0]}: {said}")


class Log:
    """Lines of JSON. What ``append`` has taken is on the disk, whole, whatever happens next.

    Attributes:
        values: all that it holds.
    """

    def __init__(self, path: Path) -> None:
        new = not path.exists()
        self._file = path.open("a+b", buffering=0)
        if new:
            _synced(path.parent)
        self._file.seek(0)
        whole = self._file.read()
        # Half a line is one of which nobody was told that it is kept.
        self._size = whole.rfind(b"\n") + 1
        self._file.truncate(self._size)
        self.values = [json.loads(line) for line in whole[: self._size].splitlines()]

    def append(self, values: Sequence[Any]) -> None:
        """Keep values.

        Raises:
            OSError: the disk is full or read-only; none of them is kept.
        """
        lines = "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode()
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(lines)
        self.values += values

    def close(self) -> None:
        self._file.close()


def _synced(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
