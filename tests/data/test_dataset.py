"""Atomic files as typed columns: RecBole's ids, its filters, one sentence per fault, a cache."""

import os
import pickle
import re
import resource
import shutil
import time
import warnings

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.context_aware_recommender import FM
from recbole.utils import FeatureSource, FeatureType

from recbole_cold import compat
from recbole_cold.config import make_config
from recbole_cold.data import _cache
from recbole_cold.data._build import Build
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError

TOKENS = {FeatureType.TOKEN, FeatureType.TOKEN_SEQ}


class Keys(dict):
    """As much of a configuration as a data set reads."""

    def __missing__(self, key):
        return None


def keys(folder, name="tiny", **more):
    standard = {
        "dataset": name,
        "data_path": str(folder),
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "LABEL_FIELD": "label",
        "TIME_FIELD": "timestamp",
        "RATING_FIELD": "rating",
        "threshold": {"rating": 4},
    }
    return Keys({**standard, **more})


def load(folder, name="tiny", **more):
    return ColdStartDataset(keys(folder, name, **more))


@pytest.fixture
def files(tiny_path):
    """Rows of the tiny data set by suffix, to be spoilt by a test."""
    return {
        suffix: [
            line.split("\t") for line in (tiny_path / f"tiny.{suffix}").read_text().splitlines()
        ]
        for suffix in ("inter", "user", "item")
    }


@pytest.fixture
def written(files, write_atomic, tmp_path):
    """``written()`` writes ``files`` as they are by then and gives the folder."""
    return lambda **more: write_atomic(tmp_path / "spoilt", "tiny", **{**files, **more})


