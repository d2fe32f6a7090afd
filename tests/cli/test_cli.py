"""The door: what it prints, its exit codes, and one sentence for every bad input."""

import errno
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from recbole_cold import report, store
from recbole_cold.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def saved(tmp_path):
    """What is in the folder that runs are saved in."""

    def names():
        folder = tmp_path / "saved"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    return names


@pytest.fixture
def refused(tiny_flags, capsys, saved):
    """``refused("--key=value")``: the one sentence; a later flag replaces an earlier one."""

    def go(*words):
        names = {word.partition("=")[0] for word in words}
        flags = [flag for flag in tiny_flags if flag.partition("=")[0] not in names]
        words = [word for word in words if not word.endswith("=-")]  # "--key=-" leaves it out
        code = main([*flags, *words])
        out, err = capsys.readouterr()
        assert code == 2, err
        assert out == ""
        assert "Traceback" not in err
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        assert saved() == []
        return line.removeprefix("error: ")

    return go


@pytest.fixture
def run(tiny_flags, tmp_path, monkeypatch):
    """Runs on ``tiny``; the exit code and the newest run's document."""

    # Drawn once, in TestRun: curves take longer than these runs.
    monkeypatch.setattr(report, "plot_curves", lambda *_, **__: None)

    def go(*words):
        names = {word.partition("=")[0] for word in words}
        flags = [flag for flag in tiny_flags if flag.partition("=")[0] not in names]
        code = main([*flags, *words])
        folders = sorted((tmp_path / "saved").iterdir(), key=lambda f: f.stat().st_mtime_ns)
        return code, report.load(folders[-1])

    return go


def atomic(tiny_path, folder, name="own", **changes):
    """A copy of ``tiny`` under another name: ``inter=lambda rows: ...`` changes a file's rows,
    ``item=None`` leaves it out."""
    target = folder / name
    target.mkdir()
    for suffix in ("inter", "user", "item"):
        rows = [line.split("\t") for line in (tiny_path / f"tiny.{suffix}").read_text().split("\n")]
        change = changes.get(suffix, lambda rows: rows)
        if change is not None:
            text = "\n".join("\t".join(row) for row in change(rows))
            (target / f"{name}.{suffix}").write_text(text)
    return [f"--dataset={name}", f"--data_path={folder}"]


class TestCheck:
    def test_ml_100k(self, capsys):
        assert main(["check", "--dataset=ml-100k"]) == 0
        text = capsys.readouterr().out
        assert "100,000 rows, 943 users, 1,682 items" in text
        assert re.search(r"^  item_id +token +item_id +1,683 tokens", text, re.MULTILINE)
        assert re.search(r"^train +\d+,\d+ ", text, re.MULTILINE)
        assert "old and" in text

    def test_says_what_to_know(self, capsys, tiny_flags, tiny_path, tmp_path):
        rows = lambda rows: [row[:3] for row in [*rows[:2], rows[1], *rows[2:]]]  # noqa: E731
        own = atomic(tiny_path, tmp_path, inter=rows, user=None)
        flags = [flag for flag in tiny_flags if not flag.startswith("--data")]
        assert main(["check", *flags, *own]) == 0
        notes = [n for n in capsys.readouterr().out.splitlines() if n.startswith("note: ")]
        assert any("1 " in n and "repeat" in n for n in notes)
        assert any("seeded permutation" in n for n in notes)
        assert any("no user features" in n for n in notes)

    def test_trains_and_writes_nothing(self, tiny_flags, saved):
        assert main(["check", *tiny_flags]) == 0
        assert saved() == []

    def test_of_the_models_in_a_file(self, tiny_flags, tmp_path, capsys):
        """A file that runs must check, the keys of its method included."""
        (tmp_path / "a.yaml").write_text("model: MWUF\nmwuf_users: positive\n")
        assert main(["check", *tiny_flags, f"--config_files={tmp_path / 'a.yaml'}"]) == 0
        assert "15 old and 18 new items" in capsys.readouterr().out


