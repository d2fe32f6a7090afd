"""One row of the table of configuration keys: the class, its words, and kinds that rows share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.kinds import Kind, anything, list_of, number, plain, whole

COMMAND_LINE = "the command line"

# What a key can touch.
COLUMNS = "columns"  # the columns that are parsed out of the files
DATA = "data"  # the data set that methods see
SPLIT = "split"  # which rows are learned from and which are scored, phase by phase
# A pre-trained backbone: its cache key holds the value. Keys of the split, the seed and the classes
# do not touch it in this sense, for the cache key holds the split's hash, the seed and the classes.
PRETRAINING = "pretraining"
SCORES = "scores"  # the numbers of one method on one seed
TABLE = "table"  # which of these numbers are shown, and beside which others
# Where a run happens and how fast. No number beyond the last digits: another device or number of
# threads sums in another order, and a result says on which it was made (``device``, ``threads``).
PLACE = "place"

# Roles of rows that are not ordinary keys.
IDLE = "idle"  # RecBole's runner reads it, ours does not
UNSUPPORTED = "unsupported"  # would change the data in a way that our loader does not have
DERIVED = "derived"  # set by RecBole or by us out of other keys; not written
FLAG = "flag"  # a word of the command line, no configuration key

# Sizes of layers and vectors: above anything that trains, and still built in seconds (two such
# layers are 400 MB).
SIZE = whole(1, 10_000)
LAYERS = list_of(SIZE)
RATE = number(above=0, most=1_000)  # of learning
INNER_RATE = number(0, 1_000)  # of inner steps; 0 takes none
WEIGHT = number(0, 1_000_000)  # of a part of a loss
SHARE = number(0, 1)
DROP = number(least=0, below=1)  # dropout that leaves something
COUNT = whole(1)
EPOCHS = whole(0, 1_000_000)
STEPS = whole(0, 10_000)  # inner steps of a meta-learner


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        touches: what changes with its value, out of the words above.
        run_wide: whether it holds for a whole table: no row can have its own.
        apart: whether requests and trials carry it beside the other keys.
        here: whether it is about this machine; configuration files made for later use omit it.
        in_yaml: whether some yaml file has a default for it.
        role: ``""`` or one of the four above.
        instead: for an idle key, what does its work here.
    """

    name: str
    kind: Kind
    touches: frozenset[str] = frozenset({SCORES})
    run_wide: bool = False
    apart: bool = False
    here: bool = False
    in_yaml: bool = True
    role: str = ""
    instead: str = ""

    def check(self, value: Any, where: str) -> Any:
        """``value`` in plain types, checked; ``where`` is for the message, "in file.yaml".

        Raises:
            UserError: it is not of this key's kind.
        """
        if self.kind is anything():
            return value
        if value is False and "off" in self.kind.choices:
            return "off"  # YAML 1.1 reads a bare off as false
        try:
            value = plain(value)
        except RecursionError:  # a yaml file can hold itself
            value = object()
        if not self.kind.accepts(value):
            raise UserError(self.kind.refusal(self.name, value, where))
        return value


def at(where: str) -> str:
    """A place with its preposition, for messages: "on the command line", "in file.yaml"."""
    return f"{'on' if where == COMMAND_LINE else 'in'} {where}"