@pytest.fixture
def recbole_loads(monkeypatch):
    """RecBole's own loader on the same files and settings, before anything is normalised away."""

    class OwnConfig(Config):
        def compatibility_settings(self):
            compat.restore_numpy_names()

    def read(dataset, data_path=None, **more):
        settings = {"gpu_id": "", "load_col": None, "normalize_all": False, **more}
        if data_path is not None:
            settings["data_path"] = str(data_path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Dataset(OwnConfig(model=FM, dataset=dataset, config_dict=settings))

    monkeypatch.setattr("sys.argv", ["test"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return read


def assert_same_as_recbole(ours, theirs):
    """Every id, token and number of ``ours`` is that of RecBole's loader."""
    assert list(ours.field2type.items()) == list(theirs.field2type.items())
    assert ours.field2source == {f: FeatureSource(s) for f, s in theirs.field2source.items()}
    assert ours.field2seqlen == dict(theirs.field2seqlen)
    tokens = [field for field, kind in ours.field2type.items() if kind in TOKENS]
    for field in tokens:
        np.testing.assert_array_equal(ours.field2id_token[field], theirs.field2id_token[field])
        assert ours.field2token_id[field] == theirs.field2token_id[field]
    for field in ours.field2type:
        assert ours.num(field) == theirs.num(field)
    frames = (theirs.inter_feat, theirs.user_feat, theirs.item_feat)
    for columns, frame in zip((ours.inter, ours.user_table, ours.item_table), frames, strict=True):
        if frame is None:
            assert not columns
            continue
        ids = set() if columns is ours.inter else {ours.uid_field, ours.iid_field}
        assert set(columns) == set(frame.columns) - ids
        for field, column in columns.items():
            expected = frame[field].to_list()
            if column.ndim == 2:
                padded = np.zeros_like(column)
                for row, sequence in zip(padded, expected, strict=True):
                    row[: len(sequence)] = sequence
                expected = padded
            np.testing.assert_allclose(column, expected, rtol=1e-6)


class TestSameAsRecBole:
    def test_ml_100k(self, recbole_loads):
        """Ids of every token field and contents of every sequence, 100,000 rows."""
        config = make_config("Base", "ml-100k")
        theirs = recbole_loads("ml-100k", load_col=config["load_col"], threshold={"rating": 4})
        ours = ColdStartDataset(config)
        assert_same_as_recbole(ours, theirs)
        assert ours.token2id("user_id", "196") == 1 and ours.id2token("item_id", 1) == "242"

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"user_inter_num_interval": "[12,30]"},
            {"item_inter_num_interval": "[11,inf)", "user_inter_num_interval": "(10,inf)"},
            {"val_interval": {"rating": "[1,2];(3,5]", "device": ["phone", "tv"]}},
            {"val_interval": {"year": ["1991", "1995"]}},
            {"val_interval": {"price": "(0.1,inf)"}, "filter_inter_by_user_or_item": False},
            {"seq_len": {"title": 2}},
            {"normalize_all": True},
            {"normalize_field": ["income"]},
            {"unload_col": {"user": ["age"], "inter": ["device"]}},
            {"load_col": {"inter": ["user_id", "item_id", "rating"], "item": ["item_id", "year"]}},
        ],
        ids=str,
    )
    def test_settings(self, settings, tiny_path, recbole_loads):
        asked = {"threshold": {"rating": 4}, "filter_inter_by_user_or_item": True, **settings}
        theirs = recbole_loads("tiny", tiny_path.parent, **asked)
        ours = load(tiny_path, **asked)
        if asked.get("normalize_all"):
            ours.inter["timestamp"] = np.asarray(theirs.inter_feat["timestamp"])  # ours stays raw
        assert_same_as_recbole(ours, theirs)

    @pytest.mark.parametrize("keep_unlisted", [True, False])
    def test_gaps_quotes_and_repeats(self, keep_unlisted, files, written, recbole_loads, tmp_path):
        """Missing tokens and numbers, empty sequences, users listed twice or not at all."""
        del files["user"][3:9], files["item"][5:8]
        files["user"].insert(4, [files["user"][2][0], "99", "X", "0.5"])
        files["user"][6][1:] = ["NA", "", ""]
        files["item"][2][2:] = ["None", "", "nan"]
        files["item"][3][1] = '"the ""red"" night"'
        files["item"][4][1] = "the  last   road "
        files["inter"][7][4] = ""
        # In this order: RecBole 1.2 drops a wrong row when a missing user comes before an item.
        files["inter"][9][1] = "NULL"
        files["inter"][10][0] = ""
        folder = written()
        shutil.copytree(folder, tmp_path / "data" / "tiny")
        asked = {
            "threshold": {"rating": 4},
            "filter_inter_by_user_or_item": not keep_unlisted,
        }
        ours = load(folder, **asked)
        assert_same_as_recbole(ours, recbole_loads("tiny", tmp_path / "data", **asked))
        assert any("no user or no item" in note for note in ours.notes)

    def test_listed_without_a_row(self, files, written, recbole_loads):
        """Users and items that only the feature files name; a least number of rows drops them."""
        files["user"].insert(3, ["u99", "20", "X", "0.5"])
        files["item"].insert(3, ["i99", "unseen words", "1900", "", "0.5"])
        folder = written()
        folder = folder.rename(folder.parent / "tiny")
        for settings in ({}, {"user_inter_num_interval": "[1,inf)"}):
            asked = {"threshold": {"rating": 4}, **settings}
            ours = load(folder, **asked)
            assert_same_as_recbole(ours, recbole_loads("tiny", folder.parent, **asked))
            assert ("u99" in ours.field2token_id["user_id"]) == (not settings)
            assert "i99" in ours.field2token_id["item_id"]

    def test_ready_parts(self, files, written, recbole_loads):
        """``benchmark_filename``: one vocabulary over the parts, rows of each in order."""
        header, *rows = files.pop("inter")
        folder = written(train_inter=[header, *rows[:500]], test_inter=[header, *rows[500:]])
        folder = folder.rename(folder.parent / "tiny")
        asked = {"threshold": {"rating": 4}, "benchmark_filename": ["train", "test"]}
        ours = load(folder, **asked)
        assert_same_as_recbole(ours, recbole_loads("tiny", folder.parent, **asked))
        assert ours.parts["train"].tolist() == list(range(500))
        assert ours.parts["test"].tolist() == list(range(500, len(rows)))

    def test_a_backbone_is_built_from_it(self, tiny_keys):
        config = make_config("Base", "tiny", overrides=tiny_keys)
        data = ColdStartDataset(config)
        model = FM(config, data)
        assert model.token_field_names == [
            "user_id", "item_id", "device", "age", "gender", "year",
        ]  # fmt: skip
        assert model.token_seq_field_names == ["title", "genre"]
        logits = model.forward(data.join(data.inter_feat[torch.arange(5)]))
        assert logits.shape == (5,) and torch.isfinite(logits).all()


