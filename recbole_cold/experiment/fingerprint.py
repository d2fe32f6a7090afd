"""The keys under which results and pre-trained backbones are stored: hashes of their causes."""

import hashlib
import inspect
import json
import platform
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recbole_cold import __version__, keys
from recbole_cold.config import (
    ColdConfig,
    keys_of,
    keys_of_backbone,
    overall_values,
)
from recbole_cold.data.split import (
    Split,
)
from recbole_cold.experiment._imports import Package, loaded
from recbole_cold.experiment._outside import code_outside
from recbole_cold.experiment.parent import KEY as PARENT
from recbole_cold.experiment.parent import digest_of
from recbole_cold.model._method import ColdStartRecommender

# Modules from which the code of a result, and of a pre-trained backbone, is collected: these and
# all that they import belong to the key, except for the modules below.
_ROOTS_OF_RESULTS = ("experiment.experiment",)
_ROOTS_WITH_PARENT = ("experiment.parent",)  # of pre-training that begins from a kept model
_ROOTS_OF_PRETRAINING = (
    "training.trainer",
    "model._method",
    "backbone._seam",
    "data.dataset",
    "data.rows",
    "data._visible",
    "seeding",
)
# Modules that change no score and are not part of a key. Configured values and the classes of
# methods are in the key by other ways; the rest start runs, name folders and show results.
_WITHOUT_PART = (
    "cli",
    "comparison",
    "sweep",
    "equal_tuning",
    "trials",
    "testing",
    "report",
    "config",
    "registry",
    "errors",
    "key_row",
    "keys",
    "kinds",
    "experiment.beginning",
    "experiment.calibrating",
    "evaluation.calibrators",
    "experiment.fingerprint",
    "experiment._imports",
    "experiment._outside",
    "experiment.folders",
    "experiment.keeping",
    "experiment.kept_models",
    "experiment.model_folder",
    "experiment.requests",
    "experiment.scores",
    "experiment.document",
    "experiment.intervals",
    "model._serving",  # what folders, predict and export ask
    "cache_entries",
    "cache_peers",
    "locks",
)
# Scores may be reported during pre-training, but do not change it; the rows that it learns from
# enter the key as they are, by the hash of the split.
_WITHOUT_PART_IN_PRETRAINING = (
    *_WITHOUT_PART,
    "evaluation",
    "data.split",
    "data.phases",
    "model._phase_end",
    "model._item_bias",
    "model._map",
)
# Libraries whose versions are in every key and in every document.
_LIBRARIES = ("recbole", "torch", "numpy", "pandas", "scipy")
_PACKAGE = Path(__file__).parents[1]


def code_of(config: ColdConfig) -> str:
    """A hash of the code that makes a result: this package's, the method's and the backbone's; and
    of the model that it begins from, if there is one.

    Comments, docstrings and layout are no part of it. It is the code that this process has loaded:
    an edited file counts from the next process on, or from its next ``reload``.
    """
    classes = (config.method_class, config.backbone_class)
    code, parent = _code(classes, _ROOTS_OF_RESULTS, _WITHOUT_PART), digest_of(config)
    return code if parent is None else _hash([code, parent])


def _code(classes: Iterable[type], roots: Iterable[str], without: Iterable[str]) -> str:
    """A hash over the roots, the modules of the classes and of their bases, and their imports."""
    now = loaded()
    graph = Package(_PACKAGE.name, _PACKAGE, now)
    needed: set[str | None] = {_ours(name) for name in roots}
    outside: list[type] = []
    for part in dict.fromkeys(part for cls in classes for part in cls.__mro__):
        module = _module_in(graph, part)
        if module is not None:
            needed.add(module)
        elif part.__module__.partition(".")[0] not in {*_LIBRARIES, *sys.stdlib_module_names}:
            outside.append(part)
    theirs = code_outside(outside, _PACKAGE, [_PACKAGE.name, *_LIBRARIES], now)
    needed |= {graph.home_of(name) for name in theirs.names}
    modules = graph.closure(filter(None, needed), [_ours(name) for name in without])
    return _hash([sorted(modules.items()), theirs.parts])


def _ours(name: str) -> str:
    return f"{_PACKAGE.name}.{name}"


def _module_in(graph: Package, cls: type) -> str | None:
    """The module of the package in whose file a class is; also of a file that was given by path."""
    try:
        return graph.module_of(Path(inspect.getfile(cls)))
    except (TypeError, OSError):
        return None


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def versions() -> dict[str, str]:
    """Versions of what computes: ours, Python, and the libraries below."""
    found = {"recbole_cold": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        found[name] = _version(name)
    return found


@cache
def _version(name: str) -> str:
    try:
        return version(name)  # reads the whole metadata of a package: 5 ms
    except PackageNotFoundError:
        return "unknown"


def pretraining_key(method: ColdStartRecommender, seed: int, split: Split, spec: str | type) -> str:
    """The key of a pre-trained backbone: a hash of all that determines it."""
    config = method.config
    own = keys_of(spec) - keys_of_backbone(config) - set(_overall_keys())
    apart = keys.names(without=[keys.PRETRAINING]) | own
    relevant = {key: value for key, value in config.as_dict().items() if key not in apart}
    relevant["id_first_order"] = config["id_first_order"] == "off"
    if config["use_count"]:
        relevant["count_source"] = config["count_source"]
    backbone = type(method.backbone.model)
    roots, relevant[PARENT] = _ROOTS_OF_PRETRAINING, digest_of(config)  # wherever it lies
    if relevant[PARENT] is not None:
        roots += _ROOTS_WITH_PARENT
    code = _code([config.backbone_class], roots, _WITHOUT_PART_IN_PRETRAINING)
    parts = [
        relevant,
        [backbone.__module__, backbone.__qualname__, code],
        split.hash,
        seed,
        str(method.device.type),
        {name: versions()[name] for name in ("recbole", "torch")},
        _pretraining_of(method, own),
    ]
    return _hash(parts)


def _pretraining_of(method: ColdStartRecommender, own: set[str]) -> list[Any]:
    """How a method changes pre-training; empty for the plain backbone, which methods share."""
    kind, plain = type(method), ColdStartRecommender
    declared = method.pretrain_key()
    same_fits = (kind.pretrain_fits, kind.pretrain_fit) == (
        plain.pretrain_fits,
        plain.pretrain_fit,
    )
    if not declared and (same_fits or kind.pretrain_key is not plain.pretrain_key):
        return []
    if kind.pretrain_key is plain.pretrain_key:  # changed, but not said by what: all its keys
        declared = {key: method.config[key] for key in sorted(own)}
    return [kind.__qualname__, declared, _code([kind], (), _WITHOUT_PART_IN_PRETRAINING)]


@cache
def _overall_keys() -> tuple[str, ...]:
    return tuple(overall_values())
