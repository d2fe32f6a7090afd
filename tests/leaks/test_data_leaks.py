"""Leak checks that read the data alone: each finds what was planted, and nothing else."""

import numpy as np
import pytest
from recbole.utils import FeatureType
from sklearn.metrics import mutual_info_score

from recbole_cold.leaks import histories, information
from recbole_cold.leaks.duplicates import in_several


def column(table, name, values):
    """``table`` with one more column; ``values`` by row, the header left out."""
    return [
        [*table[0], name],
        *([*row, value] for row, value in zip(table[1:], values, strict=True)),
    ]


def clicks(inter):
    return [str(int(int(row[2]) >= 4)) for row in inter[1:]]


# ------------------------------------------------------------------------------- L5
class TestTime:
    def test_rows_of_the_future_are_counted(self, leak, tables):
        """Against a loop over all rows."""
        found = leak_first(leak, "L5")
        inter = tables["inter"][1:]
        n_rows = {}
        for row in inter:
            n_rows[row[1]] = n_rows.get(row[1], 0) + 1
        last = {}
        for row in inter:
            if n_rows[row[1]] > 30:
                last[row[0]] = max(last.get(row[0], 0.0), float(row[3]))
        scored = 0
        older = 0
        for item in [item for item, n in n_rows.items() if 9 <= n <= 30]:
            rows = sorted((row for row in inter if row[1] == item), key=lambda row: float(row[3]))
            for row in rows[9:]:
                scored += 1
                older += last.get(row[0], 0.0) > float(row[3])
        assert found.verdict == "leak" and older > 0
        assert found.number == pytest.approx(older / scored)

    def test_a_log_in_which_new_items_come_last_is_clean(self, leak, tables, new_items):
        late = {tuple(row) for rows in new_items(tables["inter"]).values() for row in rows}
        for row in tables["inter"][1:]:
            if tuple(row) in late:
                row[3] = str(float(row[3]) + 1e9)
        first, auc = leak("L5", tables=tables)
        assert (first.verdict, first.number) == ("ok", 0.0)
        assert auc.verdict == "ok" and "no test row has it easier" in auc.sentence

    def test_without_times_it_cannot_be_asked(self, leak):
        found = leak("L5", load_col={"inter": ["user_id", "item_id", "rating"]})
        assert {(each.verdict, each.sentence) for each in found} == {
            ("not applicable", "no timestamp")
        }


def leak_first(leak, name):
    """The finding on the data, where a second one is on a model."""
    return leak(name)[0]


# ------------------------------------------------------------------------------- L6
class TestDuplicates:
    def copies(self, tables, new_items, change=lambda row: row):
        """Three more of a new item's oldest row: of the four, one is in the second warm-up set."""
        rows = next(iter(new_items(tables["inter"]).values()))
        tables["inter"] += [change(list(rows[0])) for _ in range(3)]
        return tables

    def test_a_row_in_two_parts_is_found(self, leak, tables, new_items):
        found = leak("L6", tables=self.copies(tables, new_items))
        assert (found.verdict, found.number) == ("leak", 4.0)
        assert "warm_a, warm_b" in found.sentence

    def test_a_row_that_meets_again_is_no_copy(self, leak, tables, new_items):
        devices = iter(["radio", "watch", "car"])

        def other_device(row):
            return [*row[:4], next(devices)]

        found = leak("L6", tables=self.copies(tables, new_items, other_device))
        assert found.verdict == "note" and found.sentence.startswith("no row stands in two parts")

    def test_a_warm_up_row_in_a_ready_test_file_is_found(self, leaks, tables, new_items, tmp_path):
        head, *rows = tables["inter"]
        new = new_items(tables["inter"])
        n_rows = {row[1]: sum(other[1] == row[1] for other in rows) for row in rows}
        parts = {"train": [row for row in rows if n_rows[row[1]] > 30]}
        for name, least, most in (("warm_a", 0, 5), ("test", 5, 99)):
            parts[name] = [row for each in new.values() for row in each[least:most]]
        parts["test"].append(parts["warm_a"][7])
        folder = tmp_path / "ready" / "tiny"
        folder.mkdir(parents=True)
        for name, lines in parts.items():
            text = "".join("\t".join(row) + "\n" for row in [head, *lines])
            (folder / f"tiny.{name}.inter").write_text(text)
        keys = {"data_path": str(tmp_path / "ready"), "benchmark_filename": list(parts)}
        found = leaks("L3,L6", **keys)
        assert (found["L6"].verdict, found["L6"].number) == ("leak", 2.0)
        assert found["L3"].verdict == "ok"
        assert "were chosen is not known here" in found[""].sentence

    def test_plain_data_have_no_copies(self, leak):
        assert leak("L6").verdict == "ok"

    def test_keys_in_several_parts_by_a_loop(self):
        draws = np.random.default_rng(0)
        key, part = draws.integers(0, 30, 60), draws.integers(0, 3, 60)
        expected = [len({p for k, p in zip(key, part, strict=True) if k == one}) > 1 for one in key]
        assert in_several(key, part).tolist() == expected
        assert not in_several(key[:0], part[:0]).size


