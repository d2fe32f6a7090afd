"""Files of published tables and figures: found by name, read and checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recbole_cold import compat, paths
from recbole_cold.errors import UserError, nearest
from recbole_cold.registry import properties_dir

UNKNOWN = "unknown"  # what a file says where a published number is not to be had
UNBOUNDED = ("LogLoss", "NE", "PCOC", "RelaImpr")  # all other metrics lie between 0 and 1

Numbers = Mapping[str, Mapping[str, tuple[float | None, ...]]]
"""Data set -> metric -> a number per phase of the file, None where the paper has none."""


@dataclass(frozen=True)
class PaperRow:
    """One row of a published table, or one line, bar or panel of a figure.

    Attributes:
        block: the heading it stands under.
        name: what the paper calls it.
        model: the entry that it is here; None where ``absent`` says why there is none.
        backbone: the click model it stands on; None for a method with a network of its own.
        at: its place on the axis of a sweep.
        doubt: what the paper leaves open about it.
    """

    block: str
    name: str
    model: str | None = None
    backbone: str | None = None
    absent: str | None = None
    at: float | None = None
    doubt: str | None = None
    published: Numbers | None = None
    std: Numbers | None = None


@dataclass(frozen=True)
class PaperData:
    """A data set of a paper: its full name, the keys that hold on it, the rows of its parts."""

    called: str
    keys: Mapping[str, Any]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class PaperItem:
    """One published table or figure.

    Attributes:
        text: the file's text, from which an equal value can be read.
        item: "Table 1", "Figure 2".
        seeds: runs behind a published number; None if the paper does not say.
        forms: how it is drawn: keys of ``report.FORMS``, a picture each.
        unknown: why it has no rows, where what it shows is not to be had.
    """

    name: str
    text: str
    paper: Mapping[str, Any]
    item: str
    shows: str
    protocol: str
    keys: Mapping[str, Any]
    fast: Mapping[str, Any]
    seeds: int | None
    data: Mapping[str, PaperData]
    metrics: tuple[str, ...]
    phases: tuple[str, ...]
    forms: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...]
    unknown: str | None

    @property
    def title(self) -> str:
        """``EmerG (KDD 2024), Table 1``."""
        venue = f"{self.paper['venue']} {self.paper['year']}"
        return f"{self.paper['short']} ({venue}), {self.item}"

    def runnable(self) -> list[PaperRow]:
        """The rows that this project has a method for."""
        return [row for row in self.rows if row.model is not None]


# ------------------------------------------------------------------------------- finding
def known_items() -> dict[str, Path]:
    """Every packaged file by its name."""
    return {path.stem: path for path in sorted((properties_dir() / "paper").glob("*.yaml"))}


def find_item(name: str) -> PaperItem:
    """The item of a packaged name, or of the path of a yaml file.

    Raises:
        UserError: there is none, or the file is damaged.
    """
    known = known_items()
    if name in known:
        return read_item(known[name])
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return read_item(paths.absolute(name))
    near = _nearest_names(name, known)
    raise UserError(
        f"'{name}' is no table or figure that can be reproduced; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + "`recbole-cold reproduce --list` shows all"
    )


def _nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """Names that may be meant: the nearest one, and those of the same paper."""
    known = list(known)
    guess = nearest(name, known)
    stem = name.lower().partition("-")[0]
    same = [each for each in known if each.partition("-")[0] == stem]
    return list(dict.fromkeys([*([guess] if guess else []), *same]))[:3]


# ------------------------------------------------------------------------------- reading
def read_item(path: Path) -> PaperItem:
    """The item in a file.

    Raises:
        UserError: it cannot be read, or ``parse_item`` refuses what is in it.
    """
    try:
        text = paths.text_of(path)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"'{path}' cannot be read ({why}); give a yaml file") from error
    return parse_item(text, path.stem, str(path))


def parse_item(text: str, name: str, source: str) -> PaperItem:
    """The item that a yaml text describes.

    Raises:
        UserError: names the first thing that is missing or of another kind.
    """
    from recbole_cold.report import FORMS  # with torch: a misspelt name is answered before

    try:
        said = yaml.load(text, Loader=compat.yaml_loader())
    except yaml.YAMLError as error:
        raise UserError(f"'{source}' is not valid yaml ({' '.join(str(error).split())})") from error
    read = _Reader(source)
    said = read.mapping(said, "the file", _KEYS)
    paper = read.mapping(said.get("paper"), "paper", {"short", "title", "venue", "year", *_LINKS})
    for key in ("short", "title", "venue", "year"):
        read.need(key in paper, f"paper has no {key}")
    read.need(bool(paper.keys() & _LINKS), "paper has neither doi nor arxiv")
    for key in ("item", "shows", "protocol"):
        read.need(isinstance(said.get(key), str), f"{key} must be a text")
    form = said.get("form")
    forms = tuple(form) if isinstance(form, list) else (form,)
    texts = all(isinstance(each, str) for each in forms)
    read.need(bool(forms) and texts, "form must be a text or a list of texts")
    for form in forms:
        read.need(form in FORMS, f"form is '{form}', and there are {', '.join(FORMS)}")
    read.need(len(set(forms)) == len(forms), "form names a form twice")
    seeds = said.get("seeds")
    read.need(seeds is None or (type(seeds) is int and seeds > 0), "seeds must be a number of runs")
    phases, metrics = read.texts(said, "phases"), read.texts(said, "metrics")
    data = {str(key): _data(read, key, each) for key, each in read.given(said, "data").items()}
    read.need(bool(data), "data names no data set")
    rows = tuple(_rows(read, said, phases, metrics, data))
    unknown = said.get("unknown")
    read.need(bool(rows) or isinstance(unknown, str), "blocks has no rows, and unknown not why")
    names = [(row.block, row.name) for row in rows]
    for each in names:
        read.need(names.count(each) == 1, f"the row '{each[1]}' of '{each[0]}' is given twice")
    return PaperItem(
        name, text, paper, said["item"], said["shows"], said["protocol"],
        read.given(said, "keys"), read.given(said, "fast"), seeds, data, metrics, phases,
        forms, rows, read.texts(said, "notes", least=0), unknown,
    )  # fmt: skip


_LINKS = {"doi", "arxiv"}
_KEYS = {
    "paper", "item", "shows", "protocol", "keys", "fast", "seeds", "data", "metrics", "phases",
    "form", "blocks", "notes", "unknown",
}  # fmt: skip
_ROW = {"name", "model", "backbone", "absent", "at", "doubt", "published", "std"}


class _Reader:
    """Checks with the file's name in their sentences."""

    def __init__(self, source: str) -> None:
        self.source = source

    def need(self, so: bool, otherwise: str) -> None:
        if not so:
            raise UserError(
                f"'{self.source}' does not describe a table or figure: {otherwise}; "
                "docs/reproduce.md says what such a file holds"
            )

    def mapping(self, value: Any, where: str, known: Iterable[str] | None = None) -> dict:
        self.need(isinstance(value, dict), f"{where} must be a mapping of keys to values")
        self.need(all(isinstance(key, str) for key in value), f"{where} has a key that is no text")
        for key in value if known is not None else ():
            guess = nearest(key, known or ())
            told = f" (did you mean '{guess}'?)" if guess else ""
            self.need(key in set(known or ()), f"{where} has an unknown key '{key}'{told}")
        return value

    def given(self, said: Mapping[str, Any], key: str) -> dict:
        """A mapping that may be absent."""
        return self.mapping({} if said.get(key) is None else said[key], key)

    def texts(self, said: Mapping[str, Any], key: str, least: int = 1) -> tuple[str, ...]:
        value = said.get(key) or []
        fine = isinstance(value, list) and all(isinstance(each, str) for each in value)
        self.need(fine and len(value) >= least, f"{key} must be a list of texts")
        return tuple(value)


