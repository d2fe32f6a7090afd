"""Hostile command lines: each is refused in one sentence, or means what it says; none trains.

A line is a key, a bad value and a place to give it. The keys come from the table of keys and from
the classes of methods and backbones, so a new key joins by itself.
"""

import contextlib
import io
import math
from functools import cache
from typing import NamedTuple

import pytest
import yaml

from recbole_cold import compat, config, keys
from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.keys import CLICK_MODELS, ROWS, declared
from recbole_cold.registry import backbones, methods
from recbole_cold.sweep.sweep import Sweep

BAD = {
    "empty": "", "none": "~", "word": "nope", "true": "true", "negative": "-1", "half": "0.5",
    "huge": "1e14", "digits": "9" * 5000, "nan": ".nan", "infinite": "-.inf", "list": "[nope]",
    "list of nan": "[.nan]", "no list": "[]", "mapping": "{nope: 1}", "of lists": "{item: [nope]}",
    "quote": "'",
}  # fmt: skip
WAYS = ("check", "run", "brackets", "file", "grid", "compare", "plot")
MOST = 2100  # letters of a sentence


class Prepared(BaseException):
    """Everything was checked and built, and training would begin."""


class Answer(NamedTuple):
    code: int | str  # "prepared" where training would have begun
    out: str
    err: str

    @property
    def refused(self) -> bool:
        return self.code == 2

    def sentence(self, line) -> str:
        """The one sentence of a refusal."""
        lines = self.err.strip().splitlines()
        errors = [each for each in lines if each.startswith("error: ")]
        assert len(errors) == 1 and errors == lines[-1:], (line, self)
        assert len(errors[0]) < MOST and "Traceback" not in self.err, (line, errors)
        return errors[0].removeprefix("error: ")


@pytest.fixture
def ask(tiny_flags, tmp_path, monkeypatch):
    """``ask(*words)``: what a command line on the tiny data set ends with, at the latest where
    training would begin; the words win over the flags of the data set."""

    def stop(*_args, **_keys):
        raise Prepared

    def plan(sweep):
        sweep._first_trial().prepare()
        raise Prepared

    monkeypatch.setattr(Experiment, "open_folder", stop)
    monkeypatch.setattr("recbole_cold.experiment.experiment.run_phases", stop)
    monkeypatch.setattr(Sweep, "plan", plan)
    monkeypatch.setattr("recbole_cold.comparison.session.new_folder", stop)
    monkeypatch.setattr("recbole_cold.trials.ray_pool.room", lambda *_asked: 1)
    # Warnings are said once per process; here each line is one of its own.
    monkeypatch.setattr("recbole_cold.config._warn_once", config._warn_once.__wrapped__)
    monkeypatch.chdir(tmp_path)

    def ask(*words, elsewhere=()):
        given = {word.partition("=")[0] for word in words} | {f"--{key}" for key in elsewhere}
        own = [flag for flag in tiny_flags if flag.partition("=")[0] not in given]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([*words, *own])
            except Prepared:
                code = "prepared"
        answer = Answer(code, out.getvalue(), err.getvalue())
        assert "Traceback" not in answer.out + answer.err, (words, answer)
        assert code in (0, 2, "prepared"), (words, answer)
        if answer.refused:
            answer.sentence(words)
        return answer

    return ask


# ------------------------------------------------------------------------------- every key
@cache
def every_key():
    """Key -> its row, its default, and a method and a backbone that it can be given to."""
    found = {}
    for name in sorted(set(backbones()) - set(compat.UNWRAPPABLE)):
        made = make_config("Base", "ml-100k", name)
        own = declared(backbones()[name]).keys() | CLICK_MODELS.keys() | ROWS.keys()
        for key in sorted(own & made.final_config_dict.keys()):
            found.setdefault(key, (made.key(key), made[key], "Base", name))
    for name, cls in methods().items():
        made = make_config(name, "ml-100k")
        for key, row in declared(cls).items():
            found.setdefault(key, (row, made[key], name, "DeepFM"))
    for key, row in ROWS.items():
        found.setdefault(key, (row, None, "Base", "DeepFM"))
    skipped = keys.names(role=keys.FLAG) | keys.names(role=keys.DERIVED)
    return {key: found[key] for key in sorted(found) if key not in skipped}


