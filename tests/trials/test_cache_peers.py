"""What a machine lacks in its cache comes from the driver's: whole, checked, and once."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from recbole_cold import cache_peers
from recbole_cold.cache_peers import PeerError, asking, fetch, hand_over, turn, write_copy
from recbole_cold.data import _cache
from recbole_cold.data._build import Build
from recbole_cold.data.frames import from_frames
from recbole_cold.errors import Interrupted
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.locks import locked
from recbole_cold.training import backbone_cache
from recbole_cold.trials import cache_offer, ray_pool
from recbole_cold.trials import trial as trials
from recbole_cold.trials.cache_offer import Offer
from recbole_cold.trials.ray_pool import run_all
from recbole_cold.trials.trial import TrialSpec, run_trial
from recbole_cold.trials.worker import outcome_of

ENTRY = "data/" + "0" * 32


class FolderPeer:
    """Another folder of this machine, which stands for the cache of another machine."""

    def __init__(self, root):
        self.root, self.asked, self.sent = root, [], []

    def sees(self, name):
        return (self.root / name).exists()

    def listing(self, entry):
        self.asked.append(entry)
        return cache_peers.listing(str(self.root), entry)

    def pieces(self, entry, name, size):
        self.sent.append((entry, name))
        for start in range(0, size, cache_peers.PIECE):
            yield cache_peers.piece(str(self.root), entry, name, start)

    def turn(self, lock, stop):
        return locked(self.root / lock, stop)

    def take(self, entry, root):
        theirs = FolderPeer(root)
        write_copy(theirs, entry, theirs.listing(entry), self.root / entry)


class Cut(FolderPeer):
    """Is lost after the first piece."""

    def pieces(self, entry, name, size):
        yield next(super().pieces(entry, name, size))
        raise PeerError("it was switched off")


class Altered(FolderPeer):
    """Sends another bit."""

    def pieces(self, entry, name, size):
        for part in super().pieces(entry, name, size):
            yield bytes([part[0] ^ 1]) + part[1:]


class Huge(FolderPeer):
    """Has an entry for which no disk has room."""

    def listing(self, entry):
        found = super().listing(entry)
        return found and {name: (2**62, digest) for name, (_, digest) in found.items()}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(cache_peers, "PIECE", 1000)


@pytest.fixture
def roots(tmp_path):
    """The driver's cache folder, with one entry of two files, and ours, which is not there."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    (theirs / ENTRY).mkdir(parents=True)
    (theirs / ENTRY / "000.npy").write_bytes(bytes(range(256)) * 20)
    (theirs / ENTRY / "meta.json").write_bytes(b"{}")
    return theirs, ours


