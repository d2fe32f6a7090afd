"""Parquet and Arrow files give the data set of atomic files and of frames with their content."""

import datetime
import decimal
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from recbole.utils import FeatureType

from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.data import _column_files
from recbole_cold.data._sources import place_of
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.frames import from_frames
from recbole_cold.errors import UserError
from recbole_cold.experiment.data_store import run_data

WRITE = {
    "parquet": pq.write_table,
    "arrow": lambda table, path: pa.feather.write_feather(table, str(path)),
    "feather": lambda table, path: pa.feather.write_feather(table, str(path), compression="lz4"),
}


def read(path):
    """A file of ``tiny`` as an Arrow table with plain names, and the types of its header."""
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    columns, kinds = {}, {}
    for header in frame.columns:
        name, _, kinds[name] = header.partition(":")
        values = frame[header].replace("", None).tolist()
        if kinds[name] == "float":
            values = [None if value is None else float(value) for value in values]
        elif kinds[name] == "token_seq":
            values = [None if value is None else value.split(" ") for value in values]
        elif kinds[name] == "float_seq":
            values = [None if v is None else [float(x) for x in v.split(" ")] for v in values]
        columns[name] = pa.array(values)
    return pa.table(columns), kinds


@pytest.fixture
def load(tmp_path):
    """``load(form, inter=table, ...)``: the data set ``mine`` of tables in files of that form."""

    def go(form, keys=None, **tables):
        folder = tmp_path / form / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, table in tables.items():
            WRITE[form](table, folder / f"mine.{suffix.replace('_', '.')}.{form}")
        given = {"data_path": str(folder.parent), "threshold": {"rating": 4}, "load_col": None}
        given |= {"cold_threshold": 30, "warm_size": 3, "cache_dir": str(tmp_path / "cache")}
        return run_data(make_config("Base", "mine", overrides={**given, **(keys or {})}))

    return go


def few(**columns):
    """Six rows of two users and three items."""
    return pa.table(
        {
            "user_id": pa.array([1, 1, 1, 2, 2, 2]),
            "item_id": pa.array(["a", "b", "c", "a", "b", "c"]),
            "rating": pa.array([1.0, 5, 1, 5, 5, 1]),
            "timestamp": pa.array(np.arange(6)),
            **columns,
        }
    )


def plain(form, **columns):
    """The data set of ``few`` with these columns, not split."""
    folder = form / "few"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(few(**columns), folder / "few.inter.parquet")
    given = {"data_path": str(form), "threshold": {"rating": 4}, "load_col": None}
    return lambda **keys: ColdStartDataset(
        make_config("Base", "few", overrides={**given, "cache_dir": str(form / "c"), **keys})
    )


def assert_same(one, other):
    """Bit for bit: arrays with their types, tokens, kinds, and the parts of the split."""
    assert one.field2type == other.field2type and one.field2seqlen == other.field2seqlen
    for table in ("inter", "user_table", "item_table"):
        ours, theirs = getattr(one, table), getattr(other, table)
        assert set(ours) == set(theirs)
        for field in ours:
            assert ours[field].dtype == theirs[field].dtype
            assert ours[field].tobytes() == theirs[field].tobytes(), field
    for field, tokens in one.field2id_token.items():
        assert list(tokens) == list(other.field2id_token[field])
    for part, rows in one.split.parts.items():
        np.testing.assert_array_equal(rows, other.split.parts[part])


