"""The seam: every wrappable RecBole context model gives the plain model's numbers through it."""

import contextlib
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.context_aware_recommender.deepfm import DeepFM
from recbole.utils import FeatureType
from torch.func import grad, vmap

from recbole_cold.backbone._seam import Backbone
from recbole_cold.compat import UNWRAPPABLE
from recbole_cold.errors import UserError
from recbole_cold.registry import backbones

SMALL_AFN = {"log_neurons": 7, "ensemble_hidden_size": [4]}
CASES = {
    "AFM": {},
    "AFN": SMALL_AFN,
    "AFN log1p": {**SMALL_AFN, "log_form": "log1p", "log_bn": False, "mlp_bn": True},
    "AFN plus": {**SMALL_AFN, "ensemble_dnn": True},
    "AutoInt": {},
    "Basic": {},
    "DCN": {},
    "DCNV2": {"mixed": False, "structure": "parallel"},
    "DCNV2 mixed": {"mixed": True, "structure": "stacked", "low_rank": 3, "expert_num": 2},
    "DSSM": {},
    "DeepFM": {},
    "EulerNet": {},
    "FINAL": {"block1_hidden_size": [6, 4], "block2_hidden_size": [4, 4]},
    "FM": {},
    "FNN": {},
    "FiGNN": {},
    "FinalMLP": {"mlp1_hidden_size": [6], "mlp2_hidden_size": [6, 4], "fs_hidden_size": [3]},
    "FwFM": {},
    "LorentzFM": {},
    "NFM": {},
    "PNN inner": {"use_inner": True, "use_outer": False},
    "PNN outer": {"use_inner": False, "use_outer": True},
    "WideDeep": {},
    "xDeepFM": {},
}
FIRST_ORDER = {"AFM", "AutoInt", "DeepFM", "FM", "FwFM", "NFM", "WideDeep", "xDeepFM"}
ROWS = torch.arange(0, 400, 37)


@pytest.fixture(scope="module")
def wrapped(build):
    """``wrapped(case)``: Base on that backbone in evaluation mode, built once; do not change it."""
    made: dict = {}

    def make(case, double=False):
        if (case, double) not in made:
            numbers = {"numerical_features": ["income", "price"]}
            method = build("Base", case.split()[0], double=double, **numbers, **CASES[case])
            method.backbone.eval()
            made[case, double] = method
        return made[case, double]

    return make


def interaction(dataset, rows):
    """RecBole's own object, filled value by value from the parsed columns."""
    columns = {}
    for field in dataset.fields():
        values = []
        for row in rows.tolist():
            if field in dataset.inter:
                value = dataset.inter[field][row]
            elif field in dataset.user_table:
                value = dataset.user_table[field][dataset.inter["user_id"][row]]
            else:
                value = dataset.item_table[field][dataset.inter["item_id"][row]]
            if field in ("income", "price"):
                value = np.float32([value, 1.0])
            values.append(torch.tensor(np.array(value)))
        column = torch.stack(values)
        columns[field] = column if column.is_floating_point() else column.long()
    return Interaction(columns)


def plain_twin(method):
    """The plain RecBole model with the wrapped one's parameters, and what its sigmoid is fed."""
    twin = type(method.backbone.model)(method.config, method.dataset)
    state = method.backbone.state_dict()
    twin.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
    if method.backbone.name == "FwFM":
        # RecBole keeps FwFM's pair weights as a plain tensor: in no state, never trained.
        twin.weight = method.backbone.model.weight
    fed = []
    twin.sigmoid.register_forward_pre_hook(lambda _module, inputs: fed.append(inputs[0]))
    return twin.eval(), fed


def central_difference(function, vector, epsilon=1e-6):
    """d function / d vector, one number at a time."""
    out = torch.zeros_like(vector)
    for place in range(vector.numel()):
        step = torch.zeros_like(vector).view(-1)
        step[place] = epsilon
        step = step.view_as(vector)
        out.view(-1)[place] = (function(vector + step) - function(vector - step)) / (2 * epsilon)
    return out


