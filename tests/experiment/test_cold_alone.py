"""``warm_sets: 0``: a cold phase alone. It is the first phase of a run with warm-up sets."""

import numpy as np
import pytest

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.data.phases import some_phase_learns
from recbole_cold.data.pseudo_new import pseudo_new
from recbole_cold.data.ready_parts import write_atomic_parts
from recbole_cold.data.split import common_phases, frequency_split, split_from_parts
from recbole_cold.errors import UserError
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Request
from recbole_cold.sweep.requests import axes_of
from recbole_cold.testing._bench import write_data_set
from recbole_cold.trials.settings import check_select_on

# The plain backbone; what it learns first; a backbone trained in another way; an own network.
METHODS = "Base,CVAR,MWUF,DropoutNet,EmerG"
FEW_SHOTS = "MeLU[meta_epochs=1],MAMO[meta_epochs=1],TaNP[meta_epochs=1]"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Of the conformance data set, where every new item has rows for three sets of one row."""
    folder = tmp_path_factory.mktemp("data")
    return {
        **write_data_set(folder), "cache_dir": str(folder / "cache"), "warm_size": 1,
        "embedding_size": 4, "train_batch_size": 64, "pretrain_epochs": 1, "show_progress": False,
        "item_inter_num_interval": "[4,inf)",
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(keys):
    """``run(models, **keys)``: the experiment, its document, and its scores by row."""

    def go(models, **more):
        experiment = Experiment(Request(models, "conformance", None, (), {**keys, **more}, "a"))
        document = experiment.run()
        assert not document["failures"]
        return experiment, document

    return go


def log(seed):
    """Items and times of random rows."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 40, size=rng.integers(3, 12))
    ids = rng.permutation(np.repeat(np.arange(1, len(counts) + 1), counts))
    return ids, rng.integers(0, 50, size=len(ids)).astype(float)


class TestSplit:
    @pytest.mark.parametrize("seed", range(50))
    def test_test_is_all_that_warm_up_sets_and_test_are_together(self, seed):
        ids, time = log(seed)
        n, rng = int(np.median(np.bincount(ids)[1:])), np.random.default_rng(seed)
        try:
            warm = frequency_split(ids, time, threshold=n, size=int(rng.integers(1, 4)))
        except UserError:
            return  # no item has rows for three sets
        cold = frequency_split(ids, time, threshold=n, size=7, n_warm=0)
        assert list(cold.parts) == ["train", "test"]
        assert (cold["train"] == warm["train"]).all() and (cold.old_ids == warm.old_ids).all()
        counts = np.bincount(ids)
        assert (cold.new_ids == np.flatnonzero((counts > 0) & (counts <= n))).all()
        for item in warm.new_ids:
            parts = [warm[name] for name in (*warm.warm_parts, "test")]
            expected = np.concatenate([rows[ids[rows] == item] for rows in parts])
            assert (cold["test"][ids[cold["test"]] == item] == expected).all()

    def test_k_is_not_asked(self):
        ids, time = log(3)
        splits = [frequency_split(ids, time, threshold=20, size=k, n_warm=0) for k in (1, 9, None)]
        assert len({split.hash for split in splits}) == 1
        assert splits[0].warm_size is None and splits[0].manifest["warm_sets"] == 0
        assert [phase.name for phase in splits[0].phases] == ["cold"]

    def test_pseudo_new_items_have_no_warm_up_either(self):
        ids, time = log(3)
        split = frequency_split(ids, time, threshold=20, size=5, n_warm=0)
        valid = pseudo_new(split, ids, time, fraction=0.4, size=5, seed=1)
        assert list(valid.parts) == ["train", "test"] and valid.phases == split.phases
        assert (np.bincount(ids[valid["test"]])[valid.new_ids] <= 20).all()
        assert valid.hash == pseudo_new(split, ids, time, fraction=0.4, size=2, seed=1).hash

    def test_common_phases_come_after_the_cold_one(self):
        ids, time = log(3)
        split = frequency_split(ids, time, threshold=20, size=5, n_warm=0)
        assert [p.name for p in common_phases(split, ids, 2, 3).phases] == [
            "cold", "common_1", "common_2"
        ]  # fmt: skip

    def test_an_empty_split_names_a_threshold_that_works(self):
        ids = np.repeat([1, 2, 3], [5, 9, 30])
        with pytest.raises(UserError, match=r"no item has at most cold_threshold=4 rows") as error:
            frequency_split(ids, None, threshold=4, size=1, n_warm=0)
        assert "cold_threshold=9 would give 1 old and 2 new items" in str(error.value)
        assert "warm_size" not in str(error.value)
        assert len(frequency_split(ids, None, threshold=9, size=1, n_warm=0)["test"]) == 14

    def test_ready_parts_have_warm_up_sets_or_say_that_there_are_none(self):
        parts = {"train": np.arange(5), "test": np.arange(5, 9)}
        ids = np.repeat([1, 2], [5, 4])
        split = split_from_parts(parts, ids, warm_up=False)
        assert [phase.name for phase in split.phases] == ["cold"] and split.warm_size is None
        with pytest.raises(UserError, match="or warm_sets: 0, for the cold phase alone"):
            split_from_parts(parts, ids)
        parts["warm_a"] = np.arange(5, 6)
        with pytest.raises(UserError, match="leave warm_a out of benchmark_filename, or leave out"):
            split_from_parts(parts, ids, warm_up=False)


