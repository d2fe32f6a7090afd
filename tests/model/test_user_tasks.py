"""Few-shot learners on sessions: a task is a user, his support the targets that he has in training.

Nothing here depends on which learner it is, so that each of them is asked.
"""

import numpy as np
import pytest
import torch
from test_fewshot import CLOSE, FEW_SHOT, every, scored, served_scores

from recbole_cold.data.episodes import newest_rows
from recbole_cold.data.phases import FINE_TUNING
from recbole_cold.data.split import Split
from recbole_cold.errors import UserError
from recbole_cold.model._supports import times_of_tasks
from recbole_cold.training.trainer import Trainer

SESSIONS = {
    "split_rule": "sessions", "session_length": 4, "session_min": 2, "session_user_min": 5,
    "episode_support": 3, "episode_query": 2, "meta_epochs": 1, "train_batch_size": 4096,
    "warm_learning_rate": 0.03,
}  # fmt: skip


@pytest.fixture
def learner(build):
    """On sessions of tiny, in evaluation mode; a part is one batch."""

    def make(name="MeLU", double=True, **keys):
        method = build(name, None, double=double, **{**SESSIONS, **keys})
        method.set_mode("evaluate")
        return method

    return make


def users_of(method, rows):
    return np.asarray(method.dataset.inter["user_id"])[np.asarray(rows)]


def support_by_hand(method, user, most):
    """The newest ``most`` training targets of a user, one row after the other."""
    train = np.asarray(method.dataset.split["train"])
    own = [row for row in train.tolist() if users_of(method, [row])[0] == user]
    times = np.asarray(method._time)
    return sorted(own, key=lambda row: (times[row], row))[-most:]


def tasks_by_hand(method, rows, most):
    """Support and query of each row, task by task."""
    found = []
    for row in np.asarray(rows).tolist():
        (user,) = users_of(method, [row])
        support = support_by_hand(method, user, most)
        ids = torch.tensor([int(user)])
        parts = [
            method.task_rows(ids, method.rows.batch(method.rows.index(part)),
                             torch.ones(1, len(part)))
            for part in (support, [row])
        ]  # fmt: skip
        found.append(parts)
    return found


# ------------------------------------------------------------------------------- what a task is
def test_the_side_of_a_task_is_that_which_can_be_new_or_whose_sessions_rows_are(learner):
    sessions = learner().dataset.split
    assert sessions.cold_side == "item" and sessions.task_side == "user"
    for side in ("item", "user"):
        assert Split({}, [], [], {"cold_side": side}).task_side == side


@every
def test_a_task_has_the_fields_of_its_user(learner, name):
    method = learner(name)
    assert set(method.net.own.names) == {"age", "gender"}
    assert set(method.net.other.names) >= {"item_id", "device", "year", "title", "genre"}
    assert "user_id" in learner(name, own_id=True).net.own.names


def test_newest_rows_by_hand(rng64):
    draws = np.random.default_rng(5)
    ids, time = draws.integers(0, 6, 80), draws.integers(0, 9, 80)
    index = np.sort(draws.choice(80, 50, replace=False))
    for most in (1, 3, 100):
        expected = []
        for each in range(6):
            own = [row for row in index.tolist() if ids[row] == each]
            expected += sorted(own, key=lambda row: (time[row], row))[-most:]
        assert newest_rows(ids, time, index, most).tolist() == expected


def test_an_episode_is_of_one_users_training_targets_the_older_ones_support(learner):
    method = learner()
    episode = next(iter(method.batches().epoch(torch.Generator().manual_seed(1), 0)))
    train = set(method.dataset.split["train"].tolist())
    time, t = np.asarray(method._time), len(episode.ids_t)
    assert t > 1 and episode.support_mask_tk.shape[1] == 3
    for task in range(t):
        support, query = (
            batch.index.view(t, -1)[task][mask[task].bool()].tolist()
            for batch, mask in (
                (episode.support, episode.support_mask_tk),
                (episode.query, episode.query_mask_tk),
            )
        )
        assert support and query and set(support + query) <= train
        assert set(users_of(method, support + query)) == {int(episode.ids_t[task])}
        moments = [(time[row], row) for row in support + query]
        assert moments == sorted(moments)


def test_sessions_without_times_have_the_order_that_their_split_drew(learner):
    dataset = learner().dataset.view()
    dataset.time = None
    order = times_of_tasks(dataset)
    seed = int(dataset.split.manifest["seed"])
    assert np.array_equal(order, np.random.default_rng(seed).permutation(dataset.n_rows))


# ------------------------------------------------------------------------------- served scores
@every
@pytest.mark.parametrize("most", [3, 500])
def test_scores_by_hand_from_a_users_newest_training_targets(learner, name, most):
    """In every phase: held-out targets are queries, and never support."""
    method = learner(name, episode_support=most)
    test = method.dataset.split["test"]
    expected = torch.cat([scored(method, *task)[0] for task in tasks_by_hand(method, test, most)])
    torch.testing.assert_close(served_scores(method), expected, **CLOSE)
    method.start_new_items()
    for part in FINE_TUNING:
        method.observe(method.rows.index(method.dataset.split[part]))
    torch.testing.assert_close(served_scores(method), expected, **CLOSE)


