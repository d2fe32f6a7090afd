"""The wheel alone: installed into an environment of its own, started where no checkout is."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(fresh_environment):
    return fresh_environment(ROOT)


def test_it_runs_from_the_root_folder(environment, tmp_path):
    done = environment.command(
        "--model=Base",
        "--dataset=ml-100k",
        "--pretrain_epochs=1",
        f"--saved_dir={tmp_path / 'saved'}",
        f"--cache_dir={tmp_path / 'cache'}",
    )
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "saved").glob("*/results.json")
    (run,) = json.loads(path.read_text())["runs"]
    phases = run["seeds"][0]["phases"]
    assert list(phases) == ["cold", "warm_a", "warm_b", "warm_c"]
    assert all(0.5 < phase["metrics"]["AUC"] < 1 for phase in phases.values())
    assert (path.parent / "figures" / "curves.png").stat().st_size > 0


def test_code_and_yaml_are_those_of_the_wheel(environment):
    code = "from recbole_cold import registry; print(registry.__file__, registry.properties_dir())"
    done = environment.run("-c", code)
    file, folder = map(Path, done.stdout.split())
    assert folder == file.parent / "properties", done.stderr
    assert file.is_relative_to(environment.folder)


def test_it_converts(environment, tmp_path):
    """The converters are in the wheel, and without a checkout files go where --out says."""
    (tmp_path / "ratings.dat").write_text("1::2::5::978300760\n")
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n")
    (tmp_path / "movies.dat").write_text("2::Jumanji (1995)::Adventure\n")
    assert "book-crossing: " in environment.command("convert", "--list").stdout
    out = tmp_path / "data" / "ml-1m"
    done = environment.command("convert", "ml-1m", str(tmp_path), f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert (out / "ml-1m.item").read_text().splitlines()[1:] == ["2\tJumanji\t1995\tAdventure"]
    assert f"recbole-cold check --dataset=ml-1m --data_path={out.parent}" in done.stdout


def test_it_leaves_nothing_behind_where_it_was_started(environment, tmp_path):
    """A check trains nothing and writes into the cache only."""
    words = ("check", "--dataset=ml-100k", f"--cache_dir={tmp_path / 'cache'}")
    script = str(environment.folder / "bin" / "recbole-cold")
    here = tmp_path / "here"
    here.mkdir()
    done = environment.run(script, *words, cwd=here)
    assert done.returncode == 0, done.stderr
    assert not list(here.iterdir())
