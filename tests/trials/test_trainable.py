"""A method as a trainable in a Ray script that is not ours; our spaces in Tune's words."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ray import tune
from ray.tune.search.sample import Categorical, Float, Integer

import recbole_cold
from recbole_cold import param_space, report, trainable
from recbole_cold.errors import UserError
from recbole_cold.sweep.space import Axis, expand, read_space
from recbole_cold.sweep.tune_space import distribution, from_text
from recbole_cold.trials.trainable import spec_of
from recbole_cold.trials.trial import TrialSpec, run_trial, score_of

ROOT = Path(__file__).resolve().parents[2]


class TestParamSpace:
    def test_is_the_block_of_a_methods_yaml(self):
        axes = read_space(ROOT / "properties" / "model" / "MWUF.yaml")
        space = param_space("MWUF", grid=False)
        assert list(space) == [axis.key for axis in axes]
        assert all(isinstance(each, Categorical) for each in space.values())

    def test_a_list_is_a_grid_or_drawn_from(self):
        block = {"a": [1, 2], "b": {"choice": [3, 4]}}
        walked, drawn = param_space(block), param_space(block, grid=False)
        assert walked["a"] == tune.grid_search([1, 2])
        assert drawn["a"].categories == [1, 2]
        assert walked["b"].categories == drawn["b"].categories == [3, 4]

    def test_each_distribution_keeps_its_numbers(self):
        space = param_space(
            {"u": {"uniform": [0, 0.5]}, "l": "loguniform(1e-4, 1e-1)", "r": {"randint": [5, 50]},
             "threshold": {"rating": [3, 4]}},
            seed=tune.grid_search([1, 2]),
        )  # fmt: skip
        assert (space["u"].lower, space["u"].upper) == (0, 0.5)
        assert (space["l"].lower, space["l"].upper) == (1e-4, 1e-1)
        assert type(space["l"].sampler).__name__ == "_LogUniform"
        assert isinstance(space["r"], Integer)
        assert (space["r"].lower, space["r"].upper) == (5, 50)  # 50 is never drawn, in both
        assert list(space) == ["u", "l", "r", "threshold.rating", "seed"]

    @pytest.mark.parametrize(
        "numbers", [(8, 64, 8), (0.0, 0.5, 0.1), (1, 5, 1), (1, 10, 3), (0.05, 0.5, 0.2)]
    )
    def test_steps_give_what_our_own_draws_could_give(self, numbers):
        axis = Axis("k", "quniform", numbers, "here")
        ours = {setting["k"] for setting in expand([axis], samples=600)}
        drawn = distribution(axis)
        theirs = {drawn.sample() for _ in range(600)}
        assert {float(f"{value:.6g}") for value in theirs} == ours
        assert {type(value) for value in theirs} == {type(value) for value in ours}
        assert isinstance(drawn, Integer | Float | Categorical)

    def test_lists_become_texts_that_are_read_back(self):
        (axis,) = read_space({"meta_hidden_size": [[16], [64, 32], 8]}, "here")
        texts = distribution(axis, grid=False).categories
        assert texts == ["[16]", "[64, 32]", 8]
        assert [from_text(axis, text) for text in texts] == [[16], [64, 32], 8]

    def test_a_file_is_read_and_a_mistake_is_one_sentence(self, tmp_path):
        (tmp_path / "space.yaml").write_text("learning_rate: [1e-3, 1e-2]\n")
        assert param_space(tmp_path / "space.yaml") == {
            "learning_rate": tune.grid_search([1e-3, 1e-2])
        }
        with pytest.raises(UserError, match="in the search space is no axis"):
            param_space({"learning_rate": 3})


class TestSpec:
    given = {"model": "MWUF", "backbone": "FM", "seed": 5}
    place = {"dataset": "tiny", "config_files": ()}

    def test_a_setting_names_the_trial_and_changes_keys(self):
        spec = spec_of(
            {"backbone": "DeepFM", "seed": 7, "threshold.rating": 3, "learning_rate": 0.1},
            self.given, {"fit_on": "valid", "learning_rate": 0.2}, {"threshold": {"rating": 4}},
            **self.place,
        )  # fmt: skip
        keys = {"fit_on": "valid", "learning_rate": 0.1, "threshold": {"rating": 3}}
        assert spec == TrialSpec("MWUF", "tiny", "DeepFM", (), keys, 7)

    def test_what_must_be_equal_in_all_trials_is_refused(self):
        with pytest.raises(UserError, match="'fit_on' must be equal in all trials"):
            spec_of({"fit_on": "full"}, self.given, {}, {}, **self.place)


class TestRefusals:
    @pytest.mark.parametrize(
        ("model", "keys", "message"),
        [
            ("MWFU", {}, "model 'MWFU' is unknown"),
            ("MWUF,CVAR", {}, "trainable takes one model"),
            ("MWUF", {"learning_rat": 1}, "learning_rat"),
            ("MWUF", {"seeds": 3}, "a trial has one seed"),
            ("MWUF", {"valid_metric": "RelaImpr"}, "RelaImpr compares methods"),
            ("MWUF", {"select_on": "warm_z"}, "is no phase; use mean or one of cold, warm_a"),
            ("MWUF", {"callbacks": [print]}, "callbacks must be instances"),
        ],
    )
    def test_come_before_any_trial(self, model, keys, message):
        with pytest.raises(UserError, match=message):
            trainable(model, "ml-100k", **keys)


def test_importing_the_package_imports_neither_ray_nor_torch():
    code = (
        "import sys, recbole_cold; dir(recbole_cold);"
        "print([name for name in ('ray', 'torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'trainble'"):
        _ = recbole_cold.trainble


def example() -> str:
    """The script of docs/sweeps.md."""
    text = (ROOT / "docs" / "sweeps.md").read_text()
    (script,) = re.findall(r"## Your own Ray script\n.*?```python\n(.*?)```", text, re.DOTALL)
    return script


LOOK = """
import json
results = tuner.get_results()
print("RESULTS" + json.dumps({
    "best": {**best.config, **best.metrics},
    "trials": [{**result.config, **result.metrics} for result in results],
    "errors": [str(error) for error in results.errors],
}, default=str))
"""


@pytest.mark.slow
def test_the_script_of_the_docs_runs_with_optuna_and_asha(tiny_path, tmp_path):
    """In a process and a Ray session of its own; its numbers are those of the same trial alone."""
    keys = (
        f'data_path={str(tiny_path.parent)!r}, threshold={{"rating": 4}}, cold_threshold=30, '
        f"warm_size=3, train_batch_size=64, embedding_size=4, cache_dir={str(tmp_path / 'c')!r}"
    )
    script = example()
    for old, new in (
        ('"ml-100k"', f'"tiny", {keys}'),
        ("num_samples=20", "num_samples=4"),
        (
            "import recbole_cold\n",
            'import ray, recbole_cold\nray.init(address="local", num_cpus=2)\n',
        ),
        ('name="mwuf"', f'name="mwuf", storage_path={str(tmp_path / "out")!r}'),
    ):
        assert old in script
        script = script.replace(old, new)
    (tmp_path / "mine.py").write_text(script + LOOK)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "mine.py")],
        capture_output=True, text=True, cwd=tmp_path, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULTS")]
    found = json.loads(line.removeprefix("RESULTS"))
    assert found["errors"] == []
    assert len(found["trials"]) == 4
    whole = [trial for trial in found["trials"] if "cold/AUC" in trial]
    assert whole
    assert all("epoch" in trial for trial in found["trials"] if trial not in whole)
    best = found["best"]
    assert best in whole and best["AUC"] == max(trial["AUC"] for trial in whole)
    overrides = {
        "data_path": str(tiny_path.parent), "threshold": {"rating": 4}, "cold_threshold": 30,
        "warm_size": 3, "train_batch_size": 64, "embedding_size": 4, "pretrain_epochs": 4,
        "fit_on": "valid", "device": "cpu", "cache_dir": str(tmp_path / "alone"),
        **{key: best[key] for key in ("learning_rate", "meta_hidden_size")},
    }  # fmt: skip
    document = run_trial(TrialSpec("MWUF", "tiny", "DeepFM", (), overrides, 2020))
    assert best["AUC"] == score_of(document, "AUC")
    phases = report.validate(document)["runs"][0]["seeds"][0]["phases"]
    for phase in ("cold", "warm_a", "warm_b", "warm_c"):
        assert best[f"{phase}/AUC"] == phases[phase]["metrics"]["AUC"]
    assert document["fit_on"] == "valid"
