"""Three verbs over any method: pretrain, learn, warm_up; each resumes where it was stopped.

A run of one seed is a row of stages. After each one, and every ``checkpoint_seconds`` within one,
the whole state goes to one file: parameters, optimizers, position, random state and the journal of
what is done. Stages seed themselves, so a skipped or cached stage changes no later draw.
"""

import fcntl
import json
import logging
import math
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from recbole_cold import seeding
from recbole_cold.errors import Diverged, UserError
from recbole_cold.evaluator import evaluate, score_warnings
from recbole_cold.model._base import ColdStartRecommender, Fit, Step
from recbole_cold.rows import Batch
from recbole_cold.store import DamagedFile, load_state, save_state

logger = logging.getLogger(__name__)

# Dense Adam costs 50 ms a step at a million rows of 16 numbers, lazy Adam 13 ms; below a few
# hundred thousand rows dense is the faster one.
_LAZY_FROM_ROWS = 500_000
_FINITE_EVERY = 50


class Interrupted(Exception):
    """The user stopped the run; its state is on disk."""


class Watch:
    """Is told how a run goes on; this one does nothing with it."""

    wants_epochs = False

    def step(self) -> None:
        """A batch was used."""

    def epoch(self, number: int, metrics: dict[str, float]) -> None:
        """A pre-training epoch ended; ``metrics`` are the plain backbone's in the cold phase."""


class Meter:
    """Seconds, CPU seconds and peak memory of one stage, continued after a resume."""

    def __init__(self, earlier: dict[str, float] | None = None) -> None:
        self.earlier = earlier or {}
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        with suppress(OSError):  # Linux: restart the peak of this process
            Path("/proc/self/clear_refs").write_text("5")
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def read(self) -> dict[str, float]:
        """Figures since the stage began: seconds, CPU seconds, MiB."""
        return {
            "seconds": self.earlier.get("seconds", 0.0) + time.perf_counter() - self.wall,
            "cpu_seconds": self.earlier.get("cpu_seconds", 0.0) + time.process_time() - self.cpu,
            "peak_memory_mb": max(self.earlier.get("peak_memory_mb", 0.0), peak_memory_mb()),
        }


def peak_memory_mb() -> float:
    """Peak resident memory of this process since the last reset, in MiB."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def embedding_weights(module: nn.Module) -> dict[nn.Parameter, nn.Embedding]:
    return {child.weight: child for child in module.modules() if isinstance(child, nn.Embedding)}


class Optimizers:
    """Adam for one step's parameters; big embedding tables get the lazy form.

    The lazy form (``SparseAdam``) moves only rows that occur in the batch. It is not the same
    optimizer as dense Adam, which keeps moving absent rows by their moments; ``name`` says which
    ran.
    """

    def __init__(self, step: Step, method: nn.Module, table_update: str) -> None:
        tables = embedding_weights(method)
        if table_update == "auto" and step.weight_decay:
            table_update = "dense"  # the lazy form has no L2 term
        lazy = [p for p in step.parameters if p in tables and self._is_lazy(p, table_update)]
        if lazy and step.weight_decay:
            raise UserError(
                "table_update: lazy has no L2 term; set weight_decay: 0 or table_update: dense"
            )
        for parameter in lazy:
            tables[parameter].sparse = True
        marks = {id(p) for p in lazy}
        dense = [p for p in step.parameters if id(p) not in marks]
        self.parameters, self.lazy = [*dense, *lazy], lazy
        self.parts: list[torch.optim.Optimizer] = []
        if dense:
            self.parts.append(
                torch.optim.Adam(
                    dense, lr=step.learning_rate, weight_decay=step.weight_decay, fused=True
                )
            )
        if lazy:
            self.parts.append(torch.optim.SparseAdam(lazy, lr=step.learning_rate))
        self.name = "dense Adam" + (f", lazy on {len(lazy)} tables" if lazy else "")

    @staticmethod
    def _is_lazy(parameter: nn.Parameter, table_update: str) -> bool:
        return table_update == "lazy" or (
            table_update == "auto" and parameter.shape[0] >= _LAZY_FROM_ROWS
        )

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        for parameter in self.lazy:
            if parameter.grad is not None and not parameter.grad.is_sparse:
                # The method read the table past its module: rows without gradient are zero.
                parameter.grad = parameter.grad.to_sparse(1)
        for part in self.parts:
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


@contextmanager
def only_moving(method: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Gradients are computed for these parameters and for no others."""
    moving = {id(parameter) for parameter in parameters}
    for parameter in method.parameters():
        parameter.requires_grad_(id(parameter) in moving)
    try:
        yield
    finally:
        for parameter in method.parameters():
            parameter.requires_grad_(True)
            parameter.grad = None