def test_cases_are_all_that_recbole_and_we_have():
    """A context model that a later RecBole brings is either tested here or named as unwrappable.

    One that reads histories, which RecBole's interactions lack, is tested in a file of its own.
    """
    ours = ("recbole.", "recbole_cold.")
    known = {name: cls for name, cls in backbones().items() if cls.__module__.startswith(ours)}
    reading = {name for name, cls in known.items() if getattr(cls, "reads_histories", False)}
    tested = {case.split()[0] for case in CASES} | set(UNWRAPPABLE)
    assert known.keys() - reading == tested
    folder = Path(__file__).parents[1] / "backbone"
    assert all((folder / f"test_{name.lower()}.py").is_file() for name in reading)


@pytest.mark.parametrize("case", CASES)
class TestEveryBackbone:
    def test_own_rows_give_the_plain_models_logits(self, wrapped, case):
        """U1, bit for bit, against RecBole's class fed with RecBole's interaction."""
        method = wrapped(case)
        twin, fed = plain_twin(method)
        rows = interaction(method.dataset, ROWS)
        with torch.no_grad():
            predicted = twin.predict(rows)
            batch = method.rows.batch(ROWS)
            ids = batch["item_id"]
            from_table = method.backbone.logits(batch)
            given = method.backbone.logits(batch, method.backbone.id_table()[ids])
            scalars = method.backbone.first_order_rows()
            if scalars is not None:
                both = method.backbone.logits(batch, method.backbone.id_table()[ids], scalars[ids])
                assert torch.equal(both, fed[0].reshape(-1))
        assert from_table.std() > 0
        assert torch.equal(from_table, fed[0].reshape(-1))
        assert torch.equal(given, fed[0].reshape(-1))
        assert torch.equal(torch.sigmoid(given), predicted.reshape(-1))

    def test_in_training_mode_too(self, build, case):
        """Dropout and BatchNorm draw and count as in the plain model."""
        numbers = {"numerical_features": ["income", "price"]}
        method = build("Base", case.split()[0], **numbers, **CASES[case])
        twin, fed = plain_twin(method)
        twin.train()
        method.backbone.train()
        batch = method.rows.batch(ROWS)
        torch.manual_seed(3)
        expected = twin.predict(interaction(method.dataset, ROWS)).reshape(-1)
        torch.manual_seed(3)
        logits = method.backbone.logits(batch, method.backbone.id_table()[batch["item_id"]])
        assert torch.equal(logits, fed[0].reshape(-1))
        assert torch.equal(torch.sigmoid(logits), expected)
        ours, theirs = method.backbone.model.state_dict(), twin.state_dict()
        for name, _ in twin.named_buffers():
            assert torch.equal(ours[name], theirs[name])

    def test_the_vector_stands_for_the_item_id_and_nothing_else(self, wrapped, case):
        """Another item's row and scalar give what the plain model says with that item's ID."""
        method = wrapped(case)
        twin, fed = plain_twin(method)
        rows = interaction(method.dataset, ROWS)
        other = rows["item_id"].roll(1)
        assert (other != rows["item_id"]).any()
        exchanged = Interaction({**rows.interaction, "item_id": other})
        scalars = method.backbone.first_order_rows()
        with torch.no_grad():
            twin.predict(exchanged)
            logits = method.backbone.logits(
                method.rows.batch(ROWS),
                method.backbone.id_table()[other],
                None if scalars is None else scalars[other],
            )
        assert torch.equal(logits, fed[0].reshape(-1))

    def test_a_changed_vector_changes_every_row(self, wrapped, case):
        method = wrapped(case)
        batch = method.rows.batch(ROWS)
        own = method.backbone.id_table()[batch["item_id"]].detach()
        assert (method.backbone.logits(batch, own + 0.5) != method.backbone.logits(batch)).all()

    def test_gradient_to_the_vector_and_to_nothing_of_the_id(self, wrapped, case):
        """Against central differences; the ID's own rows get none, other fields' rows do."""
        method = wrapped(case, double=True)
        backbone, batch = method.backbone, method.rows.batch(ROWS[:3])
        ids = batch["item_id"]
        vector = backbone.id_table()[ids].detach().requires_grad_()
        weight = backbone.model.token_embedding_table.embedding.weight
        scalars = torch.zeros(3, 1, dtype=torch.float64)
        by_vector, by_table = torch.autograd.grad(
            backbone.logits(batch, vector, scalars).sum(), [vector, weight]
        )
        with torch.no_grad():
            expected = central_difference(
                lambda v: backbone.logits(batch, v, scalars).sum(), vector.detach()
            )
        assert (by_vector - expected).abs().max() < 1e-7 * (1 + by_vector.abs().max())
        assert by_vector.abs().max() > 1e-6
        names = backbone.model.token_field_names
        start = sum(method.dataset.num(name) for name in names[: names.index("item_id")])
        assert (by_table[start : start + backbone.n_ids] == 0).all()
        assert by_table.abs().max() > 0

    def test_gradient_flows_through_an_inner_step(self, wrapped, case):
        """The loss after one gradient step, differentiated by where the step started."""
        method = wrapped(case, double=True)
        backbone, batch = method.backbone, method.rows.batch(ROWS[:2])
        label = torch.tensor([1.0, 0.0], dtype=torch.float64)

        def loss(vector):
            click = torch.sigmoid(backbone.logits(batch, vector))
            return -(label * click.log() + (1 - label) * (1 - click).log()).sum()

        def after(vector):
            vector = vector if vector.requires_grad else vector.requires_grad_()
            (step,) = torch.autograd.grad(loss(vector), vector, create_graph=True)
            return loss(vector - 0.3 * step)

        start = 0.5 * backbone.id_table()[batch["item_id"]].detach()
        leaf = start.clone().requires_grad_()
        (exact,) = torch.autograd.grad(after(leaf), leaf)
        expected = central_difference(lambda v: after(v.clone()).detach(), start)
        assert (exact - expected).abs().max() < 1e-6 * (1 + expected.abs().max())
        assert exact.abs().max() > 1e-6

    def test_vmap_over_rows_equals_the_batched_gradient(self, wrapped, case):
        """In evaluation mode a row's output depends on that row only."""
        method = wrapped(case, double=True)
        backbone, batch = method.backbone, method.rows.batch(ROWS)
        vector = backbone.id_table()[batch["item_id"]].detach()
        backbone.logits(batch, vector)
        fields = {field: batch[field] for field in list(batch)}

        def one(vector_d, row):
            single = {field: value[None] for field, value in row.items()}
            return backbone.logits(single, vector_d[None])[0]

        by_row = vmap(grad(one))(vector, fields)
        leaf = vector.clone().requires_grad_()
        (batched,) = torch.autograd.grad(backbone.logits(batch, leaf).sum(), leaf)
        assert (by_row - batched).abs().max() < 1e-13
        assert batched.abs().max() > 0

    def test_frozen_tables_give_the_same_logits_and_gradients(self, wrapped, case):
        """Pooling an item's sequences once or once per row is the same number."""
        method = wrapped(case, double=True)
        backbone = method.backbone

        def both():
            batch = method.rows.batch(ROWS)
            vector = backbone.id_table()[batch["item_id"]].detach().requires_grad_()
            logits = backbone.logits(batch, vector)
            return logits.detach(), torch.autograd.grad(logits.square().sum(), vector)[0]

        logits, gradient = both()
        with backbone.frozen_tables():
            assert backbone._frozen is not None  # else the plain model would be compared to itself
            frozen_logits, frozen_gradient = both()
            table_logits = backbone.logits(method.rows.batch(ROWS)).detach()
        assert (logits - frozen_logits).abs().max() < 1e-13
        assert (gradient - frozen_gradient).abs().max() < 1e-12 * gradient.abs().max()
        assert (logits - table_logits).abs().max() < 1e-13

    def test_state_is_the_plain_models(self, wrapped, case):
        method = wrapped(case)
        plain = type(method.backbone.model)(method.config, method.dataset)
        state = method.backbone.state_dict()
        assert set(state) == {f"model.{key}" for key in plain.state_dict()}
        assert {id(p) for p in method.backbone.parameters()} == {
            id(p) for p in method.backbone.model.parameters()
        }

    def test_who_has_a_first_order_part(self, wrapped, case):
        has = case.split()[0] in FIRST_ORDER
        backbone = wrapped(case).backbone
        assert backbone.has_first_order == has
        assert (backbone.first_order_rows() is not None) == has

    def test_who_learns_from_zero(self, wrapped, case):
        """Nobody but AFN has no gradient at an ID vector of zeros; checking leaves no trace."""
        backbone = wrapped(case).backbone
        before = {name: value.clone() for name, value in backbone.state_dict().items()}
        assert backbone.learns_from_zero() == (case not in ("AFN", "AFN log1p"))
        assert not backbone.training and all(p.grad is None for p in backbone.parameters())
        for name, value in backbone.state_dict().items():
            assert torch.equal(value, before[name])

    def test_id_first_order_off_takes_the_scalar_out(self, build, case):
        """Whatever the ID's scalar weights are, and whatever is given, nothing changes."""
        numbers = {"numerical_features": ["income", "price"]}
        method = build("Base", case.split()[0], id_first_order="off", **numbers, **CASES[case])
        backbone = method.backbone.eval()
        linear = backbone.model.first_order_linear
        weight = linear.token_embedding_table.embedding.weight
        names, items = linear.token_field_names, method.dataset.num("item_id")
        start = sum(method.dataset.num(name) for name in names[: names.index("item_id")])
        with torch.no_grad():
            before = backbone.logits(method.rows.batch(ROWS))
            weight[start : start + items] += 7.0
            batch = method.rows.batch(ROWS)
            own = backbone.id_table()[batch["item_id"]]
            assert torch.equal(backbone.logits(batch), before)
            assert torch.equal(backbone.logits(batch, own), before)
            assert torch.equal(backbone.logits(batch, own, torch.ones(len(ROWS), 1)), before)
            weight[: method.dataset.num("user_id")] += 7.0
            moved = not torch.equal(backbone.logits(batch), before)
        assert moved == (case.split()[0] in FIRST_ORDER)
        assert not backbone.has_first_order and backbone.first_order_rows() is None

    def test_user_side(self, build, case):
        """cold_side: user wraps the user ID instead, with the same identity."""
        numbers = {"numerical_features": ["income", "price"]}
        method = build(
            "Base", case.split()[0], cold_side="user", cold_threshold=18, **numbers, **CASES[case]
        )
        method.backbone.eval()
        twin, fed = plain_twin(method)
        rows = interaction(method.dataset, ROWS)
        other = rows["user_id"].roll(1)
        scalars = method.backbone.first_order_rows()
        assert method.backbone.n_ids == method.dataset.num("user_id")
        with torch.no_grad():
            twin.predict(Interaction({**rows.interaction, "user_id": other}))
            logits = method.backbone.logits(
                method.rows.batch(ROWS),
                method.backbone.id_table()[other],
                None if scalars is None else scalars[other],
            )
            assert not torch.equal(logits, method.backbone.logits(method.rows.batch(ROWS)))
        assert torch.equal(logits, fed[0].reshape(-1))


