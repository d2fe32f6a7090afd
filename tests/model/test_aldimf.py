"""ALDI-MF: a factorisation of the clicks teaches two towers; for the cold phase only."""

import logging
import math

import pytest
import torch
from helpers import fill, state_of, trainer_of, what_moved

from recbole_cold.errors import UserError
from recbole_cold.model.aldimf import ALDIMF, TripleBatches, Triples, dot, pairwise_loss
from recbole_cold.seeding import generator
from recbole_cold.training.checks import only_moving
from recbole_cold.training.trainer import Trainer

SMALL = {
    "aldimf_factor_size": 5,
    "aldi_hidden_size": 6,
    "aldi_epochs": 2,
    "aldimf_teacher_epochs": 2,
}


def trained(build, stages=("pretrain", "learn"), backbone="DeepFM", **keys):
    method = build("ALDIMF", backbone, **{**SMALL, **keys})
    return method, trainer_of(method, stages)


def widen(method):
    """Factors and towers."""
    parts = [method.generator, method.user_tower, *([method.teacher] if method.teacher else [])]
    fill((parameter for part in parts for parameter in part.parameters()), 0.5)


def triples_of(method, number=50):
    torch.manual_seed(2)
    items = method.old_ids[torch.randint(len(method.old_ids), (2, number))]
    return Triples(torch.randint(1, method.n_others, (number,)), *items)


def clicked_pairs(method):
    inter = method.dataset.inter
    return {
        (int(inter["item_id"][row]), int(inter["user_id"][row]))
        for row in method.dataset.split["train"].tolist()
        if inter["label"][row] > 0
    }


class TestTripleBatches:
    items = torch.tensor([3, 4, 3, 5, 6, 4])
    users = torch.tensor([9, 9, 2, 2, 2, 7])
    others = torch.tensor([3, 4, 5, 6, 8])

    def batches(self, size):
        return TripleBatches(self.items, self.users, self.others, size)

    def test_an_item_is_one_of_its_users(self):
        pairs = set(zip(self.items.tolist(), self.users.tolist(), strict=True))
        batches = self.batches(4)
        assert len(batches) == 2
        found = list(batches.epoch(generator(1, "a"), 0))
        assert [len(triples) for triples in found] == [4, 2]
        for triples in found:
            assert set(zip(triples.item.tolist(), triples.user.tolist(), strict=True)) <= pairs

    def test_draws_are_uniform_over_users_then_items_then_others(self):
        """Not over pairs: a user with many items is drawn as often as one with few."""
        batches = self.batches(10)
        drawn = [next(iter(batches.epoch(generator(n, "a"), 0))) for n in range(2000)]
        user = torch.cat([triples.user for triples in drawn])
        item = torch.cat([triples.item for triples in drawn])
        other = torch.cat([triples.other for triples in drawn])
        number = len(user)
        for code in (9, 2, 7):
            assert abs((user == code).double().mean() - 1 / 3) < 4 * math.sqrt(2 / 9 / number)
        for code in (3, 5, 6):
            share = (item[user == 2] == code).double().mean()
            assert abs(share - 1 / 3) < 4 * math.sqrt(2 / 9 / (number / 3))
        for code in self.others.tolist():
            assert abs((other == code).double().mean() - 0.2) < 4 * math.sqrt(0.16 / number)

    def test_a_late_start_is_the_same_tail(self):
        batches = self.batches(2)
        whole = list(batches.epoch(generator(1, "a"), 0))
        tail = list(batches.epoch(generator(1, "a"), 0, 1))
        assert len(whole) == 3 and len(tail) == 2
        for left, right in zip(whole[1:], tail, strict=True):
            for field in ("user", "item", "other"):
                assert torch.equal(getattr(left, field), getattr(right, field))
        other = list(batches.epoch(generator(1, "b"), 0))
        assert any(not torch.equal(a.user, b.user) for a, b in zip(whole, other, strict=True))