class LossCheck:
    """Stops a fit at the first loss, or part of one, that is no number.

    A CPU's losses are looked at before their gradients are taken; asking a GPU each time would make
    it wait, so its losses are looked at together: every few batches, before anything is saved, and
    at the end.
    """

    def __init__(self, fit: Fit, device: torch.device) -> None:
        self._fit, self._each = fit, device.type == "cpu"
        self._seen: list[tuple[Step, tuple[Tensor, ...], str]] = []

    def see(self, step: Step, parts: tuple[Tensor, ...], where: str) -> None:
        """A loss that was just computed; ``where`` says of which batch."""
        self._seen.append((step, tuple(part.detach().reshape(()) for part in parts), where))
        if self._each or len(self._seen) >= _FINITE_EVERY:
            self.look()

    def look(self) -> None:
        """Raise ``Diverged`` if a loss seen since the last look is no number."""
        seen, self._seen = self._seen, []
        if not seen:
            return
        known = torch.stack([part for _, parts, _ in seen for part in parts]).isfinite()
        if bool(known.all()):
            return
        first = int(torch.nonzero(~known)[0])
        for step, parts, where in seen:
            if first < len(parts):
                name = f" '{step.names[first]}'" if len(step.names) == len(parts) else ""
                raise Diverged(
                    f"the loss{name} of '{self._fit.name}' is {parts[first].item()} in {where}; "
                    "try a smaller learning rate"
                )
            first -= len(parts)

    def look_at_all(self) -> None:
        """The same, and whether what the fit moves are numbers still: what is saved can be used."""
        self.look()
        for number, step in enumerate(self._fit.steps):
            if not all(bool(parameter.isfinite().all()) for parameter in step.parameters):
                which = f"step {number + 1} of " if len(self._fit.steps) > 1 else ""
                raise Diverged(
                    f"{which}'{self._fit.name}' made parameters that are no numbers, of a loss "
                    "that is one; try a smaller learning rate"
                )


def share_budget(budget: int, fits: Sequence[Fit]) -> list[int]:
    """``budget`` optimizer steps over fits, in proportion to what each would take by itself.

    Parts are rounded down to whole batches' worth of steps, but no fit that has something to learn
    on goes without while there is room; what is left goes to the largest.
    """
    own = [fit.optimizer_steps for fit in fits]
    if not any(own):
        return own
    shares = [
        budget * steps // sum(own) // len(fit.steps) * len(fit.steps)
        for steps, fit in zip(own, fits, strict=True)
    ]
    widths = [len(fit.steps) if steps else 0 for steps, fit in zip(own, fits, strict=True)]
    if sum(widths) <= budget:
        shares = [max(share, width) for share, width in zip(shares, widths, strict=True)]
    largest = own.index(max(own))
    width = len(fits[largest].steps)
    shares[largest] += (budget - sum(shares)) // width * width
    return shares