def content(folder):
    """Path below ``folder`` -> bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


class TestFetch:
    def test_all_of_an_entry_comes_and_nothing_else(self, roots):
        theirs, ours = roots
        with asking(FolderPeer(theirs), ours) as now:
            assert fetch(ours / ENTRY)
        assert content(ours) == content(theirs)
        assert now.fetched == [ENTRY]
        assert now.failed == {}

    @pytest.mark.parametrize(
        ("peer", "why"),
        [(Cut, "it was switched off"), (Altered, "the digest of '000.npy' differs"),
         (Huge, "bytes are needed here")],
    )  # fmt: skip
    def test_what_does_not_come_whole_leaves_nothing_and_is_said_once(
        self, roots, caplog, peer, why
    ):
        theirs, ours = roots
        with asking(peer(theirs), ours) as now:
            assert not fetch(ours / ENTRY)
            assert not fetch(ours / ENTRY)
        assert content(ours) == {}
        assert [path.name for path in (ours / "data").iterdir()] == []
        (line,) = (record.getMessage() for record in caplog.records)
        assert f"'{ENTRY}' of the cache was not fetched from the driver's machine" in line
        assert why in line
        assert [*now.failed.values()] == [line]

    def test_a_file_that_is_altered_does_not_replace_one(self, roots):
        theirs, ours = roots
        (theirs / "backbones").mkdir()
        (theirs / "backbones" / "a.pt").write_bytes(b"theirs")
        (ours / "backbones").mkdir(parents=True)
        (ours / "backbones" / "a.pt").write_bytes(b"ours")
        peer = Altered(theirs)
        with pytest.raises(PeerError):
            write_copy(peer, "backbones/a.pt", peer.listing("backbones/a.pt"),
                       ours / "backbones" / "a.pt")  # fmt: skip
        assert content(ours) == {"backbones/a.pt": b"ours"}

    def test_a_kill_in_the_middle_leaves_what_nobody_reads_and_a_prune_knows(self, roots):
        theirs, ours = roots
        code = (
            "import os, signal, sys; from pathlib import Path\n"
            "from recbole_cold import cache_peers\n"
            "theirs, ours, entry = sys.argv[1:]\n"
            "class Peer:\n"
            "    def pieces(self, entry, name, size):\n"
            "        yield cache_peers.piece(theirs, entry, name, 0)\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "files = cache_peers.listing(theirs, entry)\n"
            "cache_peers.write_copy(Peer(), entry, files, Path(ours, entry))\n"
        )
        words = [sys.executable, "-c", code, str(theirs), str(ours), ENTRY]
        assert subprocess.run(words).returncode == -signal.SIGKILL
        assert not (ours / ENTRY).exists()
        (left,) = (ours / "data").iterdir()
        assert [(entry.kind, entry.path) for entry in _cache.entries(ours)] == [("leftovers", left)]
        with asking(FolderPeer(theirs), ours):
            assert fetch(ours / ENTRY)

    def test_what_neither_has_is_no_fault(self, roots, caplog):
        theirs, ours = roots
        with asking(FolderPeer(theirs), ours) as now:
            assert not fetch(ours / "data" / ("1" * 32))
        assert now.failed == {}
        assert caplog.records == []

    def test_several_processes_of_a_machine_fetch_it_once(self, roots):
        theirs, ours = roots

        class Slow(FolderPeer):
            def listing(self, entry):
                time.sleep(0.1)
                return super().listing(entry)

        peer, all_here = Slow(theirs), threading.Barrier(4)

        def go(_):
            with asking(peer, ours):
                all_here.wait()
                return fetch(ours / ENTRY)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(go, range(4))) == [True] * 4
        assert sorted(peer.sent) == [(ENTRY, "000.npy"), (ENTRY, "meta.json")]

    def test_a_folder_that_both_see_is_not_asked_for(self, roots, tmp_path):
        """Under another path, too; and a lock in it is not waited for twice."""
        theirs, _ = roots
        link = tmp_path / "the same"
        link.symlink_to(theirs)
        peer, missing = FolderPeer(theirs), link / "backbones" / "b.pt"
        with asking(peer, link):
            assert not fetch(missing)
            lock = missing.with_suffix(".lock")
            with locked(lock), turn(missing, lock, lambda: True):
                pass
        assert peer.asked == []
        assert content(theirs).keys() == {f"{ENTRY}/000.npy", f"{ENTRY}/meta.json"}

    def test_outside_of_a_trial_nobody_is_asked(self, roots):
        assert not fetch(roots[1] / ENTRY)
        assert not roots[1].exists()


class TestTurn:
    @pytest.fixture
    def places(self, roots):
        """The file of a backbone, and its lock, in the driver's folder and in ours."""
        return [(root / "backbones" / "b.pt", root / "backbones" / "b.lock") for root in roots]

    def test_what_another_machine_makes_meanwhile_is_waited_for(self, roots, places):
        (made, lock), (path, our_lock) = places
        waits = threading.Event()

        def stop():
            waits.set()
            return False

        def go():
            with asking(FolderPeer(roots[0]), roots[1]), turn(path, our_lock, stop):
                return path.read_bytes()

        with ThreadPoolExecutor(1) as pool:
            with locked(lock):
                answer = pool.submit(go)
                assert waits.wait(120)
                assert not path.exists()
                made.write_bytes(b"made")
            assert answer.result(120) == b"made"

    def test_who_makes_it_holds_the_lock_there_and_hands_it_over(self, roots, places):
        (theirs, lock), (path, our_lock) = places
        with asking(FolderPeer(roots[0]), roots[1]):
            with turn(path, our_lock, lambda: False):
                with pytest.raises(Interrupted), locked(lock, lambda: True):
                    pass
                path.parent.mkdir(parents=True)
                path.write_bytes(b"made")
                hand_over(path)
            assert theirs.read_bytes() == b"made"
            assert not lock.exists()

    def test_a_stop_ends_the_waiting(self, roots, places):
        (_, lock), (path, our_lock) = places
        with (
            locked(lock),
            asking(FolderPeer(roots[0]), roots[1]),
            pytest.raises(Interrupted),
            turn(path, our_lock, lambda: True),
        ):
            pass