# ------------------------------------------------------------------------- the same data set
class TestSame:
    @pytest.mark.parametrize("rows", [1 << 18, 100])
    @pytest.mark.parametrize("form", WRITE)
    def test_as_of_atomic_files_and_of_frames(
        self, form, rows, load, vectors_path, tmp_path, monkeypatch
    ):
        """Whatever the form, names with kinds or without, in one batch or in many."""
        monkeypatch.setattr(_column_files, "_ROWS", rows)
        tables = {
            suffix: read(vectors_path / f"vec.{suffix}") for suffix in ("inter", "user", "item")
        }
        keys = {"data_path": str(vectors_path.parent), "threshold": {"rating": 4}, "warm_size": 3}
        keys |= {"cold_threshold": 30, "load_col": None, "cache_dir": str(tmp_path / "cache")}
        atomic = run_data(make_config("Base", "vec", overrides=keys))
        typed = {
            suffix: table.rename_columns([f"{name}:{kinds[name]}" for name in table.column_names])
            for suffix, (table, kinds) in tables.items()
        }
        # A number to Arrow, and a token by the name of its column.
        year = typed["item"].column_names.index("year:token")
        numbers = typed["item"]["year:token"].cast(pa.int16())
        typed["item"] = typed["item"].set_column(year, "year:token", numbers)
        assert_same(load(form, **typed), atomic)
        assert_same(load(form, **{suffix: table for suffix, (table, _) in tables.items()}), atomic)
        frames = {
            name: tables[suffix][0].to_pandas()
            for name, suffix in (("interactions", "inter"), ("items", "item"), ("users", "user"))
        }
        data = from_frames(**frames, label="rating", threshold=4)
        given = {**keys, **data.configuration(tmp_path / "cache"), "LABEL_FIELD": "label"}
        assert_same(run_data(make_config("Base", data.name, overrides=given)), atomic)

    def test_types_of_columns(self, tmp_path):
        """Each type has the kind that ``from_frames`` gives it, and the same values."""
        day = datetime.datetime(2020, 1, 2, 3, 4, 5)
        columns = {
            "whole": pa.array([3, None, 1, 2, 3, 4], pa.int8()),
            "single": pa.array([0.1, 0.2, None, 0.4, 0.5, 0.6], pa.float32()),
            "truth": pa.array([True, False, None, True, True, False]),
            "category": pa.array(["x", "y", "x", None, "y", "x"]).dictionary_encode(),
            "moment": pa.array([day, None] * 3, pa.timestamp("ms")),
            "zoned": pa.array([day] * 6, pa.timestamp("us", tz="Asia/Tokyo")),
            "words": pa.array(
                [["u", "v"], [], None, ["v"], ["", "w"], ["u"]], pa.large_list(pa.string())
            ),
            "vector": pa.array(
                [[1, 2], [3, 4], None, [0, 0.1], [1, 1], [2, 2]], pa.list_(pa.float32())
            ),
            "fixed": pa.array([[1, 2], None] * 3, pa.list_(pa.int64(), 2)),
        }
        ours = plain(tmp_path, **columns)()
        kinds = {name: ours.field2type[name].value for name in columns}
        assert kinds == {
            "whole": "float", "single": "float", "truth": "token", "category": "token",
            "moment": "float", "zoned": "float", "words": "token_seq", "vector": "float_seq",
            "fixed": "float_seq",
        }  # fmt: skip
        frame = few(**columns).to_pandas()
        data = from_frames(frame, label="rating", threshold=4, name="framed")
        given = {**data.configuration(tmp_path), "cache_dir": str(tmp_path / "c")}
        theirs = ColdStartDataset(make_config("Base", "framed", overrides=given))
        assert kinds == {name: theirs.field2type[name].value for name in columns}
        for name in columns:
            assert ours.inter[name].tobytes() == theirs.inter[name].tobytes(), name
        for name in ("truth", "category", "words", "user_id"):
            assert list(ours.field2id_token[name]) == list(theirs.field2id_token[name])
        assert list(ours.field2id_token["user_id"]) == ["[PAD]", "1", "2"]

    def test_kinds_that_load_col_says(self, tmp_path):
        """``year:token`` in load_col; -0.0, 0.0 and 0 are one token; texts may be numbers."""
        columns = {
            "year": pa.array([1999, 2000, 1999, 2001, None, 2000], pa.int64()),
            "zero": pa.array([0.0, -0.0, 1.0, 0.5, None, float("nan")]),
            "title": pa.array(["a  film", "film", None, "b", "a", "a"]),
            "price": pa.array(["1.5", "2", None, "3", "4", "5"]),
            "huge": pa.array([2**62 + 1, 2**62 + 2] * 3),
            "left": pa.array(range(6)),
        }
        load_col = {
            "inter": ["user_id", "item_id", "rating", "timestamp", "year:token", "zero:token",
                      "title:token_seq", "price:float", "huge:token"]
        }  # fmt: skip
        data = plain(tmp_path, **columns)(load_col=load_col)
        assert "left" not in data.field2type
        assert list(data.field2id_token["year"]) == ["[PAD]", "1999", "2000", "2001"]
        assert list(data.inter["year"]) == [1, 2, 1, 3, 0, 2]
        assert list(data.field2id_token["zero"]) == ["[PAD]", "0", "1", "0.5"]
        assert list(data.field2id_token["title"]) == ["[PAD]", "a", "film", "b"]
        assert list(data.field2id_token["huge"][1:]) == [str(2**62 + 1), str(2**62 + 2)]
        assert data.field2type["price"] == FeatureType.FLOAT
        assert list(data.raw["inter"]["price"][[0, 5]]) == [1.5, 5]

    def test_single_numbers_as_tokens(self, tmp_path):
        """0.1 in single precision is the token 0.1, as in a frame."""
        data = plain(tmp_path, x=pa.array([0.1, 0.1, 2.0, None, 0.3, 2.0], pa.float32()))(
            load_col={"inter": ["user_id", "item_id", "rating", "timestamp", "x:token"]}
        )
        assert list(data.field2id_token["x"]) == ["[PAD]", "0.1", "2", "0.3"]

    def test_labels_and_times_in_other_types(self, tmp_path):
        """As atomic files: truth values and texts are numbers where a number has to be."""
        moment = datetime.datetime(1970, 1, 1, 0, 1)
        columns = {
            "rating": pa.array([True, False, True, True, False, False]),
            "timestamp": pa.array([moment + datetime.timedelta(days=i) for i in range(6)]),
        }
        data = plain(tmp_path, **columns)(threshold=None, LABEL_FIELD="rating")
        assert list(data.inter["rating"]) == [1, 0, 1, 1, 0, 0]
        assert list(data.time[:2]) == [60, 60 + 86400]

    def test_only_what_is_asked_for_is_read(self, tmp_path, monkeypatch):
        make = plain(tmp_path, other=pa.array(range(6)), more=pa.array(list("abcdef")))
        asked, plain_reader = [], pq.ParquetFile.iter_batches

        def spy(self, *args, **kwargs):
            asked.append(kwargs["columns"])
            return plain_reader(self, *args, **kwargs)

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
        make(unload_col={"inter": ["other"]})
        make(load_col={"inter": ["user_id", "item_id", "rating"]})
        assert asked == [
            ["user_id", "item_id", "rating", "timestamp", "more"],
            ["user_id", "item_id", "rating"],
        ]

    def test_the_index_that_pandas_writes_is_left_out_and_said(self, tmp_path):
        frame = few().to_pandas().set_index(pd.Index([4, 7, 8, 9, 10, 12]))
        folder = tmp_path / "few"
        folder.mkdir()
        frame.to_parquet(folder / "few.inter.parquet")
        keys = {"data_path": str(tmp_path), "threshold": {"rating": 4}, "load_col": None}
        data = ColdStartDataset(make_config("Base", "few", overrides=keys))
        assert "__index_level_0__" not in data.field2type and "timestamp" in data.field2type
        assert any("the index that pandas wrote, is not read" in note for note in data.notes)


