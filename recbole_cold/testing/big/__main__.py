"""The command: ``python -m recbole_cold.testing.big NAME OUT``."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from recbole_cold import paths
from recbole_cold.converters import ended_by_sigterm, number
from recbole_cold.errors import UserError
from recbole_cold.testing.big import LOGS, generate

HELP = """\
python -m recbole_cold.testing.big: the papers' big data sets, generated

usage: python -m recbole_cold.testing.big NAME OUT [--scale=F] [--seed=N] ...

  Writes the folder OUT/NAME-SYNTHETIC: files in the official form of the data
  set, the true chance of a click of each row (SYNTHETIC.true_p.npy), and
  MANIFEST.json with the seed, all sizes, hashes and what the true chances
  score. NAME is one of
"""
# Name: kind, least, most, and what it is.
FLAGS = {
    "scale": (float, 1e-6, 4, "times as many rows, users and items as the real data have; 1"),
    "seed": (int, 0, 2**63 - 1, "the same seed gives the same bytes; 1"),
    "rows": (int, 1, 2**40, "so many rows, whatever the scale"),
    "users": (int, 2, 2**31 - 1, "so many users (avazu: devices)"),
    "items": (int, 1, 2**31 - 1, "so many items (avazu: C14)"),
    "ctr": (float, 1e-4, 0.9, "the mean chance of a click"),
    "sigma_users": (float, 0, 4, "spread of the logarithms of users' numbers of rows"),
    "sigma_items": (float, 0, 4, "the same of items; not of avazu, which has measured shares"),
    "side": (float, 0, 1, "share of the variance of item vectors that follows from features; 0.7"),
}


def flags(words: Sequence[str]) -> tuple[list[str], dict[str, float]]:
    """The words that are no flags, and the values of the flags.

    Raises:
        UserError: a flag is unknown, has no value, or one out of its range.
    """

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UserError(f"{message}; --help shows all flags")

    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    for name in FLAGS:
        parser.add_argument(f"--{name}")
    asked = vars(parser.parse_args(list(words)))
    rest, values = asked.pop("words"), {}
    for name, text in asked.items():
        if text is not None:
            kind, least, most, _ = FLAGS[name]
            try:
                values[name] = number(kind, least, most)(text)
            except ValueError as error:
                raise UserError(f"--{name} '{text}' is {error}") from None
    return rest, values


def main(words: Sequence[str]) -> int:
    """Generate one data set; 0, or 2 after a mistake of the user's."""
    if not words or {"--help", "-h"} & {*words}:
        names = [f"    {name:<12}{log.__doc__}" for name, log in LOGS.items()]
        lines = [f"  --{name:<14}{meaning}" for name, (_, _, _, meaning) in FLAGS.items()]
        print("\n".join([HELP + "\n".join(names), "", "flags", *lines]))
        return 0
    try:
        rest, values = flags(words)
        if len(rest) != 2:
            raise UserError("give the name of a data set and the folder above its own, NAME OUT")
        with ended_by_sigterm():
            folder, manifest = generate(rest[0], paths.absolute(rest[1]), **values)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    print(
        f"SYNTHETIC {rest[0]} in {folder}: {manifest['rows']:,} rows, {manifest['ctr']:.2%} "
        f"clicks; the true chances have AUC {manifest['bayes_auc']}, LogLoss "
        f"{manifest['bayes_logloss']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
