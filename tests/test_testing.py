"""Each promise of the conformance suite has been seen broken: one careless method per promise."""

import numpy as np
import pytest
import torch
from torch import nn

from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.registry import find_method
from recbole_cold.testing import Bench, MethodConformance, write_data_set


class Linear(ColdStartRecommender):
    """A sound method to spoil: a linear map from side information."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.map = nn.Linear(self.side_vectors().shape[1], self.embedding_size)

    def trainable(self, stage):
        return list(self.map.parameters()) if stage == "learn" else super().trainable(stage)

    def calculate_loss(self, interaction):
        mapped = self.map(self.side_vectors()[interaction[self.id_field]])
        return self.loss(self.cold_logits(interaction, mapped), interaction)

    def cold_vectors(self):
        return self.map(self.side_vectors()[self.new_ids])


class TestLinear(MethodConformance):
    method = Linear
    trains = {"map"}
    trains_warm = set()
    backbones = ("DCN",)


@pytest.fixture
def breaks(tmp_path):
    """``breaks(method, "test_...", "part of the finding", trains=...)``: the test must fail so."""

    def check(method, test, finding=None, backbone="DCN", **attributes):
        attributes = {"trains": {"map"}, "trains_warm": set(), **attributes}
        attributes |= {"method": method, "backbones": (backbone,)}
        suite = type("Suite", (MethodConformance,), attributes)()
        wanted = getattr(suite, test)
        names = wanted.__code__.co_varnames[1 : wanted.__code__.co_argcount]
        bench = Bench(method, suite.options, tmp_path / method.__name__)
        given = {"bench": bench, "backbone": backbone, "tmp_path": tmp_path}
        with pytest.raises(AssertionError, match=finding):
            wanted(**{name: given[name] for name in names})

    return check


# ------------------------------------------------------------------------------- what moves
LEAVES = "test_learning_leaves_the_backbone_as_it_was"
DECLARES = "test_learning_moves_what_it_declares_and_nothing_else"
WARM = "test_a_warm_phase_moves_new_items_only"


def test_learning_moves_the_backbone(breaks):
    class Careless(Linear):
        def trainable(self, stage):
            more = list(self.backbone.parameters()) if stage == "learn" else []
            return [*super().trainable(stage), *more]

    breaks(Careless, LEAVES, r"learn moved \['backbone")


def test_learning_moves_batch_norm_statistics(breaks):
    class Careless(Linear):
        def learn_fits(self):
            (fit,) = super().learn_fits()
            return [Fit(fit.name, fit.steps, fit.batches, mode="train")]

    breaks(Careless, LEAVES, "running_mean")


def test_learning_moves_what_is_not_declared(breaks):
    breaks(Linear, DECLARES, "not in `trains`", trains=set())


def test_learning_does_not_move_what_is_declared(breaks):
    breaks(Linear, DECLARES, "did not move", trains={"map", "generator"})


def test_learning_counts_rows_it_may_not_see(breaks):
    class Careless(Linear):
        def begin_learn(self):
            self.count_range.add_(1)

    breaks(Careless, DECLARES, "count_range")


def test_a_warm_phase_moves_the_backbone(breaks):
    class Careless(Linear):
        def trainable(self, stage):
            more = list(self.backbone.parameters()) if stage == "warm_up" else []
            return [*super().trainable(stage), *more]

    breaks(Careless, WARM, "of the backbone")


def test_a_warm_phase_moves_what_is_not_declared(breaks):
    class Careless(Linear):
        def warm_fits(self, index):
            step = Step(self.calculate_loss, list(self.map.parameters()), 0.01)
            return [*super().warm_fits(index), Fit("more", [step], self.row_batches(index))]

    breaks(Careless, WARM, "map.weight.* not declared")


def test_a_warm_phase_changes_what_old_items_are_served_with(breaks):
    class Careless(Linear):
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.register_buffer("shift", torch.zeros(()))

        def observe(self, index):
            self.shift.add_(0.1)

        def item_vectors(self, ids):
            vector, weight = super().item_vectors(ids)
            return vector + self.shift, weight

    breaks(Careless, WARM, "items that are not new")


# ------------------------------------------------------------------------------- scores
RUNS = "test_runs_through_all_phases_with_finite_scores"


def test_scores_that_are_no_numbers(breaks):
    class Careless(Linear):
        def predict(self, interaction):
            return super().predict(interaction) / 0.0

    breaks(Careless, RUNS, "cold: scores that are no numbers")


def test_a_phase_that_learns_nothing(breaks):
    class Careless(Linear):
        def warm_fits(self, index):
            return []

    breaks(Careless, RUNS, "warm_a learned nothing")


def test_logits_for_probabilities(breaks):
    class Careless(Linear):
        def predict(self, interaction):
            return self.logits(interaction)

    breaks(Careless, "test_predictions_are_probabilities", "leaves")


def test_scores_of_another_shape(breaks):
    class Careless(Linear):
        def predict(self, interaction):
            return super().predict(interaction).squeeze()  # a batch of one row loses its axis

    breaks(Careless, "test_predictions_are_probabilities", "for 1 rows")


def test_served_rows_that_are_not_used(breaks):
    class Careless(Linear):
        def item_vectors(self, ids):
            vector, weight = super().item_vectors(ids)
            return 0.9 * vector, weight

    breaks(Careless, "test_the_tables_own_rows_give_the_backbones_own_logits")


def test_scores_that_depend_on_the_batch(breaks):
    class Careless(Linear):
        def logits(self, interaction):
            logits = super().logits(interaction)
            return logits - logits.mean()

    breaks(Careless, "test_scores_ignore_order_and_batching", "not close")


def test_division_by_the_number_of_interactions(breaks):
    class Careless(Linear):
        def logits(self, interaction):
            return super().logits(interaction) + 0.0 / self.counts[interaction[self.id_field]]

    breaks(Careless, "test_items_without_interactions_have_finite_scores", "items")


# ------------------------------------------------------------------------------- cold rows
def test_cold_rows_by_code(breaks):
    class Careless(Linear):
        def cold_vectors(self):
            return super().cold_vectors() + 0.01 * torch.arange(len(self.new_ids))[:, None]

    breaks(Careless, "test_cold_rows_go_with_their_items", "not close")


@pytest.mark.parametrize("column", ["label", "item_id", "user_id"])
def test_cold_rows_that_read_later_rows(breaks, column):
    class Careless(Linear):
        def cold_vectors(self):
            ids = self.rows.columns["item_id"].long()
            values = self.rows.columns[column].float()
            weights = torch.ones_like(values) if column == "item_id" else values
            sums = torch.bincount(ids, weights, minlength=self.n_ids)[self.new_ids]
            return super().cold_vectors() + 0.01 * sums[:, None].float()

    breaks(Careless, "test_cold_rows_know_nothing_of_later_rows", "reach the cold rows")


# ------------------------------------------------------------------------------- repeatable
def test_a_draw_that_no_seed_determines(breaks):
    class Careless(Linear):
        def cold_vectors(self):
            return super().cold_vectors() + float(np.random.default_rng().normal())

    breaks(Careless, "test_same_seed_same_numbers", "differ in phase cold")


def test_a_method_that_ignores_the_seed(breaks):
    class Careless(Linear):
        def predict(self, interaction):
            return torch.full_like(super().predict(interaction), 0.5)

    breaks(Careless, "test_other_seed_other_numbers", "cold ignores the seed")


def test_state_that_is_not_saved(breaks):
    class Careless(Linear):
        seen = 0

        def observe(self, index):
            self.seen += len(index)

        def logits(self, interaction):
            return super().logits(interaction) + self.seen

    breaks(Careless, "test_an_interrupted_run_ends_with_equal_numbers")


def test_draws_between_batches_that_no_state_holds(breaks):
    class Careless(Linear):
        def begin_learn(self):
            self.draws = np.random.default_rng(0)

        def calculate_loss(self, interaction):
            if not hasattr(self, "draws"):
                self.draws = np.random.default_rng(0)
            return super().calculate_loss(interaction) * (1 + self.draws.uniform())

    breaks(Careless, "test_an_interrupted_run_ends_with_equal_numbers", "map.weight")


def test_statistics_of_pre_training_outside_the_backbone(breaks):
    class Careless(Linear):
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.register_buffer("clicks", torch.zeros(()))

        def pretrain_fits(self):
            def loss(batch):
                self.clicks += batch[self.label_field].sum()
                return self.backbone.calculate_loss(batch)

            return [self.pretrain_fit(loss)]

    breaks(Careless, "test_a_cached_backbone_changes_no_number")


def test_pre_training_of_its_own_without_a_key(breaks):
    class Careless(Linear):
        def pretrain_fits(self):
            return [self.pretrain_fit(lambda b: self.backbone.calculate_loss(b) + self.penalty())]

        def penalty(self):
            return self.backbone.id_table().square().mean()

    breaks(Careless, "test_equal_pretraining_keys_mean_equal_backbones", "say how")


def test_a_key_for_plain_pre_training(breaks):
    class Careless(Linear):
        def pretrain_key(self):
            return {"Careless": 1}

    breaks(Careless, "test_equal_pretraining_keys_mean_equal_backbones", "is the plain one")


# ------------------------------------------------------------------------------- configuration
MODULE = """
from recbole_cold.model._method import ColdStartRecommender