def line_of(way, key, value, folder):
    """The words that give ``key`` this value in one of the places."""
    _, _, method, backbone = every_key()[key]
    names = {"model": f"--model={method}", "backbone": f"--backbone={backbone}"}
    names = [word for name, word in names.items() if name != key]
    if way == "brackets":
        return [f"--model={method}[{key}={value}]", f"--backbone={backbone}"]
    if way == "grid":
        return ["tune", f"--model={method}", f"--backbone={backbone}", f"--grid={key}=[{value}]"]
    if way == "file":
        file = folder / "mine.yaml"
        file.write_text(f"{key}: {value}\n")
        return ["check", *names, f"--config_files={file}"]
    if way == "run":
        return [*names, f"--{key}={value}"]
    if way == "compare":
        rows = [word for word in names if not word.startswith("--model")]
        return ["compare", "--models=Base,CVAR" if method == "Base" else f"--models=Base,{method}",
                *rows, f"--{key}={value}"]  # fmt: skip
    return [way, *names, f"--{key}={value}"]


# Their values are signed numbers.
SIGNED = {"gme_gamma", "coldnas_factor_start", "alpha", "beta"}
# They take a text or another value.
LOOSE = {
    "gpu_id", "metrics", "f1_threshold", "model", "fs1_context", "fs2_context",
    "coldnas_architecture", "dataset", "id_first_order", "item_bias_variance", "map_deviation",
}  # fmt: skip


def nonsense(key, value):
    """Whether no reader of the key's default could take a value for one of its kind."""
    row, default, _, _ = every_key()[key]
    if row.role in (keys.IDLE, keys.UNSUPPORTED) or key in LOOSE:
        return False
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and (not math.isfinite(value) or abs(value) > 1e9):
        return True
    if value is None and "none" in row.kind.words:
        return False
    if isinstance(default, bool):
        return not isinstance(value, bool)
    if isinstance(default, int | float):
        return not number or (value < 0 and key not in SIGNED)
    if isinstance(default, list):
        return not isinstance(value, list)
    return isinstance(default, str) and not isinstance(value, str | None)


