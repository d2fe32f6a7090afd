"""Words of a command line: both forms of a flag, short forms, the verb, help, early answers."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_cold.cli.arguments import VERBS, Arguments, parse, resumed_folder
from recbole_cold.cli.main import ACTIONS, HELP, HELPS, main
from recbole_cold.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


class TestParse:
    def test_a_run_is_the_verb_that_is_not_named(self):
        assert parse(["--model=A"]) == parse(["run", "--model=A"]) == ("run", {}, {"model": "A"})
        assert parse([]).verb == "run"

    def test_values_keep_their_equal_signs(self):
        assert parse(["--threshold={rating: 4}", "--x=a=b"]).keys == {
            "threshold": "{rating: 4}",
            "x": "a=b",
        }

    @pytest.mark.parametrize("verb", VERBS)
    def test_both_forms_of_every_key_and_verb(self, verb):
        keys = {"model": "A,B[x=[1,2]]", "seeds": "5", "any_key_at_all": "a b", "empty": ""}
        one = [f"--{key}={value}" for key, value in keys.items()]
        two = [word for key, value in keys.items() for word in (f"--{key}", value)]
        assert parse([verb, *one]) == parse([verb, *two]) == (verb, {}, keys)

    def test_short_forms_are_recboles(self):
        words = ["-m", "MWUF", "-d", "ml-100k", "--config_files", "a.yaml b.yaml"]
        keys = {"model": "MWUF", "dataset": "ml-100k", "config_files": "a.yaml b.yaml"}
        assert parse(words).keys == parse(["-m=MWUF", *words[2:]]).keys == keys

    @pytest.mark.parametrize("number", ["-1", "-0.5", "-1e-3", "-.5", "-inf"])
    def test_negative_numbers_are_values(self, number):
        assert parse(["--x", number, "--y", "1"]).keys == {"x": number, "y": "1"}

    def test_what_begins_like_a_flag_is_a_value_behind_the_equal_sign(self):
        assert parse(["--to=-x", "--model=--y"]).keys == {"to": "-x", "model": "--y"}
        with pytest.raises(UserError, match="--to has no value; write --to=VALUE or --to VALUE"):
            parse(["--to", "-x=3"])

    def test_grids_add_up(self):
        words = ["tune", "--grid", "a=[1]", "--grid=b=[2]", "-m", "A"]
        assert parse(words) == ("tune", {"grid": ["a=[1]", "b=[2]"]}, {"model": "A"})

    def test_switches_take_no_value(self):
        assert parse(["compare", "--debug", "saved/a"]).flags == {
            "debug": True,
            "folders": ["saved/a"],
        }

    @pytest.mark.parametrize("verb", ["compare", "plot"])
    def test_folders_stand_between_flags(self, verb):
        parsed = parse([verb, "a", "--against", "Base", "b"])
        assert parsed == (verb, {"folders": ["a", "b"]}, {"against": "Base"})

    @pytest.mark.parametrize(
        ("words", "resume"),
        [
            (["--resume"], True),
            (["--resume", "--saved_dir=x"], True),
            (["--resume=DIR"], "DIR"),
            (["--resume", "DIR"], "DIR"),
            (["--resume", "DIR", "--saved_dir=x"], "DIR"),
            (["--resume="], ""),
        ],
    )
    @pytest.mark.parametrize("verb", ["run", "compare", "tune"])
    def test_resume_with_and_without_its_folder(self, verb, words, resume):
        assert parse([verb, *words]).flags == {"resume": resume}

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["rnu"], "'rnu' is not a verb; did you mean 'run'"),
            (["dance"], f"use one of {', '.join(VERBS)}"),
            (["MWUF"], "'MWUF' is not a verb; write --model=MWUF"),
            (["DCN"], "'DCN' is not a verb; write --backbone=DCN"),
            (["help", "tnue"], "'tnue' is not a verb; did you mean 'tune'"),
            (["run", "check"], "'check' is not understood; write flags as --key=value"),
            (["-m", "A", "tune"], "and the verb first: recbole-cold tune"),
            (["--resume", "compare"], "write the verb first: recbole-cold compare --resume"),
            (["--config_files", "a.yaml", "b.yaml"], "'b.yaml' is not understood"),
            (["--seeds"], "--seeds has no value; write --seeds=VALUE or --seeds VALUE"),
            (["--seeds", "--seed", "3"], "--seeds has no value"),
            (["-m"], "--model has no value"),
            (["tune", "--grid"], "--grid has no value"),
            (["-x=3"], "'-x=3' is not understood"),
            (["-x", "3"], "'-x' is not understood"),
            (["--=3"], "'--=3' is not understood"),
            (["--"], "'--' is not understood"),
            (["---x=3"], "'---x=3' is not understood"),
            (["--debug=True"], "--debug takes no value; write --debug"),
            (["--version=2"], "--version takes no value"),
            (["--seed=1", "--seed=2"], "--seed is given twice"),
            (["-m", "A", "--model=B"], "--model is given twice"),
            (["--resume", "--resume=a"], "--resume is given twice"),
        ],
    )
    def test_refused(self, words, message):
        with pytest.raises(UserError, match=re.escape(message)):
            parse(words)


class TestResumedFolder:
    """One rule and one set of sentences for all verbs that continue something."""

    WHAT = (
        ("run", "run"), ("compare", "comparison"), ("tune", "sweep"), ("benchmark", "benchmark")
    )  # fmt: skip

    @pytest.mark.parametrize(("verb", "what"), WHAT)
    def test_sentences(self, verb, what, tmp_path):
        none = Arguments(verb, {"resume": True}, {"saved_dir": str(tmp_path)})
        with pytest.raises(UserError, match=f"there is no unfinished {what} in '{tmp_path}'"):
            resumed_folder(none)
        with pytest.raises(UserError, match=f"--resume continues a {what} as it was asked for; "):
            resumed_folder(Arguments(verb, {"resume": "x"}, {"seeds": "2"}))
        with pytest.raises(UserError, match="--resume= names no folder"):
            resumed_folder(Arguments(verb, {"resume": ""}, {}))

    @pytest.mark.parametrize(("verb", "what"), WHAT)
    def test_folders(self, verb, what, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert resumed_folder(Arguments(verb, {}, {})) is None
        assert resumed_folder(Arguments(verb, {"resume": "a"}, {})) == tmp_path / "a"
        words = [] if verb == "run" else [verb]
        assert main([*words, "--resume", str(tmp_path)]) == 2

    @pytest.mark.parametrize(("verb", "what"), WHAT)
    def test_no_folder_of_that_verb(self, verb, what, tmp_path, capsys):
        assert main([verb, "--resume", str(tmp_path)]) == 2
        err = capsys.readouterr().err
        assert f"is not the folder of a {what}: it has no request.json" in err
        (tmp_path / "request.json").write_text("[]")
        assert main([verb, "--resume", str(tmp_path)]) == 2
        assert f"; start the {what} again" in capsys.readouterr().err
        other, name = ("tune", "sweep") if verb == "run" else ("run", "run")
        (tmp_path / "request.json").write_text(json.dumps({"verb": other}))
        assert main([verb, "--resume", str(tmp_path)]) == 2
        assert f"is not the folder of a {what} but of a {name}" in capsys.readouterr().err


# ------------------------------------------------------------------------- help
class TestHelp:
    def test_the_main_help_fits_one_screen(self, capsys):
        assert main(["--help"]) == main(["-h"]) == main(["help"]) == main(["-m", "A", "-h"]) == 0
        assert capsys.readouterr().out == 4 * HELP
        assert 24 <= len(HELP.splitlines()) <= 45
        for verb in VERBS:
            assert re.search(rf"^  {verb} ", HELP, re.MULTILINE)

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_has_its_own(self, verb, capsys):
        calls = [[verb, "--help"], ["help", verb], [verb, "-h"], [verb, "--seeds", "--help"]]
        assert [main(words) for words in calls] == [0] * 4
        text = HELPS[verb]
        assert capsys.readouterr().out == 4 * text
        assert text.startswith(f"recbole-cold {verb}: ")
        assert "usage: recbole-cold " in text

    def test_no_verb_is_forgotten(self):
        assert set(HELPS) == set(ACTIONS) == set(VERBS)
        assert len(set(HELPS.values())) == len(VERBS)

    @pytest.mark.parametrize("text", [HELP, *HELPS.values()], ids=["main", *HELPS])
    def test_80_columns_and_examples_that_are_understood(self, text):
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80
        examples = lines[lines.index("examples") + 1 :]
        assert len(examples) == 3
        for example in examples:  # as a shell would hand them over
            program, *words = shlex.split(example.partition(" > ")[0])
            assert program == "recbole-cold"
            parse(words)

    def test_version(self, capsys):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out.startswith("recbole_cold ")


# ------------------------------------------------------------------------- before torch
def without_torch(*words):
    """Exit code, stdout and stderr of a command that must not import torch (nor numpy)."""
    code = (
        "import sys; from recbole_cold.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'numpy', 'recbole', 'ray', 'pandas'} & {*sys.modules};"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT
    )
    assert "imported" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model=MWFU"], "did you mean 'MWUF'?"),
        (["-m", "Base,MWFU[x=1]"], "did you mean 'MWUF'?"),
        (["-m", "no/such.py"], "does not exist"),
        (["--backbone", "DeepFN"], "did you mean 'DeepFM'?"),
        (["compare", "--models=Base", "--backbones=FM,DNC[x=1]"], "did you mean 'DCN'?"),
        (["compare", "-m", "DeepFM"], "write --model=Base --backbone=DeepFM"),
        (["tune", "--model=CAVR"], "did you mean 'CVAR'?"),
        (["reproduce", "emrg-table1"], "did you mean emerg-table1?"),
        (["reproduce"], "reproduce takes one table or figure"),
        (["plot", "--model=Xyz"], "model 'Xyz' is unknown; `recbole-cold list`"),
        (["check", "-d", "ml-100k", "--model", "Bsae"], "did you mean 'Base'?"),
        (["list", "MUWF"], "did you mean 'MWUF'?"),
        (["convert", "ml-1n", "x.zip"], "did you mean 'ml-1m'?"),
        (["rnu"], "did you mean 'run'?"),
        (["--seeds"], "--seeds has no value"),
    ],
)
def test_slips_are_answered_before_torch(words, sentence):
    code, out, err = without_torch(*words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["help", "doctor"],
        ["--version"],
        ["list"],
        ["list", "MWUF", "DeepFM"],
        ["convert", "--list"],
    ],
)
def test_help_and_names_need_no_torch(words):
    code, out, err = without_torch(*words)
    assert (code, err) == (0, "")
    assert out


def test_python_m():
    def call(*words):
        command = [sys.executable, "-m", "recbole_cold", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    done = call("--help")
    assert (done.returncode, done.stdout) == (0, HELP)
    done = call("-m", "MWFU")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: model 'MWFU' is unknown")
