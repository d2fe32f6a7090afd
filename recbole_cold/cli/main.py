"""The entry point: takes arguments, gives an exit code, and turns errors into sentences.

Exit codes: 0 done; 1 some runs failed; 2 bad input, one sentence on stderr; 130 interrupted.
Modules of verbs import heavy packages where they use them, so help and errors come at once.
"""

import sys
import traceback
from collections.abc import Callable, Sequence

from recbole_cold import __version__
from recbole_cold.cli import (
    benchmark,
    cache,
    check,
    compare,
    convert,
    doctor,
    export,
    grow,
    plot,
    predict,
    reproduce,
    run,
    tune,
)
from recbole_cold.cli import list as list_names
from recbole_cold.cli.arguments import Arguments, check_names, parse
from recbole_cold.cli.screen import lasting_streams, log_to_screen
from recbole_cold.errors import UserError

HELP = """\
recbole-cold: cold-start click-through-rate prediction on RecBole

usage: recbole-cold [run] --model=A,B,C [--dataset=ml-100k] [--key=value ...]
       recbole-cold VERB ...
       recbole-cold VERB --help      (or: recbole-cold help VERB)

verbs
  run      train and score methods in the phases cold, warm_a, warm_b, warm_c;
           the verb that need not be written
  compare  methods on backbones: run what is missing, reuse what is there
  tune     search the settings of one method, score the best on test
  reproduce  a published table or figure, ours beside theirs
  benchmark  tune every method equally, then one table of them, with budgets
  plot     ID vectors of new items, or a new item's feature graphs (EmerG)
  predict  scores of new rows, by the model that a run kept
  export   that model as files for torch, onnxruntime or numpy alone
  grow     new items in that model, then their first clicks
  check    split counts, fields and problems of a data set; leaks (--leaks)
  convert  official downloads of data sets as atomic files
  list     methods and backbones; of one: paper, keys, defaults, meaning
  cache    what the cache holds; removal of what is long unused
  doctor   versions, devices, folders, what of RecBole is mended

flags (any configuration key, as --key=value or --key value; RecBole's names)
  -m, --model=A,B[key=value]    methods, by name, package.module:Class or
                                path/file.py; brackets: that row alone
  -d, --dataset=NAME            atomic files in DATA_PATH/NAME; ml-100k comes
                                with RecBole
  --data_path=DIR               the folder above the data sets' folders
  --backbone=NAME               any RecBole context model: FM, DeepFM, DCN, ...
  --config_files="a.yaml b.yaml"    later files win, the command line wins over
                                files
  --seeds=5 --seed=2020         repeat everything with seeds 2020 ... 2024
  --resume[=DIR]                continue an interrupted run
  --debug                       show the traceback of an error
  --version, -h, --help         (these and --debug take no value)

exit code: 0 done, 1 some runs failed, 2 bad input, 130 interrupted

examples
  recbole-cold --model=Base,ItemBias,MetaE,MWUF,CVAR --dataset=ml-100k
  recbole-cold -m MWUF -d ml-100k --backbone DCN --seeds 5
  recbole-cold check --dataset=my-data --data_path=. --threshold="{rating: 4}"
"""
HELPS = {
    "run": run.HELP,
    "compare": compare.HELP,
    "tune": tune.HELP,
    "reproduce": reproduce.HELP,
    "benchmark": benchmark.HELP,
    "plot": plot.HELP,
    "predict": predict.HELP,
    "export": export.HELP,
    "grow": grow.HELP,
    "check": check.HELP,
    "convert": convert.HELP,
    "list": list_names.HELP,
    "cache": cache.HELP,
    "doctor": doctor.HELP,
}
_END = 1000  # letters

ACTIONS: dict[str, Callable[[Arguments], int]] = {
    "run": run.run,
    "compare": compare.compare,
    "tune": tune.tune,
    "reproduce": reproduce.reproduce,
    "benchmark": benchmark.benchmark,
    "plot": plot.plot,
    "predict": predict.predict,
    "export": export.export,
    "grow": grow.grow,
    "check": check.check,
    "convert": convert.convert,
    "list": list_names.list_names,
    "cache": cache.cache,
    "doctor": doctor.doctor,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    with lasting_streams() as lost:
        code = _main(words)
    # The work was done but its output was lost, and for `list` the output is the result.
    return code or int(lost())


def _main(words: list[str]) -> int:
    try:
        arguments = parse(words)
        if arguments.flags.get("help"):
            named = words[0] in HELPS or (words[:1] == ["help"] and len(words) > 1)
            print(HELPS[arguments.verb] if named else HELP, end="")
            return 0
        if arguments.flags.get("version"):
            print(f"recbole_cold {__version__}")
            return 0
        with log_to_screen():
            check_names(arguments)
            return ACTIONS[arguments.verb](arguments)
    except UserError as error:
        if "--debug" in words:
            traceback.print_exc()
        print(f"error: {_fitting(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:  # a name too long, a folder that may not be entered, a full disk
        if "--debug" in words:
            traceback.print_exc()
        place = f"'{error.filename}': " if error.filename else ""
        print(f"error: {_fitting(f'{place}{error.strerror or error}')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _fitting(sentence: str) -> str:
    """A sentence that fits the screen: of one that repeats an endless value, the two ends."""
    if len(sentence) <= 2 * _END:
        return sentence
    return f"{sentence[:_END]} ... {sentence[-_END:]}"
