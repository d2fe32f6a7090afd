"""``recbole-cold predict``: scores by the model that a run kept."""

import sys
from typing import Any

from recbole_cold.cli.arguments import Arguments, count_of, the_run
from recbole_cold.errors import UserError

HELP = """\
recbole-cold predict: score rows with the model that a run kept

usage: recbole-cold predict RUN --rows=FILE [--out=FILE] [--key=value ...]
       recbole-cold predict RUN --rows=FILE --topk=K [--candidates=new]

  RUN is the folder of a run, or RUN/METHOD or RUN/METHOD@SEED where it has
  several. A run of one seed keeps its models; --keep_model=True asks for them.
  Files are .csv, .tsv, .parquet or atomic files, with the ids of the outside
  world. Each row gets a score, the probability of a click, and the policy that
  answered for its item: own, generated, mean. What the run has never seen is
  counted, by field. docs/serving.md says what is done with it.

flags
  --rows=FILE            user, item and what else belongs to a row; with --topk
                         each user's first row
  --items=FILE           features of items that the run does not know
  --users=FILE           features of users that the run does not know; with
                         --topk and without --rows, whom to rank for
  --out=FILE             .csv, .tsv or .parquet; - is standard output (default)
  --topk=K               the K best items of each user, ties by item id
  --candidates=all|new|FILE      which items these are chosen from
  --seen=FILE            pairs of user and item that are left out
  --phase=NAME           after which phase, where the run kept several
  --unseen="{FIELD: POLICY}"     another policy than the default one
  --strict_ids           a value that the run has never seen is an error

examples
  recbole-cold predict saved/ml-100k-DeepFM-20260101-120000 --rows=new.csv
  recbole-cold predict saved/RUN/MWUF --rows=r.csv --items=i.csv --out=s.csv
  recbole-cold predict saved/RUN/CVAR@2020 --rows=u.csv --topk=10 --seen=s.csv
"""
FLAGS = ("rows", "items", "users", "out", "topk", "candidates", "seen", "phase", "unseen")


def predict(arguments: Arguments) -> int:
    """Score, and say what was met: beside the scores, or on stderr where they go to the screen."""
    run = the_run(arguments, "predict", FLAGS, "saved/RUN --rows=new.csv", ("strict_ids",))
    from recbole_cold.serving.files import SCREEN
    from recbole_cold.serving.predict import Task
    from recbole_cold.serving.predict import predict as score

    values: dict[str, Any] = dict(arguments.keys)
    if "topk" in values:
        values["topk"] = count_of("topk", values["topk"], "items")
    if "unseen" in values:
        values["unseen"] = _policies(values["unseen"])
    task = Task(run, **values, strict_ids="strict_ids" in arguments.flags)
    report, seconds = score(task)
    screen = sys.stderr if task.out == SCREEN else sys.stdout
    print(f"{report}\nin {seconds:.1f} s", file=screen)
    if task.out != SCREEN:
        print(f"scores {task.out}")
    return 0


def _policies(text: str) -> dict[str, str]:
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f'--unseen={text} is no mapping; write --unseen="{{user_id: pad}}"')
    return {str(field): str(policy) for field, policy in found.items()}