# ------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize("name", sorted(UNWRAPPABLE))
def test_unwrappable_backbones_say_so_by_name(build, name):
    with pytest.raises(UserError, match=f"backbone '{name}' cannot be wrapped"):
        build("Base", name, numerical_features=["income", "price"])


def wrap(build, model_class):
    """The seam around a model of our own, built on the data of a method."""
    method = build("Base", "DeepFM")
    model = model_class(method.config, method.dataset)
    return method, Backbone(model, method.dataset, method.rows, "item_id")


def test_a_model_with_chance_in_evaluation_mode_is_refused(build):
    class Noisy(DeepFM):
        def forward(self, interaction):
            return super().forward(interaction) + torch.rand(1)

    with pytest.raises(UserError, match="'Noisy' cannot be wrapped: its logits change"):
        wrap(build, Noisy)


def test_a_model_that_gives_probabilities_instead_of_logits_is_refused(build):
    class Probable(DeepFM):
        def forward(self, interaction):
            return torch.sigmoid(super().forward(interaction))

        def predict(self, interaction):
            return self.forward(interaction)

    with pytest.raises(UserError, match="'Probable' cannot be wrapped"):
        wrap(build, Probable)


def test_a_second_table_with_the_id_is_refused(build):
    """A vector given for one table leaves the ID's untrained row in the other one."""

    class TwoTables(DeepFM):
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.second = torch.nn.Embedding(dataset.num("item_id"), 1)

        def forward(self, interaction):
            return super().forward(interaction) + self.second(interaction["item_id"])[:, 0]

    with pytest.raises(UserError, match="'TwoTables' cannot be wrapped: it reads 'item_id' from"):
        wrap(build, TwoTables)
    plus = {**CASES["AFN plus"], "ensemble_shares_ids": False}
    with pytest.raises(UserError, match="'AFN' cannot be wrapped: it reads 'item_id' from a"):
        build("Base", "AFN", **plus)
    with pytest.raises(UserError, match="'AFN' cannot be wrapped: it reads 'user_id' from a"):
        build("Base", "AFN", cold_side="user", cold_threshold=18, **plus)
    with pytest.raises(UserError, match="'FinalMLP' cannot be wrapped: it reads 'item_id' from"):
        build("Base", "FinalMLP", fs2_context=["year", "item_id"])


