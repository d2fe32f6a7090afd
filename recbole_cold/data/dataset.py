"""RecBole's data set with typed columns instead of frames, cached and memory-mapped.

User and item features are kept once per user and item and gathered by code, never joined per row.
"""

import copy
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from recbole_cold import keys
from recbole_cold.data import _cache
from recbole_cold.data import _file_names as file_names
from recbole_cold.data._build import READER, Build
from recbole_cold.data._cache import cache_root
from recbole_cold.data._frames_folder import frames_in_use
from recbole_cold.data._memory import within_memory
from recbole_cold.data._names import NUMBERS, instead
from recbole_cold.data._vectors import vector_paths
from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.data.inputs import DEFAULT_COUNT_FIELD, number_fields
from recbole_cold.data.numbers import AsRead, Scale, as_recbole, asks_for_range, unit_range
from recbole_cold.data.rows import Rows
from recbole_cold.data.split import Split
from recbole_cold.distinct import codes_in
from recbole_cold.errors import UserError

logger = logging.getLogger(__name__)

__all__ = ["ColdStartDataset", "cache_root"]


class TokenIds(Mapping):
    """Field -> {token: id}; a dictionary is made when its field is first asked for."""

    def __init__(self, id_tokens: dict[str, Vocabulary]) -> None:
        self._id_tokens, self._made = id_tokens, {}

    def __getitem__(self, field: str) -> dict[str, int]:
        if field not in self._made:
            tokens = self._id_tokens[field].tolist()
            self._made[field] = dict(zip(tokens, range(len(tokens)), strict=True))
        return self._made[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._id_tokens)

    def __len__(self) -> int:
        return len(self._id_tokens)


