"""A method's tensors in another data set's vocabulary: each row lies where its token is."""

import json
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_here import tiny_files

from recbole_cold.config import make_config
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.carried import Held, carry, places_of
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.model._token_rows import TokenRows, rows_by_token, without_owner
from recbole_cold.registry import methods

OLD = {"item": ["[PAD]", "a", "b", "c"], "user": ["[PAD]", "u", "v"]}
NEW = {"item": ["[PAD]", "d", "c", "x", "a"], "user": ["[PAD]", "v", "w", "u"]}
BOTH = (TokenRows("user"), TokenRows("item"))


def codes(*values):
    return torch.tensor(values)


def held(state, tokens, rows, unowned=()):
    return Held(state, tokens, rows, unowned)


class TestPlaces:
    def test_by_name(self):
        assert places_of(OLD["item"], NEW["item"]).tolist() == [0, -1, 3, -1, 1]

    def test_padding_stays_padding_whatever_a_token_is_called(self):
        assert places_of(["[PAD]", "[PAD]", "a"], ["[PAD]", "a", "[PAD]"]).tolist() == [0, 2, 1]

    def test_nothing_known(self):
        assert places_of(["[PAD]"], NEW["item"]).tolist() == [0, -1, -1, -1, -1]


class TestRows:
    def table(self, tokens, base):
        n = sum(map(len, tokens.values()))
        return base + torch.arange(2.0 * n).reshape(n, 2)

    def test_two_fields_in_one_table_with_other_offsets(self):
        """The table of RecBole: users first, then items, and both vocabularies grew."""
        old, new = self.table(OLD, 100.0), self.table(NEW, 0.0)
        got = carry(held({"t": old}, OLD, {"t": BOTH}), held({"t": new}, NEW, {"t": BOTH}))
        table = got.state["t"]
        for field, offset, before in (("user", 0, 0), ("item", 4, 3)):
            for code, token in enumerate(NEW[field]):
                known = token in OLD[field]
                row = old[before + OLD[field].index(token)] if known else new[offset + code]
                assert torch.equal(table[offset + code], row)
        assert got.rows == {"t": 3 + 3}  # u, v; a, c; padding of both
        assert got.found == {"user": (2, 3), "item": (2, 4)} and got.left == {}
        assert torch.equal(new, self.table(NEW, 0.0))  # neither of the two is changed

    def test_fields_in_another_order(self):
        old, new = self.table(OLD, 100.0), self.table(NEW, 0.0)
        turned = {"t": (TokenRows("item"), TokenRows("user"))}
        got = carry(held({"t": old}, OLD, turned), held({"t": new}, NEW, {"t": BOTH})).state["t"]
        assert torch.equal(got[3], old[4 + OLD["user"].index("u")])
        assert torch.equal(got[4 + 4], old[OLD["item"].index("a")])

    def test_rows_of_some_items_alone(self):
        """[m, d] of the new items: a is new in both, c in the first, d in the second."""
        old, new = torch.tensor([[1.0], [3.0]]), torch.tensor([[-4.0], [-1.0]])
        before = {"v": (TokenRows("item", codes(1, 3)),)}  # a, c
        now = {"v": (TokenRows("item", codes(4, 1)),)}  # a, d
        got = carry(held({"v": old}, OLD, before), held({"v": new}, NEW, now))
        assert got.state["v"].tolist() == [[1.0], [-1.0]] and got.rows == {"v": 1}

    def test_along_another_axis(self):
        old, new = torch.arange(8.0).reshape(2, 4), torch.full((2, 5), -1.0)
        part = {"h": (TokenRows("item", axis=1),)}
        got = carry(held({"h": old}, OLD, part), held({"h": new}, NEW, part))
        assert got.state["h"].tolist() == [[0, -1, 3, -1, 1], [4, -1, 7, -1, 5]]

    def test_untrained_rows_and_those_that_stay_fresh(self):
        old, new = torch.tensor([10.0, 1, 2, 3]), torch.tensor([0.0, -1, -2, -3, -4])
        part = {"t": (TokenRows("item"),)}
        both = held({"t": old}, OLD, part), held({"t": new}, NEW, part)
        trained = {"item": np.array([False, True, True, False])}
        got = carry(*both, trained=trained)
        assert got.state["t"].tolist() == [10, -1, -2, -3, 1] and got.found["item"] == (1, 4)
        got = carry(*both, fresh={"item": np.array([4])})
        assert got.state["t"].tolist() == [10, -1, 3, -3, -4] and got.found["item"] == (1, 4)


