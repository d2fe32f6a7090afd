"""Pre-trained backbones by content: made once, used by all who agree on them."""

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from torch import nn

from recbole_cold.errors import Interrupted, UserError, told
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.store import DamagedFile, load_state, save_state

logger = logging.getLogger(__name__)

# What reading a state may raise whose file is whole and whose content is somebody else's.
NOT_OURS = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError)


class BackboneCache:
    """Pre-trained backbones by content: equal data, split, configuration and seed share one.

    Args:
        folder: where the files are.
        key: of a method and a seed, everything that determines pre-training.
    """

    def __init__(self, folder: Path, key: Callable[[ColdStartRecommender, int], str]) -> None:
        self.folder, self.key = folder, key

    def _path(self, method: ColdStartRecommender, seed: int) -> Path:
        return self.folder / f"{self.key(method, seed)}.pt"

    def load(self, method: ColdStartRecommender, seed: int) -> dict[str, Any] | None:
        """Put the cached backbone into ``method``; its steps and rows, or ``None`` if unknown."""
        path = self._path(method, seed)
        if not os.path.exists(path):  # or where it may not be looked for
            return None
        try:
            state = load_state(path, method.device)
        except DamagedFile as problem:
            logger.warning("%s; the backbone is trained again", problem)
            return None
        try:
            record = json.loads(state["record"])
            refuse_unlike(method.backbone, state["backbone"])
            dict(record)
        except NOT_OURS as problem:
            logger.warning(
                "'%s' does not hold this backbone (%s); it is trained again", path, told(problem)
            )
            return None
        method.backbone.load_state_dict(state["backbone"])
        return record

    @contextmanager
    def turn(
        self, method: ColdStartRecommender, seed: int, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """While open, no other process makes this backbone: who comes second waits, then reads it.

        The system frees the place of a process that dies. Without locks (a read-only cache, some
        network file systems) everybody trains for himself, as the last resort.

        Raises:
            Interrupted: ``stop`` was asked for while waiting.
        """
        path = self._path(method, seed)
        with ExitStack() as held:
            if not os.path.exists(path):
                with suppress(OSError):
                    held.enter_context(_locked(path.with_suffix(".lock"), stop))
            yield

    def save(self, method: ColdStartRecommender, seed: int, record: dict[str, Any]) -> None:
        """Keep the backbone of ``method``; a full or read-only cache is said and survived."""
        kept = {key: record[key] for key in ("steps", "rows", "optimizer") if key in record}
        state = {"backbone": method.backbone.state_dict(), "record": json.dumps(kept)}
        try:
            save_state(self._path(method, seed), state)
        except UserError as problem:
            logger.warning("the pre-trained backbone is not cached: %s", problem)


def refuse_unlike(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Refuse what ``load_state_dict`` would refuse, before it has put half of it in.

    Raises:
        ValueError: names or shapes differ.
    """
    wanted = {name: value.shape for name, value in module.state_dict().items()}
    found = {name: value.shape for name, value in state.items()}
    if found != wanted:
        odd = min(name for name in {*wanted, *found} if found.get(name) != wanted.get(name))
        raise ValueError(f"'{odd}' differs")


@contextmanager
def _locked(path: Path, stop: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock file ``path``, which goes with its last holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("wb") as file:
            while not _try_lock(file):
                if stop():
                    raise Interrupted
                time.sleep(0.05)
            if not _is_at(file, path):
                continue  # who held it before removed it: a file without a name excludes nobody
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


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
