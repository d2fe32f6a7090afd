"""What a command costs before it works: CPU seconds of fresh processes, beside ``import torch``.

Each process ends where it says; nothing is trained but one step. The data set is cached.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import _common as common
from benchmarks._common import Options, Table
from recbole_cold.data.dataset import ColdStartDataset

TORCH = "import torch"
RECBOLE = "import a click model of RecBole's and its data set"
HELP, LIST, MISSPELT = "--help", "list", "a misspelt name"
IMPORTS, STEP = "what a run imports", "to the first optimizer step"

# Ends the process with its CPU seconds on a line of their own.
END = """
import os, resource, sys
def end(*_words, **_keys):
    used = resource.getrusage(resource.RUSAGE_SELF)
    sys.stdout.flush(); sys.stderr.flush()
    print(f"\\ncpu {used.ru_utime + used.ru_stime}", file=sys.__stdout__, flush=True)
    os._exit(0)
"""
COMMAND = "from recbole_cold.cli.main import main; main(sys.argv[1:])"
# One step of the trainer's, which has its first optimizer behind it then; there is no other end.
FIRST_STEP = """
from recbole_cold.training.optimizers import Optimizers
step = Optimizers.step
def stop(self):
    step(self); end()
Optimizers.step = stop
"""
PROGRAMS = {
    TORCH: "import torch; end()",
    RECBOLE: "import recbole.model.context_aware_recommender.deepfm, recbole.data.dataset; end()",
    HELP: f"{COMMAND}; end()",
    LIST: f"{COMMAND}; end()",
    MISSPELT: f"{COMMAND}; end()",
    IMPORTS: "import recbole_cold.cli.main, recbole_cold.experiment.session; end()",
    STEP: FIRST_STEP + COMMAND,
}
WORDS = {HELP: ["--help"], LIST: ["list"], MISSPELT: ["--model=MWFU"]}


def cpu_of(name: str, words: list[str], cache: str) -> float:
    """CPU seconds of a fresh process, from its begin to the end that its program calls."""
    environment = {
        **os.environ, "RECBOLE_COLD_CACHE": cache, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", END + PROGRAMS[name], *words],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1:] or [""]
    if done.returncode or not last[0].startswith("cpu "):
        raise RuntimeError(f"'{name}' did not reach its end:\n{done.stdout}{done.stderr}")
    return float(last[0].removeprefix("cpu "))


def run_words(options: Options, saved: str) -> list[str]:
    """The command of a plain run: no backbone is cached, since none is pre-trained to the end."""
    keys = {**common.KEYS, **common.QUIET, **options.keys, "saved_dir": saved}
    if options.data_path is not None:
        keys["data_path"] = str(Path(options.data_path).resolve())
    return [
        "--model=Base",
        f"--dataset={options.dataset}",
        *(f"--{k}={v}" for k, v in keys.items()),
    ]


def measure(options: Options) -> Table:
    """CPU seconds of each program in turns, and their ratios to ``import torch``."""
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as cache:
        ColdStartDataset(common.configuration(options, cache_dir=cache))
        words = {**WORDS, STEP: run_words(options, f"{cache}/saved")}
        for _ in range(options.repeats):
            for name in PROGRAMS:
                seconds[name].append(cpu_of(name, words.get(name, []), cache))
    least = common.smallest(seconds)
    rows = [
        [name, round(least[name], 2), round(common.median(values), 2),
         round(least[name] / least[TORCH], 2)]
        for name, values in seconds.items()
    ]  # fmt: skip
    return Table(
        f"Start-up, to the first step on {options.dataset}",
        ["process", "CPU s", "median", "ratio to import torch"],
        rows,
        [
            ("the first step to import torch", least[STEP] / least[TORCH], 2.75, "<="),
            ("a misspelt name to import torch", least[MISSPELT] / least[TORCH], 0.5, "<="),
        ],
        {},
        [
            "Interpreter start included; byte code is there from the first turn on. The data set "
            "is read from the cache, the first step pre-trains DeepFM."
        ],
    )
