"""ALDI: a generator of ID embeddings, taught by the backbone with the real ones."""

import math

import pytest
import torch
from helpers import batch_of, empty_attributes, fill, state_of, trainer_of, what_moved
from number_helpers import item_codes

from recbole_cold.model.aldi import (
    ALDI,
    Pairs,
    audience_share,
    distillation,
    distinct_pairs,
    identification,
    pair_rows,
    qualification,
    soft_bce,
)
from recbole_cold.training.checks import only_moving


def trained(build, stages=("pretrain", "learn"), backbone="DeepFM", **keys):
    method = build("ALDI", backbone, **keys)
    return method, trainer_of(method, stages)


def ready(build, backbone="DeepFM", **keys):
    """Built, with a generator whose rows are of a size that counts."""
    method = build("ALDI", backbone, **keys)
    fill(method.generator.parameters(), 0.5)
    method.set_mode("frozen")
    return method


def loss_of(method, batch, side=None):
    side = method.side_vectors() if side is None else side
    return method.student_loss(batch, side, method.qualifications().to(method.new_vectors.dtype))


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def dot(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))


def naive_identification(vector_i, vector_j):
    """Each pair against each pair's other item, one product at a time."""
    return [dot(v, v) - sum(dot(v, other) for other in vector_j) / len(vector_j) for v in vector_i]


def naive_distillation(student, teacher, weight, alpha, beta, gamma):
    """Ranking, identification and rating of lists of numbers."""
    number = len(weight)
    same_s = naive_identification(student["vector_i"], student["vector_j"])
    same_t = naive_identification(teacher["vector_i"], teacher["vector_j"])
    ranking = identity = rating = 0.0
    for p, w in enumerate(weight):
        s = student["score_i"][p] - student["score_j"][p]
        t = teacher["score_i"][p] - teacher["score_j"][p]
        ranking += w * (softplus(s) - sigmoid(t) * s)
        identity += w * (softplus(same_s[p]) - sigmoid(same_t[p]) * same_s[p])
        rating += abs(teacher["score_i"][p] - student["score_i"][p])
        rating += abs(teacher["score_j"][p] - student["score_j"][p])
    return alpha * ranking / number, beta * identity / number, gamma * rating / number


def draw_pairs(rng64, number=6):
    return Pairs(rng64(number), rng64(number), rng64(number))


def draw_vectors(rng64, number=6, size=3):
    """Pairs of which the vectors are known, too, and all as lists."""
    vector_i, vector_j = rng64(number, size), rng64(number, size)
    pairs = Pairs(rng64(number), rng64(number), identification(vector_i, vector_j))
    known = {"vector_i": vector_i, "vector_j": vector_j, **pairs._asdict()}
    return pairs, {name: value.tolist() for name, value in known.items()}


