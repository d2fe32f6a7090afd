"""The table of keys: what it says of every key, and that no value goes past it."""

import ast
import json
import math
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from recbole_cold import compat, keys, kinds
from recbole_cold.cli.main import main
from recbole_cold.config import keys_of, make_config, overall_values, read_yaml
from recbole_cold.errors import UserError
from recbole_cold.keys import BLOCKS, CLICK_MODELS, COMMAND_LINE, ROWS, Key, declared, names
from recbole_cold.registry import backbones, find_method, methods, properties_dir, yaml_of

DATA = "ml-100k"
OUR_METHODS = sorted(
    name for name, cls in methods().items() if cls.__module__.startswith("recbole_cold.")
)
PACKAGE = properties_dir().parent / "recbole_cold"


def yaml_keys(path):
    return set(read_yaml(path)) - set(BLOCKS)


@cache
def config(method="Base", backbone="DeepFM"):
    return make_config(method, DATA, backbone)


# ------------------------------------------------------------------------------- the table
class TestTable:
    def test_no_key_has_two_rows(self):
        files = [PACKAGE / "keys.py", *PACKAGE.glob("model/*.py"), *PACKAGE.glob("backbone/*.py")]
        for file in files:
            tree = ast.parse(file.read_text())
            found = [
                node.args[0].value for node in ast.walk(tree)
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Key"
                and node.args and isinstance(node.args[0], ast.Constant)
            ]  # fmt: skip
            twice = {name for name in found if found.count(name) > 1}
            # DSSM's yaml has what RecBole reads of other models without one.
            assert twice <= {"double_tower"}, file
        own = {name for cls in methods().values() for name in declared(cls)}
        assert not own & (ROWS.keys() | CLICK_MODELS.keys())

    def test_every_key_of_every_yaml_has_a_row(self):
        folder = compat.recbole_folder() / "properties"
        theirs = [folder / "overall.yaml", folder / "dataset" / "sample.yaml"]
        theirs += folder.glob("quick_start_config/context-aware*.yaml")
        for path in [*theirs, properties_dir() / "overall.yaml"]:
            assert not yaml_keys(path) - ROWS.keys(), path
        for cls in backbones().values():
            rows = ROWS.keys() | CLICK_MODELS.keys() | declared(cls).keys()
            recboles = folder / "model" / f"{cls.__name__}.yaml"
            # RecBole's DIN is another class than ours.
            of_recbole = cls.__module__.startswith("recbole.")
            for path in (yaml_of(cls), recboles if of_recbole else None):
                if path is not None and path.is_file():
                    assert not yaml_keys(path) - rows, path
        for name in OUR_METHODS:
            assert not keys_of(name) - ROWS.keys() - declared(methods()[name]).keys(), name

    def test_every_row_of_a_class_has_a_default(self):
        for name, cls in {**methods(), **backbones()}.items():
            known = config(*([name] if name in methods() else ["Base", name])).final_config_dict
            assert declared(cls).keys() <= known.keys(), name

    def test_every_row_is_read_or_said_to_do_nothing(self):
        """In our code, in RecBole's models, in RecBole's yaml, or by the row itself."""
        code = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
        code += "".join(path.read_text() for path in properties_dir().rglob("*.yaml"))
        folder = compat.recbole_folder()
        code += (folder / "properties" / "dataset" / "sample.yaml").read_text()
        for part in ("model", "config", "data"):
            code += "".join(path.read_text() for path in (folder / part).rglob("*.py"))
        words = re.findall(r"\w+", code.replace((PACKAGE / "keys.py").read_text(), ""))
        said = names(role=keys.IDLE) | names(role=keys.DERIVED)
        assert not ROWS.keys() - said - set(words)

    def test_questions(self):
        place = names(only=[keys.PLACE])
        assert {"saved_dir", "num_threads", "checkpoint_seconds", "data_path"} <= place
        assert not place & {"seed", "metrics", "batch_norm", "seeds", "eval_batch_size"}
        assert names(run_wide=True) == {
            "model", "dataset", "backbone", "config_files", "seed", "seeds", "share_pretrained",
            "eval_on", "metrics", "smallest_effect", "wilcoxon", "base_model", "warm_sets",
            "common_phases", "matched_row", "split_rule", "session_subset", "session_form",
            "session_length", "session_stride", "session_gap", "session_min", "session_user_min",
            "saved_dir", "cache_dir", "device", "gpu_id", "num_threads", "data_path",
            "keep_scores", "keep_model", "keep_phases", "calibrate", "bootstrap_resamples",
            "delong", "reference_rows",
        }  # fmt: skip
        # What a data set's hash follows from: another set, and no stored result is found again.
        assert names(touching=[keys.COLUMNS]) == {
            "field_separator", "seq_separator", "encoding", "USER_ID_FIELD", "ITEM_ID_FIELD",
            "LABEL_FIELD", "TIME_FIELD", "threshold", "load_col", "unload_col", "seq_len",
            "rm_dup_inter", "val_interval", "filter_inter_by_user_or_item",
            "user_inter_num_interval", "item_inter_num_interval", "normalize_field",
            "normalize_all", "benchmark_filename",
        }  # fmt: skip
        assert names(apart=True) == {
            "model", "dataset", "backbone", "seed", "seeds", "config_files"
        }  # fmt: skip
        assert not names(touching=[keys.SCORES]) & names(only=[keys.PLACE, keys.TABLE])
        assert "samples" not in names() and "samples" in names(role=keys.FLAG)
        # Sixty-odd keys can change without another pre-training; these must not be among them.
        apart = names(without=[keys.PRETRAINING])
        assert not apart & {"embedding_size", "learning_rate", "pooling", "threshold", "use_count"}
        assert {"warm_epochs", "warm_size", "new_item_init", "eval_on", "seed"} <= apart

    def test_importing_the_table_is_cheap(self):
        code = (
            "import sys, recbole_cold.keys;"
            "heavy = ('torch', 'numpy', 'yaml', 'pydantic', 'recbole');"
            "print([name for name in heavy if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
        )
        assert done.stdout.strip() == "[]", done.stderr


