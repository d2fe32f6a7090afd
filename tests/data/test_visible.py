"""A run's view of its data: numbers and tokens by what its training rows may see, nothing else."""

import numpy as np
import pytest
import torch

from recbole_cold.config import make_config
from recbole_cold.data import numbers
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.rows import Rows
from recbole_cold.experiment.data_store import DataStore, run_data

# Items o0..o5 are old (7 or 8 rows each), n0..n3 new (5 rows each, 2 of them to warm up), r0 rare.
OLD, NEW = [f"o{n}" for n in range(6)], [f"n{n}" for n in range(4)]
KEYS = {
    "cold_threshold": 6, "warm_size": 2, "warm_sets": 1, "device": "cpu", "show_progress": False,
    "numerical_features": ["temp", "age"],
}  # fmt: skip


def files(*, new_price="5", new_temp="20", new_word="late", new_age="30"):
    """Rows of new items come last; the users u8 and u9 have rows with new items only."""
    inter = [["user_id:token", "item_id:token", "label:float", "timestamp:float", "temp:float",
              "place:token"]]  # fmt: skip
    rng = np.random.default_rng(3)
    rows = [(item, f"u{n}") for item in OLD for n in range(8)][:-1]  # u7 has one row less
    for number, (item, user) in enumerate(rows):
        temp = "" if number == 5 else str(10 + number % 7)
        inter.append([user, item, rng.integers(2), number, temp, "home" if number % 2 else "work"])
    for number, (item, user) in enumerate(
        [(item, user) for item in NEW for user in ("u1", "u2", "u3", "u8", "u9")]
    ):
        inter.append([user, item, number % 2, 1000 + number, new_temp, "away"])
    inter.append(["u1", "r0", 1, 5000, 99, "home"])
    items = [["item_id:token", "price:float", "brand:token", "words:token_seq"]]
    items += [[item, 2 + n, "same", f"red w{n}"] for n, item in enumerate(OLD)]
    items += [[item, new_price, f"b{n}", f"{new_word} red"] for n, item in enumerate(NEW)]
    items += [["r0", "1e12", "rare", "rare"]]
    users = [["user_id:token", "age:float", "job:token"]]
    users += [[f"u{n}", "" if n == 3 else 20 + n, f"j{n % 3}"] for n in range(8)]
    users += [["u8", new_age, "new"], ["u9", new_age, "new"]]
    return {"inter": inter, "item": items, "user": users}


@pytest.fixture
def configured(tmp_path, write_atomic):
    def make(data=None, name="seen", **keys):
        if not (tmp_path / name).exists():
            write_atomic(tmp_path / name, name, **(data or files()))
        keys = {**KEYS, "data_path": str(tmp_path), **keys}
        return make_config("Base", name, "DeepFM", overrides=keys)

    return make


@pytest.fixture
def view(configured):
    return lambda data=None, **keys: run_data(configured(data, **keys))


def codes(data, field, *tokens):
    return [data.token2id(field, token) for token in tokens]


def note(data, start):
    (found,) = [text for text in data.notes if text.startswith(start)]
    return found