class TestColumns:
    def test_types(self, tiny_path):
        data = load(tiny_path)
        kinds = {field: column.dtype for field, column in data.inter.items()}
        assert kinds == {
            "user_id": np.int32, "item_id": np.int32, "device": np.int32,
            "timestamp": np.float64, "label": np.float32,
        }  # fmt: skip
        assert data.item_table["genre"].dtype == np.int32
        assert data.item_table["price"].dtype == data.user_table["income"].dtype == np.float32
        assert data.item_table["genre"].shape == (data.item_num, data.field2seqlen["genre"])

    def test_label_is_one_from_the_threshold_on(self, tiny_path, files):
        ratings = np.array([float(row[2]) for row in files["inter"][1:]])
        np.testing.assert_array_equal(load(tiny_path).inter["label"], ratings >= 4)

    def test_label_column_needs_no_threshold(self, files, written):
        files["inter"][0][2] = "label:float"
        for row in files["inter"][1:]:
            row[2] = str(int(float(row[2]) > 2))
        data = load(written(), threshold=None)
        assert data.inter["label"].tolist() == [float(row[2]) for row in files["inter"][1:]]

    def test_float_sequences_of_one_length_are_vectors(self, files, written):
        files["user"][0].append("taste:float_seq")
        for n, row in enumerate(files["user"][1:]):
            row.append("0.5 0.25" if n % 4 else "")
        data = load(written())
        assert data.user_table["taste"].shape == (data.user_num, 2)
        n = data.token2id("user_id", files["user"][3][0])
        assert data.user_table["taste"][n].tolist() == [0.5, 0.25]
        assert data.num("taste") == data.field2seqlen["taste"] == 2

    def test_rm_dup_inter_keeps_the_first_or_the_last_in_time(self, write_atomic, tmp_path):
        inter = [
            ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
            *[["a", "x", 1, 30], ["a", "x", 5, 10], ["b", "x", 5, 20], ["a", "x", 3, 20]],
        ]
        folder = write_atomic(tmp_path, "tiny", inter=inter)
        assert load(folder, rm_dup_inter="first").inter["timestamp"].tolist() == [10, 20]
        assert load(folder, rm_dup_inter="last").inter["timestamp"].tolist() == [20, 30]
        assert "2 interactions repeat" in " ".join(load(folder).notes)
        assert "removed 2 repeated" in " ".join(load(folder, rm_dup_inter="last").notes)

    def test_use_timestamp_scales_the_input_and_keeps_the_time(self, tiny_path):
        config = keys(tiny_path, use_timestamp=True, numerical_features=["price"])
        data, plain = ColdStartDataset(config), load(tiny_path)
        np.testing.assert_array_equal(data.time, plain.inter["timestamp"])
        low, high = data.time.min(), data.time.max()
        np.testing.assert_allclose(data.inter["timestamp"], (data.time - low) / (high - low))
        assert data.numbers == ["price", "timestamp"]
        assert config["numerical_features"] == ["price"]
        assert data.num("timestamp") == 2

    @pytest.mark.parametrize(("side", "source"), [("item", "item"), ("user", "user")])
    def test_use_count_adds_a_number_to_fill_on_the_cold_side(self, side, source, tiny_path):
        config = keys(tiny_path, use_count=True, cold_side=side, COUNT_FIELD="popularity")
        data = ColdStartDataset(config)
        table = data.item_table if side == "item" else data.user_table
        assert not table["popularity"].any()
        assert table["popularity"].shape == (data.num(f"{side}_id"),)
        table["popularity"][1] = 3
        assert data.field2source["popularity"] == FeatureSource(source)
        assert data.numbers == ["popularity"] and data.num("popularity") == 2

    def test_pickles(self, tiny_path):
        """Sweeps ship data sets to other processes."""
        data = load(tiny_path)
        again = pickle.loads(pickle.dumps(data))
        np.testing.assert_array_equal(again.inter["item_id"], data.inter["item_id"])
        assert again.field2token_id["item_id"] == data.field2token_id["item_id"]


