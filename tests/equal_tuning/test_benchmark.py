"""Benchmarks: equal budgets, what is chosen and by what, and that the table is a comparison's."""

import json
import math
import re
import statistics

import pytest
import yaml
from pool_here import run_here

import recbole_cold
from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.equal_tuning.plan import time_left
from recbole_cold.equal_tuning.requests import BenchmarkRequest
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.evaluation.best_of import best_of_curve
from recbole_cold.experiment.folders import read_request
from recbole_cold.report import MATCHED, OWN_NETWORK, Comparison
from recbole_cold.results import ComparisonResults
from recbole_cold.trials import ray_pool as pool
from recbole_cold.trials import worker

# Few shared keys with few values, so that two rows have equal draws and share backbones.
SPACE = "warm_epochs: [2, 3, 4]\npretrain_epochs: [1, 2]\nnew_item_init: [mean, random]\n"


@pytest.fixture
def in_process(monkeypatch):
    """The specs of the trials that were run, in this process."""
    return run_here(monkeypatch)


@pytest.fixture
def given_up(in_process, monkeypatch):
    """The specs that the pool was handed; none is run, as if interrupted at once."""
    asked = []

    def run_all(specs, **_words):
        asked.extend(specs)
        raise Interrupted

    monkeypatch.setattr(pool, "run_all", run_all)
    return asked


def flags_of(data_path, saved, space):
    return [
        "--dataset=tiny", f"--data_path={data_path}", "--threshold={rating: 4}",
        "--cold_threshold=30", "--warm_size=3", "--train_batch_size=64", "--embedding_size=4",
        "--show_progress=False", f"--saved_dir={saved}", f"--space={space}", "--trials=3",
        "--tune_seeds=1", "--seeds=2",
    ]  # fmt: skip


@pytest.fixture
def go(tiny_path, tmp_path, capsys):
    """``go("--key=value")``: exit code, stdout and stderr of a small ``benchmark``."""
    (tmp_path / "space.yaml").write_text(SPACE)

    def call(*words):
        flags = flags_of(tiny_path.parent, tmp_path / "saved", tmp_path / "space.yaml")
        given = {word.partition("=")[0] for word in words}
        kept = [flag for flag in flags if flag.partition("=")[0] not in given]
        code = main(["benchmark", *kept, *words])
        return code, *capsys.readouterr()

    return call


def numbers(document):
    """All that two equal benchmarks have in common."""
    timed = {"seconds"}
    spent = {
        place: {key: value for key, value in told.items() if key not in timed}
        for place, told in document["benchmark"]["spent"].items()
    }
    phases = {
        (doc["backbone_label"], run["label"], seed["seed"]): seed["phases"]
        for doc in document["documents"]
        for run in doc["runs"]
        for seed in run["seeds"]
    }
    return json.loads(json.dumps([spent, sorted(map(str, phases.items()))]))


