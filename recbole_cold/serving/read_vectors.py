"""Look up the vectors of an export by the ids of the outside world: needs numpy and pyarrow alone.

python read_vectors.py items.parquet 242 film-1    # one vector a line
"""

import sys

import numpy as np
import pyarrow.parquet as pq


class Vectors:
    """The vectors of items.parquet, users.parquet or a file of fields/.

    Args:
        path: of such a file; the row number is the code, and the last row is that of the unknown.
    """

    def __init__(self, path) -> None:
        table = pq.read_table(path)
        self.codes = {token: code for code, token in enumerate(table.column(0).to_pylist())}
        self.vectors = np.array(table["vector"].to_pylist(), dtype=np.float32)

    def of(self, tokens) -> np.ndarray:
        """Vectors [n, d]; of an unknown token the mean."""
        return self.vectors[[self.codes.get(token, self.codes[None]) for token in tokens]]


if __name__ == "__main__":
    for vector in Vectors(sys.argv[1]).of(sys.argv[2:]):
        print(*vector)
