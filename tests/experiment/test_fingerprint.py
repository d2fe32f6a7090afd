"""What a result and a pre-trained backbone are known by: all code that made them, and no other."""

import ast
import gc
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import recbole_cold
from recbole_cold.experiment import fingerprint
from recbole_cold.experiment._imports import Package
from recbole_cold.registry import find_method, methods

SOURCE = Path(recbole_cold.__file__).parent


def in_new_process(action, place: Path, folder: Path):
    """What ``action()`` gives in a process that has loaded neither recbole_cold nor a plug-in.

    A fork that forgets them: the libraries below are loaded already, which takes most of a start.

    Args:
        place: the folder from which recbole_cold is imported there.
        folder: its working folder, which modules are imported from, too.
    """
    answer = folder / "answer.json"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            gc.disable()  # else it copies, page by page, whatever the parent has
            sys.dont_write_bytecode = True
            own = [name for name in sys.modules if name.partition(".")[0] == "recbole_cold"]
            for name in own + [name for name in sys.modules if name.startswith("recbole_cold_")]:
                del sys.modules[name]
            sys.path[:0] = [str(place), str(folder)]
            sys.path_importer_cache.clear()
            os.chdir(folder)
            import torch

            torch.set_num_threads(1)  # threads of the parent are not there
            answer.write_text(json.dumps(action()))
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(answer.read_text())


# ------------------------------------------------------------------ every file of the package
RESULTS = [
    ("Base", "FM"), ("Base", "AFN"), ("Base", "DIN"), ("MWUF", "FM"), ("DropoutNet", "FM"),
    ("TaNP", "FM"),
]  # fmt: skip
BACKBONES = [("Base", "FM"), ("MWUF", "FM"), ("DropoutNet", "FM"), ("TaNP", "FM")]
ALL_RESULTS = {f"result {method} {backbone}" for method, backbone in RESULTS}
ALL_BACKBONES = {f"backbone {method}" for method, _ in BACKBONES}
EVERYTHING = ALL_RESULTS | ALL_BACKBONES


