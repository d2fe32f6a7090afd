"""The split of rule ``sessions``: warm and cold users and items, sessions, their last one held out.

Source: Chen et al., MM 2022, section 4.2; decisions where the paper is silent: docs/sessions.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recbole_cold import seeding
from recbole_cold.data.phases import FINE_TUNING, session_phases
from recbole_cold.data.sessions import SessionRule, SessionTable, Windows, form, table_of, words
from recbole_cold.data.split import Array, Split, order_of, times_of
from recbole_cold.distinct import codes_in
from recbole_cold.errors import UserError

HELD_OUT = (*FINE_TUNING, "test")
_WARM_USERS = 0.8  # warm and cold ones 4 : 1
# Halves and held-out rows follow from each other; so often they are made anew at most.
_ROUNDS = 10
# Subset -> whether its users, and its items, are warm.
SUBSETS = {"wc": (True, False), "cw": (False, True)}
_SEVERAL = {"both": tuple(SUBSETS)}  # words for more than one


def subsets_of(asked: str | Sequence[str]) -> list[str]:
    """The subsets that a value of ``session_subset`` names, in the order of ``SUBSETS``."""
    names = [asked] if isinstance(asked, str) else asked
    named = {own for name in names for own in _SEVERAL.get(name, (name,))}
    return [name for name in SUBSETS if name in named]


class Columns(NamedTuple):
    """What a split of sessions is made of, one value per row of the data.

    Attributes:
        users: codes. items: codes. time: seconds, or None: the order is then drawn.
        labels: 0 or 1; only counted.
    """

    users: Array
    items: Array
    time: Array | None
    labels: Array


def session_split(
    columns: Columns,
    rule: SessionRule,
    *,
    seed: int,
    cold_side: str = "item",
    label_rule: str = "",
    data_hash: str = "",
) -> Split:
    """Each user's last session in ``ft_a`` to ``ft_c`` or ``test``, all others in ``train``.

    Parts are the row numbers of targets; the rows before them are in ``Split.histories``. Users
    with fewer than ``rule.user_min`` rows are left out first. Users and the part of a user's last
    session are drawn from ``seed`` by user code, so neither depends on the order of the file.

    Args:
        cold_side: whose ids the split tells as old; none is new.
        label_rule: how labels were made, in words.

    Raises:
        UserError: no user has enough rows, no session can be formed or held out, or a part would be
            empty.
    """
    users, items = np.asarray(columns.users), np.asarray(columns.items)
    if rule.least > rule.length:
        raise UserError(
            f"session_min is {rule.least} and session_length {rule.length}; a session has at most "
            f"session_length rows, so give session_min: {rule.length} or less"
        )
    if rule.form == "gap" and columns.time is None:
        raise UserError(
            "session_form: gap cuts where time passes, and the data have none; set TIME_FIELD, or "
            "use session_form: sliding or chunk"
        )
    time = times_of(columns.time, len(users), seed)
    log = _Log(users, items, time, rule, seed)
    halves = log.halves()
    order_r = log.subset(halves.warm_item, rule.subset)
    windows = log.sessions(order_r)
    n_user = np.bincount(users[order_r[windows.end_s]], minlength=log.n_users)
    _refuse_too_little(log, order_r, windows, n_user)
    table = table_of(order_r, windows, rule.length)
    several = n_user[users[table.targets]] > 1
    table = SessionTable(table.targets[several], table.rows[several])
    parts = _parts(table.targets, order_r[log.last(order_r, windows)], users, seed)
    for name in HELD_OUT:
        if not len(parts[name]):
            raise UserError(
                f"the part {name} has no session: {int((n_user > 1).sum()):,} users of subset "
                f"{rule.subset} have two or more, too few for four parts; lower session_min, or "
                "use another seed or more data"
            )
    ids = items if cold_side == "item" else users
    known = codes_in(ids[order_r])
    manifest = {
        "rule": "sessions",
        "settings": _settings(rule),
        "words": words(_settings(rule)),
        "N": None,
        "K": None,
        "warm_sets": len(FINE_TUNING),
        "cold_side": cold_side,
        "order": order_of(columns.time),
        "tie_share": _tie_share(users[order_r], time[order_r]) if columns.time is not None else 0.0,
        "seed": int(seed),
        "data_hash": data_hash,
        "label_rule": label_rule,
        "users": {
            "warm": int(log.warm_user.sum()),
            "cold": int(log.kept_user.sum() - log.warm_user.sum()),
            "two": int((n_user > 1).sum()),
        },
        "items": halves.counts(log.held_out(halves.warm_item)),
        "discarded": log.discarded(halves.warm_item, n_user, table),
    }
    return _told(parts, table, known, manifest, columns)


class _Halves(NamedTuple):
    """Warm and cold items.

    Attributes:
        warm_item: bool by item code. seen: rows counted by item code. rounds: how often halves were
            made. held: the rows that were left out of the counts, ascending.
    """

    warm_item: Array
    seen: Array
    rounds: int
    held: Array | None
    n_items: int

    def counts(self, held_out: Array) -> dict[str, int]:
        least = int(self.seen[self.warm_item].min())
        exists = np.flatnonzero(self.seen == least)
        counted = 0 if self.held is None else len(np.setdiff1d(held_out, self.held))
        return {
            "warm": int(self.warm_item.sum()),
            "cold": self.n_items - int(self.warm_item.sum()),
            "boundary_count": least,
            "boundary_ties": len(exists),
            "rounds": self.rounds,
            "counted_held_out": counted,
        }


class _Log:
    """All rows of a log in the order (user, time, row), and who is warm."""

    def __init__(
        self, users: Array, items: Array, time: Array, rule: SessionRule, seed: int
    ) -> None:
        self.users, self.items, self.time, self.rule = users, items, time, rule
        n_rows = np.bincount(users, minlength=1)
        self.n_users = len(n_rows)
        self.kept_user = (n_rows >= rule.user_min) & (n_rows > 0)
        if not self.kept_user.any():
            raise UserError(
                f"no user has session_user_min = {rule.user_min:,} rows, the most are "
                f"{int(n_rows.max(initial=0)):,}; lower session_user_min"
            )
        self.warm_user = _warm_users(self.kept_user, seed)
        # lexsort is stable: rows of equal time keep the order of the file.
        order_r = np.lexsort((time, users))
        self.order_r = order_r[self.kept_user[users[order_r]]]

    def halves(self) -> _Halves:
        """Items in halves by their rows; under ``visible`` without the rows that are held out then.

        The held-out rows follow from the halves. So halves are made again without them until the
        same rows are held out twice.
        """
        rows = np.sort(self.order_r)
        codes, first = np.unique(self.items[rows], return_index=True)
        seen = full = np.bincount(self.items[rows])
        found, held = _warm_items(codes, first, full), np.zeros(0, np.int64)
        rounds, strict = 1, self.rule.count_source == "visible"
        while strict and rounds < _ROUNDS:
            again = self.held_out(found)
            if np.array_equal(again, held):
                break
            held, rounds = again, rounds + 1
            seen = full - np.bincount(self.items[held], minlength=len(full))
            found = _warm_items(codes, first, seen)
        seen = np.where(full > 0, seen, -1)  # codes without rows are no items
        return _Halves(found, seen, rounds, held if strict else None, len(codes))

    def held_out(self, warm_item: Array) -> Array:
        """Targets of the last sessions of both subsets, so that both have the same halves."""
        found = []
        for subset in SUBSETS:
            order_r = self.subset(warm_item, subset)
            windows = self.sessions(order_r)
            found.append(order_r[self.last(order_r, windows)])
        return np.sort(np.concatenate(found))

    def subset(self, warm_item: Array, name: str) -> Array:
        """The rows of a subset, in the order (user, time, row)."""
        warm_users, warm_items = SUBSETS[name]
        order_r = self.order_r
        of_users = self.warm_user[self.users[order_r]] == warm_users
        return order_r[of_users & (warm_item[self.items[order_r]] == warm_items)]

    def sessions(self, order_r: Array) -> Windows:
        return form(self.users[order_r], self.time[order_r], self.rule)

    def last(self, order_r: Array, windows: Windows) -> Array:
        """Positions of the targets of last sessions, of users with two sessions or more."""
        user_s = self.users[order_r[windows.end_s]]
        ends = np.r_[user_s[1:] != user_s[:-1], True][: len(user_s)]
        alone = np.r_[True, user_s[1:] != user_s[:-1]][: len(user_s)] & ends
        return windows.end_s[ends & ~alone]

    def discarded(self, warm_item: Array, n_user: Array, table: SessionTable) -> dict[str, int]:
        """Rows that no session of the split has, by cause; each row under one cause."""
        cells = {
            (user, item): int(
                (
                    (self.warm_user[self.users[self.order_r]] == user)
                    & (warm_item[self.items[self.order_r]] == item)
                ).sum()
            )
            for user in (True, False)
            for item in (True, False)
        }
        own = SUBSETS[self.rule.subset]
        (other,) = set(SUBSETS) - {self.rule.subset}
        order_r = self.subset(warm_item, self.rule.subset)
        of_user = np.bincount(self.users[order_r], minlength=self.n_users)
        causes = {
            f"users with fewer than {self.rule.user_min} rows": len(self.users) - len(self.order_r),
            "warm users on warm items": cells[True, True],
            "cold users on cold items": cells[False, False],
            f"the other subset, {other}": cells[SUBSETS[other]],
            "users without a session": int(of_user[n_user == 0].sum()),
            "users with one session": int(of_user[n_user == 1].sum()),
        }
        causes["between or beside the sessions"] = (
            cells[own] - int(of_user[n_user < 2].sum()) - len(_rows_in(table))
        )
        return causes


def _warm_users(kept_user: Array, seed: int) -> Array:
    """Four fifths of the kept users, drawn: bool by user code."""
    codes = np.flatnonzero(kept_user)
    draw = np.random.default_rng(seeding.derive(seed, "sessions", "users")).permutation(len(codes))
    warm = np.zeros(len(kept_user), dtype=bool)
    warm[codes[draw[: round(_WARM_USERS * len(codes))]]] = True
    return warm


def _warm_items(codes: Array, first: Array, counts: Array) -> Array:
    """The half of the items with most rows: bool by item code. Ties go to whose first row is
    earlier in the file, and the odd item to the warm half."""
    ranked = codes[np.lexsort((first, -counts[codes]))]
    warm = np.zeros(len(counts), dtype=bool)
    warm[ranked[: (len(codes) + 1) // 2]] = True
    return warm


def _refuse_too_little(log: _Log, order_r: Array, windows: Windows, n_user: Array) -> None:
    rule = log.rule
    longest = int(np.bincount(log.users[order_r], minlength=1).max())
    if rule.length > longest:
        raise UserError(
            f"session_length is {rule.length:,}, and no user has more than {longest:,} rows in "
            f"subset {rule.subset}; give a session_length (and session_min) of {longest:,} or less"
        )
    if not len(windows.end_s):
        raise UserError(
            f"no session of session_min = {rule.least:,} rows can be formed in subset "
            f"{rule.subset} (session_form: {rule.form}); lower session_min"
        )
    if not (n_user > 1).any():
        raise UserError(
            f"no user of subset {rule.subset} has two sessions, one to learn from and one to hold "
            "out; lower session_min or use another session_form"
        )


def _parts(targets: Array, last: Array, users: Array, seed: int) -> dict[str, Array]:
    """Targets by part; one draw per user code says where a last session goes."""
    rng = np.random.default_rng(seeding.derive(seed, "sessions", "parts"))
    part_u = rng.integers(len(HELD_OUT), size=int(users.max(initial=0)) + 1)
    last = np.sort(last)
    parts = {"train": np.setdiff1d(targets, last, assume_unique=True)}
    return parts | {name: last[part_u[users[last]] == n] for n, name in enumerate(HELD_OUT)}


def _settings(rule: SessionRule) -> dict[str, Any]:
    """The keys of a rule, as they are named in a configuration."""
    return {
        "session_subset": rule.subset,
        "session_form": rule.form,
        "session_length": int(rule.length),
        "session_stride": int(rule.stride),
        "session_gap": float(rule.gap),
        "session_min": int(rule.least),
        "session_user_min": int(rule.user_min),
        "count_source": rule.count_source,
    }


def _tie_share(user_r: Array, time_r: Array) -> float:
    """The share of rows, in the order (user, time), that share both with another row."""
    if not len(user_r):
        return 0.0
    same = (user_r[1:] == user_r[:-1]) & (time_r[1:] == time_r[:-1])
    return float((np.r_[same, False] | np.r_[False, same]).mean())


def _rows_in(table: SessionTable) -> Array:
    """All rows that are in a session, each once, ascending."""
    rows = table.rows[table.rows >= 0]
    largest = max(int(table.targets.max(initial=-1)), int(rows.max(initial=-1)))
    inside = np.zeros(largest + 1, dtype=bool)
    inside[table.targets] = inside[rows] = True
    return np.flatnonzero(inside)


def _told(
    parts: Mapping[str, Array],
    table: SessionTable,
    known: Array,
    manifest: Mapping[str, Any],
    columns: Columns,
) -> Split:
    """The split, with what is in its parts counted."""
    counted = dict(_counted(parts, table, columns))
    counts = {"parts": counted, "used_rows": len(_rows_in(table))}
    return Split(
        parts, known, np.zeros(0, np.int64), {**manifest, **counts}, session_phases(), table
    )


def _counted(
    parts: Mapping[str, Array], table: SessionTable, columns: Columns
) -> Iterator[tuple[str, dict[str, int]]]:
    for name, targets in parts.items():
        rows = _rows_in(table.only(targets))
        yield (
            name,
            {
                "sessions": len(targets),
                "rows": len(rows),
                "users": len(codes_in(columns.users[targets])),
                "items": len(codes_in(columns.items[rows])),
                "clicks": int(np.asarray(columns.labels)[targets].sum()),
            },
        )


# ------------------------------------------------------------------------------- what is left out
def until_held_out(split: Split, columns: Columns) -> Split:
    """``split`` without training sessions whose target is later than the first held-out one.

    Raises:
        UserError: there are no times, or no session is left to train on.
    """
    if columns.time is None:
        raise UserError(
            "train_until=first_test needs times, and the data have none; set TIME_FIELD, or leave "
            "train_until out"
        )
    time, train = np.asarray(columns.time), split["train"]
    limit = float(np.concatenate([time[split[name]] for name in HELD_OUT]).min())
    kept = train[time[train] <= limit]
    if not len(kept):
        raise UserError(
            f"train_until=first_test leaves no session to train on: the targets of all "
            f"{len(train):,} are later than the first one that is held out (time {limit:.0f}); "
            "leave train_until out"
        )
    ids = columns.items if split.cold_side == "item" else columns.users
    lost = np.setdiff1d(ids[train], ids[kept])
    before = split.manifest
    manifest = {
        "train_until": "first_test",
        "until_time": limit,
        "later_rows": int(before.get("later_rows", 0)) + len(train) - len(kept),
        "later_old": int(before.get("later_old", 0)) + len(lost),
    }
    parts = {**split.parts, "train": kept}
    return _without(split, parts, columns, "sessions that train_until leaves out", manifest)


def validation(split: Split, columns: Columns, fraction: float, seed: int) -> Split:
    """``split`` for choosing: of a drawn ``fraction`` of the users, the last training session is
    ``test``. Held-out sessions appear nowhere, and nothing is fine-tuned: ``ft_a`` to ``ft_c`` are
    empty.

    Raises:
        UserError: no user has two training sessions.
    """
    users, train = np.asarray(columns.users), split["train"]
    n_user = np.bincount(users[train])
    several = np.flatnonzero(n_user > 1)
    if not len(several):
        raise UserError(
            "validation needs users with two training sessions, and none has; lower session_min "
            "or leave fit_on out"
        )
    rng = np.random.default_rng(seeding.derive(seed, "sessions", "validation"))
    n = min(len(several), max(1, round(fraction * len(np.flatnonzero(n_user)))))
    drawn = rng.choice(several, size=n, replace=False)
    time = times_of(columns.time, len(users), int(split.manifest["seed"]))
    order = train[np.lexsort((time[train], users[train]))]
    ends = np.r_[users[order][1:] != users[order][:-1], True]
    last = np.sort(order[ends & np.isin(users[order], drawn)])
    empty = dict.fromkeys(FINE_TUNING, np.zeros(0, np.int64))
    parts = {"train": np.setdiff1d(train, last, assume_unique=True), **empty, "test": last}
    manifest = {"of": split.hash, "fraction": float(fraction), "validation_users": n}
    return _without(split, parts, columns, "held-out sessions, while settings are chosen", manifest)


def _without(
    split: Split,
    parts: Mapping[str, Array],
    columns: Columns,
    cause: str,
    manifest: Mapping[str, Any],
) -> Split:
    """``split`` with fewer sessions; rows that no session has any more are counted by cause."""
    assert split.histories is not None
    table = split.histories.only(np.concatenate(list(parts.values())))
    discarded = dict(split.manifest["discarded"])
    lost = int(split.manifest["used_rows"]) - len(_rows_in(table))
    discarded[cause] = discarded.get(cause, 0) + lost
    told = {**split.manifest, **manifest, "discarded": discarded}
    return _told(parts, table, split.old_ids, told, columns)
