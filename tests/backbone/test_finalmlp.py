"""FinalMLP: the bilinear fusion, its heads, and what the gates may read."""

import pytest
import torch

from recbole_cold.backbone.finalmlp import Fusion, fuse
from recbole_cold.errors import UserError

SIZES = {"mlp1_hidden_size": [6], "mlp2_hidden_size": [5, 4], "fs_hidden_size": [3]}


def test_fusion_number_by_number(rng64):
    """One head is x^T W y."""
    first, second, weight = rng64(3, 1, 4), rng64(3, 1, 2), rng64(1, 4, 2)
    out = fuse(first, second, weight)
    for row in range(3):
        expected = sum(
            first[row, 0, i] * weight[0, i, j] * second[row, 0, j]
            for i in range(4)
            for j in range(2)
        )
        assert abs(out[row] - expected) < 1e-14


def test_heads_are_a_block_diagonal_form(rng64):
    fusion = Fusion(6, 4, 2).double()
    assert fusion.weight_hij.shape == (2, 3, 2)
    whole = Fusion(6, 4, 1).double()
    with torch.no_grad():
        for ours, theirs in zip(fusion.children(), whole.children(), strict=True):
            theirs.load_state_dict(ours.state_dict())
        whole.weight_hij.zero_()
        whole.weight_hij[0, :3, :2] = fusion.weight_hij[0]
        whole.weight_hij[0, 3:, 2:] = fusion.weight_hij[1]
        x, y = rng64(5, 6), rng64(5, 4)
        assert (fusion(x, y) - whole(x, y)).abs().max() < 1e-14


def test_without_the_form_two_linear_heads_are_added(rng64):
    fusion = Fusion(6, 4, 2).double()
    x, y = rng64(5, 6), rng64(5, 4)
    linear = (fusion.first(x) + fusion.second(y))[:, 0]
    assert not torch.allclose(fusion(x, y), linear)
    nothing = torch.zeros(5, 6, dtype=torch.float64)
    assert torch.allclose(fusion(nothing, y), fusion.first.bias + fusion.second(y)[:, 0])
    with torch.no_grad():
        fusion.weight_hij.zero_()
    assert torch.equal(fusion(x, y), linear)
    dual = Fusion(6, 4, 0).double()
    assert not hasattr(dual, "weight_hij")
    assert torch.equal(dual(x, y), (dual.first(x) + dual.second(y))[:, 0])


def streams(model):
    """What the two streams are given, filled by a forward pass."""
    given = {}
    for name in ("mlp1", "mlp2"):
        module = getattr(model, name)
        module.register_forward_pre_hook(
            lambda _m, inputs, name=name: given.update({name: inputs[0]})
        )
    return given


def test_each_stream_sees_the_embeddings_times_its_gate(plain):
    model, rows = plain("FinalMLP", **SIZES)
    given = streams(model)
    batch = rows(range(6))
    with torch.no_grad():
        logits = model(batch)
        flat = model.concat_embed_input_fields(batch).flatten(1)
        gates = [gate(batch) for gate in (model.gate1, model.gate2)]
        for name, gate in zip(("mlp1", "mlp2"), gates, strict=True):
            assert torch.equal(given[name], flat * gate)
            assert gate.shape == flat.shape and bool(((gate > 0) & (gate < 2)).all())
            assert gate.std(dim=0).max() > 0  # rows differ
        fused = model.fusion(model.mlp1(flat * gates[0]), model.mlp2(flat * gates[1]))
        assert torch.equal(logits, fused)
        # Twice the sigmoid of an MLP of the context.
        context = model.gate1.tables(batch).flatten(1)
        assert torch.equal(gates[0], 2 * torch.sigmoid(model.gate1.mlp(context)))
    assert not torch.allclose(*gates)


def test_without_gates_both_streams_see_the_embeddings(plain):
    model, rows = plain("FinalMLP", fs=False, **SIZES)
    given = streams(model)
    batch = rows(range(6))
    with torch.no_grad():
        model(batch)
        flat = model.concat_embed_input_fields(batch).flatten(1)
    assert torch.equal(given["mlp1"], flat) and torch.equal(given["mlp2"], flat)


def test_a_learned_context_gives_all_rows_one_gate(plain):
    """Then equal streams would stay equal; they start apart."""
    same = {"mlp1_hidden_size": [4], "mlp2_hidden_size": [4], "fs_hidden_size": [3]}
    model, rows = plain("FinalMLP", fs1_context="none", fs2_context=[], **same)
    batch = rows(range(6))
    for gate in (model.gate1, model.gate2):
        assert gate.tables is None and not gate.context.any()
        with torch.no_grad():
            assert gate(batch).shape == (1, model.num_feature_field * 4)
    pairs = zip(model.mlp1.parameters(), model.mlp2.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


def names(gate):
    tables = gate.tables
    return {*tables.token_field_names, *tables.token_seq_field_names, *tables.float_field_names}


def test_gates_read_a_side_without_its_id(plain):
    model, rows = plain("FinalMLP", **SIZES)
    assert names(model.gate1) == {"age", "gender", "income"}
    assert names(model.gate2) == {"title", "year", "genre", "price"}
    batch = rows(range(6))
    with torch.no_grad():
        before = model.gate2(batch)
        for table in (model.token_embedding_table, model.float_embedding_table):
            table.embedding.weight.zero_()
        assert torch.equal(model.gate2(batch), before)  # tables of their own
        model.gate2.tables.token_embedding_table.embedding.weight += 1.0
        assert not torch.equal(model.gate2(batch), before)
    model, _ = plain("FinalMLP", fs1_context=["device"], fs2_context=["year", "age"], **SIZES)
    assert (names(model.gate1), names(model.gate2)) == ({"device"}, {"year", "age"})


def test_gates_pool_as_the_model_does(plain):
    """``pooling: sum_with_pad`` sums the padding row in, in a gate's tables too."""
    for pooling, moves in (("mean", False), ("sum_with_pad", True)):
        model, rows = plain("FinalMLP", fs2_context=["title"], pooling=pooling, **SIZES)
        batch = rows(range(6))
        assert bool((batch["title"] == 0).any())
        with torch.no_grad():
            before = model.gate2(batch)
            model.gate2.tables.token_seq_embedding_table[0].weight[0] += 1.0
            assert torch.equal(model.gate2(batch), before) != moves


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"fs1_context": "usr"}, "fs1_context 'usr' is none of user, item, none"),
        ({"fs2_context": ["yeer"]}, "no list of fields out of .*year"),
        ({"fusion_heads": 4}, "fusion_heads is 4, which does not divide .* 6 and 4"),
    ],
)
def test_what_does_not_fit_is_refused(plain, keys, sentence):
    with pytest.raises(UserError, match=sentence):
        plain("FinalMLP", **SIZES, **keys)
