"""Each promise of the suite on sessions has been seen broken: one careless method per promise."""

import pytest
import torch

from recbole_cold.data.histories import SessionHistories
from recbole_cold.model._phase_end import SeenRows
from recbole_cold.model.base import Base
from recbole_cold.testing import Bench, SessionConformance


@pytest.fixture
def breaks(tmp_path):
    """``breaks(method, "test_...", "part of the finding")``: the test must fail so."""

    def check(method, test, finding):
        suite = type("Suite", (SessionConformance,), {"method": method, "backbones": ("FM",)})()
        bench = Bench(method, suite.rule, tmp_path / method.__name__)
        wanted = getattr(suite, test)
        names = wanted.__code__.co_varnames[1 : wanted.__code__.co_argcount]
        given = {"bench": bench, "backbone": "FM", "tmp_path": tmp_path}
        with pytest.raises(AssertionError, match=finding):
            wanted(**{name: given[name] for name in names})

    return check


class Shifting(Base):
    """A sound method to spoil: a buffer is added to all logits."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("shift", torch.zeros(()))
        self.parts = {name: self.rows.index(rows) for name, rows in dataset.split.parts.items()}

    def clicks(self, part):
        return self.rows.columns[self.label_field][self.parts[part]].sum()

    def logits(self, interaction):
        return super().logits(interaction) + self.shift


READS = "test_a_model_that_reads_histories_depends_on_them"
HELD_OUT = "test_held_out_labels_are_read_in_their_phase_and_not_before"


def test_labels_of_test_from_the_beginning(breaks):
    class Careless(Shifting):
        def begin_learn(self):
            self.shift += self.clicks("test")

    breaks(Careless, HELD_OUT, "none reads labels")


def test_labels_of_the_next_part(breaks):
    class Careless(Shifting):
        def observe(self, index):
            super().observe(index)
            if len(index) == len(self.parts["ft_b"]) and index.equal(self.parts["ft_b"]):
                self.shift += self.clicks("ft_c")

    breaks(Careless, HELD_OUT, "ft_b reads labels")


def test_a_mean_over_no_rows(breaks):
    class Careless(Shifting):
        def logits(self, interaction):
            history = self.rows.columns["label"].new_ones(len(interaction))
            rows = self.histories.of(interaction.index)
            return super().logits(interaction) + 0.0 * history / (rows >= 0).sum(dim=1)

        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.histories = dataset.split.histories

    breaks(Careless, "test_rows_without_a_history_have_finite_scores", "without a history")


class WithHistories(Shifting):
    """It has histories at hand, and FM reads none."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.rows.histories = SessionHistories(dataset.split.histories, 3)
        self.rows_shown = SeenRows(self.device)


def test_a_model_that_says_it_reads_histories_and_does_not(breaks):
    breaks(WithHistories, READS, "the score of an empty one")


def test_histories_of_other_rows_are_read(breaks):
    class Careless(WithHistories):
        def logits(self, interaction):
            events = (self.rows.histories.of(interaction.index) >= 0).sum()
            return super().logits(interaction) + 1e-3 * events

    breaks(Careless, READS, "rows without a history have other scores")


def test_scores_are_counted(breaks):
    class Careless(Shifting):
        def predict(self, interaction):
            self.shift += 1e-3
            return super().predict(interaction)

    breaks(Careless, "test_scoring_leaves_no_trace", r"scoring changed \['shift'\]")


def test_scores_are_counted_out_of_sight(breaks):
    class Careless(Shifting):
        count = 0

        def predict(self, interaction):
            self.count += 1
            return super().predict(interaction) / self.count

    breaks(Careless, "test_scoring_leaves_no_trace", "a second time")


def test_a_part_that_changes_nothing(breaks):
    class Careless(Shifting):
        def warm_fits(self, index):
            return [] if index.equal(self.parts["ft_b"]) else super().warm_fits(index)

    finding = "ft_b learned nothing"
    breaks(Careless, "test_runs_through_all_phases_with_finite_scores", finding)


def test_what_a_part_taught_is_lost_with_the_process(breaks):
    class Careless(Shifting):
        parts_seen = 0

        def observe(self, index):
            super().observe(index)
            self.parts_seen += 1

        def logits(self, interaction):
            return super().logits(interaction) + self.parts_seen

    breaks(Careless, "test_an_interrupted_run_ends_with_equal_numbers", "results differ")
