"""Builds a method for its configuration and data; names the plug-in where its code fails."""

import ast
import inspect
import textwrap
from contextlib import suppress

from recbole_cold.config import ColdConfig
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError, blaming, is_plugin, named
from recbole_cold.keys import names
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
    with blaming(config.method_class, "its construction"):
        method = config.method_class(config, dataset)
    check_trainable(method)
    return method


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
    for part in cls.__mro__:
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