# ------------------------------------------------------------------------------- L8
class TestInformation:
    def test_a_feature_that_is_the_label_is_found(self, leak, tables):
        tables["inter"] = column(tables["inter"], "bought:token", clicks(tables["inter"]))
        found = leak("L8", tables=tables)
        assert found.verdict == "leak" and "tells bought 100.0%" in found.sentence
        assert found.number == pytest.approx(1.0, abs=0.01)

    def test_two_such_features_do_not_hide_each_other(self, leak, tables):
        told = clicks(tables["inter"])
        tables["inter"] = column(tables["inter"], "bought:token", told)
        some = [value if n % 4 else "?" for n, value in enumerate(told)]
        tables["inter"] = column(tables["inter"], "stayed:token", some)
        found = leak("L8", tables=tables)
        assert found.verdict == "leak"
        assert "bought" in found.sentence and "stayed" in found.sentence.partition(";")[0]

    def test_an_items_share_of_clicks_is_found(self, leak, tables):
        """As a number of the item file, which is read by methods though not by the backbone."""
        told = {}
        for row, click in zip(tables["inter"][1:], clicks(tables["inter"]), strict=True):
            told.setdefault(row[1], []).append(int(click))
        shares = [f"{np.mean(told.get(row[0], [0])):.4f}" for row in tables["item"][1:]]
        tables["item"] = column(tables["item"], "liked:float", shares)
        found = leak("L8", tables=tables)
        assert found.verdict == "leak" and "tells liked" in found.sentence

    def test_plain_data_tell_no_label(self, leak):
        found = leak("L8")
        assert found.verdict == "ok" and found.number < 0.1

    def test_names_of_single_things_do_not_count(self, leak, tables):
        """One per item (in its file, or in the rows), and one for two rows: by counts they tell
        much, and nothing new."""
        names = [f"n{number}" for number in range(len(tables["item"]) - 1)]
        tables["item"] = column(tables["item"], "code:token", names)
        session = [f"s{number // 2}" for number in range(len(tables["inter"]) - 1)]
        tables["inter"] = column(tables["inter"], "session:token", session)
        seller = [f"of {row[1]}" for row in tables["inter"][1:]]
        tables["inter"] = column(tables["inter"], "seller:token", seller)
        found = leak("L8", tables=tables)
        assert found.verdict == "ok" and found.number < 0.1
        assert "left out as ids: session" in found.sentence

    def test_a_number_that_nothing_reads_is_no_feature(self, leak, tables):
        """A number of a row is read where the configuration names it; then it is one."""
        stars = [row[2] for row in tables["inter"][1:]]
        tables["inter"] = column(tables["inter"], "stars:float", stars)
        assert "stars" not in leak("L8", tables=tables).sentence
        found = leak("L8", tables=tables, numerical_features=["stars"])
        assert found.verdict == "leak" and "stars" in found.sentence

    def test_information_is_that_of_counts(self):
        draws = np.random.default_rng(1)
        symbol = draws.integers(0, 5, 400)
        label = (draws.uniform(size=400) < 0.2 + 0.1 * symbol).astype(float)
        rows, told = np.bincount(symbol), np.bincount(symbol, label)
        found = information.information(rows.astype(float), told)
        assert found == pytest.approx(mutual_info_score(symbol, label))

    def test_many_values_tell_nothing_by_chance(self):
        """300 values on 1,000 rows tell a tenth of the label by counts alone."""
        draws = np.random.default_rng(2)
        value, label = draws.integers(0, 300, 1000), draws.integers(0, 2, 1000).astype(float)
        entities = information.of_rows(np.arange(1000), label, 1000)
        found = [
            information.corrected(value, FeatureType.TOKEN, entities, seed) for seed in range(5)
        ]
        assert mutual_info_score(value, label) > 0.1
        assert abs(np.mean(found)) < 0.02

    def test_a_feature_of_items_is_dealt_out_among_items(self):
        """Items differ much, the feature is one of items and knows nothing of it."""
        draws = np.random.default_rng(3)
        item = draws.integers(0, 60, 6000)
        chance = draws.beta(0.5, 0.5, 60)
        label = (draws.uniform(size=6000) < chance[item]).astype(float)
        feature = draws.integers(0, 20, 60)
        entities = information.of_rows(item, label, 60)
        by_item = information.corrected(feature, FeatureType.TOKEN, entities, 0)
        rows = information.of_rows(np.arange(6000), label, 6000)
        by_row = information.corrected(feature[item], FeatureType.TOKEN, rows, 0)
        assert by_row > 0.05 > 3 * abs(by_item) - 0.1
        assert abs(by_item) < by_row / 2
        assert information.constant_within(feature[item], item).tolist() == feature.tolist()
        assert information.constant_within(label, item) is None

    def test_tokens_vectors_and_gaps(self):
        """The token, or coordinate, that tells most speaks for the field; a gap is a value."""
        draws = np.random.default_rng(4)
        label = draws.integers(0, 2, 2000).astype(float)
        rows = information.of_rows(np.arange(2000), label, 2000)
        words = draws.integers(1, 6, (2000, 3))
        words[:, 2] = np.where(label == 1, 7, 0)
        whole = float(information.entropy(label.mean()))
        found = information.corrected(words, FeatureType.TOKEN_SEQ, rows, 0)
        assert found == pytest.approx(whole, rel=0.02)
        vectors = np.stack([draws.normal(size=2000), label + 0.01 * draws.normal(size=2000)], 1)
        found = information.corrected(vectors, FeatureType.FLOAT_SEQ, rows, 0)
        assert found == pytest.approx(whole, rel=0.1)
        gaps = np.where(label == 1, np.nan, draws.normal(size=2000))
        found = information.corrected(gaps, FeatureType.FLOAT, rows, 0)
        assert found == pytest.approx(whole, rel=0.1)

    @pytest.mark.parametrize(
        "told, expected",
        [
            ({"a": 0.02, "b": 0.0}, []),  # ten times as much of next to nothing
            ({"a": 0.3, "b": 0.02}, ["a"]),
            ({"a": 0.3, "b": 0.04}, []),
            ({"a": 0.4, "b": 0.3, "c": 0.01}, ["a", "b"]),
            ({"a": 0.7, "b": 0.2}, ["a"]),
            ({"a": 0.2}, []),  # there is nothing to compare it with
            ({"a": 0.6}, ["a"]),
        ],
    )
    def test_which_features_are_outstanding(self, told, expected):
        assert information.outstanding(told) == expected


