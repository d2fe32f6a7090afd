"""Finds the model that a run kept, checks that it is whole, and rebuilds the method from it alone.

``RUN`` is the folder of a run, ``RUN/METHOD``, ``RUN/METHOD@SEED`` or a model's own folder.
"""

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from recbole.utils import FeatureSource, FeatureType

from recbole_cold import paths
from recbole_cold.config import ColdConfig, make_config
from recbole_cold.data._names import NUMBERS
from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.data.dataset import ColdStartDataset, TokenIds
from recbole_cold.data.numbers import AsRead, Scale
from recbole_cold.data.rows import Rows
from recbole_cold.data.split import Split
from recbole_cold.errors import UserError
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.folders import file_name
from recbole_cold.experiment.model_folder import (
    ABOUT,
    GROWN,
    NEW,
    NEWEST,
    OLD,
    PHASE,
    TABLES,
    TOKENS,
    WARM,
    WEIGHTS,
)
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.paths import sha256

_PROBES = 8


@dataclass(frozen=True)
class Kept:
    """A model's folder, whole and of a format that this program knows.

    Attributes:
        folder: where it is.
        about: what ``model.json`` says.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As it is asked for: ``METHOD@SEED after PHASE``."""
        return f"{self.about['label']}@{self.about['seed']} after {self.about['phase']}"

    @property
    def origin(self) -> dict[str, Any]:
        """What a report and an export say of the run that it is of."""
        names = ("label", "backbone", "phase", "seed", "split_hash", "data_hash")
        return {name: self.about[name] for name in names}

    def tokens(self, field: Mapping[str, Any]) -> pa.Table:
        """Columns ``token`` and ``trained`` of a token field, by code."""
        return pq.read_table(self.folder / TOKENS / field["tokens"])

    def table(self, side: str) -> pa.Table:
        """Features, counts and vectors of ``item`` or ``user``, by code."""
        return pq.read_table(self.folder / TABLES[side])

    def state(self, method: ColdStartRecommender) -> dict[str, Any]:
        """The state dict of the method, which was built as this model's.

        Raises:
            RuntimeError, UnpicklingError: the file is none.
        """
        return torch.load(  # type: ignore[no-any-return]
            self.folder / WEIGHTS, map_location=method.device, weights_only=True
        )


# ------------------------------------------------------------------------------- finding
def find_kept(
    run: str | Path, method: str | None = None, seed: int | None = None, phase: str | None = None
) -> Kept:
    """The one model that ``run`` means, checked.

    Args:
        run: see the module. The others say which one, where there are several.
        phase: the one after which it was kept; the last that is there without it.

    Raises:
        UserError: there is none, there are several, or it is damaged or of a later format.
    """
    folder, method, seed = _asked(run, method, seed)
    own = [folder / ABOUT] if (folder / ABOUT).is_file() else []
    # A folder that is being written has a name that begins with a dot.
    found = own or sorted([*folder.glob(f"*/model*/{ABOUT}"), *folder.glob(f"model*/{ABOUT}")])
    if not found:
        raise UserError(_none_kept(folder))
    every = [Kept(path.parent, _read(path)) for path in found]
    fitting = [kept for kept in every if _fits(kept.about, method, seed, phase)]
    if phase is None and len(fitting) > 1:
        fitting = _latest(fitting)
    if len(fitting) != 1:
        told = ", ".join(f"{kept.name}" for kept in fitting or every)
        what = "has several models" if fitting else "has no such model"
        raise UserError(
            f"'{folder}' {what}: {told}; name one as {folder}/METHOD@SEED"
            + ("" if phase is None else ", and its phase")
        )
    _refuse_damaged(fitting[0])
    return fitting[0]


def _asked(
    run: str | Path, method: str | None, seed: int | None
) -> tuple[Path, str | None, int | None]:
    """The folder of a run, and what its address says of method and seed."""
    folder = paths.absolute(run)
    if folder.is_dir():
        return folder, method, seed
    name, at, number = folder.name.rpartition("@")
    if not at:
        name, number = folder.name, ""
    if not folder.parent.is_dir() or (at and not number.isdigit()):
        raise UserError(f"'{run}' is no folder; give that of a run, or RUN/METHOD@SEED")
    return folder.parent, name if method is None else method, int(number) if number else seed


def _fits(
    about: Mapping[str, Any], method: str | None, seed: int | None, phase: str | None
) -> bool:
    label = about["label"]
    return (
        method in (None, label, file_name(label))
        and seed in (None, about["seed"])
        and phase in (None, about["phase"])
    )


