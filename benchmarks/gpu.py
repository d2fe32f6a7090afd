"""One session on one card: is it right, and how fast is it beside one CPU thread of this machine?

    python benchmarks/gpu.py --data_path=../shared/data            # eight minutes
    python benchmarks/gpu.py --device=cpu --quick                  # the same code where no card is

Parts are taken in the order of their importance, each within its share of the minutes; what did not
fit is listed as not run. Figures of a card go to ``benchmarks/gpu.json`` after every part, and its
tables into ``benchmarks/README.md``, under its name: those of a whole session, with no choice of
parts, methods or ``--results``, and not with ``--quick``.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
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
from recbole_cold.errors import Interrupted, UserError  # noqa: E402
from recbole_cold.keys import ROWS  # noqa: E402
from recbole_cold.training.callbacks import Callback  # noqa: E402
from recbole_cold.training.trainer import Trainer  # noqa: E402

MARKERS = "<!-- gpu -->", "<!-- end of gpu -->"
NOT_RUN = (
    "**Nothing was ever run on a card.** What is said of GPUs is read off the code and tested on a "
    "CPU with devices that are not there ([docs/gpu.md](../docs/gpu.md)). "
    "`python benchmarks/gpu.py --data_path=../shared/data` fills this section in eight minutes."
)
# What stops being true with the first figures, and where it is said.
UNTRUE = {
    "docs/gpu.md": "Nothing of this was ever run on a card.",
    "README.md": "what was never measured",
    "recbole_cold/device.py": "those of a card are not: none was at hand.",
    "properties/overall.yaml": "not measured yet.",
}
# Largest difference of an AUC between CPU and card, one seed, without dropout.
CLOSE = 0.002
FIRST = 5  # optimizer steps before the clock runs: libraries start, kernels are chosen
RESUMED = ("Base", "MWUF", "EmerG")
CAPTURED = ("Base", "DropoutNet", "MetaE")  # have steps that a CUDA graph replays
COARSER = ("tf32", "bf16") if "precision" in ROWS else ()
PRECISE = ("Base", "MWUF")  # of which it is told what they cost
# Trials that share a card: the stage whose steps are counted, and how many at once.
TRIALS = {"Base": ("pretrain", (1, 2, 4)), "MWUF": ("learn", (1, 4))}
CPU = torch.device("cpu")


# ------------------------------------------------------------------------------- the clock
class Budget:
    """Minutes of the session, and of each part.

    Attributes:
        not_run: what did not fit, as texts.
        failed: what raised.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds, self.began = 60 * minutes, time.perf_counter()
        self.not_run: list[str] = []
        self.failed: list[str] = []

    def left(self, until: float = 1.0) -> float:
        """Seconds until so large a share of the session is over."""
        return until * self.seconds - (time.perf_counter() - self.began)

    def each(
        self, part: str, items: Sequence[Any], until: float, work: Callable[[Any], list | None]
    ) -> Iterator[list]:
        """The rows of a part: what ``work`` gives for each item that there is time for."""
        for item in items:
            if self.left(until) <= 0:
                self.not_run.append(f"{part}: {item}")
                continue
            try:
                row = work(item)
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
    rows = list(budget.each("agreement", names, 0.35, compared))
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
    rows = list(budget.each("resumed", names, 0.45, compared))
    return {
        "title": "Stopped once seven steps of a stage were done and continued on the same device",
        "columns": ["method", "stopped in", "largest difference of a score"],
        "rows": rows,
        "claims": [("methods with another score", sum(float(row[2]) > 0 for row in rows), 0, "<=")],
        "notes": [],
    }


def captured(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """Steps that a CUDA graph replays give the scores of steps taken one by one, dropout on."""
    # Several batches of a size in each epoch, so that most of them are replayed.
    keys = {"dropout_prob": 0.2, "train_batch_size": 1024, "pretrain_epochs": 2}
    small = Options(keys={**keys, **options.keys})

    def compared(name: str) -> list:
        own = dict(small.keys)  # a run's own keys come last
        whole = run_whole(small, name, device, **own)
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder) / "state.pt"
            found = run_whole(small, name, device, state, 7, **own, cuda_graph=True)
        scores, others = whole["scores"], found["scores"]
        apart = max(float((scores[phase] - others[phase]).abs().max()) for phase in scores)
        return [name, ", ".join(found["stopped"]), f"{apart:.1e}"]

    names = [name for name in CAPTURED if name in (options.models or CAPTURED)]
    rows = list(budget.each("captured", names, 0.5, compared))
    return {
        "title": "Steps replayed as a CUDA graph, stopped and continued, beside steps one by one",
        "columns": ["method", "stopped in", "largest difference of a score"],
        "rows": rows,
        "claims": [("methods with another score", sum(float(row[2]) > 0 for row in rows), 0, "<=")],
        "notes": [],
    }


# ------------------------------------------------------------------------------- fast?
def forms() -> dict[str, dict[str, Any]]:
    """The forms of a step on a card, by name: what the keys are."""
    plain = {"float32": {}, **{name: {"precision": name} for name in COARSER}}
    replayed = {f"{name}, replayed": {**keys, "cuda_graph": True} for name, keys in plain.items()}
    return {**plain, **replayed}


