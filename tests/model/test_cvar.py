"""CVAR: ID rows decoded from side information through a shared latent space."""

import math

import numpy as np
import pytest
import torch
from helpers import batch_of, learned_rows, state_of, trainer_of, watch_targets, what_moved, widen
from number_helpers import dense, id_gradients
from recbole.utils import FeatureType

from recbole_cold.errors import UserError
from recbole_cold.model._vae import deviation, sample, wasserstein
from recbole_cold.model.cvar import CVAR


def trained(build, stages=("pretrain", "learn"), method="CVAR", **keys):
    keys = {"cvar_iters": 2, **keys} if method == "CVAR" else keys
    built = build(method, "DeepFM", **keys)
    return built, trainer_of(built, stages)


def naive_side(method, item, pooling="mean"):
    """The own side vector of one item: private ID first, then features in data-set order."""
    out = method.own_side.own_id.weight[item].tolist() if method.own_side.own_id else []
    for field in method.dataset.fields():
        if field not in method.dataset.item_table:
            continue
        value = method.dataset.item_table[field][item]
        kind = method.dataset.field2type[field]
        if kind == FeatureType.FLOAT:
            out.append(float(value))
            continue
        weight = method.own_side.tables[f"field_{field}"].weight
        codes = np.atleast_1d(value).tolist()
        if kind == FeatureType.TOKEN_SEQ and pooling == "mean":
            codes = [code for code in codes if code != 0]
        total = [sum(weight[code, k].item() for code in codes) for k in range(4)]
        mean = kind == FeatureType.TOKEN_SEQ and pooling == "mean"
        out += [value / max(len(codes), 1) if mean else value for value in total]
    return out


def naive_frequency(method, item):
    """Rows of the item among those of training, as a share of the most frequent item's."""
    seen = method.dataset.inter["item_id"][method.dataset.split["train"]].tolist()
    counts = [seen.count(i) for i in method.dataset.split.old_ids.tolist()]
    return min(seen.count(item) / max(counts), 1.0)


class TestWasserstein:
    def test_against_the_matrix_formula(self, rng64):
        """|dm|^2 + tr(S + S' - 2 (S'^1/2 S S'^1/2)^1/2) with full matrix square roots."""

        def root(matrix):
            values, vectors = torch.linalg.eigh(matrix)
            return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T

        m, v, mp, vp = rng64(3, 5), rng64(3, 5), rng64(3, 5), rng64(3, 5)
        out = wasserstein(m, deviation(v), mp, deviation(vp))
        for row in range(3):
            s, sp = torch.diag(v[row].exp()), torch.diag(vp[row].exp())
            middle = root(root(sp) @ s @ root(sp))
            expected = (m[row] - mp[row]).square().sum() + torch.trace(s + sp - 2 * middle)
            assert abs(out[row] - expected) < 1e-13

    def test_is_a_distance(self, rng64):
        """Zero if and only if equal, and symmetric."""
        m, v, mp, vp = rng64(4, 5), rng64(4, 5), rng64(4, 5), rng64(4, 5)
        assert torch.equal(wasserstein(m, v, m, v), torch.zeros(4).double())
        assert torch.equal(wasserstein(m, v, mp, vp), wasserstein(mp, vp, m, v))
        for changed in ((mp, v), (m, vp)):
            assert (wasserstein(m, v, *changed) > 1e-3).all()

    def test_gradient_is_finite_without_spread(self, rng64):
        """sigma to zero: no square root of a variance is differentiated."""
        m = rng64(2, 3)
        v = torch.full((2, 3), -2000.0).double().requires_grad_()
        vp = torch.full((2, 3), -3000.0).double().requires_grad_()
        apart = wasserstein(m, deviation(v), m, deviation(vp))
        gradients = torch.autograd.grad(apart.sum(), [v, vp])
        assert all(torch.isfinite(g).all() for g in gradients)
        wide = torch.zeros(2, 3).double().requires_grad_()
        apart = wasserstein(m, deviation(wide), m, deviation(vp.detach()))
        (gradient,) = torch.autograd.grad(apart.sum(), wide)
        assert torch.allclose(gradient, torch.ones(2, 3).double())  # d exp(v/2)^2 / dv at 0

    def test_sample_has_the_given_spread(self):
        torch.manual_seed(1)
        mean = torch.full((20_000, 2), 3.0)
        spread = deviation(torch.tensor([0.0, 2 * math.log(5.0)])).expand(20_000, 2)
        draws = sample(mean, spread, 0.1)
        assert torch.allclose(draws.mean(dim=0), torch.tensor([3.0, 3.0]), atol=0.02)
        assert torch.allclose(draws.std(dim=0), torch.tensor([0.1, 0.5]), rtol=0.03)
        assert torch.equal(sample(mean, spread, 0.0), mean)


