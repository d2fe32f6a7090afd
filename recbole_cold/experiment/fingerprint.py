"""What a stored result or a pre-trained backbone is known by."""

import hashlib
import inspect
import json
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recbole_cold import __version__
from recbole_cold.config import (
    ColdConfig,
    keys_of,
    keys_of_backbone,
    overall_values,
)
from recbole_cold.data.split import (
    Split,
)
from recbole_cold.model._method import ColdStartRecommender

# Keys that cannot change a pre-trained backbone; every other one is part of its cache key.
WITHOUT_PART_IN_PRETRAINING = frozenset(
    [
        "model",
        "backbone",
        "seed",
        "seeds",
        "pretrain_seed",
        "share_pretrained",
        "device",
        "gpu_id",
        "num_threads",
        "use_gpu",
        "data_path",
        "saved_dir",
        "cache_dir",
        "checkpoint_seconds",
        "checkpoint_dir",
        "eval_on",
        "common_phases",
        "common_size",
        "matched_row",
        "metrics",
        "valid_metric",
        "f1_threshold",
        "base_model",
        "eval_batch_size",
        "warm_epochs",
        "warm_steps",
        "warm_learning_rate",
        "new_item_init",
        "side_includes_id",
        "batch_norm",
        "show_progress",
        "state",
        "protocol",
        "fit_on",
        "valid_fraction",
        "cold_threshold",
        "warm_size",
        "warm_sets",
        "count_source",
        "nproc",
        "world_size",
        "offset",
        "ip",
        "port",
        "config_files",
        "reproducibility",
        "epochs",
    ]
)
_CODE_OF_PRETRAINING = (
    "training/*.py data/rows.py seeding.py model/_method.py model/_fit.py backbone/_*.py"
)
# What else the numbers of a result follow from.
_CODE_OF_SCORES = "evaluation/metrics.py model/_*.py data/*.py"


def code_of(config: ColdConfig) -> str:
    """A hash over the code that makes a result: ours, the method's and the backbone's."""
    parts = [_code_version(), _code_of_scores()]
    parts += [_source(config.method_class), _source(config.backbone_class)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:32]


@cache
def _code_of_scores() -> str:
    return _hash_of_files(_CODE_OF_SCORES)


@cache
def _code_version() -> str:
    return _hash_of_files(_CODE_OF_PRETRAINING)


def _hash_of_files(patterns: str) -> str:
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for pattern in patterns.split():
        for path in sorted(folder.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of what computes: ours, Python, and the libraries below."""
    found = {"recbole_cold": __version__, "python": platform.python_version()}
    for name in ("recbole", "torch", "numpy", "pandas", "scipy"):
        found[name] = _version(name)
    return found


@cache
def _version(name: str) -> str:
    try:
        return version(name)  # parses a package's whole description: 5 ms
    except PackageNotFoundError:
        return "unknown"


def pretraining_key(method: ColdStartRecommender, seed: int, split: Split, spec: str | type) -> str:
    """The content address of a pre-trained backbone: all that its numbers follow from."""
    config = method.config
    own = keys_of(spec) - keys_of_backbone(config) - set(_overall_keys())
    relevant = {
        key: value
        for key, value in config.as_dict().items()
        if key not in WITHOUT_PART_IN_PRETRAINING and key not in own
    }
    relevant["id_first_order"] = config["id_first_order"] == "off"
    if config["use_count"]:
        relevant["count_source"] = config["count_source"]
    backbone = type(method.backbone.model)
    parts = [
        relevant,
        [backbone.__module__, backbone.__qualname__, _source(config.backbone_class)],
        split.hash,
        seed,
        str(method.device.type),
        {name: versions()[name] for name in ("recbole", "torch")},
        _code_version(),
        _pretraining_of(method, own),
    ]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _pretraining_of(method: ColdStartRecommender, own: set[str]) -> list[Any]:
    """What a method makes of pre-training; empty for the plain backbone's, which methods share."""
    kind, plain = type(method), ColdStartRecommender
    declared = method.pretrain_key()
    same_fits = kind.pretrain_fits is plain.pretrain_fits
    if not declared and (same_fits or kind.pretrain_key is not plain.pretrain_key):
        return []
    if kind.pretrain_key is plain.pretrain_key:  # changed, but not said by what: all its keys
        declared = {key: method.config[key] for key in sorted(own)}
    return [kind.__qualname__, declared, _source(kind)]


@cache
def _source(kind: type) -> str:
    """A hash over the files that define a class, those of libraries left out."""
    digest = hashlib.sha256()
    for part in kind.__mro__:
        if part.__module__.split(".")[0] in ("builtins", "torch", "recbole", "abc"):
            continue
        try:
            digest.update(Path(inspect.getfile(part)).read_bytes())
        except (OSError, TypeError):
            digest.update(part.__qualname__.encode())
    return digest.hexdigest()


@cache
def _overall_keys() -> tuple[str, ...]:
    return tuple(overall_values())
