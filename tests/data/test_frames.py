"""Frames become the data set of files with the same content, or are refused in a sentence."""

import datetime
import os

import numpy as np
import pandas as pd
import pytest

import recbole_cold
from recbole_cold.compat import parse_text
from recbole_cold.config import make_config
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.frames import SEPARATORS, from_frames
from recbole_cold.errors import UserError, WriteError


@pytest.fixture(scope="module")
def frames(tiny_path):
    """``tiny`` as somebody holds it in pandas: numbers are numbers, sequences are lists."""

    def read(suffix):
        frame = pd.read_csv(tiny_path / f"tiny.{suffix}", sep="\t", dtype=str)
        for column in frame.columns:
            name, _, kind = column.partition(":")
            if kind == "float":
                frame[column] = pd.to_numeric(frame[column])
            elif kind == "token_seq":
                frame[column] = frame[column].str.split()
            frame = frame.rename(columns={column: name})
        return frame

    return {name: read(suffix) for name, suffix in
            (("interactions", "inter"), ("items", "item"), ("users", "user"))}  # fmt: skip


@pytest.fixture
def loaded(tmp_path):
    """``loaded(frames)``: the data set that a configuration with these frames reads."""

    def load(data, **keys):
        given = {**data.configuration(tmp_path / "cache"), "cache_dir": str(tmp_path / "cache")}
        return ColdStartDataset(make_config("Base", data.name, overrides={**given, **keys}))

    return load


def few(**columns):
    """Six interactions of two users and three items."""
    return pd.DataFrame(
        {
            "user_id": [1, 1, 1, 2, 2, 2],
            "item_id": ["a", "b", "c", "a", "b", "c"],
            "label": [0, 1, 0, 1, 1, 0],
            **columns,
        }
    )


def test_the_data_set_is_that_of_the_files(frames, loaded, tiny_keys):
    ours = loaded(from_frames(**frames, label="rating", threshold=4))
    files = ColdStartDataset(
        make_config("Base", "tiny", overrides={**tiny_keys, "LABEL_FIELD": "rating"})
    )
    assert ours.field2type == files.field2type
    for table in ("inter", "user_table", "item_table"):
        one, other = getattr(ours, table), getattr(files, table)
        assert list(one) == list(other)
        for field in one:
            np.testing.assert_array_equal(one[field], other[field])
    for field, tokens in files.field2id_token.items():
        assert list(ours.field2id_token[field]) == list(tokens)


def test_a_run_on_frames_has_the_numbers_of_the_files(frames, tiny_keys, tmp_path, numbers):
    keys = {"train_batch_size": 64, "embedding_size": 4, "show_progress": False, "warm_size": 3,
            "matched_row": False, "cold_threshold": 30, "saved_dir": None}  # fmt: skip
    files = recbole_cold.run("Base", "tiny", **{**tiny_keys, **keys}, LABEL_FIELD="rating")
    data = from_frames(**frames, label="rating", threshold=4)
    cache = tmp_path / "own"
    ours = recbole_cold.run("Base", data, **keys, cache_dir=cache)
    assert numbers(ours.document) == numbers(files.document)
    assert ours.document["dataset"] == "frames"
    (folder,) = (cache / "frames").iterdir()
    assert {path.name for path in (folder / "frames").iterdir()} == {
        "frames.inter", "frames.item", "frames.user",
    }  # fmt: skip


