"""``recbole-cold list``: methods and backbones by name; what one of them is and takes."""

import inspect
import math
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from recbole_cold import compat, registry
from recbole_cold.cli.arguments import Arguments
from recbole_cold.errors import UserError
from recbole_cold.keys import BLOCKS

HELP = """\
recbole-cold list: methods and backbones, or what one of them is and takes

usage: recbole-cold list
       recbole-cold list NAME ...

  Without a name: every method with its paper, the phases it serves and whether
  it has a network of its own; every backbone with its paper. Those of installed
  plug-ins are among them.
  With a name (or package.module:Class, or path/file.py): paper, phases, every
  key with its default, kind and meaning, what protocol=released changes, what
  tune searches, and where it is described.

examples
  recbole-cold list
  recbole-cold list MWUF
  recbole-cold list DeepFM xDeepFM
"""
WIDTH = 80


class Shown(NamedTuple):
    """A method or backbone as ``list`` shows it."""

    name: str
    paper: str
    serves: tuple[str, ...] | None  # None: a backbone
    own_network: bool
    doc: str
    place: str
    yamls: list[Path]  # the later ones win
    module: str


class Key(NamedTuple):
    """A line ``key: value  # (kind) Meaning.`` of a yaml."""

    value: Any
    kind: str
    meaning: str


def list_names(arguments: Arguments) -> int:
    """Print all methods and backbones, or a description of some."""
    if arguments.keys:
        raise UserError(f"list takes no --{min(arguments.keys)}; leave it out")
    names = arguments.flags.get("names", [])
    if names:
        print("\n\n".join(describe(_one(name)) for name in names))
        return 0
    foreign = [_loaded(cls) for cls in _plug_ins()]
    methods = [_stated(each) for each in registry.stated_methods().values()]
    backbones = [_stated(each) for each in registry.stated_backbones().values()]
    methods += [each for each in foreign if each.serves is not None]
    backbones += [each for each in foreign if each.serves is None]
    print("methods (--model): paper, phases served, own network in place of a backbone")
    for each in sorted(methods):
        own = "own network" if each.own_network else ""
        line = f"  {each.name:<12} {each.paper:<38} {', '.join(each.serves or ()):<11} {own}"
        print(line.rstrip())
    print("\nbackbones (--backbone)")
    for each in sorted(backbones):
        reason = compat.UNWRAPPABLE.get(each.name)
        refused = f"; cannot be wrapped: {reason}" if reason else ""
        print(f"  {each.name:<12} {each.paper}{refused}")
    return 0


# ------------------------------------------------------------------------------- who is it
def _plug_ins() -> list[type]:
    """Classes of installed plug-ins, which must be imported to be listed."""
    if not registry.plug_ins():
        return []
    built_in = registry.stated_methods().keys() | registry.stated_backbones().keys()
    found = {**registry.methods(), **registry.backbones()}
    return [cls for name, cls in found.items() if name not in built_in]


def _one(name: str) -> Shown:
    """The method or backbone of a name; a built-in one is read from its source."""
    for stated in (registry.stated_methods(), registry.stated_backbones()):
        if name in stated:
            return _stated(stated[name])
    place = name.partition(":")[0]
    if ":" in name or place.endswith(".py"):
        try:
            return _loaded(registry.find_method(name))
        except UserError as error:
            try:
                return _loaded(registry.find_backbone(name))
            except UserError:
                raise error from None
    for _, entry, load in registry.plug_ins():
        if entry.name == name:
            return _loaded(load())
    raise registry.unknown(name)


def _stated(stated: registry.Stated) -> Shown:
    ours = registry.properties_dir()
    is_method = stated.package == "recbole_cold.model"
    kind = "model" if is_method else "backbone"
    yamls = [ours / kind / f"{name}.yaml" for name in reversed(stated.lineage)]
    if stated.package == compat.CONTEXT_MODELS:
        yamls.insert(0, compat.recbole_folder() / "properties" / "model" / f"{stated.name}.yaml")
    return Shown(
        stated.name,
        stated.paper,
        tuple(stated.says["serves"]) if is_method else None,
        stated.says.get("network") is not None,
        stated.doc,
        str(stated.file),
        [path for path in yamls if path.is_file()],
        stated.module,
    )


