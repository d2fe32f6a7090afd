"""MetaE: a generated ID embedding that is good at once and better after one gradient step."""

import math

import numpy as np
import pytest
import torch
from helpers import empty_attributes, state_of, what_moved
from number_helpers import central_differences
from task_helpers import block_episode, exchanged

from recbole_cold.data.episodes import Blocks, Episode
from recbole_cold.device import Sizes
from recbole_cold.errors import UserError
from recbole_cold.model._inner import inner_step
from recbole_cold.model.metae import MetaE, TanhDense, meta_loss, rowwise
from recbole_cold.training.trainer import Trainer

# FNN (tanh) and FM (polynomial) have no kinks that central differences could step over.
SMOOTH = ["FNN", "FM"]


def entropy(a, y):
    """Binary cross entropy of one logit."""
    return torch.log1p(torch.exp(-a.abs())) + a.clamp(min=0) - y * a


def row_loss(method, vector_d, row):
    """The loss of one row of the data set with the given vector and a new item's scalar."""
    batch = method.rows.batch(torch.tensor([row]))
    scalar = method.cold_first_order()[None]
    logit = method.backbone.logits(batch, vector_d[None], scalar)[0]
    return entropy(logit, batch[method.label_field][0].double())


def naive_meta_loss(method, episode, rate, alpha):
    """The paper's task loss, item by item and row by row."""
    side = method.backbone.side_vectors()
    total, tasks = 0.0, 0
    size = episode.support_mask_tk.shape[1]
    for task, item in enumerate(episode.ids_t.tolist()):
        rows = []
        for batch, mask in (
            (episode.support, episode.support_mask_tk),
            (episode.query, episode.query_mask_tk),
        ):
            numbers = batch.index.tolist()[task * size : (task + 1) * size]
            rows.append([n for n, real in zip(numbers, mask[task].tolist(), strict=True) if real])
        if not rows[0] or not rows[1]:
            continue
        vector = method.generator(side[item][None])[0]
        before = sum(row_loss(method, vector, row) for row in rows[0]) / len(rows[0])
        (gradient,) = torch.autograd.grad(before, vector, create_graph=True)
        stepped = vector - rate * gradient
        after = sum(row_loss(method, stepped, row) for row in rows[1]) / len(rows[1])
        total = total + alpha * before + (1 - alpha) * after
        tasks += 1
    return total / tasks


def loss_of(method, episode):
    side = method.side_vectors()
    return method.episode_loss(method.generator(side[episode.ids_t]), episode)


def generator_gradient(method, episode):
    parameters = list(method.generator.parameters())
    gradients = torch.autograd.grad(loss_of(method, episode), parameters)
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def built(build, backbone="FNN", **keys):
    """In float64, evaluation mode, with embeddings as large as after training."""
    keys = {"metae_hidden_size": [3], **keys}
    method = build("MetaE", backbone, double=True, **keys)
    method.set_mode("frozen")
    with torch.no_grad():
        method.backbone.model.token_embedding_table.embedding.weight.mul_(2.0)
    return method