class TestNumbers:
    @pytest.mark.parametrize("rule", ["auto", "standard", "minmax"])
    def test_each_is_fitted_on_what_may_be_seen(self, view, rule):
        """Old items once each, users of train once each, rows of train."""
        data = view(number_scale=rule)
        for raw, seen, found in [
            (data.raw["item"]["price"], data.split.old_ids, data.item_table["price"]),
            (data.raw["user"]["age"], codes(data, "user_id", *[f"u{n}" for n in range(8)]),
             data.user_table["age"]),
            (data.raw["inter"]["temp"], data.split["train"], data.inter["temp"]),
        ]:  # fmt: skip
            scale = numbers.fit(raw[seen], rule)
            assert np.array_equal(found, scale.apply(raw)) and found.dtype == np.float32
        assert len(data.split.old_ids) == 6 and len(data.split.new_ids) == 4

    def test_what_comes_later_moves_nothing(self, view):
        """Values of new items, of users without a training row, and of rows outside of train."""
        later = {"new_price": "1e30", "new_temp": "-1e38", "new_age": "1e9"}
        here, there = view(), view(files(**later), name="later")
        old, train = here.split.old_ids, here.split["train"]
        assert np.array_equal(old, there.split.old_ids)
        assert np.array_equal(here.item_table["price"][old], there.item_table["price"][old])
        assert np.array_equal(here.inter["temp"][train], there.inter["temp"][train])
        users = codes(here, "user_id", *[f"u{n}" for n in range(8)])
        assert np.array_equal(here.user_table["age"][users], there.user_table["age"][users])
        for table in (there.item_table, there.user_table, there.inter):
            for field in table.keys() & {"price", "age", "temp"}:
                assert np.isfinite(table[field]).all() and np.abs(table[field]).max() <= 5

    def test_cold_users_and_items_change_places(self, view):
        data = view(cold_side="user", cold_threshold=7, common_phases=0)
        train = data.split["train"]
        items = np.unique(data.inter["item_id"][train])
        scale = numbers.fit(data.raw["user"]["age"][data.split.old_ids], "auto")
        assert np.array_equal(data.user_table["age"], scale.apply(data.raw["user"]["age"]))
        scale = numbers.fit(data.raw["item"]["price"][items], "auto")
        assert np.array_equal(data.item_table["price"], scale.apply(data.raw["item"]["price"]))
        assert "r0" in data.id2token("item_id", items)  # one row of an old user is enough

    def test_backbone_and_methods_read_the_same(self, view):
        data = view()
        batch = data.rows.batch(torch.arange(data.n_rows))
        for field, column in [
            ("temp", data.inter["temp"]),
            ("age", data.user_table["age"][data.inter["user_id"]]),
        ]:
            assert np.array_equal(batch[field][:, 0].numpy(), column)
        assert np.array_equal(data.rows.item_features["price"].numpy(), data.item_table["price"])
        assert np.array_equal(data.item_feat["price"].numpy(), data.item_table["price"])
        anew = Rows(data, "cpu")
        assert torch.equal(anew.columns["temp"], data.rows.columns["temp"])

    def test_a_time_that_is_an_input(self, view):
        data = view(use_timestamp=True)
        scale = numbers.fit(data.time[data.split["train"]], "auto")
        assert np.array_equal(data.inter["timestamp"], scale.apply(data.time))
        last = data.inter["timestamp"][data.split["train"]].max()
        assert (data.inter["timestamp"][data.split["test"]] == last).all()  # beyond: clipped
        assert data.time.max() == 5000  # what splits read stays

    @pytest.mark.parametrize("asked", [{"normalize_all": True}, {"normalize_field": ["price"]}])
    def test_normalised_fields_are_the_seen_range(self, view, asked):
        data = view(**asked)
        raw = data.raw["item"]["price"]
        scale = numbers.fit(raw[data.split.old_ids], "minmax")
        assert np.array_equal(data.item_table["price"], scale.apply(raw))
        rule = "minmax" if "normalize_all" in asked else "auto"
        scale = numbers.fit(data.raw["inter"]["temp"][data.split["train"]], rule)
        assert np.array_equal(data.inter["temp"], scale.apply(data.raw["inter"]["temp"]))

    @pytest.mark.parametrize(
        "asked", [{}, {"normalize_all": True}, {"use_timestamp": True}], ids=str
    )
    def test_recbole_is_the_loader_s_own_bit_for_bit(self, configured, asked):
        config = configured(number_scale="recbole", unseen_tokens="draw", **asked)
        data, plain = run_data(config), ColdStartDataset(config)
        for kind in ("inter", "item_table", "user_table"):
            ours, theirs = getattr(data, kind), getattr(plain, kind)
            assert ours.keys() == theirs.keys()
            assert all(np.array_equal(ours[field], theirs[field]) for field in ours)
        # By hand: gaps are the mean over all rows, in float64.
        temp = data.raw["inter"]["temp"]
        filled = np.where(np.isnan(temp), np.nanmean(temp), temp)
        if asked.get("normalize_all"):
            filled = (filled - filled.min()) / (filled.max() - filled.min())
        assert np.array_equal(data.inter["temp"], filled.astype(np.float32))
        if asked.get("use_timestamp"):
            assert data.inter["timestamp"].min() == 0 and data.inter["timestamp"].max() == 1

    def test_released_is_recbole_s(self, configured):
        config = configured(protocol="released")
        assert (config["number_scale"], config["unseen_tokens"]) == ("recbole", "draw")

    def test_views_of_a_store_share_what_was_scaled(self, configured):
        store, config = DataStore(), configured()
        one, other = store.data(config), store.data(config)
        assert one.item_table["price"] is other.item_table["price"]
        assert one.rows.item_features["price"] is other.rows.item_features["price"]
        raw = store.data(configured(number_scale="recbole"))
        assert raw.item_table["price"].max() > 1e11 > one.item_table["price"].max()
        kept = store.data(configured(seed=2021))
        assert kept.rows.columns["user_id"] is one.rows.columns["user_id"]

    def test_every_field_is_told(self, view):
        data = view(files(new_price="100", new_temp="", new_age="77"))
        assert note(data, "number 'price'") == (
            "number 'price' (item): standardised by the seen 2 to 7, 4 of 4 new items are beyond "
            "and clipped; methods read it, the backbone does not (numerical_features)"
        )
        assert note(data, "number 'temp'") == (
            "number 'temp' (inter): standardised by the seen 10 to 16, 21 of 67 are missing and "
            "take the mean; the backbone reads it"
        )
        assert note(data, "number 'age'") == (
            "number 'age' (user): standardised by the seen 20 to 27, 1 of 10 are missing and take "
            "the mean, 2 of 2 users without a row in train are beyond and clipped; the backbone "
            "reads it"
        )
        idle = view(numerical_features=[])
        assert note(idle, "number 'temp'").endswith(
            "as in the files; nothing reads it (numerical_features gives it to the backbone)"
        )
        plain = view(number_scale="recbole", normalize_field=["age"])
        assert ": as in the files, not scaled;" in note(plain, "number 'price'")
        assert ": scaled to 0..1 over all rows;" in note(plain, "number 'age'")

    def test_a_field_that_training_does_not_have(self, view):
        data = files()
        for row in data["item"][1:7]:
            row[1] = ""
        found = view(data)
        assert not found.item_table["price"].any()
        assert "no value that training may see, so it is 0 throughout" in note(found, "number 'pr")


