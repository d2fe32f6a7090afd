"""The forms of published figures, drawn from made-up arrays and read back from their axes."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recbole_cold.errors import UserError
from recbole_cold.graphs import Graphs
from recbole_cold.report import FORMS, Drawn, IdVectors, Panel, Series, batch_values, plot_form
from recbole_cold.report._ridgelines import density

PHASES = ["cold", "warm_a", "warm_b"]
NAN = math.nan
BASE = Series("base", [0.6, 0.7, 0.8], [0.01, 0.02, NAN], [0.61, NAN, 0.83], at=2)
OURS = Series("ours", [0.65, 0.72, NAN], [0.01, 0.01, NAN], [NAN, NAN, NAN], at=1)


@pytest.fixture
def drawn():
    return Drawn("T", "told", "2 seeds", "AUC", PHASES, [Panel("FM", [BASE, OURS])])


def panels(form, drawn):
    return FORMS[form](drawn).axes


def line(axes, label):
    return next(each for each in axes.lines if each.get_label() == label)


def hollow(axes):
    """The places and values of published numbers, per row."""
    found = [each for each in axes.lines if each.get_markerfacecolor() == "none"]
    return [(list(each.get_xdata()), list(each.get_ydata())) for each in found]


@pytest.mark.parametrize("form", FORMS)
def test_each_form_becomes_a_file(form, drawn, tmp_path):
    rng = np.random.default_rng(1)
    rows = [row._replace(batches=[rng.uniform(size=9)] * 3) for row in (BASE, OURS)]
    graphs = Graphs(["a", "b"], ["i1"], PHASES[:2], rng.uniform(size=(2, 2, 1, 2, 2)))
    vectors = [IdVectors("base", rng.normal(size=(9, 4)), rng.normal(size=(5, 4)))]
    whole = drawn._replace(panels=[Panel("FM", rows)], graphs=graphs, item="i1", vectors=vectors)
    plot_form(form, whole, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_curves_have_means_bands_and_published_marks(drawn):
    (axes,) = panels("curves", drawn)
    assert list(line(axes, "base").get_ydata()) == BASE.mean
    band = axes.collections[0].get_paths()[0].vertices
    at_a = sorted(band[band[:, 0] == 1, 1])
    assert (at_a[0], at_a[-1]) == pytest.approx((0.68, 0.72))
    # One seed has no deviation: the band closes there.
    assert set(np.round(band[band[:, 0] == 2, 1], 9)) == {0.8}
    places, values = hollow(axes)[0]
    assert places == [0, 1, 2] and values[0] == 0.61 and math.isnan(values[1])
    assert [each.get_text() for each in axes.get_xticklabels()] == PHASES
    low, high = axes.get_ylim()
    assert low < 0.59 and high > 0.83


def test_bars_stand_side_by_side_at_their_means(drawn):
    (axes,) = panels("bars", drawn)
    base, ours = axes.containers[1], axes.containers[3]
    assert [bar.get_height() for bar in base][:2] == BASE.mean[:2]
    centres = [[bar.get_x() + bar.get_width() / 2 for bar in each] for each in (base, ours)]
    assert np.allclose(np.mean(centres, axis=0), [0, 1, 2])
    assert np.allclose(np.diff(centres, axis=0), 0.4)
    assert hollow(axes)[0][0] == pytest.approx(centres[0])


def test_a_sweep_is_a_line_per_phase_in_the_order_of_places(drawn):
    (axes,) = panels("sweep", drawn)
    lines = [each.lines[0] for each in axes.containers]
    assert [list(each.get_xdata()) for each in lines] == [[1, 2]] * 3
    assert list(lines[0].get_ydata()) == [0.65, 0.6] and list(lines[1].get_ydata()) == [0.72, 0.7]
    assert [each.get_label() for each in axes.containers] == PHASES
    bare = drawn._replace(panels=[Panel("FM", [BASE._replace(at=None)])])
    with pytest.raises(UserError, match="no number"):
        panels("sweep", bare)


def test_boxes_are_quartiles_of_batches(drawn):
    batch = [0.1, 0.2, 0.3, 0.4, 0.5, NAN]
    rows = [BASE._replace(batches=[batch] * 3)]
    (axes,) = panels("boxes", drawn._replace(panels=[Panel("FM", rows)]))
    box = axes.patches[0].get_path().vertices
    assert (box[:, 1].min(), box[:, 1].max()) == pytest.approx((0.2, 0.4))
    medians = [each for each in axes.lines if each.get_color() == "black" and len(each.get_ydata())]
    assert [list(each.get_ydata()) for each in medians] == [[0.3, 0.3]] * 3


@pytest.mark.parametrize("form", ["boxes", "ridgelines"])
def test_without_batches_there_is_no_picture(form, drawn):
    for batches, words in (
        (None, "none were kept"),
        ([[]] * 3, "no phase has a whole batch of 64 rows"),
        ([[NAN]] * 3, "every batch of 64 rows has one class"),
    ):
        rows = [BASE._replace(batches=batches)]
        with pytest.raises(UserError, match=words):
            panels(form, drawn._replace(panels=[Panel("FM", rows)], batches=(64,)))


def a_normal_density(values, at):
    """By the formula: Scott's bandwidth, n^(-1/5) sample deviations."""
    wide = np.std(values, ddof=1) * len(values) ** -0.2
    each = np.exp(-((np.subtract.outer(at, values) / wide) ** 2) / 2)
    return each.sum(axis=1) / (len(values) * wide * math.sqrt(2 * math.pi))


