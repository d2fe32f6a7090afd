"""Work-arounds for RecBole with current numpy, torch and Ray: one function per fault.

Each docstring says which version needs it, and ``tests/test_compat.py`` holds one test per function
that fails once upstream has mended the fault, so that the shim can go. ``recbole.quick_start`` is
never imported: it is the only RecBole module that imports Ray.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

from recbole_cold.errors import UserError, told

if TYPE_CHECKING:  # so that names are looked up and help is printed without importing torch
    import torch

CONTEXT_MODELS = "recbole.model.context_aware_recommender"
# RecBole's context models that the seam cannot give an item's vector, and why: known without
# trying; the seam's checks find the same, and others, by trying.
UNWRAPPABLE = {
    "FFM": "it has embedding tables of its own, so it ignores the vector",
    "KD_DAGFM": "it trains a teacher first, and distils",
    "LR": "it has first-order weights only, no embeddings",
}


def restore_numpy_names() -> None:
    """Give numpy back the aliases RecBole's modules use, touching none that numpy still has.

    RecBole 1.2.0 and 1.2.1 on numpy >= 2: ``Config.compatibility_settings`` reads ``np.float_`` and
    four more names that are gone, so no Config can be built (upstream pull request 2203, closed).
    """
    import numpy as np

    aliases = {"bool": np.bool_, "int": int, "float": float, "complex": complex, "object": object}
    for name, kind in {**aliases, "str": str, "long": int, "unicode": str}.items():
        if name not in vars(np):
            setattr(np, name, kind)


class RecBoleLoader(yaml.SafeLoader):
    """YAML as RecBole reads it (``1e-3`` is a float), without touching PyYAML's own loaders.

    Whatever a text makes PyYAML stumble over (a month 13, ``!!int abc``, a thousand brackets) is a
    ``YAMLError``, as its own refusals are.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"no value that can be ({told(error)})", node.start_mark
            ) from None

    def get_single_data(self) -> Any:
        try:
            return super().get_single_data()
        except RecursionError:
            raise yaml.YAMLError("its brackets are nested too deeply") from None


RecBoleLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
            |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
            |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
            |[-+]?\.(?:inf|Inf|INF)
            |\.(?:nan|NaN|NAN))$""",
        re.X,
    ),
    list("-+0123456789."),
)


def yaml_loader() -> type[yaml.SafeLoader]:
    """The loader for all our yaml, RecBole's float rule included.

    RecBole 1.2.0 and 1.2.1: ``Config._build_yaml_loader`` adds its rule to ``yaml.FullLoader``
    itself, so building a Config changes how every other package of the process reads yaml.
    """
    return RecBoleLoader


@contextmanager
def no_sklearn_yet() -> Iterator[None]:
    """Let RecBole's metrics be imported before scikit-learn, which they then load at first use.

    RecBole 1.2.0 and 1.2.1: ``recbole.config`` imports all metrics, of which three are made of
    functions of ``sklearn.metrics``. With scipy.stats that is a CPU second of every process, a
    third of what is needed to the first optimizer step, and nothing here calls them. Whatever else
    RecBole imports meanwhile would get these functions, too; of 1.2.0 and 1.2.1 nothing does.
    """
    name = "sklearn.metrics"
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name, "Functions that load those of scikit-learn when they are called.")
    stand_in.__dict__["__getattr__"] = _loaded_later
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]  # for everybody else it is scikit-learn's own


def _loaded_later(function: str) -> Callable[..., Any]:
    if function.startswith("__"):
        raise AttributeError(function)

    def later(*words: Any, **keys: Any) -> Any:
        return getattr(importlib.import_module("sklearn.metrics"), function)(*words, **keys)

    return later


def parse_text(text: str) -> Any:
    """The value a command-line text stands for: a number, truth value, list, mapping or the text.

    RecBole 1.2.0 and 1.2.1: ``Config._convert_config_dict`` hands such texts to ``eval``.
    """
    if not text.strip() or (len(text) == 1 and not text.isalnum() and text != "~"):
        return text  # a separator, which may be a sign of yaml's own
    try:
        value = yaml.load(text, Loader=RecBoleLoader)  # a SafeLoader
    except yaml.YAMLError:
        return text
    return value if isinstance(value, (str, bool, int, float, list, dict, type(None))) else text


def argument_lists() -> dict[str, list[str]]:
    """RecBole's names of known keys by category, as lists of our own.

    RecBole 1.2.0 and 1.2.1: ``Config`` appends a data set's keys to the module-level list, so one
    configuration leaks its keys into all later ones.
    """
    names = importlib.import_module("recbole.utils.argument_list")
    return {
        "General": list(names.general_arguments),
        "Training": list(names.training_arguments),
        "Evaluation": list(names.evaluation_arguments),
        "Dataset": list(names.dataset_arguments),
    }


def context_model_modules() -> Iterator[ModuleType]:
    """RecBole's context-aware model modules, one by one.

    RecBole 1.2.0 and 1.2.1: ``recbole.utils.get_model`` looks through ``general_recommender``
    first, which imports ``kmeans_pytorch``, a package RecBole does not declare.
    """
    package = importlib.import_module(CONTEXT_MODELS)
    for info in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{CONTEXT_MODELS}.{info.name}")


def has_sequential_model(name: str) -> bool:
    """Whether RecBole has a sequential model in a file ``<name>.py``; imports nothing."""
    return (recbole_folder() / "model" / "sequential_recommender" / f"{name}.py").is_file()


def recbole_folder() -> Path:
    """Where RecBole is installed; its yaml and its copy of ml-100k lie below. Imports nothing.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        raise UserError("RecBole is not installed; install it: pip install recbole==1.2.0")
    return Path(spec.origin).resolve().parent