def _loaded(cls: Any) -> Shown:
    """A class of a plug-in."""
    yamls = [registry.yaml_of(base) for base in reversed(cls.__mro__) if base is not object]
    return Shown(
        cls.__name__,
        registry.paper_of(cls),
        tuple(cls.serves) if hasattr(cls, "serves") else None,
        getattr(cls, "network", None) is not None,
        inspect.getdoc(cls) or "",
        inspect.getfile(cls),
        [path for path in yamls if path is not None],
        cls.__module__,
    )


# ------------------------------------------------------------------------------- what it takes
def read_keys(paths: Iterable[Path]) -> tuple[dict[str, Key], dict[str, dict[str, Any]]]:
    """Keys of some yaml files, the later ones winning, and their blocks that are no keys.

    ``properties/overall.yaml`` lies, as in a configuration, between RecBole's files and ours.
    """
    keys: dict[str, Key] = {}
    blocks: dict[str, dict[str, Any]] = {}
    overall = registry.properties_dir() / "overall.yaml"
    for path in paths:
        text = path.read_text(encoding="utf-8")
        values = yaml.load(text, Loader=compat.yaml_loader()) or {}
        comments = dict(re.findall(r"^(\w+):.*?\s#\s*(.*?)\s*$", text, re.MULTILINE))
        for key, value in values.items():
            if key in BLOCKS:
                if key == "sweep_space":  # a class's own takes the place of its parents'
                    blocks[key] = {}
                blocks.setdefault(key, {}).update(value or {})
                continue
            kind, meaning = re.fullmatch(r"(?:\(([^)]*)\)\s*)?(.*)", comments.get(key, "")).groups()  # type: ignore[union-attr]
            before = keys.get(key, Key(None, "", ""))
            keys[key] = Key(value, kind or before.kind, meaning or before.meaning)
        if compat.recbole_folder() in path.parents:  # overall.yaml wins over RecBole's files
            ours, _ = read_keys([overall])
            keys |= {key: ours[key] for key in keys.keys() & ours.keys()}
    return keys, blocks


def describe(shown: Shown) -> str:
    """The description that ``list NAME`` prints."""
    lines = [shown.name + (f": {shown.paper}" if shown.paper else "")]
    if shown.serves is None:
        reason = compat.UNWRAPPABLE.get(shown.name)
        kind = f"a backbone that cannot be wrapped: {reason}" if reason else "a backbone"
        lines += _wrapped(kind + ("" if reason else f" (--backbone={shown.name})"))
    else:
        own = "in place of a backbone: its own network" if shown.own_network else "on any backbone"
        lines += _wrapped(f"a method (--model={shown.name}), {own}")
        lines += _wrapped(f"phases served: {', '.join(shown.serves)}")
    about = _about(shown.doc)
    lines += ["", *_wrapped(about)] if about else []
    keys, blocks = read_keys(shown.yamls)
    brackets = "--backbones of compare" if shown.serves is None else "--model"
    heading = f"keys (as --key=value, or in the brackets of {brackets})"
    lines += ["", heading if keys else "no keys of its own"]
    for name, key in keys.items():
        kind = f"  ({key.kind})" if key.kind else ""
        lines += _wrapped(f"{name}: {_text(key.value)}{kind}", 2, 6)
        lines += _wrapped(key.meaning, 6, 6)
    for block, heading in BLOCKS.items():
        if block in blocks:
            lines += ["", heading]
            for name, value in blocks[block].items():
                lines += _wrapped(f"{name}: {_text(value)}", 2, 6)
    return "\n".join([*lines, "", "source", *(f"  {place}" for place in _places(shown))])


def _about(doc: str) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(doc.strip().split("\n\n")[0].split()).replace("``", "")


def _text(value: Any) -> str:
    """A value as it is written in a yaml file."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.strip().removesuffix("...").strip()


def _wrapped(text: str, first: int = 2, then: int = 2) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=" " * first, subsequent_indent=" " * then,
        break_on_hyphens=False,
    )  # fmt: skip


def _places(shown: Shown) -> list[str]:
    """Source, yaml files, and the page that describes it (in a checkout)."""
    docs = Path(registry.__file__).resolve().parent.parent / "docs"
    if shown.serves is None:
        pages = [docs / "backbones.md"]
    elif shown.own_network:
        pages = [docs / "meta-learners.md"]
    else:  # a family shares a page: GMEP, GMEG and GMEA that of GME
        stem = Path(shown.place).stem
        pages = [page for page in (docs / "methods").glob("*.md") if stem.startswith(page.stem)]
    ours = shown.module.startswith("recbole")
    return [shown.place, *map(str, shown.yamls), *(str(p) for p in pages if ours and p.is_file())]
