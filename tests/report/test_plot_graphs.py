"""Feature graphs of items: their file, their picture, and the verb that draws it."""

import numpy as np
import pytest

from recbole_cold.cli.main import main
from recbole_cold.errors import UserError
from recbole_cold.experiment.folders import find_graphs
from recbole_cold.graphs import Graphs, load_graphs
from recbole_cold.report._graphs import _figure, plot_graphs

FIELDS = ["item_id", "title", "user_id"]


@pytest.fixture
def found():
    rng = np.random.default_rng(3)
    graphs = rng.uniform(size=(2, 3, 4, 3, 3)).astype(np.float32)
    return Graphs(FIELDS, ["i7", "i8", "i/9", "i10"], ["cold", "warm_a"], graphs)


def test_a_file_gives_back_what_was_written(found, tmp_path):
    path = tmp_path / "graphs.npz"
    path.write_bytes(found.as_bytes())
    again = load_graphs(path)
    assert again[:3] == found[:3]
    assert np.array_equal(again.graphs, found.graphs)


def test_missing_and_damaged_files_are_said(found, tmp_path):
    path = tmp_path / "graphs.npz"
    with pytest.raises(UserError, match=r"there is no .*graphs\.npz"):
        load_graphs(path)
    for payload in (b"", b"nothing of the kind", found.as_bytes()[:200]):
        path.write_bytes(payload)
        with pytest.raises(UserError, match="is damaged"):
            load_graphs(path)


def test_picture_has_phases_by_orders_and_names_on_both_axes(found):
    """Each panel shows its own matrix on the scale from 0 to 1, the first field on top."""
    graphs = found.graphs[:, :, 1]
    figure = _figure(found, graphs, "title", "told")
    *panels, bar = figure.axes
    assert len(panels) == 6 and bar.get_yticks().tolist() == [0.0, 0.5, 1.0]
    for number, axes in enumerate(panels):
        phase, order = divmod(number, 3)
        (image,) = axes.get_images()
        assert np.array_equal(image.get_array(), graphs[phase, order])
        assert image.get_clim() == (0.0, 1.0) and axes.yaxis_inverted()
        below = [label.get_text() for label in axes.get_xticklabels()]
        beside = [label.get_text() for label in axes.get_yticklabels()]
        assert below == (FIELDS if phase == 1 else [""] * 3)
        assert beside == (FIELDS if order == 0 else [""] * 3)
    assert [axes.get_title() for axes in panels[:3]] == ["order 1", "order 2", "order 3"]
    assert [text.get_text() for text in (*panels[2].texts, *panels[5].texts)] == found[2]


def test_raw_graphs_have_a_scale_around_zero(found):
    graphs = found.graphs[:, :, 1] * 4 - 2
    *panels, bar = _figure(found, graphs, "title", "told").axes
    low, high = panels[0].get_images()[0].get_clim()
    assert low == -high and high >= np.abs(graphs).max()
    assert bar.get_yticks().tolist() == [low, 0.0, high]


def test_equal_graphs_make_equal_files(found, tmp_path):
    for name in ("a.png", "b.png"):
        plot_graphs(found, "i/9", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(UserError, match=r"item 'i9' is none of the 4 new items .* are i7, i8"):
        plot_graphs(found, "i9", tmp_path / "c.png")
    with pytest.raises(UserError, match=r"ends in \.png, \.pdf or \.svg"):
        plot_graphs(found, "i7", tmp_path / "c.txt")


def test_a_run_leaves_graphs_and_the_verb_draws_them(tiny_flags, tmp_path, capsys):
    model = "--model=Base,EmerG,EmerG[emerg_layers=1]"
    few = ["--emerg_epochs=1", "--warm_epochs=2", "--seeds=2", "--seed=5", "--warm_sets=2"]
    assert main([model, *tiny_flags, *few]) == 0
    (folder,) = (tmp_path / "saved").iterdir()
    assert len(list(folder.glob("*/graphs-seed-*.npz"))) == 4
    label, seed, path = find_graphs(folder, None, None)
    assert (label, seed) == ("EmerG", "5")
    found = load_graphs(path)
    assert found.phases == ["cold", "warm_a", "warm_b"] and found.graphs.shape[:2] == (3, 2)
    assert found.fields[0] == "item_id" and found.graphs.shape[-1] == len(found.fields)
    label, seed, path = find_graphs(folder, "EmerG[emerg_layers=1]", "6")
    assert load_graphs(path).graphs.shape[1] == 1
    capsys.readouterr()

    item = found.items[0]
    assert main(["plot", str(folder), f"--item={item}"]) == 0
    picture = folder / "figures" / f"graphs-{item}.png"
    assert capsys.readouterr().out.strip() == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["plot", str(folder), f"--item={item}", f"--to={tmp_path / 'p.svg'}"]) == 0
    assert "<svg" in (tmp_path / "p.svg").read_text()

    for words, sentence in (
        (["plot", "--item=1"], "write: recbole-cold plot DIR --item=ID"),
        (["plot", str(folder), "--item=1", "--color=red"], "--color is no flag of plot"),
        (["plot", str(folder), "--item=none"], "is none of the"),
        (["plot", str(folder), "--item=1", "--entry=Base"], "has no such feature graphs; it has"),
        (["plot", str(tmp_path), "--item=1"], "is not the folder of a run"),
    ):
        capsys.readouterr()
        assert main(words) == 2
        assert sentence in capsys.readouterr().err
    assert main(["plot", "--help"]) == 0
    assert "--entry=LABEL" in capsys.readouterr().out