def test_a_start_at_zero_that_cannot_learn_is_refused(build):
    with pytest.raises(UserError, match=r"new_item_init: zero gives .* 'AFN' has no gradient"):
        build("Base", "AFN", new_item_init="zero", **SMALL_AFN)
    build("Base", "AFN", new_item_init="zero", **CASES["AFN plus"])
    build("Base", "DeepFM", new_item_init="zero")


def test_a_model_without_a_token_table_is_refused(build):
    class Bare(DeepFM):
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            del self.token_embedding_table

    with pytest.raises(UserError, match="'Bare' cannot be wrapped: it has no embedding table"):
        wrap(build, Bare)


def test_a_model_that_does_not_run_on_the_data_is_refused(build):
    class Broken(DeepFM):
        def forward(self, interaction):
            return super().forward(interaction) @ torch.ones(3)

    with pytest.raises(UserError, match="'Broken' cannot be wrapped: its forward pass"):
        wrap(build, Broken)


def test_probing_leaves_the_mode_and_the_statistics_alone(build):
    """Construction compares logits; BatchNorm must not have counted those rows."""
    backbone = build("Base", "NFM").backbone
    assert backbone.training and backbone.model.bn.training
    assert int(backbone.model.bn.num_batches_tracked) == 0


def test_a_models_own_training_flag_reaches_its_forward(build):
    """Functional dropout asks ``self.training`` of the model itself."""

    class Flagged(DeepFM):
        def forward(self, interaction):
            return super().forward(interaction) + float(self.training)

    method, backbone = wrap(build, Flagged)
    backbone.model.deep_predict_layer.train()
    batch = method.rows.batch(ROWS)
    with torch.no_grad():
        backbone.eval()
        evaluated = backbone.logits(batch)
        backbone.model.training = True
        assert torch.equal(backbone.logits(batch), evaluated + 1.0)


