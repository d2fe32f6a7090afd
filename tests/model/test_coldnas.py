"""ColdNAS against a restatement one task, one row and one number at a time, in float64."""

import itertools
import math
import random
from typing import ClassVar

import pytest
import torch
from helpers import state_of, what_moved
from number_helpers import central_differences, dense, gradient_of
from task_helpers import NO_ITEM_FEATURES, RaggedTasks, exchanged, first_episode, tasks_of

from recbole_cold.config import make_config
from recbole_cold.errors import UserError
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Request
from recbole_cold.model.coldnas import (
    OPERATIONS,
    ColdNAS,
    ModulatedNetwork,
    as_architecture,
    as_tensor,
    discretise,
    mixture,
    modulated,
    read_architecture,
    share,
)
from recbole_cold.testing import MethodConformance
from recbole_cold.training.trainer import Trainer

EXAMPLE = ((0, "add"), (1, "add"), (2, "max"), (2, "add"))
ALL = tuple(itertools.product(range(4), OPERATIONS))
# The operations once more, on two numbers, in the order that is fixed.
ON_NUMBERS = {"max": max, "min": min, "multiply": lambda x, f: x * f, "add": lambda x, f: x + f}


def network(architecture=EXAMPLE, skip=None) -> ModulatedNetwork:
    """A small network in float64, with biases as large as weights; ``skip``: of a search."""
    torch.manual_seed(3)
    out = ModulatedNetwork(3, 2, encoder=4, hidden=(6, 5, 3), adapter=7).double()
    if skip is not None:
        out.begin_search(skip)
        assert torch.equal(out.alpha_po, torch.full((4, 4), 0.5).double())
    with torch.no_grad():
        for parameter in out.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    out.architecture = architecture
    return out


class Tasks(RaggedTasks):
    def logits(self, net, places=(0, 1, 2, 3), label=None):
        """Of all rows, with the support rows ``places``."""
        rows = self.rows(net)
        label = self.label if label is None else label
        places = list(places)
        phi = net.modulators(rows[:, places], label[:, places], self.mask[:, places])
        return net.logits(rows, phi)


@pytest.fixture
def tasks(rng64):
    return Tasks(rng64)


# ------------------------------------------------------------------------- one number at a time
def leaky(x: list[float]) -> list[float]:
    return [v if v > 0 else 0.01 * v for v in x]


def l1(x: list[float]) -> list[float]:
    return [v / max(sum(map(abs, x)), 1e-12) for v in x]


def naive_logits(net, own, other, label, mask) -> list[float]:
    """One task's logits by the paper's equations."""
    rows = [dense(net.own_encoder, own.tolist()) + dense(net.other_encoder, row.tolist())
            for row in other]  # fmt: skip
    real = [k for k in range(len(rows)) if mask[k]]
    summaries = [leaky(dense(net.summary, [*rows[k], label[k].item()])) for k in real]
    mean = [sum(s) / len(s) for s in zip(*summaries, strict=True)] if real else [0.0] * 7
    phi = iter(dense(net.adapter, mean))
    widths = [8, 6, 5, 3]
    vectors = {
        (p, name): [next(phi) for _ in range(w)]
        for name in OPERATIONS
        for p, w in enumerate(widths)
    }
    out = []
    for x in rows:
        for p, layer in enumerate(net.layers):
            if net.weights is not None:
                x = naive_mixture(net, p, x, vectors)
            for name, operation in ON_NUMBERS.items() if net.weights is None else ():
                if (p, name) in net.architecture:
                    f = vectors[p, name]
                    f = [max(v, 0.0) for v in f] if name == "multiply" else f
                    x = [operation(a, b) for a, b in zip(x, f, strict=True)]
            x = dense(layer, leaky(x))
        out.append(x[0])
    return out


def naive_mixture(net, p, x, vectors) -> list[float]:
    start = now = l1(x)
    for o, (name, operation) in enumerate(ON_NUMBERS.items()):
        alpha = 1 / (1 + 2.718281828459045 ** -net.weights[p, o].item())
        f = vectors[p, name]
        f = [max(v, 0.0) for v in f] if name == "multiply" else f
        done = l1([operation(a, b) for a, b in zip(now, f, strict=True)])
        past = start if net.skip == "start" else now
        now = [alpha * d + (1 - alpha) * s for d, s in zip(done, past, strict=True)]
    return now


