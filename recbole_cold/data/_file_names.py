"""Names of the files of a data set: ``name.inter``, or ``name.inter.parquet`` in its place."""

from collections.abc import Iterable
from pathlib import Path

from recbole_cold.errors import UserError

SUFFIXES = ("inter", "user", "item")
# Endings of files of columns, which may stand behind the name of an atomic file.
COLUMN_ENDINGS = (".parquet", ".arrow", ".feather")
_ENDINGS = ("", *COLUMN_ENDINGS)


def is_column_file(path: Path) -> bool:
    """Whether a file is parquet or Arrow by its name; an atomic file otherwise."""
    return path.suffix in COLUMN_ENDINGS


def atomic_name(path: Path) -> str:
    """The name of the atomic file in whose place a file stands."""
    return path.stem if is_column_file(path) else path.name


def is_source(path: Path) -> bool:
    """Whether a file has the name of interactions, users or items."""
    return Path(atomic_name(path)).suffix[1:] in SUFFIXES


def found(folder: Path, name: str) -> Path | None:
    """The file that has what the atomic file ``name`` would have; None where there is none.

    Raises:
        UserError: it is there in two forms.
    """
    there = [path for end in _ENDINGS if (path := folder / f"{name}{end}").is_file()]
    if len(there) > 1:
        raise UserError(
            f"'{there[0]}' and '{there[1].name}' are both there, and one of them has to be read; "
            "remove the other"
        )
    return there[0] if there else None


def interactions(folder: Path, start: str = "") -> list[Path]:
    """Files of interactions in a folder whose names begin with ``start``."""
    try:
        names: Iterable[Path] = sorted(folder.iterdir())
    except OSError:  # no folder, or one that may not be entered
        return []
    return [
        path
        for path in names
        if path.name.startswith(start) and Path(atomic_name(path)).suffix == ".inter"
    ]
