"""The table of leak checks, and the order in which they are made."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from recbole_cold.data.phases import has_new_items
from recbole_cold.errors import Interrupted, UserError, WriteError, nearest, told
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.leaks import (
    cost,
    deleted,
    duplicates,
    features,
    histories,
    ids,
    information,
    labels,
    shuffled,
    times,
)
from recbole_cold.leaks.finding import BAD, FAILED, NOTE, Finding
from recbole_cold.leaks.subject import Subject

logger = logging.getLogger(__name__)


class Check(NamedTuple):
    """One check.

    Attributes:
        name: by which it is asked for; two rows of one name are asked for together.
        what: what is looked at, in a word or two.
        number: what the number of its finding is.
        find: makes it.
        trainings: how many it takes beside the plain one; None: it reads the data alone.
        plain: whether it compares with a plain training, which all checks share.
        features: whether the features of new items are dealt out anew, which is scored each time.
    """

    name: str
    what: str
    number: str
    find: Callable[[Subject], Finding]
    trainings: int | None = None
    plain: bool = False
    features: bool = False


# What reads the data alone comes first: it is there at once.
CHECKS = (
    Check("L5", "future of the user", "share of the test rows", times.find),
    Check("L6", "rows in two parts", "rows", duplicates.find),
    Check("L8", "telling features", "share of the label's entropy", information.find),
    Check("L9", "histories", "elements", histories.find),
    Check("L1", "test labels", "largest change of a score", labels.find, 1, plain=True),
    Check("L2", "ids", "largest change of a score", ids.find, 1, plain=True),
    Check("L3", "rows of new items", "tensors that differ", deleted.find, 1, plain=True),
    Check("L4", "features of new items", "AUC of the strongest", features.find, 0, plain=True,
          features=True),
    Check("L5", "AUC without that future", "AUC", times.find_auc, 0, plain=True),
    Check("L7", "shuffled labels", "AUC", shuffled.find, 1),
)  # fmt: skip


class Line(NamedTuple):
    """One line of the report; ``method`` is empty where the data alone were read."""

    name: str
    what: str
    method: str
    finding: Finding

    def __str__(self) -> str:
        verdict, sentence, number = self.finding
        shown = "-" if math.isnan(number) else f"{number:.4g}"
        beside = f"{self.method}: " if self.method else ""
        return f"{self.name:<4}{self.what:<25}{verdict:<16}{shown:>9}  {beside}{sentence}"


HEADER = f"{'':<4}{'check':<25}{'verdict':<16}{'number':>9}  what was found"


def chosen(asked: str | None) -> list[Check]:
    """The checks of ``L1,L6``, in the table's order; all without a text.

    Raises:
        UserError: there is no such check.
    """
    known = sorted({check.name for check in CHECKS})
    names = known if asked is None else [name.strip().upper() for name in asked.split(",")]
    for name in names:
        if name not in known:
            guess = nearest(name, known)
            raise UserError(
                f"--leaks names '{name}', which is no leak check; "
                + (f"did you mean {guess}? " if guess else "")
                + f"there are {known[0]} to {known[-1]}, --leaks=L1,L6 makes some and --leaks all"
            )
    return [check for check in CHECKS if check.name in names]


def find_leaks(
    experiment: Experiment, checks: Sequence[Check], tell: Callable[[str], None]
) -> list[Line]:
    """Make ``checks`` on the first seed of every entry, telling each line when it is there.

    Checks that read the data alone are made for the first entry.

    Raises:
        UserError: the request cannot be run at all.
        Interrupted: ``experiment.stop`` asked for it.
    """
    experiment.prepare()
    first = experiment.first()
    if not has_new_items(first):
        raise UserError(
            "--leaks asks what new items must not tell, and split_rule: "
            f"{first['split_rule']} has none; leave out --leaks"
        )
    subjects = [Subject(experiment, entry) for entry in experiment.entries]
    lines: list[Line] = []

    def add(check: Check, method: str, finding: Finding) -> None:
        lines.append(Line(check.name, check.what, method, finding))
        tell(str(lines[-1]))

    tell(HEADER)
    for check in (check for check in checks if check.trainings is None):
        add(check, "", check.find(subjects[0]))
    training = [check for check in checks if check.trainings is not None]
    for subject in subjects if training else ():
        logger.info("%s", _planned(subject, training))
        for check in training:
            logger.info("%s %s", check.name, check.what)
            add(check, subject.label, _found(check, subject))
    lines.append(Line("", "choice of new ones", "", selection(subjects[0])))
    tell(str(lines[-1]))
    return lines


def _found(check: Check, subject: Subject) -> Finding:
    """What a check found; one whose own training fails is no reason to leave out the others."""
    try:
        return check.find(subject)
    except (Interrupted, WriteError):
        raise
    except UserError as error:
        return Finding(FAILED, str(error))
    except Exception as error:
        logger.debug("%s failed", check.name, exc_info=True)
        return Finding(FAILED, told(error))


def _planned(subject: Subject, checks: Sequence[Check]) -> str:
    """What will be trained, and for about how long; a method that fails does so in its checks."""
    try:
        return cost.plan(subject, checks)
    except Interrupted:
        raise
    except Exception as error:
        return f"{subject.label}: how long it takes cannot be said ({told(error)})"


def selection(subject: Subject) -> Finding:
    """What no check can find: by what the new items were chosen."""
    side, manifest = subject.side, subject.split.manifest
    if manifest["rule"] == "files":
        said = f"by what the new {side}s of ready parts were chosen is not known here"
    elif manifest["rule"] == "pseudo-new":
        said = (
            f"pseudo-new {side}s are chosen among the old ones by their rows in the whole log, "
            "which are known only afterwards"
        )
    else:
        least = manifest["K"] * manifest["warm_sets"] if manifest["warm_sets"] else 1
        said = (
            f"a new {side} is one with {least:,} to {manifest['N']:,} rows in the whole log, test "
            "rows included: that it will get so many, and no more, is known only afterwards"
        )
    return Finding(NOTE, said)


def is_clean(lines: Iterable[Line]) -> bool:
    """Whether no check found a leak, and none failed."""
    return not any(line.finding.verdict in BAD for line in lines)


def summary(lines: Sequence[Line]) -> str:
    """One sentence for the end."""
    bad = [f"{line.name} ({line.finding.verdict})" for line in lines if line.finding.verdict in BAD]
    if not bad:
        return "no leak was found"
    return f"found: {', '.join(dict.fromkeys(bad))}"
