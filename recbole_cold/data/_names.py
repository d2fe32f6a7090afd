"""Checks that fields which the user names in configuration values are in the data.

Fields named by defaults only (RecBole's, or those of our yaml) may be absent, as in RecBole.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from recbole.utils import FeatureType

from recbole_cold.errors import UserError, nearest

SUFFIXES = ("inter", "user", "item")
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
