"""The key ``precision``: which products are taken in which numbers, and what stays float32."""

import itertools
import json
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

import recbole_cold
from recbole_cold import compat
from recbole_cold.backbone import afn
from recbole_cold.config import make_config
from recbole_cold.data.phases import run_phases
from recbole_cold.device import PRECISIONS, computing, in_float32, narrowed, whole
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.keys import ROWS
from recbole_cold.model import _content, _denoising, _triple_scores, _vae, aldi, csdm, mamo
from recbole_cold.model._emerg_attention import attend
from recbole_cold.model._emerg_net import HyperNetwork, higher_orders
from recbole_cold.model._emerg_states import states
from recbole_cold.model._inner import inner_step, loss_in_chunks
from recbole_cold.model._layers import click_loss
from recbole_cold.model._rml_net import learned_states
from recbole_cold.registry import backbones, methods
from recbole_cold.testing import Bench
from recbole_cold.testing._bench import SEED
from recbole_cold.training import checks
from recbole_cold.training.trainer import Trainer

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
FEWER = {"CVAR": {"cvar_iters": 2}, "AVAEW": {"avaew_iters": 2}, "CSDM": {"csdm_iters": 2},
         "RML": {"rml_epochs": 2}}  # fmt: skip
# They cannot be wrapped, or not on the data of the bench.
LEFT_OUT = {*compat.UNWRAPPABLE, "DSSM"}


