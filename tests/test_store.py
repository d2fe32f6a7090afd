"""Files are whole or absent, and a damaged one is noticed."""

import errno
import hashlib
import io
import os
import signal
import tracemalloc
from fractions import Fraction

import pytest
import torch

from recbole_cold import store
from recbole_cold.errors import UserError, WriteError
from recbole_cold.store import (
    DamagedFile,
    also_at,
    load_state,
    save_state,
    whole_folder,
    write_bytes,
)


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


def test_the_form_of_a_file_is_that_of_older_versions(tmp_path):
    """A line, the digest of what follows, and what torch writes."""
    buffer = io.BytesIO()
    torch.save({"x": torch.arange(3)}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    whole = b"recbole_cold state 1\n" + digest + b"\n" + buffer.getvalue()
    save_state(tmp_path / "a.pt", {"x": torch.arange(3)})
    assert (tmp_path / "a.pt").read_bytes() == whole


def test_neither_writing_nor_reading_copies_the_whole(tmp_path):
    """Python's own memory, which torch's tensors are not in: 8 MB pass through it."""
    state = {"a": torch.arange(1_000_000.0), "b": torch.arange(1_000_000)[::2].clone()}
    save_state(tmp_path / "a.pt", state)
    load_state(tmp_path / "a.pt")
    tracemalloc.start()
    try:
        save_state(tmp_path / "a.pt", state)
        back = load_state(tmp_path / "a.pt")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "a.pt").stat().st_size > 8e6
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert peak < 1.5e6


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

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
    def test_an_error_in_the_middle_of_a_state_is_the_one_that_comes_out(
        self, tmp_path, monkeypatch, error
    ):
        """torch would make a RuntimeError of it."""
        path = tmp_path / "a.pt"
        save_state(path, {"x": torch.zeros(5)})
        update, calls = store._Hashed.write, iter(range(100))

        class Failing:
            def update(self, _content):
                if next(calls) == 5:
                    raise error

        def write(self, content):
            self.digest = self.digest if isinstance(self.digest, Failing) else Failing()
            return update(self, content)

        monkeypatch.setattr(store._Hashed, "write", write)
        wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else WriteError
        with pytest.raises(wanted):
            save_state(path, {"x": torch.ones(50_000)})
        assert next(calls) == 6  # what comes after it is not written any more
        assert torch.equal(load_state(path)["x"], torch.zeros(5))
        assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]

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
            try:
                while True:  # until the reader has seen enough, however fast either is
                    for letter in (b"b", b"c"):
                        write_bytes(path, letter * 500_000)
            finally:
                os._exit(1)
        seen, reads, writing = set(), 0, True
        try:
            while writing and (reads < 40 or not {*b"bc"} <= seen):
                content = path.read_bytes()
                assert len(content) == 500_000
                assert len(set(content)) == 1
                seen.add(content[0])
                reads += 1
                writing = os.waitpid(child, os.WNOHANG)[0] == 0
        finally:
            if writing:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        assert writing


@pytest.mark.parametrize("new", [False, True])
def test_a_folder_that_somebody_has_made_meanwhile(tmp_path, new):
    """Is exchanged for the new one, or stays where the new one must not take its place."""
    folder = tmp_path / "a"

    def write():
        with whole_folder(folder, new=new) as place:
            (place / "mine").write_bytes(b"1")
            folder.mkdir()
            (folder / "theirs").write_bytes(b"2")

    if new:
        with pytest.raises(OSError, match="not empty"):
            write()
    else:
        write()
    assert [path.name for path in folder.iterdir()] == ["theirs" if new else "mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


class TestSecondNames:
    """A file that stays when the first of its names goes."""

    def test_a_second_name_takes_no_room(self, tmp_path):
        source, path = tmp_path / "a", tmp_path / "new" / "b"
        source.write_bytes(b"content")
        assert also_at(source, path) is False
        assert path.stat().st_ino == source.stat().st_ino
        assert also_at(source, path) is False  # once more: a rename then leaves what it renames
        assert [file.name for file in path.parent.iterdir()] == ["b"]
        source.unlink()
        assert path.read_bytes() == b"content"

    def test_another_file_is_replaced(self, tmp_path):
        source, path = tmp_path / "a", tmp_path / "b"
        source.write_bytes(b"new")
        path.write_bytes(b"old")
        also_at(source, path)
        assert path.read_bytes() == b"new" and source.read_bytes() == b"new"

    def test_where_there_are_no_links_it_is_copied(self, tmp_path, monkeypatch):
        def refused(*_args):
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(store.os, "link", refused)
        source, path = tmp_path / "a", tmp_path / "b"
        source.write_bytes(b"content")
        assert also_at(source, path) is True
        source.write_bytes(b"other")
        assert path.read_bytes() == b"content"
        monkeypatch.setattr(store.os, "fsync", no_space)
        with pytest.raises(WriteError, match="No space left on device"):
            also_at(source, path)
        assert path.read_bytes() == b"content"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]

    def test_what_is_not_there_has_no_second_name(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            also_at(tmp_path / "a", tmp_path / "b")
        assert list(tmp_path.iterdir()) == []