class TestALDIMF:
    method = ALDIMF

    def test_scores_and_pairwise_loss_by_hand(self, rng64):
        left, right = rng64(4, 3), rng64(4, 3)
        for row in range(4):
            expected = sum(a * b for a, b in zip(left[row], right[row], strict=True))
            assert dot(left, right)[row].item() == pytest.approx(expected.item(), abs=1e-14)
        bpr = -torch.log(torch.sigmoid(left[:, 0] - right[:, 0])).mean()
        assert pairwise_loss(left[:, 0], right[:, 0]).item() == pytest.approx(bpr.item(), abs=1e-14)

    def test_teacher_loss_triple_by_triple(self, build):
        method = build("ALDIMF", double=True, **{**SMALL, "aldimf_teacher_l2": 0.3})
        widen(method)
        triples = triples_of(method, 20)
        user, item = method.teacher["user"].weight, method.teacher["item"].weight
        loss = size = 0.0
        for u, i, j in zip(triples.user, triples.item, triples.other, strict=True):
            apart = (user[u] * item[i]).sum() - (user[u] * item[j]).sum()
            loss += math.log1p(math.exp(-apart.item())) / 20
            size += sum(part.square().sum().item() for part in (user[u], item[i], item[j])) / 20
        clicks, penalty = method.teacher_loss(triples)
        assert clicks.item() == pytest.approx(loss, rel=1e-9)
        assert penalty.item() == pytest.approx(0.3 * size, rel=1e-9)

    def test_lazy_tables_have_the_same_gradient_in_the_rows_of_the_batch(self, build):
        method = build("ALDIMF", double=True, **{**SMALL, "aldimf_teacher_l2": 0.3})
        widen(method)
        triples, tables = triples_of(method, 20), list(method.teacher.values())
        whole = [table.weight for table in tables]
        dense = torch.autograd.grad(sum(method.teacher_loss(triples)), whole)
        for table in tables:
            table.sparse = True
        sparse = torch.autograd.grad(sum(method.teacher_loss(triples)), whole)
        for left, right in zip(sparse, dense, strict=True):
            assert left.is_sparse and torch.allclose(left.to_dense(), right, atol=1e-14)

    def test_student_loss_from_its_parts(self, build):
        """BPR of f_U(u) . f_I(content); alignment with u . v; matrices in the penalty."""
        keys = {"aldi_identification": 0.5, "aldi_rating": 0.3, "aldimf_l2": 0.2}
        method = build("ALDIMF", double=True, **{**SMALL, **keys})
        widen(method)
        method.set_mode("evaluate")  # running statistics: every row by itself
        triples, side = triples_of(method, 20), method.side_vectors()
        weight = torch.linspace(0, 1, method.n_ids).double()
        out = method.student_on_triples(triples, side, weight)
        factors = method.teacher["user"].weight, method.teacher["item"].weight
        rows = []
        for u, i, j in zip(triples.user, triples.item, triples.other, strict=True):
            with torch.no_grad():
                student_user = method.user_tower(factors[0][u][None])[0]
                made_i, made_j = (method.generator(side[k][None])[0] for k in (i, j))
            rows.append((student_user, made_i, made_j, factors[0][u], factors[1][i], factors[1][j]))
        seen, made_i, made_j, user, real_i, real_j = (
            torch.stack(part).detach() for part in zip(*rows, strict=True)
        )
        s_i, s_j = (seen * made_i).sum(dim=1), (seen * made_j).sum(dim=1)
        t_i, t_j = (user * real_i).sum(dim=1), (user * real_j).sum(dim=1)
        w = weight[triples.item]
        q = torch.sigmoid(t_i - t_j)
        p = torch.sigmoid(s_i - s_j)
        same = (made_i**2).sum(dim=1) - (made_i @ made_j.T).mean(dim=1)
        same_t = torch.sigmoid((real_i**2).sum(dim=1) - (real_i @ real_j.T).mean(dim=1))
        r = torch.sigmoid(same)
        squares = sum(
            layer.weight.square().sum()
            for tower in (method.generator, method.user_tower)
            for layer in (tower.inside, tower.outside)
        )
        expected = [
            -p.log().mean(),
            -0.9 * (w * (q * p.log() + (1 - q) * (1 - p).log())).mean(),
            -0.5 * (w * (same_t * r.log() + (1 - same_t) * (1 - r).log())).mean(),
            0.3 * ((t_i - s_i).abs() + (t_j - s_j).abs()).mean(),
            0.2 * squares,
        ]
        for part, value in zip(out, expected, strict=True):
            assert part.item() == pytest.approx(value.item(), rel=1e-7)

    def test_the_teacher_is_frozen_while_the_student_learns(self, build):
        """And the other way round; the click model never moves."""
        method, _ = trained(build, ("pretrain",))
        widen(method)
        teacher, student = method.learn_fits()
        before = state_of(method.backbone)
        for fit, own in ((teacher, {"teacher"}), (student, {"generator", "user_tower"})):
            (step,) = fit.steps
            names = {id(p): name for name, p in method.named_parameters()}
            assert {names[id(p)].partition(".")[0] for p in step.parameters} == own
            with only_moving(method, step.parameters):
                sum(step.loss(triples_of(method))).backward()
                assert all(p.grad is not None for p in step.parameters)
        tables = list(method.teacher.parameters())
        loss = sum(student.steps[0].loss(triples_of(method)))
        gradients = torch.autograd.grad(loss, tables, allow_unused=True)
        assert all(gradient is None for gradient in gradients)
        assert not what_moved(before, method.backbone)

    def test_triples_are_of_base_clicks(self, build):
        """As many as there are different pairs, from train; the third is any old item."""
        method = build("ALDIMF", **SMALL)
        pairs = clicked_pairs(method)
        for fit in method.learn_fits():
            batches = fit.batches
            assert len(batches.items) == len(pairs) and fit.epochs == 2
            assert torch.equal(batches.others, method.old_ids)
            for triples in batches.epoch(generator(1, "a"), 0):
                found = set(zip(triples.item.tolist(), triples.user.tolist(), strict=True))
                assert found <= pairs

    def test_old_items_by_the_teacher_new_ones_by_the_student(self, build):
        """u . v and f_U(u) . f_I(content), row by row; and a probability of either."""
        method, _ = trained(build)
        widen(method)
        method.start_new_items()
        method.set_mode("evaluate")
        index = torch.arange(len(method.dataset.inter["item_id"]))
        batch = method.rows.batch(index)
        scores, clicks = method.logits(batch), method.predict(batch)
        side = method.side_vectors()
        user, item = method.teacher["user"].weight, method.teacher["item"].weight
        old, new = set(method.old_ids.tolist()), set(method.new_ids.tolist())
        seen = {"old": 0, "new": 0, "rare": 0}
        with torch.no_grad():
            for row, (u, i) in enumerate(
                zip(batch["user_id"].tolist(), batch["item_id"].tolist(), strict=True)
            ):
                kind = "old" if i in old else "new" if i in new else "rare"
                seen[kind] += 1
                if kind == "old":
                    expected = (user[u] * item[i]).sum()
                else:
                    tower = method.user_tower(user[u][None])[0]
                    expected = (tower * method.generator(side[i][None])[0]).sum()
                assert scores[row].item() == pytest.approx(expected.item(), abs=1e-4)
        assert min(seen.values()) > 5
        assert torch.equal(clicks, torch.sigmoid(scores.double()))

    def test_scoring_leaves_modes_and_statistics(self, build):
        method, _ = trained(build)
        method.set_mode("frozen")
        kept = method.user_tower.norm.running_mean.clone()
        batch = method.rows.batch(torch.arange(30))
        assert torch.equal(method.predict(batch), method.predict(batch))
        assert torch.equal(method.user_tower.norm.running_mean, kept)
        assert method.user_tower.training and method.generator.training

    def test_cold_scores_go_with_content_and_know_no_later_rows(self, build):
        """Labels and partners of later rows change nothing; exchanged content changes scores."""

        def scores(method):
            method.set_mode("evaluate")
            return method.predict(method.rows.batch(method.rows.index(test)))

        method, _ = trained(build)
        test = method.dataset.split["test"]
        plain = scores(method)
        other = build("ALDIMF", **SMALL)
        later = torch.ones(len(other.rows.columns["label"]), dtype=torch.bool)
        later[other.train_index] = False
        column = other.rows.columns["label"].clone()
        column[later] = 1 - column[later]
        other.rows.columns["label"] = column
        trainer = Trainer(other, seed=7)
        trainer.pretrain()
        trainer.learn()
        assert torch.equal(scores(other), plain)
        features = method.rows.item_features
        for field in ("title", "year", "genre", "price"):
            features[field] = features[field].clone()
            features[field][method.new_ids] = features[field][method.new_ids].flip(0)
        kept = method.new_factors.clone()
        method.start_new_items()
        assert torch.allclose(method.new_factors, kept.flip(0), atol=1e-6)
        assert not torch.allclose(scores(method), plain)

    def test_warm_phases_repeat_the_cold_one(self, build):
        """No step is taken, no parameter moves, and it says so."""
        method, trainer = trained(build)
        assert method.serves == ("cold",)
        before = state_of(method)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert what_moved(before, method) == {"counts"}
        assert trainer.journal["stages"][-1]["steps"] == 0

    def test_the_backbone_as_teacher(self, build):
        """Its ID rows are the factors, with their size; there is no table to learn."""
        method, trainer = trained(build, ("pretrain",), aldimf_teacher="backbone")
        assert method.teacher is None and method.factor_size == 4
        assert torch.equal(method.user_factors(), method.backbone.table_of("user_id"))
        assert torch.equal(method.item_factors(), method.backbone.id_table())
        assert [fit.name for fit in method.learn_fits()] == ["learn"]
        before = state_of(method.backbone)
        trainer.learn()
        assert not what_moved(before, method.backbone)
        assert method.new_factors.any()

    def test_released_start(self, build):
        """Truncated normal of deviation 0.01; factors and towers have one size."""
        method = build("ALDIMF", aldimf_factor_size=80, aldi_hidden_size=90)
        for tower in (method.generator, method.user_tower):
            assert tower.outside.weight.shape == (80, 90)
            for layer in (tower.inside, tower.outside):
                assert layer.weight.abs().max() <= 0.02 and not layer.bias.any()
            # A normal cut at two deviations keeps 0.88 of its own.
            assert tower.outside.weight.std().item() == pytest.approx(0.0088, rel=0.05)
        assert method.teacher["user"].weight.shape == (method.n_others, 80)

    def test_items_without_content_have_the_mean_of_old_items(self, build, caplog):
        method, _ = trained(build)
        method.is_bare[method.new_ids[4]] = True
        with caplog.at_level(logging.INFO, logger="recbole_cold"):
            method.start_new_items()
        method.generator.eval()
        with torch.no_grad():
            middle = method.generator(method.side_vectors()[method.old_ids]).mean(dim=0)
        assert torch.allclose(method.new_factors[4], middle, atol=1e-6)
        assert not torch.allclose(method.new_factors[5], middle, atol=1e-6)
        assert "1 of 18 new items have no side information" in caplog.text

    def test_no_click_is_said(self, build):
        method = build("ALDIMF", **SMALL)
        method.rows.columns["label"] = torch.zeros_like(method.rows.columns["label"])
        with pytest.raises(UserError, match="no row of an old item has one"):
            method.learn_fits()
