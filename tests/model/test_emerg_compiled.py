"""EmerG's attention in C: the numbers of the plain form, and when there is none.

The plain form has 64 bits here, so what is found is the rounding of 32 bits: at most 9e-6 of the
largest number, in second derivatives.
"""

import logging
import math
import os
import shlex
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from task_helpers import block_episode

from recbole_cold.model import _compiled, _emerg_compiled
from recbole_cold.model._compiled import NotCompiled, _compiler, library
from recbole_cold.model._emerg_attention import attend_plainly
from recbole_cold.model._emerg_compiled import attend_compiled, kernel_for
from recbole_cold.model._emerg_states import states_plainly
from recbole_cold.model.emerg import PAIRS


def compiler():
    """Its words as a shell has them; none where the package finds none either."""
    try:
        return shlex.join(_compiler())
    except (NotCompiled, ValueError):
        return None


CC = compiler()
needs_compiler = pytest.mark.skipif(CC is None, reason="there is no C compiler")
ONE = "int one(void) { return NUMBER; }"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """With as many as a large machine has nothing would run compiled."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


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
        [
            *[(5, 2, 2, 7), (5, 2, 2, 32), (5, 2, 2, 33), (5, 2, 2, 171), (16, 1, 1, 95)],
            *[(5, 2, 1, 40), (5, 2, 3, 33), (5, 2, 4, 40)],
        ],
    )
    def test_values_and_gradients_to_the_second_order(self, folder, size, heads, layers, nodes):
        self.agree(folder, parts_of(size, heads, layers, nodes))

    @pytest.mark.parametrize("nodes", [7, 40])
    def test_derivatives_do_not_end_at_copies_of_what_is_not_contiguous(self, folder, nodes):
        parts = [part.mT.contiguous().mT if part.dim() > 1 else part
                 for part in parts_of(5, 2, 2, nodes)]  # fmt: skip
        assert [part.is_contiguous() for part in parts] == [False] * 4 + [True]
        self.agree(folder, parts, is_turned=True)

    def agree(self, folder, given, *, is_turned=False):
        """Both forms, in values and in derivatives."""
        kernel = kernel_of(given, folder)
        draw = torch.Generator().manual_seed(1)
        size, nodes = given[0].shape
        upstream = torch.randn(size, nodes, generator=draw)
        if is_turned:
            upstream = upstream.T.contiguous().T
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

    def test_its_work_space_is_memory_whatever_the_default_device(self, folder, monkeypatch):
        given = parts_of(5, 2, 2, 40)
        kernel, places = kernel_of(given, folder), []

        class Noted:
            def attend(self, n, *pointers):
                places.extend(pointers)

        monkeypatch.setattr(kernel, "_made", Noted())
        with torch.device("meta"):
            kernel("attend", given, [given[0]])
        assert len(places) == 7 and all(place.value for place in places)


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
    def asked_anew(self):
        for kept in (_emerg_compiled._made, _emerg_compiled._say_plain):
            kept.cache_clear()
        yield
        for kept in (_emerg_compiled._made, _emerg_compiled._say_plain):
            kept.cache_clear()

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
        line = self.line_of_two_calls(caplog, tmp_path)
        assert f"no C compiler '{compiler}'" in line

    def test_of_threads_and_a_large_network_the_log_says_so_once(
        self, tmp_path, monkeypatch, caplog
    ):
        assert "network is large" in self.line_of_two_calls(caplog, tmp_path, layers=5)
        caplog.clear()
        monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
        assert "5 threads, more than 4" in self.line_of_two_calls(caplog, tmp_path)

    @needs_compiler
    def test_a_compiler_that_miscalculates_is_found_out(self, tmp_path, monkeypatch, caplog):
        wrong = _emerg_compiled.SOURCE.replace("= part[o] / sum;", "= part[o];")
        assert wrong != _emerg_compiled.SOURCE
        monkeypatch.setattr(_emerg_compiled, "SOURCE", wrong)
        assert "numbers are wrong, by " in self.line_of_two_calls(caplog, tmp_path)

    def line_of_two_calls(self, caplog, folder, layers=2):
        """What the log says where both are left to PyTorch."""
        _, messages, score, *_ = parts_of(5, 2, layers, 40)
        with caplog.at_level(logging.INFO):
            assert kernel_for(messages, score, folder) is None
            assert kernel_for(messages, score, folder) is None
        (line,) = caplog.messages
        assert "PyTorch's operations" in line
        return line


def script(path, text, shebang="#!/bin/sh"):
    path.write_text(f"{shebang}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def one(folder, number=1, source=ONE):
    return library("one", source, {"NUMBER": number}, folder).one()


class TestLibrary:
    @pytest.fixture(autouse=True)
    def own(self, tmp_path, monkeypatch):
        """The user's folder for temporary files, in which libraries may be kept."""
        (tmp_path / "own").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "own"))
        return tmp_path / "own" / f"recbole_cold-{os.geteuid()}"

    @pytest.fixture
    def kept(self, tmp_path):
        if not _compiled._only_ours(tmp_path):
            pytest.skip("others may write a folder above")
        return tmp_path / "above" / "kept"

    @pytest.fixture
    def calls(self, tmp_path, monkeypatch):
        """A line for each time that the compiler compiles."""
        calls = tmp_path / "calls"
        count = f'case "$*" in *--version*) ;; *) echo x >> {calls};; esac; exec {CC} "$@"'
        monkeypatch.setenv("CC", str(script(tmp_path / "cc", count)))
        return calls

    def test_a_compiler_that_fails_is_quoted(self, tmp_path, monkeypatch):
        failing = script(tmp_path / "cc", "printf 'error: no such flag \\377' >&2; exit 3")
        monkeypatch.setenv("CC", str(failing))
        with pytest.raises(
            NotCompiled, match="fails: error: no such flag \N{REPLACEMENT CHARACTER}"
        ):
            one(tmp_path / "kept")
        found = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
        assert found == []

    @pytest.mark.parametrize("kind", ["shebang", "format", "quote", "slow"])
    def test_a_compiler_that_does_not_run_is_none(self, tmp_path, monkeypatch, kind):
        broken = script(tmp_path / "cc", "exec sleep 9")
        if kind == "shebang":
            script(broken, "", "#!/no/such/shell")
        elif kind == "format":
            broken.write_bytes(b"\x7fELF\0\0")
        elif kind == "slow":
            monkeypatch.setattr(_compiled, "_LONGEST", 0.05)
        monkeypatch.setenv("CC", f"{broken} '" if kind == "quote" else str(broken))
        with pytest.raises(NotCompiled, match="cannot be made or loaded"):
            one(tmp_path / "kept")

    @needs_compiler
    def test_it_is_compiled_once_for_all_that_it_is_made_of(self, kept, calls, monkeypatch):
        assert [one(kept, number) for number in (1, 1, 2, 1)] == [1, 1, 2, 1]
        assert calls.read_text() == "x\n" * 2
        assert sorted(path.suffix for path in kept.iterdir()) == [".sha256"] * 2 + [".so"] * 2
        one(kept, source=ONE + "\n")
        monkeypatch.setattr(_compiled, "_processor", lambda: "another")
        one(kept)
        assert calls.read_text() == "x\n" * 4

    @needs_compiler
    def test_a_compiler_behind_another_is_known_by_its_own_version(self, tmp_path, monkeypatch):
        version = tmp_path / "version"
        text = f'case "$*" in --version) echo 1;; *--version) cat {version};; *) exec "$@";; esac'
        monkeypatch.setenv("CC", f"{script(tmp_path / 'ccache', text)} {CC}")
        made = []
        for number in ("13", "14"):
            version.write_text(number)
            one(tmp_path / "kept")
            made.append(len(list(tmp_path.rglob("one-*.so"))))
        assert made == [1, 2]

    def test_a_processor_that_has_no_file_is_asked_for_its_name(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_compiled, "_CPU_INFO", tmp_path / "none")
        monkeypatch.setenv("PATH", str(tmp_path))
        unnamed = _compiled._processor()
        script(tmp_path / "sysctl", 'echo "$*: M7"')
        assert _compiled._processor() == f"{unnamed}-n machdep.cpu.brand_string: M7\n"

    @needs_compiler
    def test_the_first_process_loads_what_later_ones_load(self, kept, monkeypatch):
        loaded, real = [], _compiled.ctypes.CDLL
        monkeypatch.setattr(_compiled.ctypes, "CDLL", lambda at: loaded.append(at) or real(at))
        assert one(kept) == one(kept) == 1
        (path,) = kept.glob("*.so")
        assert loaded == [str(path.resolve())] * 2

    @needs_compiler
    def test_one_that_was_cut_off_is_made_anew(self, kept):
        one(kept, 7)
        (path,) = kept.glob("*.so")
        whole = path.stat().st_size
        # Replaced, not written to: the loaded one is mapped.
        cut = path.with_name("cut")
        cut.write_bytes(path.read_bytes()[: whole // 2])
        os.replace(cut, path)
        # Loading such a one may end a process.
        given = ("one", ONE, {"NUMBER": 7})
        text = (
            f"import pathlib, runpy; library = runpy.run_path({_compiled.__file__!r})['library']; "
            f"print(library(*{given!r}, pathlib.Path({str(kept)!r})).one())"
        )
        root = Path(_compiled.__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=root, capture_output=True, text=True, timeout=120
        )
        assert done.stdout == "7\n", done.stderr
        assert path.stat().st_size == whole

    @needs_compiler
    @pytest.mark.parametrize("whose", ["ours", "file", "folder", "above", "another's"])
    def test_what_others_could_have_written_is_not_loaded(
        self, tmp_path, kept, own, monkeypatch, whose
    ):
        one(tmp_path / "for its name")
        (path,) = (tmp_path / "for its name").glob("*.so")
        one(tmp_path / "planted", 2)
        kept.mkdir(parents=True)
        for planted in (tmp_path / "planted").iterdir():
            there = kept / (path.name if planted.suffix == ".so" else f"{path.name}.sha256")
            there.write_bytes(planted.read_bytes())
        if whose == "another's" and os.geteuid():
            monkeypatch.setattr(os, "geteuid", lambda: -1)  # all is
        elif whose == "another's":
            os.chown(kept, 12345, -1)
        elif whose != "ours":
            at = {"file": kept / path.name, "folder": kept, "above": kept.parent}[whose]
            at.chmod(0o777)
        assert one(kept) == (2 if whose == "ours" else 1)
        if whose in ("folder", "above"):
            assert (own / path.name).exists()

    @needs_compiler
    @pytest.mark.parametrize("kind", ["a file", "read-only"])
    def test_a_folder_that_cannot_be_written_is_no_obstacle(
        self, kept, own, calls, monkeypatch, kind
    ):
        if kind == "a file":
            kept.parent.write_text("")
        else:
            kept.mkdir(mode=0o555, parents=True)
            real = tempfile.TemporaryDirectory

            def refused(*given, **named):
                if named.get("dir") == kept.resolve():  # root's may be written all the same
                    raise PermissionError("read-only")
                return real(*given, **named)

            monkeypatch.setattr(tempfile, "TemporaryDirectory", refused)
        assert one(kept, 3) == one(kept, 3) == 3
        assert calls.read_text() == "x\n" and len(list(own.iterdir())) == 2
        before = {path: path.stat().st_ino for path in own.iterdir()}
        own.chmod(0o777)
        assert one(kept, 3) == 3
        assert calls.read_text() == "x\n" * 2  # in a folder that is gone
        assert {path: path.stat().st_ino for path in own.iterdir()} == before