class TestMetaE:
    method = MetaE

    @pytest.mark.parametrize("backbone", SMOOTH)
    @pytest.mark.parametrize("generator", ["mlp", "tanh_dense"])
    def test_gradient_through_the_inner_step(self, build, backbone, generator):
        """dL/dw against central differences; without the second order it is another number."""
        method = built(
            build, backbone, metae_generator=generator, metae_inner_rate=0.05, metae_alpha=0.1
        )
        episode = block_episode(method)
        exact = generator_gradient(method, episode)
        numeric = central_differences(
            lambda: loss_of(method, episode), method.generator.parameters()
        )
        assert exact.abs().max() > 1e-3
        assert (exact - numeric).abs().max() < 1e-8

        vector = method.generator(method.side_vectors()[episode.ids_t])
        stepped, cold = inner_step(
            lambda v: method.task_losses(v, episode.support, episode.support_mask_tk),
            vector, 0.05, second_order=False,
        )  # fmt: skip
        warm = method.task_losses(stepped, episode.query, episode.query_mask_tk)
        first = torch.autograd.grad(
            (0.1 * cold + 0.9 * warm).mean(), list(method.generator.parameters())
        )
        first = torch.cat([gradient.reshape(-1) for gradient in first])
        assert (first - exact).abs().max() > 1e-5

    @pytest.mark.parametrize("backbone", ["DeepFM", "NFM", "FNN"])
    @pytest.mark.parametrize("size", [5, 20])
    def test_batched_tasks_equal_a_loop_over_items_and_rows(self, build, backbone, size):
        """Masked rows included: with 20 a block, these items' blocks are all shorter."""
        method = built(build, backbone, metae_inner_rate=0.3, metae_alpha=0.4)
        episode = block_episode(method, size=size, epoch=2)
        if size == 20:
            lengths = episode.support_mask_tk.sum(dim=1)
            assert (episode.support_mask_tk == 0).any() and len(lengths.unique()) > 1
        naive = naive_meta_loss(method, episode, 0.3, 0.4)
        assert abs(loss_of(method, episode) - naive) < 1e-13
        expected = torch.autograd.grad(naive, list(method.generator.parameters()))
        expected = torch.cat([gradient.reshape(-1) for gradient in expected])
        assert (generator_gradient(method, episode) - expected).abs().max() < 1e-13

    def test_rate_zero_leaves_the_generated_vector(self, build):
        """Then l_b is the loss of phi itself on D^b."""
        method = built(build, metae_inner_rate=0.0, metae_alpha=0.0)
        episode = block_episode(method)
        side = method.side_vectors()
        expected = 0.0
        for task, item in enumerate(episode.ids_t.tolist()):
            vector = method.generator(side[item][None])[0]
            rows = episode.query.index.tolist()[task * 5 : (task + 1) * 5]
            expected += sum(row_loss(method, vector, row).item() for row in rows) / 5 / 4
        assert loss_of(method, episode).item() == pytest.approx(expected, abs=1e-13)
        stepped = built(build, metae_inner_rate=0.3, metae_alpha=0.0)
        assert abs(loss_of(stepped, block_episode(stepped)).item() - expected) > 1e-6

    def test_doubled_support_rows_leave_the_step(self, build):
        """l_a is a mean, not a sum."""
        method = built(build, metae_inner_rate=0.3)
        episode = block_episode(method)
        index, mask = episode.support.index.view(4, 5), episode.support_mask_tk
        doubled = exchanged(
            episode,
            support=method.rows.batch(torch.cat([index, index], dim=1).reshape(-1)),
            support_mask_tk=torch.cat([mask, mask], dim=1),
        )
        assert abs(loss_of(method, doubled) - loss_of(method, episode)) < 1e-14
        halved = exchanged(
            episode,
            support=method.rows.batch(index[:, :2].reshape(-1)),
            support_mask_tk=mask[:, :2],
        )
        assert abs(loss_of(method, halved) - loss_of(method, episode)) > 1e-6

    def test_alpha_one_never_reads_the_query(self, build):
        method = built(build, metae_inner_rate=0.3, metae_alpha=1.0)
        episode = block_episode(method)
        other = exchanged(episode, query=method.rows.batch(episode.query.index.flip(0)))
        assert torch.equal(loss_of(method, episode), loss_of(method, other))
        assert torch.equal(generator_gradient(method, episode), generator_gradient(method, other))
        less = built(build, metae_inner_rate=0.3, metae_alpha=0.9)
        assert not torch.equal(loss_of(less, episode), loss_of(less, other))

    def test_meta_loss_by_hand(self, rng64):
        cold, warm = rng64(3), rng64(3)
        out = meta_loss(cold, warm, 0.1)
        for task in range(3):
            assert out[task] == 0.1 * cold[task] + (1 - 0.1) * warm[task]

    def test_padding_and_empty_items_do_not_count(self, build):
        """Other rows in masked places, or an item without any, change nothing."""
        method = built(build, metae_inner_rate=0.3)
        episode = block_episode(method, size=20)
        mask = episode.support_mask_tk.reshape(-1) > 0
        noise = torch.where(mask, episode.support.index, torch.full_like(mask, 3, dtype=torch.long))
        assert not torch.equal(noise, episode.support.index)
        padded = exchanged(episode, support=method.rows.batch(noise))
        assert torch.equal(loss_of(method, padded), loss_of(method, episode))
        emptied = exchanged(
            episode,
            support_mask_tk=episode.support_mask_tk * torch.tensor([[1.0], [1.0], [1.0], [0.0]]),
        )
        size = episode.support_mask_tk.shape[1]
        three = Episode(
            episode.ids_t[:3],
            method.rows.batch(episode.support.index[: 3 * size]),
            episode.support_mask_tk[:3],
            method.rows.batch(episode.query.index[: 3 * size]),
            episode.query_mask_tk[:3],
        )
        assert abs(loss_of(method, emptied) - loss_of(method, three)) < 1e-14

    def test_old_items_learn_with_a_new_items_scalar(self, build):
        """The first-order weight of their own is not used: a generated row comes without one."""
        method = built(build, "FM")
        episode = block_episode(method)
        before = loss_of(method, episode)
        with torch.no_grad():
            weights = method.backbone.first_order_rows()
            one, two = episode.ids_t[:2].tolist()
            weights[one] += 1.0  # the mean of old items stays
            weights[two] -= 1.0
        assert abs(loss_of(method, episode) - before) < 1e-13

    # ---------------------------------------------------------------- stages
    def test_only_the_generator_learns_over_four_pairs(self, build):
        """U2, and the number of steps: 4 block pairs, batches of tasks."""
        method = build("MetaE", metae_batch_items=4)
        trainer = Trainer(method, seed=7)
        trainer.pretrain()
        before = state_of(method)
        trainer.learn()
        assert trainer.journal["stages"][-1]["steps"] == 4 * math.ceil(15 / 4)
        served = {"new_vectors", "new_first_order", "new_items_started", "cold_rows"}
        assert what_moved(before, method) - served == {
            f"generator.{n}" for n, _ in method.generator.named_parameters()
        }

    def test_cold_rows_are_generated_from_side_information_only(self, build):
        method = build("MetaE")
        Trainer(method, seed=7).learn()
        side = method.backbone.side_vectors()
        rows = [method.generator(side[item][None])[0] for item in method.new_ids.tolist()]
        assert torch.allclose(method.new_vectors, torch.stack(rows), atol=1e-6)
        with torch.no_grad():
            method.backbone.id_table()[method.new_ids] = math.nan
        assert torch.allclose(method.cold_vectors(), torch.stack(rows), atol=1e-6)

    def test_items_without_side_information_start_from_the_mean(self, build, caplog):
        method = build("MetaE")
        empty_attributes(method, method.new_ids[4])
        with caplog.at_level("INFO", "recbole_cold"):
            rows = method.cold_vectors()
        assert torch.equal(rows[4], method.old_mean())
        assert not torch.equal(rows[5], rows[4])
        assert "1 of 18 new items have no side information" in caplog.text

    def test_warm_phases_are_plain_fine_tuning(self, build):
        """From the same start bit for bit Base's; the generator is never used again."""
        method, plain = build("MetaE"), build("Base")
        trainers = [Trainer(method, seed=7), Trainer(plain, seed=7)]
        for trainer in trainers:
            trainer.pretrain()
        start = torch.randn(18, 4, generator=torch.Generator().manual_seed(2))
        method.cold_vectors = plain.cold_vectors = lambda: start
        for trainer in trainers:
            trainer.learn()
        weights = [p.detach().clone() for p in method.generator.parameters()]
        for name in ("warm_a", "warm_b"):
            for trainer in trainers:
                trainer.warm_up(name, method.dataset.split[name])
            assert torch.equal(method.new_vectors, plain.new_vectors)
            assert torch.equal(method.new_first_order, plain.new_first_order)
        assert not torch.equal(method.new_vectors, start)
        for weight, parameter in zip(weights, method.generator.parameters(), strict=True):
            assert torch.equal(weight, parameter)

    def test_released_generator_by_hand(self, rng64):
        """0.2 tanh(s W), no bias."""
        generator = TanhDense(3, 2).double()
        assert [name for name, _ in generator.named_parameters()] == ["dense.weight"]
        side = rng64(4, 3)
        out, weight = generator(side), generator.dense.weight
        for row in range(4):
            for k in range(2):
                total = sum(side[row, j].item() * weight[k, j].item() for j in range(3))
                assert out[row, k].item() == pytest.approx(0.2 * math.tanh(total), abs=1e-14)

    def test_too_few_rows_are_said(self, build):
        method = build("MetaE")
        method._train = method._train[:3]
        with pytest.raises(UserError, match="at least 4 rows"):
            method.learn_fits()

    # ---------------------------------------------------------------- the released inner step
    def test_released_inner_step_has_rate_eta_over_the_batch(self, build):
        """Each row adapts on its own single row: one loss mean over B rows, B vectors."""
        method = built(
            build, metae_inner="per_row_batchmean", metae_inner_rate=0.7, metae_alpha=0.4
        )
        (fit,) = method.learn_fits()
        assert fit.epochs == 1  # one pass over the pair (a, b)
        episode = next(iter(fit.batches.epoch(torch.Generator().manual_seed(1), 0)))
        assert episode.support_mask_tk.shape == (64, 1) and episode.support_mask_tk.all()
        side = method.backbone.side_vectors()
        before, after = 0.0, 0.0
        for task, item in enumerate(episode.ids_t.tolist()):
            vector = method.generator(side[item][None])[0]
            support, query = episode.support.index[task].item(), episode.query.index[task].item()
            assert method._all_ids[support] == method._all_ids[query] == item
            loss = row_loss(method, vector, support)
            (gradient,) = torch.autograd.grad(loss, vector, retain_graph=True)
            before += loss.item() / 64
            after += row_loss(method, vector - 0.7 / 64 * gradient, query).item() / 64
        expected = 0.4 * before + 0.6 * after
        assert fit.steps[0].loss(episode).item() == pytest.approx(expected, abs=1e-13)
        per_item = built(build, metae_inner_rate=0.7, metae_alpha=0.4)
        assert abs(loss_of(per_item, episode).item() - expected) > 1e-5

    def test_released_blocks_are_a_quarter_of_an_items_rows(self, build):
        method = build("MetaE", metae_inner="per_row_batchmean", metae_block_size=3)
        (fit,) = method.learn_fits()
        rows = 0
        for item in method.dataset.split.old_ids.tolist():
            mine = method.dataset.inter["item_id"][method.dataset.split["train"]] == item
            rows += mine.sum() // 4
        assert len(fit.batches) == math.ceil(rows / 64)
        with pytest.raises(UserError, match="none of per_item, per_row_batchmean"):
            build("MetaE", metae_inner="per_row")

    def test_rowwise_by_hand(self):
        order = np.random.default_rng(1).permutation(50)
        start, step, length = np.array([2, 20]), np.array([3, 6]), np.array([3, 2])
        blocks = Blocks(np.array([5, 9]), order, start, step, length, 4)
        rows, out = blocks.rows_tjk, rowwise(blocks)
        assert rows[1, 3].tolist() == [*order[20 + 18 : 20 + 20], order[20]]
        expected = [(5, [rows[0, j, k] for j in range(4)]) for k in range(3)]
        expected += [(9, [rows[1, j, k] for j in range(4)]) for k in range(2)]
        found = [
            (item, row[:, 0].tolist()) for item, row in zip(out.ids_t, out.rows_tjk, strict=True)
        ]
        assert found == expected
        assert out.mask_tjk.all() and out.mask_tjk.shape == (5, 4, 1)


