"""A run keeps its model: which, where, whole; a folder is enough, and no number of a run moves."""

import json
import os
import shutil
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from kept_here import assert_no_pickle

import recbole_cold
from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.errors import UserError, WriteError
from recbole_cold.experiment import model_folder
from recbole_cold.store import write_bytes
from recbole_cold.training import trainer

NAMES = {"model.json", "weights.pt", "items.parquet", "users.parquet", "tokens"}


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(report, "plot_curves", lambda _, path, bands: write_bytes(path, b"curves"))


class TestFolder:
    def test_one_after_each_phase_that_is_asked_for(self, kept):
        for method in ("Base", "MWUF", "CVAR"):
            for name, phase in (("model", "warm_c"), ("model-cold", "cold")):
                folder = kept.folder / method / name
                assert {path.name for path in folder.iterdir()} == NAMES
                about = json.loads((folder / "model.json").read_text())
                assert (about["label"], about["phase"], about["seed"]) == (method, phase, 2020)
                assert about["label_rule"] == {"field": "rating", "least": 4}
        left = [path for path in kept.folder.rglob(".*")]
        assert left == []

    def test_tokens_by_code(self, kept):
        folder = kept.folder / "MWUF" / "model"
        fields = {f["name"]: f for f in json.loads((folder / "model.json").read_text())["fields"]}
        for name, rows in (("item_id", kept.items), ("user_id", kept.users), ("year", kept.items)):
            tokens = pq.read_table(folder / "tokens" / fields[name]["tokens"])["token"].to_pylist()
            assert tokens[0] == "[PAD]" and len(tokens) == fields[name]["size"]
            assert set(tokens[1:]) == set(rows[name])

    def test_items_with_features_counts_and_vectors(self, kept):
        folder = kept.folder / "MWUF" / "model"
        items = pq.read_table(folder / "items.parquet").to_pandas().set_index("item_id")[1:]
        assert len(items) == len(kept.items)
        given = kept.items.set_index("item_id").loc[items.index]
        assert np.array_equal(items["price"], given["price"].astype(float))
        assert dict(items["status"].value_counts()) == {"old": 15, "new": 18, "listed": 7}
        new = items[items["status"] == "new"]
        assert set(new["visible_rows"]) == {9}  # three phases of three rows
        fitted = recbole_cold.load(kept.folder, "MWUF")
        assert np.array_equal(np.stack(new["vector"]), fitted.vectors(list(new.index)))
        in_log = kept.inter[kept.inter["item_id"] == new.index[0]]
        clicks = (in_log.assign(time=in_log["timestamp"].astype(float)).sort_values("time")
                  ["rating"].astype(int).iloc[:9] >= 4).sum()  # fmt: skip
        assert abs(int(new["clicks"].iloc[0]) - clicks) <= 1  # two rows may share a second

    def test_weights_need_no_pickle(self, kept):
        paths = [*kept.folder.glob("*/model*/weights.pt")]
        assert len(paths) == 6
        for path in paths:
            assert_no_pickle(path)

    def test_a_failed_write_leaves_what_was_there(self, kept, tmp_path, monkeypatch):
        fitted = recbole_cold.load(kept.folder, "Base")
        place = tmp_path / "model"
        place.mkdir()
        (place / "old").touch()

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(model_folder.pq, "write_table", full)
        with pytest.raises(WriteError, match=r"No space left .*--keep_model=False"):
            model_folder.write_model(place, fitted.method, fitted.dataset, np.arange(2), {})
        assert [path.name for path in tmp_path.rglob("*")] == ["model", "old"]