# ------------------------------------------------------------------------------- L9
class TestHistories:
    def with_history(self, tables, of_row, name="seen:token_seq"):
        """``of_row(row, the user's rows)``: the rows whose items a history lists."""
        of_user = {}
        for row in tables["inter"][1:]:
            of_user.setdefault(row[0], []).append(row)
        values = [
            " ".join(dict.fromkeys(other[1] for other in of_row(row, of_user[row[0]])))
            for row in tables["inter"][1:]
        ]
        tables["inter"] = column(tables["inter"], name, values)
        return tables

    def old_and_earlier(self, tables, new_items):
        hidden = new_items(tables["inter"])
        return lambda row, others: [
            other for other in others if float(other[3]) < float(row[3]) and other[1] not in hidden
        ]

    def test_earlier_rows_of_train_are_clean(self, leak, tables, new_items):
        found = leak(
            "L9", tables=self.with_history(tables, self.old_and_earlier(tables, new_items))
        )
        assert (found.verdict, found.number) == ("ok", 0.0)
        assert "of seen" in found.sentence

    def test_later_rows_are_found(self, leak, tables, new_items):
        hidden, earlier = new_items(tables["inter"]), self.old_and_earlier(tables, new_items)

        def of_row(row, others):
            later = [o for o in others if float(o[3]) > float(row[3]) and o[1] not in hidden]
            return [*earlier(row, others), *later[:1]]

        n_later = sum(
            any(float(o[3]) > float(row[3]) and o[1] not in hidden
                for o in tables["inter"][1:] if o[0] == row[0])
            for row in tables["inter"][1:] if self.is_used(row, tables)
        )  # fmt: skip
        found = leak("L9", tables=self.with_history(tables, of_row))
        assert (found.verdict, found.number) == ("leak", n_later)
        assert f"{n_later:,} are later" in found.sentence

    def is_used(self, row, tables):
        """Whether a row is in some part: its item is not dropped."""
        return sum(other[1] == row[1] for other in tables["inter"][1:]) >= 9

    def test_the_row_itself_is_found(self, leak, tables, new_items):
        earlier = self.old_and_earlier(tables, new_items)
        found = leak("L9", tables=self.with_history(tables, lambda r, o: [*earlier(r, o), r]))
        assert found.verdict == "leak"
        assert found.number == sum(self.is_used(row, tables) for row in tables["inter"][1:])

    def test_rows_of_new_items_are_hidden(self, leak, tables, new_items):
        """They happened before, and no phase has shown them yet."""
        hidden = new_items(tables["inter"])

        def of_row(row, others):
            return [other for other in others if float(other[3]) < float(row[3])]

        expected = sum(
            len({o[1] for o in tables["inter"][1:]
                 if o[0] == row[0] and o[1] in hidden and float(o[3]) < float(row[3])})
            for row in tables["inter"][1:] if self.is_used(row, tables)
        )  # fmt: skip
        found = leak("L9", tables=self.with_history(tables, of_row))
        assert (
            found.verdict == "leak" and f"{expected:,} are rows outside of train" in found.sentence
        )
        assert "0 are later" in found.sentence

    def test_one_history_of_a_user_is_later_than_the_first_rows(self, leak, tables):
        of_user = {}
        for row in tables["inter"][1:]:
            of_user.setdefault(row[0], []).append(row[1])
        values = [" ".join(of_user.get(row[0], [])) for row in tables["user"][1:]]
        tables["user"] = column(tables["user"], "liked:token_seq", values)
        assert leak("L9", tables=tables).verdict == "leak"

    def test_users_of_an_item_are_a_history_too(self, leak, tables):
        of_item = {}
        for row in tables["inter"][1:]:
            of_item.setdefault(row[1], []).append(row[0])
        values = [" ".join(of_item.get(row[0], [])) for row in tables["item"][1:]]
        tables["item"] = column(tables["item"], "audience:token_seq", values)
        found = leak("L9", tables=tables)
        assert found.verdict == "leak" and "audience" in found.sentence

    def test_genres_that_are_numbered_like_items_are_none(self, leak, tables):
        """Ids of items as tokens of something else; the users of the rows did not meet them."""
        draws = np.random.default_rng(0)
        values = [" ".join(f"i{n}" for n in draws.integers(0, 40, 3)) for _ in tables["item"][1:]]
        tables["item"] = column(tables["item"], "kinds:token_seq", values)
        values = [" ".join(f"i{n}" for n in draws.integers(33, 40, 3)) for _ in tables["inter"][1:]]
        tables["inter"] = column(tables["inter"], "tags:token_seq", values)
        found = leak("L9", tables=tables)
        assert (found.verdict, found.sentence) == ("not applicable", "no field holds a history")

    def test_without_times_what_is_hidden_is_found(self, leak, tables):
        tables = self.with_history(tables, lambda row, others: [o for o in others if o is not row])
        names = ["user_id", "item_id", "rating", "seen"]
        found = leak("L9", tables=tables, load_col={"inter": names})
        assert found.verdict == "leak" and "no timestamp" in found.sentence

    def test_ids_are_found_by_their_text(self):
        tokens, ids = np.array(["[PAD]", "x", "i2", "i1"]), np.array(["[PAD]", "i1", "i2"])
        assert histories.as_ids(tokens, ids).tolist() == [0, 0, 2, 1]
