"""Resume points leave out a backbone that did not move, and a run needs no cache to go on."""

import errno
import shutil

import pytest
import torch

from recbole_cold import store
from recbole_cold.config import make_config
from recbole_cold.data.phases import run_phases
from recbole_cold.errors import UserError
from recbole_cold.experiment.data_store import run_data
from recbole_cold.store import load_state
from recbole_cold.training.backbone_cache import BackboneCache
from recbole_cold.training.kept_backbone import beside, digests_of
from recbole_cold.training.trainer import Trainer


@pytest.fixture(scope="module")
def datasets():
    return {}


@pytest.fixture
def build(tiny_keys, datasets):
    def make(method="CVAR", **keys):
        small = {"embedding_size": 4, "train_batch_size": 64, "show_progress": False, "seed": 5}
        config = make_config(method, "tiny", "DeepFM", overrides={**tiny_keys, **small, **keys})
        if "tiny" not in datasets:
            datasets["tiny"] = run_data(config)
        made = config.method_class(config, datasets["tiny"])
        made.dataset = datasets["tiny"]
        return made

    return make


@pytest.fixture
def cache(tmp_path):
    return BackboneCache(tmp_path / "cache", lambda _method, seed: f"key-{seed}")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "state" / "seed-5.pt"


@pytest.fixture
def trainer(build, cache, path):
    """``trainer()``: one for the same method, seed, cache and file, as a new process makes it."""
    return lambda method="CVAR", **keys: Trainer(build(method, **keys), 5, path, cache)


def finished(trainer):
    split = trainer.method.dataset.split
    return run_phases(trainer, split, trainer.evaluate), trainer.method.state_dict()


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def names_in(path):
    return {name for name in load_state(path)["method"] if name.startswith("backbone.")}


# ------------------------------------------------------------------------- what a point holds
def test_it_lies_once_beside_the_points(trainer, cache, path):
    """From the end of pre-training on, whether it was trained or read; its bytes are the cache's"""
    for _ in ("trained", "read"):
        one = trainer()
        one.pretrain()
        assert names_in(path) == set()
        one.learn()
        assert names_in(path) == set()
        assert beside(path).stat().st_ino == (cache.folder / "key-5.pt").stat().st_ino
        assert sorted(file.name for file in path.parent.iterdir()) == ["seed-5.backbone", path.name]
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("trace", [True, False])
def test_what_moved_is_in_the_point(trainer, path, trace):
    """Also what moved past autograd, which no counter of torch's tells."""
    one = trainer()
    one.pretrain()
    state = one.method.backbone.state_dict()
    name = max(state, key=lambda name: state[name].numel())
    with torch.no_grad():
        (state[name] if trace else state[name].data)[-1].reshape(-1)[-1:].add_(1.0)
    one.learn()
    assert names_in(path) == {f"backbone.{name}"}
    again = trainer()
    assert again.resume()
    assert same(again.method.state_dict(), one.method.state_dict())


def test_without_a_cache_the_point_has_all_of_it(build, path, tmp_path):
    """No cache, or one that cannot be written."""
    (tmp_path / "file").write_text("")
    unwritable = BackboneCache(tmp_path / "file" / "cache", lambda *_: "key")
    for cache in (None, unwritable):
        one = Trainer(build(), 5, path, cache)
        one.pretrain(), one.learn()
        names = {f"backbone.{name}" for name in one.method.backbone.state_dict()}
        assert names_in(path) == names and not beside(path).exists()


def test_what_a_tensor_is_known_by():
    """Every bit, type and shape; how it lies in memory is none of it."""
    one = torch.arange(6.0)
    states = [one, one.reshape(2, 3), one.view(torch.int32), one + 1, one[:5], -one]
    states += [torch.tensor(1.0), torch.tensor([1.0]), torch.zeros(1), -torch.zeros(1),
               torch.zeros(0), torch.tensor(True), torch.tensor(1)]  # fmt: skip
    digests = [digests_of({"x": state})["x"] for state in states]
    assert len(set(digests)) == len(states)
    apart = torch.stack([one, one], dim=1)[:, 0]
    assert not apart.is_contiguous() and digests_of({"x": apart}) == digests_of({"x": one})
    others = {"sparse": torch.eye(2).to_sparse(), "text": "x", "none": None}
    assert digests_of(others) == {}


