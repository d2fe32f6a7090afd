"""Parses a command line into a verb, flags and keys."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold.errors import UserError, nearest

VERBS = (
    "run", "compare", "tune", "benchmark", "reproduce", "plot", "check", "convert", "list",
    "cache", "doctor", "predict", "export", "grow",
)  # fmt: skip
DEFAULT_MODELS = "Base,ItemBias,DropoutNet,MetaE,MWUF,CVAR"
SHORT = {"-m": "--model", "-d": "--dataset", "-h": "--help"}  # as in RecBole's run_recbole.py
SWITCHES = ("help", "version", "debug", "trust")  # take no value
RESUMED = ("run", "compare", "tune", "benchmark", "reproduce")
# Switches of some verbs.
OF_VERBS = {
    "fast": ("reproduce",), "list": ("reproduce", "convert"), "prune": ("cache",),
    "dry_run": ("cache",), "strict_ids": ("predict",),
}  # fmt: skip
VALUELESS = ("resume", "leaks")  # may stand without a value
# What words without -- mean.
BARE = {
    "compare": "folders", "plot": "folders", "list": "names", "reproduce": "names",
    "convert": "words", "predict": "folders", "export": "folders", "grow": "folders",
}  # fmt: skip


class Arguments(NamedTuple):
    """A parsed command line: the verb, our own flags, and configuration keys."""

    verb: str
    flags: dict[str, Any]
    keys: dict[str, str]


def parse(argv: Sequence[str]) -> Arguments:
    """Verb, flags and keys, from ``--key=value`` and ``--key value``; values stay texts.

    The word after a key is its value unless it begins with ``-``; a negative number is a value all
    the same, and anything can be one behind ``=``. Switches take no value. The word after
    ``--resume`` is the folder unless it begins with ``-``: no verb takes ``--resume`` and other
    words beside it. ``--leaks`` need not have a value either.

    Raises:
        UserError: an unknown verb, a word that is no flag, a key without a value or given twice.
    """
    verb, words = _verb(list(argv))
    flags: dict[str, Any] = {}
    keys: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if verb in BARE and not word.startswith("-"):
            flags.setdefault(BARE[verb], []).append(word)
            continue
        name, equals, value = word.partition("=")
        name = SHORT.get(name, name).removeprefix("--")
        if not name or not word.startswith("-") or name.startswith("-"):
            raise UserError(_not_understood(word))
        if name in OF_VERBS and verb not in OF_VERBS[name]:
            raise UserError(
                f"{verb} takes no --{name}: it goes with {' and '.join(OF_VERBS[name])}"
            )
        if name in SWITCHES or name in OF_VERBS:
            if equals:
                raise UserError(f"--{name} takes no value; write --{name}")
            flags[name] = True
            continue
        given: Any = value if equals else _value_after(name, words)
        if verb == "tune" and name == "grid":
            flags.setdefault("grid", []).append(given)
            continue
        if name in keys or name in flags:
            raise UserError(f"--{name} is given twice; give it once")
        (flags if name in VALUELESS else keys)[name] = given
    if "resume" in flags and verb not in RESUMED and "help" not in flags:
        raise UserError(f"{verb} takes no --resume; leave it out")
    if "leaks" in flags and verb != "check":
        raise UserError(f"{verb} takes no --leaks; write recbole-cold check --leaks")
    if "trust" in flags and "resume" not in flags and "help" not in flags:
        raise UserError("--trust goes with --resume, and nothing is resumed; leave it out")
    return Arguments(verb, flags, keys)


def _verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb, and the words after it: only ``--help`` where help is asked for."""
    verb = words.pop(0) if words and not words[0].startswith("-") else "run"
    asks = bool({"--help", "-h"} & set(words))
    if verb == "help":
        verb, asks = (words[0] if words else "run"), True
    if verb not in VERBS:
        raise UserError(f"'{verb}' is not a verb; {_instead_of_verb(verb)}")
    return verb, ["--help"] if asks else words


def _instead_of_verb(word: str) -> str:
    from recbole_cold import registry

    if word in registry.stated_methods():
        return f"write --model={word}"
    if word in registry.stated_backbones():
        return f"write --backbone={word}"
    guess = nearest(word, VERBS)
    known = f"use one of {', '.join(VERBS)}"
    return f"did you mean '{guess}'? {known}" if guess else known


