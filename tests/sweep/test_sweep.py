"""Sweeps: what is refused, what is chosen and by what, and that an interrupted one ends equal."""

import csv
import io
import itertools
import json
import math
import os
import re
import signal
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest
import yaml
from pool_here import run_here

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.config import ColdConfig
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Request
from recbole_cold.sweep import cost
from recbole_cold.sweep.folders import read_sweep
from recbole_cold.sweep.requests import axes_of
from recbole_cold.sweep.tables import settings_table
from recbole_cold.trials import ray_pool as pool
from recbole_cold.trials import worker
from recbole_cold.trials.trial import run_trial

GRID = ("--grid=meta_hidden_size=[[4],[8]]", "--grid=warm_learning_rate=[1e-3,0.05]")


def without_ray(monkeypatch):
    """The keys of the trials that were run, in this process."""
    return run_here(monkeypatch, note=lambda spec: spec.key)


@pytest.fixture
def in_process(monkeypatch):
    return without_ray(monkeypatch)


@pytest.fixture
def tune(tiny_flags, capsys):
    """``tune("--key=value")``: exit code, stdout and stderr of ``tune --model=MWUF`` on tiny."""

    def go(*words):
        names = {word.partition("=")[0] for word in words}
        flags = ["--model=MWUF", *tiny_flags]
        flags = [flag for flag in flags if flag.partition("=")[0] not in names]
        code = main(["tune", *flags, *[word for word in words if not word.endswith("=-")]])
        return code, *capsys.readouterr()

    return go


@pytest.fixture
def newest(tmp_path):
    """The newest sweep's folder."""
    return lambda: max((tmp_path / "saved").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def chosen(folder):
    """All numbers of a sweep that another one with the same choice must have."""
    document = read_sweep(folder)
    timed = {"seconds", "first_step_seconds"}
    trials = [{k: v for k, v in t.items() if k not in timed} for t in document["trials"]]
    return json.dumps([trials, document["settings"], document["best"]], indent=1)


# ------------------------------------------------------------------------- bad input
class TestRefused:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--model=-"], "tune needs --model=<name>"),
            (["--model=MWUF,CVAR"], "tune takes one --model"),
            (["--grid=meta_hiden_size=[1]"], "unknown key 'meta_hiden_size' in --grid; did you me"),
            (["--grid=cvar_iters=[1]"], "unknown key 'cvar_iters' in --grid"),
            (
                ["--grid=learning_rate=[-1]"],
                "must be a number above 0 and at most 1,000, but it is '-1' in --grid.",
            ),
            (["--grid=learning_rate=uniform(-1,1)"], "learning_rate must be a number above 0"),
            (["--grid=embedding_size=uniform(2,8)"], None),
            (["--grid=mwuf_users=[all,everybody]"], "mwuf_users 'everybody' is none of"),
            (["--grid=meta_hidden_size=[16]"], "meta_hidden_size must be a list"),
            (["--grid=learning_rate=[]"], "learning_rate in --grid has no values"),
            (["--grid=learning_rate"], "--grid 'learning_rate' is not key="),
            (["--grid=seed=[1,2]"], "'seed' in --grid cannot be searched: every setting runs on"),
            (["--grid=warm_size=[1,2]"], "'warm_size' in --grid cannot be searched: it decides"),
            (["--grid=backbone=[FM]"], "'backbone' in --grid cannot be searched: compare several"),
            (["--grid=threshold.rating=[3]"], "'threshold.rating' in --grid cannot be searched"),
            (["--space=nowhere.yaml"], "configuration file nowhere.yaml does not exist"),
            (["--samples=0"], "samples"),
            ([GRID[0], "--samples=3"], "--samples has no effect on a grid without distributions"),
            (["--concurrent=0"], "concurrent"),
            (["--search=best"], "search 'best' is none of grid, random, optuna"),
            (["--scheduler=hyperband"], "scheduler 'hyperband' is none of none, asha"),
            (
                [GRID[0], "--scheduler=asha"],
                "--scheduler=asha stops trials between pre-training epo",
            ),
            (
                [GRID[0], "--scheduler=asha", "--pretrain_epochs=3"],
                "pre-training, which no axis of this",
            ),
            (
                ["--scheduler=asha", "--grid=pretrain_epochs=[2,3]", "--pretrain_epochs=3"],
                "cannot stop trials by epochs while pretrain_epochs is an axis",
            ),
            (["--select_on=warm"], "--select_on=warm is no phase; use mean or one of cold, warm_a"),
            (["--valid_metric=RelaImpr"], "valid_metric RelaImpr compares methods"),
            (["--gpus_per_trial=1"], "this machine does not have as many (at most 2 and 0)"),
            (["--cpus_per_trial=3"], "a trial asks for 3 CPU cores"),
            (["--resume"], "there is no unfinished sweep"),
            (["--resume", "--grid=a=[1]"], "leave out --"),
        ],
    )
    def test_in_one_sentence(self, tune, in_process, tmp_path, words, message):
        if words[0].startswith("--resume"):
            code = main(["tune", *words, f"--saved_dir={tmp_path / 'saved'}"])
            assert code == 2
            return
        code, out, err = tune(*words)
        assert (code, out) == (2, ""), err
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        assert message is None or message in line
        assert not (tmp_path / "saved").exists()
        assert in_process == []

    def test_a_value_that_only_a_combination_forbids(self, tune, in_process, monkeypatch):
        check = ColdConfig._check_values

        def refuse(config):
            check(config)
            final = config.final_config_dict
            if final["table_update"] == "lazy" and final["weight_decay"]:
                raise UserError("these two do not go together")

        monkeypatch.setattr(ColdConfig, "_check_values", refuse)
        words = ["--grid=table_update=[lazy,dense]", "--grid=weight_decay=[0.0,0.1]"]
        code, _, err = tune(*words)
        assert code == 2
        assert "error: setting table_update=lazy weight_decay=0.1: these two do not go" in err

    def test_optuna_that_is_not_there(self, tune, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "optuna", None)
        code, _, err = tune("--search=optuna")
        assert code == 2
        assert "needs the package optuna; install it with `pip install optuna`" in err


