"""What the machine has, and an exit code that says whether a run would miss something."""

import re

import pytest
import torch

from recbole_cold import compat, registry
from recbole_cold.cli import doctor as verb
from recbole_cold.cli.main import main
from recbole_cold.errors import UserError


@pytest.fixture
def doctor(capsys):
    def go(*words):
        """Exit code, what was printed, and the same in one line: long paths are wrapped."""
        code = main(["doctor", *words])
        text = capsys.readouterr().out
        return code, text, " ".join(text.split())

    return go


def test_all_is_well(doctor, tmp_path):
    code, text, line = doctor(f"--cache_dir={tmp_path}")
    assert code == 0
    assert text.endswith("nothing that a run needs is broken\n")
    assert f"  torch         {torch.__version__}" in text
    for name in ("recbole_cold", "Python", "numpy", "pandas", "scipy", "ray", "CPU"):
        assert re.search(rf"^  {name} +\S", text, re.MULTILINE), name
    assert f" cache {tmp_path}, 0 files, 0.0 MB, writable properties " in line
    assert str(registry.properties_dir()) in line
    assert str(compat.recbole_folder() / "dataset_example" / "ml-100k") in line


def test_every_shim_is_named_with_its_own_words(doctor):
    """Read from the module: a new shim is listed without a second list."""
    _, text, _ = doctor()
    shims = text[text.index("mended in RecBole") :]
    named = set(re.findall(r"^  (\w+): \S", shims, re.MULTILINE))
    assert named == {
        name for name, value in vars(compat).items()
        if getattr(value, "__module__", "") == compat.__name__
        and callable(value) and "RecBole 1." in (value.__doc__ or "")
    }  # fmt: skip
    assert "restore_numpy_names: Give numpy back the aliases RecBole's modules use" in shims


def test_a_cache_of_some_size(doctor, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 2_500_000)
    assert f"{tmp_path}, 1 files, 2.5 MB, writable" in doctor(f"--cache_dir={tmp_path}")[2]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]  # looking leaves nothing


def test_a_cache_that_is_not_there_yet_is_not_made(doctor, tmp_path):
    assert doctor(f"--cache_dir={tmp_path / 'x' / 'y'}")[0] == 0
    assert not (tmp_path / "x").exists()


def test_a_cache_that_cannot_be(doctor, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, line = doctor(f"--cache_dir={tmp_path / 'file' / 'cache'}")
    assert code == 1
    assert "0.0 MB, not writable" in line
    assert f"broken: nothing can be cached under {tmp_path / 'file' / 'cache'} (" in line


def test_what_is_missing_is_said(doctor, monkeypatch):
    monkeypatch.setattr(verb, "NEEDED", ("torch", "no_such_package"))
    monkeypatch.setattr(verb, "WHERE_USED", {"no_such_option": "tune"})
    code, _, line = doctor()
    assert code == 1
    assert "broken: no_such_package is not installed; pip install no_such_package" in line
    assert "no_such_option not installed (only tune needs it)" in line
    assert line.count("broken: ") == 1


def test_a_plug_in_that_does_not_load(doctor, monkeypatch):
    def load():
        raise UserError("model 'Mine' of the installed plug-in mine:Mine cannot be loaded")

    entry = registry.EntryPoint("Mine", "mine:Mine", "recbole_cold.methods")
    good = registry.EntryPoint("Good", "good:Good", "recbole_cold.backbones")
    found = [("model", entry, load), ("backbone", good, lambda: object)]
    monkeypatch.setattr(registry, "plug_ins", lambda: found)
    code, text, line = doctor()
    assert code == 1
    assert re.search(r"^  Mine +model, mine:Mine: does not load$", text, re.MULTILINE)
    assert re.search(r"^  Good +backbone, good:Good$", text, re.MULTILINE)
    assert "broken: model 'Mine' of the installed plug-in" in line


def test_cards(doctor, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "A Card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (int(1e9), int(8e9)))
    code, text, _ = doctor()
    assert code == 0
    assert re.search(r"^  cuda:0 +A Card, 1\.0 of 8\.0 GB free$", text, re.MULTILINE)


def test_other_keys_are_refused(capsys):
    assert main(["doctor", "--seeds=3"]) == 2
    assert capsys.readouterr().err == "error: doctor takes no --seeds; leave it out\n"
