"""DropoutNet: item IDs that go missing while the backbone is trained."""

import math

import pytest
import torch
from number_helpers import item_codes

from recbole_cold.model.dropoutnet import DropoutNet, drop
from recbole_cold.training.trainer import Trainer


def pretrained(method):
    trainer = Trainer(method, seed=7)
    trainer.pretrain()
    return trainer


def backbone_state(method):
    return {name: value.clone() for name, value in method.backbone.state_dict().items()}


class TestDropoutNet:
    method = DropoutNet

    def test_drop_by_hand(self, rng64):
        vector, substitute = rng64(4, 3), rng64(3)
        out = drop(vector, substitute, torch.tensor([True, False, False, True]))
        for row, dropped in enumerate([True, False, False, True]):
            for k in range(3):
                assert out[row, k] == (substitute[k] if dropped else vector[row, k])

    @pytest.mark.parametrize("backbone", ["DeepFM", "NFM"])
    def test_rate_zero_is_plain_pretraining_bit_for_bit(self, build, backbone):
        none, plain = build("DropoutNet", backbone, dropoutnet_rate=0.0), build("Base", backbone)
        pretrained(none)
        pretrained(plain)
        expected = backbone_state(plain)
        for name, value in backbone_state(none).items():
            assert torch.equal(value, expected[name]), name
        assert none.pretrain_key() == plain.pretrain_key() == {}
        some = build("DropoutNet", backbone, dropoutnet_rate=0.5)
        pretrained(some)
        assert any(not torch.equal(v, expected[n]) for n, v in backbone_state(some).items())

    def test_a_batch_without_a_drop_has_the_plain_loss(self, build):
        """The path through the slot itself changes nothing."""
        method = build("DropoutNet", "DeepFM", dropoutnet_rate=0.5)
        method.backbone.eval()
        method.dropped_rows = lambda size: torch.zeros(size, dtype=torch.bool)
        index = torch.arange(50)
        loss = method.dropped_loss(method.rows.batch(index))
        plain = method.backbone.model.calculate_loss(method.rows.batch(index))
        assert torch.allclose(loss, plain, atol=1e-6)
        method.dropped_rows = lambda size: torch.ones(size, dtype=torch.bool)
        assert not torch.allclose(method.dropped_loss(method.rows.batch(index)), plain, atol=1e-4)

    def test_rate_one_learns_nothing_about_the_id(self, build):
        """Zero gradient on V and on the scalars, and a loss that no ID enters."""
        method = build("DropoutNet", "DeepFM", dropoutnet_rate=1.0)
        method.backbone.eval()
        index = torch.arange(50)
        batch = method.rows.batch(index)
        loss = method.dropped_loss(batch)
        tables = [
            method.backbone.model.token_embedding_table.embedding.weight,
            method.backbone.model.first_order_linear.token_embedding_table.embedding.weight,
        ]
        names, ids = method.backbone.model.token_field_names, item_codes(method)
        for gradient in torch.autograd.grad(loss, tables):
            assert not gradient[ids].any()
            assert gradient[: ids.start].any()
        exchanged = method.rows.batch(index)
        for field in [*names, *method.backbone.model.token_seq_field_names, "label"]:
            exchanged[field] = batch[field]
        exchanged["item_id"] = batch["item_id"].flip(0)
        vector = method.substitute().expand(50, -1)
        scalar = method.cold_first_order().expand(50, 1)
        assert torch.equal(
            method.backbone.logits(exchanged, vector, scalar),
            method.backbone.logits(batch, vector, scalar),
        )

    def test_pretraining_at_rate_one_leaves_the_table_alone(self, build):
        method = build("DropoutNet", "DeepFM", dropoutnet_rate=1.0)
        rows = method.backbone.id_table().detach().clone()
        users = method.backbone.table_of("user_id").detach().clone()
        pretrained(method)
        assert torch.equal(method.backbone.id_table(), rows)
        assert not torch.equal(method.backbone.table_of("user_id"), users)

    def test_kept_rows_get_the_plain_gradient_dropped_ones_none(self, build):
        """V_j moves by its own kept rows only, never as a part of the mean."""
        method = build("DropoutNet", "FNN", dropoutnet_rate=0.5)
        method.backbone.eval()
        index = method.rows.index(method.dataset.split["train"][:40])
        batch = method.rows.batch(index)
        ids = batch["item_id"]
        dropped = ids % 2 == 0
        method.dropped_rows = lambda size: dropped
        weight = method.backbone.model.token_embedding_table.embedding.weight
        (gradient,) = torch.autograd.grad(method.dropped_loss(batch), weight)
        of_items = gradient[item_codes(method)]
        for item in range(method.n_ids):
            kept = item % 2 == 1 and item in ids.tolist()
            assert of_items[item].any().item() == kept

    @pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
    def test_rows_are_dropped_at_the_rate(self, build, rate):
        """Within four standard errors, row by row and independently."""
        method = build("DropoutNet", dropoutnet_rate=rate)
        torch.manual_seed(1)
        dropped = method.dropped_rows(40_000)
        error = 4 * math.sqrt(rate * (1 - rate) / 40_000)
        assert abs(dropped.double().mean() - rate) < error
        both = (dropped[1:] & dropped[:-1]).double().mean()
        assert abs(both - rate**2) < 4 * math.sqrt(rate**2 / 40_000)

    def test_released_granularity_is_the_batch(self, build):
        """All rows of a batch or none, at the same rate of batches."""
        method = build("DropoutNet", dropoutnet_rate=0.3, dropoutnet_granularity="batch")
        torch.manual_seed(1)
        draws = [method.dropped_rows(5) for _ in range(4000)]
        assert all(draw.shape == (5,) and bool(draw.all()) == bool(draw.any()) for draw in draws)
        share = sum(bool(draw[0]) for draw in draws) / 4000
        assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)

    def test_the_substitute_is_the_mean_of_old_items(self, build):
        """NaN in padding, new and rare rows does not come out; it follows the table."""
        method = build("DropoutNet")
        table = method.backbone.id_table()
        others = torch.ones(len(table), dtype=torch.bool)
        others[method.old_ids] = False
        with torch.no_grad():
            table[others] = math.nan
        expected = [sum(table[i, k].item() for i in method.old_ids.tolist()) / 15 for k in range(4)]
        assert method.substitute().tolist() == pytest.approx(expected, abs=1e-6)
        with torch.no_grad():
            table[method.old_ids] += 1.0
        assert method.substitute().tolist() == pytest.approx([e + 1 for e in expected], abs=1e-5)

    def test_released_substitute_is_the_mean_of_the_table(self, build):
        method = build("DropoutNet", dropoutnet_mean="table")
        table = method.backbone.id_table().detach()
        expected = [sum(table[:, k].tolist()) / len(table) for k in range(4)]
        assert method.substitute().tolist() == pytest.approx(expected, abs=1e-6)
        assert (method.substitute() - build("DropoutNet").substitute()).abs().max() > 1e-3

    @pytest.mark.parametrize("backbone", ["DeepFM", "DCN"])
    def test_a_cold_item_scores_as_a_dropped_row(self, build, backbone):
        """What new items are served with is what training substituted, scalar weight included."""
        method = build("DropoutNet", backbone, dropoutnet_rate=1.0)
        trainer = pretrained(method)
        trainer.learn()
        index = method.rows.index(method.dataset.split["test"])
        method.set_mode("evaluate")
        seen = []
        calculate = type(method.backbone.model).forward

        def spy(interaction):
            seen.append(calculate(method.backbone.model, interaction))
            return seen[-1]

        method.backbone.model.forward = spy
        method.dropped_loss(method.rows.batch(index))
        with torch.no_grad():
            cold = method.logits(method.rows.batch(index))
        assert torch.allclose(cold, seen[0].reshape(-1), atol=1e-6)

    def test_released_cold_rows_are_the_tables_own(self, build):
        method = build("DropoutNet", dropoutnet_cold="raw", new_item_init="random")
        pretrained(method)
        assert torch.equal(method.cold_vectors(), method.backbone.id_table()[method.new_ids])
        zero = build("DropoutNet", dropoutnet_cold="raw", new_item_init="zero")
        assert not zero.cold_vectors().any()

    def test_scoring_never_drops(self, build):
        """Old items at rate 1 are scored with their own rows, twice the same."""
        method = build("DropoutNet", dropoutnet_rate=1.0)
        pretrained(method).learn()
        method.set_mode("evaluate")
        index = method.rows.index(method.dataset.split["train"])
        with torch.no_grad():
            scores = method.predict(method.rows.batch(index))
            plain = method.backbone.model.predict(method.rows.batch(index))
            assert torch.allclose(scores.float(), plain, atol=1e-7)
            other = method.backbone.logits(
                method.rows.batch(index), method.substitute().expand(len(index), -1)
            )
        assert not torch.equal(torch.sigmoid(other), plain)

    def test_what_changes_pretraining_is_in_its_key(self, build):
        keys = [
            build("DropoutNet", **options).pretrain_key()
            for options in (
                {"dropoutnet_rate": 0.1}, {"dropoutnet_rate": 0.2},
                {"dropoutnet_granularity": "batch"}, {"dropoutnet_mean": "table"},
                {"id_first_order": "zero"},
            )
        ]  # fmt: skip
        assert all(keys) and len({str(key) for key in keys}) == 5
        assert build("DropoutNet", dropoutnet_cold="raw").pretrain_key() == keys[0]

    def test_lazy_tables_learn_too(self, build):
        method = build("DropoutNet", table_update="lazy", dropoutnet_rate=0.5)
        rows = method.backbone.id_table().detach().clone()
        pretrained(method)
        changed = (method.backbone.id_table() != rows).any(dim=1)
        assert changed[method.old_ids].all()
        assert not changed[method.new_ids].any()