# ------------------------------------------------------------------------- files
class TestFiles:
    def test_ready_parts_are_written_in_their_form_and_read_again(
        self, tiny_path, load, tmp_path, capsys
    ):
        tables = {
            suffix: read(tiny_path / f"tiny.{suffix}")[0] for suffix in ("inter", "user", "item")
        }
        whole = load("parquet", **tables)
        words = ["check", "--dataset=mine", f"--data_path={tmp_path / 'parquet'}",
                 "--threshold={rating: 4}", "--cold_threshold=30", "--warm_size=3",
                 f"--write={tmp_path / 'ready'}"]  # fmt: skip
        assert main(words) == 0
        out = capsys.readouterr().out
        assert "read from mine.inter.parquet, mine.user.parquet, mine.item.parquet\n" in out
        written = sorted(path.name for path in (tmp_path / "ready" / "mine").iterdir())
        assert "mine.test.inter.parquet" in written and "mine.item.parquet" in written
        given = {"data_path": str(tmp_path / "ready"), "threshold": {"rating": 4}, "load_col": None,
                 "benchmark_filename": ["train", "warm_a", "warm_b", "warm_c", "test"]}  # fmt: skip
        parts = run_data(make_config("Base", "mine", overrides=given))
        for part, rows in whole.split.parts.items():
            ours, theirs = (
                [list(data.field2id_token[field][data.inter[field][at]])
                 for field in ("user_id", "item_id")]
                for data, at in ((whole, rows), (parts, parts.split.parts[part]))
            )  # fmt: skip
            assert ours == theirs

    def test_atomic_files_and_files_of_columns_side_by_side(self, tiny_path, tmp_path, tiny_keys):
        """One form per file is enough; both forms of one file are refused."""
        folder = tmp_path / "tiny"
        folder.mkdir()
        for suffix in ("inter", "user"):
            (folder / f"tiny.{suffix}").write_bytes((tiny_path / f"tiny.{suffix}").read_bytes())
        table, kinds = read(tiny_path / "tiny.item")
        names = [f"{name}:{kinds[name]}" for name in table.column_names]
        pq.write_table(table.rename_columns(names), folder / "tiny.item.parquet")
        keys = {**tiny_keys, "data_path": str(tmp_path)}
        assert_same(
            run_data(make_config("Base", "tiny", overrides=keys)),
            run_data(make_config("Base", "tiny", overrides=tiny_keys)),
        )
        (folder / "tiny.item").write_bytes((tiny_path / "tiny.item").read_bytes())
        with pytest.raises(UserError, match=r"tiny.item' and 'tiny.item.parquet' are both there"):
            run_data(make_config("Base", "tiny", overrides=keys))

    def test_other_content_is_read_anew(self, tmp_path):
        first = plain(tmp_path)()
        assert plain(tmp_path)().from_cache
        second = plain(tmp_path, rating=pa.array([5.0, 1, 1, 5, 5, 1]))()
        assert not second.from_cache and second.data_hash != first.data_hash


