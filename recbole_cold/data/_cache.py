"""Cache of parsed data sets, found by content: memory-mapped columns with checksums.

``<cache_dir>/data/<key>/`` holds one ``.npy`` file per column and ``meta.json``;
``<cache_dir>/data/index/`` remembers the content hash of source files that did not change.
The cache is only an optimisation: any fault in it is logged, and the files are read again.
"""

import errno
import hashlib
import json
import logging
import mmap
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cold import cache_peers, paths
from recbole_cold.cache_entries import HASHES, Entry, Use, abandoned, last_used, listed, use
from recbole_cold.errors import UserError
from recbole_cold.paths import refuse_changed, state_of

logger = logging.getLogger(__name__)

# A file written this recently may change again without a new time stamp; it is hashed each time.
SETTLED_NS = 2_000_000_000

# Where a user without a home folder (a container's bare number) would cache: nothing can be there.
_NOWHERE = Path("/dev/null/no home folder")

_told: set[str] = set()


class Damaged(Exception):
    """A stored data set is not what was written."""


def cache_root(configured: str | None) -> Path:
    """Folder of all caches: ``cache_dir``, else $RECBOLE_COLD_CACHE, else ~/.cache/recbole_cold.

    Raises:
        UserError: the path that was given cannot be.
    """
    chosen = configured or os.environ.get("RECBOLE_COLD_CACHE")
    if chosen:
        return paths.expanded(chosen)
    try:
        return Path("~/.cache/recbole_cold").expanduser()
    except RuntimeError:
        return _NOWHERE


def content_hash(path: Path, root: Path) -> str:
    """SHA-256 of a file's content; not read again while size, times and inode stay the same."""
    state, stamp = path.stat(), _stamp(path)
    entry = root / "data" / "index" / f"{hashlib.sha256(stamp[0].encode()).hexdigest()[:24]}.json"
    try:
        known = _unseal(entry.read_bytes())
        if known["stamp"] == stamp:
            return str(known["sha256"])
    except (OSError, Damaged, KeyError, TypeError):
        pass
    digest = paths.sha256(path)
    if time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED_NS:
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(entry, _seal({"stamp": stamp, "sha256": digest}))
        except OSError as error:
            tell_once(root, error)
    return digest


