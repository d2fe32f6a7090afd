"""Builds a method for its configuration and data; names the plug-in where its code fails."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from recbole_cold.config import ColdConfig, keys_of_click_model
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError, blaming, is_plugin, named, told
from recbole_cold.keys import declared, names
from recbole_cold.kinds import text_of
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.registry import yaml_place
from recbole_cold.training.checks import check_trainable


def build_method(config: ColdConfig, dataset: ColdStartDataset) -> ColdStartRecommender:
    """The method of a configuration on a view of its data set; every run builds it here.

    Raises:
        UserError: it cannot be built; where a plug-in is to blame, its class and file are named.
    """
    for cls in (config.method_class, config.backbone_class):
        _refuse_missing_yaml(cls, config)
    with blaming(config.method_class, "its construction"), _sizes_told(config):
        method = config.method_class(config, dataset)
    check_trainable(method)
    return method


@contextmanager
def _sizes_told(config: ColdConfig) -> Iterator[None]:
    """What only torch can know of sizes, that they do not fit each other or the memory, as one
    sentence with the keys that shape the network; in classes of ours and of RecBole."""
    try:
        yield
    except (RuntimeError, AssertionError, MemoryError, ValueError, OverflowError) as error:
        if is_plugin(config.method_class) or is_plugin(config.backbone_class):
            raise
        shaping = keys_of_click_model(config.backbone_class, config.dataset)
        shaping |= {"embedding_size", *declared(config.method_class)}
        given = sorted(key for key in shaping if config.given(key))
        if not given:
            raise
        told_values = ", ".join(f"{key}: {text_of(config[key])}" for key in given)
        why = "more memory than there is" if "allocate" in str(error) else told(error)
        raise UserError(
            f"{config['model']} on {config.backbone_name} cannot be built with {told_values} "
            f"({why}); choose other sizes"
        ) from error


def keys_in_source(cls: type) -> set[str]:
    """The keys that the source of a class reads, as ``config["key"]`` or ``self.config["key"]``.

    Raises:
        OSError, TypeError: it has no source.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    keys = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            holder = node.value
            name = getattr(holder, "attr", getattr(holder, "id", ""))
            if name == "config" and isinstance(node.slice.value, str):
                keys.add(node.slice.value)
    return keys


def _refuse_missing_yaml(cls: type, config: ColdConfig) -> None:
    """Raise a ``UserError`` if a plug-in has keys of its own but no yaml with their defaults."""
    known = {*config.final_config_dict, *names(in_yaml=False)}.union(*config.parameters.values())
    # Torch's own classes have no keys of ours, and their sources are long.
    parts = [part for part in cls.__mro__ if part not in torch.nn.Module.__mro__]
    for part in parts:
        path = yaml_place(part) if is_plugin(part) else None
        if path is None or path.is_file():
            continue
        own = {key.name for key in vars(part).get("keys", ())}
        with suppress(OSError, TypeError, SyntaxError):  # no source: the declared keys must do
            own |= keys_in_source(part)
        if own - known:
            keys = ", ".join(sorted(own - known))
            raise UserError(
                f"{named(part)} has the configuration keys {keys}, but no file '{path}' gives "
                "their defaults; write it, 'key: value' for each"
            )