# ------------------------------------------------------------------------- a whole one
@pytest.fixture(scope="module")
def done(own_caches, tiny_path, tmp_path_factory):
    saved = tmp_path_factory.mktemp("saved")
    flags = [
        "--model=MWUF", "--dataset=tiny", f"--data_path={tiny_path.parent}",
        "--threshold={rating: 4}", "--cold_threshold=30", "--warm_size=3",
        "--train_batch_size=64", "--embedding_size=4", "--show_progress=False",
        f"--saved_dir={saved}", *GRID, "--seeds=2", "--pretrain_epochs=2",
    ]  # fmt: skip
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        without_ray(patch)
        assert main(["tune", *flags]) == 0
    (folder,) = saved.iterdir()
    return out.getvalue(), folder


class TestWhole:
    def test_says_what_it_will_do_and_one_line_per_trial(self, done):
        out, _ = done
        assert "MWUF on DeepFM, tiny: 4 settings x 2 seeds = 8 trials" in out
        assert "2 at a time, each with 1 CPU" in out
        assert re.search(r"about [\d.]+ s for the trials \(2 pre-trainings of [\d.]+ s", out)
        lines = re.findall(r"^\[(\d)/8\] AUC 0\.\d{4}  meta_hidden_size=\S+ .*seed=\d+", out, re.M)
        assert lines == list("12345678")
        assert out.count("best so far") == 7  # from the first setting that has all its seeds

    def test_writes_everything(self, done):
        out, folder = done
        names = {"request.json", "sweep.json", "trials.csv", "best.yaml", "final", "figures",
                 "trials", "table.txt", "log.txt"}  # fmt: skip
        assert {path.name for path in folder.iterdir()} == names
        assert (folder / "figures" / "sweep.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "table.txt").read_text() in out
        assert len(list((folder / "trials").iterdir())) == 8
        rows = list(csv.DictReader(io.StringIO((folder / "trials.csv").read_text())))
        assert len(rows) == 8
        assert {row["status"] for row in rows} == {"done"}
        assert {"meta_hidden_size", "warm_learning_rate", "cold AUC", "seconds"} <= rows[0].keys()

    def test_the_best_is_the_best_mean_over_seeds_and_phases(self, done):
        document = read_sweep(done[1])
        by_setting = {}
        for trial in document["trials"]:
            value = sum(trial["phases"][p]["AUC"] for p in document["phases"]) / 4
            assert trial["value"] == pytest.approx(value)
            by_setting.setdefault(trial["setting"], []).append(value)
        means = {number: sum(values) / 2 for number, values in by_setting.items()}
        best = max(means, key=means.get)
        assert document["best"]["params"] == document["settings"][best]["params"]
        assert document["best"]["mean"] == pytest.approx(means[best])
        assert math.isfinite(document["best"]["std"])

    def test_trials_never_see_the_new_items(self, done):
        for path in (done[1] / "trials").iterdir():
            document = report.load(path)
            assert document["fit_on"] == "valid"
            assert document["split"]["rule"] == "pseudo-new"

    def test_the_final_run_is_that_of_best_yaml(self, done, numbers, tmp_path):
        """``best.yaml`` alone, as a user would give it, repeats the numbers."""
        _, folder = done
        final = report.load(folder / "final")
        assert final["fit_on"] == "full"
        assert final["runs"][0]["label"] == "MWUF"
        given = yaml.safe_load((folder / "best.yaml").read_text())
        assert given["pretrain_epochs"] == 2
        words = [f"--config_files={folder / 'best.yaml'}", f"--saved_dir={tmp_path / 'again'}"]
        assert main([*words, "--show_progress=False"]) == 0
        (again,) = (tmp_path / "again").iterdir()
        assert numbers(report.load(again)) == numbers(final)

    def test_a_finished_one_is_shown_again_and_runs_nothing(self, done, in_process, capsys):
        before = list(in_process)
        assert main(["tune", f"--resume={done[1]}"]) == 0
        assert (done[1] / "table.txt").read_text() in capsys.readouterr().out
        assert in_process == before


@pytest.mark.slow
class TestChoice:
    def test_lower_is_better_and_a_phase_of_its_own(self, tune, in_process, newest):
        assert tune(*GRID, "--valid_metric=LogLoss", "--select_on=warm_c")[0] == 0
        document = read_sweep(newest())
        values = [trial["phases"]["warm_c"]["LogLoss"] for trial in document["trials"]]
        assert document["best"]["mean"] == min(values)
        assert document["selection"]["better"] == "lower"

    def test_a_poisoned_test_set_does_not_move_it(self, tune, in_process, newest, tiny_path,
                                                  tmp_path):  # fmt: skip
        """All labels of new items turned over: not a bit of the sweep changes, test does."""
        assert tune(*GRID)[0] == 0
        clean = newest()
        rows = [line.split("\t") for line in (tiny_path / "tiny.inter").read_text().splitlines()]
        counts = {}
        for row in rows[1:]:
            counts[row[1]] = counts.get(row[1], 0) + 1
        for row in rows[1:]:
            if counts[row[1]] <= 30:
                row[2] = str(6 - int(row[2]))
        folder = tmp_path / "poisoned" / "tiny"
        folder.mkdir(parents=True)
        for path in tiny_path.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "tiny.inter").write_text("\n".join("\t".join(row) for row in rows) + "\n")
        assert tune(*GRID, f"--data_path={folder.parent}")[0] == 0
        poisoned = newest()
        clean_trials, poisoned_trials = (
            [t["phases"] for t in read_sweep(each)["trials"]] for each in (clean, poisoned)
        )
        assert poisoned_trials == clean_trials
        choices = [read_sweep(each)["best"] for each in (clean, poisoned)]
        assert choices[0]["params"] == choices[1]["params"]
        aucs = [
            report.load(each / "final")["runs"][0]["seeds"][0]["phases"]["cold"]["metrics"]["AUC"]
            for each in (clean, poisoned)
        ]
        assert aucs[0] != aucs[1]

    def test_a_setting_that_fails_on_one_seed_cannot_win(self, tune, in_process, newest,
                                                         monkeypatch):  # fmt: skip
        real = worker.outcome_of
        victim = []

        def sometimes(spec, gpus):
            if spec.seed == 2021 and spec.overrides["warm_learning_rate"] == 0.05:
                victim.append(spec.key)
                return {"error": "Traceback\nValueError: boom"}
            outcome = real(spec, gpus)
            if spec.overrides["warm_learning_rate"] == 0.05:  # what is left of it is the best
                document = json.loads(outcome["document"])
                for phase in document["runs"][0]["seeds"][0]["phases"].values():
                    phase["metrics"]["AUC"] = 0.99
                outcome["document"] = json.dumps(document)
            return outcome

        monkeypatch.setattr(worker, "outcome_of", sometimes)
        code, out, err = tune(*GRID, "--seeds=2", "--seed=2020")
        assert code == 1
        assert "2 of 8 trials failed; the first ends with\nTraceback\nValueError: boom" in err
        document = read_sweep(newest())
        assert document["best"]["params"]["warm_learning_rate"] == 1e-3
        assert "1 of 2 seeds" in out
        failed = [trial for trial in document["trials"] if trial["status"] == "failed"]
        assert [trial["key"] for trial in failed] == victim
        # Tried again, with what made them fail gone, they come through and nothing else is run.
        monkeypatch.setattr(worker, "outcome_of", real)
        del in_process[:]
        assert main(["tune", f"--resume={newest()}"]) == 0
        assert sorted(in_process) == sorted(victim)

    def test_all_failed_is_one_sentence_with_the_first(self, tune, in_process, monkeypatch, newest):
        monkeypatch.setattr(worker, "outcome_of", lambda spec, gpus: {"error": "boom"})
        code, _, err = tune(*GRID)
        assert code == 2
        assert "no setting came through all seeds; the first failure: boom" in err
        assert not (newest() / "best.yaml").exists()