def _stamp(path: Path) -> list[Any]:
    state = path.stat()
    return [str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


@contextmanager
def unchanged(files: Iterable[Path]) -> Iterator[None]:
    """Context: the files are read in it; what is read of one that changes meanwhile is refused.

    Raises:
        UserError: a file cannot be looked at, or was changed, moved or removed; then also in place
            of an error that reading gave, such as a line that is cut short.
    """
    try:
        before = {path: state_of(path) for path in files}
    except OSError as error:
        raise UserError(
            f"cannot read '{error.filename}' ({error.strerror}); check its permissions"
        ) from error
    try:
        yield
    except UserError as error:
        refuse_changed(before, error)
        raise
    refuse_changed(before)


def store(
    folder: Path, columns: dict[str, np.ndarray], meta: dict[str, Any], root: Path
) -> str | None:
    """Write ``folder``; None, or the reason (which is also logged) why it cannot be written."""
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _refuse_to_fill(folder.parent, sum(column.nbytes for column in columns.values()))
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        written = []
        for number, (name, column) in enumerate(columns.items()):
            with (temporary / f"{number:03d}.npy").open("wb") as file:
                checked = _Checked(file)
                np.lib.format.write_array(checked, np.ascontiguousarray(column), allow_pickle=False)
            written.append([name, f"{number:03d}.npy", checked.size, checked.crc])
        (temporary / "meta.json").write_bytes(_seal({**meta, "columns": written}))
        temporary.chmod(0o755)
        _swap_in(temporary, folder)
    except OSError as error:
        return tell_once(root, error)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return None


def _refuse_to_fill(folder: Path, wanted: int) -> None:
    """Refuse before the disk is full, which would harm every other process that writes there."""
    free = shutil.disk_usage(folder).free
    if wanted > free:
        told = f"{os.strerror(errno.ENOSPC)}: {size_of(wanted)} are needed, {size_of(free)} free"
        raise OSError(errno.ENOSPC, told)


def size_of(number: float) -> str:
    """Bytes in words: 867.1 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} bytes" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def is_there(folder: Path) -> bool:
    """Whether a data set is stored, here or by now on the driver's machine, which is asked."""
    # False, too, where it may not be looked for.
    return os.path.exists(folder) or cache_peers.fetch(folder)


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Columns (memory-mapped, read-only) and meta of a stored data set.

    Raises:
        Damaged: a file is missing, cut short or altered.
    """
    try:
        meta = _unseal((folder / "meta.json").read_bytes())
        columns = {name: _map(folder / file, *sums) for name, file, *sums in meta["columns"]}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from error
    return columns, meta


def tell_once(root: Path, error: OSError) -> str:
    """Log why nothing is cached, once per folder, and return it."""
    reason = f"nothing is cached under '{root}' ({error.strerror or error})"
    if str(root) not in _told:
        _told.add(str(root))
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        room = "make room with `recbole-cold cache --prune`, or " if is_full else ""
        mend = f"{room}set cache_dir to mend it"
        logger.warning("%s; loading goes on without a cache, %s", reason, mend)
    return reason


def _map(path: Path, size: int, crc: int) -> np.ndarray:
    if path.stat().st_size != size:
        raise Damaged(f"{path.name} has {path.stat().st_size} bytes instead of {size}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if zlib.crc32(content) != crc:
            raise Damaged(f"the checksum of {path.name} differs")
    # A plain array over the mapping: indexing np.memmap itself costs more each time.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _swap_in(temporary: Path, folder: Path) -> None:
    """Move ``temporary`` to ``folder``; processes that have files of it open can go on."""
    if folder.exists():
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        try:
            os.replace(folder, aside / "old")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    try:
        os.replace(temporary, folder)
    except OSError:
        if not folder.exists():  # otherwise another process has written the same content
            raise


def _seal(value: dict[str, Any]) -> bytes:
    payload = json.dumps(value).encode()
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload + b"\n"


def _unseal(raw: bytes) -> dict[str, Any]:
    digest, _, payload = raw.removesuffix(b"\n").partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise Damaged("the checksum of its description differs")
    return json.loads(payload)


def _write_whole(path: Path, payload: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(payload)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


class _Checked:
    """A file that computes a checksum of what is written to it."""

    def __init__(self, file: Any) -> None:
        self.file, self.size, self.crc = file, 0, 0

    def write(self, payload: bytes) -> int:
        self.size += len(payload)
        self.crc = zlib.crc32(payload, self.crc)
        return self.file.write(payload)


# ------------------------------------------------------------------------------- entries
def in_use(folder: Path) -> Use:
    """The use of a stored data set by this process; see ``cache_entries.use``."""
    return use(folder / "meta.json", folder)


def entries(root: Path) -> Iterator[Entry]:
    """The stored data sets, the hashes of source files, and what killed processes left."""
    for folder in listed(root / "data"):
        files = {path.name for path in listed(folder)}
        whole = re.fullmatch(r"[0-9a-f]{32}", folder.name) and "meta.json" in files
        if whole and all(re.fullmatch(r"\d{3,}\.npy|meta\.json", name) for name in files):
            try:
                meta = _unseal((folder / "meta.json").read_bytes())
            except (OSError, ValueError, Damaged):  # it will be made again, or never read
                meta = {}
            yield Entry(
                "parsed data",
                folder,
                last_used(folder),
                folder / "meta.json",
                str(meta.get("dataset", "")),
                str(meta.get("source", "")),
            )
    index = root / "data" / "index"
    for path in listed(index):
        if re.fullmatch(r"[0-9a-f]{24}\.json", path.name):
            yield Entry(HASHES, path, last_used(path), is_needed=_is_current(path))
    yield from abandoned(root / "data", r"\.[0-9a-f]{32}\.")
    yield from abandoned(index, r"\.[0-9a-f]{24}\.json\.")


def _is_current(entry: Path) -> bool:
    """Whether a stored hash is that of a file as it is now: no other one is ever used."""
    try:
        stamp = _unseal(entry.read_bytes())["stamp"]
        return stamp == _stamp(Path(stamp[0]))
    except (OSError, ValueError, Damaged, LookupError, TypeError):
        return False