class TestFiles:
    def test_equal_frames_are_written_once_and_others_beside_them(self, tmp_path):
        first = from_frames(few()).write(tmp_path)
        stamp = (first / "frames.inter").stat().st_mtime_ns
        assert from_frames(few()).write(tmp_path) == first
        assert (first / "frames.inter").stat().st_mtime_ns == stamp
        assert from_frames(few(x=range(6))).write(tmp_path) != first
        assert from_frames(few(), name="mine").write(tmp_path) != first
        assert not list((tmp_path / "frames").glob(".new-*"))

    def test_a_file_that_was_cut_short_is_written_again(self, tmp_path):
        path = from_frames(few()).write(tmp_path) / "frames.inter"
        whole = path.read_bytes()
        path.write_bytes(whole[:20])
        from_frames(few()).write(tmp_path)
        assert path.read_bytes() == whole

    def test_a_frame_that_changes_later_is_not_followed(self, tmp_path):
        frame = few()
        data = from_frames(frame)
        frame["label"] = 1
        assert data.write(tmp_path) == from_frames(few()).write(tmp_path)

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "frames").write_text("in the way")
        with pytest.raises(WriteError, match="cannot write the frames under"):
            from_frames(few()).write(tmp_path)

    @pytest.mark.parametrize("separator", [*SEPARATORS, "\t"])
    def test_separators_are_what_a_configuration_reads(self, separator):
        assert parse_text(separator) == separator


class TestKinds:
    def test_by_type(self, loaded):
        day = pd.Timestamp("2020-01-01")
        items = pd.DataFrame(
            {
                "item_id": ["a", "b", "c"],
                "price": [1.5, None, 2.5],
                "year": pd.array([1990, None, 1991], dtype="Int64"),
                "maker": pd.Categorical(["x y", "z\t!", None]),
                "new": [True, False, True],
                "tags": [["red", "dark blue"], [], None],
                "vector": [np.array([0.1, 0.2]), [1, 2], (3.0, 4.5)],
                "since": [day, day + pd.Timedelta(days=1), pd.NaT],
                "quoted": ['say "yes"', "it's", '"'],
            }
        )
        data = from_frames(few(), items, kinds={"year": "token"})
        dataset = loaded(data)
        found = {name: kind.value for name, kind in dataset.field2type.items()}
        assert found == {
            "user_id": "token", "item_id": "token", "label": "float", "price": "float",
            "year": "token", "maker": "token", "new": "token", "tags": "token_seq",
            "vector": "float_seq", "since": "float", "quoted": "token",
        }  # fmt: skip
        tokens, table = dataset.field2id_token, dataset.item_table
        assert list(tokens["maker"]) == ["[PAD]", "x y", "z\t!"]
        assert list(tokens["year"]) == ["[PAD]", "1990", "1991"]
        assert list(tokens["tags"]) == ["[PAD]", "red", "dark blue"]
        assert list(tokens["quoted"]) == ["[PAD]", 'say "yes"', "it's", '"']
        assert list(tokens["user_id"]) == ["[PAD]", "1", "2"]
        assert table["tags"].tolist() == [[0, 0], [1, 2], [0, 0], [0, 0]]
        assert table["vector"].tolist()[1:] == np.float32([[0.1, 0.2], [1, 2], [3, 4.5]]).tolist()
        assert table["price"].tolist()[1:] == [1.5, 2.0, 2.5]
        assert table["since"][1] == np.float32(day.timestamp())

    def test_whole_numbers_are_the_same_ids_whatever_their_type(self, loaded):
        items = pd.DataFrame({"item_id": [1.0, 2.0], "x": ["p", "q"]})
        dataset = loaded(from_frames(few(item_id=[1, 2, 1, 2, 1, 2]), items))
        assert list(dataset.field2id_token["item_id"]) == ["[PAD]", "1", "2"]
        assert dataset.item_table["x"].tolist() == [0, 1, 2]

    def test_own_names_and_times(self, loaded):
        when = pd.date_range("2021-03-01", periods=6, tz="Europe/Berlin")
        frame = few(when=when).rename(columns={"user_id": "who", "item_id": "what", "label": "ok"})
        data = from_frames(frame, user="who", item="what", label="ok", time="when")
        dataset = loaded(data)
        assert (dataset.uid_field, dataset.iid_field, dataset.label_field) == ("who", "what", "ok")
        assert dataset.time.tolist() == [each.timestamp() for each in when]
        assert dataset.inter["ok"].tolist() == [0, 1, 0, 1, 1, 0]

    def test_a_title_as_its_words(self, loaded):
        items = pd.DataFrame({"item_id": ["a"], "title": ["The  Last Red"]})
        dataset = loaded(from_frames(few(), items, kinds={"title": "token_seq"}))
        assert list(dataset.field2id_token["title"]) == ["[PAD]", "The", "Last", "Red"]