def pretraining(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """Rows a second of pre-training, by batch size and form, beside one CPU thread at 2,048."""
    seconds = 1.0 if options.batches < 60 else 3.0

    def method(size: int, where: torch.device, keys: Mapping[str, Any]) -> Any:
        own = {"train_batch_size": size, "pretrain_epochs": 1000, "device": str(where), **keys}
        return common.method_of(options, **own)

    def rate(size: int, where: torch.device, keys: Mapping[str, Any]) -> tuple[float, float, float]:
        peak_mb(where)
        took = step_time(method(size, where, keys), "pretrain", seconds)
        return 1000 * size / took, took, peak_mb(where)

    sizes = (256, 1024) if options.batches < 60 else (2048, 16384)

    def beside(size: int) -> list:
        speed, took, _ = rate(size, CPU, {})
        return ["one CPU thread", size, round(took, 2), round(speed), 1.0, "-", "-"]

    rows = list(budget.each("pretraining, one CPU thread", sizes[:1], 0.7, beside))
    plain = rows[0][3] if rows else float("nan")  # which meets no claim

    def measured(asked: tuple[int, str]) -> list:
        size, form = asked
        speed, took, peak = rate(size, device, forms()[form])
        share = busy(method(size, device, forms()[form]), "pretrain", 1.0)
        return [f"card, {form}", size, round(took, 2), round(speed), round(speed / plain, 1),
                round(share, 2), round(peak)]  # fmt: skip

    # The largest batch first, which claims are made of.
    asked = [(size, form) for size in reversed(sizes) for form in forms()]
    found = list(budget.each("pretraining", asked, 0.7, measured))
    rows += sorted(found, key=lambda row: row[1])
    largest = [row for row in found if row[1] == sizes[-1]]
    # Of the quickest form; the numbers of float32 are those of float32 replayed.
    exact = [row for row in largest if row[0].startswith("card, float32")]
    best = max(exact, key=lambda row: row[3], default=None)
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
    rows = list(budget.each("learning", names, 0.85, measured))
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
        for coarse in COARSER:
            found = run_whole(small, name, device, precision=coarse)["AUC"]
            row += [round(found["cold"], 4), f"{max(exact[p] - found[p] for p in exact):.1e}"]
        return row

    names = [name for name in PRECISE if name in (options.models or PRECISE)]
    return {
        "title": "What coarser products cost, one seed on ml-100k, dropout off",
        "columns": ["method", "AUC cold, float32",
                    *(f"{coarse}{text}" for coarse in COARSER
                      for text in ("", ": largest loss of a phase"))],
        "rows": list(budget.each("precision", names if COARSER else [], 0.9, compared)),
        "claims": [], "notes": [] if COARSER else ["There is no key for it yet."],
    }  # fmt: skip


def together(name: str, stage: str, number: int, options: Options, seconds: float,
             keys: Mapping[str, Any]) -> float:  # fmt: skip
    """Optimizer steps a second of so many processes in all, counted while all of them train."""
    own = {field: getattr(options, field) for field in ("dataset", "data_path", "batches")}
    words = json.dumps({"name": name, "stage": stage, "seconds": seconds, "keys": dict(keys),
                        "options": {**own, "keys": dict(options.keys)}})  # fmt: skip
    command = [sys.executable, "-m", "benchmarks._trial", words]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(number)]
        begun = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=pipe, stdout=pipe, stderr=error, text=True, cwd=HERE.parent
                )
            )
            for error in errors
        ]
        stack.callback(lambda: [each.kill() for each in begun])  # whoever waits for the others
        for each, error in zip(begun, errors, strict=True):
            if each.stdout.readline().strip() != "ready":
                error.seek(0)
                last = error.read().strip().splitlines()[-1:]
                raise RuntimeError(f"a trial ended: {' '.join(last)[:300]}")
        for each in begun:
            each.stdin.write("go\n")
            each.stdin.flush()
        return sum(float(each.stdout.readline()) for each in begun)


def trials(budget: Budget, options: Options, device: torch.device) -> dict[str, Any]:
    """Several processes on one device: what all of them get done, beside one."""
    small = options.batches < 60
    alone: dict[str, float] = {}

    def measured(asked: tuple[str, int]) -> list:
        name, number = asked
        stage, _ = TRIALS[name]
        keys = {"device": str(device), "pretrain_epochs": 1000}
        rate = together(name, stage, number, options, 0.5 if small else 3.0, keys)
        alone.setdefault(name, rate)
        return [f"{name}, {stage}", number, round(rate, 1), round(rate / alone[name], 2)]

    asked = [
        (name, number)
        for name, (_, numbers) in TRIALS.items()
        if name in (options.models or TRIALS)
        for number in ((1, 2) if small else numbers)
    ]
    return {
        "title": f"Trials side by side on {options.dataset}: optimizer steps a second in all",
        "columns": ["what", "processes", "steps/s", "to one"],
        "rows": list(budget.each("trials", asked, 0.97, measured)),
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

    def measured(size: int) -> list | None:
        if budget.left() < needed:
            raise UserError(f"{needed:g} seconds are needed to generate and read it")
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
        "rows": list(budget.each("taobao", sizes, 1.0, measured)),
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
        found["parts"][part] = PARTS[part](budget, options, device)
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
        print("\n".join(f"  {path}: {sentence!r}" for path, sentence in UNTRUE.items()))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