# ------------------------------------------------------------------------- reading it again
class TestContinued:
    """With the parameters and results of a run that nobody stopped, whatever is lost meanwhile."""

    @pytest.fixture
    def unbroken(self, build, tmp_path):
        cache = BackboneCache(tmp_path / "other", lambda _method, seed: f"key-{seed}")
        return finished(Trainer(build(), 5, cache=cache))

    @staticmethod
    def equal(found, wanted):
        return found[0] == wanted[0] and same(found[1], wanted[1])

    @pytest.mark.parametrize("lost", ["nothing", "cache", "beside", "damaged"])
    def test_from_the_point(self, trainer, unbroken, cache, path, lost):
        one = trainer()
        one.pretrain(), one.learn()
        if lost == "cache":
            shutil.rmtree(cache.folder)
        elif lost == "beside":
            beside(path).unlink()
        elif lost == "damaged":  # the cache's file as well, if they are one
            content = bytearray(beside(path).read_bytes())
            content[len(content) // 2] ^= 1
            beside(path).unlink()
            beside(path).write_bytes(content)
        again = trainer()
        assert again.resume()
        assert [stage["name"] for stage in again.journal["stages"]] == ["pretrain", "learn"]
        assert self.equal(finished(again), unbroken)
        if lost != "cache":
            assert beside(path).stat().st_ino == (cache.folder / "key-5.pt").stat().st_ino
        assert names_in(path) == set()

    @pytest.mark.parametrize("other", [False, True])
    def test_from_the_beginning_where_it_is_in_neither(
        self, trainer, unbroken, cache, path, caplog, other
    ):
        one = trainer()
        one.pretrain(), one.learn()
        beside(path).unlink()
        if other:  # another backbone under its key
            shutil.rmtree(cache.folder)
            Trainer(one.method, 5, cache=cache).pretrain()
            with torch.no_grad():
                one.method.backbone.id_table().add_(1.0)
            cache.save(one.method, 5, {"steps": 1, "rows": 1})
            shutil.copy(cache.folder / "key-5.pt", beside(path))
        shutil.rmtree(cache.folder)
        again = trainer()
        assert again.resume() is False
        (told,) = caplog.messages
        assert "lost or damaged" in told and str(beside(path)) in told
        assert told.endswith("this seed starts again from the beginning")
        assert self.equal(finished(again), unbroken)

    def test_on_another_file_system(self, trainer, unbroken, cache, path, monkeypatch):
        def refused(*_args):
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(store.os, "link", refused)
        one = trainer()
        one.pretrain(), one.learn()
        assert beside(path).read_bytes() == (cache.folder / "key-5.pt").read_bytes()
        shutil.rmtree(cache.folder)
        again = trainer()
        assert again.resume()
        assert self.equal(finished(again), unbroken)

    @pytest.mark.parametrize("part", [5, {}, {"key": "key-5"}, {"key": "key-5", "digests": 5}])
    def test_nonsense_is_one_sentence(self, trainer, path, part):
        one = trainer()
        one.pretrain()
        store.save_state(path, {**load_state(path), "backbone": part})
        with pytest.raises(UserError, match="was written by other code or for other data"):
            trainer().resume()


# ------------------------------------------------------------------------- what it costs
@pytest.mark.parametrize("links", [True, False])
def test_points_and_their_bytes_are_counted(trainer, path, monkeypatch, links):
    """Those of earlier processes with them; a second name has no bytes, a copy has them all."""
    sizes = []

    def noted(where, state):
        store.save_state(where, state)
        sizes.append(where.stat().st_size)

    def refused(*_args):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("recbole_cold.training.trainer.save_state", noted)
    if not links:
        monkeypatch.setattr(store.os, "link", refused)
    one = trainer(checkpoint_seconds=0)
    one.pretrain()
    copied = 0 if links else beside(path).stat().st_size
    assert one.journal["points"] == {"count": len(sizes), "bytes": sum(sizes) + copied}
    again = trainer()
    assert again.resume() and again.journal["points"] == one.journal["points"]
    again.learn()
    assert again.journal["points"] == {"count": len(sizes), "bytes": sum(sizes) + copied}