def _data(read: _Reader, name: str, said: Any) -> PaperData:
    said = read.mapping(said, f"data.{name}", {"called", "keys", "counts"})
    read.need(isinstance(said.get("called"), str), f"data.{name}.called must be a text")
    return PaperData(said["called"], read.given(said, "keys"), read.given(said, "counts"))


def _rows(read: _Reader, said: Mapping[str, Any], phases, metrics, data) -> Iterable[PaperRow]:
    blocks = said.get("blocks") or []
    read.need(isinstance(blocks, list), "blocks must be a list")
    for number, block in enumerate(blocks, 1):
        block = read.mapping(block, f"block {number}", {"name", "backbone", "rows"})
        heading = str(block.get("name", ""))
        read.need(isinstance(block.get("rows"), list), f"block {number} has no list of rows")
        for row in block["rows"]:
            row = read.mapping(row, f"a row of block {number}", _ROW)
            name = row.get("name")
            read.need(isinstance(name, str) and bool(name), f"a row of block {number} has no name")
            where = f"row '{name}'"
            read.need(("model" in row) != ("absent" in row), f"{where} needs a model or absent")
            for key in ("model", "backbone", "absent", "doubt"):
                read.need(isinstance(row.get(key, ""), str), f"{where}: {key} must be a text")
            at = row.get("at")
            read.need(at is None or type(at) in (int, float), f"{where}: at must be a number")
            found = [_numbers(read, row, key, where, phases, metrics, data)
                     for key in ("published", "std")]  # fmt: skip
            backbone = row.get("backbone", block.get("backbone"))
            yield PaperRow(heading, name, row.get("model"), backbone, row.get("absent"), at,
                           row.get("doubt"), *found)  # fmt: skip


def _numbers(read: _Reader, row, key, where, phases, metrics, data) -> Numbers | None:
    """``published`` or ``std`` of a row; None where they are unknown."""
    said = row.get(key)
    if said is None or said == UNKNOWN:
        return None
    found: dict[str, dict[str, tuple[float | None, ...]]] = {}
    for name, by_metric in read.mapping(said, f"{where}: {key}", data).items():
        for metric, values in read.mapping(by_metric, f"{where}: {key}.{name}", metrics).items():
            place = f"{where}: {key}.{name}.{metric}"
            fine = isinstance(values, list) and len(values) == len(phases)
            read.need(fine, f"{place} must have one value for each of {', '.join(phases)}")
            for value in values:
                most = math.inf if metric in UNBOUNDED else 1
                sound = value is None or (type(value) is float and 0 < value < most)
                read.need(sound, f"{place} has {value!r}, which is no value of {metric}")
            found.setdefault(name, {})[metric] = tuple(values)
    return found
