"""``register()``, which lets RecBole's own runner find our click models and methods.

Nothing in here happens at import; what ``register()`` changes in RecBole is listed there.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch

from recbole_cold import compat
from recbole_cold.errors import UserError
from recbole_cold.keys import BLOCKS
from recbole_cold.registry import classes_of_file, is_method, yaml_of

_MARK = "_recbole_cold_registered"


def register() -> None:
    """Let RecBole find what this package and its plug-ins add, by name; twice is harmless.

    Afterwards ``recbole.utils.get_model("MWUF")`` and ``get_model("AFN")`` give our classes, and
    ``recbole.quick_start.run_recbole(model="AFN", dataset="ml-100k")`` runs our click models with
    RecBole's data sets, splits and trainer. A cold-start method is refused there in one sentence:
    RecBole's runner has no new items and no phases (``recbole_cold.run`` has).

    It changes the running process in five places, each for a reason of RecBole 1.2.0 and 1.2.1:

    * modules of ours are found as ``recbole.model.context_aware_recommender.<name>``;
    * ``kmeans_pytorch``, which RecBole imports and does not declare, is stood in for where it is
      not installed;
    * ``Config.compatibility_settings`` asks numpy only for names that it has;
    * ``Config._load_internal_config_dict`` reads our yaml for our classes;
    * ``Trainer._save_checkpoint`` saves the configuration as plain values, without which
      torch >= 2.6 refuses to load the best epoch.
    """
    _stand_in_for_kmeans()
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    config = importlib.import_module("recbole.config").Config
    _replace(config, "compatibility_settings", lambda old: _restore_names)
    _replace(config, "_load_internal_config_dict", _with_our_yaml)
    trainer = importlib.import_module("recbole.trainer").Trainer
    _replace(trainer, "_save_checkpoint", lambda old: _save_plainly)


def _replace(cls: type, name: str, make: Callable[[Callable], Callable]) -> None:
    old = vars(cls)[name]
    if not hasattr(old, _MARK):
        new = wraps(old)(make(old))
        setattr(new, _MARK, True)
        setattr(cls, name, new)


# ------------------------------------------------------------------------------- modules
class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``<RecBole's context models>.<name>`` for the names of ours; stands behind all others.

    RecBole's ``get_model`` knows no other register than the files of its own packages.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != compat.CONTEXT_MODELS or not _handed_on(name):
            return None
        return ModuleSpec(fullname, self, origin="recbole_cold")

    def exec_module(self, module: ModuleType) -> None:
        for cls in _handed_on(module.__name__.rpartition(".")[2]):
            setattr(module, cls.__name__, cls)


def _handed_on(name: str) -> list[type]:
    """The classes of ours, and of plug-ins, that RecBole finds as ``<name>.py``.

    Its ``get_model`` looks among context models first, so a sequence model of ours would hide
    RecBole's of that name (DIN, DIEN), which its runner can train and ours cannot be trained by.
    """
    found = classes_of_file(name)
    if compat.has_sequential_model(name):
        found = [cls for cls in found if not cls.__module__.startswith("recbole_cold.")]
    return found


def _stand_in_for_kmeans() -> None:
    """Let ``recbole.model.general_recommender`` be imported.

    RecBole 1.2.0 and 1.2.1: its ``ldiffrec`` imports ``kmeans_pytorch``, which RecBole does not
    declare; ``get_model`` looks through that package first, so it finds no model at all.
    """
    name = "kmeans_pytorch"
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    module = ModuleType(name, "Stands in for a package that RecBole does not declare.")
    module.__spec__ = ModuleSpec(name, None)

    def kmeans(*_words: Any, **_keys: Any) -> None:
        raise UserError("RecBole's LDiffRec needs kmeans_pytorch: `pip install kmeans_pytorch`")

    module.kmeans = kmeans  # type: ignore[attr-defined]
    sys.modules[name] = module


# ------------------------------------------------------------------------------- configuration
def _restore_names(_self: Any) -> None:
    compat.restore_numpy_names()


def _with_our_yaml(old: Callable[..., None]) -> Callable[..., None]:
    """RecBole's layers of configuration above the yaml files of a class of ours or a plug-in's."""

    def load(self: Any, model: str, model_class: type, dataset: str) -> None:
        if is_method(model_class):
            raise UserError(
                f"{model} is a cold-start method, and RecBole's runner has no new items and no "
                f"warm-up phases to train it in; use recbole_cold.run('{model}', ...) or "
                f"`recbole-cold --model={model}`"
            )
        old(self, model, model_class, dataset)
        if not model_class.__module__.startswith("recbole."):
            ours = {**_defaults(), **_values(model_class)}
            self.internal_config_dict = {**ours, **self.internal_config_dict}

    return load


def _defaults() -> Mapping[str, Any]:
    """Defaults of keys that RecBole's models have in their own yaml files, ours in one."""
    from recbole_cold.config import overall_values

    return {key: overall_values()[key] for key in ("embedding_size",)}


def _values(cls: type) -> Mapping[str, Any]:
    from recbole_cold.config import read_yaml

    path = yaml_of(cls)
    values = read_yaml(path) if path is not None else {}
    return {key: value for key, value in values.items() if key not in BLOCKS}


# ------------------------------------------------------------------------------- checkpoints
def _save_plainly(self: Any, epoch: int, verbose: bool = True, **keys: Any) -> None:
    """RecBole's checkpoint, with the configuration's plain values in place of the object.

    RecBole 1.2.0 and 1.2.1 pickle their ``Config`` (and by protocol 4), which ``torch.load`` of
    torch >= 2.6 refuses.
    """
    if not self.config["single_spec"] and self.config["local_rank"] != 0:
        return
    file = keys.pop("saved_model_file", self.saved_model_file)
    values = self.config.final_config_dict
    state = {
        "config": {key: value for key, value in values.items() if _is_plain(value)},
        "epoch": epoch,
        "cur_step": self.cur_step,
        "best_valid_score": float(self.best_valid_score),
        "state_dict": self.model.state_dict(),
        "other_parameter": self.model.other_parameter(),
        "optimizer": self.optimizer.state_dict(),
    }
    torch.save(state, file)
    if verbose:
        self.logger.info("Saving current: %s", file)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
