"""A split written as the ready files of RecBole's ``benchmark_filename``."""

from pathlib import Path
from typing import Any

from recbole_cold.data._file_names import is_column_file
from recbole_cold.data._sources import parts_of
from recbole_cold.data.split import Split
from recbole_cold.errors import UserError
from recbole_cold.store import write_bytes


def write_atomic_parts(split: Split, dataset: Any, folder: str | Path) -> list[str]:
    """Part names, after writing ``<name>.<part>.inter`` files that RecBole reads with
    ``benchmark_filename: [those names]``.

    The rows are copied as they are, in the form of the files that they come from; ``.user`` and
    ``.item`` files and those of ``vector_fields`` are copied beside them (``ready_vectors``).

    Args:
        dataset: the ``ColdStartDataset`` that ``split`` was made from.

    Raises:
        UserError: the folder cannot be written, or the rows have histories.
    """
    if split.histories is not None:
        raise UserError(
            "ready files hold rows, and a session is more than the row of its target; give "
            "split_rule: sessions to the run, which makes the same sessions from seed and data"
        )
    folder = Path(folder)
    files = dataset.interaction_files()
    rows = {name: dataset.source_rows(rows) for name, rows in split.parts.items()}
    ending = files[0].suffix if is_column_file(files[0]) else ""
    for name, content in parts_of(files, rows):
        write_bytes(folder / f"{dataset.dataset_name}.{name}.inter{ending}", content)
    for source in dataset.feature_files():
        write_bytes(folder / source.name, source.read_bytes())
    for side, fields in dataset.vector_files().items():
        for field, source in fields.items():
            write_bytes(folder / ready_vectors(dataset)[side][field], source.read_bytes())
    return list(split.parts)


def ready_vectors(dataset: Any) -> dict[str, dict[str, str]]:
    """``vector_fields`` of the written files, empty where there are none.

    Raises:
        UserError: interactions have vectors by row, which parts would need anew.
    """
    files = dataset.vector_files()
    if "inter" in files:
        raise UserError(
            "vector_fields has vectors of interactions, one per row of '.inter', and parts have "
            "other rows; write them as a float_seq column"
        )
    return {
        side: {field: f"{dataset.dataset_name}.{side}.{field}{path.suffix}"
               for field, path in fields.items()}
        for side, fields in files.items()
    }  # fmt: skip
