"""Score rows with scorer.onnx: needs onnxruntime and numpy, neither torch nor RecBole.

    python score_onnx.py rows.npz     # one probability a line

The folder of this file has scorer.onnx and export.json, which names the inputs; rows.npz has an
array for each of them.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class Scorer:
    """The exported network.

    Args:
        folder: the folder of scorer.onnx and export.json.
        threads: of one request; 1 where many requests are answered at a time.
    """

    def __init__(self, folder: str | Path, threads: int = 1) -> None:
        folder = Path(folder)
        told = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        file = str(folder / told["files"]["onnx"]["file"])
        self.session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        # By name, never by position: inputs that move nothing may be missing in the file.
        dtypes = {each["name"]: each["dtype"] for each in told["inputs"]}
        self.dtypes = {each.name: dtypes[each.name] for each in self.session.get_inputs()}

    def score(self, columns) -> np.ndarray:
        """Probabilities of a click [b] of arrays by the names of the inputs."""
        feed = {name: np.asarray(columns[name]).astype(kind) for name, kind in self.dtypes.items()}
        return self.session.run(["probability"], feed)[0]


if __name__ == "__main__":
    for probability in Scorer(Path(__file__).parent).score(np.load(sys.argv[1])):
        print(repr(float(probability)))