class TestNotes:
    def test_nothing_to_tell(self, tiny_path):
        assert load(tiny_path).notes == []

    def test_features_missing_for_some(self, files, written):
        gone = [row[0] for row in files["item"][3:6]]
        price = float(files["item"][1][4])
        del files["item"][2:]
        data = load(written())
        lost = data.token2id("item_id", gone)
        assert not data.item_table["year"][lost].any()
        np.testing.assert_allclose(data.item_table["price"], price)
        assert "39 of 40 items have no row" in " ".join(data.notes)

    def test_no_side_information(self, files, written):
        del files["item"], files["user"]
        told = " ".join(load(written()).notes)
        assert "no item features" in told and "no user features" in told

    def test_no_time(self, files, written):
        files["inter"] = [row[:3] for row in files["inter"]]
        data = load(written())
        assert data.time is None and "seeded permutation" in " ".join(data.notes)

    def test_one_class(self, tiny_path):
        for least, label in ((0, 1), (99, 0)):
            sentence = rf"threshold {{rating:{least}}} makes all labels {label}: 'rating' reaches"
            with pytest.raises(UserError, match=sentence):
                load(tiny_path, threshold={"rating": least})


def spoil_header(rows):
    rows[0][2] = "rating"


def spoil_type(rows):
    rows[0][2] = "rating:number"


def spoil_twice(rows):
    rows[0][3] = "rating:float"


def spoil_short(rows):
    rows[700].pop()


def spoil_long(rows):
    rows[700].append("x")


def spoil_number(rows):
    rows[33][2] = "five"


def spoil_rating(rows):
    rows[33][2] = ""


def spoil_time(rows):
    rows[12][3] = "nan"


def spoil_no_rows(rows):
    del rows[1:]


def spoil_no_item(rows):
    rows[0][1] = "product:token"


def spoil_id_type(rows):
    rows[0][1] = "item_id:float"
    for row in rows[1:]:
        row[1] = row[1].removeprefix("i")