NETWORKS = {
    "example": lambda: network(),
    "everything": lambda: network(ALL),
    "none": lambda: network(()),
    "search": lambda: network(skip="start"),
    "search, skip before": lambda: network(skip="before"),
}


@pytest.mark.parametrize("made", NETWORKS)
def test_batched_tasks_equal_tasks_one_number_at_a_time(tasks, made):
    """Masked rows and a task without any included."""
    net = NETWORKS[made]()
    logits = tasks.logits(net)
    for t in range(3):
        expected = naive_logits(net, tasks.own[t], tasks.other[t], tasks.label[t], tasks.mask[t])
        assert logits[t].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("made", ["example", "search"])
def test_order_and_number_of_copies_of_the_support_do_not_matter(tasks, made):
    """C2, and other labels give other modulations."""
    net, plain = NETWORKS[made](), tasks.logits(NETWORKS[made]())
    assert torch.allclose(tasks.logits(net, [1, 0, 3, 2]), plain, atol=1e-13)
    assert torch.allclose(tasks.logits(net, [0, 1, 2, 3, 0, 1, 2, 3]), plain, atol=1e-13)
    flipped = tasks.logits(net, label=1 - tasks.label)
    assert (flipped - plain)[:2].abs().min() > 1e-6
    assert torch.equal(flipped[2], plain[2])  # no support, no labels


def test_without_operations_it_is_a_plain_network(tasks):
    """C1: the support is irrelevant."""
    net = network(())
    plain = tasks.logits(net)
    assert torch.equal(tasks.logits(net, label=1 - tasks.label), plain)
    assert torch.equal(tasks.logits(net, [0]), plain)
    x = torch.cat([net.own_encoder(tasks.own)[:, None].expand(-1, 4, -1),
                   net.other_encoder(tasks.other)], dim=2)  # fmt: skip
    for layer in net.layers:
        x = layer(torch.nn.functional.leaky_relu(x))
    assert torch.allclose(x[..., 0], plain, atol=1e-13)


def test_a_query_rows_logit_does_not_depend_on_the_others(tasks):
    net = network()
    rows = tasks.rows(net)
    phi = net.modulators(rows, tasks.label, tasks.mask)
    moved = rows.clone()
    moved[:, 1:] += 1.0
    assert torch.allclose(net.logits(moved, phi)[:, 0], net.logits(rows, phi)[:, 0], atol=1e-14)
    assert not torch.allclose(net.logits(moved, phi)[:, 1], net.logits(rows, phi)[:, 1])


def test_factors_are_not_negative(tasks):
    """C5: of a product only; and they depend on the support."""
    net = network()
    rows = tasks.rows(net)
    phi = net.modulators(rows, tasks.label, tasks.mask)
    assert phi.shape == (3, 4, 8 + 6 + 5 + 3)
    for place, name in enumerate(OPERATIONS):
        assert (phi[:, place] >= 0).all() == (name == "multiply")
    assert not torch.allclose(phi[0], phi[1])


def test_factors_begin_where_they_are_told_to():
    """Of products only, and otherwise the network begins as it does without."""
    made = []
    for start in (0.0, 1.0):
        torch.manual_seed(3)
        made.append(ModulatedNetwork(3, 2, hidden=(6, 5), factor_start=start))
    zero, one = (net.adapter.bias.view(4, -1) for net in made)
    for place, name in enumerate(OPERATIONS):
        assert torch.equal(one[place], zero[place] + (name == "multiply"))
    rest = [[p for n, p in net.named_parameters() if n != "adapter.bias"] for net in made]
    assert all(itertools.starmap(torch.equal, zip(*rest, strict=True)))


def test_every_operation_is_that_on_two_numbers(rng64):
    """And several are carried out in the fixed order."""
    x, phi = rng64(2, 3, 5), rng64(2, 4, 5)
    for names in [(), *itertools.combinations(OPERATIONS, 1), ("add", "max"), tuple(OPERATIONS)]:
        out = modulated(x, phi, names)
        for t, k, d in itertools.product(range(2), range(3), range(5)):
            expected = x[t, k, d].item()
            for place, (name, operation) in enumerate(ON_NUMBERS.items()):
                if name in names:
                    expected = operation(expected, phi[t, place, d].item())
            assert out[t, k, d].item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("skip", ["start", "before"])