class TestWhen:
    @pytest.fixture
    def go(self, tiny_flags, tmp_path, no_pictures, capsys):
        def run(*words):
            code = main([*tiny_flags, "--bootstrap_resamples=0", "--matched_row=False", *words])
            (folder,) = (tmp_path / "saved").iterdir()
            there = sorted(path.parent.relative_to(folder).as_posix()
                           for path in folder.glob("**/model.json"))  # fmt: skip
            return code, there, capsys.readouterr().err, folder

        return run

    def test_the_default_is_the_last_phase_of_one_seed(self, go):
        assert go("--model=ItemBias")[:2] == (0, ["ItemBias/model"])

    @pytest.mark.slow
    def test_no_model_where_there_are_several_seeds(self, go):
        assert go("--model=Base", "--seeds=2")[:2] == (0, [])

    @pytest.mark.slow
    def test_several_seeds_are_asked_for(self, go):
        code, there, _, folder = go("--model=Base", "--seeds=2", "--keep_model=True")
        assert (code, there) == (0, ["Base/model-seed-2020", "Base/model-seed-2021"])
        assert recbole_cold.load(f"{folder}/Base@2021").about["seed"] == 2021
        with pytest.raises(UserError, match="several models: Base@2020 after warm_c, Base@2021"):
            recbole_cold.load(folder)
        with pytest.raises(UserError, match="no such model: Base@2020"):
            recbole_cold.load(f"{folder}/Base@7")

    @pytest.mark.slow
    def test_one_that_cannot_be_kept_is_told(self, go):
        code, there, err, _ = go("--model=Base", "--backbone=DIN", "--warm_sets=0")
        assert (code, there) == (0, [])
        assert "the model of Base cannot be kept, because DIN reads histories, which" in err

    def test_one_that_cannot_be_kept_is_refused_where_it_is_asked_for(self, go):
        words = "--backbone=DIN", "--warm_sets=0", "--keep_model=True"
        code, there, err, _ = go("--model=Base", *words)
        assert (code, there) == (2, [])
        assert "error: Base, seed 2020: the model of Base cannot be kept, because DIN" in err

    def test_no_folder_no_model(self, kept, tiny_path):
        with pytest.raises(UserError, match="keep_model: True keeps models in the folder of a run"):
            recbole_cold.run("Base", "tiny", seeds=1, saved_dir=None, keep_model=True,
                             data_path=str(tiny_path.parent), threshold={"rating": 4},
                             cold_threshold=30, warm_size=3)  # fmt: skip

    @pytest.mark.slow
    def test_tables_of_trials_keep_none(self, tiny_flags, capsys):
        assert main(["compare", *tiny_flags, "--models=Base,MWUF", "--keep_model=True"]) == 2
        assert "and a table of trials writes no such folder" in capsys.readouterr().err

    def test_an_unknown_phase(self, tiny_flags, capsys):
        assert main([*tiny_flags, "--model=Base", "--keep_phases=[warm_d]"]) == 2
        assert "keep_phases names 'warm_d', which is no phase of this run; did you mean 'warm_" in (
            capsys.readouterr().err
        )

    def test_a_stopped_run_keeps_the_same_model_and_numbers(
        self, tiny_flags, tmp_path, numbers, no_pictures, monkeypatch
    ):
        """Stopped while it learns warm_b: what cold left is not written from a later state."""
        flags = [flag for flag in tiny_flags if not flag.startswith("--saved_dir")]
        words = [*flags, "--model=CVAR[cvar_iters=2]", "--bootstrap_resamples=0",
                 "--matched_row=False"]  # fmt: skip
        keep = "--keep_phases=[cold, warm_c]"
        assert main([*words, keep, f"--saved_dir={tmp_path / 'whole'}"]) == 0
        assert main([*words, "--keep_model=False", f"--saved_dir={tmp_path / 'none'}"]) == 0
        checkpoint = trainer.Trainer._checkpoint

        def counted(self, stage, *args):
            if stage == "warm_b":
                os.kill(os.getpid(), signal.SIGINT)
            checkpoint(self, stage, *args)

        with monkeypatch.context() as patch:
            patch.setattr(trainer.Trainer, "_checkpoint", counted)
            assert main([*words, keep, f"--saved_dir={tmp_path / 'cut'}"]) == 130
        (cut,) = (tmp_path / "cut").iterdir()
        assert main([f"--resume={cut}"]) == 0
        (whole,), (none,) = ((tmp_path / name).iterdir() for name in ("whole", "none"))
        assert (
            numbers(report.load(cut)) == numbers(report.load(whole)) == numbers(report.load(none))
        )
        for name in ("model", "model-cold"):
            one, other = (
                json.loads(next(run.glob(f"*/{name}/model.json")).read_text())
                for run in (whole, cut)
            )
            states = [torch.load(next(run.glob(f"*/{name}/weights.pt")), weights_only=True)
                      for run in (whole, cut)]  # fmt: skip
            assert all(torch.equal(each, states[1][key]) for key, each in states[0].items())
            tables = {file for file in one["sha256"] if file.endswith("parquet")}
            assert {f: one["sha256"][f] for f in tables} == {f: other["sha256"][f] for f in tables}


