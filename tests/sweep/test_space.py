"""Search spaces are values: read, refused in one sentence, and drawn the same for the same seed."""

import math

import pytest

from recbole_cold.errors import UserError
from recbole_cold.sweep.space import (
    Axis,
    at_random,
    check,
    describe,
    expand,
    name_of,
    point,
    read_grid,
    read_space,
    setting_text,
    size,
)
from recbole_cold.trials.settings import nested


def space(mapping):
    return read_space(mapping, "here")


class TestReading:
    def test_a_list_is_a_grid_and_a_name_a_distribution(self):
        axes = space(
            {
                "a": [1, [2]],
                "b": {"loguniform": [1e-4, 1e-1]},
                "c": "uniform(0, 1)",
                "d": {"choice": ["x", "y"]},
                "e": "choice(x, y)",
                "f": {"inner": {"deep": [1, 2]}},
            }
        )
        assert [axis[:3] for axis in axes] == [
            ("a", "grid", (1, [2])),
            ("b", "loguniform", (1e-4, 1e-1)),
            ("c", "uniform", (0, 1)),
            ("d", "choice", ("x", "y")),
            ("e", "choice", ("x", "y")),
            ("f.inner.deep", "grid", (1, 2)),
        ]

    def test_a_grid_on_the_command_line(self):
        assert read_grid("lr=[1e-3,1e-2]") == [Axis("lr", "grid", (1e-3, 1e-2), "--grid")]
        assert read_grid("lr=loguniform(1e-4,1)")[0].kind == "loguniform"

    def test_a_file_and_the_block_in_a_methods_yaml(self, tmp_path):
        (tmp_path / "a.yaml").write_text("lr: [1e-3]\n")
        (tmp_path / "b.yaml").write_text("lr: 0.1\nsweep_space:\n  lr: [1e-3]\n")
        for name in ("a.yaml", "b.yaml"):
            (axis,) = read_space(tmp_path / name)
            assert axis == Axis("lr", "grid", (1e-3,), str(tmp_path / name))

    def test_lines_of_recbole(self, tmp_path):
        path = tmp_path / "a.hyper"
        path.write_text(
            "learning_rate loguniform -8,0\nembedding_size choice [64, 96]\n\n"
            "dropout_prob uniform 0,1\nlayers quniform 1,5,1\n"
        )
        axes = read_space(path)
        assert [axis[:2] for axis in axes] == [
            ("learning_rate", "loguniform"),
            ("embedding_size", "grid"),
            ("dropout_prob", "uniform"),
            ("layers", "quniform"),
        ]
        assert axes[0].values == pytest.approx((math.exp(-8), 1.0), rel=1e-5)
        assert axes[1].values == (64, 96)
        assert axes[1].where == f"{path}, line 2"

    @pytest.mark.parametrize(
        ("mapping", "message"),
        [
            ({"lr": 0.1}, "'lr: 0.1' in here is no axis; write a list of values"),
            ({"lr": "loguniformm(1, 2)"}, "did you mean 'loguniform'"),
            ({"lr": []}, "lr in here has no values"),
            ({"lr": {"choice": []}}, "lr in here has no values"),
            ({"lr": [1, 2, 1]}, "lr in here has 1 twice"),
            ({"lr": {"uniform": [1]}}, "needs 2 numbers: low, high"),
            ({"lr": {"uniform": 1}}, "uniform needs a list, not '1'"),
            ({"lr": {"uniform": ["a", "b"]}}, "needs 2 numbers"),
            ({"lr": {"uniform": [2, 1]}}, "is empty; the first number must be below"),
            ({"lr": {"loguniform": [0, 1]}}, "must begin above 0"),
            ({"lr": {"randint": [0.5, 3]}}, "needs whole numbers"),
            ({"lr": {"quniform": [0, 1, 2]}}, "needs a step"),
        ],
    )
    def test_refused(self, mapping, message):
        with pytest.raises(UserError) as raised:
            space(mapping)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_refused_lines(self, tmp_path):
        path = tmp_path / "a.hyper"
        path.write_text("lr loguniform\n")
        with pytest.raises(UserError, match="line 1: 'lr loguniform' is not 'name kind values'"):
            read_space(path)
        with pytest.raises(UserError, match="cannot be read"):
            read_space(tmp_path / "b.hyper")
        with pytest.raises(UserError, match="is not key="):
            read_grid("[1,2]")


class TestChecking:
    def test_every_value_is_tried_and_the_ends_of_distributions(self):
        tried = []
        axes = space({"a": [1, 2], "b": {"uniform": [0, 1]}, "c": {"randint": [3, 9]}})
        check(axes, {"a", "b", "c"}, {}, lambda axis, value: tried.append((axis.key, value)))
        assert tried == [("a", 1), ("a", 2), ("b", 0), ("b", 1), ("c", 3), ("c", 8)]

    def test_a_dotted_key_is_known_by_its_first_part(self):
        check(space({"a": {"b": [1]}}), {"a"}, {}, lambda axis, value: None)

    @pytest.mark.parametrize(
        ("mapping", "message"),
        [
            ({}, "the search space is empty"),
            (
                {"learnin_rate": [1]},
                "unknown key 'learnin_rate' in here; did you mean 'learning",
            ),
            ({"zzz": [1]}, "unknown key 'zzz' in here; the method has no such key"),
            ({"seed": [1]}, "'seed' in here cannot be searched: use --seeds"),
        ],
    )
    def test_refused(self, mapping, message):
        with pytest.raises(UserError) as raised:
            check(space(mapping), {"learning_rate"}, {"seed": "use --seeds"}, lambda *_: None)
        assert message in str(raised.value)

    def test_one_key_from_two_places(self):
        axes = [*space({"a": [1]}), *read_grid("a=[2]")]
        with pytest.raises(UserError, match="'a' is an axis twice \\(here and --grid\\)"):
            check(axes, {"a"}, {}, lambda *_: None)


