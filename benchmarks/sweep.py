"""A sweep on Ray against the same trainings one after another, its first steps, and its memory.

Trials are whole: data, pre-training, learning, warm phases and evaluations. Wall time counts here:
what a sweep adds is process starts and hand-overs, and what it gains is cores.
"""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import _common as common
from benchmarks._common import Options, Table
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.trials import ray_pool as pool
from recbole_cold.trials.trial import TrialSpec, run_trial

TRIALS, AT_A_TIME = 24, 2


def specs_of(options: Options, cache: str, count: int, method: str = "Base") -> list[TrialSpec]:
    """Trials that differ in their learning rate, so that each trains a backbone of its own."""
    config = common.configuration(options, method)
    keys = {
        **common.KEYS, **options.keys, "cache_dir": cache, "fit_on": "valid", "device": "cpu",
        "data_path": config["data_path"], "show_progress": False,
    }  # fmt: skip
    return [
        TrialSpec(method, options.dataset, "DeepFM", (),
                  {**keys, "learning_rate": round(1e-3 * (1 + number / 100), 6)}, 2020)
        for number in range(count)
    ]  # fmt: skip


def on_ray(specs: Sequence[TrialSpec], at_a_time: int) -> dict[str, dict]:
    """The documents of trials that Ray ran, by key."""
    documents: dict[str, dict] = {}

    def failed(spec: TrialSpec, error: str) -> None:
        raise RuntimeError(f"trial {spec.key} failed: {error}")

    # Shares of a core: more trials at a time than there are cores, where memory is the question.
    cpus = min(1.0, pool.cores() / at_a_time)
    pool.run_all(
        specs, cpus=cpus, concurrent=at_a_time, on_failed=failed,
        on_done=lambda spec, document: documents.update({spec.key: document}),
    )  # fmt: skip
    return documents


def auc_of(document: dict) -> list[float]:
    phases = document["runs"][0]["seeds"][0]["phases"]
    return [phase["metrics"]["AUC"] for phase in phases.values()]


# ------------------------------------------------------------------------------- memory
def memory_of(pid: int) -> tuple[float, float, float]:
    """A process's memory in MiB with shared pages divided among those that share them; the same of
    its mapped columns; and its mapped columns as if they were its own."""
    total = shared = whole = 0.0
    try:
        total = _sum(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:")
        inside = False
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if not line.split(" ", 1)[0].endswith(":"):
                inside = line.endswith(".npy")
            elif inside:
                shared += _sum(line, "Pss:")
                whole += _sum(line, "Rss:")
    except (OSError, ValueError):
        pass
    return total, shared, whole


def _sum(text: str, name: str) -> float:
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(name)) / 1024


