"""The split as a value: the rule row by row, counts as published, files there and back."""

import dataclasses
import itertools
import json
import pickle
import re
import subprocess
import sys
import tracemalloc
from unittest import mock

import numpy as np
import pytest

from recbole_cold import distinct
from recbole_cold.config import make_config
from recbole_cold.data._suggest import suggest
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.pseudo_new import pseudo_new
from recbole_cold.data.ready_parts import write_atomic_parts
from recbole_cold.data.split import (
    Split,
    common_phases,
    frequency_split,
    split_from_parts,
)
from recbole_cold.errors import UserError

WARM = ("warm_a", "warm_b", "warm_c")


def log(seed, items=30, ties=True):
    """Columns (ids, time) of a random log; half of the rows share their time with another."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 40, size=items)
    counts[:3] = 6, 36, 37
    ids = rng.permutation(np.repeat(np.arange(1, items + 1), counts)).astype(np.int32)
    time = rng.integers(len(ids) // 2, size=len(ids)) if ties else rng.permutation(len(ids))
    return ids, time.astype(np.float64)


def by_hand(ids, time, threshold, size):
    """The rule, one item at a time."""
    parts = {name: [] for name in ("train", *WARM, "test")}
    for item in sorted(set(ids.tolist())):
        rows = [row for row in range(len(ids)) if ids[row] == item]
        if len(rows) > threshold:
            parts["train"] += rows
        elif len(rows) >= 3 * size:
            rows.sort(key=lambda row: time[row])  # Python's sort is stable
            for number, row in enumerate(rows):
                parts[(*WARM, "test")[min(number // size, 3)]].append(row)
    parts["train"].sort()
    return parts


@pytest.mark.parametrize("seed", range(5))
class TestFrequencyRule:
    def split(self, seed, **more):
        ids, time = log(seed)
        return ids, time, frequency_split(ids, time, **{"threshold": 25, "size": 2, **more})

    def test_is_the_rule_done_by_hand(self, seed):
        ids, time, split = self.split(seed)
        assert {name: rows.tolist() for name, rows in split.parts.items()} == by_hand(
            ids, time, 25, 2
        )

    def test_no_row_is_in_two_parts(self, seed):
        _, _, split = self.split(seed)
        rows = np.concatenate(list(split.parts.values()))
        assert len(set(rows.tolist())) == len(rows)

    def test_warm_rows_are_earlier_than_test_rows_of_the_item(self, seed):
        ids, time, split = self.split(seed)
        for item in split.new_ids:
            times = [time[split[name][ids[split[name]] == item]] for name in (*WARM, "test")]
            for earlier, later in itertools.pairwise(times):
                assert len(earlier) == 2
                assert not len(later) or earlier.max() <= later.min()

    def test_warm_parts_reshape_to_items(self, seed):
        ids, _, split = self.split(seed)
        for name in WARM:
            blocks = ids[split[name]].reshape(-1, 2)
            np.testing.assert_array_equal(blocks, np.repeat(split.new_ids[:, None], 2, axis=1))

    def test_rows_of_equal_time_keep_the_order_of_the_file(self, seed):
        ids, _ = log(seed)
        same = frequency_split(ids, np.zeros(len(ids)), threshold=25, size=2)
        for item in same.new_ids:
            rows = np.concatenate([same[n][ids[same[n]] == item] for n in (*WARM, "test")])
            assert (np.diff(rows) > 0).all()

    def test_order_of_the_file_does_not_matter_when_times_differ(self, seed):
        """Users' blocks may come in any order; each part still has the same interactions."""
        ids, time = log(seed, ties=False)
        shuffled = np.random.default_rng(seed).permutation(len(ids))
        split = frequency_split(ids, time, threshold=25, size=2)
        other = frequency_split(ids[shuffled], time[shuffled], threshold=25, size=2)
        for name, rows in split.parts.items():
            back = shuffled[other[name]]
            np.testing.assert_array_equal(np.sort(back) if name == "train" else back, rows)

    def test_codes_only_name_the_items(self, seed):
        ids, time, split = self.split(seed)
        other = frequency_split(ids * 3 + 1, time, threshold=25, size=2)
        for name in split.parts:
            np.testing.assert_array_equal(split[name], other[name])

    def test_users_are_the_same_code_with_swapped_columns(self, seed):
        ids, time, split = self.split(seed)
        swapped = frequency_split(ids, time, threshold=25, size=2, cold_side="user")
        assert swapped != split and swapped.manifest["cold_side"] == "user"
        for name in split.parts:
            np.testing.assert_array_equal(split[name], swapped[name])

    def test_without_time_the_seed_draws_the_order(self, seed):
        ids, _ = log(seed)
        first, again, other = (
            frequency_split(ids, None, threshold=25, size=2, seed=s) for s in (seed, seed, 99)
        )
        assert first == again and first != other
        assert first.manifest["order"] == "seeded permutation"
        np.testing.assert_array_equal(first["train"], other["train"])
        assert any(first[name].tolist() != other[name].tolist() for name in WARM)

    def test_with_time_the_seed_changes_nothing(self, seed):
        ids, time = log(seed)
        one, two = (frequency_split(ids, time, threshold=25, size=2, seed=s) for s in (1, 2))
        assert one == two and one.manifest["order"] == "time"

    def test_boundaries(self, seed):
        """n > N is old; 3K <= n <= N is new; an item of exactly 3K rows has no test row."""
        ids, time = log(seed)
        split = frequency_split(ids, time, threshold=36, size=2)
        assert {1, 2} <= set(split.new_ids.tolist()) and 3 in split.old_ids
        assert not {1, 2} & set(split.old_ids.tolist()) and 3 not in split.new_ids
        assert not (ids[split["test"]] == 1).any()

    def test_another_number_of_warm_up_sets(self, seed):
        _, _, split = self.split(seed, n_warm=5)
        assert list(split.parts) == ["train", "warm_a", "warm_b", "warm_c", "warm_d", "warm_e",
                                     "test"]  # fmt: skip
        assert split.manifest["counts"]["warm_e"] == 2 * len(split.new_ids)

    def test_pseudo_new_never_touches_rows_of_new_items(self, seed):
        ids, time, split = self.split(seed)
        valid = pseudo_new(split, ids, time, fraction=0.2, size=2, seed=seed, draw="uniform")
        rows = np.concatenate(list(valid.parts.values()))
        assert np.isin(ids[rows], split.old_ids).all()
        assert sorted(rows.tolist()) == split["train"].tolist()
        assert len(valid.new_ids) == max(1, round(0.2 * len(split.old_ids)))
        np.testing.assert_array_equal(np.union1d(valid.old_ids, valid.new_ids), split.old_ids)
        assert not np.isin(ids[valid["train"]], valid.new_ids).any()
        assert not np.isin(ids[np.concatenate([valid[n] for n in WARM])], valid.old_ids).any()
        assert len(valid["test"]) and (np.diff(valid["train"]) > 0).all()
        assert valid == pseudo_new(
            split, ids, time, fraction=0.2, size=2, seed=seed, draw="uniform"
        )

    def test_rare_ones_are_drawn_from_twice_as_many_and_keep_their_oldest_rows(self, seed):
        ids, time, split = self.split(seed)
        valid = pseudo_new(split, ids, time, fraction=0.25, size=2, seed=seed)
        wanted = max(1, round(0.25 * len(split.old_ids)))
        rows_of = {item: np.flatnonzero(ids == item) for item in split.old_ids.tolist()}
        pool = sorted(rows_of, key=lambda item: (len(rows_of[item]), item))[: 2 * wanted]
        assert len(valid.new_ids) == wanted and set(valid.new_ids.tolist()) <= set(pool)
        cut = 0
        for item in valid.new_ids.tolist():
            oldest = rows_of[item][np.argsort(time[rows_of[item]], kind="stable")][:25]
            found = [valid[name][ids[valid[name]] == item] for name in (*WARM, "test")]
            assert [part.tolist() for part in found] == [
                oldest[start:end].tolist() for start, end in ((0, 2), (2, 4), (4, 6), (6, None))
            ]
            cut += len(rows_of[item]) - 25
        assert (valid.manifest["draw"], valid.manifest["kept"]) == ("rare", 25)
        assert cut == valid.manifest["cut_rows"] > 0
        assert f"oldest 25 rows, {cut:,} more are in no part" in str(valid)
        assert not np.isin(ids[valid["train"]], valid.new_ids).any()
        assert sum(map(len, valid.parts.values())) + cut == len(split["train"])
        draws = [pseudo_new(split, ids, time, fraction=0.25, size=2, seed=s) for s in range(9)]
        assert len({tuple(each.new_ids.tolist()) for each in draws}) > 1

    def test_rare_ones_of_ready_parts_keep_what_the_rarest_has(self, seed):
        ids, time, split = self.split(seed)
        ready = split_from_parts(split.parts, ids)
        counts = np.bincount(ids[split["train"]])
        valid = pseudo_new(ready, ids, time, fraction=0.25, size=2, seed=seed)
        least = int(counts[split.old_ids].min())
        kept = [sum((ids[valid[name]] == item).sum() for name in (*WARM, "test"))
                for item in valid.new_ids]  # fmt: skip
        assert set(kept) == {least} == {valid.manifest["kept"]} and least > 25
        # Rows of new items change nothing: neither which are drawn nor how many rows they keep.
        fewer = {name: rows[ids[rows] != split.new_ids[0]] for name, rows in split.parts.items()}
        again = pseudo_new(
            split_from_parts(fewer, ids), ids, time, fraction=0.25, size=2, seed=seed
        )
        assert all(np.array_equal(again[name], valid[name]) for name in valid.parts)

    def test_common_phases_take_the_oldest_test_rows(self, seed):
        ids, _, split = self.split(seed)
        more = common_phases(split, ids, 2, 3)
        assert list(more.parts) == ["train", *WARM, "common_1", "common_2", "test"]
        for item in split.new_ids:
            before = split["test"][ids[split["test"]] == item]
            after = [more[n][ids[more[n]] == item] for n in ("common_1", "common_2", "test")]
            assert [a.tolist() for a in after] == [
                before[:3].tolist(), before[3:6].tolist(), before[6:].tolist(),
            ]  # fmt: skip
        assert more.warm_parts == [*WARM, "common_1", "common_2"]
        assert common_phases(split, ids, 0, 3) is split and more != split

    def test_disk_and_back(self, seed, tmp_path):
        _, _, split = self.split(seed)
        split.save(tmp_path / "split.json")
        again = Split.load(tmp_path / "split.json")
        assert again == split and dict(again.manifest) == dict(split.manifest)
        assert {p.name for p in tmp_path.iterdir()} == {"split.json", "split.npz"}
        assert again == Split.load(tmp_path / "split") == pickle.loads(pickle.dumps(split))