class TestFaults:
    """Each fault is one sentence that names the place and what to do."""

    @pytest.mark.parametrize(
        ("spoil", "sentence"),
        [
            (spoil_header, r"tiny.inter' has the column 'rating', .*field:type"),
            (spoil_type, r"field 'rating' .*tiny.inter' has the unknown type 'number'"),
            (spoil_twice, r"'rating' occurs twice"),
            (spoil_short, r"line 701 of '.*tiny.inter' has 4 columns but the header has 5"),
            (spoil_long, r"line 701 of '.*tiny.inter' has 6 columns but the header has 5"),
            (spoil_number, r"line 34 of '.*tiny.inter' has 'five' in the float field 'rating'"),
            (spoil_rating, r"1 interactions have no 'rating', the first in line 34 of '.*inter'"),
            (spoil_time, r"have no 'timestamp', the first in line 13 "),
            (spoil_no_rows, r"tiny.inter' has a header but no rows"),
            (spoil_no_item, r"id field 'item_id' is not loaded"),
            (spoil_id_type, r"'item_id' .* must be declared as token"),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_interactions(self, spoil, sentence, files, written):
        spoil(files["inter"])
        self.refuses(sentence, written())

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"threshold": None}, r"no threshold and the label 'label' is not in '.*inter'"),
            ({"threshold": None, "LABEL_FIELD": "rating"}, r"label 'rating' .* has the value \d"),
            ({"threshold": {"stars": 4}}, r"field of threshold 'stars' is not in"),
            ({"threshold": {"rating": 4, "device": 1}}, r"must name exactly one field"),
            ({"threshold": {"device": 1}}, r"'device' gives the label and must be .*float"),
            ({"load_col": {"inter": ["user_id", "item_id"]}}, r"'rating' is not loaded"),
            ({"load_col": {"inter": "*", "item": ["item_id", "yaer"]}}, r"did you mean 'year'"),
            ({"load_col": {"inter": "*", "item": ["year"]}}, r"id field 'item_id' is not loaded"),
            ({"val_interval": {"price": "0-1"}}, r"'0-1', which is not an interval"),
            ({"val_interval": {"prise": "[0,1]"}}, r"'prise', which is not .*mean 'price'"),
            ({"unload_col": {"user": ["aged"]}}, r"unload_col names .*'aged', .*mean 'age'\?"),
            ({"unload_col": {"usr": ["age"]}}, r"names the file '.usr'; did you mean 'user'\?"),
            ({"normalize_field": ["incom"]}, r"'incom', .*float field.*mean 'income'\?"),
            ({"normalize_field": ["gender"]}, r"'gender', which is no float field"),
            ({"seq_len": {"titel": 2}}, r"'titel', which is no sequence .*mean 'title'\?"),
            ({"seq_len": {"age": 2}}, r"'age', which is no sequence field"),
            ({"user_inter_num_interval": "[500,inf)"}, r"no interaction of .* is left"),
            ({"rm_dup_inter": "both"}, r"rm_dup_inter is 'both'; use 'first' or 'last'"),
            ({"preload_weight": {"a": "b"}}, r"preload_weight is set, but .* not support"),
            (
                {"field_separator": ","},
                r"not of the form field:type; .*set field_separator to that",
            ),
            ({"numerical_features": ["year"]}, r"'year', which is not a loaded float field"),
            ({"numerical_features": ["cost"]}, r"'cost', which is not a loaded float field"),
            ({"use_count": True, "COUNT_FIELD": "year"}, r"already has a field 'year'"),
            ({"benchmark_filename": ["train"]}, r"tiny.train.inter' does not exist"),
        ],
        ids=str,
    )
    def test_settings(self, settings, sentence, tiny_path):
        self.refuses(sentence, tiny_path, **settings)

    def test_missing_files(self, files, written, tmp_path):
        self.refuses(r"the folder '.*nowhere' .* does not exist", tmp_path / "nowhere")
        del files["item"]
        folder = written()
        self.refuses(
            r"load_col asks for item features, but '.*tiny.item' does not exist",
            folder,
            load_col={"inter": "*", "item": ["item_id", "year"]},
        )
        (folder / "tiny.inter").unlink()
        self.refuses(r"tiny.inter' does not exist", folder)

    def test_open_quotation_mark(self, files, written):
        files["item"][3][1] = '"Foo'
        self.refuses(r"line 4 of '.*tiny.item' opens a quotation mark", written())

    def test_field_in_two_files(self, files, written):
        files["item"][0][2] = "device:token"
        self.refuses(r"'device' of '.*tiny.item' is in another atomic file too", written())

    def test_use_timestamp_without_time(self, files, written):
        files["inter"] = [row[:3] for row in files["inter"]]
        self.refuses(r"use_timestamp is set, but .* no field 'timestamp'", written(),
                     use_timestamp=True)  # fmt: skip

    def test_other_encoding(self, files, written):
        files["item"][4][2] = "é"
        folder = written()
        text = (folder / "tiny.item").read_text(encoding="utf-8")
        (folder / "tiny.item").write_bytes(text.encode("latin-1"))
        self.refuses(r"tiny.item' is not written in utf-8", folder)
        assert "é" in load(folder, encoding="latin-1").field2id_token["year"]

    @staticmethod
    def refuses(sentence, folder, **settings):
        with pytest.raises(UserError, match=sentence) as error:
            load(folder, **settings)
        assert "\n" not in str(error.value)