# ------------------------------------------------------------------------- a whole one
@pytest.fixture(scope="module")
def done(own_caches, tiny_path, tmp_path_factory):
    """The folder, the specs that were run and the messages of one on FM."""
    saved = tmp_path_factory.mktemp("saved")
    (saved / "space.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        ran = run_here(patch)
        flags = flags_of(tiny_path.parent, saved / "runs", saved / "space.yaml")
        assert main(["benchmark", "--models=MWUF", "--backbones=FM", *flags]) == 0
    (folder,) = (saved / "runs").iterdir()
    return folder, ran, (folder / "log.txt").read_text()


@pytest.fixture
def document(done):
    return report.load_comparison(done[0])


ROWS = ["Base", "ItemBias", "MWUF"]


class TestWhole:
    def test_says_what_it_will_do_and_one_line_per_trial(self, done):
        log = done[2]
        plan, trials = log.split("0 of 9 trials are there already, 9 to run")
        assert "Base, ItemBias, MWUF on FM, tiny" in plan
        assert "tuning: 3 settings of every row x 1 seed = 9 trials, 2 pre-trained back" in plan
        assert "then 8 final runs" in plan
        assert re.search(r"2 at a time; about [\d.]+ s for the trials and [\d.]+ s for", plan)
        assert "ItemBias: item_bias_variance: [auto,0.1,0.3,1.0]; without warm_epochs" in plan
        lines = re.findall(r"\[(\d)/9\] (\w+) on FM, trial (\d) \(.+\), seed 2020: AUC 0", trials)
        assert [number for number, *_ in lines] == list("123456789")
        assert sorted((row, trial) for _, row, trial in lines) == sorted(
            (row, trial) for row in ROWS for trial in "123"
        )
        assert len(re.findall(r"; about [\d.]+ \w+ left", trials)) == 8

    def test_writes_everything(self, done):
        folder = done[0]
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "request.json", "comparison.json", "comparison.md", "comparison.tex", "table.txt",
            "comparison.csv", "figures", "trials", "chosen", "log.txt",
        }  # fmt: skip
        for name in ("best-of-n.png", "phases.png"):
            assert (folder / "figures" / name).read_bytes().startswith(b"\x89PNG")
        assert {path.name for path in (folder / "chosen").iterdir()} == {
            f"FM-{row}.yaml" for row in ROWS
        }
        kinds = [path.suffix for path in (folder / "trials").iterdir()]
        # Scores are kept of the final runs only.
        assert kinds.count(".json") == 9 + 8 and kinds.count(".npz") == 8 == len(kinds) - 17

    def test_every_row_has_as_many_trials_the_default_first(self, document, done):
        benchmark = document["benchmark"]
        assert {k: benchmark[k] for k in ("trials", "tune_seeds", "seeds", "metric")} == {
            "trials": 3, "tune_seeds": 1, "seeds": 2, "metric": "AUC",
        }  # fmt: skip
        assert list(benchmark["spent"]) == [f"FM|{row}" for row in ROWS]
        for spent in benchmark["spent"].values():
            assert spent["trials"] == len(spent["settings"]) == 3
            assert spent["failed"] == 0 and spent["seconds"] > 0 and spent["steps"] > 0
            assert spent["settings"][0]["params"] == spent["default"]
            assert len({json.dumps(each["params"]) for each in spent["settings"]}) == 3
        assert benchmark["spent"]["FM|MWUF"]["default"] == {
            "warm_epochs": 1, "pretrain_epochs": 1, "new_item_init": "mean",
            "meta_hidden_size": [16], "mwuf_users": "all",
        }  # fmt: skip

    def test_shared_draws_are_the_same(self, document):
        """ItemBias lacks the passes over warm-up sets, and has the rest of each draw."""
        spent = document["benchmark"]["spent"]
        base, bias, mwuf = ([each["params"] for each in spent[f"FM|{row}"]["settings"][1:]]
                            for row in ROWS)  # fmt: skip
        for number in range(2):
            assert base[number] == {key: mwuf[number][key] for key in base[number]}
            shared = bias[number].keys() & mwuf[number].keys()
            assert shared == {"pretrain_epochs", "new_item_init"}
            assert {k: bias[number][k] for k in shared} == {k: mwuf[number][k] for k in shared}
        assert spent["FM|ItemBias"]["left_out"] == ["warm_epochs"]

    def test_trials_never_see_the_new_items(self, done, document):
        folder, ran, _ = done
        tuning, final = ran[:9], ran[9:]
        assert {spec.overrides["fit_on"] for spec in tuning} == {"valid"}
        assert all("fit_on" not in spec.overrides for spec in final)
        trial = report.load(folder / "trials" / f"{tuning[0].key}.json")
        whole = document["documents"][0]
        assert trial["split"]["counts"]["train"] < whole["split"]["counts"]["train"]
        assert whole["fit_on"] == "full"

    def test_the_best_mean_is_chosen(self, done, document):
        folder, ran, _ = done
        by_row = {}
        for spec in ran[:9]:
            scored = report.load(folder / "trials" / f"{spec.key}.json")
            phases = scored["runs"][0]["seeds"][0]["phases"].values()
            value = statistics.fmean(phase["metrics"]["AUC"] for phase in phases)
            by_row.setdefault(spec.model, []).append((value, spec.overrides))
        for row, trials in by_row.items():
            spent = document["benchmark"]["spent"][f"FM|{row}"]
            best, overrides = max(trials, key=lambda trial: trial[0])
            assert spent["value"] == pytest.approx(best)
            assert {key: overrides[key] for key in spent["chosen"]} == spent["chosen"]
            means = [each["mean"] for each in spent["settings"]]
            assert sorted(means) == pytest.approx(sorted(value for value, _ in trials))
            assert spent["best_of"] == best_of_curve(means[0], means[1:], 3)

    def test_the_table_has_plain_names_and_chosen_settings(self, document):
        shown = Comparison(document)
        assert shown.rows == [*ROWS, MATCHED]
        assert not shown.missing()
        for row in ROWS:
            run, chosen = shown.run("FM", row), document["benchmark"]["spent"][f"FM|{row}"]
            assert run["label"] == row
            assert {key: run["config"][key] for key in chosen["chosen"]} == chosen["chosen"]

    def test_the_matched_row_is_the_chosen_plain_one_with_the_longest_ones_steps(self, document):
        shown = Comparison(document)
        base, matched = (shown.run("FM", row)["config"] for row in ("Base", MATCHED))
        steps = max(
            stage["steps"]
            for row in ROWS
            for stage in shown.run("FM", row)["seeds"][0]["stages"]
            if stage["name"].startswith("warm")
        )
        assert matched["warm_steps"] == steps
        changed = {key for key in base if base[key] != matched[key]}
        assert changed == {"warm_steps"}

    def test_a_rows_yaml_gives_its_numbers(self, done, document, tmp_path, capsys):
        path = done[0] / "chosen" / "FM-MWUF.yaml"
        told = yaml.safe_load(path.read_text())
        assert told["seeds"] == 2
        assert main([f"--config_files={path}", f"--saved_dir={tmp_path}",
                     "--matched_row=False"]) == 0  # fmt: skip
        (folder,) = tmp_path.iterdir()
        (run,) = report.load(folder)["runs"]
        theirs = Comparison(document).run("FM", "MWUF")
        assert [s["phases"] for s in run["seeds"]] == [s["phases"] for s in theirs["seeds"]]

    def test_the_budget_is_shown(self, done):
        screen = (done[0] / "table.txt").read_text()
        pages = (done[0] / "comparison.md").read_text()
        lines = screen[screen.index("tuning ") :].splitlines()
        assert [line.split()[:3] for line in lines[1:4]] == [[row, "3", "0"] for row in ROWS]
        assert "| tuning | trials | failed |" in pages
        for text in (screen, pages):
            assert "of 1: the default setting" in " ".join(text.split())

    def test_is_read_as_a_comparison(self, done, document, tmp_path, capsys):
        found = recbole_cold.load_results(done[0])
        assert isinstance(found, ComparisonResults)
        assert found.document["benchmark"]["trials"] == 3
        assert set(found.frame()["method"]) == {*ROWS, MATCHED}
        assert main(["compare", str(done[0]), f"--saved_dir={tmp_path}"]) == 0
        (folder,) = tmp_path.iterdir()
        again = report.load_comparison(folder)
        assert numbers(again) == numbers(document)
        assert "tuning " in (folder / "table.txt").read_text()

    @pytest.mark.slow
    def test_beside_others_rows_tell_their_settings(self, done, tmp_path, tiny_flags, in_process):
        """MWUF as it is and MWUF as chosen are two rows."""
        flags = [flag for flag in tiny_flags if "saved_dir" not in flag]
        runs = f"--saved_dir={tmp_path / 'runs'}"
        assert main(["run", "--model=Base,MWUF", "--backbone=FM", *flags, "--seeds=2", runs]) == 0
        (other,) = (tmp_path / "runs").iterdir()
        saved = f"--saved_dir={tmp_path / 'both'}"
        assert main(["compare", str(done[0]), str(other), saved]) == 0
        (folder,) = (tmp_path / "both").iterdir()
        rows = Comparison(report.load_comparison(folder)).rows
        assert "MWUF" in rows and any(row.startswith("MWUF[") for row in rows)


