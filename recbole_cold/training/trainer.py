"""Trains any method: pretrain, learn, warm_up; each resumes where it was stopped.

A run of one seed is a row of stages. After each one, and every ``checkpoint_seconds`` within one,
the whole state goes to one file: parameters, optimizers, position, random state and the journal of
what is done. A backbone that did not move since it was stored lies once beside that file. Stages
seed themselves, so a skipped or cached stage changes no later draw.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from recbole_cold import seeding
from recbole_cold.device import computing
from recbole_cold.errors import Diverged, Interrupted, UserError
from recbole_cold.model._fit import Fit
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.store import DamagedFile, load_state, save_state
from recbole_cold.training.backbone_cache import NOT_OURS, BackboneCache, logger
from recbole_cold.training.callbacks import Callback, CallbackList
from recbole_cold.training.captured import Capturing, Taken
from recbole_cold.training.checks import LossCheck, only_moving, planned, share_budget
from recbole_cold.training.kept_backbone import KeptBackbone
from recbole_cold.training.meter import Meter, start_up
from recbole_cold.training.optimizers import (
    Optimizers,
    continue_from,
    names_of,
    optimizers_of,
)
from recbole_cold.training.scoring import Scoring

# Resume points that were written, and their bytes.
_NO_POINTS = {"count": 0, "bytes": 0}


class Trainer:
    """Trains and scores one method for one seed.

    Args:
        method: the method, freshly built.
        seed: of this run.
        state_path: the file for resume points; ``None`` keeps none.
        cache: finds and keeps pre-trained backbones; ``None`` trains always.
        stop: asked between batches; true means save and raise ``Interrupted``.
        callbacks: called at stages, steps, pre-training epochs and scored phases.
        probe: rows on which the plain backbone is scored after each pre-training epoch, if a
            callback wants metrics; ``None``: callbacks get none.
        held_out: rows of old items that nobody learns from; each phase tells their AUC.
        origin: what tells the code and libraries of a resume point; one of another origin is not
            continued.
    """

    def __init__(
        self,
        method: ColdStartRecommender,
        seed: int,
        state_path: Path | None = None,
        cache: "BackboneCache | None" = None,
        stop: Callable[[], bool] = lambda: False,
        callbacks: Sequence[Callback] = (),
        probe: Any = None,
        held_out: Any = None,
        origin: str = "",
    ) -> None:
        self.origin = origin
        self.method, self.config, self.seed = method, method.config, seed
        self.callbacks, self.probe = CallbackList(callbacks, method.device), probe
        self.held_out, self.scoring = held_out, Scoring(method)
        shared = self.config["pretrain_seed"]
        self.pretrain_seed = seed if shared is None else shared
        self.state_path, self.cache, self.stop = state_path, cache, stop
        self._beside = KeptBackbone()
        self.journal: dict[str, Any] = {"stages": [], "results": {}, "points": dict(_NO_POINTS)}
        # Phase -> float32 [n], of the phases in the journal, where the configuration keeps them.
        self.scores: dict[str, Tensor] = {}
        self._pending: dict[str, Any] | None = None
        self._kept: dict[str, list[Any]] = {}
        self._saved_at = time.monotonic()
        asked = self.config["cuda_graph"], self.config["precision"]
        self.capturing = Capturing(*asked, method.device, type(method).__name__)
        start_up(method.device)  # before any clock runs

    # ---------------------------------------------------------------- verbs
    def pretrain(self) -> None:
        """Train the backbone on ``train``, or take it from the cache."""
        if self._is_done("pretrain"):
            return
        fits = partial(planned, self.method, "pretrain_fits")
        if self.cache is None or not fits():
            self._stage("pretrain", fits)
            return
        meter = self._meter()
        self.callbacks.tell("stage_begins", "pretrain")
        with self.cache.turn(self.method, self.pretrain_seed, self.stop):
            known = self.cache.load(self.method, self.pretrain_seed)
            if known is not None:
                self._beside.begin(known)
                self._record("pretrain", meter, known.record, cached=True)
                return
            self._run_stage("pretrain", fits, then=self._cache_backbone)

    def _cache_backbone(self, record: dict[str, Any]) -> None:
        assert self.cache is not None
        self._beside.begin(self.cache.save(self.method, self.pretrain_seed, record))

    def learn(self) -> None:
        """Learn from old items, then give the new items their cold rows."""
        if not self._is_done("learn"):
            if self.held_out is not None and "old_before" not in self.journal:
                with self._computing():
                    self.journal["old_before"] = self.scoring.pretrained_auc(self.held_out)
            self._stage(
                "learn",
                partial(planned, self.method, "learn_fits"),
                self.method.begin_learn,
                self.method.start_new_items,
            )

    def warm_up(self, name: str, rows: Any) -> None:
        """Let the method see a warm-up set, then learn what it declares from it."""
        if self._is_done(name):
            return
        index = self.method.rows.index(rows)
        if len(index) == 0:
            self.callbacks.tell("stage_begins", name)
            self._record(name, self._meter(), {"steps": 0, "rows": 0})
            return
        own = partial(planned, self.method, "warm_fits", index)
        self._stage(
            name,
            list if self.config["warm"] == "map" else own,  # a MAP fit ends the phase
            lambda: self.method.observe(index),
            lambda: self.method.end_phase(name),
            budget=self.config["warm_steps"],
        )

    def evaluate(self, name: str, rows: Any) -> dict[str, Any]:
        """Metrics, counts and warnings of the method on ``rows``; remembered in the journal."""
        if name in self.journal["results"]:
            return self.journal["results"][name]
        with self._computing():
            scores, result = self.scoring.of_phase(rows)
            if self.config["keep_scores"]:
                self.scores[name] = scores.float().cpu()
            if self.held_out is not None:
                before = self.journal["old_before"]
                result["old"] = self.scoring.of_old_items(self.held_out, before)
        if not self.method.adapts(self._has_warmed_up()):
            result["unadapted"] = True
        self.journal["results"][name] = result
        self._save()
        self.callbacks.tell("phase_scored", name, result["metrics"])
        return result

    def _has_warmed_up(self) -> bool:
        return any(stage["name"] not in ("pretrain", "learn") for stage in self.journal["stages"])

    def score(self, index: Tensor) -> Tensor:
        """Click probabilities of the rows ``index``, in one pre-allocated tensor."""
        with self._computing():
            return self.scoring.scores(index)

    def _tell_epoch(self, number: int) -> None:
        """Call the callbacks after a pre-training epoch, leaving modes and random state alone."""
        metrics: dict[str, float] = {}
        if self.probe is not None and self.callbacks.want_epoch_metrics:
            state = seeding.layer_state(self.method.device)
            metrics = self.scoring.plain_cold_metrics(self.probe)
            seeding.restore_layers(state, self.method.device)
        self.callbacks.tell_epoch(number, metrics)

    def _computing(self) -> AbstractContextManager[None]:
        return computing(self.method.device, self.config["precision"])

    def _meter(self, earlier: dict[str, float] | None = None) -> Meter:
        return Meter(earlier, self.method.device)

    # ---------------------------------------------------------------- stages
    def _is_done(self, name: str) -> bool:
        return any(stage["name"] == name for stage in self.journal["stages"])

    def _record(
        self,
        name: str,
        meter: Meter,
        counts: dict,
        cached: bool = False,
        then: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> dict:
        record = {"name": name, **counts, **meter.read(), "cached": cached}
        then(record)
        self.journal["stages"].append(record)
        self._pending = None
        self._save()
        self.callbacks.tell("stage_ends", name, record)
        return record

    def _stage(self, name: str, fits: Callable[[], Sequence[Fit]], *parts: Any, **options: Any):
        self.callbacks.tell("stage_begins", name)
        return self._run_stage(name, fits, *parts, **options)

    def _run_stage(self, *args: Any, **options: Any) -> dict[str, Any]:
        with self._computing():
            return self._run_fits(*args, **options)

    def _run_fits(
        self,
        name: str,
        fits: Callable[[], Sequence[Fit]],
        begin: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
        budget: int | None = None,
        then: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> dict[str, Any]:
        pending = self._pending if self._pending and self._pending["stage"] == name else None
        meter = self._meter(pending and pending["meter"])
        if pending is None:
            begin()
        stretches = list(fits())
        limits = (
            [fit.optimizer_steps for fit in stretches]
            if budget is None
            else share_budget(budget, stretches)
        )
        counts = dict(pending["counts"]) if pending else {"steps": 0, "rows": 0}
        for number, (fit, limit) in enumerate(zip(stretches, limits, strict=True)):
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
        return self._record(name, meter, counts, then=then)

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
        optimizers = optimizers_of(fit.steps, method, self.config["table_update"])
        counts["optimizer"] = names_of(optimizers)
        moving = [parameter for step in fit.steps for parameter in step.parameters]
        backbone_ids = {id(parameter) for parameter in method.backbone.parameters()}
        frozen = not any(id(parameter) in backbone_ids for parameter in moving)
        position = {"epoch": 0, "batch": 0, "taken": 0}
        # First of all, for a card has nothing to continue from where a run began on the CPU.
        seeding.seed_layers(seed, stage, number, fit.name, device=method.device)
        if pending and pending["fit"] == number and pending["optimizers"]:
            position = dict(pending["position"])
            try:
                for optimizer, state in zip(optimizers, pending["optimizers"], strict=True):
                    optimizer.load_state_dict(state)
                seeding.restore_layers(pending["rng"], method.device)
            except NOT_OURS as error:
                raise self._not_ours() from error
        else:
            continue_from(optimizers, self._kept.get(fit.keep or "", ()))
        bar = tqdm(
            total=limit,
            initial=position["taken"],
            desc=f"{stage:>9} {fit.name}",
            unit="step",
            leave=False,
            # None: bars where stderr is a terminal, and none in a pipe or a file.
            disable=None if self.config["show_progress"] else True,
        )
        method.set_mode(fit.mode)
        tell_steps = self.callbacks.hear("step")
        check, steps = LossCheck(fit, method.device), self.capturing.steps_of(fit, optimizers)
        tables = method.backbone.frozen_tables() if frozen else nullcontext()
        with only_moving(method, moving), tables, bar:
            while position["taken"] < limit:
                for optimizer in optimizers:
                    optimizer.start_epoch(position["epoch"])
                shuffle = seeding.generator(seed, stage, number, fit.name, position["epoch"])
                batches = fit.batches.epoch(shuffle, position["epoch"], position["batch"])
                for batch in batches:
                    allowance = limit - position["taken"]
                    taken = self._use(fit, batch, steps, allowance, position, check)
                    position["taken"] += taken
                    position["batch"] += 1
                    counts["steps"] += taken
                    counts["rows"] += len(batch) * (taken // len(fit.steps))
                    bar.update(taken)
                    if tell_steps:
                        self.callbacks.tell("step", stage, counts["steps"])
                    self._checkpoint(stage, number, optimizers, position, counts, meter, check)
                    if position["taken"] >= limit:
                        break
                position = {**position, "epoch": position["epoch"] + 1, "batch": 0}
                if stage == "pretrain" and self.callbacks.hear("epoch"):
                    self._tell_epoch(position["epoch"])
            check.look_at_all()
        if fit.keep is not None:
            self._kept[fit.keep] = [optimizer.state_dict() for optimizer in optimizers]

    def _use(
        self,
        fit: Fit,
        batch: Any,
        steps: Callable[[Any], Taken],
        allowance: int,
        position: dict[str, int],
        check: LossCheck,
    ) -> int:
        """Take every step on one batch, ``repeats`` times; the number of optimizer steps taken."""
        taken = 0
        for _ in range(fit.repeats):
            if taken >= allowance:
                break
            for number, (step, parts) in enumerate(steps(batch)):
                check.see(
                    step,
                    parts,
                    f"epoch {position['epoch']}, batch {position['batch']}, optimizer step "
                    f"{position['taken'] + taken + number + 1}",
                )
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
            "rng": seeding.layer_state(self.method.device),
        }
        self._save()
        self._pending = None
        if stopping:
            raise Interrupted

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self.state_path is None:
            return
        whole = self.method.state_dict()
        method, left_out, written = self._beside.leave_out(whole, self.state_path)
        points = self.journal["points"]  # those before this one
        points["bytes"] += written
        state = {
            "journal": json.dumps(self.journal),
            "scores": self.scores,
            "method": method,
            "backbone": left_out,
            "pending": self._pending,
            "kept": self._kept,
            "origin": self.origin,
            "device": self.method.device.type,
        }
        save_state(self.state_path, state)
        self._count_point(self.state_path)

    def _count_point(self, path: Path) -> None:
        points = self.journal["points"]
        with suppress(OSError):
            points["bytes"] += path.stat().st_size
        points["count"] += 1

    def resume(self) -> bool:
        """Continue from the state file, if there is one; a damaged file starts the seed again."""
        if self.state_path is None or not self.state_path.exists():
            return False
        starts_again = "%s; this seed starts again from the beginning"
        try:
            state = load_state(self.state_path, self.method.device)
        except DamagedFile as problem:
            logger.warning(starts_again, problem)
            return False
        if state.get("origin", "") != self.origin:
            logger.warning(
                "'%s' was written by other code or other versions of libraries; this seed starts "
                "again from the beginning",
                self.state_path,
            )
            return False
        try:
            journal = _checked_journal(json.loads(state["journal"]))
            pending = _checked_pending(state["pending"])
            kept = dict(state.get("kept", {}))
            scores = _checked_scores(state["scores"], journal)
            whole = dict(state["method"])
            if state.get("backbone") is not None:
                folder = None if self.cache is None else self.cache.folder
                whole |= self._beside.read(
                    state["backbone"], self.state_path, folder, self.method.device
                )
            self.method.load_state_dict(whole)
        except DamagedFile as problem:
            self._beside.begin(None)
            logger.warning(starts_again, problem)
            return False
        except NOT_OURS as error:
            raise self._not_ours() from error
        self.method.restored()
        before, now = state.get("device", ""), self.method.device.type
        if before and before != now:
            logger.warning(
                "'%s' was written on '%s' and goes on on '%s': its numbers will not be those of "
                "a run on one of them",
                self.state_path, before, now,
            )  # fmt: skip
        self.journal, self._pending, self._kept = journal, pending, kept
        self.scores = scores
        self._count_point(self.state_path)
        return True

    def _not_ours(self) -> UserError:
        return UserError(
            f"'{self.state_path}' was written by other code or for other data; delete it to start "
            "this seed again"
        )


def _checked_journal(journal: Any) -> dict[str, Any]:
    for stage in journal["stages"]:
        str(stage["name"])
    if not all(isinstance(result["metrics"], dict) for result in journal["results"].values()):
        raise ValueError("results without metrics")
    points = journal.setdefault("points", dict(_NO_POINTS))
    journal["points"] = {name: int(points[name]) for name in _NO_POINTS}
    return journal


def _checked_scores(scores: Any, journal: dict[str, Any]) -> dict[str, Tensor]:
    for name, each in scores.items():
        if each.shape != (journal["results"][name]["rows"],):
            raise ValueError("scores of other rows")
    return {name: each.cpu() for name, each in scores.items()}


def _checked_pending(pending: Any) -> dict[str, Any] | None:
    """Where within a stage a run was stopped; parts that have another form raise anything."""
    if pending is None:
        return None
    position = {name: int(pending["position"][name]) for name in ("epoch", "batch", "taken")}
    dict(pending["counts"])
    dict(pending["meter"])
    return {**pending, "stage": str(pending["stage"]), "fit": int(pending["fit"]),
            "optimizers": list(pending["optimizers"]), "rng": pending["rng"],
            "position": position}  # fmt: skip
