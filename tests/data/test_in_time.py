"""Training rows of the future: counted one row at a time, and left out where that is asked for."""

import numpy as np
import pytest

from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.data._in_time import first_scored, future_rows, until_first_scored
from recbole_cold.data.split import frequency_split
from recbole_cold.errors import UserError
from recbole_cold.experiment.data_store import run_data


def log(seed, items=30):
    """Columns (items, users, time); a third of the moments is shared by several rows."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 40, size=items)
    counts[:3] = 6, 36, 37
    ids = rng.permutation(np.repeat(np.arange(1, items + 1), counts))
    time = rng.integers(len(ids), size=len(ids)).astype(np.float64)
    # Rows of new items are in the second half, as releases are; else nothing is left.
    time[np.bincount(ids)[ids] <= 25] += len(ids) / 3
    return ids, rng.integers(1, 12, size=len(ids)), time


@pytest.mark.parametrize("seed", range(5))
class TestUntilFirstScored:
    def both(self, seed):
        ids, users, time = log(seed)
        split = frequency_split(ids, time, threshold=25, size=2)
        return ids, users, time, split, until_first_scored(split, ids, time)

    def test_is_the_rule_done_by_hand(self, seed):
        ids, _, time, split, found = self.both(seed)
        first = min(time[row] for row in split["test"].tolist())
        kept = [row for row in split["train"].tolist() if time[row] <= first]
        assert 0 < len(kept) < len(split["train"])
        assert found["train"].tolist() == kept
        assert found.old_ids.tolist() == sorted({int(ids[row]) for row in kept})
        assert found.manifest["later_rows"] == len(split["train"]) - len(kept)
        assert found.manifest["later_old"] == len(split.old_ids) - len(found.old_ids)
        assert found.manifest["until_time"] == first

    def test_nothing_else_moves(self, seed):
        _, _, _, split, found = self.both(seed)
        assert list(found.parts) == list(split.parts)
        for name in set(split.parts) - {"train"}:
            np.testing.assert_array_equal(found[name], split[name])
        assert found.phases == split.phases
        np.testing.assert_array_equal(found.new_ids, split.new_ids)
        assert found.hash != split.hash

    def test_no_user_of_a_test_row_has_a_later_row(self, seed):
        _, users, time, split, found = self.both(seed)
        assert future_rows(split, users, time).any()
        assert not future_rows(found, users, time).any()

    def test_future_rows_one_at_a_time(self, seed):
        _, users, time, split, _ = self.both(seed)
        train = split["train"].tolist()
        wanted = [
            any(users[other] == users[row] and time[other] > time[row] for other in train)
            for row in split["test"].tolist()
        ]
        assert future_rows(split, users, time).tolist() == wanted

    def test_scored_on_the_next_set_the_first_of_those_counts(self, seed):
        ids, _, time, split, found = self.both(seed)
        scored = split.scored_on("next")
        first = min(float(time[split[name]].min()) for name in split.parts if name != "train")
        assert first_scored(scored, time) == first
        other = until_first_scored(scored, ids, time)
        assert (time[other["train"]] <= first).all()
        assert len(other["train"]) < len(found["train"])


def test_what_cannot_be_is_a_sentence():
    ids, _, time = log(0)
    split = frequency_split(ids, time, threshold=25, size=2)
    with pytest.raises(UserError, match="needs times, and the data have none"):
        until_first_scored(split, ids, None)
    late = time.copy()
    late[split["train"]] += 1e6
    with pytest.raises(UserError, match="leaves no row to train on"):
        until_first_scored(split, ids, late)
    late[0] = np.nan
    with pytest.raises(UserError, match="missing values"):
        until_first_scored(split, ids, late)


class TestKey:
    def data(self, keys, **more):
        return run_data(make_config("Base", "tiny", None, overrides={**keys, **more}))

    @pytest.mark.parametrize(
        ("fit_on", "eval_on"), [("full", "test"), ("full", "next"), ("valid", "test")]
    )
    def test_train_is_not_later_than_anything_scored(self, tiny_keys, fit_on, eval_on):
        more = {"fit_on": fit_on, "eval_on": eval_on, "warm_size": 1, "valid_fraction": 0.1}
        plain = self.data(tiny_keys, **more).split
        data = self.data(tiny_keys, **more, train_until="first_test")
        time = np.asarray(data.time)
        scored = {phase.score_on for phase in data.split.phases}
        first = min(time[data.split[name]].min() for name in scored)
        assert time[data.split["train"]].max() <= first
        assert data.split.phases == plain.phases
        assert data.split.hash != plain.hash

    def test_none_changes_no_hash(self, tiny_keys):
        assert "train_until" not in self.data(tiny_keys).split.manifest

    def test_check_prints_the_share(self, tiny_flags, tiny_keys, capsys):
        data = self.data(tiny_keys)
        users = np.asarray(data.inter[data.uid_field])
        share = future_rows(data.split, users, np.asarray(data.time)).mean()
        assert main(["check", *tiny_flags]) == 0
        out = capsys.readouterr().out
        assert f"time: {share:.1%} of the test rows have a user with later rows in train" in out
        assert main(["check", *tiny_flags, "--train_until=first_test"]) == 0
        out = capsys.readouterr().out
        assert "time: 0.0% of the test rows have a user with later rows in train" in out
        until = self.data(tiny_keys, train_until="first_test").split.manifest
        assert f"first_test left out {until['later_rows']:,} later rows, and " in out
