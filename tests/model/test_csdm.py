"""CSDM: the process on the supplement's equations, the denoiser, and what learns."""

import math

import pytest
import torch
from helpers import batch_of, learned_rows, state_of, trainer_of, watch_targets, what_moved, widen
from number_helpers import dense, id_gradients

from recbole_cold.errors import Diverged, UserError
from recbole_cold.model._denoising import dropped, generated, keep_masks, noise_in
from recbole_cold.model.csdm import (
    CSDM,
    Denoiser,
    deviation,
    forward,
    generate,
    schedule,
    steps_down,
    time_codes,
)

# As in the released command: T = 100, every beta 1e-5.
FLAT = torch.full((100,), 1e-5, dtype=torch.float64)


def trained(build, stages=("pretrain", "learn"), **keys):
    method = build("CSDM", **{"csdm_iters": 2, **keys})
    return method, trainer_of(method, stages)


def rough(rng64, times=20):
    """Betas at which every term of the process counts."""
    return 0.01 + 0.2 * rng64(times).abs().clamp(max=2.0)


def denoised(net, z, time, code_size):
    """The denoiser on one vector, without dropout, one number at a time."""
    half = code_size // 2
    angles = [time * 10000 ** (-k / half) for k in range(half)]
    code = dense(net.time, [*map(math.cos, angles), *map(math.sin, angles)])
    inside = [*z, *code]
    layers = [layer for layer in net.layers if isinstance(layer, torch.nn.Linear)]
    for layer in layers[:-1]:
        inside = [math.tanh(x) for x in dense(layer, inside)]
    return dense(layers[-1], inside)


