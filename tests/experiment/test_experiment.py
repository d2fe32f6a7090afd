"""From a request to a results document: entries, what is shared, what is repeated, which files."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from recbole_cold import store
from recbole_cold.config import make_config
from recbole_cold.errors import UserError
from recbole_cold.experiment import data_store as module
from recbole_cold.experiment.data_store import load_data, make_split, run_data
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.fingerprint import pretraining_key
from recbole_cold.experiment.folders import new_folder
from recbole_cold.experiment.requests import Entry, Request, parse_entries

METHODS = "Base,DropoutNet,MetaE,MWUF,CVAR[cvar_iters=2]"
WARM = ["warm_a", "warm_b", "warm_c"]


@pytest.fixture
def run(tiny_keys, tmp_path):
    """``run("A,B", key=value)``: the results document; backbones are cached in ``tmp_path``."""

    def go(models, **keys):
        small = {"embedding_size": 4, "train_batch_size": 64, "show_progress": False}
        keys = {**tiny_keys, **small, "cache_dir": str(tmp_path / "cache"), **keys}
        asked = Request(models, keys.pop("dataset", "tiny"), None, (), keys, "a command")
        return Experiment(asked).run()

    return go


@pytest.fixture
def cached(tmp_path):
    """The files of cached backbones."""
    return lambda: sorted(path.name for path in (tmp_path / "cache" / "backbones").iterdir())


def run_of(document, label):
    return next(run for run in document["runs"] if run["label"] == label)


def stage(document, label, name, seed=0):
    stages = run_of(document, label)["seeds"][seed]["stages"]
    return next(s for s in stages if s["name"] == name)


def labels(document):
    return [run["label"] for run in document["runs"]]


# ------------------------------------------------------------------------- entries and labels
class TestEntries:
    @pytest.mark.parametrize(
        ("text", "entries"),
        [
            ("A", [Entry("A")]),
            (" A , B ", [Entry("A"), Entry("B")]),
            ("A,A[x=1]", [Entry("A"), Entry("A", {"x": 1})]),
            ("A[x=[1,2];y=word]", [Entry("A", {"x": [1, 2], "y": "word"})]),
            ("A[x=[[1],[2,3]]],B", [Entry("A", {"x": [[1], [2, 3]]}), Entry("B")]),
            ("A[ x = 1e-3 ]", [Entry("A", {"x": 1e-3})]),
            ("A[x=]", [Entry("A", {"x": ""})]),
            ("A[x=a=b]", [Entry("A", {"x": "a=b"})]),
            ("pack.mod:A[x=1],dir/file.py", [Entry("pack.mod:A", {"x": 1}), Entry("dir/file.py")]),
            (["A", "B[x=1]"], [Entry("A"), Entry("B", {"x": 1})]),
        ],
    )
    def test_parsed(self, text, entries):
        assert parse_entries(text) == entries

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "''"),
            ("A,,B", "''"),
            ("A,", "''"),
            ("A[x=1", r"'A\[x=1'"),
            ("A]x", r"'A\]x'"),
            ("[x=1]", r"'\[x=1\]'"),
            ("A[x]", r"'x' in --model entry 'A\[x\]' is not key=value"),
            ("A,B,A", "names A more than once"),
            ("A[x=1],A[x=1]", r"names A\[x=1\] more than once"),
        ],
    )
    def test_refused(self, text, message):
        with pytest.raises(UserError, match=message):
            parse_entries(text)

    @pytest.mark.parametrize(
        ("entry", "label"),
        [
            (Entry("A"), "A"),
            (Entry("pack.mod:A"), "A"),
            (Entry("some/dir/file.py"), "file"),
            (Entry("some/dir/file.py:A"), "A"),
            (Entry("A", {"x": [1, 2], "y": "word"}), "A[x=[1,2];y=word]"),
            (Entry("A", {"x": True, "y": None}), "A[x=true;y=null]"),
            (Entry("Base", {"warm_steps": 9}, matched_steps=9), "Base (9 steps)"),
        ],
    )
    def test_labels(self, entry, label):
        assert entry.label == label

    @pytest.mark.parametrize("key", ["seed=3", "eval_on=next", "warm_sets=2", "metrics=[AUC]"])
    def test_brackets_hold_nothing_that_is_the_whole_tables(self, run, key):
        with pytest.raises(UserError, match="holds for the whole table; give it as --"):
            run(f"Base[{key}]")

    def test_brackets_hold_nothing_of_another_method(self, run):
        """As a flag it would be MWUF's; in Base's brackets it can only be a mistake."""
        with pytest.raises(UserError, match="unknown key: 'mwuf_users'"):
            run("Base[mwuf_users=positive],MWUF")

    def test_a_flag_reaches_the_methods_that_know_it(self, run):
        document = run("Base,MWUF", mwuf_users="positive")
        assert run_of(document, "MWUF")["config"]["mwuf_users"] == "positive"
        assert "mwuf_users" not in run_of(document, "Base")["config"]


# ------------------------------------------------------------------------- pre-train once
class TestPretrainOnce:
    def test_methods_and_ablations_share_one_backbone(self, run, cached):
        models = "Base,MetaE,MWUF,CVAR,MWUF[mwuf_parts=[scale]],Base[warm_epochs=2]"
        document = run(models, matched_row=False)
        flags = [stage(document, label, "pretrain")["cached"] for label in labels(document)]
        assert flags == [False, True, True, True, True, True]
        assert len(cached()) == 1

    def test_dropoutnet_has_its_own_unless_nothing_is_dropped(self, run, cached):
        models = "Base,DropoutNet,DropoutNet[dropoutnet_rate=0.0],DropoutNet[dropoutnet_cold=raw]"
        document = run(models, matched_row=False)
        flags = [stage(document, label, "pretrain")["cached"] for label in labels(document)]
        assert flags == [False, False, True, True]
        assert len(cached()) == 2

    def test_a_later_run_reads_it_and_has_equal_numbers(self, run, numbers):
        first, second = run(METHODS), run(METHODS)
        assert numbers(first) == numbers(second)
        assert all(stage(second, label, "pretrain")["cached"] for label in labels(second))

    def test_every_seed_has_its_own(self, run, cached):
        run("Base,MWUF", seeds=3)
        assert len(cached()) == 3

    def test_shared_pretraining_repeats_only_the_method(self, run, cached):
        document = run("Base,MWUF", seeds=3, share_pretrained=True)
        assert len(cached()) == 1
        assert document["share_pretrained"] is True
        base, mwuf = (run_of(document, label)["seeds"] for label in ("Base", "MWUF"))
        assert base[0]["phases"]["cold"] == base[1]["phases"]["cold"]
        assert mwuf[0]["phases"]["cold"] != mwuf[1]["phases"]["cold"]

    def test_two_processes_at_once(self, run, cached, tmp_path, numbers):
        children = []
        for number in range(2):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    text = "\n".join(numbers(run("Base,MWUF", seeds=2)))
                    (tmp_path / f"result-{number}").write_text(text)
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        one, other = ((tmp_path / f"result-{number}").read_text() for number in range(2))
        assert one == other
        assert len(cached()) == 2  # one a seed, and no half-written file beside them
        document = run("Base,MWUF", seeds=2)
        assert numbers(document) == one.splitlines()
        assert stage(document, "Base", "pretrain")["cached"]

    def test_a_damaged_file_is_said_and_rebuilt(self, run, cached, tmp_path, caplog, numbers):
        first = run("Base")
        (name,) = cached()
        (tmp_path / "cache" / "backbones" / name).write_bytes(b"")
        second = run("Base")
        assert "the backbone is trained again" in caplog.text
        assert numbers(first) == numbers(second)
        assert not stage(second, "Base", "pretrain")["cached"]


class TestKey:
    @pytest.fixture
    def key(self, tiny_keys):
        def of(method="Base", backbone="DeepFM", seed=1, dataset="tiny", **keys):
            config = make_config(method, dataset, backbone, overrides={**tiny_keys, **keys})
            data = run_data(config)
            built = config.method_class(config, data)
            return pretraining_key(built, seed, data.split, method)

        return of

    @pytest.mark.parametrize(
        "keys",
        [
            {"seed": 2},
            {"backbone": "WideDeep"},
            {"mlp_hidden_size": [8]},
            {"dropout_prob": 0.4},
            {"embedding_size": 8},
            {"embedding_init": "uniform"},
            {"learning_rate": 0.01},
            {"weight_decay": 0.01},
            {"precision": "bf16"},
            {"pretrain_epochs": 2},
            {"train_batch_size": 50},
            {"table_update": "lazy"},
            {"id_first_order": "off"},
            {"use_timestamp": True},
            {"use_count": True},
            {"pooling": "sum_with_pad"},
            {"cold_threshold": 33},
            {"cold_side": "user", "cold_threshold": 20},
            {"threshold": {"rating": 3}},
            {"load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}},
            {"method": "DropoutNet"},
            {"method": "DropoutNet", "dropoutnet_rate": 0.2},
            {"method": "DropoutNet", "dropoutnet_mean": "table"},
        ],
    )
    def test_changes_with_all_that_pretraining_reads(self, key, keys):
        assert key(**keys) != key()

    def test_differs_between_rates(self, key):
        assert key("DropoutNet", dropoutnet_rate=0.2) != key("DropoutNet", dropoutnet_rate=0.3)

    @pytest.mark.parametrize(
        "keys",
        [
            {"warm_epochs": 7},
            {"warm_steps": 7},
            {"warm_learning_rate": 0.1},
            {"new_item_init": "zero"},
            {"id_first_order": "zero"},
            {"batch_norm": "moving"},
            {"eval_on": "next"},
            {"metrics": ["AUC"]},
            {"side_includes_id": True},
            {"count_source": "full"},  # the count is no input here
            {"eval_batch_size": 5},
            {"num_threads": 2},
            {"checkpoint_seconds": 5},
            {"method": "MWUF", "mwuf_users": "positive"},
            {"method": "MetaE"},
            {"method": "CVAR", "cvar_iters": 3},
            {"method": "DropoutNet", "dropoutnet_rate": 0.0},
        ],
    )
    def test_stays_with_what_pretraining_does_not_read(self, key, keys):
        assert key(**keys) == key()

    def test_what_is_counted_matters_once_the_count_is_an_input(self, key):
        assert key(use_count=True) != key(use_count=True, count_source="full")

    def test_changes_with_the_data(self, key, tmp_path, write_atomic, tiny_path):
        inter = [line.split("\t") for line in (tiny_path / "tiny.inter").read_text().splitlines()]
        inter[1][2] = "5" if inter[1][2] != "5" else "1"
        write_atomic(tmp_path / "tiny", "tiny", inter=inter)
        for suffix in ("user", "item"):
            name = f"tiny.{suffix}"
            (tmp_path / "tiny" / name).write_bytes((tiny_path / name).read_bytes())
        assert key(data_path=str(tmp_path)) != key()

    def test_the_same_data_elsewhere_is_the_same(self, key, tmp_path, tiny_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "tiny").symlink_to(tiny_path)
        assert key(data_path=str(tmp_path / "elsewhere")) == key()

    PLUGIN = (
        "from recbole_cold.model._method import ColdStartRecommender\n"
        "class Mine(ColdStartRecommender):\n"
    )

    def test_a_plug_ins_yaml_that_changes_the_backbone_changes_the_key(self, key, tmp_path):
        (tmp_path / "mine.py").write_text(self.PLUGIN + "    pass\n")
        assert key(str(tmp_path / "mine.py")) == key()
        (tmp_path / "Mine.yaml").write_text("my_own: 3  # no part of the backbone\n")
        assert key(str(tmp_path / "mine.py")) == key()
        keys = {key(str(tmp_path / "mine.py"))}
        for rate in (0.4, 0.5):
            (tmp_path / "Mine.yaml").write_text(f"dropout_prob: {rate}  # of the backbone\n")
            keys.add(key(str(tmp_path / "mine.py")))
        assert len(keys) == 3

    def test_a_plug_in_with_pretraining_of_its_own_shares_with_nobody(self, key, tmp_path):
        body = "    def pretrain_fits(self):\n        return []\n"
        (tmp_path / "mine.py").write_text(self.PLUGIN + body)
        (tmp_path / "Mine.yaml").write_text("my_own: 3  # read while pre-training\n")
        mine = str(tmp_path / "mine.py")
        assert key(mine) != key()
        assert key(mine, my_own=4) != key(mine)

    def test_another_text_of_a_backbones_file_changes_the_key(self, key, tmp_path):
        path = tmp_path / "mine.py"
        text = (
            "from recbole.model.context_aware_recommender.deepfm import DeepFM\n"
            "class Mine(DeepFM):\n    number = 1\n"
        )
        keys = []
        for number in (1, 1, 2):
            path.write_text(text.replace("number = 1", f"number = {number}"))
            for name in [name for name in sys.modules if name.startswith("recbole_cold_file_mine")]:
                del sys.modules[name]  # as in a new process
            keys.append(key(backbone=str(path)))
        assert keys[0] == keys[1] != keys[2]


# ------------------------------------------------------------------------- matched steps
class TestMatchedSteps:
    def test_the_plain_row_takes_as_many_steps_as_the_longest_method(self, run):
        document = run("Base,MWUF,CVAR")
        most = stage(document, "CVAR", "warm_a")["steps"]
        assert labels(document) == ["Base", "MWUF", "CVAR", f"Base ({most} steps)"]
        matched = document["runs"][-1]
        assert matched["matched_steps"] == most
        assert matched["variant"] == {"warm_steps": most}
        for name in WARM:
            assert stage(document, matched["label"], name)["steps"] == most
        # The same cold start, and more of the same afterwards.
        plain = run_of(document, "Base")
        cold, warm = (
            [r["seeds"][0]["phases"][name] for r in (plain, matched)] for name in ("cold", "warm_c")
        )
        assert cold[0] == cold[1]
        assert warm[0] != warm[1]

    def test_it_is_there_without_base_too(self, run):
        document = run("MWUF")
        steps = stage(document, "MWUF", "warm_a")["steps"]
        assert labels(document) == ["MWUF", f"Base ({steps} steps)"]

    def test_one_for_all_seeds(self, run):
        document = run("Base,CVAR", seeds=2)
        assert len(document["runs"]) == 3
        assert [len(r["seeds"]) for r in document["runs"]] == [2, 2, 2]

    def test_no_second_row_with_the_same_budget(self, run):
        assert labels(run("Base")) == ["Base"]
        assert labels(run("Base,MWUF,CVAR", warm_steps=6)) == ["Base", "MWUF", "CVAR"]
        assert labels(run("Base,MWUF,Base[warm_steps=2]")) == ["Base", "MWUF", "Base[warm_steps=2]"]

    def test_switched_off(self, run):
        assert labels(run("Base,CVAR", matched_row=False)) == ["Base", "CVAR"]


# ------------------------------------------------------------------------- documents
class TestDocument:
    def test_all_methods_all_phases(self, run):
        document = run(METHODS)
        assert document["phases"] == ["cold", *WARM]
        assert document["schema"] == 1
        assert document["command"] == "a command"
        assert document["threads"] == 1
        assert document["metrics"] == ["AUC", "WithinAUC", "LogLoss", "CalibratedLogLoss"]
        assert (document["smallest_effect"], document["wilcoxon"]) == (0.002, False)
        counts = document["split"]["counts"]
        for result in document["runs"]:
            (seed,) = result["seeds"]
            assert list(seed["phases"]) == document["phases"]
            for phase in seed["phases"].values():
                assert phase["rows"] == counts["test"]
                assert set(phase["metrics"]) == set(document["metrics"])
            assert [s["name"] for s in seed["stages"]] == ["pretrain", "learn", *WARM]
        json.dumps(document)

    def test_seeds_repeat_everything(self, run, numbers):
        three, one = run("Base,MWUF", seeds=3, seed=11), run("Base,MWUF", seed=12)
        assert [s["seed"] for s in three["runs"][0]["seeds"]] == [11, 12, 13]
        for label in ("Base", "MWUF"):
            middle = run_of(three, label)["seeds"][1]
            alone = run_of(one, label)["seeds"][0]
            assert middle["phases"] == alone["phases"]
        cold = [s["phases"]["cold"]["metrics"]["AUC"] for s in run_of(three, "Base")["seeds"]]
        assert len(set(cold)) == 3

    def test_next_scores_each_phase_on_the_rows_that_follow(self, run):
        document = run("Base", eval_on="next")
        counts = document["split"]["counts"]
        phases = document["runs"][0]["seeds"][0]["phases"]
        assert [p["rows"] for p in phases.values()] == [
            counts[name] for name in ("warm_a", "warm_b", "warm_c", "test")
        ]

    def test_common_phases(self, run):
        document = run("Base,MWUF", common_phases=2, common_size=1)
        assert document["phases"] == ["cold", *WARM, "common_1", "common_2"]
        counts = document["split"]["counts"]
        assert counts["common_1"] > 0
        for result in document["runs"]:
            seed = result["seeds"][0]
            assert [s["name"] for s in seed["stages"]][-2:] == ["common_1", "common_2"]
            assert all(p["rows"] == counts["test"] for p in seed["phases"].values())

    def test_fit_on_valid_sees_no_new_item(self, run, tiny_keys):
        document = run("Base,MWUF", fit_on="valid")
        assert document["split"]["rule"] == "pseudo-new"
        config = make_config("Base", "tiny", overrides={**tiny_keys, "fit_on": "valid"})
        dataset = load_data(config)
        tuning = make_split(dataset, config)
        final = make_split(dataset, make_config("Base", "tiny", overrides=tiny_keys))
        assert set(tuning.new_ids) < set(final.old_ids)
        used = {int(row) for rows in tuning.parts.values() for row in rows}
        assert used <= {int(row) for row in final["train"]}

    def test_cold_users(self, run):
        document = run(METHODS, cold_side="user", cold_threshold=20, warm_size=3)
        assert document["split"]["cold_side"] == "user"
        assert all(len(r["seeds"][0]["phases"]) == 4 for r in document["runs"])

    @pytest.mark.parametrize("switch", ["released", "strict"])
    def test_protocols_run_through(self, run, switch):
        document = run(METHODS, protocol=switch, matched_row=False)
        assert document["protocol"] == switch
        assert document["share_pretrained"] is (switch == "released")
        config = run_of(document, "MWUF")["config"]
        assert config["use_count"] is config["use_timestamp"] is (switch == "released")

    def test_data_without_times(self, run, tmp_path, write_atomic, tiny_path):
        inter = [line.split("\t") for line in (tiny_path / "tiny.inter").read_text().splitlines()]
        write_atomic(tmp_path / "timeless", "timeless", inter=[row[:3] for row in inter])
        document = run(
            "Base,DropoutNet,CVAR", dataset="timeless", data_path=str(tmp_path), seeds=2, seed=1
        )
        assert document["split"]["order"] == "seeded permutation"
        assert any("seeded permutation" in note for note in document["notes"])
        # Each seed draws its own order: other rows are tested on.
        first, second = (s["phases"]["cold"] for s in document["runs"][0]["seeds"])
        assert first["rows"] == second["rows"]
        assert first["positives"] != second["positives"]

    def test_rows_of_a_table_may_see_other_data(self, run, monkeypatch):
        loads = []
        monkeypatch.setattr(module, "load_data", lambda c: (loads.append(1), load_data(c))[1])
        models = "Base,MWUF,Base[use_timestamp=True],Base[cold_threshold=33]"
        document = run(models, seeds=2, matched_row=False)
        # Once for each kind of data, not for each row and seed; another split is no other data.
        assert len(loads) == 2
        plain, timed, other = (
            run_of(document, label)["parameters"]["backbone"]
            for label in ("Base", "Base[use_timestamp=true]", "Base[cold_threshold=33]")
        )
        assert timed > plain == other

    def test_equal_requests_have_equal_numbers(self, run, numbers, tmp_path):
        keys = {"dropout_prob": 0.2, "matched_row": False}
        first = run(METHODS, cache_dir=str(tmp_path / "one"), **keys)
        second = run(METHODS, cache_dir=str(tmp_path / "two"), **keys)
        assert numbers(first) == numbers(second)

    def test_order_of_methods_does_not_matter(self, run, numbers, tmp_path):
        there = run("Base,MWUF,CVAR", matched_row=False, cache_dir=str(tmp_path / "one"))
        back = run("CVAR,MWUF,Base", matched_row=False, cache_dir=str(tmp_path / "two"))
        for label in labels(there):
            one, other = run_of(there, label), run_of(back, label)
            assert one["seeds"][0]["phases"] == other["seeds"][0]["phases"]


# ------------------------------------------------------------------------- files
class TestFiles:
    @pytest.fixture
    def asked(self, tiny_keys, tmp_path):
        keys = {
            **tiny_keys,
            "embedding_size": 4,
            "train_batch_size": 64,
            "show_progress": False,
            "saved_dir": str(tmp_path / "saved"),
        }
        return lambda models: Request(models, "tiny", None, (), keys, "a command")

    def test_nothing_is_written_before_the_folder_is_opened(self, asked, tmp_path):
        Experiment(asked("Base,MWUF")).prepare()
        assert not (tmp_path / "saved").exists()

    def test_order_of_files(self, asked, monkeypatch):
        """What a resumed run reads is there before the run begins."""
        written = []
        replace = os.replace
        monkeypatch.setattr(
            store.os, "replace", lambda a, b: (written.append(Path(b)), replace(a, b))[1]
        )
        experiment = Experiment(asked("Base,MWUF[mwuf_parts=[scale]]"))
        experiment.prepare()
        folder = experiment.open_folder(new_folder)
        names = [str(path.relative_to(folder)) for path in written if folder in path.parents]
        assert names == [
            "request.json",
            "split.npz",
            "split.json",
            "Base/config.yaml",
            "MWUF_mwuf_parts=_scale/config.yaml",
        ]
        written.clear()
        experiment.run()
        names = [str(path.relative_to(folder)) for path in written if folder in path.parents]
        assert names[0].startswith("Base/state/")
        assert names.index("results.json") < names.index(
            next(name for name in names if name.startswith("MWUF"))
        )
        assert names[-1] == "results.json"
        assert not list(folder.glob("*/state"))

    def test_config_of_an_entry_repeats_its_run(self, asked, tmp_path):
        experiment = Experiment(asked("Base,MWUF[mwuf_users=positive]"))
        experiment.prepare()
        folder = experiment.open_folder(new_folder)
        document = experiment.run()
        path = folder / "MWUF_mwuf_users=positive" / "config.yaml"
        assert yaml.safe_load(path.read_text())["mwuf_users"] == "positive"
        again = Request("MWUF", "tiny", None, (str(path),), {}, "a command")
        repeated = Experiment(again).run()
        assert (
            run_of(repeated, "MWUF")["seeds"][0]["phases"]
            == run_of(document, "MWUF[mwuf_users=positive]")["seeds"][0]["phases"]
        )

    def test_two_runs_of_one_second_have_two_folders(self, asked):
        experiment = Experiment(asked("Base"))
        config = experiment.first()
        folders = {new_folder(experiment.request, config) for _ in range(3)}
        assert len(folders) == 3
        assert all((folder / "request.json").exists() for folder in folders)

    def test_labels_with_one_file_name_have_two_folders(self, asked, tmp_path):
        experiment = Experiment(asked("Base[new_item_init=zero],Base[mlp_hidden_size=[4,2]]"))
        experiment.folder = tmp_path
        long = Entry("Base", {"mlp_hidden_size": list(range(100))})
        twins = [Entry("Base", {"fc": "a b"}), Entry("Base", {"fc": "a,b"})]
        experiment.entries = [*experiment.entries, long, *twins]
        folders = [experiment._entry_folder(entry).name for entry in experiment.entries]
        assert len(set(folders)) == 5
        assert max(map(len, folders)) < 80
        assert folders[0] == "Base_new_item_init=zero"

    def test_description(self, asked):
        text = Experiment(asked("Base")).describe()
        assert "60 users, 40 items" in text
        assert "genre" in text
        assert "token_seq" in text
        assert "15 old and 18 new items, 7 dropped" in text
