"""Methods and backbones by name, and what one of them is and takes."""

import re

import pytest
import yaml

from recbole_cold import compat, registry
from recbole_cold.cli.list import read_keys
from recbole_cold.cli.main import main
from recbole_cold.config import make_config


@pytest.fixture
def listed(capsys):
    def go(*words):
        assert main(["list", *words]) == 0
        return capsys.readouterr().out

    return go


class TestAll:
    def test_methods_and_backbones(self, listed):
        text = listed()
        for name in [*registry.methods(), *registry.backbones()]:
            assert re.search(rf"^  {name} ", text, re.MULTILINE), name
        assert re.search(r"^  FFM .*cannot be wrapped", text, re.MULTILINE)
        assert re.search(
            r"^  MWUF +Zhu et al\., SIGIR 2021 +cold, warm$", text, re.MULTILINE
        )  # fmt: skip
        assert re.search(r"^  MeLU .* warm +own network$", text, re.MULTILINE)
        assert re.search(r"^  AFN +Cheng et al\., AAAI 2020$", text, re.MULTILINE)
        assert re.search(r"^  DCN +Ruoxi Wang et al\., ADKDD 2017$", text, re.MULTILINE)

    def test_takes_no_keys(self, capsys):
        assert main(["list", "--seeds=3"]) == 2
        assert capsys.readouterr().err == "error: list takes no --seeds; leave it out\n"


class TestOne:
    def test_a_method(self, listed):
        text = listed("MWUF")
        lines = text.splitlines()
        assert lines[0] == "MWUF: Zhu et al., SIGIR 2021"
        assert "  phases served: cold, warm" in lines
        assert "on any backbone" in text
        at = lines.index("  mwuf_parts: [scale, shift]  (list of str)")
        assert lines[at + 1] == "      [scale] or [shift] alone are the paper's ablations."
        at = lines.index("with --protocol=released")
        assert "  mwuf_users: swapped" in lines[at:]
        at = lines.index("searched by tune and benchmark")
        assert lines[at + 1 : at + 3] == [
            "  meta_hidden_size: [[16], [64]]",
            "  mwuf_users: [all, positive]",
        ]
        for place in ("model/mwuf.py", "model/MWUF.yaml", "docs/methods/mwuf.md"):
            assert any(line.endswith(place) for line in lines), place

    def test_a_network_of_its_own_and_inherited_keys(self, listed):
        text = listed("MeLU")
        assert "in place of a backbone: its own network" in text
        assert "phases served: warm\n" in text
        assert "  meta_epochs: " in text  # of FewShotRecommender.yaml
        assert "  melu_order: 2  (int)" in text

    def test_a_backbone_has_recboles_keys_under_ours(self, listed):
        text = listed("xDeepFM")
        theirs = compat.recbole_folder() / "properties" / "model" / "xDeepFM.yaml"
        for key in yaml.safe_load(theirs.read_text()):
            assert f"  {key}: " in text
        assert "phases served" not in text
        assert "docs/backbones.md" in text
        assert "cannot be wrapped" in listed("FFM")

    def test_several(self, listed):
        text = listed("Base", "FINAL")
        assert re.findall(r"^(\w+): ", text, re.MULTILINE) == ["Base", "FINAL"]

    @pytest.mark.parametrize("name", [*registry.stated_methods(), *registry.stated_backbones()])
    def test_fits_80_columns(self, name, listed):
        body, _, places = listed(name).partition("\nsource\n")
        assert max(map(len, body.splitlines())) <= 80
        assert places

    @pytest.mark.parametrize("name", ["MWUF", "MeLU", "ColdNAS", "AFN", "DeepFM", "xDeepFM"])
    def test_the_defaults_are_those_of_a_configuration(self, name, listed):
        """What is shown is what a run has that sets nothing, on data that set nothing."""
        is_method = name in registry.stated_methods()
        config = make_config(
            name if is_method else "Base", "none", None if is_method else name, check_data=False
        )
        text = listed(name)
        shown = text[text.index("keys (") :].split("\n\n")[0]
        pairs = re.findall(r"^  (\w+): (.*?)(?:  \(.*\))?$", shown, re.MULTILINE)
        assert pairs
        for key, value in pairs:
            assert yaml.safe_load(value) == config[key], key

    def test_somebody_elses(self, listed, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text(
            "from recbole_cold.model.base import Base\n"
            'class Mine(Base):\n    """Does something."""\n    paper = "Me, 2026"\n'
        )
        (tmp_path / "Mine.yaml").write_text("mine_size: 3  # (int) How much.\n")
        text = listed(str(path))
        assert text.startswith("Mine: Me, 2026\n")
        assert "  mine_size: 3  (int)\n      How much.\n" in text
        assert f"  {path}\n" in text

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("MWFU", "no method and no backbone is called 'MWFU'; did you mean 'MWUF'?"),
            ("deepfm", "did you mean 'DeepFM'?"),
            ("Xyz", "called 'Xyz'; `recbole-cold list` shows all"),
            ("no/such.py", "no/such.py does not exist"),
        ],
    )
    def test_nobody(self, name, sentence, capsys):
        assert main(["list", name]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert sentence in err


def test_keys_with_and_without_kind_and_comment(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(
        "a: 1e-3   # (float) A rate: 1e-3 # of course.\nb: [x, y]\nc: ~  # Only words.\n"
        "d:\n  e: 1\n"
        "released:  # what it turns on\n  a: 2\n"
    )
    first.write_text(first.read_text() + "sweep_space:\n  b: [1]\n")
    second.write_text("a: 0.5\nc: 1  # (int) Now a number.\nsweep_space:\n  a: [1, 2]\n")
    keys, blocks = read_keys([first, second])
    assert keys == {
        "a": (0.5, "float", "A rate: 1e-3 # of course."),
        "b": (["x", "y"], "", ""),
        "c": (1, "int", "Now a number."),
        "d": ({"e": 1}, "", ""),
    }
    assert blocks == {"released": {"a": 2}, "sweep_space": {"a": [1, 2]}}
