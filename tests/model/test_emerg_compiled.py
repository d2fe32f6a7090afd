"""EmerG's attention in C: the numbers of the plain form, and when there is none.

The plain form has 64 bits here, so what is found is the rounding of 32 bits: at most 9e-6 of the
largest number, in second derivatives.
"""

import logging
import math
import os
import shutil
import stat

import pytest
import torch
from task_helpers import block_episode

from recbole_cold.model import _compiled, _emerg_compiled
from recbole_cold.model._compiled import NotCompiled, library
from recbole_cold.model._emerg_attention import attend_plainly
from recbole_cold.model._emerg_compiled import attend_compiled, kernel_for
from recbole_cold.model._emerg_states import states_plainly
from recbole_cold.model.emerg import PAIRS

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
ONE = "int one(void) { return NUMBER; }"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


def plain(fields, messages, score, out, bias):
    states = states_plainly(fields, messages.unbind(0), "product")
    return attend_plainly(states, score, out, bias)


def parts_of(size, heads, layers, nodes):
    draw = torch.Generator().manual_seed(size + nodes)
    shapes = (size, nodes), (layers, size, nodes), *[(heads, size, size)] * 2, (size,)
    scales = 1.0, 1.0, 0.2, 0.5, 1.0
    return [scale * torch.randn(shape, generator=draw)
            for shape, scale in zip(shapes, scales, strict=True)]  # fmt: skip


def kernel_of(parts, folder):
    kernel = kernel_for(parts[1], parts[2], folder)
    assert kernel is not None
    return kernel


@needs_compiler
class TestKernel:
    # Less than a block, a whole one, and blocks that overlap; numbers that fill no vector.
    @pytest.mark.parametrize(
        ("size", "heads", "layers", "nodes"),
        [(5, 2, 2, 7), (5, 2, 2, 32), (5, 2, 2, 33), (5, 2, 2, 171), (16, 1, 1, 95)],
    )
    def test_values_and_gradients_to_the_second_order(self, folder, size, heads, layers, nodes):
        given = parts_of(size, heads, layers, nodes)
        kernel = kernel_of(given, folder)
        draw = torch.Generator().manual_seed(1)
        upstream = torch.randn(size, nodes, generator=draw)
        along = [torch.randn(part.shape, generator=draw) for part in given]
        found = []
        for kind in (torch.float32, torch.float64):
            parts = [part.to(kind).requires_grad_() for part in given]
            grad = upstream.to(kind).requires_grad_()
            is_plain = kind == torch.float64
            node = plain(*parts) if is_plain else attend_compiled(kernel, *parts)
            first = torch.autograd.grad(node, parts, grad, create_graph=True)
            # As an inner step has it, with fields and messages that move; and with all that could.
            second = []
            for n in (2, 5):
                second += torch.autograd.grad(
                    first[:n],
                    [grad, *parts],
                    [each.to(kind) for each in along[:n]],
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
            found.append([node, *first, *second])
        for fast, exact in zip(*found, strict=True):
            assert (fast - exact).abs().max() <= 2e-5 * exact.abs().max()

    def test_what_is_no_number_stays_at_its_node(self, folder):
        parts = parts_of(5, 2, 2, 40)
        kernel = kernel_of(parts, folder)
        expected = attend_compiled(kernel, *parts)
        for wrong in (math.nan, math.inf):
            parts[1][0, 2, 17] = wrong
            found = attend_compiled(kernel, *parts)
            assert not bool(torch.isfinite(found[:, 17]).all())
            rest = [n for n in range(40) if n != 17]
            assert torch.equal(found[:, rest], expected[:, rest])

    def test_large_scores_overflow_no_more_than_a_softmax(self, folder):
        fields, messages, score, *rest = parts_of(5, 2, 2, 40)
        kernel = kernel_of([fields, messages, score], folder)
        for sign in (1e3, -1e3):
            found = attend_compiled(kernel, fields, messages, sign * score, *rest)
            expected = plain(fields, messages, sign * score, *rest)
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)

    def test_a_node_alone_has_the_same_bits(self, folder):
        """Wherever it stands: blocks and their overlaps change nothing."""
        parts = parts_of(5, 2, 2, 75)
        kernel = kernel_of(parts, folder)
        whole = attend_compiled(kernel, *parts)
        for start, end in ((0, 1), (20, 75), (74, 75)):
            some = [parts[0][:, start:end], parts[1][:, :, start:end], *parts[2:]]
            assert torch.equal(attend_compiled(kernel, *some), whole[:, start:end])

    def test_a_third_order_is_refused(self, folder):
        parts = [part.requires_grad_() for part in parts_of(5, 2, 2, 40)]
        loss = attend_compiled(kernel_of(parts, folder), *parts).square().sum()
        for _ in range(2):
            gradients = torch.autograd.grad(loss, parts[:2], create_graph=True)
            loss = sum(gradient.square().sum() for gradient in gradients)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            loss.backward()


