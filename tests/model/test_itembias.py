"""ItemBias: its equations against scipy and simulation, and what it leaves alone."""

import math

import numpy as np
import pytest
import torch
from helpers import state_of, trainer_of, what_moved
from scipy import integrate, optimize

from recbole_cold.evaluation.metrics import auc, within_auc
from recbole_cold.model import _item_bias as equations
from recbole_cold.model._item_bias import fit, learned_variance, negative_evidence

PHASES = ("warm_a", "warm_b", "warm_c")


def simulated(items, rows, deviation, seed=0, shift=-0.5):
    """Logits, labels and items of a model with normal numbers per item, and these numbers."""
    rng = np.random.default_rng(seed)
    item = torch.arange(items).repeat_interleave(rows)
    bias = torch.tensor(rng.normal(0, deviation, items))
    logit = torch.tensor(rng.normal(size=items * rows))
    chance = torch.sigmoid(logit + bias[item] + shift)
    label = torch.tensor(rng.random(items * rows)) < chance
    return (logit, label.double(), item, items), bias


class TestFit:
    def test_is_scipys_optimum(self):
        (logit, label, item, items), _ = simulated(6, 8, 1.0)
        found = fit(logit, label, item, items, 0.7)

        def objective(point):
            score = logit.numpy() + point[-1] + point[item.numpy()]
            rows = np.logaddexp(0, score) - score * label.numpy()
            prior = (point[:-1] ** 2).sum() / (2 * 0.7)
            return rows.sum() + prior + point[-1] ** 2 / (2 * equations.SHIFT_VARIANCE)

        theirs = optimize.minimize(objective, np.zeros(items + 1), tol=1e-12).x
        assert np.allclose(found.bias, theirs[:-1], atol=1e-6)
        assert float(found.shift) == pytest.approx(theirs[-1], abs=1e-6)

    def test_one_item_in_closed_form(self):
        """With wide priors and z = 0 the sum of shift and bias is the log-odds of the clicks."""
        label = torch.tensor([1.0] * 30 + [0.0] * 10, dtype=torch.float64)
        found = fit(torch.zeros(40).double(), label, torch.zeros(40).long(), 1, 1e4)
        assert float(found.shift + found.bias) == pytest.approx(math.log(3), abs=1e-3)

    def test_without_variance_only_the_shift_is_left(self):
        (logit, label, item, items), _ = simulated(20, 10, 1.0)
        found = fit(logit, label, item, items, 1e-9)
        assert found.bias.abs().max() < 1e-6
        score = torch.sigmoid(logit + found.shift)
        slope = (score - label).sum() + found.shift / equations.SHIFT_VARIANCE
        assert float(slope) == pytest.approx(0, abs=1e-5)

    def test_the_gradient_is_zero_from_far_away(self):
        """Logits of a model that is certain and wrong: steps that overshoot are shortened."""
        (logit, label, item, items), _ = simulated(50, 5, 3.0)
        far = torch.full_like(logit, 40.0)
        found = fit(far, label, item, items, 2.0)
        gap = torch.sigmoid(far + found.shift + found.bias[item]) - label
        slope = torch.bincount(item, gap, items) + found.bias / 2.0
        assert slope.abs().max() < 1e-5

    def test_items_without_rows_are_at_the_prior_mean(self):
        (logit, label, item, items), _ = simulated(4, 10, 1.0)
        found = fit(logit, label, item, items + 3, 1.0)
        assert (found.bias[items:] == 0).all() and (found.bias[:items] != 0).all()

    @pytest.mark.parametrize("label", [0.0, 1.0])
    def test_one_class_is_finite(self, label):
        labels = torch.full((30,), label, dtype=torch.float64)
        found = fit(torch.zeros(30).double(), labels, torch.arange(30) % 5, 5, 1.0)
        assert found.bias.isfinite().all() and 5 < found.shift.abs() < 10


