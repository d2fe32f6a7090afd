"""Features of any size, and tokens that nobody trained: what methods make of them."""

import numpy as np
import pytest
import torch
from helpers import trainer_of

from recbole_cold.backbone._unseen import zero_rows, zero_unseen
from recbole_cold.data.phases import run_phases
from recbole_cold.model._layers import OwnSide
from recbole_cold.training.trainer import Trainer

FEWER = {"cvar_iters": 1, "avaew_iters": 1, "csdm_iters": 1, "coldnas_search_epochs": 1}
USERS = {"cold_side": "user", "cold_threshold": 18, "warm_size": 2}
READS_SIDE = [
    "MetaE", "MWUF", "CVAR", "AVAEW", "CSDM", "GMEP", "GMEG", "GMEA", "GAR", "ALDI", "ALDIMF",
]  # fmt: skip
FEW_SHOT = ["MeLU", "MAMO", "TaNP", "ColdNAS", "EmerG"]


def wide_files(tiny_path, word):
    """The data set ``tiny`` with prices and incomes of 0.01 to 99,999,999; the titles of new items
    end with a word that no old item has."""
    lines = {path.suffix[1:]: path.read_text().splitlines() for path in tiny_path.iterdir()}
    files = {suffix: [line.split("\t") for line in text] for suffix, text in lines.items()}
    draw = np.random.default_rng(5)
    for suffix in ("item", "user"):
        for row in files[suffix][1:]:
            row[-1] = f"{10 ** draw.uniform(-2, 7.9):.2f}"
        files[suffix][1][-1], files[suffix][2][-1] = "0.01", "99999999"
        files[suffix][3][-1] = ""
    new = {f"i{number}" for number in range(15, 33)}
    for row in files["item"][1:]:
        if row[0] in new:
            row[1] = f"{row[1]} {word}"
    return files


@pytest.fixture(scope="session")
def wide(build, tiny_path, tmp_path_factory, write_atomic):
    """``wide("CVAR", word=..., key=value)``: a method on the data set ``wide``."""
    folders = {}

    def make(method="Base", backbone="DeepFM", word="neverseen", **keys):
        if word not in folders:
            folders[word] = tmp_path_factory.mktemp("wide")
            write_atomic(
                folders[word] / f"wide{word}", f"wide{word}", **wide_files(tiny_path, word)
            )
        keys = {"data_path": str(folders[word]), **keys}
        return build(method, backbone, data=f"wide{word}", **keys)

    return make


def losses_of(method):
    trainer = Trainer(method, seed=7)
    results = run_phases(trainer, method.dataset.split, trainer.evaluate)
    return {phase: found["metrics"]["LogLoss"] for phase, found in results.items()}


def known(method):
    """Which of the method's keys there are of those that make a run short."""
    return {key: value for key, value in FEWER.items() if key.startswith(method.lower())}


class TestFinite:
    @pytest.mark.parametrize("method", [*READS_SIDE, *FEW_SHOT])
    def test_items_with_prices_of_ten_decades(self, wide, method):
        found = losses_of(wide(method, numerical_features=["price", "income"], **known(method)))
        assert len(found) == 4 and all(0 < loss < 2 for loss in found.values()), found

    @pytest.mark.parametrize("method", ["MetaE", "MWUF", "CVAR", "AVAEW", "GMEA", "GAR", "MeLU"])
    def test_users_with_incomes_of_ten_decades(self, wide, method):
        found = losses_of(wide(method, **USERS, **known(method)))
        assert len(found) == 4 and all(0 < loss < 2 for loss in found.values()), found

    @pytest.mark.parametrize("backbone", ["FM", "DCN", "AFN", "EulerNet", "LorentzFM", "DSSM"])
    def test_backbones_that_read_them(self, wide, backbone):
        found = losses_of(wide("Base", backbone, numerical_features=["price", "income"]))
        assert all(0 < loss < 2 for loss in found.values()), found


# ------------------------------------------------------------------------------- tokens
def token_tables(model):
    """(field, its rows) of every table of a click model that has fields."""
    for module in model.modules():
        names = getattr(module, "token_field_names", ())
        if hasattr(module, "token_embedding_table"):
            ends = [*module.token_field_offsets[1:], None]
            for field, low, high in zip(names, module.token_field_offsets, ends, strict=True):
                yield field, module.token_embedding_table.embedding.weight[low:high]
        if hasattr(module, "token_seq_embedding_table"):
            tables = module.token_seq_embedding_table
            for field, table in zip(module.token_seq_field_names, tables, strict=True):
                yield field, table.weight