# ------------------------------------------------------------------------- runs
class TestRun:
    def test_table_on_stdout_messages_on_stderr(self, tiny_flags, capsys, saved, tmp_path):
        assert main([*tiny_flags, "--model=Base,MWUF"]) == 0
        out, err = capsys.readouterr()
        (name,) = saved()
        folder = tmp_path / "saved" / name
        assert "AUC" in out
        assert "MWUF" in out
        assert (folder / "table.txt").read_text() in out
        for file in ("results.json", "results.md", "figures/curves.png", "log.txt", "split.json"):
            assert (folder / file).stat().st_size > 0
        assert f"folder {folder}" in err
        assert "Traceback" not in err
        assert "MWUF, seed 2020: cold" in (folder / "log.txt").read_text()

    def test_the_command_in_the_results_repeats_them(self, run, tiny_flags, numbers, capsys):
        code, first = run("--model=MWUF[mwuf_parts=[scale]]", "--seeds=2")
        assert code == 0
        program, *words = shlex.split(first["command"])
        assert program == "recbole-cold"
        assert main(words) == 0
        flags = [word for word in words if word.partition("=")[0] not in ("--model", "--seeds")]
        assert set(tiny_flags) == set(flags)
        _, second = run("--model=MWUF[mwuf_parts=[scale]]", "--seeds=2")
        assert numbers(first) == numbers(second)

    def test_a_second_run_leaves_the_first_alone(self, run, saved, tmp_path):
        run("--model=Base")
        (first,) = saved()
        before = {p: p.read_bytes() for p in (tmp_path / "saved").rglob("*") if p.is_file()}
        run("--model=Base")
        assert len(saved()) == 2
        assert all(path.read_bytes() == content for path, content in before.items())
        assert first in saved()

    def test_files_then_command_line(self, run, tmp_path):
        one, two = tmp_path / "one file.yaml", tmp_path / "two.yaml"
        one.write_text("model: Base\nseed: 1\nwarm_epochs: 2\nlearning_rate: 0.5\n")
        two.write_text("seed: 2\nwarm_epochs: 3\n")
        files = shlex.join([str(one), str(two)])
        code, document = run(f"--config_files={files}", "--warm_epochs=4")
        assert code == 0
        (result,) = document["runs"]
        assert result["model"] == "Base"
        config = result["config"]
        assert (config["seed"], config["warm_epochs"], config["learning_rate"]) == (2, 4, 0.5)

    @pytest.mark.parametrize("models", ["Base,MWUF", ["Base", "MWUF"]])
    def test_models_and_data_from_a_file(self, run, tmp_path, models):
        path = tmp_path / "a.yaml"
        values = {
            "model": models,
            "dataset": "tiny",
            "backbone": "WideDeep",
            "matched_row": False,
        }
        path.write_text(yaml.safe_dump(values))
        code, document = run(f"--config_files={path}", "--dataset=tiny")
        assert code == 0
        assert [r["model"] for r in document["runs"]] == ["Base", "MWUF"]
        assert {r["backbone"] for r in document["runs"]} == {"WideDeep"}

    def test_data_named_only_in_a_file(self, tiny_flags, tmp_path):
        (tmp_path / "a.yaml").write_text("dataset: tiny\nmodel: Base\n")
        flags = [flag for flag in tiny_flags if not flag.startswith("--dataset")]
        assert main([*flags, f"--config_files={tmp_path / 'a.yaml'}"]) == 0

    def test_bars_on_stderr_only(self, tiny_flags, capsys, monkeypatch):
        flags = [flag for flag in tiny_flags if not flag.startswith("--show")]
        assert main([*flags, "--model=Base", "--show_progress=True"]) == 0
        assert "step/s" not in capsys.readouterr().err  # no terminal: a file gets no bars
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert main([*flags, "--model=Base", "--show_progress=True"]) == 0
        out, err = capsys.readouterr()
        assert "step" in err
        assert "warm_a" in err
        assert "step/s" not in out
        assert main([*flags, "--model=Base", "--show_progress=False"]) == 0
        assert "step/s" not in capsys.readouterr().err

    def test_own_logging_of_a_process_returns(self, run):
        logger = logging.getLogger("recbole_cold")
        before = logger.handlers[:], logger.level, logger.propagate
        run("--model=Base")
        assert (logger.handlers, logger.level, logger.propagate) == before
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def test_threads(self, run):
        before = torch.get_num_threads()
        try:
            assert run("--model=Base", "--num_threads=2")[1]["threads"] == 2
            assert run("--model=Base", "--num_threads=0")[1]["threads"] == 2  # left alone
            assert run("--model=Base")[1]["threads"] == 1
        finally:
            torch.set_num_threads(before)

    def test_gpu_that_is_only_a_wish(self, run, capsys, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert run("--model=Base", "--gpu_id=0")[1]["device"].startswith("cpu")
        assert capsys.readouterr().err.count("running on the CPU") <= 1  # said once a process

    def test_from_another_folder(self, tiny_flags, tmp_path):
        """The script in a checkout, started from elsewhere: paths are the user's."""
        flags = [flag for flag in tiny_flags if not flag.startswith("--saved_dir")]
        done = subprocess.run(
            [sys.executable, ROOT / "run_recbole_cold.py", *flags, "--model=Base"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stderr
        (folder,) = (tmp_path / "saved").iterdir()
        assert str(folder / "results.json") in done.stdout


class TestFailures:
    @pytest.fixture
    def bad(self, tmp_path):
        """A method that leaves the numbers, with one seed or with all."""
        (tmp_path / "bad.py").write_text(
            "from recbole_cold.model.base import Base\n"
            "class Bad(Base):\n"
            "    def cold_vectors(self):\n"
            "        worst = self.config['seed'] in self.config['bad_seeds']\n"
            "        return super().cold_vectors() * (float('nan') if worst else 1.0)\n"
        )
        (tmp_path / "Bad.yaml").write_text("bad_seeds: [1, 2]  # (list of int) that fail\n")
        return tmp_path / "bad.py"

    def test_others_go_on(self, run, bad, capsys, saved, tmp_path):
        code, document = run(f"--model=Base,{bad},MWUF", "--seed=1", "--seeds=2")
        assert code == 1
        out, err = capsys.readouterr()
        assert [r["label"] for r in document["runs"]][:2] == ["Base", "MWUF"]
        assert all(len(r["seeds"]) == 2 for r in document["runs"])
        assert "bad" not in out
        assert re.search(r"^failed: bad, seed 1: .* are not a number", err, re.MULTILINE)
        assert re.search(r"^failed: bad, seed 2: ", err, re.MULTILINE)
        (name,) = saved()
        assert main([f"--resume={tmp_path / 'saved' / name}"]) == 1  # and again on request
        assert "failed: bad, seed 1: " in capsys.readouterr().err

    def test_other_seeds_go_on(self, run, bad):
        code, document = run(f"--model={bad}", "--bad_seeds=[2]", "--seed=1", "--seeds=3")
        assert code == 1
        assert [s["seed"] for s in document["runs"][0]["seeds"]] == [1, 3]

    def test_a_crash_of_one_method_costs_its_row_only(self, run, capsys, saved, tmp_path):
        crash = tmp_path / "crash.py"
        crash.write_text(
            "from recbole_cold.model.base import Base\n"
            "class Crash(Base):\n"
            "    def loss(self, logits, interaction):\n"
            "        return [][1]\n"
        )
        code, document = run(f"--model=Base,{crash},MWUF", "--matched_row=False")
        out, err = capsys.readouterr()
        assert code == 1
        assert [r["label"] for r in document["runs"]] == ["Base", "MWUF"]
        assert "MWUF" in out and "Traceback" not in out + err
        (line,) = {line for line in err.splitlines() if line.startswith("failed: crash, seed")}
        assert "IndexError: list index out of range" in line
        (name,) = saved()
        (told,) = (tmp_path / "saved" / name).glob("crash/failure-seed-*.txt")
        assert str(told) in line and "return [][1]" in told.read_text()

    def test_nothing_left_is_an_error(self, tiny_flags, bad, capsys):
        assert main([*tiny_flags, f"--model={bad}", "--seed=1"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines()[-1].startswith("error: bad, seed 1: ")


# ------------------------------------------------------------------------- bad input
class TestNames:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--model=MWFU"], "model 'MWFU' is unknown; did you mean 'MWUF'?"),
            (["--model=Base,MWFU[x=1]"], "model 'MWFU' is unknown"),
            (["--model=no_such.module:A"], "no_such.module"),
            (["--model=no/such/file.py"], "file.py does not exist"),
            (["--model="], "--model has ''"),
            (["--model=DeepFM"], "write --model=Base --backbone=DeepFM"),
            (["--model=deepfm"], "write --model=Base --backbone=DeepFM"),
            (["--backbone=MWUF"], "write --model=MWUF --backbone=DeepFM"),
            (["--backbone=FM,DCN"], "recbole-cold compare --backbones=FM,DCN"),
            (["--model=Xyz"], "model 'Xyz' is unknown; `recbole-cold list` shows all"),
            (["--debug=1"], "--debug takes no value; write --debug"),
            (["--backbone=DeepMF"], "backbone 'DeepMF' is unknown; did you mean 'DeepFM'?"),
            (["--backbone=FFM"], "backbone 'FFM' cannot be wrapped"),
            (["--backbone=LR"], "backbone 'LR' cannot be wrapped"),
            (["--dataset=tinny"], "data set 'tinny'"),
            (["--dataset=tinny"], "did you mean 'tiny'?"),
            (["--data_path=/no/such/folder"], "'tiny' has no .inter file in /no/such/folder/tiny"),
            (["--warm_stpes=3"], "'warm_stpes' on the command line (did you mean 'warm_steps'?)"),
            (["--aaa=1", "--bbb=2"], "unknown keys: 'aaa' on the command line, 'bbb'"),
            (["--model=Base[warm_stpes=3]"], "'warm_stpes'"),
            (["--model=Base[seeds=3]"], "'seeds' in the brackets of 'Base[seeds=3]'"),
            (["--metrics=[AUC, Recall]"], "metric 'Recall'"),
            (["--eval_on=tset"], "eval_on 'tset'"),
            (["--protocol=strcit"], "protocol 'strcit' is none of strict, released; did you"),
            (["--fit_on=test"], "fit_on 'test'"),
            (["--warm_sets=-1"], "warm_sets must be a whole number of at least 0"),
            (["--common_phases=99"], "99 common phases"),
            (["--seeds=0"], "seeds must be"),
            (["--seeds=two"], "seeds must be"),
            (["--num_threads=-1"], "num_threads must be"),
            (["--learning_rate=0"], "learning_rate must be"),
            (["--learning_rate=fast"], "learning_rate must be"),
            (["--train_batch_size=0"], "train_batch_size must be"),
            (["--config_files=none.yaml"], "none.yaml does not exist"),
            (['--config_files="a.yaml'], "--config_files is not a list of paths"),
            (["--device=cuda"], "has no CUDA device"),
            (["--device=tpu"], "device 'tpu' is unknown"),
            (["--resume="], "--resume= names no folder"),
            (["--resume"], "leave out --"),
        ],
    )
    def test_refused(self, refused, monkeypatch, words, message):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert message in refused(*words)

    @pytest.mark.parametrize(
        ("model", "key", "known"),
        [
            ("DropoutNet", "dropoutnet_granularity", "row, batch"),
            ("DropoutNet", "dropoutnet_mean", "old, table"),
            ("DropoutNet", "dropoutnet_cold", "mean, raw"),
            ("MWUF", "mwuf_users", "all, positive, swapped"),
            ("MWUF", "mwuf_warm", "recompute, init_only"),
            ("MWUF", "mwuf_mean", "old, table"),
            ("MWUF", "mwuf_init", "default, uniform"),
            ("MetaE", "metae_generator", "mlp, tanh_dense"),
            ("MetaE", "metae_inner", "per_item, per_row_batchmean"),
            ("CVAR", "cvar_warm", "overwrite, init_only"),
        ],
    )
    def test_words_of_methods_keys(self, refused, model, key, known):
        assert f"{key} 'foo' is none of {known};" in refused(f"--model={model}", f"--{key}=foo")
        almost = known.split(", ")[0][:-1] or "x"
        sentence = refused(f"--model={model}", f"--{key}={almost}")
        assert f"{key} '{almost}' is none of {known};" in sentence

    def test_mwuf_parts(self, refused):
        assert "mwuf_parts" in refused("--model=MWUF", "--mwuf_parts=[scale, shfit]")

    def test_a_yaml_that_is_none(self, refused, tmp_path):
        (tmp_path / "a.yaml").write_text("a: [1\n")
        assert "not valid yaml" in refused(f"--config_files={tmp_path / 'a.yaml'}")
        (tmp_path / "a.yaml").write_text("- a\n- b\n")
        assert "must be a mapping" in refused(f"--config_files={tmp_path / 'a.yaml'}")

    def test_debug_shows_where(self, tiny_flags, capsys):
        assert main([*tiny_flags, "--model=MWFU", "--debug"]) == 2
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("error: model 'MWFU'")


class TestData:
    def test_missing_file(self, refused, tmp_path):
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "own.item").write_text("item_id:token\n1\n")
        sentence = refused("--dataset=own", f"--data_path={tmp_path}")
        assert f"no .inter file in {tmp_path}/own" in sentence

    def test_missing_features_that_are_asked_for(self, refused, tiny_path, tmp_path):
        own = atomic(tiny_path, tmp_path, item=None)
        columns = "--load_col={inter: [user_id, item_id, rating, timestamp], item: [item_id, year]}"
        assert "load_col asks for item features" in refused(*own, columns)

    def test_header_without_type(self, refused, tiny_path, tmp_path):
        header = lambda rows: [[rows[0][0], "item_id", *rows[0][2:]], *rows[1:]]  # noqa: E731
        sentence = refused(*atomic(tiny_path, tmp_path, inter=header))
        assert (
            "own.inter' has the column 'item_id', which is not of the form field:type" in sentence
        )

    def test_no_label_and_no_threshold(self, refused):
        sentence = refused("--threshold=-")
        assert "label" in sentence
        assert "threshold" in sentence

    def test_label_that_is_not_binary(self, refused):
        sentence = refused("--threshold=-", "--LABEL_FIELD=rating")
        assert "'rating'" in sentence
        assert "use only 0 and 1, or set threshold" in sentence

    def test_nan_label(self, refused, tiny_path, tmp_path):
        own = atomic(
            tiny_path,
            tmp_path,
            inter=lambda rows: [*rows[:5], [*rows[5][:2], "", *rows[5][3:]], *rows[6:]],
        )
        assert "1 interactions have no 'rating', the first in line 6" in refused(*own)

    def test_no_item_features(self, refused, tiny_path, tmp_path):
        own = atomic(tiny_path, tmp_path, item=None)
        sentence = refused(*own, "--model=Base,MetaE")
        assert "no side information for 'item_id'" in sentence

    @pytest.mark.parametrize(
        "words",
        [
            ["--cold_threshold=100000"],
            ["--cold_threshold=1"],
            ["--warm_size=10"],
            ["--warm_size=1000"],
            ["--warm_sets=20"],
        ],
    )
    def test_empty_split_names_counts_that_work(self, refused, run, words):
        sentence = refused("--model=Base", *words)
        found = re.search(r"cold_threshold=(\d+) and warm_size=(\d+) would give", sentence)
        assert found, sentence
        keep = [word for word in words if word.startswith("--warm_sets")]
        advised = [f"--cold_threshold={found[1]}", f"--warm_size={found[2]}"]
        code, document = run("--model=Base", *keep, *advised)
        assert code == 0
        counts = re.search(r"would give ([\d,]+) old and ([\d,]+) new", sentence)
        assert document["split"]["old"] == int(counts[1])
        assert document["split"]["new"] == int(counts[2])

    def test_repeated_rows_are_allowed_and_counted(self, run, tiny_path, tmp_path, capsys):
        own = atomic(tiny_path, tmp_path, inter=lambda rows: [*rows[:4], *rows[1:4], *rows[4:]])
        code, document = run(*own, "--model=Base")
        assert code == 0
        assert any(re.search(r"\b3 .*repeat", note) for note in document["notes"])
        assert re.search(r"\b3 .*repeat", capsys.readouterr().err)

    def test_a_log_without_times_is_said(self, run, tiny_path, tmp_path, capsys):
        own = atomic(tiny_path, tmp_path, inter=lambda rows: [row[:3] for row in rows])
        code, document = run(*own, "--model=Base")
        assert code == 0
        assert document["split"]["order"] == "seeded permutation"
        assert "seeded permutation" in capsys.readouterr().err


class TestFolders:
    def test_a_file_in_place_of_the_output_folder(self, refused, tmp_path):
        (tmp_path / "file").write_text("mine")
        sentence = refused(f"--saved_dir={tmp_path / 'file'}")
        assert "cannot create the run's folder" in sentence
        assert "choose another with --saved_dir" in sentence
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.skipif(not Path("/proc/version").exists(), reason="no /proc on this system")
    def test_an_output_folder_that_nobody_can_write(self, refused):
        assert "cannot create the run's folder '/proc/" in refused("--saved_dir=/proc")

    def test_a_read_only_output_folder(self, refused, monkeypatch):
        def read_only(*_args, **_kwargs):
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(os, "mkdir", read_only)
        assert "(Read-only file system)" in refused()

    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_a_disk_that_is_full_from_the_start_keeps_no_folder(self, refused, monkeypatch, after):
        """request.json, split.npz, split.json, ...: whichever is the first that does not fit."""
        fsync, calls = os.fsync, iter(range(1000))

        def full(descriptor):
            if next(calls) >= after:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(descriptor)

        monkeypatch.setattr(store.os, "fsync", full)
        assert "No space left on device" in refused("--model=Base")

    def test_a_cache_that_cannot_be_written_is_said_and_survived(self, run, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        code, document = run("--model=Base", f"--cache_dir={tmp_path / 'file'}")
        assert code == 0
        err = capsys.readouterr().err
        assert "nothing is cached under" in err
        assert "the pre-trained backbone is not cached" in err
        assert not document["runs"][0]["seeds"][0]["stages"][0]["cached"]

    def test_corrupt_caches_are_said_and_rebuilt(self, run, tmp_path, capsys, numbers):
        cache = tmp_path / "cache"
        _, first = run("--model=Base", f"--cache_dir={cache}")
        capsys.readouterr()
        for path in [*cache.rglob("*.npy"), *cache.rglob("*.pt")]:
            raw = bytearray(path.read_bytes())
            raw[-1] ^= 1
            path.write_bytes(raw)
        code, second = run("--model=Base", f"--cache_dir={cache}")
        assert code == 0
        err = capsys.readouterr().err
        assert re.search(r"the cached data set .* is damaged .*; rebuilt", err)
        assert "the backbone is trained again" in err
        assert numbers(first) == numbers(second)
        run("--model=Base", f"--cache_dir={cache}")
        assert "damaged" not in capsys.readouterr().err
