"""GME-P, GME-G, GME-A: generators that attend to the old items most like the new one."""

import logging
import math

import pytest
import torch
from helpers import empty_attributes, state_of, what_moved
from number_helpers import central_differences
from task_helpers import block_episode

from recbole_cold.errors import UserError
from recbole_cold.model import _gme
from recbole_cold.model._gme import Attention, FromAttributes, FromVectors, attention
from recbole_cold.model.gmea import GMEA
from recbole_cold.model.gmeg import GMEG
from recbole_cold.model.gmep import GMEP
from recbole_cold.training.trainer import Trainer

FORMS = ["GMEP", "GMEG", "GMEA"]
DOUBLE = {"dtype": torch.float64}


# ------------------------------------------------------------------ the paper, number by number
def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def times(vector, matrix):
    """``vector @ matrix``; a matrix is a list of columns, as ``nn.Linear`` keeps its weight."""
    return [dot(vector, column) for column in matrix]


def leaky(x):
    return x if x > 0 else 0.2 * x


def elu(x):
    return x if x > 0 else math.exp(x) - 1


def attended(query, keys, weight, score):
    """``ELU(sum_k beta_k k W)`` with ``beta = softmax LeakyReLU([q W || k W] a)``, and beta."""
    asked, answers = times(query, weight), [times(key, weight) for key in keys]
    logits = [leaky(dot(asked + answer, score)) for answer in answers]
    total = sum(math.exp(logit) for logit in logits)
    beta = [math.exp(logit) / total for logit in logits]
    width = range(len(asked))
    return [elu(sum(b * a[o] for b, a in zip(beta, answers, strict=True))) for o in width], beta


def naive_vector(method, item, gamma=1.0):
    """phi_i of one item, by its form's equations."""
    side = method.backbone.side_vectors().tolist()
    near = [int(j) for j, r in zip(*(part[item] for part in method.graph[:2]), strict=True) if r]
    net = method.generator
    weight, score = net.attention.project.weight.tolist(), net.attention.score.tolist()
    dense = net.dense.dense.weight.tolist()

    def generated(vector):
        return [gamma * math.tanh(x) for x in times(vector, dense)]

    if isinstance(method, GMEA):
        keys = [side[j] for j in [*near, item]]
        return generated(attended(side[item], keys, weight, score)[0])
    own = generated(side[item])
    if isinstance(method, GMEG):
        keys = [generated(side[j]) for j in near]
    else:
        keys = method.backbone.id_table()[near].tolist() if near else []
    return attended(own, [*keys, own], weight, score)[0]


# ------------------------------------------------------------------ tools
def built(build, form, backbone="FNN", **keys):
    """In float64, evaluation mode, with embeddings as large as after training."""
    method = build(form, backbone, double=True, **{"gme_neighbours": 3, **keys})
    method.set_mode("frozen")
    with torch.no_grad():
        method.backbone.model.token_embedding_table.embedding.weight.mul_(2.0)
    return method


def loss_of(method, episode):
    return method.episode_loss(method.item_generator()(episode.ids_t), episode)


def attention_net(rng64, size_in=4, size_out=3, **keys):
    net = Attention(size_in, size_out, **keys).double()
    net.project.weight.data, net.score.data = rng64(size_out, size_in), rng64(2 * size_out)
    return net


@pytest.fixture(autouse=True)
def what_is_said(caplog):
    caplog.set_level(logging.INFO)


