"""Split layers of a frozen backbone: the plain model's logits and gradients, a vector at a time."""

import pytest
import torch
from recbole.model.layers import BaseFactorizationMachine
from torch import nn

from recbole_cold.backbone._base import ClickModel
from recbole_cold.backbone._modes import evaluating, set_apart
from recbole_cold.backbone._seam import Backbone
from recbole_cold.backbone._split import KINDS, Split, readers
from recbole_cold.backbone._vectors import AsCodes

ROWS = torch.arange(0, 400, 11)
FIRST = "mlp_layers.mlp_layers.1"
# The layers that are split; none where others read the fields' vectors, too.
WHO = {
    "DeepFM": {"fm", FIRST},
    "FM": {"fm"},
    "NFM": {"fm"},
    "WideDeep": {FIRST},
    "FNN": {FIRST},
    "DCN": set(),
    "xDeepFM": set(),
    "PNN": set(),
    "DSSM": set(),
}


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("kind", ["linear", "no bias", "one number", "each column"])
def test_a_split_layer_is_the_layer_with_gradients(kind, place):
    """What stands in the vector's place for the rest does not matter."""
    torch.manual_seed(place)
    layers = {
        "linear": nn.Linear(15, 7),
        "no bias": nn.Linear(15, 7, bias=False),
        "one number": BaseFactorizationMachine(reduce_sum=True),
        "each column": BaseFactorizationMachine(reduce_sum=False),
    }
    layer, fields = layers[kind].double(), torch.randn(6, 5, 3).double()
    rest = None

    def now(split):
        return split.rest(rest), vector

    split = KINDS[type(layer)](layer, place, 3, now)
    assert not list(split.parameters()) and not split.state_dict()
    for _ in range(2):
        vector = torch.randn(6, 3).double().requires_grad_()
        whole = torch.cat([fields[:, :place], vector[:, None], fields[:, place + 1 :]], dim=1)
        expected = layer(whole.flatten(1) if isinstance(layer, nn.Linear) else whole)
        rest = fields.clone()
        rest[:, place] = torch.randn(6, 3)
        found = split(torch.tensor(torch.nan))
        weights = torch.randn_like(expected)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        gradients = [
            torch.autograd.grad((out * weights).sum(), vector) for out in (found, expected)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        names = ["flat", "twice", "late", "reversed", "narrow", "unused"]
        self.layers = nn.ModuleDict({name: nn.Linear(6, 2) for name in names})
        self.layers["narrow"] = nn.Linear(2, 2)
        self.pairs, self.quiet = BaseFactorizationMachine(), nn.Dropout(0.5).eval()

    def forward(self, fields):
        flat = fields.view(4, -1)
        self.layers["flat"](self.quiet(flat))
        self.layers["twice"](flat), self.layers["twice"](flat + 1.0)
        self.layers["reversed"](fields.flip(1).flatten(1))
        self.layers["narrow"](fields)
        self.pairs(fields)
        fields.mul_(2.0)
        self.layers["late"](flat)


@torch.no_grad()
def test_who_is_seen_to_read_all_fields_as_they_are():
    toy, fields = Toy(), torch.randn(4, 3, 2)

    def run():
        toy(fields)
        return fields

    assert set(readers(toy, run)) == {"layers.flat", "pairs"}
    assert not any(layer._forward_pre_hooks for layer in toy.modules())


def outcome(backbone, batch, vector):
    leaf = vector.detach().requires_grad_()
    logits = backbone.logits(batch, leaf, torch.full_like(leaf[:, :1], 0.3))
    return [logits.detach(), *torch.autograd.grad(logits.square().sum(), leaf)]


def split_names(backbone):
    split = backbone._frozen.split
    parts = () if split is None else split.named_modules()
    return {name for name, part in parts if isinstance(part, Split)}


def assert_equal_to_plain(method, vectors=3):
    """One batch with several vectors, then with the table's own rows; ``split_names``."""
    backbone, plain = method.backbone, method.rows.batch(ROWS)
    torch.manual_seed(2)
    drawn = [torch.randn(len(ROWS), backbone.embedding_size) for _ in range(vectors)]
    expected = [outcome(backbone, plain, vector) for vector in drawn]
    own = backbone.logits(plain).detach()
    with backbone.frozen_tables():
        assert backbone._frozen is not None
        batch = method.rows.batch(ROWS)
        for vector, wanted in zip(drawn, expected, strict=True):
            for value, known in zip(outcome(backbone, batch, vector), wanted, strict=True):
                assert (value - known).abs().max() < 2e-6 * (1 + known.abs().max())
        assert (backbone.logits(batch).detach() - own).abs().max() < 2e-6 * (1 + own.abs().max())
        return split_names(backbone)


@pytest.mark.parametrize("name", WHO)
def test_a_batch_with_several_vectors(build, name):
    method = build(name, **({} if name in ("FM", "DSSM") else {"mlp_hidden_size": [6, 5]}))
    method.set_mode("frozen")
    assert assert_equal_to_plain(method) == WHO[name]


def test_what_belongs_to_a_batch_is_computed_once(build, monkeypatch):
    """However many vectors there are; another batch has its own."""
    method, seen = build("DeepFM", mlp_hidden_size=[6]), []
    for kind in KINDS.values():
        whole = kind.rest
        monkeypatch.setattr(kind, "rest", lambda *a, f=whole: seen.append(1) or f(*a))
    backbone = method.backbone
    with evaluating(method), backbone.frozen_tables(), torch.no_grad():
        for batches in (1, 2):
            seen.clear()
            kept = [method.rows.batch(ROWS) for _ in range(batches)]
            for batch in kept * 3:
                backbone.logits(batch, torch.randn(len(ROWS), 4))
            assert len(seen) == 2 * batches


def test_statistics_may_move(build):
    """BatchNorm behind a split layer sees the same numbers."""
    method = build("DeepFM", mlp_hidden_size=[6, 5], mlp_batch_norm=True, batch_norm="moving")
    backbone, batch = method.backbone, method.rows.batch(ROWS)
    vector, states = torch.randn(len(ROWS), 4), []
    start = {name: value.clone() for name, value in backbone.state_dict().items()}
    with backbone.frozen_tables():
        assert split_names(backbone) == WHO["DeepFM"]
        view = backbone._frozen
        for frozen in (None, view):
            backbone.load_state_dict(start)
            set_apart(backbone, statistics=True, dropout=False)
            backbone._frozen = frozen
            logits = backbone.logits(batch, vector).detach()
            states.append([logits, *(value.clone() for value in backbone.state_dict().values())])
    for value, known in zip(*states, strict=True):
        torch.testing.assert_close(value, known, rtol=1e-5, atol=1e-6)
    assert sum(isinstance(key[1], Split) for key in batch.memo) == 2  # it was split indeed
    moved = [not torch.equal(a, b) for a, b in zip(states[1][1:], start.values(), strict=True)]
    assert any(moved)


def test_dropout_has_the_plain_models_draws(build):
    """In front of a layer it hides numbers of the vector, too: nothing is split while it is on."""
    method = build("DeepFM", mlp_hidden_size=[6, 5], dropout_prob=0.5)
    backbone, batch = method.backbone, method.rows.batch(ROWS)
    vector = torch.randn(len(ROWS), 4)

    def drawn():
        torch.manual_seed(3)
        return backbone.logits(batch, vector).detach()

    backbone.eval()
    quiet = drawn()
    method.set_backbone_mode(dropout=True)
    expected = drawn()
    with backbone.frozen_tables():
        assert split_names(backbone) == WHO["DeepFM"]
        torch.testing.assert_close(drawn(), expected, rtol=1e-5, atol=1e-6)
        backbone.eval()
        torch.testing.assert_close(drawn(), quiet, rtol=1e-5, atol=1e-6)
        backbone.model.mlp_layers.mlp_layers[0].train()  # a part alone
        assert not torch.allclose(drawn(), quiet)
    assert not torch.allclose(expected, quiet)


# ------------------------------------------------------------------ models of other people
class Reader(ClickModel):
    """Two layers that read all fields; a subclass reads them otherwise as well."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.num_feature_field = len(
            [*self.token_field_names, *self.token_seq_field_names, *self.float_field_names]
        )
        self.one = nn.Linear(self.num_feature_field * self.embedding_size, 3)
        self.out = nn.Linear(3, 1)
        self.apply(self._init_weights)

    def forward(self, interaction):
        fields = self.concat_embed_input_fields(interaction)
        return self.read(fields).squeeze(-1) + self.first_order_linear(interaction).squeeze(-1)

    def read(self, fields):
        return self.out(self.one(fields.flatten(1)).tanh())


class ReadsBesides(Reader):
    def read(self, fields):
        return super().read(fields) + fields.square().sum(dim=(1, 2))[:, None]


class ReadsASign(Reader):
    """A comparison with NaN is false, and no NaN comes out."""

    def read(self, fields):
        return super().read(fields) + (fields[:, :, 0] > 0).sum(dim=1, keepdim=True)


class ReadsWhatIsMissing(Reader):
    """So is one with zero, of which a few rows of real data may have none."""

    def read(self, fields):
        missing = (fields == 0).all(dim=2)
        return super().read(fields) + missing.sum(dim=1, keepdim=True)


class ReadsTwice(Reader):
    def read(self, fields):
        return super().read(fields) + super().read(fields * 0.5)


class ChangesInPlace(Reader):
    def read(self, fields):
        return super().read(fields.mul_(0.5))


class ChangesAfterwards(Reader):
    """Has no gradient; scores nevertheless."""

    def read(self, fields):
        return super().read(fields) + fields.mul_(0.5).sum(dim=(1, 2))[:, None]


class Reversed(Reader):
    """As many numbers, in another order."""

    def read(self, fields):
        return super().read(fields.flip(1))


class Wide(nn.Linear):
    def forward(self, x):
        return super().forward(x).square()


class HasItsOwnLayer(Reader):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.one = Wide(self.one.in_features, 3)


OTHERS = {
    Reader: {"one"},
    ReadsBesides: set(),
    ReadsASign: set(),
    ReadsWhatIsMissing: set(),
    ReadsTwice: set(),
    ChangesInPlace: set(),
    Reversed: set(),
    HasItsOwnLayer: set(),
}


@pytest.fixture
def behind_the_seam(prepared):
    config, dataset = prepared("WideDeep")

    def make(model_class):
        method = config.method_class(config, dataset)
        torch.manual_seed(1)
        model = model_class(config, AsCodes(dataset))
        method.backbone = Backbone(model, dataset, method.rows, method.id_field).eval()
        return method

    return make


@pytest.mark.parametrize("model_class", OTHERS, ids=lambda each: each.__name__)
def test_models_that_read_the_fields_otherwise(behind_the_seam, model_class):
    assert assert_equal_to_plain(behind_the_seam(model_class)) == OTHERS[model_class]


def test_nothing_is_split_to_score(build):
    method = build("DeepFM", mlp_hidden_size=[6])
    with torch.no_grad(), method.backbone.frozen_tables():
        assert split_names(method.backbone) == set()


def test_a_model_without_a_gradient_is_scored_as_it_is(behind_the_seam):
    method = behind_the_seam(ChangesAfterwards)
    backbone, vector = method.backbone, torch.ones(len(ROWS), 4)
    expected = backbone.logits(method.rows.batch(ROWS), vector)
    with backbone.frozen_tables(), torch.no_grad():
        assert split_names(backbone) == set()
        for _ in range(2):
            torch.testing.assert_close(backbone.logits(method.rows.batch(ROWS), vector), expected)


def test_a_layer_that_somebody_looks_at_is_left_alone(build):
    method, seen = build("DeepFM", mlp_hidden_size=[6]), []
    layer = method.backbone.model.get_submodule(FIRST)
    layer.register_forward_hook(lambda *_: seen.append(1))
    method.set_mode("frozen")
    assert assert_equal_to_plain(method) == set()
    with method.backbone.frozen_tables():
        seen.clear()
        method.backbone.logits(method.rows.batch(ROWS), torch.randn(len(ROWS), 4))
    assert seen == [1]
