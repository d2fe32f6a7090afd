"""AVAEW: decoded ID rows, and a classifier that cannot tell them from real ones."""

import logging
import math

import numpy as np
import pytest
import torch
from helpers import batch_of, learned_rows, state_of, trainer_of, what_moved, widen
from number_helpers import dense, id_gradients

from recbole_cold.data.rows import Rows
from recbole_cold.errors import Diverged
from recbole_cold.model.avaew import AVAEW, Classifier, classifier_losses, mean_match, pair_match
from recbole_cold.training.checks import only_moving
from recbole_cold.training.optimizers import Optimizers
from recbole_cold.training.trainer import Trainer

MODULE = {"own_side", "posterior", "prior", "decoder"}


def trained(build, stages=("pretrain", "learn"), **keys):
    method = build("AVAEW", **{"avaew_iters": 2, **keys})
    return method, trainer_of(method, stages)


def play(method, batch, times=1):
    """Both steps on a batch; the names of the parts that each of them moved the last time."""
    steps = method.module_steps()
    optimizers = [Optimizers(step, method, "dense") for step in steps]
    moved = []
    with only_moving(method, [p for step in steps for p in step.parameters]):
        for _ in range(times):
            moved = []
            for step, optimizer in zip(steps, optimizers, strict=True):
                before = state_of(method)
                optimizer.zero_grad()
                sum(step.loss(batch)).backward()
                optimizer.step()
                moved.append({name.split(".")[0] for name in what_moved(before, method)})
    return moved


def features(classifier, vector):
    """The hidden activations of one vector, one number at a time."""
    return [x if x > 0 else 0.2 * x for x in dense(classifier.hidden, vector)]


class TestTerms:
    def test_classifier_by_hand(self, rng64):
        net, vectors = Classifier(3, 5).double(), rng64(4, 3)
        for row in range(4):
            inside = features(net, vectors[row].tolist())
            assert net.features(vectors)[row].tolist() == pytest.approx(inside, abs=1e-12)
            assert net(vectors)[row].item() == pytest.approx(dense(net.out, inside)[0], abs=1e-12)
        assert net(vectors).shape == (4,)

    def test_classifier_losses_by_hand(self, rng64):
        """-log sigmoid of real logits and -log(1 - sigmoid) of decoded ones, means of each."""
        real, fake = rng64(3), rng64(5)
        of_real, of_fake = classifier_losses(real, fake)
        sigmoid = [1 / (1 + math.exp(-x)) for x in real.tolist()]
        assert of_real.item() == pytest.approx(-sum(map(math.log, sigmoid)) / 3)
        sigmoid = [1 / (1 + math.exp(-x)) for x in fake.tolist()]
        assert of_fake.item() == pytest.approx(-sum(math.log(1 - s) for s in sigmoid) / 5)

    def test_a_classifier_that_knows_nothing_has_two_log_two(self):
        assert sum(classifier_losses(torch.zeros(4), torch.zeros(7))) == pytest.approx(
            2 * math.log(2)
        )

    def test_matches_by_hand(self, rng64):
        real, fake = rng64(3, 4), rng64(3, 4)
        means = [(real[:, k].sum() - fake[:, k].sum()).item() / 3 for k in range(4)]
        assert mean_match(real, fake).item() == pytest.approx(sum(m**2 for m in means))
        pairs = [(real[b, k] - fake[b, k]).item() ** 2 for b in range(3) for k in range(4)]
        assert pair_match(real, fake).item() == pytest.approx(sum(pairs) / 3)

    def test_equal_rows_match(self, rng64):
        """Nothing is left of either term; in another order the pairs do not match."""
        rows = rng64(6, 4)
        assert mean_match(rows, rows) == 0 and pair_match(rows, rows) == 0
        assert mean_match(rows, rows.flip(0)) < 1e-30 < pair_match(rows, rows.flip(0))

    def test_an_item_once_by_its_share_of_the_rows(self, rng64):
        """As with a row for each time that it occurs."""
        place, share = (
            torch.tensor([0, 2, 2, 1, 2]),
            torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64),
        )
        drawn, real, fake = rng64(5, 4), rng64(3, 4), rng64(3, 4)
        for found, expected in (
            (mean_match(drawn, fake, share), mean_match(drawn, fake[place])),
            (pair_match(real, fake, share), pair_match(real[place], fake[place])),
            (
                sum(classifier_losses(drawn[:, 0], fake[:, 0], share)),
                sum(classifier_losses(drawn[:, 0], fake[place, 0])),
            ),
        ):
            assert found.item() == pytest.approx(expected.item(), rel=1e-12)


