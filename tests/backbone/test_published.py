"""Keys for the form that published programs give RecBole's models."""

import pytest
import torch
from recbole.model.layers import MLPLayers
from torch import nn

ROWS = torch.arange(0, 400, 37)


def logits_of(method):
    with torch.no_grad():
        return method.backbone.eval().logits(method.rows.batch(ROWS))


class TestBatchNorm:
    @pytest.mark.parametrize("backbone", ["DeepFM", "WideDeep", "PNN", "FinalMLP"])
    def test_it_is_behind_every_linear_layer_of_the_mlps(self, build, backbone):
        plain, normed = (build(backbone, mlp_batch_norm=on) for on in (False, True))
        before, after = (
            [m for m in method.backbone.model.modules() if type(m) is MLPLayers]
            for method in (plain, normed)
        )
        assert before and len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            kept = [layer for layer in other.mlp_layers if not isinstance(layer, nn.BatchNorm1d)]
            assert [type(layer) for layer in kept] == [type(layer) for layer in one.mlp_layers]
            for place, layer in enumerate(other.mlp_layers):
                if isinstance(layer, nn.Linear):
                    norm = other.mlp_layers[place + 1]
                    assert isinstance(norm, nn.BatchNorm1d)
                    assert norm.num_features == layer.out_features

    @pytest.mark.parametrize("backbone", ["DCN", "AFM"])
    def test_who_has_it_or_has_no_mlp_stays_as_it_is(self, build, backbone):
        plain, normed = (build(backbone, mlp_batch_norm=on) for on in (False, True))
        assert list(plain.backbone.state_dict()) == list(normed.backbone.state_dict())

    def test_weights_are_drawn_as_without_it(self, build):
        states = []
        for on in (False, True):
            torch.manual_seed(3)
            states.append(build("DeepFM", mlp_batch_norm=on).backbone.model)
        linear = [[m.weight for m in model.modules() if type(m) is nn.Linear] for model in states]
        assert all(torch.equal(a, b) for a, b in zip(*linear, strict=True))


class TestFirstOrderOfNumbersAlone:
    @pytest.mark.parametrize("backbone", ["DeepFM", "WideDeep", "AFM", "FM"])
    def test_weights_of_tokens_change_nothing_and_those_of_numbers_do(self, build, backbone):
        method = build(backbone, first_order="numbers")
        linear, before = method.backbone.model.first_order_linear, logits_of(method)
        with torch.no_grad():
            linear.token_embedding_table.embedding.weight.add_(5.0)
            for table in linear.token_seq_embedding_table:
                table.weight.add_(5.0)
        assert torch.equal(logits_of(method), before)
        with torch.no_grad():
            linear.float_embedding_table.embedding.weight.add_(5.0)
        assert not torch.allclose(logits_of(method), before)

    def test_the_new_items_id_has_none_either(self, build):
        method = build("DeepFM", first_order="numbers")
        assert not method.backbone.has_first_order
        assert build("DeepFM").backbone.has_first_order

    def test_frozen_tables_know_it(self, build):
        method = build("WideDeep", first_order="numbers")
        before = logits_of(method)
        with method.backbone.frozen_tables():
            assert method.backbone._frozen is not None
            assert torch.allclose(logits_of(method), before, atol=1e-6)


class TestWithoutVectorsOfNumbers:
    def test_the_linear_part_alone_reads_them(self, build):
        """WideDeep's logit is then linear in a number; a second number adds its own part."""
        method = build("WideDeep", number_vectors=False)
        model = method.backbone.model.eval()
        assert model.float_field_names == []
        linear = model.first_order_linear
        names = linear.float_field_names
        # A number is the pair (value, 1): row 1 of its field's two.
        rows = torch.as_tensor(linear.float_field_offsets) + 1
        weight = linear.float_embedding_table.embedding.weight[rows, 0]
        batch = {field: method.rows.batch(ROWS)[field] for field in _all_fields(model)}
        with torch.no_grad():
            before = method.backbone.logits(batch)
            for place, name in enumerate(names):
                moved = batch[name].clone()
                moved[:, 0] += 2.0
                after = method.backbone.logits({**batch, name: moved})
                expected = 2.0 * weight[place].expand_as(after)
                assert torch.allclose(after - before, expected, atol=1e-5)
        assert names == ["income", "price"] and (weight != 0).all()

    def test_a_model_without_a_linear_part_reads_none(self, build):
        method = build("PNN", number_vectors=False)
        before = logits_of(method)
        for name in ("income", "price"):
            method.rows.columns.pop(name, None)
            for table in (method.rows.user_features, method.rows.item_features):
                if name in table:
                    table[name] = table[name] + 3.0
        assert torch.equal(logits_of(method), before)
        assert not torch.equal(logits_of(build("PNN")), before)

    def test_they_are_side_information_all_the_same(self, build):
        widths = [
            build("PNN", number_vectors=on).backbone.side_vectors().shape[1] for on in (True, False)
        ]
        assert widths[0] == widths[1]


def _all_fields(model):
    linear = model.first_order_linear
    return [
        *model.token_field_names, *model.token_seq_field_names, *linear.float_field_names,
    ]  # fmt: skip


def test_the_released_protocol_has_all_three(build):
    method = build("WideDeep", protocol="released")
    model = method.backbone.model
    assert any(isinstance(module, nn.BatchNorm1d) for module in model.modules())
    assert model.float_field_names == [] and not method.backbone.has_first_order
    deep = build("DeepFM", protocol="released").backbone.model
    assert deep.float_field_names