class TestValue:
    @pytest.fixture
    def split(self):
        ids, time = log(0)
        return frequency_split(ids, time, threshold=25, size=2, data_hash="abc")

    def test_takes_no_more_memory_than_its_row_numbers(self, tmp_path):
        """8 bytes a row, made once; what is derived shares them, and a file has 4."""
        n = 200_000
        ids = np.arange(n, dtype=np.int32) % 100
        ids[:300] = 100 + np.arange(300) // 30
        time = np.arange(n)
        with mock.patch.object(distinct, "_CHUNK", 1 << 12):
            tracemalloc.start()
            split = frequency_split(ids, time, threshold=100, size=2)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert len(split["train"]) == n - 300 and peak < 11 * n
        assert split.scored_on("next")["train"] is split["train"]
        split.save(tmp_path / "split")
        assert (tmp_path / "split.npz").stat().st_size < 4.1 * n

    def test_row_numbers_that_somebody_can_change_are_copied(self):
        rows, shown = np.arange(9), np.arange(9)
        shown = shown[:]
        shown.flags.writeable = False
        for own in (rows, shown):
            split = Split({"train": own}, [0], [1])
            assert not np.shares_memory(split["train"], own)

    def test_cannot_be_changed(self, split):
        with pytest.raises(ValueError, match="read-only"):
            split["train"][0] = 1
        with pytest.raises(TypeError):
            split.parts["train"] = split["test"]
        with pytest.raises(dataclasses.FrozenInstanceError):
            split.parts = {}

    @pytest.mark.parametrize(
        "change",
        [
            {"threshold": 24},
            {"size": 3},
            {"data_hash": "abd"},
            {"cold_side": "user"},
            {"n_warm": 2},
        ],
        ids=str,
    )
    def test_hash_changes_with_rule_and_data(self, change, split):
        ids, time = log(0)
        settings = {"threshold": 25, "size": 2, "data_hash": "abc", **change}
        other = frequency_split(ids, time, **settings)
        assert other.hash != split.hash and other != split

    def test_hash_changes_with_the_rows(self, split):
        ids, time = log(0)
        time[split["test"][0]] = -1
        other = frequency_split(ids, time, threshold=25, size=2, data_hash="abc")
        assert other.manifest["counts"] == split.manifest["counts"] and other != split

    def test_hash_is_the_same_in_another_process(self, split):
        code = (
            "import sys; sys.path.insert(0, 'tests/data');"
            "from test_split import log, frequency_split;"
            "print(frequency_split(*log(0), threshold=25, size=2, data_hash='abc').hash)"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert out.stdout.split() == [split.hash], out.stderr

    def test_manifest_is_plain(self, split):
        manifest = json.loads(json.dumps(dict(split.manifest)))
        assert manifest == dict(split.manifest)
        assert {"rule", "N", "K", "cold_side", "counts", "order", "data_hash", "hash"} <= set(
            manifest
        )
        assert manifest["N"] == 25 and manifest["K"] == 2 and manifest["data_hash"] == "abc"

    def test_prints_as_a_table(self, split):
        lines = str(split).splitlines()
        assert [line.split()[0] for line in lines[:-1]] == ["part", "train", *WARM, "test"]
        assert f"{len(split.old_ids)} old and {len(split.new_ids)} new items" in lines[-1]

    @pytest.mark.parametrize("suffix", [".json", ".npz"])
    @pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "delete"])
    def test_damage_on_disk_is_said(self, suffix, harm, split, tmp_path):
        split.save(tmp_path / "split")
        path = tmp_path / f"split{suffix}"
        content = bytearray(path.read_bytes())
        # In an archive some bytes say nothing; those of row numbers do.
        place = content.find(split["train"].astype(np.int32).tobytes())
        content[len(content) // 2 if suffix == ".json" else place] ^= 1
        if harm == "delete":
            path.unlink()
        else:
            kept = {"flip": content, "truncate": content[:-40], "empty": b""}[harm]
            path.write_bytes(kept)
        with pytest.raises(UserError, match=r"is damaged|no split is stored"):
            Split.load(tmp_path / "split")


class TestFaults:
    @pytest.mark.parametrize(
        ("counts", "threshold", "size"),
        [
            ([50, 40, 30, 20, 10], 60, 2),  # nothing old
            ([50, 40, 30, 20, 10], 5, 2),  # nothing new, 3K > N
            ([50, 40, 30, 20, 10], 9, 3),  # nothing in between
            ([50, 40, 30, 20, 12], 15, 4),  # new ones without a test row
            ([50, 40, 30, 20, 10], 200, 20),  # far too large
            ([5, 4, 1], 100, 10),
            ([7, 6, 6, 6], 100, 10),
        ],
    )
    def test_suggested_settings_work(self, counts, threshold, size):
        ids = np.repeat(np.arange(1, len(counts) + 1), counts)
        time = np.arange(len(ids), dtype=float)
        with pytest.raises(UserError) as error:
            frequency_split(ids, time, threshold=threshold, size=size)
        said = re.search(
            r"cold_threshold=(\d+) and warm_size=(\d+) would give (\d+) old and (\d+) new items",
            str(error.value),
        )
        better = frequency_split(ids, time, threshold=int(said[1]), size=int(said[2]))
        assert (len(better.old_ids), len(better.new_ids)) == (int(said[3]), int(said[4]))
        assert len(better["test"]) and "\n" not in str(error.value)

    @pytest.mark.parametrize("seed", range(200))
    def test_whatever_is_suggested_works(self, seed):
        rng = np.random.default_rng(seed)
        counts = rng.integers(1, rng.integers(2, 60), size=rng.integers(1, 9))
        threshold, size = int(rng.integers(1, 80)), int(rng.integers(1, 15))
        n_warm = int(rng.integers(0, 5))
        found = suggest(counts, threshold, size, n_warm)
        feasible = (np.unique(counts) > n_warm).sum() >= 2
        assert (found is not None) == feasible
        if found:
            ids = np.repeat(np.arange(1, len(counts) + 1), counts)
            split = frequency_split(ids, None, threshold=found[0], size=found[1], n_warm=n_warm)
            assert len(split["test"]) and len(split["train"])

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"size": 0}, "warm_size is 0; it must be a whole number"),
            ({"threshold": 2.5}, "cold_threshold is 2.5; it must be a whole number"),
            ({"n_warm": 40}, "warm_sets is 40; at most 26"),
        ],
    )
    def test_settings(self, settings, sentence):
        ids, time = log(0)
        with pytest.raises(UserError, match=sentence):
            frequency_split(ids, time, **{"threshold": 25, "size": 2, **settings})

    def test_other_faults(self):
        ids, time = log(0)
        split = frequency_split(ids, time, threshold=25, size=2)
        with pytest.raises(UserError, match="no interaction to split"):
            frequency_split(ids[:0], time[:0], threshold=25, size=2)
        with pytest.raises(UserError, match="no setting can split this data"):
            frequency_split(np.array([1, 2]), time[:2], threshold=25, size=2)
        with pytest.raises(UserError, match="time column has missing values"):
            frequency_split(ids, np.where(time > 5, time, np.nan), threshold=25, size=2)
        with pytest.raises(UserError, match=r"leave no test row: .* has 30 rows"):
            common_phases(_split_with_test_history(30), np.ones(99, int), 3, 10)
        with pytest.raises(UserError, match="valid_fraction is 1"):
            pseudo_new(split, ids, time, fraction=1, size=2, seed=0)
        with pytest.raises(UserError, match=r"validation needs \d+ of the \d+ old items"):
            pseudo_new(split, ids, time, fraction=0.2, size=500, seed=0)


