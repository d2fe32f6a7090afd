"""``recbole-cold export``: the model that a run kept, as files that need neither RecBole nor us."""

from recbole_cold.cli.arguments import Arguments, count_of, the_run
from recbole_cold.errors import UserError

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
    run, keys = the_run(arguments, "export", FLAGS, "saved/RUN --out=exported"), arguments.keys
    if "out" not in keys:
        raise UserError("export writes a new folder; name it, --out=DIR")
    bake = keys.get("bake", "off")
    if bake not in ("on", "off"):
        raise UserError(f"--bake={bake} is neither on nor off; write one of them")
    check = count_of("check", keys.get("check", "1000"), "rows")
    from recbole_cold.serving.export import DEFAULT
    from recbole_cold.serving.export import export as write

    formats = [word.strip() for word in keys["format"].split(",")] if "format" in keys else DEFAULT
    told = write(
        run, keys["out"], phase=keys.get("phase"),
        formats=formats, bake=bake == "on", check=check,
    )  # fmt: skip
    model = told["model"]
    print(f"{model['label']}@{model['seed']} after {model['phase']}, {model['backbone']}")
    for file in told["files"].values():
        most, limit = f"{file['largest_difference']:.1e}", f"{file['limit']:.0e}"
        print(f"{file['file']}: {file['rows_checked']:,} rows, differences up to {most} of {limit}")
    print(f"exported {keys['out']}")
    return 0
