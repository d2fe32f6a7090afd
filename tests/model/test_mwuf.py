"""MWUF: cold embeddings, scaled and shifted into warm ones."""

import itertools
import math

import pytest
import torch
from helpers import state_of, trainer_of, what_moved

from recbole_cold.errors import UserError
from recbole_cold.model.mwuf import MWUF, mean_audience, warm
from recbole_cold.training.trainer import Trainer


def trained(build, stages=("pretrain", "learn"), backbone="DeepFM", **keys):
    method = build("MWUF", backbone, **keys)
    return method, trainer_of(method, stages)


def parameters_of(net):
    """A network's parameters as lists, to compute with numbers only."""
    layers = [layer for layer in net if hasattr(layer, "weight")]
    return [(layer.weight.tolist(), layer.bias.tolist()) for layer in layers]


def run_net(net, vector):
    """Linear, ReLU, Linear, one number at a time."""
    layers = parameters_of(net)
    for place, (weight, bias) in enumerate(layers):
        out = []
        for row, b in zip(weight, bias, strict=True):
            total = b + sum(w * v for w, v in zip(row, vector, strict=True))
            out.append(max(total, 0.0) if place < len(layers) - 1 else total)
        vector = out
    return vector


def audience_of(method, rows):
    """Item -> the users of its rows, one entry per row."""
    lists = {}
    for row in rows:
        item = int(method.dataset.inter["item_id"][row])
        lists.setdefault(item, []).append(int(method.dataset.inter["user_id"][row]))
    return lists


def naive_mean(method, users):
    """u_i: the mean embedding of these users, zero if there are none."""
    model = method.backbone.model
    weight = model.token_embedding_table.embedding.weight
    start = sum(
        method.dataset.num(name)
        for name in model.token_field_names[: model.token_field_names.index("user_id")]
    )
    if not users:
        return [0.0] * 4
    return [sum(weight[start + u, k].item() for u in users) / len(users) for k in range(4)]