@pytest.mark.parametrize(
    ("backbone", "start"),
    [("DeepFM", "uniform"), *((name, "model") for name in
     ["DeepFM", "AFN", "FINAL", "MeLU", "MAMO", "EmerG"])],
)  # fmt: skip
def test_rows_of_unseen_tokens_are_zero_in_every_table(wide, backbone, start):
    own = backbone in FEW_SHOT
    extra = {"ensemble_dnn": True} if backbone == "AFN" else {}
    method = wide(
        backbone if own else "Base", "DeepFM" if own else backbone, embedding_init=start, **extra
    )
    unseen = method.dataset.unseen
    assert unseen["title"] == [method.dataset.token2id("title", "neverseen")]
    assert unseen["year"] == [0]  # padding, which no item of training has
    found = {}
    for field, rows in token_tables(method.backbone.model):
        found[field] = found.get(field, 0) + 1
        codes = unseen.get(field, [])
        others = np.setdiff1d(np.arange(len(rows)), codes)
        assert not rows[codes].any(), field
        assert rows[others].any(dim=1).all(), field
    assert found.keys() >= {"title", "genre", "user_id", "item_id", "year"}
    assert min(found.values()) >= (2 if backbone == "DeepFM" else 1)  # first-order weights, too


def test_the_seen_rows_are_drawn_as_ever(wide):
    masked, drawn = wide(), wide(unseen_tokens="draw")
    for (field, one), (_, other) in zip(
        token_tables(masked.backbone.model), token_tables(drawn.backbone.model), strict=True
    ):
        same = (one == other).all(dim=1)
        assert same[np.setdiff1d(np.arange(len(one)), masked.dataset.unseen.get(field, []))].all()


def test_training_and_weight_decay_leave_them_zero(wide):
    method = wide(pretrain_epochs=2, weight_decay=1e-3)
    trainer_of(method, ["pretrain"])
    for field, rows in token_tables(method.backbone.model):
        assert not rows[method.dataset.unseen.get(field, [])].any(), field


@pytest.mark.parametrize("name", ["CVAR", "AVAEW", "CSDM"])
def test_a_method_s_own_tables_and_a_teacher_s(wide, name):
    method = wide(name)
    for field in ("title", "genre", "year"):
        rows = method.own_side.tables[f"field_{field}"].weight
        codes = method.dataset.unseen[field]
        assert not rows[codes].any() and rows[np.setdiff1d(range(len(rows)), codes)].any()
    assert not rows_of_teacher(wide).any()


def rows_of_teacher(wide):
    teacher = wide("ALDIMF", aldimf_teacher="bpr").teacher["user"].weight
    return teacher[0]  # the padding: no user of this data set is without a row in train


def test_an_unseen_word_is_as_good_as_another(wide):
    """Scores are bit for bit the same, whichever new word the new items' titles have."""
    scores = {}
    for word in ("neverseen", "another"):
        method = wide("CVAR", word=word, cvar_iters=1)
        trainer = trainer_of(method)
        for phase in method.dataset.split.phases[1:2]:
            trainer.warm_up(phase.name, method.dataset.split[phase.warm_up_on])
        test = method.rows.index(method.dataset.split["test"])
        scores[word] = trainer.score(test)
    assert torch.equal(*scores.values())


def test_the_mean_of_a_title_leaves_them_out(wide):
    method, plain = wide(), wide(word="neverseen", unseen_tokens="draw")
    net = method.backbone
    new = method.dataset.split.new_ids
    at = net.side_fields.index("title") * method.embedding_size
    found = net.side_vectors()[new, at : at + method.embedding_size]
    table = net.model.token_seq_embedding_table[0].weight
    word = plain.dataset.token2id("title", "neverseen")
    for vector, title in zip(found, plain.rows.features_of("item_id")["title"][new], strict=True):
        seen = title[(title != 0) & (title != word)]
        torch.testing.assert_close(vector, table[seen].mean(dim=0))


class TestHelpers:
    def test_zero_rows(self):
        table = torch.ones(6, 2, requires_grad=True)
        zero_rows(table, np.array([0, 2]), offset=3)
        assert table[:, 0].tolist() == [1, 1, 1, 0, 1, 0]
        zero_rows(table, ())
        assert table.requires_grad and table.sum() == 8

    def test_nothing_is_touched_without_unseen_tokens(self, wide):
        model = wide().backbone.model
        before = {name: value.clone() for name, value in model.state_dict().items()}
        zero_unseen(model, {})
        assert all(torch.equal(value, before[k]) for k, value in model.state_dict().items())

    def test_own_side(self):
        features = {"brand": torch.tensor([0, 1, 2]), "words": torch.tensor([[0, 1]] * 3)}
        vocabulary, unseen = {"brand": 3, "words": 2}, {"brand": np.array([0, 2]), "age": [1]}
        side = OwnSide(features, ["brand", "words"], vocabulary, 4, None, unseen=unseen)
        found = side(torch.arange(3))
        assert not found[[0, 2], :4].any() and found[1, :4].any()
        assert found[:, 4:].any(dim=1).all()
