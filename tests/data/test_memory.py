"""Data that are larger than the memory: said before, by the files and by what is free."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recbole_cold.config import make_config
from recbole_cold.data import _memory
from recbole_cold.data._atomic import Format
from recbole_cold.data._build import Build
from recbole_cold.data._memory import Free, free_memory, n_rows, needs
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError

GB = 1 << 30
FORM = Format("\t", " ", "utf-8", {})


@pytest.fixture
def load(tiny_keys, tmp_path):
    def go(**more):
        keys = {**tiny_keys, "cache_dir": str(tmp_path / "cache"), **more}
        return ColdStartDataset(make_config("Base", "tiny", overrides=keys))

    return go


@pytest.fixture
def limit(monkeypatch):
    """``limit(bytes)``: so much memory is free."""
    return lambda size: monkeypatch.setattr(
        _memory, "free_memory", lambda: Free(size, "on this machine")
    )


class TestNeeded:
    @pytest.mark.parametrize("lines", [1, 7, 50_000])
    @pytest.mark.parametrize("wide", [5, 300])
    def test_rows_of_a_text_file(self, lines, wide, tmp_path):
        """Not more than there are, though the lines at its beginning are short."""
        rng = np.random.default_rng(lines + wide)
        path = tmp_path / "a.inter"
        widths = np.sort(rng.integers(1, wide, size=lines))
        path.write_text("x:token\n" + "".join("x" * n + "\n" for n in widths))
        assert 0.4 * lines - 1 <= n_rows(path) <= 1.01 * lines + 1

    def test_rows_of_a_file_of_columns(self, tmp_path):
        pq.write_table(pa.table({"a": np.arange(1234)}), tmp_path / "a.inter.parquet")
        assert n_rows(tmp_path / "a.inter.parquet") == 1234

    def test_an_empty_file_needs_nothing(self, tmp_path):
        (tmp_path / "a.inter").write_text("")
        assert n_rows(tmp_path / "a.inter") == 0

    def test_bytes_of_the_columns_that_are_wanted(self, tiny_keys, tiny_path):
        """Less than what is read, so nothing is refused that could be read."""
        whole = make_config("Base", "tiny", overrides=tiny_keys)
        some = {"inter": ["user_id", "item_id", "rating"]}
        few = make_config("Base", "tiny", overrides={**tiny_keys, "load_col": some})
        files = {"inter": [tiny_path / "tiny.inter"]}
        rows = n_rows(files["inter"][0])
        assert needs(whole, files, FORM) == 2 * rows * (4 + 4 + 8 + 8 + 4)
        assert needs(few, files, FORM) == 2 * rows * (4 + 4 + 8)
        files["item"] = [tiny_path / "tiny.item"]
        items = n_rows(files["item"][0])
        extra = 2 * items * (4 + 4 + 4 + 4 + 8)
        assert needs(whole, files, FORM) == 2 * rows * (4 + 4 + 8 + 8 + 4) + extra


class TestRefused:
    def test_before_anything_is_read(self, load, limit, monkeypatch, tmp_path):
        limit(1_000)
        monkeypatch.setattr(Build, "columns", lambda self: pytest.fail("it was read"))
        with pytest.raises(UserError) as error:
            load()
        told = str(error.value)
        assert re.search(
            r"tiny.inter' need [\d.]+ kB of memory at least, and 1.0 kB are free \(on this machi",
            told,
        )
        assert "leave columns out with load_col, take a sample of the users" in told
        assert "\n" not in told and not list((tmp_path / "cache" / "data").glob("[0-9a-f]*.npy"))

    def test_what_is_parsed_already_needs_nothing(self, load, limit):
        load()
        limit(1_000)
        assert load().from_cache

    def test_what_fits_is_loaded(self, load, limit):
        limit(10_000_000)
        assert load().n_rows

    def test_nobody_tells_what_is_free(self, load, monkeypatch):
        monkeypatch.setattr(_memory, "free_memory", lambda: None)
        assert load().n_rows

    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (MemoryError(), "there is not enough memory for the columns of "),
            (pa.ArrowMemoryError("malloc of size 64 failed"), "there is not enough memory for "),
            (pa.ArrowCapacityError("at most 2147483646 bytes"), "has more different texts than"),
        ],
    )
    def test_it_turns_out_too_little(self, load, monkeypatch, error, sentence):
        def fail(self):
            raise error

        monkeypatch.setattr(Build, "columns", fail)
        with pytest.raises(UserError, match=sentence) as told:
            load()
        assert "load_col" in str(told.value) and "\n" not in str(told.value)

    def test_more_items_than_codes(self, load, monkeypatch, tmp_path):
        """Codes are int32; the limit here is the number of items of the data, and one less."""
        monkeypatch.setattr(_memory, "MOST_CODES", 60)  # users
        assert load().user_num == 61
        monkeypatch.setattr(_memory, "MOST_CODES", 59)
        with pytest.raises(UserError, match=r"'user_id' of .* has 60 different values, and"):
            load(cache_dir=str(tmp_path / "another"))


class TestFree:
    @pytest.fixture
    def machine(self, tmp_path):
        """``machine({"path": text})``: a root folder with these files."""

        def write(files):
            for name, text in files.items():
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return tmp_path

        return write

    MEMINFO = f"MemTotal: 9 kB\nMemAvailable: {8 * GB // 1024} kB\nSwapFree: {GB // 1024} kB\n"

    def test_nothing_is_known(self, tmp_path):
        assert free_memory(tmp_path) is None

    def test_of_the_machine(self, machine):
        root = machine({"proc/meminfo": self.MEMINFO, "proc/self/cgroup": "0::/\n"})
        assert free_memory(root) == Free(9 * GB, "on this machine")

    @pytest.mark.parametrize("inside", [True, False])
    def test_of_a_container(self, inside, machine):
        """Where its tree begins at its own group, or at the machine's; files kept are free."""
        place = "sys/fs/cgroup/" + ("" if inside else "jobs/7/")
        root = machine({
            "proc/meminfo": self.MEMINFO, "proc/self/cgroup": "0::/jobs/7\n",
            f"{place}memory.max": str(4 * GB), f"{place}memory.current": str(3 * GB),
            f"{place}memory.stat": f"anon 5\ninactive_file {GB}\nactive_file {GB // 2}\n",
        })  # fmt: skip
        assert free_memory(root).bytes == 4 * GB - 3 * GB // 2
        assert "control group" in free_memory(root).limit

    def test_the_narrowest_group_around_counts(self, machine):
        root = machine({
            "proc/meminfo": self.MEMINFO, "proc/self/cgroup": "0::/jobs/7\n",
            "sys/fs/cgroup/jobs/7/memory.max": "max\n",
            "sys/fs/cgroup/jobs/7/memory.current": str(GB),
            "sys/fs/cgroup/jobs/memory.max": str(2 * GB),
            "sys/fs/cgroup/jobs/memory.current": str(3 * GB),
        })  # fmt: skip
        assert free_memory(root).bytes == 0

    def test_of_the_first_version(self, machine):
        root = machine({
            "proc/meminfo": self.MEMINFO,
            "proc/self/cgroup": "5:cpu:/a\n4:memory:/a\n0::/\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": str(3 * GB),
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": str(2 * GB),
            "sys/fs/cgroup/memory/a/memory.stat": f"inactive_file 1\ntotal_inactive_file {GB}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": str(2 * GB),
        })  # fmt: skip
        assert free_memory(root).bytes == 2 * GB

    def test_of_this_machine(self):
        found = free_memory()
        assert found is None or found.bytes > 0