class TestCache:
    @pytest.fixture
    def cached(self, tiny_path, tmp_path):
        """Settings with a cache of their own that holds the tiny data set."""
        settings = {"folder": tiny_path, "cache_dir": str(tmp_path / "cache")}
        assert not load(**settings).from_cache
        return settings

    @staticmethod
    def stored(cached):
        (folder,) = (
            p for p in (_cache.cache_root(cached["cache_dir"]) / "data").iterdir()
            if p.name != "index"
        )  # fmt: skip
        return folder

    def test_gives_what_was_read(self, cached, tiny_path, tmp_path):
        fresh = load(tiny_path, cache_dir=str(tmp_path / "other"))
        again = load(**cached)
        assert again.from_cache and not fresh.from_cache
        assert again.data_hash == fresh.data_hash and again.notes == fresh.notes
        assert again.field2type == fresh.field2type and again.field2seqlen == fresh.field2seqlen
        for table in ("inter", "user_table", "item_table", "field2id_token"):
            ours, theirs = getattr(again, table), getattr(fresh, table)
            assert list(ours) == list(theirs)
            for field in ours:
                np.testing.assert_array_equal(ours[field], theirs[field])
                assert np.asarray(ours[field]).dtype == np.asarray(theirs[field]).dtype

    @pytest.mark.parametrize("file", ["000.npy", "007.npy", "meta.json"])
    @pytest.mark.parametrize("harm", ["flip", "truncate", "delete"])
    def test_damage_is_noticed_said_and_mended(self, file, harm, cached, caplog):
        path = self.stored(cached) / file
        content = bytearray(path.read_bytes())
        if harm == "delete":
            path.unlink()
        elif harm == "truncate":
            path.write_bytes(content[:-3])
        else:
            content[-5] ^= 4
            path.write_bytes(content)
        expected = load(cached["folder"]).inter["item_id"]
        data = load(**cached)
        assert not data.from_cache and "is damaged" in caplog.text
        np.testing.assert_array_equal(data.inter["item_id"], expected)
        assert load(**cached).from_cache
        assert not [p for p in self.stored(cached).parent.iterdir() if p.name.startswith(".")]

    def test_every_setting_of_the_columns_is_in_the_key(self, cached):
        first = load(**cached)
        other = load(**cached, threshold={"rating": 3})
        assert not other.from_cache and other.data_hash != first.data_hash

    def test_inputs_that_the_configuration_adds_are_not(self, cached):
        assert load(**cached, use_count=True, use_timestamp=True).from_cache
        assert "count" not in load(**cached).item_table
        assert load(**cached).inter["timestamp"].max() > 1

    @pytest.mark.parametrize("settled", [True, False])
    def test_changed_content_is_read_anew(self, settled, files, written, tmp_path, monkeypatch):
        """Also a change of equal length within the time stamp's resolution."""
        monkeypatch.setattr(_cache, "SETTLED_NS", -1 if settled else 10**18)
        folder, settings = written(), {"cache_dir": str(tmp_path / "cache")}
        before = os.stat(folder / "tiny.inter").st_mtime_ns
        first = load(folder, **settings)
        assert load(folder, **settings).data_hash == first.data_hash
        if settled:
            time.sleep(0.02)
        text = (folder / "tiny.inter").read_text().replace("\tphone\n", "\tp_one\n")
        (folder / "tiny.inter").write_text(text)
        if not settled:
            os.utime(folder / "tiny.inter", ns=(before, before))
        second = load(folder, **settings)
        assert not second.from_cache and second.data_hash != first.data_hash
        assert "p_one" in second.field2token_id["device"]

    def test_unchanged_files_are_not_hashed_again(self, written, tmp_path, monkeypatch):
        monkeypatch.setattr(_cache, "SETTLED_NS", -1)
        folder, settings = written(), {"cache_dir": str(tmp_path / "cache")}
        load(folder, **settings)
        index = list((tmp_path / "cache" / "data" / "index").iterdir())
        assert len(index) == 3
        written_at = [path.stat().st_mtime_ns for path in index]
        assert load(folder, **settings).from_cache
        assert [path.stat().st_mtime_ns for path in index] == written_at

    def test_damaged_index_is_ignored(self, written, tmp_path, monkeypatch):
        monkeypatch.setattr(_cache, "SETTLED_NS", -1)
        folder, settings = written(), {"cache_dir": str(tmp_path / "cache")}
        first = load(folder, **settings)
        for path in (tmp_path / "cache" / "data" / "index").iterdir():
            path.write_bytes(path.read_bytes().replace(b'"sha256": "', b'"sha256": "0', 1))
        again = load(folder, **settings)
        assert again.from_cache and again.data_hash == first.data_hash

    def test_folder_that_cannot_be_written_is_said_once(self, tiny_path, tmp_path, caplog):
        (tmp_path / "file").write_text("in the way")
        settings = {"folder": tiny_path, "cache_dir": str(tmp_path / "file")}
        data = load(**settings)
        assert data.n_rows and not load(**settings).from_cache
        assert any("nothing is cached" in note for note in data.notes)
        assert caplog.text.count("nothing is cached") == 1

    def test_disk_that_fills_in_the_midst_leaves_nothing_half_written(self, tiny_path, tmp_path):
        """The system refuses the write of a column after others; a limit of file sizes stands for a
        full disk, for both are errors of a write."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        data = load(tiny_path)
        sizes = sorted(column.nbytes for column in data.inter.values())
        resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[-1] - 1, hard))
        try:
            data = load(tiny_path, cache_dir=str(tmp_path / "cache"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "nothing is cached" in " ".join(data.notes) and not data.from_cache
        assert [p.name for p in (tmp_path / "cache" / "data").glob("*") if p.name != "index"] == []
        assert not load(tiny_path, cache_dir=str(tmp_path / "cache")).from_cache

    def test_full_disk_leaves_nothing_half_written(self, tiny_path, tmp_path, monkeypatch):
        def full(self, payload):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(_cache._Checked, "write", full)
        data = load(tiny_path, cache_dir=str(tmp_path / "cache"))
        assert "No space left on device" in " ".join(data.notes)
        assert [p.name for p in (tmp_path / "cache" / "data").glob("*") if p.name != "index"] == []


class TestWhileItIsRead:
    """Files that somebody still writes, and a disk that has no room for what is parsed."""

    @pytest.fixture
    def during(self, written, monkeypatch, tmp_path):
        """``during(change)``: the folder and settings of a load in whose midst that happens."""

        def prepare(change, suffix="inter"):
            folder, columns = written(), Build.columns

            def meanwhile(self):
                change(folder / f"tiny.{suffix}")
                return columns(self)

            monkeypatch.setattr(Build, "columns", meanwhile)
            return folder, {"cache_dir": str(tmp_path / "cache")}

        return prepare

    @pytest.mark.parametrize("suffix", ["inter", "user", "item"])
    @pytest.mark.parametrize("more", ["u1\ti1\t5\t99\tphone\n", "u1\ti"])
    def test_a_file_that_grows(self, more, suffix, during, tmp_path):
        """By a whole line or by half of one, which alone would be called a fault of the line."""
        folder, settings = during(lambda path: path.write_text(path.read_text() + more), suffix)
        size = (folder / f"tiny.{suffix}").stat().st_size
        told = f"tiny.{suffix}' changed while it was read (from {size:,} to {size + len(more):,} "
        with pytest.raises(UserError, match=re.escape(told)) as error:
            load(folder, **settings)
        assert "wait until it is whole, and start again" in str(error.value)
        assert [p.name for p in (tmp_path / "cache" / "data").glob("*") if p.name != "index"] == []

    def test_a_file_that_is_moved_away(self, during, tmp_path):
        folder, settings = during(lambda path: path.rename(tmp_path / "elsewhere"), "user")
        with pytest.raises(UserError, match=r"tiny.user' was removed while it was read; put it"):
            load(folder, **settings)

    def test_a_fault_of_a_file_that_stays_is_told_as_ever(self, files, written):
        files["inter"][3] = files["inter"][3][:-1]
        with pytest.raises(UserError, match=r"line 4 of .* has 4 columns"):
            load(written())

    def test_a_disk_without_room_is_not_filled(self, tiny_path, tmp_path, monkeypatch, caplog):
        """What is needed and what is free is said; not one file is begun."""
        used = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: used._replace(free=2_000))
        monkeypatch.setattr(_cache, "_Checked", None)
        root = tmp_path / "cache"
        data = load(tiny_path, cache_dir=str(root))
        told = r"\(No space left on device: [\d.]+ kB are needed, 2.0 kB free\)"
        assert any(re.search(told, note) for note in data.notes)
        assert "make room with `recbole-cold cache --prune`, or set cache_dir" in caplog.text
        assert [p.name for p in (root / "data").glob("*") if p.name != "index"] == []


def test_through_our_configuration(tiny_keys):
    data = ColdStartDataset(make_config("Base", "tiny", overrides=tiny_keys))
    assert data.item_num == 41 and data.user_num == 61 and len(data) == data.inter_num
    assert "61" in re.sub(r"\x1b\[[0-9;]*m", "", str(data))


@pytest.mark.data
def test_movielens_1m_loads_fast(ml1m_path, tmp_path):
    """Seconds of processor time: first from the files, then from the cache."""
    config = {"data_path": str(ml1m_path.parent), "cache_dir": str(tmp_path)}
    spent = []
    for _ in range(2):
        settings = make_config("Base", "ml-1m", overrides=config)
        start = time.process_time()
        data = ColdStartDataset(settings)
        spent.append(time.process_time() - start)
    assert data.from_cache and data.n_rows == 1_000_209
    assert spent[0] < 10 and spent[1] < 1
