"""Runs many trials at a time on Ray, places them on machines and GPUs, and handles failures.

Nothing here depends on what the trials are for. Ray is imported when something is run.
"""

import json
import logging
import math
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recbole_cold.errors import Interrupted, UserError
from recbole_cold.keys import check_flag
from recbole_cold.trials.cache_offer import Offer, offer_here
from recbole_cold.trials.one_thread import OneThread
from recbole_cold.trials.trial import TrialSpec
from recbole_cold.trials.worker import LAST_LINES, Worker, actor_class

logger = logging.getLogger(__name__)

_TEMP_PREFIX = "rc-ray-"
_NO_LOGGERS = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"
# Keeps Ray from printing, writing and sending by itself.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    _NO_LOGGERS: "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the command line has its own
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a backbone from the cache has no epochs
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


# ------------------------------------------------------------------------------- resources
def cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _nodes(ray_address: str | None) -> list[tuple[float, float]]:
    """CPUs and GPUs of each machine that trials would run on."""
    _set_environment(ray_address)
    import ray

    if ray_address is None and not ray.is_initialized():
        import torch

        return [(cores(), torch.cuda.device_count())]
    with session(ray_address):
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive]


def room(cpus: float = 1.0, gpus: float = 0.0, ray_address: str | None = None) -> int:
    """How many trials fit at a time; at least 1.

    Raises:
        UserError: no machine could ever run one; Ray itself would wait forever.
    """
    check_flag("cpus_per_trial", cpus)
    check_flag("gpus_per_trial", gpus)
    if gpus > 1 and gpus != int(gpus):
        raise UserError(f"--gpus_per_trial={gpus:g} is no number of cards; below 1 it is a share")
    nodes = _nodes(ray_address)
    fits = sum(_fit(have_cpus, have_gpus, cpus, gpus) for have_cpus, have_gpus in nodes)
    if fits:
        return fits
    most_cpus, most_gpus = (max(column, default=0) for column in zip(*nodes, strict=True))
    where = "no machine of the Ray cluster has" if ray_address else "this machine does not have"
    raise UserError(
        f"a trial asks for {cpus:g} CPU cores and {gpus:g} GPUs, and {where} as many (at most "
        f"{most_cpus:g} and {most_gpus:g}); change --cpus_per_trial or --gpus_per_trial"
    )


def _fit(have_cpus: float, have_gpus: float, cpus: float, gpus: float) -> int:
    by_cpu = math.floor(have_cpus / cpus + 1e-9)
    if gpus == 0:
        return by_cpu
    # A trial's share of a GPU is never spread over two GPUs.
    by_gpu = int(have_gpus) * math.floor(1 / gpus + 1e-9) if gpus < 1 else int(have_gpus // gpus)
    return min(by_cpu, by_gpu)


# ------------------------------------------------------------------------------- Ray itself
@contextmanager
def one_session(ray_address: str | None = None) -> Iterator[Callable[..., None]]:
    """Context: ``run_all`` for any number of calls in one Ray, which the first of them starts."""
    with ExitStack() as held:

        def run(specs: Sequence[TrialSpec], **options: Any) -> None:
            held.enter_context(session(ray_address))
            run_all(specs, **options)

        yield run


@contextmanager
def session(ray_address: str | None = None) -> Iterator[None]:
    """Context: Ray runs: that of a cluster, one already in this process, or a private one.

    Raises:
        UserError: there is no cluster at the address.
    """
    _set_environment(ray_address)
    import ray

    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if ray_address is not None:
        try:
            _knock(ray_address)
            ray.init(address=ray_address, **quiet)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise UserError(
                f"there is no Ray cluster at '{ray_address}' ({_first_line(error)}); start one "
                "with `ray start --head`, or leave out --ray_address"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    import torch

    with _temporary_folder() as folder, _own_path(), _own_token():
        ray.init(
            num_cpus=cores(),
            num_gpus=torch.cuda.device_count(),
            include_dashboard=False,
            _temp_dir=str(folder),
            object_store_memory=128 * 2**20,  # only results go through the object store, no data
            **quiet,
        )
        try:
            yield
        finally:
            ray.shutdown()


def _set_environment(ray_address: str | None) -> None:
    """Set the environment variables that Ray reads on import."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    # Since 2.60 `ray start` asks for a token where the user has one, but connecting brings it only
    # when told to.
    token = os.path.expanduser("~/.ray/auth_token")  # as it stands for a user without a home
    if ray_address is not None and os.path.exists(token):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _knock(ray_address: str) -> None:
    """Raise an ``OSError`` if nothing listens at ``host:port``; Ray itself would wait forever."""
    host, colon, port = ray_address.rpartition(":")
    if colon and port.isdigit() and "://" not in ray_address:
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A private folder with a short name: Ray puts sockets there, whose paths must be short."""
    base = Path(tempfile.gettempdir())
    if len(str(base)) > 30:
        base = Path("/tmp")
    for left in base.glob(f"{_TEMP_PREFIX}*"):  # left by drivers that were killed
        with suppress(OSError, ValueError):
            if left.stat().st_uid == os.getuid() and not _runs(int(left.name.split("-")[2])):
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_TEMP_PREFIX}{os.getpid()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _own_path() -> Iterator[None]:
    """Context: workers find the code of this process, in whatever folder it was started."""
    before = os.environ.get("PYTHONPATH")
    ours = str(Path(__file__).resolve().parents[2])
    with _environment(PYTHONPATH=os.pathsep.join([ours, *([before] if before else [])])):
        yield


@contextmanager
def _own_token() -> Iterator[None]:
    """Whoever has not the token of this session can do nothing with its ports.

    Ray listens on all interfaces, whatever address it is given, and runs what it is sent. The
    token is in the environment alone, which other users cannot read. Ray knows tokens since 2.52.
    """
    with _environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32)):
        _read_token_again()
        yield
    _read_token_again()


