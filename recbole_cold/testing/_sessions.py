"""The suite of methods that run where no item is new: sessions."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from recbole_cold.data.histories import Histories
from recbole_cold.testing._bench import SEED, Bench
from recbole_cold.testing._edits import turn_labels_unseen
from recbole_cold.testing._suite import Suite
from recbole_cold.training.trainer import Trainer


class NoHistories:
    """Histories of the same form, all of them empty."""

    def __init__(self, like: Histories) -> None:
        self.length, self.side = like.length, like.side

    def of(self, index: Tensor) -> Tensor:
        return index.new_full((len(index), self.length), -1)

    def show(self, index: Tensor) -> None:
        """Nothing."""


class SessionConformance(Suite):
    """Tests of what a method promises on sessions, where no item is new: inherit it in a class of
    its own beside ``MethodConformance``.

    Attributes are those of ``MethodConformance``: ``method``, ``options``, ``trains``,
    ``trains_backbone``, ``backbones``. On the suite's data 29 users have about five sessions each,
    and every held-out part has a few.
    """

    rule: ClassVar[dict[str, Any]] = {
        "split_rule": "sessions",
        "session_length": 4,
        "session_min": 2,
        "session_user_min": 5,
    }

    # ---------------------------------------------------------------- what scores depend on
    def test_held_out_labels_are_read_in_their_phase_and_not_before(self, bench: Bench):
        """Turn the labels of all targets that no phase has learned from yet, and of rows in no
        session: the scores of a phase are equal bit for bit."""
        backbone = self.backbones[0]
        run, learned = bench.kept(backbone), ["train"]
        for number, phase in enumerate(run.split.phases):
            learned += [phase.warm_up_on] * (phase.warm_up_on is not None)
            found = bench.run(
                backbone,
                edit=lambda dataset, parts=tuple(learned): turn_labels_unseen(dataset, parts),
                n_phases=number + 1,
            )
            same = torch.equal(found.scores[phase.name], run.scores[phase.name])
            assert same, f"{phase.name} reads labels of targets that are held out"

    def test_rows_without_a_history_have_finite_scores(self, bench: Bench):
        """A session of one row, a row that is no target, a user or an item that no session has."""
        run = bench.kept(self.backbones[0])
        index = torch.arange(len(run.method.rows.columns[run.method.label_field]))
        index = index.to(run.method.device)
        alone = (run.split.histories.of(index) < 0).all(dim=1)
        assert alone.any() and not alone.all()
        scores = run.trainer.score(index)
        assert torch.isfinite(scores[alone]).all(), "no number for rows without a history"
        assert torch.isfinite(scores).all(), "scores that are no numbers"

    def test_a_model_that_reads_histories_depends_on_them(self, bench: Bench):
        """Without histories every row that has one gets another score, and no other row does."""
        run = bench.kept(self.backbones[0])
        if run.method.rows.histories is None:
            pytest.skip("this model reads no histories")
        method, _ = bench.build(self.backbones[0])
        method.load_state_dict(run.method.state_dict())
        method.restored()
        index = torch.arange(len(method.rows.columns[method.label_field]), device=method.device)
        alone = (method.rows.histories.of(index) < 0).all(dim=1)
        trainer = Trainer(method, SEED)
        before = trainer.score(index)
        method.rows.histories = NoHistories(method.rows.histories)
        moved = trainer.score(index) != before
        assert not moved[alone].any(), "rows without a history have other scores without histories"
        assert moved[~alone].all(), "some rows with a history have the score of an empty one"
