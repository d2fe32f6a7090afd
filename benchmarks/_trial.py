"""One of several trials that share a device: waits until all are ready, then counts its steps.

    python -m benchmarks._trial '{"name": "MWUF", "stage": "learn", ...}'

Writes ``ready``, waits for a line, and writes how many optimizer steps a second it took.
"""

import json
import sys
import warnings

import torch

from benchmarks import _common as common
from benchmarks._common import Options
from benchmarks._steps import shorten
from benchmarks.gpu import Steps, clocked


class AtOnce(Steps):
    """The clock runs when the others are ready, too."""

    def begin(self) -> None:
        print("ready", flush=True)
        sys.stdin.readline()
        super().begin()


def main(words: str) -> None:
    asked = json.loads(words)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    options = Options(**asked["options"])
    method = common.method_of(options, asked["name"], **asked["keys"])
    shorten(method, 10**6)
    clock, run = clocked(method, asked["stage"], asked["seconds"], AtOnce)
    run()
    print(1000 / clock.milliseconds(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
