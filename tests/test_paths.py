"""Paths, yaml texts and names of data sets that nobody can mean: one sentence each."""

import os
from pathlib import Path

import pytest

from recbole_cold import compat, paths
from recbole_cold.cli.main import main
from recbole_cold.config import make_config, read_yaml
from recbole_cold.data._cache import cache_root
from recbole_cold.errors import UserError


def test_an_unknown_home_folder_is_said_for_every_key_that_is_a_path(tiny_flags, capsys):
    for word in ("--data_path", "--cache_dir", "--config_files", "--resume"):
        words = [flag for flag in tiny_flags if not flag.startswith(word)]
        asked = words if word != "--resume" else []
        assert main([*asked, f"{word}=~nosuchuser/x"]) == 2
        assert "home folder in the path '~nosuchuser/x" in capsys.readouterr().err
    for key in ("--model", "--backbone"):
        assert main([f"{key}=~nosuchuser/x.py"]) == 2
        assert "home folder in the path" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["a\0b", os.fsdecode(b"f\xff\xfe")])
def test_what_no_file_can_name_is_refused_before_anything_runs(path):
    with pytest.raises(UserError, match=r"null byte|no UTF-8"):
        paths.absolute(path)


def test_bytes_that_are_no_utf8_are_said_of_every_key(tiny_flags, capsys):
    odd = os.fsdecode(b"f\xff")
    for key in ("--saved_dir", "--cache_dir", "--data_path", "--dataset"):
        words = [flag for flag in tiny_flags if not flag.startswith(key)]
        assert main(["check", *words, f"{key}={odd}"]) == 2
        told = capsys.readouterr().err
        assert "no UTF-8" in told or "cannot be shown" in told


def test_a_working_folder_that_is_no_utf8_is_said_before_training(tmp_path, monkeypatch):
    odd = tmp_path / os.fsdecode(b"f\xff")
    odd.mkdir()
    monkeypatch.chdir(odd)
    with pytest.raises(UserError, match="no UTF-8"):
        paths.absolute("saved")


def test_links_in_a_circle_are_said(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="leads nowhere"):
        paths.absolute(tmp_path / "loop")


def test_a_user_without_a_home_caches_nothing(monkeypatch):
    def nobody(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RECBOLE_COLD_CACHE", raising=False)
    monkeypatch.setattr(Path, "expanduser", nobody)
    assert "no home folder" in str(cache_root(None))


def test_a_pipe_is_no_configuration_file(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="a pipe or a device"):
        read_yaml(tmp_path / "a.yaml")
    assert read_yaml(os.devnull) == {}


ODD = ["2020-13-45", "!!int abc", "!!float x", "!!bool x", "!!timestamp x", "9" * 5000, "[" * 2000,
       "{a: " * 2000]  # fmt: skip


@pytest.mark.parametrize("text", ODD, ids=lambda text: text[:12])
def test_what_yaml_stumbles_over_is_a_text_on_the_command_line_and_a_sentence_in_files(
    text, tmp_path
):
    assert compat.parse_text(text) == text
    (tmp_path / "a.yaml").write_text(f"key: {text}\n")
    with pytest.raises(UserError, match="is not valid yaml"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/data/mine", "--data_path=/data --dataset=mine"),
        ("a/../mine", "--dataset=mine"),
        ("mine/", "write --dataset=mine$"),
        ("..", "not the path"),
        ("n" * 300, "too long"),
        ("a\nb", "cannot be shown"),
        ("*", "has no .inter file"),
    ],
)
def test_a_data_set_is_named_not_addressed(name, told, tmp_path):
    with pytest.raises(UserError, match=told.replace("*", r"\*")):
        make_config("Base", name, "FM", overrides={"data_path": str(tmp_path)})


def test_a_link_that_leads_nowhere_is_said(tmp_path, capsys):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "odd.inter").symlink_to("/nowhere/odd.inter")
    assert main(["check", "--dataset=odd", f"--data_path={tmp_path}"]) == 2
    assert "a link to '/nowhere/odd.inter', cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["--saved_dir", "--model"])
def test_names_that_the_system_refuses_are_one_sentence(key, tiny_flags, capsys, tmp_path):
    words = [flag for flag in tiny_flags if not flag.startswith(key)]
    assert main([*words, f"{key}={tmp_path}/{'n' * 300}.py"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_a_cache_that_may_not_be_entered_is_a_cache_without_anything(tiny_keys, monkeypatch):
    """Root enters everything: the refusal is made here."""
    from recbole_cold.experiment.data_store import load_data

    asked = Path.exists

    def refused(self, *args, **kwargs):
        if "locked" in str(self):
            raise PermissionError(13, "Permission denied", str(self))
        return asked(self, *args, **kwargs)

    monkeypatch.setattr(Path, "exists", refused)
    keys = {**tiny_keys, "cache_dir": "/dev/null/locked"}
    assert load_data(make_config("Base", "tiny", "FM", overrides=keys)).n_rows
