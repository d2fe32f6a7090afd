"""Content vectors in click models: ``e = P c`` as one more field, RecBole's models as they are."""

import copy

import numpy as np
import pytest
import torch

from recbole_cold.backbone._vectors import AsCodes, VectorTable
from recbole_cold.config import make_config
from recbole_cold.data.rows import Rows
from recbole_cold.experiment.data_store import run_data

NAMES = [
    "FM", "DeepFM", "WideDeep", "DCN", "DCNV2", "PNN", "AutoInt", "xDeepFM", "FiGNN", "AFM", "NFM",
    "FwFM", "FNN", "DSSM", "EulerNet", "AFN", "LorentzFM", "FinalMLP", "FINAL", "Basic",
]  # fmt: skip
# They have a linear part over all fields, vectors included.
LINEAR = {"FM", "DeepFM", "WideDeep", "xDeepFM", "AFM", "NFM", "FwFM"}
SMALL = {
    "threshold": {"rating": 4}, "cold_threshold": 30, "warm_size": 3, "embedding_size": 4,
    "train_batch_size": 64, "show_progress": False, "device": "cpu", "seed": 7,
    "numerical_features": ["income", "price", "emb"],
}  # fmt: skip
EXTRA = {"AFN": {"log_neurons": 20, "mlp_hidden_size": [16]}, "FinalMLP": {"fs1_context": "item"}}


@pytest.fixture(scope="module")
def prepared(vectors_path):
    loaded = {}

    def make(name, change=None, **keys):
        keys = {**SMALL, **EXTRA.get(name, {}), "data_path": str(vectors_path.parent), **keys}
        config = make_config("Base", "vec", name, overrides=keys)
        key = (config["cold_side"], change)
        if key not in loaded:
            data = run_data(config)
            if change is not None:
                data.item_table["emb"] = change(np.array(data.item_table["emb"]), data)
                data = data.view(rows=Rows(data, "cpu"))
            loaded[key] = data
        return config, loaded[key].view()

    return make


@pytest.fixture(scope="module")
def build(prepared):
    """``build("FM")``: Base with the vectors; ``change(matrix, data)`` gives other ones."""

    def make(name, change=None, **keys):
        config, data = prepared(name, change, **keys)
        method = config.method_class(config, data)
        method.dataset = data
        method.set_mode("evaluate")
        return method

    return make


def tables(method):
    return [m for m in method.backbone.modules() if isinstance(m, VectorTable)]


def logits(method, rows=range(80)):
    with torch.no_grad():
        return method.backbone.logits(method.rows.batch(torch.as_tensor(rows)))


def bumped(matrix, data):
    """Other vectors of new items, on which no scale depends."""
    matrix[np.asarray(data.split.new_ids)] = matrix[np.asarray(data.split.new_ids), ::-1]
    return matrix


def turned(matrix, data):
    """All vectors with their coordinates in another order."""
    return matrix[:, ::-1]


@pytest.mark.parametrize("name", NAMES)
def test_scores_follow_the_vectors(build, name):
    plain, other = build(name), build(name, bumped)
    rows = range(plain.dataset.n_rows)
    new = torch.as_tensor(np.isin(plain.dataset.inter["item_id"], plain.dataset.split.new_ids))
    with torch.no_grad():  # large enough to be seen
        for table in [*tables(plain), *tables(other)]:
            table.weight.mul_(3.0)
    before, after = logits(plain, rows), logits(other, rows)
    lacking = plain.rows.batch(torch.arange(len(new)))["emb"][:, 0] == 0
    assert torch.equal(before[~new | lacking], after[~new | lacking])
    assert (before != after)[new & ~lacking].float().mean() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_projections_learn(build, name):
    method = build(name)
    method.set_mode("train")
    method.backbone.calculate_loss(method.rows.batch(method.train_index[:64])).backward()
    inner = [
        method.backbone.model,
        *([] if name not in LINEAR else [method.backbone.model.first_order_linear]),
    ]
    for module in inner:
        for field in ("emb", "taste"):
            table = module.token_seq_embedding_table[module.token_seq_field_names.index(field)]
            assert isinstance(table, VectorTable) and table.weight.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_frozen_tables_hold_the_projections(build, name):
    method = build(name)
    batch = method.rows.batch(torch.arange(60))
    vector = torch.randn(60, 4)
    with torch.no_grad():
        wanted = method.backbone.logits(batch, vector)
        with method.backbone.frozen_tables():
            assert method.backbone._frozen is not None
            torch.testing.assert_close(method.backbone.logits(batch, vector), wanted)