ITEMS = {"item_id": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"interactions": few().head(0)}, "interactions has no rows"),
        ({"interactions": [1]}, "interactions must be a pandas DataFrame, not a list"),
        ({"user": "userid"}, "interactions has no column 'userid'; did you mean 'user_id'"),
        ({"user": "user"}, "interactions has no column 'user'; it has user_id, item_id, label"),
        ({"label": "click"}, "interactions has no column 'click'; it has user_id, item_id, label"),
        ({"time": "when"}, "name the right one with time="),
        ({"label": "user_id"}, "column 'user_id' is given as user= and as label="),
        ({"interactions": few(label=[0, 1, 3, 0, 0, 1])},
         "column 'label' of interactions has the value 3; a label is 0 or 1, or threshold="),
        ({"interactions": few(label=[0, 1, None, 0, 0, 1])},
         "column 'label' of interactions lacks a label in 1 rows, the first at index 2"),
        ({"interactions": few(label=list("abcdef"))}, "column 'label' of interactions holds what"),
        ({"interactions": few(user_id=[1, None, 1, 2, 2, 2])},
         "column 'user_id' of interactions lacks an id in 1 rows, the first at index 1"),
        ({"interactions": few(user_id=[1, "1", 1, 2, 2, 2])}, "'1' both as a number and as a text"),
        ({"interactions": few(x=["a", 1, "b", 2, 3, 4])}, "values of type int, str; make them all"),
        ({"interactions": few(x=[np.inf] * 6)}, "column 'x' of interactions holds an infinite"),
        ({"interactions": few(x=[None] * 6)}, "column 'x' of interactions has no value at all"),
        ({"interactions": few(x=["a\nb"] * 6)}, "has a line break in 'a\\nb'"),
        ({"interactions": few(x=["NA"] * 6)}, "has the text 'NA', which a file reads as a missing"),
        ({"interactions": few(x=[{"a": 1}] * 6)}, "values of type dict"),
        ({"interactions": few(x=[[1, "a"]] * 6)}, "has lists of mixed-integer values"),
        ({"interactions": few(x=[[1, np.nan]] * 6)}, "a number that is not finite"),
        ({"interactions": few(x=[["".join(SEPARATORS)]] * 6)}, "with every separator"),
        ({"interactions": few(**{"a:b": 1})}, "column 'a:b' of interactions has an empty name or"),
        ({"interactions": few().rename(columns={"label": 0})}, "column 0 of interactions has no"),
        ({"interactions": pd.concat([few(), few()[["label"]]], axis=1)}, "'label' occurs twice in"),
        ({"interactions": few().rename(columns={"label": "yes"}), "label": "yes"},
         "column 'yes' reads as True in a configuration; rename it"),
        ({"items": pd.DataFrame({"itemid": ["a"]})}, "items has no column 'item_id'; did you mean"),
        ({"items": pd.DataFrame({**ITEMS, "label": 1})}, "'label' is in interactions and in items"),
        ({"items": pd.DataFrame({"item_id": [1, 2]})}, "no 'item_id' of items occurs in"),
        ({"kinds": {"lable": "token"}}, "kinds names 'lable', which no frame has; did you mean"),
        ({"kinds": {"label": "text"}}, "kinds says 'text' of column 'label'; it is one of token"),
        ({"kinds": {"user_id": "float"}}, "column 'user_id' of interactions holds ids and is"),
        ({"name": "a/b"}, "name 'a/b' is no name of a data set"),
    ],
)  # fmt: skip
def test_refused(given, sentence):
    with pytest.raises(UserError) as refused:
        from_frames(**{"interactions": few(), **given}).configuration(None)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_dates_of_python_and_what_is_shown(loaded):
    days = [datetime.date(2020, 1, number) for number in range(1, 7)]
    data = from_frames(few(timestamp=days))
    assert loaded(data).time[1] - loaded(data).time[0] == 86400
    assert repr(data) == "<data set 'frames': 6 interactions>"
    assert os.sep not in repr(data)
