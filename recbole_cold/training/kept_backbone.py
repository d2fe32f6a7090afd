"""What resume points leave out: a pre-trained backbone that nothing has moved since.

It lies once beside the resume points of a seed, in a file that is a second name of the cache's.
Where the two folders are on different file systems it is a copy. So a run needs no cache to go on:
whatever is pruned there, its own folder is whole.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_cold.store import DamagedFile, also_at, load_state


@dataclass(frozen=True)
class Stored:
    """A pre-trained backbone in a file.

    Args:
        path: the file; its name is the backbone's key.
        record: what pre-training counted.
        digests: what each tensor is known by.
    """

    path: Path
    record: dict[str, Any]
    digests: Mapping[str, str]


def digests_of(state: Mapping[str, Any]) -> dict[str, str]:
    """What each tensor of a state is known by: BLAKE2 of its type, shape and bytes.

    What is no plain tensor has none.
    """
    return {
        name: _digest_of(value)
        for name, value in state.items()
        if isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized
    }


def _digest_of(value: Tensor) -> str:
    digest = hashlib.blake2b(f"{value.dtype} {tuple(value.shape)}".encode(), digest_size=32)
    # The bytes where they lie; they are copied only from another device.
    digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def beside(state_path: Path) -> Path:
    """The file of the backbone that the resume point at ``state_path`` leaves out."""
    return state_path.with_suffix(".backbone")


class KeptBackbone:
    """The backbone that the resume points of one seed leave out, while it is as it was stored."""

    def __init__(self) -> None:
        self._stored: Stored | None = None
        self._is_at: Path | None = None

    def begin(self, stored: Stored | None) -> None:
        """Take what the cache stores for what may be left out; None: nothing may."""
        self._stored, self._is_at = stored, None

    def leave_out(
        self, state: dict[str, Any], state_path: Path
    ) -> tuple[dict[str, Any], dict[str, Any] | None, int]:
        """What a resume point has to hold of a method's state.

        Every tensor is compared by its bytes: a method may move a backbone in ways that leave no
        other trace.

        Args:
            state: of a method, its backbone under ``backbone.``.
            state_path: the file of the resume point, beside which the stored backbone is put.

        Returns:
            The state without what is stored; what ``read`` needs to know of that, or None; bytes
            that were written beside.

        Raises:
            WriteError: there is no room beside the resume point.
        """
        if self._stored is None:
            return state, None, 0
        known = _prefixed(self._stored.digests)
        now = digests_of({name: state[name] for name in known if name in state})
        equal = {name: said for name, said in now.items() if said == known[name]}
        if not equal:
            return state, None, 0
        written, path = 0, beside(state_path)
        if self._is_at != path:
            try:
                written = path.stat().st_size if also_at(self._stored.path, path) else 0
            except FileNotFoundError:  # pruned before this process noted that it uses it
                self._stored = None
                return state, None, 0
            self._is_at = path
        rest = {name: value for name, value in state.items() if name not in equal}
        return rest, {"key": self._stored.path.stem, "digests": equal}, written

    def read(
        self, told: Mapping[str, Any], state_path: Path, folder: Path | None, device: torch.device
    ) -> dict[str, Tensor]:
        """The tensors that a resume point left out, by their names in the method's state.

        Args:
            told: what ``leave_out`` gave to know. state_path: as there.
            folder: of the cache, where another copy may be.

        Raises:
            DamagedFile: they are in neither place.
        """
        wanted = {str(name): str(said) for name, said in told["digests"].items()}
        places = [beside(state_path)]
        if folder is not None:
            places.append(folder / f"{Path(str(told['key'])).name}.pt")
        for place in places:
            try:
                state = load_state(place, device)
                digests = json.loads(state["digests"])
            except (DamagedFile, KeyError, TypeError, ValueError):
                continue
            known = _prefixed(digests)
            if any(known.get(name) != said for name, said in wanted.items()):
                continue
            found = _prefixed(state["backbone"])
            self.begin(Stored(place, {}, digests))
            self._is_at = place if place == beside(state_path) else None
            return {name: found[name] for name in wanted}
        raise DamagedFile(
            f"the pre-trained backbone that belongs to the resume point is lost or damaged: "
            f"{' and '.join(f'{str(place)!r}' for place in places)}"
        )


def _prefixed(of_backbone: Mapping[str, Any]) -> dict[str, Any]:
    """The names of a backbone as they are in the state of its method."""
    return {f"backbone.{name}": value for name, value in of_backbone.items()}
