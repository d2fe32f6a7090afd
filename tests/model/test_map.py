"""MAP: its search against Newton's method, its limits, and what it leaves alone."""

import numpy as np
import pytest
import torch
from helpers import state_of, trainer_of, what_moved

from recbole_cold.errors import UserError
from recbole_cold.model import _item_bias, _map


def bilinear(items=7, rows=12, size=3, seed=0, deviation=1.0):
    """Rows with logits z + a.v_i, in two pieces of whole items, and a prior mean."""
    draws = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draws, dtype=torch.float64)

    item = torch.arange(items).repeat_interleave(rows)
    slope, start, truth = (
        normal(len(item), size),
        normal(len(item)),
        deviation * normal(items, size),
    )
    score = start + (slope * truth[item]).sum(dim=1)
    label = (torch.rand(len(item), generator=draws) < torch.sigmoid(score)).double()
    first = items // 2 * rows
    parts = torch.arange(len(item)).split([first, len(item) - first])

    def piece(own):
        return _map.Piece(
            lambda vector_nd: start[own] + (slope[own] * vector_nd).sum(dim=1),
            label[own], item[own],
        )  # fmt: skip

    return _map.Rows([piece(own) for own in parts]), 0.1 * normal(items, size)


def newton(rows, prior_md, deviation, variance):
    """The joint optimum of vectors, numbers and shift by Newton's method on all of them."""
    items, size = prior_md.shape

    def objective(point):
        vector_md = point[: items * size].reshape(items, size)
        bias, shift = point[items * size : -1], point[-1]
        logit = torch.cat([piece.score(vector_md[piece.item]) for piece in rows.pieces])
        score = logit + bias[rows.item] + shift
        loss = (torch.nn.functional.softplus(score) - score * rows.label).sum()
        loss = loss + (vector_md - prior_md).square().sum() / (2 * deviation**2)
        return (
            loss + bias.square().sum() / (2 * variance) + shift**2 / (2 * _item_bias.SHIFT_VARIANCE)
        )

    point = torch.cat([prior_md.reshape(-1), torch.zeros(items + 1).double()])
    for _ in range(30):
        gradient = torch.autograd.functional.jacobian(objective, point)
        hessian = torch.autograd.functional.hessian(objective, point)
        point = point - torch.linalg.solve(hessian, gradient)
    return point[: items * size].reshape(items, size), point[items * size : -1], point[-1]


