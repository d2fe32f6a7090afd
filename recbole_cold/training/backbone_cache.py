"""Cache of pre-trained backbones, found by everything that determines pre-training."""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import nn

from recbole_cold import cache_peers
from recbole_cold.cache_entries import (
    LEFTOVERS,
    Entry,
    Use,
    abandoned,
    last_used,
    listed,
    use,
)
from recbole_cold.errors import UserError, told
from recbole_cold.locks import locked
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.store import DamagedFile, is_state, load_state, save_state, text_in
from recbole_cold.training.kept_backbone import Stored, digests_of

logger = logging.getLogger(__name__)

# In a stored record: the data set, and the click model.
_MADE = "made_of"
# What reading a state may raise whose file is whole and whose content is somebody else's.
NOT_OURS = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError)


class BackboneCache:
    """Stores pre-trained backbones; equal data, split, configuration, seed and code share one.

    In a trial on another machine than the driver's, the driver's cache is asked as well.

    Args:
        folder: where the files are.
        key: gives the cache key of a method and a seed: all that determines pre-training.
    """

    def __init__(self, folder: Path, key: Callable[[ColdStartRecommender, int], str]) -> None:
        self.folder, self.key = folder, key
        self._uses: list[Use] = []

    def _path(self, method: ColdStartRecommender, seed: int) -> Path:
        return self.folder / f"{self.key(method, seed)}.pt"

    def load(self, method: ColdStartRecommender, seed: int) -> Stored | None:
        """Load the cached backbone into ``method``; its steps and rows in the answer, or None."""
        path = self._path(method, seed)
        if not os.path.exists(path):  # or where it may not be looked for
            return None
        self._uses.append(use(path, path))
        try:
            state = load_state(path, method.device)
        except DamagedFile as problem:
            logger.warning("%s; the backbone is trained again", problem)
            return None
        try:
            record = json.loads(state["record"])
            record.pop(_MADE, None)
            refuse_unlike(method.backbone, state["backbone"])
            stored = Stored(path, dict(record), dict(json.loads(state["digests"])))
        except NOT_OURS as problem:
            logger.warning(
                "'%s' does not hold this backbone (%s); it is trained again", path, told(problem)
            )
            return None
        method.backbone.load_state_dict(state["backbone"])
        return stored

    @contextmanager
    def turn(
        self, method: ColdStartRecommender, seed: int, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Context: no other process trains this backbone; a second one waits, then finds it stored.

        That holds on all machines of a cluster, whose trials ask the driver's. The lock of a
        process that dies is freed by the system. Where there are no locks (a read-only cache, some
        network file systems) every process trains its own.

        Raises:
            Interrupted: ``stop`` was asked for while waiting.
        """
        path = self._path(method, seed)
        with ExitStack() as held:
            if not os.path.exists(path):
                lock = path.with_suffix(".lock")
                with suppress(OSError):
                    held.enter_context(locked(lock, stop))
                held.enter_context(cache_peers.turn(path, lock, stop))
            yield

    def save(
        self, method: ColdStartRecommender, seed: int, record: dict[str, Any]
    ) -> Stored | None:
        """Store the backbone of ``method``; a full or read-only cache gives a warning, and None."""
        kept = {key: record[key] for key in ("steps", "rows", "optimizer") if key in record}
        model = getattr(method.config, "backbone_name", type(method.backbone).__name__)
        kept[_MADE] = [method.config["dataset"], model]
        backbone, path = method.backbone.state_dict(), self._path(method, seed)
        digests = digests_of(backbone)
        # The record comes first: `entries` looks for it among the texts of the file.
        state = {
            "record": json.dumps(kept), "backbone": backbone, "digests": json.dumps(digests)
        }  # fmt: skip
        try:
            save_state(path, state)
        except UserError as problem:
            logger.warning("the pre-trained backbone is not cached: %s", problem)
            return None
        self._uses.append(use(path, path))
        cache_peers.hand_over(path)
        return Stored(path, record, digests)


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


def entries(root: Path) -> Iterator[Entry]:
    """The backbones of a cache, and what killed processes left beside them."""
    folder = root / "backbones"
    for path in listed(folder):
        if re.fullmatch(r"[0-9a-f]{32}\.pt", path.name) and is_state(path):
            yield Entry("backbones", path, last_used(path), path, *_made_of(path))
        elif re.fullmatch(r"[0-9a-f]{32}\.lock", path.name):
            # Of a process that trains, which holds it; or of one that was killed.
            yield Entry(
                LEFTOVERS, path, last_used(path), path, origin="killed processes", is_needed=False
            )
    yield from abandoned(folder, r"\.[0-9a-f]{32}\.pt\.\d+$")


def _made_of(path: Path) -> tuple[str, str]:
    """The data set and the click model of a stored backbone; '' where nothing says so."""
    try:
        dataset, model = json.loads(text_in(path, "record"))[_MADE]
        return str(dataset), str(model)
    except NOT_OURS:  # an older version wrote it, or it is damaged
        return "", ""
