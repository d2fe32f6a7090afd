"""The door for Python: the command line's numbers and sentences, and a process left as it was."""

import json
import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

import recbole_cold
from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.errors import Stopped, UserError
from recbole_cold.model.mwuf import MWUF
from recbole_cold.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def keys(tiny_keys, tmp_path):
    """Configuration of a small run on ``tiny`` that saves in ``tmp_path/saved``."""
    return {
        **tiny_keys,
        "dataset": "tiny",
        "train_batch_size": 64,
        "embedding_size": 4,
        "show_progress": False,
        "matched_row": False,
        "saved_dir": tmp_path / "saved",
    }


@pytest.fixture
def no_picture(monkeypatch):
    """Curves take longer than these runs."""
    monkeypatch.setattr(report, "plot_curves", lambda *_, **__: None)


@pytest.fixture(scope="module")
def shared(tiny_path, tmp_path_factory):
    """One run of Base and MWUF over two seeds, with all its files."""
    return recbole_cold.run(
        ["Base", MWUF],
        "tiny",
        seeds=2,
        config={"threshold": {"rating": 4}, "cold_threshold": 30, "warm_size": 3},
        data_path=tiny_path.parent,
        train_batch_size=64,
        embedding_size=4,
        show_progress=False,
        saved_dir=tmp_path_factory.mktemp("shared"),
    )


# ------------------------------------------------------------------------- results
class TestResults:
    def test_the_frame_holds_every_score_of_the_document(self, shared):
        frame = shared.frame()
        assert list(frame.columns) == ["method", "backbone", "phase", "metric", "seed", "value"]
        expected = {
            (run["label"], phase, metric, seed["seed"]): value
            for run in shared.document["runs"]
            for seed in run["seeds"]
            for phase, scored in seed["phases"].items()
            for metric, value in scored["metrics"].items()
        }
        index = frame.set_index(["method", "phase", "metric", "seed"])["value"]
        assert index.to_dict() == expected
        assert set(frame["backbone"]) == {"DeepFM"}
        assert len(frame) == len(expected)

    def test_the_table_is_that_of_the_screen(self, shared):
        assert shared.table() == (shared.folder / "table.txt").read_text()
        assert "AUC" in shared.table()

    def test_the_same_files_as_the_command_line(self, shared):
        names = {path.name for path in shared.folder.iterdir()}
        assert {"request.json", "results.json", "results.md", "table.txt", "log.txt"} <= names
        assert (shared.folder / "figures" / "curves.png").is_file()
        assert f"folder {shared.folder}" in (shared.folder / "log.txt").read_text()

    def test_the_figure_is_drawn_and_written(self, shared, tmp_path):
        figure = shared.plot(tmp_path / "curves.svg")
        assert isinstance(figure, Figure)
        assert (tmp_path / "curves.svg").read_text().lstrip().startswith("<?xml")
        assert figure._repr_png_().startswith(b"\x89PNG")
        with pytest.raises(UserError, match=r"name a file that ends in \.png"):
            shared.plot(tmp_path / "curves.bmp")

    def test_html_is_escaped_and_needs_no_network(self, shared):
        document = json.loads(json.dumps(shared.document))
        document["runs"][0]["label"] = "<script>alert(1)</script>"
        text = recbole_cold.Results(document, None)._repr_html_()
        assert "<script" not in text and "&lt;script&gt;" in text
        assert "http" not in text and "src=" not in text
        mean = np.mean(
            [s["phases"]["cold"]["metrics"]["AUC"] for s in document["runs"][1]["seeds"]]
        )
        assert f"{mean:.4f} ±" in text

    def test_a_folder_is_read_back(self, shared, numbers):
        again = recbole_cold.load_results(shared.folder)
        assert numbers(again.document) == numbers(shared.document)
        pd.testing.assert_frame_equal(again.frame(), shared.frame())
        assert repr(again) == repr(shared)
        assert "Base, MWUF" in repr(again)

    def test_another_folder_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"has no results\.json"):
            recbole_cold.load_results(tmp_path)