class TestAlignment:
    def test_distillation_by_hand(self, rng64):
        """One pair at a time, weights on the first two parts only."""
        (student, own), (teacher, real) = draw_vectors(rng64), draw_vectors(rng64)
        weight = rng64(6).abs()
        out = distillation(student, teacher, weight, 0.9, 0.5, 0.1)
        expected = naive_distillation(own, real, weight.tolist(), 0.9, 0.5, 0.1)
        for part, value in zip(out, expected, strict=True):
            assert part.item() == pytest.approx(value, abs=1e-13)

    def test_identification_is_the_mean_of_all_products(self, rng64):
        """The mean inside the product equals the matrix of all products, averaged."""
        vector_i, vector_j = rng64(7, 4), rng64(7, 4)
        out = identification(vector_i, vector_j)
        matrix = (vector_i * vector_i).sum(dim=1) - (vector_i @ vector_j.T).mean(dim=1)
        assert torch.allclose(out, matrix, atol=1e-13)
        naive = naive_identification(vector_i.tolist(), vector_j.tolist())
        assert out.tolist() == pytest.approx(naive, abs=1e-13)

    def test_agreement_is_a_stationary_point(self, rng64):
        """s = t: no distance of ratings, no gradient of ranking; its value is the entropy."""
        teacher = draw_pairs(rng64)
        scores = [teacher.score_i.clone().requires_grad_(), teacher.score_j.clone()]
        student = Pairs(*scores, teacher.same_i)
        ranking, _, rating = distillation(student, teacher, torch.ones(6).double(), 1.0, 1.0, 1.0)
        assert rating.item() == 0.0
        (gradient,) = torch.autograd.grad(ranking, scores[0])
        assert gradient.abs().max() < 1e-15
        q = torch.sigmoid(teacher.score_i - teacher.score_j)
        entropy = -(q * q.log() + (1 - q) * (1 - q).log()).mean()
        assert ranking.item() == pytest.approx(entropy.item(), abs=1e-14)
        assert entropy > 0.1

    def test_soft_bce_is_cross_entropy(self, rng64):
        logit, q = rng64(8), torch.sigmoid(rng64(8))
        p = torch.sigmoid(logit)
        expected = -(q * p.log() + (1 - q) * (1 - p).log())
        assert torch.allclose(soft_bce(logit, q), expected, atol=1e-14)

    def test_exchanging_i_and_j_flips_the_differences(self, rng64):
        """BCE(-a, 1 - q) = BCE(a, q): the ranking loss does not care which item is called i."""
        student, teacher, weight = draw_pairs(rng64), draw_pairs(rng64), rng64(6).abs()

        def swapped(pairs):
            return pairs._replace(score_i=pairs.score_j, score_j=pairs.score_i)

        ranking, _, rating = distillation(student, teacher, weight, 1.0, 1.0, 1.0)
        turned, _, again = distillation(swapped(student), swapped(teacher), weight, 1.0, 1.0, 1.0)
        half, _, _ = distillation(swapped(student), teacher, weight, 1.0, 1.0, 1.0)
        assert turned.item() == pytest.approx(ranking.item(), abs=1e-13)
        assert again.item() == pytest.approx(rating.item(), abs=1e-13)
        assert abs(half - ranking) > 1e-2

    def test_the_teacher_gets_no_gradient(self, rng64):
        """Labels are soft, but labels."""
        student = Pairs(*(part.requires_grad_() for part in draw_pairs(rng64)))
        teacher = Pairs(*(part.requires_grad_() for part in draw_pairs(rng64)))
        ranking, identity, _ = distillation(student, teacher, torch.ones(6).double(), 1.0, 1.0, 1.0)
        by_teacher = torch.autograd.grad(
            ranking + identity, list(teacher), retain_graph=True, allow_unused=True
        )
        assert all(gradient is None or not gradient.any() for gradient in by_teacher)
        by_student = torch.autograd.grad(ranking + identity, list(student))
        assert all(gradient.any() for gradient in by_student)


class TestQualification:
    def test_range_order_and_the_average_item(self):
        """0 <= w <= tanh M, increasing in n, and tanh M at n = |U| / |I|."""
        share = torch.linspace(0, 40, 200)
        weight = qualification(share, 4.0, n_items=30, n_users=90)
        assert weight[0] == 0 and (weight >= 0).all()
        assert weight.max().item() == pytest.approx(math.tanh(4.0), abs=1e-6)
        assert (weight[1:] >= weight[:-1]).all()
        assert (weight[1:9] > weight[:8]).all()
        average = qualification(torch.tensor([3.0]), 4.0, n_items=30, n_users=90)
        assert average.item() == pytest.approx(math.tanh(4.0), abs=1e-6)
        half = qualification(torch.tensor([0.75]), 2.0, n_items=30, n_users=90)
        assert half.item() == pytest.approx(math.tanh(0.5), abs=1e-6)
        assert qualification(torch.tensor([9.0]), 0.5, 30, 90).item() == pytest.approx(
            math.tanh(0.5), abs=1e-6
        )

    def test_shares_against_sets(self):
        """n_i = sum over the users of i of one over the number of their items."""
        torch.manual_seed(1)
        item, user = torch.randint(9, (60,)), torch.randint(12, (60,))
        items, users = distinct_pairs(item, user, 12)
        pairs = set(zip(item.tolist(), user.tolist(), strict=True))
        found = list(zip(items.tolist(), users.tolist(), strict=True))
        assert sorted(pairs) == found and len(found) < 60
        out = audience_share(items, users, 9, 12)
        for i in range(9):
            audience = {u for j, u in pairs if j == i}
            expected = sum(1 / len({j for j, v in pairs if v == u}) for u in audience)
            assert out[i].item() == pytest.approx(expected, rel=1e-6)
        # Every user hands out one in total, so the average item has |U| / |I|.
        assert out.sum().item() == pytest.approx(len(set(users.tolist())), rel=1e-6)