def _not_understood(word: str) -> str:
    sentence = f"'{word}' is not understood; write flags as --key=value or --key value"
    return f"{sentence}, and the verb first: recbole-cold {word}" if word in VERBS else sentence


def _value_after(name: str, words: list[str]) -> Any:
    """The next word, taken from ``words``; true where there is none and none need be."""
    if words and (not words[0].startswith("-") or _is_number(words[0])):
        value = words.pop(0)
        if name == "resume" and value in VERBS and not Path(value).is_dir():
            raise UserError(f"write the verb first: recbole-cold {value} --resume")
        return value
    if name in VALUELESS:
        return True
    raise UserError(f"--{name} has no value; write --{name}=VALUE or --{name} VALUE")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def check_names(arguments: Arguments) -> None:
    """Refuse unknown methods and backbones, before torch is imported.

    Raises:
        UserError: see ``registry.check_names``; several backbones where only one can be.
    """
    from recbole_cold import registry

    def specs(*keys: str) -> list[str]:
        texts = [text for key in keys for text in registry.entry_texts(arguments.keys.get(key, ""))]
        return [spec for text in texts if (spec := text.partition("[")[0].strip())]

    backbones = specs("backbone", "backbones")
    if arguments.verb not in ("compare", "benchmark") and len(backbones) > 1:
        raise UserError(
            f"{arguments.verb} takes one --backbone; for a table of several write "
            f"recbole-cold compare --backbones={','.join(backbones)}"
        )
    for key in ("backbone", "backbones"):
        if key in arguments.keys and not specs(key):
            raise UserError(f"--{key}= names no backbone; `recbole-cold list` shows all")
    registry.check_names(specs("model", "models"), backbones)


def request_of(arguments: Arguments, default_models: str = DEFAULT_MODELS):
    """The request of a command line for a run."""
    from recbole_cold.experiment.requests import request_from

    keys = dict(arguments.keys)
    try:
        files = shlex.split(keys.pop("config_files", ""))
    except ValueError as error:
        raise UserError(f"--config_files is not a list of paths ({error}); mend it") from error
    command = shlex.join(["recbole-cold", *words_of(arguments)])
    return request_from(keys, files, command, default_models=default_models)


def resumed_folder(arguments: Arguments) -> Path | None:
    """The folder that ``--resume`` continues; None without it.

    Raises:
        UserError: there is nothing to continue, or other keys are given beside it.
    """
    from recbole_cold.experiment.folders import folder_to_resume

    resume = arguments.flags.get("resume")
    if resume is None:
        return None
    given = {*arguments.keys, *arguments.flags} - {"resume", *SWITCHES}
    saved, trust = arguments.keys.get("saved_dir", "saved"), "trust" in arguments.flags
    return folder_to_resume(resume, given, saved, arguments.verb, trust)


def words_of(arguments: Arguments) -> list[str]:
    verb = [] if arguments.verb == "run" else [arguments.verb]
    return [*verb, *(f"--{key}={value}" for key, value in arguments.keys.items())]


def the_run(
    arguments: Arguments,
    verb: str,
    known: Sequence[str],
    example: str,
    switches: Sequence[str] = (),
) -> str:
    """The one folder that a verb of finished runs is given.

    Args:
        known: the keys that the verb has.
        example: a call that is right.
        switches: the flags without a value that it has, too.

    Raises:
        UserError: it is none or several, or a key is unknown or says nothing.
    """
    runs = arguments.flags.get("folders", [])
    if len(runs) != 1:
        raise UserError(f"{verb} takes the folder of one run, as recbole-cold {verb} {example}")
    for name, value in arguments.keys.items():
        if name not in known:
            guess = nearest(name, (*known, *switches))
            raise UserError(
                f"{verb} has no --{name}; "
                + (f"did you mean --{guess}?" if guess else f"it has --{', --'.join(known)}")
            )
        if not value:
            raise UserError(f"--{name}= says nothing; give a value or leave it out")
    return str(runs[0])


def count_of(name: str, text: str, what: str) -> int:
    """A whole number from 1 on.

    Raises:
        UserError: it is none.
    """
    # Python reads no number of some thousand digits.
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text)):
        raise UserError(f"--{name}={text} is no number of {what}; give one from 1 on")
    return int(text)
