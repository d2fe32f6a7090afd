"""RecBole's Config with our yaml files among its layers; unknown keys are refused.

Low to high: RecBole's defaults (overall, backbone, data set, context-aware quick start), ours
(``properties/overall.yaml``, data set, backbone, method), the ``released:`` sets of ours when
``protocol: released``, configuration files, overrides. Nothing is read from ``sys.argv``, and
``CUDA_VISIBLE_DEVICES`` is left alone.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from recbole_cold import compat, keys, paths
from recbole_cold.data._file_names import interactions
from recbole_cold.data.inputs import number_fields
from recbole_cold.errors import UserError, nearest
from recbole_cold.evaluation.metrics import known_metrics
from recbole_cold.keys import BLOCKS, COMMAND_LINE, Key, at
from recbole_cold.kinds import plain
from recbole_cold.registry import find_backbone, find_method, properties_dir, yaml_of

with compat.no_sklearn_yet():
    from recbole.config import Config

logger = logging.getLogger(__name__)


class ColdConfig(Config):
    """The values of one method on one backbone and one data set; build it with `make_config`.

    ``sources[key]`` says which layer set a value, ``warnings`` what the user should be told.
    """

    method_class: type
    backbone_class: type
    backbone_name: str
    sources: dict[str, str]
    warnings: list[str]

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: Iterable[str | Path] | None = None,
        config_dict: Mapping[str, Any] | None = None,
        *,
        backbone: str | type | None = None,
        also_known: Collection[str] = (),
        check_data: bool = True,
        places: Mapping[str, str] | None = None,
    ) -> None:
        self._asked_backbone = backbone
        self._places = _epochs_alias(dict(places or {}))
        self._also_known = frozenset(also_known)
        self._check_data = check_data
        self.sources, self.warnings = {}, []
        self._external: dict[str, str] = {}  # key -> the file it stood in, or the command line
        super().__init__(model, dataset, list(config_file_list or ()), dict(config_dict or {}))

    # RecBole's constructor calls the following, in this order.

    def compatibility_settings(self) -> None:
        compat.restore_numpy_names()

    def _init_parameters_category(self) -> None:
        self.parameters = compat.argument_lists()

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        return compat.yaml_loader()

    def _load_config_files(self, file_list: Sequence[str | Path]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for file in file_list:
            layer = _epochs_alias(read_yaml(file))
            values.update(layer)
            self._external.update(dict.fromkeys(layer, str(file)))
        return values

    def _load_variable_config_dict(self, config_dict: Mapping[str, Any]) -> dict[str, Any]:
        layer = _epochs_alias({key: parse_value(key, v) for key, v in config_dict.items()})
        self._external.update({key: self._places.get(key, COMMAND_LINE) for key in layer})
        return layer

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}  # the command line is parsed once, in cli/, and arrives as the overrides

    def _get_model_and_dataset(
        self, model: str | type | None, dataset: str | None
    ) -> tuple[str, type, str]:
        given = self.external_config_dict
        for key in given.keys() & {"model", "dataset", "backbone"}:
            if not isinstance(given[key], type) and given[key] is not None:
                keys.ROWS[key].check(given[key], self._where(key))
        model, dataset = model or given.get("model"), dataset or given.get("dataset")
        if dataset:
            _refuse_no_name(dataset)
        if not model:
            raise UserError(
                "no model is given; add --model=<name> (`recbole-cold list` shows all)."
            )
        if not dataset:
            raise UserError("no data set is given; add --dataset=<name>, for instance ml-100k.")
        backbone = self._asked_backbone or given.get("backbone") or overall_values()["backbone"]
        self.method_class = find_method(model)
        network = getattr(self.method_class, "network", None)
        if network is None:
            self.backbone_class = find_backbone(backbone)
            self.backbone_name = self.backbone_class.__name__
        else:
            self.backbone_class, self.backbone_name = network, self.method_class.__name__
            asked = self._asked_backbone or given.get("backbone")
            if asked not in (None, self.backbone_name, network):
                _info_once(f"{self.backbone_name} is a network of its own: backbone {asked} unused")
        return self.method_class.__name__, self.backbone_class, str(dataset)

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        self.internal_config_dict: dict[str, Any] = {}
        self._rows = keys.declared(self.backbone_class) | keys.declared(self.method_class)
        for name, values in _recbole_layers(self.backbone_class, dataset):
            self._add_layer(name, values)
            if name.startswith("recbole/model/"):
                self._rows = {**_click_model_rows(values), **self._rows}
        data_keys = self.internal_config_dict.keys() - self.parameters["General"]
        own = _own_layers(self.method_class, self.backbone_class, dataset)
        for name, values in own:
            self._add_layer(name, {k: v for k, v in values.items() if k not in BLOCKS})
            if name.startswith("properties/dataset/"):
                self.parameters["Dataset"] += sorted(values.keys() - data_keys)
        of_data = [
            (f"{dataset} in {name}", dict((values.get("datasets") or {}).get(dataset) or {}))
            for name, values in own
        ]
        released = [(f"released in {name}", values.get("released") or {}) for name, values in own]
        # What the release has for these data goes above what it has for all.
        released += [(f"released on {name}", here.pop("released", {})) for name, here in of_data]
        for name, values in of_data:
            self._add_layer(name, values)
        self._refuse_unknown(key for _, values in released for key in values)
        protocol = self.external_config_dict.get("protocol", self.internal_config_dict["protocol"])
        if protocol == "released":
            for name, values in released:
                self._add_layer(name, values)
        self.internal_config_dict["MODEL_TYPE"] = self.backbone_class.type
        self.sources.update(self._external)

    def _add_layer(self, name: str, values: Mapping[str, Any]) -> None:
        self.internal_config_dict.update(values)
        self.sources.update(dict.fromkeys(values, name))

    def _set_default_parameters(self) -> None:
        final = self.final_config_dict
        self._check_values()
        metrics, valid_metric = final["metrics"], final["valid_metric"]
        folder = str(final["data_path"])
        # RecBole refuses metrics that are not in its register, so ours are kept from it.
        final["metrics"], final["valid_metric"] = ["AUC"], "AUC"
        super()._set_default_parameters()
        final["metrics"], final["valid_metric"] = metrics, valid_metric
        final["valid_metric_bigger"] = valid_metric != "LogLoss"
        final["backbone"] = self.backbone_name
        final["epochs"] = final["pretrain_epochs"]
        if final["common_size"] is None:
            final["common_size"] = final["warm_size"]
        # The models read what they are fed from here; nothing is added once the data is loaded.
        final["numerical_features"] = number_fields(self)
        final["data_path"] = str(find_data(folder, self.dataset, must_exist=self._check_data))

    def _init_device(self) -> None:
        final = self.final_config_dict
        final["device"], warning = compat.choose_device(final, self._external)
        compat.refuse_precision(final["precision"], final["device"])
        final["single_spec"], final["local_rank"] = True, 0
        if warning:
            self.warnings.append(warning)
        for warning in self.warnings:
            _warn_once(warning)

    # What RecBole leaves open.

    def _refuse_unknown(self, switches: Iterable[str]) -> None:
        known = {*self.internal_config_dict, *switches, *keys.names(in_yaml=False)}
        known |= keys.names(role=keys.DERIVED)
        known.update(*self.parameters.values())
        for key in self._external.keys() & (self._also_known - known):
            del self._external[key], self.external_config_dict[key]  # another entry's key
        unknown = [key for key in self._external if key not in known]
        if unknown:
            raise UserError(_unknown_keys(unknown, self._external, known))
        idle = sorted(self._external.keys() & keys.names(role=keys.IDLE))
        if idle:
            self.warnings.append("no effect here: " + "; ".join(map(_without_effect, idle)))
        for key in idle:  # RecBole would check values that nobody reads
            del self.external_config_dict[key]

    @property
    def asked_backbone(self) -> str | type | None:
        """The backbone as it was asked for; None for the default."""
        return self._asked_backbone or self.external_config_dict.get("backbone")

    def key(self, name: str) -> Key:
        """The row of a key: its class's, the table's, or one made from its default."""
        row = self._rows.get(name) or keys.ROWS.get(name)
        return row or keys.undeclared(name, self.internal_config_dict.get(name))

    def given(self, name: str) -> bool:
        """Whether the user gave this key, so that its value is not a default."""
        return name in self._external

    def _check_values(self) -> None:
        final = self.final_config_dict
        for name, value in final.items():
            final[name] = self.key(name).check(value, self._where(name))
        final["metrics"] = known_metrics(final["metrics"], self._where("metrics"))
        if "RelaImpr" in final["metrics"] and "AUC" not in final["metrics"]:
            final["metrics"].insert(0, "AUC")
            self.warnings.append("RelaImpr is made of AUC values: metrics has AUC, too")
        (final["valid_metric"],) = known_metrics(final["valid_metric"], self._where("valid_metric"))

    def _where(self, key: str) -> str:
        return at(self._external.get(key) or self.sources.get(key, "the defaults"))

    def as_dict(self) -> dict[str, Any]:
        """All final values as plain JSON types; as a configuration file they give equal values."""
        left_out = keys.names(role=keys.DERIVED) | keys.names(role=keys.IDLE)
        return {k: plain(v) for k, v in self.final_config_dict.items() if k not in left_out}


def make_config(
    method: str | type | None = None,
    dataset: str | None = None,
    backbone: str | type | None = None,
    config_files: Iterable[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    also_known: Collection[str] = (),
    check_data: bool = True,
    places: Mapping[str, str] | None = None,
) -> ColdConfig:
    """The configuration of one method on one backbone and one data set.

    What is None is looked up in the files and overrides (``model``, ``dataset``, ``backbone``).
    Texts among the overrides are read as yaml. ``also_known`` names keys that belong to other
    methods of the same command: they are dropped here instead of refused. ``check_data=False``
    accepts a data set whose files are not there. ``places`` says where overrides were given that
    do not stand on the command line.

    Raises:
        UserError: unknown method, backbone, data set or keys (all of them at once), a value out of
            its range, a missing or unreadable file, a GPU asked for and absent.
    """
    return ColdConfig(
        method, dataset, config_files, overrides,
        backbone=backbone, also_known=also_known, check_data=check_data, places=places,
    )  # fmt: skip


def keys_of(spec: str | type) -> set[str]:
    """The keys in a method's own yaml; a command accepts those of all its models."""
    return {
        key
        for _, layer in _class_layers(find_method(spec))
        for part in (layer, layer.get("released") or {})
        for key in part
    } - set(BLOCKS)