class Mine(ColdStartRecommender):
    def cold_vectors(self):
        return super().cold_vectors() * self.config["mine_scale"]
"""
GOOD = "mine_scale: 1.0   # (float) What the mean is multiplied with.\n"


READ = "test_yaml_keys_are_the_keys_that_are_read"
COMMENT = "test_every_yaml_key_has_a_comment"


@pytest.mark.parametrize(
    ("text", "test", "finding"),
    [
        (GOOD + "mine_size: 3  # (int) A size.\n", READ, r"\['mine_size'\], which nobody reads"),
        ("mine_scal: 1.0  # (float) Misspelt.\n", READ, r"\['mine_scale'\] is read, but has no"),
        ("", READ, r"\['mine_scale'\] is read, but has no default"),
        (GOOD + "sweep_space:\n  mine_scal: [1, 2]\n", READ, "sweep_space of Mine.yaml has"),
        (GOOD + "released:\n  mine_scal: 2\n", READ, "released of Mine.yaml has"),
        ("# About it.\nmine_scale: 1.0\n", COMMENT, "no comment beside mine_scale"),
        ("mine_scale:  # (float) It.\n  1.0\nmine_b: '#'\n", COMMENT, "no comment beside mine_b"),
    ],
)
def test_yaml_and_reads(breaks, tmp_path, text, test, finding):
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "Mine.yaml").write_text(text)
    breaks(find_method(str(tmp_path / "mine.py")), test, finding, trains=set())


def test_a_key_that_only_its_row_names(breaks, tmp_path):
    row = '    keys = (Key("mine_word", one_of("a", "b")),)\n\n    def'
    text = "from recbole_cold.keys import Key, one_of\n" + MODULE.replace("    def", row, 1)
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "Mine.yaml").write_text(GOOD + "mine_word: a  # (str) Nobody reads it.\n")
    breaks(find_method(str(tmp_path / "mine.py")), READ, "nobody reads", trains=set())


def test_a_row_without_a_default(breaks, tmp_path):
    row = '    keys = (Key("mine_word", one_of("a", "b")),)\n\n    def'
    text = "from recbole_cold.keys import Key, one_of\n" + MODULE.replace("    def", row, 1)
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "Mine.yaml").write_text(GOOD)
    found = r"declares \['mine_word'\], which no yaml gives a default"
    breaks(find_method(str(tmp_path / "mine.py")), READ, found, trains=set())


def test_good_yaml_passes(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "Mine.yaml").write_text(GOOD)
    suite = MethodConformance()
    suite.method = find_method(str(tmp_path / "mine.py"))
    suite.test_yaml_keys_are_the_keys_that_are_read(Bench(suite.method, {}, tmp_path))
    suite.test_every_yaml_key_has_a_comment()


def test_the_data_set_is_seeded(tmp_path):
    """Equal seeds give equal files; another seed gives others."""
    texts = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_data_set(tmp_path / name, seed)
        texts.append((tmp_path / name / "conformance" / "conformance.inter").read_text())
    assert texts[0] == texts[1] != texts[2]
