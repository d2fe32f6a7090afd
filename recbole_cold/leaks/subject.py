"""A method on its data set, trained as it is and on changed data, for the checks to compare.

No backbone cache is used: it knows a backbone by the data's files, and would answer for the
changed data with what was trained on the others.
"""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cold.config import ColdConfig
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.phases import Phase, run_phases
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import load_data
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Entry
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.seeding import seed_layers
from recbole_cold.training.trainer import Trainer

logger = logging.getLogger(__name__)

Array = np.ndarray


@dataclass
class Trained:
    """What a training left.

    Attributes:
        backbone: its parameters and buffers after pre-training.
        served: vectors, and scalar weights if any, of the new items before any of their rows.
        state: of the whole method at that time.
        scores: of each phase's scored rows, float64.
    """

    backbone: dict[str, Tensor]
    served: list[Tensor]
    state: dict[str, Any]
    scores: dict[str, Array]


class _Watched(Trainer):
    """Keeps what is compared, at the moment it is there."""

    backbone: dict[str, Tensor]
    served: list[Tensor]
    state: dict[str, Any]

    def pretrain(self) -> None:
        super().pretrain()
        self.backbone = copy.deepcopy(self.method.backbone.state_dict())

    def learn(self) -> None:
        super().learn()
        self.state = copy.deepcopy(self.method.state_dict())
        self.served = served(self.method)


@torch.no_grad()
def served(method: ColdStartRecommender) -> list[Tensor]:
    """What new items are served with: [m, d], and [m, 1] where there is a first order."""
    method.set_mode("evaluate")
    return [part.clone() for part in method.item_vectors(method.new_ids) if part is not None]


class Subject:
    """One entry of a request on the request's first seed.

    Attributes:
        data: its data set, split, as it trains on it.
        ids, others: codes of the cold side and of the other side, one per row.
    """

    def __init__(self, experiment: Experiment, entry: Entry) -> None:
        self.experiment, self.entry = experiment, entry
        self.seed = int(experiment.first()["seed"])
        self.config = experiment.config(entry, self.seed)
        if self.config["init_from"] is not None:
            raise UserError(
                "init_from: check --leaks trains from nothing, on data that it changes; leave it "
                "out"
            )
        self.data = experiment.data(self.config)
        self.split = self.data.split
        names = (self.data.uid_field, self.data.iid_field)
        self.id_field, self.other_field = names if self.side == "user" else names[::-1]
        self.ids, self.others = (
            np.asarray(self.data.inter[name]) for name in (self.id_field, self.other_field)
        )
        self.labels = np.asarray(self.data.inter[self.data.label_field])
        self._plain: Trained | UserError | None = None

    @property
    def label(self) -> str:
        """What the entry is called in tables."""
        return self.entry.label

    @property
    def side(self) -> str:
        """``item`` or ``user``: which can be new."""
        return self.split.cold_side

    @property
    def partner(self) -> str:
        """The other side, as a word."""
        return "item" if self.side == "user" else "user"

    @cached_property
    def loaded(self) -> ColdStartDataset:
        """The data set as the files have it: no number scaled, no token masked by a split."""
        return load_data(self.config)

    @property
    def time(self) -> Array | None:
        return None if self.data.time is None else np.asarray(self.data.time)

    @property
    def cold(self) -> Phase:
        """The phase before any row of a new item was seen."""
        return self.split.phases[0]

    def truth(self, phase: Phase) -> Array:
        """The labels of a phase's scored rows."""
        return self.labels[self.split[phase.score_on]]

    # ---------------------------------------------------------------- training
    @property
    def plain(self) -> Trained:
        """Trained on the data as they are, once for all checks.

        Raises:
            UserError: it cannot be trained; tried once as well.
        """
        if self._plain is None:
            try:
                self._plain = self.train(self.data, "as it is")
            except UserError as error:
                self._plain = error
        if isinstance(self._plain, UserError):
            raise self._plain
        return self._plain

    @cached_property
    def repeats(self) -> bool:
        """Whether the same training gives the same bits here; without it no change tells anything.

        It does on a CPU; on a card sums may come in any order.
        """
        again = self.train(self.data, "once more, for what changed may be the machine's own")
        return not (
            changed_names(self.plain.backbone, again.backbone)
            or any(not a.equal(b) for a, b in zip(self.plain.served, again.served, strict=True))
            or any(not np.array_equal(again.scores[n], s) for n, s in self.plain.scores.items())
        )

    def train(
        self,
        data: ColdStartDataset,
        how: str,
        phases: Sequence[Phase] | None = None,
        config: ColdConfig | None = None,
    ) -> Trained:
        """Train on ``data``, a view of the same split, and score.

        Args:
            how: for the progress line, what is different.
            phases: which ones; ``None``: all; none at all: new items are only given their start.
            config: ``None``: the entry's own.
        """
        logger.info("  training %s: %s", self.label, how)
        config = config or self.config
        method = build_method(config, data)
        trainer = _Watched(method, config["seed"], stop=self.experiment.stop)
        scores: dict[str, Array] = {}

        def score(name: str, rows: Any) -> dict[str, Any]:
            scores[name] = trainer.score(method.rows.index(rows)).cpu().numpy()
            return {}

        run_phases(trainer, data.split, score, phases)
        return Trained(trainer.backbone, trainer.served, trainer.state, scores)

    def served_again(
        self,
        data: ColdStartDataset,
        edit: Callable[[ColdStartRecommender], None] = lambda method: None,
        draw: str = "",
    ) -> tuple[ColdStartRecommender, list[Tensor]]:
        """The plain training's method, that meets the new items of ``data`` for the first time.

        Args:
            edit: of the method before it looks at their features.
            draw: names the draws that it may make for them; of equal names these are equal.
        """
        method = build_method(self.config, data)
        method.load_state_dict(self.plain.state)
        edit(method)
        method.restored()
        seed_layers(self.seed, "leaks", draw, device=method.device)
        method.start_new_items()
        return method, served(method)

    def cold_scores(self, method: ColdStartRecommender) -> Array:
        """Scores of the cold phase's rows by a method as it is.

        Raises:
            Interrupted: the command was asked to stop.
        """
        if self.experiment.stop():
            raise Interrupted
        trainer = Trainer(method, self.seed, stop=self.experiment.stop)
        return trainer.score(method.rows.index(self.split[self.cold.score_on])).cpu().numpy()


def distances(scores: Array, others: Array) -> Array:
    """Absolute differences; one that is no number is as far as can be from a number."""
    gap = np.abs(scores - others)
    same = (scores == others) | (np.isnan(scores) & np.isnan(others))
    return np.where(same, 0.0, np.nan_to_num(gap, nan=np.inf))


def changed_names(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """Names whose tensors are not bit for bit the same."""
    names = dict.fromkeys([*before, *after])
    return [
        name
        for name in names
        if name not in before or name not in after or not torch.equal(before[name], after[name])
    ]