# ------------------------------------------------------------------------- going on
class TestSurvival:
    def test_a_finished_one_is_shown_again_and_runs_nothing(self, done, document, in_process):
        assert main(["benchmark", f"--resume={done[0]}"]) == 0
        assert in_process == []
        assert numbers(report.load_comparison(done[0])) == numbers(document)

    @pytest.mark.slow
    def test_interrupted_and_continued(self, go, in_process, monkeypatch, tmp_path, document):
        whole = pool.run_all
        monkeypatch.setattr(
            pool, "run_all",
            lambda specs, *, stop, **words: whole(
                specs, stop=lambda: len(in_process) >= 5, **words
            ),
        )  # fmt: skip
        code, _, err = go("--models=MWUF", "--backbones=FM")
        (folder,) = (tmp_path / "saved").iterdir()
        assert code == 130 and len(in_process) == 5
        assert f"interrupted; to continue: recbole-cold benchmark --resume={folder}" in err
        assert not (folder / "comparison.json").exists()
        monkeypatch.setattr(pool, "run_all", whole)
        assert main(["benchmark", "--resume", f"--saved_dir={tmp_path / 'saved'}"]) == 0
        assert len(in_process) == 9 + 8
        assert numbers(report.load_comparison(folder)) == numbers(document)

    @pytest.mark.slow
    def test_trials_of_other_settings_are_run_again(self, go, in_process, tmp_path, tiny_path):
        """A configuration file that was edited since: its name is the same, its trials are not."""
        file = tmp_path / "more.yaml"
        file.write_text("learning_rate: 0.01\n")
        asked = ["--models=Base", "--trials=1", "--seeds=1", f"--config_files={file}"]
        assert go(*asked)[0] == 0
        (folder,) = (tmp_path / "saved").iterdir()
        before = len(in_process)
        file.write_text("learning_rate: 0.02\n")
        assert main(["benchmark", f"--resume={folder}"]) == 0
        ran = in_process[before:]
        assert ran and {spec.overrides["learning_rate"] for spec in ran} == {0.02}

    def test_failed_trials_cannot_win(self, go, in_process, monkeypatch, tmp_path, capsys):
        """Whatever fails is recorded and told, and its row has the best of the others."""
        outcome_of = worker.outcome_of

        def fail(spec, gpus, **options):
            tuned = spec.overrides.get("fit_on") == "valid"
            if tuned and spec.model == "ItemBias":
                return {"error": "Traceback\nas was asked for"}
            if tuned and spec.model == "Base" and spec.overrides["warm_epochs"] != 1:
                return {"error": "too many"}
            return outcome_of(spec, gpus, **options)

        monkeypatch.setattr(worker, "outcome_of", fail)
        code, out, err = go("--models=Base", "--backbones=FM", "--seeds=1")
        assert code == 1
        assert "5 trials failed; the first: Base on FM, trial 2, seed 2020:\ntoo many" in err
        (folder,) = (tmp_path / "saved").iterdir()
        found = report.load_comparison(folder)
        base, bias = found["benchmark"]["spent"].values()
        assert (base["failed"], base["chosen"]) == (2, base["default"])
        assert base["best_of"] == pytest.approx([base["value"]] * 3)
        assert (bias["failed"], bias["chosen"], bias["best_of"]) == (3, None, [])
        assert len(found["benchmark"]["failures"]) == 5
        assert [each["row"] for each in found["failures"]] == ["ItemBias"]
        assert "missing: ItemBias on FM" in out
        assert not (folder / "table.txt").exists()
        monkeypatch.setattr(worker, "outcome_of", outcome_of)
        before = len(in_process)
        assert main(["benchmark", f"--resume={folder}"]) == 0
        capsys.readouterr()
        # The failed trials, and the final runs of what is chosen now.
        assert sum(s.overrides.get("fit_on") == "valid" for s in in_process[before:]) == 5
        assert not report.load_comparison(folder)["failures"]