def flags():
    """How torch multiplies float32 on a card, now, by its newer flags and by the older question."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:  # the two do not go together
        older = "refused"
    return [*(place.fp32_precision for place in (cuda, cudnn.conv, cudnn.rnn)), older]


# ------------------------------------------------------------------------------- contexts
def test_the_key_has_the_values_that_the_device_knows():
    assert set(ROWS["precision"].kind.choices) == set(PRECISIONS)


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="this torch has older flags"
)
@pytest.mark.parametrize("asked", ["highest", "high", "medium", "by the newer flags"])
@pytest.mark.parametrize(("precision", "inside"), [("float32", "ieee"), ("tf32", "tf32"),
                                                   ("bf16", "ieee")])  # fmt: skip
def test_a_card_multiplies_as_told_and_the_caller_finds_torch_as_it_was(
    request, precision, inside, asked
):
    usual, matmul = flags()[0], torch.backends.cuda.matmul
    request.addfinalizer(lambda: setattr(matmul, "fp32_precision", usual))
    request.addfinalizer(lambda: torch.set_float32_matmul_precision("highest"))
    if asked == "by the newer flags":
        matmul.fp32_precision = "tf32"
    elif asked != "highest":
        torch.set_float32_matmul_precision(asked)
    before = flags()
    with computing(CPU, precision):
        assert flags() == before
    with pytest.raises(ZeroDivisionError), computing(CARD, precision):
        assert flags()[:3] == 3 * [inside]
        assert torch.are_deterministic_algorithms_enabled()
        raise ZeroDivisionError
    assert flags() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_bf16_narrows_products_and_nothing_else():
    x, weight = torch.rand(3, 2), nn.Parameter(torch.rand(2, 2))
    for precision in ("float32", "tf32"):
        with narrowed(CPU, precision):
            assert (x @ weight).dtype == torch.float32
    with narrowed(CPU, "bf16"):
        product = x @ weight
        assert (product.dtype, whole(product).dtype) == (torch.bfloat16, torch.float32)
        assert torch.equal(product, x.bfloat16() @ weight.detach().bfloat16())
        assert (x + 1).dtype == torch.float32
        assert (x.double() @ weight.double()).dtype == torch.float64
    assert (x @ weight).dtype == torch.float32
    wide = torch.rand(2).double()
    assert whole(x) is x and whole(wide) is wide


def test_no_narrow_copy_of_a_parameter_is_kept():
    """One made without gradients would give none, one from before a step would be stale."""
    x, weight = torch.rand(3, 2), nn.Parameter(torch.rand(2, 2))
    with narrowed(CPU, "bf16"):
        with torch.no_grad():
            before = x @ weight
        assert (x @ weight).requires_grad
        with torch.no_grad():
            weight.add_(1.0)
        assert not torch.equal(x @ weight, before)


# ------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"precision": "tf32"}, "precision 'tf32' is a way .* on device 'cpu'; use precision="),
        ({"precision": "fp16"}, "precision .*float32, tf32, bf16"),
    ],
)
def test_what_the_cpu_has_not_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        make_config("Base", "ml-100k", overrides={"device": "cpu", **keys})
    assert make_config("Base", "ml-100k", overrides={"precision": "bf16"})["precision"] == "bf16"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_an_old_card_has_not_is_refused(precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    compat.refuse_precision(precision, CARD)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    if precision == "float32":
        compat.refuse_precision(precision, CARD)
        return
    with pytest.raises(UserError, match=r"capability 8\.0 or more, and Tesla T4 has 7\.5"):
        compat.refuse_precision(precision, CARD)


# ------------------------------------------------------------------------------- by hand
def denoised(z, h, part):
    torch.manual_seed(1)
    denoiser = csdm.Denoiser(4, 3, 4, dropout=0.5)
    factors = ((0.9, 0.1, 0.2, 0.0), (0.8, 0.3, 0.1, 0.0))
    return _denoising._chained(denoiser, z, h, part, factors, None)


def hyper(own):
    torch.manual_seed(1)
    return HyperNetwork(3, 4)(own)


AT, AT_I, AT_J = torch.tensor([0, 2, 1, 2]), torch.tensor([0, 0, 3, 1]), torch.tensor([4, 2, 2, 1])
# What is written by hand, or is no product that may be rounded: with shapes of what it is given.
WHOLE = {
    "attend": (attend, (4, 3, 6), (2, 4, 4), (2, 4, 4), (4,)),
    "denoiser": (denoised, (5, 4), (5, 4), (2, 1, 4)),
    "scores": (lambda left, right: _triple_scores.scores(left, right, AT, AT_I, AT_J),
               (3, 4), (5, 4)),
    "scores_and_size": (
        lambda left, right: _triple_scores.scores_and_size(left, right, AT, AT_I, AT_J),
        (3, 4), (5, 4)),
    "identification_by_item": (
        lambda rows: _triple_scores.identification_by_item(rows, AT_I, AT_J), (5, 4)),
    "identification": (aldi.identification, (4, 3), (4, 3)),
    "hyper-network": (hyper, (5, 3)),
    "graphs": (lambda first: higher_orders(first, 3, mask=False), (2, 4, 4)),
    "attention": (mamo.attention, (5, 3), (2, 3)),
    "memory": (mamo.read, (5, 2), (2, 3, 3)),
    "mean by shares": (lambda value, share: _vae.mean_of(value, share), (5, 3), (5,)),
    "products of states": (lambda x, m: states(x, m, "product"), (2, 3), (2, 2, 3)),
    "hidden states": (learned_states, (2, 3, 2), (8, 2), (8, 2),
                      (8,), (8,)),
    "powers": (afn.powers, (5, 3, 4), (2, 3)),
    "powers of one plus": (afn.powers_of_one_plus, (5, 3, 4), (2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_written_by_hand_is_float32_among_narrow_products(name):
    """Values and gradients are those without narrow products, of the same numbers; whether these
    come from a product, as bfloat16, or not."""
    function, *shapes = WHOLE[name]
    for narrow in itertools.product((False, True), repeat=len(shapes)):
        torch.manual_seed(3)
        leaves = [torch.rand(shape, requires_grad=True) for shape in shapes]
        given = [x.bfloat16() if short else x for x, short in zip(leaves, narrow, strict=True)]

        def of(given, leaves, precision):
            torch.manual_seed(4)  # of dropout
            with narrowed(CPU, precision):
                found = function(*given)
            parts = found if isinstance(found, tuple | list) else [found]
            loss = sum((part * (part + 0.5)).sum() for part in parts)
            return [*parts, *torch.autograd.grad(loss, leaves)]

        expected = of([whole(x) for x in given], leaves, "float32")
        found = of(given, leaves, "bf16")
        assert {part.dtype for part in found} == {torch.float32}
        assert all(map(torch.equal, found, expected)), narrow


def test_attention_has_the_second_order_of_float32():
    def of(precision):
        torch.manual_seed(3)
        given = [torch.rand(s, requires_grad=True) for s in ((4, 3, 6), (2, 4, 4), (2, 4, 4), (4,))]
        with narrowed(CPU, precision):
            inner = torch.autograd.grad(attend(*given).square().sum(), given, create_graph=True)
            loss = sum(part.square().sum() for part in inner)
        return torch.autograd.grad(loss, given)

    for found, expected in zip(of("bf16"), of("float32"), strict=True):
        assert found.dtype == torch.float32
        # Products around the hand-written part are differentiated within the context.
        assert (found - expected).norm() < 0.03 * expected.norm()


def test_the_networks_attention_is_float32(tmp_path):
    """Compiled or not; its messages come from narrow products."""
    method, _ = Bench(methods()["EmerG"], {}, tmp_path).build("EmerG")
    net = method.net
    size, layers = net.embedding_size, net.layers
    torch.manual_seed(3)
    fields, messages = torch.rand(size, 2, 3, 40), torch.rand(layers, size, 2, 3, 40).bfloat16()
    expected = net.attend(fields, messages.float())
    with narrowed(CPU, "bf16"):
        assert torch.equal(net.attend(fields, messages), expected)


def test_tanh_takes_narrow_numbers():
    x = torch.randn(5, requires_grad=True)
    with narrowed(CPU, "bf16"):
        assert torch.equal(_content.tanh(x.bfloat16()), torch.tanh(x.bfloat16()))
        assert torch.equal(_content.tanh(x), _content._Tanh.apply(x))


def test_arguments_with_names_are_handed_on():
    @in_float32
    def product(x, weight, *, times):
        return times * (x @ weight)

    x = torch.rand(2, 2)
    narrow = x.bfloat16()
    wanted, by_name = 2.0 * (x @ x), 2.0 * (x @ narrow.float())
    with narrowed(CPU, "bf16"):
        assert torch.equal(product(x, x, times=2.0), wanted)
        assert torch.equal(product(weight=narrow, x=x, times=2.0), by_name)


# ------------------------------------------------------------------------------- inner steps
def test_inner_steps_start_and_stay_in_float32():
    """A step of 1e-4 beside a number of order 1 would be none in bfloat16."""
    start, label = torch.ones(3, 2).bfloat16().requires_grad_(), torch.tensor([1.0, 0.0, 1.0])
    with narrowed(CPU, "bf16"):
        fast, loss_t = inner_step(lambda v: click_loss(v, v > 0, v > 0), start, 1e-4)
        assert (fast.dtype, loss_t.dtype) == (torch.float32, torch.float32)
        assert bool((fast != 1.0).all())
        total = loss_in_chunks(
            lambda v, label: (v.sum(dim=1) * label).sum() / 3, start, [label[:2], label[2:]], 2
        )
    assert total.dtype == torch.float32
    total.backward()
    assert start.grad is not None and bool(start.grad.any())


def test_the_loss_of_tasks_is_summed_in_float32():
    logit = torch.randn(4, 300).bfloat16()
    label, mask = (logit > 0).float(), torch.ones(4, 300)
    loss_t = click_loss(logit, label, mask)
    assert torch.equal(loss_t, click_loss(logit.float(), label, mask))


# ------------------------------------------------------------------------------- whole runs
def ran(name, folder, precision, monkeypatch, backbone="DeepFM"):
    """Scores by phase; types of all parts of losses, of parameters and gradients; how far the last
    scores are from what the method says by itself; all parameters."""
    cls = methods()[name]
    keys = {**FEWER.get(name, {}), "precision": precision}
    method, dataset = Bench(cls, keys, folder).build(name if cls.network is not None else backbone)
    trainer, scores, types = Trainer(method, SEED), {}, set()
    see = checks.LossCheck.see

    def seen(self, step, parts, where):
        types.update(part.dtype for part in parts)
        types.update(p.grad.dtype for p in step.parameters if p.grad is not None)
        return see(self, step, parts, where)

    monkeypatch.setattr(checks.LossCheck, "see", seen)
    trainer.pretrain()
    trainer.learn()
    for phase in dataset.split.phases:
        if phase.warm_up_on is not None:
            trainer.warm_up(phase.name, dataset.split[phase.warm_up_on])
        test = method.rows.index(dataset.split["test"])
        scores[phase.name] = trainer.score(test)
    types.update(p.dtype for p in method.parameters())
    assert {each.dtype for each in scores.values()} == {torch.float64}
    monkeypatch.setattr(checks.LossCheck, "see", see)
    with torch.no_grad():
        alone = method.predict(method.rows.batch(test))
    learned = parameters_to_vector(method.parameters()).detach()
    return scores, types, float((alone - scores[phase.name]).abs().max()), learned


def assert_close_and_whole(name, tmp_path, monkeypatch, backbone="DeepFM"):
    plain, _, apart, plainly = ran(name, tmp_path / "float32", "float32", monkeypatch, backbone)
    assert apart < 1e-5
    narrow, types, apart, narrowly = ran(name, tmp_path / "bf16", "bf16", monkeypatch, backbone)
    assert apart > 1e-5, "scores are not narrow"
    assert types <= {torch.float32}
    assert not torch.equal(narrowly, plainly), "losses are not narrow"
    for phase, scores in narrow.items():
        assert bool(torch.isfinite(scores).all()), phase
        assert not torch.equal(scores, plain[phase]), phase
        assert (scores - plain[phase]).abs().mean() < 0.03, phase


def test_scores_are_close_and_losses_and_parameters_whole(tmp_path, monkeypatch):
    assert_close_and_whole("MeLU", tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_runs_in_bf16(name, tmp_path, monkeypatch):
    assert_close_and_whole(name, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", sorted(backbones().keys() - LEFT_OUT))
def test_every_backbone_runs_in_bf16(backbone, tmp_path, monkeypatch):
    """MetaE trains it as Base does, and then differentiates it twice."""
    scores, types, *_ = ran("MetaE", tmp_path / "bf16", "bf16", monkeypatch, backbone)
    plain, *_ = ran("MetaE", tmp_path / "float32", "float32", monkeypatch, backbone)
    assert types <= {torch.float32}
    for phase, found in scores.items():
        # The MLP of AFN reads products up to e^20.
        most = 0.1 if backbone == "AFN" else 0.03
        assert (found - plain[phase]).abs().mean() < most, phase


def test_a_run_in_bf16_goes_on_to_the_same_numbers(tmp_path):
    bench = Bench(methods()["Base"], {"precision": "bf16"}, tmp_path)
    method, data = bench.build("DeepFM")
    whole_run = run_phases(trainer := Trainer(method, SEED), data.split, trainer.evaluate)
    asked = itertools.count()
    for stopped in (True, False):
        method, data = bench.build("DeepFM", data=data)
        trainer = Trainer(method, SEED, tmp_path / "state.pt")
        assert trainer.resume() != stopped
        if stopped:
            trainer.stop = lambda: next(asked) == 4
            with pytest.raises(Interrupted):
                run_phases(trainer, data.split, trainer.evaluate)
    again = run_phases(trainer, data.split, trainer.evaluate)
    assert json.dumps(again) == json.dumps(whole_run)


@pytest.mark.slow
def test_a_kept_model_is_served_in_float32(tmp_path, write_atomic):
    """Whatever the run multiplied in: as near to its scores as that rounds, and on any device."""
    from kept_here import kept_run

    kept = kept_run(["Base"], tmp_path, write_atomic, precision="bf16")
    fitted = recbole_cold.load(kept.folder, phase="cold")
    assert fitted.method.config["precision"] == "float32"
    assert fitted.about["config"]["precision"] == "bf16"
    scores, rows = kept.scored("Base", "cold")
    apart = abs(fitted.score(rows) - scores)
    assert 0 < apart.max() < 0.02


# ------------------------------------------------------------------------------- on a card
ON_A_CARD = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]


@pytest.mark.parametrize("precision", [pytest.param(each, marks=ON_A_CARD) for each in PRECISIONS])
def test_products_on_a_card(precision):
    """TF32 keeps ten bits of a factor, bfloat16 seven."""
    x, y = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(1))
    before = flags()
    with warnings.catch_warnings(), computing(CARD, precision), narrowed(CARD, precision):
        found = x.to(CARD) @ y.to(CARD)
    assert flags() == before
    exact = x.double() @ y.double()
    apart = (found.cpu().double() - exact).norm() / exact.norm()
    least, most = {"float32": (0, 1e-6), "tf32": (1e-5, 1e-3), "bf16": (1e-4, 1e-2)}[precision]
    assert least <= apart < most


@pytest.mark.parametrize("name", [pytest.param(each, marks=[*ON_A_CARD, pytest.mark.slow])
                                  for each in sorted(methods())])  # fmt: skip
def test_every_method_runs_in_bf16_on_a_card(name, tmp_path, monkeypatch):
    monkeypatch.setitem(FEWER, name, {**FEWER.get(name, {}), "device": "cuda"})
    assert_close_and_whole(name, tmp_path, monkeypatch)
