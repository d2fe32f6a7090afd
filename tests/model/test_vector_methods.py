"""Content vectors in methods: what is made for a new item follows its vector."""

import numpy as np
import pytest
import torch
from helpers import trainer_of

from recbole_cold.backbone._vectors import VectorTable
from recbole_cold.config import make_config
from recbole_cold.data.rows import Rows
from recbole_cold.experiment.data_store import run_data
from recbole_cold.model._content import without_content
from recbole_cold.model._gme_vectors import by_cosine, joined, units_of
from recbole_cold.model._layers import OwnSide
from recbole_cold.training.trainer import Trainer

GENERATORS = [
    "MetaE", "MWUF", "CVAR", "AVAEW", "CSDM", "GMEP", "GMEG", "GMEA", "ALDI", "ALDIMF", "GAR",
]  # fmt: skip
NETWORKS = ["EmerG", "MeLU", "MAMO", "TaNP", "ColdNAS"]
OTHERS = ["Base", "DropoutNet", "ItemBias", "MAP", *NETWORKS]
SMALL = {
    "threshold": {"rating": 4}, "cold_threshold": 30, "warm_size": 3, "embedding_size": 4,
    "train_batch_size": 256, "show_progress": False, "device": "cpu", "seed": 7,
    "checkpoint_seconds": 1e9,
}  # fmt: skip
FAST = {
    **{name: {"meta_epochs": 1} for name in ("MeLU", "MAMO", "TaNP", "ColdNAS")},
    **{"EmerG": {"emerg_epochs": 1}, "CVAR": {"cvar_iters": 2}, "AVAEW": {"avaew_iters": 2},
       "CSDM": {"csdm_iters": 2}},
}  # fmt: skip
ALONE = {"load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"],
                      "item": ["item_id", "emb"], "user": ["user_id", "taste"]}}  # fmt: skip


@pytest.fixture(scope="module")
def build(vectors_path):
    """``build("CVAR")``: on DeepFM; ``change(matrix, data)`` gives items other vectors."""
    loaded = {}

    def make(name, change=None, **keys):
        layers = {} if name in NETWORKS else {"mlp_hidden_size": [6, 5]}
        keys = {
            **SMALL,
            **layers,
            **FAST.get(name, {}),
            "data_path": str(vectors_path.parent),
            **keys,
        }
        config = make_config(name, "vec", "DeepFM", overrides=keys)
        key = (config["cold_side"], str([config["load_col"], config["unload_col"]]), change)
        if key not in loaded:
            data = run_data(config)
            if change is not None:
                data.item_table["emb"] = change(np.array(data.item_table["emb"]), data)
                data = data.view(rows=Rows(data, "cpu"))
            loaded[key] = data
        data = loaded[key].view()
        method = config.method_class(config, data)
        method.dataset = data
        return method

    return make


def first_new(data):
    """Codes of new items with a vector, and one of them."""
    new = np.asarray(data.split.new_ids)
    having = new[data.item_table["emb"][new].any(axis=1)]
    return having, int(having[0])


def one_bumped(matrix, data):
    """The vector of one new item is the opposite one, as far from the mean on the other side."""
    _, one = first_new(data)
    seen = matrix[np.asarray(data.split.old_ids)]
    matrix[one] = 2 * seen[seen.any(axis=1)].mean(axis=0) - matrix[one]
    return matrix


def nothing_but_it(matrix, data):
    """One new item has no vector."""
    matrix[first_new(data)[1]] = 0.0
    return matrix


def cold(method):
    """Logits of all rows of new items, and their items, before any of the rows was seen."""
    trainer = trainer_of(method)
    method.start_new_items()
    trainer.method.set_mode("evaluate")
    rows = np.flatnonzero(np.isin(method.dataset.inter["item_id"], method.dataset.split.new_ids))
    with torch.no_grad():
        return method.predict(method.rows.batch(torch.from_numpy(rows)))


@pytest.mark.parametrize("name", GENERATORS)
def test_a_cold_row_follows_its_items_vector_and_no_other_does(build, name):
    plain, other = build(name), build(name, one_bumped)
    before, after = cold(plain), cold(other)
    items = plain.dataset.inter["item_id"]
    items = torch.from_numpy(items[np.isin(items, plain.dataset.split.new_ids)].astype(np.int64))
    _, one = first_new(plain.dataset)
    assert torch.equal(before[items != one], after[items != one])
    assert (before[items == one] != after[items == one]).all()
    if name != "ALDIMF":  # it scores by towers of its own
        at = int(plain.new_index[one])
        moved = (plain.new_vectors != other.new_vectors).any(dim=1)
        assert bool(moved[at]) and int(moved.sum()) == 1
    ours, theirs = plain.backbone.state_dict(), other.backbone.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", OTHERS)