class TestWhatIsLeft:
    def test_each_with_its_reason(self):
        shapes = {"same": 2, "other": 3, "wide": (4, 2), "numbers": 2, "whose": 5, "unasked": 1}
        old = {name: torch.ones(shape) for name, shape in shapes.items()}
        new = {name: torch.zeros_like(each) for name, each in old.items()}
        new |= {"other": torch.zeros(2), "wide": torch.zeros(5, 3), "own": torch.zeros(1)}
        rows = {"wide": (TokenRows("item"),), "numbers": ()}
        got = carry(
            held(old, OLD, rows), held(new, NEW, rows, ["whose"]), taken={*new} - {"unasked"}
        )
        assert got.whole == ["same"] and got.state["same"].tolist() == [1, 1]
        assert got.left == {
            "other": "its shape was [3] and is [2]",
            "wide": "its rows had the shape [2] and have [3]",
            "numbers": "it holds numbers of the data's rows",
            "whose": "nothing says whose rows are in it",
            "unasked": "it was not asked for",
            "own": "there was none",
        }
        assert not any(got.state[name].any() for name in got.left)


@pytest.fixture(scope="module")
def grown(tmp_path_factory, write_atomic):
    """``make(method, which)``: built on tiny, or on tiny with its rows shuffled and more of all."""
    folder = tmp_path_factory.mktemp("grown")
    files = tiny_files()
    write_atomic(folder / "tiny", "tiny", **files)
    rng, more = np.random.default_rng(3), json.loads(json.dumps(files))
    for suffix, rows in more.items():
        rng.shuffle(part := rows[1:])
        rows[1:] = part
        if suffix == "item":
            rows[1:1] = [[f"i9{n}", "blue sea", "2005", "opera", "0.5"] for n in range(2)]
        if suffix == "user":
            rows[5:5] = [["u90", "70", "M", "0.4"]]
    more["inter"][1:1] = [["u90", f"i{n}", "4", "1000000", "watch"] for n in range(20)]
    more["inter"][1:1] = [[f"u{n}", "i90", "2", "1000001", "phone"] for n in range(40)]
    more["inter"][1:1] = [[f"u{n}", "i91", "5", "1000002", "desk"] for n in range(12)]
    write_atomic(folder / "more", "more", **more)
    store = DataStore(most=10)

    def make(method, which, backbone="DeepFM", **keys):
        config = make_config(method, which, backbone, (), {
            "data_path": str(folder), "cache_dir": str(folder / "cache"), "embedding_size": 4,
            "threshold": {"rating": 4}, "cold_threshold": 30, "warm_size": 3, **keys})  # fmt: skip
        dataset = store.data(config)
        return SimpleNamespace(method=build_method(config, dataset), dataset=dataset)

    return make


@torch.no_grad()
def marked(built):
    """Fill every row with what its token is called, and everything else with 1."""
    rows, state = rows_by_token(built.method), built.method.state_dict()
    for name, tensor in state.items():
        tensor.fill_(1)
        values = [
            1 + zlib.crc32(f"{part.field} {token}".encode()) % 100_003
            for part in rows.get(name, ())
            for token in built.dataset.field2id_token[part.field][
                slice(None) if part.codes is None else part.codes.numpy()
            ]
        ]
        if values:
            tensor.movedim(rows[name][0].axis, 0).copy_(
                torch.tensor(values).reshape(-1, *[1] * (tensor.dim() - 1)).expand_as(
                    tensor.movedim(rows[name][0].axis, 0)
                )
            )  # fmt: skip
    return {name: tensor.clone() for name, tensor in state.items()}


METHODS = ["Base", "MWUF", "CVAR", "GAR", "ALDIMF", "EmerG", "MAMO"]


class TestMethods:
    @pytest.mark.parametrize("method", METHODS)
    def test_each_row_lands_where_its_token_is(self, grown, method):
        """Every row is filled with its token's name; so the other data set's state, filled the
        same way, is what must come out, but for rows of tokens that the first does not have."""
        old, new = grown(method, "tiny"), grown(method, "more")
        for built in (old, new):
            marked(built)
        expected = {name: each.clone() for name, each in new.method.state_dict().items()}
        with torch.no_grad():
            for each in new.method.state_dict().values():
                each.zero_()
        got = carry(Held.by(old.method, old.dataset), Held.by(new.method, new.dataset))
        rows = rows_by_token(new.method)
        assert {name for name, parts in rows.items() if parts} == {*got.rows}
        for name in got.rows:
            put = got.state[name] != 0
            assert torch.equal(got.state[name][put], expected[name][put])
            assert 0 < int(put.sum()) < put.numel()
        table = "backbone.model.token_embedding_table.embedding.weight"
        assert got.rows[table] == got.state[table].any(dim=1).sum()
        assert got.found["item_id"] == (40, 42) and got.found["user_id"] == (60, 61)
        for name in got.whole:
            assert torch.equal(got.state[name], expected[name])

    @pytest.mark.parametrize("method", sorted({*methods()} - {"RML"}))
    def test_no_table_is_without_an_owner(self, grown, method):
        assert without_owner(grown(method, "tiny").method) == []

    @pytest.mark.parametrize("backbone", ["FinalMLP", "WideDeep", "FwFM", "EulerNet"])
    def test_no_table_of_a_click_model_is(self, grown, backbone):
        assert without_owner(grown("Base", "tiny", backbone).method) == []