def test_mixtures_at_the_corners(rng64, skip):
    """C3: no weight gives n(x), one weight gives that operation, as long as none skips it."""
    x, phi = rng64(2, 3, 5), rng64(2, 4, 5)
    zero = torch.zeros(4).double()
    assert torch.allclose(mixture(x, phi, zero, skip), share(x), atol=1e-14)
    assert torch.allclose(share(x).abs().sum(dim=2), torch.ones(2, 3).double(), atol=1e-14)
    for place, operation in enumerate(OPERATIONS.values()):
        one = torch.eye(4).double()[place]
        out = mixture(x, phi, one, skip)
        expected = share(operation(share(x), phi[:, place, None]))
        if skip == "before" or place == 3:
            assert torch.allclose(out, expected, atol=1e-14)
        else:
            # The release's later operations of weight 0 go back to the start.
            assert torch.allclose(out, share(x), atol=1e-14)
    half = mixture(x, phi, zero + 0.5, skip)
    assert not torch.allclose(half, share(x), atol=1e-3)


def test_discretised_weights_are_the_largest_and_the_first_of_equal_ones(rng64):
    """C4."""
    assert discretise(torch.full((4, 4), 0.5), 4) == ALL[:4]
    for n_ops in (0, 1, 4, 16):
        alpha = torch.sigmoid(rng64(4, 4))
        flat = alpha.flatten().tolist()
        best = sorted(sorted(range(16), key=lambda place: -flat[place])[:n_ops])
        assert discretise(alpha, n_ops) == tuple(ALL[place] for place in best)
    # Two that tie for the last place.
    alpha = torch.zeros(4, 4)
    alpha[3, 1], alpha[2, 0], alpha[1, 2] = 0.9, 0.5, 0.5
    assert discretise(alpha, 2) == ((1, "multiply"), (3, "min"))


def test_architectures_survive_the_state_dict_and_the_configuration():
    draw = random.Random(0)
    for n_ops in (0, 1, 4, 16):
        architecture = tuple(sorted(draw.sample(ALL, n_ops), key=ALL.index))
        assert as_architecture(as_tensor(architecture, 4)) == architecture
        assert int(as_tensor(architecture, 4).sum()) == n_ops
        listed = [list(pair) for pair in architecture]
        assert read_architecture(listed, 4) == architecture
    assert read_architecture("release", 4) == EXAMPLE


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([[0, "ad"]], r"\[0, 'ad'\].*did you mean 'add'.*list pairs"),
        ([[4, "add"]], r"\[4, 'add'\].*position \(0 to 3\)"),
        ([[-1, "add"]], r"\[-1, 'add'\]"),
        ([[True, "add"]], r"\[True, 'add'\]"),
        ([["add", 0]], r"\['add', 0\]"),
        ([[0, "add"], [1, "min"], [0, "add"]], r"\[0, 'add'\] twice"),
        ("serch", r"'serch'.*or say release or search"),
        (["add"], r"'add'.*list pairs"),
        ([[0, "add"], [3, ["min"]]], r"\[3, \['min'\]\]"),
        (3, r"has 3"),
    ],
)
def test_what_is_no_architecture_is_named(value, said):
    with pytest.raises(UserError, match=said):
        read_architecture(value, 4)


# ------------------------------------------------------------------------------- the method
SMALL = {
    "coldnas_encoder_size": 4,
    "coldnas_hidden_size": [6, 5, 3],
    "coldnas_adapter_size": 7,
    "coldnas_search_epochs": 3,
    "meta_batch_size": 5,
    "meta_epochs": 2,
}


def built(build, double=True, **keys) -> ColdNAS:
    return build("ColdNAS", "FM", double=double, **{**SMALL, **keys})


def enlarge(net):
    """Parameters as large as after training."""
    with torch.no_grad():
        for parameter in net.modulated.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))