class ColdStartDataset(Dataset):
    """Interactions, users and items of one data set as arrays, with RecBole's field information.

    Token ids are those of RecBole's own loader. Arrays that come from the cache are read-only.

    Attributes:
        inter: row columns. Tokens int32 [n], token sequences int32 [n, L] (0 is padding), numbers
            float32 [n], the label float32 in {0, 1}, the time float64. The time is raw unless it is
            one of ``numerical_features`` (``use_timestamp``): then it is scaled to 0..1 here.
        time: the raw time of each row, float64, or None without a time field: what splits use.
        user_table, item_table: feature columns by code, row 0 padding, the id itself left out.
            Numbers are plain float32 [num]; a model gets the pair (value, 1) that RecBole's
            FLEmbedding reads, made per batch in ``rows.py``. Here numbers are as RecBole's loader
            gives them; ``_visible`` scales those of a run's view. Content vectors (FLOAT_SEQ) are
            float32 or float16 [num, m], zeros where one is missing; see ``vectors.py``.
        raw: the float fields as read, float64 with NaN in gaps, by ``inter``, ``user``, ``item``;
            label and time are not among them.
        unseen: of each field that the view's run masks, the codes that no training row has.
        trained: of each token field, which of its codes training rows have, bool; never padding.
            Their rows of the tables were trained; all others are zero or as they were drawn.
        scales: float field -> how the view's values were made of those of the files.
        parts: part name -> row numbers when the rows came from ``benchmark_filename``, else None.
        numbers: the float fields that are inputs of the model, in the configuration's order;
            content vectors are inputs without being named.
        field2id_token: field -> its tokens by code, a ``Vocabulary``.
        notes: sentences on what loading decided, for the log and the report.
        data_hash: SHA-256 of the files' contents and of every setting that changes the columns.
        from_cache: whether the columns were found parsed.
        n_rows: number of interactions.

    Args:
        config: a RecBole ``Config``, or anything that answers ``config[key]`` with None for keys
            it does not know. ``data_path`` is the folder with the atomic files.

    Raises:
        UserError: a file or a setting is wrong; one sentence that names it.
    """

    # These belong to one view; see ``view``.
    _split: Split | None = None
    _rows: Rows | None = None
    unseen: Mapping[str, np.ndarray] = MappingProxyType({})
    trained: Mapping[str, np.ndarray] = MappingProxyType({})
    scales: Mapping[str, Scale | AsRead] = MappingProxyType({})

    @property
    def split(self) -> Split:
        """The split of this view; other views do not change it."""
        if self._split is None:
            raise AttributeError("this data set was not split yet; take a view with a split")
        return self._split

    @property
    def rows(self) -> Rows:
        """The rows of this view, on their device."""
        if self._rows is None:
            raise AttributeError("this data set is on no device yet; take a view with rows")
        return self._rows

    def view(self, split: Split | None = None, rows: Rows | None = None) -> "ColdStartDataset":
        """The same data for one run: arrays and tensors are shared, the dictionaries are its own.

        A feature column that is exchanged in a view, or a row column, is exchanged there alone.

        Args:
            split: what the view is split into; ``None``: as this one.
            rows: its rows; ``None``: a view of the rows of this one.
        """
        view = copy.copy(self)
        view.inter, view.user_table, view.item_table = (
            dict(columns) for columns in (self.inter, self.user_table, self.item_table)
        )
        view._split = self._split if split is None else split
        view._rows = self._rows.view() if rows is None and self._rows is not None else rows
        return view

    def _from_scratch(self) -> None:
        self._get_preset()
        for key in sorted(keys.names(role=keys.UNSUPPORTED)):
            if self.config[key]:
                raise UserError(f"{key} is set, but recbole_cold does not support it; remove it")
        self._get_fields()
        self._files = self._find_files()
        self._vector_files = vector_paths(self.config, Path(self.dataset_path))
        root = cache_root(self.config["cache_dir"])
        vectors = [path for fields in self._vector_files.values() for path in fields.values()]
        with _cache.unchanged([*self.source_files(), *vectors]):
            self.data_hash = self._hash(root)
            key = hashlib.sha256(f"{self.data_hash} reader {READER}".encode()).hexdigest()
            folder = root / "data" / key[:32]
            found = self._stored(folder)
            self.from_cache = found is not None
            columns, meta = self._built() if found is None else found
        if not self.from_cache:
            columns, meta = self._kept(columns, meta, folder, root)
        self._uses = [_cache.in_use(folder), frames_in_use(Path(self.dataset_path), root)]
        self.numbers = number_fields(self.config)
        self._take(columns, meta)
        self._add_inputs()

    def _get_fields(self) -> None:
        self._get_field_from_config()
        if self.uid_field is None or self.iid_field is None:
            raise UserError("USER_ID_FIELD and ITEM_ID_FIELD must name the two id fields")
        if self.label_field is None:
            raise UserError("LABEL_FIELD must name the label field, for example 'label'")

    def _parts_there(self, folder: Path) -> str:
        """What to do about a missing ``.inter`` file: the ready parts that could be meant."""
        start = f"{self.dataset_name}."
        parts = [
            Path(file_names.atomic_name(path)).stem.removeprefix(start)
            for path in file_names.interactions(folder, start)
        ]
        if not parts:
            return "check --dataset and --data_path"
        return (
            f"there are the parts {', '.join(parts)}: name them in the order of their phases, the "
            'training part first and the one to be scored last, --benchmark_filename="[...]"'
        )

    def _find_files(self) -> dict[str, list[Path]]:
        """Suffix -> the files that exist, interactions first."""
        folder = Path(self.dataset_path)
        if not folder.is_dir():
            raise UserError(
                f"the folder '{folder}' of data set '{self.dataset_name}' does not exist; check "
                "--dataset and --data_path"
            )
        parts = self.benchmark_filename_list
        names = [""] if parts is None else [f".{part}" for part in parts]
        inter = []
        for name in names:
            wanted_name = f"{self.dataset_name}{name}.inter"
            there = file_names.found(folder, wanted_name)
            if there is None:
                raise UserError(
                    f"the atomic file '{folder / wanted_name}' does not exist; "
                    f"{self._parts_there(folder)}"
                )
            inter.append(there)
        files = {"inter": inter}
        wanted = self.config["load_col"]
        for suffix in ("user", "item"):
            if wanted is not None and not wanted.get(suffix):
                continue
            path = file_names.found(folder, f"{self.dataset_name}.{suffix}")
            if path is not None:
                files[suffix] = [path]
            elif wanted is not None:
                path = folder / f"{self.dataset_name}.{suffix}"
                raise UserError(
                    f"load_col asks for {suffix} features, but '{path}' does not exist; add the "
                    f"file or remove '{suffix}' from load_col"
                )
        return files

    def _hash(self, root: Path) -> str:
        schema = {key: self.config[key] for key in keys.names(touching=[keys.COLUMNS])}
        try:
            files = {
                suffix: [_cache.content_hash(path, root) for path in paths]
                for suffix, paths in self._files.items()
            }
            vectors = {
                side: {field: _cache.content_hash(path, root) for field, path in fields.items()}
                for side, fields in self._vector_files.items()
            }
        except OSError as error:
            raise UserError(
                f"cannot read '{error.filename}' ({error.strerror}); check its permissions"
            ) from error
        content = [schema, files, vectors] if vectors else [schema, files]
        described = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(described.encode()).hexdigest()

    def _stored(self, folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The columns as they were parsed before; None where they have to be parsed."""
        if not _cache.is_there(folder):
            return None
        # From here on nobody removes it; one who just did so leaves nothing to be warned of.
        self._uses = [_cache.in_use(folder)]
        try:
            return _cache.load(folder)
        except _cache.Damaged as error:
            if os.path.exists(folder):
                logger.warning("the cached data set '%s' is damaged (%s); rebuilt", folder, error)
            return None

    def _built(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        build = Build(self.config, self._files, self._vector_files)
        with within_memory(self.config, self._files, build.form):
            return build.columns(), build.meta()

    def _kept(
        self, columns: dict[str, np.ndarray], meta: dict[str, Any], folder: Path, root: Path
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The columns after they were stored."""
        made = {"dataset": self.dataset_name, "source": str(Path(self.dataset_path).absolute())}
        failure = _cache.store(folder, columns, {**meta, **made}, root)
        if failure:
            return columns, {**meta, "notes": [*meta["notes"], failure]}
        # The mapped copy from here on, as in every later run: the columns in memory may be large.
        with suppress(_cache.Damaged):  # another process has just exchanged it
            return _cache.load(folder)
        return columns, meta

    def _take(self, columns: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        by_kind: dict[str, dict[str, np.ndarray]] = {}
        for name, column in columns.items():
            kind, _, field = name.partition("/")
            by_kind.setdefault(kind, {})[field] = column
        self.inter = by_kind["inter"]
        self.user_table = by_kind.get("user", {})
        self.item_table = by_kind.get("item", {})
        self.field2id_token = {
            field: Vocabulary.from_parts(letters, by_kind["ends"][field])
            for field, letters in by_kind["tokens"].items()
        }
        self.field2token_id = TokenIds(self.field2id_token)
        self._origin = by_kind.get("origin", {}).get("")
        for field, kind, source, length in meta["fields"]:
            self.set_field_property(field, FeatureType(kind), FeatureSource(source), length)
            if FeatureType(kind) in NUMBERS:
                self.field2bucketnum[field] = 2
        self.raw = {kind: self._numbers_in(kind, by_kind) for kind in ("inter", "user", "item")}
        self.notes: list[str] = list(meta["notes"])
        self.n_rows = len(self.inter[self.iid_field])
        self.time = self.inter.get(self.time_field)
        self.parts = self._parts(meta["part_rows"])
        self.file_size_list = meta["part_rows"]
        self.feat_name_list = ["inter_feat"] + [f"{s}_feat" for s in self._files if s != "inter"]

    def _numbers_in(self, kind: str, by_kind: dict[str, Any]) -> dict[str, np.ndarray]:
        """The float fields of one file as read; its table gets them as RecBole has them."""
        table = by_kind.get(kind, {})
        apart = (self.label_field, self.time_field) if kind == "inter" else ()
        taken = {
            field: column
            for field, column in table.items()
            if self.field2type[field] == FeatureType.FLOAT and field not in apart
        }
        for field, column in taken.items():
            table[field] = as_recbole(column, asks_for_range(self.config, field))
        return taken

    def _parts(self, lengths: list[int]) -> dict[str, np.ndarray] | None:
        if self.benchmark_filename_list is None:
            return None
        ends = np.cumsum(lengths)
        return {
            name: np.arange(end - length, end)
            for name, length, end in zip(self.benchmark_filename_list, lengths, ends, strict=True)
        }

    def _add_inputs(self) -> None:
        """Numbers that the configuration adds to the inputs of the model."""
        if self.config["use_count"]:
            self._add_count()
        if self.config["use_timestamp"] and self.time is None:
            raise UserError(
                f"use_timestamp is set, but the interactions have no field "
                f"{self.time_field!r}; switch it off or load that field"
            )
        for field in self.numbers:
            if self.field2type.get(field) not in NUMBERS:
                floats = [name for name, kind in self.field2type.items() if kind in NUMBERS]
                raise UserError(
                    f"numerical_features names {field!r}, which is not a loaded float field"
                    + instead(field, floats)
                )
        self.numbers = [
            name for name in self.numbers if self.field2type[name] != FeatureType.FLOAT_SEQ
        ]
        if self.time is not None and self.time_field in self.numbers:
            self.inter[self.time_field] = unit_range(self.time)

    def _add_count(self) -> None:
        field = self.config["COUNT_FIELD"] or DEFAULT_COUNT_FIELD
        if field in self.field2type:
            raise UserError(
                f"the data already has a field {field!r}; set COUNT_FIELD to another name"
            )
        user_side = self.config["cold_side"] == "user"
        table, id_field = (
            (self.user_table, self.uid_field) if user_side else (self.item_table, self.iid_field)
        )
        table[field] = np.zeros(self.num(id_field), dtype=np.float32)
        source = FeatureSource.USER if user_side else FeatureSource.ITEM
        self.set_field_property(field, FeatureType.FLOAT, source, 1)
        self.field2bucketnum[field] = 2

    def num(self, field: str) -> int:
        """Tokens of a field, padding included; 2 for a number that is an input, else its length."""
        # RecBole's asks the configuration for the inputs, which may not know the popularity.
        if field in self.numbers:
            return self.field2bucketnum[field]
        if self.field2type.get(field) in {FeatureType.FLOAT, FeatureType.FLOAT_SEQ}:
            return self.field2seqlen[field]
        return super().num(field)

    # Attributes of RecBole's data set, computed from the columns.

    def __len__(self) -> int:
        return self.n_rows

    @property
    def inter_num(self) -> int:
        """Number of interactions."""
        return self.n_rows

    @property
    def avg_actions_of_users(self) -> float:
        """Rows per user, of users with rows."""
        return self.n_rows / max(1, len(codes_in(self.inter[self.uid_field])))

    @property
    def avg_actions_of_items(self) -> float:
        """Rows per item, of items with rows."""
        return self.n_rows / max(1, len(codes_in(self.inter[self.iid_field])))

    @cached_property
    def inter_feat(self) -> Interaction:
        """The rows as RecBole's ``Interaction``: made when first asked for; large, so avoid it."""
        return self._interaction(self.inter)

    @cached_property
    def user_feat(self) -> Interaction | None:
        """User features as RecBole's ``Interaction``, or None."""
        ids = {self.uid_field: np.arange(self.user_num)}
        return self._interaction({**ids, **self.user_table}) if self.user_table else None

    @cached_property
    def item_feat(self) -> Interaction | None:
        """Item features as RecBole's ``Interaction``, or None."""
        ids = {self.iid_field: np.arange(self.item_num)}
        return self._interaction({**ids, **self.item_table}) if self.item_table else None

    def _interaction(self, columns: dict[str, np.ndarray]) -> Interaction:
        numerical = set(self.numbers)
        tensors = {}
        for field, column in columns.items():
            tensor = torch.from_numpy(np.array(column))
            if not tensor.is_floating_point():
                tensor = tensor.long()
            elif field in numerical:
                tensor = torch.stack([tensor.float(), torch.ones_like(tensor).float()], dim=-1)
            tensors[field] = tensor
        return Interaction(tensors)

    # The rows' places in their files, to write them out again unchanged.

    def source_rows(self, rows: np.ndarray) -> np.ndarray:
        """Position of ``rows`` in the interaction files before any filter."""
        return rows if self._origin is None else self._origin[rows]

    def source_files(self) -> list[Path]:
        """All files that were read, interactions first."""
        return [path for paths in self._files.values() for path in paths]

    def interaction_files(self) -> list[Path]:
        """The files of interactions that were loaded."""
        return self._files["inter"]

    def feature_files(self) -> list[Path]:
        """The ``.user`` and ``.item`` files that were loaded."""
        return [self._files[suffix][0] for suffix in ("user", "item") if suffix in self._files]

    def vector_files(self) -> dict[str, dict[str, Path]]:
        """The files of content vectors (``vector_fields``): suffix -> field -> file."""
        return self._vector_files