@pytest.mark.parametrize("inner", ["per_item", "per_row_batchmean"])
@pytest.mark.parametrize("chunk_rows", [1, 10, 24])
def test_a_step_over_many_tasks_in_chunks_is_the_whole_step(build, monkeypatch, inner, chunk_rows):
    """Loss and gradient; chunks of one task, of two with one left over, of tasks without rows."""
    method = built(build, "DeepFM", metae_inner_rate=0.3, metae_alpha=0.4, metae_inner=inner)
    episode = block_episode(method, tasks=7, size=5, epoch=1)
    query = episode.query_mask_tk.clone()
    query[2] = 0
    episode = exchanged(episode, query_mask_tk=query)
    whole, expected = loss_of(method, episode), generator_gradient(method, episode)
    small = Sizes(scored=4096, differentiated=chunk_rows)
    monkeypatch.setattr("recbole_cold.model.metae.sizes_of", lambda device: small)
    split = []
    original = Episode.split
    monkeypatch.setattr(Episode, "split", lambda e, n: split.append(n) or original(e, n))
    assert abs(loss_of(method, episode) - whole) < 1e-13
    assert (generator_gradient(method, episode) - expected).abs().max() < 1e-13
    assert split == [max(1, chunk_rows // 5)] * 2


class TestSessions:
    """Where no item is new, there may be items that are no target in training."""

    KEYS = {"split_rule": "sessions", "session_length": 4, "session_min": 2, "session_user_min": 5}

    @pytest.mark.parametrize("backbone", ["FM", "DIN"])
    def test_items_that_are_no_target_in_training_start_generated(self, build, backbone):
        """Their vector and scalar weight, unless a history has them, as DIN reads it."""
        method = build("MetaE", backbone, **self.KEYS)
        ids = method.rows.columns[method.id_field].long()
        left_out = ids[method.train_index].unique()[:6]
        method.train_index = method.train_index[~torch.isin(ids[method.train_index], left_out)]
        read = {int(ids[row]) for row in method.train_index.tolist()}
        if backbone == "DIN":
            rows = method.rows.histories.of(method.train_index).flatten().tolist()
            read |= {int(ids[row]) for row in rows if row >= 0}
            assert read & set(left_out.tolist())
        start = [item for item in method.old_ids.tolist() if item not in read]
        assert start or backbone == "DIN"
        table, weights = method.backbone.id_table(), method.backbone.first_order_table()
        before, weights_before = table.detach().clone(), weights.detach().clone()
        scalar, read = method.cold_first_order(), sorted(read)
        with torch.no_grad():
            expected = method.generator(method.side_vectors()[start])
        method.start_new_items()
        torch.testing.assert_close(table[start].detach(), expected)
        assert torch.equal(table[read], before[read])
        if method.backbone.has_first_order:
            assert torch.equal(weights[start], scalar.expand(len(start), 1))
            assert torch.equal(weights[read], weights_before[read])

    def test_its_phases_are_those_of_its_backbone(self, build):
        """Where every item is a target in training nothing is generated: scores are equal."""
        scores = []
        for name in ("MetaE", "Base"):
            method = build(name, "FM", **self.KEYS)
            if name == "MetaE":
                method.unread_ids = lambda method=method: method.old_ids[:0]
            trainer = Trainer(method, seed=7)
            trainer.pretrain()
            trainer.learn()
            trainer.warm_up("ft_a", method.dataset.split["ft_a"])
            scores.append(trainer.score(method.rows.index(method.dataset.split["test"])))
        assert torch.equal(*scores)