def keys(tiny_keys: Mapping) -> dict[str, str]:
    """The keys of ``RESULTS`` and of ``BACKBONES`` by the code as this process imports it."""
    from recbole_cold.config import make_config
    from recbole_cold.experiment.data_store import run_data
    from recbole_cold.experiment.fingerprint import code_of, pretraining_key

    found = {}
    for method, backbone in RESULTS:
        config = make_config(method, "tiny", backbone, overrides=tiny_keys)
        found[f"result {method} {backbone}"] = code_of(config)
        if (method, backbone) in BACKBONES:
            data = run_data(config)
            built = config.method_class(config, data)
            found[f"backbone {method}"] = pretraining_key(built, 1, data.split, method)
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package, to be edited."""
    folder = tmp_path_factory.mktemp("copy")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SOURCE, folder / "recbole_cold", ignore=ignore)
    beside = SOURCE.parent / "properties"
    if beside.is_dir():
        shutil.copytree(beside, folder / "properties")
    return folder


@pytest.fixture
def changed(copy, tiny_keys, tmp_path, monkeypatch, before):
    """``changed(edit, "model/mwuf.py", ...)``: the keys that editing these files changes."""

    def go(edit, *names):
        paths = [copy / "recbole_cold" / name for name in names]
        texts = [path.read_text() for path in paths]
        try:
            for path, text in zip(paths, texts, strict=True):
                path.write_text(edit(text))
                assert path.read_text() != text
            after = in_new_process(lambda: keys(tiny_keys), copy, tmp_path)
        finally:
            for path, text in zip(paths, texts, strict=True):
                path.write_text(text)
        assert after.keys() == before.keys() == EVERYTHING
        return {name for name in after if after[name] != before[name]}

    return go


@pytest.fixture(scope="module")
def before(copy, tiny_path, tmp_path_factory):
    """The keys of the copy as it is."""
    tiny = {"data_path": str(tiny_path.parent), "threshold": {"rating": 4}, "cold_threshold": 30}
    tiny["warm_size"] = 3
    return in_new_process(lambda: keys(tiny), copy, tmp_path_factory.mktemp("before"))


def code(text: str) -> str:
    return f"{text}\n_EDITED = 1\n"


class TestEveryFile:
    def test_a_copy_has_the_keys_of_the_original(self, before, tiny_keys, tmp_path):
        assert in_new_process(lambda: keys(tiny_keys), SOURCE.parent, tmp_path) == before

    def test_methods_share_the_plain_backbone(self, before):
        assert before["backbone Base"] == before["backbone MWUF"]
        assert len({before[name] for name in ALL_BACKBONES}) == 3
        assert len({before[name] for name in ALL_RESULTS}) == len(ALL_RESULTS)

    @pytest.mark.parametrize(
        ("name", "which"),
        [
            (
                "model/_layers.py",
                {"result MWUF FM", "result TaNP FM", "backbone TaNP"},
            ),
            ("model/mwuf.py", {"result MWUF FM"}),
            ("model/dropoutnet.py", {"result DropoutNet FM", "backbone DropoutNet"}),
            ("backbone/_base.py", {"result Base AFN", "result Base DIN"}),
            ("backbone/_sequence.py", {"result Base DIN"}),
            ("data/histories.py", EVERYTHING),
            ("data/split.py", ALL_RESULTS),  # a backbone's key has the split itself
            ("evaluation/metrics.py", ALL_RESULTS),
            ("training/optimizers.py", EVERYTHING),
            ("data/_atomic.py", EVERYTHING),
            ("backbone/_shortcuts.py", EVERYTHING),
        ],
    )
    def test_an_edit_changes_what_the_file_made(self, changed, name, which):
        assert changed(code, name) == which

    def test_what_every_result_and_every_backbone_follows_from(self):
        graph = Package("recbole_cold", SOURCE, {})
        backbones = {
            "seeding", "store", "model._method", "model._fit", "backbone._seam",
            "backbone._shortcuts", "backbone._modes", "data.dataset", "data.rows",
            "data.histories", "data._build",
            "data._atomic", "data._filters", "training.trainer", "training.optimizers",
            "training.checks", "training.backbone_cache",
        }  # fmt: skip
        more = {"data.split", "data.phases", "evaluation.metrics", "experiment.data_store",
                "experiment.experiment"}  # fmt: skip
        for roots, without, expected in (
            (
                fingerprint._ROOTS_OF_PRETRAINING,
                fingerprint._WITHOUT_PART_IN_PRETRAINING,
                backbones,
            ),
            (fingerprint._ROOTS_OF_RESULTS, fingerprint._WITHOUT_PART, backbones | more),
        ):
            ours = [[fingerprint._ours(name) for name in names] for names in (roots, without)]
            found = {name.removeprefix("recbole_cold.") for name in graph.closure(*ours)}
            assert found >= expected
            methods_own = {name for name in found if name.startswith("model.")}
            ends = {"model._phase_end", "model._item_bias", "model._map"} - set(without)
            every = {f"model.{name}" for name in ("_method", "_fit", "_token_rows", "_answers")}
            assert methods_own == every | ends

    def test_what_shows_and_starts_runs_changes_nothing(self, changed):
        """Pictures, tables, verbs, sweeps and comparisons: all of them at once."""
        folders = ("report", "cli", "comparison", "sweep", "trials")
        names = [
            path.relative_to(SOURCE).as_posix()
            for f in folders
            for path in SOURCE.glob(f"{f}/*.py")
        ]
        assert {"report/_tables.py", "cli/compare.py", "sweep/sweep.py"} <= set(names)
        assert changed(code, *names, "errors.py", "config.py", "testing/_suite.py") == set()

    def test_comments_docstrings_and_layout_change_nothing(self, changed):
        names = [path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")]

        def edit(text):
            tree = ast.parse(text)  # gives back neither comments nor blank lines
            assert isinstance(tree.body[0], ast.Expr)
            tree.body[0].value.value = "Another sentence."
            return f"# A comment.\n{ast.unparse(tree)}\n"

        assert changed(edit, *names) == set()


class TestWhereItStops:
    """The modules that keys leave out make no numbers, or this says so."""

    def test_every_name_has_a_file(self):
        assert fingerprint._code([], fingerprint._ROOTS_OF_RESULTS, fingerprint._WITHOUT_PART)
        with pytest.raises(LookupError, match=r"recbole_cold\.gone"):
            fingerprint._code([], ["gone"], [])
        with pytest.raises(LookupError, match=r"recbole_cold\.gone"):
            fingerprint._code([], [], ["gone"])

    def test_what_computes_takes_nothing_from_there_but_errors_and_values(self):
        graph = Package("recbole_cold", SOURCE, {})
        left_out = {f"recbole_cold.{name}" for name in fingerprint._WITHOUT_PART}
        roots = [f"recbole_cold.{name}" for name in fingerprint._ROOTS_OF_RESULTS]
        roots += {cls.__module__ for cls in methods().values()}
        roots += [graph.module_of(path) for path in SOURCE.glob("backbone/*.py")]
        inside = graph.closure(roots, left_out).keys() - {"recbole_cold.experiment.experiment"}
        taken = {graph.home_of(name) for module in inside for name in graph._source(module).names}
        taken = {name for name in taken if name} - inside
        # The registry says where the yaml of a plug-in belongs that has none; and reading the cache
        # notes there that it was read, and may first bring here what another machine has. Of a kept
        # model that a run begins from, names of files come from there; its content is in the key.
        # Methods inherit what is asked of them when they are kept and served.
        apart = ("cache_entries", "cache_peers", "config", "errors", "experiment.kept_models",
                 "experiment.model_folder", "keys", "kinds", "locks", "model._serving",
                 "registry")  # fmt: skip
        assert taken == {f"recbole_cold.{name}" for name in apart}

    def test_an_init_only_hands_names_on(self):
        """Keys look through it, so it must do nothing else."""
        for path in SOURCE.rglob("__init__.py"):
            for node in ast.parse(path.read_text()).body:
                text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                value = isinstance(node, ast.Assign | ast.AnnAssign) and not any(
                    isinstance(part, ast.Call) for part in ast.walk(node)
                )
                kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.If)
                assert text or value or isinstance(node, kinds), f"{path}: {ast.unparse(node)}"


# ------------------------------------------------------------------ plug-ins
MINE = """
from recbole_cold.model import ColdStartRecommender
import helper


