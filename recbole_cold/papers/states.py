"""What can be reproduced with the data and the methods at hand."""

from typing import NamedTuple

from recbole_cold.config import find_data, overall_values
from recbole_cold.errors import UserError
from recbole_cold.papers.files import PaperItem

DATA_PAGE = "dataset_atomic/README.md"


class State(NamedTuple):
    """The state of one item: whether it runs here, and in words, on which data or why not."""

    runs: bool
    words: str
    here: tuple[str, ...]  # its data sets that are at hand


def state_of(item: PaperItem, data_path: str | None = None) -> State:
    """The state of an item.

    Args:
        data_path: the folder above the data sets' folders, as for a run.
    """
    here = tuple(data_at_hand(item, data_path))
    if item.unknown is not None:
        return State(False, f"contents not at hand: {item.unknown}", here)
    if not item.runnable():
        return State(False, _not_run(item), here)
    without = f"; {_not_run(item)}" if len(item.runnable()) < len(item.rows) else ""
    if not here:
        return State(False, f"needs data {needed(item)}: see {DATA_PAGE}{without}", here)
    return State(True, f"runs here ({', '.join(here)}){without}", here)


def _not_run(item: PaperItem) -> str:
    """``not run: A, B (why); C (why)``."""
    names: dict[str, list[str]] = {}
    for row in item.rows:
        if row.absent is not None and row.name not in names.setdefault(row.absent, []):
            names[row.absent].append(row.name)
    return "not run: " + "; ".join(f"{', '.join(each)} ({why})" for why, each in names.items())


def data_at_hand(item: PaperItem, data_path: str | None = None) -> list[str]:
    """The item's data sets whose files are there."""
    folder = str(data_path or overall_values()["data_path"])
    found = []
    for name in item.data:
        try:
            find_data(folder, name)
        except UserError:
            continue
        found.append(name)
    return found


def needed(item: PaperItem) -> str:
    """``Taobao display ads (taobao-ad) or CIKM 2019 (cikm2019)``."""
    return " or ".join(f"{data.called} ({name})" for name, data in item.data.items())