@every
def test_a_user_without_a_training_target_is_unadapted(learner, name):
    method = learner(name)
    test = method.rows.index(method.dataset.split["test"])
    users = method.rows.columns["user_id"][test].long()
    plain = served_scores(method)
    method.supports.count[method.supports.slot_n[users[0]]] = 0
    method.restored()
    found = served_scores(method)
    torch.testing.assert_close(found[1:], plain[1:], **CLOSE)
    assert (found[0] - plain[0]).abs() > 1e-9
    (support, query) = tasks_by_hand(method, test[:1].tolist(), 3)[0]
    torch.testing.assert_close(found[0], scored(method, support.empty(), query)[0, 0], **CLOSE)


@every
def test_scores_before_fine_tuning_are_adapted_and_not_marked(learner, name):
    method = learner(name, double=False)
    found = Trainer(method, 7).evaluate("none", method.dataset.split["test"])
    assert found["rows"] and "unadapted" not in found


# ------------------------------------------------------------------------------- fine-tuning
# TaNP's loss draws latent numbers for a batch as a whole.
@pytest.mark.parametrize("name", sorted({*FEW_SHOT} - {"TaNP"}))
def test_fine_tuning_is_a_step_of_one_adam_on_the_held_out_targets(learner, name):
    """Task by task in plain words: the loss of each target after its user's support."""
    method, again = learner(name), learner(name)
    trainer = Trainer(method, 7)
    again.net.train()
    moving = list(again.backbone.parameters())
    adam = torch.optim.Adam(moving, lr=0.03, weight_decay=method.config["weight_decay"])
    for part in FINE_TUNING[:2]:
        rows = method.dataset.split[part]
        trainer.warm_up(part, rows)
        tasks = tasks_by_hand(again, rows, 3)
        losses = []
        for support, query in tasks:
            logit = again.net.task_logits(again.net.state(support), query)
            label = query.label_tk.to(logit.dtype)
            losses.append(torch.nn.functional.binary_cross_entropy_with_logits(logit, label))
        adam.zero_grad()
        torch.stack(losses).mean().backward()
        adam.step()
        ours = dict(method.backbone.named_parameters())
        for key, value in again.backbone.named_parameters():
            torch.testing.assert_close(ours[key], value, rtol=1e-6, atol=1e-8)
        if name == "MAMO":  # its memories were written, so that the second step starts elsewhere
            return


@every
def test_after_a_part_scores_are_those_of_the_new_parameters(learner, name):
    """States that were made before it are not served again."""
    method = learner(name, double=False)
    trainer = Trainer(method, 7)
    before = served_scores(method)
    trainer.warm_up("ft_a", method.dataset.split["ft_a"])
    method.set_mode("evaluate")
    found = served_scores(method)
    method.restored()
    assert torch.equal(found, served_scores(method)) and not torch.equal(found, before)


def test_as_many_steps_as_a_plain_backbone_takes(learner, build):
    stages, keys = [], {"train_batch_size": 5, "warm_epochs": 2}
    plain = {key: value for key, value in SESSIONS.items() if key[:4] not in ("epis", "meta")}
    for method in (learner(**keys), build("Base", "FM", **{**plain, **keys})):
        trainer = Trainer(method, 7)
        for part in FINE_TUNING:
            trainer.warm_up(part, method.dataset.split[part])
        stages.append([stage["steps"] for stage in trainer.journal["stages"]])
    assert stages[0] == stages[1] and min(stages[0]) > 1


def test_mamo_remembers_users_of_fine_tuning_and_no_scored_one(learner):
    method = learner("MAMO")
    memories = ("profiles", "gradients", "matrices")
    before = {name: getattr(method.net, name).clone() for name in memories}
    served_scores(method)
    assert all(torch.equal(getattr(method.net, name), before[name]) for name in memories)
    Trainer(method, 7).warm_up("ft_a", method.dataset.split["ft_a"])
    assert not any(torch.equal(getattr(method.net, name), before[name]) for name in memories)


@every
def test_a_part_of_users_without_support_is_learned_from(learner, name):
    """``train_until`` may leave none: their targets are scored by the start alone."""
    method = learner(name, double=False)
    method.supports.count.zero_()
    Trainer(method, 7).warm_up("ft_a", method.dataset.split["ft_a"])
    assert all(torch.isfinite(value).all() for value in method.backbone.parameters())


def test_users_with_one_session_are_no_tasks_and_it_is_said(learner):
    method = learner()
    method._train = method._train[:1]
    with pytest.raises(UserError, match=r"MeLU needs users with at least 2 rows .* session_min"):
        method.learn_fits()