# ------------------------------------------------------------------------------- values
HELD = []
HELD.append(HELD)  # as `&a [*a]` in a yaml file
BAD = {
    "a word": "abc", "an empty text": "", "a text like a number": "5", "two lines": "a\nb",
    "none": None, "true": True, "false": False, "zero": 0, "negative": -1, "half": 0.5,
    "many": 10**13, "huge": 10**400, "huge float": 1e300, "nan": math.nan, "inf": math.inf,
    "empty list": [], "list of a word": ["a"], "list of -1": [-1], "list of 0": [0],
    "list of 1.5": [1.5], "list of nan": [math.nan], "list of huge": [10**13], "nested": [[1]],
    "list of none": [None], "list of true": [True], "empty mapping": {}, "mapping": {"a": 1},
    "mapping to a word": {"rating": "abc"}, "mapping to nan": {"rating": math.nan},
    "mapping to a list": {"rating": [1]}, "mapping of a number": {1: 2}, "tuple": (1, 2),
    "a set": {3}, "bytes": b"x", "a class": int, "itself": HELD,
}  # fmt: skip


@cache
def every_row():
    """Each key once, with the method and the backbone that it can be given to."""
    rows = {}
    for name in backbones():
        made = config("Base", name)
        for key in made.final_config_dict:
            rows.setdefault(key, (made.key(key), "Base", name))
    for name in OUR_METHODS:
        for key, row in declared(find_method(name)).items():
            rows.setdefault(key, (row, name, "DeepFM"))
    return rows


