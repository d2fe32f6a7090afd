"""RecBole's layers with their constants on the device compute what RecBole's do, bit for bit."""

import copy

import numpy as np
import pytest
import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.model.context_aware_recommender.afm import AFM
from recbole.model.context_aware_recommender.pnn import InnerProductLayer
from recbole.model.layers import FLEmbedding, FMEmbedding
from torch import nn

from recbole_cold.backbone._constants import (
    InnerProduct,
    NumberTable,
    TokenTable,
    without_host_constants,
)
from recbole_cold.backbone._shortcuts import view, with_shortcuts

SIZES, OFFSETS = [4, 3, 5], np.array([0, 4, 7])


def tables(theirs=FMEmbedding):
    """RecBole's table, and the exchanged one with the same numbers."""
    torch.manual_seed(1)
    plain = theirs(SIZES, OFFSETS, 6)
    return plain, with_shortcuts(nn.Sequential(copy.deepcopy(plain)))[0]


def codes(rows: int = 40) -> torch.Tensor:
    draw = torch.Generator().manual_seed(2)
    return torch.stack([torch.randint(n, (rows,), generator=draw) for n in SIZES], dim=1)


def outcome(module, value, parameter):
    """The output, and the gradient of a weighted sum of it."""
    out = module(value)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3))
    return out.detach(), torch.autograd.grad((out * weights).sum(), parameter)[0]


def same(left, right) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("theirs", "ours"), [(FMEmbedding, TokenTable), (FLEmbedding, NumberTable)]
)
def test_tables_of_several_fields(theirs, ours):
    plain, exchanged = tables(theirs)
    assert type(exchanged) is ours and isinstance(exchanged, theirs)
    value = codes()
    if theirs is FLEmbedding:
        value = torch.stack([torch.rand(value.shape), value.float()], dim=-1)
    assert same(
        outcome(plain, value, plain.embedding.weight),
        outcome(exchanged, value, exchanged.embedding.weight),
    )


def test_offsets_are_no_part_of_the_state_and_move_with_the_table():
    plain, table = tables()
    assert list(table.state_dict()) == list(plain.state_dict()) == ["embedding.weight"]
    assert table.load_state_dict(plain.state_dict())
    assert copy.deepcopy(table).to("meta").offset_f.device.type == "meta"
    assert np.array_equal(table.offsets, OFFSETS)
    assert table.double().offset_f.dtype == torch.int64


def test_a_view_with_other_fields_leaves_the_table_as_it_is():
    """As the fields of a side are taken out of a table (``FieldGroup``)."""
    plain, table = tables()
    part = view(table)
    part.offsets = table.offsets[[0, 2]]
    value = codes()
    assert torch.equal(part(value[:, [0, 2]]), plain(value)[:, [0, 2]])
    assert torch.equal(table(value), plain(value))
    assert table.to("meta").offset_f.shape == (3,) and part.offset_f.shape == (2,)


def test_inner_products():
    plain = InnerProductLayer(5, torch.device("cpu"))
    vectors = torch.randn(7, 5, 3, requires_grad=True)
    expected = outcome(plain, vectors, vectors)
    exchanged = with_shortcuts(nn.Sequential(plain))[0]
    assert type(exchanged) is InnerProduct
    assert same(outcome(exchanged, vectors, vectors), expected)


class TestPooling:
    @pytest.fixture
    def models(self):
        """RecBole's pooling, and ours, on the same tables; forward passes are not needed."""
        torch.manual_seed(4)
        exchanged = without_host_constants(ContextRecommender)
        found = [cls.__new__(cls) for cls in (ContextRecommender, exchanged)]
        sequence_tables = nn.ModuleList([nn.Embedding(9, 4), nn.Embedding(5, 4)])
        for model in found:
            nn.Module.__init__(model)
            model.token_seq_embedding_table, model.device = sequence_tables, torch.device("cpu")
        return found

    def test_means_of_sequences(self, models):
        """Among them one without a code: RecBole's small constant makes it zero."""
        fields = [torch.randint(9, (30, 6)), torch.randint(5, (30, 2))]
        fields[0][3], fields[1][3] = 0, 0
        results = [
            outcome(model.embed_token_seq_fields, fields, model.token_seq_embedding_table[0].weight)
            for model in models
        ]
        assert same(*results)
        assert not results[1][0][3].any() and results[1][0].shape == (30, 2, 4)

    def test_other_modes_and_no_fields_are_left_to_recbole(self, models):
        field = [torch.randint(9, (3, 6)), torch.randint(5, (3, 2))]
        summed = [model.embed_token_seq_fields(field, mode="sum") for model in models]
        assert torch.equal(*summed)
        assert [model.embed_token_seq_fields([]) for model in models] == [None, None]


def test_a_model_keeps_its_name_and_what_it_pools_itself():
    exchanged = without_host_constants(AFM)
    assert issubclass(exchanged, AFM) and exchanged is not AFM
    for name in ("__name__", "__module__", "__qualname__", "__doc__"):
        assert getattr(exchanged, name) == getattr(AFM, name)

    class Own(ContextRecommender):
        def embed_token_seq_fields(self, token_seq_fields, mode="mean"):
            return None

    assert without_host_constants(Own) is Own


def test_pairs_of_afm():
    vectors = torch.randn(6, 4, 3)
    model = AFM.__new__(without_host_constants(AFM))
    model.__dict__["num_feature_field"] = 4
    for ours, theirs in zip(
        model.build_cross(vectors), AFM.build_cross(model, vectors), strict=True
    ):
        assert torch.equal(ours, theirs)