class TestProcess:
    def test_schedule_by_recursion(self, rng64):
        """alpha_bar is the product of 1 - beta; N_t = sqrt(1 - beta_t) N_{t-1} + sqrt(beta_t)."""
        for beta_t in (FLAT, rough(rng64)):
            alpha_bar, r = schedule(beta_t)
            product, n, all_n = 1.0, 0.0, []
            for place, beta in enumerate(beta_t.tolist()):
                product *= 1 - beta
                n = math.sqrt(1 - beta) * n + math.sqrt(beta)
                all_n.append(n)
                assert alpha_bar[place].item() == pytest.approx(product, rel=1e-12)
            assert r.tolist() == pytest.approx([n / all_n[-1] for n in all_n], rel=1e-12)
            assert r[-1] == 1.0

    def test_numbers_of_the_released_schedule(self):
        alpha_bar, r = schedule(FLAT)
        n_last = (alpha_bar.sqrt() * torch.cumsum((FLAT / alpha_bar).sqrt(), 0))[-1].item()
        assert n_last == pytest.approx(0.316150, abs=1e-6)
        assert alpha_bar[99].item() == pytest.approx(0.9990005, abs=1e-7)
        for time, value in ((9, 0.1), (49, 0.5001), (89, 0.9), (90, 0.91)):
            assert r[time].item() == pytest.approx(value, abs=1e-4)

    def test_forward_by_hand(self, rng64):
        z0, h, noise, alpha_bar, r = (
            rng64(3, 4),
            rng64(3, 4),
            rng64(3, 4),
            rng64(3).sigmoid(),
            rng64(3),
        )
        out = forward(z0, h, alpha_bar, r, noise)
        for b in range(3):
            a = alpha_bar[b].item()
            for k in range(4):
                expected = math.sqrt(a) * z0[b, k] + r[b] * h[b, k] + math.sqrt(1 - a) * noise[b, k]
                assert out[b, k].item() == pytest.approx(expected.item(), rel=1e-12)

    def test_the_first_times_noise_is_not_rounded_away(self):
        """1 - alpha_bar is 1e-5 there, of which single precision's alpha_bar keeps three digits."""
        alpha_bar, r = schedule(FLAT)
        still, noise = torch.zeros(5, 3), torch.ones(5, 3)
        out = forward(still, still, alpha_bar[:5], r[:5], noise)
        assert out.dtype == torch.float32
        expected = (1.0 - alpha_bar[:5]).sqrt()[:, None].expand(5, 3).float()
        assert torch.equal(out, expected)

    @pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
    def test_a_step_down_keeps_the_forward_distribution(self, rng64, eta):
        """kappa, lambda, nu of Lemma 1, and the same step in terms of the noise, for any j < t."""
        alpha_bar, r = schedule(rough(rng64))
        before = [*alpha_bar.tolist(), 1.0], [*r.tolist(), 0.0]
        for t, j in ((1, 0), (19, 0), (19, 18), (12, 5), (7, -1), (0, -1)):
            times = [t] if j < 0 else [j, t]
            step = steps_down(alpha_bar, r, times, eta)[0]
            at, aj, rt, rj = before[0][t], before[0][j], before[1][t], before[1][j]
            assert step.time == t
            assert step.sigma == pytest.approx(deviation(at, aj, eta), abs=1e-15)
            expected = eta**2 * (1 - at / aj) * (1 - aj) / (1 - at)
            assert step.sigma**2 == pytest.approx(expected, abs=1e-14)
            kappa = math.sqrt((1 - aj - step.sigma**2) / (1 - at))
            lam, nu = math.sqrt(aj) - math.sqrt(at) * kappa, rj - rt * kappa
            # What Lemma 1 asks of a step: mean and variance of the time j.
            assert kappa * math.sqrt(at) + lam == pytest.approx(math.sqrt(aj), abs=1e-12)
            assert kappa * rt + nu == pytest.approx(rj, abs=1e-12)
            assert kappa**2 * (1 - at) + step.sigma**2 == pytest.approx(1 - aj, abs=1e-12)
            # The step of the code does the same: z_t of z_0, h and noise goes to the same place.
            for z0, h, e in rng64(4, 3).tolist():
                zt = math.sqrt(at) * z0 + rt * h + math.sqrt(1 - at) * e
                expected = kappa * zt + lam * z0 + nu * h
                assert step.a * zt + step.b * h + step.c * e == pytest.approx(expected, abs=1e-12)

    def test_a_sampled_step_has_that_mean_and_deviation(self, rng64):
        """Monte Carlo: from z_t of the forward process to z_j, with the largest sigma."""
        alpha_bar, r = schedule(rough(rng64))
        step = steps_down(alpha_bar, r, [6, 14], 1.0)[0]
        z0, h = torch.tensor([0.7, -0.4]).double().expand(200_000, 2), torch.tensor([0.5]).double()
        torch.manual_seed(4)
        noise = torch.randn(200_000, 2).double()
        at, rt = alpha_bar[14].expand(200_000), r[14].expand(200_000)
        zt = forward(z0, h.expand(200_000, 2), at, rt, noise)
        zj = generate(lambda z, time: noise, zt, h, [step])
        spread = math.sqrt(1 - alpha_bar[6].item())
        mean = alpha_bar[6].sqrt() * z0[0] + r[6] * h
        assert ((zj.mean(dim=0) - mean).abs() < 5 * spread / math.sqrt(200_000)).all()
        assert torch.allclose(zj.std(dim=0), torch.full((2,), spread).double(), rtol=0.01)

    @pytest.mark.parametrize("times", [[0, 5, 19], [19], list(range(20)), [3, 4, 11]])
    def test_a_denoiser_that_knows_the_noise_finds_the_signal(self, rng64, times):
        """From z_t of the forward process, along any sub-sequence that ends at t."""
        alpha_bar, r = schedule(rough(rng64))
        z0, h, noise, last = rng64(5, 4), rng64(5, 4), rng64(5, 4), times[-1]
        zt = forward(z0, h, alpha_bar[last].expand(5), r[last].expand(5), noise)
        found = generate(lambda z, time: noise, zt, h, steps_down(alpha_bar, r, times, 0.0))
        assert (found - z0).abs().max() < 1e-9

    @pytest.mark.parametrize(("stride", "share"), [(10, 0.0900), (1, 0.0)])
    def test_without_a_denoiser_little_of_h_is_left(self, rng64, stride, share):
        """From h with U = 0: h (1 - r_tau) / sqrt(alpha_bar_tau)."""
        alpha_bar, r = schedule(FLAT)
        h, times = rng64(3, 4), list(range(0, 100, stride))
        steps = steps_down(alpha_bar, r, times, 0.0)
        out = generate(lambda z, time: torch.zeros_like(z), h, h, steps)
        tau = times[-1]
        assert torch.allclose(out, h * (1 - r[tau]) / alpha_bar[tau].sqrt(), atol=1e-12)
        assert torch.allclose(out, share * h, atol=2e-4)

    def test_the_denoiser_is_called_once_per_step_for_all_items(self, rng64):
        calls = []
        steps = steps_down(*schedule(FLAT), list(range(0, 100, 10)), 0.0)

        def denoise(z, time):
            calls.append((len(z), time.tolist()))
            return z

        generate(denoise, rng64(500, 4), rng64(500, 4), steps)
        assert calls == [(500, [time]) for time in range(90, -1, -10)]