# ------------------------------------------------------------------------------- whole trials
@pytest.fixture
def spec(tiny_path):
    def make(root, model="MWUF", **overrides):
        keys = {
            "data_path": str(tiny_path.parent), "threshold": {"rating": 4}, "cold_threshold": 30,
            "warm_size": 3, "train_batch_size": 64, "embedding_size": 4, "fit_on": "valid",
            "show_progress": False, **overrides,
        }  # fmt: skip
        keys |= {"cache_dir": str(root)} if root else {}
        return TrialSpec(model, "tiny", "FM", (), keys, 5)

    return make


@pytest.fixture
def parses(monkeypatch):
    """Calls of the parser, in a process that keeps no data set in memory."""
    seen, columns = [], Build.columns

    def counted(build):
        seen.append(build)
        return columns(build)

    monkeypatch.setattr(Build, "columns", counted)
    return seen


@pytest.fixture
def alone(monkeypatch):
    """``alone(spec)``: its document, as in a process of its own."""

    def run(spec):
        monkeypatch.setattr(trials, "_STORE", DataStore())
        return run_trial(spec)

    return run


def pretraining(document):
    return document["runs"][0]["seeds"][0]["stages"][0]


class TestTrials:
    def test_a_second_machine_parses_and_pretrains_nothing(
        self, spec, tmp_path, parses, alone, numbers
    ):
        first = alone(spec(tmp_path / "theirs"))
        assert len(parses) == 1
        peer = FolderPeer(tmp_path / "theirs")
        with asking(peer, tmp_path / "ours") as now:
            second = alone(spec(tmp_path / "ours"))
        assert len(parses) == 1
        assert pretraining(second)["cached"]
        assert numbers(second) == numbers(first)
        data, backbone = now.fetched
        assert (data.split("/")[0], backbone.split("/")[0]) == ("data", "backbones")
        with asking(peer, tmp_path / "ours") as now:
            third = alone(spec(tmp_path / "ours"))
        assert now.fetched == []
        assert numbers(third) == numbers(first)

    @pytest.mark.parametrize("peer", [FolderPeer, Cut, Altered])
    def test_without_it_a_machine_parses_and_pretrains_as_before(
        self, spec, tmp_path, parses, alone, numbers, peer
    ):
        """The driver has nothing, or nothing comes through."""
        first = alone(spec(tmp_path / "theirs"))
        if peer is FolderPeer:
            shutil.rmtree(tmp_path / "theirs")
        with asking(peer(tmp_path / "theirs"), tmp_path / "ours") as now:
            second = alone(spec(tmp_path / "ours"))
        assert len(parses) == 2
        assert not pretraining(second)["cached"]
        assert numbers(second) == numbers(first)
        assert len(now.failed) == (0 if peer is FolderPeer else 2)
        kinds = {entry.kind for each in (_cache, backbone_cache) for entry in
                 each.entries(tmp_path / "ours")} - {"file hashes"}  # fmt: skip
        assert kinds == {"parsed data", "backbones"}

    def test_a_backbone_made_here_is_there_for_the_next_machine(
        self, spec, tmp_path, alone, numbers
    ):
        with asking(FolderPeer(tmp_path / "theirs"), tmp_path / "ours"):
            first = alone(spec(tmp_path / "ours"))
        with asking(FolderPeer(tmp_path / "theirs"), tmp_path / "third"):
            second = alone(spec(tmp_path / "third"))
        assert (pretraining(first)["cached"], pretraining(second)["cached"]) == (False, True)
        assert numbers(first) == numbers(second)


