"""Content vectors: from cells, .npy and .npz to matrices by code, and their scale."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_cold import from_frames, report
from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.data._cache import cache_root
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.rows import Rows
from recbole_cold.errors import UserError
from recbole_cold.experiment.data_store import DataStore, run_data

ITEMS = ["i3", "i1", "i4", "i0", "i2"]  # as .item lists them
MATRIX = np.arange(20, dtype=np.float32).reshape(5, 4) + 1


def interactions(n=30):
    rows = [["user_id:token", "item_id:token", "label:float", "timestamp:float"]]
    return rows + [[f"u{k % 3}", f"i{k % 6}", str(k % 2), str(k)] for k in range(n)]


@pytest.fixture
def load(write_atomic, tmp_path):
    """``load(item=rows, npy=..., **keys)``: a small data set, with files of vectors beside it."""

    def make(item=None, npy=None, npz=None, inter=None, **keys):
        folder = tmp_path / "small"
        shutil.rmtree(folder, ignore_errors=True)
        files = {"inter": inter or interactions()} | ({"item": item} if item else {})
        write_atomic(folder, "small", **files)
        if npy is not None:
            np.save(folder / "emb.npy", npy)
            keys = {"vector_fields": {"item": {"emb": "emb.npy"}}, **keys}
        if npz is not None:
            np.savez(folder / "emb.npz", **npz)
            keys = {"vector_fields": {"item": {"emb": "emb.npz"}}, **keys}
        shared = {"load_col": None, "filter_inter_by_user_or_item": False}
        keys = {"data_path": str(folder.parent), **shared, **keys}
        return ColdStartDataset(make_config("Base", "small", overrides=keys))

    return make


def items(*cells, field="emb:float_seq"):
    rows = [["item_id:token", "kind:token", *([field] if cells else [])]]
    return rows + [[item, "a", *cells[n : n + 1]] for n, item in enumerate(ITEMS)]


def of(data, token):
    return data.item_table["emb"][data.token2id("item_id", token)].tolist()


def noted(data, text):
    return [note for note in data.notes if text in note]


class TestCells:
    def test_one_vector_per_row_zeros_where_it_is_missing(self, load):
        data = load(items("1 2", "", "3 4", "5 6", "7 8"))
        assert data.item_table["emb"].dtype == np.float32
        assert [of(data, t) for t in ("i3", "i1", "i4", "i5")] == [[1, 2], [0, 0], [3, 4], [0, 0]]
        assert data.field2seqlen["emb"] == data.num("emb") == 2
        # i1 has an empty cell, i5 no row in .item.
        assert noted(data, "2 of 6 items have no vector 'emb'")

    def test_another_width_is_one_sentence(self, load):
        cells = items("1 2 3", "1 2 3", "", "3 4", "5 6 7")
        with pytest.raises(
            UserError, match=r"line 5 of .* has 2 numbers .* 3 rows have 3; .*seq_len"
        ):
            load(cells)
        assert of(load(cells, seq_len={"emb": 2}), "i3") == [1, 2]
        assert "emb" not in load(cells, unload_col={"item": ["emb"]}).item_table

    @pytest.mark.parametrize("value", ["nan", "inf", "1e39"])
    def test_what_is_no_number_is_named_with_its_line(self, load, value):
        with pytest.raises(UserError, match=r"line 4 of .*small\.item' has .* in the field 'emb'"):
            load(items("1 2", "3 4", f"5 {value}", "3 4", "5 6"))

    def test_no_vector_at_all(self, load):
        with pytest.raises(UserError, match=r"'emb' .* has no value at all"):
            load(items("", "", "", "", ""))

    def test_numerical_features_may_name_it(self, load):
        cells = items("1 2", "", "3 4", "5 6", "7 8")
        named, plain = load(cells, numerical_features=["emb"]), load(cells)
        assert named.numbers == plain.numbers == [] and named.num("emb") == 2

    def test_scaling_of_numbers_leaves_it(self, load):
        cells = items("1 2", "", "3 4", "5 6", "7 8")
        assert of(load(cells, normalize_all=True), "i4") == [3, 4]


class TestRowsOfAFile:
    def test_row_i_is_the_i_th_row_of_the_table(self, load):
        data = load(items(), npy=MATRIX)
        for row, token in enumerate(ITEMS):
            assert of(data, token) == MATRIX[row].tolist()
        turned = items()[:1] + items()[:0:-1]
        again = load(turned, npy=MATRIX[::-1])
        np.testing.assert_array_equal(again.item_table["emb"], data.item_table["emb"])

    def test_filters_and_repeated_rows_do_not_shift_it(self, load):
        listed = items()
        listed[2][1] = "b"  # i1 goes
        listed.insert(2, ["i3", "a"])  # i3 again: the first row counts
        matrix = np.insert(MATRIX, 1, 99.0, axis=0)
        data = load(listed, npy=matrix, val_interval={"kind": ["a"]})
        assert of(data, "i3") == MATRIX[0].tolist() and of(data, "i1") == [0] * 4
        assert of(data, "i4") == MATRIX[2].tolist() and of(data, "i2") == MATRIX[4].tolist()

    def test_half_precision_stays_and_is_mapped(self, load, monkeypatch):
        for _ in range(2):  # as made, and from the cache
            data = load(items(), npy=MATRIX.astype(np.float16))
            column = data.item_table["emb"]
            assert column.dtype == np.float16 and not column.flags.writeable
            assert of(data, "i4") == MATRIX[2].tolist()
            kept = Rows(data, "cpu").vectors["emb"].values
            assert kept.dtype == torch.float16 and kept.data_ptr() == column.ctypes.data
        assert data.from_cache

    def test_content_is_part_of_the_hash_and_the_name_is_not(self, load):
        one, same = load(items(), npy=MATRIX), load(items(), npy=MATRIX)
        assert one.data_hash == same.data_hash
        assert load(items(), npy=MATRIX + 1).data_hash != one.data_hash
        assert load(items(), npy=MATRIX[::-1].copy()).data_hash != one.data_hash

    def test_an_exchanged_file_is_read_anew_by_the_store(self, load, tmp_path):
        store = DataStore()
        inter = [*interactions(), *(["u0", "i0", "1", str(30 + k)] for k in range(9))]
        data = load(items(), npy=MATRIX, inter=inter)
        keys = {"data_path": str(tmp_path), "load_col": None, "cold_threshold": 6, "warm_size": 1,
                "vector_fields": {"item": {"emb": "emb.npy"}}}  # fmt: skip

        def first():
            config = make_config("Base", "small", overrides=keys)
            return of(store.data(config), "i3")

        assert first() == MATRIX[0].tolist()
        np.save(tmp_path / "small" / "emb.npy", np.c_[MATRIX, MATRIX])
        assert len(first()) == 2 * data.num("emb")

    def test_a_number_that_is_none_is_named_with_its_row(self, load):
        odd = MATRIX.copy()
        odd[3, 1] = np.inf
        with pytest.raises(UserError, match=r"row 3 of '.*emb\.npy' .* holds nan or inf"):
            load(items(), npy=odd)

    @pytest.mark.parametrize(
        ("matrix", "why"),
        [
            (MATRIX[:4], "has 4 vectors, but '.item' has 5 rows"),
            (MATRIX[0], r"shape \[4\]"),
            (MATRIX.astype(np.float64), "holds float64; save .* float32"),
            (MATRIX.astype(np.int32), "holds int32"),
            (np.array([["a"]] * 5, dtype=object), "cannot read"),
        ],
    )
    def test_refused(self, load, matrix, why):
        with pytest.raises(UserError, match=why):
            load(items(), npy=matrix)

    def test_refused_without_its_table(self, load):
        with pytest.raises(UserError, match=r"belong to the rows of '\.item', which is not there"):
            load(npy=MATRIX)

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"thing": {"emb": "emb.npy"}}, "the side 'thing'"),
            ({"item": {"emb": "gone.npy"}}, "does not exist; relative paths"),
            ({"item": {"emb": "emb.csv"}}, "neither .npy nor .npz"),
            ({"item": {"label": "emb.npy"}}, "names the label 'label'"),
            ({"item": {"kind": "emb.npy"}}, "'kind', which the data set has already"),
            ({"user": {"emb": "emb.npy"}}, r"'\.user', which is not there"),
        ],
    )
    def test_fields_that_cannot_be(self, load, fields, why):
        with pytest.raises(UserError, match=why):
            load(items(), npy=MATRIX, vector_fields=fields)

    def test_it_is_not_cut(self, load):
        with pytest.raises(UserError, match="seq_len names the field 'emb', whose vectors"):
            load(items(), npy=MATRIX, seq_len={"emb": 2})

    def test_of_interactions(self, load, tmp_path):
        inter = interactions()
        inter[4][0] = ""  # row 3 goes
        matrix = np.arange(60, dtype=np.float32).reshape(30, 2)
        np.save(tmp_path / "rows.npy", matrix)
        data = load(inter=inter, vector_fields={"inter": {"ctx": str(tmp_path / "rows.npy")}})
        kept = np.delete(matrix, 3, axis=0)
        np.testing.assert_array_equal(data.inter["ctx"], kept)
        rows = Rows(data, "cpu")
        batch = rows.batch(torch.tensor([5, 0, 2]))
        # Row 0 is a vector of (0, 1); only zeros throughout are missing.
        assert batch["ctx"].tolist() == [[6], [1], [3]]
        assert torch.equal(rows.gather("ctx", batch), torch.from_numpy(kept[[5, 0, 2]]))


class TestNamed:
    def test_ids_say_whose_it_is(self, load):
        data = load(items(), npy=MATRIX)
        order = [4, 2, 0, 3, 1]
        named = {"ids": np.array(ITEMS)[order], "vectors": MATRIX[order]}
        again = load(items(), npz=named)
        np.testing.assert_array_equal(again.item_table["emb"], data.item_table["emb"])
        # Without any .item, too: the field is the only side information.
        alone = load(npz=named)
        assert [of(alone, token) for token in ITEMS] == MATRIX.tolist()
        assert not noted(alone, "no item features") and noted(alone, "no user features")

    def test_unknown_ids_are_counted_and_missing_ones_too(self, load):
        named = {"ids": np.array(["i1", "x", "y"]), "vectors": MATRIX[:3]}
        data = load(items(), npz=named)
        assert noted(data, "2 of 3 ids of 'emb.npz' are unknown to the data")
        assert noted(data, "5 of 6 items have no vector 'emb'")
        assert of(data, "i1") == MATRIX[0].tolist()

    @pytest.mark.parametrize(
        ("named", "why"),
        [
            ({"ids": np.array(["x", "y"]), "vectors": MATRIX[:2]}, "look like 'x' there"),
            ({"ids": np.array(["i1", "i1"]), "vectors": MATRIX[:2]}, "'i1' 2 times"),
            ({"ids": np.array(["i1"]), "vectors": MATRIX}, r"ids of shape \[1\] for 5"),
            ({"vectors": MATRIX}, "has no array 'ids'"),
            ({"ids": np.array(["i1"], dtype=object), "vectors": MATRIX[:1]}, "save ids as texts"),
            ({"ids": np.array([1.5]), "vectors": MATRIX[:1]}, "no texts or whole numbers"),
            ({"ids": np.array(["i1"]), "vectors": MATRIX[:1] * np.nan}, "row 0 of .* nan"),
        ],
    )
    def test_refused(self, load, named, why):
        with pytest.raises(UserError, match=why):
            load(items(), npz=named)

    @pytest.mark.parametrize("kind", [np.int64, np.float64, "S"])
    def test_whole_numbers_and_bytes_are_texts(self, load, kind):
        inter = [[*row[:1], row[1].replace("i", ""), *row[2:]] for row in interactions()]
        inter[0] = interactions()[0]
        ids = np.array([3, 1]).astype(str).astype(kind)
        data = load(inter=inter, npz={"ids": ids, "vectors": MATRIX[:2]})
        assert of(data, "3") == MATRIX[0].tolist() and of(data, "1") == MATRIX[1].tolist()


class TestScale:
    @pytest.fixture
    def data(self, vectors_path):
        keys = {"data_path": str(vectors_path.parent), "threshold": {"rating": 4},
                "cold_threshold": 30, "warm_size": 3, "device": "cpu"}  # fmt: skip
        return run_data(make_config("Base", "vec", overrides=keys))

    def again(self, data, field, change):
        """The same split, with other vectors."""
        other = data.view()
        table = "item_table" if field == "emb" else "user_table"
        setattr(other, table, {**getattr(data, table)})
        matrix = np.array(getattr(data, table)[field])
        getattr(other, table)[field] = change(matrix)
        return other.view(rows=Rows(other, "cpu")).rows.scaled_vectors(other)[field]

    @pytest.mark.parametrize("field", ["emb", "taste"])
    def test_seen_vectors_have_mean_zero_and_size_one(self, data, field):
        scaled = data.rows.scaled_vectors(data)[field]
        id_field = "item_id" if field == "emb" else "user_id"
        table = data.item_table if field == "emb" else data.user_table
        seen = np.unique(data.inter[id_field][data.split["train"]])
        seen = seen[table[field][seen].any(axis=1)]
        raw = table[field][seen].astype(np.float64)
        centred = raw - raw.mean(axis=0)
        wanted = centred / np.sqrt((centred**2).mean())
        found = scaled(torch.from_numpy(seen))
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)
        assert len(seen) < len(np.unique(data.inter[id_field]))

    def test_missing_vectors_are_zeros(self, data):
        scaled = data.rows.scaled_vectors(data)["emb"]
        codes = data.rows.item_features["emb"]
        lacking = (codes[:, 0] == 0).nonzero()[1:, 0]
        assert len(lacking) and not scaled(codes[lacking]).any() and not scaled(codes[:1]).any()
        assert scaled(codes).shape == (data.item_num, 1, 6)

    def test_neither_unit_nor_offset_matters(self, data):
        plain = data.rows.scaled_vectors(data)["emb"]
        code = data.rows.item_features["emb"][:, 0]

        def moved(matrix):
            there = matrix.any(axis=1)
            matrix[there] = 1000.0 * matrix[there] + 7.0
            return matrix

        other = self.again(data, "emb", moved)
        torch.testing.assert_close(other(code), plain(code), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.principal(3), plain.principal(3), atol=1e-4, rtol=1e-4)

    def test_new_and_missing_items_do_not_move_it(self, data):
        plain = data.rows.scaled_vectors(data)["emb"]

        def changed(matrix):
            matrix[np.asarray(data.split.new_ids)] *= 50.0
            return matrix

        other = self.again(data, "emb", changed)
        assert torch.equal(other.mean, plain.mean) and other.factor == plain.factor
        assert torch.equal(other.principal(4), plain.principal(4))

    def test_the_projection_keeps_most_of_the_seen_vectors(self, data):
        scaled = data.rows.scaled_vectors(data)["emb"]
        x = scaled(scaled._seen).double()
        for size in (2, 6, 8):
            p = scaled.principal(size).double()
            image = x @ p
            assert p.shape == (6, size)
            assert image.square().mean().sqrt().item() == pytest.approx(1.0, rel=1e-4)
            cross = image.T @ image / len(image)
            assert (cross - cross.diag().diag()).abs().max() < 1e-4
            best = torch.linalg.svdvals(x)[:size].square().sum()
            basis = torch.linalg.qr(p[:, : min(size, 6)])[0]
            assert (x @ basis).square().sum().item() == pytest.approx(best.item(), rel=1e-4)

    def test_no_vector_is_longer_than_the_seen_ones(self, data):
        new = np.asarray(data.split.new_ids)
        plain = data.rows.scaled_vectors(data)["emb"]
        longest = plain(plain._seen).norm(dim=1).max()

        def far(matrix):
            matrix[new[:2]] = [[-3e38], [3e38]] * np.array([1, 0, 0, 0, 0, 0], np.float32)
            return matrix

        other = self.again(data, "emb", far)
        found = other(torch.from_numpy(new[:2]))
        torch.testing.assert_close(found.norm(dim=1), longest.expand(2), rtol=2e-3, atol=0.0)
        assert found[0, 0] < -0.99 * longest and found[1, 0] > 0.99 * longest
        torch.testing.assert_close(other(other._seen), plain(plain._seen), rtol=0.0, atol=0.0)

    def test_nothing_seen_reads_zeros(self, data):
        def gone(matrix):
            matrix[np.asarray(data.split.old_ids)] = 0.0
            return matrix

        other = self.again(data, "emb", gone)
        assert other.factor == 1.0 and not other.principal(4).any()

    def test_a_split_has_its_scale_once(self, data):
        first = data.rows.scaled_vectors(data)["emb"]
        assert data.rows.view().scaled_vectors(data.view())["emb"] is first

    def test_gathered_as_given_and_read_as_codes(self, data):
        batch = data.rows.batch(torch.arange(50))
        items_b = data.inter["item_id"][:50]
        raw = torch.from_numpy(np.array(data.item_table["emb"][items_b]))
        assert torch.equal(data.rows.gather("emb", batch), raw)
        codes = np.where(raw.any(dim=1), items_b, 0)
        assert batch["emb"].dtype == torch.long and batch["emb"][:, 0].tolist() == codes.tolist()


# ------------------------------------------------------------------ everything around it
def test_check_says_width_type_and_gaps(vectors_path, capsys):
    flags = ["--dataset=vec", f"--data_path={vectors_path.parent}", "--threshold={rating: 4}",
             "--cold_threshold=30", "--warm_size=3"]  # fmt: skip
    assert main(["check", *flags]) == 0
    out = capsys.readouterr().out
    assert "vector of 6 numbers, float32, 8 missing" in out
    assert "vector of 3 numbers, float32, 12 missing" in out


def test_written_parts_have_their_vectors(tiny_path, tiny_flags, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "plot_curves", lambda *_, **__: None)
    n = len((tiny_path / "tiny.item").read_text().splitlines()) - 1
    matrix = np.random.default_rng(1).normal(size=(n, 5)).astype(np.float16)
    np.save(tmp_path / "there.npy", matrix)
    key = f"--vector_fields={{item: {{emb: {tmp_path / 'there.npy'}}}}}"
    assert main(["check", *tiny_flags, key, f"--write={tmp_path / 'ready'}"]) == 0
    text = capsys.readouterr().out.partition("a yaml for it:\n")[2]
    (tmp_path / "ready.yaml").write_text(text)
    config = make_config("Base", config_files=[tmp_path / "ready.yaml"])
    (tmp_path / "there.npy").unlink()
    data = ColdStartDataset(config)
    listed = [line.split("\t")[0] for line in (tiny_path / "tiny.item").read_text().splitlines()]
    code = data.token2id("item_id", listed[4])
    np.testing.assert_array_equal(data.item_table["emb"][code], matrix[3])


class TestFrames:
    def frames(self, vectors=None, **columns):
        inter = pd.DataFrame(
            {"user_id": list("aabb"), "item_id": list("xyyz"), "label": [1, 0] * 2}
        )
        table = pd.DataFrame({"item_id": list("zxy"), **columns})
        return from_frames(inter, table, vectors=vectors)

    def loaded(self, data):
        keys = data.configuration(cache_root(None))
        return ColdStartDataset(make_config("Base", data.name, overrides=keys))

    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
    def test_an_array_argument(self, kind):
        matrix = np.array([[1, 2], [3, 4], [0, 0]], dtype=kind)
        data = self.loaded(self.frames({"items": {"emb": matrix}}))
        assert data.item_table["emb"].dtype == (np.float16 if kind == np.float16 else np.float32)
        assert of(data, "z") == [1, 2] and of(data, "x") == [3, 4] and of(data, "y") == [0, 0]
        column = self.loaded(self.frames(emb=[[1.0, 2.0], np.array([3, 4]), None]))
        np.testing.assert_array_equal(column.item_table["emb"], data.item_table["emb"])

    @pytest.mark.parametrize(
        ("vectors", "why"),
        [
            ({"users": {"emb": MATRIX[:3]}}, "'users', which is none of the frames"),
            ({"items": {"emb": MATRIX[:2]}}, r"shape \[2, 4\]; .* 3 rows of items"),
            ({"items": {"item_id": MATRIX[:3]}}, "the name of a column"),
            ({"items": {"emb": [["a"]] * 3}}, "make them numbers"),
            ({"items": {"emb": [[1.0], [np.nan], [2.0]]}}, "nan or inf in row 1"),
        ],
    )
    def test_refused(self, vectors, why):
        with pytest.raises(UserError, match=why):
            self.frames(vectors)

    def test_lists_of_several_lengths(self):
        with pytest.raises(UserError, match=r"column 'emb' of items has lists of 1 and of 2 numb"):
            self.frames(emb=[[1.0, 2.0], [1.0], []])
