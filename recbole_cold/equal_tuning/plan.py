"""The trials of a benchmark in the order they are run, and what they may cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recbole_cold.equal_tuning.candidates import Candidate
from recbole_cold.sweep import space
from recbole_cold.sweep.cost import Estimate, duration, estimate
from recbole_cold.trials.trial import TrialSpec


@dataclass
class Job:
    """One trial of one candidate.

    Attributes:
        number: of its setting, from 1.
        pretrained_by: what it shares with trials of the same pre-trained backbone.
        seconds: that it may take, as measured.
    """

    candidate: Candidate
    number: int
    params: dict[str, Any]
    spec: TrialSpec
    pretrained_by: str | None
    seconds: float = 1.0

    @property
    def told(self) -> str:
        """The trial in words."""
        row, backbone = self.candidate.entry.label, self.candidate.backbone
        what = "default" if self.number == 1 else space.setting_text(self.params)
        return f"{row} on {backbone}, trial {self.number} ({what}), seed {self.spec.seed}"


class Plan:
    """All trials of some candidates.

    Args:
        at_a_time: how many run beside each other.
    """

    def __init__(self, candidates: Sequence[Candidate], at_a_time: int) -> None:
        self.candidates, self.at_a_time = candidates, at_a_time
        most = max(len(each.settings) for each in candidates)
        # Number by number, so that a table of an interrupted one is of equal trials, too.
        self.jobs = [
            Job(each, number + 1, setting.params, spec, each.pretrained_by(spec, setting.params))
            for number in range(most)
            for each in candidates
            for setting in each.settings[number : number + 1]
            for spec in setting.specs
        ]

    def in_order(self) -> Iterator[Job]:
        """One trial of each pre-trained backbone first, then the others.

        So no trial waits while another one trains the backbone that it needs, as long as there are
        more backbones than trials at a time.
        """
        seen: set[str] = set()
        later = []
        for job in self.jobs:
            if job.pretrained_by is None or job.pretrained_by in seen:
                later.append(job)
            else:
                seen.add(job.pretrained_by)
                yield job
        yield from later

    @cached_property
    def pretrainings(self) -> int:
        """Different pre-trained backbones."""
        return len({job.pretrained_by for job in self.jobs} - {None})

    # ---------------------------------------------------------------- what it may cost
    def measure(self) -> dict[str, Estimate]:
        """Seconds of the default setting of every row, from a few batches, on its first backbone.

        Also sets the jobs' seconds.
        """
        found: dict[str, Estimate] = {}
        for each in self.candidates:
            if each.entry.label not in found:
                found[each.entry.label] = estimate(each.estimated())
        trained: set[str | None] = {None}
        for job in self.in_order():
            cost = found[job.candidate.entry.label]
            job.seconds = cost.learn + cost.warm * _ratio(job, "warm_epochs")
            if job.pretrained_by not in trained:
                trained.add(job.pretrained_by)
                job.seconds += cost.pretrain * _ratio(job, "pretrain_epochs")
        return found

    def lines(self, metric: str, lower: bool, seeds: int, matched: bool) -> list[str]:
        """The plan as text.

        Args:
            seeds: of the final runs.
            matched: whether each backbone has the row of the plain one at matched steps.
        """
        costs = self.measure()
        backbones = list(dict.fromkeys(each.backbone for each in self.candidates))
        rows = list(dict.fromkeys(each.entry.label for each in self.candidates))
        first = self.candidates[0]
        final_runs = seeds * (len(self.candidates) + len(backbones) * matched)
        tuning = sum(job.seconds for job in self.jobs)
        per_row = [costs[each.entry.label] for each in self.candidates]
        rest = sum(cost.rest for cost in per_row) + len(backbones) * matched * costs["Base"].rest
        final = seeds * (rest + len(backbones) * costs["Base"].pretrain)
        seeds_text = f"{first.n_seeds} seed" + "s" * (first.n_seeds > 1)
        shared = [f"  {axis}" for axis in first.shared]
        own = {each.entry.label: each for each in self.candidates}
        told = [
            f"{', '.join(rows)} on {', '.join(backbones)}, {first.config.dataset}",
            f"tuning: {first.n_trials} settings of every row x {seeds_text} = {len(self.jobs)} "
            f"trials, {self.pretrainings} pre-trained backbones; then {final_runs} final runs",
            "searched by all, the same draws for all; the first trial is the default setting",
            *shared,
            *(f"  {label}: {_space_of(each)}" for label, each in own.items()),
            *self._fewer(),
            f"chosen by {metric} (mean over the phases, {'lowest' if lower else 'highest'} mean "
            "over seeds) on pseudo-new items of the training part; test is scored once, after",
            f"{self.at_a_time} at a time; about {duration(tuning / self.at_a_time)} for the "
            f"trials and {duration(final / self.at_a_time)} for the final runs, as measured on "
            f"{first.backbone}",
        ]
        return told

    def _fewer(self) -> Iterator[str]:
        """Rows whose space has fewer settings than were asked for."""
        for each in self.candidates:
            if len(each.settings) < each.n_trials:
                yield (
                    f"  {each.entry.label} on {each.backbone}: {len(each.settings)} settings, its "
                    "space has no more"
                )


def _space_of(candidate: Candidate) -> str:
    """The keys that a row has of its own, and the shared ones that it does without."""
    own = "; ".join(map(str, candidate.own_axes)) or "no key of its own"
    without = candidate.left_out
    return own + (f"; without {', '.join(without)}" if without else "")


def _ratio(job: Job, key: str) -> float:
    """How much more of something a setting has than the default one."""
    default = job.candidate.config[key]
    value = job.params.get(key, default)
    return value / default if default else 1.0


def time_left(elapsed: float, done: float, waiting: float, at_a_time: int) -> float:
    """Seconds until the last trial ends.

    The estimate of what waits, times how much longer than estimated the trials took that are done.
    At first the estimate counts for more: processes start, and trials wait for a backbone.

    Args:
        elapsed: seconds since the first trial began.
        done: estimated seconds of the trials that are over, of one process.
        waiting: of the others.
    """
    prior = (done + waiting) / 10
    slower = (elapsed * at_a_time + prior) / (done + prior) if done + prior else 1.0
    return waiting / at_a_time * slower