# ------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (pa.array([datetime.timedelta(1)] * 6), r"column 'x' of '.*inter.parquet' is of type dur"),
        (pa.array([b"a"] * 6), "is of type binary; make it texts"),
        (pa.array([None] * 6, pa.null()), "is of type null"),
        (pa.array([["a"], [None]] * 3), "has a list with a missing element"),
        (pa.array([[1.0], [float("inf")]] * 3), "a number that is not finite"),
        (pa.array([[1.0], [1.0, 2.0]] * 3), r"row 1 of '.*parquet' \(counted from 0\) has 2 numb"),
        (pa.array(["a", "NA"] * 3), "has the text 'NA', which a file reads as a missing value"),
        (pa.array([["a"], ["nan"]] * 3), "has the text 'nan', which a file reads as"),
        (pa.array(["a", "b\nc"] * 3), r"has a line break in 'b\\nc'"),
        (pa.array([1.0, float("inf")] * 3), r"row 1 of '.*parquet' \(counted from 0\) has inf"),
        (pa.array([datetime.datetime(1200, 1, 1)] * 6), "has a date before 1678 or after 2261"),
        (pa.array([[True]] * 6), "is of type list<.*bool>; make it texts"),
    ],
)
def test_columns_that_no_field_can_be(column, sentence, tmp_path):
    make = plain(tmp_path, x=column)
    with pytest.raises(UserError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "column", "sentence"),
    [
        ("x:token", pa.array([["a"]] * 6), "where one value is wanted"),
        ("x:token_seq", pa.array([1] * 6), "where a list is wanted"),
        ("x:float", pa.array(["a"] * 6), "holds what is no number"),
        ("x:token", pa.array([decimal.Decimal("1.5")] * 6), "holds a value of type Decimal"),
        ("x:number", pa.array([1] * 6), "the type 'number', which is none; use one of token"),
    ],
)
def test_kinds_that_a_column_cannot_be(said, column, sentence, tmp_path):
    make = plain(tmp_path, x=column)
    with pytest.raises(UserError, match=sentence):
        make(load_col={"inter": ["user_id", "item_id", "rating", "timestamp", said]})


def test_a_kind_that_the_file_contradicts(tiny_path, tiny_keys):
    with pytest.raises(UserError, match=r"'year' is float, but '.*' declares it as token"):
        run_data(
            make_config(
                "Base", "tiny", overrides={**tiny_keys, "load_col": {
                    "inter": ["user_id", "item_id", "rating", "timestamp"],
                    "item": ["item_id", "year:float"],
                }},
            )
        )  # fmt: skip


@pytest.mark.parametrize(("name", "sentence"), [
    ("x:number", "has the unknown type 'number'; use one of token"),
    ("user_id:token", "field 'user_id' occurs twice"),
    (":float", "has an empty name"),
    ('a"b', "has an empty name or one with a quotation mark"),
])  # fmt: skip
def test_names_that_no_field_has(name, sentence, tmp_path):
    make = plain(tmp_path, **{name: pa.array(list("abcdef"))})
    with pytest.raises(UserError, match=sentence):
        make()


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_files_that_are_no_such(form, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    path = folder / f"few.inter.{form}"
    keys = {"data_path": str(tmp_path), "threshold": {"rating": 4}, "load_col": None}
    whole = tmp_path / "whole"
    WRITE[form](few(), whole)
    for content in (b"user_id:token\tx\n", whole.read_bytes()[:-20], b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"it is no whole (parquet|Arrow) file: write it again"):
            ColdStartDataset(make_config("Base", "few", overrides=keys))
    WRITE[form](few().slice(0, 0), path)
    with pytest.raises(UserError, match="has no rows; check how it was written"):
        ColdStartDataset(make_config("Base", "few", overrides=keys))


def test_a_pyarrow_without_parquet(tmp_path, monkeypatch):
    make = plain(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match="is a parquet file, and the pyarrow that is installed"):
        make()


def test_rows_of_several_files_have_their_places(tmp_path):
    paths = [tmp_path / "a.inter.parquet", tmp_path / "b.inter.arrow", tmp_path / "c.inter"]
    WRITE["parquet"](few(), paths[0])
    WRITE["arrow"](few(), paths[1])
    paths[2].write_text("user_id:token\n\nx\n")
    assert place_of(paths, 5) == f"row 5 of '{paths[0]}' (counted from 0)"
    assert place_of(paths, 6) == f"row 0 of '{paths[1]}' (counted from 0)"
    assert place_of(paths, 12) == f"line 3 of '{paths[2]}'"
