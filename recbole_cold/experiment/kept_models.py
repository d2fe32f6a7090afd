"""Finds the models that a run kept, and checks that one is whole.

``RUN`` is the folder of a run, ``RUN/METHOD``, ``RUN/METHOD@SEED`` or a model's own folder.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recbole_cold import paths
from recbole_cold.errors import UserError
from recbole_cold.experiment.folders import file_name
from recbole_cold.experiment.model_folder import ABOUT, NEWEST, TABLES, TOKENS, WEIGHTS
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.paths import sha256


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
    every = _kept_in(folder)
    fitting = [kept for kept in every if _fits(kept.about, method, seed, phase)]
    found = _the_one(folder, fitting, every, phase)
    refuse_damaged(found)
    return found


def kept_for(run: str | Path, methods: Sequence[str]) -> Kept:
    """The one model that ``run`` means for a method; its files are not looked at yet.

    Args:
        run: see the module.
        methods: classes of methods by name. Where there are several models, it is that of the first
            of these that has one.

    Raises:
        UserError: there is none, or there are several of a method, or it is of a later format.
    """
    folder, method, seed = _asked(run, None, None)
    every = _kept_in(folder)
    fitting = [kept for kept in every if _fits(kept.about, method, seed, None)]
    for name in methods:
        own = [kept for kept in fitting if kept.about["config"].get("model") == name]
        if own:
            return _the_one(folder, own, every)
    return _the_one(folder, fitting, every)


def _kept_in(folder: Path) -> list[Kept]:
    """All models of a folder; it is an error if there is none."""
    own = [folder / ABOUT] if (folder / ABOUT).is_file() else []
    # A folder that is being written has a name that begins with a dot.
    found = own or sorted([*folder.glob(f"*/model*/{ABOUT}"), *folder.glob(f"model*/{ABOUT}")])
    if not found:
        raise UserError(_none_kept(folder))
    return [Kept(path.parent, _read(path)) for path in found]


def _the_one(
    folder: Path, fitting: list[Kept], every: list[Kept], phase: str | None = None
) -> Kept:
    """The only one that fits, or the last of several phases.

    Args:
        phase: that is asked for.
    """
    if phase is None and len(fitting) > 1:
        fitting = _latest(fitting)
    if len(fitting) != 1:
        told = ", ".join(f"{kept.name}" for kept in fitting or every)
        what = "has several models" if fitting else "has no such model"
        raise UserError(
            f"'{folder}' {what}: {told}; name one as {folder}/METHOD@SEED"
            + ("" if phase is None else ", and its phase")
        )
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


def refuse_damaged(kept: Kept) -> None:
    """Refuse a model whose files are not those that were kept, or whose code is somebody else's.

    Raises:
        UserError: names the file, or the code.
    """
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
