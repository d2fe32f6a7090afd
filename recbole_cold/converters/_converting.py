"""What a converter states, and the way from a raw source to a folder of atomic files."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import __version__
from recbole_cold.converters._counting import Interactions
from recbole_cold.converters._official import Official, compared
from recbole_cold.converters._source import Source
from recbole_cold.converters._writing import all_or_none, remove_others
from recbole_cold.errors import UserError, nearest
from recbole_cold.paths import sha256

MANIFEST = "manifest.json"
EPOCH = "1970, UTC"
SUFFIXES = ("inter", "user", "item")
NO_ID = "without a user or an item"
TWICE = "of an id that came before: its first row counts"


class Label(NamedTuple):
    """When an interaction is a click: ``field`` is at least ``least``; the same in words."""

    field: str
    least: float
    words: str


class Option(NamedTuple):
    """A choice of the user: its default as a text, what reads the text, and its meaning.

    ``read`` raises a ValueError that says what the text must be.
    """

    name: str
    default: str
    read: Callable[[str], Any]
    meaning: str


class Table(NamedTuple):
    """One atomic file.

    Args:
        suffix: ``inter``, ``user`` or ``item``.
        header: its fields as ``field:type``, separated by spaces; interactions begin with
            ``user_id:token item_id:token``.
        rows: the cells of each row as texts; '' is a missing value.
        left_out: why rows were left out -> how many; ``rows`` counts while it is read.
        among: what one should know of rows that are kept -> how many; counted likewise.
        part: of interactions that are split already, which part they are (``train``, ``warm_a``,
            ..., ``test``): a file each, all with one header, for ``benchmark_filename``.
    """

    suffix: str
    header: str
    rows: Iterable[Sequence[str]]
    left_out: Counter[str]
    among: Counter[str] | None = None
    part: str = ""


class Converter(NamedTuple):
    """A data set and how its official files become atomic files.

    Args:
        name: of the data set and its files.
        title: what people call it.
        source: what the source must be: ``the unpacked folder of x.zip, or x.zip itself``.
        origin: where it comes from.
        terms: what may be done with it.
        size: what the complete data have, for the list.
        tables: its tables, one after the other, from a source and the values of all options.
        label: the label's rule, by the values of the options.
        options: choices of the user.
        time: the field of the time, in seconds; '' where there is none.
        since: when its seconds begin, where that is another moment than that of ``EPOCH``.
        notes: what else to know of the atomic files.
        refused: columns of the raw files that tell a row's outcome; they are never written.
        official: counts of the complete data, one or several versions of them. The report compares;
            another count is no error, for people convert parts.
    """

    name: str
    title: str
    source: str
    origin: str
    terms: str
    size: str
    tables: Callable[[Source, Mapping[str, Any]], Iterable[Table]]
    label: Callable[[Mapping[str, Any]], Label]
    options: tuple[Option, ...] = ()
    time: str = ""
    since: str = EPOCH
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    official: tuple[Official, ...] = ()

    def defaults(self) -> dict[str, Any]:
        """The values of all options where nothing is asked for."""
        return {option.name: option.read(option.default) for option in self.options}


class Conversion(NamedTuple):
    """What a conversion wrote: the files in their folder, and the manifest that describes them."""

    out: Path
    files: list[Path]
    manifest: dict[str, Any]


def choice(*words: str) -> Callable[[str], str]:
    """What reads one of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"none of {', '.join(words)}")
        return text

    return read


