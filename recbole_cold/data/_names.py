"""Checks that fields which the user names in configuration values are in the data.

Fields named by defaults only (RecBole's, or those of our yaml) may be absent, as in RecBole.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole.utils import FeatureType

from recbole_cold.data._atomic import TYPES, Format
from recbole_cold.data._file_names import SUFFIXES
from recbole_cold.data._sources import read_header
from recbole_cold.errors import UserError, nearest

USUAL_TIME = "timestamp"  # RecBole's default: files that say it again need not have it
NUMBERS = {FeatureType.FLOAT, FeatureType.FLOAT_SEQ}
SEQUENCES = {FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ}


def given(config: Any, key: str) -> Any:
    """The value of a key if the user set it; an empty value if it is a default."""
    asked = getattr(config, "given", None)
    return (config[key] or ()) if asked is None or asked(key) else ()


def instead(name: str, known: Iterable[str]) -> str:
    """The end of a message: the nearest known name, or all of them."""
    names = list(known)
    guess = nearest(name, names)
    return f"; did you mean '{guess}'?" if guess else f"; there are {', '.join(names) or 'none'}"


def check_suffixes(config: Any) -> None:
    """Refuse files of ``load_col`` and ``unload_col`` that this loader does not read.

    Raises:
        UserError: names the file.
    """
    for key in ("load_col", "unload_col"):
        for suffix in given(config, key):
            if suffix not in SUFFIXES:
                raise UserError(f"{key} names the file '.{suffix}'{instead(suffix, SUFFIXES)}")


def check_fields(config: Any, kinds: Mapping[str, FeatureType]) -> None:
    """Refuse fields of ``normalize_field`` and ``seq_len`` that are not loaded, or of another type,
    and a ``TIME_FIELD`` that is not there.

    Args:
        kinds: the fields that are loaded, with their types.

    Raises:
        UserError: names the field.
    """
    time = given(config, "TIME_FIELD")
    if time and time != USUAL_TIME and time not in kinds:
        raise UserError(f"TIME_FIELD names {time!r}, which is not loaded{instead(time, kinds)}")
    for key, fit, word in (
        ("normalize_field", NUMBERS, "float field"), ("seq_len", SEQUENCES, "sequence field"),
    ):  # fmt: skip
        for field in given(config, key):
            if kinds.get(field) not in fit:
                fitting = [name for name, kind in kinds.items() if kind in fit]
                raise UserError(
                    f"{key} names {field!r}, which is no {word} that is loaded"
                    + instead(field, fitting)
                )


def wanted_fields(config: Any, suffix: str, path: Path, form: Format) -> Callable[[str], bool]:
    """Which fields of a file ``load_col`` and ``unload_col`` leave.

    Args:
        config: as ``ColdStartDataset`` takes it.
        suffix: of the file.
        path: the file, or the first of several alike.
        form: how it is written.

    Raises:
        UserError: both keys name fields, or one names a field that the file does not have.
    """
    load = (config["load_col"] or {}).get(suffix, "*")
    unload = (config["unload_col"] or {}).get(suffix) or ()
    if load not in (None, "*") and unload:
        raise UserError(f"load_col and unload_col both name fields of '.{suffix}'; use one")
    header = read_header(path, form)
    for field in unload if given(config, "unload_col") else ():
        if field not in header:
            raise UserError(
                f"unload_col names the field {field!r}, which '{path}' does not have"
                + instead(field, header)
            )
    if load in (None, "*"):
        return lambda field: field not in unload
    # These two are in RecBole's default load_col even if a data set lacks them; where
    # they are needed, the code that needs them reports it.
    may_miss = {config["TIME_FIELD"], config["RATING_FIELD"] or "rating"}
    said = [str(text).partition(":") for text in load]
    for field, _, kind in said:
        if field not in header and not (suffix == "inter" and field in may_miss):
            raise UserError(
                f"load_col asks for the field {field!r}, which '{path}' does not have"
                + instead(field, header)
            )
        if kind and field in header and kind != header[field].value:
            raise UserError(
                f"load_col says that the field {field!r} is {kind}, but '{path}' declares it as "
                f"{header[field].value}; leave the type out of load_col, or change the file's"
            )
    return {field for field, *_ in said}.__contains__


def stated_kinds(config: Any) -> dict[str, FeatureType]:
    """Fields whose kind the configuration says: ids are tokens; ``field:type`` in ``load_col``.

    Raises:
        UserError: a type is none.
    """
    kinds = {}
    for suffix, fields in (config["load_col"] or {}).items():
        for said in fields if isinstance(fields, list | tuple) else ():
            field, colon, kind = str(said).partition(":")
            if colon and kind not in TYPES:
                raise UserError(
                    f"load_col gives the field {field!r} of '.{suffix}' the type {kind!r}, which "
                    f"is none; use one of {', '.join(TYPES)}"
                )
            kinds |= {field: TYPES[kind]} if colon else {}
    for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
        kinds.setdefault(config[key], FeatureType.TOKEN)
    return kinds