class TestOffer:
    @pytest.fixture
    def at(self, monkeypatch, tmp_path):
        """``at(node)``: this process is on that node of Ray, and has a cache folder there."""

        def go(node):
            monkeypatch.setattr(cache_offer, "node_here", lambda: node)
            monkeypatch.setenv("RECBOLE_COLD_CACHE", str(tmp_path / node))
            monkeypatch.setattr(cache_offer, "RayPeer", lambda node, root: FolderPeer(Path(root)))

        return go

    def test_trials_of_the_drivers_machine_have_its_folder(self, at, spec, tmp_path):
        at("driver")
        offer = Offer(str(tmp_path / "where the driver was told"), "driver")
        with offer.accepted(spec(None)) as (here, asked):
            assert here.overrides["cache_dir"] == offer.root
        assert asked is None

    @pytest.mark.parametrize("named", [None, "named"])
    def test_others_have_their_own_or_the_one_that_was_named(self, at, spec, tmp_path, named):
        at("other")
        root = named and tmp_path / named
        with Offer(str(tmp_path / "driver"), "driver").accepted(spec(root)) as (here, asked):
            assert here == spec(root)
            assert asked.root == (root or tmp_path / "other")
            assert asked.peer.root == (root or tmp_path / "driver")

    def test_a_trial_says_what_came(self, at, spec, tmp_path, monkeypatch, numbers):
        at("driver")
        offer = Offer(str(tmp_path / "driver"), "driver")
        documents = []
        for node in ("driver", "other"):
            at(node)
            monkeypatch.setattr(trials, "_STORE", DataStore())
            documents.append(json.loads(outcome_of(spec(None), 0, offer=offer)["document"]))
        first, second = documents
        assert "fetched" not in first["trial"]
        assert len(second["trial"]["fetched"]) == 2
        assert second["trial"]["not_fetched"] == []
        assert numbers(first) == numbers(second)

    def test_frames_come_with_the_trial(self, at, spec, tmp_path):
        frames = from_frames(
            pd.DataFrame({"user_id": [1, 2], "item_id": [3, 4], "label": [0, 1]}), name="ours"
        )
        driver = tmp_path / "driver"
        path = frames.write(driver).parent
        at("other")
        before = content(path)
        shutil.move(path, tmp_path / "hidden")  # this machine is not the driver's

        class Hidden(FolderPeer):
            def listing(self, entry):
                return cache_peers.listing(str(tmp_path), "hidden")

            def pieces(self, entry, name, size):
                return FolderPeer(tmp_path).pieces("hidden", name, size)

        with asking(Hidden(driver), tmp_path / "other"):
            here = cache_offer.with_frames(
                spec(None, data_path=str(path)), driver, tmp_path / "other"
            )
        assert content(Path(here.overrides["data_path"])) == before
        assert here.overrides["data_path"] == str(tmp_path / "other" / "frames" / path.name)

    def test_data_that_are_no_frames_stay_where_they_are(self, spec, tmp_path):
        one = spec(None, data_path=str(tmp_path / "elsewhere"))
        assert cache_offer.with_frames(one, tmp_path, tmp_path / "other") == one

    def test_it_has_the_node_of_whoever_sends_it(self, monkeypatch):
        """A trainable is made before Ray runs."""
        offer = Offer("root")
        monkeypatch.setattr(cache_offer, "node_here", lambda: "driver")
        sent = pickle.dumps(offer)
        monkeypatch.setattr(cache_offer, "node_here", lambda: "other")
        assert pickle.loads(sent).node == "driver"
        assert pickle.loads(pickle.dumps(pickle.loads(sent))).node == "driver"

    def test_the_driver_says_once_what_did_not_come(self, caplog):
        done = []
        driver = ray_pool._driver_class()(
            [], lambda *words: done.append(words), None, None, None, lambda: False
        )
        for _ in range(2):
            driver._done("spec", None, {"trial": {"not_fetched": ["it was not fetched"]}})
        assert [record.getMessage() for record in caplog.records] == ["it was not fetched"]
        assert len(done) == 2


