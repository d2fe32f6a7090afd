"""The plain backbone: how new items start, what fine-tuning moves, what is counted."""

import math

import pytest
import torch
from helpers import state_of, trainer_of, what_moved
from torch import nn

from recbole_cold.errors import UserError
from recbole_cold.model.base import Base

METHODS = ["Base", "CVAR", "DropoutNet", "MWUF", "MetaE"]


def two_new_items_alike(method):
    """Rows of two new items that agree in everything but the item ID."""
    first, second = method.new_ids[:2].tolist()
    index = torch.arange(10)
    pair = []
    for item in (first, second):
        batch = dict(method.rows.batch(index))
        source = method.rows.batch(index)
        model = method.backbone.model
        for field in [*model.token_field_names, *model.token_seq_field_names]:
            batch[field] = source[field] if field != "item_id" else torch.full((10,), item)
        pair.append(batch)
    assert (pair[0]["item_id"] != pair[1]["item_id"]).all()
    return pair


class TestBase:
    method = Base

    # ---------------------------------------------------------------- the start of a new item
    def test_the_mean_is_of_old_items_only(self, build):
        """Padding, new and rare items take no part: NaN planted there does not come out."""
        method = build("Base", new_item_init="mean")
        table = method.backbone.id_table()
        expected = torch.zeros(4, dtype=torch.float64)
        for item in method.dataset.split.old_ids.tolist():
            expected += table[item].detach().double() / len(method.dataset.split.old_ids)
        others = torch.ones(len(table), dtype=torch.bool)
        others[method.old_ids] = False
        assert others[0] and others.sum() == 18 + 7 + 1
        with torch.no_grad():
            table[others] = math.nan
        rows = method.cold_vectors()
        assert rows.shape == (18, 4)
        for row in rows:
            assert torch.allclose(row.double(), expected, atol=1e-7)
        assert torch.allclose(method.old_mean().double(), expected, atol=1e-7)

    def test_zero(self, build):
        method = build("Base", new_item_init="zero")
        assert torch.equal(method.cold_vectors(), torch.zeros(18, 4))

    def test_random_is_the_backbones_own_draw(self, build):
        """Drawn from the run's seed, untouched by pre-training without weight decay."""
        method = build("Base", new_item_init="random")
        drawn = method.backbone.id_table()[method.new_ids].detach().clone()
        trainer_of(method)
        assert torch.equal(method.new_vectors, drawn)
        assert drawn.std() > 0.01
        again = build("Base", new_item_init="random")
        assert torch.equal(again.cold_vectors(), drawn)
        other = build("Base", new_item_init="random", seed=8)
        assert not torch.equal(other.cold_vectors(), drawn)

    def test_released_decay_turns_random_into_zero(self, build):
        """Adam divides the tiny decay gradient by its own size: unseen rows walk to zero."""
        keys = {"new_item_init": "random", "embedding_init": "uniform", "train_batch_size": 8}
        method = build("Base", weight_decay=1e-6, **keys)
        start = method.cold_vectors()
        trainer_of(method)
        assert start.abs().mean() > 4e-3
        assert method.new_vectors.abs().mean() < 5e-4

    @pytest.mark.parametrize("rule", ["mean", "zero"])
    def test_new_items_with_equal_features_score_equally(self, build, rule):
        """Cold logits of two new items differ only by what is not their ID."""
        method = build("Base", "DeepFM", new_item_init=rule)
        trainer_of(method)
        method.set_mode("evaluate")
        one, two = two_new_items_alike(method)
        with torch.no_grad():
            assert torch.equal(method.logits(one), method.logits(two))
            method.new_vectors[1] += 0.1
            assert not torch.equal(method.logits(one), method.logits(two))

    # ---------------------------------------------------------------- the scalar weight
    def test_scalar_weight_of_a_new_item(self, build):
        """mean of old items, zero, or none at all."""
        method = build("Base", id_first_order="mean")
        weights = method.backbone.first_order_rows()
        expected = sum(weights[item].item() for item in method.old_ids.tolist()) / 15
        others = torch.ones(len(weights), dtype=torch.bool)
        others[method.old_ids] = False
        with torch.no_grad():
            weights[others] = math.nan
        method.start_new_items()
        assert method.new_first_order.shape == (18, 1)
        assert torch.allclose(method.new_first_order, torch.tensor(expected), atol=1e-7)
        zero = build("Base", id_first_order="zero")
        zero.start_new_items()
        assert zero.backbone.has_first_order and not zero.new_first_order.any()
        assert zero.item_vectors(zero.new_ids)[1].shape == (18, 1)
        off = build("Base", id_first_order="off")
        assert off.item_vectors(off.new_ids)[1] is None
        assert [p is off.new_vectors for p in off.trainable("warm_up")] == [True]

    def test_scalar_weights_learn_with_the_rows(self, build):
        """Only where the backbone has them."""
        for backbone, learns in (("DeepFM", True), ("PNN", False)):
            method = build("Base", backbone)
            trainer = trainer_of(method)
            start = method.new_first_order.detach().clone()
            trainer.warm_up("warm_a", method.dataset.split["warm_a"])
            assert (not torch.equal(method.new_first_order, start)) == learns

    # ---------------------------------------------------------------- serving and fine-tuning
    def test_old_items_are_served_from_the_table_new_ones_from_their_rows(self, build):
        method = build("Base")
        method.start_new_items()
        with torch.no_grad():
            method.new_vectors.copy_(torch.arange(18.0)[:, None].expand(18, 4))
            method.new_first_order.copy_(-torch.arange(18.0)[:, None])
        ids = torch.arange(method.n_ids)
        vectors, scalars = method.item_vectors(ids)
        new = method.dataset.split.new_ids.tolist()
        for item in range(method.n_ids):
            if item in new:
                place = new.index(item)
                assert vectors[item].tolist() == [place] * 4
                assert scalars[item].tolist() == [-place]
            else:
                assert torch.equal(vectors[item], method.backbone.id_table()[item])
                assert torch.equal(scalars[item], method.backbone.first_order_rows()[item])

    def test_one_batch_moves_only_the_rows_in_it(self, build):
        method = build("Base")
        trainer = trainer_of(method)
        start, scalars = (
            method.new_vectors.detach().clone(),
            method.new_first_order.detach().clone(),
        )
        before = state_of(method.backbone)
        rows = method.dataset.split["warm_a"][:5]
        present = {int(method.dataset.inter["item_id"][row]) for row in rows}
        assert 0 < len(present) < 18
        trainer.warm_up("warm_a", rows)
        assert trainer.journal["stages"][-1]["steps"] == 1
        for place, item in enumerate(method.new_ids.tolist()):
            assert (not torch.equal(method.new_vectors[place], start[place])) == (item in present)
            assert (method.new_first_order[place] != scalars[place]).item() == (item in present)
        assert what_moved(before, method.backbone) == set()

    def test_fine_tuning_is_gradient_descent_on_the_rows(self, build):
        """Adam's first step is the learning rate times the sign of the gradient."""
        method = build("Base", "WideDeep", dropout_prob=0.0, warm_learning_rate=0.01)
        trainer = trainer_of(method)
        method.set_mode("evaluate")
        index = method.rows.index(method.dataset.split["warm_a"])
        batch = method.rows.batch(index)
        start = method.new_vectors.detach().clone().requires_grad_()
        vector = torch.stack(
            [start[method.dataset.split.new_ids.tolist().index(i)] for i in batch["item_id"]]
        )
        first = method.cold_first_order().expand(len(index), 1)
        click = torch.sigmoid(method.backbone.logits(batch, vector, first))
        label = batch[method.label_field]
        loss = -(label * click.log() + (1 - label) * (1 - click).log()).mean()
        (gradient,) = torch.autograd.grad(loss, start)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert trainer.journal["stages"][-1]["steps"] == 1
        clear = gradient.abs() > 1e-5
        assert clear.float().mean() > 0.5
        step = (method.new_vectors - start).detach()
        assert torch.allclose(step[clear], -0.01 * gradient.sign()[clear], atol=2e-5)

    def test_loss_is_binary_cross_entropy(self, build):
        method = build("Base", double=True)
        batch = {method.label_field: torch.tensor([1.0, 0.0, 1.0]).double()}
        logits = torch.tensor([0.3, -1.2, -2.0]).double()
        naive = 0.0
        for a, y in zip(logits.tolist(), [1, 0, 1], strict=True):
            naive += (math.log1p(math.exp(a)) - y * a) / 3
        assert method.loss(logits, batch).item() == pytest.approx(naive, abs=1e-14)

    # ---------------------------------------------------------------- BatchNorm
    @pytest.mark.parametrize("name", ["Base", "MWUF", "CVAR"])
    @pytest.mark.parametrize("rule", ["frozen", "moving"])
    def test_batch_norm_statistics_move_only_on_request(self, build, name, rule):
        method = build(name, "NFM", batch_norm=rule)
        trainer = trainer_of(method)
        before = state_of(method.backbone)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        changed = what_moved(before, method.backbone)
        if rule == "frozen":
            assert changed == set()
        else:
            assert changed and all("running" in n or "num_batches" in n for n in changed)

    @pytest.mark.parametrize("name", ["MWUF", "MetaE", "CVAR"])
    @pytest.mark.parametrize("rule", ["frozen", "moving"])
    def test_while_a_module_learns_too(self, build, name, rule):
        """U2, buffers included; released code lets them drift."""
        method = build(name, "NFM", batch_norm=rule)
        trainer = trainer_of(method, ["pretrain"])
        before = state_of(method.backbone)
        trainer.learn()
        changed = what_moved(before, method.backbone)
        if rule == "frozen":
            assert changed == set()
        else:
            assert changed and all("running" in n or "num_batches" in n for n in changed)

    @pytest.mark.parametrize("rule", ["frozen", "moving"])
    @pytest.mark.parametrize("drops", [False, True])
    def test_modes(self, build, rule, drops):
        """train: everything; evaluate: nothing; frozen: BatchNorm by one key, the rest by another.

        The rest is more than layers called dropout: models ask the flag of a module around.
        """
        method = build("Base", "NFM", batch_norm=rule, backbone_dropout=drops)
        parts = list(method.backbone.modules())
        norms = [part for part in parts if isinstance(part, nn.BatchNorm1d)]
        rest = [part for part in parts if not isinstance(part, nn.BatchNorm1d)]
        assert norms and {"Dropout", "NFM"} <= {type(part).__name__ for part in rest}
        moving = rule == "moving"
        for mode, dropout, norm in (
            ("train", True, True), ("frozen", drops, moving), ("evaluate", False, False),
            ("frozen", drops, moving), ("train", True, True),
        ):  # fmt: skip
            method.set_mode(mode)
            assert {part.training for part in rest} == {dropout}
            assert {part.training for part in norms} == {norm}
            assert method.training == (mode != "evaluate")

    def test_a_mode_that_there_is_not(self, build):
        with pytest.raises(
            UserError, match="'eval', given to set_mode, is none of frozen, train, evaluate"
        ):
            build("Base").set_mode("eval")

    # ---------------------------------------------------------------- counts
    def test_counts_are_of_what_was_seen(self, build):
        """Rows of an item so far, scaled by the range over old items and clipped."""
        method = build("Base")
        split, items = method.dataset.split, method.dataset.inter["item_id"]

        def naive(parts):
            seen = [0] * method.n_ids
            for part in parts:
                for row in split[part]:
                    seen[items[row]] += 1
            return seen

        trained = naive(["train"])
        high = max(trained[item] for item in split.old_ids)
        parts = ["train"]
        for part in (None, "warm_a", "warm_b"):
            if part is not None:
                parts.append(part)
                method.observe(method.rows.index(split[part]))
            seen = naive(parts)
            assert method.counts.tolist() == seen
            for item, value in enumerate(method.frequency().tolist()):
                assert value == pytest.approx(min(seen[item] / high, 1.0), abs=1e-6)
            grown = method.frequency()[method.new_ids]
            assert (grown > 0).all() if part is not None else not grown.any()
        assert not build("Base").counts[method.new_ids].any()

    def test_released_counts_are_of_the_whole_log(self, build):
        method = build("Base", count_source="full")
        items = method.dataset.inter["item_id"].tolist()
        expected = [items.count(item) for item in range(method.n_ids)]
        assert method.counts.tolist() == expected
        method.observe(method.rows.index(method.dataset.split["warm_a"]))
        assert method.counts.tolist() == expected
        low, high = min(c for c in expected if c), max(expected)
        assert method.frequency()[method.new_ids[0]].item() == pytest.approx(
            (expected[method.new_ids[0]] - low) / (high - low), abs=1e-6
        )

    @pytest.mark.parametrize("source", ["visible", "full"])
    def test_the_backbone_reads_the_count(self, build, source):
        """use_count: a number of the item that grows with what may be seen."""
        method = build("Base", use_count=True, count_source=source)
        assert "count" in method.backbone.model.float_field_names
        index = method.rows.index(method.dataset.split["test"])
        before = method.rows.batch(index)["count"].clone()
        if source == "visible":  # as if these items had as many rows as old ones by now
            method.counts[method.new_ids] = method.count_range[0] + torch.arange(18.0)
        method.observe(method.rows.index(method.dataset.split["warm_a"]))
        after = method.rows.batch(index)["count"]
        expected = method.frequency()[method.rows.columns["item_id"][index].long()]
        assert torch.equal(after[:, 0], expected)
        assert (after[:, 1] == 1).all() and after[:, 0].any()
        if source == "visible":
            assert not before[:, 0].any()
        else:
            assert torch.equal(before, after)


