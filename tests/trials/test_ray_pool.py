"""Many trials at a time: their own cards, one process for several, failures kept apart."""

import json
import os
import subprocess
import sys

import pytest

from recbole_cold.errors import Interrupted, UserError
from recbole_cold.trials import ray_pool as pool
from recbole_cold.trials import worker
from recbole_cold.trials.ray_pool import room, run_all
from recbole_cold.trials.trial import TrialSpec, run_trial
from recbole_cold.trials.worker import placed


@pytest.fixture(scope="module")
def spec(tiny_path):
    def make(model="Base", seed=5, **overrides):
        keys = {
            "data_path": str(tiny_path.parent), "threshold": {"rating": 4}, "cold_threshold": 30,
            "warm_size": 3, "train_batch_size": 64, "embedding_size": 4, "fit_on": "valid",
            "show_progress": False, **overrides,
        }  # fmt: skip
        return TrialSpec(model, "tiny", "FM", (), keys, seed)

    return make


# ------------------------------------------------------------------------- no Ray needed
class TestRoom:
    @pytest.fixture(autouse=True)
    def machines(self, monkeypatch):
        monkeypatch.setattr(pool, "_nodes", lambda address: [(8.0, 2.0), (4.0, 0.0)])

    @pytest.mark.parametrize(
        ("cpus", "gpus", "fits"),
        [(1, 0, 12), (0.5, 0, 24), (3, 0, 3), (1, 1, 2), (1, 0.5, 4), (1, 0.4, 4), (1, 2, 1),
         (0.1, 0.1, 20), (8, 1, 1)],
    )  # fmt: skip
    def test_is_counted_machine_by_machine_and_card_by_card(self, cpus, gpus, fits):
        assert room(cpus, gpus) == fits

    @pytest.mark.parametrize(
        ("cpus", "gpus", "message"),
        [
            (9, 0, "a trial asks for 9 CPU cores and 0 GPUs, and this machine does not have as"),
            (1, 3, "at most 8 and 2); change --cpus_per_trial or --gpus_per_trial"),
            (0, 0, "cpus_per_trial must be a number above 0, but it is '0'"),
            (-1, 0, "cpus_per_trial must be a number above 0, but it is '-1'"),
            (1, float("nan"), "gpus_per_trial must be a number of at least 0, but it is 'NaN'"),
            (1, 1.5, "--gpus_per_trial=1.5 is no number of cards"),
        ],
    )
    def test_refuses_what_no_machine_has(self, cpus, gpus, message):
        with pytest.raises(UserError) as raised:
            room(cpus, gpus)
        assert message in str(raised.value)


def test_a_trial_goes_where_ray_put_it(spec):
    there = spec(gpu_id="3", device="cuda:3")
    assert placed(there, 0.5).overrides | {} == {**there.overrides, "device": "auto", "gpu_id": "0"}
    on_cpu = placed(there, 0).overrides
    assert on_cpu["device"] == "cpu"
    assert "gpu_id" not in on_cpu


@pytest.mark.parametrize(
    ("gpus", "device", "warns"),
    [(0.5, "cpu", True), (0.5, "cuda (A Card)", False), (0, "cpu", False)],
)
def test_a_trial_that_was_given_a_card_and_found_none_says_so(
    spec, monkeypatch, gpus, device, warns
):
    document = {"device": device, "trial": {}, "runs": [{"seeds": [{"phases": {}}]}]}
    monkeypatch.setattr(worker, "run_trial", lambda *args, **options: document)
    told = json.loads(worker.outcome_of(spec(), gpus)["document"])["trial"]
    assert told.get("warnings", []) == [worker.WITHOUT_CARD] * warns


def test_no_cluster_at_an_address_is_one_sentence():
    with (
        pytest.raises(UserError, match=r"there is no Ray cluster at '127\.0\.0\.1:1'"),
        pool.session("127.0.0.1:1"),
    ):
        pass


