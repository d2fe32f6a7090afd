"""What all few-shot learners share: tasks that know nothing of each other, supports that grow from
phase to phase, scores that depend on nothing else. Every method is asked the same."""

import logging

import numpy as np
import pytest
import torch

from recbole_cold.errors import Diverged, UserError
from recbole_cold.model import _fewshot
from recbole_cold.model._fewshot import FewShotRecommender, TaskRows
from recbole_cold.registry import methods
from recbole_cold.training.trainer import Trainer

FEW_SHOT = [name for name, cls in methods().items() if issubclass(cls, FewShotRecommender)]
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
every = pytest.mark.parametrize("name", FEW_SHOT)


@pytest.fixture
def learner(build):
    """In float64, evaluation mode, with embeddings as large as after training."""

    def make(name="MeLU", **keys):
        method = build(name, None, double=True, **{"meta_epochs": 1, **keys})
        method.set_mode("evaluate")
        with torch.no_grad():
            method.net.token_embedding_table.embedding.weight.mul_(3.0)
        return method

    return make


def episode_of(method, seed=4, position=0):
    batches = method.batches().epoch(torch.Generator().manual_seed(seed), 0, position)
    return next(iter(batches))


def picked(rows: TaskRows, tasks=slice(None), places=slice(None)) -> TaskRows:
    """Some tasks, and some rows of each."""
    ids, own, *parts = (part[tasks] for part in rows)
    return TaskRows(ids, own, *(part[:, places] for part in parts))


def padded(rows: TaskRows, n: int) -> TaskRows:
    """``n`` more rows per task, of mask 0 and anything else."""
    t = len(rows.ids_t)
    other = torch.full((t, n, rows.other_tkq.shape[2]), 3.0).double()
    label, mask = torch.ones(t, n), torch.zeros(t, n)
    return rows._replace(
        other_tkq=torch.cat([rows.other_tkq, other], dim=1),
        label_tk=torch.cat([rows.label_tk, label], dim=1),
        mask_tk=torch.cat([rows.mask_tk, mask], dim=1),
    )


@torch.no_grad()
def scored(method, support, query):
    return method.net.task_logits(method.net.state(support), query)


@torch.no_grad()
def sides(method, **keys):
    episode = episode_of(method, **keys)
    return method.both_of(episode)


def warmed(method, phases=("warm_a", "warm_b", "warm_c")):
    method.start_new_items()
    for name in phases:
        method.observe(method.rows.index(method.dataset.split[name]))
    return method


@torch.no_grad()
def served_scores(method, index=None):
    index = method.dataset.split["test"] if index is None else index
    return method.logits(method.rows.batch(method.rows.index(index)))


