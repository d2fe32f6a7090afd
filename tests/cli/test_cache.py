"""What the cache holds is shown, and what is long unused goes: nothing in use, nothing not ours."""

import gc
import os
import pickle
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recbole_cold
from recbole_cold import cache_entries, store
from recbole_cold.cache_entries import Entry, unwanted
from recbole_cold.cli import cache as verb
from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.data import _cache
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.frames import from_frames
from recbole_cold.errors import UserError

DAY = 24 * 3600


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def tiny(tiny_keys, root):
    """``tiny(threshold)``: the data set, parsed anew for each threshold, or found."""

    def load(threshold=4):
        keys = {**tiny_keys, "cache_dir": str(root), "threshold": {"rating": threshold}}
        return ColdStartDataset(make_config("Base", "tiny", overrides=keys))

    return load


@pytest.fixture
def cache(capsys, root):
    def go(*words):
        """Exit code, and what was printed."""
        code = main(["cache", f"--cache_dir={root}", *words])
        told = capsys.readouterr()
        assert "\n" not in told.err.rstrip()
        return code, told.out + told.err

    return go


def rows(text):
    """The table that was printed: (kind, data set) -> cells."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return {line[0]: line[1:] for line in lines if len(line) > 2}


def stored(root, folder="data"):
    """The entries of a kind, hidden names and the index left out."""
    return sorted(
        path for path in (root / folder).iterdir() if re.match(r"[0-9a-f]{32}", path.name)
    )


def aged(path, days):
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


# ------------------------------------------------------------------------- shown
class TestShow:
    def test_a_line_per_kind_and_data_set(self, cache, tiny, root, tiny_keys, tiny_path):
        keys = {"train_batch_size": 64, "embedding_size": 4, "show_progress": False,
                "matched_row": False, "saved_dir": None, "cache_dir": root}  # fmt: skip
        recbole_cold.run("Base", "tiny", "FM", 2, **{**tiny_keys, **keys})
        tiny(3)
        frame = pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "label": [0, 1]})
        from_frames(frame, name="mine").write(root)
        gc.collect()
        aged(stored(root)[0], 3)
        code, text = cache()
        assert code == 0 and text.startswith(f"cache {root}\n")
        found = rows(text)
        sizes = {
            name: sum(path.stat().st_size for path in (root / name).rglob("*") if path.is_file())
            for name in ("data", "backbones", "frames")
        }
        name, entries, files, *_ = found["parsed data"]
        assert name == "tiny" and entries == "2"
        assert int(files) == sum(len(list(path.iterdir())) for path in stored(root))
        assert found["parsed data"][-2:] == ["just now", str(tiny_path)]
        assert found["backbones"][:3] == ["tiny", "2", "2"]
        assert found["backbones"][3] == f"{sizes['backbones'] / 1e3:.1f} kB"
        assert found["backbones"][-1] == "FM"
        assert found["frames"][0] == "mine" and found["frames"][-1] == "from_frames"
        total = sum(sizes.values()) / 1e3
        assert f"{total:.1f} kB" in " ".join(found["total"])
        assert "used by running processes: 0 entries, 0 bytes" in text
        assert all(len(line) <= 100 + len(str(tiny_path)) for line in text.splitlines())

    def test_of_an_older_version_and_of_nothing(self, cache, tiny, root):
        """Looking makes no folder; an entry that says nothing of itself is shown all the same."""
        code, text = cache()
        assert code == 0 and "nothing is cached there" in text and not root.exists()
        tiny()
        gc.collect()
        (folder,) = stored(root)
        (folder / "meta.json").write_text("damaged\n")
        assert rows(cache()[1])["parsed data"][0] == "1"

    def test_use_is_noted(self, tiny, root, cache):
        tiny()
        (folder,) = stored(root)
        aged(folder, 40)
        assert rows(cache()[1])["parsed data"][-2] == "5 weeks ago"
        assert tiny().from_cache
        assert rows(cache()[1])["parsed data"][-2] == "just now"


# ------------------------------------------------------------------------- removed
class TestPrune:
    def test_what_was_not_used_for_so_long(self, cache, tiny, root):
        for threshold in (2, 3, 4):
            tiny(threshold)
        gc.collect()
        first, second, third = stored(root)
        aged(first, 31), aged(second, 29)
        code, text = cache("--prune", "--older=30d")
        assert code == 0 and "removed 1 entry, " in text
        assert stored(root) == [second, third]
        assert [tiny(threshold).from_cache for threshold in (2, 3, 4)].count(False) == 1
        assert not [path for path in (root / "data").iterdir() if path.name.startswith(".")]

    def test_the_longest_unused_until_the_rest_fits(self, cache, tiny, root, monkeypatch):
        monkeypatch.setattr(_cache, "SETTLED_NS", -1)  # however young the files: their hashes count
        for threshold in (2, 3, 4):
            tiny(threshold)
        gc.collect()
        middle, old, new = stored(root)
        aged(middle, 2), aged(old, 3), aged(new, 1)
        size = {path: sum(p.stat().st_size for p in path.iterdir()) for path in (middle, old, new)}
        index = sum(path.stat().st_size for path in (root / "data" / "index").iterdir())
        keep = size[middle] + size[new] + index
        assert cache("--prune", f"--keep={keep / 1e3:.3f}kB")[0] == 0
        assert stored(root) == [middle, new]
        cache("--prune", f"--keep={(keep - 1) / 1e3:.3f}kB")
        assert stored(root) == [new]

    def test_a_dry_run_tells_and_leaves(self, cache, tiny, root):
        tiny()
        gc.collect()
        before = sorted(root.rglob("*"))
        code, text = cache("--prune", "--keep=0kB", "--dry_run")
        assert code == 0 and "would remove 1 entry, " in text
        assert sorted(root.rglob("*")) == before
        text = cache("--prune", "--keep=0kB")[1]
        assert "removed 1 entry, " in text and stored(root) == []

    def test_what_is_in_use_stays(self, cache, tiny, root):
        """As long as somebody refers to the data; copies and pickles need no file."""
        data = tiny()
        view = data.view()
        copied = pickle.loads(pickle.dumps(data._uses))
        del data
        gc.collect()
        code, text = cache("--prune", "--keep=0kB")
        assert code == 0 and len(stored(root)) == 1
        assert "of these used by running processes, or perhaps so: 1 entry" in text
        assert "more than --keep is left" in text
        del view
        gc.collect()
        cache("--prune", "--keep=0kB")
        assert stored(root) == [] and len(copied) == 2

    def test_also_in_another_process(self, cache, tiny, root):
        tiny()
        gc.collect()
        (folder,) = stored(root)
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            kept = _cache.in_use(folder)
            os.write(tell, b"x")
            signal.pause()
            os._exit(int(kept is None))
        try:
            os.read(told, 1)
            assert "used by running processes: 1 entries" in cache()[1]
            cache("--prune", "--keep=0kB")
            assert len(stored(root)) == 1
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        cache("--prune", "--keep=0kB")
        assert stored(root) == []

    def test_backbones_and_frames_in_use(self, cache, root, tiny_keys, tmp_path):
        frame = pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "label": [0, 1]})
        data = from_frames(frame, name="mine")
        data.write(root)
        keys = {"train_batch_size": 64, "embedding_size": 4, "show_progress": False, "seeds": 1,
                "matched_row": False, "saved_dir": None, "cache_dir": root}  # fmt: skip
        counts = []

        class Watch(recbole_cold.Callback):
            def stage_ends(self, stage, record):
                cache("--prune", "--keep=0kB")
                counts.append(len(stored(root, "backbones")))

        for _ in range(2):  # trained, then read
            recbole_cold.run("Base", "tiny", "FM", callbacks=[Watch()], **{**tiny_keys, **keys})
        assert set(counts[1:]) == {1}
        cache("--prune", "--keep=0kB")
        assert stored(root, "backbones") == [] and len(stored(root, "frames")) == 1
        given = {**data.configuration(root), "cache_dir": str(root)}
        loaded = ColdStartDataset(make_config("Base", "mine", overrides=given))
        del data
        gc.collect()
        cache("--prune", "--keep=0kB")
        assert len(stored(root, "frames")) == 1
        del loaded
        gc.collect()
        cache("--prune", "--keep=0kB")
        assert stored(root, "frames") == []

    def test_what_is_not_ours_stays(self, cache, tiny, root, tmp_path):
        tiny()
        gc.collect()
        (ours,) = stored(root)
        theirs = root / "data" / ("a" * 32)
        shutil.copytree(ours, theirs)
        (theirs / "notes.txt").write_text("mine")
        elsewhere = shutil.copytree(ours, tmp_path / "elsewhere")
        (root / "data" / ("b" * 32)).symlink_to(elsewhere)
        (root / "saved" / "run").mkdir(parents=True)
        for place in ("a.txt", "data/x", "backbones/" + "c" * 32 + ".pt", "frames/" + "d" * 32,
                      "saved/run/results.json"):  # fmt: skip
            (root / place).parent.mkdir(exist_ok=True)
            (root / place).write_text("no cache of ours")
        before = {path for path in root.rglob("*") if ours not in (path, *path.parents)}
        assert cache("--prune", "--keep=0kB", "--older=0h")[0] == 0
        assert set(root.rglob("*")) == before and elsewhere.is_dir()

    def test_what_killed_processes_left(self, cache, tiny, root):
        """A day later; locks of backbones at once, unless they are held."""
        tiny()
        (folder,) = stored(root)
        backbones = root / "backbones"
        backbones.mkdir()
        half = root / "data" / f".{folder.name}.x1"
        fresh = root / "data" / f".{folder.name}.x2"
        for path in (half, fresh):
            path.mkdir()
            (path / "000.npy").write_bytes(b"half")
        aged(half / "000.npy", 2), aged(half, 2), aged(fresh, 2)
        written = aged_file(backbones / f".{'e' * 32}.pt.123", 2)
        orphan, held = (backbones / f"{letter * 32}.lock" for letter in "ab")
        orphan.touch()
        with held.open("wb") as file:
            assert store.try_lock(file)
            text = cache("--prune", "--older=30d")[1]
        assert "killed processes" in text and "removed 3 entries" in text
        assert not half.exists() and not written.exists() and not orphan.exists()
        assert fresh.exists() and held.exists() and folder.exists()

    def test_hashes_of_files_that_changed(self, cache, root, tmp_path, monkeypatch):
        monkeypatch.setattr(_cache, "SETTLED_NS", -1)
        kept, gone = tmp_path / "kept", tmp_path / "gone"
        for path in (kept, gone):
            path.write_text("x")
            _cache.content_hash(path, root)
        gone.unlink()
        index = root / "data" / "index"
        assert len(list(index.iterdir())) == 2
        cache("--prune", "--keep=0kB")
        (left,) = index.iterdir()
        assert str(kept) in left.read_text()

    def test_a_kill_in_the_middle_leaves_no_half_of_an_entry(self, cache, tiny, root, monkeypatch):
        tiny()
        gc.collect()
        (folder,) = stored(root)

        def killed(*_args, **_kwargs):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", killed)
            assert main(["cache", f"--cache_dir={root}", "--prune", "--keep=0kB"]) == 130
        assert not folder.exists()
        for path in (root / "data").glob(f".{folder.name}.old.*"):
            for each in (path, *path.rglob("*")):
                aged(each, 2)
        cache("--prune", "--older=30d")
        assert [path.name for path in (root / "data").iterdir()] in ([], ["index"])

    def test_what_cannot_be_removed_is_said(self, cache, tiny, root, monkeypatch):
        tiny(3), tiny(4)
        gc.collect()
        first, _ = stored(root)
        replace = os.replace

        def refuse(source, target):
            if source == first:
                raise PermissionError(13, "Permission denied")
            replace(source, target)

        monkeypatch.setattr(os, "replace", refuse)
        code, text = cache("--prune", "--keep=0kB")
        assert code == 1 and f"cannot remove '{first}' (Permission denied)" in text
        assert stored(root) == [first]

    def test_without_locks_nobody_can_tell(self, cache, tiny, root, monkeypatch):
        def none(*_args, **_kwargs):
            raise OSError(37, "No locks available")

        monkeypatch.setattr(cache_entries, "try_lock", none)
        tiny()
        gc.collect()
        assert cache("--prune", "--keep=0kB")[0] == 0
        assert len(stored(root)) == 1


def aged_file(path, days):
    path.write_bytes(b"half")
    return aged(path, days)


def test_rules_on_made_up_entries():
    """Both rules against a plain restatement, whatever is in use."""
    random = np.random.default_rng(3)
    for _ in range(200):
        sizes = {
            Entry("parsed data", Path(str(number)), float(random.integers(100))): int(
                random.integers(1, 50)
            )
            for number in range(8)
        }
        busy = [entry for entry in sizes if random.random() < 0.3]
        older, keep = float(random.integers(100)), float(random.integers(200))
        gone = unwanted(sizes, busy, older, keep, now=100.0)
        assert not set(gone) & set(busy)
        left = {entry: size for entry, size in sizes.items() if entry not in gone}
        free = [entry for entry in left if entry not in busy]
        assert all(100.0 - entry.used <= older for entry in free)
        assert sum(left.values()) <= keep or not free
        by_size = [entry for entry in gone if 100.0 - entry.used <= older]
        # None goes for room whose place would still have been there.
        for entry in by_size:
            later = [other for other in by_size if other.used > entry.used]
            assert sum(left.values()) + sum(sizes[other] for other in later) + sizes[entry] > keep
        assert all(entry.used <= other.used for entry in by_size for other in free)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prune"], "--prune removes by a rule, and none is given: add --older=30d, --keep=20GB"),
        (["--older=30d"], "--older goes with --prune; add that, or leave it out"),
        (["--dry_run"], "--dry_run goes with --prune"),
        (["--prune", "--older=30"], "--older=30 is no number with a unit (h, d, w); write it as"),
        (["--prune", "--older=-1d"], "--older=-1d is no number with a unit"),
        (["--prune", "--keep=20"], "--keep=20 is no number with a unit (kB, MB, GB, TB)"),
        (["--prune", "--keep=1.2.3GB"], "--keep=1.2.3GB is no number with a unit"),
        (["--seeds=3"], "cache takes no --seeds; leave it out"),
        (["--prune", "--oldr=3d"], "cache takes no --oldr; did you mean --older?"),
        (["--prune=1"], "--prune takes no value; write --prune"),
    ],
)
def test_refused(words, sentence, cache, root):
    code, text = cache(*words)
    assert code == 2 and text.startswith(f"error: {sentence}")
    assert not root.exists()


def test_other_verbs_take_no_such_switch(capsys):
    assert main(["run", "--dry_run"]) == 2
    assert "run takes no --dry_run: it goes with cache" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [("older", "12h", 43200), ("older", "1.5d", 129600), ("older", "2W", 1209600),
     ("keep", "20GB", 20e9), ("keep", "20 GiB", 20 * 2**30), ("keep", "0kb", 0),
     ("keep", "1.001kB", 1001)],  # 1.001 * 1000 < 1001 in floats
)  # fmt: skip
def test_numbers_with_units(name, text, number):
    units = verb._SECONDS if name == "older" else verb._BYTES
    assert verb._measured(name, text, units, "") == number
    with pytest.raises(UserError):
        verb._measured(name, text[:-1] + "x", units, "")


def test_a_text_of_a_state_without_its_tensors(tmp_path):
    import torch

    path = tmp_path / "x.pt"
    store.save_state(path, {"backbone": {"w": torch.ones(3)}, "record": '{"steps": 3}'})
    assert store.is_state(path) and store.text_in(path, "record") == '{"steps": 3}'
    with pytest.raises(ValueError, match="has no text 'other'"):
        store.text_in(path, "other")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="has no text"):
        store.text_in(path, "record")
