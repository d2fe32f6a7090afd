"""Sessions: how they are formed and held out, that nothing leaks, and runs on them.

The references go user by user and session by session over lists, and share no code with what they
check.
"""

import json
import pickle
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.comparison.earlier import Earlier
from recbole_cold.comparison.requests import Cell
from recbole_cold.config import make_config
from recbole_cold.data import session_split as session_split_module
from recbole_cold.data.phases import FINE_TUNING, phase_names, run_phases
from recbole_cold.data.session_split import (
    HELD_OUT,
    Columns,
    session_split,
    until_held_out,
    validation,
)
from recbole_cold.data.sessions import FORMS, SessionRule, SessionTable, one_class
from recbole_cold.data.split import Split, frequency_split
from recbole_cold.errors import UserError
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import DataStore, run_data
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Request, reference_rows
from recbole_cold.model._item_bias import fit
from recbole_cold.report._comparison import of_run
from recbole_cold.report._comparison_blocks import error_block
from recbole_cold.training.callbacks import Callback
from recbole_cold.training.trainer import Trainer

SEEDS = (0, 1, 2)
USERS, ITEMS = 150, 30
SETTINGS = {
    "windows": SessionRule(length=5, least=3, user_min=8),
    "full": SessionRule(length=4, least=4, user_min=8, count_source="full"),
    "stride": SessionRule(length=5, least=2, user_min=8, stride=3),
    "blocks": SessionRule(form="chunk", length=4, least=2, user_min=8),
    "pauses": SessionRule(form="gap", length=3, least=1, gap=6.0, user_min=8),
}
each_rule = pytest.mark.parametrize("name", SETTINGS)
each_seed = pytest.mark.parametrize("seed", SEEDS)


def log(seed=0, even=False):
    """A log of about 3,000 rows in no order, with users of 5 to 35 rows; many share a second.

    There are few items of different popularity or, with ``even``, many of about the same.
    """
    rng = np.random.default_rng([seed, 77])
    counts = rng.integers(5, 36, USERS)
    users = rng.permutation(np.repeat(np.arange(1, USERS + 1), counts))
    popularity = rng.dirichlet(np.full(120, 200.0) if even else np.full(ITEMS, 20.0))
    items = 1 + rng.choice(len(popularity), size=len(users), p=popularity)
    time = rng.integers(0, 100, len(users))
    labels = rng.integers(0, 2, len(users))
    return Columns(users, items, time.astype(float), labels)


def made(seed, name="windows", columns=None, **changes):
    rule = SETTINGS[name]._replace(**changes)
    return session_split(columns or log(seed), rule, seed=seed, data_hash="abc")


def histories(split):
    """Target -> its history as a list."""
    table = split.histories
    return {
        int(target): [int(row) for row in rows if row >= 0]
        for target, rows in zip(table.targets, table.rows, strict=True)
    }