class TestMWUF:
    method = MWUF

    def test_only_old_and_new_items_have_a_cold_row(self, build):
        """Those that are too rare have none, and asking for one is an error, not another's row."""
        method = build("MWUF")
        n_own = len(method.old_ids) + len(method.new_ids)
        for whole in (method.cold_id.weight, method.audience_sum, method.audience_count):
            assert len(whole) == n_own < method.n_ids - 1
        with torch.no_grad():
            method.cold_id.weight.copy_(torch.arange(n_own)[:, None].expand(-1, 4))
        found = method.cold_of(torch.cat([method.new_ids, method.old_ids]))[:, 0]
        order = torch.cat([method.new_ids, method.old_ids]).argsort().argsort()
        assert torch.equal(found, order.float())
        with pytest.raises((IndexError, RuntimeError)):
            method.cold_of(torch.tensor([0]))

    # ---------------------------------------------------------------- equation 5
    def test_warm_is_cold_times_scale_plus_shift(self, rng64):
        """Element by element, with either part left out too."""
        cold, scale, shift = rng64(4, 5), rng64(4, 5), rng64(4, 5)
        both, scaled, shifted = warm(cold, scale, shift), warm(cold, scale, None), warm(
            cold, None, shift
        )  # fmt: skip
        for row, k in itertools.product(range(4), range(5)):
            c, a, b = cold[row, k], scale[row, k], shift[row, k]
            assert both[row, k] == c * a + b
            assert scaled[row, k] == c * a
            assert shifted[row, k] == c + b
        assert torch.equal(warm(cold, None, None), cold)

    @pytest.mark.parametrize("parts", [["scale", "shift"], ["scale"], ["shift"]])
    def test_cold_row_from_scratch(self, build, parts):
        """w_i with C_i as learned, s_i from the backbone and nobody seen: one number at a time."""
        method, _ = trained(build, mwuf_parts=parts)
        side = method.backbone.side_vectors()
        for place, item in enumerate(method.new_ids.tolist()):
            out = method.cold_of(torch.tensor([item]))[0].tolist()
            if "scale" in parts:
                scale = run_net(method.scale_net, side[item].tolist())
                out = [c * s for c, s in zip(out, scale, strict=True)]
            if "shift" in parts:
                shift = run_net(method.shift_net, [0.0] * 4)
                out = [c + s for c, s in zip(out, shift, strict=True)]
            assert method.new_vectors[place].tolist() == pytest.approx(out, abs=1e-5)

    def test_scale_one_and_shift_zero_give_the_cold_logits(self, build):
        """h = 1, g = 0 by their last layers: w = C bit for bit."""
        method, _ = trained(build, stages=("pretrain",))
        method.begin_learn()
        with torch.no_grad():
            for net, bias in ((method.scale_net, 1.0), (method.shift_net, 0.0)):
                net[-1].weight.zero_()
                net[-1].bias.fill_(bias)
        method.set_mode("evaluate")
        warmed = method.warm_vectors(method.own_ids, method.side_vectors())
        assert torch.equal(warmed, method.cold_id.weight)
        cold, warmed = method._steps(1e-3, first_order=False)
        batch = method.rows.batch(method.train_index[:100])
        with torch.no_grad():
            assert torch.equal(cold.loss(batch), warmed.loss(batch))
            method.scale_net[-1].bias.fill_(1.1)
            assert not torch.equal(cold.loss(batch), warmed.loss(batch))

    def test_each_loss_owns_its_parameters(self, build):
        """dL_warm/dC = 0, dL_cold/d(h, g) = 0, and neither is zero for its own."""
        method, _ = trained(build, stages=("pretrain",))
        method.begin_learn()
        method.set_mode("frozen")
        batch = method.rows.batch(method.train_index[:100])
        cold, warmed = method._steps(1e-3, first_order=False)
        for step, own, other in (
            (cold, [method.cold_id.weight], method.networks()),
            (warmed, method.networks(), [method.cold_id.weight]),
        ):
            assert [id(p) for p in step.parameters] == [id(p) for p in own]
            loss = step.loss(batch)
            mine = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
            not_mine = torch.autograd.grad(loss, other, allow_unused=True)
            assert all(g is not None and g.any() for g in mine)
            assert all(g is None or not g.any() for g in not_mine)

    def test_algorithm_1_on_one_batch(self, build):
        """Adam on C by the cold loss; then Adam on h and g by the warm loss with the new C."""
        # A large rate: after C's step the gradients of h and g have other signs than before it.
        keys = {"stages": ("pretrain",), "train_batch_size": 5000, "learning_rate": 0.3}
        method, trainer = trained(build, **keys)
        twin, _ = trained(build, **keys)
        twin.begin_learn()
        twin.set_mode("frozen")
        batch = twin.rows.batch(twin.train_index)
        own, place = twin.own_ids, twin.own_index[batch["item_id"]]
        side = twin.backbone.side_vectors()[own]
        label = batch[twin.label_field]
        audience = audience_of(twin, twin.dataset.split["train"])
        users = torch.tensor([naive_mean(twin, audience.get(i, [])) for i in own.tolist()])
        scalar = twin.cold_first_order().expand(len(place), 1)

        def loss(vector):
            click = torch.sigmoid(twin.backbone.logits(batch, vector, scalar))
            return -(label * click.log() + (1 - label) * (1 - click).log()).mean()

        def adam_step(value, parameters):
            optimizer = torch.optim.Adam(parameters, lr=0.3)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()

        cold = twin.cold_id.weight
        start = cold.detach().clone()
        adam_step(loss(cold[place]), [cold])
        scale, shift = twin.scale_net(side), twin.shift_net(users)
        adam_step(loss((cold.detach() * scale + shift)[place]), twin.networks())
        trainer.learn()
        assert trainer.journal["stages"][-1]["steps"] == 2
        assert not torch.equal(method.cold_id.weight, start)
        assert torch.allclose(method.cold_id.weight, cold, atol=1e-5)
        for ours, theirs in zip(method.networks(), twin.networks(), strict=True):
            # Adam's first step has the size of the rate whatever the gradient's: where that is
            # rounding alone, two orders of summation may go two ways.
            told = theirs.grad.abs() > 1e-6
            assert told.float().mean() > 0.5
            assert torch.allclose(ours[told], theirs[told], atol=1e-5)

    def test_old_items_learn_as_if_new(self, build):
        """Their trained rows and scalars enter no loss; only their mean does, at the start."""
        method, _ = trained(build, stages=("pretrain",))
        method.begin_learn()
        method.set_mode("frozen")
        batch = method.rows.batch(method.train_index[:100])
        losses = [step.loss(batch).item() for step in method._steps(1e-3, first_order=False)]
        with torch.no_grad():
            method.backbone.id_table().uniform_(-1, 1)
        again = method.rows.batch(method.train_index[:100])
        assert losses == [s.loss(again).item() for s in method._steps(1e-3, first_order=False)]

    # ---------------------------------------------------------------- where C starts
    def test_c_starts_at_the_mean_of_old_items(self, build):
        method = build("MWUF")
        with torch.no_grad():
            table = method.backbone.id_table()
            expected = [
                sum(table[i, k].item() for i in method.old_ids.tolist()) / 15 for k in range(4)
            ]
            table[method.new_ids] = math.nan
            table[0] = math.nan
        method.begin_learn()
        for row in method.cold_id.weight.tolist():
            assert row == pytest.approx(expected, abs=1e-6)

    def test_released_start_is_the_mean_of_the_table(self, build):
        method = build("MWUF", mwuf_mean="table")
        method.begin_learn()
        table = method.backbone.id_table().tolist()
        expected = [sum(row[k] for row in table) / len(table) for k in range(4)]
        assert method.cold_id.weight[5].tolist() == pytest.approx(expected, abs=1e-6)
        assert (method.cold_id.weight[5] - method.old_mean()).abs().max() > 1e-3

    def test_released_networks_start_small(self, build):
        """U(-0.01, 0.01): w is then almost zero."""
        small = build("MWUF", mwuf_init="uniform")
        assert all(p.abs().max() <= 0.01 for p in small.networks())
        assert sum(p.abs().sum() for p in small.networks()) > 0
        assert any(p.abs().max() > 0.1 for p in build("MWUF").networks())

    # ---------------------------------------------------------------- U(i)
    def test_audience_against_lists(self, build):
        """Duplicates count twice, nobody gives zero; the transpose is another thing."""
        method, _ = trained(build, stages=("pretrain",))
        method.begin_learn()
        split = method.dataset.split
        rows = split["train"].tolist() + 2 * split["warm_a"].tolist()
        method.observe(method.rows.index(split["warm_a"]))
        method.observe(method.rows.index(split["warm_a"]))
        lists = audience_of(method, rows)
        assert any(len(users) > len(set(users)) for users in lists.values())
        means = mean_audience(method.audience_sum, method.audience_count)
        own = sorted([*method.old_ids.tolist(), *method.new_ids.tolist()])
        assert own == sorted(lists) == method.own_ids.tolist()
        for place, item in enumerate(own):
            expected = naive_mean(method, lists[item])
            assert means[place].tolist() == pytest.approx(expected, abs=1e-5)
        transposed = {}
        for item, users in lists.items():
            for user in users:
                transposed.setdefault(user, []).append(item)
        wrong = torch.tensor([naive_mean(method, transposed.get(i, [])) for i in own])
        assert (means - wrong).abs().max() > 0.1

    def test_audience_grows_with_each_warm_up_set(self, build):
        """New items have nobody at first; then the users of all sets seen so far."""
        method, trainer = trained(build)
        split = method.dataset.split
        of_new = method.own_index[method.new_ids]
        assert not method.audience_count[of_new].any()
        rows = []
        for name in ("warm_a", "warm_b"):
            rows += split[name].tolist()
            trainer.warm_up(name, split[name])
            lists = audience_of(method, rows)
            means = mean_audience(method.audience_sum, method.audience_count)
            for place, item in zip(of_new.tolist(), method.new_ids.tolist(), strict=True):
                expected = naive_mean(method, lists[item])
                assert means[place].tolist() == pytest.approx(expected, abs=1e-5)

    def test_positive_users_only(self, build):
        method, _ = trained(build, stages=("pretrain",), mwuf_users="positive")
        method.begin_learn()
        rows = method.dataset.split["train"]
        clicked = [row for row in rows if method.dataset.inter[method.label_field][row] == 1]
        assert 0 < len(clicked) < len(rows)
        lists = audience_of(method, clicked)
        for item in method.old_ids.tolist():
            place = method.own_index[item]
            assert method.audience_count[place] == len(lists.get(item, []))
            expected = naive_mean(method, lists.get(item, []))
            mean = mean_audience(method.audience_sum, method.audience_count)[place]
            assert mean.tolist() == pytest.approx(expected, abs=1e-5)

    def test_released_lists_exchange_the_ids(self, build):
        """Item i gets the rows of 'users' whose numbers are the items that user i met."""
        method, _ = trained(build, stages=("pretrain",), mwuf_users="swapped")
        method.begin_learn()
        swapped = {}
        for row in method.dataset.split["train"]:
            user = int(method.dataset.inter["user_id"][row])
            item = int(method.dataset.inter["item_id"][row])
            swapped.setdefault(user, []).append(item)
        means = mean_audience(method.audience_sum, method.audience_count)
        assert any(code not in method.own_ids for code in swapped)
        for place, code in enumerate(method.own_ids.tolist()):
            expected = naive_mean(method, swapped.get(code, []))
            assert means[place].tolist() == pytest.approx(expected, abs=1e-5)
        right = build("MWUF")
        right.backbone.load_state_dict(method.backbone.state_dict())
        right.begin_learn()
        assert not torch.allclose(right.audience_sum, method.audience_sum, atol=0.1)

    # ---------------------------------------------------------------- ablations (section 4.6)
    def test_scale_alone_knows_no_users_and_shift_alone_no_side(self, build):
        for parts, free in ((["scale"], "users"), (["shift"], "side"), (["scale", "shift"], None)):
            method, _ = trained(build, mwuf_parts=parts)
            method.observe(method.rows.index(method.dataset.split["warm_a"]))
            rows = method.cold_vectors()
            with torch.no_grad():
                method.audience_sum += 1.0
            assert torch.equal(method.cold_vectors(), rows) == (free == "users")
            with torch.no_grad():
                method.audience_sum -= 1.0
                rows = method.cold_vectors()
                for table in method.backbone.model.token_seq_embedding_table:
                    table.weight += 1.0
            assert torch.equal(method.cold_vectors(), rows) == (free == "side")
        assert build("MWUF", mwuf_parts=["scale"]).shift_net is None
        assert build("MWUF", mwuf_parts=["shift"]).scale_net is None

    @pytest.mark.parametrize("parts", [[], ["shift", "rotate"]])
    def test_other_parts_are_refused(self, build, parts):
        with pytest.raises(UserError, match="mwuf_parts"):
            build("MWUF", mwuf_parts=parts)

    # ---------------------------------------------------------------- warm phases
    def test_served_rows_follow_the_users_even_if_nothing_learns(self, build):
        """With C and the networks held still, the warm rows are those of the grown audience."""
        method, trainer = trained(build)
        before = method.new_vectors.detach().clone()
        cold = method.cold_of(method.new_ids).detach()
        method.config["warm_learning_rate"] = method.config["learning_rate"] = 0.0
        split = method.dataset.split
        trainer.warm_up("warm_a", split["warm_a"])
        assert torch.equal(method.cold_of(method.new_ids), cold)
        side = method.backbone.side_vectors()
        lists = audience_of(method, split["warm_a"])
        for place, item in enumerate(method.new_ids.tolist()):
            assert not torch.equal(method.new_vectors[place], before[place])
            scale = run_net(method.scale_net, side[item].tolist())
            shift = run_net(method.shift_net, naive_mean(method, lists[item]))
            expected = [
                c * a + b for c, a, b in zip(cold[place].tolist(), scale, shift, strict=True)
            ]
            assert method.new_vectors[place].tolist() == pytest.approx(expected, abs=1e-5)

    def test_a_warm_phase_moves_new_items_cold_rows_and_the_networks(self, build):
        method, trainer = trained(build)
        before = state_of(method)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        networks = {n for n, _ in method.named_parameters() if "_net." in n}
        assert what_moved(before, method) == networks | {
            "cold_id.weight", "new_vectors", "new_first_order", "audience_sum", "audience_count",
            "counts",
        }  # fmt: skip
        moved = (method.cold_id.weight != before["cold_id.weight"]).any(dim=1)
        assert moved[method.own_index[method.new_ids]].all()
        assert moved.sum() == len(method.new_ids)
        assert torch.allclose(method.new_vectors, method.cold_vectors())

    def test_released_warm_phases_only_fine_tune(self, build):
        """From the same start bit for bit Base's; C, the networks and U(i) stay."""
        method, trainer = trained(build, mwuf_warm="init_only")
        plain = build("Base")
        plain_trainer = Trainer(plain, seed=7)
        plain_trainer.pretrain()
        start = method.new_vectors.detach().clone()
        plain.cold_vectors = lambda: start
        plain_trainer.learn()
        before = state_of(method)
        for name in ("warm_a", "warm_b"):
            trainer.warm_up(name, method.dataset.split[name])
            plain_trainer.warm_up(name, method.dataset.split[name])
        assert torch.equal(method.new_vectors, plain.new_vectors)
        assert torch.equal(method.new_first_order, plain.new_first_order)
        assert what_moved(before, method) == {"new_vectors", "new_first_order", "counts"}

    def test_steps_are_counted_per_loss(self, build):
        method, trainer = trained(build)
        train = len(method.dataset.split["train"])
        assert trainer.journal["stages"][-1]["steps"] == 2 * math.ceil(train / 64)
        assert trainer.journal["stages"][-1]["rows"] == train
