"""The feature graphs of new items that a run stores, and their file format."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_cold.errors import UserError


class Graphs(NamedTuple):
    """The feature graphs of a run's new items.

    Attributes:
        fields: names along both axes of a graph.
        items: the items' own names.
        phases: the phase that each graph belongs to.
        graphs: [phases, orders, items, fields, fields], entries in [0, 1].
    """

    fields: Sequence[str]
    items: Sequence[str]
    phases: Sequence[str]
    graphs: np.ndarray

    def as_bytes(self) -> bytes:
        """A compressed npz file."""
        buffer = io.BytesIO()
        names = {name: np.array(list(getattr(self, name))) for name in self._fields[:3]}
        np.savez_compressed(buffer, graphs=self.graphs.astype(np.float32), **names)
        return buffer.getvalue()


def load_graphs(path: Path) -> Graphs:
    """The graphs in a file that a run wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names = [[str(name) for name in file[part]] for part in Graphs._fields[:3]]
            found = Graphs(*names, file["graphs"])
    except FileNotFoundError:
        raise UserError(f"there is no '{path}'; give the folder of a run of EmerG") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"'{path}' is damaged ({error}); run it again") from error
    return found
