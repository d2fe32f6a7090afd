"""Names are found: built-in, of RecBole, by entry point, by module and by file."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from recbole.model.context_aware_recommender import DeepFM

from recbole_cold import registry
from recbole_cold.errors import UserError, nearest
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.registry import (
    backbones,
    find_backbone,
    find_method,
    methods,
    paper_of,
    properties_dir,
    yaml_of,
)

ONE = "from recbole_cold.model.base import Base\nclass {name}(Base):\n    pass\n"


@pytest.fixture
def plug_in(monkeypatch):
    """Installs entry points for one test: ``plug_in(group, Name="module:Class")``."""
    installed = []

    def install(group, **points):
        installed.extend(EntryPoint(name, value, group) for name, value in points.items())

    monkeypatch.setattr(
        registry, "entry_points", lambda group: [e for e in installed if e.group == group]
    )
    return install


class TestBuiltIn:
    def test_methods_are_the_files_of_the_folder(self):
        found = methods()
        assert {"Base", "DropoutNet", "MetaE", "MWUF", "CVAR"} <= found.keys()
        assert all(issubclass(cls, ColdStartRecommender) for cls in found.values())
        assert ColdStartRecommender not in found.values()
        assert list(found) == sorted(found, key=str.lower)

    def test_backbones_are_recboles_context_models(self):
        found = backbones()
        assert found["DeepFM"] is DeepFM
        assert {
            "FM", "WideDeep", "DeepFM", "DCN", "DCNV2", "PNN", "AutoInt", "FiGNN", "xDeepFM",
            "AFM", "NFM", "FwFM", "FNN", "DSSM",
        } <= found.keys()  # fmt: skip
        assert "ContextRecommender" not in found

    def test_backbones_of_ours_are_found_too(self):
        found = backbones()
        for name in ("AFN", "LorentzFM", "FinalMLP", "FINAL", "Basic"):
            assert found[name].__module__ == f"recbole_cold.backbone.{name.lower()}"
            assert yaml_of(found[name]) == properties_dir() / "backbone" / f"{name}.yaml"
        assert not {"ClickModel", "FieldTables"} & found.keys()

    def test_papers_are_said(self):
        papers = {name: paper_of(cls) for name, cls in {**methods(), **backbones()}.items()}
        assert [name for name, paper in papers.items() if not paper] == []
        assert papers["FINAL"] == "Zhu et al., SIGIR 2023"
        assert papers["DeepFM"] == "Huifeng Guo et al., IJCAI 2017"
        assert papers["NFM"] == "He X, Chua T S, SIGIR 2017"
        assert papers["FNN"] == "Weinan Zhang et al., ECIR 2016"
        assert paper_of(int) == ""

    def test_every_name_finds_its_class(self):
        for name, cls in methods().items():
            assert find_method(name) is cls
        for name, cls in backbones().items():
            assert find_backbone(name) is cls

    def test_a_class_is_given_back(self):
        assert find_backbone(DeepFM) is DeepFM


class TestStated:
    """What is read from the sources is what an import says, and nothing is imported."""

    def test_methods(self):
        stated, found = registry.stated_methods(), methods()
        assert list(stated) == list(found)
        for name, cls in found.items():
            says = stated[name].says
            assert tuple(says["serves"]) == tuple(cls.serves), name
            assert (says.get("network") is not None) == (cls.network is not None), name
            assert stated[name].paper == paper_of(cls), name
            assert stated[name].module == cls.__module__
            assert find_method(name) is cls

    def test_backbones(self):
        stated, found = registry.stated_backbones(), backbones()
        assert list(stated) == list(found)
        for name, cls in found.items():
            assert stated[name].paper == paper_of(cls), name
            assert stated[name].module == cls.__module__
            assert find_backbone(name) is cls

    @pytest.mark.parametrize("name", ["ColdStartRecommender", "GME", "TaNPNetwork"])
    def test_classes_of_other_kinds_and_of_private_files_are_no_methods(self, name):
        with pytest.raises(UserError, match=f"model '{name}' is unknown"):
            find_method(name)

    def test_without_an_import(self):
        code = (
            "import sys; from recbole_cold import registry;"
            "registry.check_names(['MWUF', 'package.module:Mine'], ['DeepFM', 'FINAL']);"
            "print(*{'torch', 'numpy', 'recbole', 'ray', 'recbole_cold.model'} & {*sys.modules})"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, cwd=properties_dir().parent,
        )  # fmt: skip
        assert (done.stdout.split(), done.stderr) == ([], "")

    @pytest.mark.parametrize(
        ("models", "backbones", "sentence"),
        [
            (["Base", "MWFU"], [], "model 'MWFU' is unknown; did you mean 'MWUF'"),
            ([], ["DeepFN"], "backbone 'DeepFN' is unknown; did you mean 'DeepFM'"),
            (["/no/where.py:Mine"], [], "model file /no/where.py does not exist"),
            (["_method"], [], "model '_method' is unknown"),
            (["ColdStartRecommender"], [], "model 'ColdStartRecommender' is unknown"),
        ],
    )
    def test_refused(self, models, backbones, sentence):
        with pytest.raises(UserError, match=sentence):
            registry.check_names(models, backbones)

    def test_plug_ins_have_names_too(self, plug_in):
        plug_in("recbole_cold.methods", Mine="no_such_package:Mine")  # not loaded to know it
        registry.check_names(["Mine"])
        with pytest.raises(UserError, match="did you mean 'Mine'"):
            registry.check_names(["Mien"])


class TestUnknown:
    @pytest.mark.parametrize(
        ("find", "name", "sentence"),
        [
            (find_method, "MWFU", "model 'MWFU' is unknown; did you mean 'MWUF'?"),
            (find_method, "mwuf", "did you mean 'MWUF'?"),
            (find_backbone, "DeepFN", "backbone 'DeepFN' is unknown; did you mean 'DeepFM'?"),
            (find_method, "Zzzzzz", "--model=path/file.py names your own"),
            (find_backbone, "Zzzzzz", "--backbone=package.module:Class"),
            (find_method, "", "is unknown"),
            (find_method, "_base", "is unknown"),
            (find_method, "a.b", "is unknown"),
            (
                find_method,
                "DeepFM",
                "model 'DeepFM' is a backbone, not a method; write --model=Base",
            ),
            (find_backbone, "cvar", "'cvar' is a method, not a backbone; write --model=CVAR"),
            (find_backbone, "BPR", "backbone 'BPR' is unknown"),
        ],
    )
    def test_names_are_answered(self, find, name, sentence):
        with pytest.raises(UserError) as caught:
            find(name)
        assert sentence in str(caught.value)
        assert "recbole-cold list" in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "known", "guess"),
        [
            ("lerning_rate", ["learning_rate", "seed"], "learning_rate"),
            ("learningrate", ["learning_rate", "seed"], "learning_rate"),
            ("seeds", ["seed", "learning_rate"], "seed"),
            ("deepfm", ["FM", "DeepFM", "xDeepFM"], "DeepFM"),
            ("MWFU", ["MWUF", "MeLU"], "MWUF"),  # swapped
            ("GMA", ["GMEA", "MAMO"], "GMEA"),
            ("tesr", ["test", "next"], "test"),  # one other letter of four
            ("F1", ["F1", "AUC"], "F1"),
            ("fm", ["FM", "FFM"], "FM"),
            # Another word, and not a slip.
            ("Xyz", ["FM", "AFM", "DCN", "LR"], None),
            ("DIN", ["DCN", "FM"], None),
            ("F2", ["F1", "AUC"], None),
            ("SASRec", ["DeepFM", "AutoInt", "DSSM"], None),
            ("qqqq", ["learning_rate", "seed"], None),
            ("", ["FM", "a"], None),
            ("warm", ["warm_steps", "warm_size"], None),
        ],
    )
    def test_a_guess_is_close(self, name, known, guess):
        assert nearest(name, known) == guess

    def test_a_guess_does_not_hang_on_the_order(self):
        known = ["GMEA", "GMEG", "GMEP"]
        assert {nearest("GME", order) for order in (known, known[::-1])} == {"GMEA"}


class TestEntryPoints:
    def test_found_by_its_name(self, plug_in):
        plug_in("recbole_cold.methods", Mine="recbole_cold.model.base:Base")
        plug_in("recbole_cold.backbones", MyClicks=f"{DeepFM.__module__}:DeepFM")
        assert find_method("Mine") is methods()["Mine"] is find_method("Base")
        assert find_backbone("MyClicks") is backbones()["MyClicks"] is DeepFM
        with pytest.raises(UserError, match="did you mean 'MyClicks'"):
            find_backbone("MyClick")

    def test_a_broken_one_hurts_nobody_else(self, plug_in, caplog):
        plug_in("recbole_cold.methods", Broken="no_such_package:Broken")
        assert "Broken" not in methods()
        assert "'Broken' of the installed plug-in no_such_package:Broken" in caplog.text
        assert find_method("Base").__name__ == "Base"
        with pytest.raises(UserError, match="mend or uninstall the plug-in"):
            find_method("Broken")

    def test_a_built_in_name_is_not_taken_over(self, plug_in, caplog):
        plug_in("recbole_cold.methods", Base="recbole_cold.model.mwuf:MWUF")
        assert find_method("Base").__name__ == "Base"
        assert methods()["Base"].__name__ == "Base"
        assert "hidden by the built-in one" in caplog.text

    def test_something_else_than_a_method(self, plug_in):
        plug_in("recbole_cold.methods", Odd="pathlib:Path")
        with pytest.raises(UserError, match="not a subclass of ColdStartRecommender"):
            find_method("Odd")


class TestPlaces:
    def test_module_and_class(self, tmp_path, monkeypatch):
        (tmp_path / "cold_place_module.py").write_text(ONE.format(name="Mine"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
        cls = find_method("cold_place_module:Mine")
        assert cls.__name__ == "Mine"
        with pytest.raises(UserError, match="has no class 'Mien'; did you mean 'Mine'"):
            find_method("cold_place_module:Mien")

    def test_file_with_and_without_its_class(self, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text(ONE.format(name="Mine"))
        cls = find_method(str(path))
        assert cls.__name__ == "Mine"
        assert find_method(f"{path}:Mine") is cls

    def test_two_files_of_one_name_are_two_modules(self, tmp_path):
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "mine.py").write_text(ONE.format(name=f"Mine{folder}"))
        found = [find_method(str(tmp_path / folder / "mine.py")) for folder in ("a", "b")]
        assert [cls.__name__ for cls in found] == ["Minea", "Mineb"]

    def test_a_file_with_several_must_say_which(self, tmp_path):
        path = tmp_path / "two.py"
        path.write_text(ONE.format(name="One") + ONE.format(name="Two"))
        with pytest.raises(UserError, match="it defines One, Two; name the class"):
            find_method(str(path))
        assert find_method(f"{path}:Two").__name__ == "Two"

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("x = 1\n", "defines none"),
            ("import no_such_package\n", r"cannot be loaded \(ModuleNotFoundError"),
            ("def f(:\n", r"cannot be loaded \(SyntaxError"),
        ],
    )
    def test_a_file_without_a_method(self, tmp_path, text, sentence):
        path = tmp_path / "odd.py"
        path.write_text(text)
        with pytest.raises(UserError, match=sentence):
            find_method(str(path))

    def test_absent(self):
        with pytest.raises(UserError, match=r"file /no/where\.py does not exist"):
            find_method("/no/where.py")
        with pytest.raises(UserError, match="module 'no_such_package' cannot be imported"):
            find_method("no_such_package:Mine")
        with pytest.raises(UserError, match="not a subclass of ContextRecommender"):
            find_backbone("recbole_cold.model.base:Base")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MWUF[a=[x/y.py]]", "MWUF[a=[x/y.py]]"),
        ("mine.py", "{here}/mine.py"),
        ("a/mine.py:Mine[x=1]", "{here}/a/mine.py:Mine[x=1]"),
        ("package.module:Mine", "package.module:Mine"),
    ],
)
def test_absolute(text, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert registry.absolute(text) == expected.format(here=tmp_path)


class TestYaml:
    def test_ours(self):
        assert yaml_of(find_method("Base")) == properties_dir() / "model" / "Base.yaml"
        assert yaml_of(DeepFM) == properties_dir() / "backbone" / "DeepFM.yaml"

    def test_foreign_ones_lie_beside_the_module(self, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text(ONE.format(name="Mine"))
        cls = find_method(str(path))
        assert yaml_of(cls) is None
        (tmp_path / "Mine.yaml").write_text("a: 1\n")
        assert yaml_of(cls) == tmp_path / "Mine.yaml"

    def test_a_class_without_a_file(self):
        assert yaml_of(int) is None