def test_what_was_stopped_early_stays_so(tune, in_process, newest, monkeypatch, capsys):
    """It cannot win, and a resumed sweep does not run it again."""
    run_all = pool.run_all

    def early(specs, *, on_stopped, asha, **words):
        assert asha == ("AUC", "max", 3)
        rest = [spec for spec in specs if spec.overrides["learning_rate"] != 0.1]
        for spec in specs:
            if spec not in rest:
                on_stopped(spec, 1)
        run_all(rest, **words)

    monkeypatch.setattr(pool, "run_all", early)
    words = ["--grid=learning_rate=[0.1,1e-3]", "--scheduler=asha", "--pretrain_epochs=3"]
    code, out, _ = tune(*words)
    assert code == 0
    assert "stopped after epoch 1" in out
    assert "1 trials were stopped early" in out
    folder = newest()
    document = read_sweep(folder)
    assert [trial["status"] for trial in document["trials"]] == ["stopped", "done"]
    assert document["trials"][0]["stopped_after_epoch"] == 1
    (folder / "table.txt").unlink()
    before = list(in_process)
    assert main(["tune", f"--resume={folder}"]) == 0
    assert in_process == before
    assert read_sweep(folder)["trials"] == document["trials"]
    # Stopped by other code, it is run again.
    (path,) = (folder / "stopped").iterdir()
    (folder / "table.txt").unlink()
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "code": "other"}))
    assert main(["tune", f"--resume={folder}"]) == 0
    assert "stopped after epoch 1" in capsys.readouterr().out
    assert json.loads(path.read_text()) == told


