"""The suite of every method: new items, from cold to warm."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml

from recbole_cold.config import keys_of, read_yaml
from recbole_cold.experiment.building import keys_in_source
from recbole_cold.keys import BLOCKS, declared, names
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.registry import yaml_of
from recbole_cold.testing._bench import SEED, Bench, changed, starts_with
from recbole_cold.testing._edits import permute_new, scramble_later_rows
from recbole_cold.testing._suite import CLOSE, FIXED_BUFFERS, Suite


# ------------------------------------------------------------------------------- yaml and sources
def own_classes(method: type) -> list[type]:
    """The method and the classes it extends, up to what all methods share."""
    return [
        cls
        for cls in method.__mro__
        if issubclass(cls, ColdStartRecommender) and cls is not ColdStartRecommender
    ]


def keys_without_comment(path: Path) -> list[str]:
    """Keys of a yaml file, blocks such as ``released`` aside, with no comment beside them."""
    text = path.read_text(encoding="utf-8")
    tree = yaml.compose(text)
    lines, bare = text.splitlines(), []
    for key, value in tree.value if tree is not None else ():
        first, last = key.start_mark.line, max(key.start_mark.line, value.end_mark.line - 1)
        beside = [lines[first], *lines[first + 1 : last + 1]]
        beside[0] = beside[0][key.end_mark.column :]
        if key.value not in BLOCKS and not any(" #" in b for b in beside):
            bare.append(key.value)
    return bare


# ------------------------------------------------------------------------------- the suite
class MethodConformance(Suite):
    """Tests of what every method promises: inherit it and name the method.

    Attributes:
        method: the class.
        options: configuration keys for all tests, the method's own or others.
        trains: names (or prefixes: ``generator`` means ``generator.*``) of the parameters that
            ``learn`` moves; each of them must move, nothing else may. ``None``: whatever the
            method owns.
        trains_warm: those that a warm phase may move beside the new items' own rows; ``None``: the
            same as ``trains``.
        trains_backbone: whether ``learn`` moves the backbone by design.
        tunes_backbone: whether warm phases do, and with it what old items are served with.
        equivariant: whether the cold rows depend on an item's content alone. Say ``False`` where
            the start is drawn at random per item, or read from untrained rows.
        serves_rows: whether ``predict`` is the backbone's forward pass with the served rows.
        backbones: on which the method runs; the first one serves tests that need only one. A method
            with a network of its own runs on that alone: ``learn`` trains it, and no row is served.
    """

    tunes_backbone: ClassVar[bool] = False
    equivariant: ClassVar[bool] = True
    serves_rows: ClassVar[bool] = True
    backbones: ClassVar[Sequence[str]] = ("DeepFM", "DCN", "FM", "PNN", "WideDeep", "AutoInt")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if getattr(getattr(cls, "method", None), "network", None) is not None:
            cls.serves_rows = False

    # ---------------------------------------------------------------- on every backbone
    def test_a_warm_phase_moves_new_items_only(self, bench: Bench, backbone: str):
        """Rows of other items, the backbone and what is not declared stay bit for bit."""
        if self.tunes_backbone:
            pytest.skip("this method fine-tunes all of its network by design (tunes_backbone)")
        run = bench.kept(backbone)
        new = run.method.new_index >= 0
        stages = ["learn", *list(run.scores)[1:]]
        for before, after in itertools.pairwise(stages):
            moved = changed(run.states[before], run.states[after])
            inside = self._backbone_changes(run.method, moved)
            assert not inside, f"{after} moved {sorted(inside)} of the backbone"
            may_move = self._may_move(run.method, warm=True)
            stray = {n for n in moved & self._owned(run.method) if not starts_with(n, may_move)}
            assert not stray, f"{after} moved {sorted(stray)}, which is not declared"
            fixed = moved & set(FIXED_BUFFERS)
            assert not fixed, f"{after} changed {sorted(fixed)}, which belongs to the base class"
            same = torch.equal(run.served[before][~new], run.served[after][~new])
            assert same, f"{after} changed what items that are not new are served with"

    def test_the_tables_own_rows_give_the_backbones_own_logits(self, bench: Bench, backbone: str):
        """With ``cold_vectors`` answering the table's rows, cold logits are the plain model's."""
        if not self.serves_rows:
            pytest.skip("this method scores by more than the served rows (serves_rows)")
        method, _ = bench.build(backbone)
        method.load_state_dict(bench.kept(backbone).method.state_dict())
        method.restored()
        table, weights = method.backbone.id_table(), method.backbone.first_order_rows()
        method.cold_vectors = lambda: table.detach()[method.new_ids].clone()
        method.start_new_items()
        if weights is not None:
            method.new_first_order.data.copy_(weights.detach()[method.new_ids])
        method.set_mode("evaluate")
        batch = method.rows.batch(torch.arange(len(method.train_index), device=method.device))
        with torch.no_grad():
            assert torch.equal(method.logits(batch), method.backbone.logits(batch))

    # ---------------------------------------------------------------- what cold rows depend on
    def test_cold_rows_go_with_their_items(self, bench: Bench):
        """Exchange the codes of new items: their cold rows are exchanged, and nothing else."""
        backbone = self.backbones[0]
        config = bench.config(backbone)
        if not self.equivariant or config["new_item_init"] == "random":
            pytest.skip("the cold rows of this method depend on the code by design (equivariant)")
        method = bench.kept(backbone).method
        new = method.new_ids.cpu().numpy()
        code_of = np.arange(method.n_ids)
        code_of[new] = np.random.default_rng(3).permutation(new)
        permuted = bench.cold(backbone, lambda dataset: permute_new(dataset, config, code_of))
        place = np.searchsorted(new, code_of[new])
        plain = bench.kept(backbone).served["learn"][method.new_ids]
        torch.testing.assert_close(permuted[place], plain, **CLOSE)

    def test_cold_rows_know_nothing_of_later_rows(self, bench: Bench):
        """Change labels, partners and counts of all rows outside ``train``: equal bit for bit."""
        backbone = self.backbones[0]
        config = bench.config(backbone)
        if config["count_source"] == "full":
            pytest.skip("count_source: full counts all rows by definition")
        scrambled = bench.cold(backbone, lambda dataset: scramble_later_rows(dataset, config))
        run = bench.kept(backbone)
        plain = run.served["learn"][run.method.new_ids]
        assert torch.equal(scrambled, plain), "warm-up or test rows reach the cold rows"

    # ---------------------------------------------------------------- repeatable
    def test_other_seed_other_numbers(self, bench: Bench):
        first, other = bench.kept(self.backbones[0]), bench.run(self.backbones[0], SEED + 1)
        for phase, scores in first.scores.items():
            assert not torch.equal(scores, other.scores[phase]), f"{phase} ignores the seed"

    # ---------------------------------------------------------------- configuration
    def test_yaml_keys_are_the_keys_that_are_read(self, bench: Bench):
        """No key without effect, no read of a key that has no default."""
        config = bench.config(self.backbones[0])
        known = {*config.final_config_dict, *names(in_yaml=False)}
        stray = declared(self.method).keys() - known
        assert not stray, f"keys declares {sorted(stray)}, which no yaml gives a default"
        for cls in own_classes(self.method):
            path = yaml_of(cls)
            for block in BLOCKS if path is not None else ():
                keys = read_yaml(path).get(block) or {}
                if block == "datasets":
                    several = [*keys.values(), *(v.get("released", {}) for v in keys.values())]
                    keys = {key for values in several for key in values} - {"released"}
                stray = set(keys) - known
                assert not stray, f"{block} of {path.name} has {sorted(stray)}, unknown keys"
        in_source = {key for cls in own_classes(self.method) for key in keys_in_source(cls)}
        unknown = in_source - known
        assert not unknown, f"{sorted(unknown)} is read, but has no default in a yaml"
        reads = bench.kept(self.backbones[0]).method.config.reads
        # RecBole's models and loader also read keys that have no default; those are ignored.
        modules = {cls.__module__ for cls in own_classes(self.method)}
        unknown = {key for key, readers in reads.items() if readers & modules} - known
        assert not unknown, f"{sorted(unknown)} is read, but has no default in a yaml"
        general = bench.config(self.backbones[0], method=ColdStartRecommender)
        used = reads.keys() | in_source
        unread = keys_of(self.method) - {*general.final_config_dict, *used}
        assert not unread, f"the yaml has {sorted(unread)}, which nobody reads"

    def test_every_yaml_key_has_a_comment(self):
        """Its meaning is a comment on the line of the key."""
        for cls in own_classes(self.method):
            path = yaml_of(cls)
            if path is not None:
                bare = keys_without_comment(path)
                assert not bare, f"{path.name}: no comment beside {', '.join(bare)}"