def test_a_ridge_is_a_kernel_density_with_its_peak_at_one():
    values = np.array([0.6, 0.62, 0.7, 0.71, 0.8])
    places, heights = density(values)
    expected = a_normal_density(values, places)
    assert heights == pytest.approx(expected / expected.max())
    assert heights.max() == 1 and heights[[0, -1]].max() < 0.01
    assert density(values[:1]) is None and density(np.full(5, 0.7)) is None


def test_ridgelines_are_a_panel_per_phase_and_a_ridge_per_row(drawn):
    batch = [0.1, 0.2, 0.3, 0.4, 0.97, NAN]
    rows = [BASE._replace(batches=[batch, [0.5], []]), OURS._replace(batches=[batch[::-1]] * 3)]
    axes = panels("ridgelines", drawn._replace(panels=[Panel("FM", rows)], batches=(64,)))
    assert [each.get_title("left") for each in axes] == PHASES
    assert [each.get_text() for each in axes[0].get_yticklabels()] == ["base", "ours"]
    first, second, third = axes
    ridges = [each for each in first.collections if each.get_label() in ("base", "ours")]
    for ridge, place in zip(ridges, first.get_yticks(), strict=True):
        y = ridge.get_paths()[0].vertices[:, 1]
        assert (y.min(), y.max()) == pytest.approx((place - 1.25, place))
    assert ridges[0].get_facecolor().tolist() != ridges[1].get_facecolor().tolist()
    ticks = [each.get_segments() for each in first.collections if hasattr(each, "get_segments")]
    assert [sorted(float(s[0, 0]) for s in each) for each in ticks] == [batch[:5]] * 2
    medians = [each for each in first.lines if each.get_color() == "black"]
    assert [list(each.get_xdata()) for each in medians] == [[0.3, 0.3]] * 2
    # One batch has no density, and none not even a tick.
    assert not [each for each in second.collections if each.get_label() == "base"]
    assert [text.get_text() for text in third.texts] == ["no batch"]
    assert {tuple(each.get_xlim()) for each in axes} == {first.get_xlim()}
    assert first.get_xlim()[1] == 1  # no AUC is above


@pytest.mark.parametrize("form", ["boxes", "ridgelines"])
def test_batches_are_counted_in_the_words_of_the_picture(form, drawn):
    def words(*rows):
        whole = drawn._replace(panels=[Panel("FM", rows)], batches=(64,))
        return " ".join(" ".join(text.get_text() for text in FORMS[form](whole).texts).split())

    some = BASE._replace(batches=[[0.5, 0.6, NAN]] * 3)
    whole = OURS._replace(batches=[[0.5, 0.7]] * 3)
    told = words(some, whole)
    assert "of 2 to 3 batches of 64 scored rows, all seeds" in told
    assert "3 of all 15 have one class and are left out" in told and "2 seeds" not in told
    assert "of 2 batches" in words(whole) and "no batch has one class" in words(whole)


def test_boxes_with_one_colour_differ_by_their_hatches(drawn):
    rows = [BASE._replace(label=f"row {k}", batches=[[0.1, 0.2, 0.4]] * 3) for k in range(9)]
    (axes,) = panels("boxes", drawn._replace(panels=[Panel("FM", rows)]))
    handles, labels = axes.get_legend_handles_labels()
    looks = {(each[0].get_facecolor(), each[0].get_hatch()) for each in handles}
    assert len(labels) == 9 == len(looks) > len({colour for colour, _ in looks})


def test_a_row_looks_alike_in_all_panels(drawn):
    both = [Panel("FM", [BASE, OURS]), Panel("DCN", [OURS])]
    first, second = panels("curves", drawn._replace(panels=both))
    assert line(first, "ours").get_color() == line(second, "ours").get_color()
    assert line(first, "base").get_color() != line(first, "ours").get_color()


def test_published_numbers_alone_are_no_picture(drawn):
    rows = [BASE._replace(mean=[NAN] * 3, std=[NAN] * 3)]
    with pytest.raises(UserError, match="no row of this figure has a value of AUC"):
        panels("curves", drawn._replace(panels=[Panel("FM", rows)]))


def test_what_a_form_misses_is_told(drawn, tmp_path):
    for form in ("graphs", "vectors"):
        with pytest.raises(UserError, match="no row of this figure has"):
            plot_form(form, drawn, tmp_path / "a.png")
    with pytest.raises(UserError, match=r"\.png, \.pdf or \.svg"):
        plot_form("curves", drawn, tmp_path / "a.txt")


def test_a_metric_of_every_whole_batch():
    rng = np.random.default_rng(2)
    labels, scores = rng.integers(2, size=25), rng.uniform(size=25)
    labels[10:20] = 1  # a batch of one class has no AUC
    found = batch_values(roc_auc_score, labels, scores, 10)
    assert found[0] == roc_auc_score(labels[:10], scores[:10])
    assert math.isnan(found[1]) and len(found) == 2