# ------------------------------------------------------------------------- every built-in method
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("backbone", ["DeepFM", "DCN"])
def test_a_generator_of_the_tables_rows_gives_the_backbones_logits(build, name, backbone):
    """U5: with cold rows equal to V_i (and its scalar) nothing of a method is left in the score."""
    method = build(name, backbone)
    trainer_of(method)
    method.cold_vectors = lambda: method.backbone.id_table()[method.new_ids].detach()
    method.start_new_items()
    if method.backbone.has_first_order:
        with torch.no_grad():
            method.new_first_order.copy_(method.backbone.first_order_rows()[method.new_ids])
    method.set_mode("evaluate")
    index = method.rows.index(method.dataset.split["test"])
    assert set(method.rows.columns["item_id"][index].tolist()) <= set(method.new_ids.tolist())
    with torch.no_grad():
        batch = method.rows.batch(index)
        assert torch.equal(method.logits(batch), method.backbone.logits(method.rows.batch(index)))
        assert torch.allclose(
            method.predict(batch).float(), method.backbone.model.predict(batch), atol=1e-7
        )


@pytest.mark.parametrize("name", METHODS)
def test_users_can_be_the_cold_side(build, name):
    """All stages with cold users; rows belong to users then."""
    method = build(name, "DeepFM", cold_side="user", cold_threshold=18)
    trainer = trainer_of(method)
    split, users = method.dataset.split, method.dataset.inter["user_id"]
    assert method.n_ids == method.dataset.num("user_id")
    assert method.new_vectors.shape == (len(split.new_ids), 4)
    start = method.new_vectors.detach().clone()
    before = state_of(method.backbone)
    trainer.warm_up("warm_a", split["warm_a"])
    assert what_moved(before, method.backbone) == set()
    for place, user in enumerate(split.new_ids.tolist()):
        assert user in users[split["warm_a"]]
        assert not torch.equal(method.new_vectors[place], start[place])
    result = trainer.evaluate("warm_a", split["test"])
    assert math.isfinite(result["metrics"]["AUC"])


