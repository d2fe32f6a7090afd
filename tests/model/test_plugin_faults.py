"""A plug-in's mistakes: one sentence that names its class and file, exit code 2, no traceback."""

import textwrap

import pytest

from recbole_cold.cli import main
from recbole_cold.data.phases import run_phases
from recbole_cold.errors import UserError, blaming
from recbole_cold.methods import ColdStartRecommender, Fit
from recbole_cold.registry import find_method
from recbole_cold.training.checks import check_trainable
from recbole_cold.training.trainer import Trainer

HEAD = """
import sys
import torch
from torch import nn
from recbole_cold.methods import ClickModel, ColdStartRecommender, Fit, Key, Step, one_of


class Mine(ColdStartRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.scale = nn.Parameter(torch.ones(1))

    def calculate_loss(self, interaction):
        return self.scale * super().calculate_loss(interaction)

    def trainable(self, stage):
        return [self.scale] if stage == "learn" else super().trainable(stage)

"""


@pytest.fixture
def said(tmp_path, tiny_flags, capsys):
    """``said(code)``: what a run with the plug-in ``mine.py`` says, after ``error: ``."""

    def run(code, *flags, backbone=False, name="mine.py"):
        path = tmp_path / name
        path.write_text(code)
        spec = [f"--backbone={path}:Mine", "--model=Base"] if backbone else [f"--model={path}:Mine"]
        assert main([*spec, "--pretrain_epochs=1", *tiny_flags, *flags]) == 2
        error = capsys.readouterr().err
        (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
        if "--debug" not in flags:
            assert "Traceback" not in error
        else:
            assert "Traceback" in error
        assert str(path) in line
        return line.removeprefix("error: ")

    return run


def inside(body):
    """``Mine`` with more in it."""
    return HEAD + textwrap.indent(textwrap.dedent(body), "    ")


# ------------------------------------------------------------------------- import, construction
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("raise SystemExit", "(SystemExit)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ],
)
def test_an_import_that_fails_or_exits(said, code, text):
    assert text in said(code)


def test_a_module_that_exits(tmp_path, monkeypatch, tiny_flags, capsys):
    (tmp_path / "leaves_early.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["--model=leaves_early:Mine", *tiny_flags]) == 2
    assert "'leaves_early' cannot be imported (SystemExit: 0)" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [(), ("--debug",)])
def test_a_constructor_that_raises(said, flags):
    code = HEAD.replace("super().__init__(config, dataset)", "raise KeyError('no such field')")
    sentence = said(code, *flags)
    assert sentence.startswith("'Mine' (") and "KeyError: 'no such field'" in sentence


def test_a_backbones_constructor_that_raises(said):
    code = """
from recbole_cold.methods import ClickModel

class Mine(ClickModel):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        raise RuntimeError("no room")
"""
    sentence = said(code, backbone=True)
    assert sentence.startswith("'Mine' (") and "RuntimeError: no room" in sentence


# ------------------------------------------------------------------------- keys without a yaml
@pytest.mark.parametrize("declared", [True, False])
def test_own_keys_without_a_yaml(said, tmp_path, declared):
    body = (
        'keys = (Key("mine_kind", one_of("a", "b")),)' if declared else
        'def cold_vectors(self):\n    return self.config["mine_kind"] * super().cold_vectors()'
    )  # fmt: skip
    sentence = said(inside(body))
    if declared:
        # Construction says what is wrong with a value; the yaml is missing before that.
        assert "mine_kind" in sentence
    assert f"no file '{tmp_path / 'Mine.yaml'}'" in sentence and "mine_kind" in sentence


def test_no_own_keys_need_no_yaml(tmp_path, tiny_flags):
    (tmp_path / "mine.py").write_text(inside('size = property(lambda self: self.config["seed"])'))
    assert main([f"--model={tmp_path / 'mine.py'}:Mine", "--pretrain_epochs=1", *tiny_flags]) == 0


# ------------------------------------------------------------------------- answers
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "def trainable(self, stage):\n    return {'learn': []}[stage]",
            "trainable('warm_up') raises KeyError: 'warm_up'",
        ),
        (
            "def trainable(self, stage):\n    return super().trainable('warmup')",
            "trainable('warmup') asks for a stage that is none of learn, warm_up; did you mean "
            "'warm_up'?",
        ),
        (
            "def trainable(self, stage):\n    if stage == 'lern':\n        return []",
            "trainable('learn') gives None, and must give a list",
        ),
        (
            "def trainable(self, stage):\n    return self.parameters()",
            "trainable('learn') gives a generator, and must give a list",
        ),
        (
            "def trainable(self, stage):\n    return [nn.Parameter(torch.ones(1))]",
            "trainable('learn') names a Parameter that is no parameter of the method",
        ),
        (
            "def learn_fits(self):\n    return [Fit('mine', [], [], mode='frosen')]",
            "mode 'frosen' of the Fit 'mine' is none of frozen, train; did you mean 'frozen'?",
        ),
        (
            "def pretrain_fits(self):\n    return self.pretrain_fit(self.backbone.calculate_loss)",
            "pretrain_fits() gives a Fit, and must give a list of Fit",
        ),
        ("def pretrain_fits(self):\n    return None", "pretrain_fits() gives None"),
        ("def learn_fits(self):\n    return ['learn']", "learn_fits() gives a list of str"),
        (
            "def warm_fits(self, index):\n    return iter(())",
            "warm_fits() gives a tuple_iterator, and must give a list of Fit",
        ),
        (
            "def learn_fits(self):\n    step = Step(self.calculate_loss, [], 0.1)\n"
            "    return [Fit('mine', [step], self.row_batches(self.train_index))]",
            "step 1 of the Fit 'mine' in learn_fits() has no parameters to move",
        ),
        (
            "def learn_fits(self):\n    other = [nn.Parameter(torch.ones(1))]\n"
            "    step = Step(self.calculate_loss, other, 0.1)\n"
            "    return [Fit('mine', [step], self.row_batches(self.train_index))]",
            "step 1 of the Fit 'mine' in learn_fits() names a Parameter that is no parameter of "
            "the method",
        ),
        (
            "def learn_fits(self):\n"
            "    return [Fit('mine', [self.scale], self.row_batches(self.train_index))]",
            "step 1 of the Fit 'mine' in learn_fits() is a Parameter, and must be a Step",
        ),
        (
            "def cold_vectors(self):\n    return super().cold_vectors()[:-1]",
            "cold_vectors() gives [17, 4] float32 on cpu, and must give [18, 4] float32 on cpu",
        ),
        (
            "def cold_vectors(self):\n    return super().cold_vectors().mean(dim=0)",
            "cold_vectors() gives [4] float32 on cpu",
        ),
        (
            "def cold_vectors(self):\n    return super().cold_vectors().double()",
            "cold_vectors() gives [18, 4] float64 on cpu",
        ),
        (
            "def cold_vectors(self):\n    return super().cold_vectors().to('meta')",
            "cold_vectors() gives [18, 4] float32 on meta",
        ),
        (
            "def cold_vectors(self):\n    return super().cold_vectors().numpy()",
            "cold_vectors() gives a ndarray, and must give a tensor",
        ),
        (
            "def cold_first_order(self):\n    return torch.zeros(3)",
            "cold_first_order() gives [3] float32 on cpu, and must give [1] or [18, 1] float32",
        ),
    ],
)
def test_an_answer_that_cannot_be(build, tmp_path, body, sentence):
    path = tmp_path / "mine.py"
    path.write_text(inside(body))
    method = build(find_method(f"{path}:Mine"), pretrain_epochs=1)
    with pytest.raises(UserError) as error:
        check_trainable(method)
        run_phases(Trainer(method, 7), method.dataset.split, lambda name, rows: {})
    assert str(error.value).startswith(f"'Mine' ({path}): ") and sentence in str(error.value)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("def trainable(self, stage):\n    return None", "trainable('learn') gives None"),
        ("def cold_vectors(self):\n    return None", "cold_vectors() gives a NoneType"),
    ],
)
def test_the_command_line_says_it(said, body, sentence):
    assert sentence in said(inside(body))


# ------------------------------------------------------------------------- who is blamed
def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), blaming(ColdStartRecommender, "it"):
        1 / 0  # noqa: B018


def test_what_is_said_already_is_not_said_again():
    class Theirs:
        pass

    for cls in (Theirs, Fit):
        with pytest.raises(UserError, match=r"^the data are missing$"), blaming(cls, "it"):
            raise UserError("the data are missing")


def test_a_fit_says_its_mode_itself():
    with pytest.raises(UserError, match="mode 'training' of the Fit 'x' is none of frozen, train"):
        Fit("x", [], [], mode="training")
    with pytest.raises(UserError, match="did you mean 'train'"):
        Fit("x", [], [], mode="trian")


def test_interrupts_pass():
    class Theirs:
        pass

    with pytest.raises(KeyboardInterrupt), blaming(Theirs, "it"):
        raise KeyboardInterrupt
    sentence = r"'Theirs' \(.*\): it raises SystemExit; mend it"
    with pytest.raises(UserError, match=sentence), blaming(Theirs, "it"):
        raise SystemExit