class TestRuns:
    def test_every_row_is_scored_as_in_the_cold_phase_before_three_sets(self, run):
        """The rows of warm-up sets are scored beside them; no method sees them either way."""
        alone, document = run(METHODS, warm_sets=0)
        before, _ = run(METHODS, warm_sets=3)
        assert document["phases"] == ["cold"]
        # No method takes steps in a warm phase, so there is no row with as many.
        assert [run["label"] for run in document["runs"]] == METHODS.split(",")
        for key, here in alone.scores.items():
            there = before.scores[key]
            number, fewer = here.rows_of("cold").number, there.rows_of("cold").number
            found = dict(zip(number.tolist(), here.scores["cold"].tolist(), strict=True))
            same = [found[row] for row in fewer.tolist()]
            assert np.allclose(same, there.scores["cold"], atol=1e-6), key
            assert len(number) > len(fewer)

    def test_few_shot_learners_learn_on_supports_of_one_size(self, run):
        experiment, document = run(FEW_SHOTS, warm_sets=0, episode_support=5)
        assert document["phases"] == ["cold"]
        config = experiment.first()
        assert not some_phase_learns(config)
        method = build_method(config, experiment.data(config))
        assert method.support_sizes() == [5]

    def test_ready_parts_give_the_numbers_of_the_same_rows(self, keys, tmp_path, run):
        warm, _ = run("Base,CVAR", warm_sets=3)
        data = warm.data(warm.first())
        names = write_atomic_parts(data.split, data, tmp_path / "conformance")
        places = {"data_path": str(tmp_path), "item_inter_num_interval": None}
        ready = {"benchmark_filename": names}
        _, sets = run("Base,CVAR", **places, **ready)
        _, none = run(
            "Base,CVAR", **places, benchmark_filename=["train", "test"], warm_sets=0,
            metrics=["AUC", "WithinAUC", "LogLoss", "RelaImpr"],
        )  # fmt: skip
        for one, other in zip(sets["runs"], none["runs"], strict=False):
            mine, theirs = (each["seeds"][0]["phases"]["cold"] for each in (one, other))
            assert mine["rows"] == theirs["rows"]
            for metric in ("AUC", "WithinAUC", "LogLoss"):
                assert mine["metrics"][metric] == theirs["metrics"][metric]


class TestCommands:
    @pytest.fixture
    def command(self, keys, tmp_path, capsys):
        """``command(*words)``: exit code, output and errors of a command on these data."""
        flags = [f"--{key}={value}" for key, value in keys.items()]

        def go(*words):
            code = main([*words, *flags, f"--saved_dir={tmp_path / 'saved'}", "--warm_sets=0"])
            return code, *capsys.readouterr()

        return go

    def test_a_run_and_its_report(self, command, tmp_path, capsys):
        code, out, _ = command("--model=Base,CVAR", "--dataset=conformance", "--seeds=2")
        (folder,) = (tmp_path / "saved").iterdir()
        assert code == 0 and "curves " not in out
        assert not (folder / "figures").exists()
        text = (folder / "results.md").read_text()
        assert "new items (cold)." in text and "warm phase" not in text
        assert "| AUC | cold |" in text
        for kind in ("curves", "panels"):
            assert main(["plot", str(folder), f"--kind={kind}"]) == 2
            told = capsys.readouterr().err
            assert told.startswith("error: curves go over phases, and these results have one (cold")
        assert main(["plot", str(folder), "--kind=forest", "--against=Base"]) == 0
        capsys.readouterr()
        assert main(["compare", str(folder), f"--saved_dir={tmp_path / 'again'}"]) == 0
        assert not list((tmp_path / "again").rglob("*.png"))

    def test_check_writes_parts_that_a_run_reads(self, command, tmp_path, capsys):
        code, out, _ = command("check", "--dataset=conformance", f"--write={tmp_path / 'ready'}")
        assert code == 0 and out.rstrip().endswith(
            "benchmark_filename: [train, test]\nwarm_sets: 0"
        )

    def test_leaks_tell_from_which_number_of_rows_an_item_is_new(self, command):
        _, out, err = command("check", "--dataset=conformance", "--leaks")
        assert "a new item is one with 1 to 25 rows in the whole log" in out, out + err

    def test_a_phase_that_there_is_not(self, keys):
        config = Experiment(
            Request("Base", "conformance", None, (), {**keys, "warm_sets": 0})
        ).first()
        with pytest.raises(
            UserError, match="select_on=warm_a is no phase; use mean or one of cold"
        ):
            check_select_on("warm_a", config)
        check_select_on("cold", config)

    def test_tune_leaves_out_keys_of_fine_tuning(self, keys):
        def searched(**more):
            request = Request("Base", "conformance", None, (), {**keys, **more})
            return {axis.key for axis in axes_of(request, None, [])}

        gone = searched() - searched(warm_sets=0)
        assert gone == {"warm_learning_rate", "warm_epochs"}


def test_have_curves():
    assert report.have_curves(["cold", "warm_a"]) and not report.have_curves(["cold"])