class TestColdNAS:
    @pytest.mark.parametrize("architecture", [EXAMPLE, "search"], ids=str)
    def test_loss_of_an_episode_one_number_at_a_time(self, build, architecture):
        """Cross entropy of the query, modulated by the support; masked rows in both."""
        method = built(build, coldnas_architecture=architecture)
        searching = architecture == "search"
        net = method.supernet if searching else method.net
        enlarge(net)
        episode, total = first_episode(method, short=1), 0.0
        loss = method.search_loss(episode) if searching else method.episode_loss(episode)
        method._searching = searching
        support, query = method.both_of(episode)
        for t in range(5):
            rows = [
                naive_logits(
                    net.modulated,
                    support.own_tp[t],
                    torch.cat([support.other_tkq[t], query.other_tkq[t]]),
                    torch.cat([support.label_tk[t], query.label_tk[t]]),
                    torch.cat([support.mask_tk[t], 0 * query.mask_tk[t]]),
                )[support.label_tk.shape[1] :]
            ][0]
            real = [k for k in range(len(rows)) if query.mask_tk[t, k]]
            losses = [math.log1p(math.exp(rows[k])) - query.label_tk[t, k].item() * rows[k]
                      for k in real]  # fmt: skip
            total += sum(losses) / len(losses) / 5
        assert loss.item() == pytest.approx(total, abs=1e-10)

    @pytest.mark.parametrize("architecture", [EXAMPLE, "search"], ids=str)
    def test_batched_tasks_have_the_gradient_of_tasks_one_by_one(self, build, architecture):
        """G1, G2, G3: in any order, with other rows in masked places."""
        method = built(build, coldnas_architecture=architecture)
        loss_of = method.search_loss if architecture == "search" else method.episode_loss
        net = method.supernet or method.net
        enlarge(net)
        parameters = list(net.parameters())
        episode = first_episode(method, short=1)
        whole = loss_of(episode)
        ones = [loss_of(tasks_of(episode, [t])) for t in range(5)]
        expected = sum(gradient_of(parameters, one) for one in ones) / 5
        assert (gradient_of(parameters, whole) - expected).abs().max() < 1e-13
        assert expected.abs().max() > 1e-3
        permuted = loss_of(tasks_of(episode, [3, 0, 4, 1, 2]))
        assert permuted.item() == pytest.approx(whole.item(), abs=1e-13)
        mask = episode.support_mask_tk.flatten() > 0
        noise = torch.where(mask, episode.support.index, episode.support.index.roll(7))
        padded = exchanged(episode, support=method.rows.batch(noise))
        assert torch.equal(loss_of(padded), whole)

    def test_gradient_against_central_differences(self, build):
        """Of the weights of the operations, which are learned with everything else."""
        method = built(build, coldnas_architecture="search")
        enlarge(method.supernet)
        weights = method.supernet.modulated.weights
        assert any(parameter is weights for parameter in method.learn_fits()[0].steps[0].parameters)
        episode = first_episode(method)
        exact = gradient_of([weights], method.search_loss(episode))
        numeric = central_differences(lambda: method.search_loss(episode), [weights], 1e-6)
        assert exact.tolist() == pytest.approx(numeric.tolist(), abs=1e-7)
        assert exact.abs().min() > 0

    def test_a_search_is_retrained_from_scratch(self, build):
        """C6: nothing is shared with the network of the search, and the network that serves begins
        as it does without one."""
        method = built(build, double=False, coldnas_architecture="search", coldnas_n_ops=3)
        pointers = {p.data_ptr() for p in method.supernet.parameters()}
        assert not pointers & {p.data_ptr() for p in method.backbone.parameters()}
        search, train = method.learn_fits()
        assert search.name == "search"
        moved = {id(p) for p in search.steps[0].parameters}
        assert moved == {id(p) for p in method.supernet.parameters()}
        assert not moved & {id(p) for p in train.steps[0].parameters}
        assert (search.epochs, train.epochs) == (3, 2)
        start = [p.detach().clone() for p in method.net.parameters()]
        trainer = Trainer(method, seed=7)
        trainer.learn()
        found = method.decided_keys()["coldnas_architecture"]
        alpha = method.supernet.modulated.alpha_po
        assert [tuple(pair) for pair in found] == list(discretise(alpha, 3))
        assert (alpha - 0.5).abs().max() > 0
        assert method.net.modulated.architecture == discretise(alpha, 3)

        plain = built(build, double=False, coldnas_architecture=found)
        assert plain.decided_keys() == {}
        assert plain.supernet is None
        for ours, theirs in zip(start, plain.net.parameters(), strict=True):
            assert torch.equal(ours, theirs)

    def test_what_was_found_outlives_the_process(self, build):
        """The state dict brings it back; the supernet is not needed for serving."""
        method = built(build, double=False, coldnas_architecture="search")
        Trainer(method, seed=7).learn()
        again = built(build, double=False, coldnas_architecture="search")
        assert again.net.modulated.architecture == ()
        again.load_state_dict(method.state_dict())
        again.restored()
        assert again.decided_keys() == method.decided_keys() != {"coldnas_architecture": []}
        rows = method.rows.batch(torch.arange(50))
        method.set_mode("evaluate"), again.set_mode("evaluate")
        assert torch.equal(again.logits(rows), method.logits(rows))

    def test_serving_looks_at_supports_only(self, build):
        """G5, G8: the labels of test rows and other items' supports change nothing."""
        method = built(build)
        enlarge(method.net)
        index = method.rows.index(method.dataset.split["test"])
        method.start_new_items()
        method.observe(method.rows.index(method.dataset.split["warm_a"]))
        method.set_mode("evaluate")

        def scores():
            method.restored()
            return method.logits(method.rows.batch(index))

        plain, label = scores(), method.rows.columns[method.label_field]
        before = state_of(method)
        method.rows.columns[method.label_field] = label.clone()
        method.rows.columns[method.label_field][index] = 1 - label[index]
        assert torch.equal(scores(), plain)
        mine = method.supports.rows[0]
        method.rows.columns[method.label_field][mine] = 1 - label[mine]
        first = method.new_index[method.rows.columns[method.id_field][index].long()] == 0
        moved = (scores() - plain).abs()
        assert moved[first].min() > 1e-9
        assert moved[~first].max() == 0
        assert not what_moved(before, method)

    def test_supports_that_tell_the_label_are_used(self):
        """G7: tasks whose rows all have one label, unknown without their supports."""
        torch.manual_seed(0)
        net = ModulatedNetwork(2, 2, encoder=4, hidden=(6, 5, 3), adapter=7)
        net.architecture = EXAMPLE
        adam = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(200):
            label = (torch.rand(16, 1) > 0.5).float().expand(16, 8).contiguous()
            row, mask = net.inputs(torch.randn(16, 2), torch.randn(16, 8, 2)), torch.ones(16, 4)
            phi = net.modulators(row[:, :4], label[:, :4], mask)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                net.logits(row[:, 4:], phi), label[:, 4:]
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
        assert loss < 0.1

    def test_a_side_without_features_has_no_say(self, build):
        method = built(build, load_col=NO_ITEM_FEATURES)
        assert method.net.own.width == 0
        assert torch.isfinite(method.episode_loss(first_episode(method)))

    def test_impossible_searches_are_refused(self, build):
        for n_ops in (0, 2.5):
            with pytest.raises(UserError, match="coldnas_n_ops must be a whole number of at least"):
                built(build, coldnas_architecture="search", coldnas_n_ops=n_ops)
        with pytest.raises(UserError, match=r"1 to 16 operations \(4 at each of 4 positions\)"):
            built(build, coldnas_architecture="search", coldnas_n_ops=17)
        with pytest.raises(UserError, match="coldnas_skip 'begin' is none of start, before"):
            built(build, coldnas_skip="begin")
        with pytest.raises(UserError, match="list pairs"):
            built(build, coldnas_architecture="serch")

    def test_a_search_leaves_a_file_for_later_runs(self, tiny_keys, tmp_path):
        """In the run's folder, as ``--config_files`` takes it: with it nothing is searched."""
        keys = {**tiny_keys, **SMALL, "embedding_size": 4, "show_progress": False,
                "meta_epochs": 1, "matched_row": False}  # fmt: skip
        asked = Request("ColdNAS[coldnas_architecture=search]", "tiny", None, (), keys, "a command")
        experiment = Experiment(asked, tmp_path)
        seed = experiment.seeds()[0]
        experiment.run()
        (file,) = tmp_path.glob("*/found-*.yaml")
        assert file.name == f"found-seed-{seed}.yaml"
        assert file.parent == experiment._entry_folder(experiment.entries[0])
        config = make_config("ColdNAS", "tiny", config_files=[file], overrides=keys)
        assert len(config["coldnas_architecture"]) == 4
        assert read_architecture(config["coldnas_architecture"], 4)
        later = Request("ColdNAS", "tiny", None, (str(file),), keys, "a command")
        (run,) = Experiment(later, tmp_path / "later").run()["runs"]
        (stage,) = [s for s in run["seeds"][0]["stages"] if s["name"] == "learn"]
        assert stage["steps"] == 3  # one pass over 15 old items in batches of 5
        assert not list((tmp_path / "later").glob("*/found-*.yaml"))


class TestColdNASThatSearches(MethodConformance):
    """What every method promises, with a search before the training: resumes within it, too."""

    method = ColdNAS
    options: ClassVar = {"coldnas_architecture": "search", "coldnas_search_epochs": 3}
