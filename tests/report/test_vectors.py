"""The picture of ID vectors: the plane, the distance beside it, and the verb that draws it."""

import re

import numpy as np
import pytest

from recbole_cold.cli.main import main
from recbole_cold.errors import UserError
from recbole_cold.report import IdVectors, mean_distance, plot_vectors
from recbole_cold.report._vectors import _figure, principal_plane

RNG = np.random.default_rng(3)


class TestPlane:
    def test_against_eigenvectors_of_the_covariance(self):
        points = RNG.normal(size=(200, 5)) * [0.1, 3.0, 1.0, 0.2, 2.0] + 7.0
        plane = principal_plane(points)
        values, vectors = np.linalg.eigh(np.cov(points.T))
        for number in range(2):
            axis = vectors[:, -1 - number]
            assert abs(plane.axes[:, number] @ axis) == pytest.approx(1.0)
            assert plane.share[number] == pytest.approx(values[-1 - number] / values.sum())
            assert plane.axes[np.abs(axis).argmax(), number] > 0
        assert plane.place(points).mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-12)
        assert plane.place(points).var(axis=0, ddof=1) == pytest.approx(values[-1:-3:-1])

    def test_one_dimension_and_one_point(self):
        plane = principal_plane(np.array([[1.0], [3.0]]))
        assert plane.place(np.array([[4.0]])).tolist() == [[2.0, 0.0]]
        assert plane.share.tolist() == [1.0, 0.0]
        assert principal_plane(np.ones((1, 3))).share.tolist() == [0.0, 0.0]


def test_distance_of_means_by_hand():
    old = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])  # mean (1, 2), rms sqrt 5
    new = np.array([[4.0, 5.0], [4.0, 7.0]])  # mean (4, 6): 5 away
    assert mean_distance(IdVectors("a", old, new)) == pytest.approx(5 / np.sqrt(5))
    assert mean_distance(IdVectors("a", old, old)) == 0.0
    assert mean_distance(IdVectors("a", old[:1], new)) == np.inf


class TestPicture:
    @pytest.mark.parametrize("number", [1, 6])
    def test_a_panel_per_run(self, tmp_path, number):
        panels = [
            IdVectors(f"run {k}", RNG.normal(size=(30, 4)), RNG.normal(size=(6001, 4)))
            for k in range(number)
        ]
        plot_vectors(panels, "tiny", tmp_path / "a.svg")
        text = (tmp_path / "a.svg").read_text()
        assert text.count("<!-- run ") == number
        plot_vectors(panels, "tiny", tmp_path / "b.svg")
        strip = re.compile(r"[0-9a-f]{10,}")  # names of clips are drawn anew
        assert strip.sub("", text) == strip.sub("", (tmp_path / "b.svg").read_text())

    def test_panels_of_one_backbone_have_the_same_axes(self):
        rng = np.random.default_rng(3)
        old, other = rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
        panels = [
            IdVectors("one", old, rng.normal(size=(9, 4))),
            IdVectors("other backbone", other, rng.normal(size=(9, 4))),
            IdVectors("two", old.copy(), 5.0 * rng.normal(size=(9, 4))),
        ]
        first, apart, third = _figure(panels, "title").axes
        assert first.get_xlim() == third.get_xlim() and first.get_ylim() == third.get_ylim()
        assert apart.get_xlim() != first.get_xlim() and apart.get_ylim() != first.get_ylim()

    def test_another_suffix_is_said(self, tmp_path):
        with pytest.raises(UserError, match=r"png, \.pdf or \.svg"):
            plot_vectors([], "tiny", tmp_path / "a.gif")


class TestVerb:
    def test_vectors_of_each_method_and_what_is_said(self, tiny_flags, tmp_path, capsys):
        """Base starts from the mean of old items: 0 away, all in one place."""
        code = main(["plot", "--model=Base,Base[new_item_init=zero]", *tiny_flags])
        out = capsys.readouterr().out
        assert code == 0
        (folder,) = (tmp_path / "saved").iterdir()
        assert folder.name.startswith("plot-tiny-DeepFM-cold-")
        assert sorted(path.name for path in folder.iterdir()) == ["vectors.npz", "vectors.png"]
        vectors = np.load(folder / "vectors.npz")
        old, mean = vectors["Base/old"], vectors["Base/new"]
        assert old.shape == (15, 4) and mean.shape == (18, 4)
        assert np.allclose(mean, old.mean(axis=0))
        zero = vectors["Base[new_item_init=zero]/new"]
        assert not zero.any()
        assert np.array_equal(vectors["Base[new_item_init=zero]/old"], old)
        apart = mean_distance(IdVectors("", old, zero))
        assert re.search(r"^  Base +0\.000$", out, re.MULTILINE)
        assert f"  {apart:.3f}" in out
        assert str(folder / "vectors.png") in out

    def test_a_later_phase(self, tiny_flags, tmp_path, capsys):
        assert main(["plot", "--model=Base", "--phase=warm_b", *tiny_flags]) == 0
        (folder,) = (tmp_path / "saved").iterdir()
        vectors = np.load(folder / "vectors.npz")
        assert len(np.unique(vectors["Base/new"], axis=0)) == 18

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--phase=hot"], "'hot' is not a phase; use one of cold, warm_a, warm_b, warm_c"),
            (["--resume"], "plot takes no --resume"),
        ],
    )
    def test_bad_input_is_one_sentence(self, tiny_flags, tmp_path, capsys, words, said):
        assert main(["plot", "--model=Base", *words, *tiny_flags]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "saved").exists()
