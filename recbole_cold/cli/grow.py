"""``recbole-cold grow``: new items in the model that a run kept, then their first clicks."""

from typing import Any

from recbole_cold.cli.arguments import Arguments, count_of, the_run

HELP = """\
recbole-cold grow: new items in a kept model, then their first clicks

usage: recbole-cold grow RUN --items=FILE [--rows=FILE] [--out=DIR]

  RUN is the folder of a run, RUN/METHOD or RUN/METHOD@SEED where it has several
  models, or what grow wrote before. A new folder is written, which predict,
  export and grow read; the model that it comes from stays as it is. New items
  begin with the method's own cold answer to their features. Rows with labels
  make one warm phase, as in a run: only the vectors of their items move, and
  the same rows are not learned twice. docs/serving.md says more.

flags
  --items=FILE           features of items that the model does not know; of
                         users, if the run had cold_side: user
  --rows=FILE            rows of new items, with what labels are made of in the
                         run; those of old items are left out and counted
  --drop=FILE            ids of items that are forgotten first
  --out=DIR              a folder that is not there yet; without it, beside RUN
  --promote_after=N      from N rows on an item counts among the old ones where
                         later items start at their mean; 3 K without it
  --phase=NAME           after which phase, where the run kept several

examples
  recbole-cold grow saved/RUN/MWUF --items=today.csv --out=grown
  recbole-cold grow grown --rows=clicks.csv --out=grown-2
  recbole-cold grow saved/RUN/CVAR@2020 --items=i.parquet --rows=c.parquet
"""
FLAGS = ("items", "rows", "drop", "out", "promote_after", "phase")


def grow(arguments: Arguments) -> int:
    """Write the grown model, and say what was added, learned and has shifted."""
    run = the_run(arguments, "grow", FLAGS, "saved/RUN --items=items.csv")
    from recbole_cold.serving.grow import grow as write
    from recbole_cold.serving.grow import lines_of

    values: dict[str, Any] = dict(arguments.keys)
    if "promote_after" in values:
        values["promote_after"] = count_of("promote_after", values["promote_after"], "rows")
    told = write(run, **values)
    print("\n".join(lines_of(told)))
    print(f"grown {told['folder']}")
    return 0