class TestPairRows:
    def test_same_user_where_there_is_one(self):
        user = torch.tensor([5, 7, 5, 9, 7, 5, 5])
        clicked = torch.tensor([True, True, False, True, False, True, False])
        seen = {0: set(), 1: set(), 3: set(), 5: set()}
        torch.manual_seed(0)
        for _ in range(200):
            i, j = pair_rows(user, clicked, torch.rand(4))
            assert i.tolist() == [0, 1, 3, 5]
            for a, b in zip(i.tolist(), j.tolist(), strict=True):
                seen[a].add(b)
        assert seen == {0: {2, 6}, 1: {4}, 3: {2, 4, 6}, 5: {2, 6}}

    def test_partners_are_drawn_evenly(self):
        user, clicked = torch.zeros(4, dtype=torch.long), torch.tensor([True, False, False, False])
        torch.manual_seed(0)
        drawn = [pair_rows(user, clicked, torch.rand(1))[1].item() for _ in range(3000)]
        for row in (1, 2, 3):
            assert abs(drawn.count(row) / 3000 - 1 / 3) < 4 * math.sqrt(2 / 9 / 3000)

    def test_the_largest_draw_stays_inside(self):
        user, clicked = torch.zeros(3, dtype=torch.long), torch.tensor([True, False, False])
        assert pair_rows(user, clicked, torch.tensor([1.0]))[1].tolist() == [2]

    def test_one_class_has_no_pairs(self):
        user = torch.arange(3)
        for clicked in (torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)):
            i, j = pair_rows(user, clicked, torch.rand(int(clicked.sum())))
            assert len(i) == len(j) == 0