# ------------------------------------------------------------------------------ slot and tables
def test_the_slot_is_empty_again_after_a_failure(build):
    method = build("Base", "DeepFM")
    backbone = method.backbone.eval()
    batch = method.rows.batch(ROWS)
    before = backbone.logits(batch)
    with contextlib.suppress(RuntimeError):
        backbone.logits(batch, torch.zeros(2, 4))
    assert torch.equal(backbone.model(batch), before)


@pytest.mark.parametrize("backbone", ["DeepFM", "DCN"])
def test_a_deep_copy_reads_its_own_slot(build, backbone):
    method = build("Base", backbone)
    method.set_mode("evaluate")
    twin = copy.deepcopy(method)
    batch = method.rows.batch(ROWS)
    vector = torch.ones(len(ROWS), method.embedding_size)
    weight = vector[:, :1]
    with torch.no_grad():
        given, plain = method.backbone.logits(batch, vector, weight), method.backbone.logits(batch)
        assert torch.equal(twin.backbone.logits(batch, vector, weight), given)
        assert torch.equal(twin.backbone.logits(batch), plain)
    assert not torch.equal(given, plain)


def test_a_nested_use_gives_the_slot_back(build):
    method = build("Base")
    method.set_mode("evaluate")
    backbone, batch = method.backbone, method.rows.batch(ROWS)
    outer, inner = torch.ones(len(ROWS), 4), -torch.ones(len(ROWS), 4)
    with torch.no_grad():
        wanted, plain = backbone.logits(batch, outer), backbone.logits(batch)
        with backbone.item_slot(outer):
            assert not torch.equal(backbone.logits(batch, inner), wanted)
            assert torch.equal(backbone.logits(batch), wanted)
        assert torch.equal(backbone.logits(batch), plain) and not torch.equal(plain, wanted)


def test_loss_inside_the_slot_reads_the_given_vector(build):
    """DropoutNet uses the model's own loss, regulariser included, with other vectors."""
    method = build("Base", "xDeepFM", reg_weight=0.5)
    backbone = method.backbone.eval()
    batch = method.rows.batch(ROWS)
    other = batch["item_id"].roll(1)
    twin, _ = plain_twin(method)
    rows = interaction(method.dataset, ROWS)
    expected = twin.calculate_loss(Interaction({**rows.interaction, "item_id": other}))
    with backbone.item_slot(backbone.id_table()[other], backbone.first_order_rows()[other]):
        assert torch.equal(backbone.calculate_loss(batch), expected)
    assert not torch.equal(backbone.calculate_loss(batch), expected)


