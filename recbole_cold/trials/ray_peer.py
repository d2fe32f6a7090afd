"""The cache folder of another node of Ray, reached by tasks that Ray runs there.

The tasks need no CPU of their own, so they run beside the trials. What they import is little: they
may be the first to start a process on that node.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_cold import cache_peers
from recbole_cold.cache_peers import PIECE, Listing, PeerError
from recbole_cold.errors import Interrupted
from recbole_cold.locks import locked

_PATIENCE = 600.0  # seconds for one answer: a listing reads all of an entry for its digests
_AT_A_TIME = 2  # pieces on their way


def node_here() -> str:
    """The node of this process in Ray; '' where Ray does not run."""
    import ray

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""


@dataclass(frozen=True)
class RayPeer:
    """The cache folder ``root`` on another node of Ray; see ``cache_peers.Peer``."""

    node: str
    root: str

    def _there(self, what: Callable[..., Any]) -> Any:
        """A task, or an actor's class, that runs on the node."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(self.node, soft=False)
        return ray.remote(what).options(num_cpus=0, scheduling_strategy=place)

    def _ask(self, what: Callable[..., Any], *words: Any) -> Any:
        return _answer(self._there(what).remote(self.root, *words))

    def sees(self, name: str) -> bool:
        return self._ask(_sees, name)

    def listing(self, entry: str) -> Listing | None:
        return self._ask(cache_peers.listing, entry)

    def pieces(self, entry: str, name: str, size: int) -> Iterator[bytes]:
        task = self._there(cache_peers.piece)
        coming: deque[Any] = deque()
        for start in range(0, size, PIECE):
            coming.append(task.remote(self.root, entry, name, start))
            if len(coming) == _AT_A_TIME:
                yield _answer(coming.popleft())
        while coming:
            yield _answer(coming.popleft())

    @contextmanager
    def turn(self, lock: str, stop: Callable[[], bool]) -> Iterator[None]:
        import ray

        # An actor dies with the process that made it, and the system frees its lock.
        holder = self._there(Holder).remote(str(Path(self.root, lock)))
        try:
            with suppress(PeerError):  # no locks there: every machine makes its own
                while not _answer(holder.hold.remote(1.0)):
                    if stop():
                        raise Interrupted
            yield
        finally:
            with suppress(PeerError):
                _answer(holder.free.remote())
            ray.kill(holder)

    def take(self, entry: str, root: Path) -> None:
        self._ask(_copy_from, entry, RayPeer(node_here(), str(root)))


def _answer(asked: Any) -> Any:
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(asked, timeout=_PATIENCE)
    except RayError as error:  # also what the other side raised
        told = getattr(error, "cause", None) or error
        first = (str(told).strip() or type(told).__name__).splitlines()[0]
        raise PeerError(f"{type(told).__name__}: {first}") from error


# What runs on the other node.
def _sees(root: str, name: str) -> bool:
    return Path(root, name).exists()


def _copy_from(root: str, entry: str, peer: RayPeer) -> None:
    files = peer.listing(entry)
    if files is not None:
        cache_peers.write_copy(peer, entry, files, Path(root, entry))


class Holder:
    """Holds a lock file, on the node of whoever else asks for it."""

    def __init__(self, path: str) -> None:
        self.path, self.held = Path(path), ExitStack()

    def hold(self, seconds: float) -> bool:
        """Wait so long for the lock; whether it is held now."""
        until = time.monotonic() + seconds
        try:
            self.held.enter_context(locked(self.path, lambda: time.monotonic() > until))
        except Interrupted:
            return False
        return True

    def free(self) -> None:
        self.held.close()