class TestDenoiser:
    def test_by_hand(self, rng64):
        torch.manual_seed(1)
        net = Denoiser(3, 50, 8, 0.5).double().eval()
        z, time = rng64(4, 3), torch.tensor([0, 7, 49, 7])
        out = net(z, time)
        for row in range(4):
            expected = denoised(net, z[row].tolist(), time[row].item(), 8)
            # The codes are float32 numbers.
            assert out[row].tolist() == pytest.approx(expected, abs=1e-5)
        assert torch.allclose(net(z, torch.tensor([7]))[1], out[1])

    def test_time_codes_tell_times_apart(self):
        codes = time_codes(100, 32)
        apart = torch.cdist(codes, codes) + 9 * torch.eye(100)
        assert codes.shape == (100, 32) and apart.min() > 0.1

    def test_start_is_the_releases(self):
        """Weights of variance 2 / (in + out), biases of deviation 0.001."""
        torch.manual_seed(1)
        net = Denoiser(64, 10, 128, 0.0)
        for layer in (part for part in net.modules() if isinstance(part, torch.nn.Linear)):
            spread = math.sqrt(2 / (layer.in_features + layer.out_features))
            assert layer.weight.std().item() == pytest.approx(spread, rel=0.05)
            assert layer.bias.std().item() == pytest.approx(1e-3, rel=0.35)

    def test_dropout_is_on_the_input_and_while_learning_only(self):
        net, z = Denoiser(4, 10, 8, 0.5), torch.ones(64, 4)
        time = torch.zeros(64, dtype=torch.long)
        assert not torch.equal(net(z, time), net(z, time))
        net.eval()
        assert torch.equal(net(z, time), net(z, time))
        seen = []
        net.train().layers.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
        net(z, time)
        assert set(seen[0][:, :4].unique().tolist()) == {0.0, 2.0}
        assert torch.equal(seen[0][:, 4:], seen[0][:1, 4:].expand(64, -1))


def times_of(steps):
    return torch.tensor([step.time for step in steps])


def both_ways(net, plain, quick, monkeypatch, given):
    """Values and gradients of the equations and of the quick form, with the same dropout masks."""
    masks = []

    def keep_masks(shape, dropout, like):
        drawn = torch.nn.functional.dropout(torch.ones(shape, dtype=like.dtype), dropout)
        masks.extend(drawn)
        return drawn

    monkeypatch.setattr("recbole_cold.model._denoising.keep_masks", keep_masks)
    results, leaves = [], [*given, *net.parameters()]
    for compute in (quick, plain):
        taken = iter(masks)
        dropping = net.register_forward_pre_hook(
            lambda part, inputs, taken=taken: (
                (inputs[0] * next(taken), inputs[1]) if masks else None
            )
        )
        out = compute()
        weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
        results.append((out, *torch.autograd.grad((out * weights).sum(), leaves)))
        dropping.remove()
        net.dropout.p = 0.0  # the equations get their masks from the hook
    return results