@pytest.mark.parametrize("case", CASES)
def test_the_training_loss_is_the_plain_models(build, case):
    """Loss and every gradient of a training batch with repeated users and items."""
    numbers = {"numerical_features": ["income", "price"]}
    method = build("Base", case.split()[0], double=True, **numbers, **CASES[case])
    twin, _ = plain_twin(method)
    twin.double().train()
    method.backbone.train()
    index = torch.arange(40)
    for ids in (method.rows.columns["item_id"][index], method.rows.columns["user_id"][index]):
        assert len(ids.unique()) < len(ids)
    batch = method.rows.batch(index)
    batch["label"] = batch["label"].double()
    rows = interaction(method.dataset, index)
    rows.interaction["label"] = rows["label"].double()
    torch.manual_seed(1)
    expected = twin.calculate_loss(rows)
    torch.manual_seed(1)
    loss = method.backbone.calculate_loss(batch)
    assert abs(loss - expected) < 1e-12 * (1 + abs(expected.detach()))
    loss.backward()
    expected.backward()
    ours, theirs = dict(method.backbone.model.named_parameters()), dict(twin.named_parameters())
    assert sum(p.grad is not None and p.grad.abs().sum() > 0 for p in theirs.values()) >= 3
    for name, parameter in theirs.items():
        if parameter.grad is None:
            assert ours[name].grad is None or not ours[name].grad.any()
        else:
            assert torch.allclose(ours[name].grad, parameter.grad, rtol=1e-9, atol=1e-13), name


def test_frozen_tables_pool_on_entry_and_only_while_open(build):
    method = build("Base", "DeepFM", double=True)
    backbone = method.backbone.eval()
    with torch.no_grad():
        before = backbone.logits(method.rows.batch(ROWS))
        with backbone.frozen_tables():
            for table in backbone.model.token_seq_embedding_table:
                table.weight.zero_()
            inside = backbone.logits(method.rows.batch(ROWS))
        after = backbone.logits(method.rows.batch(ROWS))
    assert (inside - before).abs().max() < 1e-13
    assert (after - before).abs().max() > 1e-3


def test_frozen_tables_keep_what_belongs_to_a_row(build, write_atomic, tmp_path):
    """A sequence of the interaction itself cannot be pooled once per item."""
    rows = [["user_id:token", "item_id:token", "rating:float", "timestamp:float",
             "search:token_seq"]]  # fmt: skip
    searches = ["red shoes", "blue", "red hat cheap", "hat"]
    counts = {"a": 12, "b": 11, "c": 7, "d": 6}
    for item, count in counts.items():
        for n in range(count):
            rows.append([f"u{n}", item, str(n % 5 + 1), str(100 + n), searches[n % 4]])
    items = [["item_id:token", "words:token_seq"], ["a", "x y"], ["b", "y"], ["c", "z x"],
             ["d", "z"]]  # fmt: skip
    write_atomic(tmp_path / "searches", "searches", inter=rows, item=items)
    method = build(
        "Base",
        "DeepFM",
        double=True,
        data="searches",
        data_path=str(tmp_path),
        cold_threshold=10,
        warm_size=1,
    )
    backbone = method.backbone.eval()
    index = torch.arange(36)
    assert backbone.model.token_seq_field_names == ["search", "words"]
    with torch.no_grad():
        expected = backbone.logits(method.rows.batch(index))
        with backbone.frozen_tables():
            frozen = backbone.logits(method.rows.batch(index))
    assert (frozen - expected).abs().max() < 1e-13
    assert expected.std() > 0


def test_table_of_is_what_the_model_looks_up(build):
    """Every token field's rows, against RecBole's own lookup of one code in each field."""
    model = (method := build("Base", "DeepFM")).backbone.model
    names = model.token_field_names
    assert len(names) > 4
    for place, field in enumerate(names):
        table = method.backbone.table_of(field)
        assert len(table) == method.dataset.num(field)
        for code in (1, len(table) - 1):
            codes = torch.zeros(1, len(names), dtype=torch.long)
            codes[0, place] = code
            assert torch.equal(model.token_embedding_table(codes)[0, place], table[code])
    assert torch.equal(method.backbone.id_table(), method.backbone.table_of("item_id"))