def number(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """What reads a number of this kind (``int`` or ``float``) in a range, both ends included."""

    def read(text: str) -> float:
        what = f"no {'whole ' if kind is int else ''}number from {least:g} to {most:g}"
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(what) from None
        if not least <= value <= most:
            raise ValueError(what)
        return value

    return read


def convert(
    converter: Converter, source: str | Path, out: Path, given: Mapping[str, str]
) -> Conversion:
    """Write the atomic files of a data set and ``manifest.json`` to ``out``: all of them or none.

    Memory does not grow with the number of rows, only with that of ids (``_counting.Ids``) and with
    what the converter itself remembers.

    Args:
        source: a path of what ``converter.source`` says.
        given: the texts of the options that are not to have their default.

    Raises:
        UserError: the source or an option is not as it must be, or ``out`` cannot be written.
    """
    options = _options(converter, given)
    label, raw = converter.label(options), Source(Path(source), converter.source)
    counts: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    seen = None
    before = _files_of(out / MANIFEST)
    with all_or_none(out, MANIFEST) as folder, raw.unchanged():
        for table in converter.tables(raw, options):
            header = table.header.split()
            if table.suffix not in SUFFIXES:
                raise UserError(f"the table '{table.suffix}' is none of {', '.join(SUFFIXES)}")
            counting = None
            fields = [field.partition(":")[0] for field in header]
            if outcomes := {*fields} & {*converter.refused}:
                raise UserError(
                    f"the table '{table.suffix}' has the column '{min(outcomes)}', which tells a "
                    "row's outcome; mend the converter"
                )
            if table.suffix == "inter":
                seen = seen or Interactions(fields, label.field, label.least, converter.time)
                counting = seen
            name = f"{converter.name}.{table.part}".rstrip(".")
            written = _write(folder / f"{name}.{table.suffix}", header, table, counting)
            if table.part:
                parts[table.part] = written
            counts[table.suffix] = _with(counts.get(table.suffix), written)
        if seen is None or not counts["inter"]["kept"]:
            raise UserError(f"'{source}' has no interactions that could be kept; give another")
        written = sorted(folder.iterdir())
        manifest: dict[str, Any] = {
            "data_set": converter.name,
            "converter": f"recbole_cold {__version__}",
            "origin": converter.origin,
            "terms": converter.terms,
            "sources": raw.manifest(),
            "options": options,
            "label": label._asdict(),
            "rows": counts,
            "parts": parts,
            "refused": list(converter.refused),
            **_of(seen, counts["inter"]["kept"], converter),
            "official": compared(
                converter.official,
                counts,
                {"users": len(seen.users), "items": len(seen.items), "clicks": seen.clicks},
            ),
            "files": {path.name: _described(path) for path in written},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        names = [path.name for path in written]
    remove_others(out, before, names)
    return Conversion(out, [out / name for name in [*names, MANIFEST]], manifest)


def _options(converter: Converter, given: Mapping[str, str]) -> dict[str, Any]:
    """The values of all options."""
    known = {option.name: option for option in converter.options}
    for name in given:
        if name not in known:
            guess = nearest(name, known)
            takes = ", ".join(f"--{each}" for each in known) or "no options"
            raise UserError(
                f"the converter of {converter.name} takes no --{name}; "
                + (f"did you mean --{guess}?" if guess else f"it takes {takes}")
            )
    values = converter.defaults()
    for name, text in given.items():
        try:
            values[name] = known[name].read(text)
        except ValueError as error:
            raise UserError(f"--{name} '{text}' is {error}; see `convert --list`") from None
    return values


def _write(
    path: Path, header: list[str], table: Table, counting: Interactions | None
) -> dict[str, Any]:
    """Write one atomic file; its counts."""
    kept, missing = 0, [0] * len(header)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        for row, line in _rows_to_keep(table, len(header), counting is None):
            file.write(line + "\n")
            kept += 1
            if "" in row:
                missing = [n + (not cell) for n, cell in zip(missing, row, strict=True)]
            if counting is not None:
                counting.add(row)
        file.flush()
        os.fsync(file.fileno())
    fields = [field.partition(":")[0] for field in header]
    return {
        "read": kept + table.left_out.total(),
        "kept": kept,
        "left_out": dict(table.left_out),
        "missing": {field: n for field, n in zip(fields, missing, strict=True) if n},
        **({} if table.among is None else {"among": dict(table.among)}),
    }


def _with(before: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    """The counts of the files of one kind so far, and of one more."""
    if before is None:
        return more
    added: dict[str, Any] = {what: before[what] + more[what] for what in ("read", "kept")}
    for what in [each for each in ("left_out", "missing", "among") if each in more]:
        added[what] = dict(Counter(before[what]) + Counter(more[what]))
    return added


def _rows_to_keep(
    table: Table, width: int, one_per_id: bool
) -> Iterator[tuple[Sequence[str], str]]:
    """Each row with its line of the file; what has no id, or a known one, is left out and counted.

    Raises:
        UserError: a row has another number of cells, or cells that no file can hold.
    """
    ids: set[str] = set()
    for number, row in enumerate(table.rows, 1):
        line = "\t".join(row)
        if len(row) != width or line.count("\t") != width - 1 or "\n" in line or "\r" in line:
            raise UserError(
                f"row {number} of the table '{table.suffix}' is {list(row)}, not {width} cells "
                "without tabs and line ends; mend the converter"
            )
        if not row[0] or not (one_per_id or row[1]):
            table.left_out[NO_ID] += 1
            continue
        if one_per_id:
            if row[0] in ids:
                table.left_out[TWICE] += 1
                continue
            ids.add(row[0])
        yield row, "\t".join(map(_quoted, row)) if '"' in line else line


def _quoted(cell: str) -> str:
    """A cell as readers of atomic files want it: one that begins with a quotation mark is quoted,
    for they would take the mark for the beginning of a quotation."""
    return '"' + cell.replace('"', '""') + '"' if cell.startswith('"') else cell


def _of(seen: Interactions, rows: int, converter: Converter) -> dict[str, Any]:
    time = converter.time
    return {
        "users": len(seen.users),
        "items": len(seen.items),
        "positive_share": seen.clicks / rows,
        "rows_per_user": seen.users.shares(),
        "rows_per_item": seen.items.shares(),
        "time": {"field": time, "unit": f"seconds since {converter.since}",
                 "first": seen.first, "last": seen.last} if time else None,
    }  # fmt: skip


def _described(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _files_of(manifest: Path) -> Iterator[str]:
    """The files that an earlier conversion wrote; none where there was none of ours."""
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        files = found["files"] if isinstance(found, dict) else {}
    except (OSError, ValueError, KeyError):
        files = {}
    return iter(files if isinstance(files, dict) else ())