# ------------------------------------------------------------------------- what is asked
class TestAsked:
    def test_a_key_that_is_given_holds_for_all(self, go, given_up):
        """On the command line for all rows, in brackets for one; that is another row than the
        reference, which is added beside it."""
        words = ["--models=Base,ItemBias[item_bias_variance=7]", "--warm_epochs=2", "--trials=8"]
        code, _, err = go(*words)
        assert code == 130
        assert "Base, ItemBias, ItemBias[item_bias_variance=7] on DeepFM" in err
        assert {spec.overrides["warm_epochs"] for spec in given_up} == {2}
        fixed = [spec for spec in given_up if spec.overrides.get("item_bias_variance") == 7]
        # Two values of two keys are left.
        assert len(fixed) == 4
        assert "ItemBias[item_bias_variance=7] on DeepFM: 4 settings, its space has no" in err
        assert len(given_up) == 4 + 4 + 8

    @pytest.mark.slow
    def test_a_network_of_its_own_is_tuned_once(self, go, in_process, tmp_path):
        words = ["--models=MeLU", "--backbones=FM,DeepFM", "--meta_epochs=1", "--seeds=1",
                 "--trials=2", "--matched_row=False"]  # fmt: skip
        code, _, err = go(*words)
        assert code == 0, err
        (folder,) = (tmp_path / "saved").iterdir()
        document = report.load_comparison(folder)
        spent = document["benchmark"]["spent"]
        assert [place for place in spent if "MeLU" in place] == [f"{OWN_NETWORK}|MeLU"]
        assert set(spent[f"{OWN_NETWORK}|MeLU"]["default"]) == {"melu_inner_rate", "learning_rate",
                                                              "new_item_init"}  # fmt: skip
        assert len(spent) == 2 * 2 + 1
        assert Comparison(document).backbones == ["FM", "DeepFM", OWN_NETWORK]
        tuned = [spec for spec in in_process if spec.overrides.get("fit_on") == "valid"]
        assert len(tuned) == 5 * 2

    @pytest.mark.slow
    def test_lower_is_better(self, go, in_process, tmp_path):
        assert go("--models=Base", "--seeds=1", "--valid_metric=LogLoss")[0] == 0
        (folder,) = (tmp_path / "saved").iterdir()
        spent = report.load_comparison(folder)["benchmark"]["spent"]["DeepFM|Base"]
        assert spent["value"] == min(each["mean"] for each in spent["settings"])
        assert spent["best_of"] == sorted(spent["best_of"], reverse=True)

    def test_one_trial_of_each_backbone_comes_first(self, go, given_up):
        """Nobody waits for a backbone that another one trains, where there are enough of them."""
        assert go("--models=MWUF", "--tune_seeds=2", "--trials=4")[0] == 130
        assert len(given_up) == 3 * 4 * 2
        shared = [(spec.seed, spec.overrides["pretrain_epochs"]) for spec in given_up]
        assert len(set(shared[:4])) == len(set(shared)) == 4

    def test_from_python(self, go, in_process, tiny_path, tmp_path):
        keys = {
            "data_path": tiny_path.parent, "threshold": {"rating": 4}, "cold_threshold": 30,
            "warm_size": 3, "train_batch_size": 64, "embedding_size": 4, "show_progress": False,
            "saved_dir": tmp_path / "saved", "verbose": False,
        }  # fmt: skip
        found = recbole_cold.benchmark(
            ["Base"], ["FM"], "tiny", trials=2, tune_seeds=1, seeds=1,
            space={"warm_epochs": [2, 3]}, **keys,
        )  # fmt: skip
        assert list(found.document["benchmark"]["spent"]) == ["FM|Base", "FM|ItemBias"]
        request = read_request(found.folder, "benchmark", BenchmarkRequest)
        assert (request.trials, [axis[0] for axis in request.axes]) == (2, ["warm_epochs"])
        again = recbole_cold.benchmark(resume=found.folder, verbose=False)
        assert numbers(again.document) == numbers(found.document)
        with pytest.raises(UserError, match="trials must be a whole number"):
            recbole_cold.benchmark("Base", dataset="tiny", trials=0, **keys)

    def test_defaults(self, tiny_flags, given_up, tmp_path):
        """16 trials, 2 seeds, then 5; what is asked for is kept for a resume."""
        assert main(["benchmark", "--models=Base", *tiny_flags]) == 130
        (folder,) = (tmp_path / "saved").iterdir()
        request = read_request(folder, "benchmark", BenchmarkRequest)
        assert (request.trials, request.tune_seeds, request.overrides["seeds"]) == (16, 2, 5)
        assert request.models == "Base,ItemBias"
        assert len(request.axes) == 4
        assert len(given_up) == 2 * 16 * 2

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ([], "benchmark needs --models=<name>"),
            (["--models=Base", "--trials=0"], "trials must be a whole number"),
            (["--models=Base", "--tune_seeds=x"], "tune_seeds must be a whole number"),
            (["--models=Base", "--fit_on=valid"], "leave out --fit_on"),
            (["--models=Base", "--space=no.yaml"], "no.yaml does not exist"),
            (["--models=Base", "--against=GAR"], "--against names 'GAR', which is not compared"),
            (["--models=Base", "--samples=3"], "unknown key: 'samples'"),
            (["--resume", "--trials=3"], "leave out --"),
        ],
    )
    def test_refused_in_one_sentence(self, go, in_process, tmp_path, words, told):
        code, out, err = go(*words)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith("error: ") and told in line
        assert not (tmp_path / "saved").exists() and not in_process

    @pytest.mark.parametrize(
        ("space", "told"),
        [
            ("seed: [1, 2]\n", "'seed' in {} cannot be searched: every setting runs on all seeds"),
            ("valid_fraction: [0.1]\n", "'valid_fraction' in {} cannot be searched: it decides"),
            ("warm_epoch: [1, 2]\n", "unknown key 'warm_epoch' in {}; did you mean 'warm_epochs'?"),
            ("warm_epochs: [1, -2]\n", "warm_epochs must be"),
            ("warm_epochs: 3\n", "is no axis"),
        ],
    )
    def test_spaces_that_cannot_be(self, go, in_process, tmp_path, space, told):
        file = tmp_path / "s.yaml"
        file.write_text(space)
        code, _, err = go("--models=Base", f"--space={file}")
        assert code == 2
        assert told.format(file) in err.splitlines()[-1]
        assert not in_process

    def test_more_than_two_own_keys(self, go, in_process, tmp_path):
        (tmp_path / "Greedy.py").write_text(
            "from recbole_cold.methods import ColdStartRecommender\n"
            "class Greedy(ColdStartRecommender):\n    pass\n"
        )
        (tmp_path / "Greedy.yaml").write_text(
            "sweep_space:\n  learning_rate: [1e-3]\n  embedding_size: [4]\n  item_bias: [True]\n"
        )
        code, _, err = go(f"--models={tmp_path / 'Greedy.py'}")
        assert code == 2
        assert "the sweep_space of Greedy has 3 keys of its own, and in a benchmark" in err


class TestTimeLeft:
    def test_at_first_the_estimate_then_what_was_measured(self):
        assert time_left(0.0, 0.0, 100.0, 2) == pytest.approx(50)
        # A hundred of two hundred estimated seconds took two processes a hundred each.
        assert time_left(100.0, 100.0, 100.0, 2) == pytest.approx(50 * 220 / 120)
        assert time_left(1000.0, 1e5, 1e5, 1) == pytest.approx(1e5 * 21 / 120)

    def test_nothing_waits_or_nothing_is_known(self):
        assert time_left(5.0, 10.0, 0.0, 2) == 0
        assert time_left(5.0, 0.0, 0.0, 2) == 0
        assert math.isfinite(time_left(5.0, 0.0, 10.0, 2))


@pytest.mark.slow
def test_through_ray(go, tmp_path, document):
    """The real pool, two trials at a time, against one after another in this process."""
    code, _, err = go("--models=MWUF", "--backbones=FM", "--concurrent=2")
    assert code == 0, err
    (folder,) = (tmp_path / "saved").iterdir()
    assert numbers(report.load_comparison(folder)) == numbers(document)