def _latest(several: list[Kept]) -> list[Kept]:
    """Of models that differ in their phase alone, the last; else all of them."""
    if len({(kept.about["label"], kept.about["seed"]) for kept in several}) > 1:
        return several
    order = [phase for phase, *_ in several[0].about["phases"]]
    return [max(several, key=lambda kept: order.index(kept.about["phase"]))]


def _none_kept(folder: Path) -> str:
    if not (folder / "request.json").is_file() and not (folder.parent / "request.json").is_file():
        return f"'{folder}' is not the folder of a run; give the one that the run printed"
    return (
        f"the run in '{folder}' kept no model; run it again with --keep_model=True (a run of one "
        "seed keeps its models by itself, where the method can be kept: its log.txt says why not)"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        version = int(about["format"])
        lacking = {"label", "phase", "phases", "seed", "sha256", "fields", "config"} - {*about}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is damaged ({error!r}); keep the model again") from None
    if version > NEWEST:
        raise UserError(
            f"'{path}' has format {version}, and this recbole_cold reads up to {NEWEST}; install a "
            "newer one"
        )
    if lacking:
        raise UserError(f"'{path}' is damaged (it lacks '{min(lacking)}'); keep the model again")
    return about


def _refuse_damaged(kept: Kept) -> None:
    for name, digest in kept.about["sha256"].items():
        path = kept.folder / name
        try:
            found = sha256(path)
        except OSError as error:
            raise UserError(
                f"the model '{kept.folder}' is not whole: '{name}' cannot be read "
                f"({error.strerror}); keep it again"
            ) from None
        if found != digest:
            raise UserError(
                f"the model '{kept.folder}' was altered: the SHA-256 of '{name}' is not that in "
                f"{ABOUT}; keep it again"
            )
    code = [spec for spec in (kept.about["method"], kept.about["backbone"]) if _is_code(spec)]
    owner = (kept.folder / ABOUT).stat().st_uid
    if code and owner not in (os.geteuid(), 0):
        raise UserError(
            f"the model '{kept.folder}' belongs to another user and names code, which would be run "
            f"({', '.join(code)}); look into it, then copy the folder to make it yours"
        )


def _is_code(spec: str) -> bool:
    return ":" in spec or spec.endswith(".py")


# ------------------------------------------------------------------------------- rebuilding
class KeptDataset(ColdStartDataset):
    """The data set of a run as its model's folder has it: fields, tokens and features.

    Its interactions are a few made-up rows of known tokens, on which a backbone is tried out when
    it is built; ``split['train']`` is these.
    """

    def __init__(self, config: ColdConfig, kept: Kept) -> None:
        self._of = kept
        super().__init__(config)

    def _from_scratch(self) -> None:
        self._get_preset()
        self._get_fields()
        about = self._of.about
        self.numbers = list(about["numbers"])
        self.field2id_token, self.trained, self.spec = {}, {}, {}
        self.scales = {}
        for field in about["fields"]:
            self._add_field(field)
        self.field2token_id = TokenIds(self.field2id_token)
        self.item_table, self.user_table = (self._features(side) for side in ("item", "user"))
        self._add_zero_count()
        self._made_up()
        self.time, self.parts, self.notes, self.data_hash = None, None, [], about["data_hash"]
        self.raw = {"inter": {}, "user": {}, "item": {}}
        self._files, self._vector_files = {"inter": []}, {}

    def _add_field(self, field: Mapping[str, Any]) -> None:
        name, kind = field["name"], FeatureType(field["type"])
        self.spec[name] = field
        self.set_field_property(name, kind, FeatureSource(field["source"]), field["length"])
        if kind in NUMBERS:
            self.field2bucketnum[name] = 2
        if field["tokens"]:
            table = self._of.tokens(field)
            self.field2id_token[name] = Vocabulary(
                table["token"].combine_chunks().cast(pa.large_string())
            )
            self.trained[name] = table["trained"].to_numpy()
        if "scale" in field:
            scale = dict(field["scale"])
            self.scales[name] = (AsRead if scale["rule"] == "recbole" else Scale)(**scale)

    def id_field_of(self, side: str) -> str:
        return self.iid_field if side == "item" else self.uid_field

    def _features(self, side: str) -> dict[str, np.ndarray]:
        table = self._of.table(side)
        self.status = getattr(self, "status", {})
        self.status[side] = table["status"].to_numpy(zero_copy_only=False)
        if side == self._of.about["cold_side"]:
            warm = PHASE in table.column_names and pc.equal(table[PHASE], WARM).fill_null(False)
            self.promoted = np.flatnonzero(warm)
        fields = [
            name
            for name, field in self.spec.items()
            if field["side"] == side
            and name != self.id_field_of(side)
            and name in table.column_names
        ]
        return {name: self.column(name, table[name].combine_chunks()) for name in fields}

    def column(self, field: str, values: pa.Array) -> np.ndarray:
        """A feature as it was kept, in the form that models read."""
        kind = FeatureType(self.spec[field]["type"])
        if kind == FeatureType.FLOAT:
            given = values.to_numpy(zero_copy_only=False).astype(np.float64)
            return self.scales[field].apply(given)
        known = pa.array(self.field2id_token[field].tolist(), pa.large_string())
        if kind == FeatureType.TOKEN:
            return _codes(values, known).astype(np.int32)
        matrix = np.zeros((len(values), self.spec[field]["length"]), dtype=np.int32)
        length = np.diff(values.offsets.to_numpy())
        matrix[np.arange(matrix.shape[1]) < length[:, None]] = _codes(values.flatten(), known)
        return matrix

    def _add_zero_count(self) -> None:
        field = self.config["COUNT_FIELD"]
        if self.config["use_count"] and field in self.spec:
            table = self.item_table if self.spec[field]["side"] == "item" else self.user_table
            ordered = {
                **table,
                field: np.zeros(len(self.status[self.spec[field]["side"]]), np.float32),
            }
            table.clear()
            table.update({name: ordered[name] for name in self.spec if name in ordered})

    def _made_up(self) -> None:
        """A few rows of tokens that training had."""
        self.inter, self.n_rows = {}, _PROBES
        for name, field in self.spec.items():
            if field["side"] != "inter" and name not in (self.uid_field, self.iid_field):
                continue
            if field["tokens"]:
                known = np.flatnonzero(self.trained[name])
                codes = known[np.arange(_PROBES) % len(known)] if len(known) else np.zeros(_PROBES)
                codes = codes.astype(np.int32)
                if field["type"] == FeatureType.TOKEN_SEQ.value:
                    codes = np.repeat(codes[:, None], field["length"], axis=1)
                self.inter[name] = codes
            else:
                self.inter[name] = (np.arange(_PROBES) % 2).astype(np.float32)

    def split_of(self) -> Split:
        """Old and new ids; the made-up rows stand for the training part."""
        about = self._of.about
        status = self.status[about["cold_side"]]
        old, new = (np.flatnonzero(np.isin(status, words)) for words in ((OLD,), (NEW, GROWN)))
        manifest = {"cold_side": about["cold_side"], "rule": about["rule"]}
        return Split({"train": np.arange(_PROBES)}, old, new, manifest)


def _codes(values: pa.Array, known: pa.Array) -> np.ndarray:
    """Codes of tokens, 0 where there is none."""
    found = pc.index_in(values.cast(pa.large_string()), value_set=known)
    return found.fill_null(0).to_numpy(zero_copy_only=False)


def rebuild(kept: Kept, device: str | None = None) -> tuple[ColdStartRecommender, KeptDataset]:
    """The method as it was kept, and the data set that it reads.

    Raises:
        UserError: its code or its weights are not those that were kept.
    """
    about = kept.about
    overrides = dict(about["config"])
    if device is not None:
        overrides["device"] = device
    apart = {key: overrides.pop(key, None) for key in ("model", "dataset", "backbone")}
    config = make_config(
        about["method"], apart["dataset"], about["backbone"], (), overrides, check_data=False,
        places=dict.fromkeys(overrides, str(kept.folder / ABOUT)),
    )  # fmt: skip
    whole = KeptDataset(config, kept)
    whole = whole.view(whole.split_of(), Rows(whole, config["device"]))
    method = build_method(config, whole)
    try:
        method.load_state_dict(kept.state(method))
    except (RuntimeError, KeyError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"the weights in '{kept.folder}' do not fit the code of {about['label']} ({first}); "
            f"install the versions that {ABOUT} names"
        ) from error
    method.promoted_ids = method.rows.index(whole.promoted)
    method.restored()
    # Parameters go on asking for gradients: torch multiplies matrices in another way, and rounds in
    # another, where they do not.
    method.set_mode("evaluate")
    return method, whole