class TestCVAR:
    method = CVAR

    # ---------------------------------------------------------------- the loss
    def test_loss_row_by_row(self, build):
        """Prediction + reconstruction + beta W2 of each row, averaged: plain numbers throughout."""
        keys = {"cvar_noise": 0.0, "cvar_beta": 0.7, "cvar_reconstruction": 0.3}
        method = build("CVAR", double=True, cvar_latent_size=3, **keys)
        method.set_mode("frozen")
        widen(method)
        batch = batch_of(method)
        table, scalar = method.backbone.id_table().tolist(), method.cold_first_order()
        total = 0.0
        for row, item in enumerate(batch["item_id"].tolist()):
            encoded = dense(method.posterior, table[item])
            prior = dense(method.prior, naive_side(method, item))
            frequency = naive_frequency(method, item)
            rebuilt = dense(method.decoder, [*encoded[:3], frequency])
            decoded = dense(method.decoder, [*prior[:3], frequency])
            apart = sum((a - b) ** 2 for a, b in zip(rebuilt, table[item], strict=True))
            distance = sum((a - b) ** 2 for a, b in zip(encoded[:3], prior[:3], strict=True))
            for a, b in zip(encoded[3:], prior[3:], strict=True):
                distance += (math.exp(a / 2) - math.exp(b / 2)) ** 2
            one = method.rows.batch(method.train_index[row : row + 1])
            vector = torch.tensor([decoded]).double()
            with torch.no_grad():
                logit = method.backbone.logits(one, vector, scalar[None].double()).item()
            label = batch[method.label_field][row].item()
            entropy = math.log1p(math.exp(logit)) - label * logit
            total += (entropy + 0.3 * apart + 0.7 * distance) / len(batch)
        assert method.calculate_loss(batch).item() == pytest.approx(total, rel=1e-6)

    def test_a_doubled_batch_has_the_same_loss(self, build):
        """Every term is a mean over rows: the weight beta does not depend on the batch size."""
        method = build("CVAR", double=True, cvar_noise=0.0)
        method.set_mode("frozen")
        widen(method)
        index = method.train_index[:40]
        twice = method.rows.batch(torch.cat([index, index]))
        twice[method.label_field] = twice[method.label_field].double()
        once = method.calculate_loss(batch_of(method))
        assert abs(method.calculate_loss(twice) - once) < 1e-13
        half = method.rows.batch(index[:20])
        half[method.label_field] = half[method.label_field].double()
        assert abs(method.calculate_loss(half) - once) > 1e-4

    @pytest.mark.parametrize("entered", [False, True])
    def test_no_gradient_into_any_id_row(self, build, entered):
        """The rows are the encoder's input and the target, and stay."""
        method = build("CVAR")
        method.set_mode("frozen")
        widen(method)
        loss = method.calculate_loss(learned_rows(method, entered))
        by_ids, by_others, by_rows = id_gradients(method, loss)
        assert not by_ids.any()
        assert by_others.any()
        assert by_rows is None or not by_rows.any()
        own = torch.autograd.grad(loss, method.module_parameters())
        assert all(gradient.any() for gradient in own)

    def test_noise_is_the_only_chance(self, build):
        """eps = 0 is deterministic; the default is not, and is small."""
        losses = {}
        for noise in (0.0, 1e-4, 1.0):
            method = build("CVAR", cvar_noise=noise)
            method.set_mode("frozen")
            widen(method)
            for seed in (1, 2):
                torch.manual_seed(seed)
                losses[noise, seed] = method.calculate_loss(batch_of(method)).item()
        assert losses[0.0, 1] == losses[0.0, 2]
        assert losses[1e-4, 1] != losses[1e-4, 2]
        assert abs(losses[1e-4, 1] - losses[0.0, 1]) < 1e-2
        assert abs(losses[1.0, 1] - losses[0.0, 1]) > 1e-2

    # ---------------------------------------------------------------- decoded rows
    def test_decoded_rows_do_not_depend_on_id_rows(self, build):
        method, _ = trained(build)
        rows = method.cold_vectors()
        with torch.no_grad():
            method.backbone.id_table()[method.new_ids] = torch.randn(18, 4)
            method.new_vectors.uniform_(-1, 1)
        assert torch.equal(method.cold_vectors(), rows)
        assert (rows[0] - rows[1]).abs().max() > 0  # they do depend on the item

    def test_cold_rows_from_scratch(self, build):
        """Written back without noise, with frequency 0 and a private row that is still zero."""
        method, _ = trained(build)
        assert torch.equal(method.own_side.own_id.weight[method.new_ids], torch.zeros(18, 4))
        assert method.own_side.own_id.weight[method.old_ids].any(dim=1).all()
        for seed in (1, 2):
            torch.manual_seed(seed)
            rows = method.cold_vectors()
            for place, item in enumerate(method.new_ids.tolist()):
                side = [0.0] * 4 + naive_side(method, item)[4:]
                prior = dense(method.prior, side)
                decoded = dense(method.decoder, [*prior[:16], 0.0])
                assert rows[place].tolist() == pytest.approx(decoded, abs=1e-5)
        assert torch.equal(method.new_vectors, rows)

    def test_frequency_enters_the_decoder(self, build):
        method, _ = trained(build)
        cold = method.cold_vectors()
        low, high = method.count_range.tolist()
        method.counts[method.new_ids] = torch.linspace(low - 5, high + 5, 18)
        grown = method.cold_vectors()
        for place, item in enumerate(method.new_ids.tolist()):
            scaled = min(max((method.counts[item].item() - low) / (high - low), 0.0), 1.0)
            step = method.decoder.weight[:, 16] * scaled
            assert torch.allclose(grown[place] - cold[place], step, atol=1e-6)

    def test_released_frequency_is_of_the_whole_log(self, build):
        """Test rows included, from the first phase on."""
        method, trainer = trained(build, count_source="full")
        items = method.dataset.inter["item_id"].tolist()
        counts = [items.count(item) for item in range(method.n_ids)]
        low, high = min(c for c in counts if c), max(counts)
        expected = [(counts[i] - low) / (high - low) for i in method.new_ids.tolist()]
        assert min(expected) > 0
        assert method.frequency()[method.new_ids].tolist() == pytest.approx(expected, abs=1e-6)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert method.frequency()[method.new_ids].tolist() == pytest.approx(expected, abs=1e-6)

    # ---------------------------------------------------------------- own side information
    @pytest.mark.parametrize("pooling", ["mean", "sum_with_pad"])
    @pytest.mark.parametrize("own_id", [True, False])
    def test_own_side_item_by_item(self, build, pooling, own_id):
        method = build("CVAR", pooling=pooling, cvar_own_id=own_id)
        widen(method)
        ids = torch.arange(method.n_ids)
        side = method.own_side(ids)
        assert (
            side.shape == (method.n_ids, 4 * own_id + 13) == (method.n_ids, method.own_side.width)
        )
        for item in range(method.n_ids):
            assert side[item].tolist() == pytest.approx(naive_side(method, item, pooling), abs=1e-5)

    def test_own_tables_are_apart_from_the_backbones(self, build):
        method = build("CVAR")
        backbone = {id(p) for p in method.backbone.parameters()}
        own = list(method.own_side.parameters())
        assert own and not backbone & {id(p) for p in own}
        before = method.own_side(method.new_ids)
        with torch.no_grad():
            for parameter in method.backbone.parameters():
                parameter.add_(1.0)
        assert torch.equal(method.own_side(method.new_ids), before)
        assert not method.own_side.own_id.weight.any()

    def test_private_ids_are_hidden_per_row_while_learning_only(self, build):
        method = build("CVAR", cvar_id_dropout=0.5)
        widen(method)
        ids = torch.full((4000,), method.old_ids[0].item())
        method.set_mode("frozen")  # the learning stage: the backbone in evaluation mode
        hidden = ~method.own_side(ids, 0.5)[:, :4].any(dim=1)
        assert abs(hidden.double().mean() - 0.5) < 4 * math.sqrt(0.25 / 4000)
        other = method.own_side(ids, 0.5)[:, 4:]
        assert torch.equal(other, other[:1].expand_as(other))
        # Writing back hides none, whatever the mode.
        assert torch.equal(method.cold_vectors(), method.cold_vectors())
        method.set_mode("evaluate")
        assert method.own_side(ids, 0.5)[:, :4].all()
        never = build("CVAR")
        widen(never)
        never.set_mode("frozen")
        assert never.own_side(ids, never.config["cvar_id_dropout"])[:, :4].all()

    def test_nothing_to_decode_from_is_said(self, build):
        load = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
        with pytest.raises(UserError, match="nothing to decode from"):
            build("CVAR", cvar_own_id=False, load_col=load)
        assert build("CVAR", load_col=load).own_side.width == 4

    # ---------------------------------------------------------------- stages
    def test_steps_are_epochs_times_batches_times_repeats(self, build):
        method, trainer = trained(build, cvar_iters=3, cvar_epochs=2, cvar_warm_epochs=2)
        train = math.ceil(len(method.dataset.split["train"]) / 64)
        assert trainer.journal["stages"][-1]["steps"] == 2 * train * 3
        warm = math.ceil(len(method.dataset.split["warm_a"]) / 64)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert trainer.journal["stages"][-1]["steps"] == warm + 2 * warm * 3

    def test_each_batch_is_repeated_in_a_row(self, build):
        method, trainer = trained(build, stages=("pretrain",), cvar_iters=3)
        seen, calculate = [], method.calculate_loss

        def spy(batch):
            seen.append(batch.index.tolist())
            return calculate(batch)

        method.calculate_loss = spy
        trainer.learn()
        for place in range(0, len(seen), 3):
            assert seen[place] == seen[place + 1] == seen[place + 2]
            assert place == 0 or seen[place] != seen[place - 1]
        assert sorted(row for rows in seen[::3] for row in rows) == sorted(
            method.train_index.tolist()
        )

    def test_only_cvars_parameters_learn(self, build):
        method, trainer = trained(build, stages=("pretrain",))
        before = state_of(method)
        trainer.learn()
        owned = {"own_side", "posterior", "prior", "decoder"}
        assert {name.split(".")[0] for name in what_moved(before, method)} == owned | {
            "new_vectors", "new_first_order", "new_items_started", "cold_rows",
        }  # fmt: skip

    def test_a_warm_phase_fine_tunes_then_learns_then_decodes_again(self, build):
        """The targets are the fine-tuned rows and stay; the served rows are decoded at the end."""
        method, trainer = trained(build)
        start, targets = method.new_vectors.detach().clone(), watch_targets(method)
        private = method.own_side.own_id.weight.detach().clone()
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert not torch.equal(targets[0], start)
        assert all(torch.equal(target, targets[0]) for target in targets)
        assert torch.equal(method.new_vectors, method.cold_vectors())
        assert not torch.equal(method.new_vectors, targets[0])
        # A new item's own clicks reach its private row, and no other item's.
        moved = (method.own_side.own_id.weight != private).any(dim=1)
        assert moved[method.new_ids].all() and moved.sum() == 18

    def test_init_only_is_plain_fine_tuning(self, build):
        """From the same start bit for bit Base's."""
        method, trainer = trained(build, cvar_warm="init_only")
        plain, plain_trainer = trained(build, stages=("pretrain",), method="Base")
        start = method.new_vectors.detach().clone()
        plain.cold_vectors = lambda: start
        plain_trainer.learn()
        weights = [p.detach().clone() for p in method.module_parameters()]
        for name in ("warm_a", "warm_b"):
            trainer.warm_up(name, method.dataset.split[name])
            plain_trainer.warm_up(name, method.dataset.split[name])
            assert torch.equal(method.new_vectors, plain.new_vectors)
            assert torch.equal(method.new_first_order, plain.new_first_order)
        assert not torch.equal(method.new_vectors, start)
        for weight, parameter in zip(weights, method.module_parameters(), strict=True):
            assert torch.equal(weight, parameter)

    def test_scalar_weights_are_a_new_items_until_it_has_its_own(self, build):
        """Old items play new ones with the cold scalar; in a warm phase each row has its own."""
        method, _ = trained(build)
        method.set_mode("evaluate")
        index = method.rows.index(method.dataset.split["warm_a"])
        batch = method.rows.batch(index)
        vector = torch.zeros(len(index), 4)
        with torch.no_grad():
            method.new_first_order.copy_(torch.arange(18.0)[:, None])
            entered = method.decoded_logits(batch, vector)
            method.new_items_started.fill_(False)
            cold = method.decoded_logits(batch, vector)
            mean = method.backbone.first_order_rows()[method.old_ids].mean()
        for row, item in enumerate(batch["item_id"].tolist()):
            place = method.new_ids.tolist().index(item)
            assert (entered[row] - cold[row]).item() == pytest.approx(place - mean.item(), abs=1e-4)

    def test_lazy_tables_learn_too(self, build):
        """Also those that are pooled."""
        method, trainer = trained(build, stages=("pretrain",), table_update="lazy")
        before = [table.detach().clone() for table in method.own_side.parameters()]
        trainer.learn()
        assert "lazy" in trainer.journal["stages"][-1]["optimizer"]
        assert len(before) == 4  # the private IDs, the title's words, the year, the genres
        for table, start in zip(method.own_side.parameters(), before, strict=True):
            assert not torch.equal(table, start)
