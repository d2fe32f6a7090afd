"""A folder to continue runs what it names: that is said, and another user's is asked about."""

import json
import logging
import os

import pytest

from recbole_cold import api
from recbole_cold.cli.main import main
from recbole_cold.errors import UserError
from recbole_cold.experiment import folders
from recbole_cold.experiment.folders import FINISHED, folder_to_resume

VERBS = ("run", "compare", "tune", "benchmark")


@pytest.fixture
def folder(tmp_path):
    """``folder(verb, **values)``: one with a ``request.json`` that names a method that nobody has,
    so that continuing it fails only after the question of trust."""

    def make(verb="run", **values):
        key = "model" if verb == "tune" else "models"
        told = {
            key: "Nobody",
            "dataset": "ml-100k",
            "overrides": {},
            "verb": verb,
            "backbones": "FM",
        }
        told |= values
        if verb not in ("compare", "benchmark"):
            del told["backbones"]
        if verb == "run":
            del told["verb"]
        path = tmp_path / "theirs"
        path.mkdir(exist_ok=True)
        (path / "request.json").write_text(json.dumps(told))
        return path

    return make


@pytest.fixture
def owned(monkeypatch):
    """``owned(uid, name)``: that user owns the folder, or only the file of this name."""

    def by(uid, name="theirs"):
        monkeypatch.setattr(
            folders, "_owner", lambda path: uid if path.name == name else os.geteuid()
        )

    return by


OTHER = 4_000_001  # no user's number


class TestAnotherUsers:
    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize("name", ["theirs", "request.json"])
    def test_is_refused_without_trust(self, folder, owned, capsys, verb, name):
        path = folder(verb)
        owned(OTHER, name)
        words = [] if verb == "run" else [verb]
        assert main([*words, f"--resume={path}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        place = path if name == "theirs" else path / name
        assert line == (
            f"error: '{place}' belongs to user {OTHER}, and to continue it runs what its "
            "request.json names; look into that, then add --trust (in Python trust=True)"
        )
        assert main([*words, f"--resume={path}", "--trust"]) == 2
        assert "'Nobody' is unknown" in capsys.readouterr().err

    @pytest.mark.parametrize("verb", VERBS)
    def test_from_python(self, folder, owned, tmp_path, verb):
        path = folder(verb)
        owned(OTHER)
        call = getattr(api, verb)
        with pytest.raises(UserError, match=r"in Python trust=True"):
            call(resume=path)
        with pytest.raises(UserError, match="'Nobody' is unknown"):
            call(resume=path, trust=True)

    def test_the_newest_too(self, folder, owned, tmp_path):
        folder()
        owned(OTHER)
        with pytest.raises(UserError, match="belongs to"):
            folder_to_resume(True, saved_dir=tmp_path)

    def test_ours_and_roots_are_not(self, folder, owned, monkeypatch):
        path = folder()
        monkeypatch.setattr(os, "geteuid", lambda: 1234)
        for uid in (0, 1234):
            owned(uid)
            assert folder_to_resume(path) == path
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        owned(1234)
        with pytest.raises(UserError, match="belongs to user"):
            folder_to_resume(path)

    def test_a_finished_run_is_only_read(self, folder, owned):
        path = folder(models="a/b.py")
        (path / FINISHED).touch()
        owned(OTHER)
        assert folder_to_resume(path) == path


class TestCodeIsNamed:
    def told(self, caplog, path, verb="run"):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="recbole_cold"):
            folder_to_resume(path, verb=verb)
        return [record.getMessage() for record in caplog.records]

    def test_in_one_line(self, folder, caplog, tmp_path):
        path = folder(models="Base,/x/mine.py[a=1;b=[1,2]],pack.mod:Cls", backbone="./net.py")
        assert self.told(caplog, path) == [
            f"'{path}' names code, which is run: /x/mine.py, pack.mod:Cls, ./net.py"
        ]
        (tmp_path / "a.yaml").write_text("backbone: far/away.py\n")
        path = folder("tune", model="mine.py", config_files=[str(tmp_path / "a.yaml")])
        (line,) = self.told(caplog, path, "tune")
        assert line.endswith("which is run: mine.py, far/away.py")
        path = folder("compare", models="Base,MWUF", backbones="FM,my:Net")
        (line,) = self.told(caplog, path, "compare")
        assert line.endswith("which is run: my:Net")

    def test_nothing_is_said_of_names(self, folder, caplog):
        path = folder(models="Base,MWUF[mwuf_parts=[scale]],Plug", backbone="FM")
        assert self.told(caplog, path) == []

    @pytest.mark.parametrize("content", ["", "[]", '{"overrides": 1}', '{"models": {}}'])
    def test_a_damaged_request_is_somebody_elses_sentence(self, folder, caplog, content):
        path = folder()
        (path / "request.json").write_text(content)
        assert self.told(caplog, path) == []


def test_trust_goes_with_resume(capsys):
    assert main(["--model=Base", "--trust"]) == 2
    assert "--trust goes with --resume" in capsys.readouterr().err