def check_table(ask, folder, what, part):
    """Give a value to every key whose number is in ``part``, each at another place."""
    number, wrong = list(BAD).index(what), []
    for position, key in enumerate(every_key()):
        if (position + number) % 4 not in part:
            continue
        value = BAD[what]
        way = WAYS[(position // 4 + number) % len(WAYS)]
        line = line_of(way, key, value, folder)
        try:
            answer = ask(*line, elsewhere=[key])
            if not answer.refused and way not in ("grid", "brackets"):
                check_accepted(key, value or ("~" if way == "file" else ""), answer)
        except Exception as error:  # all that is wrong is told at once
            wrong.append(f"{line!s:.300}: {error!r:.500}")
    assert not wrong, "\n".join(wrong)


def check_accepted(key, value, answer):
    """What was accepted is sound, or said to have no effect."""
    try:
        meant = yaml.load(value, Loader=compat.yaml_loader()) if value else ""
    except (yaml.YAMLError, ValueError):
        meant = value
    assert not nonsense(key, meant), answer
    if every_key()[key][0].role == keys.IDLE:
        assert "no effect here" in answer.err


@pytest.mark.parametrize("what", BAD, ids=str)
def test_every_key(ask, tmp_path, what):
    check_table(ask, tmp_path, what, {0})


@pytest.mark.slow
@pytest.mark.parametrize("what", BAD, ids=str)
def test_every_key_with_the_other_values(ask, tmp_path, what):
    check_table(ask, tmp_path, what, {1, 2, 3})


@pytest.mark.parametrize(
    "words", [["--checkpoint_seconds=1e14"], ["--model=EmerG", "--emerg_init_std=1e14"]]
)
@pytest.mark.parametrize("verb", [["check"], []], ids=["check", "run"])
def test_numbers_have_an_end(ask, verb, words):
    """Of keys that state no limit of their own, too."""
    assert "1,000,000,000" in ask(*verb, *words).sentence(words)


def test_the_table_is_long():
    assert len(every_key()) * len(BAD) > 4 * 300


# ------------------------------------------------------------------------------- names in values
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--normalize_field=[nope]"], "normalize_field names 'nope'"),
        (["--numerical_features=[nope]"], "numerical_features names 'nope'"),
        (["--load_col={inter: [nope]}"], "load_col asks for the field 'nope'"),
        (["--load_col={nope: [a]}"], "load_col names the file '.nope'"),
        (["--unload_col={item: [nope]}"], "unload_col names the field 'nope'"),
        (["--seq_len={nope: 1}"], "seq_len names 'nope'"),
        (["--val_interval={nope: 1}"], "val_interval names the field 'nope'"),
        (["--threshold={nope: 1}"], "the field of threshold 'nope' is not in"),
        (["--TIME_FIELD=timestmp"], "TIME_FIELD names 'timestmp', which is not loaded; did you "
                                    "mean 'timestamp'?"),
        (["--USER_ID_FIELD=nope"], "the id field 'nope' is not loaded"),
        (["--benchmark_filename=[nope]"], "tiny.nope.inter' does not exist"),
        (["--metrics=[Nope]"], "metric 'Nope' (on the command line) is none of AUC"),
        (["--valid_metric=Nope"], "metric 'Nope' (on the command line) is none of AUC"),
        (["--base_model=Nope"], "base_model names 'Nope', which is no row of this table; there "
                                "are Base"),
        (["--backbone=Nope"], "backbone 'Nope' is unknown"),
        (["--backbone="], "--backbone= names no backbone"),
        (["--device=nope"], "device 'nope' is unknown"),
        (["--encoding=nope"], "nope"),
        (["--cold_side=nope"], "cold_side 'nope' is none of item, user"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["check", "run", "compare", "tune", "plot"])
def test_names_in_values(ask, verb, words, told):
    """Whatever is to be done, a name that means nothing is refused before it."""
    first = [] if verb == "run" else [verb]
    models = "--models=Base,CVAR" if verb == "compare" else "--model=CVAR"
    grid = ["--grid=cvar_beta=[0.1,0.2]"] if verb == "tune" else []
    answer = ask(*first, models, *grid, *words)
    assert answer.refused and told in answer.sentence(words)


@pytest.mark.parametrize(
    ("model", "key", "told"),
    [
        ("ColdNAS", "coldnas_architecture=nope", "nope"),
        ("EmerG", "emerg_cut_fields=[nope]", "nope"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "run"])
def test_names_that_only_a_method_knows(ask, verb, model, key, told):
    first = [] if verb == "run" else [verb]
    for words in ([f"--model={model}", f"--{key}"], [f"--model={model}[{key}]"]):
        answer = ask(*first, *words)
        assert answer.refused and told in answer.sentence(words)


def test_rows_that_others_are_compared_with(ask):
    """The name of a row, of its method, or of the plain backbone."""
    models = "--model=MWUF[mwuf_parts=[scale]],CVAR"
    for base in ("MWUF[mwuf_parts=[scale]]", "MWUF", "CVAR", "Base", "Base (21 steps)"):
        for verb in ([], ["check"]):
            assert not ask(*verb, models, f"--base_model={base}").refused, base
    sentence = ask(models, "--base_model=CVRA").sentence("")
    assert "did you mean 'CVAR'?" in sentence
    assert ask("compare", "--models=Base,CVAR", "--base_model=MWUF").refused


def test_the_whole_table_has_one_folder_of_data(ask):
    """A row with data of its own would be scored on other rows, and could not be resumed
    elsewhere."""
    sentence = ask("--model=Base,CVAR[data_path=elsewhere]").sentence("")
    assert "'data_path' in the brackets of" in sentence and "holds for the whole table" in sentence


def test_groups_of_fields_that_fwfm_would_mistake_are_refused(ask):
    """RecBole's FwFM takes a group that it does not know for another one, and says nothing."""
    words = "--model=Base", "--backbone=FwFM", "--fields={1: [user_id], 2: [item_id]}"
    assert "fields must be left out" in ask("check", *words).sentence(words)


# ------------------------------------------------------------------------------- flags
FLAGS = {
    "tune": {
        "samples": ["", "0", "1.5", "-1", "nan", "[1]", "many"],
        "search": ["", "gird", "5"],
        "scheduler": ["", "ahsa", "~"],
        "select_on": ["", "warm_z", "[cold]"],
        "concurrent": ["0", "1.5", "-1", "inf"],
        "cpus_per_trial": ["0", "-1", "nan", "inf", "[1]", "x"],
        "gpus_per_trial": ["-0.5", "nan", "x"],
        "space": ["nope.yaml", "."],
        "grid": ["", "x", "=[1]", "cvar_beta", "cvar_beta=", "cvar_beta=[]", "cvar_beta=5",
                 "cvar_beta=[a]", "cvar_beta=[-1]", "nope=[1]", "seeds=[1,2]", "model=[Base]",
                 "cvar_beta={a: {b: [1]}}", "cvar_beta={lognormal: [1,2]}",
                 "cvar_beta={uniform: [1]}", "cvar_beta={loguniform: [-1,1]}",
                 "cvar_beta=[0.1,0.1]", "data_path=[a,b]", "mlp_hidden_size=[[0],[a]]"],
        "resume": ["", "nope", "."],
    },
    "compare": {
        "against": ["", "Nope", "[Base]"],
        "concurrent": ["0", "x"],
        "cpus_per_trial": ["0", "nan"],
        "backbones": ["", "Nope", "FM,Nope", "FM,FM", "FM[seeds=2]", "FM[", "MWUF"],
        "models": ["", "Nope", "Base", "Base,Base", "Base[", "Base[x]", "Base[nope=1]", ",", "[]"],
        "resume": ["", "nope"],
    },
    "plot": {
        "phase": ["", "nope", "[cold]"],
        "item": ["nope", ""],
        "kind": ["", "nope", "cd"],
        "resume": ["x"],
    },
    "check": {"write": ["", "/proc/nope"], "samples": ["5"], "resume": ["nope"]},
    "run": {
        "resume": ["", "nope", "."],
        "config_files": ["nope.yaml", "'", "."],
        "seed": ["-1", "1.5", "99999999999999"],
        "dataset": ["", "..", "/", "a/b", "x" * 300, "~", "[tiny]"],
        "model": ["", ",", "[", "]", "Base]", "Base[[]", "a.b:C", "nope.py", "Base[=1]", "5"],
        "grid": ["x"],
        "trust": ["1"],
        "": ["5"],
    },
    "convert": {"list": ["1"], "out": ["", "/proc/nope"], "data_path": [""], "resume": ["x"]},
    "list": {"model": ["x"], "resume": ["x"]},
}  # fmt: skip


@pytest.mark.parametrize("verb", FLAGS)
def test_flags(ask, verb):
    first = [] if verb == "run" else [verb]
    own = {"compare": ["--models=Base,CVAR"], "list": [], "convert": ["ml-1m", "x"]}.get(
        verb, ["--model=CVAR"]
    )
    wrong = []
    for flag, values in FLAGS[verb].items():
        for value in values:
            grid = ["--grid=cvar_beta=[0.1,0.2]"] if verb == "tune" and flag != "grid" else []
            others = [] if f"--{flag}" in {word.partition("=")[0] for word in own} else own
            words = [*first, *others, *grid, f"--{flag}={value}"]
            if flag == "resume":
                words = [*first, f"--resume={value}"]
            try:
                assert ask(*words, elsewhere=NO_OTHERS if flag == "resume" else ()).refused
            except Exception as error:
                wrong.append(f"{words!s:.300}: {error!r:.500}")
    assert not wrong, "\n".join(wrong)


# The flags of the data set, which --resume does not go with.
NO_OTHERS = (
    "dataset", "data_path", "threshold", "cold_threshold", "warm_size", "train_batch_size",
    "embedding_size", "show_progress", "saved_dir",
)  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["list", "Nope"], ["list", ""], ["list", "nope.py"], ["nope"], ["-x"], ["--"], ["-"],
        ["--=5"], ["run", "extra"], ["doctor", "extra"], ["help", "nope"], ["compare", "nope"],
        ["compare", ".", "--seeds=3"], ["plot", "nope"], ["plot", ".", "--item=1"],
        ["--seeds"], ["--seeds=1", "--seeds=2"], ["--model=Base", "--models=Base"], ["--trust"],
        ["--version=1"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_words(ask, words):
    assert ask(*words, elsewhere=NO_OTHERS).refused


# ------------------------------------------------------------------------------- files
@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b\n", "a: [1\n", "5\n", "a: &a [*a]\n", "? [a]\n: b\n", "1: 2\n",
        "saved_dir: 2020-13-45\n", "seed: !!int abc\n", "seed: " + "9" * 5000 + "\n",
        "x: " + "[" * 2000 + "\n", "load_col:\n  inter:['user_id']\n", "model: 5\n",
        "backbone: [FM, DeepFM]\n", "model: {Base: 1}\n", "!!python/object:os.system {}\n",
        "learning_rate: 1e-3x\n", "threshold: {rating: {a: 1}}\n", "metrics: [AUC, 5]\n",
        "config_files: other.yaml\n", "load_col: {inter: {user_id: 1}}\n", "warm_stpes: 3\n",
        "\tseed: 1\n",
    ],
    ids=lambda text: text[:20].strip(),
)  # fmt: skip
def test_files(ask, tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    answer = ask("check", f"--config_files={file}", elsewhere=["saved_dir", "threshold"])
    assert answer.refused, answer
    assert len(answer.sentence(text)) < MOST
