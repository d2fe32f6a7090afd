"""GAR: a generator of ID embeddings that plays against the backbone."""

import logging
import math

import numpy as np
import pytest
import torch
from helpers import batch_of, empty_attributes, fill, state_of, trainer_of, what_moved

from recbole_cold.data.rows import Rows
from recbole_cold.model._content import (
    ContentNet,
    mean,
    tanh,
    tell_without_content,
    without_content,
)
from recbole_cold.model.gar import GAR, distance, ranking_loss, recommender_loss
from recbole_cold.training.checks import only_moving
from recbole_cold.training.trainer import Trainer

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def trained(build, stages=("pretrain", "learn"), backbone="DeepFM", **keys):
    method = build("GAR", backbone, **keys)
    return method, trainer_of(method, stages)


def ready(build, backbone="DeepFM", **keys):
    """Built, with content, and with a generator whose rows are of a size that counts."""
    method = build("GAR", backbone, **{"gar_dropout": 0.0, **keys})
    method.begin_learn()
    fill(method.generator.parameters(), 0.5)
    method.set_mode("frozen")
    return method


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def score(method, row, item, vector, scalar):
    """The logit of one row with any item, vector and scalar weight in it."""
    one = method.rows.batch(row[None])
    one[method.id_field] = torch.tensor([item])
    first = None if scalar is None else torch.tensor([[scalar]]).to(vector.dtype)
    with torch.no_grad():
        return method.backbone.logits(one, vector[None], first).item()


class TestContentNet:
    def test_by_hand(self, rng64):
        """Linear, normalised over the batch, tanh, linear: one number at a time."""
        net = ContentNet(3, 2, 4).double()
        side = rng64(5, 3)
        with torch.no_grad():
            net.norm.weight.copy_(rng64(2))
            net.norm.bias.copy_(rng64(2))
        out = net(side)
        weight, bias = net.inside.weight.tolist(), net.inside.bias.tolist()
        inside = [
            [
                b + sum(w * s for w, s in zip(line, row, strict=True))
                for line, b in zip(weight, bias, strict=True)
            ]
            for row in side.tolist()
        ]
        for k in range(2):
            column = [row[k] for row in inside]
            middle = sum(column) / 5
            spread = math.sqrt(sum((x - middle) ** 2 for x in column) / 5 + 1e-5)
            for row in inside:
                normal = (row[k] - middle) / spread
                row[k] = math.tanh(net.norm.weight[k].item() * normal + net.norm.bias[k].item())
        for row, values in enumerate(inside):
            for k in range(4):
                line = net.outside.weight[k].tolist()
                expected = net.outside.bias[k].item()
                expected += sum(w * v for w, v in zip(line, values, strict=True))
                assert out[row, k].item() == pytest.approx(expected, abs=1e-12)

    def test_a_single_item_reads_the_running_statistics_and_leaves_them(self, rng64):
        net = ContentNet(3, 2, 4).double()
        net(rng64(5, 3))
        kept = net.norm.running_mean.clone()
        one = rng64(1, 3)
        in_training = net(one)
        assert torch.equal(net.norm.running_mean, kept)
        net.eval()
        assert torch.allclose(in_training, net(one), rtol=1e-12, atol=1e-12)

    def test_dropout_is_on_in_training_only(self, rng64):
        torch.manual_seed(0)
        net = ContentNet(3, 50, 4, dropout=0.5).double()
        side = rng64(5, 3)
        assert not torch.equal(net(side), net(side))
        net.eval()
        assert torch.equal(net(side), net(side))

    def test_tanh_and_its_slope(self):
        """Within 2e-7 of PyTorch's, far out as well; numbers of 64 bits by PyTorch's own."""
        values = torch.cat([torch.linspace(-12, 12, 4801), torch.tensor([-1e4, -100, 100, 1e4])])
        x, y = values.clone().requires_grad_(), values.double().requires_grad_()
        out, expected = tanh(x), torch.tanh(y)
        assert (out.double() - expected).abs().max() < 2e-7
        slopes = [torch.autograd.grad(part.sum(), of)[0] for part, of in ((out, x), (expected, y))]
        assert (slopes[0].double() - slopes[1]).abs().max() < 4e-7
        assert torch.equal(tanh(y), expected)

    def test_the_mean_of_nothing_is_zero(self):
        assert mean(torch.tensor([1.0, 2.0, 6.0])).item() == 3.0
        assert mean(torch.zeros(0)).item() == 0.0


