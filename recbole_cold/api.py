"""The command line's verbs as Python functions: same keys, same checks, same messages.

Nothing of the caller's process is changed: threads and random state of torch are put back, no
handler is added to anybody's logger, signals are listened to only in the main thread and only while
a call lasts, and ``sys.argv`` is not read. One call runs at a time: torch has one random state.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recbole_cold import paths
from recbole_cold.calls import working
from recbole_cold.data._cache import cache_root
from recbole_cold.data.frames import Frames
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Request, from_files, request_from
from recbole_cold.results import (
    ComparisonResults,
    Results,
    SubsetResults,
    SweepResults,
    load_results,
    results_of,
)
from recbole_cold.training.callbacks import Callback

__all__ = ["benchmark", "compare", "load_results", "run", "tune"]

CALL = "the call"  # where a value was given, in messages
Models = str | type | Sequence[str | type]
Keys = Mapping[str, Any]
Files = Sequence[str | Path]


def run(
    models: Models | None = None,
    dataset: str | Frames | None = None,
    backbone: str | type | None = None,
    seeds: int | None = None,
    config: Keys | None = None,
    config_files: Files = (),
    *,
    resume: str | Path | bool | None = None,
    trust: bool = False,
    callbacks: Sequence[Callback] = (),
    verbose: bool = False,
    **keys: Any,
) -> Results:
    """Train and score methods, as ``recbole-cold run`` does.

    Args:
        models: ``"Base,MWUF[mwuf_parts=[scale]]"``, or a list of such texts or of classes.
        dataset: a name (ml-100k without one), or what ``from_frames`` gives.
        backbone: a name, ``package.module:Class``, ``path/file.py`` or a class.
        seeds: how many; the first is ``seed``.
        config: configuration keys; ``keys`` win over it, and it wins over ``config_files``.
        config_files: yaml files, later ones win.
        resume: the folder of an interrupted run to continue, or True for the newest one.
        trust: whether that folder may be another user's: it names what is run.
        callbacks: called at stages, steps and phases while they happen.
        verbose: show the messages of the command line on stderr, not only bars and warnings.
        keys: any configuration key. ``saved_dir=None`` keeps no folder; it is ``saved`` otherwise,
            as on the command line.

    Returns:
        The scores; of ``session_subset="both"`` a ``SubsetResults``, with those of each subset.

    Raises:
        UserError: what is asked for cannot be; one sentence.
        Stopped: Ctrl-C; the state is on disk, and the message says how to continue.
    """
    from recbole_cold.experiment.folders import folder_to_resume
    from recbole_cold.experiment.session import continue_run, run_request

    asked = _asked(config, keys, models, dataset, backbone, seeds)
    with working(verbose) as stop:
        if resume is not None and resume is not False:
            given = {**asked, **_files_as_key(config_files)}
            folder = folder_to_resume(resume, given, asked.get("saved_dir", "saved"), trust=trust)
            again = _again("run")
            return results_of(*continue_run(folder, stop, again=again, callbacks=callbacks))
        keep = asked.get("saved_dir", "") is not None
        if not keep:
            del asked["saved_dir"]
        request = _request(asked, config_files, _command("run", asked))
        scores: dict[str, Any] = {}
        options = {"again": _again("run"), "keep": keep, "callbacks": callbacks}
        return results_of(*run_request(request, stop=stop, take_scores=scores, **options), scores)


def compare(
    models: Models | None = None,
    backbones: Models | None = None,
    dataset: str | Frames | None = None,
    seeds: int | None = None,
    config: Keys | None = None,
    config_files: Files = (),
    *,
    folders: Sequence[str | Path] = (),
    resume: str | Path | bool | None = None,
    trust: bool = False,
    verbose: bool = True,
    **keys: Any,
) -> ComparisonResults | SubsetResults:
    """Methods on backbones as one table with tests, as ``recbole-cold compare`` does.

    Results that are in ``saved_dir`` already are reused; the others are run on Ray.

    Args:
        models: as for ``run``.
        backbones: ``"FM,DeepFM"``, or a list of names or classes.
        folders: folders of earlier runs: then nothing is run, and only ``against`` may be given.
        resume, trust: as for ``run``.
        verbose: one line per trial on stderr.
        keys: ``against``, ``concurrent``, ``cpus_per_trial``, ``gpus_per_trial``, ``ray_address``,
            and any configuration key.

    Returns:
        ``ComparisonResults``; of ``session_subset="both"`` a ``SubsetResults`` of such.

    Raises:
        UserError: what is asked for cannot be; one sentence.
        Stopped: Ctrl-C; what is done is kept, and the message says how to continue.
    """
    from recbole_cold.comparison import session
    from recbole_cold.comparison.requests import comparison_of, one_name_each

    if folders and resume:
        raise UserError("compare with folders runs nothing: leave out --resume, or the folders")
    asked = _asked(
        one_name_each(config or {}), one_name_each(keys), models, dataset, backbones, seeds
    )
    saved = _saved(asked)
    command = _command(
        "compare", {**asked, **({"folders": list(map(str, folders))} if folders else {})}
    )
    with working(verbose) as stop:
        if folders:
            given = {**asked, **_files_as_key(config_files)}
            return ComparisonResults(*session.compare_folders(folders, saved, given, command))
        folder = None
        if resume is not None and resume is not False:
            given = {**asked, **_files_as_key(config_files)}
            request, folder = session.comparison_to_resume(resume, given, saved, trust)
            saved = folder.parent
        else:
            _refuse_unfindable(asked)
            request = comparison_of(
                asked, lambda rest: _request(rest, config_files, command), command, CALL
            )
        again = _again("compare")
        ran = session.compare_request(request, saved, folder, stop, again=again)
        return results_of(*ran, kind=ComparisonResults)


def tune(
    model: str | type | None = None,
    space: Mapping[str, Any] | str | Path | None = None,
    dataset: str | Frames | None = None,
    backbone: str | type | None = None,
    seeds: int | None = None,
    config: Keys | None = None,
    config_files: Files = (),
    *,
    search_alg: Any = None,
    scheduler: Any = None,
    callbacks: Sequence[Any] = (),
    loggers: bool = False,
    resume: str | Path | bool | None = None,
    trust: bool = False,
    verbose: bool = True,
    **keys: Any,
) -> SweepResults:
    """Search the settings of one method, then score the best, as ``recbole-cold tune`` does.

    Args:
        space: key -> list of values, or ``{"loguniform": [1e-4, 1e-1]}``; or a file with them. The
            usual one without it: what all methods share, and the method's own ``sweep_space``.
        search_alg: a ``ray.tune.search.Searcher``, for instance ``OptunaSearch(...)``, that chooses
            the settings.
        scheduler: ``"asha"``, ``"none"``, or a ``ray.tune.schedulers.TrialScheduler``.
        callbacks: instances of ``ray.tune.Callback``, such as those that log to W&B or MLflow.
        resume, trust: as for ``run``.
        loggers: whether Ray Tune's default loggers (TensorBoard, CSV, JSON) write, into ``ray/``.
        verbose: the plan and one line per trial on stdout.
        keys: ``samples``, ``search``, ``select_on``, ``concurrent``, ``cpus_per_trial``,
            ``gpus_per_trial``, ``ray_address``, and any configuration key.

    Raises:
        UserError: what is asked for cannot be; one sentence.
        Stopped: Ctrl-C; what is done is kept, and the message says how to continue.
    """
    from recbole_cold.experiment.folders import folder_to_resume, read_request
    from recbole_cold.sweep.requests import SweepRequest, sweep_of
    from recbole_cold.sweep.session import tune_request

    if isinstance(scheduler, str):
        keys, scheduler = {**keys, "scheduler": scheduler}, None
    asked = _asked(config, keys, model, dataset, backbone, seeds)
    _saved(asked)
    if space is not None:
        asked["space"] = space
    with working(verbose) as stop:
        folder = None
        if resume is not None and resume is not False:
            given = {**asked, **_files_as_key(config_files)}
            saved = asked.get("saved_dir", "saved")
            folder = folder_to_resume(resume, given, saved, "tune", trust)
            request = read_request(folder, "tune", SweepRequest)
        else:
            _refuse_unfindable(asked)
            command = _command("tune", asked)
            request = sweep_of(
                {**asked, "loggers": loggers},
                lambda rest: _request(rest, config_files, command),
                command,
                place=CALL,
            )
        objects = {"search_alg": search_alg, "scheduler": scheduler, "ray_callbacks": callbacks}
        tell = _print if verbose else _nothing
        done = tune_request(request, folder, stop, again=_again("tune"), tell=tell, **objects)
        return SweepResults(*done)


def benchmark(
    models: Models | None = None,
    backbones: Models | None = None,
    dataset: str | Frames | None = None,
    trials: int | None = None,
    tune_seeds: int | None = None,
    seeds: int | None = None,
    config: Keys | None = None,
    config_files: Files = (),
    *,
    space: Mapping[str, Any] | str | Path | None = None,
    resume: str | Path | bool | None = None,
    trust: bool = False,
    verbose: bool = True,
    **keys: Any,
) -> ComparisonResults:
    """Tune every method equally, then score the choices, as ``recbole-cold benchmark`` does.

    Args:
        models: as for ``run``; the plain backbone and ItemBias are added where they are missing.
        backbones: as for ``compare``.
        trials: settings of each method on each backbone, 16; the first is the default one.
        tune_seeds: trials of a setting, 2.
        seeds: of the final runs, 5.
        space: key -> list of values, or a file with them, that all methods share.
        resume, trust: as for ``run``.
        verbose: the plan and one line per trial on stderr.
        keys: as for ``compare``; a configuration key that is given holds for all and is not
            searched.

    Returns:
        The comparison; ``document["benchmark"]`` has budgets, choices and best-of-n curves.

    Raises:
        UserError: what is asked for cannot be; one sentence.
        Stopped: Ctrl-C; what is done is kept, and the message says how to continue.
    """
    from recbole_cold.comparison.requests import one_name_each
    from recbole_cold.equal_tuning.requests import VERB, BenchmarkRequest, benchmark_of
    from recbole_cold.equal_tuning.session import benchmark_request
    from recbole_cold.experiment.folders import folder_to_resume, read_request

    asked = _asked(
        one_name_each(config or {}), one_name_each(keys), models, dataset, backbones, seeds
    )
    own = {"trials": trials, "tune_seeds": tune_seeds, "space": space}
    asked |= {key: _plain(key, value) for key, value in own.items() if value is not None}
    saved = _saved(asked)
    with working(verbose) as stop:
        folder = None
        if resume is not None and resume is not False:
            given = {**asked, **_files_as_key(config_files)}
            folder = folder_to_resume(resume, given, saved, VERB, trust)
            request, saved = read_request(folder, VERB, BenchmarkRequest), folder.parent
        else:
            _refuse_unfindable(asked)
            command = _command("benchmark", asked)
            request = benchmark_of(
                asked, lambda rest: _request(rest, config_files, command), command, CALL
            )
        again = _again("benchmark")
        return ComparisonResults(*benchmark_request(request, saved, folder, stop, again=again))


# ------------------------------------------------------------------------------- what is asked
def _asked(
    config: Keys | None,
    keys: Keys,
    models: Any,
    dataset: Any,
    backbone: Any,
    seeds: int | None,
) -> dict[str, Any]:
    """One mapping of keys: the named arguments, then ``keys``, then ``config``."""
    if config is not None and not isinstance(config, Mapping):
        raise UserError(f"config must be a mapping of keys, not a {type(config).__name__}")
    named = {"model": models, "dataset": dataset, "backbone": backbone, "seeds": seeds}
    given = {key: value for key, value in named.items() if value is not None}
    for key in given.keys() & keys.keys():
        raise UserError(f"--{key} is given twice; give it once")
    asked = {**(config or {}), **keys, **given}
    for key in ("model", "backbone"):
        if key in asked:
            asked[key] = _text_of(asked[key])
    return {key: _plain(key, value) for key, value in asked.items()}


def _text_of(names: Any) -> Any:
    """Methods or backbones as the text of a command line."""
    if isinstance(names, type):
        return _place_of(names)
    if isinstance(names, Sequence) and not isinstance(names, str):
        return ",".join(str(_text_of(name)) for name in names)
    return names


def _place_of(cls: type) -> str:
    """The specification by which a class is found again, in this process or in another."""
    place = f"{cls.__module__}:{cls.__qualname__}"
    try:
        found = getattr(importlib.import_module(cls.__module__), cls.__qualname__, None)
    except ImportError:
        found = None
    if found is not cls:
        raise UserError(
            f"the class {cls.__name__} is not found as '{place}'; define it at the top of a module"
        )
    for built_in in ("recbole_cold.model.", "recbole_cold.backbone.", "recbole.model."):
        if place.startswith(built_in):
            return cls.__name__
    return place


def _refuse_unfindable(asked: Keys) -> None:
    for key in ("model", "backbone"):
        if "__main__:" in str(asked.get(key, "")):
            raise UserError(
                f"{key} {asked[key]} is defined in a notebook or script, which other processes "
                "cannot import; put the class into a file of its own"
            )


def _plain(key: str, value: Any) -> Any:
    """A value in the types of JSON: a request is kept in a file, for ``resume``."""
    if isinstance(value, Frames) or value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(key, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(key, inner) for inner in value]
    if hasattr(value, "tolist"):  # numpy, pandas and torch
        return _plain(key, value.tolist())
    if isinstance(value, torch.device):
        return str(value)
    raise UserError(
        f"{key} is a {type(value).__name__}, which no configuration file can hold; give numbers, "
        "texts, lists or mappings"
    )


def _request(asked: Keys, config_files: Files, command: str) -> Request:
    """The request of the keys that a run has; frames are written as files here."""
    asked = dict(asked)
    if isinstance(config_files, str | Path):
        config_files = [config_files]
    frames = asked.get("dataset")
    if isinstance(frames, Frames):
        said = [asked.get("cache_dir"), *from_files(config_files, "cache_dir")]
        root = cache_root(next((str(place) for place in said if place), None))
        asked = {**frames.configuration(root), **asked, "dataset": frames.name}
    elif frames is not None and not isinstance(frames, str):
        raise UserError(
            f"dataset is a {type(frames).__name__}; give a name, or frames by "
            "recbole_cold.from_frames(interactions, ...)"
        )
    request = request_from(asked, config_files, command, place=CALL)
    if not request.models:
        raise UserError(
            "no model is given; name methods, for instance 'Base,MWUF' (`recbole-cold list` shows "
            "all)"
        )
    return request


def _files_as_key(config_files: Files) -> dict[str, Any]:
    return {"config_files": config_files} if config_files else {}


def _saved(asked: Keys) -> Path:
    if asked.get("saved_dir", "") is None:
        raise UserError("saved_dir=None is for run(); results of trials need a folder")
    return paths.absolute(asked.get("saved_dir", "saved"))


def _command(verb: str, asked: Keys) -> str:
    """The call as text, for documents."""
    told = ", ".join(f"{key}={value!r}" for key, value in asked.items())
    return f"recbole_cold.{verb}({told})"


def _again(verb: str) -> Callable[[Path], str]:
    return lambda folder: f"recbole_cold.{verb}(resume={str(folder)!r})"


def _print(line: str) -> None:
    print(line, flush=True)


def _nothing(line: str) -> None:
    pass