# ------------------------------------------------------------------------------- two nodes of Ray
COUNTING = """
import os, pathlib
from recbole_cold.data._build import Build
from recbole_cold.model._method import ColdStartRecommender

if not hasattr(Build, "counted"):
    columns = Build.counted = Build.columns

    def counted(self):
        with open(os.environ["PARSES"], "a") as file:
            file.write(f"{os.getpid()}\\n")
        return columns(self)

    Build.columns = counted


class Counting(ColdStartRecommender):
    pass
"""


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory):
    """A cluster of two nodes of this machine, one CPU each, with a cache folder each."""
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("nodes")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RAY_AUTH_MODE": "disabled", "PARSES": str(folder / "parses"),
            "RAY_CHDIR_TO_TRIAL_DIR": "0",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }.items():  # fmt: skip
            patch.setenv(name, value)
        ray_pool._set_environment("auto")
        cluster = Cluster(initialize_head=True, head_node_args={
            "num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8,
            "env_vars": {"RECBOLE_COLD_CACHE": str(folder / "head")}})  # fmt: skip
        try:
            cluster.add_node(num_cpus=1, object_store_memory=10**8,
                             env_vars={"RECBOLE_COLD_CACHE": str(folder / "other")})  # fmt: skip
            cluster.wait_for_nodes()
            yield cluster.address, folder
        finally:
            cluster.shutdown()


@pytest.mark.slow
class TestTwoNodes:
    @pytest.fixture
    def counting(self, tmp_path):
        (tmp_path / "counting.py").write_text(COUNTING)
        (tmp_path / "Counting.yaml").write_text("")
        return str(tmp_path / "counting.py")

    def test_the_second_node_parses_nothing(
        self, two_nodes, counting, spec, monkeypatch, tmp_path, numbers
    ):
        """Both nodes serve; each backbone is trained once, though both ask at the same time."""
        address, folder = two_nodes
        monkeypatch.setenv("RECBOLE_COLD_CACHE", str(tmp_path / "driver"))
        specs = [
            spec(None, counting, learning_rate=rate, pretrain_epochs=2, **keys)
            for rate in (0.01, 0.02, 0.03)
            for keys in ({}, {"warm_epochs": 2})
        ]
        expected = {}
        for each in specs:
            monkeypatch.setattr(trials, "_STORE", DataStore())
            expected[each.key] = numbers(run_trial(each))
        shutil.rmtree(tmp_path / "driver" / "backbones")
        (folder / "parses").unlink()
        done = {}
        run_all(
            specs, ray_address=address,
            on_done=lambda spec, document: done.update({spec.key: document}),
            on_failed=lambda spec, error: pytest.fail(error),
        )  # fmt: skip
        assert {key: numbers(document) for key, document in done.items()} == expected
        nodes = {document["trial"]["node"] for document in done.values()}
        assert len(nodes) == 2
        assert not (folder / "parses").exists()
        trained = [key for key, doc in done.items() if not pretraining(doc)["cached"]]
        assert len(trained) == 3
        assert len(list((tmp_path / "driver" / "backbones").glob("*.pt"))) == 3
        fetched = [doc["trial"]["fetched"] for doc in done.values() if "fetched" in doc["trial"]]
        assert sum(entry.startswith("data/") for entries in fetched for entry in entries) == 1
        assert all(doc["trial"].get("not_fetched", []) == [] for doc in done.values())

    def test_a_trainable_of_somebodys_script_fetches_as_well(
        self, two_nodes, counting, spec, monkeypatch, tmp_path
    ):
        import ray
        from ray import tune

        from recbole_cold import trainable

        address, folder = two_nodes
        monkeypatch.setenv("RECBOLE_COLD_CACHE", str(tmp_path / "driver"))
        shutil.rmtree(folder / "other", ignore_errors=True)
        shutil.rmtree(folder / "head", ignore_errors=True)
        keys = {**spec(None).overrides}
        monkeypatch.setattr(trials, "_STORE", DataStore())
        run_trial(spec(None, counting))
        (folder / "parses").unlink(missing_ok=True)
        one = trainable(counting, "tiny", backbone="FM", seed=5, **keys)  # Ray does not run yet
        ray.init(address=address)
        try:
            found = tune.Tuner(
                one, param_space={"seed": tune.grid_search([5, 6, 7, 8])},
                run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0),
            ).fit()  # fmt: skip
        finally:
            ray.shutdown()
        assert found.num_errors == 0
        assert not (folder / "parses").exists()
        assert os.listdir(tmp_path / "driver" / "data")