def test_scores_of_the_others_follow_it_too(build, name):
    before, after = cold(build(name)), cold(build(name, one_bumped))
    assert not torch.equal(before, after) and after.isfinite().all()


@pytest.mark.parametrize(
    ("name", "side"),
    [
        *((name, "item") for name in [*GENERATORS, *OTHERS]),
        *((name, "user") for name in ["MetaE", "CVAR", "GMEA", "EmerG", "TaNP"]),
    ],
)
def test_it_is_side_information_where_it_is_all(build, name, side):
    keys = {"cold_side": "user", "cold_threshold": 18, "warm_size": 2} if side == "user" else {}
    method = build(name, **ALONE, **keys)
    trainer = Trainer(method, seed=7)
    for stage in ("pretrain", "learn"):
        getattr(trainer, stage)()
    method.start_new_items()
    trainer.warm_up("warm_a", method.dataset.split["warm_a"])
    method.set_mode("evaluate")
    with torch.no_grad():
        score = method.predict(method.rows.batch(torch.arange(300)))
    assert score.isfinite().all() and len(score.unique()) > 20


class TestWithoutContent:
    def test_a_vector_is_content(self, build):
        method = build("Base", nothing_but_it, **ALONE)
        bare = without_content(method.backbone)
        matrix = method.dataset.item_table["emb"]
        assert bare.tolist() == (~matrix.any(axis=1)).tolist()
        _, one = first_new(build("Base", **ALONE).dataset)
        assert bare[one] and not bare.all()

    def test_an_item_without_one_starts_from_the_mean(self, build):
        method = build("MetaE", nothing_but_it, **ALONE)
        trainer_of(method)
        method.start_new_items()
        _, one = first_new(build("Base", **ALONE).dataset)
        at = int(method.new_index[one])
        torch.testing.assert_close(method.new_vectors[at], method.old_mean())


class TestOwnSide:
    def side(self, build):
        method = build("CVAR")
        return method, method.own_side

    def test_its_columns_are_as_large_as_a_tables_rows(self, build):
        method, side = self.side(build)
        assert side.width == 4 * 5 + 1  # ID, title, year, genre, emb, and a price
        table = side.tables["field_emb"]
        assert isinstance(table, VectorTable) and table.weight.requires_grad
        code = method.rows.item_features["emb"][method.old_ids, 0]
        image = table(code[code != 0]).detach()
        assert image.square().mean().sqrt().item() == pytest.approx(1.0, rel=1e-4)

    def test_missing_vectors_are_zeros_there(self, build):
        method, side = self.side(build)
        code = method.rows.item_features["emb"][:, 0]
        ids = torch.arange(method.n_ids)[code == 0]
        assert not side(ids)[:, -4:].any() and side(ids[:0]).shape == (0, side.width)

    def test_it_learns(self, build):
        method, side = self.side(build)
        before = side.tables["field_emb"].weight.clone()
        trainer_of(method)
        assert not torch.equal(before, side.tables["field_emb"].weight)

    def test_numbers_and_tables_stay_what_they_were(self):
        features = {"a": torch.tensor([0, 1]), "x": torch.tensor([0.0, 2.0])}
        torch.manual_seed(1)
        side = OwnSide(features, ["a", "x"], {"a": 2}, 3, None)
        assert side.width == 4 and side(torch.tensor([1])).shape == (1, 4)

    def sequences(self, **keys):
        code = torch.randint(0, 9, (30, 6), generator=torch.Generator().manual_seed(3))
        code[4] = 0
        torch.manual_seed(2)
        return OwnSide({"words": code}, ["words"], {"words": 9}, 3, None, **keys)

    def test_means_of_sequences_while_they_learn(self):
        """As ``embedding_bag``, gradients included, with the positions of the items asked for."""
        side, draws = self.sequences(), torch.Generator().manual_seed(6)
        weight = side.tables["field_words"].weight
        for ids in (torch.arange(30), torch.tensor([4, 4, 7, 29]), torch.tensor([], dtype=int)):
            pull = torch.randn(len(ids), 3, generator=draws)
            plain = side._pool(side._features["words"][ids], side.tables["field_words"])
            for _ in range(2):  # the second time with positions that are known
                quick = side(ids)
                torch.testing.assert_close(quick, plain, rtol=1e-6, atol=1e-6)
                by = [
                    torch.autograd.grad((out * pull).sum(), weight, retain_graph=True)[0]
                    for out in (quick, plain)
                ]
                torch.testing.assert_close(*by, rtol=1e-5, atol=1e-6)
        with torch.no_grad():  # served means stay to the bit
            assert torch.equal(side(torch.arange(30)), side._pool(
                side._features["words"], side.tables["field_words"]))  # fmt: skip

    @pytest.mark.parametrize("sparse", [False, True])
    def test_sums_and_sparse_tables_stay_with_embedding_bag(self, sparse):
        side = self.sequences(pooling="mean" if sparse else "sum_with_pad")
        table = side.tables["field_words"]
        table.sparse = sparse
        out = side(torch.arange(30))
        assert torch.equal(out, side._pool(side._features["words"], table))
        out.sum().backward()
        assert table.weight.grad.is_sparse == sparse