class TestTokens:
    def test_those_of_no_training_row_are_missing(self, view):
        data = view()
        new = data.split.new_ids
        assert not data.item_table["brand"][new].any()
        late, red = codes(data, "words", "late", "red")
        words = data.item_table["words"][new]
        assert (words == red).sum() == 4 and not (words == late).any()
        assert data.rows.item_features["words"][new].eq(red).sum() == 4
        unknown = codes(data, "user_id", "u8", "u9")
        assert not data.user_table["job"][unknown].any()
        assert data.user_table["job"][codes(data, "user_id", "u0")].all()
        outside = np.setdiff1d(np.arange(data.n_rows), data.split["train"])
        away, home = codes(data, "place", "away", "home")
        place = data.inter["place"][outside]
        assert not (place == away).any() and (place == home).any()  # the rare item's row
        assert np.array_equal(data.rows.columns["place"][outside].numpy(), place)
        # What training has, and both ids, are as they were.
        plain = view(unseen_tokens="draw")
        for field in ("brand", "words"):
            old = data.split.old_ids
            assert np.array_equal(data.item_table[field][old], plain.item_table[field][old])
        for field in ("user_id", "item_id"):
            assert data.inter[field] is plain.inter[field] or np.array_equal(
                data.inter[field], plain.inter[field]
            )

    def test_which_rows_of_tables_carry_nothing(self, view):
        data = view()
        unseen = {field: set(found.tolist()) for field, found in data.unseen.items()}
        assert unseen["brand"] == {0, *codes(data, "brand", "b0", "b1", "b2", "b3", "rare")}
        assert unseen["words"] == {0, *codes(data, "words", "late", "rare")}
        assert unseen["user_id"] == {0, *codes(data, "user_id", "u8", "u9")}
        assert unseen["place"] == {0, *codes(data, "place", "away")}
        assert "item_id" not in unseen  # the cold id has its own rules (new_item_init)
        assert not view(unseen_tokens="draw").unseen

    def test_a_gap_in_training_keeps_its_row(self, view):
        data = files()
        data["item"][1][2] = ""
        assert 0 not in view(data).unseen["brand"]

    def test_draw_leaves_all_codes(self, configured):
        config = configured(unseen_tokens="draw")
        data, plain = run_data(config), ColdStartDataset(config)
        assert all(np.array_equal(data.item_table[f], plain.item_table[f]) for f in ("brand",))
        assert data.item_table["words"] is not None
        assert np.array_equal(data.item_table["words"], plain.item_table["words"])

    def test_they_are_counted(self, view):
        data = view()
        assert note(data, "4 of 4 tokens of 'brand'") == (
            "4 of 4 tokens of 'brand' in new items occur in no training row, in 4 of 4; they are "
            "read as missing"
        )
        assert "1 of 2 tokens of 'words' in new items" in note(data, "1 of 2 tokens of 'words'")
        assert "their rows of every table are zero" in note(data, "2 of 5 tokens of 'user_id'")
        drawn = view(unseen_tokens="draw")
        assert "as drawn, untrained" in note(drawn, "4 of 4 tokens of 'brand'")
