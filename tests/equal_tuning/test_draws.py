"""Settings that methods are tried with: equal shared draws, none twice, all that there are."""

import pytest

from recbole_cold.config import make_config
from recbole_cold.equal_tuning.candidates import MOST_OWN_KEYS
from recbole_cold.equal_tuning.draws import in_drawn_order, settings_of
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import run_data
from recbole_cold.experiment.requests import Entry
from recbole_cold.registry import find_method, stated_methods
from recbole_cold.sweep import space
from recbole_cold.sweep.requests import fixed_keys, own_axes, shared_axes
from recbole_cold.sweep.space import read_space

SHARED = read_space({"rate": [1, 2, 3, 4, 5], "epochs": [1, 2, 5, 10], "decay": [0, 1, 2]}, "s")
ROWS = in_drawn_order(SHARED, 2020)


def names(settings):
    return [space.name_of(setting) for setting in settings]


def of(own=None, keys=("rate", "epochs", "decay"), n=16, default=None, rows=ROWS):
    axes = read_space(own or {}, "own")
    values = {"rate": 1, "epochs": 1, "decay": 0, **{axis.key: axis.values[0] for axis in axes}}
    start = {key: (default or values)[key] for key in [*keys, *(axis.key for axis in axes)]}
    return settings_of(start, rows, in_drawn_order(axes, 2020), keys, n, 2020)


class TestInDrawnOrder:
    def test_every_point_once(self):
        assert len(set(names(ROWS))) == len(ROWS) == 60
        walked = space.expand(SHARED)
        assert sorted(names(ROWS)) == sorted(names(walked))
        assert names(ROWS) != names(walked)

    def test_fewer_are_the_first_ones(self):
        assert in_drawn_order(SHARED, 2020, 7) == ROWS[:7]
        assert in_drawn_order(SHARED, 1, 7) != ROWS[:7]

    def test_points_that_no_draw_meets_come_last(self):
        """Of 3000 points a thousand draws meet some 850; the others make up what is asked for."""
        axes = read_space({"a": {"randint": [0, 3000]}}, "s")
        found = in_drawn_order(axes, 5)
        assert len({point["a"] for point in found}) == 1000

    def test_without_axes_nothing_is_set(self):
        assert in_drawn_order([], 2020) == [{}]


class TestSettings:
    def test_the_first_is_the_default_and_none_comes_twice(self):
        found = of({"mine": ["a", "b"]})
        assert found[0] == {"rate": 1, "epochs": 1, "decay": 0, "mine": "a"}
        assert len(set(names(found))) == len(found) == 16

    def test_shared_draws_are_the_same_for_all(self):
        one, other = of({"mine": ["a", "b"]}), of({"yours": {"uniform": [0, 1]}})
        for number in range(15):
            for found in (one, other):
                assert {k: found[number + 1][k] for k in ROWS[0]} == ROWS[number]

    def test_a_method_that_lacks_keys_has_the_others_of_the_same_draw(self):
        found = of({"mine": {"uniform": [0, 1]}}, keys=("epochs",))
        assert [each["epochs"] for each in found[1:]] == [row["epochs"] for row in ROWS[:15]]
        assert set(found[1]) == {"epochs", "mine"}

    def test_as_many_as_there_are(self):
        """Three values of a shared key and four of an own one are twelve settings, no more."""
        found = of({"mine": [1, 2, 3, 4]}, keys=("decay",), n=16)
        assert len(set(names(found))) == len(found) == 12
        assert len(of({"mine": [1, 2, 3, 4]}, keys=("decay",), n=12)) == 12
        few = in_drawn_order(read_space({"decay": [0, 1]}, "s"), 1)
        assert len(of({"mine": list(range(9))}, keys=("decay",), n=18, rows=few)) == 18

    def test_a_draw_that_is_the_default_is_tried_with_another_own_value(self):
        default = {**ROWS[3], "mine": "a"}
        found = of({"mine": ["a", "b"]}, default=default)
        assert found[4] == {**ROWS[3], "mine": "b"}
        bare = of(default=ROWS[3])
        assert len(bare) == 16 and bare[-1] == ROWS[15]
        assert [each for each in bare if each == ROWS[3]] == [ROWS[3]]

    def test_more_trials_begin_with_the_settings_of_fewer(self):
        assert of({"mine": ["a", "b"]}, n=32)[:16] == of({"mine": ["a", "b"]}, n=16)

    def test_nothing_to_search(self):
        assert settings_of({}, [{}], [{}], (), 16, 1) == [{}]


METHODS = sorted(stated_methods())


class TestSpacesOfMethods:
    @pytest.mark.parametrize("name", METHODS)
    def test_two_own_keys_whose_values_build(self, name, tiny_keys):
        """At most two, none of them shared, all known and not fixed; each value makes a method."""
        small = {**tiny_keys, "embedding_size": 4, "embedding_init": "model"}
        own, shared = own_axes(Entry(name)), {axis.key for axis in shared_axes()}
        assert 1 <= len(own) <= MOST_OWN_KEYS
        assert not {axis.key for axis in own} & shared
        fixed = fixed_keys("benchmark")
        config = make_config(name, "tiny", "FM", overrides=small)
        data = run_data(config)

        def try_value(axis, value):
            build_method(
                make_config(name, "tiny", "FM", overrides={**small, axis.key: value}), data
            )

        space.check(own, set(config.final_config_dict) - set(fixed), fixed, try_value)

    @pytest.mark.parametrize("name", METHODS)
    def test_idle_keys_are_those_that_change_no_fit(self, name, tiny_keys):
        """What a run learns by: epochs, rates and penalties of all its fits."""
        small = {**tiny_keys, "embedding_size": 4}
        values = {"warm_learning_rate": 0.037, "warm_epochs": 7, "pretrain_epochs": 5,
                  "weight_decay": 0.019}  # fmt: skip
        data = run_data(make_config(name, "tiny", "FM", overrides=small))

        def fits(**changed):
            config = make_config(name, "tiny", "FM", overrides={**small, **changed})
            method = build_method(config, data)
            index = method.rows.index(data.split["warm_a"])
            warm = method.warm_fits(index) if config["warm"] == "own" else []
            return [
                (fit.epochs, [(step.learning_rate, step.weight_decay) for step in fit.steps])
                for fit in [*method.pretrain_fits(), *method.learn_fits(), *warm]
            ]

        plain = fits()
        idle = {key for key, value in values.items() if fits(**{key: value}) == plain}
        assert idle == set(find_method(name).idle_keys) - {"warm_steps"}