# ------------------------------------------------------------------------------ side information
def naive_side(method, item, pooling):
    """s_i number by number: features in data-set order, the item ID left out."""
    dataset, model = method.dataset, method.backbone.model
    out = []
    for field in dataset.fields():
        if field not in dataset.item_table:
            continue
        value = dataset.item_table[field][item]
        kind = dataset.field2type[field]
        if kind == FeatureType.FLOAT:
            out.append(float(value))
            continue
        for k in range(method.embedding_size):
            if kind == FeatureType.TOKEN:
                start = 0
                for name in model.token_field_names[: model.token_field_names.index(field)]:
                    start += dataset.num(name)
                weight = model.token_embedding_table.embedding.weight
                out.append(weight[start + int(value), k].item())
            else:
                place = model.token_seq_field_names.index(field)
                weight = model.token_seq_embedding_table[place].weight
                codes = [int(code) for code in value if pooling == "sum_with_pad" or code != 0]
                total = sum(weight[code, k].item() for code in codes)
                out.append(total / (1 if pooling == "sum_with_pad" else max(len(codes), 1)))
    return out


@pytest.mark.parametrize("pooling", ["mean", "sum_with_pad"])
@pytest.mark.parametrize("backbone", ["DeepFM", "DSSM"])
def test_side_vectors_item_by_item(build, pooling, backbone):
    method = build("Base", backbone, pooling=pooling, numerical_features=["income", "price"])
    side = method.backbone.side_vectors()
    assert side.shape == (method.dataset.num("item_id"), 3 * 4 + 1)
    assert not side.requires_grad
    for item in range(len(side)):
        expected = torch.tensor(naive_side(method, item, pooling))
        assert torch.allclose(side[item], expected, atol=1e-6)


def test_the_id_is_side_information_only_on_request(build):
    method = build("MWUF", side_includes_id=True)
    plain = method.backbone.side_vectors()
    assert torch.equal(method.side_vectors()[:, 4:], plain)
    assert torch.equal(method.side_vectors()[:, :4], method.backbone.id_table())
    assert build("MWUF").side_vectors().shape == plain.shape


def test_no_side_information_is_said(build):
    load = {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "user": None,
        "item": ["item_id"],
    }
    with pytest.raises(UserError, match="no side information"):
        build("MWUF", load_col=load)


def test_released_pooling_sums_the_padding_row_in(build):
    """One item's word vectors in the model itself: all positions, padding included."""
    method = build("Base", "DeepFM", pooling="sum_with_pad")
    model = method.backbone.model
    place = model.token_seq_field_names.index("title")
    codes = torch.tensor(method.dataset.item_table["title"].astype(int))
    padded = int(((codes == 0).any(dim=1) & (codes != 0).any(dim=1)).nonzero()[0])
    sequences = [torch.tensor(method.dataset.item_table[field].astype(int))[padded][None]
                 for field in model.token_seq_field_names]  # fmt: skip
    weight = model.token_seq_embedding_table[place].weight
    expected = sum(weight[code] for code in codes[padded])
    pooled = model.embed_token_seq_fields(sequences)[0, place]
    assert torch.allclose(pooled, expected, atol=1e-6)
    with torch.no_grad():
        before = method.backbone.eval().logits(method.rows.batch(ROWS))
        weight[0] += 1.0
        assert not torch.equal(method.backbone.logits(method.rows.batch(ROWS)), before)


def test_released_pooling_without_a_sequence(build):
    load = {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "user": ["user_id", "age"],
        "item": ["item_id", "year"],
    }
    backbone = build("Base", "DeepFM", pooling="sum_with_pad", load_col=load).backbone
    assert backbone.model.token_seq_field_names == []


def test_released_initialisation_is_uniform_and_small(build):
    backbone = build("Base", "DeepFM", embedding_init="uniform").backbone
    for parameter in backbone.parameters():
        assert parameter.abs().max() <= 0.01
    rows = backbone.id_table()
    assert abs(rows.abs().mean() - 0.005) < 0.001  # the mean of |U(-0.01, 0.01)|
    assert build("Base", "DeepFM").backbone.id_table().abs().max() > 0.05