class TestQuickDenoising:
    """``_denoising`` against ``generate`` and ``Denoiser``, which are the equations."""

    def check(self, results, dtype):
        near = {torch.float64: 1e-11, torch.float32: 1e-5}[dtype]
        for quick, plain in zip(*results, strict=True):
            assert plain.any()
            assert (quick - plain).abs().max() <= near * max(1.0, plain.abs().max().item())

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("dropout", [0.0, 0.3, 0.5])
    @pytest.mark.parametrize(("items", "size", "code_size", "times", "eta"), [
        (17, 4, 8, [0, 5, 9, 19], 0.0), (1, 3, 2, [19], 0.0), (40, 16, 32, list(range(20)), 0.7),
    ])  # fmt: skip
    def test_generated(
        self, rng64, monkeypatch, dtype, dropout, items, size, code_size, times, eta
    ):
        torch.manual_seed(2)
        net = Denoiser(size, 20, code_size, dropout).to(dtype)
        steps = steps_down(*schedule(rough(rng64)), times, eta)
        start, h = (rng64(items, size).to(dtype).requires_grad_() for _ in range(2))
        noise = rng64(len(times), items, size).to(dtype)
        taken = iter(noise[[step.sigma > 0.0 for step in steps]])
        monkeypatch.setattr(torch, "randn_like", lambda like: next(taken))
        monkeypatch.setattr(torch, "randn", lambda *shape, **kind: noise)
        results = both_ways(
            net,
            lambda: generate(net, start, h, steps),
            lambda: generated(net, start, h, steps, times_of(steps)),
            monkeypatch,
            (start, h),
        )
        self.check(results, dtype)
        assert next(taken, None) is None

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("dropout", [0.0, 0.3, 0.5])
    @pytest.mark.parametrize("rows", [7, 90])
    def test_noise_in_rows_of_a_time_each(self, rng64, monkeypatch, dtype, dropout, rows):
        """With more times than rows, and with fewer."""
        torch.manual_seed(3)
        net, time = Denoiser(5, 20, 6, dropout).to(dtype), torch.randint(20, (rows,))
        z = rng64(rows, 5).to(dtype).requires_grad_()
        results = both_ways(
            net, lambda: net(z, time), lambda: noise_in(net, z, time), monkeypatch, (z,)
        )
        self.check(results, dtype)

    def test_a_denoiser_that_stays_gets_no_gradient_but_passes_one(self, rng64):
        torch.manual_seed(4)
        net = Denoiser(4, 20, 8, 0.0).double().requires_grad_(False)
        steps = steps_down(*schedule(rough(rng64)), [0, 9, 19], 0.0)
        h = rng64(6, 4).requires_grad_()
        ways = generated(net, h, h, steps, times_of(steps)), generate(net, h, h, steps)
        by = [torch.autograd.grad(out.square().sum(), h)[0] for out in ways]
        assert torch.allclose(*by, rtol=0, atol=1e-11) and by[0].any()

    def test_gradients_of_gradients_are_refused(self, rng64):
        net, h = Denoiser(4, 20, 8, 0.0).double(), rng64(6, 4).requires_grad_()
        steps = steps_down(*schedule(rough(rng64)), [0, 9], 0.0)
        out = generated(net, h, h, steps, times_of(steps)).square().sum()
        (by_h,) = torch.autograd.grad(out, h, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            by_h.sum().backward()

    @pytest.mark.parametrize("dropout", [0.0, 0.5, 0.3, 1.0])
    def test_masks_have_the_law_of_dropout(self, dropout):
        """Also that no two of them go together: they are bits of the same random words."""
        torch.manual_seed(5)
        like = torch.zeros(1, dtype=torch.float64)
        masks = keep_masks((33, 7, 501), dropout, like)
        assert masks.shape == (33, 7, 501) and masks.dtype == torch.float64
        left = 1.0 - dropout
        allowed = {0.0} if dropout == 1.0 else {0.0, 1 / left} if dropout else {1.0}
        assert set(masks.unique().tolist()) == allowed
        if dropout in (0.0, 1.0):
            return
        kept = (masks.view(33, -1) > 0).double() - left
        spread = math.sqrt(left * dropout / kept.shape[1])
        assert (kept.mean(dim=1).abs() < 4.5 * spread).all()
        together = kept @ kept.t() / kept.shape[1] - left * dropout * torch.eye(33)
        off = together[~torch.eye(33, dtype=torch.bool)]
        assert off.abs().max() < 5 * left * dropout / math.sqrt(kept.shape[1])
        line = kept.view(-1)
        power = torch.fft.rfft(line, 2 * len(line)).abs().square()
        along = torch.fft.irfft(power)[1 : len(line)]  # sums of products, at every distance
        assert along.abs().max() < 6 * left * dropout * math.sqrt(len(line))

    def test_dropped_is_dropout_while_learning(self):
        value = torch.full((60, 50), 3.0)
        assert dropped(value, 0.5, False) is value and dropped(value, 0.0, True) is value
        assert set(dropped(value, 0.5, True).unique().tolist()) == {0.0, 6.0}

    def test_what_is_served_goes_by_the_equations(self, build, monkeypatch):
        """Learning and serving give the same rows but for rounding, the latter by ``generate``."""
        method, calls = build("CSDM", csdm_noise_scale=10.0), []
        widen(method)
        monkeypatch.setattr(
            "recbole_cold.model.csdm.generate", lambda *args: (calls.append(1), generate(*args))[1]
        )
        method.eval()
        learned = method.decoded(method.new_ids)
        assert not calls and learned.requires_grad
        served = method.cold_vectors()
        assert calls and torch.allclose(learned, served, rtol=1e-5, atol=1e-6)


class TestCSDM:
    method = CSDM

    # ---------------------------------------------------------------- the loss
    def test_diffusion_loss_row_by_row(self, build):
        """A time and a noise for each row; the mean over all numbers."""
        keys = {"csdm_drop_z": 0.0, "csdm_drop_h": 0.0, "csdm_noise_scale": 10.0}
        method = build("CSDM", double=True, csdm_steps=7, csdm_stride=3, **keys)
        widen(method)
        z0 = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)).double()
        h = torch.randn(6, 4, generator=torch.Generator().manual_seed(2)).double()
        torch.manual_seed(9)
        found = method.diffusion_loss(z0, h)
        torch.manual_seed(9)
        time, noise = torch.randint(7, (6,)), torch.randn(6, 4, dtype=torch.float64)
        assert len(set(time.tolist())) > 2
        alpha_bar, r = schedule(torch.full((7,), 1e-3, dtype=torch.float64))
        total = 0.0
        for row, t in enumerate(time.tolist()):
            a = alpha_bar[t].item()
            z = math.sqrt(a) * z0[row] + r[t] * h[row] + math.sqrt(1 - a) * noise[row]
            guess = denoised(method.denoiser, z.tolist(), t, 8)
            total += sum((g - e) ** 2 for g, e in zip(guess, noise[row].tolist(), strict=True))
        assert found.item() == pytest.approx(total / 24, rel=1e-5)

    def test_h_is_dropped_where_rows_are_diffused(self, build, monkeypatch):
        method = build("CSDM", csdm_drop_h=0.5, csdm_drop_z=0.0)
        seen = []
        monkeypatch.setattr(
            "recbole_cold.model.csdm.forward",
            lambda z0, h, *rest: (seen.append(h), z0)[1],
        )
        for mode in ("frozen", "evaluate"):
            method.set_mode(mode)
            method.diffusion_loss(torch.zeros(400, 4), torch.ones(400, 4))
        share = (seen[0] == 0).double().mean().item()
        assert abs(share - 0.5) < 4 * math.sqrt(0.25 / 1600)
        assert set(seen[0].unique().tolist()) == {0.0, 2.0}
        assert torch.equal(seen[1], torch.ones(400, 4))

    def test_both_terms_of_the_loss(self, build):
        """Clicks predicted with generated rows, and rho times what the denoiser has to find."""
        method = build("CSDM", double=True, csdm_rho=0.3, csdm_drop_z=0.0)
        method.set_mode("frozen")
        widen(method)
        method.diffusion_loss = lambda z0, h: (z0.sum() + 2 * h.sum()) / len(z0)
        batch = batch_of(method)
        ids = batch["item_id"]
        with torch.no_grad():
            logits = method.cold_logits(batch, method.decoded(ids))
            clicks = method.loss(logits, batch).item()
            z0, h = method.encoder(method.backbone.id_table()[ids]), method.prior(method.side(ids))
        prediction, diffusion = method.calculate_loss(batch)
        assert prediction.item() == pytest.approx(clicks, rel=1e-6)
        expected = 0.3 * (z0.sum() + 2 * h.sum()).item() / len(ids)
        assert diffusion.item() == pytest.approx(expected, rel=1e-6)

    def test_clicks_teach_the_denoiser_through_all_steps(self, build):
        """The prediction alone has a gradient for every part but the encoder of rows."""
        method = build("CSDM", csdm_drop_z=0.0)
        method.set_mode("frozen")
        widen(method)
        prediction, diffusion = method.calculate_loss(batch_of(method))
        named = {
            name: parameter
            for name, parameter in method.named_parameters()
            if name.split(".")[0] in ("own_side", "encoder", "prior", "decoder", "denoiser")
        }
        by = torch.autograd.grad(
            prediction, list(named.values()), retain_graph=True, allow_unused=True
        )
        unmoved = {n.split(".")[0] for n, g in zip(named, by, strict=True) if g is None}
        assert unmoved == {"encoder"}
        assert all(g.any() for g in by if g is not None)
        (of_rows,) = torch.autograd.grad(diffusion, method.encoder.weight)
        assert of_rows.any()

    @pytest.mark.parametrize("entered", [False, True])
    def test_no_gradient_into_any_id_row(self, build, entered):
        method = build("CSDM")
        method.set_mode("frozen")
        widen(method)
        loss = sum(method.calculate_loss(learned_rows(method, entered)))
        by_ids, _, by_rows = id_gradients(method, loss)
        assert not by_ids.any()
        assert by_rows is None or not by_rows.any()

    # ---------------------------------------------------------------- generated rows
    def test_cold_rows_from_scratch(self, build):
        """One item at a time: z from h, down the visited times, decoded with frequency 0."""
        method = build("CSDM", csdm_noise_scale=300.0, csdm_steps=12, csdm_stride=5)
        widen(method)
        rows = method.cold_vectors()
        beta = torch.full((12,), 0.03, dtype=torch.float64)
        alpha_bar, r = (
            [*part.tolist(), last] for part, last in zip(schedule(beta), (1.0, 0.0), strict=True)
        )
        with torch.no_grad():
            encoded = method.prior(method.own_side(method.new_ids)).tolist()
        for row, h in enumerate(encoded[:5]):
            z = list(h)
            for t, j in ((10, 5), (5, 0), (0, -1)):
                noise = denoised(method.denoiser, z, t, 8)
                for k in range(4):
                    signal = z[k] - r[t] * h[k] - math.sqrt(1 - alpha_bar[t]) * noise[k]
                    signal /= math.sqrt(alpha_bar[t])
                    left = math.sqrt(1 - alpha_bar[j]) * noise[k]
                    z[k] = math.sqrt(alpha_bar[j]) * signal + left + r[j] * h[k]
            expected = dense(method.decoder, [*z, 0.0])
            assert rows[row].tolist() == pytest.approx(expected, abs=1e-4)

    @pytest.mark.parametrize(
        ("keys", "chance"),
        [
            ({}, False),
            ({"csdm_eta": 0.5}, True),
            ({"csdm_dropout_at_writeback": True}, True),
            ({"csdm_dropout_at_writeback": True, "csdm_drop_z": 0.0}, False),
            ({"csdm_start": "h_plus_noise"}, True),
        ],
    )
    def test_what_chance_has_a_part_in_written_rows(self, build, keys, chance):
        method = build("CSDM", csdm_noise_scale=10.0, **keys)
        method.set_mode("frozen")
        widen(method)
        assert torch.equal(method.cold_vectors(), method.cold_vectors()) != chance
        assert method.denoiser.training  # as it was before

    def test_starts(self, build):
        """h itself, h with the noise of the first step, or what the forward process has of h."""
        h = torch.ones(4000, 4)
        keys = {"csdm_noise_scale": 300.0, "csdm_steps": 12, "csdm_stride": 5}
        alpha_bar, r = schedule(torch.full((12,), 0.03, dtype=torch.float64))
        assert torch.equal(build("CSDM", **keys).start(h), h)
        scaled = build("CSDM", csdm_start="r_tau_h", **keys).start(h)
        assert torch.allclose(scaled, r[10].float() * h)
        torch.manual_seed(3)
        noisy = build("CSDM", csdm_start="h_plus_noise", **keys).start(h) - h
        assert noisy.std().item() == pytest.approx(math.sqrt(1 - alpha_bar[10]), rel=0.03)

    def test_frequency_enters_the_decoder(self, build):
        method = build("CSDM")
        widen(method)
        cold = method.cold_vectors()
        method.counts[method.new_ids] += 10
        grown, frequency = method.cold_vectors(), method.frequency()[method.new_ids]
        step = frequency[:, None] * method.decoder.weight[:, 4]
        assert frequency.min() > 0 and torch.allclose(grown - cold, step, atol=1e-6)

    # ---------------------------------------------------------------- stages
    @pytest.mark.parametrize("train", [True, False])
    def test_what_learns(self, build, train):
        """Everything but the backbone; in the release all but the denoiser."""
        method, trainer = trained(build, stages=("pretrain",), csdm_train_denoiser=train)
        before = state_of(method)
        trainer.learn()
        changed = what_moved(before, method)
        owned = {"own_side", "encoder", "prior", "decoder"} | ({"denoiser"} if train else set())
        assert {name.split(".")[0] for name in changed} == owned | {
            "new_vectors", "new_first_order", "new_items_started", "cold_rows",
        }  # fmt: skip
        if train:
            assert {n for n in before if n.startswith("denoiser")} <= changed

    def test_a_warm_phase_fine_tunes_then_learns_then_decodes_again(self, build):
        method, trainer = trained(build, csdm_warm_epochs=3)
        start, targets = method.new_vectors.detach().clone(), watch_targets(method)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        warm = math.ceil(len(method.dataset.split["warm_a"]) / 64)
        assert trainer.journal["stages"][-1]["steps"] == warm + 3 * warm * 2
        assert not torch.equal(targets[0], start)
        assert all(torch.equal(target, targets[0]) for target in targets)
        assert torch.equal(method.new_vectors, method.cold_vectors())

    def test_init_only_learns_nothing_in_warm_phases(self, build):
        method, trainer = trained(build, csdm_warm="init_only")
        weights = [p.detach().clone() for p in method.module_parameters()]
        start = method.new_vectors.detach().clone()
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        assert not torch.equal(method.new_vectors, start)
        for weight, parameter in zip(weights, method.module_parameters(), strict=True):
            assert torch.equal(weight, parameter)

    def test_a_denoiser_that_diverges_is_named(self, build):
        method, trainer = trained(build, stages=("pretrain",), csdm_iters=1)
        seen, diffuse = [], method.diffusion_loss

        def explode(z0, h):
            seen.append(1)
            return diffuse(z0, h) * (math.inf if len(seen) == 4 else 1.0)

        method.diffusion_loss = explode
        with pytest.raises(Diverged, match=r"loss 'diffusion' of 'learn' is inf .* batch 3, .*4;"):
            trainer.learn()
        assert all(value.isfinite().all() for value in method.state_dict().values())

    # ---------------------------------------------------------------- settings
    def test_released_switches(self, build):
        method = build("CSDM", protocol="released")
        assert not method.config["csdm_train_denoiser"]
        assert method.config["csdm_dropout_at_writeback"]

    @pytest.mark.parametrize(
        "keys",
        [
            {"csdm_stride": 0},
            {"csdm_stride": 101},
            {"csdm_steps": 0},
            {"csdm_time_size": 7},
            {"csdm_eta": 1.5},
            {"csdm_noise_scale": 0.0},
            {"csdm_noise_max": 20.0},
            {"csdm_start": "noise"},
        ],
    )
    def test_settings_that_cannot_be_are_said(self, build, keys):
        with pytest.raises(UserError, match=next(iter(keys))):
            build("CSDM", **keys)
