"""One whole run in a process of its own: ``python _one_run.py '<request as JSON>'`` prints figures.

CPU seconds are those of the process since it began; what had gone when the imports were done is
given beside them.
"""

import json
import resource
import sys
import tempfile
from pathlib import Path


def cpu_so_far() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(asked: dict) -> dict:
    """Load cached data, pre-train, learn, three warm phases, four evaluations; the figures."""
    from recbole_cold.experiment.experiment import Experiment
    from recbole_cold.experiment.folders import new_folder
    from recbole_cold.experiment.requests import Request
    from recbole_cold.registry import find_method
    from recbole_cold.training.meter import peak_memory_mb

    find_method(asked["model"])  # imports it
    imported = cpu_so_far()
    with tempfile.TemporaryDirectory() as saved:
        overrides = {"matched_row": False, **asked["overrides"], "saved_dir": saved}
        request = Request(asked["model"], asked["dataset"], "DeepFM", (), overrides)
        experiment = Experiment(request)
        experiment.prepare()
        experiment.open_folder(new_folder)
        [run] = experiment.run()["runs"]
    [seed] = run["seeds"]
    return {
        "cpu_seconds": cpu_so_far(),
        "cpu_seconds_of_imports": imported,
        # Not ru_maxrss: it begins at the size of the parent.
        "peak_memory_mb": peak_memory_mb(),
        "parameters": run["parameters"],
        "stages": seed["stages"],
        "metrics": {name: phase["metrics"] for name, phase in seed["phases"].items()},
        "cached": [stage["name"] for stage in seed["stages"] if stage["cached"]],
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(json.dumps(main(json.loads(sys.argv[1]))))