class TestNeighbours:
    def test_by_cosine_is_the_definition(self):
        draws = torch.Generator().manual_seed(2)
        one, two = (units_of(torch.randn(30, 5, generator=draws)) for _ in range(2))
        one[7] = 0.0
        old, ids = torch.arange(3, 20), torch.arange(3, 28)
        index, mask = by_cosine([one, two], old, ids, 6)
        assert index.shape == mask.shape == (30, 6) and not mask[[0, 1, 2, 28, 29]].any()
        for item in ids.tolist():
            cosine = {j: float(one[item] @ one[j] + two[item] @ two[j]) for j in old.tolist()}
            wanted = sorted((j for j in cosine if j != item and cosine[j] > 1e-6),
                            key=lambda j: -cosine[j])[:6]  # fmt: skip
            assert index[item][mask[item]].tolist() == wanted

    def test_chunks_are_nothing(self, monkeypatch):
        draws = torch.Generator().manual_seed(2)
        unit = units_of(torch.randn(30, 5, generator=draws))
        wanted = by_cosine([unit], torch.arange(20), torch.arange(30), 4)
        monkeypatch.setattr("recbole_cold.model._gme_vectors._MOST", 60)
        found = by_cosine([unit], torch.arange(20), torch.arange(30), 4)
        assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))

    def test_fewer_old_items_than_neighbours(self):
        unit = units_of(torch.ones(4, 2))
        index, mask = by_cosine([unit], torch.tensor([1, 2]), torch.arange(4), 10)
        assert index.shape == (4, 2) and mask.sum(dim=1).tolist() == [2, 1, 1, 2]

    def test_nobody_is_named_twice(self):
        one = torch.tensor([[5, 6, 0]]), torch.tensor([[True, True, False]])
        other = torch.tensor([[6, 7, 0]]), torch.tensor([[True, True, True]])
        index, mask = joined(one, other)
        assert index[mask].tolist() == [5, 6, 7, 0]

    def test_the_graph_has_both_kinds(self, build):
        method = build("GMEP", gme_neighbours=3)
        plain = build("GMEP", gme_neighbours=3, unload_col={"item": ["emb"]}, load_col=None)
        assert method.graph.index_nk.shape == (method.n_ids, 6)
        assert torch.equal(method.graph.index_nk[:, :3], plain.graph.index_nk)
        assert torch.equal(method.graph.real_nk[:, :3], plain.graph.real_nk)
        code = method.rows.item_features["emb"][:, 0]
        (unit,) = method.content_units()
        old, ids = method.old_ids, torch.cat([method.old_ids, method.new_ids])
        near, there = by_cosine([unit], old, ids, 3)
        for item in ids.tolist():
            found = method.graph.index_nk[item][method.graph.real_nk[item]].tolist()
            assert len(set(found)) == len(found)
            first = plain.graph.index_nk[item][plain.graph.real_nk[item]].tolist()
            assert set(found) == {*first, *near[item][there[item]].tolist()}
            assert bool(there[item].any()) == bool(code[item])

    def test_vectors_alone_make_a_graph(self, build):
        method = build("GMEA", **ALONE)
        code = method.rows.item_features["emb"][method.new_ids, 0]
        assert torch.equal(method.graph.real_nk[method.new_ids].any(dim=1), code != 0)
        assert torch.equal(method.graph.named_n[method.new_ids], code != 0)