class TestSpaces:
    def test_the_methods_own_is_the_default(self, tune, in_process, newest):
        """With what all methods share; drawn from, for as a grid it has hundreds of points."""
        code, out, _ = tune("--samples=3", "--weight_decay=0")
        assert code == 0
        assert "meta_hidden_size: choice([16], [64])" in out
        assert "weight_decay:" not in out  # given, so it holds for all trials
        document = read_sweep(newest())
        assert len(document["settings"]) == 3
        assert [axis["key"] for axis in document["space"]] == [
            "warm_learning_rate", "warm_epochs", "pretrain_epochs", "meta_hidden_size", "mwuf_users"
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("model", "words", "left"),
        [
            ("MeLU", [], ["weight_decay", "melu_inner_rate", "learning_rate"]),
            ("ItemBias", ["--epochs=1"], ["weight_decay", "item_bias_variance"]),
            ("Base[warm_epochs=2]", [], ["warm_learning_rate", "pretrain_epochs", "weight_decay",
                                         "new_item_init"]),
        ],
    )  # fmt: skip
    def test_keys_that_are_idle_or_given_are_not_searched(self, model, words, left, tmp_path):
        given = dict(word.removeprefix("--").split("=") for word in words)
        (tmp_path / "a.yaml").write_text("pretrain_epochs: 3\n")
        request = Request(model, overrides=given)
        assert [axis.key for axis in axes_of(request, None, [])] == left
        request = Request(model, overrides=given, config_files=[str(tmp_path / "a.yaml")])
        kept = [key for key in left if key != "pretrain_epochs"]
        assert [axis.key for axis in axes_of(request, None, [])] == kept

    def test_a_file_with_distributions(self, tune, in_process, newest, tmp_path):
        (tmp_path / "s.yaml").write_text("learning_rate: loguniform(1e-3, 1e-1)\n")
        code, _, _ = tune(f"--space={tmp_path / 's.yaml'}", "--samples=3")
        assert code == 0
        document = read_sweep(newest())
        rates = [each["params"]["learning_rate"] for each in document["settings"]]
        assert len(set(rates)) == 3
        assert all(1e-3 <= rate <= 1e-1 for rate in rates)
        best = yaml.safe_load((newest() / "best.yaml").read_text())
        assert best["learning_rate"] == document["best"]["params"]["learning_rate"]

    def test_of_a_method_with_a_network_of_its_own(self, tune, in_process, newest):
        """No backbone is asked for; the row of matched steps in the final table has the usual."""
        grid = ("--grid=emerg_inner_rate=[0.01,0.1]", "--emerg_epochs=3")
        code, _, err = tune("--model=EmerG", *grid)
        assert code == 0, err
        best = yaml.safe_load((newest() / "best.yaml").read_text())
        assert (best["model"], best["backbone"]) == ("EmerG", "DeepFM")
        final = json.loads((newest() / "final" / "results.json").read_text())
        assert [run["backbone"] for run in final["runs"]] == ["EmerG", "DeepFM"]

    def test_at_random(self, tune, in_process, newest):
        assert tune(*GRID, "--search=random", "--samples=2")[0] == 0
        assert len(read_sweep(newest())["settings"]) <= 2