class Trainer:
    """Trains and scores one method for one seed.

    Args:
        method: the method, freshly built.
        seed: of this run.
        state_path: the file for resume points; ``None`` keeps none.
        cache: finds and keeps pre-trained backbones; ``None`` trains always.
        stop: asked between batches; true means save and raise ``Interrupted``.
        watch: told of steps and of pre-training epochs.
        probe: rows that the plain backbone is scored on after each pre-training epoch, for the
            watch; ``None``: epochs are not told.
    """

    def __init__(
        self,
        method: ColdStartRecommender,
        seed: int,
        state_path: Path | None = None,
        cache: "BackboneCache | None" = None,
        stop: Callable[[], bool] = lambda: False,
        watch: Watch | None = None,
        probe: Any = None,
    ) -> None:
        self.method, self.config, self.seed = method, method.config, seed
        self.watch, self.probe = watch or Watch(), probe
        shared = self.config["pretrain_seed"]
        self.pretrain_seed = seed if shared is None else shared
        self.state_path, self.cache, self.stop = state_path, cache, stop
        self.journal: dict[str, Any] = {"stages": [], "results": {}}
        self._pending: dict[str, Any] | None = None
        self._kept: dict[str, list[Any]] = {}
        self._saved_at = time.monotonic()

    # ---------------------------------------------------------------- verbs
    def pretrain(self) -> None:
        """Train the backbone on ``train``, or take it from the cache."""
        if self._is_done("pretrain"):
            return
        if self.cache is None or not self.method.pretrain_fits():
            self._stage("pretrain", self.method.pretrain_fits)
            return
        meter = Meter()
        with self.cache.turn(self.method, self.pretrain_seed, self.stop):
            known = self.cache.load(self.method, self.pretrain_seed)
            if known is not None:
                self._record("pretrain", meter, known, cached=True)
                return
            record = self._stage("pretrain", self.method.pretrain_fits)
            self.cache.save(self.method, self.pretrain_seed, record)

    def learn(self) -> None:
        """Learn from old items, then give the new items their cold rows."""
        if not self._is_done("learn"):
            self._stage(
                "learn", self.method.learn_fits, self.method.begin_learn, self.method.enter_cold
            )

    def warm_up(self, name: str, rows: Any) -> None:
        """Let the method see a warm-up set, then learn what it declares from it."""
        if self._is_done(name):
            return
        index = self.method.rows.index(rows)
        if len(index) == 0:
            self._record(name, Meter(), {"steps": 0, "rows": 0})
            return
        self._stage(
            name,
            lambda: self.method.warm_fits(index),
            lambda: self.method.observe(index),
            budget=self.config["warm_steps"],
        )

    def evaluate(self, name: str, rows: Any) -> dict[str, Any]:
        """Metrics, counts and warnings of the method on ``rows``; remembered in the journal."""
        if name in self.journal["results"]:
            return self.journal["results"][name]
        index = self.method.rows.index(rows)
        labels = self._labels(index)
        result: dict[str, Any] = {"rows": len(index), "positives": int(labels.sum())}
        scores = self.score(index)
        metrics = [name for name in self.config["metrics"] if name != "RelaImpr"]
        values = (
            evaluate(scores, labels, metrics, self.config["f1_threshold"])
            if len(index)
            else dict.fromkeys(metrics, math.nan)
        )
        result |= {"metrics": values, "warnings": score_warnings(scores, labels, values)}
        if ("cold" if name == "cold" else "warm") not in self.method.serves:
            result["unadapted"] = True
        self.journal["results"][name] = result
        self._save()
        return result

    def _labels(self, index: Tensor) -> Tensor:
        return self.method.rows.columns[self.method.label_field][index]

    def score(self, index: Tensor) -> Tensor:
        """Click probabilities of the rows ``index``, in one pre-allocated tensor."""
        return self._score(index, self.method.predict)

    @torch.no_grad()
    def _score(self, index: Tensor, predict: Callable[[Batch], Tensor]) -> Tensor:
        self.method.set_mode("evaluate")
        scores = torch.empty(len(index), device=index.device)
        size = self.config["eval_batch_size"]
        with self.method.backbone.frozen_tables():
            for start in range(0, len(index), size):
                batch = self.method.rows.batch(index[start : start + size])
                scores[start : start + size] = predict(batch)
        return scores

    def _plain_cold_metrics(self) -> dict[str, float]:
        """What the backbone as it is now gives ``probe``, its items without a row of their own."""
        method, plain = self.method, ColdStartRecommender
        with torch.no_grad():
            new_rows, first = plain.cold_rows(method), plain.cold_first_order(method)

        def predict(batch: Batch) -> Tensor:
            vector = new_rows[method.slot[batch[method.id_field]]]
            weight = first.expand(len(vector), 1) if method.backbone.has_first_order else None
            return torch.sigmoid(method.backbone.logits(batch, vector, weight))

        index = method.rows.index(self.probe)
        scores = self._score(index, predict)
        metrics = [name for name in self.config["metrics"] if name != "RelaImpr"]
        return evaluate(scores, self._labels(index), metrics, self.config["f1_threshold"])

    # ---------------------------------------------------------------- stages
    def _is_done(self, name: str) -> bool:
        return any(stage["name"] == name for stage in self.journal["stages"])

    def _record(self, name: str, meter: Meter, counts: dict, cached: bool = False) -> dict:
        record = {"name": name, **counts, **meter.read(), "cached": cached}
        self.journal["stages"].append(record)
        self._pending = None
        self._save()
        return record

    def _stage(
        self,
        name: str,
        fits: Callable[[], Sequence[Fit]],
        begin: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
        budget: int | None = None,
    ) -> dict[str, Any]:
        pending = self._pending if self._pending and self._pending["stage"] == name else None
        meter = Meter(pending and pending["meter"])
        if pending is None:
            begin()
        planned = list(fits())
        limits = (
            [fit.optimizer_steps for fit in planned]
            if budget is None
            else share_budget(budget, planned)
        )
        counts = dict(pending["counts"]) if pending else {"steps": 0, "rows": 0}
        for number, (fit, limit) in enumerate(zip(planned, limits, strict=True)):
            if pending and number < pending["fit"]:
                continue
            try:
                self._fit(name, number, fit, limit, counts, meter, pending)
            except Diverged as error:
                if self.state_path is None or not self.state_path.exists():
                    raise
                raise Diverged(f"{error}; the last good state is '{self.state_path}'") from error
            pending = None
            if fit.after is not None:
                fit.after()
        end()
        return self._record(name, meter, counts)

    def _fit(
        self,
        stage: str,
        number: int,
        fit: Fit,
        limit: int,
        counts: dict[str, Any],
        meter: Meter,
        pending: dict[str, Any] | None,
    ) -> None:
        seed = self.pretrain_seed if stage == "pretrain" else self.seed
        method = self.method
        optimizers = [Optimizers(step, method, self.config["table_update"]) for step in fit.steps]
        counts["optimizer"] = optimizers[0].name if optimizers else ""
        moving = [parameter for step in fit.steps for parameter in step.parameters]
        backbone_ids = {id(parameter) for parameter in method.backbone.parameters()}
        frozen = not any(id(parameter) in backbone_ids for parameter in moving)
        position = {"epoch": 0, "batch": 0, "taken": 0}
        if pending and pending["fit"] == number and pending["optimizers"]:
            position = dict(pending["position"])
            for optimizer, state in zip(optimizers, pending["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            seeding.restore_layers(pending["rng"])
        else:
            for optimizer, state in zip(
                optimizers, self._kept.get(fit.keep or "", ()), strict=False
            ):
                optimizer.load_state_dict(state)
            seeding.seed_layers(seed, stage, number, fit.name)
        bar = tqdm(
            total=limit,
            initial=position["taken"],
            desc=f"{stage:>9} {fit.name}",
            unit="step",
            leave=False,
            disable=not self.config["show_progress"],
        )
        method.set_mode(fit.mode)
        check = LossCheck(fit, method.device)
        tables = method.backbone.frozen_tables() if frozen else nullcontext()
        with only_moving(method, moving), tables, bar:
            while position["taken"] < limit:
                shuffle = seeding.generator(seed, stage, number, fit.name, position["epoch"])
                batches = fit.batches.epoch(shuffle, position["epoch"], position["batch"])
                for batch in batches:
                    allowance = limit - position["taken"]
                    taken = self._use(fit, batch, optimizers, allowance, position, check)
                    position["taken"] += taken
                    position["batch"] += 1
                    counts["steps"] += taken
                    counts["rows"] += len(batch) * (taken // len(fit.steps))
                    bar.update(taken)
                    self.watch.step()
                    self._checkpoint(stage, number, optimizers, position, counts, meter, check)
                    if position["taken"] >= limit:
                        break
                position = {**position, "epoch": position["epoch"] + 1, "batch": 0}
                if stage == "pretrain" and self.probe is not None:
                    self.watch.epoch(position["epoch"], self._plain_cold_metrics())
                    method.set_mode(fit.mode)
            check.look_at_all()
        if fit.keep is not None:
            self._kept[fit.keep] = [optimizer.state_dict() for optimizer in optimizers]

    def _use(
        self,
        fit: Fit,
        batch: Any,
        optimizers: Sequence[Optimizers],
        allowance: int,
        position: dict[str, int],
        check: LossCheck,
    ) -> int:
        """Every step on one batch, ``repeats`` times in a row; optimizer steps taken."""
        taken = 0
        for _ in range(fit.repeats):
            if taken >= allowance:
                break
            for number, (step, optimizer) in enumerate(zip(fit.steps, optimizers, strict=True)):
                optimizer.zero_grad()
                found = step.loss(batch)
                parts = found if isinstance(found, tuple) else (found,)
                check.see(
                    step,
                    parts,
                    f"epoch {position['epoch']}, batch {position['batch']}, optimizer step "
                    f"{position['taken'] + taken + number + 1}",
                )
                sum(parts[1:], parts[0]).backward()
                optimizer.step()
            taken += len(fit.steps)
        return taken

    # ---------------------------------------------------------------- resume points
    def _checkpoint(
        self,
        stage: str,
        number: int,
        optimizers: Sequence[Optimizers],
        position: dict[str, int],
        counts: dict[str, Any],
        meter: Meter,
        check: LossCheck,
    ) -> None:
        stopping = self.stop()
        due = time.monotonic() - self._saved_at >= self.config["checkpoint_seconds"]
        if self.state_path is None or not (due or stopping):
            if stopping:
                raise Interrupted
            return
        check.look_at_all()  # what was saved before stays, if this is no longer good
        self._pending = {
            "stage": stage,
            "fit": number,
            "position": dict(position),
            "counts": dict(counts),
            "meter": meter.read(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "rng": seeding.layer_state(),
        }
        self._save()
        self._pending = None
        if stopping:
            raise Interrupted

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self.state_path is None:
            return
        state = {
            "journal": json.dumps(self.journal),
            "method": self.method.state_dict(),
            "pending": self._pending,
            "kept": self._kept,
        }
        save_state(self.state_path, state)

    def resume(self) -> bool:
        """Continue from the state file, if there is one; a damaged file starts the seed again."""
        if self.state_path is None or not self.state_path.exists():
            return False
        try:
            state = load_state(self.state_path, self.method.device)
        except DamagedFile as problem:
            logger.warning("%s; this seed starts again from the beginning", problem)
            return False
        try:
            self.method.load_state_dict(state["method"])
        except RuntimeError as error:
            raise UserError(
                f"'{self.state_path}' was written by other code or for other data; delete it to "
                "start this seed again"
            ) from error
        self.method.restored()
        self.journal = json.loads(state["journal"])
        self._pending = state["pending"]
        self._kept = state.get("kept", {})
        return True


class BackboneCache:
    """Pre-trained backbones by content: equal data, split, configuration and seed share one.

    Args:
        folder: where the files are.
        key: of a method and a seed, everything that determines pre-training.
    """

    def __init__(self, folder: Path, key: Callable[[ColdStartRecommender, int], str]) -> None:
        self.folder, self.key = folder, key

    def _path(self, method: ColdStartRecommender, seed: int) -> Path:
        return self.folder / f"{self.key(method, seed)}.pt"

    def load(self, method: ColdStartRecommender, seed: int) -> dict[str, Any] | None:
        """Put the cached backbone into ``method``; its steps and rows, or ``None`` if unknown."""
        path = self._path(method, seed)
        if not path.exists():
            return None
        try:
            state = load_state(path, method.device)
        except DamagedFile as problem:
            logger.warning("%s; the backbone is trained again", problem)
            return None
        method.backbone.load_state_dict(state["backbone"])
        return json.loads(state["record"])

    @contextmanager
    def turn(
        self, method: ColdStartRecommender, seed: int, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """While open, no other process makes this backbone: who comes second waits, then reads it.

        The system frees the place of a process that dies. Without locks (a read-only cache, some
        network file systems) everybody trains for himself, as the last resort.

        Raises:
            Interrupted: ``stop`` was asked for while waiting.
        """
        path = self._path(method, seed)
        with ExitStack() as held:
            if not path.exists():
                with suppress(OSError):
                    held.enter_context(_locked(path.with_suffix(".lock"), stop))
            yield

    def save(self, method: ColdStartRecommender, seed: int, record: dict[str, Any]) -> None:
        """Keep the backbone of ``method``; a full or read-only cache is said and survived."""
        kept = {key: record[key] for key in ("steps", "rows", "optimizer") if key in record}
        state = {"backbone": method.backbone.state_dict(), "record": json.dumps(kept)}
        try:
            save_state(self._path(method, seed), state)
        except UserError as problem:
            logger.warning("the pre-trained backbone is not cached: %s", problem)


@contextmanager
def _locked(path: Path, stop: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock file ``path``, which goes with its last holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("wb") as file:
            while not _try_lock(file):
                if stop():
                    raise Interrupted
                time.sleep(0.05)
            if not _is_at(file, path):
                continue  # who held it before removed it: a file without a name excludes nobody
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