def test_a_private_session_has_a_token_of_its_own(monkeypatch):
    """In the environment alone, whatever is set there, and gone afterwards."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    seen = []
    for _ in range(2):
        with pool._own_token():
            assert os.environ["RAY_AUTH_MODE"] == "token"
            seen.append(os.environ["RAY_AUTH_TOKEN"])
    assert len(set(seen)) == 2
    assert all(len(token) == 64 for token in seen)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ


# ------------------------------------------------------------------------- one Ray for all of it
@pytest.fixture(scope="module")
def ray_with_two_fake_gpus(own_caches):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.device_count", lambda: 2)
        patch.setattr(pool, "cores", lambda: 2)
        with pool.session():
            yield


@pytest.fixture(scope="module")
def outcomes(ray_with_two_fake_gpus, spec):
    """Trials by two processes with a card each; the third one raises."""
    specs = [spec(seed=5), spec(seed=6), spec("MWUF", mwuf_users="nobody")]
    specs += [spec("MWUF", seed=seed) for seed in (5, 6, 7)]
    done, failed = {}, {}
    run_all(
        specs, gpus=1, cpus=0.5,
        on_done=lambda spec, document: done.update({spec.key: document}),
        on_failed=lambda spec, error: failed.update({spec.key: error}),
    )  # fmt: skip
    return specs, done, failed


@pytest.mark.slow
class TestRunAll:
    def test_each_process_sees_its_own_card_and_our_config_leaves_it(self, outcomes):
        """The variable is read after the trial: RecBole's Config would have set it to gpu_id."""
        _, done, _ = outcomes
        seen = {d["trial"]["pid"]: d["trial"]["cuda_visible_devices"] for d in done.values()}
        assert sorted(seen.values()) == ["0", "1"]

    def test_a_trial_that_raises_leaves_the_others_alone(self, outcomes):
        specs, done, failed = outcomes
        assert failed == {
            specs[2].key: "mwuf_users 'nobody' is none of all, positive, swapped; choose one of "
            "them (on the command line)."
        }
        assert done.keys() == {spec.key for spec in specs} - failed.keys()

    def test_one_process_runs_several_and_gives_the_numbers_of_a_trial_alone(
        self, outcomes, numbers
    ):
        specs, done, _ = outcomes
        assert len({document["trial"]["pid"] for document in done.values()}) == 2
        assert os.getpid() not in {document["trial"]["pid"] for document in done.values()}
        for spec in (specs[1], specs[-1]):
            assert numbers(done[spec.key]) == numbers(run_trial(spec))
            assert done[spec.key]["trial"]["key"] == spec.key

    def test_weak_trials_are_stopped_between_epochs(self, ray_with_two_fake_gpus, spec):
        """One at a time: the good ones first, so that what comes later is compared with them."""
        good = [spec(learning_rate=0.02, pretrain_epochs=4, seed=seed) for seed in (5, 6)]
        weak = [spec(learning_rate=1e-7, pretrain_epochs=4, seed=seed) for seed in (5, 6)]
        done, stopped = [], {}
        run_all(
            [*good, *weak], concurrent=1, asha=("AUC", "max", 4),
            on_done=lambda spec, document: done.append(spec.key),
            on_failed=lambda spec, error: pytest.fail(error),
            on_stopped=lambda spec, epoch: stopped.update({spec.key: epoch}),
        )  # fmt: skip
        assert good[0].key in done
        assert stopped
        assert stopped.keys() <= {each.key for each in [good[1], *weak]}
        assert set(stopped.values()) <= {1, 2}

    def test_a_stop_gives_up_and_an_error_of_the_caller_comes_through(
        self, ray_with_two_fake_gpus, spec
    ):
        done = []
        words = {"on_failed": lambda spec, error: pytest.fail(error), "concurrent": 1}
        with pytest.raises(Interrupted):
            run_all(
                [spec(seed=seed) for seed in range(4)],
                on_done=lambda spec, document: done.append(spec), stop=lambda: bool(done), **words,
            )  # fmt: skip
        assert 1 <= len(done) < 4

        def full_disk(spec, document):
            raise UserError("the disk is full")

        with pytest.raises(UserError, match="the disk is full"):
            run_all([spec(seed=8), spec(seed=9)], on_done=full_disk, **words)

    def test_a_scheduler_callbacks_and_loggers_of_the_caller_run(
        self, ray_with_two_fake_gpus, spec, tmp_path
    ):
        from ray import tune
        from ray.tune.schedulers import FIFOScheduler

        class AtTwo(FIFOScheduler):
            def set_search_properties(self, metric, mode, **spec):
                self.asked = getattr(self, "asked", None) or (metric, mode)
                return True

            def on_trial_result(self, tune_controller, trial, result):
                weak = trial.config["trial"]["learning_rate"] < 1e-4
                return self.STOP if weak and result.get("epoch") == 2 else self.CONTINUE

        class Recorder(tune.Callback):
            told = []

            def on_trial_result(self, iteration, trials, trial, result, **info):
                self.told.append(result)

        # A seed that no other test has: a backbone from the cache has no epochs.
        good, weak = (spec(pretrain_epochs=4, learning_rate=rate, seed=11) for rate in (0.02, 1e-7))
        done, stopped, scheduler = [], {}, AtTwo()
        run_all(
            [good, weak], concurrent=1,
            on_done=lambda spec, document: done.append(spec.key),
            on_failed=lambda spec, error: pytest.fail(error),
            on_stopped=lambda spec, epoch: stopped.update({spec.key: epoch}),
            tune_parts=pool.TuneParts(scheduler, [Recorder()], True, tmp_path, "AUC", "max"),
        )  # fmt: skip
        assert (done, stopped) == ([good.key], {weak.key: 2})
        assert scheduler.asked == ("AUC", "max")
        assert [result.get("epoch") for result in Recorder.told][:5] == [1, 2, 3, 4, None]
        assert {"cold/AUC", "warm_c/LogLoss"} <= Recorder.told[4].keys()
        assert list(tmp_path.glob("trials/*/events.out.tfevents.*"))  # TensorBoard
        shown = json.loads(next(tmp_path.glob("trials/*/params.json")).read_text())["trial"]
        assert (shown["model"], shown["pretrain_epochs"]) == ("Base", 4)
        assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "1"  # for the next call

    @pytest.mark.parametrize("token", ["", "0" * 64])
    def test_who_has_not_its_token_is_kept_out(self, ray_with_two_fake_gpus, token):
        """Its ports are on all interfaces; whoever could connect could run what they like."""
        import ray

        code = "import ray, sys; ray.init(address=sys.argv[1]); print('inside')"
        address = ray.get_runtime_context().gcs_address

        def knock(**env):
            words = [sys.executable, "-c", code, address]
            return subprocess.run(
                words, env={**os.environ, **env}, capture_output=True, text=True, timeout=120
            )

        mode = "token" if token else "disabled"
        stranger = knock(RAY_AUTH_MODE=mode, RAY_AUTH_TOKEN=token)
        assert stranger.returncode != 0
        assert "inside" not in stranger.stdout
        if not token:
            assert "inside" in knock().stdout

    def test_specs_reach_a_process_as_texts(self, spec):
        assert TrialSpec.from_dict(json.loads(json.dumps(spec().as_dict()))) == spec()


def test_a_private_ray_has_a_token_wherever_the_home_is(monkeypatch):
    """In the environment alone: no home has to be there for it."""
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setattr(pool, "_read_token_again", lambda: None)
    with pool._own_token():
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert "RAY_AUTH_TOKEN" not in os.environ