def keys_of_backbone(config: ColdConfig) -> set[str]:
    """The keys in the backbone's yaml files, RecBole's and ours."""
    layers = _recbole_layers(config.backbone_class, config.dataset)
    layers += _class_layers(config.backbone_class)
    return {key for _, layer in layers for key in layer}.union(*config.parameters.values())


def overall_values() -> dict[str, Any]:
    """The values of ``properties/overall.yaml``, apart from data set, backbone and method."""
    return read_yaml(properties_dir() / "overall.yaml")


def keys_of_click_model(backbone: str | type, dataset: str) -> set[str]:
    """The keys that shape a backbone: those of its own yaml, RecBole's and ours, and of no other.

    What ``properties/overall.yaml`` sets for all backbones, such as their embedding size, is left
    out.
    """
    cls = find_backbone(backbone)
    every = _recbole_layers(cls, dataset)
    layers = [pair for pair in every if pair[0].startswith("recbole/model/")]
    own = {key for _, layer in [*layers, *_class_layers(cls)] for key in layer}
    return own - overall_values().keys()


def sweep_space(spec: str | type) -> dict[str, Any]:
    """The ``sweep_space:`` block of a method's yaml, or of the nearest class that it extends."""
    blocks = [layer.get("sweep_space") for _, layer in _class_layers(find_method(spec))]
    return dict(next(filter(None, reversed(blocks)), {}))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping a yaml file holds; an empty file is an empty mapping."""
    try:
        text = paths.text_of(path)
    except FileNotFoundError:
        raise UserError(f"configuration file {path} does not exist; check the path.") from None
    except (OSError, UnicodeError) as error:
        raise UserError(f"configuration file {path} cannot be read ({error}).") from error
    try:
        values = copy.deepcopy(_parsed(text))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"configuration file {path} is not valid yaml ({reason}).") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(
            f"configuration file {path} must be a mapping of keys to values, 'key: value'."
        )
    return values


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """The content of a yaml text, cached: every Config reads the same dozen files."""
    return yaml.load(text, Loader=compat.yaml_loader())


def parse_value(key: str, value: Any) -> Any:
    """The value of a command-line text; other types are returned unchanged."""
    # RecBole takes its intervals as texts, and '[5,10]' would read as a list.
    if not isinstance(value, str) or key.endswith("num_interval"):
        return value
    return compat.parse_text(value)


def _refuse_no_name(dataset: str) -> None:
    """Refuse a path, and what no folder can be called, where the name of a data set is due."""
    if not isinstance(dataset, str):
        raise UserError(f"dataset must be a name, not '{plain(dataset)}'")
    told = dataset if len(dataset) <= 80 else f"{dataset[:77]}..."
    if len(dataset.encode(errors="replace")) > 200 or not dataset.isprintable():
        raise UserError(
            f"dataset must be the name of a folder, but {told!a} is too long for one or "
            "holds letters that cannot be shown"
        )
    if "/" in dataset or dataset in (".", ".."):
        path = paths.absolute(dataset)
        bare = dataset.rstrip("/")
        meant = f"--dataset={bare}"
        if "/" in bare or bare in ("", ".", ".."):
            meant = f"--data_path={path.parent} --dataset={path.name}"
        raise UserError(
            f"dataset must be a name, not the path '{told}'; if you mean that folder, write {meant}"
        )


def find_data(data_path: str, dataset: str, must_exist: bool = True) -> Path:
    """The folder of a data set's atomic files, absolute.

    ``data_path/<dataset>`` from the working directory, then from the checkout; a ``data_path`` that
    is that folder already; for ml-100k, when it is nowhere, the copy inside the RecBole wheel.
    """
    base = paths.expanded(data_path)
    roots = [base] if base.is_absolute() else [Path.cwd() / base, *_checkout(base)]
    places = [root / dataset for root in roots]
    places += [root for root in roots if root.name == dataset]
    if dataset == "ml-100k":
        places.append(compat.recbole_folder() / "dataset_example" / dataset)
    for place in places:
        if interactions(place):
            return paths.absolute(place)
    if not must_exist:
        return paths.absolute(places[0])
    raise UserError(_no_data(dataset, roots))


def _checkout(base: Path) -> list[Path]:
    """``base`` in the checkout this code runs from; nothing in an installed wheel."""
    beside = properties_dir().parent
    return [] if beside == Path(__file__).resolve().parent else [beside / base]


def _recbole_layers(backbone: type, dataset: str) -> list[tuple[str, dict[str, Any]]]:
    """RecBole's defaults, in its order; a backbone that extends one of RecBole's keeps its yaml."""
    files = ["overall.yaml"]
    files += [f"model/{c.__name__}.yaml" for c in reversed(backbone.__mro__) if _is_recbole(c)]
    files += ["dataset/sample.yaml", f"dataset/{dataset}.yaml"]
    files += ["quick_start_config/context-aware.yaml"]
    files += [f"quick_start_config/context-aware_{dataset}.yaml"]
    folder = compat.recbole_folder() / "properties"
    return [(f"recbole/{f}", read_yaml(folder / f)) for f in files if (folder / f).is_file()]


def _own_layers(method: type, backbone: type, dataset: str) -> list[tuple[str, dict[str, Any]]]:
    """Our defaults: overall, data set, backbone, method."""
    folder = properties_dir()
    files = [folder / "overall.yaml", folder / "dataset" / f"{dataset}.yaml"]
    layers = [(_layer_name(path), read_yaml(path)) for path in files if path.is_file()]
    return [*layers, *_class_layers(backbone), *_class_layers(method)]


def _class_layers(cls: type) -> list[tuple[str, dict[str, Any]]]:
    """The yaml of a class, after those of the classes it extends: a subclass keeps its defaults."""
    paths = [yaml_of(c) for c in reversed(cls.__mro__) if c is not object]
    return [(_layer_name(path), read_yaml(path)) for path in paths if path is not None]


def _layer_name(path: Path) -> str:
    folder = properties_dir()
    inside = path.is_relative_to(folder)
    return f"properties/{path.relative_to(folder).as_posix()}" if inside else str(path)


def _is_recbole(cls: type) -> bool:
    return cls.__module__.startswith("recbole.model.")


def _epochs_alias(layer: dict[str, Any]) -> dict[str, Any]:
    """RecBole's ``epochs``, given from outside, means pre-training epochs."""
    if "epochs" in layer:
        epochs = layer.pop("epochs")
        layer.setdefault("pretrain_epochs", epochs)
    return layer