class TestALDI:
    method = ALDI

    @pytest.mark.parametrize("backbone", ["DeepFM", "FNN"])
    def test_loss_row_by_row(self, build, backbone):
        """Student and teacher of each row by a forward pass of its own, then plain numbers."""
        keys = {"aldi_identification": 0.5, "aldi_rating": 0.3, "aldi_limit": 0.7}
        method = ready(build, backbone, double=True, **keys)
        batch = batch_of(method, 60)
        side = method.side_vectors()
        torch.manual_seed(5)
        out = loss_of(method, batch)
        labels = batch[method.label_field]
        torch.manual_seed(5)
        i, j = pair_rows(batch["user_id"], labels > 0, torch.rand(int(labels.sum())))
        unique, place = batch["item_id"].unique(return_inverse=True)
        made = method.generator(side[unique])[place].detach()
        table, weights = method.backbone.id_table().detach(), method.backbone.first_order_rows()
        middle = None if weights is None else method.cold_first_order()[None]
        scores = {"student": [], "teacher": []}
        for row, item in enumerate(batch["item_id"].tolist()):
            one = method.rows.batch(method.train_index[row : row + 1])
            own = None if weights is None else weights[item][None]
            with torch.no_grad():
                student = method.backbone.logits(one, made[row][None], middle)
                teacher = method.backbone.logits(one, table[item][None], own)
            scores["student"].append(student.item())
            scores["teacher"].append(teacher.item())
        entropy = sum(
            softplus(s) - y * s for s, y in zip(scores["student"], labels.tolist(), strict=True)
        ) / len(batch)
        ids = batch["item_id"]
        two = [
            {
                "score_i": [scores[who][row] for row in i.tolist()],
                "score_j": [scores[who][row] for row in j.tolist()],
                "vector_i": vectors[i].tolist(),
                "vector_j": vectors[j].tolist(),
            }
            for who, vectors in (("student", made), ("teacher", table[ids]))
        ]
        weight = method.qualifications()[ids[i]].tolist()
        assert min(weight) < 0.9 * max(weight)
        expected = [entropy, *naive_distillation(*two, weight, 0.9, 0.5, 0.3)]
        for part, value in zip(out, expected, strict=True):
            assert part.item() == pytest.approx(value, rel=1e-6)

    def test_without_alignment_it_is_click_loss_on_generated_rows(self, build):
        keys = {"aldi_ranking": 0.0, "aldi_identification": 0.0, "aldi_rating": 0.0}
        method = ready(build, double=True, **keys)
        batch = batch_of(method, 60)
        parts = loss_of(method, batch)
        made = method.generator(method.side_vectors()[batch["item_id"].unique()])
        vector = made[batch["item_id"].unique(return_inverse=True)[1]]
        click = torch.sigmoid(method.cold_logits(batch, vector))
        label = batch[method.label_field]
        plain = -(label * click.log() + (1 - label) * (1 - click).log()).mean()
        assert sum(parts).item() == pytest.approx(plain.item(), rel=1e-9)
        aligned = loss_of(ready(build, double=True), batch)
        assert all(part.item() != 0 for part in aligned)
        assert aligned[0].item() == pytest.approx(plain.item(), rel=1e-9)

    def test_the_teacher_is_untouched(self, build):
        """No gradient reaches the real rows or their scalar weights, no state changes."""
        method = ready(build)
        before = state_of(method.backbone)
        loss = sum(loss_of(method, batch_of(method, 60)))
        model = method.backbone.model
        tables = [
            model.token_embedding_table.embedding.weight,
            model.first_order_linear.token_embedding_table.embedding.weight,
        ]
        for gradient in torch.autograd.grad(loss, tables, retain_graph=True):
            assert not gradient[item_codes(method)].any()
        own = torch.autograd.grad(loss, list(method.generator.parameters()), allow_unused=True)
        assert all(gradient is not None for gradient in own)
        assert not what_moved(before, method.backbone)

    def test_a_perfect_student_has_nothing_to_learn_from_the_teacher(self, build):
        """g = v and equal scalar weights: equal scores, equal vectors."""
        method = ready(build, double=True)
        with torch.no_grad():
            method.backbone.first_order_rows().fill_(0.25)
        table = method.backbone.id_table().detach()
        made = table.clone().requires_grad_()
        method.generator.forward = lambda side: made[side[:, 0].long()]
        side = torch.arange(method.n_ids)[:, None].double()
        _, ranking, identity, rating = loss_of(method, batch_of(method, 60), side)
        assert rating.item() == 0.0
        for part in (ranking, identity):
            (gradient,) = torch.autograd.grad(part, made, retain_graph=True)
            assert gradient.abs().max() < 1e-14

    def test_qualifications_are_of_base_clicks(self, build):
        """Users who clicked on an old item in train; without the weights everybody teaches."""
        method = build("ALDI", aldi_limit=0.7)
        inter, train = method.dataset.inter, method.dataset.split["train"].tolist()
        pairs = {
            (int(inter["item_id"][row]), int(inter["user_id"][row]))
            for row in train
            if inter["label"][row] > 0
        }
        users = {u for _, u in pairs}
        out = method.qualifications().tolist()
        for i in range(method.n_ids):
            audience = {u for j, u in pairs if j == i}
            share = sum(1 / len({j for j, v in pairs if v == u}) for u in audience)
            scale = 0.7 * len(method.old_ids) / len(users)
            expected = min(math.tanh(scale * share), math.tanh(0.7))
            assert out[i] == pytest.approx(expected, abs=1e-6)
        assert not any(out[i] for i in method.new_ids.tolist())
        off = build("ALDI", aldi_weights=False)
        assert torch.equal(off.qualifications(), torch.ones(method.n_ids))
        released = build("ALDI", protocol="released", use_count=False, use_timestamp=False)
        assert torch.equal(released.qualifications(), torch.ones(method.n_ids))

    def test_a_batch_of_one_class_is_no_error(self, build):
        """Pairs are none: the click loss is all there is."""
        method = ready(build)
        label = method.rows.columns[method.label_field][method.train_index]
        for value in (0, 1):
            batch = method.rows.batch(method.train_index[label == value][:9])
            clicks, *others = loss_of(method, batch)
            assert clicks.item() > 0 and all(part.item() == 0 for part in others)
            (clicks + sum(others)).backward()
            assert all(torch.isfinite(p.grad).all() for p in method.generator.parameters())

    # ---------------------------------------------------------------- stages
    def test_only_the_generator_learns(self, build):
        method, trainer = trained(build, ("pretrain",), aldi_epochs=2)
        (fit,) = method.learn_fits()
        (step,) = fit.steps
        assert {id(p) for p in step.parameters} == {id(p) for p in method.generator.parameters()}
        batch = batch_of(method, 60)
        with only_moving(method, step.parameters):
            sum(step.loss(batch)).backward()
        assert method.backbone.model.token_embedding_table.embedding.weight.grad is None
        trainer.learn()
        steps = math.ceil(len(method.dataset.split["train"]) / 64)
        assert trainer.journal["stages"][-1]["steps"] == 2 * steps

    def test_cold_rows_are_generated_without_batch_statistics(self, build):
        method, _ = trained(build)
        side = method.side_vectors()
        method.generator.eval()
        with torch.no_grad():
            alone = torch.cat([method.generator(side[i][None]) for i in method.new_ids])
        assert torch.allclose(method.new_vectors, alone, atol=1e-6)
        method.set_mode("frozen")
        kept = method.generator.norm.running_mean.clone()
        assert torch.equal(method.cold_vectors(), method.new_vectors)
        assert torch.equal(method.generator.norm.running_mean, kept) and method.generator.training

    def test_items_without_content_start_from_the_mean(self, build):
        method, _ = trained(build)
        empty_attributes(method, method.new_ids[4])
        rows = method.cold_vectors()
        assert torch.equal(rows[4], method.old_mean())
        assert not torch.equal(rows[5], rows[4])

    def test_warm_phases_are_plain_fine_tuning(self, build):
        method, trainer = trained(build)
        before = state_of(method)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert what_moved(before, method) == {"new_vectors", "new_first_order", "counts"}

    def test_on_new_users(self, build):
        """Sides swapped: pairs are rows of one item, qualifications are users'."""
        method = ready(build, cold_side="user", cold_threshold=16)
        out = loss_of(method, batch_of(method, 60))
        assert all(torch.isfinite(part) for part in out)
        weight = method.qualifications()
        assert weight.shape == (method.n_ids,) and weight[method.old_ids].any()
        assert not weight[method.new_ids].any()
