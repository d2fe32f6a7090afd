"""A split owns its phases: whoever makes the parts says them; files tell their version."""

import json
import pickle

import numpy as np
import pytest

from recbole_cold.data.phases import Phase, phase_names
from recbole_cold.data.pseudo_new import pseudo_new
from recbole_cold.data.split import (
    VERSION,
    Split,
    common_phases,
    frequency_split,
    read_manifest,
    split_from_parts,
)
from recbole_cold.errors import UserError

IDS = np.repeat(np.arange(1, 9), [40, 38, 36, 34, 20, 18, 16, 14])
TIME = np.random.default_rng(3).permutation(len(IDS)).astype(float)


@pytest.fixture
def split():
    return frequency_split(IDS, TIME, threshold=25, size=2, data_hash="abc")


def tuning(split):
    return pseudo_new(split, IDS, TIME, fraction=0.5, size=2, seed=1)


def rows_of(phases):
    return [tuple(phase) for phase in phases]


def test_the_rule_says_its_phases(split):
    assert rows_of(split.phases) == [
        ("cold", None, "test"),
        ("warm_a", "warm_a", "test"),
        ("warm_b", "warm_b", "test"),
        ("warm_c", "warm_c", "test"),
    ]
    assert split.warm_parts == ["warm_a", "warm_b", "warm_c"]
    assert (split.warm_size, split.cold_side) == (2, "item")
    two = frequency_split(IDS, TIME, threshold=25, size=3, n_warm=2, cold_side="user")
    assert [phase.name for phase in two.phases] == ["cold", "warm_a", "warm_b"]
    assert (two.warm_size, two.cold_side) == (3, "user")


def test_common_phases_come_last(split):
    more = common_phases(split, IDS, 2, 1)
    assert more.phases[:4] == split.phases
    assert rows_of(more.phases[4:]) == [
        ("common_1", "common_1", "test"),
        ("common_2", "common_2", "test"),
    ]


def test_phases_are_scored_on_the_next_ones_rows(split):
    following = common_phases(split, IDS, 1, 1).scored_on("next")
    assert rows_of(following.phases) == [
        ("cold", None, "warm_a"),
        ("warm_a", "warm_a", "warm_b"),
        ("warm_b", "warm_b", "warm_c"),
        ("warm_c", "warm_c", "common_1"),
        ("common_1", "common_1", "test"),
    ]
    plain = common_phases(split, IDS, 1, 1)
    assert following.hash == plain.hash and following != plain  # one pre-training serves both
    assert plain.scored_on("test") is plain


def test_pseudo_new_items_have_the_phases_of_the_split(split):
    assert tuning(split).phases == split.phases


def test_ready_files_are_the_phases_in_their_order():
    parts = {
        "train": np.arange(140),
        "warm_late": np.arange(150, 155),
        "test": np.arange(160, 170),
        "notes": np.arange(170, 171),
        "warm_early": np.arange(155, 160),
    }
    split = split_from_parts(parts, IDS)
    assert [phase.name for phase in split.phases] == ["cold", "warm_late", "warm_early"]
    assert split.manifest["warm_sets"] == 2


def test_any_names_can_be_phases(split):
    """A producer to come: nothing reads a meaning into a name."""
    parts = {"train": [0, 1], "ft_a": [2], "ft_b": [3], "test": [4]}
    phases = [("none", None, "test"), ("ft_a", "ft_a", "test"), ("ft_b", "ft_b", "test")]
    other = Split(parts, np.array([1]), np.array([2]), {}, phases)
    assert other.phases == tuple(Phase(*phase) for phase in phases)
    assert other.warm_parts == ["ft_a", "ft_b"]


def test_a_phase_over_a_part_that_there_is_not():
    with pytest.raises(ValueError, match="'warm' names parts that there are not"):
        Split({"test": [1]}, np.array([1]), np.array([2]), {}, [("warm", "warm_a", "test")])


def test_the_hash_is_what_it_was_before_phases_were_written():
    """Results and pre-trained backbones of earlier runs are known by it."""
    split = frequency_split(IDS, np.arange(len(IDS)) % 7.0, threshold=25, size=2, data_hash="abc")
    assert split.hash == "51589243c6ad9d3a1848f8a2544919033166abf150f743b372fae2301d248c25"


@pytest.mark.parametrize("config", [{}, {"warm_sets": 2, "common_phases": 1}], ids=str)
def test_names_are_known_before_the_data(config):
    keys = {
        "benchmark_filename": None, "split_rule": "frequency", "warm_sets": 3, "common_phases": 0,
        **config,
    }  # fmt: skip
    split = frequency_split(IDS, TIME, threshold=25, size=2, n_warm=keys["warm_sets"])
    split = common_phases(split, IDS, keys["common_phases"], 1)
    assert phase_names(keys) == [phase.name for phase in split.phases]


def test_names_of_ready_files():
    files = ["train", "warm_x", "warm_y", "test"]
    keys = {
        "benchmark_filename": files, "split_rule": "frequency", "warm_sets": 3, "common_phases": 0
    }  # fmt: skip
    assert phase_names(keys) == ["cold", "warm_x", "warm_y"]


class TestFiles:
    def test_phases_go_to_disk_and_come_back(self, split, tmp_path):
        following = common_phases(split, IDS, 1, 1).scored_on("next")
        following.save(tmp_path / "split")
        assert Split.load(tmp_path / "split") == following
        assert pickle.loads(pickle.dumps(following)) == following
        manifest = json.loads((tmp_path / "split.json").read_text())
        assert manifest["version"] == VERSION
        assert manifest["phases"][0] == ["cold", None, "warm_a"]

    def altered(self, split, folder, **changes):
        split.save(folder / "split")
        path = folder / "split.json"
        manifest = json.loads(path.read_text())
        manifest.update(changes)
        path.write_text(json.dumps({k: v for k, v in manifest.items() if v != "gone"}))
        return folder / "split"

    def test_an_older_file_is_refused_but_its_hash_is_read(self, split, tmp_path):
        gone = dict.fromkeys(["version", "phases", "check"], "gone")
        path = self.altered(split, tmp_path, **gone)
        with pytest.raises(UserError, match=r"older recbole_cold.*; make the split again$"):
            Split.load(path)
        assert read_manifest(path)["hash"] == split.hash

    def test_a_newer_file_is_refused(self, split, tmp_path):
        path = self.altered(split, tmp_path, version=VERSION + 1)
        sentence = rf"is of version {VERSION + 1}, and this recbole_cold reads versions up to"
        for read in (Split.load, read_manifest):
            with pytest.raises(UserError, match=sentence):
                read(path)

    @pytest.mark.parametrize(
        "changes",
        [
            {"phases": [["cold", None, "test"]]},
            {"phases": [["cold", None, "nowhere"]]},
            {"phases": "gone"},
            {"phases": 3},
            {"version": "two"},
            {"K": 3},
        ],
        ids=str,
    )
    def test_an_altered_file_is_damaged(self, split, tmp_path, changes):
        with pytest.raises(UserError, match="is damaged or incomplete"):
            Split.load(self.altered(split, tmp_path, **changes))