# ------------------------------------------------------------------------- asking
class TestAsking:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"models": "MWFU"}, ["--model=MWFU"]),
            ({"warm_sise": 3}, ["--warm_sise=3"]),
            ({"seeds": 0}, ["--seeds=0"]),
            ({"backbone": "DeepFN"}, ["--backbone=DeepFN"]),
            ({"models": "Base,Base"}, ["--model=Base,Base"]),
            ({"warm_size": "three"}, ["--warm_size=three"]),
            ({"config_files": ["no.yaml"]}, ["--config_files=no.yaml"]),
        ],
    )
    def test_the_sentences_of_the_command_line(self, keys, tiny_flags, given, words, capsys):
        with pytest.raises(UserError) as refused:
            recbole_cold.run(**{"models": "Base", **keys, **given})
        names = {word.partition("=")[0] for word in words}
        flags = [flag for flag in tiny_flags if flag.partition("=")[0] not in names]
        model = [] if "models" in given else ["--model=Base"]
        assert main([*model, "--matched_row=False", *flags, *words]) == 2
        said = str(refused.value).replace("in the call", "on the command line")
        assert capsys.readouterr().err == f"error: {said}\n"
        assert not keys["saved_dir"].exists()

    def test_config_loses_to_keys_and_wins_over_files(self, keys, no_picture, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("warm_size: 1\nseed: 5\nembedding_size: 2\nmodel: Base\n")
        given = {**keys, "warm_size": 3}
        del given["embedding_size"]
        found = recbole_cold.run(
            config={"warm_size": 2, "seed": 6}, config_files=[file], **given
        ).document["runs"][0]
        config = found["config"]
        assert (config["warm_size"], config["seed"], config["embedding_size"]) == (3, 6, 2)
        assert found["label"] == "Base"

    def test_what_no_file_can_hold_is_refused(self, keys):
        with pytest.raises(UserError, match="threshold is a object"):
            recbole_cold.run("Base", **{**keys, "threshold": object()})
        with pytest.raises(UserError, match="dataset is a int"):
            recbole_cold.run("Base", **{**keys, "dataset": 3})
        with pytest.raises(UserError, match="no model is given"):
            recbole_cold.run(**keys)

    def test_no_folder_where_none_is_wanted(self, keys, no_picture, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found = recbole_cold.run("Base", **{**keys, "saved_dir": None})
        assert found.folder is None
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(UserError, match="saved_dir=None is for run"):
            recbole_cold.compare("Base,MWUF", **{**keys, "saved_dir": None})

    def test_a_class_of_a_notebook_cannot_go_to_other_processes(self, keys, monkeypatch):
        mine = type("Mine", (MWUF,), {"__module__": "__main__", "__qualname__": "Mine"})
        monkeypatch.setattr(sys.modules["__main__"], "Mine", mine, raising=False)
        with pytest.raises(UserError, match="defined in a notebook or script"):
            recbole_cold.compare(["Base", mine], **keys)
        inner = type("Inner", (MWUF,), {"__module__": "__main__", "__qualname__": "f.<locals>.I"})
        with pytest.raises(UserError, match="the class Inner is not found"):
            recbole_cold.run(inner, **keys)

    def test_resuming_takes_nothing_else(self, keys, shared, numbers):
        with pytest.raises(UserError, match="leave out --model, or start a new run"):
            recbole_cold.run("Base", resume=shared.folder)
        again = recbole_cold.run(resume=shared.folder)
        assert numbers(again.document) == numbers(shared.document)


# ------------------------------------------------------------------------- the process
class TestTheProcessIsLeftAsItWas:
    def test_threads_random_state_loggers_and_signals(self, keys, no_picture, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["somebody.py", "--warm_size=1", "--learning_rate=9"])
        ours, root = logging.getLogger("recbole_cold"), logging.getLogger()
        torch.manual_seed(3)
        torch.set_num_threads(2)

        def state():
            return (
                torch.get_rng_state().tolist(),
                torch.get_num_threads(),
                random.getstate(),
                np.random.get_state()[1].tolist(),
                list(root.handlers),
                list(ours.handlers),
                (ours.level, ours.propagate),
                signal.getsignal(signal.SIGINT),
                signal.getsignal(signal.SIGTERM),
                list(sys.argv),
            )

        try:
            before = state()
            found = recbole_cold.run("Base", **keys)
            assert state() == before
            with pytest.raises(UserError):
                recbole_cold.run("Bsae", **keys)
            assert state() == before
        finally:
            torch.set_num_threads(1)
        assert found.document["threads"] == 1
        assert found.document["runs"][0]["config"]["warm_size"] == 3

    def test_messages_go_to_the_log_file_and_warnings_to_others(
        self, keys, no_picture, caplog, capsys
    ):
        found = recbole_cold.run("Base", **keys, eval_step=3)
        assert "Base, seed 2020" in (found.folder / "log.txt").read_text()
        assert not [record for record in caplog.records if record.levelno < logging.WARNING]
        out, err = capsys.readouterr()
        assert (out, err) == ("", "")
        recbole_cold.run("Base", **keys, verbose=True)
        assert "Base, seed 2020" in capsys.readouterr().err

    @pytest.mark.slow
    def test_runs_after_one_another_and_in_a_thread_equal_a_fresh_process(
        self, keys, no_picture, numbers
    ):
        """Numbers follow from what is asked for, not from what the process did before."""
        ask = {**keys, "saved_dir": None, "data_path": str(keys["data_path"])}
        code = (
            "import json, sys, recbole_cold\n"
            f"found = recbole_cold.run('MWUF', **{ask!r})\n"
            "print('\\n' + json.dumps(found.document))"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RECBOLE_COLD_CACHE": "/dev/null/no"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        fresh = numbers(json.loads(done.stdout.strip().splitlines()[-1]))
        recbole_cold.run("Base", **{**ask, "seed": 7, "warm_size": 2})
        torch.manual_seed(99)
        assert numbers(recbole_cold.run("MWUF", **ask).document) == fresh
        found: list = []
        thread = threading.Thread(
            target=lambda: found.append(recbole_cold.run("MWUF", **ask).document)
        )
        thread.start()
        thread.join()
        assert numbers(found[0]) == fresh

    def test_ctrl_c_leaves_what_can_be_continued(self, keys, no_picture, numbers, monkeypatch):
        # Shells let what they start in the background ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        whole = recbole_cold.run("MWUF", **keys)
        use, seen = Trainer._use, []

        def press(self, *words):
            seen.append(1)
            if len(seen) == 5:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
            return use(self, *words)

        monkeypatch.setattr(Trainer, "_use", press)
        asked = {**keys, "seed": 2021, "cache_dir": str(keys["saved_dir"] / "cache")}
        with pytest.raises(Stopped, match=r"to continue: recbole_cold\.run\(resume=") as stopped:
            recbole_cold.run("MWUF", **asked)
        assert stopped.value._render_traceback_() == [str(stopped.value)]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert list(stopped.value.folder.glob("*/state/seed-2021.pt"))
        monkeypatch.setattr(Trainer, "_use", use)
        again = recbole_cold.run(resume=stopped.value.folder)
        unbroken = recbole_cold.run("MWUF", **{**keys, "seed": 2021})
        assert numbers(again.document) == numbers(unbroken.document) != numbers(whole.document)


def test_importing_costs_nothing():
    code = (
        "import sys, time; began = time.process_time(); import recbole_cold;"
        "took = time.process_time() - began;"
        "print(sorted({'torch', 'pandas', 'numpy', 'ray', 'recbole'} & set(sys.modules)),"
        "took < 2);"
        "print(set(recbole_cold.__all__) <= set(dir(recbole_cold)));"
        "print(all(getattr(recbole_cold, name) for name in recbole_cold.__all__))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split("\n")[:3] == ["[] True", "True", "True"], done.stderr
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        recbole_cold.rnu  # noqa: B018


# ------------------------------------------------------------------------- many runs
@pytest.fixture
def without_ray(monkeypatch):
    """Trials run here, one after the other: what comes out is the same."""
    from contextlib import nullcontext

    from recbole_cold.trials import ray_pool as pool
    from recbole_cold.trials.trial import run_trial
    from recbole_cold.trials.worker import placed

    def run_all(specs, *, on_done, stop, **options):
        pickle.dumps(stop)  # Tune does so with its callbacks
        for spec in specs:
            on_done(spec, json.loads(json.dumps(run_trial(placed(spec, 0)))))

    monkeypatch.setattr(pool, "run_all", run_all)
    monkeypatch.setattr(pool, "session", lambda address: nullcontext())
    monkeypatch.setattr(pool, "_nodes", lambda address: [(2.0, 0.0)])


class TestManyRuns:
    def test_compare(self, keys, without_ray, capsys, monkeypatch):
        monkeypatch.setattr(report, "plot_comparison", lambda *_, **__: None)
        found = recbole_cold.compare(["Base", MWUF], ["FM", "DeepFM"], reference_rows=[], **keys)
        frame = found.frame()
        assert set(zip(frame["method"], frame["backbone"], strict=True)) == {
            (method, backbone) for method in ("Base", "MWUF") for backbone in ("FM", "DeepFM")
        }
        assert found.table() + "\n" == (found.folder / "table.txt").read_text()
        assert isinstance(found.plot(), Figure)
        assert "<td>FM</td>" in found._repr_html_()
        assert found.failures == []
        assert "4 to run" in capsys.readouterr().err
        read = recbole_cold.load_results(found.folder)
        assert isinstance(read, recbole_cold.ComparisonResults)
        pd.testing.assert_frame_equal(read.frame(), frame)
        again = recbole_cold.compare(
            ["Base", MWUF], ["FM", "DeepFM"], verbose=False, reference_rows=[], **keys
        )
        assert (again.document["ran"], again.document["reused"]) == (0, 4)
        assert capsys.readouterr() == ("", "")

    def test_compare_of_folders(self, shared, tmp_path):
        found = recbole_cold.compare(folders=[shared.folder], saved_dir=tmp_path, against="Base")
        assert set(found.frame()["method"]) >= {"Base", "MWUF"}
        with pytest.raises(UserError, match="compare with folders runs nothing"):
            recbole_cold.compare("Base", folders=[shared.folder], saved_dir=tmp_path)

    def test_tune_and_run_the_best(self, keys, without_ray, capsys, monkeypatch, numbers):
        for name in ("plot_curves", "plot_sweep"):
            monkeypatch.setattr(report, name, lambda *_, **__: None)
        found = recbole_cold.tune("MWUF", {"learning_rate": [0.001, 0.05]}, **keys, verbose=False)
        assert capsys.readouterr() == ("", "")
        frame = found.frame()
        assert list(frame["learning_rate"]) == [0.001, 0.05]
        assert list(frame["status"]) == ["done", "done"]
        best = frame.loc[frame["value"].idxmax(), "learning_rate"]
        assert found.best["params"] == {"learning_rate": best}
        assert found.config["learning_rate"] == best
        assert f"{frame['value'].max():.4f}" in found._repr_html_()
        assert isinstance(found.plot(), Figure)
        assert found.table() == (found.folder / "table.txt").read_text()
        read = recbole_cold.load_results(found.folder)
        assert read.best["mean"] == found.best["mean"]
        asked = {"saved_dir": keys["saved_dir"], "show_progress": False}
        repeated = recbole_cold.run(config=found.config, **asked)
        assert numbers(repeated.document) == numbers(found.final.document)
        assert (
            recbole_cold.tune(resume=found.folder, verbose=False).best["params"]
            == (found.best["params"])
        )


# ------------------------------------------------------------------------- notebooks
@pytest.mark.slow
def test_in_a_real_kernel(tmp_path, tiny_path, monkeypatch):
    """Bars, a table, a picture; and one sentence instead of a traceback for a typo."""
    import nbclient
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    asked = (
        f"dict(dataset='tiny', data_path={str(tiny_path.parent)!r}, threshold={{'rating': 4}}, "
        f"cold_threshold=30, warm_size=3, embedding_size=4, saved_dir={str(tmp_path)!r})"
    )
    cells = [
        f"import recbole_cold\nasked = {asked}\nfound = recbole_cold.run('Base', **asked)\nfound",
        "found.plot()",
        "found.frame().shape",
        "recbole_cold.run('Bsae', **asked)",
        "from recbole_cold.model.mwuf import MWUF\n"
        "class Mine(MWUF):\n    'A method that is tried in a notebook.'\n"
        "list(recbole_cold.run(Mine, matched_row=False, **asked).frame()['method'].unique())",
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the client, not of the kernel
        nbclient.NotebookClient(notebook, timeout=600, allow_errors=True).execute()
    first, second, third, fourth, fifth = (cell["outputs"] for cell in notebook.cells)
    shown = [output for output in first if output["output_type"] == "execute_result"]
    assert "<table>" in shown[0]["data"]["text/html"]
    assert not [output for output in first if output["output_type"] == "error"], first
    assert "image/png" in second[0]["data"]
    assert third[0]["data"]["text/plain"].startswith("(")
    (error,) = [output for output in fourth if output["output_type"] == "error"]
    assert error["traceback"] == [f"error: {error['evalue']}"]
    assert "did you mean 'Base'" in error["evalue"]
    assert [o["data"]["text/plain"] for o in fifth if "data" in o] == ["['Mine']"], fifth
