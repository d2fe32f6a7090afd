"""One session on one card: is it right, and how fast is it beside one CPU thread of this machine?

    python benchmarks/gpu.py --data_path=../shared/data            # eight minutes
    python benchmarks/gpu.py --device=cpu --quick                  # the same code where no card is

Parts are taken in the order of their importance, each within its share of the minutes; what did not
fit is listed as not run. Generated Taobao takes a minute or two to be made and read, so it comes
with ``--minutes=16``, or alone with ``--parts=taobao``. What replays CUDA graphs runs in processes
of their own: a card that refused to record one may do nothing more in that process.

Figures of a card go to ``benchmarks/gpu.json`` after every part, and its tables into
``benchmarks/README.md``, under its name: those of a whole session, with no choice of parts, methods
or ``--results``, and not with ``--quick``.
"""

import argparse
import json
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # the script's folder would make modules importable under a second name
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]
    sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402

from benchmarks import _common as common  # noqa: E402
from benchmarks._common import Options  # noqa: E402
from benchmarks._steps import shorten  # noqa: E402
from benchmarks.learning import every_method  # noqa: E402
from benchmarks.run import put_between  # noqa: E402
from recbole_cold.data.phases import run_phases  # noqa: E402
from recbole_cold.errors import Interrupted  # noqa: E402
from recbole_cold.training.callbacks import Callback  # noqa: E402
from recbole_cold.training.captured import CudaRecorder  # noqa: E402
from recbole_cold.training.trainer import Trainer  # noqa: E402

MARKERS = "<!-- gpu -->", "<!-- end of gpu -->"
NOT_RUN = (
    "**Nothing was ever run on a card.** What is said of GPUs is read off the code and tested on a "
    "CPU with devices that are not there ([docs/gpu.md](../docs/gpu.md)). "
    "`python benchmarks/gpu.py --data_path=../shared/data` fills this section in eight minutes."
)
# What stops being true with the first figures, by the file that says it.
UNTRUE = {
    "docs/gpu.md": (
        "Nothing of this was ever run on a card.",
        "has the figures as soon as there are any",
        "none, which is to be seen on a card.",
        "nobody has measured it yet",
        "on a card unmeasured; TF32 unmeasured.",
        "What it saves is unmeasured",
        "How many trials pay is unmeasured.",
    ),
    "CHANGELOG.md": ("On a GPU (none was at hand", "as a card does, never run on one",
                     "it is tested on a CPU, and unmeasured"),
    "README.md": ("what was never measured",),
    "recbole_cold/device.py": ("those of a card are not: none was at hand.",),
    "properties/overall.yaml": ("not measured yet.",),
}  # fmt: skip
# Largest difference of an AUC between CPU and card, one seed, without dropout.
CLOSE = 0.002
FIRST = 5  # optimizer steps before the clock runs: libraries start, kernels are chosen
RESUMED = ("Base", "MWUF", "EmerG")
CAPTURED = ("Base", "DropoutNet", "MetaE")  # have steps that a CUDA graph replays
PRECISE = ("Base", "MWUF")  # of which it is told what they cost
# Trials that share a card: the stage whose steps are counted, and how many at once.
TRIALS = {"Base": ("pretrain", (1, 2, 4)), "MWUF": ("learn", (1, 4))}
TRIAL = [sys.executable, "-m", "benchmarks._trial"]
# The share of the session after which a part begins nothing more. Of eight minutes, in seconds:
# what a part may take, and what it is thought to.
UNTIL = {
    "agreement": 0.30,  # 144; 23 methods of 5 to 10 each, so perhaps not all
    "resumed": 0.38,  # 38; three methods, 12 each
    "captured": 0.47,  # 43; a process, 8, and three methods, 10 each
    "pretraining": 0.64,  # 82; data and a process, 15, and eight forms of 7 each
    "learning": 0.82,  # 86; EmerG 10, the others 5 to 8 each, so half of them
    "precision": 0.88,  # 29; two methods, three runs of 4 each
    "trials": 1.0,  # 58; five times 12, of which 3 are counted
    "taobao": 1.0,  # 150, which eight minutes have not
}
CPU = torch.device("cpu")


# ------------------------------------------------------------------------------- the clock
class Late(Exception):
    """Something was ended because its time was over."""


