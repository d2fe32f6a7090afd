"""A split written as the ready files of RecBole's ``benchmark_filename``."""

from pathlib import Path
from typing import Any

from recbole_cold.data.split import Split
from recbole_cold.store import write_bytes


def write_atomic_parts(split: Split, dataset: Any, folder: str | Path) -> list[str]:
    """Part names, after writing ``<name>.<part>.inter`` files that RecBole reads with
    ``benchmark_filename: [those names]``.

    The lines are copied from the atomic files, so nothing is lost to formatting; ``.user`` and
    ``.item`` files are copied beside them.

    Args:
        dataset: the ``ColdStartDataset`` that ``split`` was made from.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    header, lines = dataset.source_lines()
    for name, rows in split.parts.items():
        body = b"".join(map(lines.__getitem__, dataset.source_rows(rows).tolist()))
        write_bytes(folder / f"{dataset.dataset_name}.{name}.inter", header + body)
    for source in dataset.feature_files():
        write_bytes(folder / source.name, source.read_bytes())
    return list(split.parts)