def _split_with_test_history(rows):
    return Split(
        {"train": np.arange(90, 99), "test": np.arange(rows)}, np.array([2]), np.array([1])
    )


class TestFiles:
    @pytest.fixture(params=["item", "user"])
    def side(self, request):
        return request.param

    @pytest.fixture
    def made(self, tiny_keys, side):
        rule = {"cold_threshold": 30, "warm_size": 3} if side == "item" else {
            "cold_threshold": 20, "warm_size": 2,
        }  # fmt: skip
        config = make_config("Base", "tiny", overrides={**tiny_keys, **rule, "cold_side": side})
        data = ColdStartDataset(config)
        split = frequency_split(
            data.inter[f"{side}_id"], data.time, threshold=rule["cold_threshold"],
            size=rule["warm_size"], data_hash=data.data_hash, cold_side=side,
        )  # fmt: skip
        return data, split

    @staticmethod
    def interactions(data, rows):
        names = [data.id2token(f, data.inter[f][rows]).tolist() for f in ("user_id", "item_id")]
        return list(zip(*names, data.time[rows], data.inter["label"][rows], strict=True))

    def test_benchmark_files_and_back(self, made, side, tiny_keys, tmp_path):
        """Written as ``benchmark_filename`` parts and read again: the same rows in every part."""
        data, split = made
        names = write_atomic_parts(split, data, tmp_path / "tiny")
        assert names == ["train", *WARM, "test"]
        keys = {**tiny_keys, "data_path": str(tmp_path), "benchmark_filename": names}
        again = ColdStartDataset(make_config("Base", "tiny", overrides=keys))
        back = split_from_parts(again.parts, again.inter[f"{side}_id"], cold_side=side)
        assert list(back.parts) == list(split.parts)
        assert back.manifest["counts"] == split.manifest["counts"]
        assert back.manifest["K"] == split.manifest["K"] and back.manifest["rule"] == "files"
        for name in split.parts:
            assert self.interactions(again, back[name]) == self.interactions(data, split[name])
        for ids in ("old_ids", "new_ids"):
            ours = data.id2token(f"{side}_id", getattr(split, ids))
            assert set(ours) == set(again.id2token(f"{side}_id", getattr(back, ids)))

    def test_filters_do_not_shift_the_lines(self, tiny_keys, tmp_path):
        keys = {**tiny_keys, "user_inter_num_interval": "[15,inf)", "val_interval":
                {"device": ["phone", "tv"]}, "cold_threshold": 12, "warm_size": 2}  # fmt: skip
        data = ColdStartDataset(make_config("Base", "tiny", overrides=keys))
        assert data.notes
        split = frequency_split(data.inter["item_id"], data.time, threshold=12, size=2)
        names = write_atomic_parts(split, data, tmp_path / "tiny")
        again = ColdStartDataset(
            make_config(
                "Base", "tiny",
                overrides={**tiny_keys, "data_path": str(tmp_path), "benchmark_filename": names},
            )
        )  # fmt: skip
        for name in names:
            assert self.interactions(again, again.parts[name]) == self.interactions(
                data, split[name]
            )

    @pytest.mark.parametrize(
        ("parts", "sentence"),
        [
            ({"train": [0, 1], "test": [2]}, "'warm_a', 'warm_b'"),
            ({"train": [0, 1], "warm_a": [2], "test": []}, "needs rows in 'train' and 'test'"),
            ({"train": [0, 3], "warm_a": [1], "test": [2]}, "must not be in 'train'"),
        ],
    )
    def test_parts_that_are_no_split(self, parts, sentence):
        parts = {name: np.array(rows, dtype=int) for name, rows in parts.items()}
        with pytest.raises(UserError, match=sentence):
            split_from_parts(parts, np.array([1, 2, 2, 2]))


@pytest.mark.data
def test_movielens_1m_gives_the_published_counts(ml1m_path, tmp_path):
    config = make_config("Base", "ml-1m", overrides={"data_path": str(ml1m_path.parent)})
    data = ColdStartDataset(config)
    split = frequency_split(
        data.inter["item_id"], data.time, threshold=config["cold_threshold"],
        size=config["warm_size"], data_hash=data.data_hash,
    )  # fmt: skip
    assert split.manifest["counts"] == {
        "train": 854_530, "warm_a": 19_440, "warm_b": 19_440, "warm_c": 19_440, "test": 58_409,
    }  # fmt: skip
    assert len(split.new_ids) == 972


def test_needs_numpy_only():
    """The pure part of the data side is importable without torch, RecBole or pyarrow."""
    code = "import sys, recbole_cold.data.split; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "recbole", "pyarrow", "pandas"} & set(out.stdout.split())