class TestWithoutContent:
    def test_items_with_padding_in_all_fields(self, build):
        """One code anywhere is content; a number, which the loader fills in, is not."""
        method = build("GAR")
        empty_attributes(method, method.new_ids[:3])
        features = method.rows.item_features
        features["genre"][method.new_ids[1], -1] = 1
        features["year"][method.new_ids[2]] = 1
        bare = without_content(method.backbone)
        expected = [0, method.new_ids[0].item()]
        assert torch.nonzero(bare)[:, 0].tolist() == sorted(expected)

    def test_numbers_alone_are_content(self, build):
        load = {
            "inter": ["user_id", "item_id", "rating", "timestamp"],
            "item": ["item_id", "price"],
        }
        method = build("GAR", load_col=load, numerical_features=["price"])
        assert not without_content(method.backbone).any()

    def test_they_start_from_the_mean_and_are_counted(self, build, caplog):
        method, _ = trained(build)
        new = method.new_ids
        with caplog.at_level(logging.INFO, logger="recbole_cold"):
            method.cold_vectors()
        assert "side information" not in caplog.text
        empty_attributes(method, new[4])
        made = method.new_vectors.detach().clone()
        with caplog.at_level(logging.INFO, logger="recbole_cold"):
            rows = method.cold_vectors()
        assert torch.equal(rows[4], method.old_mean())
        others = torch.arange(len(new)) != 4
        assert torch.allclose(rows[others], made[others], atol=1e-6)
        assert f"1 of {len(new)} new items have no side information" in caplog.text

    def test_none_is_not_said(self, caplog):
        with caplog.at_level(logging.INFO, logger="recbole_cold"):
            tell_without_content(torch.tensor([False, False]), "zero")
            assert not caplog.text
            tell_without_content(torch.tensor([True, False]), "zero")
        assert "1 of 2 new items have no side information; they start from zero" in caplog.text