class TestAttention:
    def test_weights_are_a_distribution_over_real_keys(self, rng64):
        real = torch.tensor([[True, True, False, True], [False, False, False, True]])
        beta = attention(rng64(2, 3), rng64(2, 4, 3), rng64(6), real)
        assert (beta >= 0).all() and torch.allclose(beta.sum(dim=1), torch.ones(2).double())
        assert (beta[~real] == 0).all() and (beta[real] > 0).all()

    def test_by_hand(self, rng64):
        """Weights and vectors of each item, one number at a time."""
        net, own, near = attention_net(rng64), rng64(5, 4), rng64(5, 3, 4)
        out = net(own, near, torch.ones(5, 3, dtype=torch.bool))
        weight, score = net.project.weight.tolist(), net.score.tolist()
        for item in range(5):
            keys = [*near[item].tolist(), own[item].tolist()]
            expected, beta = attended(own[item].tolist(), keys, weight, score)
            assert out[item].tolist() == pytest.approx(expected, abs=1e-13)
            asked, answers = times(own[item].tolist(), weight), [times(k, weight) for k in keys]
            asked, answers = torch.tensor(asked, **DOUBLE), torch.tensor(answers, **DOUBLE)
            found = attention(asked[None], answers[None], net.score, torch.ones(1, 4) > 0)
            assert found[0].tolist() == pytest.approx(beta, abs=1e-13)

    def test_order_of_neighbours_is_nothing(self, rng64):
        net, own, near = attention_net(rng64), rng64(5, 4), rng64(5, 3, 4)
        real = torch.tensor([[True, True, False]] * 5)
        order = torch.tensor([2, 0, 1])
        there, back = net(own, near, real), net(own, near[:, order], real[:, order])
        assert torch.allclose(there, back, atol=1e-14)
        assert (net(own, near.flip(0), real) - there).abs().max() > 1e-3

    def test_empty_places_take_no_part(self, rng64):
        """Two neighbours give what two neighbours and eight empty places give."""
        net, own, near = attention_net(rng64), rng64(5, 4), rng64(5, 2, 4)
        two = net(own, near, torch.ones(5, 2, dtype=torch.bool))
        padded = torch.cat([near, rng64(5, 8, 4)], dim=1)
        real = torch.arange(10).expand(5, 10) < 2
        assert torch.allclose(net(own, padded, real), two, atol=1e-14)

    def test_released_padding_is_zeros_that_dilute(self, rng64):
        net, own, near = attention_net(rng64, mask_padding=False), rng64(5, 4), rng64(5, 2, 4)
        padded, real = torch.cat([near, rng64(5, 8, 4)], 1), torch.arange(10).expand(5, 10) < 2
        out = net(own, padded, real)
        weight, score = net.project.weight.tolist(), net.score.tolist()
        for item in range(5):
            keys = [*near[item].tolist(), *[[0.0] * 4] * 8, own[item].tolist()]
            expected, _ = attended(own[item].tolist(), keys, weight, score)
            assert out[item].tolist() == pytest.approx(expected, abs=1e-13)
        net.mask_padding = True
        assert (net(own, padded, real) - out).abs().max() > 1e-2

    def test_alone_an_item_attends_to_itself(self, rng64):
        """P and G: ELU(g W). A: gamma tanh(ELU(s W) W_m)."""
        side, near, none = rng64(4, 5), rng64(4, 2, 5), torch.zeros(4, 2, dtype=torch.bool)
        for generated in (False, True):
            net = FromVectors(5, 3, 0.7, True, generated).double()
            own = 0.7 * torch.tanh(side @ net.dense.dense.weight.T)
            expected = torch.nn.functional.elu(own @ net.attention.project.weight.T)
            keys = near if generated else rng64(4, 2, 3)
            assert torch.allclose(net(side, keys, none), expected, atol=1e-14)
        net = FromAttributes(5, 6, 3, 0.7, True).double()
        hidden = torch.nn.functional.elu(side @ net.attention.project.weight.T)
        expected = 0.7 * torch.tanh(hidden @ net.dense.dense.weight.T)
        assert torch.allclose(net(side, near, none), expected, atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
class TestEveryForm:
    def test_vectors_are_those_of_the_equations(self, build, form):
        """Every old and new item, from the backbone's tables, its neighbours and the weights."""
        method = built(build, form)
        ids = torch.cat([method.old_ids, method.new_ids])
        vectors = method.item_generator()(ids)
        for item, vector in zip(ids.tolist(), vectors.tolist(), strict=True):
            assert vector == pytest.approx(naive_vector(method, item), abs=1e-12)

    def test_gradient_through_the_inner_step(self, build, form):
        """dL/dw of every weight against central differences."""
        size = {"gme_hidden_size": 2} if form == "GMEA" else {}
        method = built(build, form, metae_inner_rate=0.05, metae_alpha=0.1, **size)
        episode = block_episode(method)
        parameters = method.trainable("learn")
        exact = torch.autograd.grad(loss_of(method, episode), parameters)
        exact = torch.cat([gradient.reshape(-1) for gradient in exact])
        numeric = central_differences(lambda: loss_of(method, episode), parameters)
        assert len(parameters) == 3 and exact.abs().max() > 1e-4
        assert (exact - numeric).abs().max() < 1e-8

    def test_neighbours_are_not_moved(self, build, form):
        """No gradient reaches the backbone's tables: V_j and s_j are read as they are."""
        method = built(build, form)
        table = method.backbone.model.token_embedding_table.embedding.weight
        table.requires_grad_(True)
        vectors = method.item_generator()(method.old_ids)
        (gradient,) = torch.autograd.grad(vectors.sum(), table, allow_unused=True)
        assert gradient is None
        assert vectors.requires_grad

    def test_graph_is_of_old_items(self, build, form):
        """Nobody is his own neighbour, no new item is anybody's, old and new have neighbours."""
        method = build(form, "FNN")
        index, real = method.graph.index_nk, method.graph.real_nk
        old = set(method.old_ids.tolist())
        for item in range(method.n_ids):
            mine = index[item][real[item]].tolist()
            assert set(mine) <= old - {item} and len(set(mine)) == len(mine)
            taking_part = item in old or item in method.new_ids.tolist()
            assert bool(mine) == taking_part

    def test_graph_is_that_of_the_definition(self, build, form):
        """Shared words, genres and years; then rows in train; then the lower id."""
        method = build(form, "FNN")
        table, split = method.dataset.item_table, method.dataset.split
        seen = method.dataset.inter["item_id"][split["train"]].tolist()

        def values(item):
            both = {("year", int(table["year"][item]))}
            for field in ("title", "genre"):
                both |= {(field, int(v)) for v in table[field][item]}
            return {pair for pair in both if pair[1]}

        for item in [*split.old_ids.tolist(), *split.new_ids.tolist()]:
            scores = [
                (-len(values(item) & values(j)), -seen.count(j), j)
                for j in split.old_ids.tolist() if j != item
            ]  # fmt: skip
            expected = [j for score, _, j in sorted(scores) if score][:10]
            mine = method.graph.index_nk[item][method.graph.real_nk[item]]
            assert mine.tolist() == expected

    def test_only_the_generator_learns_at_its_own_rate(self, build, form):
        method = build(form, gme_learning_rate=0.02)
        (fit,) = method.learn_fits()
        (step,) = fit.steps
        assert step.learning_rate == 0.02 and fit.epochs == 4
        trainer = Trainer(method, seed=7)
        before = state_of(method)
        trainer.learn()
        changed = what_moved(before, method)
        served = {"new_vectors", "new_first_order", "new_items_started", "cold_rows"}
        names = {f"generator.{n}" for n, _ in method.generator.named_parameters()}
        assert changed - served == names and len(names) == 3

    def test_cold_rows_are_generated_in_chunks(self, build, form, monkeypatch):
        method = built(build, form)
        whole = method.cold_vectors()
        monkeypatch.setattr(_gme, "_CHUNK_ITEMS", 5)
        assert torch.allclose(method.cold_vectors(), whole, atol=1e-14)
        for place, item in enumerate(method.new_ids.tolist()):
            assert whole[place].tolist() == pytest.approx(naive_vector(method, item), abs=1e-12)

    def test_an_unseen_item_has_the_neighbours_of_its_own_features(self, build, form):
        """In the place of the first new item; the run's own graph stays."""
        method = built(build, form)
        right, graph = method.cold_vectors(), method.graph
        first, second = method.new_ids[:2].tolist()
        for field, column in method.rows.item_features.items():
            column = column.clone()
            column[first] = column[second]
            method.rows.item_features[field] = column
        found = method.unseen_vectors(["any"])
        assert torch.allclose(found, right[1:2], atol=1e-14)
        assert not torch.allclose(found, right[:1], atol=1e-4)
        assert method.graph is graph and method.answers_unseen()

    # ---------------------------------------------------------------- bad input
    def test_an_item_without_side_information_starts_from_the_mean(self, build, form, caplog):
        method = built(build, form)
        item = method.new_ids[3].item()
        empty_attributes(method, item)
        rows = method.cold_vectors()
        mean = method.backbone.id_table()[method.old_ids].mean(dim=0)
        assert torch.equal(rows[3], mean)
        assert not (rows == mean).all(dim=1)[[0, 1, 2, 4]].any()
        assert "1 of 18 new items have no neighbour (1 have no side information" in caplog.text

    def test_an_item_without_neighbours_starts_from_the_mean(self, build, form, caplog):
        """Values that nobody else has; ``gme_alone: self`` generates from them."""
        for alone in ("mean", "self"):
            method = built(build, form, gme_alone=alone)
            item = method.new_ids[3].item()
            empty_attributes(method, item)
            year = method.rows.item_features["year"]
            year[year == 2] = 1
            year[item] = 2
            caplog.clear()
            rows = method.cold_vectors()
            mean = method.backbone.id_table()[method.old_ids].mean(dim=0)
            assert torch.equal(rows[3], mean) == (alone == "mean")
            assert "(0 have no side information, 1 share none" in caplog.text
            if alone == "self":
                expected = naive_vector(method, item)
                assert rows[3].tolist() == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("share", [1.0, 0.5])
    def test_one_value_that_all_items_share(self, build, form, share, caplog):
        """The most frequent old items are everybody's neighbours, or nobody has one: said."""
        method = build(form, gme_max_share=share, gme_neighbours=2)
        for field, column in method.rows.item_features.items():
            if not column.is_floating_point():
                same = torch.zeros_like(column)
                same.view(len(column), -1)[1:, 0] = 1
                method.rows.item_features[field] = same
        Trainer(method, seed=7).learn()
        assert torch.isfinite(method.new_vectors).all()
        counts = method.counts[method.old_ids]
        if share == 1.0:
            most = set(method.old_ids[counts.argsort(descending=True)[:3]].tolist())
            assert set(method.graph.index_nk[method.new_ids].flatten().tolist()) <= most
            assert "no neighbour" not in caplog.text
        else:
            assert torch.equal(method.new_vectors, method.old_mean().expand_as(method.new_vectors))
            assert "18 of 18 new items have no neighbour" in caplog.text

    def test_data_without_side_information_are_refused(self, build, form):
        columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
        with pytest.raises(UserError, match="no side information"):
            build(form, load_col=columns)

    def test_numbers_alone_make_no_graph(self, build, form, caplog):
        columns = {
            "inter": ["user_id", "item_id", "rating", "timestamp"],
            "item": ["item_id", "price"],
        }
        method = build(form, load_col=columns, numerical_features=["price"])
        Trainer(method, seed=7).learn()
        assert torch.equal(method.new_vectors, method.old_mean().expand_as(method.new_vectors))
        assert "18 of 18 new items have no neighbour" in caplog.text

    def test_values_that_cannot_be_are_refused(self, build, form):
        for key, value, sentence in (
            ("gme_max_share", 0.0, "gme_max_share must be a number above 0 and at most 1"),
            ("gme_max_share", 1.5, "gme_max_share must be a number above 0 and at most 1"),
            ("gme_neighbours", 0, "gme_neighbours must be a whole number of at least 1"),
            ("gme_alone", "men", "did you mean 'mean'"),
            ("metae_generator", "mlp", "none of tanh_dense"),
        ):
            with pytest.raises(UserError, match=sentence):
                build(form, **{key: value})

    # ---------------------------------------------------------------- released code
    def test_released_loop(self, build, form):
        """Pairs ab and bc, 60 rows a batch, zeros in empty places, no ID as side information."""
        method = build(form, protocol="released")
        (fit,) = method.learn_fits()
        assert fit.batches.pairs == [(0, 1), (1, 2)] and fit.epochs == 2
        assert fit.batches.meta_batch_size == 60 and not method.per_item
        assert not method.generator.attention.mask_padding
        assert method.config["side_includes_id"]
        width = method.backbone.side_vectors(include_id=False).shape[1]
        assert method.side_vectors().shape[1] == width

    def test_rows_of_one_item_are_generated_once(self, build, form, monkeypatch):
        method = built(build, form, metae_inner="per_row_batchmean")
        asked = []
        original = type(method).generate
        monkeypatch.setattr(
            type(method),
            "generate",
            lambda m, ids, s: asked.append(len(ids)) or original(m, ids, s),
        )
        ids = method.old_ids[torch.tensor([3, 1, 3, 3, 0, 1])]
        vectors = method.item_generator()(ids)
        assert asked == [3]
        for item, vector in zip(ids.tolist(), vectors.tolist(), strict=True):
            assert vector == pytest.approx(naive_vector(method, item), abs=1e-12)


def test_gamma_is_the_factor_of_the_tanh(build):
    for form in FORMS:
        method = built(build, form, gme_gamma=0.3)
        item = method.old_ids[2].item()
        expected = naive_vector(method, item, gamma=0.3)
        found = method.item_generator()(method.old_ids[2:3])[0].tolist()
        assert found == pytest.approx(expected, abs=1e-12)


def test_size_of_the_projection_is_ten_per_attribute(build):
    """30 for the three attributes of MovieLens-1M, as released; or what is asked for."""
    assert build("GMEA").generator.attention.project.out_features == 30
    assert build("GMEA", gme_hidden_size=7).generator.attention.project.out_features == 7


def test_only_gme_p_reads_the_ids_of_neighbours(build):
    """Change the ID rows of old items: P answers otherwise, G and A do not notice."""
    for form, kind in (("GMEP", GMEP), ("GMEG", GMEG), ("GMEA", GMEA)):
        method = built(build, form)
        assert isinstance(method, kind)
        before = method.item_generator()(method.new_ids)
        with torch.no_grad():
            method.backbone.id_table()[method.old_ids] += 0.5
        after = method.item_generator()(method.new_ids)
        assert torch.equal(before, after) == (form != "GMEP")


def test_no_new_items_vector_is_read(build):
    for form in FORMS:
        method = built(build, form)
        with torch.no_grad():
            method.backbone.id_table()[method.new_ids] = math.nan
        assert torch.isfinite(method.cold_vectors()).all()
