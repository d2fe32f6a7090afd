"""Score rows with scorer.pt2: needs torch and numpy, and neither RecBole nor recbole_cold.

    python score_pt2.py rows.npz      # one probability a line

The folder of this file has scorer.pt2 and export.json, which names the inputs; rows.npz has an
array for each of them.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch


class Scorer:
    """The exported network.

    Args:
        folder: the folder of scorer.pt2 and export.json.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        told = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        self.inputs = told["inputs"]
        self.network = torch.export.load(folder / told["files"]["pt2"]["file"]).module()

    def score(self, columns) -> np.ndarray:
        """Probabilities of a click [b] of arrays by the names of the inputs."""
        values = [
            torch.from_numpy(np.asarray(columns[each["name"]]).astype(each["dtype"]))
            for each in self.inputs
        ]
        with torch.no_grad():
            return self.network(*values).numpy()


if __name__ == "__main__":
    for probability in Scorer(Path(__file__).parent).score(np.load(sys.argv[1])):
        print(repr(float(probability)))
