"""A worker process of Ray: it runs trials one after another and reports each to Tune.

A function of the caller (``begin``) starts each trial, so that our own sweeps (``ray_pool``) and
other people's scripts (``trainable``) share one class. Ray is imported when that class is made.
"""

import json
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from recbole_cold.errors import Interrupted, UserError
from recbole_cold.training.callbacks import Callback
from recbole_cold.trials.cache_offer import Offer
from recbole_cold.trials.ray_peer import node_here
from recbole_cold.trials.trial import TrialSpec, run_trial

LAST_LINES = 6
WITHOUT_CARD = (
    "trials were given a GPU, or a share of one, and run on the CPU, for torch finds none there; "
    "install a CUDA build of torch, or leave out --gpus_per_trial"
)


def placed(spec: TrialSpec, gpus: float) -> TrialSpec:
    """The trial on the card that Ray gave its process (the only one it sees), or on the CPU."""
    here = {"device": "auto", "gpu_id": "0"} if gpus else {"device": "cpu"}
    kept = {key: value for key, value in spec.overrides.items() if key != "gpu_id"}
    return replace(spec, overrides={**kept, **here})


def outcome_of(
    spec: TrialSpec,
    gpus: float,
    node: str = "",
    *,
    keep_scores: bool = False,
    offer: Offer | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Run a trial; its report has the ``document``, or the last lines of its ``error``.

    The results document is a text (Tune would take mappings apart); beside it stand the metrics of
    every phase as ``cold/AUC``, ..., for loggers, and under ``scores`` the content of the file of
    row scores, where these are to be kept. Where the trial asked the driver's machine for entries
    of its cache, its document says which of them came and which did not.
    """
    scores: list[bytes] = []
    take = scores.append if keep_scores else None
    offer = offer or Offer("")
    try:
        with offer.accepted(placed(spec, gpus)) as (here, asked):
            document = run_trial(here, take_scores=take, **options)
    except Interrupted:
        return {"stopped": True}
    except UserError as error:
        return {"error": str(error)}
    except Exception:
        return {"error": "\n".join(traceback.format_exc().strip().splitlines()[-LAST_LINES:])}
    document["trial"] |= {
        "key": spec.key,
        "node": node,
        "pid": os.getpid(),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    if gpus and not document["device"].startswith("cuda"):
        document["trial"]["warnings"] = [WITHOUT_CARD]
    if asked is not None:
        document["trial"] |= {"fetched": asked.fetched, "not_fetched": [*asked.failed.values()]}
    told = {**by_phase(document), "document": json.dumps(document)}
    return told | ({"scores": scores[0]} if scores else {})


def by_phase(document: dict[str, Any]) -> dict[str, float]:
    """The metrics of a one-seed document by ``phase/metric``."""
    phases = document["runs"][0]["seeds"][0]["phases"]
    return {
        f"{phase}/{metric}": value
        for phase, scored in phases.items()
        for metric, value in scored["metrics"].items()
    }


class _Epochs(Callback):
    """Passes pre-training epochs to a function."""

    wants_epoch_metrics = True

    def __init__(self, tell: Callable[[int, dict[str, float]], None]) -> None:
        self.tell = tell

    def epoch(self, number: int, metrics: dict[str, float]) -> None:
        self.tell(number, metrics)


class Worker:
    """Runs one trial in a thread, and hands out its pre-training epochs one at a time.

    Args:
        spec: the trial.
        gpus: its share of a card; 0: it runs on the CPU.
        epochs: whether to report pre-training epochs, which costs a scoring each.
        callbacks: called while the trial runs, in the process that runs it.
        read: turns the report of a finished trial into the one for Tune; may raise.
        keep_scores: whether the report carries row scores.
        offer: the driver's cache.
    """

    def __init__(
        self,
        spec: TrialSpec,
        gpus: float,
        epochs: bool,
        callbacks: Sequence[Callback] = (),
        read: Callable[[dict[str, Any]], dict[str, Any]] = lambda report: report,
        keep_scores: bool = False,
        offer: Offer | None = None,
    ) -> None:
        self._go, self._told = threading.Semaphore(0), threading.Semaphore(0)
        self._stop, self._read = False, read
        self._report: dict[str, Any] = {}
        told = [*callbacks, *([_Epochs(self._tell)] if epochs else [])]
        options = {"stop": lambda: self._stop, "callbacks": told, "node": node_here(),
                   "keep_scores": keep_scores, "offer": offer}  # fmt: skip
        self._thread = threading.Thread(
            target=lambda: self._finish(outcome_of(spec, gpus, **options)), daemon=True
        )
        self._started = False

    def _tell(self, number: int, metrics: dict[str, float]) -> None:
        self._report = {"epoch": number, **metrics}
        self._told.release()
        self._go.acquire()

    def _finish(self, outcome: dict[str, Any]) -> None:
        self._report = {**outcome, "done": True}
        self._told.release()

    def next(self) -> dict[str, Any]:
        """Wait for the next report: an epoch, or the end."""
        if self._started:
            self._go.release()
        else:
            self._thread.start()
            self._started = True
        self._told.acquire()
        return self._read(self._report) if self._report.get("done") else dict(self._report)

    def end(self) -> None:
        """Stop the trial if it is not finished."""
        self._stop = True
        self._go.release()
        if self._started:
            self._thread.join()


def actor_class(begin: Callable[[dict[str, Any], float], Worker]) -> type:
    """A class for ``tune.Tuner``: ``begin(config, gpus)`` starts the trial of a configuration."""
    from ray import tune

    class Trial(tune.Trainable):
        """A process that runs one trial after another: data and libraries are loaded once."""

        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.cleanup()
            self.worker = begin(new_config, _gpus(self.trial_resources))
            return True

        def step(self) -> dict[str, Any]:
            return self.worker.next()

        def cleanup(self) -> None:
            worker = getattr(self, "worker", None)
            if worker is not None:
                worker.end()

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing: a repeated trial starts again and finds its backbone in the cache."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

    return Trial


def _gpus(resources: Any) -> float:
    """The cards, or share of one, that Tune gave a trial."""
    return getattr(resources, "required_resources", {}).get("GPU", 0.0)