class TestGAR:
    method = GAR

    # ---------------------------------------------------------------- the two losses
    def test_losses_by_hand(self, rng64):
        """One number at a time."""
        parts = [rng64(5), rng64(5), rng64(5)]
        real, fake, other = (part.tolist() for part in parts)
        expected = sum(
            softplus(-(r - 0.9 * f - 0.1 * o)) for r, f, o in zip(real, fake, other, strict=True)
        )
        assert recommender_loss(*parts, 0.1).item() == pytest.approx(expected / 5, abs=1e-14)
        game = sum(softplus(-(f - r)) for f, r in zip(fake, real, strict=True)) / 5
        assert ranking_loss(parts[1], parts[0]).item() == pytest.approx(game, abs=1e-14)

    def test_distance_by_hand(self, rng64):
        made, true = rng64(3, 4), rng64(3, 4)
        for row in range(3):
            apart = sum(abs(a - b) for a, b in zip(made[row], true[row], strict=True)) / 4
            assert distance(made, true)[row].item() == pytest.approx(apart.item(), abs=1e-14)

    def test_a_constant_added_to_all_logits_changes_neither(self, rng64):
        """(1 - beta) + beta = 1: the game alone knows no level, which the click loss keeps."""
        real, fake, other = rng64(6), rng64(6), rng64(6)
        for beta in (0.1, 0.7):
            loss = recommender_loss(real, fake, other, beta)
            assert abs(recommender_loss(real + 5, fake + 5, other + 5, beta) - loss) < 1e-14
        assert abs(ranking_loss(fake + 5, real + 5) - ranking_loss(fake, real)) < 1e-14

    def test_beta_one_is_bpr_and_knows_no_generator(self, rng64):
        real, fake, other = rng64(6), rng64(6).requires_grad_(), rng64(6)
        loss = recommender_loss(real, fake, other, 1.0)
        bpr = -torch.log(torch.sigmoid(real - other)).mean()
        assert abs(loss - bpr) < 1e-14
        (gradient,) = torch.autograd.grad(loss, fake)
        assert not gradient.any()

    @pytest.mark.parametrize("backbone", ["FNN", "DeepFM"])
    def test_a_perfect_imitation_has_ln_2(self, build, backbone):
        """g = v: ranking (1 - alpha) ln 2, similarity 0; scalar weights must not tell, either."""
        method = ready(build, backbone, double=True, gar_alpha=0.3)
        with torch.no_grad():
            weights = method.backbone.first_order_rows()
            if weights is not None:
                weights.fill_(0.25)
        method.made_rows = lambda ids: method.backbone.id_table()[ids].detach()
        rank, apart, *_ = method.generator_step(batch_of(method, 60))
        assert rank.item() == pytest.approx(0.7 * math.log(2.0), abs=1e-12)
        assert apart.item() == 0.0

    @pytest.mark.parametrize("backbone", ["DeepFM", "FNN"])
    def test_the_recommenders_loss_row_by_row(self, build, backbone):
        """Clicked rows with their own item, its generated twin as a new item, and another item."""
        method = ready(build, backbone, double=True, gar_beta=0.3, gar_click_weight=0.7, gar_l2=0.2)
        method._recommender_moves = lambda: (method.set_mode("frozen"), method.generator.eval())
        batch = batch_of(method, 60)
        torch.manual_seed(5)
        game, clicks, penalty = method.recommender_step(batch)
        labels, ids = batch[method.label_field].tolist(), batch["item_id"].tolist()
        torch.manual_seed(5)
        drawn = method.old_ids[torch.randint(len(method.old_ids), (int(sum(labels)),))].tolist()
        assert len(set(drawn)) > 5 and set(drawn) <= set(method.old_ids.tolist())
        table, weights = method.backbone.id_table(), method.backbone.first_order_rows()
        made = method.generator(method.content[batch["item_id"]])
        scalar = None if weights is None else weights[:, 0].tolist()
        middle = None if weights is None else method.cold_first_order().item()
        total, entropy, place = 0.0, 0.0, 0
        for row, (item, label) in enumerate(zip(ids, labels, strict=True)):
            at = method.train_index[row]
            real = score(method, at, item, table[item], scalar and scalar[item])
            entropy += softplus(real) - label * real
            if label == 0:
                continue
            other = drawn[place]
            place += 1
            fake = score(method, at, item, made[row], middle)
            strange = score(method, at, other, table[other], scalar and scalar[other])
            total += softplus(-(real - 0.7 * fake - 0.3 * strange))
        assert game.item() == pytest.approx(total / place, rel=1e-6)
        assert clicks.item() == pytest.approx(0.7 * entropy / len(ids), rel=1e-6)
        squares = sum(
            parameter.square().sum().item()
            for name, parameter in method.backbone.model.named_parameters()
            if ("mlp" in name and parameter.dim() == 2) or name == "deep_predict_layer.weight"
        )
        if backbone == "DeepFM":
            assert penalty.item() == pytest.approx(0.2 * squares, rel=1e-9)

    @pytest.mark.parametrize("backbone", ["DeepFM", "FNN"])
    def test_the_generators_loss_row_by_row(self, build, backbone):
        """Ranking over clicked rows, distance over all rows, matrices in the penalty."""
        keys = {"gar_alpha": 0.3, "gar_l2": 0.2, "gar_generator_click_weight": 0.6}
        method = ready(build, backbone, double=True, **keys)
        batch = batch_of(method, 60)
        rank, apart, clicks, penalty = method.generator_step(batch)
        unique, place = batch["item_id"].unique(return_inverse=True)
        made = method.generator(method.content[unique])[place]
        table, weights = method.backbone.id_table(), method.backbone.first_order_rows()
        middle = None if weights is None else method.cold_first_order().item()
        total, far, entropy, clicked = 0.0, 0.0, 0.0, 0
        for row, item in enumerate(batch["item_id"].tolist()):
            far += (made[row] - table[item]).abs().mean().item()
            label = batch[method.label_field][row].item()
            at = method.train_index[row]
            fake = score(method, at, item, made[row], middle)
            entropy += softplus(fake) - label * fake
            if label == 0:
                continue
            clicked += 1
            own = None if weights is None else weights[item].item()
            total += softplus(-(fake - score(method, at, item, table[item], own)))
        assert 0 < clicked < len(batch)
        assert rank.item() == pytest.approx(0.7 * total / clicked, rel=1e-6)
        assert apart.item() == pytest.approx(0.3 * far / len(batch), rel=1e-6)
        assert clicks.item() == pytest.approx(0.6 * entropy / len(batch), rel=1e-6)
        squares = [method.generator.inside.weight, method.generator.outside.weight]
        expected = 0.2 * sum(part.square().sum().item() for part in squares)
        assert penalty.item() == pytest.approx(expected, rel=1e-9)

    def test_the_other_item_brings_its_own_features(self, build):
        """User and context stay; a stranger with the row's own features would be told at once."""
        method = ready(build)
        batch = batch_of(method, 20)
        clicked = torch.nonzero(batch[method.label_field] > 0)[:, 0]
        seen = {}
        forward = method.backbone.logits

        def spy(rows, vector, first):
            seen.update({field: rows[field] for field in ("user_id", "device", "genre", "item_id")})
            seen["vector"], seen["first"] = vector, first
            return forward(rows, vector, first)

        method.backbone.logits = spy
        other = method.old_ids[:1].expand(len(clicked))
        method.three_logits(batch, clicked, other)
        p = len(clicked)
        for field in ("user_id", "device"):
            assert torch.equal(seen[field][-p:], batch[field][clicked])
            assert torch.equal(seen[field][-2 * p : -p], batch[field][clicked])
        genre = method.rows.item_features["genre"]
        assert torch.equal(seen["genre"][-p:], genre[other])
        assert torch.equal(seen["genre"][-2 * p : -p], genre[batch["item_id"][clicked]])
        assert torch.equal(seen["vector"][-p:], method.backbone.id_table()[other])
        assert torch.equal(seen["first"][-p:], method.backbone.first_order_rows()[other])

    def test_a_batch_without_a_click_is_no_error(self, build):
        method = ready(build)
        index = method.train_index[method.rows.columns[method.label_field][method.train_index] == 0]
        for step in (method.recommender_step, method.generator_step):
            parts = step(method.rows.batch(index[:9]))
            assert parts[0].item() == 0.0
            assert all(torch.isfinite(part) for part in parts)
            sum(parts).backward()
            assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())

    # ---------------------------------------------------------------- who moves
    def test_the_generators_move_computes_no_gradient_of_the_recommender(self, build):
        """They would be thrown away. The recommender's own move still has all of its gradients."""
        method = ready(build)
        recommender, generator = method.learn_fits()[0].steps
        batch = batch_of(method, 60)
        with only_moving(method, [*recommender.parameters, *generator.parameters]):
            sum(generator.loss(batch)).backward()
            assert all(p.grad is None for p in method.backbone.parameters())
            assert all(p.grad is not None for p in generator.parameters)
            sum(recommender.loss(batch)).backward()
            assert all(p.grad is not None for p in method.backbone.parameters())

    @pytest.mark.parametrize("backbone", ["DeepFM", "DCN"])
    def test_each_move_leaves_the_other_side_alone(self, build, backbone):
        """The recommender's: all of the generator, its statistics too. The generator's: the whole
        backbone, buffers too. Neither moves a row or a scalar weight of an ID."""
        method, _ = trained(build, ("pretrain",), backbone)
        method.begin_learn()
        first, second = method.learn_fits()[0].steps
        frozen = [method.backbone.id_table(), method.backbone.first_order_table()]
        kept = [rows.detach().clone() for rows in frozen]
        for step, mine, theirs in (
            (first, "backbone.", "generator."), (second, "generator.", "backbone."),
        ):  # fmt: skip
            before = state_of(method)
            with only_moving(method, step.parameters):
                optimizer = torch.optim.Adam(step.parameters, lr=0.01)
                for place in range(3):
                    optimizer.zero_grad()
                    sum(step.loss(batch_of(method, 20 + place))).backward()
                    optimizer.step()
            changes = what_moved(before, method)
            assert any(name.startswith(mine) for name in changes)
            assert not any(name.startswith(theirs) for name in changes)
            buffers = {n for n in changes if n.rpartition(".")[2] in STATISTICS}
            assert {n.partition(".")[0] for n in buffers} <= {"generator"}
        for rows, start in zip(frozen, kept, strict=True):
            assert torch.equal(rows, start)

    @pytest.mark.parametrize("keys", [{}, {"weight_decay": 1e-2}, {"table_update": "lazy"}])
    def test_learning_never_moves_an_id_row(self, build, keys):
        """Also with a decay and with either form of Adam; the tables beside them do move."""
        method, trainer = trained(build, ("pretrain",), **keys)
        rows = method.backbone.id_table().detach().clone()
        scalars = method.backbone.first_order_rows().detach().clone()
        users = method.backbone.table_of("user_id").detach().clone()
        trainer.learn()
        assert torch.equal(method.backbone.id_table(), rows)
        assert torch.equal(method.backbone.first_order_rows(), scalars)
        assert not torch.equal(method.backbone.table_of("user_id"), users)

    def test_the_recommender_moves_first(self, build):
        """The generator's loss of a batch is that of the recommender after its step."""
        method, _ = trained(build, ("pretrain",), learning_rate=0.05, train_batch_size=5000)
        seen = []
        move = method.generator_step

        def spy(batch):
            seen.append(method.backbone.model.deep_predict_layer.weight.detach().clone())
            return move(batch)

        method.generator_step = spy
        before = method.backbone.model.deep_predict_layer.weight.detach().clone()
        trainer = Trainer(method, seed=7)
        trainer.journal["stages"] = [{"name": "pretrain"}]
        trainer.learn()
        assert len(seen) == 1
        assert torch.equal(seen[0], method.backbone.model.deep_predict_layer.weight)
        assert not torch.equal(seen[0], before)

    def test_modes_of_the_two_sides(self, build):
        """Who moves is in training; BatchNorm of the backbone is frozen all the same."""
        method = ready(build, "DCN", dropout_prob=0.2)
        seen = []
        forward = method.backbone.logits

        def spy(*arguments):
            layers = [m for m in method.backbone.modules() if isinstance(m, torch.nn.Dropout)]
            norms = [m for m in method.backbone.modules() if "BatchNorm" in type(m).__name__]
            assert layers and norms and not any(norm.training for norm in norms)
            seen.append((layers[0].training, method.generator.training))
            return forward(*arguments)

        method.backbone.logits = spy
        method.recommender_step(batch_of(method, 60))
        assert set(seen) == {(True, False)}
        seen.clear()
        method.generator_step(batch_of(method, 60))
        assert set(seen) == {(False, True)}

    def test_generator_only(self, build):
        """gar_finetune_recommender: False leaves the backbone as it was."""
        method, trainer = trained(build, ("pretrain",), gar_finetune_recommender=False)
        before = state_of(method.backbone)
        trainer.learn()
        assert not what_moved(before, method.backbone)
        steps = math.ceil(len(method.dataset.split["train"]) / 64)
        assert trainer.journal["stages"][-1]["steps"] == steps
        played, both = trained(build, gar_epochs=2)
        assert both.journal["stages"][-1]["steps"] == 2 * 2 * steps
        assert not torch.equal(played.new_vectors, method.new_vectors)

    # ---------------------------------------------------------------- what is served
    def test_cold_rows_are_of_the_pretrained_content(self, build):
        """The tables that the game moves do not change what the generator reads."""
        method, trainer = trained(build, ("pretrain",))
        side = method.side_vectors().clone()
        trainer.learn()
        assert torch.equal(method.content, side)
        assert not torch.equal(method.side_vectors(), side)
        method.generator.eval()
        with torch.no_grad():
            expected = method.generator(side[method.new_ids])
        assert torch.equal(method.new_vectors, expected)
        method.set_mode("frozen")
        assert torch.equal(method.cold_vectors(), expected)
        assert method.generator.training

    def test_unseen_items_are_read_with_the_tables_before_the_game(self, build):
        """In the place of the first new item; afterwards the tables are those after the game."""
        method, _ = trained(build, gar_epochs=2)
        method.set_mode("frozen")
        right = method.cold_vectors()
        before = {name: value.clone() for name, value in method.state_dict().items()
                  if isinstance(value, torch.Tensor)}  # fmt: skip
        first, second = method.new_ids[:2].tolist()
        for field, column in method.rows.item_features.items():
            column = column.clone()
            column[first] = column[second]
            method.rows.item_features[field] = column
        found = method.unseen_vectors(["any"])
        assert torch.allclose(found, right[1:2], atol=1e-7)
        assert not torch.allclose(found, right[:1], atol=1e-5)
        assert all(torch.equal(method.state_dict()[name], each) for name, each in before.items())

    def test_warm_phases_are_plain_fine_tuning(self, build):
        method, trainer = trained(build)
        before = state_of(method)
        index = method.dataset.split["warm_a"]
        trainer.warm_up("warm_a", index)
        assert what_moved(before, method) == {"new_vectors", "new_first_order", "counts"}
        touched = np.unique(np.asarray(method.dataset.inter["item_id"])[index])
        slots = method.new_index[torch.as_tensor(touched, dtype=torch.long)]
        assert (method.new_vectors != before["new_vectors"]).any(dim=1)[slots].all()

    def test_on_new_users(self, build):
        """A user's other is another user before the same item."""
        method = ready(build, cold_side="user", cold_threshold=16)
        batch = batch_of(method, 20)
        clicked = torch.nonzero(batch[method.label_field] > 0)[:, 0]
        seen = {}
        forward = method.backbone.logits

        def spy(rows, vector, first):
            seen.update({field: rows[field] for field in ("user_id", "item_id", "age")})
            return forward(rows, vector, first)

        method.backbone.logits = spy
        other = method.old_ids[:1].expand(len(clicked))
        method.three_logits(batch, clicked, other)
        p = len(clicked)
        assert torch.equal(seen["item_id"][-p:], batch["item_id"][clicked])
        assert torch.equal(seen["age"][-p:], method.rows.user_features["age"][other])


def test_rows_of_a_batch_are_not_shared_with_the_game(build):
    """Exchanging items in the game's rows leaves the batch and the data set alone."""
    method = ready(build)
    batch = batch_of(method, 60)
    ids = batch["item_id"].clone()
    column = method.rows.columns["item_id"].clone()
    method.recommender_step(batch)
    assert torch.equal(batch["item_id"], ids)
    assert torch.equal(method.rows.columns["item_id"], column)
    assert isinstance(method.rows, Rows)