@pytest.mark.parametrize("what", BAD, ids=str)
def test_a_value_is_accepted_or_refused_in_one_sentence(what):
    """Every key of every method and backbone; a new key joins by itself."""
    value = BAD[what]
    for name, (row, _, _) in every_row().items():
        try:
            row.check(value, "in mine.yaml")
        except UserError as error:
            sentence = str(error)
            assert sentence.startswith(f"{name} "), sentence
            assert "in mine.yaml" in sentence and "\n" not in sentence, sentence
            assert len(sentence) < 400, sentence
        else:
            bare_off = value is False and "off" in row.kind.choices
            free = row.kind is kinds.anything()
            assert bare_off or free or row.kind.accepts(kinds.plain(value)), name


def test_numbers_are_finite_and_truth_values_are_none():
    for name, (row, _, _) in every_row().items():
        if "number" not in row.kind.words or row.kind.words.startswith("a list"):
            continue
        for value in (True, math.nan, math.inf, -math.inf, 10**400, "5x"):
            if row.kind.accepts(value):
                # Texts beside numbers: a card, an interval.
                assert isinstance(value, str) and name in ("gpu_id", "val_interval"), (name, value)


def test_every_default_is_of_its_kind():
    """Of every method and backbone, with both protocols: building one checks them all."""
    for method in OUR_METHODS:
        for protocol in ("strict", "released"):
            make_config(method, DATA, overrides={"protocol": protocol})


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("data_path", ["2024", "[a]"]),
        ("saved_dir", ["no", "~"]),
        ("cache_dir", ["5"]),
        ("threshold", ["5", "[rating]", "{rating: abc}", "{rating: .nan}"]),
        ("load_col", ["[user_id]", "inter:[a]", "{inter: user_id}"]),
        ("unload_col", ["{item: color_code}", "color_code"]),
        ("seq_len", ["5", "{tags: abc}", "{genre: -1}"]),
        ("val_interval", ["[1,2]"]),
        ("benchmark_filename", ["[]"]),
        ("USER_ID_FIELD", ["~", "[user_id]"]),
        ("LABEL_FIELD", ["[label]"]),
        ("backbone", ["[FM, DeepFM]", "5"]),
        ("mlp_hidden_size", ["[a]", "[-1]", "[0]", "[1.5]", "[]"]),
        ("dropout_prob", ["2", "-0.1"]),
        ("embedding_size", ["1e12", "1000000000000", "True"]),
        ("user_inter_num_interval", ["five", "[5", "[9,1]"]),
        ("rm_dup_inter", ["both"]),
        ("device", ["5"]),
        ("base_model", ["[Base]"]),
    ],
)
def test_faults_that_were_met(key, values):
    for value in values:
        with pytest.raises(UserError) as caught:
            make_config("Base", DATA, overrides={key: value})
        assert str(caught.value).startswith(f"{key} "), value
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "key", "value", "rule"),
    [
        ("CVAR", "cvar_iters", "1.5", "a whole number of at least 1"),
        ("MetaE", "metae_batch_items", "0", "a whole number of at least 1"),
        ("MeLU", "melu_order", "True", "none of 1, 2"),
        ("MWUF", "mwuf_parts", "[scale, shfit]", "a list of values out of scale, shift"),
        ("MWUF", "mwuf_parts", "[]", "must have at least one value"),
        ("DropoutNet", "dropoutnet_rate", "1.5", "a number from 0 to 1"),
        ("GMEA", "gme_max_share", "0", "a number above 0 and at most 1"),
        ("Base", "embedding_size", "1000000000000", "must be at most 10,000"),
        ("Base", "USER_ID_FIELD", "~", "must be a field name, but it is empty"),
        ("Base", "LABEL_FIELD", "x" * 300, "must be a field name of at most 200 letters"),
        ("Base", "learning_rate", "1e14", "a number above 0 and at most 1,000"),
        ("CVAR", "cvar_noise", "1e14", "must be at most 1,000,000,000"),
        ("Base", "load_col", "inter:[a]", "yaml wants a space after each ':'"),
    ],
)
def test_words(method, key, value, rule):
    with pytest.raises(UserError) as caught:
        make_config(method, DATA, overrides={key: value})
    assert rule in str(caught.value)
    assert "on the command line" in str(caught.value)