class TestAVAEW:
    method = AVAEW

    # ---------------------------------------------------------------- the losses
    def test_without_matching_it_is_cvars_loss(self, build):
        """With equal weights, the count, a private ID, CVAR's noise: equal, draws included."""
        keys = {"avaew_noise": 1e-4, "avaew_use_count": True, "avaew_own_id": True}
        keys |= {"avaew_match_mean": 0.0, "avaew_match_pair": 0.0, "avaew_reconstruction": 0.3}
        ours = build("AVAEW", double=True, **keys)
        theirs = build("CVAR", double=True, cvar_reconstruction=0.3)
        widen(ours)
        state = {n: v for n, v in ours.state_dict().items() if not n.startswith("classifier")}
        theirs.load_state_dict(state)
        losses = []
        for method in (ours, theirs):
            method.set_mode("frozen")
            torch.manual_seed(5)
            losses.append(method.calculate_loss(batch_of(method)))
        assert len(losses[0]) == 5 and not any(losses[0][3:])
        assert sum(losses[0]).item() == pytest.approx(losses[1].item(), rel=1e-12)

    def test_matching_terms_row_by_row(self, build):
        """Real rows against the batch's decoded ones, in the mean and pair by pair, weighted."""
        keys = {"avaew_noise": 0.0, "avaew_match_mean": 0.3, "avaew_match_pair": 0.7}
        method = build("AVAEW", double=True, **keys)
        method.set_mode("frozen")
        widen(method)
        real = torch.randn(40, 4, generator=torch.Generator().manual_seed(1)).double()
        method.real_rows = lambda size: real[:size]
        batch, net = batch_of(method), method.classifier
        ids = batch["item_id"]
        with torch.no_grad():
            decoded = method.decoded(ids).tolist()
        fake = [features(net, row) for row in decoded]
        own = [features(net, row) for row in method.backbone.id_table()[ids].tolist()]
        drawn = [features(net, row) for row in real.tolist()]
        n, size = len(ids), len(fake[0])
        means = [
            sum(r[k] - f[k] for r, f in zip(drawn, fake, strict=True)) / n for k in range(size)
        ]
        pairs = sum((o[k] - f[k]) ** 2 for o, f in zip(own, fake, strict=True) for k in range(size))
        parts = method.calculate_loss(batch)
        assert parts[3].item() == pytest.approx(0.3 * sum(m**2 for m in means), rel=1e-6)
        assert parts[4].item() == pytest.approx(0.7 * pairs / n, rel=1e-6)

    def test_classifier_loss_row_by_row(self, build):
        method = build("AVAEW", double=True, avaew_noise=0.0)
        method.set_mode("frozen")
        widen(method)
        real = method.backbone.id_table().detach()[method.old_ids[:40]]
        method.real_rows = lambda size: real[:size]
        batch = batch_of(method, len(real))
        of_real, of_fake = method.classifier_loss(batch)
        with torch.no_grad():
            logits = method.classifier(method.decoded(batch["item_id"]))
            expected = classifier_losses(method.classifier(real), logits)
        assert of_real.item() == pytest.approx(expected[0].item())
        assert of_fake.item() == pytest.approx(expected[1].item())

    def test_real_rows_are_those_of_old_items_drawn_alike(self, build):
        """Rows of new items are not among them, whatever stands in the table."""
        method = build("AVAEW")
        old = method.old_ids
        with torch.no_grad():
            table = method.backbone.id_table()
            table.fill_(math.nan)
            table[old] = torch.arange(len(old)).float()[:, None].expand(-1, 4)
        torch.manual_seed(1)
        rows = method.real_rows(200 * len(old))
        assert not rows.requires_grad
        share = torch.bincount(rows[:, 0].long(), minlength=len(old)).double() / len(rows)
        deviation = math.sqrt(1 / len(old) / len(rows))
        assert (share - 1 / len(old)).abs().max() < 5 * deviation

    # ---------------------------------------------------------------- whose gradient it is
    def test_each_step_moves_its_own_parameters(self, build):
        """First what decodes, the classifier bit for bit as it was; then the other way round."""
        method = build("AVAEW")
        method.set_mode("frozen")
        widen(method)
        decoder, classifier = play(method, batch_of(method))
        assert decoder == MODULE
        assert classifier == {"classifier"}

    def test_the_decoder_is_to_match_features_not_to_fool_the_logit(self, build):
        """Its gradient knows the hidden layer and not the last one."""
        method = build("AVAEW", avaew_noise=0.0, avaew_match_pair=1.0)
        method.set_mode("frozen")
        widen(method)
        parts = method.calculate_loss(batch_of(method))
        net = method.classifier
        hidden, out = torch.autograd.grad(
            parts[3] + parts[4], [net.hidden.weight, net.out.weight], retain_graph=True,
            allow_unused=True,
        )  # fmt: skip
        assert hidden.any() and out is None
        for part in parts[3:]:
            by = torch.autograd.grad(part, method.prior.weight, retain_graph=True)[0]
            assert by.any()

    @pytest.mark.parametrize("entered", [False, True])
    def test_no_gradient_into_any_id_row(self, build, entered):
        method = build("AVAEW")
        method.set_mode("frozen")
        widen(method)
        batch = learned_rows(method, entered)
        loss = sum(method.calculate_loss(batch)) + sum(method.classifier_loss(batch))
        by_ids, by_others, by_rows = id_gradients(method, loss)
        assert not by_ids.any()
        assert by_others.any()
        assert by_rows is None or not by_rows.any()

    def test_matching_brings_decoded_rows_to_the_real_ones(self, build):
        """Rows with a mean far from 0: how far the mean of the decoded ones stays from it."""
        apart = {}
        for weight in (0.0, 1.0):
            keys = {"avaew_reconstruction": 0.0, "avaew_beta": 0.0, "avaew_match_pair": 0.0}
            method = build("AVAEW", avaew_match_mean=weight, learning_rate=1e-2, **keys)
            method.set_mode("frozen")
            with torch.no_grad():
                method.backbone.id_table()[method.old_ids] += torch.tensor([2.0, -2.0, 1.0, 0.0])
            batch = batch_of(method, 200)
            torch.manual_seed(2)
            play(method, batch, times=150)
            with torch.no_grad():
                mean = method.decoded(batch["item_id"]).mean(dim=0)
                apart[weight] = (mean - method.old_mean()).norm().item()
        assert apart[1.0] < 0.5 * apart[0.0]

    def test_noise_is_of_the_given_size(self, build):
        """0 is without chance; the default is the paper's, as large as the deviation."""
        apart = {}
        for noise in (0.0, 1e-4, None):
            keys = {} if noise is None else {"avaew_noise": noise}
            method = build("AVAEW", **keys)
            method.set_mode("frozen")
            widen(method)
            losses = []
            for seed in (1, 2):
                torch.manual_seed(seed)
                losses.append(sum(method.calculate_loss(batch_of(method))[:3]).item())
            apart[noise] = abs(losses[0] - losses[1])
        assert apart[0.0] == 0.0 < apart[1e-4] < 0.01 < apart[None]

    # ---------------------------------------------------------------- decoded rows
    def test_decoded_rows_do_not_depend_on_id_rows_or_chance(self, build):
        method, _ = trained(build)
        rows = method.cold_vectors()
        assert torch.equal(method.new_vectors, rows)
        with torch.no_grad():
            method.backbone.id_table()[method.new_ids] = torch.randn(18, 4)
            method.new_vectors.uniform_(-1, 1)
        assert torch.equal(method.cold_vectors(), rows)
        assert (rows[0] - rows[1]).abs().max() > 0  # they do depend on the item

    def test_frequency_is_an_option_of_the_decoder(self, build):
        rows = {}
        for use_count in (False, True):
            method = build("AVAEW", avaew_use_count=use_count)
            widen(method)
            before = method.cold_vectors()
            method.counts[method.new_ids] += 20
            rows[use_count] = (before, method.cold_vectors())
            assert method.decoder.in_features == 16 + use_count
        assert torch.equal(*rows[False])
        assert (rows[True][0] != rows[True][1]).all()

    # ---------------------------------------------------------------- stages
    def test_a_warm_phase_fine_tunes_then_learns_then_decodes_again(self, build):
        """Both optimizers use every batch twice in a row; the rows are decoded at the end."""
        method, trainer = trained(build, avaew_warm_epochs=3)
        calculate, targets, turns = method.calculate_loss, [], []
        start = method.new_vectors.detach().clone()
        tell = method.classifier_loss

        def spy(batch):
            targets.append(method.new_vectors.detach().clone())
            turns.append(("decoder", batch.index.tolist()))
            return calculate(batch)

        def other_spy(batch):
            turns.append(("classifier", batch.index.tolist()))
            return tell(batch)

        method.calculate_loss, method.classifier_loss = spy, other_spy
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        warm = math.ceil(len(method.dataset.split["warm_a"]) / 64)
        assert trainer.journal["stages"][-1]["steps"] == warm + 3 * warm * 2 * 2
        assert [name for name, _ in turns] == ["decoder", "classifier"] * (3 * warm * 2)
        assert all(turns[at][1] == turns[at + 3][1] for at in range(0, len(turns), 4))
        assert not torch.equal(targets[0], start)
        assert all(torch.equal(target, targets[0]) for target in targets)
        assert torch.equal(method.new_vectors, method.cold_vectors())
        assert not torch.equal(method.new_vectors, targets[0])

    def test_init_only_learns_nothing_in_warm_phases(self, build):
        method, trainer = trained(build, avaew_warm="init_only")
        weights = [p.detach().clone() for p in method.trainable("learn")]
        start = method.new_vectors.detach().clone()
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert not torch.equal(method.new_vectors, start)
        for weight, parameter in zip(weights, method.trainable("learn"), strict=True):
            assert torch.equal(weight, parameter)

    @pytest.mark.parametrize("own_id", [True, False])
    def test_items_without_side_information_start_from_the_mean(self, build, caplog, own_id):
        """Counted and said; without a private ID, they keep what fine-tuning makes of them."""
        method = build("AVAEW", avaew_own_id=own_id, avaew_iters=1)
        dataset, bare = method.dataset, method.new_ids[[2, 5]].numpy()
        table = {name: np.array(column) for name, column in dataset.item_table.items()}
        for name, column in table.items():
            if dataset.field2type[name].value.startswith("token"):
                column[bare] = 0
        dataset.item_table = table
        method = type(method)(method.config, dataset.view(rows=Rows(dataset, "cpu")))
        trainer = Trainer(method, 7)
        with caplog.at_level(logging.INFO, logger="recbole_cold"):
            trainer.pretrain(), trainer.learn()
        assert "2 of 18 new items have no side information" in caplog.text
        is_mean = (method.new_vectors - method.old_mean()).abs().max(dim=1).values < 1e-6
        assert is_mean.nonzero()[:, 0].tolist() == [2, 5]
        fits = method.warm_fits(method.rows.index(dataset.split["warm_a"]))
        with torch.no_grad():
            method.new_vectors.fill_(3.0)
            fits[-1].after()
        kept = (method.new_vectors == 3.0).all(dim=1).nonzero()[:, 0].tolist()
        assert kept == ([] if own_id else [2, 5])

    @pytest.mark.parametrize("part", ["hidden", "out"])
    def test_a_classifier_that_diverges_is_named_and_nothing_bad_is_kept(
        self, build, tmp_path, part
    ):
        method = build("AVAEW", checkpoint_seconds=0, avaew_iters=1)
        trainer = Trainer(method, 7, tmp_path / "state.pt")
        trainer.pretrain()
        weight, seen = getattr(method.classifier, part).weight, []

        def explode(gradient):
            seen.append(1)
            return gradient * math.inf if len(seen) == 6 else gradient

        weight.register_hook(explode)
        with pytest.raises(Diverged, match=r"'learn' .*last good state is '.*state.pt'"):
            trainer.learn()
        again = build("AVAEW")
        assert Trainer(again, 7, tmp_path / "state.pt").resume()
        assert all(value.isfinite().all() for value in again.state_dict().values())