def _serve(pipe: Any) -> None:
    """Do what comes through a pipe, and send back (result, what was wrong)."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    while True:
        work, given = pipe.recv()
        try:
            pipe.send((work(*given), ""))
        except Exception as error:
            pipe.send((None, f"{type(error).__name__}: {error}"))


class Apart:
    """Does work in another process: in a new one after each that failed or came too late."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None

    def __call__(self, work: Callable[..., Any], *given: Any, seconds: float) -> Any:
        if self._process is None:
            context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._pipe.send((work, given))
            if not self._pipe.poll(max(seconds, 0.0)):
                raise Late
            result, wrong = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self.close()
            raise RuntimeError(f"its process ended with code {code}") from None
        except BaseException:
            self.close()
            raise
        if wrong:
            self.close()
            raise RuntimeError(wrong)
        return result

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


class Budget:
    """Minutes of the session, and of each part.

    Attributes:
        not_run: what did not fit, as texts.
        failed: what raised.
        apart: does work in a process of its own.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds, self.began = 60 * minutes, time.perf_counter()
        self.not_run: list[str] = []
        self.failed: list[str] = []
        self.apart = Apart()

    def left(self, until: float = 1.0) -> float:
        """Seconds until so large a share of the session is over."""
        return until * self.seconds - (time.perf_counter() - self.began)

    def each(
        self, part: str, items: Sequence[Any], until: float, work: Callable[[Any], list | None],
        needed: float = 0.0,
    ) -> Iterator[list]:  # fmt: skip
        """The rows of a part: what ``work`` gives for each item that has its ``needed`` seconds."""
        for item in items:
            if self.left(until) <= needed:
                self.not_run.append(f"{part}: {item}")
                continue
            try:
                row = work(item)
            except Late:
                self.not_run.append(f"{part}: {item}: ended unfinished")
                continue
            except Exception as error:  # the others are worth knowing
                lines = traceback.format_exc().strip().splitlines()
                self.failed.append(f"{part}: {item}: {type(error).__name__}: {lines[-1]}")
                continue
            if row is not None:
                yield row


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Steps(Callback):
    """Milliseconds of an optimizer step, from the sixth one on and for so many seconds."""

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device, self.seconds = device, seconds
        self.began, self.first, self.last = 0.0, 0, 0

    def step(self, stage: str, number: int) -> None:
        self.last = number
        if not self.first and number >= FIRST:
            wait(self.device)
            self.begin()
            self.first = number

    def begin(self) -> None:
        self.began = time.perf_counter()

    def over(self) -> bool:
        return bool(self.first) and time.perf_counter() - self.began > self.seconds

    def milliseconds(self) -> float:
        wait(self.device)
        seconds = time.perf_counter() - self.began
        return 1000 * seconds / (self.last - self.first) if self.last > self.first else float("nan")


def clocked(
    method: Any, stage: str, seconds: float, kind: type[Steps] = Steps
) -> tuple[Steps, Callable[[], None]]:
    """The clock of a stage, and the stage itself until the clock ends it."""
    clock = kind(method.device, seconds)
    trainer = Trainer(method, method.config["seed"], stop=clock.over, callbacks=[clock])

    def run() -> None:
        with suppress(Interrupted):
            getattr(trainer, stage)()

    return clock, run


def step_time(method: Any, stage: str, seconds: float) -> float:
    """Milliseconds of an optimizer step of a stage, of its first fit where it has several."""
    shorten(method, 10**6)  # the clock ends it: what follows a fit is no step
    clock, run = clocked(method, stage, seconds)
    run()
    return clock.milliseconds()


def busy(method: Any, stage: str, seconds: float) -> float:
    """The share of the time in which the card computes or copies; 0 on a CPU."""
    from torch.profiler import ProfilerActivity, profile

    on_card = method.device.type == "cuda"
    _, run = clocked(method, stage, seconds)
    wait(method.device)
    with profile(activities=[ProfilerActivity.CUDA if on_card else ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        run()
        wait(method.device)
        whole = time.perf_counter() - began
    return sum(event.self_device_time_total for event in seen.key_averages()) / 1e6 / whole


def peak_mb(device: torch.device) -> float:
    """Peak of what tensors took on the card since this was asked last; 0 on a CPU."""
    if device.type != "cuda":
        return 0.0
    peak = torch.cuda.max_memory_allocated(device) / 2**20
    torch.cuda.reset_peak_memory_stats(device)
    return peak


# ------------------------------------------------------------------------------- right?
def run_whole(options: Options, name: str, device: torch.device, state: Path | None = None,
              stop_at: int = 0, **keys: Any) -> dict[str, Any]:  # fmt: skip
    """Scores of every phase and AUCs, dropout off; with ``stop_at`` each stage is stopped once,
    after so many steps if it has them, and continued by a fresh object: ``stopped`` has those."""
    keys = {"device": str(device), "dropout_prob": 0.0, **keys}
    scores: dict[str, torch.Tensor] = {}
    stopped: list[str] = []
    while True:
        method = common.method_of(options, name, **keys)
        at: dict[str, int] = {}  # steps by stage

        class Count(Callback):
            def step(self, stage: str, number: int, at=at) -> None:
                at[stage] = number

        def stop(at=at) -> bool:
            due = [stage for stage in at if at[stage] >= stop_at > 0 and stage not in stopped]
            stopped.extend(due)
            return bool(due)

        trainer = Trainer(method, method.config["seed"], state, stop=stop, callbacks=[Count()])
        trainer.resume()

        def evaluate(phase: str, rows: Any, trainer=trainer) -> dict[str, Any]:
            if phase not in trainer.journal["results"]:  # it was scored before a later stage
                scores[phase] = trainer.score(trainer.method.rows.index(rows)).cpu()
            return trainer.evaluate(phase, rows)

        try:
            results = run_phases(trainer, method.dataset.split, evaluate)
        except Interrupted:
            continue
        aucs = {phase: result["metrics"]["AUC"] for phase, result in results.items()}
        return {"scores": scores, "AUC": aucs, "stopped": stopped}


def agreement(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """One seed of every method on ml-100k, on the CPU and on the card."""
    small = Options(keys=options.keys)

    def compared(name: str) -> list:
        began = time.perf_counter()
        here = run_whole(small, name, CPU)["AUC"]
        between = time.perf_counter()
        there = run_whole(small, name, device)["AUC"]
        seconds = time.perf_counter() - between
        apart = max(abs(here[phase] - there[phase]) for phase in here)
        return [name, round(here["cold"], 4), round(there["cold"], 4), f"{apart:.1e}",
                round(between - began, 1), round(seconds, 1)]  # fmt: skip

    names = options.models or every_method()
    rows = list(budget.each("agreement", names, UNTIL["agreement"], compared))
    return {
        "title": "CPU and card, one seed on ml-100k, dropout off",
        "columns": ["method", "AUC cold, CPU", "AUC cold, card", "largest difference of a phase",
                    "CPU s", "card s"],
        "rows": rows,
        "claims": [("methods further apart than .002", sum(float(row[3]) > CLOSE for row in rows),
                    0, "<=")],
        "notes": ["Methods that draw while they train (CVAR, AVAEW, CSDM, GAR, ALDI and others) "
                  "draw other numbers on a card, as with another seed."],
    }  # fmt: skip


def resumed(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """Stopped and continued on the same card: equal to the last bit."""
    small = Options(keys=options.keys)

    def compared(name: str) -> list:
        whole = run_whole(small, name, device)["scores"]
        with tempfile.TemporaryDirectory() as folder:
            found = run_whole(small, name, device, Path(folder) / "state.pt", stop_at=7)
        parts = found["scores"]
        apart = max(float((whole[phase] - parts[phase]).abs().max()) for phase in whole)
        return [name, ", ".join(found["stopped"]), f"{apart:.1e}"]

    names = [name for name in RESUMED if name in (options.models or RESUMED)]
    rows = list(budget.each("resumed", names, UNTIL["resumed"], compared))
    return {
        "title": "Stopped once seven steps of a stage were done and continued on the same device",
        "columns": ["method", "stopped in", "largest difference of a score"],
        "rows": rows,
        "claims": [("methods with another score", sum(float(row[2]) > 0 for row in rows), 0, "<=")],
        "notes": [],
    }


@contextmanager
def replays_counted() -> Iterator[list[None]]:
    """Context: a list that gets an entry with each replay of a CUDA graph."""
    made: list[None] = []
    replay = CudaRecorder.replay

    def counted(self: CudaRecorder) -> None:
        made.append(None)
        replay(self)

    CudaRecorder.replay = counted  # type: ignore[method-assign]
    try:
        yield made
    finally:
        CudaRecorder.replay = replay  # type: ignore[method-assign]


def replayed_beside(options: Options, name: str, device: torch.device) -> list:
    """A row of ``captured``."""
    own = dict(options.keys)  # a run's own keys come last
    whole = run_whole(options, name, device, **own)
    with tempfile.TemporaryDirectory() as folder, replays_counted() as replays:
        state = Path(folder) / "state.pt"
        found = run_whole(options, name, device, state, 7, **own, cuda_graph=True)
    scores, others = whole["scores"], found["scores"]
    apart = max(float((scores[phase] - others[phase]).abs().max()) for phase in scores)
    return [name, ", ".join(found["stopped"]), len(replays), f"{apart:.1e}"]


def captured(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """Steps that a CUDA graph replays give the scores of steps taken one by one, dropout on."""
    # Several batches of a size in each epoch, so that most of them are replayed.
    keys = {"dropout_prob": 0.2, "train_batch_size": 1024, "pretrain_epochs": 2}
    small, until = Options(keys={**keys, **options.keys}), UNTIL["captured"]

    def compared(name: str) -> list:
        return budget.apart(replayed_beside, small, name, device, seconds=budget.left(until))

    names = [name for name in CAPTURED if name in (options.models or CAPTURED)]
    rows = list(budget.each("captured", names, until, compared, needed=5.0))
    claims = [("methods with another score", sum(float(row[3]) > 0 for row in rows), 0, "<=")]
    if device.type == "cuda" and rows:  # nothing is replayed elsewhere
        claims.append(("fewest replays of a method", min(row[2] for row in rows), 1, ">="))
    return {
        "title": "Steps replayed as a CUDA graph, stopped and continued, beside steps one by one",
        "columns": ["method", "stopped in", "replays", "largest difference of a score"],
        "rows": rows, "claims": claims, "notes": [],
    }  # fmt: skip


# ------------------------------------------------------------------------------- fast?
def coarser(device: torch.device) -> tuple[str, ...]:
    """Other values of ``precision`` than float32 that a device has."""
    return ("tf32", "bf16") if device.type == "cuda" else ("bf16",)


def forms(device: torch.device) -> dict[str, dict[str, Any]]:
    """The forms of a step on a device, by name: what the keys are. float32's come first."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("float32", *coarser(device)):
        found[name] = {"precision": name}
        found[f"{name}, replayed"] = {"precision": name, "cuda_graph": True}
    return found