def test_what_recboles_runner_would_check_never_reaches_it(tmp_path):
    """Its Config raises tracebacks for these; here they have no effect, in any shape."""
    for key, value in (
        ("eval_args", "{order: TO}"), ("eval_args", "{mode: full}"), ("eval_args", "~"),
        ("eval_args", "5"), ("train_neg_sample_args", "uniform"), ("topk", "[a]"),
        ("train_neg_sample_args", "{distribution: x}"), ("repeatable", "[1]"),
        ("valid_metric_bigger", "{}"), ("learner", "5"), ("clip_grad_norm", "{max_norm: 5}"),
    ):  # fmt: skip
        made = make_config("Base", DATA, overrides={key: value})
        assert any(key in warning for warning in made.warnings)
        assert made.as_dict() == config().as_dict()


def test_ordinary_shapes_still_pass():
    for key, value in (
        ("gpu_id", "0,1"), ("gpu_id", ""), ("f1_threshold", "0.5"), ("common_size", "~"),
        ("val_interval", "{age: '[18,30)', gender: [M, F], occupation: writer}"),
        ("item_inter_num_interval", "[5,inf)"), ("load_col", "{inter: '*', user: ~}"),
        ("cache_dir", "~"), ("num_threads", "0"), ("learning_rate", "1"), ("threshold", "~"),
        ("id_first_order", "off"), ("warm_steps", "0"), ("normalize_all", "~"),
    ):  # fmt: skip
        make_config("Base", DATA, overrides={key: value})
    made = make_config("Base", DATA, overrides={"mlp_hidden_size": (8, 8), "data_path": Path(".")})
    assert made["mlp_hidden_size"] == [8, 8]


class TestPlugIns:
    @pytest.fixture
    def spec(self, tmp_path):
        (tmp_path / "mine.py").write_text(
            "from recbole_cold.keys import Key, whole\n"
            "from recbole_cold.model.dropoutnet import DropoutNet\n\n"
            "class Mine(DropoutNet):\n    keys = (Key('mine_depth', whole(1, 9)),)\n"
        )
        (tmp_path / "Mine.yaml").write_text("mine_depth: 3\nmine_rate: 0.5\nmine_word: a\n")
        return str(tmp_path / "mine.py")

    def test_a_declared_key_is_checked_and_those_of_the_parent_stay(self, spec):
        for key, value, rule in (
            ("mine_depth", "10", "must be at most 9"),
            ("mine_depth", "x", "a whole number of at least 1"),
            ("dropoutnet_rate", "2", "a number from 0 to 1"),
        ):
            with pytest.raises(UserError, match=rule):
                make_config(spec, DATA, overrides={key: value})

    def test_another_gets_its_kind_from_its_default(self, spec):
        with pytest.raises(UserError, match=r"mine_rate must be a number, but it is '\[1\]'"):
            make_config(spec, DATA, overrides={"mine_rate": "[1]"})
        assert make_config(spec, DATA, overrides={"mine_rate": "~"})["mine_rate"] is None
        assert make_config(spec, DATA, overrides={"mine_word": "[1]"})["mine_word"] == [1]

    def test_a_default_out_of_range_names_the_yaml(self, spec, tmp_path):
        (tmp_path / "Mine.yaml").write_text("mine_depth: 0\n")
        with pytest.raises(UserError, match=r"but it is '0' in .*Mine.yaml"):
            make_config(spec, DATA)


