"""One row of a benchmark on one backbone: its space, its settings, and what came of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_cold import keys
from recbole_cold.comparison.campaign import Campaign
from recbole_cold.comparison.requests import Cell
from recbole_cold.config import ColdConfig
from recbole_cold.data.phases import some_phase_learns
from recbole_cold.equal_tuning.draws import in_drawn_order, settings_of
from recbole_cold.errors import UserError
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.fingerprint import code_of, versions
from recbole_cold.experiment.requests import Entry, Request
from recbole_cold.kinds import plain
from recbole_cold.model._method import FINE_TUNING, ColdStartRecommender
from recbole_cold.registry import absolute
from recbole_cold.sweep import space
from recbole_cold.sweep.choosing import Outcomes
from recbole_cold.sweep.kept import KeptTrials, Origin
from recbole_cold.sweep.requests import Setting, fixed_keys, own_axes
from recbole_cold.sweep.space import Axis
from recbole_cold.trials.settings import nested, with_metric
from recbole_cold.trials.trial import TrialSpec

MOST_OWN_KEYS = 2


@dataclass
class Candidate:
    """One method on one backbone.

    Args:
        backbone: its label.
        text: the entry as on the command line.
        shared: the axes that all methods share.
        n_trials: settings to try, the default one included.
        n_seeds: trials of a setting.
        outcomes: of its trials.
    """

    campaign: Campaign
    backbone: str
    entry: Entry
    text: str
    shared: Sequence[Axis]
    n_trials: int
    n_seeds: int
    outcomes: Outcomes

    @property
    def place(self) -> tuple[str, str]:
        return self.backbone, self.entry.label

    @property
    def experiment(self) -> Experiment:
        return self.campaign.experiments[self.backbone]

    @property
    def config(self) -> ColdConfig:
        return self.experiment.configs[self.entry.label]

    # ---------------------------------------------------------------- the space
    @cached_property
    def idle(self) -> set[str]:
        """General keys that change nothing for this row."""
        config, found = self.config, set(self.config.method_class.idle_keys)
        if config["warm"] == "map" or not some_phase_learns(config):
            found |= set(FINE_TUNING)
        return found | ({"warm_epochs"} if config["warm_steps"] is not None else set())

    @cached_property
    def shared_axes(self) -> list[Axis]:
        """The shared axes that this row has: not those whose key it lacks, or that is given."""
        known = self.config.final_config_dict
        return [
            axis
            for axis in self.shared
            if axis.root in known and axis.root not in self.idle
            if not self.config.given(axis.root)
        ]

    @cached_property
    def own_axes(self) -> list[Axis]:
        """The axes of the method's own yaml, but for what is given or shared.

        Raises:
            UserError: they are more than each method may have.
        """
        shared = {axis.key for axis in self.shared}
        own = [axis for axis in own_axes(self.entry) if axis.key not in shared]
        if len(own) > MOST_OWN_KEYS:
            raise UserError(
                f"the sweep_space of {self.entry.label} has {len(own)} keys of its own, and in a "
                f"benchmark a method has {MOST_OWN_KEYS} at most; shorten it"
            )
        return [axis for axis in own if not self.config.given(axis.root)]

    @property
    def axes(self) -> list[Axis]:
        return [*self.shared_axes, *self.own_axes]

    @property
    def left_out(self) -> list[str]:
        """Shared keys that this row does without."""
        return [axis.key for axis in self.shared if axis not in self.shared_axes]

    def check_axes(self, axes: Sequence[Axis]) -> None:
        """Refuse axes that cannot be searched, and values that cannot be.

        Raises:
            UserError: one sentence.
        """
        fixed = fixed_keys("benchmark")
        known = set(self.config.final_config_dict) - set(fixed)

        def try_value(axis: Axis, value: Any) -> None:
            try:
                self.configured({axis.key: value})
            except UserError as error:
                raise UserError(f"{axis.where}: {error}") from error

        if axes:
            space.check(axes, known, fixed, try_value)

    # ---------------------------------------------------------------- settings
    def nested(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return nested(params, self.config.final_config_dict)

    def configured(self, params: Mapping[str, Any], fit_on: str = "full") -> ColdConfig:
        """The configuration of a setting."""
        changed = {**self.entry.variant, **self.nested(params), "fit_on": fit_on}
        return self.experiment.config(replace(self.entry, variant=changed))

    @cached_property
    def default(self) -> dict[str, Any]:
        """The setting of the first trial: what the row has without any tuning."""
        return {axis.key: _value_at(self.config, axis.key) for axis in self.axes}

    @cached_property
    def settings(self) -> list[Setting]:
        seed = self.campaign.first().first()["seed"]
        points = settings_of(
            self.default,
            in_drawn_order(self.shared, seed),
            in_drawn_order(self.own_axes, seed),
            {axis.key for axis in self.shared_axes},
            self.n_trials,
            seed,
        )
        seeds = self.experiment.seeds()[:1]
        wanted = range(seeds[0], seeds[0] + self.n_seeds)
        cells = [Cell(self.backbone, self.entry, self.text, number) for number in wanted]
        specs = [self.campaign.spec(cell) for cell in cells]
        return [Setting(point, [self._trial(spec, point) for spec in specs]) for point in points]

    def _trial(self, spec: TrialSpec, params: Mapping[str, Any]) -> TrialSpec:
        """The trial of a setting on pseudo-new items, from that of the row as it stands."""
        changed = {**self.entry.variant, **self.nested(params), "fit_on": "valid"}
        overrides = {**spec.overrides, **with_metric(self.config), **changed}
        return replace(spec, model=absolute(self.entry.spec), overrides=plain(overrides))

    def estimated(self) -> Experiment:
        """An experiment of the default setting on pseudo-new items, to measure steps with."""
        spec = self.settings[0].specs[0]
        keys_of_it = {**spec.overrides, "seed": spec.seed, "show_progress": False}
        request = Request(spec.model, spec.dataset, spec.backbone, (), keys_of_it)
        return Experiment(request, entries=request.entries(), store=self.experiment.store)

    def pretrained_by(self, spec: TrialSpec, params: Mapping[str, Any]) -> str | None:
        """A name that trials have in common which start from one pre-trained backbone.

        None for a method that pre-trains none.
        """
        if "pretrain_epochs" in self.idle:
            return None
        cls = self.config.method_class
        alone = cls.pretrain_key is not ColdStartRecommender.pretrain_key or self.entry.variant
        alone = alone or cls.network is not None
        own = {axis.key for axis in self.own_axes} if alone else set()
        shaping = keys.names(touching=[keys.PRETRAINING])
        values = {k: v for k, v in params.items() if k.partition(".")[0] in shaping or k in own}
        who = self.entry.label if alone else ""
        return json.dumps([self.backbone, who, spec.seed, values], sort_keys=True, default=str)

    # ---------------------------------------------------------------- what came of it
    def kept(self, folder: Path) -> KeptTrials:
        """The trials in a folder, taken into ``outcomes``."""
        data = self.experiment.data(self.config).data_hash
        return KeptTrials(folder, self.outcomes, Origin(code_of(self.config), versions(), data))

    @property
    def best(self) -> dict[str, Any] | None:
        """The summary of the best setting; None where none came through on all seeds."""
        return self.outcomes.best(self.settings)


def _value_at(config: ColdConfig, key: str) -> Any:
    """The value of a key, or of a part of one (``a.b``); None where there is no such part."""
    root, *path = key.split(".")
    value = config[root]
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return plain(value)
