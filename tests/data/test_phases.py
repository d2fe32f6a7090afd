"""The protocol as a value, and the order in which a trainer is called."""

import pytest

from recbole_cold.data.phases import Phase, protocol, run_phases

WARM = ["warm_a", "warm_b", "warm_c"]


class FakeTrainer:
    """Writes down what it is asked."""

    def __init__(self):
        self.calls = []

    def pretrain(self):
        self.calls.append("pretrain")

    def learn(self):
        self.calls.append("learn")

    def warm_up(self, name, rows):
        self.calls.append(f"{name} on {rows}")

    def evaluate(self, name, rows):
        self.calls.append(f"score {name} on {rows}")
        return {"of": name}


def test_every_phase_is_scored_on_test():
    assert protocol(WARM) == [
        Phase("cold", None, "test"),
        Phase("warm_a", "warm_a", "test"),
        Phase("warm_b", "warm_b", "test"),
        Phase("warm_c", "warm_c", "test"),
    ]


def test_next_scores_on_the_rows_that_come_next():
    """MWUF, section 4.1: cold on warm_a's rows, ..., the last phase on test."""
    assert [(p.name, p.score_on) for p in protocol(WARM, eval_on="next")] == [
        ("cold", "warm_a"),
        ("warm_a", "warm_b"),
        ("warm_b", "warm_c"),
        ("warm_c", "test"),
    ]


@pytest.mark.parametrize("eval_on", ["test", "next"])
def test_no_phase_is_scored_on_rows_it_has_learnt_on(eval_on):
    seen = set()
    for phase in protocol(WARM, eval_on, common=2):
        seen.add(phase.warm_up_on)
        assert phase.score_on not in seen


def test_common_phases_come_last():
    phases = protocol(WARM, common=2)
    assert [p.name for p in phases] == ["cold", *WARM, "common_1", "common_2"]
    assert [p.warm_up_on for p in phases[-2:]] == ["common_1", "common_2"]
    assert protocol(WARM, "next", common=1)[-2] == Phase("warm_c", "warm_c", "common_1")


def test_without_warm_up_sets_there_is_the_cold_phase():
    assert protocol([]) == protocol([], "next") == [Phase("cold", None, "test")]


def test_runner_learns_then_scores_phase_by_phase():
    trainer = FakeTrainer()
    split = {name: f"rows of {name}" for name in [*WARM, "test"]}
    results = run_phases(trainer, split, trainer.evaluate, protocol(WARM[:2], "next"))
    assert trainer.calls == [
        "pretrain",
        "learn",
        "score cold on rows of warm_a",
        "warm_a on rows of warm_a",
        "score warm_a on rows of warm_b",
        "warm_b on rows of warm_b",
        "score warm_b on rows of test",
    ]
    assert results == {name: {"of": name} for name in ["cold", "warm_a", "warm_b"]}
    assert list(results) == ["cold", "warm_a", "warm_b"]
