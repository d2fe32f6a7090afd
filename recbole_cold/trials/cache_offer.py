"""The driver's cache for trials on other machines of a cluster.

A trial whose machine lacks parsed columns, a pre-trained backbone or the files of frames asks the
driver's machine for them; nothing runs there before something is asked for.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_cold.cache_peers import Asking, asking, fetch
from recbole_cold.data._cache import cache_root
from recbole_cold.trials.ray_peer import RayPeer, node_here
from recbole_cold.trials.trial import TrialSpec


class Offer:
    """What a driver tells its trials of its cache.

    Args:
        root: the cache folder of trials that name none, on the driver's machine.
        node: the driver's node; '': that of the process that first sends this to another one. A
            trainable is made before Ray runs, and pickled by Tune in the driver when it does.
    """

    def __init__(self, root: str, node: str = "") -> None:
        self.root, self.node = root, node

    def __reduce__(self) -> tuple[Any, ...]:
        return Offer, (self.root, self.node or node_here())

    @contextmanager
    def accepted(self, spec: TrialSpec) -> Iterator[tuple[TrialSpec, Asking | None]]:
        """Context: a trial of this process has the driver's cache, or may ask for what is in it.

        Yields:
            the trial, with folders of this machine; and what it asks, if anything.
        """
        named = spec.overrides.get("cache_dir")
        theirs = str(named or self.root)
        if not self.node or node_here() in ("", self.node):
            here = spec if named or not self.node else _with(spec, cache_dir=theirs)
            yield here, None
            return
        ours = cache_root(named).absolute()
        with asking(RayPeer(self.node, theirs), ours) as now:
            yield with_frames(spec, Path(theirs), ours), now


def offer_here() -> Offer:
    """The offer of this process, as driver."""
    return Offer(str(cache_root(None).absolute()))


def with_frames(spec: TrialSpec, theirs: Path, ours: Path) -> TrialSpec:
    """A trial on frames, which the driver wrote into its cache folder: with our copy of them."""
    there = Path(str(spec.overrides.get("data_path", "")))
    is_frames = there.parent == theirs / "frames" and re.fullmatch(r"[0-9a-f]{32}", there.name)
    if not is_frames or there.exists():
        return spec
    here = ours / "frames" / there.name
    return _with(spec, data_path=str(here)) if fetch(here) else spec


def _with(spec: TrialSpec, **keys: str) -> TrialSpec:
    return replace(spec, overrides={**spec.overrides, **keys})