class Mine(ColdStartRecommender):
    def cold_vectors(self):
        return helper.start(super().cold_vectors())
"""
HELPER = """
def start(vectors):
    return vectors + 3 * vectors.abs().cumsum(0)
"""
OTHER_HELPER = HELPER.replace("+ 3 *", "- 3 *")
CLICKS = """
from recbole.model.context_aware_recommender.fm import FM
from scale import half


class Clicks(FM):
    def forward(self, interaction):
        return half(super().forward(interaction))

    def calculate_loss(self, interaction):
        return self.loss(self.forward(interaction), interaction[self.LABEL])

    def predict(self, interaction):
        return self.sigmoid(self.forward(interaction))
"""


@pytest.fixture
def compare(tiny_flags, tmp_path):
    """``compare(words)``: a comparison of two methods in a new process in ``tmp_path``: how many
    of them were run, and by method the AUC of its cold phase and whether its backbone was cached.
    """

    def action(words):
        from recbole_cold.cli.main import main
        from recbole_cold.comparison import folders
        from recbole_cold.trials import ray_pool
        from recbole_cold.trials.trial import run_trial

        def run_all(specs, *, on_done, **_):
            for spec in specs:
                on_done(spec, run_trial(spec))

        @ray_pool.contextmanager
        def session(_):
            yield

        ray_pool.run_all, ray_pool.session = run_all, session
        folders.write_files = lambda *_: None  # pictures take longer than all the rest
        begun = set((tmp_path / "saved").glob("*"))
        assert main(["compare", "--matched_row=False", "--reference_rows=[]", *words]) == 0
        (folder,) = set((tmp_path / "saved").glob("*")) - begun
        document = json.loads((folder / "comparison.json").read_text())
        (part,) = document["documents"]
        cells = {run["model"]: run["seeds"][0] for run in part["runs"]}
        return {
            "ran": document["ran"],
            "auc": {name: c["phases"]["cold"]["metrics"]["AUC"] for name, c in cells.items()},
            "cached": {
                name: next(s for s in cell["stages"] if s["name"] == "pretrain")["cached"]
                for name, cell in cells.items()
            },
        }

    cache = f"--cache_dir={tmp_path / 'cache'}"
    return lambda *words: in_new_process(
        lambda: action([*tiny_flags, cache, *words]), SOURCE.parent, tmp_path
    )


@pytest.mark.slow
class TestPlugIns:
    def test_an_edited_helper_runs_results_again(self, compare, tmp_path):
        (tmp_path / "mine.py").write_text(MINE)
        (tmp_path / "helper.py").write_text(HELPER)
        words = ("--models=Base,mine.py", "--backbone=FM")
        first = compare(*words)
        assert first["ran"] == 2
        (tmp_path / "helper.py").write_text("# Only a comment.\n" + HELPER)
        again = compare(*words)
        assert again["ran"] == 0
        assert again["auc"] == first["auc"]
        (tmp_path / "helper.py").write_text(OTHER_HELPER)
        edited = compare(*words)
        assert edited["ran"] == 1  # not Base, which has nothing of it
        assert edited["cached"] == {"Base": False, "Mine": True}
        assert edited["auc"]["Base"] == first["auc"]["Base"]
        assert edited["auc"]["Mine"] != first["auc"]["Mine"]

    def test_an_edited_helper_trains_a_backbone_again(self, compare, tmp_path):
        (tmp_path / "clicks.py").write_text(CLICKS)
        (tmp_path / "scale.py").write_text("def half(x):\n    return x / 2\n")
        words = ("--models=Base,MWUF", "--backbone=clicks.py")
        first = compare(*words)
        assert first["ran"] == 2
        assert first["cached"] == {"Base": False, "MWUF": True}
        (tmp_path / "scale.py").write_text("def half(x):\n    return x / 200\n")
        edited = compare(*words)
        assert edited["ran"] == 2
        assert edited["cached"] == {"Base": False, "MWUF": True}
        assert edited["auc"] != first["auc"]


MINE_ALONE = (
    "from recbole_cold.model import ColdStartRecommender\nclass Mine(ColdStartRecommender): ...\n"
)


class TestOutside:
    """Which files a class outside of the package counts with.

    Only the file of the class is loaded here: of the others, each edit counts at once.
    """

    @pytest.fixture
    def changes(self, tmp_path, monkeypatch):
        """``changes(spec, files, path)``: whether the key of the class changes with ``path``."""
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        loaded = set(sys.modules)

        def go(spec, files, path, text="x = 2\n"):
            for name, content in files.items():
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(content)
            monkeypatch.syspath_prepend(str(tmp_path))
            cls = find_method(str(tmp_path / spec) if ".py" in spec else spec)
            before = self.key(cls)
            assert self.key(cls) == before
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
            return self.key(cls) != before

        yield go
        for name in set(sys.modules) - loaded:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]

    def key(self, cls):
        return fingerprint._code([cls], (), fingerprint._WITHOUT_PART)

    @pytest.mark.parametrize(
        ("path", "counts"),
        [
            ("helper.py", True),
            ("deep/below/helper.py", True),
            ("new.py", True),
            ("notes.txt", False),
            (".hidden/x.py", False),
            ("__pycache__/x.py", False),
            ("env/lib/x.py", False),
            ("../above.py", False),
        ],
    )
    def test_a_file_counts_with_its_folder(self, changes, path, counts):
        files = {"own/mine.py": MINE_ALONE, "own/helper.py": "x = 1\n", "own/env/pyvenv.cfg": ""}
        assert changes("own/mine.py", files, f"own/{path}") == counts

    @pytest.mark.parametrize(
        ("path", "counts"),
        [("pack_a/other.py", True), ("pack_a/deep/x.py", True), ("beside.py", False)],
    )
    def test_a_module_counts_with_its_whole_package(self, changes, path, counts):
        files = dict.fromkeys(("pack_a/__init__.py", "pack_a/deep/__init__.py"), "")
        spec = "pack_a.deep.mine:Mine"
        assert changes(spec, {**files, "pack_a/deep/mine.py": MINE_ALONE}, path) == counts

    @pytest.mark.parametrize(
        ("path", "counts"), [("space_a/helper.py", True), ("space_b/x.py", False)]
    )
    def test_a_namespace_counts_as_a_folder(self, changes, path, counts):
        assert changes("space_a.mine:Mine", {"space_a/mine.py": MINE_ALONE}, path) == counts

    def test_a_module_in_no_package_counts_with_its_folder(self, changes):
        assert changes("alone_mine:Mine", {"alone_mine.py": MINE_ALONE}, "helper.py")

    def test_a_package_in_a_namespace_counts_alone(self, changes):
        files = {"space_c/pack/__init__.py": "", "space_c/pack/mine.py": MINE_ALONE}
        assert changes("space_c.pack.mine:Mine", files, "space_c/pack/x.py")
        assert not changes("space_c.pack.mine:Mine", files, "space_c/other/x.py")

    @pytest.mark.parametrize(
        ("path", "counts"),
        [
            ("lib_a/deep/x.py", True),
            ("lib_b.py", True),  # by way of lib_a
            ("lib_c/part/x.py", True),  # a package in a namespace
            ("lib_c/other.py", False),
            ("lib_d.py", False),
        ],
    )
    def test_other_code_that_is_imported_counts(self, changes, path, counts):
        """Code that is not installed, beside the folder of the class."""
        later = "def f():\n    import lib_a.deep\n    from lib_c import part\n"
        files = {
            "own/mine.py": MINE_ALONE + later,
            "lib_a/__init__.py": "",
            "lib_a/deep/__init__.py": "def g():\n    import lib_b\n",
            "lib_b.py": "",
            "lib_c/part/__init__.py": "",
            "lib_d.py": "",
        }
        assert changes("own/mine.py", files, path) == counts

    @pytest.mark.parametrize(
        ("path", "counts"), [("single_mine.py", None), ("single_other.py", False)]
    )
    def test_an_installed_module_counts_alone(self, changes, tmp_path, monkeypatch, path, counts):
        """Beside it lie the modules of others."""
        folder = tmp_path / "site-packages"
        folder.mkdir()
        (folder / "single_mine.py").write_text(MINE_ALONE)
        monkeypatch.syspath_prepend(str(folder))
        if counts is None:  # its own text does count
            first = self.key(find_method("single_mine:Mine"))
            (folder / path).write_text(MINE_ALONE + "x = 2\n")
            del sys.modules["single_mine"]
            assert self.key(find_method("single_mine:Mine")) != first
        else:
            assert changes("single_mine:Mine", {}, f"site-packages/{path}") == counts

    def test_installed_libraries_count_by_version(self, tmp_path, monkeypatch):
        from recbole_cold.experiment import _outside

        (tmp_path / "mine.py").write_text(MINE_ALONE + "def f():\n    import yaml, json, torch\n")
        cls = find_method(str(tmp_path / "mine.py"))
        code = _outside.code_outside([cls], SOURCE, ["recbole_cold", "torch"], {})
        mine, library = code.parts
        assert mine.startswith("mine ")
        assert library.startswith("yaml PyYAML ")

    def test_a_home_folder_is_not_read_whole(self, changes, monkeypatch):
        from recbole_cold.experiment import _outside

        monkeypatch.setattr(_outside, "MOST_FILES", 3)
        files = {f"own/far/{n}.py": "" for n in range(5)}
        files["own/mine.py"] = MINE_ALONE + "def f():\n    from near.by import x\n"
        files |= {"own/near/by.py": "", "own/beside.py": ""}
        assert changes("own/mine.py", files, "own/near/by.py")
        assert changes("own/mine.py", files, "own/beside.py")
        assert not changes("own/mine.py", files, "own/far/1.py")

    def test_what_it_imports_of_ours_counts(self, tmp_path):
        from recbole_cold.experiment import _outside

        text = MINE_ALONE + "def f():\n    from recbole_cold.model import _layers\n"
        (tmp_path / "mine.py").write_text(text)
        cls = find_method(str(tmp_path / "mine.py"))
        code = _outside.code_outside([cls], SOURCE, ["recbole_cold"], {})
        assert "recbole_cold.model._layers" in code.names
        assert "recbole_cold.model.ColdStartRecommender" in code.names

    def test_a_file_of_ours_given_by_path_is_ours(self):
        by_path = find_method(str(SOURCE / "model" / "base.py"))
        assert self.key(by_path) == self.key(find_method("Base"))

    def test_a_class_in_no_file_is_known_to_its_process_only(self, tmp_path):
        place: dict = {"__name__": "__main__"}
        exec(MINE_ALONE, place)
        place["Mine"].__module__ = "nowhere"
        assert self.key(place["Mine"]) == self.key(place["Mine"])
        other = in_new_process(lambda: fresh_key_of_nowhere(), SOURCE.parent, tmp_path)
        assert other != self.key(place["Mine"])

    def test_a_notebooks_next_cell_may_have_changed_it(self, monkeypatch):
        place: dict = {"__name__": "nowhere"}
        exec(MINE_ALONE, place)
        cells = ["", "class Mine: ..."]
        monkeypatch.setattr(sys.modules["__main__"], "In", cells, raising=False)
        first = self.key(place["Mine"])
        assert self.key(place["Mine"]) == first
        cells.append("def helper(): ...")
        assert self.key(place["Mine"]) != first


def fresh_key_of_nowhere() -> str:
    from recbole_cold.experiment import fingerprint

    place: dict = {"__name__": "nowhere"}
    exec(MINE_ALONE, place)
    return fingerprint._code([place["Mine"]], (), fingerprint._WITHOUT_PART)


def test_a_method_that_only_replaces_one_fit_shares_with_nobody():
    """Even if it does not say so in ``pretrain_key``."""
    method = find_method("Base")
    other = type("Other", (method,), {"pretrain_fit": lambda self, loss: None})
    made = [kind.__new__(kind) for kind in (method, other)]
    for built in made:
        object.__setattr__(built, "config", {})
    shared, own = (fingerprint._pretraining_of(built, set()) for built in made)
    assert shared == []
    assert own != []