def _read_token_again() -> None:
    """Ray keeps mode and token from when it was imported, or last asked."""
    with suppress(ImportError, AttributeError):
        from ray._raylet import AuthenticationTokenLoader, Config

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """These variables are set while open."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


# ------------------------------------------------------------------------------- many trials
Done = Callable[[TrialSpec, dict[str, Any]], None]
Failed = Callable[[TrialSpec, str], None]
Scored = Callable[[TrialSpec, bytes], None]


@dataclass(frozen=True)
class TuneParts:
    """A caller's own objects for Ray Tune, which a request file cannot hold.

    Attributes:
        scheduler: a ``ray.tune.schedulers.TrialScheduler``; it is told of pre-training epochs.
        callbacks: instances of ``ray.tune.Callback``, loggers for instance.
        loggers: whether Tune's own loggers (json, csv, TensorBoard) write, too.
        logs: the folder that they write to, which is kept; none: a temporary one.
        metric: what a scheduler without a metric of its own compares.
        mode: ``min`` or ``max``.
    """

    scheduler: Any = None
    callbacks: Sequence[Any] = ()
    loggers: bool = False
    logs: Path | None = None
    metric: str | None = None
    mode: str = "max"


def run_all(
    specs: Sequence[TrialSpec],
    *,
    on_done: Done,
    on_failed: Failed,
    cpus: float = 1.0,
    gpus: float = 0.0,
    concurrent: int | None = None,
    ray_address: str | None = None,
    name: str = "trials",
    stop: Callable[[], bool] = lambda: False,
    asha: tuple[str, str, int] | None = None,
    on_stopped: Callable[[TrialSpec, int], None] = lambda spec, epoch: None,
    on_scores: Scored | None = None,
    tune_parts: TuneParts | None = None,
) -> None:
    """Run all trials; returns when each is done, failed or stopped early.

    A trial that raises has failed. One whose process or machine dies is run a second time before
    it counts as failed. The others go on.

    Args:
        on_done: called in this process with each results document, as it comes.
        on_failed: called with the last lines of what went wrong.
        concurrent: trials at a time; as many as there is room for.
        ray_address: of a running cluster, ``auto`` for this machine's; none: a private Ray.
        stop: asked often; true gives up what is running.
        asha: metric, ``min`` or ``max``, and pre-training epochs, to stop trials early by.
        on_stopped: called with the last epoch of a trial that ``asha`` or a scheduler stopped.
        on_scores: called before ``on_done`` with the content of the file of row scores; without it
            they stay where the trial ran.
        tune_parts: a scheduler, callbacks and loggers of the caller's.

    Raises:
        UserError: no machine has what a trial asks for, or there is no cluster at the address.
        Interrupted: ``stop`` was asked for.
    """
    if not specs:
        return
    parts = tune_parts or TuneParts()
    with session(ray_address), _storage(parts.logs) as storage:
        fits = room(cpus, gpus, ray_address)
        at_a_time = fits if concurrent is None else min(concurrent, fits)
        driver = _driver_class()(specs, on_done, on_failed, on_stopped, on_scores, stop)
        _fit_tuner(specs, driver, name, storage, at_a_time, cpus, gpus, asha, parts)
    if driver.error is not None:
        raise driver.error
    if stop():
        raise Interrupted
    for number in sorted(set(range(len(specs))) - driver.told):
        on_failed(specs[number], "Ray lost this trial without a word")


@contextmanager
def _storage(logs: Path | None) -> Iterator[str]:
    """Context: the folder that Tune writes to, which is kept or else temporary."""
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
        yield str(logs)
        return
    folder = tempfile.mkdtemp(prefix="recbole-cold-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _begin(offer: Offer, config: dict[str, Any], gpus: float) -> Worker:
    spec = TrialSpec.from_dict(json.loads(config["trial"]["spec"]))
    return Worker(spec, gpus, config["epochs"], keep_scores=config["scores"], offer=offer)


def _told(spec: TrialSpec) -> dict[str, Any]:
    """A trial's configuration for Tune: the values that loggers show, and all of it as a text.

    A text, because Tune would look for distributions inside mappings.
    """
    plain = {k: v for k, v in spec.overrides.items() if isinstance(v, bool | int | float | str)}
    return {**plain, "model": spec.model, "seed": spec.seed, "spec": json.dumps(spec.as_dict())}


def _fit_tuner(specs, driver, name, storage, at_a_time, cpus, gpus, asha, parts) -> None:
    from ray import tune

    begin = partial(_begin, offer_here())
    actor = tune.with_resources(actor_class(begin), {"cpu": cpus, "gpu": gpus})
    scheduler = _asha(asha) if asha else _with_metric(parts)
    tuner = tune.Tuner(
        actor,
        param_space={
            "trial": tune.grid_search([_told(spec) for spec in specs]),
            "epochs": scheduler is not None,
            "scores": driver.on_scores is not None,
        },
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            max_concurrent_trials=at_a_time,
            scheduler=scheduler,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage,
            verbose=0,
            stop=_stopper(driver),
            callbacks=[driver, *parts.callbacks],
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with redirect_stdout(OneThread(sys.stdout)), _loggers(parts.loggers):
        tuner.fit()


@contextmanager
def _loggers(on: bool) -> Iterator[None]:
    """Context: Tune's default loggers are on or off; it reads that from the environment."""
    before = os.environ[_NO_LOGGERS]
    if on:
        os.environ[_NO_LOGGERS] = "0"
    try:
        yield
    finally:
        os.environ[_NO_LOGGERS] = before