def trial_processes(cache: str) -> list[int]:
    """Ray's processes that run our trials: they were told of this cache."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name = (path / "cmdline").read_bytes()
            told = f"RECBOLE_COLD_BENCHMARK={cache}\0".encode() in (path / "environ").read_bytes()
        except OSError:
            continue
        if told and name.startswith(b"ray::ResourceTrainable"):
            found.append(int(path.name))
    return found


@contextmanager
def watching(cache: str) -> Iterator[dict[str, float]]:
    """The highest sum over all trial processes while open, and what of it is mapped data."""
    peak = {"total": 0.0, "shared": 0.0, "whole": 0.0, "processes": 0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            found = [memory_of(pid) for pid in trial_processes(cache)]
            total, shared, whole = (sum(part) for part in zip(*found, strict=True)) if found else (
                0.0, 0.0, 0.0)  # fmt: skip
            if total > peak["total"]:
                peak.update(total=total, shared=shared, whole=whole, processes=len(found))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


# ------------------------------------------------------------------------------- the questions
def measure(options: Options) -> Table:
    """Wall time of a grid both ways, seconds to the first step, memory of 4 at a time against 1."""
    count = TRIALS if options.full else 4
    rows: list[list] = []
    agreement: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["RECBOLE_COLD_BENCHMARK"] = cache
        ColdStartDataset(common.configuration(options, cache_dir=cache))
        alone = f"{cache}/alone"
        os.makedirs(alone)
        os.symlink(f"{cache}/data", f"{alone}/data")
        started = time.perf_counter()
        one_by_one = {spec.overrides["learning_rate"]: run_trial(spec)
                      for spec in specs_of(options, alone, count)}  # fmt: skip
        serial = time.perf_counter() - started
        started = time.perf_counter()
        documents = on_ray(specs_of(options, cache, count), AT_A_TIME)
        on_pool = time.perf_counter() - started
        wanted = [auc_of(document) for document in one_by_one.values()]
        found = {document["runs"][0]["config"]["learning_rate"]: auc_of(document)
                 for document in documents.values()}  # fmt: skip
        agreement["AUC of trials in a process and on Ray"] = max(
            abs(a - b)
            for rate, values in zip(one_by_one, wanted, strict=True)
            for a, b in zip(values, found[rate], strict=True)
        )
        first, later = first_steps(list(documents.values()))
        memory = {}
        for at_a_time in (1, 4):
            more = f"{cache}/memory-{at_a_time}"
            os.makedirs(more)
            os.symlink(f"{cache}/data", f"{more}/data")
            with watching(cache) as peak:
                on_ray(specs_of(options, more, 2 * at_a_time), at_a_time)
            memory[at_a_time] = dict(peak)
    trial = serial / count
    inside = sum(document["trial"]["seconds"] for document in documents.values())
    outside = on_pool * AT_A_TIME - inside
    rows += [
        [f"{count} trials one after another, one process", f"{serial:.1f} s", f"{trial:.2f} s"],
        [f"{count} trials on Ray, {AT_A_TIME} at a time", f"{on_pool:.1f} s",
         f"{inside / count:.2f} s"],
        ["what of it is no trial: start, hand-over, end", f"{outside / AT_A_TIME:.1f} s",
         f"{outside / count:.2f} s"],
        ["to the first optimizer step, first trial of a process", f"{first:.2f} s", ""],
        ["to the first optimizer step, later trials", f"{later:.2f} s", ""],
    ]  # fmt: skip
    for at_a_time, peak in memory.items():
        rows.append(
            [f"peak memory, {at_a_time} at a time", f"{peak['total']:.0f} MiB",
             f"data: {peak['shared']:.1f} MiB; {peak['whole']:.1f} MiB if each had its own"]
        )  # fmt: skip
    return Table(
        f"A sweep on {options.dataset}: {count} trials of {trial:.1f} s",
        ["", "wall or memory", "per trial"],
        rows,
        [
            ("wall time on Ray to the trainings one after another", on_pool / serial, 1.25, "<="),
            ("time that is no trial to the trials", outside / inside, 0.25, "<="),
            ("data of 4 processes to that of one of them",
             memory[4]["shared"] / (memory[4]["whole"] / memory[4]["processes"]), 1.25, "<="),
        ],
        agreement,
        [
            "The wall time on Ray includes starting and ending Ray and the trial processes; with "
            "two free cores it would be half of the wall time in one process, and that.",
            "Memory is Pss: pages that processes share are divided among them. The data set is "
            "mapped from the cache, so it is there once; every process has its own libraries' "
            "writable pages, parameters and workspace.",
        ],
    )  # fmt: skip


def first_steps(documents: Sequence[dict]) -> tuple[float, float]:
    """Seconds from a trial's start to its first step: the first trials' of a process, and others'.

    The first one of a process loads data and libraries; medians of each.
    """
    ordered = sorted(documents, key=lambda document: document["created"])
    seen: set[int] = set()
    first, later = [], []
    for document in ordered:
        known = document["trial"]["pid"] in seen
        (later if known else first).append(document["trial"]["first_step_seconds"])
        seen.add(document["trial"]["pid"])
    return statistics.median(first), statistics.median(later or [float("nan")])
