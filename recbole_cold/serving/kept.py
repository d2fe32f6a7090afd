"""Rebuilds a method from the model that a run kept, and from it alone."""

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from recbole.utils import FeatureSource, FeatureType

from recbole_cold.config import ColdConfig, make_config
from recbole_cold.data._names import NUMBERS
from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.data.dataset import ColdStartDataset, TokenIds
from recbole_cold.data.numbers import AsRead, Scale
from recbole_cold.data.rows import Rows
from recbole_cold.data.split import Split
from recbole_cold.device import FLOAT32
from recbole_cold.errors import UserError
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.kept_models import Kept, find_kept
from recbole_cold.experiment.model_folder import ABOUT, GROWN, NEW, OLD, PHASE, WARM
from recbole_cold.model._method import ColdStartRecommender

__all__ = ["Kept", "KeptDataset", "find_kept", "rebuild"]

_PROBES = 8


class KeptDataset(ColdStartDataset):
    """The data set of a run as its model's folder has it: fields, tokens and features.

    Its interactions are a few made-up rows of known tokens, on which a backbone is tried out when
    it is built; ``split['train']`` is these. The rows that scores are made of stand behind them.
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
            told = PHASE in table.column_names and PHASE not in self.spec  # else it is a feature
            warm = told and pc.equal(table[PHASE], WARM).fill_null(False)
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
        kept = self._of.rows()
        number = len(next(iter(kept.values()), ()))
        self.n_rows += number
        for name, probes in self.inter.items():
            more = np.zeros((number, *probes.shape[1:]), probes.dtype)
            if name in kept:
                more[:] = kept[name].numpy()
            self.inter[name] = np.concatenate([probes, more])

    def split_of(self) -> Split:
        """Old and new ids; the made-up rows stand for the training part, other parts are empty."""
        about = self._of.about
        status = self.status[about["cold_side"]]
        old, new = (np.flatnonzero(np.isin(status, words)) for words in ((OLD,), (NEW, GROWN)))
        manifest = {"cold_side": about["cold_side"], "rule": about["rule"]}
        none = np.zeros(0, np.int64)
        parts = {name: none for _, *names in about["phases"] for name in names if name is not None}
        parts["train"] = np.arange(_PROBES)
        return Split(parts, old, new, manifest, about["phases"])


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
    # Served in float32 on whatever device, however the run multiplied.
    overrides = {**about["config"], "precision": FLOAT32}
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
    method.kept_rows_are(torch.arange(_PROBES, whole.n_rows, device=method.device))
    method.restored()
    # Parameters go on asking for gradients: torch multiplies matrices in another way, and rounds in
    # another, where they do not.
    method.set_mode("evaluate")
    return method, whole
