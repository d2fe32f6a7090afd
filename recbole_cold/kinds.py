"""Kinds of values that keys can take, each with words for the message that refuses others.

Kinds are made by the functions below, ``whole(1)`` or ``optional(list_of(number()))``. pydantic
does the checking; it is imported when the first value is checked, so that this module is cheap.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache, reduce
from operator import or_
from typing import Any

from recbole_cold.errors import nearest

# A number above this is a mistake; keys with another limit state it.
MANY = 1_000_000_000
HUGE = 1e38  # the largest number in single precision; values of the data can be as large
LONG = 4096  # letters of a text: the longest path that Linux takes
_LONGEST = 80  # letters of a value in a sentence


@dataclass(frozen=True)
class Kind:
    """The values that a key takes.

    Attributes:
        words: one such value, for "must be ...".
        many: several of them, for "a list of ...".
        build: the pydantic type; called when the first value is checked.
        choices: the values themselves, where they are few.
        most: an upper limit that ``words`` do not name; messages name it when it is exceeded.
        longest: the most letters of a text; messages name it when it is exceeded.
        filled: whether an empty list or mapping is refused.
    """

    words: str
    many: str
    build: Callable[[], Any] = field(repr=False)
    choices: tuple[Any, ...] = ()
    most: float | None = None
    longest: int | None = None
    filled: bool = False

    def accepts(self, value: Any) -> bool:
        """Whether ``value``, made of plain types, is of this kind."""
        from pydantic import ValidationError

        try:
            _adapter(self).validate_python(value)
        except (ValidationError, RecursionError):
            return False
        return True

    def refusal(self, name: str, value: Any, where: str) -> str:
        """The sentence for a value that is not of this kind; ``where`` is "in file.yaml"."""
        told = cut(text_of(value))
        if isinstance(value, str) and not _is_utf8(value):
            return f"{name} holds bytes that are no UTF-8: {told!a} {where}."
        if self.choices:
            guess = nearest(told, list(map(str, self.choices))) if isinstance(value, str) else None
            it = "is empty and" if value is None else f"'{told}' is"
            return f"{name} {it} none of {', '.join(map(str, self.choices))}; " + (
                f"did you mean '{guess}'? ({where})" if guess else f"choose one of them ({where})."
            )
        rule = f"be {self.words}"
        if self.most is not None and is_number(value) and self.most < value < math.inf:
            rule = f"be at most {self.most:,}"
        elif self.longest is not None and isinstance(value, str) and len(value) > self.longest:
            rule = f"be {self.words} of at most {self.longest:,} letters"
        elif self.filled and value in ([], {}):
            rule = "have at least one value"
        it_is = "it is empty" if value is None else f"it is '{told}'"
        unspaced = isinstance(value, str) and ":" in value and "mapping" in self.words
        hint = "; yaml wants a space after each ':'" if unspaced else ""
        return f"{name} must {rule}, but {it_is} {where}{hint}."


@cache
def _adapter(kind: Kind) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind.build())


def _strict(kind: type, **limits: Any) -> Any:
    from typing import Annotated

    from pydantic import Field

    return Annotated[kind, Field(strict=True, **limits)]


# ------------------------------------------------------------------------------- single values
@cache
def whole(least: int = 0, most: int = MANY) -> Kind:
    """A whole number; True and False are refused."""
    return Kind(
        f"a whole number of at least {least}",
        f"whole numbers from {least:,} to {most:,}",
        lambda: _strict(int, ge=least, le=most),
        most=most,
    )


@cache
def number(
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    limit: float = MANY,
) -> Kind:
    """A finite number: at least, at most, above, below.

    Args:
        limit: of its size where nothing else limits it; ``HUGE`` for values of the data.
    """
    limits = {
        "ge": least, "gt": above, "lt": below, "le": limit if most is None else most,
    }  # fmt: skip
    if least is None and above is None:
        limits["ge"] = -limit
    words = _range_words(least, most, above, below)
    return Kind(
        f"a number{words}",
        f"numbers{words}",
        lambda: _strict(
            float, allow_inf_nan=False, **{k: v for k, v in limits.items() if v is not None}
        ),
        most=limit if most is None and below is None else None,
    )


def _range_words(least, most, above, below) -> str:
    if least is not None and most is not None:
        return f" from {_told(least)} to {_told(most)}"
    if above is not None and below is not None:
        return f" between {above:g} and {below:g}"
    parts = [f"of at least {least:g}"] if least is not None else []
    parts += [f"above {above:g}"] if above is not None else []
    parts += [f"below {below:g}"] if below is not None else []
    parts += [f"at most {_told(most)}"] if most is not None else []
    return " " + " and ".join(parts) if parts else ""


def _told(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"


@cache
def flag() -> Kind:
    """True or false."""
    return Kind("true or false", "truth values", lambda: _strict(bool))


@cache
def text(words: str = "a text", many: str = "texts", least: int = 1, most: int = LONG) -> Kind:
    """A text of ``least`` to ``most`` letters; it is not empty unless ``least`` is 0."""
    return Kind(words, many, lambda: _strict(str, min_length=least, max_length=most), longest=most)


def path() -> Kind:
    """A path; one that looks like a number is written ``./2024``."""
    return text("a path", "paths")


def field_name() -> Kind:
    """The name of a column of the data."""
    return text("a field name", "field names", most=200)


@cache
def one_of(*choices: Any) -> Kind:
    """One of a few values, words or whole numbers."""
    words = ", ".join(map(str, choices))

    def known(value: Any) -> Any:
        # 1 equals True to Python, not to a user.
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise ValueError(words)
        return value

    return Kind(f"one of {words}", f"values out of {words}", lambda: _checked(known), choices)


@cache
def intervals() -> Kind:
    """Ranges of numbers as RecBole writes them, ``[5,inf)`` or ``[1,3];(7,9)``."""

    def known(value: Any) -> Any:
        # Unquoted in a yaml file, [5,10] is a list.
        if not isinstance(value, str | list):
            raise ValueError("no text")
        for part in str(value).split(";"):
            part = part.strip()
            low, high = map(float, part[1:-1].split(","))
            if not low <= high or part[0] not in "[(" or part[-1] not in "])":
                raise ValueError(part)
        return value

    return Kind("an interval like '[5,inf)' or '(0,9]'", "intervals", lambda: _checked(known))


@cache
def anything() -> Kind:
    """Any value: nobody reads it, or its reader checks it."""
    return Kind("anything", "values", lambda: Any)


@cache
def nothing() -> Kind:
    """No value but none, for keys of others that cannot work here."""
    return Kind("left out", "none", lambda: None)


def _checked(function: Callable[[Any], Any]) -> Any:
    from typing import Annotated

    from pydantic import AfterValidator

    return Annotated[Any, AfterValidator(function)]


# ------------------------------------------------------------------------------- made of others
@cache
def optional(kind: Kind, meaning: str = "") -> Kind:
    """A value of ``kind``, or none."""
    return replace(
        kind,
        words=f"{kind.words} or none{meaning}",
        many=kind.many,
        build=lambda: kind.build() | None,
    )


@cache
def list_of(kind: Kind, *, filled: bool = True) -> Kind:
    """A list of such values, with at least one unless ``filled`` is false."""
    return Kind(
        f"a list of {kind.many}",
        f"lists of {kind.many}",
        lambda: _strict(list[kind.build()], min_length=int(filled)),
        filled=filled,
    )


@cache
def mapping_of(kind: Kind, names: str = "field names") -> Kind:
    """A mapping of texts to such values."""
    return Kind(
        f"a mapping of {names} to {kind.many}",
        f"mappings of {names} to {kind.many}",
        lambda: _strict(dict[_strict(str), kind.build()]),
    )


@cache
def either(*kinds: Kind) -> Kind:
    """A value of any of the kinds."""
    return Kind(
        " or ".join(kind.words for kind in kinds),
        " or ".join(kind.many for kind in kinds),
        lambda: reduce(or_, (kind.build() for kind in kinds)),
    )


@cache
def just(value: str) -> Kind:
    """One word, beside other kinds: ``either(just("mean"), number())``."""
    return replace(one_of(value), words=f"'{value}'", many=f"'{value}'", choices=())


def like(default: Any) -> Kind:
    """The kind of a key without a row, from its default; a text or none accepts anything."""
    for kind, words in (
        (bool, "true or false"), (int, "a number"), (float, "a number"), (list, "a list"),
        (tuple, "a list"), (dict, "a mapping"),
    ):  # fmt: skip
        if isinstance(default, kind):
            return Kind(words, words, _LIKE[words])
    return anything()


_LIKE: dict[str, Callable[[], Any]] = {
    "true or false": lambda: _strict(bool) | None,
    "a number": lambda: _strict(int) | _strict(float) | None,
    "a list": lambda: _strict(list) | None,
    "a mapping": lambda: _strict(dict) | None,
}


# ------------------------------------------------------------------------------- values
def is_number(value: Any) -> bool:
    """Whether a value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """``value`` in the types of JSON and yaml: no tuple, no path, no numpy scalar."""
    if value is None or isinstance(value, str | bool | int | float):
        return value if type(value) in _PLAIN else _base_of(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if isinstance(value, Enum):
        return value.name
    if hasattr(value, "tolist"):  # a scalar or an array of numpy or torch
        return value.tolist()
    return str(value)


_PLAIN = (type(None), str, bool, int, float)


def _base_of(value: Any) -> Any:
    """A subclass of a plain type, such as numpy's float64, as that type."""
    if isinstance(value, Enum):
        return value.name
    return next(kind(value) for kind in (str, int, float) if isinstance(value, kind))


def text_of(value: Any) -> str:
    """A value as it is written in brackets, names of rows and sentences: ``[a,b]``, ``1e-05``."""
    try:
        made = json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError, TypeError):
        made = type(value).__name__
    return made.replace('"', "")


def _is_utf8(value: str) -> bool:
    """Whether a text can be written into a file: bytes that nobody could decode cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def cut(told: str) -> str:
    """A text short enough for a sentence."""
    return told if len(told) <= _LONGEST else f"{told[: _LONGEST - 3]}..."