def choose_device(
    values: Mapping[str, Any], explicit: Mapping[str, str]
) -> tuple[torch.device, str]:
    """The device of ``device``, ``gpu_id`` and ``use_gpu``, and a warning ('' when there is none).

    ``explicit`` says where a key was given by the user. RecBole 1.2.0 and 1.2.1: ``Config`` sets
    ``CUDA_VISIBLE_DEVICES`` to ``gpu_id`` (default '0'), which puts all trials of a sweep on one
    card, has no effect once torch has seen the cards, and falls back to the CPU in silence.
    """
    import torch

    asked = str(values.get("device") or "auto").lower()
    gpu_id = _first_gpu(values.get("gpu_id"))
    kind, _, number = asked.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(
            f"device '{asked}' is unknown; it is one of auto, cpu, cuda, cuda:<number>."
        )
    if kind == "cpu" or (kind == "auto" and (gpu_id is None or values.get("use_gpu") is False)):
        return torch.device("cpu"), ""
    index = int(number) if number else (gpu_id or 0)
    if not torch.cuda.is_available():
        if kind == "cuda":
            raise UserError(
                f"device '{asked}' was asked for, but this machine (or this build of torch, "
                f"{torch.__version__}) has no CUDA device; use device=auto or device=cpu."
            )
        if "gpu_id" in explicit or "use_gpu" in explicit:
            return torch.device("cpu"), (
                "a GPU was asked for, but torch finds no CUDA device; running on the CPU"
            )
        return torch.device("cpu"), ""
    if index >= torch.cuda.device_count():
        raise UserError(
            f"GPU {index} was asked for, but torch sees {torch.cuda.device_count()} CUDA device(s) "
            "(numbered from 0); choose another gpu_id."
        )
    # Read when cuBLAS starts: without it products on a card are not the same each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda", index), ""


def refuse_precision(precision: str, device: torch.device) -> None:
    """Refuse a ``precision`` that the device does not have.

    Raises:
        UserError: TF32 without a card, or a card from before Ampere, which has neither TF32 nor
            bfloat16.
    """
    if precision == "float32" or (precision == "bf16" and device.type == "cpu"):
        return
    if device.type != "cuda":
        raise UserError(
            f"precision '{precision}' is a way in which NVIDIA's cards multiply, and this run is "
            f"on device '{device.type}'; use precision=float32, or bf16, or device=cuda"
        )
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    if major < 8:
        raise UserError(
            f"precision '{precision}' asks for a card of compute capability 8.0 or more, and "
            f"{torch.cuda.get_device_name(device)} has {major}.{minor}; use precision=float32"
        )


def _first_gpu(gpu_id: Any) -> int | None:
    """The first number of RecBole's ``gpu_id`` (3, '3', '3,4', [3, 4]); None for '' (the CPU)."""
    if isinstance(gpu_id, (list, tuple)):
        gpu_id = ",".join(map(str, gpu_id))
    text = str("" if gpu_id is None else gpu_id).split(",")[0].strip()
    if not text:
        return None
    if not text.isdigit():
        raise UserError(f"gpu_id '{gpu_id}' is not a GPU number; give 0, 1, ... or '' for the CPU.")
    return int(text)