class TestFinding:
    @pytest.fixture
    def copied(self, kept, tmp_path):
        shutil.copytree(kept.folder / "Base" / "model", tmp_path / "model")
        return tmp_path / "model"

    def test_addresses(self, kept):
        for run, method in (
            (f"{kept.folder}/MWUF@2020", None), (f"{kept.folder}/MWUF", None),
            (kept.folder / "MWUF" / "model", None), (kept.folder, "MWUF"),
        ):  # fmt: skip
            about = recbole_cold.load(run, method).about
            assert (about["label"], about["phase"]) == ("MWUF", "warm_c")
        assert recbole_cold.load(kept.folder, "MWUF", phase="cold").about["phase"] == "cold"

    def test_several(self, kept):
        with pytest.raises(UserError, match=r"has several models: .*MWUF@2020 after warm_c"):
            recbole_cold.load(kept.folder)

    def test_none(self, tmp_path):
        with pytest.raises(UserError, match="is not the folder of a run"):
            recbole_cold.load(tmp_path)
        (tmp_path / "request.json").write_text("{}")
        with pytest.raises(UserError, match="kept no model; run it again with --keep_model=True"):
            recbole_cold.load(tmp_path)
        with pytest.raises(UserError, match="is no folder"):
            recbole_cold.load(tmp_path / "a" / "b")

    def test_half_written_folders_are_not_there(self, kept, tmp_path):
        (tmp_path / "request.json").write_text("{}")
        shutil.copytree(kept.folder / "Base" / "model", tmp_path / "Base" / ".model.77")
        with pytest.raises(UserError, match="kept no model"):
            recbole_cold.load(tmp_path)

    @pytest.mark.parametrize("name", ["weights.pt", "items.parquet"])
    def test_altered(self, copied, name):
        path = copied / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(UserError, match=f"was altered: the SHA-256 of '{name}'"):
            recbole_cold.load(copied)

    def test_not_whole(self, copied):
        (copied / "users.parquet").unlink()
        with pytest.raises(UserError, match=r"is not whole: 'users.parquet' cannot be read"):
            recbole_cold.load(copied)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": 99}, "has format 99, and this recbole_cold reads up to 2"),
            ({"config": None}, "is damaged .it lacks 'config'"),
            ({"format": "x"}, "is damaged"),
        ],
    )
    def test_model_json(self, copied, change, message):
        path = copied / "model.json"
        about = {**json.loads(path.read_text()), **change}
        path.write_text(json.dumps({k: v for k, v in about.items() if v is not None}))
        with pytest.raises(UserError, match=message):
            recbole_cold.load(copied)

    def test_code_of_another_user(self, copied, monkeypatch):
        path = copied / "model.json"
        about = json.loads(path.read_text())
        path.write_text(json.dumps({**about, "method": "evil.py"}))
        user = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
        if user == 0:  # root's files are trusted
            os.chown(path, 12345, -1)
        with pytest.raises(UserError, match="belongs to another user and names code"):
            recbole_cold.load(copied)
