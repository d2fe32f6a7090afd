"""``check --leaks``: what is asked for, what is shown, and with which code it ends."""

import re

import pytest

from recbole_cold.cli.main import main
from recbole_cold.leaks.checks import CHECKS


@pytest.fixture
def check(tiny_flags, capsys):
    """``check(*words)``: exit code, stdout, stderr."""

    def ask(*words):
        code = main(["check", *tiny_flags, *words])
        return code, *capsys.readouterr()

    return ask


def test_all_checks_are_made_and_the_data_come_first(check, tmp_path):
    code, out, err = check("--leaks", "--model=Base,ItemBias")
    assert code == 1 and out.rstrip().endswith("found: L5 (leak)")
    lines = re.findall(r"^(L\d) .* (ok|leak|note|not applicable) +\S+  (Base|ItemBias)?", out, re.M)
    data = [check.name for check in CHECKS if check.trainings is None]
    trained = [check.name for check in CHECKS if check.trainings is not None]
    assert [(name, method) for name, _, method in lines] == [
        *((name, "") for name in data),
        *((name, "Base") for name in trained),
        *((name, "ItemBias") for name in trained),
    ]
    assert re.search(r"^ +choice of new ones +note .* 9 to 30 rows in the whole log", out, re.M)
    told = (
        r"Base on DeepFM: 5 trainings, new items scored with 4 features exchanged; about [\d.]+ s"
    )
    assert re.search(told, err)
    assert "training ItemBias: labels shuffled" in err
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("words", [["--leaks=l6,L3"], ["--leaks", "L3,L6"]], ids=["=", "word"])
def test_some_checks_and_a_clean_end(words, check):
    code, out, err = check(*words)
    assert code == 0 and out.rstrip().endswith("no leak was found")
    assert re.findall(r"^L\d", out, re.M) == ["L6", "L3"]
    assert "2 trainings; about" in err


def test_what_reads_the_data_alone_trains_nothing(check):
    code, _, err = check("--leaks=L6,L8,L9")
    assert (code, err) == (0, "")


def test_a_check_that_fails_is_told_and_the_others_go_on(check, monkeypatch):
    """Its learning rate is such that no shuffled label can be learned from."""
    from recbole_cold.errors import Diverged
    from recbole_cold.leaks import labels

    def diverge(data, rows, values):
        raise Diverged("the loss is no number")

    monkeypatch.setattr(labels, "with_labels", diverge)
    code, out, _ = check("--leaks=L1,L3")
    assert code == 1 and out.rstrip().endswith("found: L1 (failed)")
    assert re.search(r"^L1 .* failed +-  Base: the loss is no number$", out, re.M)
    assert re.search(r"^L3 .* ok ", out, re.M)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--leaks=L10"], "--leaks names 'L10', which is no leak check"),
        (["--leaks="], "--leaks names '', which is no leak check"),
        (["--leaks", "--write=ready"], "--leaks and --write are two things"),
        (["--leaks", "--model=Bose"], "did you mean 'Base'?"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(words, sentence, check):
    code, _, err = check(*words)
    assert code == 2 and err.startswith("error: ") and sentence in err and err.count("\n") == 1


def test_only_check_looks_for_leaks(tiny_flags, capsys):
    assert main(["run", "--leaks", *tiny_flags]) == 2
    assert "run takes no --leaks; write recbole-cold check --leaks" in capsys.readouterr().err


def test_an_interruption_leaves_what_was_found(check, monkeypatch):
    from recbole_cold.cli.screen import Stop

    monkeypatch.setattr(Stop, "__call__", lambda self: True)
    monkeypatch.setattr("recbole_cold.leaks.cost.plan", lambda subject, checks: "")
    code, out, err = check("--leaks=L6,L1")
    assert code == 130 and re.search("^L6 ", out, re.M) and "interrupted" in err


def test_help_names_every_check(capsys):
    main(["check", "--help"])
    out = capsys.readouterr().out
    assert {check.name for check in CHECKS} == set(re.findall(r"^    (L\d)  ", out, re.M))