def _click_model_rows(values: Collection[str]) -> dict[str, Key]:
    return {name: keys.CLICK_MODELS[name] for name in values if name in keys.CLICK_MODELS}


def _unknown_keys(unknown: list[str], where: Mapping[str, str], known: Collection[str]) -> str:
    parts = []
    for key in unknown:
        guess = nearest(key, known)
        advice = keys.GONE.get(key) or (f"did you mean '{guess}'?" if guess else "")
        parts.append(f"'{key}' {at(where[key])}" + (f" ({advice})" if advice else ""))
    return f"unknown {'key' if len(parts) == 1 else 'keys'}: {', '.join(parts)}."


def _without_effect(key: str) -> str:
    instead = keys.ROWS[key].instead
    return f"{key}, a key of RecBole's own runner" + (f" (see {instead})" if instead else "")


@cache
def _warn_once(warning: str) -> None:
    """Log a warning; one command builds a configuration per method and seed, and says it once."""
    logger.warning("%s", warning)


@cache
def _info_once(text: str) -> None:
    logger.info("%s", text)


def _no_data(dataset: str, roots: Sequence[Path]) -> str:
    from recbole_cold.converters import known_converters

    here = [root for root in roots if interactions(root, dataset)]
    if here:
        return (
            f"data set '{dataset}': its files lie in {here[0]} itself; "
            f"move them to {here[0] / dataset}."
        )
    present = {p.name for root in roots if root.is_dir() for p in root.glob("*") if interactions(p)}
    guess = nearest(dataset, present | {"ml-100k"})
    looked = " and ".join(dict.fromkeys(str(root / dataset) for root in roots))
    known = dataset in known_converters()
    put = f"`recbole-cold convert {dataset} SOURCE` makes them" if known else "put them there"
    return (
        f"data set '{dataset}' has no .inter file in {looked}; "
        + (f"did you mean '{guess}'? " if guess and guess != dataset and not known else "")
        + f"(for its atomic files: {put}, or give the folder above as --data_path)"
    )