def lbfgs(rows, prior_md, deviation, variance):
    """The vectors by L-BFGS on a profile: the numbers solved for exactly at each of its points."""
    moved = torch.zeros_like(prior_md, requires_grad=True)
    search = torch.optim.LBFGS(
        [moved], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def objective():
        search.zero_grad()
        logit = torch.cat(
            [piece.score((prior_md + deviation * moved)[piece.item]) for piece in rows.pieces]
        )
        found = _item_bias.fit(logit.detach(), rows.label, rows.item, len(prior_md), variance)
        score = logit + found.shift + found.bias[rows.item]
        loss = (torch.nn.functional.softplus(score) - score * rows.label).sum()
        loss = loss + moved.square().sum() / 2
        loss = loss + found.bias.square().sum() / (2 * variance)
        loss = loss + found.shift**2 / (2 * _item_bias.SHIFT_VARIANCE)
        loss.backward()
        return loss

    search.step(objective)
    return prior_md + deviation * moved.detach()


def curved(rows):
    """The same rows with logits that are no linear function of the vectors."""

    def bent(piece):
        return piece._replace(
            score=lambda vector_nd: piece.score(torch.tanh(vector_nd) + 0.1 * vector_nd**2)
        )

    return _map.Rows([bent(piece) for piece in rows.pieces])


class TestFit:
    @pytest.mark.parametrize("of", [lambda rows: rows, curved], ids=["linear", "curved"])
    @pytest.mark.parametrize(("deviation", "variance"), [(0.5, 1.0), (1.0, 0.2), (0.1, 3.0)])
    def test_lbfgs_and_newton_agree_to_four_digits(self, of, deviation, variance):
        rows, prior_md = bilinear()
        rows = of(rows)
        vector_md, _ = _map.fit(rows, prior_md, deviation, variance, tolerance=1e-14)
        assert torch.allclose(vector_md, lbfgs(rows, prior_md, deviation, variance), atol=1e-4)

    def test_it_ends_where_it_ends_from_anywhere(self):
        rows, prior_md = bilinear()
        from_prior, _ = _map.fit(rows, prior_md, 0.5, 1.0, tolerance=1e-14)
        near, _ = _map.fit(rows, prior_md, 0.25, 1.0, tolerance=1e-14)
        from_near, _ = _map.fit(rows, prior_md, 0.5, 1.0, near, tolerance=1e-14)
        assert torch.allclose(from_prior, from_near, atol=1e-6)
        assert not torch.allclose(from_prior, near, atol=1e-2)

    @pytest.mark.parametrize(("deviation", "variance"), [(0.5, 1.0), (1.5, 0.2), (0.1, 3.0)])
    def test_the_exact_hessian_gives_the_same(self, deviation, variance):
        rows, prior_md = bilinear()
        vector_md, found = _map.fit(rows, prior_md, deviation, variance, tolerance=1e-14)
        exact_md, bias, shift = newton(rows, prior_md, deviation, variance)
        assert torch.allclose(vector_md, exact_md, atol=1e-4)
        assert torch.allclose(found.bias, bias, atol=1e-4)
        assert float(found.shift) == pytest.approx(float(shift), abs=1e-4)

    def test_a_start_at_the_end_stays_there(self):
        """One step then has nothing to gain, however coarse the tolerance."""
        rows, prior_md = bilinear()
        exact, _ = _map.fit(rows, prior_md, 0.5, 1.0, tolerance=1e-14)
        again, _ = _map.fit(rows, prior_md, 0.5, 1.0, exact, tolerance=1.0)
        fresh, _ = _map.fit(rows, prior_md, 0.5, 1.0, tolerance=1.0)
        assert torch.allclose(again, exact, atol=1e-7)
        assert not torch.allclose(fresh, exact, atol=1e-4)

    def test_a_step_that_overshoots_is_taken_back(self):
        """Behind a kink a logit is steep: the linear step makes things worse there."""
        item = torch.arange(2).repeat_interleave(8)
        label = torch.tensor([1.0] * 6 + [0.0] * 8 + [1.0] * 2).double()

        def score(vector_nd):
            return vector_nd[:, 0] + 200.0 * (vector_nd[:, 0] - 0.2).clamp(min=0.0)

        rows = _map.Rows([_map.Piece(score, label, item)])
        prior_md = torch.zeros(2, 1).double()
        vector_md, found = _map.fit(rows, prior_md, 1.0, 1e-4)

        def objective(vector_md):
            scores = rows.logits(vector_md) + found.shift + found.bias[item]
            loss = torch.nn.functional.binary_cross_entropy_with_logits
            return float(loss(scores, label, reduction="sum") + vector_md.square().sum() / 2)

        assert objective(vector_md) < objective(prior_md) - 0.5
        assert 0.1 < float(vector_md[0]) < 0.25

    def test_a_narrow_prior_leaves_the_vectors(self):
        rows, prior_md = bilinear()
        vector_md, found = _map.fit(rows, prior_md, 1e-6, 1.0)
        alone = _item_bias.fit(rows.logits(prior_md), rows.label, rows.item, len(prior_md), 1.0)
        assert torch.allclose(vector_md, prior_md, atol=1e-6)
        assert torch.allclose(found.bias, alone.bias, atol=1e-5)

    def test_items_without_rows_keep_their_prior(self):
        rows, prior_md = bilinear()
        wider = torch.cat([prior_md, torch.ones(2, 3).double()])
        vector_md, found = _map.fit(rows, wider, 1.0, 1.0)
        assert torch.equal(vector_md[-2:], wider[-2:]) and (found.bias[-2:] == 0).all()
        assert (vector_md[:-2] != wider[:-2]).any(dim=1).all()

    def test_the_deviation_that_predicts_is_chosen(self):
        """Vectors that differ a lot get a wide prior, vectors all alike the least."""
        for spread, least, most in ((0.0, 0.0, 0.5), (2.0, 1.0, 8.0)):
            seen, prior_md = bilinear(items=60, rows=40, deviation=spread)
            half = torch.arange(len(seen.label)) % 2 == 0

            def part(own, seen=seen):
                def score(vector_nd):
                    whole = torch.zeros(len(seen.label), 3).double().index_put((own,), vector_nd)
                    sizes = [len(piece.label) for piece in seen.pieces]
                    parts = zip(seen.pieces, whole.split(sizes), strict=True)
                    return torch.cat([piece.score(vectors) for piece, vectors in parts])[own]

                return _map.Rows([_map.Piece(score, seen.label[own], seen.item[own])])

            zero = torch.zeros_like(prior_md)
            chosen = _map.chosen_deviation(part(half), part(~half), zero, 1.0, 0.01)
            assert least <= chosen <= most


class TestMAP:
    def test_old_items_and_the_backbone_stay(self, build):
        method = build("MAP", pretrain_epochs=2)
        trainer = trainer_of(method)
        before = state_of(method)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert what_moved(before, method) <= {
            "new_shift", "counts", "rows_seen._extra_state", "new_vectors", "residual_variance",
        }  # fmt: skip

    def test_rows_of_all_phases_count_once(self, build):
        """Phase by phase and all at once end alike: each fit starts from the cold vectors."""
        ends = []
        for at_once in (False, True):
            method = build("MAP", pretrain_epochs=2, map_deviation=0.5, item_bias_variance=1.0)
            trainer = trainer_of(method)
            parts = [method.dataset.split[name] for name in ("warm_a", "warm_b")]
            for name, rows in zip(
                "ab", [np.concatenate(parts)] if at_once else parts, strict=False
            ):
                trainer.warm_up(f"warm_{name}", rows)
            ends.append((method.new_vectors.detach().clone(), method.new_shift.clone()))
        assert torch.equal(ends[0][0], ends[1][0]) and torch.equal(ends[0][1], ends[1][1])

    @pytest.mark.parametrize("name", ["MetaE", "CVAR", "MWUF"])
    def test_the_prior_is_what_the_method_generates(self, build, name):
        method = build(name, warm="map", map_deviation=1e-6)
        trainer = trainer_of(method)
        cold = method.new_vectors.detach().clone()
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert torch.allclose(method.new_vectors, cold, atol=1e-5)
        assert method.new_shift.abs().max() > 0
        assert trainer.journal["stages"][-1]["steps"] == 0

    def test_a_network_of_its_own_has_no_vectors_to_move(self, build):
        with pytest.raises(UserError, match="warm: map moves ID vectors, and TaNP has a network"):
            build("TaNP", warm="map")
