"""``recbole-cold export``: the model that a run kept, as files that need neither RecBole nor us."""

from recbole_cold.cli.arguments import Arguments
from recbole_cold.errors import UserError, nearest

HELP = """\
recbole-cold export: a kept model as files for torch, onnxruntime or numpy

usage: recbole-cold export RUN --out=DIR [--format=vectors,pt2,onnx]

  RUN is the folder of a run, or RUN/METHOD or RUN/METHOD@SEED where it has
  several models. DIR is a new folder; it gets the tokens of each field with
  their codes, items.parquet and users.parquet with vectors and features, and
  export.json, which says what goes into a scorer. Every scorer is asked for
  drawn rows and for values that the run has never seen; one that does not agree
  with the model is an error, and nothing is left. docs/serving.md says more.

flags
  --out=DIR             a folder that is not there yet
  --format=A,B          vectors,pt2 without it
    vectors             the tables of all token fields, and a reader of vectors
    pt2                 scorer.pt2, for torch alone, and a reader
    onnx                scorer.onnx, for onnxruntime alone, and a reader; needs
                        pip install 'recbole-cold[onnx]'
  --bake=off|on         on: the vectors of the items are inside of the scorer
                        and the item's code is an input; off (the default): the
                        vector is an input, so a new item needs no new file
  --check=1000          drawn rows of the check, beside 16 of each unseen kind
  --phase=NAME          after which phase, where the run kept several

examples
  recbole-cold export saved/ml-100k-DeepFM-20260101-120000 --out=exported
  recbole-cold export saved/RUN/MWUF --out=scorer --format=onnx --bake=on
  recbole-cold export saved/RUN/CVAR@2020 --out=v --format=vectors --phase=cold
"""
FLAGS = ("out", "format", "bake", "check", "phase")


def export(arguments: Arguments) -> int:
    """Write the files, and say what was checked."""
    keys, runs = dict(arguments.keys), arguments.flags.get("folders", [])
    if len(runs) != 1:
        raise UserError(
            "export takes the folder of one run, as recbole-cold export saved/RUN --out=exported"
        )
    for name in keys:
        if name not in FLAGS:
            guess = nearest(name, FLAGS)
            raise UserError(
                f"export has no --{name}; "
                + (f"did you mean --{guess}?" if guess else f"it has --{', --'.join(FLAGS)}")
            )
    empty = [name for name, value in keys.items() if not value]
    if empty:
        raise UserError(f"--{empty[0]}= says nothing; give a value or leave it out")
    if "out" not in keys:
        raise UserError("export writes a new folder; name it, --out=DIR")
    bake, check = keys.get("bake", "off"), keys.get("check", "1000")
    if bake not in ("on", "off"):
        raise UserError(f"--bake={bake} is neither on nor off; write one of them")
    if not (check.isascii() and check.isdigit()):
        raise UserError(f"--check={check} is no number of rows; give one from 1 on")
    from recbole_cold.serving.export import DEFAULT
    from recbole_cold.serving.export import export as write

    formats = [word.strip() for word in keys["format"].split(",")] if "format" in keys else DEFAULT
    told = write(
        runs[0], keys["out"], phase=keys.get("phase"),
        formats=formats, bake=bake == "on", check=int(check),
    )  # fmt: skip
    model = told["model"]
    print(f"{model['label']}@{model['seed']} after {model['phase']}, {model['backbone']}")
    for file in told["files"].values():
        most, limit = f"{file['largest_difference']:.1e}", f"{file['limit']:.0e}"
        print(f"{file['file']}: {file['rows_checked']:,} rows, differences up to {most} of {limit}")
    print(f"exported {keys['out']}")
    return 0
