"""The scripts beside this file: ``recbole-cold convert`` without an installation."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent


def door(name: str, zeros: Mapping[str, str] | None = None) -> int:
    """Convert a data set as a command line asks; the exit code.

    Args:
        name: of the data set.
        zeros: the options that ``--zeros`` stands for, where there is this flag.
    """
    sys.path.insert(0, str(HERE.parent))
    from recbole_cold import converters, paths
    from recbole_cold.errors import UserError

    converter = converters.find_converter(name)
    flags = argparse.ArgumentParser(
        description=f"Convert {converter.title} to RecBole atomic files."
    )
    flags.add_argument("--raw", required=True, help=converter.source)
    flags.add_argument("--out", default=str(HERE / name), help="folder; default: %(default)s")
    for option in converter.options:
        meaning = f"{option.meaning} (default: {option.default or 'none'})".replace("%", "%%")
        flags.add_argument(f"--{option.name}", help=meaning)
    if zeros:
        told = " ".join(f"--{option}={value}" for option, value in zeros.items())
        flags.add_argument("--zeros", action="store_true", help=f"the same as {told}")
    asked = vars(flags.parse_args())
    names = [option.name for option in converter.options if asked[option.name] is not None]
    given = {each: asked[each] for each in names}
    if zeros and asked["zeros"]:
        given = {**zeros, **given}
    try:
        with converters.ended_by_sigterm():
            out = paths.absolute(asked["out"])
            done = converters.convert(converter, paths.expanded(asked["raw"]), out, given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(converters.report(converter, done))
    return 0