def _asha(asha: tuple[str, str, int]) -> Any:
    from ray.tune.schedulers import ASHAScheduler

    metric, mode, epochs = asha
    # One more epoch than there are: a trial does not end with its pre-training.
    return ASHAScheduler(
        time_attr="epoch", metric=metric, mode=mode, max_t=epochs + 1, grace_period=1,
        reduction_factor=2,
    )  # fmt: skip


def _with_metric(parts: TuneParts) -> Any:
    """The caller's scheduler; it compares ``metric`` unless it was told another one."""
    if parts.scheduler is not None and parts.metric is not None:
        parts.scheduler.set_search_properties(parts.metric, parts.mode)
    return parts.scheduler


def _stopper(driver):
    from ray import tune

    class Asked(tune.Stopper):
        def __call__(self, trial_id, result):
            return False

        def stop_all(self):
            return driver.stop() or driver.error is not None

    return Asked()


def _driver_class() -> type:
    from ray import tune

    class Driver(tune.Callback):
        """Hands each outcome to the caller once; an exception of the caller ends all trials."""

        def __init__(self, specs, on_done, on_failed, on_stopped, on_scores, stop) -> None:
            self.numbers = {spec.key: number for number, spec in enumerate(specs)}
            self.specs, self.stop = specs, stop
            self.on_done, self.on_failed, self.on_stopped = on_done, on_failed, on_stopped
            self.on_scores = on_scores
            self.told: set[int] = set()
            self.said: set[str] = set()
            self.error: BaseException | None = None

        def _tell(self, trial, callback, *words) -> None:
            number = self.numbers[
                TrialSpec.from_dict(json.loads(trial.config["trial"]["spec"])).key
            ]
            if number in self.told or self.error is not None:
                return
            self.told.add(number)
            try:
                callback(self.specs[number], *words)
            except BaseException as error:
                self.error = error

        def on_trial_complete(self, iteration, trials, trial, **info) -> None:
            result = trial.last_result
            if "document" in result:
                # Taken out: Tune keeps the last result of every trial in its own state.
                scores = result.pop("scores", None)
                self._tell(trial, self._done, scores, json.loads(result["document"]))
            elif "error" in result:
                self._tell(trial, self.on_failed, result["error"])
            elif not self.stop() and "epoch" in result:  # a scheduler ended it
                self._tell(trial, self.on_stopped, result["epoch"])

        def _done(self, spec, scores, document) -> None:
            # Once, though each trial of that machine says it; Ray keeps their own lines to itself.
            told = {line for name in ("not_fetched", "warnings")
                    for line in document["trial"].get(name, ())}  # fmt: skip
            for line in told - self.said:
                self.said.add(line)
                logger.warning("%s", line)
            if scores is not None and self.on_scores is not None:
                self.on_scores(spec, scores)
            self.on_done(spec, document)

        def on_trial_error(self, iteration, trials, trial, **info) -> None:
            error = trial.get_error()
            if error is not None and trial.num_failures > 1:
                lines = [line for line in str(error).strip().splitlines() if line.strip()]
                self._tell(trial, self.on_failed, "\n".join(lines[-LAST_LINES:]))

    return Driver
