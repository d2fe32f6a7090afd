"""Whether parsed columns fit into memory: what they need at least, and what is free.

What is needed is told by the files before they are read: their rows times the bytes of a row in the
columns that are wanted. Texts, and what a run needs beside its columns, come on top, so a run that
is refused here could not have ended well; one that is not refused may still need more.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from recbole.utils import FeatureType

from recbole_cold.data._atomic import Format
from recbole_cold.data._cache import size_of
from recbole_cold.data._column_files import rows_of
from recbole_cold.data._file_names import is_column_file
from recbole_cold.data._names import wanted_fields
from recbole_cold.data._sources import read_header
from recbole_cold.errors import UserError

MOST_CODES = 2**31 - 2
"""Different tokens of a field: codes are int32, and 0 is padding."""
# Bytes of a row; columns are there twice while they are made of what was read.
_BYTES = {FeatureType.TOKEN: 4, FeatureType.FLOAT: 8, FeatureType.TOKEN_SEQ: 4,
          FeatureType.FLOAT_SEQ: 4}  # fmt: skip
_COPIES = 2
_SAMPLE = 1 << 18  # bytes of a text file in which lines are counted, at each of three places
_MEND = (
    "leave columns out with load_col, take a sample of the users (convert has --sample_users), or "
    "give it more memory"
)


class Free(NamedTuple):
    """Bytes that this process can still take, and what ends there, in words."""

    bytes: int
    limit: str


@contextmanager
def within_memory(config: Any, files: Mapping[str, Sequence[Path]], form: Format) -> Iterator[None]:
    """Context: the files are parsed in it; what cannot fit is refused before, and in a sentence.

    Args:
        config: as ``ColdStartDataset`` takes it.
        files: suffix (inter, user, item) -> files.
        form: how they are written.

    Raises:
        UserError: the columns need more memory than is free, or turn out to, or a field has more
            texts than can be told apart.
    """
    needed = needs(config, files, form)
    free = free_memory()
    first = files["inter"][0]
    if free is not None and needed > free.bytes:
        raise UserError(
            f"the columns of '{first}' need {size_of(needed)} of memory at least, and "
            f"{size_of(free.bytes)} are free ({free.limit}); {_MEND}"
        )
    try:
        yield
    except MemoryError as error:  # Arrow's and numpy's are such
        raise UserError(
            f"there is not enough memory for the columns of '{first}', which need "
            f"{size_of(needed)} at least; {_MEND}"
        ) from error
    except pa.ArrowCapacityError as error:
        raise UserError(
            f"a field of '{first}' has more different texts than can be told apart ({error}); "
            "leave it out with load_col"
        ) from error


def refuse_more_codes(field: str, column: Any, path: Path) -> None:
    """
    Raises:
        UserError: a column has more different tokens than there can be codes.
    """
    vocabulary = getattr(column, "vocab", None)  # of tokens alone; vectors are columns, too
    if vocabulary is not None and len(vocabulary) > MOST_CODES:
        raise UserError(
            f"the field {field!r} of '{path}' has {len(vocabulary):,} different values, and a "
            f"field can have {MOST_CODES:,}; leave it out with unload_col, or make groups of them"
        )


def needs(config: Any, files: Mapping[str, Sequence[Path]], form: Format) -> int:
    """Bytes of memory that the wanted columns take at least while they are made.

    Raises:
        UserError: a file cannot be read, or lacks a field.
    """
    total = 0
    for suffix, paths in files.items():
        wanted = wanted_fields(config, suffix, paths[0], form)
        kinds = read_header(paths[0], form)
        row = sum(_BYTES[kind] for field, kind in kinds.items() if wanted(field))
        total += row * sum(map(n_rows, paths))
    return _COPIES * total


def n_rows(path: Path) -> int:
    """The rows of a file: as it says, or of a text file hardly more than there are, by the longest
    lines at its beginning, middle and end."""
    if is_column_file(path):
        return rows_of(path)
    size = path.stat().st_size
    if not size:
        return 0
    per_byte = []
    with path.open("rb") as file:
        for place in (0, size // 2, max(size - _SAMPLE, 0)):
            file.seek(place)
            block = file.read(_SAMPLE)
            per_byte.append(block.count(b"\n") / len(block))
    return int(size * min(per_byte))


# ------------------------------------------------------------------------------- what is free
def free_memory(root: Path = Path("/")) -> Free | None:
    """What is free on this machine or, where that is less, in a control group (a container, a job
    of a cluster) of this process; None where nobody tells.

    Args:
        root: the folder that has ``proc`` and ``sys``.
    """
    found = [each for each in (_of_machine(root), *_of_groups(root)) if each is not None]
    return min(found, default=None)


def _of_machine(root: Path) -> Free | None:
    """Memory that the kernel calls available, and free swap space."""
    try:
        lines = (root / "proc" / "meminfo").read_text().splitlines()
        told = {line.partition(":")[0]: line.split() for line in lines}
        return Free(
            sum(int(told[name][1]) for name in ("MemAvailable", "SwapFree")) * 1024,
            "on this machine",
        )
    except (OSError, LookupError, ValueError):
        return None


def _of_groups(root: Path) -> Iterator[Free]:
    """What each control group of this process leaves, those around it included.

    Version 2 has one tree for all, version 1 one for memory. In a container the tree may begin at
    the group itself, while its path is that of the machine.
    """
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    base = root / "sys" / "fs" / "cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",")
        if controllers == "":
            place, files = base, ("memory.max", "memory.current")
        elif "memory" in names:
            place, files = base / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inside = Path(path.lstrip("/"))
        for group in [inside, *inside.parents]:
            left = _left_in(place / group, *files)
            if left is not None:
                yield Free(left, "a limit of the control group, as containers and clusters set it")


def _left_in(group: Path, limit: str, usage: str) -> int | None:
    """What a group leaves; files that the kernel only keeps at hand count as free."""
    try:
        most = int((group / limit).read_text())
        used = int((group / usage).read_text())
    except (OSError, ValueError):  # no such group, or no limit: "max"
        return None
    try:
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        stat = {}
    # Version 1 counts a group alone, and all groups below it under names of their own.
    kept = sum(
        int(stat.get(f"total_{name}", stat.get(name, 0)))
        for name in ("inactive_file", "active_file")
    )
    return max(0, most - max(0, used - kept))