class TestVariance:
    def test_evidence_is_the_integral(self):
        (logit, label, item, items), _ = simulated(3, 5, 1.0)
        variance = 0.6
        shift = float(fit(logit, label, item, items, variance).shift)

        def likelihood(bias, own):
            score = logit[own].numpy() + shift + bias
            rows = (score * label[own].numpy() - np.logaddexp(0, score)).sum()
            return math.exp(rows - bias**2 / (2 * variance)) / math.sqrt(2 * math.pi * variance)

        each = [integrate.quad(likelihood, -9, 9, args=(item == i,))[0] for i in range(items)]
        expected = -np.log(each).sum() + shift**2 / (2 * equations.SHIFT_VARIANCE)
        found = negative_evidence(logit, label, item, items, variance)
        assert found == pytest.approx(expected, abs=1e-4)

    @pytest.mark.parametrize("deviation", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize(("items", "rows"), [(1500, 6), (400, 30)])
    def test_is_that_of_the_simulation(self, deviation, items, rows):
        """Within four standard errors, which for so many items are about a quarter."""
        table, _ = simulated(items, rows, deviation)
        found = learned_variance(*table, torch.Generator().manual_seed(1))
        assert found == pytest.approx(deviation**2, rel=0.45 if rows == 6 else 0.3)

    def test_items_alike_have_none(self):
        table, _ = simulated(1000, 20, 0.0)
        assert learned_variance(*table, torch.Generator().manual_seed(1)) < 0.01

    def test_of_many_items_some_are_drawn_and_others_do_not_count(self, monkeypatch):
        table, _ = simulated(300, 10, 1.0)
        monkeypatch.setattr(equations, "_ITEMS_FOR_VARIANCE", 100)
        found = learned_variance(*table, torch.Generator().manual_seed(1))
        kept = set(torch.randperm(300, generator=torch.Generator().manual_seed(1))[:100].tolist())
        logit, label, item, items = table
        others = torch.tensor([int(i) not in kept for i in item])
        spoilt = logit, torch.where(others, 1 - label, label), item, items
        assert learned_variance(*spoilt, torch.Generator().manual_seed(1)) == found

    def test_without_rows_it_is_one(self):
        none = torch.zeros(0, dtype=torch.float64)
        assert learned_variance(none, none, none.long(), 5, torch.Generator()) == 1.0


class TestItemBias:
    def warm(self, build, phases=PHASES, **keys):
        method = build("ItemBias", pretrain_epochs=2, **keys)
        trainer = trainer_of(method)
        test = method.dataset.split["test"]
        scores = {"cold": trainer.score(method.rows.index(test))}
        for phase in phases:
            trainer.warm_up(phase, method.dataset.split[phase])
            scores[phase] = trainer.score(method.rows.index(test))
        labels = method.rows.columns[method.label_field][method.rows.index(test)]
        items = method.rows.columns[method.id_field][method.rows.index(test)]
        return method, scores, labels, items

    def test_order_inside_an_item_is_the_cold_models_bit_for_bit(self, build):
        _, scores, labels, items = self.warm(build)
        cold = within_auc(scores["cold"], labels, items)
        for phase in PHASES:
            assert within_auc(scores[phase], labels, items) == cold
            assert auc(scores[phase], labels) != auc(scores["cold"], labels)

    def test_nothing_but_the_numbers_moves(self, build):
        method = build("ItemBias")
        trainer = trainer_of(method)
        before = state_of(method)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert what_moved(before, method) == {
            "new_shift",
            "counts",
            "rows_seen._extra_state",
            "residual_variance",
        }
        old = method.rows.batch(method.train_index[:50])
        assert torch.equal(method.predict(old), torch.sigmoid(method.logits(old).double()))

    def test_is_the_fit_of_all_rows_seen(self, build):
        method, _, _, _ = self.warm(build, item_bias_variance=0.8)
        seen = torch.cat([method.rows.index(method.dataset.split[name]) for name in PHASES])
        batch = method.rows.batch(seen)
        with torch.no_grad():
            logit = method.logits(batch).double()
        place = method.new_index[batch[method.id_field]]
        found = fit(logit, batch[method.label_field].double(), place, len(method.new_ids), 0.8)
        assert torch.allclose(method.new_shift, found.shift + found.bias, atol=1e-6)

    def test_phases_at_once_are_phases_one_by_one(self, build):
        one_by_one, _, _, _ = self.warm(build, item_bias_variance=0.8)
        at_once = build("ItemBias", pretrain_epochs=2, item_bias_variance=0.8)
        trainer = trainer_of(at_once)
        rows = [at_once.dataset.split[name] for name in PHASES]
        trainer.warm_up("warm_a", np.concatenate(rows[::-1]))
        assert torch.allclose(at_once.new_shift, one_by_one.new_shift, atol=1e-9)

    def test_order_of_rows_changes_no_bit(self, build):
        found = []
        for order in (slice(None), slice(None, None, -1)):
            method = build("ItemBias")
            trainer_of(method).warm_up("warm_a", method.dataset.split["warm_a"][order].copy())
            found.append(method.new_shift)
        assert torch.equal(*found)

    def test_a_state_has_what_was_seen(self, build):
        method, _, _, _ = self.warm(build, phases=("warm_a",))
        other = build("ItemBias")
        other.load_state_dict(method.state_dict())
        assert torch.equal(other.rows_seen.index, method.rows_seen.index) and len(
            other.rows_seen.index
        )
        assert torch.equal(other.new_shift, method.new_shift)

    @pytest.mark.parametrize("name", ["ItemBias", "CVAR", "EmerG"])
    def test_the_variance_is_read_before_anything_is_learned(self, build, name):
        """Off the new rows alone, as the method scored them after the phase before."""
        method = build(name, item_bias=True)
        trainer = trainer_of(method)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        new_rows = method.rows.index(method.dataset.split["warm_b"]).sort().values
        method.set_mode("evaluate")
        batch = method.rows.batch(new_rows)
        with torch.no_grad():
            logit = method.logits(batch).double()
        place = method.new_index[batch[method.id_field]]
        rows = logit, batch[method.label_field].double(), place, len(method.new_ids)
        expected = learned_variance(*rows, torch.Generator().manual_seed(0))
        trainer.warm_up("warm_b", method.dataset.split["warm_b"])
        assert float(method.residual_variance) == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize("name", ["MetaE", "CVAR", "TaNP"])
    def test_ends_the_phases_of_any_method(self, build, name):
        """The number is fitted on top of the phase's scores, which are the method's own."""
        plain, ended = build(name), build(name, item_bias=True)
        for method in (plain, ended):
            trainer_of(method).warm_up("warm_a", method.dataset.split["warm_a"])
        batch = ended.rows.batch(ended.rows.index(ended.dataset.split["test"]))
        with torch.no_grad():
            assert torch.equal(ended.logits(batch), plain.logits(batch))
            moved = torch.logit(ended.predict(batch)) - torch.logit(plain.predict(batch))
        place = ended.new_index[batch[ended.id_field]]
        assert torch.allclose(moved, ended.new_shift[place], atol=1e-6)
        assert ended.new_shift.abs().max() > 0