# ------------------------------------------------------------------------------ batches of rows
@pytest.mark.parametrize(
    ("size", "rows", "sizes"),
    [
        (4, 8, [4, 4]),
        (4, 10, [4, 4, 2]),
        (4, 9, [4, 5]),
        (4, 1, [1]),
        (1, 3, [1, 1, 1]),
        (4, 0, []),
    ],
)
def test_no_batch_is_a_single_left_over_row(build, size, rows, sizes):
    """A left-over row joins the batch before it; the order is the generator's, resumed or not."""
    method = build("Base", train_batch_size=size)
    batches = method.row_batches(torch.arange(rows))

    def epoch(start=0):
        return [b.index for b in batches.epoch(torch.Generator().manual_seed(2), 0, start)]

    found = epoch()
    assert len(batches) == len(found) and [len(index) for index in found] == sizes
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(2))
    assert torch.equal(torch.cat([*found, torch.zeros(0, dtype=torch.long)]), order)
    for start in range(len(found) + 1):
        rest = epoch(start)
        assert len(rest) == len(found) - start
        assert all(map(torch.equal, rest, found[start:]))


def test_batch_norm_trains_with_one_row_left_over(build):
    rows = len(build("Base").train_index)
    method = build("Base", "DCN", train_batch_size=rows - 1, epochs=1)
    before = state_of(method.backbone)
    trainer_of(method, ["pretrain"])
    assert any("running_var" in name for name in what_moved(before, method.backbone))