class TestEveryFewShotLearner:
    @every
    def test_padding_changes_nothing(self, learner, name):
        """Neither in the support nor among the rows to be scored."""
        method = learner(name)
        support, query = sides(method)
        plain = scored(method, support, query)
        torch.testing.assert_close(scored(method, padded(support, 3), query), plain, **CLOSE)
        more = scored(method, support, padded(query, 2))[:, :-2]
        torch.testing.assert_close(more, plain, **CLOSE)

    @every
    def test_tasks_in_another_order_have_the_same_scores(self, learner, name):
        method = learner(name)
        support, query = sides(method)
        order = torch.randperm(len(support.ids_t), generator=torch.Generator().manual_seed(2))
        found = scored(method, picked(support, order), picked(query, order))
        torch.testing.assert_close(found, scored(method, support, query)[order], **CLOSE)

    @every
    def test_support_rows_in_another_order_change_nothing(self, learner, name):
        method = learner(name)
        support, query = sides(method)
        flipped = picked(support, places=torch.arange(support.mask_tk.shape[1]).flip(0))
        plain = scored(method, support, query)
        torch.testing.assert_close(scored(method, flipped, query), plain, **CLOSE)

    @every
    def test_a_task_knows_nothing_of_the_others(self, learner, name):
        """Other labels in task 0's support move its scores, no other task's, and no parameter."""
        method = learner(name)
        support, query = sides(method)
        before = {k: v.clone() for k, v in method.state_dict().items()}
        plain = scored(method, support, query)
        label = support.label_tk.clone()
        label[0] = 1 - label[0]
        found = scored(method, support._replace(label_tk=label), query)
        assert (found[0] - plain[0]).abs().max() > 1e-8
        torch.testing.assert_close(found[1:], plain[1:], **CLOSE)
        assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())

    @every
    def test_a_task_without_rows_is_unadapted(self, learner, name):
        """Whether all its rows are padding or it has none at all; and the scores are numbers."""
        method = learner(name)
        support, query = sides(method)
        nothing = support._replace(mask_tk=torch.zeros_like(support.mask_tk))
        plain = scored(method, support.empty(), query)
        assert torch.isfinite(plain).all()
        torch.testing.assert_close(scored(method, nothing, query), plain, **CLOSE)

    @every
    def test_query_labels_are_not_looked_at(self, learner, name):
        method = learner(name)
        support, query = sides(method)
        found = scored(method, support, query._replace(label_tk=1 - query.label_tk))
        assert torch.equal(found, scored(method, support, query))

    @every
    def test_labels_of_test_rows_reach_no_score(self, learner, name):
        method = warmed(learner(name))
        plain = served_scores(method)
        other = learner(name)
        labels = other.rows.columns[other.label_field].clone()
        test = other.rows.index(other.dataset.split["test"])
        labels[test] = 1 - labels[test]
        other.rows.columns[other.label_field] = labels
        assert torch.equal(served_scores(warmed(other)), plain)

    @every
    def test_each_phase_adapts_anew_to_all_rows_seen(self, learner, name):
        """The served score is the score by hand, from theta, of K, 2K and 3K rows."""
        method = learner(name)
        split, ids = method.dataset.split, method._all_ids
        item = method.new_ids[2]
        index = np.asarray(split["test"])
        test = index[ids[index] == int(item)]
        seen = np.zeros(0, dtype=np.int64)
        method.start_new_items()
        for phase in ("cold", "warm_a", "warm_b", "warm_c"):
            if phase != "cold":
                rows = np.asarray(split[phase])
                method.observe(method.rows.index(rows))
                seen = np.concatenate([seen, rows[ids[rows] == int(item)]])
            with torch.no_grad():
                support = method.task_rows(
                    item[None], method.rows.batch(method.rows.index(seen)), torch.ones(1, len(seen))
                )
                query = method.task_rows(
                    item[None], method.rows.batch(method.rows.index(test)), torch.ones(1, len(test))
                )
            expected = scored(method, support, query)[0]
            torch.testing.assert_close(served_scores(method, test), expected, **CLOSE)

    @every
    def test_a_score_does_not_depend_on_its_company(self, learner, name):
        """Old, new and rare items in any order and number give each row its own score."""
        method = warmed(learner(name))
        index = torch.arange(0, method.dataset.n_rows, 3)
        plain = served_scores(method, index)
        order = torch.randperm(len(index), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(served_scores(method, index[order]), plain[order], **CLOSE)
        for n in range(0, len(index), 97):
            torch.testing.assert_close(served_scores(method, index[n : n + 1]), plain[n : n + 1],
                                       **CLOSE)  # fmt: skip

    @every
    def test_states_that_are_not_kept_and_chunks_change_no_score(self, learner, name, monkeypatch):
        method = warmed(learner(name))
        plain = served_scores(method)
        monkeypatch.setattr(_fewshot, "_STATE_BYTES", 0)
        again = warmed(learner(name, task_chunk=3))
        again.load_state_dict(method.state_dict())
        again.restored()
        torch.testing.assert_close(served_scores(again), plain, **CLOSE)
        assert again._states is None

    @every
    def test_short_memory_is_said_and_survived(self, learner, name, caplog, monkeypatch):
        """A machine with room for three tasks: the same scores and the same gradients."""
        method = warmed(learner(name))
        method.set_mode("evaluate")
        plain, episode = served_scores(method), episode_of(method)
        parameters = method.trainable("learn")
        loss = method.episode_loss(episode)
        expected = torch.autograd.grad(loss, parameters, allow_unused=True)
        original = type(method.net).state

        def small(self, support):
            if len(support.ids_t) > 3:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
            return original(self, support)

        monkeypatch.setattr(type(method.net), "state", small)
        method.restored()
        with caplog.at_level(logging.WARNING):
            torch.testing.assert_close(served_scores(method), plain, **CLOSE)
            assert "memory is short: going on with" in caplog.text
            (step,) = method.meta_fit().steps
            found_loss = step.loss(episode)
        if name != "TaNP":  # a term of its loss is of the batch as a whole
            torch.testing.assert_close(found_loss, loss)
            found = torch.autograd.grad(found_loss, parameters, allow_unused=True)
            for one, other in zip(found, expected, strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    torch.testing.assert_close(one, other)

    @every
    def test_supports_are_in_the_state(self, learner, name):
        method = warmed(learner(name), ("warm_a", "warm_b"))
        fresh = learner(name)
        fresh.load_state_dict(method.state_dict())
        fresh.restored()
        assert torch.equal(served_scores(fresh), served_scores(method))
        assert not torch.equal(served_scores(fresh), served_scores(learner(name)))

    @every
    def test_the_own_id_is_an_input_only_if_asked_for(self, learner, name):
        for own_id in (False, True):
            method = warmed(learner(name, own_id=own_id))
            plain = served_scores(method)
            with torch.no_grad():
                method.backbone.id_table().add_(1.0)
            method.restored()
            assert torch.equal(served_scores(method), plain) is not own_id

    @every
    def test_new_users_are_tasks_too(self, learner, name):
        method = warmed(learner(name, cold_side="user", cold_threshold=14, warm_size=2))
        assert method.id_field == method.dataset.uid_field
        assert set(method.net.own.names) == {"age", "gender"}
        assert set(method.net.other.names) >= {"item_id", "device", "year", "title", "genre"}
        plain = served_scores(method)
        assert torch.isfinite(plain).all()
        fresh = learner(name, cold_side="user", cold_threshold=14, warm_size=2)
        assert not torch.allclose(served_scores(fresh), plain)

    @every
    def test_data_without_side_fields(self, learner, name):
        """Items are told apart by their supports alone."""
        only = {"inter": ["user_id", "item_id", "rating", "timestamp"], "user": ["user_id"],
                "item": ["item_id"]}  # fmt: skip
        method = warmed(learner(name, load_col=only))
        assert method.net.own.names == [] and method.net.other.names == ["user_id"]
        assert torch.isfinite(served_scores(method)).all()
        assert torch.isfinite(method.episode_loss(episode_of(method)))

    @every
    def test_tasks_of_one_class_are_learned_from(self, learner, name):
        method = learner(name)
        column = method.rows.columns[method.label_field]
        method.rows.columns[method.label_field] = torch.ones_like(column)
        loss = method.episode_loss(episode_of(method))
        found = torch.autograd.grad(loss, method.trainable("learn"), allow_unused=True)
        assert all(torch.isfinite(part).all() for part in found if part is not None)

    @every
    def test_a_phase_without_rows_changes_no_score(self, learner, name):
        method = warmed(learner(name), ())
        cold = served_scores(method)
        method.observe(method.rows.index([]))
        assert torch.equal(served_scores(method), cold)


class TestTraining:
    def test_one_look_up_for_support_and_query(self, learner):
        """The same rows as of each by itself, and the same gradients of the tables."""
        method = learner()
        episode = episode_of(method)
        apart = [
            method.task_rows(episode.ids_t, batch, mask)
            for batch, mask in (
                (episode.support, episode.support_mask_tk),
                (episode.query, episode.query_mask_tk),
            )
        ]
        assert apart[0].mask_tk.shape != apart[1].mask_tk.shape
        together = method.both_of(episode)
        tables = [p for name, p in method.net.named_parameters() if "embedding" in name]
        gradients = []
        for rows in (apart, together):
            parts = [part.other_tkq.sin().sum() + part.own_tp.cos().sum() for part in rows]
            weighed = parts[0] + 0.3 * parts[1]
            gradients.append(torch.autograd.grad(weighed, tables, allow_unused=True))
        for left, right in zip(*gradients, strict=True):
            assert left is right is None or torch.allclose(left, right, atol=1e-6)
        assert any(gradient is not None and gradient.any() for gradient in gradients[0])
        for left, right in zip(apart, together, strict=True):
            for name in TaskRows._fields:
                assert torch.equal(getattr(left, name), getattr(right, name)), name

    def test_large_k_and_large_batches(self, build, caplog):
        """K larger than any item, a batch larger than the number of items: said, and trained."""
        with caplog.at_level(logging.INFO):
            method = build("MeLU", None, warm_size=3, episode_query=200, meta_batch_size=1000)
            trainer = Trainer(method, 7)
            trainer.learn()
        n_old = len(method.old_ids)
        assert f"{n_old} of {n_old} old items have fewer than the 209 rows" in caplog.text
        assert trainer.journal["stages"][0]["steps"] == 20  # one batch a pass

    @pytest.mark.parametrize("key", ["episode_query", "meta_batch_size", "task_chunk"])
    @pytest.mark.parametrize("value", [0, 2.5])
    def test_counts_are_checked(self, build, key, value):
        with pytest.raises(UserError, match=key):
            build("MeLU", None, **{key: value})

    def test_a_diverging_inner_step_is_named(self, build):
        """Which item, which step."""
        method = build("MeLU", None, melu_inner_steps=3)
        method.backbone.model.rate = 1e30
        with pytest.raises(Diverged, match=r"inner step \d of 3 .* for item 'i\d+'.*rate"):
            Trainer(method, 7).learn()

    def test_no_old_item_with_two_rows(self, build):
        method = build("MeLU", None)
        method._train = method._train[:1]
        with pytest.raises(UserError, match="at least 2 rows"):
            method.learn_fits()

    def test_cold_scores_are_marked_unadapted(self, build):
        method = build("MeLU", None, meta_epochs=1)
        trainer = Trainer(method, 7)
        trainer.learn()
        test = method.dataset.split["test"]
        assert trainer.evaluate("cold", test)["unadapted"] is True
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert "unadapted" not in trainer.evaluate("warm_a", test)

    def test_nothing_is_trained_before_learning_or_in_the_phases(self, build):
        method = build("MeLU", None)
        assert method.pretrain_fits() == [] and method.warm_fits(method.train_index[:3]) == []
        assert method.trainable("warm_up") == []