# ------------------------------------------------------------------------------- places
class TestPlaces:
    """One fault, one sentence, wherever the value comes from."""

    FAULT = "cvar_iters must be a whole number of at least 1, but it is '1.5' "

    @pytest.fixture
    def refused(self, capsys, tmp_path):
        def refused(*words):
            code = main([*words, f"--saved_dir={tmp_path / 'saved'}"])
            out, err = capsys.readouterr()
            assert (code, out) == (2, "")
            return err.removeprefix("error: ").strip()

        return refused

    def test_command_line(self, refused):
        assert refused("--model=CVAR", "--cvar_iters=1.5") == f"{self.FAULT}on {COMMAND_LINE}."

    def test_brackets(self, refused):
        entry = "CVAR[cvar_iters=1.5]"
        assert refused(f"--model={entry}") == f"{self.FAULT}in the brackets of {entry}."

    def test_yaml_and_best_yaml(self, refused, tmp_path):
        for name in ("mine.yaml", "best.yaml"):
            file = tmp_path / name
            file.write_text("model: CVAR\ncvar_iters: 1.5\n")
            assert refused(f"--config_files={file}") == f"{self.FAULT}in {file}."

    def test_grid_and_space_file(self, refused, tmp_path):
        tune = ["tune", "--model=CVAR"]
        assert refused(*tune, "--grid=cvar_iters=[1,1.5]") == f"{self.FAULT}in --grid."
        file = tmp_path / "space.yaml"
        file.write_text("cvar_iters: [1, 1.5]\n")
        assert refused(*tune, f"--space={file}") == f"{self.FAULT}in {file}."

    def test_resume(self, refused, tmp_path, capsys):
        folder = tmp_path / "saved" / "run"
        folder.mkdir(parents=True)
        request = {"models": "CVAR", "dataset": DATA, "overrides": {"cvar_iters": 1.5}}
        (folder / "request.json").write_text(json.dumps(request))
        sentence = f"{self.FAULT}in {folder / 'request.json'}."
        assert refused(f"--resume={folder}") == sentence
        for verb, more in (
            ("compare", {"backbones": "FM,DeepFM"}),
            ("tune", {"model": "CVAR", "axes": [["learning_rate", "grid", [1e-3], "--grid"]]}),
        ):
            asked = {**request, **more, "verb": verb}
            if verb == "tune":
                del asked["models"]
            (folder / "request.json").write_text(json.dumps(asked))
            assert refused(verb, f"--resume={folder}") == sentence

    def test_flags(self, refused):
        for verb in (["tune", "--model=MWUF"], ["compare", "--models=Base,MWUF"]):
            for flag, value, rule in (
                ("cpus_per_trial", "inf", "a number above 0"),
                ("gpus_per_trial", "-1", "a number of at least 0"),
                ("concurrent", "0", "a whole number of at least 1 or none"),
                ("concurrent", "1.5", "a whole number of at least 1 or none"),
            ):
                sentence = refused(*verb, f"--{flag}={value}")
                assert sentence.startswith(f"{flag} must be {rule}, but it is '"), sentence
                assert sentence.endswith(f"on {COMMAND_LINE}.")


def test_models_and_data_sets_in_a_file_are_names(tmp_path):
    for key, value in (("model", "5"), ("backbone", "[FM, DeepFM]"), ("dataset", "{a: b}")):
        file = tmp_path / "run.yaml"
        file.write_text(f"{key}: {value}\n")
        with pytest.raises(
            UserError, match=rf"^{key} must be a name( or a list of names)?, but it is .* in {file}"
        ):
            make_config(None if key == "model" else "Base", None if key == "dataset" else DATA,
                        config_files=[file])  # fmt: skip


def test_texts_of_values():
    for value, told in (
        ([1, "a"], "[1,a]"), (1e-5, "1e-05"), ({"rating": 4}, "{rating:4}"), (True, "true"),
        ("two words", "two words"), (None, "null"),
    ):  # fmt: skip
        assert kinds.text_of(value) == told
    assert "\n" not in Key("a", kinds.whole()).kind.refusal("a", "x\n" * 999, "in b")
    assert overall_values()["backbone"] == "DeepFM"