# ------------------------------------------------------------------------------- reference
def halves(columns, rule, held_out=()):
    """Warm items: the half with most rows, by hand."""
    users, items = columns.users.tolist(), columns.items.tolist()
    of_user = defaultdict(int)
    for user in users:
        of_user[user] += 1
    count, first = defaultdict(int), {}
    for row, (user, item) in enumerate(zip(users, items, strict=True)):
        if of_user[user] >= rule.user_min:
            first.setdefault(item, row)
            count[item] += row not in held_out
    ranked = sorted(first, key=lambda item: (-count[item], first[item]))
    return set(ranked[: (len(ranked) + 1) // 2]), {
        u for u in of_user if of_user[u] >= rule.user_min
    }


def sessions_of(rows, time, rule):
    """The sessions of one user's rows in their order, as lists whose last row is the target."""
    if rule.form == "sliding":
        ends = range(len(rows), 0, -rule.stride)
        found = [rows[max(0, end - rule.length) : end] for end in ends][::-1]
    elif rule.form == "chunk":
        found = [rows[begin : begin + rule.length] for begin in range(0, len(rows), rule.length)]
    else:
        cuts = [[rows[0]]]
        for before, row in pairwise(rows):
            if time[row] - time[before] > rule.gap:
                cuts.append([])
            cuts[-1].append(row)
        found = [cut[-rule.length :] for cut in cuts]
    return [session for session in found if len(session) >= rule.least]


def by_user(columns, chosen):
    """User -> his chosen rows by time; rows of equal time stay as in the file."""
    rows = defaultdict(list)
    for row in sorted(np.flatnonzero(chosen).tolist(), key=lambda row: columns.time[row]):
        rows[int(columns.users[row])].append(row)
    return rows


def subset_rows(columns, warm_users, kept_users, warm_items, subset):
    warm_user = np.isin(columns.users, list(warm_users))
    kept, warm_item = (
        np.isin(columns.users, list(kept_users)),
        np.isin(columns.items, list(warm_items)),
    )
    return kept & (warm_user == (subset == "wc")) & (warm_item == (subset == "cw"))


@each_seed
@each_rule
@pytest.mark.parametrize("subset", ["wc", "cw"])
class TestAgainstLists:
    def test_every_session(self, seed, name, subset):
        """S1, S5, S9 and the steps of the rule, session by session."""
        rule = SETTINGS[name]._replace(subset=subset, count_source="full")
        columns = log(seed)
        split = session_split(columns, rule, seed=seed)
        warm_items, kept = halves(columns, rule)
        own = {int(user) for user in columns.users[split.histories.targets]}
        users = own if subset == "wc" else kept - own
        chosen = subset_rows(columns, users, kept, warm_items, subset) & np.isin(
            columns.users, list(own)
        )
        wanted = {}
        for rows in by_user(columns, chosen).values():
            found = sessions_of(rows, columns.time, rule)
            assert len(found) > 1
            wanted |= {session[-1]: session[:-1] for session in found}
        assert histories(split) == wanted

    def test_who_is_held_out(self, seed, name, subset):
        """S3, S4: the last session of every user with two or more, in one part; S10."""
        split = made(seed, name, subset=subset)
        users, time = log(seed).users, log(seed).time
        known = histories(split)
        parts = {part: set(split[part].tolist()) for part in split.parts}
        assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(known)
        last = set.union(*(parts[part] for part in HELD_OUT))
        learned = {row for part in parts if part != "test" for t in parts[part] for row in known[t]}
        assert not learned & parts["test"]
        assert not {row for target in parts["train"] for row in known[target]} & last
        held = sorted(users[list(last)].tolist())
        assert held == sorted(set(users[list(known)].tolist()))  # each once
        for target in last:
            others = [other for other in known if users[other] == users[target]]
            assert len(others) > 1
            assert max(others, key=lambda row: (time[row], row)) == target

    def test_history_precedes_target(self, seed, name, subset):
        """S1."""
        columns, split = log(seed), made(seed, name, subset=subset)
        for target, rows in histories(split).items():
            order = [(columns.time[row], row) for row in [*rows, target]]
            assert order == sorted(order)
            assert {columns.users[row] for row in rows} <= {columns.users[target]}
            assert SETTINGS[name].least <= len(rows) + 1 <= SETTINGS[name].length

    def test_every_row_is_in_a_session_or_has_a_cause(self, seed, name, subset):
        split, columns = made(seed, name, subset=subset), log(seed)
        used = {row for target, rows in histories(split).items() for row in [target, *rows]}
        assert split.manifest["used_rows"] == len(used)
        assert sum(split.manifest["discarded"].values()) + len(used) == len(columns.users)
        assert min(split.manifest["discarded"].values()) >= 0
        sessions = histories(split)
        for part, told in split.manifest["parts"].items():
            known = [[t, *sessions[t]] for t in split[part].tolist()]
            rows = {row for session in known for row in session}
            assert told == {
                "sessions": len(split[part]),
                "rows": len(rows),
                "users": len({columns.users[row] for row in rows}),
                "items": len({columns.items[row] for row in rows}),
                "clicks": sum(columns.labels[t] for t in split[part].tolist()),
            }


@each_seed
@each_rule
def test_subsets_have_nothing_in_common(seed, name):
    """S2."""
    columns, rows, items = log(seed), [], []
    for subset in ("wc", "cw"):
        split = made(seed, name, subset=subset)
        used = [row for t, before in histories(split).items() for row in [t, *before]]
        rows.append(set(used))
        items.append(set(columns.items[used].tolist()))
        assert set(split.old_ids.tolist()) >= items[-1] and not len(split.new_ids)
    assert not rows[0] & rows[1] and not items[0] & items[1]
    users = [set(columns.users[list(each)].tolist()) for each in rows]
    assert not users[0] & users[1]


@each_seed
def test_number_of_sliding_windows(seed):
    """S5."""
    split = made(seed, "windows", count_source="full")
    columns = log(seed)
    warm_items, _ = halves(columns, SETTINGS["windows"])
    own = set(columns.users[split.histories.targets].tolist())
    n = [
        int(((columns.users == user) & ~np.isin(columns.items, list(warm_items))).sum())
        for user in own
    ]
    assert len(split.histories.targets) == sum(max(0, each - 3 + 1) for each in n)
    discarded = split.manifest["discarded"]
    assert discarded["between or beside the sessions"] == 0


def distinct(columns):
    """Without a row of the rarest warm item's equals: the file's order decides between these."""
    counts = np.bincount(columns.items)
    ranked = np.argsort(-counts[1:], kind="stable") + 1
    boundary = counts[ranked[(ITEMS + 1) // 2 - 1]]
    equals = [item for item in ranked[(ITEMS + 1) // 2 :] if counts[item] == boundary]
    gone = [np.flatnonzero(columns.items == item)[0] for item in equals]
    return Columns(*(np.delete(column, gone) for column in columns))


@each_seed
@each_rule
def test_blocks_of_users_in_another_order(seed, name):
    """S6: the rows of each user in one piece of the file; the pieces change places."""
    columns = distinct(log(seed))
    rng = np.random.default_rng(seed)
    one = np.argsort(columns.users, kind="stable")
    blocks = np.split(one, np.flatnonzero(np.diff(columns.users[one])) + 1)
    other = np.concatenate([blocks[n] for n in rng.permutation(len(blocks))])
    splits = {}
    for key, order in (("one", one), ("other", other)):
        moved = Columns(*(column[order] for column in columns))
        splits[key] = made(seed, name, moved, user_min=1, count_source="full"), order
    (split, order), (again, moved_order) = splits.values()
    for part in split.parts:
        assert set(order[split[part]].tolist()) == set(moved_order[again[part]].tolist())
    same = {order[t]: order[rows].tolist() for t, rows in histories(split).items()}
    assert same == {moved_order[t]: moved_order[r].tolist() for t, r in histories(again).items()}


@each_rule
def test_follows_from_the_seed(name):
    """S7."""
    columns = log()
    one, again, other = (made(seed, name, columns) for seed in (1, 1, 2))
    assert one == again and one.hash == again.hash != other.hash
    assert one.manifest["settings"] == other.manifest["settings"]
    users = [set(columns.users[split.histories.targets]) for split in (one, other)]
    assert users[0] != users[1]  # other users are warm
    part_of = [
        {columns.users[row]: part for part in HELD_OUT for row in split[part]}
        for split in (one, other)
    ]
    both = users[0] & users[1]
    assert any(part_of[0][user] != part_of[1][user] for user in both)


def test_rows_of_equal_time_stay_as_in_the_file():
    """S7: with all times equal the file is the order, and the manifest says so."""
    columns = log()._replace(time=np.full(len(log().users), 5.0))
    split = made(0, columns=columns)
    for target, rows in histories(split).items():
        assert [*rows, target] == sorted([*rows, target])
    assert split.manifest["order"] == "file" and split.manifest["tie_share"] > 0.8


@each_seed
def test_blocks_partition_the_rows_of_a_user(seed):
    """S9."""
    split = made(seed, "blocks", least=1)
    used = [row for t, rows in histories(split).items() for row in [t, *rows]]
    assert len(used) == len(set(used))
    assert split.manifest["discarded"]["between or beside the sessions"] == 0


def test_four_of_five_users_are_warm():
    split = made(0)
    n_rows = np.bincount(log().users)[1:]
    kept = int((n_rows >= 8).sum())
    users = split.manifest["users"]
    assert users["warm"] == round(0.8 * kept) and users["warm"] + users["cold"] == kept
    short = "users with fewer than 8 rows"
    assert split.manifest["discarded"][short] == n_rows[n_rows < 8].sum() > 0


def test_parts_of_last_sessions_are_equally_likely():
    sizes = np.zeros(4)
    for seed in range(40):
        split = made(seed, columns=log())
        sizes += [len(split[part]) for part in HELD_OUT]
    expected = sizes.sum() / 4
    assert (np.abs(sizes - expected) < 4 * np.sqrt(expected)).all()


def test_the_part_of_a_user_is_the_same_in_every_form():
    columns, parts = log(1), []
    for rule in ("windows", "blocks"):
        split = made(1, rule, columns, count_source="full")
        parts.append({columns.users[t]: part for part in HELD_OUT for t in split[part]})
    both = parts[0].keys() & parts[1].keys()
    assert len(both) > 20 and all(parts[0][user] == parts[1][user] for user in both)


# ------------------------------------------------------------------------------- items' halves
def test_visible_counts_leave_out_what_is_held_out():
    """The halves are those of the counts without the held-out rows of both subsets."""
    rule, moved = SETTINGS["windows"], 0
    for seed in range(12):
        columns, held, items = log(seed, even=True), set(), {}
        for subset in ("wc", "cw"):
            split = made(seed, columns=columns, subset=subset)
            held |= {int(row) for part in HELD_OUT for row in split[part]}
            items[subset] = set(split.old_ids.tolist())
        told = split.manifest["items"]
        if told["counted_held_out"]:
            continue
        warm, kept = halves(columns, rule, held)
        assert items["cw"] <= warm and not items["wc"] & warm
        moved += warm != halves(columns, rule)[0]
        counted = np.isin(columns.users, list(kept)) & ~np.isin(
            np.arange(len(columns.users)), list(held)
        )
        count = np.bincount(columns.items[counted], minlength=columns.items.max() + 1)
        assert told["boundary_count"] == min(count[list(warm)])
        assert told["boundary_ties"] == (count == told["boundary_count"]).sum()
    assert moved > 2  # else the two counts could not be told apart


def test_counts_that_do_not_settle_are_told(monkeypatch):
    monkeypatch.setattr(session_split_module, "_ROUNDS", 1)
    split = made(0, columns=log(0, even=True))
    told = split.manifest["items"]
    assert told["rounds"] == 1 and told["counted_held_out"] > 0
    assert f"{told['counted_held_out']:,} held-out targets are counted in the halves" in str(split)


def test_ties_of_items_go_by_first_occurrence():
    users = np.repeat(np.arange(1, 41), 12)
    items = np.tile([4, 3, 2, 1], 120)  # equal counts: 4 and 3 come first
    columns = Columns(users, items, np.arange(480.0), users % 2)
    rule = SessionRule(length=3, least=2, user_min=1, count_source="full")
    cold = session_split(columns, rule, seed=0).old_ids
    assert cold.tolist() == [1, 2]
    odd = np.where(np.arange(480) % 24 == 0, 5, items)  # five items: three of them are warm
    warm = session_split(columns._replace(items=odd), rule._replace(subset="cw"), seed=0).old_ids
    assert len(warm) == 3


# ------------------------------------------------------------------------------- phases, table
def test_phases():
    split = made(0)
    assert [tuple(phase) for phase in split.phases] == [
        ("none", None, "test"),
        ("ft_a", "ft_a", "test"),
        ("ft_b", "ft_b", "test"),
        ("ft_c", "ft_c", "test"),
    ]
    keys = {"benchmark_filename": None, "split_rule": "sessions"}
    assert phase_names(keys) == [phase.name for phase in split.phases]
    assert list(split.parts) == ["train", *FINE_TUNING, "test"]
    assert all((np.diff(rows) > 0).all() for rows in split.parts.values())


class TestTable:
    def test_of_rows(self):
        split = made(0)
        known = histories(split)
        index = torch.arange(len(log().users)).flip(0)
        found = split.histories.of(index)
        assert found.shape == (len(index), 4) and found.dtype == torch.int64
        for row, history in zip(index.tolist(), found.tolist(), strict=True):
            wanted = known.get(row, [])
            assert history == wanted + [-1] * (4 - len(wanted))

    def test_of_nothing(self):
        table = SessionTable(np.zeros(0), np.zeros((0, 3)))
        assert table.of(torch.tensor([5, 2])).tolist() == [[-1] * 3] * 2
        assert made(0).histories.of(torch.zeros(0, dtype=torch.long)).shape == (0, 4)

    def test_only(self):
        table = made(0).histories
        some = table.only(table.targets[::3])
        np.testing.assert_array_equal(some.targets, table.targets[::3])
        np.testing.assert_array_equal(some.rows, table.rows[::3])

    @pytest.mark.parametrize(
        "targets, rows", [([2, 1], (2, 3)), ([1, 1], (2, 3)), ([1], (2, 3)), ([1, 2], (2,))]
    )
    def test_what_does_not_belong_together(self, targets, rows):
        with pytest.raises(ValueError, match="each target needs one history"):
            SessionTable(np.array(targets), np.zeros(rows))


# ------------------------------------------------------------------------------- files
class TestFiles:
    def test_round_trip(self, tmp_path):
        split = made(0)
        split.save(tmp_path / "split")
        for again in (Split.load(tmp_path / "split"), pickle.loads(pickle.dumps(split))):
            assert again == split and dict(again.manifest) == dict(split.manifest)
            np.testing.assert_array_equal(again.histories.targets, split.histories.targets)
            np.testing.assert_array_equal(again.histories.rows, split.histories.rows)

    def test_histories_are_part_of_the_hash(self):
        split = made(0)
        rows = split.histories.rows.copy()
        rows[0, 0] += 1
        other = SessionTable(split.histories.targets, rows)
        parts = (split.parts, split.old_ids, split.new_ids, split.manifest, split.phases)
        assert Split(*parts, split.histories) == split
        assert Split(*parts, other) != split != Split(*parts)

    def test_an_altered_history_is_damage(self, tmp_path):
        split = made(0)
        split.save(tmp_path / "split")
        with np.load(tmp_path / "split.npz") as stored:
            arrays = dict(stored)
        arrays["histories"][0, 0] += 1
        np.savez(tmp_path / "split.npz", **arrays)
        with pytest.raises(UserError, match="damaged or incomplete"):
            Split.load(tmp_path / "split")

    def test_files_of_the_version_before(self, tmp_path):
        """They have no histories; their check was made with their version."""
        from recbole_cold.data.split import _check

        ids = np.repeat(np.arange(1, 9), [40, 38, 36, 34, 20, 18, 16, 14])
        split = frequency_split(ids, np.arange(float(len(ids))), threshold=25, size=2)
        split.save(tmp_path / "split")
        path = tmp_path / "split.json"
        manifest = {**json.loads(path.read_text()), "version": 2}
        path.write_text(json.dumps({**manifest, "check": _check(manifest)}))
        again = Split.load(tmp_path / "split")
        assert again == split and again.histories is None


# ------------------------------------------------------------------------------- what is left out
class TestUntilHeldOut:
    def test_no_training_target_is_later(self):
        columns, split = log(), made(0)
        found = until_held_out(split, columns)
        limit = min(columns.time[row] for part in HELD_OUT for row in split[part])
        wanted = [row for row in split["train"] if columns.time[row] <= limit]
        assert found["train"].tolist() == wanted and 0 < len(wanted) < len(split["train"])
        for part in HELD_OUT:
            np.testing.assert_array_equal(found[part], split[part])
        assert set(found.histories.targets) == {
            row for rows in found.parts.values() for row in rows
        }
        assert found.manifest["later_rows"] == len(split["train"]) - len(wanted)
        assert found.manifest["until_time"] == limit
        lost = set(columns.items[split["train"]]) - set(columns.items[wanted])
        assert found.manifest["later_old"] == len(lost)
        total = sum(found.manifest["discarded"].values()) + found.manifest["used_rows"]
        assert total == len(columns.users)

    def test_nothing_is_left(self):
        columns = log()
        split = made(0)
        time = columns.time.copy()
        time[split["test"][0]] = -1.0
        with pytest.raises(UserError, match="leaves no session to train on: the targets of all"):
            until_held_out(split, columns._replace(time=time))

    def test_without_times(self):
        with pytest.raises(UserError, match="needs times, and the data have none"):
            until_held_out(made(0), log()._replace(time=None))


class TestValidation:
    def test_the_last_training_session_of_drawn_users(self):
        columns, split = log(), made(0)
        found = validation(split, columns, 0.25, seed=3)
        users, time = columns.users, columns.time
        n_users = len(set(users[split["train"]]))
        drawn = users[found["test"]].tolist()
        assert len(set(drawn)) == len(drawn) == round(0.25 * n_users)
        for row in found["test"]:
            own = [other for other in split["train"] if users[other] == users[row]]
            assert len(own) > 1 and max(own, key=lambda other: (time[other], other)) == row
        both = np.sort(np.r_[found["train"], found["test"]])
        np.testing.assert_array_equal(both, split["train"])

    def test_held_out_sessions_appear_nowhere(self):
        columns, split = log(), made(0)
        found = validation(split, columns, 0.25, seed=3)
        hidden = {row for part in HELD_OUT for row in split[part].tolist()}
        used = {row for t, rows in histories(found).items() for row in [t, *rows]}
        assert not used & hidden
        assert all(not len(found[part]) for part in FINE_TUNING)
        assert set(found.histories.targets) == {
            row for rows in found.parts.values() for row in rows
        }
        assert found.phases == split.phases and found.manifest["of"] == split.hash
        total = sum(found.manifest["discarded"].values()) + found.manifest["used_rows"]
        assert total == len(columns.users)

    def test_follows_from_the_seed(self):
        one, again, other = (validation(made(0), log(), 0.25, seed) for seed in (3, 3, 4))
        assert one == again != other

    def test_nobody_has_two(self):
        columns = log()
        split = until_held_out(made(0), columns)
        first = [split["train"][np.flatnonzero(columns.users[split["train"]] == user)[0]]
                 for user in set(columns.users[split["train"]])]  # fmt: skip
        parts = {**split.parts, "train": np.sort(first)}
        alone = Split(
            parts, split.old_ids, split.new_ids, split.manifest, split.phases, split.histories
        )
        with pytest.raises(UserError, match="two training sessions, and none has"):
            validation(alone, columns, 0.25, seed=3)


# ------------------------------------------------------------------------------- errors, notes
@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"user_min": 99}, "no user has session_user_min = 99 rows, the most are"),
        ({"length": 60}, "session_length is 60, and no user has more than .* in subset wc; give"),
        ({"length": 3, "least": 4}, "session_min is 4 and session_length 3; a session has at most"),
        ({"form": "gap", "gap": 0.5, "least": 4}, "no session of session_min = 4 rows can be"),
        ({"form": "gap", "gap": 1e9}, "no user of subset wc has two sessions, one to learn from"),
    ],
    ids=str,
)
def test_what_cannot_be_split(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        made(0, **changes)


def test_an_empty_part():
    few = np.isin(log().users, np.arange(1, 9))
    columns = Columns(*(column[few] for column in log()))
    with pytest.raises(UserError, match=r"has no session: \d users of subset wc have two or more"):
        made(0, columns=columns)


def test_pauses_need_times():
    with pytest.raises(UserError, match="session_form: gap cuts where time passes"):
        made(0, "pauses", columns=log()._replace(time=None))


def test_times_with_gaps():
    time = log().time.copy()
    time[3] = np.nan
    with pytest.raises(UserError, match="the time column has missing values"):
        made(0, columns=log()._replace(time=time))


def test_without_times_the_order_is_drawn_and_said():
    columns = log()._replace(time=None)
    one, again, other = (made(seed, columns=columns) for seed in (0, 0, 1))
    assert one == again != other
    assert one.manifest["order"] == "seeded permutation"
    assert "seeded permutation, for the data have no times" in str(one)
    assert "nothing here is temporal" in str(one)
    ordered = [
        [*rows, target] == sorted([*rows, target]) for target, rows in histories(one).items()
    ]
    assert np.mean(ordered) < 0.3  # in the file's order all would be


def test_one_class_of_labels_is_said():
    columns = log()
    labels = columns.labels.copy()
    labels[made(0)["ft_b"]] = 1
    split = made(0, columns=columns._replace(labels=labels))
    n = len(split["ft_b"])
    assert one_class(split.manifest) == [
        f"all {n} targets of ft_b have the label 1: AUC says nothing there"
    ]
    assert one_class(made(0).manifest) == one_class({}) == []


def test_share_of_ties():
    columns, split = log(), made(0, least=1, user_min=1, count_source="full")
    rows = sorted({row for target, before in histories(split).items() for row in [target, *before]})
    pairs = [(columns.users[row], columns.time[row]) for row in rows]
    # Who has one row shares its time with none of his own.
    alone = split.manifest["discarded"]["users with one session"]
    ties = sum(pairs.count(pair) > 1 for pair in pairs)
    assert split.manifest["tie_share"] == pytest.approx(ties / (len(rows) + alone))
    assert ties > 5 and alone > 0


# ------------------------------------------------------------------------------- MovieLens-1M
@pytest.fixture(scope="module")
def ml1m(ml1m_path):
    """Its columns; a rating of 3 or more is a click, as the paper's losses tell."""
    frame = pd.read_csv(ml1m_path / "ml-1m.inter", sep="\t", usecols=range(4))
    user, item, rating, time = (frame[name].to_numpy() for name in frame.columns)
    return Columns(user, item, time.astype(float), (rating >= 3).astype(int))


@pytest.mark.parametrize("subset", ["wc", "cw"])
def test_counts_of_ml1m(ml1m, subset):
    """S8: what does not depend on the draw of users exactly, what does within its spread."""
    rule = SessionRule(subset=subset, count_source="full")
    split = session_split(ml1m, rule, seed=2020)
    manifest = split.manifest
    assert manifest["users"]["warm"], manifest["users"]["cold"] == (4832, 1208)
    items = manifest["items"]
    assert (items["warm"], items["cold"], items["boundary_count"]) == (1853, 1853, 124)
    causes = manifest["discarded"]
    own = sum(causes[name] for name in ("users without a session", "users with one session"))
    own += manifest["used_rows"]
    (other,) = (rows for cause, rows in causes.items() if cause.startswith("the other subset"))
    of_cold = (own if subset == "wc" else other) + causes["cold users on cold items"]
    of_warm = (other if subset == "wc" else own) + causes["warm users on warm items"]
    assert (of_cold, of_warm) == (62_592 + 13_728, 747_581 + 176_308)
    assert causes["users with fewer than 20 rows"] == causes["between or beside the sessions"] == 0
    # Measured for one draw of users elsewhere; another draw gives numbers like these.
    rows, sessions, two, ties = {
        "wc": (62_592, 40_148, 1_316, 0.24), "cw": (176_308, 165_436, 1_208, 0.51)
    }[subset]  # fmt: skip
    alone = causes["users with one session"]
    assert own == pytest.approx(rows, rel=0.04)
    assert len(split.histories.targets) + alone / 10 == pytest.approx(sessions, rel=0.05)
    assert manifest["users"]["two"] == pytest.approx(two, rel=0.04)
    assert manifest["tie_share"] == pytest.approx(ties, abs=0.04)
    share = manifest["parts"]["train"]["clicks"] / len(split["train"])
    assert share == pytest.approx({"wc": 0.69, "cw": 0.844}[subset], abs=0.02)


# ------------------------------------------------------------------------------- runs
SMALL = {"embedding_size": 4, "train_batch_size": 64, "show_progress": False, "device": "cpu"}


@pytest.fixture
def session_keys(tiny_keys):
    rule = {
        "split_rule": "sessions", "session_length": 4, "session_min": 2, "session_user_min": 5
    }  # fmt: skip
    return {**tiny_keys, **SMALL, **rule}


@pytest.fixture
def document(session_keys, tmp_path):
    def go(models, **more):
        keys = {**session_keys, "cache_dir": str(tmp_path / "cache"), **more}
        return Experiment(Request(models, "tiny", None, (), keys, "it")).run()

    return go


@pytest.fixture
def session_flags(tiny_flags):
    return [
        *tiny_flags, "--split_rule=sessions", "--session_length=4", "--session_min=2",
        "--session_user_min=5",
    ]  # fmt: skip


def seed_parts(document, seed):
    """Sessions per part; of the first seed, whose split the document has."""
    if seed["seed"] == document["runs"][0]["seeds"][0]["seed"]:
        return {name: part["sessions"] for name, part in document["split"]["parts"].items()}
    return {stage["name"]: stage["rows"] for stage in seed["stages"]}


class TestRuns:
    def test_base_learns_from_the_targets_of_every_part(self, document):
        found = document("Base,Base[pretrain_epochs=2]", seeds=2)
        assert found["phases"] == ["none", "ft_a", "ft_b", "ft_c"] and not found["failures"]
        run = found["runs"][0]
        for seed in run["seeds"]:
            stages = {stage["name"]: stage for stage in seed["stages"]}
            assert stages["pretrain"]["steps"] > 0
            for part in FINE_TUNING:
                assert stages[part]["rows"] == seed_parts(found, seed)[part] > 0
            scores = [phase["metrics"]["LogLoss"] for phase in seed["phases"].values()]
            assert len(set(scores)) == 4 and all(0 < score < 2 for score in scores)
        n = found["split"]["parts"]["test"]["sessions"]
        assert run["seeds"][0]["phases"]["none"]["rows"] == n
        text = " ".join((report.table(found) + report.markdown(found)).split())
        assert "sessions wc, rows of warm users on cold items: sliding, 2 to 4 rows" in text
        assert "0 new" not in text and "new items" not in text, text

    def test_every_item_may_get_a_number_and_no_vector_moves(self, session_keys):
        keys = {**session_keys, "item_bias_variance": 0.7}
        config = make_config("ItemBias", "tiny", "FM", overrides=keys)
        data = run_data(config)
        method = build_method(config, data)
        trainer = Trainer(method, 7)
        seen = np.concatenate([data.split[part] for part in FINE_TUNING])
        batch = method.rows.batch(method.rows.index(seen))
        logits = []

        def note(name, rows):
            with torch.no_grad():
                logits.append(method.logits(batch).double())
            return {}

        run_phases(trainer, data.split, note)
        assert all(torch.equal(logits[0], each) for each in logits)
        ids, labels = batch[method.id_field], batch[method.label_field].double()
        place = torch.searchsorted(method.old_ids, ids)
        found = fit(logits[0], labels, place, len(method.old_ids), 0.7)
        assert torch.allclose(method.new_shift, found.shift + found.bias, atol=1e-6)
        with torch.no_grad():
            moved = torch.logit(method.predict(batch)) - logits[0]
        assert torch.allclose(moved, method.new_shift[place], atol=1e-6)
        assert found.bias.abs().max() > 0.01

    def test_numbers_end_the_phases_of_whole_models(self, document):
        found = document("Base,Base[item_bias=True],ItemBias")
        by_label = {run["label"]: run["seeds"][0]["phases"] for run in found["runs"]}
        plain, ended, alone = (by_label[label] for label in by_label if "steps" not in label)
        assert plain["none"]["metrics"] == ended["none"]["metrics"] == alone["none"]["metrics"]
        assert plain["ft_a"]["metrics"] != ended["ft_a"]["metrics"] != alone["ft_a"]["metrics"]

    def test_reference_rows_are_those_that_sessions_can_have(self, session_keys):
        keys = {**session_keys, "reference_rows": ["Base", "ItemBias", "MWUF"]}
        for rule, wanted in (("sessions", 2), ("frequency", 3)):
            config = make_config("Base", "tiny", None, overrides={**keys, "split_rule": rule})
            labels = [entry.label for _, entry in reference_rows(config)]
            assert labels == ["Base", "ItemBias", "MWUF"][:wanted]

    def test_beside_an_auc_stands_its_standard_error(self, document):
        found = document("Base", seeds=2)
        seeds = [seed["phases"]["ft_b"]["auc_error"] for seed in found["runs"][0]["seeds"]]
        (block,) = error_block(of_run(found))
        assert block.groups[0][1][0][1][2] == f"{np.nanmean(seeds):.4f}"
        for text in (report.table(found), report.markdown(found)):
            assert "standard error of an AUC" in text and "of different users" in text
        other = document("Base", split_rule="frequency")
        assert error_block(of_run(other)) == []

    @pytest.mark.parametrize("backbone", ["FM", "AFN"])
    def test_plain_backbones_and_epochs(self, session_keys, tmp_path, backbone):
        told = []

        class Epochs(Callback):
            wants_epoch_metrics = True

            def epoch(self, number, metrics):
                told.append(metrics)

        keys = {**session_keys, "cache_dir": str(tmp_path / "cache"), "pretrain_epochs": 2}
        request = Request("Base", "tiny", backbone, (), keys, "it")
        found = Experiment(request, callbacks=[Epochs()]).run()
        scored = found["runs"][0]["seeds"][0]["phases"]["none"]["metrics"]
        assert len(told) == 2 and told[0] != told[1] == scored

    def test_while_settings_are_chosen_nothing_is_fine_tuned(self, document):
        found = document("Base", fit_on="valid")
        (seed,) = found["runs"][0]["seeds"]
        assert found["phases"] == list(seed["phases"]) == ["none", "ft_a", "ft_b", "ft_c"]
        assert len({json.dumps(phase["metrics"]) for phase in seed["phases"].values()}) == 1
        assert [stage["rows"] for stage in seed["stages"] if stage["name"] in FINE_TUNING] == [
            0
        ] * 3

    def test_the_split_is_the_configurations(self, session_keys):
        config = make_config("Base", "tiny", None, overrides=session_keys)
        data = run_data(config)
        columns = Columns(
            *(np.asarray(data.inter[name]) for name in ("user_id", "item_id")),
            data.time,
            np.asarray(data.inter["label"]),
        )
        rule = SessionRule(length=4, least=2, user_min=5)
        split = session_split(
            columns, rule, seed=config["seed"], label_rule="rating >= 4", data_hash=data.data_hash
        )
        assert data.split == split

    @pytest.mark.parametrize(
        "change",
        [
            {"session_subset": "cw"}, {"session_form": "chunk"},
            {"session_form": "gap", "session_min": 1},
            {"session_length": 5}, {"session_stride": 2}, {"session_min": 3},
            {"session_user_min": 12}, {"seed": 1}, {"fit_on": "valid"},
            {"train_until": "first_test"}, {"cold_side": "user"}, {"count_source": "full"},
        ],
        ids=str,
    )  # fmt: skip
    def test_every_key_has_a_split_of_its_own(self, session_keys, change):
        store = DataStore()
        keys = {**session_keys, "session_gap": 20.0, "seed": 5}
        splits = [
            store.data(make_config("Base", "tiny", None, overrides={**keys, **more})).split
            for more in ({}, change)
        ]
        assert splits[0] != splits[1]
        assert len(splits[1].new_ids) == 0 < len(splits[1].old_ids)

    def test_pauses_differ_by_their_length(self, session_keys):
        keys = {**session_keys, "session_form": "gap", "session_min": 1}
        one, other = (
            run_data(make_config("Base", "tiny", None, overrides={**keys, "session_gap": gap}))
            for gap in (20.0, 30.0)
        )
        assert one.split != other.split

    def test_validation_and_later_sessions_together(self, session_keys):
        keys = {**session_keys, "fit_on": "valid", "train_until": "first_test"}
        data = run_data(make_config("Base", "tiny", None, overrides=keys))
        split = data.split
        assert data.time[split["train"]].max() <= data.time[split["test"]].min()
        assert {"later_rows", "validation_users"} <= split.manifest.keys()

    def test_results_are_found_again_whatever_their_seed(self, session_keys, tmp_path):
        keys = {**session_keys, "cache_dir": str(tmp_path / "cache"), "seeds": 2}
        experiment = Experiment(Request("Base", "tiny", None, (), keys, "it"))
        found = experiment.run()
        (tmp_path / "saved" / "one").mkdir(parents=True)
        report.write_json(tmp_path / "saved" / "one" / "results.json", found)
        (entry,) = experiment.entries
        for seed in experiment.seeds():
            cell = Cell(found["runs"][0]["backbone"], entry, "Base", seed)
            assert Earlier(tmp_path / "saved").find(experiment, cell) is not None


REFUSED = [
    (["--common_phases=1"], "common_phases cuts shared warm-up sets"),
    (["--old_test_fraction=0.1"], "old_test_fraction holds out rows of old items"),
    (["--eval_on=next"], "eval_on scores the rows that new items get next"),
    (["--model=MWUF"], "MWUF is about new items, and split_rule: sessions has none"),
    (["--model=MAP"], "MAP is about new items"),
    (["--warm=map"], "warm: map fits vectors of new items, and split_rule: sessions has none"),
    (["--session_subset=all"], "session_subset must be one of wc, cw, both or a list of values"),
    (["--session_stride=0"], "session_stride must be a whole number of at least 1"),
    (["--write={folder}"], "ready files hold rows, and a session is more"),
    (["--leaks"], "--leaks asks what new items must not tell"),
]


@pytest.mark.parametrize("flags, sentence", REFUSED, ids=str)
def test_refused_in_one_sentence(session_flags, flags, sentence, tmp_path, capsys):
    flags = [flag.format(folder=tmp_path / "ready") for flag in flags]
    assert main(["check", *session_flags, *flags]) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1
    assert not (tmp_path / "ready").exists()


def test_vectors_of_new_items_are_refused(session_flags, capsys):
    assert main(["plot", "--model=Base", *session_flags]) == 2
    assert "has no new ones; use another split_rule" in capsys.readouterr().err


def test_ready_parts_are_no_whole_data(session_keys, tmp_path, tiny_flags, tiny_keys):
    assert main(["check", *tiny_flags, f"--write={tmp_path}"]) == 0
    keys = {
        **session_keys, "data_path": str(tmp_path),
        "benchmark_filename": ["train", "warm_a", "warm_b", "warm_c", "test"],
    }  # fmt: skip
    with pytest.raises(UserError, match="benchmark_filename gives ready parts, and split_rule:"):
        run_data(make_config("Base", "tiny", None, overrides=keys))


def test_check_tells_it_all(session_flags, capsys):
    assert main(["check", *session_flags, "--session_subset=cw"]) == 0
    told = capsys.readouterr().out
    for text in (
        "sessions cw, rows of cold users on warm items", "label: rating >= 4", "order: time; ",
        "of the subset's rows share user and time with another", "warm users on warm items",
        "cold users on cold items", "the other subset, wc", "a warm item has",
    ):  # fmt: skip
        assert text in told, told


def test_forms_have_values_of_the_key():
    from recbole_cold.data.session_split import SUBSETS
    from recbole_cold.keys import ROWS

    for key, names in (("session_form", FORMS), ("session_subset", SUBSETS)):
        assert set(names) == {name for name in names if ROWS[key].kind.accepts(name)}
        assert not ROWS[key].kind.accepts("all")