class TestTheField:
    def test_it_is_the_projection_of_the_scaled_vector(self, build):
        method = build("DeepFM")
        model, data = method.backbone.model, method.dataset
        batch = method.rows.batch(torch.arange(40))
        sparse, _ = model.embed_input_fields(batch)
        position = model.token_seq_field_names.index("emb")
        table = model.token_seq_embedding_table[position]
        scaled = data.rows.scaled_vectors(data)["emb"]
        assert table.weight.shape == (6, 4)
        wanted = scaled(batch["emb"][:, 0]) @ table.weight
        torch.testing.assert_close(sparse[:, position], wanted)
        lacking = batch["emb"][:, 0] == 0
        assert lacking.any() and not wanted[lacking].any()

    @pytest.mark.parametrize("pooling", ["mean", "sum_with_pad"])
    def test_a_missing_vector_adds_nothing(self, build, pooling):
        method = build("DeepFM", pooling=pooling)
        lacking = method.rows.batch(torch.arange(1000))["emb"][:, 0] == 0
        rows = torch.arange(1000)[lacking]
        before = logits(method, rows)
        with torch.no_grad():
            model = method.backbone.model
            for module in (model, model.first_order_linear):
                position = module.token_seq_field_names.index("emb")
                module.token_seq_embedding_table[position].weight.add_(5.0)
        assert torch.equal(logits(method, rows), before)

    def test_it_starts_at_the_principal_directions(self, build):
        method = build("DeepFM")
        model, data = method.backbone.model, method.dataset
        position = model.token_seq_field_names.index("emb")
        weight = model.token_seq_embedding_table[position].weight
        scaled = data.rows.scaled_vectors(data)["emb"]
        ratio = weight / scaled.principal(4)
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0.0)
        assert 0.2 < ratio.mean() < 0.8  # Xavier's for 6 rows of 4 numbers: .447
        linear = model.first_order_linear
        assert not linear.token_seq_embedding_table[position].weight.any()

    def test_the_order_of_coordinates_is_nothing(self, build):
        """P goes along: all vectors turned alike say the same."""
        plain, other = build("DeepFM"), build("DeepFM", turned)
        torch.testing.assert_close(logits(plain), logits(other), atol=1e-5, rtol=1e-5)

    def test_uniform_tables_keep_its_images_as_small(self, build):
        method = build("DeepFM", embedding_init="uniform")
        image = method.backbone.model.embed_input_fields(method.rows.batch(method.train_index))[0]
        position = method.backbone.model.token_seq_field_names.index("emb")
        assert image[:, position].square().mean().sqrt() < 0.01


class TestTheVectors:
    def test_they_are_shared_and_no_part_of_the_state(self, build):
        method = build("FinalMLP")
        twin = copy.deepcopy(method)
        values = {
            table.vectors.vectors.values.data_ptr()
            for one in (method, twin)
            for table in tables(one)
        }
        assert len(tables(method)) > 4 and len(values) == 2
        data = method.dataset
        assert data.item_table["emb"].ctypes.data in values
        n = data.item_num
        assert all(
            value.shape[:1] != (n,) or value.shape[-1] in (1, 4)
            for value in method.backbone.state_dict().values()
        )

    def test_the_data_set_itself_keeps_its_types(self, prepared):
        _, data = prepared("FM")
        shown = AsCodes(data)
        assert data.field2type["emb"].value == "float_seq"
        assert shown.field2type["emb"].value == "token_seq" and shown.num("emb") == 6
        assert shown.fields() == data.fields()

    def test_side_vectors_have_columns_for_them(self, build):
        method = build("DeepFM")
        side = method.backbone.side_vectors()
        # title, year, genre: 4 columns each; price: 1; emb: 4
        assert side.shape == (method.n_ids, 17)
        codes = method.rows.item_features["emb"][:, 0]
        position = method.backbone.model.token_seq_field_names.index("emb")
        table = method.backbone.model.token_seq_embedding_table[position]
        torch.testing.assert_close(side[:, 13:], table(codes).detach())

    def test_cold_users_have_theirs(self, build):
        method = build("DeepFM", cold_side="user", cold_threshold=14)
        # age, gender: 4 each; income: 1; taste: 4
        assert method.backbone.side_vectors().shape == (method.n_ids, 13)
