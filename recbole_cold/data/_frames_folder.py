"""The folder of data sets that were written from frames: ``<cache>/frames/<hash>/<name>/``."""

import re
from collections.abc import Iterator
from pathlib import Path

from recbole_cold.cache_entries import Entry, Use, abandoned, last_used, listed, use


def frames_root(root: Path) -> Path:
    """The folder above all of them."""
    return root.absolute() / "frames"


def frames_in_use(folder: Path, root: Path) -> Use:
    """The use of a data set's folder by this process, if it was written from frames."""
    entry = folder.absolute().parent
    if entry.parent != frames_root(root):
        return Use()
    return use(folder / f"{folder.name}.inter", entry)


def entries(root: Path) -> Iterator[Entry]:
    """The data sets that were written from frames, and what killed processes left."""
    for path in listed(frames_root(root)):
        folders = listed(path) if re.fullmatch(r"[0-9a-f]{32}", path.name) else []
        if len(folders) == 1 and _is_ours(folders[0]):
            name = folders[0].name
            lock = folders[0] / f"{name}.inter"
            yield Entry("frames", path, last_used(path), lock, name, "from_frames")
    yield from abandoned(frames_root(root), r"\.new-|\.[0-9a-f]{32}\.")


def _is_ours(folder: Path) -> bool:
    name = re.escape(folder.name)
    ours = re.compile(rf"{name}\.(inter|user|item)|(inter|user|item)\.\d+\.npy")
    names = [path.name for path in listed(folder)]
    return f"{folder.name}.inter" in names and all(map(ours.fullmatch, names))