def pretrained(
    options: Options, size: int, where: torch.device, keys: Mapping[str, Any], seconds: float
) -> tuple[float, float, float]:
    """Milliseconds of a step of pre-training, peak MiB, and the share of the time it is busy."""

    def method() -> Any:
        own = {"train_batch_size": size, "pretrain_epochs": 1000, "device": str(where), **keys}
        return common.method_of(options, **own)

    peak_mb(where)
    took, peak = step_time(method(), "pretrain", seconds), peak_mb(where)
    return took, peak, busy(method(), "pretrain", 1.0)


def pretraining(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """Rows a second of pre-training, by batch size and form, beside one CPU thread at 2,048."""
    seconds = 1.0 if options.batches < 60 else 3.0
    sizes = (256, 1024) if options.batches < 60 else (2048, 16384)
    until = UNTIL["pretraining"]

    def beside(size: int) -> list:
        own = {"train_batch_size": size, "pretrain_epochs": 1000, "device": str(CPU)}
        took = step_time(common.method_of(options, **own), "pretrain", seconds)
        return ["one CPU thread", size, round(took, 2), round(1000 * size / took), 1.0, "-", "-"]

    rows = list(budget.each("pretraining, one CPU thread", sizes[:1], until, beside))
    plain = rows[0][3] if rows else float("nan")  # which meets no claim

    def measured(asked: tuple[int, str]) -> list:
        size, form = asked
        given = pretrained, options, size, device, forms(device)[form], seconds
        if "replayed" in form:
            took, peak, share = budget.apart(*given, seconds=budget.left(until))
        else:
            took, peak, share = given[0](*given[1:])
        speed = 1000 * size / took
        return [f"card, {form}", size, round(took, 2), round(speed), round(speed / plain, 1),
                round(share, 2), round(peak)]  # fmt: skip

    # float32 first, and of it the largest batch, which claims are made of.
    exact, others = list(forms(device))[:2], list(forms(device))[2:]
    asked = [(size, form) for size in reversed(sizes) for form in exact]
    asked += [(sizes[-1], form) for form in others]
    found = list(budget.each("pretraining", asked, until, measured, needed=4.0))
    rows += sorted(found, key=lambda row: row[1])
    largest = [row for row in found if row[1] == sizes[-1]]
    # Of the quickest form; the numbers of float32 are those of float32 replayed.
    quickest = [row for row in largest if row[0].startswith("card, float32")]
    best = max(quickest, key=lambda row: row[3], default=None)
    claims = [] if best is None else [
        ("rows/s at the largest batch to one CPU thread", best[4], 20, ">="),
        ("share of the time that the card is busy there", best[5], 0.6, ">="),
    ]  # fmt: skip
    return {
        "title": f"Pre-training DeepFM on {options.dataset}",
        "columns": ["where", "batch", "ms a step", "rows/s", "to one CPU thread", "busy",
                    "peak MiB"],
        "rows": rows, "claims": claims,
        "notes": ["Claims are held against the quicker of float32's two forms."],
    }  # fmt: skip


def learning(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """An optimizer step of every method's learning, beside one CPU thread."""
    seconds = 0.5 if options.batches < 60 else 2.0

    def measured(name: str) -> list | None:
        method = common.method_of(options, name, device=str(device))
        if not method.learn_fits():
            return None
        peak_mb(device)
        there = step_time(method, "learn", seconds)
        peak = peak_mb(device)
        here = step_time(common.method_of(options, name), "learn", seconds)
        return [name, round(here, 2), round(there, 2), round(here / there, 1), round(peak)]

    names = options.models or ["EmerG", *(each for each in every_method() if each != "EmerG")]
    rows = list(budget.each("learning", names, UNTIL["learning"], measured))
    return {
        "title": f"An optimizer step of learning on {options.dataset}, untrained backbone",
        "columns": ["method", "one CPU thread, ms", "card, ms", "times as fast", "peak MiB"],
        "rows": rows,
        "claims": [("EmerG: times as fast", row[3], 30, ">=") for row in rows if row[0] == "EmerG"],
        "notes": ["Of a method that learns in several stretches, a step of the first one."],
    }  # fmt: skip


def precision(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """What coarser products cost in AUC: one seed on ml-100k, dropout off."""
    small = Options(keys=options.keys)

    def compared(name: str) -> list:
        exact = run_whole(small, name, device)["AUC"]
        row = [name, round(exact["cold"], 4)]
        for coarse in coarser(device):
            found = run_whole(small, name, device, precision=coarse)["AUC"]
            row += [round(found["cold"], 4), f"{max(exact[p] - found[p] for p in exact):.1e}"]
        return row

    names = [name for name in PRECISE if name in (options.models or PRECISE)]
    return {
        "title": "What coarser products cost, one seed on ml-100k, dropout off",
        "columns": ["method", "AUC cold, float32",
                    *(f"{coarse}{text}" for coarse in coarser(device)
                      for text in ("", ": largest loss of a phase"))],
        "rows": list(budget.each("precision", names, UNTIL["precision"], compared)),
        "claims": [], "notes": [],
    }  # fmt: skip


def together(name: str, stage: str, number: int, options: Options, seconds: float,
             keys: Mapping[str, Any], limit: float) -> float:  # fmt: skip
    """Optimizer steps a second of so many processes in all, counted while all of them train.

    Raises:
        Late: not all had counted after ``limit`` seconds; they are ended then.
    """
    own = {field: getattr(options, field) for field in ("dataset", "data_path", "batches")}
    if options.data_path is not None:
        own["data_path"] = str(Path(options.data_path).resolve())  # they start in another folder
    words = json.dumps({"name": name, "stage": stage, "seconds": seconds, "keys": dict(keys),
                        "options": {**own, "keys": dict(options.keys)}})  # fmt: skip
    pipe, late = subprocess.PIPE, threading.Event()
    begun: list[subprocess.Popen] = []

    def kill() -> None:
        for each in begun:
            each.kill()

    def end() -> None:
        late.set()
        kill()

    def line_of(each: subprocess.Popen, error: Any) -> str:
        line = each.stdout.readline().strip()  # type: ignore[union-attr]
        if late.is_set():
            raise Late
        if not line:
            each.wait()
            error.seek(0)
            last = error.read().strip().splitlines()[-1:]
            raise RuntimeError(f"a trial ended: {' '.join(last)[:300]}")
        return line

    with ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(number)]
        for error in errors:
            each = subprocess.Popen(
                [*TRIAL, words], stdin=pipe, stdout=pipe, stderr=error, text=True, cwd=HERE.parent
            )
            begun.append(stack.enter_context(each))
        stack.callback(kill)  # whoever waits for the others
        timer = threading.Timer(max(limit, 0.0), end)
        timer.start()
        stack.callback(timer.cancel)
        both = list(zip(begun, errors, strict=True))
        for each, error in both:
            while line_of(each, error) != "ready":
                pass  # libraries may have something to say
        for each in begun:
            with suppress(BrokenPipeError):  # one that ended meanwhile is told of below
                os.write(each.stdin.fileno(), b"go\n")  # type: ignore[union-attr]
        return sum(float(line_of(each, error)) for each, error in both)


def trials(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """Several processes on one device: what all of them get done, beside one."""
    small, until = options.batches < 60, UNTIL["trials"]
    alone: dict[str, float] = {}

    def measured(asked: tuple[str, int]) -> list:
        name, number = asked
        stage, _ = TRIALS[name]
        keys = {"device": str(device), "pretrain_epochs": 1000}
        seconds = 0.5 if small else 3.0
        rate = together(name, stage, number, options, seconds, keys, budget.left(until))
        if number == 1:
            alone[name] = rate
        to_one = round(rate / alone.get(name, float("nan")), 2)
        return [f"{name}, {stage}", number, round(rate, 1), to_one]

    asked = [
        (name, number)
        for name, (_, numbers) in TRIALS.items()
        if name in (options.models or TRIALS)
        for number in ((1, 2) if small else numbers)
    ]
    return {
        "title": f"Trials side by side on {options.dataset}: optimizer steps a second in all",
        "columns": ["what", "processes", "steps/s", "to one"],
        "rows": list(budget.each("trials", asked, until, measured, needed=5.0)),
        "claims": [], "notes": ["Plain processes, without NVIDIA's MPS; what --gpus_per_trial "
                                "makes of a card."],
    }  # fmt: skip


def taobao(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """Pre-training on generated Taobao: 5.3 million rows, a fifth of the real one's."""
    from recbole_cold.cli import main
    from recbole_cold.testing.big import generate

    small = options.batches < 60
    scale, needed = (0.0005, 0.0) if small else (0.2, 150.0)
    rule = {"cold_threshold": 200, "warm_size": 20} if small else {}

    def measured(size: int) -> list:
        with tempfile.TemporaryDirectory() as folder:
            made, _ = generate("taobao-ad", Path(folder), scale)
            assert main(["convert", "taobao-ad", str(made), f"--data_path={folder}"]) == 0
            keys = {**options.keys, **rule, "cache_dir": f"{folder}/cache"}
            own = Options("taobao-ad", folder, batches=options.batches, keys=keys)
            peak_mb(device)
            keys = {"train_batch_size": size, "pretrain_epochs": 1000, "device": str(device)}
            method = common.method_of(own, **keys)
            took = step_time(method, "pretrain", 0.5 if small else 5.0)
            row = [f"scale {scale:g}", len(method.train_index), size, round(took, 2)]
            return [*row, round(1000 * size / took), round(peak_mb(device))]

    sizes = (1024,) if small else (16384,)
    return {
        "title": "Pre-training DeepFM on generated Taobao",
        "columns": ["data", "rows of train", "batch", "ms a step", "rows/s", "peak MiB"],
        "rows": list(budget.each("taobao", sizes, UNTIL["taobao"], measured, needed)),
        "claims": [], "notes": ["Generated data: no score is worth reading."],
    }  # fmt: skip


_ALL = (
    agreement, resumed, captured, pretraining, learning, precision, trials, taobao
)  # fmt: skip
PARTS = {each.__name__: each for each in _ALL}


# ------------------------------------------------------------------------------- what is told
def markdown(found: dict[str, Any]) -> str:
    """The section of the README: every part's table, what was missed, and where it was measured."""
    lines = []
    for part in found["parts"].values():
        columns = part["columns"]
        lines += [f"### {part['title']}", "", "| " + " | ".join(columns) + " |"]
        lines.append("|---" + "|---:" * (len(columns) - 1) + "|")
        for row in part["rows"]:
            cells = (f"{x:,}" if isinstance(x, int | float) else str(x) for x in row)
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        for text, value, limit, sign in part["claims"]:
            met = value <= limit if sign == "<=" else value >= limit
            said = "met" if met else "MISSED"
            lines.append(f"- {text}: {value:g}, wanted {sign} {limit:g}: {said}")
        lines += [*(f"- {note}" for note in part["notes"]), ""]
    lines += [f"- not run, no time: {text}" for text in found["not_run"]]
    lines += [f"- FAILED: {text}" for text in found["failed"]]
    machine = found["machine"]
    lines.append(
        f"- {found['device']}; {machine['processor']}, {machine['cores']} cores, one CPU thread; "
        f"torch {machine['torch']}, {found['created']}, {found['seconds']:.0f} s: "
        f"`{found['command']}`"
    )
    return "\n".join(lines)


def write_readme(path: Path, text: str) -> None:
    """Put a text between the markers of the README."""
    put_between(path, MARKERS, text)


def measure(
    options: Options, device: torch.device, minutes: float, parts: Sequence[str], command: str,
    told: Callable[[dict[str, Any]], None] = lambda found: None,
) -> dict[str, Any]:  # fmt: skip
    """Every part that there is time for; ``told`` gets all there is after each of them."""
    budget = Budget(minutes)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no card: the CPU"
    found: dict[str, Any] = {
        "device": name, "machine": common.machine(), "command": command,
        "created": datetime.now().astimezone().isoformat(timespec="minutes"), "parts": {},
    }  # fmt: skip
    for part in parts:
        try:
            found["parts"][part] = PARTS[part](budget, options, device)
        finally:
            budget.apart.close()
        found |= {"not_run": budget.not_run, "failed": budget.failed}
        found["seconds"] = budget.seconds - budget.left()
        told(found)
    return found


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.py", description=__doc__)
    parser.add_argument("--data_path", help="folder above ml-1m/; without it: ml-100k")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the code")
    parser.add_argument("--quick", action="store_true", help="ml-100k, a few steps, small batches")
    parser.add_argument("--models", help="some methods, not all")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--results", type=Path, default=HERE / "gpu.json")
    asked = parser.parse_args(argv)
    asked.parts = asked.parts.split(",")
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch finds no card here; --device=cpu --quick tries the code")
    asked.whole = (
        asked.device.startswith("cuda") and asked.results == HERE / "gpu.json"
        and set(asked.parts) == set(PARTS) and not asked.quick and asked.models is None
    )  # fmt: skip
    if not asked.whole and asked.results == HERE / "gpu.json":
        asked.results = None  # the README has a section of these figures, or neither is there
    return asked


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    asked = arguments(words)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    device = torch.device(asked.device)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
    small = asked.quick or asked.data_path is None
    some = ("Base", "MWUF") if asked.quick else ()
    options = Options(
        dataset="ml-100k" if small else "ml-1m",
        data_path=None if small else asked.data_path,
        full=True,
        batches=2 if asked.quick else 60,
        models=tuple(asked.models.split(",")) if asked.models else some,
    )

    def told(found: dict[str, Any]) -> None:
        if asked.results is not None:
            asked.results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    command = shlex.join(["python", "benchmarks/gpu.py", *words])
    found = measure(options, device, asked.minutes, asked.parts, command, told)
    text = markdown(found)
    print(text)
    if asked.whole:
        write_readme(HERE / "README.md", text)
        print("\nbenchmarks/README.md has these tables; what is now to be said in another way:")
        for path, sentences in UNTRUE.items():
            print("\n".join(f"  {path}: {sentence!r}" for sentence in sentences))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