class TestDrawing:
    def test_a_grid_is_walked_in_order(self):
        assert expand(space({"a": [1, 2], "b": ["x", "y"]})) == [
            {"a": 1, "b": "x"},
            {"a": 1, "b": "y"},
            {"a": 2, "b": "x"},
            {"a": 2, "b": "y"},
        ]

    def test_each_point_gets_draws_of_the_others(self):
        axes = space({"a": [1, 2], "lr": {"loguniform": [1e-4, 1e-1]}})
        settings = expand(axes, samples=3, seed=1)
        assert [setting["a"] for setting in settings] == [1, 1, 1, 2, 2, 2]
        assert len({setting["lr"] for setting in settings}) == 6
        assert settings == expand(axes, samples=3, seed=1)
        assert settings != expand(axes, samples=3, seed=2)
        assert len(expand(axes)) == 20

    def test_an_axis_more_changes_no_other_draw(self):
        one = expand(space({"lr": {"uniform": [0, 1]}}), 4)
        two = expand(space({"lr": {"uniform": [0, 1]}, "b": {"randint": [0, 1000]}}), 4)
        assert [setting["lr"] for setting in one] == [setting["lr"] for setting in two]

    @pytest.mark.parametrize(
        ("kind", "values", "of_kind"),
        [
            ("uniform", [0.2, 0.3], float),
            ("loguniform", [1e-4, 1e-1], float),
            ("quniform", [1, 5, 1], int),
            ("quniform", [0, 0.5, 0.1], float),
            ("randint", [3, 6], int),
        ],
    )
    def test_draws_lie_in_their_range(self, kind, values, of_kind):
        drawn = [s["k"] for s in expand(space({"k": {kind: values}}), samples=400, seed=3)]
        assert min(drawn) >= values[0]
        assert max(drawn) < values[1] if kind == "randint" else max(drawn) <= values[1]
        assert all(isinstance(value, of_kind) for value in drawn)
        if kind == "quniform":
            assert len(drawn) == 5 if of_kind is int else 6

    def test_logarithms_are_uniform(self):
        drawn = [s["k"] for s in expand(space({"k": {"loguniform": [1e-4, 1]}}), 2000, 3)]
        assert sum(value < 1e-2 for value in drawn) / len(drawn) == pytest.approx(0.5, abs=0.04)

    def test_a_random_search_walks_through_nothing(self):
        axes = at_random(space({"a": list(range(50)), "b": list(range(50))}))
        settings = expand(axes, samples=20)
        assert 18 <= len(settings) <= 20
        assert {axis.kind for axis in axes} == {"choice"}

    def test_what_is_drawn_twice_is_tried_once(self):
        assert len(expand(space({"a": {"choice": [1, 2]}}), samples=50)) == 2


class TestPoints:
    """Every point of a space that has an end, by number."""

    AXES = (
        Axis("a", "grid", ([4], [8]), "--grid"),
        Axis("b", "randint", (3, 6), "--grid"),
        Axis("c", "quniform", (0.1, 0.5, 0.2), "--grid"),
        Axis("d", "quniform", (8, 30, 8), "--grid"),
    )

    def test_each_once(self):
        count = size(self.AXES)
        assert count == 2 * 3 * 3 * 3
        found = [point(self.AXES, number) for number in range(count)]
        assert len({name_of(each) for each in found}) == count
        assert {each["b"] for each in found} == {3, 4, 5}
        assert {each["c"] for each in found} == {0.1, 0.3, 0.5}
        assert {each["d"] for each in found} == {8, 16, 24}
        assert all(isinstance(each["d"], int) for each in found)

    def test_no_end_and_very_far(self):
        assert size([*self.AXES, Axis("e", "uniform", (0, 1), "--grid")]) is None
        far = Axis("e", "quniform", (0, 1, 1e-9), "--grid")
        assert size([far]) == 10**9 + 1
        assert point([far], 10**9) == {"e": 1.0}

    def test_numbers_that_are_equal_but_for_rounding(self):
        assert name_of({"x": 0.1 + 0.2}) == name_of({"x": 0.3})
        assert name_of({"x": 0.3}) != name_of({"x": 0.3001})


def test_dotted_keys_go_into_the_mapping_they_belong_to():
    base = {"threshold": {"rating": 4, "other": 1}}
    assert nested({"threshold.rating": 3, "a.b.c": 1, "x": 2}, base) == {
        "threshold": {"rating": 3, "other": 1},
        "a": {"b": {"c": 1}},
        "x": 2,
    }
    assert base == {"threshold": {"rating": 4, "other": 1}}


def test_a_space_and_a_setting_can_be_read():
    axes = space({"a": [1, [2, 3]], "lr": {"loguniform": [1e-4, 1e-1]}})
    assert describe(axes, 5).splitlines() == [
        "  a: [1,[2,3]]",
        "  lr: loguniform(0.0001, 0.1)",
        "  2 grid x 5 draws",
    ]
    assert setting_text({"a": [2, 3], "lr": 1e-5, "m": "x"}) == "a=[2,3] lr=1e-05 m=x"