# ------------------------------------------------------------------------- interruption
@pytest.mark.slow
class TestResume:
    def test_an_interrupted_one_ends_like_the_unbroken(self, tune, in_process, newest, monkeypatch,
                                                       capsys, numbers):  # fmt: skip
        assert tune(*GRID)[0] == 0
        whole = newest()
        real, count = worker.outcome_of, []

        def interrupted(spec, gpus):
            count.append(spec)
            if len(count) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return real(spec, gpus)

        monkeypatch.setattr(worker, "outcome_of", interrupted)
        code, _, err = tune(*GRID)
        broken = newest()
        assert code == 130
        assert f"interrupted; to continue: recbole-cold tune --resume={broken}" in err
        assert not (broken / "table.txt").exists()
        del in_process[:]
        assert main(["tune", "--resume", f"--saved_dir={broken.parent}"]) == 0
        assert len(in_process) == 1
        assert "3 of 4 trials are done" in capsys.readouterr().out
        assert chosen(broken) == chosen(whole)
        tables = [settings_table(read_sweep(each)) for each in (broken, whole)]
        assert tables[0] == tables[1]
        finals = [numbers(report.load(each / "final")) for each in (broken, whole)]
        assert finals[0] == finals[1]

    def test_a_damaged_trial_is_said_and_run_again(self, tune, in_process, newest, caplog):
        assert tune(*GRID)[0] == 0
        before = chosen(newest())
        victim = next((newest() / "trials").iterdir())
        victim.write_text(victim.read_text()[:100])
        del in_process[:]
        assert main(["tune", f"--resume={newest()}"]) == 0
        assert in_process == [victim.stem]
        assert chosen(newest()) == before

    def test_trials_of_other_code_are_run_again(self, tune, in_process, newest, capsys):
        """All of them: a table has no rows of two codes. A finished sweep is only shown."""
        assert tune(*GRID)[0] == 0
        folder, keys = newest(), list(in_process)
        before, final = chosen(folder), (folder / "final" / "results.json").read_bytes()
        for path in [*(folder / "trials").iterdir(), folder / "final" / "results.json"]:
            path.write_text(re.sub(r'("code": ")[^"]*"', r'\1other"', path.read_text()))
        del in_process[:]
        assert main(["tune", f"--resume={folder}"]) == 0
        assert in_process == []
        (folder / "table.txt").unlink()
        (folder / "trials" / f"{keys[0]}.json").unlink()
        capsys.readouterr()
        assert main(["tune", f"--resume={folder}"]) == 0
        out, err = capsys.readouterr()
        assert in_process == keys
        assert "0 of 4 trials are done" in out
        told = "other code, versions, data or settings made trials of the sweep in"
        assert err.count(told) == 1
        assert "it is moved aside and run again" in err
        assert chosen(folder) == before
        assert (folder / "final-before-1" / "results.json").exists()
        assert '"other"' not in (folder / "final" / "results.json").read_text()
        assert len((folder / "final" / "results.json").read_bytes()) > len(final) / 2

    def test_trials_of_other_settings_are_run_again(self, tune, in_process, newest, tmp_path):
        """A configuration file that was edited in between."""
        path = tmp_path / "more.yaml"
        path.write_text("warm_epochs: 1\n")
        words = (GRID[0], f"--config_files={path}")
        assert tune(*words)[0] == 0
        folder, keys = newest(), list(in_process)
        (folder / "table.txt").unlink()
        del in_process[:]
        assert main(["tune", f"--resume={folder}"]) == 0
        assert in_process == []
        (folder / "table.txt").unlink()
        path.write_text("warm_epochs: 2\n")
        assert main(["tune", f"--resume={folder}"]) == 0
        assert in_process == keys
        assert report.load(folder / "final")["runs"][0]["config"]["warm_epochs"] == 2

    def test_the_folder_of_something_else(self, tmp_path, capsys):
        assert main(["tune", f"--resume={tmp_path}"]) == 2
        assert "is not the folder of a sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_optuna_asks_the_same_questions_after_a_resume(tune, in_process, newest):
    pytest.importorskip("optuna", reason="optuna is an extra")
    words = ["--grid=learning_rate=loguniform(1e-3,1e-1)", "--search=optuna", "--samples=6"]
    assert tune(*words)[0] == 0
    folder = newest()
    before = chosen(folder)
    assert len(read_sweep(folder)["settings"]) == 6
    keys = list(in_process)
    (folder / "table.txt").unlink()
    for key in keys[3:]:
        (folder / "trials" / f"{key}.json").unlink()
    del in_process[:]
    assert main(["tune", f"--resume={folder}"]) == 0
    assert in_process == keys[3:]
    assert chosen(folder) == before


