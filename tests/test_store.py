"""Files are whole or absent, and a damaged one is noticed."""

import errno
import os
import signal
import time
from fractions import Fraction

import pytest
import torch

from recbole_cold import store
from recbole_cold.errors import UserError, WriteError
from recbole_cold.store import DamagedFile, load_state, save_state, write_bytes


def no_space(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_state_comes_back_as_it_was(tmp_path):
    state = {
        "tensor": torch.arange(6.0).reshape(2, 3),
        "nested": {"text": "ä", "none": None, "list": [1, 2.5, True]},
        "optimizers": [{"state": {0: {"step": torch.tensor(3.0)}}}],
    }
    save_state(tmp_path / "new" / "folder" / "a.pt", state)
    back = load_state(tmp_path / "new" / "folder" / "a.pt")
    assert torch.equal(back["tensor"], state["tensor"])
    assert back["nested"] == state["nested"]
    assert back["optimizers"][0]["state"][0]["step"] == 3.0


def test_no_pickled_class_is_read(tmp_path):
    save_state(tmp_path / "a.pt", {"bad": Fraction(1, 2)})
    with pytest.raises(DamagedFile, match="no state"):
        load_state(tmp_path / "a.pt")


class TestDamage:
    @pytest.fixture
    def path(self, tmp_path):
        save_state(tmp_path / "a.pt", {"x": torch.arange(100)})
        return tmp_path / "a.pt"

    def test_any_flipped_bit_is_noticed(self, path):
        whole = path.read_bytes()
        for position in [0, 5, 21, 60, 86, 90, len(whole) // 2, len(whole) - 1]:
            broken = bytearray(whole)
            broken[position] ^= 4
            path.write_bytes(broken)
            with pytest.raises(DamagedFile, match=str(path)):
                load_state(path)

    def test_any_missing_tail_is_noticed(self, path):
        whole = path.read_bytes()
        for length in [0, 1, 20, 21, 50, 85, 86, 87, len(whole) // 2, len(whole) - 1]:
            path.write_bytes(whole[:length])
            with pytest.raises(DamagedFile):
                load_state(path)

    def test_more_than_was_written_is_noticed(self, path):
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(DamagedFile, match="checksum"):
            load_state(path)

    def test_what_is_missing_or_a_folder_is_damaged_too(self, tmp_path):
        (tmp_path / "folder").mkdir()
        for path in (tmp_path / "missing", tmp_path / "folder"):
            with pytest.raises(DamagedFile, match="cannot be read"):
                load_state(path)


class TestWriting:
    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_full_disk_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch, call):
        path = tmp_path / "a.txt"
        write_bytes(path, b"old")
        monkeypatch.setattr(store.os, call, no_space)
        with pytest.raises(WriteError, match="No space left on device"):
            write_bytes(path, b"new")
        assert path.read_bytes() == b"old"
        assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]

    def test_a_device_that_is_really_full(self, tmp_path):
        if not os.path.exists("/dev/full"):
            pytest.skip("no /dev/full on this system")
        (tmp_path / f".a.txt.{os.getpid()}").symlink_to("/dev/full")
        with pytest.raises(WriteError, match="No space left on device"):
            write_bytes(tmp_path / "a.txt", b"x" * 100_000)
        assert not list(tmp_path.iterdir())

    def test_a_file_where_a_folder_should_be(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match=r"cannot write .*file/a\.txt"):
            write_bytes(tmp_path / "file" / "a.txt", b"new")

    def test_a_kill_in_the_middle_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "a.txt"
        write_bytes(path, b"old")
        child = os.fork()
        if child == 0:  # killed between writing and renaming
            store.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
            write_bytes(path, b"new")
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert path.read_bytes() == b"old"

    def test_a_reader_never_sees_half(self, tmp_path):
        path = tmp_path / "a.txt"
        write_bytes(path, b"a" * 500_000)
        child = os.fork()
        if child == 0:
            for letter in (b"b", b"c") * 20:
                write_bytes(path, letter * 500_000)
            os._exit(0)
        seen = set()
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            content = path.read_bytes()
            assert len(content) == 500_000
            assert len(set(content)) == 1
            seen.add(content[0])
            time.sleep(0.0005)
        assert seen