@needs_compiler
def test_an_episode_has_the_loss_and_gradients_of_the_plain_form(build, monkeypatch):
    method = build("EmerG")
    method.set_mode("frozen")
    with torch.no_grad():
        for table in method.net.modules():
            if isinstance(table, torch.nn.Embedding):
                table.weight.mul_(8.0)
    episode = block_episode(method, 4, 5, 0, PAIRS)
    asked, found = [], []

    def kernel(*given):
        asked.append(kernel_for(*given))
        return asked[-1]

    for way in (kernel, lambda *given: None):
        monkeypatch.setattr("recbole_cold.model._emerg_net.kernel_for", way)
        torch.manual_seed(5)
        loss = method.episode_loss(episode)
        gradients = torch.autograd.grad(loss, method.trainable("learn"), allow_unused=True)
        found.append([loss, *(g for g in gradients if g is not None)])
    assert len(asked) == 2 and None not in asked
    assert len(found[0]) > 10
    for fast, plain in zip(*found, strict=True):
        assert (fast - plain).abs().max() <= 2e-5 * plain.abs().max()


def test_sets_of_rows_are_each_their_own(build, monkeypatch):
    """One look-up for support and query: each has the rows, labels and mask that it has alone."""
    method = build("EmerG")
    episode = block_episode(method, 4, 5, 0, PAIRS)
    taken = []
    real = method.sets_of_rows

    def noted(*given):
        taken.extend(real(*given))
        return taken

    monkeypatch.setattr(method, "sets_of_rows", noted)
    method._chunk_loss(method.start_vectors(episode.ids_t), episode)
    monkeypatch.undo()
    sets = ((episode.support, episode.support_mask_tk), (episode.query, episode.query_mask_tk))
    for found, (batch, mask) in zip(taken, sets, strict=True):
        width = found.mask_tk.shape[1]
        alone = method.task_rows(batch, mask)
        assert bool((mask[:, width:] == 0).all())
        assert torch.equal(found.mask_tk, alone.mask_tk[:, :width])
        assert torch.equal(found.label_tk, alone.label_tk[:, :width])
        assert torch.equal(found.other_dtqk, alone.other_dtqk[..., :width])


class TestChoice:
    @pytest.fixture(autouse=True)
    def asked_anew(self, monkeypatch):
        _emerg_compiled._made.cache_clear()
        yield
        _emerg_compiled._made.cache_clear()

    @needs_compiler
    def test_other_precisions_many_threads_and_large_networks_are_left_to_pytorch(
        self, folder, monkeypatch
    ):
        _, messages, score, *_ = parts_of(5, 2, 2, 40)
        assert kernel_for(messages, score, folder) is not None
        assert kernel_for(messages.double(), score.double(), folder) is None
        assert kernel_for(messages[:, :, :0], score, folder) is None
        assert kernel_for(torch.zeros(5, 5, 40), score, folder) is None
        assert kernel_for(torch.zeros(2, 999, 40), torch.zeros(2, 999, 999), folder) is None
        monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
        assert kernel_for(messages, score, folder) is None

    @pytest.mark.parametrize("compiler", ["", "no-such-compiler"])
    def test_without_a_compiler_the_log_says_so_once(self, tmp_path, monkeypatch, caplog, compiler):
        monkeypatch.setenv("CC", compiler)
        _, messages, score, *_ = parts_of(5, 2, 2, 40)
        with caplog.at_level(logging.INFO):
            assert kernel_for(messages, score, tmp_path) is None
            assert kernel_for(messages, score, tmp_path) is None
        (line,) = caplog.messages
        assert "PyTorch's operations" in line and f"no C compiler '{compiler}'" in line


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class TestLibrary:
    def test_a_compiler_that_fails_is_quoted(self, tmp_path, monkeypatch):
        monkeypatch.setenv(
            "CC", str(script(tmp_path / "cc", "echo error: no such flag >&2; exit 3"))
        )
        with pytest.raises(NotCompiled, match="fails: error: no such flag"):
            library("one", ONE, {"NUMBER": 1}, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["cc"]

    @needs_compiler
    def test_it_is_compiled_once_for_all_that_it_is_made_of(self, tmp_path, monkeypatch):
        calls = tmp_path / "calls"
        count = f'case "$*" in *--version*) ;; *) echo x >> {calls};; esac; exec cc "$@"'
        monkeypatch.setenv("CC", str(script(tmp_path / "cc", count)))
        kept = tmp_path / "kept"
        made = [library("one", ONE, {"NUMBER": number}, kept).one() for number in (1, 1, 2, 1)]
        assert made == [1, 1, 2, 1]
        assert calls.read_text() == "x\n" * 2 and len(list(kept.iterdir())) == 2
        library("one", ONE + "\n", {"NUMBER": 1}, kept)
        monkeypatch.setattr(_compiled, "_processor", lambda: "another")
        library("one", ONE, {"NUMBER": 1}, kept)
        assert calls.read_text() == "x\n" * 4

    @needs_compiler
    def test_a_damaged_one_is_made_anew(self, tmp_path):
        library("one", ONE, {"NUMBER": 7}, tmp_path)
        (path,) = tmp_path.iterdir()
        # Replaced, not written to: the loaded one is mapped.
        (tmp_path / "damaged").write_bytes(path.read_bytes()[:100])
        os.replace(tmp_path / "damaged", path)
        assert library("one", ONE, {"NUMBER": 7}, tmp_path).one() == 7
        assert path.stat().st_size > 1000

    @needs_compiler
    def test_a_folder_that_cannot_be_is_no_obstacle(self, tmp_path):
        (tmp_path / "file").write_text("")
        assert library("one", ONE, {"NUMBER": 3}, tmp_path / "file" / "below").one() == 3
