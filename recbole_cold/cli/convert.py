"""``recbole-cold convert``: official downloads of data sets as atomic files."""

import re
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cold import paths
from recbole_cold.cli.arguments import Arguments
from recbole_cold.errors import UserError, told

if TYPE_CHECKING:
    from recbole_cold.converters import Conversion, Converter

HELP = """\
recbole-cold convert: the official download of a data set as atomic files

usage: recbole-cold convert NAME SOURCE [--out=DIR] [--option=value ...]
       recbole-cold convert FILE.py SOURCE ...
       recbole-cold convert --list

  SOURCE is the download itself (.zip, .gz) or what was unpacked of it. Prints
  rows read, kept and left out, users, items, the share of clicks, times and
  missing values, and what to run next. The same stands in manifest.json beside
  the files, with the SHA-256 of what was read and written. All files are
  written, or none.
  FILE.py holds a converter of your own: docs/your-own-data.md.

flags
  --list                 every data set: what SOURCE must be, where it comes
                         from, terms, rows, options
  --out=DIR              where to write; DATA_PATH/NAME
  --data_path=DIR        the folder above the data sets' folders;
                         dataset_atomic, here or in the checkout
  --name=NAME            another name of the data set: a part of the rows, or
                         generated ones, should not bear that of the real data
  --option=value         of this data set, as --list says

examples
  recbole-cold convert --list
  recbole-cold convert ml-1m Downloads/ml-1m.zip --out=data/ml-1m
  recbole-cold convert avazu train.gz --sample_users=0.1 --data_path=data
"""
WIDTH = 80


def convert(arguments: Arguments) -> int:
    """Convert one data set, or list them all."""
    keys, words = dict(arguments.keys), arguments.flags.get("words", [])
    if "list" in arguments.flags:
        if keys or words:
            extra = f"--{min(keys)}" if keys else f"'{words[0]}'"
            raise UserError(f"convert --list takes nothing else; leave out {extra}")
        _list()
        return 0
    if len(words) != 2:
        raise UserError(
            "convert takes the name of a data set and its download, as recbole-cold convert ml-1m "
            "ml-1m.zip; `recbole-cold convert --list` shows all"
        )
    from recbole_cold import converters

    converter = converters.find_converter(words[0])
    if "name" in keys:
        converter = converter._replace(name=_name(keys.pop("name")))
    data_path = keys.pop("data_path", None)
    given = keys.pop("out", None)
    if "" in (given, data_path):
        raise UserError(f"--{'out' if given == '' else 'data_path'}= names no folder; name one")
    folder = paths.absolute(given) if given else _data_path(data_path) / converter.name
    try:
        with converters.ended_by_sigterm():
            done = converters.convert(converter, paths.expanded(words[1]), folder, keys)
    except UserError:
        raise
    except Exception as error:
        if not words[0].endswith(".py"):  # else it is the user's to mend
            raise
        raise UserError(f"{words[0]}: {told(error)}; mend it (--debug shows where)") from error
    print(converters.report(converter, done))
    print(f"next:\n  {_next(converter, done)}")
    return 0


def _name(text: str) -> str:
    """
    Raises:
        UserError: no data set can have this name.
    """
    if not re.fullmatch(r"\w[\w.-]*", text):
        raise UserError(f"--name '{text}' names no data set; a name has letters, digits, - and _")
    return text


def _data_path(given: str | None) -> Path:
    """The folder above the data sets' folders: from here, else in the checkout, as runs look."""
    import yaml

    from recbole_cold.registry import properties_dir

    properties = properties_dir()
    overall = (properties / "overall.yaml").read_text(encoding="utf-8")
    base = Path(given or yaml.safe_load(overall)["data_path"])
    beside = properties.parent / base
    is_checkout = (properties.parent / "recbole_cold").is_dir()
    if given is None and is_checkout and not base.is_dir() and beside.is_dir():
        return beside
    return paths.absolute(base)


def _next(converter: "Converter", done: "Conversion") -> str:
    """The command that looks at what was written."""
    import yaml

    from recbole_cold.registry import properties_dir

    if done.out.name != converter.name:  # runs look for NAME/NAME.inter
        target = done.out.parent / converter.name
        return f"mv {shlex.quote(str(done.out))} {shlex.quote(str(target))}  # runs look for that"
    words = ["recbole-cold", "check", f"--dataset={converter.name}"]
    if done.out.parent != _data_path(None):
        words.append(f"--data_path={done.out.parent}")
    file = properties_dir() / "dataset" / f"{converter.name}.yaml"
    usual = yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.is_file() else {}
    parts = list(done.manifest["parts"])
    if parts and parts != usual.get("benchmark_filename"):
        warm = sum(part.startswith("warm_") for part in parts)
        words += [f"--benchmark_filename=[{','.join(parts)}]", f"--warm_sets={warm}"]
    label: dict[str, Any] = done.manifest["label"]
    if label["least"] != converter.label(converter.defaults()).least or (
        not usual and label["field"] != "label"
    ):
        words.append(f"--threshold={{{label['field']}: {label['least']:g}}}")
    return shlex.join(words)


def _list() -> None:
    """Every converter with what it takes."""
    from recbole_cold.converters import known_converters

    for name, converter in known_converters().items():
        print(f"{name}: {converter.title}, {converter.size}")
        _print("SOURCE", converter.source)
        _print("origin", converter.origin)
        _print("terms", converter.terms)
        for option in converter.options:
            _print(f"--{option.name}={option.default}", option.meaning)
        print()
    print("ml-100k comes with RecBole and needs no conversion")


def _print(what: str, text: str) -> None:
    print(
        textwrap.fill(
            text, WIDTH, initial_indent=f"  {what:<22}", subsequent_indent=" " * 24,
            break_on_hyphens=False, break_long_words=False,
        )
    )  # fmt: skip