class TestNoSettingTwice:
    @pytest.fixture(autouse=True)
    def optuna(self):
        pytest.importorskip("optuna", reason="optuna is an extra")

    def settings(self, folder):
        return [each["params"]["learning_rate"] for each in read_sweep(folder)["settings"]]

    def test_two_choices_are_two_trials(self, tune, in_process, newest):
        words = ["--grid=learning_rate=[1e-3,1e-2]", "--search=optuna", "--samples=2"]
        code, out, _ = tune(*words)
        assert code == 0
        assert "2 settings x 1 seed = 2 trials" in out
        assert sorted(self.settings(newest())) == [1e-3, 1e-2]
        assert len(in_process) == 2

    def test_an_exhausted_space_is_said(self, tune, in_process, newest):
        words = ["--grid=learning_rate={quniform: [0.1, 0.3, 0.1]}", "--search=optuna"]
        code, out, _ = tune(*words)
        assert code == 0
        assert "3 settings x 1 seed = 3 trials" in out
        assert "3 settings, each tried once: the space has no more" in out
        assert sorted(self.settings(newest())) == pytest.approx([0.1, 0.2, 0.3])

    def test_a_sampler_that_repeats_itself_is_handed_what_is_left(
        self, tune, in_process, newest, monkeypatch
    ):
        import optuna

        class Stubborn(optuna.samplers.BaseSampler):
            def __init__(self, seed):
                pass

            def infer_relative_search_space(self, study, trial):
                return {}

            def sample_relative(self, study, trial, search_space):
                return {}

            def sample_independent(self, study, trial, name, distribution):
                return getattr(distribution, "choices", [getattr(distribution, "low", 0)])[0]

        monkeypatch.setattr(optuna.samplers, "TPESampler", Stubborn)
        grid = ["--grid=learning_rate=[1e-3,1e-2]", "--grid=meta_hidden_size=[[4],[8]]"]
        assert tune(*grid, "--search=optuna", "--samples=4")[0] == 0
        found = read_sweep(newest())["settings"]
        assert len({json.dumps(each["params"]) for each in found}) == 4

    def test_random_draws_say_how_many_differ(self, tune, in_process, newest):
        grid = "--grid=learning_rate=[1e-3,1e-2]"
        code, out, _ = tune(grid, "--search=random", "--samples=9")
        assert code == 0
        assert "2 settings, each tried once: 9 draws gave 2 different ones" in out


def test_the_estimate_is_that_of_all_batches(tiny_keys, monkeypatch):
    """Twelve measured batches stand for all of them: on a clock with a second from look to look,
    a batch takes one."""
    from recbole_cold.experiment.experiment import Experiment
    from recbole_cold.trials.trial import TrialSpec

    keys = {**tiny_keys, "fit_on": "valid", "pretrain_epochs": 30, "train_batch_size": 64,
            "embedding_size": 4, "show_progress": False}  # fmt: skip
    looks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(looks)))
    with monkeypatch.context() as patch:
        patch.setattr(cost, "time", clock)
        found = cost.estimate(Experiment(Request("MWUF", "tiny", "FM", overrides=keys)))
    document = run_trial(TrialSpec("MWUF", "tiny", "FM", (), keys, 77))
    steps = {s["name"]: s["steps"] for s in document["runs"][0]["seeds"][0]["stages"]}
    assert found.pretrain == steps["pretrain"] > 100
    assert next(looks) < 60  # few of them were run
