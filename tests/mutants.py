"""Deliberate defects, and the tests that must turn red by each: the proof that they can.

``tests/test_mutants.py`` puts one defect after the other into a copy of the repository. By hand:
``python tests/mutants.py COPY`` does the same in a copy of yours and prints a line per defect.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

INNER, EPISODES = "tests/model/test_inner.py", "tests/data/test_episodes.py"
SEAM, BASE = "tests/model/test_backbone.py", "tests/model/test_base.py"
SHORTCUTS = "tests/model/test_shortcuts.py"
DROP, METAE = "tests/model/test_dropoutnet.py", "tests/model/test_metae.py"
MWUF, CVAR = "tests/model/test_mwuf.py", "tests/model/test_cvar.py"
FEW_SHOT, MELU = "tests/model/test_fewshot.py", "tests/model/test_melu.py"
MAMO = "tests/model/test_mamo.py"
TANP, COLDNAS = "tests/model/test_tanp.py", "tests/model/test_coldnas.py"
EMERG = "tests/model/test_emerg.py"
GAR, ALDI = "tests/model/test_gar.py", "tests/model/test_aldi.py"
ALDIMF = "tests/model/test_aldimf.py"
GRAPH, GME = "tests/model/test_graph.py", "tests/model/test_gme.py"
BACKBONES = tuple(
    f"tests/backbone/test_{name}.py"
    for name in ("afn", "basic", "every_backbone", "final", "finalmlp", "lorentzfm")
)
AVAEW, CSDM = "tests/model/test_avaew.py", "tests/model/test_csdm.py"
TESTED = (
    INNER,
    EPISODES,
    SEAM,
    SHORTCUTS,
    BASE,
    DROP,
    METAE,
    MWUF,
    CVAR,
    MAMO,
    FEW_SHOT,
    MELU,
    TANP,
    COLDNAS,
    EMERG,
    GAR,
    ALDI,
    ALDIMF,
    GRAPH,
    GME,
    AVAEW,
    CSDM,
    *BACKBONES,
)


class Mutant(NamedTuple):
    """One defect: in ``path``, ``old`` (which occurs once) becomes ``new``; ``nodes`` go red."""

    path: str
    old: str
    new: str
    nodes: tuple[str, ...]


def mutant(path: str, old: str, new: str, *nodes: tuple[str, ...]) -> Mutant:
    folder = "recbole_cold/" if path in ("episodes.py", "trainer.py") else "recbole_cold/model/"
    return Mutant(folder + path, old, new, tuple(node for part in nodes for node in part))


def inner(*names: str) -> tuple[str, ...]:
    return tuple(f"{INNER}::{name}" for name in names)


def episodes(*names: str) -> tuple[str, ...]:
    return tuple(f"{EPISODES}::{name}" for name in names)


def base_rows(*names: str) -> tuple[str, ...]:
    return tuple(f"{BASE}::{name}" for name in names)


def shortcuts(*names: str) -> tuple[str, ...]:
    return tuple(f"{SHORTCUTS}::{name}" for name in names)


def seam(*names: str) -> tuple[str, ...]:
    return tuple(f"{SEAM}::{name}" for name in names)


def every(*names: str) -> tuple[str, ...]:
    return tuple(f"{SEAM}::TestEveryBackbone::{name}" for name in names)


def base(*names: str) -> tuple[str, ...]:
    return tuple(f"{BASE}::TestBase::{name}" for name in names)


def melu(*names: str) -> tuple[str, ...]:
    return tuple(f"{MELU}::TestMeLU::{name}" for name in names)


def few_shot(*names: str) -> tuple[str, ...]:
    """Of MeLU; the tests ask all few-shot learners."""
    return tuple(f"{FEW_SHOT}::TestEveryFewShotLearner::{name}[MeLU]" for name in names)


def training(*names: str) -> tuple[str, ...]:
    return tuple(f"{FEW_SHOT}::TestTraining::{name}" for name in names)


def drop(*names: str) -> tuple[str, ...]:
    return tuple(f"{DROP}::TestDropoutNet::{name}" for name in names)


def metae(*names: str) -> tuple[str, ...]:
    return tuple(f"{METAE}::TestMetaE::{name}" for name in names)


def mwuf(*names: str) -> tuple[str, ...]:
    return tuple(f"{MWUF}::TestMWUF::{name}" for name in names)


def cvar(*names: str) -> tuple[str, ...]:
    return tuple(f"{CVAR}::TestCVAR::{name}" for name in names)


def graph(*names: str) -> tuple[str, ...]:
    return tuple(f"{GRAPH}::{name}" for name in names)


def attending(*names: str) -> tuple[str, ...]:
    return tuple(f"{GME}::TestAttention::{name}" for name in names)


def forms(*names: str) -> tuple[str, ...]:
    return tuple(f"{GME}::TestEveryForm::{name}" for name in names)


def gme(*names: str) -> tuple[str, ...]:
    return tuple(f"{GME}::{name}" for name in names)


def distance(*names: str) -> tuple[str, ...]:
    return tuple(f"{CVAR}::TestWasserstein::{name}" for name in names)


def mamo(*names: str) -> tuple[str, ...]:
    return tuple(f"{MAMO}::TestMAMO::{name}" for name in names)


def memories(*names: str) -> tuple[str, ...]:
    return tuple(f"{MAMO}::TestMemories::{name}" for name in names)


def tanp(*names: str) -> tuple[str, ...]:
    return tuple(f"{TANP}::{name}" for name in names)


def emerg(*names: str) -> tuple[str, ...]:
    return tuple(f"{EMERG}::{name}" for name in names)


def coldnas(*names: str) -> tuple[str, ...]:
    return tuple(f"{COLDNAS}::{name}" for name in names)


def ours(path: str, old: str, new: str, *nodes: tuple[str, ...]) -> Mutant:
    """A defect of a backbone of ours, in ``recbole_cold/backbone``."""
    nodes_of = tuple(node for part in nodes for node in part)
    return Mutant(f"recbole_cold/backbone/{path}", old, new, nodes_of)


def clicks(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/backbone/test_{file}.py::{name}" for name in names)


def content(group: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{GAR}::{group}::{name}" for name in names)


def gar(*names: str) -> tuple[str, ...]:
    return tuple(f"{GAR}::TestGAR::{name}" for name in names)


def aligned(group: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{ALDI}::{group}::{name}" for name in names)


def aldi(*names: str) -> tuple[str, ...]:
    return tuple(f"{ALDI}::TestALDI::{name}" for name in names)


def triples(*names: str) -> tuple[str, ...]:
    return tuple(f"{ALDIMF}::TestTripleBatches::{name}" for name in names)


def aldimf(*names: str) -> tuple[str, ...]:
    return tuple(f"{ALDIMF}::TestALDIMF::{name}" for name in names)


def avaew(*names: str) -> tuple[str, ...]:
    return tuple(f"{AVAEW}::TestAVAEW::{name}" for name in names)


def terms(*names: str) -> tuple[str, ...]:
    return tuple(f"{AVAEW}::TestTerms::{name}" for name in names)


def csdm(*names: str) -> tuple[str, ...]:
    return tuple(f"{CSDM}::TestCSDM::{name}" for name in names)


def process(*names: str) -> tuple[str, ...]:
    return tuple(f"{CSDM}::TestProcess::{name}" for name in names)


def denoiser(*names: str) -> tuple[str, ...]:
    return tuple(f"{CSDM}::TestDenoiser::{name}" for name in names)


MUTANTS = [
    # ------------------------------------------------------------------ the inner step
    mutant(
        "_inner.py",
        "name: value - learning_rates[name] * gradient",
        "name: value + learning_rates[name] * gradient",
        inner("test_on_a_quadratic_it_has_a_closed_form", "test_each_name_has_its_own_rate"),
        melu("test_adaptation_lowers_the_loss_where_a_task_is_separable"),
    ),
    mutant(
        "_inner.py",
        "start_t = loss_t if start_t is None else start_t",
        "start_t = loss(fast) * 2 if start_t is None else start_t",
        inner("test_losses_are_those_before_the_step"),
    ),
    mutant(
        "_inner.py",
        "loss_t.sum(),\n",
        "loss_t.mean(),\n",
        inner(
            "test_batched_tasks_equal_tasks_one_by_one",
            "test_stacked_equals_vmapped_equals_looped[1-True]",
        ),
        melu("test_loss_and_outer_gradient_by_hand", "test_supports_of_two_sizes_in_one_batch"),
    ),
    mutant(
        "_inner.py",
        "name: value - learning_rates[name] * gradient",
        "name: value - (learning_rates[name] + 1e-3) * gradient",
        inner("test_rate_zero_moves_nothing"),
        melu("test_no_step_and_rate_zero_are_unadapted"),
    ),
    mutant(
        "_inner.py",
        "create_graph=second_order and outside",
        "create_graph=False",
        inner(
            "test_the_step_is_differentiated_through",
            "test_stacked_equals_vmapped_equals_looped[5-True]",
            "test_gradcheck_through_several_steps",
        ),
        metae("test_gradient_through_the_inner_step[mlp-FNN]"),
        melu("test_outer_gradient_by_finite_differences"),
    ),
    mutant(
        "_inner.py",
        "retain_graph=True",
        "retain_graph=second_order",
        inner("test_the_step_is_differentiated_through"),
    ),
    mutant(
        "_inner.py",
        "range(max(steps, 1))",
        "range(1)",
        inner("test_stacked_equals_vmapped_equals_looped[5-False]"),
        melu("test_served_scores_take_the_steps_of_the_phases"),
    ),
    mutant(
        "_inner.py",
        "value if outside and value.requires_grad else",
        "value if value.requires_grad else",
        inner("test_scoring_adapts_without_a_graph"),
    ),
    mutant(
        "_inner.py",
        "if not outside:",
        "if False:",
        inner("test_scoring_adapts_without_a_graph"),
    ),
    mutant(
        "_inner.py",
        "torch.nonzero(~finite_st)[0].tolist()",
        "torch.nonzero(~finite_st)[-1].tolist()",
        inner("test_a_step_that_gives_no_number_is_named"),
    ),
    mutant(
        "_inner.py",
        "torch.baddbmm(bias_to[:, None], x_tki, weight_toi.transpose(1, 2))",
        "torch.baddbmm(bias_to[:1, None], x_tki, weight_toi.transpose(1, 2))",
        inner("test_a_linear_layer_per_task", "test_stacked_equals_vmapped_equals_looped"),
    ),
    mutant(
        "_inner.py",
        "gradients.append(torch.autograd.grad(value, part_td)[0])",
        "gradients.append(0.5 * torch.autograd.grad(value, part_td)[0])",
        inner("test_a_loss_in_chunks_has_the_value_and_gradient_of_the_whole"),
    ),
    mutant(
        "metae.py",
        "_tasks(part).sum() / real",
        "len(part_td) / len(vector_td)",
        (f"{METAE}::test_a_step_over_many_tasks_in_chunks_is_the_whole_step",),
    ),
    # ------------------------------------------------------------------ episodes
    mutant(
        "episodes.py",
        "length_t = count_t // n_blocks",
        "length_t = (count_t + 1) // n_blocks",
        episodes("test_blocks_by_hand"),
    ),
    mutant(
        "episodes.py",
        "keys = (ids[index],) if time is None else (time[index], ids[index])",
        "keys = (ids[index],) if time is None else (-time[index], ids[index])",
        episodes(
            "test_blocks_by_hand",
            "test_blocks_of_an_item_share_no_row_and_go_forward_in_time",
        ),
    ),
    mutant(
        "episodes.py",
        "block_j[:, None] * length_t[:, None, None]",
        "block_j[:, None] * (length_t[:, None, None] - 1).clip(0)",
        episodes("test_blocks_of_an_item_share_no_row_and_go_forward_in_time"),
    ),
    mutant(
        "episodes.py",
        "position = np.where(mask_tjk, position, start_t[:, None, None])",
        "position = np.where(mask_tjk, position, 0)",
        episodes("test_short_items_are_masked_not_dropped"),
    ),
    mutant(
        "episodes.py",
        "self.pairs[epoch % len(self.pairs)]",
        "self.pairs[0]",
        episodes("test_each_epoch_meets_every_item_once_with_its_pair_of_blocks"),
    ),
    mutant(
        "metae.py",
        "PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0))",
        "PAIRS = ((0, 1), (1, 2), (2, 3), (3, 1))",
        episodes("test_every_block_is_support_once_and_query_once"),
    ),
    mutant(
        "episodes.py",
        "torch.randperm(len(self._ids), generator=generator)",
        "torch.randperm(len(self._ids))",
        episodes("test_order_is_the_seeds_and_a_late_start_is_the_same_tail"),
    ),
    mutant(
        "episodes.py",
        "for position in range(start, len(self)):",
        "for position in range(0, len(self)):",
        episodes("test_order_is_the_seeds_and_a_late_start_is_the_same_tail"),
    ),
    mutant(
        "episodes.py",
        "draw_tk.topk(size, dim=1, largest=False).indices.sort(dim=1).values",
        "draw_tk.topk(size, dim=1, largest=False).indices",
        episodes(
            "test_a_cap_takes_a_part_of_each_block_anew_in_time_order",
            "test_few_shot_rows_are_the_items_own_and_go_forward_in_time",
        ),
    ),
    mutant(
        "episodes.py",
        "if cap is not None and cap < rows_tk.shape[1]:",
        "if cap is not None:\n            cap = min(cap, rows_tk.shape[1] - 1)",
        episodes("test_caps_larger_than_the_blocks_change_nothing"),
    ),
    mutant(
        "episodes.py",
        "int(torch.randint(len(self.sizes), (), generator=draw))",
        "0",
        episodes("test_few_shot_sizes_hold_for_a_whole_batch_and_all_come_up"),
    ),
    mutant(
        "episodes.py",
        "(n_t * size // whole).clamp(min=1)",
        "n_t.clamp(max=size)",
        episodes("test_few_shot_items_with_few_rows_give_what_they_have"),
    ),
    mutant(
        "episodes.py",
        "draw_tk = torch.rand(len(count_t), width, generator=generator)",
        "draw_tk = torch.rand(len(count_t), width, generator=generator) "
        "* torch.arange(1, width + 1)",
        episodes("test_few_shot_subsets_are_drawn_evenly"),
    ),
    mutant(
        "episodes.py",
        "Generator().manual_seed(seeds[position])",
        "generator",
        episodes("test_few_shot_late_start_gives_the_same_tail"),
    ),
    mutant(
        "episodes.py",
        "int(self.support_mask_tk.sum() + self.query_mask_tk.sum())",
        "int(self.support_mask_tk.numel() + self.query_mask_tk.numel())",
        episodes("test_length_counts_real_rows_only"),
    ),
    mutant(
        "episodes.py",
        "mask_tk.sum(dim=1).clamp(min=1.0)",
        "mask_tk.shape[1]",
        episodes("test_masked_mean_by_hand"),
    ),
    mutant(
        "episodes.py",
        "return (value_tk * mask_tk).sum(dim=1)",
        "return value_tk.sum(dim=1)",
        episodes("test_padding_has_no_influence_and_no_gradient"),
        metae(
            "test_padding_and_empty_items_do_not_count",
            "test_batched_tasks_equal_a_loop_over_items_and_rows[20-FNN]",
        ),
    ),
    # ------------------------------------------------------------------ the seam
    mutant(
        "_backbone.py",
        "weight_b1 = None if self.slot is None else self.slot[1]",
        "weight_b1 = None if self.slot is None or self.slot[1] is None else 2 * self.slot[1]",
        every(
            "test_own_rows_give_the_plain_models_logits[DeepFM]",
            "test_the_vector_stands_for_the_item_id_and_nothing_else[DeepFM]",
        ),
    ),
    mutant(
        "_backbone.py",
        "torch.cat([before, vector_bd[:, None], after], dim=1)",
        "torch.cat([vector_bd[:, None], before, after], dim=1)",
        every("test_the_vector_stands_for_the_item_id_and_nothing_else[FNN]"),
    ),
    mutant(
        "_backbone.py",
        "vector_bd[:, None], after",
        "nn.functional.dropout(vector_bd, 0.5, self.training)[:, None], after",
        every("test_in_training_mode_too[DCN]"),
    ),
    mutant(
        "_backbone.py",
        "vector_bd[:, None], after",
        "torch.cat([vector_bd[:1], table_bfd[1:, self.position]])[:, None], after",
        every("test_a_changed_vector_changes_every_row[PNN inner]"),
    ),
    mutant(
        "_backbone.py",
        "vector_bd[:, None], after",
        "vector_bd.detach()[:, None], after",
        every(
            "test_gradient_to_the_vector_and_to_nothing_of_the_id[AFM]",
            "test_gradient_flows_through_an_inner_step[EulerNet]",
        ),
    ),
    mutant(
        "_backbone.py",
        "vector_bd[:, None], after",
        "(vector_bd + (vector_bd - table_bfd[:, self.position]).mean(0))[:, None], after",
        every("test_vmap_over_rows_equals_the_batched_gradient[FNN]"),
    ),
    mutant(
        "_shortcuts.py",
        "weight = seam.slot and seam.slot[1]",
        "weight = seam.slot[1] if seam.slot else rest.new_zeros(len(rest), 1)",
        every("test_frozen_tables_give_the_same_logits_and_gradients[DeepFM]"),
    ),
    mutant(
        "_backbone.py",
        'self.__dict__["plain"] = view(model, **sigmoid)',
        "self.plain = view(model, **sigmoid)",
        every("test_state_is_the_plain_models[FM]"),
    ),
    mutant(
        "_backbone.py",
        "return not torch.equal(self.logits(batch, own, bumped), plain)",
        "return True",
        every("test_who_has_a_first_order_part[PNN outer]"),
    ),
    mutant(
        "_backbone.py",
        "weight_b1 = torch.zeros_like(table_bf1[:, position])",
        "weight_b1 = table_bf1[:, position]",
        every("test_id_first_order_off_takes_the_scalar_out[WideDeep]"),
    ),
    mutant(
        "_backbone.py",
        "self.id_field = id_field\n",
        "self.id_field = dataset.iid_field\n",
        every("test_user_side[NFM]"),
    ),
    mutant(
        "_backbone.py",
        '    "LR": "it has first-order weights only, no embeddings",\n',
        "",
        seam("test_cases_are_all_that_recbole_and_we_have"),
    ),
    mutant(
        "_backbone.py",
        "if not torch.allclose(torch.sigmoid(plain), predicted, equal_nan=True):",
        "if False:",
        seam(
            "test_unwrappable_backbones_say_so_by_name[KD_DAGFM]",
            "test_a_model_that_gives_probabilities_instead_of_logits_is_refused",
        ),
    ),
    mutant(
        "_backbone.py",
        "if self.reads_vector and torch.equal(self.logits(batch, own + 1.0), plain):",
        "if False:",
        seam(
            "test_unwrappable_backbones_say_so_by_name[LR]",
        ),
    ),
    mutant(
        "_backbone.py",
        "if not torch.equal(self.logits(batch, own), plain):",
        "if False:",
        seam("test_a_model_with_chance_in_evaluation_mode_is_refused"),
    ),
    mutant(
        "_backbone.py",
        "            if self.reads_vector:\n"
        "                self._refuse_second_tables(batch, own, plain)\n",
        "",
        seam("test_a_second_table_with_the_id_is_refused"),
    ),
    mutant(
        "_backbone.py",
        "return gradient is None or bool(gradient.any())",
        "return True",
        seam("test_a_start_at_zero_that_cannot_learn_is_refused"),
        every("test_who_learns_from_zero[AFN]"),
    ),
    mutant(
        "_backbone.py",
        "if main is None or self.id_field not in self.model.token_field_names:",
        "if False:",
        seam("test_a_model_without_a_token_table_is_refused"),
    ),
    mutant(
        "_backbone.py",
        "except (RuntimeError, AttributeError, TypeError, KeyError) as error:",
        "except KeyError as error:",
        seam("test_a_model_that_does_not_run_on_the_data_is_refused"),
    ),
    mutant(
        "_backbone.py",
        "with evaluating(self.model):\n            self.has_first_order",
        "with evaluating():\n            self.has_first_order",
        seam("test_probing_leaves_the_mode_and_the_statistics_alone"),
    ),
    mutant(
        "_backbone.py",
        "self.plain.training = self.model.training",
        "pass",
        seam("test_a_models_own_training_flag_reaches_its_forward"),
    ),
    mutant(
        "_backbone.py",
        "        finally:\n            self.slot = None",
        "        finally:\n            pass",
        seam("test_the_slot_is_empty_again_after_a_failure"),
    ),
    mutant(
        "_backbone.py",
        "        if self._share and self._shared is None:",
        "        self.slot = None\n        if self._share and self._shared is None:",
        seam("test_loss_inside_the_slot_reads_the_given_vector"),
        drop("test_a_batch_without_a_drop_has_the_plain_loss"),
    ),
    mutant(
        "_backbone.py",
        "return self._shared.calculate_loss(interaction)",
        "return 1.0001 * self._shared.calculate_loss(interaction)",
        seam("test_the_training_loss_is_the_plain_models[DSSM]"),
    ),
    mutant(
        "_shortcuts.py",
        "table.weight = exchanged_for.weight",
        "pass",
        seam("test_a_small_penalty_on_the_tables_is_not_lost"),
    ),
    mutant(
        "_backbone.py",
        "    if not token_seq_fields:  # a model",
        "    if False:  # a model",
        seam("test_released_pooling_without_a_sequence"),
    ),
    mutant(
        "_shortcuts.py",
        "return table.index_select(0, code.reshape(-1))",
        "return table.detach().index_select(0, code.reshape(-1))",
        shortcuts("test_rows_and_gradient_are_those_of_embedding", "test_gradients_of_gradients"),
    ),
    mutant(
        "_shortcuts.py",
        "special = type(module) is not nn.Embedding or (",
        "special = type(module) is not nn.Embedding and (",
        shortcuts("test_plain_tables_are_exchanged_in_place_and_keep_their_weights"),
    ),
    mutant(
        "_shortcuts.py",
        "return super().forward(code) if self.sparse else lookup(self.weight, code)",
        "return lookup(self.weight, code)",
        shortcuts("test_a_table_with_sparse_gradients_keeps_them"),
    ),
    mutant(
        "_shortcuts.py",
        "bpe,kpe->bpk",
        "bpk,kpe->bpe",
        shortcuts("test_outer_products_are_recboles_with_gradients"),
    ),
    mutant(
        "_base.py",
        "return full + (left > 1 or (left == 1 and full == 0))",
        "return full + (left > 0)",
        base_rows("test_batch_norm_trains_with_one_row_left_over"),
        base_rows("test_no_batch_is_a_single_left_over_row[4-9-sizes2]"),
    ),
    mutant(
        "_base.py",
        "end = None if position == last else (position + 1) * self.batch_size",
        "end = (position + 1) * self.batch_size",
        base_rows("test_no_batch_is_a_single_left_over_row[4-9-sizes2]"),
    ),
    mutant(
        "_shortcuts.py",
        "codes[field] = place + 1",
        "codes[field] = place",
        seam("test_the_training_loss_is_the_plain_models[FM]"),
    ),
    mutant(
        "_backbone.py",
        "            yield\n        finally:\n            self._frozen = None",
        "            yield\n        finally:\n            pass",
        seam("test_frozen_tables_pool_on_entry_and_only_while_open"),
    ),
    mutant(
        "_backbone.py",
        "dataset.fields(source=[FeatureSource.USER]), dataset.uid_field",
        "dataset.fields(source=[FeatureSource.USER, FeatureSource.INTERACTION]), dataset.uid_field",
        seam("test_frozen_tables_keep_what_belongs_to_a_row"),
    ),
    mutant(
        "_backbone.py",
        "size = int(self.model.token_field_dims[position])",
        "size = int(self.model.token_field_dims[position]) - 1",
        seam("test_table_of_is_what_the_model_looks_up"),
    ),
    mutant(
        "_backbone.py",
        "parts.append(self.table_of(field)[features[field]])",
        "parts.append(self.table_of(field)[features[field].flip(0)])",
        seam("test_side_vectors_item_by_item[DeepFM-mean]"),
    ),
    mutant(
        "_backbone.py",
        "parts = [self.id_table()] if include_id else []",
        "parts = [self.id_table()]",
        seam("test_the_id_is_side_information_only_on_request"),
    ),
    mutant(
        "_backbone.py",
        "        if not parts:\n",
        "        if False:\n",
        seam("test_no_side_information_is_said"),
    ),
    mutant(
        "_backbone.py",
        "table(field).sum(dim=1, keepdim=True)",
        "(table(field) * (field != 0)[:, :, None]).sum(dim=1, keepdim=True)",
        seam(
            "test_released_pooling_sums_the_padding_row_in",
            "test_side_vectors_item_by_item[DSSM-sum_with_pad]",
        ),
    ),
    mutant(
        "_backbone.py",
        "parameter.uniform_(-0.01, 0.01)",
        "parameter.uniform_(-0.1, 0.1)",
        seam("test_released_initialisation_is_uniform_and_small"),
    ),
    mutant(
        "_backbone.py",
        "main.register_forward_hook(self._splice)",
        "main.register_forward_hook(lambda *given: self._splice(*given))",
        seam("test_a_deep_copy_reads_its_own_slot"),
    ),
    # ------------------------------------------------------------------ the base class
    mutant(
        "_base.py",
        "return table[self.old_ids].mean(dim=0).expand(len(self.new_ids), -1).clone()",
        "return table[1:].mean(dim=0).expand(len(self.new_ids), -1).clone()",
        base("test_the_mean_is_of_old_items_only"),
    ),
    mutant(
        "_base.py",
        "return self.backbone.id_table()[self.old_ids].mean(dim=0)",
        "return self.backbone.id_table().mean(dim=0)",
        base("test_the_mean_is_of_old_items_only"),
        drop("test_the_substitute_is_the_mean_of_old_items"),
        mwuf("test_c_starts_at_the_mean_of_old_items"),
    ),
    mutant(
        "_base.py",
        "return torch.zeros_like(self.new_vectors)",
        "return torch.ones_like(self.new_vectors)",
        base("test_zero"),
    ),
    mutant(
        "_base.py",
        "return table[self.new_ids].clone()",
        "return torch.randn_like(self.new_vectors)",
        base("test_random_is_the_backbones_own_draw"),
        drop("test_released_cold_rows_are_the_tables_own"),
    ),
    mutant(
        "trainer.py",
        "weight_decay=step.weight_decay",
        "weight_decay=0.0",
        base("test_released_decay_turns_random_into_zero"),
    ),
    mutant(
        "_base.py",
        "return torch.where((slot >= 0)[:, None], new, ",
        "return torch.where((slot >= len(slot))[:, None], new, ",
        base(
            "test_new_items_with_equal_features_score_equally[mean]",
            "test_old_items_are_served_from_the_table_new_ones_from_their_rows",
        ),
    ),
    mutant(
        "_base.py",
        "new_index[new_ids] = torch.arange(len(new_ids), device=self.device)",
        "new_index[new_ids] = torch.arange(len(new_ids), device=self.device).flip(0)",
        base("test_old_items_are_served_from_the_table_new_ones_from_their_rows"),
    ),
    mutant(
        "_base.py",
        "return weights.detach()[self.old_ids].mean(dim=0)",
        "return weights.detach().mean(dim=0)",
        base("test_scalar_weight_of_a_new_item"),
    ),
    mutant(
        "_base.py",
        "return [*rows, self.new_first_order] if self.backbone.has_first_order else rows",
        "return rows",
        base("test_scalar_weights_learn_with_the_rows"),
    ),
    mutant(
        "_base.py",
        '            self.trainable("warm_up"),\n',
        '            [*self.trainable("warm_up"), *self.backbone.parameters()],\n',
        base("test_one_batch_moves_only_the_rows_in_it"),
    ),
    mutant(
        "_base.py",
        "return F.binary_cross_entropy_with_logits(logits, interaction[self.label_field])",
        "return F.mse_loss(logits, interaction[self.label_field])",
        base("test_loss_is_binary_cross_entropy"),
    ),
    mutant(
        "_base.py",
        "return F.binary_cross_entropy_with_logits(logits, interaction[self.label_field])",
        "return -F.binary_cross_entropy_with_logits(logits, interaction[self.label_field])",
        base("test_fine_tuning_is_gradient_descent_on_the_rows"),
    ),
    mutant(
        "_base.py",
        'mode=self.learning_mode("dropout")',
        'mode="train"',
        base("test_batch_norm_statistics_move_only_on_request[frozen-Base]"),
    ),
    mutant(
        "_base.py",
        'mode=self.learning_mode("dropout")',
        'mode="dropout"',
        base("test_batch_norm_statistics_move_only_on_request[moving-Base]"),
    ),
    mutant(
        "mwuf.py",
        'mode=self.learning_mode("eval"),',
        'mode="eval",',
        base("test_batch_norm_statistics_move_only_on_request[moving-MWUF]"),
    ),
    mutant(
        "mwuf.py",
        'self.row_batches(self.train_index), self.learning_mode("eval")',
        'self.row_batches(self.train_index), "train"',
        base("test_while_a_module_learns_too[frozen-MWUF]"),
    ),
    mutant(
        "_side_decoder.py",
        'self.module_steps(), self.learning_mode("eval")',
        'self.module_steps(), "eval"',
        base("test_while_a_module_learns_too[moving-CVAR]"),
    ),
    mutant(
        "_base.py",
        'self.backbone.train(mode == "train")',
        'self.backbone.train(mode != "evaluate")',
        base("test_modes"),
    ),
    mutant(
        "_base.py",
        "self.counts += self._count(index)",
        "self.counts += 2 * self._count(index)",
        base("test_counts_are_of_what_was_seen"),
    ),
    mutant(
        "_base.py",
        'full = self.config["count_source"] == "full"',
        "full = False",
        base("test_released_counts_are_of_the_whole_log"),
        cvar("test_released_frequency_is_of_the_whole_log"),
    ),
    mutant(
        "_base.py",
        "if full else torch.zeros_like(counts[0])",
        "",
        base("test_counts_are_of_what_was_seen"),
    ),
    mutant(
        "_base.py",
        'features[self.config["COUNT_FIELD"]] = self.frequency()',
        "pass",
        base("test_the_backbone_reads_the_count[visible]"),
    ),
    mutant(
        "_base.py",
        "return vector, self.first_order_of(ids)",
        "return vector + 1e-4, self.first_order_of(ids)",
        (f"{BASE}::test_a_generator_of_the_tables_rows_gives_the_backbones_logits[DCN-MetaE]",),
    ),
    mutant(
        "_base.py",
        "self.id_field = dataset.uid_field if user_side else dataset.iid_field",
        "self.id_field = dataset.iid_field",
        (f"{BASE}::test_users_can_be_the_cold_side[MWUF]",),
    ),
    # ------------------------------------------------------------------ DropoutNet
    mutant(
        "dropoutnet.py",
        "torch.where(dropped_b[:, None], substitute_d, vector_bd)",
        "torch.where(dropped_b[:, None], vector_bd, substitute_d)",
        drop("test_drop_by_hand", "test_a_batch_without_a_drop_has_the_plain_loss"),
    ),
    mutant(
        "dropoutnet.py",
        "self.dropped_loss if self.rate else self.backbone.calculate_loss",
        "self.dropped_loss",
        drop("test_rate_zero_is_plain_pretraining_bit_for_bit[DeepFM]"),
    ),
    mutant(
        "dropoutnet.py",
        "self.cold_first_order(), dropped_b)",
        "self.cold_first_order(), dropped_b & False)",
        drop(
            "test_rate_one_learns_nothing_about_the_id",
            "test_a_cold_item_scores_as_a_dropped_row[DeepFM]",
        ),
    ),
    mutant(
        "dropoutnet.py",
        "self.substitute().detach(), dropped_b",
        "self.substitute(), dropped_b",
        drop(
            "test_pretraining_at_rate_one_leaves_the_table_alone",
            "test_kept_rows_get_the_plain_gradient_dropped_ones_none",
        ),
    ),
    mutant(
        "dropoutnet.py",
        "device=self.device) < self.rate)",
        "device=self.device) < 1.2 * self.rate)",
        drop("test_rows_are_dropped_at_the_rate"),
    ),
    mutant(
        "dropoutnet.py",
        'draws = 1 if self.granularity == "batch" else size',
        "draws = size",
        drop("test_released_granularity_is_the_batch"),
    ),
    mutant(
        "dropoutnet.py",
        'draws = 1 if self.granularity == "batch" else size',
        "draws = 1",
        drop("test_rows_are_dropped_at_the_rate"),
    ),
    mutant(
        "dropoutnet.py",
        'return rows.mean(dim=0) if self.config["dropoutnet_mean"] == "table" else self.old_mean()',
        "return rows.mean(dim=0)",
        drop("test_the_substitute_is_the_mean_of_old_items"),
    ),
    mutant(
        "dropoutnet.py",
        'return rows.mean(dim=0) if self.config["dropoutnet_mean"] == "table" else self.old_mean()',
        "return self.old_mean()",
        drop("test_released_substitute_is_the_mean_of_the_table"),
    ),
    mutant(
        "dropoutnet.py",
        "return self.substitute().detach().expand(len(self.new_ids), -1).clone()",
        "return super().cold_vectors() * 0.5",
        drop("test_a_cold_item_scores_as_a_dropped_row[DCN]"),
    ),
    mutant(
        "dropoutnet.py",
        'if self.config["dropoutnet_cold"] == "raw":',
        "if False:",
        drop("test_released_cold_rows_are_the_tables_own"),
    ),
    mutant(
        "_base.py",
        "        vector = self._served(ids, self.new_vectors, self.backbone.id_table())\n",
        "        vector = self._served(ids, self.new_vectors, self.backbone.id_table())\n"
        "        vector = self.old_mean().expand_as(vector)\n",
        drop("test_scoring_never_drops"),
    ),
    mutant(
        "dropoutnet.py",
        'keys = ("dropoutnet_mean", "id_first_order")',
        'keys = ("dropoutnet_mean",)',
        drop("test_what_changes_pretraining_is_in_its_key"),
    ),
    mutant(
        "dropoutnet.py",
        'keys = ("dropoutnet_mean", "id_first_order")',
        'keys = ("id_first_order",)',
        drop("test_what_changes_pretraining_is_in_its_key"),
    ),
    mutant(
        "trainer.py",
        "parameter.grad = parameter.grad.to_sparse(1)",
        "parameter.grad = None",
        drop("test_lazy_tables_learn_too"),
        cvar("test_lazy_tables_learn_too"),
    ),
    # ------------------------------------------------------------------ MetaE
    mutant(
        "metae.py",
        "stepped, cold_t = inner_step(support_loss, vector_td, rate)",
        "stepped, cold_t = inner_step(support_loss, vector_td, rate, second_order=False)",
        metae("test_gradient_through_the_inner_step"),
    ),
    mutant(
        "metae.py",
        "vector_td.repeat_interleave(mask_tk.shape[1], dim=0)",
        "vector_td.repeat(mask_tk.shape[1], 1)",
        metae("test_batched_tasks_equal_a_loop_over_items_and_rows[5-FNN]"),
    ),
    mutant(
        "metae.py",
        "self.task_losses(stepped, episode.query, episode.query_mask_tk)",
        "self.task_losses(stepped, episode.support, episode.support_mask_tk)",
        metae(
            "test_rate_zero_leaves_the_generated_vector",
            "test_alpha_one_never_reads_the_query",
        ),
    ),
    mutant(
        "episodes.py",
        "/ mask_tk.sum(dim=1).clamp(min=1.0)",
        "/ 5.0",
        metae("test_doubled_support_rows_leave_the_step"),
    ),
    mutant(
        "metae.py",
        "return alpha * cold_t + (1.0 - alpha) * warm_t",
        "return (1.0 - alpha) * cold_t + alpha * warm_t",
        metae("test_meta_loss_by_hand", "test_alpha_one_never_reads_the_query"),
    ),
    mutant(
        "metae.py",
        "return loss_t.sum() / real_t.sum().clamp(min=1)",
        "return loss_t.mean()",
        metae("test_padding_and_empty_items_do_not_count"),
    ),
    mutant(
        "metae.py",
        "logits = self.cold_logits(rows, vector)",
        "logits = self.backbone.logits(rows, vector)",
        metae("test_old_items_learn_with_a_new_items_scalar"),
    ),
    mutant(
        "metae.py",
        'epochs = len(batches.pairs) * self.config["metae_epochs"]',
        'epochs = self.config["metae_epochs"]',
        metae("test_only_the_generator_learns_over_four_pairs"),
    ),
    mutant(
        "metae.py",
        "return mean_where_bare(self, self.generator(self.side_vectors()[self.new_ids]))",
        "return self.generator(self.side_vectors()[self.new_ids]) + 1e-3 * self.old_mean()",
        metae("test_cold_rows_are_generated_from_side_information_only"),
    ),
    mutant(
        "metae.py",
        "return mean_where_bare(self, self.generator(self.side_vectors()[self.new_ids]))",
        "return self.generator(self.side_vectors()[self.new_ids])",
        metae("test_items_without_side_information_start_from_the_mean"),
    ),
    mutant(
        "metae.py",
        "    @torch.no_grad()\n    def cold_vectors(self)",
        "    def warm_fits(self, index):\n        return []\n\n"
        "    @torch.no_grad()\n    def cold_vectors(self)",
        metae("test_warm_phases_are_plain_fine_tuning"),
    ),
    mutant(
        "metae.py",
        "nn.Linear(side, size, bias=False)",
        "nn.Linear(side, size)",
        metae("test_released_generator_by_hand"),
    ),
    mutant(
        "metae.py",
        "        if not blocks.mask_tjk.any():\n",
        "        if False:\n",
        metae("test_too_few_rows_are_said"),
    ),
    mutant(
        "metae.py",
        "rate = rate / len(vector_td)",
        "pass",
        metae("test_released_inner_step_has_rate_eta_over_the_batch"),
    ),
    mutant(
        "metae.py",
        'size = self.config["metae_block_size"] if self.per_item else None',
        'size = self.config["metae_block_size"]',
        metae("test_released_blocks_are_a_quarter_of_an_items_rows"),
    ),
    mutant(
        "metae.py",
        "blocks.rows_tjk.transpose(0, 2, 1).reshape(t * k, j, 1)[real]",
        "blocks.rows_tjk.reshape(t * k, j, 1)[real]",
        metae("test_rowwise_by_hand"),
    ),
    # ------------------------------------------------------------------ MWUF
    mutant(
        "mwuf.py",
        "cold_bd if scale_bd is None else cold_bd * scale_bd",
        "cold_bd if scale_bd is None else cold_bd + scale_bd",
        mwuf("test_warm_is_cold_times_scale_plus_shift"),
    ),
    mutant(
        "_layers.py",
        "return nn.Sequential(*layers[:-1])",
        "return nn.Sequential(*layers)",
        mwuf("test_cold_row_from_scratch"),
    ),
    mutant(
        "mwuf.py",
        "scaled if shift_bd is None else scaled + shift_bd",
        "scaled if shift_bd is None else scaled + shift_bd + 1e-3",
        mwuf("test_scale_one_and_shift_zero_give_the_cold_logits"),
    ),
    mutant(
        "mwuf.py",
        ".detach()\n        return warm(cold",
        "\n        return warm(cold",
        mwuf("test_each_loss_owns_its_parameters"),
    ),
    mutant(
        "mwuf.py",
        "            Step(cold_loss, cold_parameters, learning_rate, decay),\n"
        '            Step(warm_loss, self.networks(), self.config["learning_rate"], decay),\n',
        '            Step(warm_loss, self.networks(), self.config["learning_rate"], decay),\n'
        "            Step(cold_loss, cold_parameters, learning_rate, decay),\n",
        mwuf("test_algorithm_1_on_one_batch"),
    ),
    mutant(
        "mwuf.py",
        "def score(batch, vector_bd: Tensor) -> Tensor:\n",
        "def score(batch, vector_bd: Tensor) -> Tensor:\n"
        "            vector_bd = vector_bd + self.backbone.id_table()[batch[self.id_field]]\n",
        mwuf("test_old_items_learn_as_if_new"),
    ),
    mutant(
        "mwuf.py",
        'rows.mean(dim=0) if self.config["mwuf_mean"] == "table" else self.old_mean()',
        "rows.mean(dim=0)",
        mwuf("test_c_starts_at_the_mean_of_old_items"),
    ),
    mutant(
        "mwuf.py",
        'rows.mean(dim=0) if self.config["mwuf_mean"] == "table" else self.old_mean()',
        "self.old_mean()",
        mwuf("test_released_start_is_the_mean_of_the_table"),
    ),
    mutant(
        "mwuf.py",
        "parameter.uniform_(-0.01, 0.01)",
        "parameter.uniform_(-0.1, 0.1)",
        mwuf("test_released_networks_start_small"),
    ),
    mutant(
        "mwuf.py",
        "return sums_nd / counts_n.clamp(min=1.0)[:, None]",
        "return sums_nd / (counts_n + 1.0)[:, None]",
        mwuf("test_audience_against_lists"),
    ),
    mutant(
        "mwuf.py",
        '        if self.config["mwuf_warm"] == "recompute":\n',
        "        if False:\n",
        mwuf(
            "test_audience_grows_with_each_warm_up_set",
            "test_served_rows_follow_the_users_even_if_nothing_learns",
        ),
    ),
    mutant(
        "mwuf.py",
        "index = index[columns[self.label_field][index] > 0]",
        "index = index[columns[self.label_field][index] >= 0]",
        mwuf("test_positive_users_only"),
    ),
    mutant(
        "mwuf.py",
        "item, user = user[fits], item[fits]",
        "item, user = item[fits], user[fits]",
        mwuf("test_released_lists_exchange_the_ids"),
    ),
    mutant(
        "mwuf.py",
        'self.shift_net = mlp([size, *hidden, size]) if "shift" in parts else None',
        "self.shift_net = mlp([size, *hidden, size])",
        mwuf("test_scale_alone_knows_no_users_and_shift_alone_no_side"),
    ),
    mutant(
        "mwuf.py",
        'if not parts or parts - {"scale", "shift"}:',
        "if False:",
        mwuf("test_other_parts_are_refused"),
    ),
    mutant(
        "mwuf.py",
        "after=self._serve,",
        "after=None,",
        mwuf("test_served_rows_follow_the_users_even_if_nothing_learns"),
    ),
    mutant(
        "mwuf.py",
        "cold_parameters.append(self.new_first_order)",
        "pass",
        mwuf("test_a_warm_phase_moves_new_items_cold_rows_and_the_networks"),
    ),
    mutant(
        "mwuf.py",
        '        if self.config["mwuf_warm"] == "init_only":\n',
        "        if False:\n",
        mwuf("test_released_warm_phases_only_fine_tune"),
    ),
    mutant(
        "_base.py",
        "self.epochs * len(self.batches) * self.repeats * len(self.steps)",
        "self.epochs * len(self.batches) * self.repeats",
        mwuf("test_steps_are_counted_per_loss"),
    ),
    # ------------------------------------------------------------------ CVAR
    mutant(
        "_vae.py",
        "torch.exp(log_var / 2) - torch.exp(log_var_p / 2)",
        "torch.exp(log_var / 2) - torch.exp(log_var_p)",
        distance("test_against_the_matrix_formula", "test_is_a_distance"),
    ),
    mutant(
        "_vae.py",
        "torch.exp(log_var / 2) - torch.exp(log_var_p / 2)",
        "torch.exp(log_var).sqrt() - torch.exp(log_var_p).sqrt()",
        distance("test_gradient_is_finite_without_spread"),
    ),
    mutant(
        "_vae.py",
        "return mean + noise * torch.exp(log_var / 2) * torch.randn_like(mean)",
        "return mean + noise * torch.exp(log_var) * torch.randn_like(mean)",
        distance("test_sample_has_the_given_spread"),
    ),
    mutant(
        "_vae.py",
        "return mean + noise * torch.exp(log_var / 2) * torch.randn_like(mean)",
        "return mean + torch.exp(log_var / 2) * torch.randn_like(mean)",
        cvar("test_noise_is_the_only_chance"),
    ),
    mutant(
        "cvar.py",
        "        return self.loss(logits, interaction) + apart",
        "        return self.loss(logits, interaction) + apart.mean()\n        return apart",
        cvar("test_loss_row_by_row"),
    ),
    mutant(
        "cvar.py",
        "        return self.loss(logits, interaction) + apart",
        "        return self.loss(logits, interaction) + apart[made.place].sum()\n"
        "        return apart",
        cvar("test_a_doubled_batch_has_the_same_loss"),
    ),
    mutant(
        "_side_decoder.py",
        "return self._served(ids, self.new_vectors, self.backbone.id_table()).detach()",
        "return self._served(ids, self.new_vectors, self.backbone.id_table())",
        cvar("test_no_gradient_into_any_id_row"),
    ),
    mutant(
        "_side_decoder.py",
        "return self.decoded(self.new_ids)",
        "return self.decoded(self.new_ids) + self.new_vectors",
        cvar("test_decoded_rows_do_not_depend_on_id_rows"),
    ),
    mutant(
        "_vae.py",
        "return self.decode(self.encode_side(ids)[0], ids)",
        "return self.decode(sample(*self.encode_side(ids), 1.0), ids)",
        cvar("test_cold_rows_from_scratch"),
    ),
    mutant(
        "_vae.py",
        "torch.cat([latent_iz, self.frequency()[ids][:, None]], dim=-1)",
        "torch.cat([latent_iz, 0 * self.frequency()[ids][:, None]], dim=-1)",
        cvar("test_frequency_enters_the_decoder"),
    ),
    mutant(
        "_layers.py",
        'F.embedding_bag(code_bl, table, mode="mean", padding_idx=0)',
        'F.embedding_bag(code_bl, table, mode="mean")',
        cvar("test_own_side_item_by_item[True-mean]"),
    ),
    mutant(
        "_layers.py",
        'F.embedding_bag(code_bl, table, mode="sum")',
        'F.embedding_bag(code_bl, table, mode="sum", padding_idx=0)',
        cvar("test_own_side_item_by_item[False-sum_with_pad]"),
    ),
    mutant(
        "_layers.py",
        "nn.init.zeros_(self.own_id.weight)",
        "nn.init.normal_(self.own_id.weight)",
        cvar("test_cold_rows_from_scratch", "test_own_tables_are_apart_from_the_backbones"),
    ),
    mutant(
        "_layers.py",
        "if id_dropout > 0.0 and self.training:",
        "if id_dropout > 0.0:",
        cvar("test_private_ids_are_hidden_per_row_while_learning_only"),
    ),
    mutant(
        "_layers.py",
        ">= id_dropout",
        ">= 1.5 * id_dropout",
        cvar("test_private_ids_are_hidden_per_row_while_learning_only"),
    ),
    mutant(
        "_side_decoder.py",
        "        if self.own_side.width == 0:\n",
        "        if False:\n",
        cvar("test_nothing_to_decode_from_is_said"),
    ),
    mutant(
        "_side_decoder.py",
        'repeats, steps, mode = self.key("iters"),',
        "repeats, steps, mode = 1,",
        cvar("test_steps_are_epochs_times_batches_times_repeats"),
    ),
    mutant(
        "_side_decoder.py",
        "self.row_batches(index), epochs, repeats, mode, after)",
        "self.row_batches(index), epochs * repeats, 1, mode, after)",
        cvar("test_each_batch_is_repeated_in_a_row"),
    ),
    mutant(
        "_vae.py",
        "return [self.own_side, self.posterior, self.prior, self.decoder]",
        "return [self.own_side, self.prior, self.decoder]",
        cvar("test_only_cvars_parameters_learn"),
    ),
    mutant(
        "_side_decoder.py",
        'return [*fits, self._module_fit(index, "decode", epochs, self._serve)]',
        'return [self._module_fit(index, "decode", epochs, self._serve), *fits]',
        cvar("test_a_warm_phase_fine_tunes_then_learns_then_decodes_again"),
    ),
    mutant(
        "_side_decoder.py",
        '        if self.key("warm") == "init_only":\n',
        "        if False:\n",
        cvar("test_init_only_is_plain_fine_tuning"),
    ),
    mutant(
        "_side_decoder.py",
        "        if not bool(self.new_items_started):\n",
        "        if True:\n",
        cvar("test_scalar_weights_are_a_new_items_until_it_has_its_own"),
    ),
    # ------------------------------------------------------------------ MAMO
    mutant(
        "mamo.py",
        "torch.softmax(cosine_tm / temperature, dim=1)",
        "torch.softmax(cosine_tm * temperature, dim=1)",
        memories(
            "test_attention_by_hand[0.25]",
            "test_attention_is_one_row_in_the_limit_of_no_temperature",
        ),
    ),
    mutant(
        "mamo.py",
        "F.normalize(profile_tp, dim=1) @",
        "profile_tp @",
        memories("test_attention_reads_directions_not_lengths"),
    ),
    mutant(
        "mamo.py",
        "torch.tensordot(attention_tm, memory, dims=1)",
        "torch.tensordot(attention_tm.softmax(dim=1), memory, dims=1)",
        memories("test_read_is_the_weighted_sum_of_the_rows"),
    ),
    mutant(
        "mamo.py",
        "attention_tm * real_t[:, None] / real_t.sum().clamp(min=1.0)",
        "attention_tm * real_t[:, None]",
        memories("test_write_by_hand"),
    ),
    mutant(
        "mamo.py",
        "given_m = torch.ones_like(share_tm[0]) * (real_t.sum() > 0)",
        "given_m = torch.ones_like(share_tm[0])",
        memories("test_tasks_without_rows_write_nothing[all]"),
    ),
    mutant(
        "mamo.py",
        "given_m = share_tm.sum(dim=0)",
        "given_m = torch.ones_like(share_tm[0])",
        memories("test_what_is_read_after_many_equal_writes"),
    ),
    mutant(
        "mamo.py",
        "kept_m = 1.0 - rate * given_m",
        "kept_m = 1.0 - 0.9 * rate * given_m",
        memories("test_rates_zero_and_one"),
    ),
    mutant(
        "mamo.py",
        "weight.flatten(start_dim=1) for weight in weights",
        "weight.flatten(start_dim=1) for weight in reversed(list(weights))",
        memories("test_weights_as_a_row_and_back"),
    ),
    mutant(
        "mamo.py",
        'F.leaky_relu(dense(weights, "rec.0", mixed))',
        'F.relu(dense(weights, "rec.0", mixed))',
        (f"{MAMO}::test_stacked_tasks_equal_a_loop_and_torch_func",),
    ),
    mutant(
        "mamo.py",
        "weights[name] - tau * shift[name]",
        "weights[name] + tau * shift[name]",
        (f"{MAMO}::test_the_start_by_hand",),
    ),
    mutant(
        "mamo.py",
        '"memory": read(attention_tm, tasks_mxx)',
        '"memory": read(torch.full_like(attention_tm, 1 / 3), tasks_mxx)',
        mamo("test_the_matrix_goes_with_the_profile"),
    ),
    mutant(
        "mamo.py",
        'self.config["mamo_write"] == "support"',
        'self.config["mamo_write"] == "query"',
        mamo("test_one_batch_by_hand"),
    ),
    mutant(
        "mamo.py",
        "        return after_t.mean()",
        "        return row_loss(net.task_logits(net.state(support), query), query).mean()",
        mamo("test_memories_are_read_only_within_a_batch"),
    ),
    mutant(
        "mamo.py",
        'config["mamo_alpha"], config["mamo_beta"], config["mamo_gamma"]',
        'config["mamo_alpha"], config["mamo_gamma"], config["mamo_beta"]',
        mamo("test_each_memory_has_its_own_rate[beta-gradients]"),
    ),
    mutant(
        "mamo.py",
        'config["mamo_temperature"], config["mamo_tau"]',
        'config["mamo_temperature"], config["mamo_tau"] + 0.1',
        mamo("test_without_tau_the_memory_of_gradients_is_not_read"),
    ),
    mutant(
        "mamo.py",
        "        if net.training:\n",
        "        if True:\n",
        mamo("test_phases_read_and_never_write"),
    ),
    mutant(
        "mamo.py",
        "/ (2 * d) ** 0.5)",
        "/ (2 * d) ** 0.5, persistent=False)",
        mamo("test_an_interrupted_meta_training_has_equal_memories"),
    ),
    mutant(
        "mamo.py",
        'config["mamo_order"] == 2',
        'config["mamo_order"] == 3',
        mamo("test_second_order_gradient_by_differences"),
    ),
    mutant(
        "mamo.py",
        "shared = dict(self.layers.named_parameters())",
        "shared = {n: w.detach() for n, w in self.layers.named_parameters()}",
        mamo("test_tables_and_every_layer_learn"),
    ),
    mutant(
        "mamo.py",
        "row_loss(self.task_logits(weights, support), support),",
        "row_loss(self.task_logits(weights, support), support._replace("
        "mask_tk=torch.ones_like(support.mask_tk))),",
        mamo("test_padding_does_not_count"),
    ),
    mutant(
        "mamo.py",
        "row_loss(self.task_logits(weights, support), support),",
        "row_loss(self.task_logits(weights, support), support).sum().square()[None],",
        mamo("test_a_task_adapts_alone"),
    ),
    mutant(
        "mamo.py",
        "self.begin(self.attention(support.own_tp))",
        "self.begin(self.attention(support.own_tp).flip(0))",
        mamo("test_order_of_tasks_and_rows"),
    ),
    mutant(
        "mamo.py",
        "steps=self.steps[0] if",
        "steps=max(self.steps[0], 1) if",
        mamo("test_no_step_is_the_start[keys0]"),
    ),
    mutant(
        "mamo.py",
        "learning_rates=self.rate,",
        "learning_rates=self.rate or 1e-3,",
        mamo("test_no_step_is_the_start[keys1]"),
    ),
    mutant(
        "mamo.py",
        "learning_rates=self.rate,",
        "learning_rates=-self.rate,",
        mamo("test_a_separable_task_is_learned_from_its_support"),
    ),
    mutant(
        "_fewshot.py",
        'self._train = np.asarray(dataset.split["train"])',
        "self._train = np.arange(len(self._all_ids))",
        mamo("test_test_labels_reach_no_score"),
    ),
    mutant(
        "mamo.py",
        "        if p == 0:\n",
        "        if False:\n",
        mamo("test_without_features_all_read_the_same"),
    ),
    mutant(
        "mamo.py",
        'nn.init.normal_(table.weight, std=config["mamo_init_std"])',
        "pass",
        mamo("test_tables_start_with_the_given_spread"),
    ),
    mutant(
        "mamo.py",
        'choices: ClassVar = {"mamo_write"',
        'words: ClassVar = {"mamo_write"',
        mamo("test_other_words_are_refused"),
    ),
    # ------------------------------------------------------------------ few-shot learners
    mutant(
        "_fewshot.py",
        "return masked_mean(loss_tk, rows.mask_tk.to(logit_tk.dtype))",
        "return loss_tk.mean(dim=1)",
        few_shot("test_padding_changes_nothing", "test_a_task_without_rows_is_unadapted"),
        melu("test_loss_and_outer_gradient_by_hand"),
    ),
    mutant(
        "melu.py",
        "            lambda head: row_loss(self.task_logits(head, support), support),",
        "            lambda head: row_loss(self.task_logits(head, support), support)\n"
        "            * torch.arange(t).exp2(),",
        few_shot("test_tasks_in_another_order_have_the_same_scores"),
    ),
    mutant(
        "melu.py",
        "            lambda head: row_loss(self.task_logits(head, support), support),",
        "            lambda head: row_loss(self.task_logits(head, support)\n"
        "            * torch.arange(1, 1 + support.mask_tk.shape[1]), support),",
        few_shot("test_support_rows_in_another_order_change_nothing"),
    ),
    mutant(
        "melu.py",
        "        return hidden[:, :, 0]",
        "        return hidden[:, :, 0] + 1e-3 * hidden.mean()",
        few_shot("test_a_task_knows_nothing_of_the_others"),
    ),
    mutant(
        "_fewshot.py",
        "return row_loss(self.net.task_logits(self.net.state(support), query), query).mean()",
        "query_t = row_loss(self.net.task_logits(self.net.state(support), query), query)\n"
        "        support_t = row_loss(self.net.task_logits(\n"
        "            self.net.state(support), support), support)\n"
        "        return (query_t + 0.1 * support_t).mean()",
        melu("test_loss_is_the_query_loss"),
    ),
    mutant(
        "melu.py",
        "        return hidden[:, :, 0]",
        "        return hidden[:, :, 0] + 1e-3 * rows.label_tk",
        few_shot("test_query_labels_are_not_looked_at"),
    ),
    mutant(
        "_fewshot.py",
        "        super().observe(index)\n",
        "        super().observe(index)\n        self.support_count.clamp_(max=0)\n",
        few_shot("test_each_phase_adapts_anew_to_all_rows_seen"),
    ),
    mutant(
        "_fewshot.py",
        "self._by_task(ids[row], other_bq[row], state_of)",
        "self._by_task(ids[row], other_bq[row], state_of) \\\n"
        "                    + 1e-3 * interaction[self.label_field][row]",
        few_shot("test_labels_of_test_rows_reach_no_score"),
    ),
    mutant(
        "_fewshot.py",
        "out[place_tk[mask_tk]] = logit_tk[mask_tk]",
        "out[place_tk[mask_tk]] = logit_tk[mask_tk] + 1e-3 * len(ids)",
        few_shot("test_a_score_does_not_depend_on_its_company"),
    ),
    mutant(
        "_fewshot.py",
        "return self.net.state(self._support(slot_t))\n",
        "return self.net.state(rows.empty())\n",
        few_shot("test_states_that_are_not_kept_and_chunks_change_no_score"),
    ),
    mutant(
        "_inner.py",
        "            start += size\n",
        "            start += max(1, self.most // width)\n",
        few_shot("test_short_memory_is_said_and_survived"),
    ),
    mutant(
        "_fewshot.py",
        'self.register_buffer("support_count", torch.zeros_like(self.new_ids))',
        'self.register_buffer("support_count", torch.zeros_like(self.new_ids), persistent=False)',
        few_shot("test_supports_are_in_the_state"),
    ),
    mutant(
        "_fewshot.py",
        'return {self.id_field} if config["own_id"] else set()',
        "return {self.id_field}",
        few_shot(
            "test_the_own_id_is_an_input_only_if_asked_for",
            "test_new_users_are_tasks_too",
            "test_data_without_side_fields",
        ),
    ),
    mutant(
        "_fewshot.py",
        "loss_tk = F.binary_cross_entropy_with_logits(\n",
        "loss_tk = rows.label_tk.std(dim=1, keepdim=True).log() + "
        "F.binary_cross_entropy_with_logits(\n",
        few_shot("test_tasks_of_one_class_are_learned_from"),
    ),
    mutant(
        "_fewshot.py",
        "        self._states = None\n\n    def restored",
        "        self._states = None\n        self.support_count += 1\n\n    def restored",
        few_shot("test_a_phase_without_rows_changes_no_score"),
    ),
    mutant(
        "_fewshot.py",
        "        if batches.short:\n",
        "        if False:\n",
        training("test_large_k_and_large_batches"),
    ),
    mutant(
        "_fewshot.py",
        "or config[key] < 1:",
        "and config[key] < 1:",
        training("test_counts_are_checked"),
    ),
    mutant(
        "melu.py",
        "name_of=self.names_of(support),",
        "name_of=None,",
        training("test_a_diverging_inner_step_is_named"),
    ),
    mutant(
        "_fewshot.py",
        "        if not len(batches):\n",
        "        if False:\n",
        training("test_no_old_item_with_two_rows"),
    ),
    mutant(
        "_fewshot.py",
        'serves = ("warm",)',
        'serves = ("cold", "warm")',
        training("test_cold_scores_are_marked_unadapted"),
    ),
    mutant(
        "_fewshot.py",
        'return list(self.backbone.parameters()) if stage == "learn" else []',
        "return list(self.backbone.parameters())",
        training("test_nothing_is_trained_before_learning_or_in_the_phases"),
    ),
    # ------------------------------------------------------------------ MeLU
    mutant(
        "melu.py",
        "for k, v in self.head.named_parameters()}",
        "for k, v in self.head.named_parameters() if k[0] > '0'}\n"
        "        start |= {k: v.detach().expand(t, *v.shape) for k, v in\n"
        "                  self.head.named_parameters() if k[0] == '0'}",
        melu("test_tables_and_head_learn_from_the_query"),
    ),
    mutant(
        "melu.py",
        "        return adapted\n",
        "        return {**adapted, '0.bias': start['0.bias']}\n",
        melu("test_only_the_head_adapts", "test_one_step_of_a_logistic_regression"),
    ),
    mutant(
        "melu.py",
        "second_order=self.second_order",
        "second_order=False",
        melu("test_the_second_order_counts_and_vanishes_with_the_rate"),
    ),
    mutant(
        "melu.py",
        "            learning_rates=self.rate,",
        "            learning_rates=self.rate + 1e-2,",
        melu("test_rate_of_the_release_moves_nothing"),
    ),
    mutant(
        "melu.py",
        '{"melu_order": (1, 2)}',
        '{"melu_order": (1, 2, 3)}',
        melu("test_unknown_order"),
    ),
    # ------------------------------------------------------------------ TaNP
    mutant(
        "_layers.py",
        "return (value_tkd * mask_tk[..., None]).sum(dim=1)",
        "return value_tkd.sum(dim=1)",
        tanp(
            "TestNeuralProcess::test_batched_tasks_equal_tasks_one_number_at_a_time",
            "TestTaNP::test_padding_does_not_count",
        ),
        coldnas("test_batched_tasks_equal_tasks_one_number_at_a_time[example]"),
    ),
    mutant(
        "_layers.py",
        ".sum(dim=1).clamp(min=1.0)[:, None]",
        ".sum(dim=1).clamp(min=1.0, max=4.0)[:, None]",
        tanp("TestNeuralProcess::test_order_and_number_of_copies_of_the_support_do_not_matter"),
        coldnas("test_order_and_number_of_copies_of_the_support_do_not_matter[example]"),
    ),
    mutant(
        "_layers.py",
        'message="Initializing zero-element tensors"',
        'message="Initializing none"',
        tanp("TestTaNP::test_a_side_without_features_has_no_say"),
        coldnas("TestColdNAS::test_a_side_without_features_has_no_say"),
    ),
    mutant(
        "tanp.py",
        "torch.exp(0.5 * self.log_variance_tz)",
        "torch.exp(self.log_variance_tz)",
        tanp("test_samples_have_the_distributions_mean_and_variance"),
    ),
    mutant(
        "tanp.py",
        "** 2 / context.log_variance_tz.exp()",
        "** 2 / (2.0 * context.log_variance_tz).exp()",
        tanp("test_kl_is_that_of_torch_and_zero_for_equal_distributions"),
    ),
    mutant(
        "tanp.py",
        "square_tj if squared else",
        "square_tj if not squared else",
        tanp("test_clusters_sum_to_one_and_find_the_row_a_task_lies_on"),
    ),
    mutant(
        "tanp.py",
        "square_tj.clamp(min=1e-12).sqrt()",
        "square_tj.sqrt()",
        tanp("test_clusters_sum_to_one_and_find_the_row_a_task_lies_on[False]"),
    ),
    mutant(
        "tanp.py",
        "weight_tj = clusters_tj**2 / clusters_tj.sum(dim=0)",
        "weight_tj = clusters_tj**2",
        tanp("test_sharpened_clusters_by_hand"),
    ),
    mutant(
        "tanp.py",
        "    if detach_target:\n",
        "    if not detach_target:\n",
        tanp("test_the_clustering_target_has_gradient_unless_detached"),
    ),
    mutant(
        "tanp.py",
        "torch.lerp(common_th, scale_th, gate_th), torch.lerp",
        "torch.lerp(scale_th, common_th, gate_th), torch.lerp",
        tanp(
            "test_an_open_gate_is_plain_modulation",
            "TestNeuralProcess::test_batched_tasks_equal_tasks_one_number_at_a_time[{}]",
        ),
    ),
    mutant(
        "tanp.py",
        "                hidden_tkh = layer(hidden_tkh)\n",
        "                hidden_tkh = layer(hidden_tkh - hidden_tkh.mean(dim=1, keepdim=True))\n",
        tanp("TestNeuralProcess::test_a_query_rows_logit_does_not_depend_on_the_others"),
    ),
    mutant(
        "tanp.py",
        "net.decode(row_tkx, target.sample(), context.vector_tp)",
        "net.decode(row_tkx, context.latent.sample(), context.vector_tp)",
        tanp(
            "TestTaNP::test_loss_of_an_episode_one_number_at_a_time",
            "TestTaNP::test_query_labels_reach_predictions_through_the_latents_only",
        ),
    ),
    mutant(
        "tanp.py",
        "context = net.context(row_tkx[:, :size], support.label_tk, support.mask_tk)",
        "context = net.context(row_tkx, whole.label_tk, whole.mask_tk)",
        tanp("TestTaNP::test_query_labels_reach_predictions_through_the_latents_only"),
    ),
    mutant(
        "tanp.py",
        "return loss_t.mean() +",
        "return loss_t.sum() +",
        tanp("TestTaNP::test_batched_tasks_have_the_gradient_of_tasks_one_by_one"),
    ),
    mutant(
        "tanp.py",
        "        return self.mean_tz + noise_tz",
        "        return self.mean_tz.detach() + noise_tz",
        tanp("TestTaNP::test_gradient_against_central_differences"),
    ),
    mutant(
        "tanp.py",
        '{"latent": context.latent.mean_tz,',
        '{"latent": context.latent.sample(),',
        tanp(
            "TestTaNP::test_serving_draws_nothing_and_looks_at_no_label_of_a_scored_row",
        ),
    ),
    mutant(
        "tanp.py",
        "        return vector_tp + clusters_tj @ self.pool, clusters_tj\n",
        "        return clusters_tj @ self.pool * 1e-3, clusters_tj\n",
        tanp("TestNeuralProcess::test_batched_tasks_equal_tasks_one_number_at_a_time"),
    ),
    mutant(
        "tanp.py",
        "torch.cat([row_tkx, label_tk[..., None].to(row_tkx.dtype)], dim=2)\n        hidden_tz",
        "torch.cat([row_tkx, 0 * label_tk[..., None].to(row_tkx.dtype)], dim=2)\n        hidden_tz",
        tanp("TestNeuralProcess::test_batched_tasks_equal_tasks_one_number_at_a_time"),
    ),
    mutant(
        "tanp.py",
        "scale_th[:, None] * hidden_tkh + shift_th[:, None]",
        "0.0 * scale_th[:, None] * hidden_tkh",
        tanp("TestTaNP::test_supports_that_tell_the_label_are_used"),
    ),
    mutant(
        "tanp.py",
        '{"tanp_film": ("gating", "plain"), ',
        '{"tanp_film": ("gating", "gated", "plain"), ',
        tanp("TestTaNP::test_words_that_are_none_are_refused"),
    ),
    # ------------------------------------------------------------------ ColdNAS
    mutant(
        "coldnas.py",
        '    "max": torch.maximum,\n',
        '    "max": torch.minimum,\n',
        coldnas(
            "test_every_operation_is_that_on_two_numbers",
            "test_batched_tasks_equal_tasks_one_number_at_a_time[example]",
        ),
    ),
    mutant(
        "coldnas.py",
        "        if name in names:\n",
        "        if True:\n",
        coldnas("test_without_operations_it_is_a_plain_network"),
    ),
    mutant(
        "coldnas.py",
        "            x = layer(F.leaky_relu(self._modulate(position, x, phi)))\n",
        "            x = layer(F.leaky_relu(self._modulate(position, x - x.mean(1, True), phi)))\n",
        coldnas("test_a_query_rows_logit_does_not_depend_on_the_others"),
    ),
    mutant(
        "coldnas.py",
        "torch.cat([before, F.relu(factors), after], dim=1)",
        "torch.cat([before, factors, after], dim=1)",
        coldnas("test_factors_are_not_negative"),
    ),
    mutant(
        "coldnas.py",
        'list(OPERATIONS).index("multiply")\n            self.adapter',
        'list(OPERATIONS).index("add")\n            self.adapter',
        coldnas("test_factors_begin_where_they_are_told_to"),
    ),
    mutant(
        "coldnas.py",
        'past_tkd = start_tkd if skip == "start" else mixed_tkd',
        'past_tkd = mixed_tkd if skip == "start" else start_tkd',
        coldnas(
            "test_mixtures_at_the_corners",
            "test_batched_tasks_equal_tasks_one_number_at_a_time[search]",
        ),
    ),
    mutant(
        "coldnas.py",
        "done_tkd = share(operation(",
        "done_tkd = (operation(",
        coldnas("test_mixtures_at_the_corners"),
    ),
    mutant(
        "coldnas.py",
        "argsort(descending=True, stable=True)",
        "flip(0).argsort(descending=True, stable=True).sub(15).neg()",
        coldnas("test_discretised_weights_are_the_largest_and_the_first_of_equal_ones"),
    ),
    mutant(
        "coldnas.py",
        "int(chosen_po.sum()))",
        "4)",
        coldnas("test_architectures_survive_the_state_dict_and_the_configuration"),
    ),
    mutant(
        "coldnas.py",
        "if not known or not 0 <= pair[0] < n_positions:",
        "if not known or not pair[0] < n_positions:",
        coldnas(r"test_what_is_no_architecture_is_named[value2-\\[-1, 'add'\\]]"),
    ),
    mutant(
        "coldnas.py",
        "        if pair in found:\n",
        "        if False:\n",
        coldnas(r"test_what_is_no_architecture_is_named[value5-\\[0, 'add'\\] twice]"),
    ),
    mutant(
        "coldnas.py",
        "        rows = self.rows(support), support.label_tk, support.mask_tk\n",
        "        rows = self.rows(support), support.label_tk, support.mask_tk.flip(0)\n",
        coldnas(
            "TestColdNAS::test_loss_of_an_episode_one_number_at_a_time",
            "TestColdNAS::test_batched_tasks_have_the_gradient_of_tasks_one_by_one",
        ),
    ),
    mutant(
        "coldnas.py",
        "return torch.sigmoid(self.weights)",
        "return torch.sigmoid(self.weights.detach())",
        coldnas("TestColdNAS::test_gradient_against_central_differences"),
    ),
    mutant(
        "coldnas.py",
        "            list(self.supernet.parameters()),\n",
        "            [*self.supernet.parameters(), *self.backbone.parameters()],\n",
        coldnas("TestColdNAS::test_a_search_is_retrained_from_scratch"),
    ),
    mutant(
        "coldnas.py",
        "        super().restored()\n        self._build()\n",
        "        super().restored()\n",
        coldnas("TestColdNAS::test_what_was_found_outlives_the_process"),
    ),
    mutant(
        "coldnas.py",
        "        summary_ta = rows_mean(F.leaky_relu(self.summary(pair_tke)), mask_tk)\n",
        "        summary_ta = rows_mean(F.leaky_relu(self.summary(pair_tke)), mask_tk)\n"
        "        summary_ta = summary_ta + summary_ta.mean(dim=0)\n",
        coldnas("TestColdNAS::test_serving_looks_at_supports_only"),
    ),
    mutant(
        "coldnas.py",
        "label_tk[..., None].to(row_tke.dtype)",
        "0 * label_tk[..., None].to(row_tke.dtype)",
        coldnas(
            "TestColdNAS::test_supports_that_tell_the_label_are_used",
            "test_order_and_number_of_copies_of_the_support_do_not_matter",
        ),
    ),
    mutant(
        "coldnas.py",
        "or not 1 <= n_ops <= most:",
        "or n_ops > most:",
        coldnas("TestColdNAS::test_impossible_searches_are_refused"),
    ),
    Mutant(
        "recbole_cold/experiment.py",
        '/ f"found-seed-{seed}.yaml"',
        '/ f"found-{seed}.yaml"',
        coldnas("TestColdNAS::test_a_search_leaves_a_file_for_later_runs"),
    ),
    # ------------------------------------------------------------------ EmerG
    mutant(
        "_contract.py",
        "                torch.mul(y, x[:, order], out=product)",
        "                torch.mul(y, x[:, order - 1], out=product)",
        emerg("test_contractions_by_hand_and_their_gradients_to_the_second_order"),
    ),
    mutant(
        "_contract.py",
        "            pull(grad, y) if ctx.needs_input_grad[1] else None,",
        "            2 * pull(grad, y) if ctx.needs_input_grad[1] else None,",
        emerg(
            "test_contractions_by_hand_and_their_gradients_to_the_second_order",
            "TestTasks::test_second_order_is_the_gradient_of_the_loss",
        ),
    ),
    mutant(
        "emerg.py",
        "    first = (first + first.transpose(-2, -1)) / 2",
        "    first = (first + first.transpose(-2, -1)) / 3",
        emerg(
            "TestRefine::test_equations_number_by_number",
            "TestRefine::test_shape_of_refined_graphs",
        ),
    ),
    mutant(
        "emerg.py",
        "    low = graph_tff.amin(dim=(-2, -1), keepdim=True)",
        "    low = graph_tff.amin()",
        emerg("TestRefine::test_each_graph_by_itself"),
    ),
    mutant(
        "emerg.py",
        "(high - low + 1e-8)",
        "(high - low)",
        emerg("TestRefine::test_a_constant_graph_is_finite"),
    ),
    mutant(
        "emerg.py",
        "descending=True, stable=True).indices",
        "descending=True, stable=True).indices.flip(-1).sort(dim=-1).indices",
        emerg("TestRefine::test_of_equal_entries_the_first_stay"),
    ),
    mutant(
        "emerg.py",
        "        orders.append(power * edges if mask else power)",
        "        orders.append(power * edges)",
        emerg("TestRefine::test_ablations_change_their_step_only"),
    ),
    mutant(
        "emerg.py",
        "    first = with_self_loops(min_max(raw_tff))",
        "    first = with_self_loops(min_max(raw_tff.detach() + 0 * raw_tff))",
        emerg(
            "TestRefine::test_gradients_go_through_the_values",
            "TestTasks::test_the_hypernetwork_learns",
        ),
    ),
    mutant(
        "emerg.py",
        "        number = row.diagonal().T if len(row) == size else row[0]",
        "        number = row[0]",
        emerg("test_hypernetwork_row_by_row"),
    ),
    mutant(
        "emerg.py",
        "            changed = self.message_weight[layer].T @ fields_dtfk.flatten(1)",
        "            changed = self.message_weight[layer] @ fields_dtfk.flatten(1)",
        emerg("TestNetwork::test_logits_row_by_row"),
    ),
    mutant(
        "emerg.py",
        "            changed = self.message_weight[layer].T @ fields_dtfk.flatten(1)",
        "            changed = self.message_weight[layer].T @ orders[-1].flatten(1)",
        emerg("TestNetwork::test_order_of_interactions"),
    ),
    mutant(
        "emerg.py",
        '    return torch.maximum(before, message) if interact == "max" else before + message',
        "    return before * message",
        emerg(
            "TestNetwork::test_other_interactions_have_another_order",
            "TestNetwork::test_interactions_by_hand",
        ),
    ),
    mutant(
        "emerg.py",
        "            message = graph_tff @ changed.view_as(fields_dtfk)",
        "            message = graph_tff.mean(-1, keepdim=True) * "
        "changed.view_as(fields_dtfk).sum(2, True)",
        emerg("TestNetwork::test_a_field_without_edges_reaches_no_other"),
    ),
    mutant(
        "emerg.py",
        "        fields_bfd = "
        "self.concat_embed_input_fields(interaction).index_select(1, self.place)",
        "        fields_bfd = self.concat_embed_input_fields(interaction)",
        emerg("TestNetwork::test_forward_is_the_task_form_with_the_global_graph"),
    ),
    mutant(
        "emerg.py",
        "        return super().embed_token_seq_fields(token_seq_fields, self.pooling)",
        "        return super().embed_token_seq_fields(token_seq_fields)",
        emerg("TestNetwork::test_multi_hot_fields_are_sums_without_padding"),
    ),
    mutant(
        "emerg.py",
        "            part.reshape(t * k, self.heads, n_orders * f, size)",
        "            part.view(t * k, n_orders * f, self.heads, size).transpose(1, 2)",
        emerg("TestNetwork::test_released_attention_by_hand"),
    ),
    mutant(
        "emerg.py",
        "    return graph_tff.masked_fill(without[:, None] | without, 0.0)",
        "    return graph_tff.masked_fill(without[:, None] & without, 0.0)",
        emerg("TestNetwork::test_cut_fields_have_no_edges"),
    ),
    mutant(
        "emerg.py",
        '    "emerg_interact",\n',
        "",
        emerg("TestNetwork::test_pretraining_is_known_by_all_that_the_network_reads"),
    ),
    mutant(
        "emerg.py",
        "        if top_k < n_fields:",
        "        if top_k < 0:",
        emerg("TestNetwork::test_bad_values_are_refused"),
    ),
    mutant(
        "emerg.py",
        "        self.own_fields = [self.id_field, *(f for f in order if f in side and f "
        "!= self.id_field)]",
        "        self.own_fields = [self.id_field, *(f for f in order if f != self.id_field and "
        "f in {*side, 'gender'})]",
        emerg("TestTasks::test_the_graph_comes_from_the_item_alone"),
    ),
    mutant(
        "emerg.py",
        '        if self.config["emerg_id_draw"] == "table":\n            return lookup',
        "        if True:\n            return lookup",
        emerg("TestTasks::test_no_item_is_known_by_its_table_row"),
    ),
    mutant(
        "emerg.py",
        "        return torch.rand(shape, device=self.device).to(self.new_vectors.dtype) * "
        "0.02 - 0.01",
        "        return torch.rand(shape, device=self.device).to(self.new_vectors.dtype) * 0.02",
        emerg("TestTasks::test_drawn_vectors_are_small_and_differ"),
    ),
    mutant(
        "emerg.py",
        "        return gamma * support_t + (1.0 - gamma) * task_loss(logits, query_rows)",
        "        return gamma * task_loss(logits, query_rows) + (1.0 - gamma) * support_t",
        emerg("TestTasks::test_episode_loss_task_by_task"),
    ),
    mutant(
        "emerg.py",
        "        return self.hyper(own.flatten(1))",
        "        return self.hyper(own.flatten(1)).detach().requires_grad_()",
        emerg("TestTasks::test_the_hypernetwork_learns"),
    ),
    mutant(
        "emerg.py",
        '            second_order=self.config["emerg_order"] == 2,',
        "            second_order=False,",
        emerg(
            "TestTasks::test_second_order_is_the_gradient_of_the_loss",
            "TestTasks::test_episode_loss_task_by_task",
        ),
    ),
    mutant(
        "_inner.py",
        "sums[at] = gradient if sums[at] is None else sums[at] + gradient",
        "sums[at] = gradient",
        emerg(
            "TestTasks::test_chunks_are_the_whole",
            "TestWarmUp::test_steps_in_chunks_are_whole_steps",
        ),
    ),
    mutant(
        "emerg.py",
        "    return masked_mean(F.softplus(logits_tk) - rows.label_tk * logits_tk, rows.mask_tk)",
        "    return (F.softplus(logits_tk) - rows.label_tk * logits_tk).mean(dim=1)",
        emerg("TestTasks::test_padding_changes_nothing"),
    ),
    mutant(
        "emerg.py",
        "    return masked_mean(F.softplus(logits_tk) - rows.label_tk * logits_tk, rows.mask_tk)",
        "    return masked_mean((F.softplus(logits_tk) - rows.label_tk * logits_tk)[:, :1], "
        "rows.mask_tk)",
        emerg("TestTasks::test_order_of_tasks_and_rows"),
    ),
    mutant(
        "emerg.py",
        "F.softplus(logits_tk) - rows.label_tk * logits_tk",
        "F.softplus(logits_tk) - rows.label_tk.mean() * logits_tk",
        emerg("TestTasks::test_inner_step_moves_graph_and_vector_only"),
    ),
    mutant(
        "emerg.py",
        '            learning_rates=self.config["emerg_inner_rate"],',
        '            learning_rates=-self.config["emerg_inner_rate"],',
        emerg("TestTasks::test_adaptation_helps_on_a_separable_toy"),
    ),
    mutant(
        "emerg.py",
        "            name_of=lambda task: self.name_of(ids[task]),",
        "            name_of=lambda task: self.name_of(ids[0]),",
        emerg("TestTasks::test_a_step_without_a_number_is_named"),
    ),
    mutant(
        "emerg.py",
        "        n_real = real_t.sum().clamp(min=1)",
        "        n_real = len(real_t)",
        emerg("TestTasks::test_tasks_without_rows_have_no_share"),
    ),
    mutant(
        "emerg.py",
        '        skip = {id(self.net.global_graph)} if self.kind != "shared" else set()',
        "        skip = {id(self.net.global_graph)}",
        emerg(
            "TestAblations::test_which_parameters_learn",
            "TestAblations::test_one_graph_for_all_items_adapts_per_task",
        ),
    ),
    mutant(
        "emerg.py",
        '            draw = seeding.generator(config["seed"], "random graphs")',
        '            draw = seeding.generator(7, "random graphs")',
        emerg("TestAblations::test_random_graphs_are_seeded_and_fixed"),
    ),
    mutant(
        "emerg.py",
        '            return [Fit("learn", [step], self.row_batches(self.train_index))]',
        '            return [Fit("learn", [step], self.row_batches(self.train_index), epochs=2)]',
        emerg("TestAblations::test_without_meta_training_there_is_one_ordinary_pass"),
    ),
    mutant(
        "emerg.py",
        '        if not self.config["emerg_inner"]:\n            return []',
        "        if False:\n            return []",
        emerg("TestAblations::test_without_inner_steps_nothing_is_warmed"),
    ),
    mutant(
        "emerg.py",
        "            return task_loss(self.adapted_logits(fast, side[tasks], "
        "part.other_dtqk), part).sum()",
        "            return task_loss(self.adapted_logits(fast, side[tasks], "
        "part.other_dtqk), part).mean() * 1e-6",
        emerg("TestWarmUp::test_one_adam_over_all_items_is_one_per_item"),
    ),
    mutant(
        "emerg.py",
        'after=settle, keep="adapt")]',
        "after=settle)]",
        emerg(
            "TestWarmUp::test_one_adam_over_all_items_is_one_per_item",
            "TestWarmUp::test_adams_state_lives_on",
        ),
    ),
    mutant(
        "trainer.py",
        '        self._kept = state.get("kept", {})\n',
        "        self._kept = {}\n",
        emerg("TestWarmUp::test_adams_state_lives_on"),
    ),
    mutant(
        "emerg.py",
        "        self.phase += 1\n",
        "        self.phase += 0\n",
        emerg("TestWarmUp::test_history_has_every_phase"),
    ),
    mutant(
        "emerg.py",
        "        self.new_graphs[idle] = self.graph_history[at, idle]\n",
        "",
        emerg("TestWarmUp::test_items_without_rows_stay"),
    ),
    mutant(
        "emerg.py",
        "        raw = torch.where(entered, served, raw)\n",
        "",
        emerg("TestWarmUp::test_rows_score_with_their_items_graph_and_vector"),
    ),
    mutant(
        "emerg.py",
        "        rows = index.cpu().numpy()\n",
        "        rows = np.flatnonzero(np.isin(self._all_ids, self.new_ids.cpu().numpy()))\n",
        emerg("TestWarmUp::test_labels_of_test_rows_reach_no_score"),
    ),
    mutant(
        "emerg.py",
        "        self.new_graphs.copy_(self.raw_graphs(self.new_ids, self.new_vectors, side))",
        "        self.new_graphs.copy_(self.raw_graphs(self.old_ids[:1], "
        "self.new_vectors[:1], side[:1]))",
        emerg("TestWarmUp::test_start_of_new_items"),
    ),
    mutant(
        "_inner.py",
        "self.most = width * (tried // 2)",
        "self.most = width",
        emerg("test_short_memory_makes_smaller_chunks"),
    ),
    mutant(
        "emerg.py",
        "        if not blocks.mask_tjk.any():",
        "        if False:",
        emerg("test_old_items_with_too_few_rows"),
    ),
    mutant(
        "emerg.py",
        "PAIRS = ((0, 1), (1, 2), (2, 3))",
        "PAIRS = ((0, 1), (1, 2), (3, 2))",
        emerg("test_schedule_of_the_paper"),
    ),
    # ------------------------------------------------------------------ AVAEW
    mutant(
        "avaew.py",
        "F.leaky_relu(self.hidden(vector_bd), 0.2)",
        "F.leaky_relu(self.hidden(vector_bd))",
        terms("test_classifier_by_hand"),
    ),
    mutant(
        "avaew.py",
        "F.softplus(-real_b).mean(), F.softplus(fake_b).mean()",
        "F.softplus(-real_b).mean(), F.softplus(fake_b).sum()",
        terms("test_classifier_losses_by_hand"),
        (f"{AVAEW}::TestTerms::test_a_classifier_that_knows_nothing_has_two_log_two",),
    ),
    mutant(
        "avaew.py",
        "(real_bh - fake_bh).square().sum(dim=1).mean()",
        "(real_bh.mean(dim=0) - fake_bh.mean(dim=0)).square().sum()",
        terms("test_matches_by_hand", "test_equal_rows_match"),
        avaew("test_matching_terms_row_by_row"),
    ),
    mutant(
        "avaew.py",
        'self.key("beta") * made.distance[made.place].mean()',
        'self.key("beta") * made.distance.mean()',
        avaew("test_without_matching_it_is_cvars_loss"),
    ),
    mutant(
        "avaew.py",
        "fake = features(decoded)[place]",
        "fake = features(decoded).repeat(len(place), 1)[: len(place)]",
        avaew("test_matching_terms_row_by_row"),
    ),
    mutant(
        "avaew.py",
        "return classifier_losses(real, self.classifier(decoded)[place])",
        "return classifier_losses(real, self.classifier(decoded))",
        avaew("test_classifier_loss_row_by_row"),
    ),
    mutant(
        "avaew.py",
        "return self.backbone.id_table().detach()[self.old_ids[pick]]",
        "return self.backbone.id_table().detach()[pick]",
        avaew("test_real_rows_are_those_of_old_items_drawn_alike"),
    ),
    mutant(
        "avaew.py",
        "self.calculate_loss, self.module_parameters(), self.losses",
        'self.calculate_loss, self.trainable("learn"), self.losses',
        avaew("test_each_step_moves_its_own_parameters"),
    ),
    mutant(
        "avaew.py",
        "*self.matches(made.rows, made.decoded, made.place),",
        "*self.matches(made.rows, made.decoded, made.place)[:1],\n"
        "            F.softplus(-self.classifier(made.decoded)).mean(),",
        avaew("test_the_decoder_is_to_match_features_not_to_fool_the_logit"),
    ),
    mutant(
        "_side_decoder.py",
        "return self._served(ids, self.new_vectors, self.backbone.id_table()).detach()",
        "return self._served(ids, self.new_vectors, self.backbone.id_table())",
        avaew("test_no_gradient_into_any_id_row"),
        csdm("test_no_gradient_into_any_id_row"),
    ),
    mutant(
        "avaew.py",
        "by_mean = mean_match(features(self.real_rows(len(place))), fake)",
        "by_mean = mean_match(features(self.real_rows(len(place))), fake.detach())",
        avaew("test_matching_brings_decoded_rows_to_the_real_ones"),
    ),
    mutant(
        "_vae.py",
        'rows, noise = self.target_rows(ids), self.key("noise")',
        'rows, noise = self.target_rows(ids), 0.1 * self.key("noise") + 1e-3',
        avaew("test_noise_is_of_the_given_size"),
    ),
    mutant(
        "_vae.py",
        "return self.decode(self.encode_side(ids)[0], ids)",
        "return self.decode(sample(*self.encode_side(ids), 1.0), ids)",
        avaew("test_decoded_rows_do_not_depend_on_id_rows_or_chance"),
    ),
    mutant(
        "_vae.py",
        "torch.cat([latent_iz, self.frequency()[ids][:, None]], dim=-1)",
        "torch.cat([latent_iz, 0 * self.frequency()[ids][:, None]], dim=-1)",
        avaew("test_frequency_is_an_option_of_the_decoder"),
    ),
    mutant(
        "_side_decoder.py",
        "self.row_batches(index), epochs, repeats, mode, after)",
        "self.row_batches(index), epochs * repeats, 1, mode, after)",
        avaew("test_a_warm_phase_fine_tunes_then_learns_then_decodes_again"),
    ),
    mutant(
        "_side_decoder.py",
        "        self.new_vectors.copy_(rows)\n",
        "",
        avaew("test_a_warm_phase_fine_tunes_then_learns_then_decodes_again"),
        csdm("test_a_warm_phase_fine_tunes_then_learns_then_decodes_again"),
    ),
    mutant(
        "_side_decoder.py",
        '        if self.key("warm") == "init_only":\n',
        "        if False:\n",
        avaew("test_init_only_learns_nothing_in_warm_phases"),
        csdm("test_init_only_learns_nothing_in_warm_phases"),
    ),
    mutant(
        "_side_decoder.py",
        "return mean_where_bare(self, self._decoded_now())",
        "return self._decoded_now()",
        avaew("test_items_without_side_information_start_from_the_mean"),
    ),
    mutant(
        "_side_decoder.py",
        "        if self.own_side.own_id is None:\n",
        "        if False:\n",
        avaew("test_items_without_side_information_start_from_the_mean[False]"),
    ),
    mutant(
        "trainer.py",
        "        check.look_at_all()  # what was saved before stays, if this is no longer good\n",
        "",
        avaew("test_a_classifier_that_diverges_is_named_and_nothing_bad_is_kept"),
    ),
    # ------------------------------------------------------------------ CSDM
    mutant(
        "csdm.py",
        "n_t = alpha_bar_t.sqrt() * torch.cumsum((beta_t / alpha_bar_t).sqrt(), dim=0)",
        "n_t = torch.cumsum((beta_t / alpha_bar_t).sqrt(), dim=0)",
        process("test_schedule_by_recursion"),
    ),
    mutant(
        "csdm.py",
        "return alpha_bar_t, n_t / n_t[-1]",
        "return alpha_bar_t, (n_t / n_t[-1]).roll(1)",
        process("test_schedule_by_recursion", "test_numbers_of_the_released_schedule"),
    ),
    mutant(
        "csdm.py",
        "signal, spread = alpha_bar_b.sqrt()[:, None], (1.0 - alpha_bar_b).sqrt()[:, None]",
        "signal, spread = alpha_bar_b.sqrt()[:, None], (1.0 - alpha_bar_b)[:, None]",
        process(
            "test_forward_by_hand",
            "test_a_denoiser_that_knows_the_noise_finds_the_signal",
            "test_a_sampled_step_has_that_mean_and_deviation",
        ),
        csdm("test_diffusion_loss_row_by_row"),
    ),
    mutant(
        "csdm.py",
        "left = math.sqrt(max(1.0 - alpha_bar[j] - sigma**2, 0.0))",
        "left = math.sqrt(1.0 - alpha_bar[j])",
        process("test_a_step_down_keeps_the_forward_distribution"),
        process("test_a_sampled_step_has_that_mean_and_deviation"),
    ),
    mutant(
        "csdm.py",
        "r[j] - a * r[t], left",
        "r[j] - r[t], left",
        process(
            "test_a_step_down_keeps_the_forward_distribution",
            "test_a_denoiser_that_knows_the_noise_finds_the_signal",
            "test_without_a_denoiser_little_of_h_is_left",
        ),
        csdm("test_cold_rows_from_scratch"),
    ),
    mutant(
        "csdm.py",
        "noise_bd = denoise(z_bd, torch.tensor([step.time], device=z_bd.device))",
        "noise_bd = torch.cat([denoise(z_bd[k : k + 1], torch.tensor([step.time]))"
        " for k in range(len(z_bd))])",
        process("test_the_denoiser_is_called_once_per_step_for_all_items"),
    ),
    mutant(
        "csdm.py",
        "layers += [nn.Linear(size_in, size), nn.Tanh()]",
        "layers += [nn.Linear(size_in, size), nn.ReLU()]",
        denoiser("test_by_hand"),
        csdm("test_cold_rows_from_scratch", "test_diffusion_loss_row_by_row"),
    ),
    mutant(
        "csdm.py",
        "frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)",
        "frequency = 2 * math.pi / (1 + torch.arange(half, dtype=torch.float64))",
        denoiser("test_by_hand"),
    ),
    mutant(
        "csdm.py",
        "angle = torch.arange(steps, dtype=torch.float64)[:, None] * frequency",
        "angle = (torch.arange(steps) // 2).double()[:, None] * frequency",
        denoiser("test_time_codes_tell_times_apart"),
    ),
    mutant(
        "csdm.py",
        "nn.init.xavier_normal_(layer.weight)",
        "nn.init.xavier_uniform_(layer.weight, gain=1.3)",
        denoiser("test_start_is_the_releases"),
    ),
    mutant(
        "csdm.py",
        "return self.layers(torch.cat([self.dropout(z_bd), code], dim=1))",
        "return self.layers(self.dropout(torch.cat([z_bd, code], dim=1)))",
        denoiser("test_dropout_is_on_the_input_and_while_learning_only"),
    ),
    mutant(
        "csdm.py",
        "time = torch.randint(len(self.r_t), (len(z0_bd),), device=z0_bd.device)",
        "time = torch.randint(len(self.r_t), (1,), device=z0_bd.device).expand(len(z0_bd))",
        csdm("test_diffusion_loss_row_by_row"),
    ),
    mutant(
        "csdm.py",
        'self.config["csdm_drop_h"], self.denoiser.training)',
        'self.config["csdm_drop_h"], True)',
        csdm("test_h_is_dropped_where_rows_are_diffused"),
    ),
    mutant(
        "csdm.py",
        "diffusion = self.diffusion_loss(lookup(z0, place), lookup(h, place))",
        "diffusion = self.diffusion_loss(z0, h)",
        csdm("test_both_terms_of_the_loss"),
    ),
    mutant(
        "csdm.py",
        "        noise_bd = denoise(",
        "        with torch.no_grad():\n            noise_bd = denoise(",
        csdm("test_clicks_teach_the_denoiser_through_all_steps"),
    ),
    mutant(
        "csdm.py",
        'if not self.config["csdm_dropout_at_writeback"]:',
        "if False:",
        csdm("test_what_chance_has_a_part_in_written_rows"),
    ),
    mutant(
        "csdm.py",
        "spread = (1.0 - self.alpha_bar_t[last]).sqrt().to(h_bd.dtype)",
        "spread = (1.0 - self.alpha_bar_t[last]).to(h_bd.dtype)",
        csdm("test_starts"),
    ),
    mutant(
        "csdm.py",
        "torch.cat([z_bd, self.frequency()[ids][:, None]], dim=-1)",
        "torch.cat([z_bd, 0 * self.frequency()[ids][:, None]], dim=-1)",
        csdm("test_frequency_enters_the_decoder"),
    ),
    mutant(
        "csdm.py",
        'if self.config["csdm_train_denoiser"]:',
        "if False:",
        csdm("test_what_learns[True]"),
    ),
    mutant(
        "csdm.py",
        'if self.config["csdm_train_denoiser"]:',
        "if True:",
        csdm("test_what_learns[False]"),
    ),
    mutant(
        "csdm.py",
        'names = ("prediction", "diffusion")',
        "names = ()",
        csdm("test_a_denoiser_that_diverges_is_named"),
    ),
    Mutant(
        "properties/model/CSDM.yaml",
        "  csdm_train_denoiser: False\n",
        "",
        csdm("test_released_switches"),
    ),
    mutant(
        "csdm.py",
        "        self._check(times, code_size)\n",
        "",
        csdm(
            "test_settings_that_cannot_be_are_said[keys1]",
            "test_settings_that_cannot_be_are_said[keys4]",
        ),
    ),
    # ------------------------------------------------------------------ GME and its graph
    mutant(
        "_graph.py",
        "other = ranked[rank] != ids[part][row]",
        "other = rank >= 0",
        graph(
            "test_neighbours_are_those_of_the_definition",
            "test_only_old_items_and_never_the_item_itself",
        ),
    ),
    mutant(
        "_graph.py",
        "np.lexsort((old_ids, -rows_n[old_ids]))",
        "np.lexsort((old_ids, rows_n[old_ids]))",
        graph("test_ties_go_to_more_rows_then_to_the_lower_id"),
    ),
    mutant(
        "_graph.py",
        "low = _SCORES - np.minimum(score, _SCORES).astype(np.int64)",
        "low = np.minimum(score, 1).astype(np.int64)",
        graph(
            "test_a_better_score_goes_before_more_rows",
            "test_neighbours_are_those_of_the_definition",
        ),
    ),
    mutant(
        "_graph.py",
        "    matrix.data[:] = 1  #",
        "    pass  #",
        graph("test_a_word_twice_is_shared_once"),
    ),
    mutant(
        "_graph.py",
        "values.append((codes[place, position] + start).astype(np.int32))",
        "values.append(codes[place, position].astype(np.int32))",
        graph("test_equal_codes_of_different_fields_are_different_values"),
    ),
    mutant(
        "_graph.py",
        "& (length_v[by_length] <= longest)",
        "& (length_v[by_length] <= np.inf)",
        graph(
            "test_max_share_leaves_out_what_too_many_have",
            "test_a_value_that_all_items_have",
        ),
    ),
    mutant(
        "_graph.py",
        "score = (score >> 1) + np.diff(both.tocsr().indptr)",
        "score = (score >> 1) + 1",
        graph(
            "test_scores_are_symmetric_and_count_shared_values",
            "test_more_popular_values_than_sets_are_made_of",
        ),
    ),
    mutant(
        "_graph.py",
        "_keys(self.popular_ap, self.popular_op, size + 1)",
        "_keys(self.popular_ap, self.popular_op, size)",
        graph("test_a_value_that_all_items_have[sets]"),
    ),
    mutant(
        "_graph.py",
        "_keys(self.popular_ap, self.popular_op, size + 1)",
        "_keys(self.popular_ap, self.popular_op, 10**9)",
        graph("test_the_number_of_pairs_is_linear_in_the_items"),
    ),
    mutant(
        "_graph.py",
        "place, position = np.nonzero(codes)",
        "place, position = np.nonzero(codes >= 0)",
        graph(
            "test_no_attributes_at_all",
            "test_an_item_without_attributes_has_none_and_is_nobodys",
        ),
    ),
    mutant(
        "_graph.py",
        "ids = np.arange(n_items) if ids is None else np.unique(ids)",
        "ids = np.arange(n_items)",
        graph("test_only_who_is_asked_for"),
    ),
    mutant(
        "_gme.py",
        "logit_bk.masked_fill(~real_bk, -torch.inf)",
        "logit_bk",
        attending(
            "test_weights_are_a_distribution_over_real_keys",
            "test_empty_places_take_no_part",
        ),
    ),
    mutant(
        "_gme.py",
        "key_bko @ of_key, 0.2)",
        "key_bko @ of_key, 0.02)",
        attending("test_by_hand"),
    ),
    mutant(
        "_gme.py",
        "attention(key_bko[:, -1], key_bko,",
        "attention(key_bko[:, 0], key_bko,",
        attending("test_order_of_neighbours_is_nothing"),
    ),
    mutant(
        "_gme.py",
        "near_bki = near_bki * real_bk[..., None]",
        "near_bki = near_bki * 1.0",
        attending("test_released_padding_is_zeros_that_dilute"),
    ),
    mutant(
        "_gme.py",
        "return F.elu((beta_bk",
        "return torch.tanh((beta_bk",
        attending("test_alone_an_item_attends_to_itself"),
    ),
    mutant(
        "_gme.py",
        "        return side_ns[index_bk]",
        "        return side_ns[index_bk - 1]",
        forms(
            "test_vectors_are_those_of_the_equations[GMEG]",
            "test_vectors_are_those_of_the_equations[GMEA]",
        ),
    ),
    mutant(
        "gmep.py",
        "self.backbone.id_table().detach()[index_bk]",
        "self.backbone.id_table().detach()[index_bk] * 0",
        forms("test_vectors_are_those_of_the_equations[GMEP]"),
        gme("test_only_gme_p_reads_the_ids_of_neighbours"),
    ),
    mutant(
        "gmep.py",
        "self.backbone.id_table().detach()[index_bk]",
        "self.backbone.id_table()[index_bk]",
        forms("test_neighbours_are_not_moved[GMEP]"),
    ),
    mutant(
        "_gme.py",
        "attention(key_bko[:, -1], key_bko,",
        "attention(key_bko[:, -1].detach(), key_bko,",
        forms("test_gradient_through_the_inner_step"),
    ),
    mutant(
        "_gme.py",
        "            self.old_ids.cpu().numpy(),\n",
        "            torch.cat([self.old_ids, self.new_ids]).cpu().numpy(),\n",
        forms("test_graph_is_of_old_items"),
        gme("test_no_new_items_vector_is_read"),
    ),
    mutant(
        "_gme.py",
        "self._count(self.train_index).cpu().numpy()",
        "-self._count(self.train_index).cpu().numpy()",
        forms("test_graph_is_that_of_the_definition"),
    ),
    mutant(
        "_gme.py",
        'return self.config["gme_learning_rate"], ',
        'return self.config["learning_rate"], ',
        forms("test_only_the_generator_learns_at_its_own_rate"),
    ),
    mutant(
        "_gme.py",
        "in self.new_ids.split(_CHUNK_ITEMS)",
        "in self.new_ids.split(_CHUNK_ITEMS)[:1] * 4",
        forms("test_cold_rows_are_generated_in_chunks"),
    ),
    mutant(
        "_gme.py",
        "rows[alone] = self.old_mean()",
        "rows[alone] = 0.0",
        forms(
            "test_an_item_without_side_information_starts_from_the_mean",
            "test_an_item_without_neighbours_starts_from_the_mean",
            "test_numbers_alone_make_no_graph",
        ),
    ),
    mutant(
        "_gme.py",
        '            self.config["gme_max_share"],\n',
        "            1.0,\n",
        forms("test_one_value_that_all_items_share"),
    ),
    mutant(
        "_backbone.py",
        "        if not parts:\n",
        "        if not parts:\n            parts = [self.id_table()]\n        if False:\n",
        forms("test_data_without_side_information_are_refused"),
    ),
    mutant(
        "_gme.py",
        "if not 0 < share <= 1:",
        "if share < 0:",
        forms("test_values_that_cannot_be_are_refused"),
    ),
    mutant(
        "_gme.py",
        "row_pairs = PAIRS[:2]",
        "row_pairs = PAIRS[:1]",
        forms("test_released_loop"),
    ),
    mutant(
        "_gme.py",
        "self.backbone.side_vectors(include_id=False)",
        "super().side_vectors()",
        forms("test_released_loop"),
    ),
    mutant(
        "_gme.py",
        "unique, place = ids.unique(return_inverse=True)",
        "unique, place = ids, torch.arange(len(ids))",
        forms("test_rows_of_one_item_are_generated_once"),
    ),
    mutant(
        "_gme.py",
        "TanhDense(side, size, gamma)",
        "TanhDense(side, size)",
        gme("test_gamma_is_the_factor_of_the_tanh"),
    ),
    mutant(
        "gmea.py",
        "10 * max(",
        "8 * max(",
        gme("test_size_of_the_projection_is_ten_per_attribute"),
    ),
    # ------------------------------------------------------------------ the backbones
    ours(
        "basic.py",
        "return self.mlp(self.concat_embed_input_fields(interaction).flatten(1)).squeeze(-1)",
        "return self.mlp(self.concat_embed_input_fields(interaction).flip(1).flatten(1))[:, 0]",
        clicks("basic", "test_the_logit_is_an_mlp_of_all_embeddings"),
    ),
    Mutant(
        "properties/backbone/Basic.yaml",
        "mlp_hidden_size: [200, 80]",
        "mlp_hidden_size: [200, 200]",
        clicks("basic", "test_default_sizes"),
    ),
    ours(
        "basic.py",
        ".flatten(1)).squeeze(-1)",
        ".flatten(1)).squeeze(-1) + self.first_order_linear(interaction)[:, 0]",
        clicks("every_backbone", "test_first_order_weights_take_no_part"),
    ),
    ours(
        "_base.py",
        "return self.sigmoid(self.forward(interaction))",
        "return self.forward(interaction)",
        clicks("every_backbone", "test_it_is_a_model_of_recboles[LorentzFM]"),
    ),
    ours(
        "basic.py",
        "self.concat_embed_input_fields(interaction)",
        "self.concat_embed_input_fields(interaction).detach()",
        clicks("every_backbone", "test_every_parameter_is_trained[Basic]"),
    ),
    ours(
        "final.py",
        "return first if second is None else 0.5 * (first + second)",
        "return first - first.mean() if second is None else 0.5 * (first + second - first.mean())",
        clicks("every_backbone", "test_a_row_ignores_the_rows_beside_it[FINAL]"),
    ),
    ours(
        "final.py",
        "    year = 2023\n",
        "    year = 2022\n",
        clicks("every_backbone", "test_every_backbone_of_ours_names_its_paper"),
    ),
    ours(
        "_base.py",
        "    if value not in words:\n",
        "    if False:\n",
        clicks("every_backbone", "test_a_word_that_a_key_does_not_know_is_refused"),
    ),
    ours(
        "lorentzfm.py",
        "return 0.5 * (inside - outside.sum(dim=-1))",
        "return 0.5 * (inside + outside.sum(dim=-1))",
        clicks(
            "lorentzfm",
            "test_equals_the_loop_over_pairs",
            "test_gradient_at_zero_is_minus_u_over_u0",
            "test_every_pair_lies_between_minus_a_half_and_two",
        ),
    ),
    ours(
        "lorentzfm.py",
        "inside = q_bf.sum(dim=-1).square()",
        "inside = (q_bf * torch.arange(len(q_bf[0]))).sum(dim=-1).square()",
        clicks("lorentzfm", "test_symmetric_in_the_fields"),
    ),
    ours(
        "lorentzfm.py",
        "q_bf = square_bf / ((1.0 + time_bf) * time_bf)",
        "q_bf = (time_bf - 0.999999) / time_bf",
        clicks("lorentzfm", "test_a_vector_of_zeros_adds_exactly_nothing"),
    ),
    ours(
        "lorentzfm.py",
        "return 0.5 * (inside - outside.sum(dim=-1))",
        "time_bff = time_bf[..., :, None] * time_bf[..., None, :]\n"
        "    product_bff = field_bfd @ field_bfd.transpose(-1, -2)\n"
        "    rest_bff = 1.0 - product_bff - time_bf[..., :, None] - time_bf[..., None, :]\n"
        "    return (1.0 + rest_bff / time_bff).triu(1).sum(dim=(-1, -2))",
        clicks("lorentzfm", "test_small_vectors_keep_their_digits"),
    ),
    ours(
        "lorentzfm.py",
        "return logits if self.bias is None else logits + self.bias",
        "return logits + self.first_order_linear.bias + 1.0",
        clicks(
            "lorentzfm",
            "test_the_logit_is_that_sum_and_nothing_else",
            "test_a_number_is_its_value_times_a_vector",
        ),
    ),
    ours(
        "lorentzfm.py",
        "nn.init.normal_(module.weight, std=self.init_std)",
        "nn.init.normal_(module.weight)",
        clicks("lorentzfm", "test_start_and_constant"),
    ),
    ours(
        "final.py",
        "second, first = self.linear(input_bi).chunk(2, dim=-1)",
        "first, second = self.linear(input_bi).chunk(2, dim=-1)",
        clicks(
            "final",
            "test_a_layer_number_by_number",
            "test_without_the_first_half_a_layer_is_affine",
        ),
    ),
    ours(
        "final.py",
        "layers.append(FactorizedInteraction(size_in, size, residual))",
        "layers += [FactorizedInteraction(size_in, size, residual), nn.ReLU()]",
        clicks("final", "test_depth_d_is_a_polynomial_of_degree_two_to_the_d"),
    ),
    ours(
        "final.py",
        "            self.gate.reset()\n",
        "            pass\n",
        clicks("final", "test_the_gate_is_one_at_the_start_and_linear_over_fields"),
    ),
    ours(
        "final.py",
        "return first, self.block2(field_bfd.flatten(1)).squeeze(-1)",
        "return first, self.block2(gated[:, len(field_bfd[0]) :].flatten(1)).squeeze(-1)",
        clicks("final", "test_the_logit_is_the_mean_of_both_blocks"),
    ),
    ours(
        "final.py",
        "loss(mean_b, label_b) + loss(first_b, teacher_b) + loss(second_b, teacher_b)",
        "loss(mean_b, label_b) + loss(first_b, teacher_b) + loss(second_b, label_b)",
        clicks(
            "final",
            "test_the_loss_has_three_terms_row_by_row",
            "test_blocks_that_agree_pay_their_entropy",
        ),
    ),
    ours(
        "final.py",
        "teacher_b = torch.sigmoid(mean_b).detach()",
        "teacher_b = torch.sigmoid(mean_b)",
        clicks("final", "test_the_taught_probability_has_no_gradient"),
    ),
    ours(
        "final.py",
        "return self.loss(first, label) if second is None else distilled(first, second, label)",
        "return distilled(first, first if second is None else second, label)",
        clicks("final", "test_one_block_has_the_plain_loss"),
    ),
    mutant(
        "_base.py",
        "lambda batch: self.loss(self.logits(batch), batch),",
        "self.backbone.calculate_loss,",
        clicks("final", "test_blocks_teach_each_other_in_pretraining_only"),
    ),
    mutant(
        "_base.py",
        'mode=self.learning_mode("dropout")',
        'mode="train"',
        clicks("final", "test_batch_norm_moves_in_pretraining_only"),
    ),
    ours(
        "final.py",
        'for key in ("block1_hidden_size", "block2_hidden_size"):',
        'for key in ("block1_hidden_size",):',
        clicks("final", "test_sizes_that_have_no_half_are_refused"),
    ),
    ours(
        "finalmlp.py",
        '"bhi,hij,bhj->b"',
        '"bhi,hij,bhj->b", 2 * first_bhi, weight_hij, second_bhj)\n    _ = ("bhi,hij,bhj->b"',
        clicks("finalmlp", "test_fusion_number_by_number"),
    ),
    ours(
        "finalmlp.py",
        "fuse(first_bi.view(shape), second_bj.view(shape), self.weight_hij)",
        "fuse(first_bi.view(shape), second_bj.view(shape).flip(1), self.weight_hij)",
        clicks("finalmlp", "test_heads_are_a_block_diagonal_form"),
    ),
    ours(
        "finalmlp.py",
        "linear = (self.first(first_bi) + self.second(second_bj)).squeeze(-1)",
        "linear = self.first(first_bi).squeeze(-1)",
        clicks("finalmlp", "test_without_the_form_two_linear_heads_are_added"),
    ),
    ours(
        "finalmlp.py",
        "return 2.0 * torch.sigmoid(self.mlp(self.tables(interaction).flatten(1)))",
        "return torch.sigmoid(self.mlp(self.tables(interaction).flatten(1)))",
        clicks("finalmlp", "test_each_stream_sees_the_embeddings_times_its_gate"),
    ),
    ours(
        "finalmlp.py",
        '        if config["fs"]:\n',
        "        if True:\n",
        clicks("finalmlp", "test_without_gates_both_streams_see_the_embeddings"),
    ),
    ours(
        "finalmlp.py",
        "tables = FieldTables(config, dataset, fields, pool) if fields else None",
        'tables = FieldTables(config, dataset, fields or ["age"], pool)',
        clicks("finalmlp", "test_a_learned_context_gives_all_rows_one_gate"),
    ),
    ours(
        "finalmlp.py",
        '"item": FeatureSource.ITEM}',
        '"item": FeatureSource.ITEM_ID}',
        clicks("finalmlp", "test_gates_read_a_side_without_its_id"),
    ),
    ours(
        "finalmlp.py",
        "pool = type(self).embed_token_seq_fields",
        "pool = ClickModel.embed_token_seq_fields",
        clicks("finalmlp", "test_gates_pool_as_the_model_does"),
    ),
    ours(
        "finalmlp.py",
        "if heads and any(end % heads for end in ends):",
        "if heads and all(end % heads for end in ends[:1]) and heads > 9:",
        clicks("finalmlp", "test_what_does_not_fit_is_refused"),
    ),
    ours(
        "afn.py",
        "return torch.matmul(weight_jf, log_bfd).clamp(max=LARGEST_EXPONENT).exp()",
        "return torch.matmul(weight_jf.abs(), log_bfd).clamp(max=LARGEST_EXPONENT).exp()",
        clicks(
            "afn",
            "test_any_exponents_number_by_number",
            "test_scaling_a_field_scales_by_its_power",
        ),
    ),
    ours(
        "afn.py",
        "return field_bfd.abs().clamp(min=least).log()",
        "return field_bfd.clamp(min=least).log()",
        clicks(
            "afn",
            "test_exponents_one_give_fields_and_their_products",
            "test_signs_do_not_matter[neurons]",
        ),
    ),
    ours(
        "afn.py",
        "return field_bfd.abs().clamp(min=least).log()",
        "return (field_bfd.square() + least**2).sqrt().log()",
        clicks("afn", "test_exponents_one_give_fields_and_their_products"),
    ),
    ours(
        "afn.py",
        "return field_bfd.abs().clamp(min=least).log()",
        "return (field_bfd + 1e-9).abs().clamp(min=0.1 * least / 1e5).log()",
        clicks("afn", "test_zero_is_finite_and_has_exactly_no_gradient[neurons]"),
    ),
    ours(
        "afn.py",
        "return torch.relu(torch.expm1(exponent.clamp(max=LARGEST_EXPONENT)))",
        "return torch.expm1(exponent.clamp(max=LARGEST_EXPONENT))",
        clicks("afn", "test_the_released_form_multiplies_one_plus_the_fields"),
    ),
    ours(
        "afn.py",
        ".clamp(max=LARGEST_EXPONENT).exp()",
        ".exp()",
        clicks("afn", "test_large_exponents_stay_numbers[neurons]"),
    ),
    ours(
        "afn.py",
        "neuron_bjd = powers(log_bfd, self.weight_jf)",
        "neuron_bjd = powers(log_bfd, self.weight_jf).relu() + 1e-9",
        clicks("afn", "test_the_logit_is_an_mlp_of_the_neurons"),
    ),
    ours(
        "afn.py",
        "return neuron_bjd if self.exp_bn is None else self.exp_bn(neuron_bjd)",
        "return neuron_bjd",
        clicks("afn", "test_batch_norm_is_per_field_before_and_per_neuron_behind"),
    ),
    ours(
        "afn.py",
        "(torch.stack(values, dim=-1) * self.float_weight).sum(dim=-1)",
        "(torch.stack(values[::-1], dim=-1) * self.float_weight).sum(dim=-1)",
        clicks("afn", "test_numbers_are_a_linear_term_in_the_released_form"),
    ),
    ours(
        "afn.py",
        "torch.cat([logits_b[:, None], deep_b1], dim=1)",
        "torch.cat([deep_b1, logits_b[:, None]], dim=1)",
        clicks("afn", "test_the_ensemble_is_linear_in_both_logits"),
    ),
    ours(
        "afn.py",
        "parts.append(field_bfd[:, self.shared])",
        "parts.append(0.5 * field_bfd[:, self.shared])",
        clicks("afn", "test_a_given_vector_reaches_both_networks"),
    ),
    # ------------------------------------------------------------------ rows from content
    mutant(
        "_content.py",
        "self.outside(self.dropout(torch.tanh(hidden)))",
        "self.outside(self.dropout(torch.relu(hidden)))",
        content("TestContentNet", "test_by_hand"),
    ),
    mutant(
        "_content.py",
        "return F.batch_norm(",
        "return 0.9 * F.batch_norm(",
        content(
            "TestContentNet", "test_a_single_item_reads_the_running_statistics_and_leaves_them"
        ),
    ),
    mutant(
        "_content.py",
        "nn.Dropout(dropout)",
        "nn.Dropout(0.0)",
        content("TestContentNet", "test_dropout_is_on_in_training_only"),
    ),
    mutant(
        "_content.py",
        "max(value_b.numel(), 1)",
        "value_b.numel()",
        content("TestContentNet", "test_the_mean_of_nothing_is_zero"),
        gar("test_a_batch_without_a_click_is_no_error"),
        aldi("test_a_batch_of_one_class_is_no_error"),
    ),
    mutant(
        "_content.py",
        "~torch.cat(codes, dim=1).any(dim=1)",
        "~torch.cat(codes, dim=1).bool().all(dim=1)",
        content("TestWithoutContent", "test_items_with_padding_in_all_fields"),
    ),
    mutant(
        "_content.py",
        "return torch.zeros(backbone.n_ids, dtype=torch.bool",
        "return torch.ones(backbone.n_ids, dtype=torch.bool",
        content("TestWithoutContent", "test_numbers_alone_are_content"),
    ),
    mutant(
        "gar.py",
        "return mean_where_bare(self, rows)",
        "return rows",
        content("TestWithoutContent", "test_they_start_from_the_mean_and_are_counted"),
    ),
    mutant(
        "_content.py",
        "    if number:\n",
        "    if True:\n",
        content("TestWithoutContent", "test_none_is_not_said"),
    ),
    # ------------------------------------------------------------------ GAR
    mutant(
        "gar.py",
        "(real_p - (1.0 - beta) * fake_p - beta * other_p)",
        "(real_p - beta * fake_p - (1.0 - beta) * other_p)",
        gar("test_losses_by_hand", "test_beta_one_is_bpr_and_knows_no_generator"),
    ),
    mutant(
        "gar.py",
        "(real_p - (1.0 - beta) * fake_p - beta * other_p)",
        "(real_p - fake_p - beta * other_p)",
        gar("test_a_constant_added_to_all_logits_changes_neither"),
    ),
    mutant(
        "gar.py",
        "(made_bd - real_bd).abs().mean(dim=-1)",
        "(made_bd - real_bd).square().mean(dim=-1)",
        gar("test_distance_by_hand"),
    ),
    mutant(
        "gar.py",
        "(1.0 - alpha) * ranking_loss(fake_b[clicked]",
        "alpha * ranking_loss(fake_b[clicked]",
        gar("test_a_perfect_imitation_has_ln_2"),
    ),
    mutant(
        "gar.py",
        "self.cold_first_order().expand(len(made), 1)",
        "weight[clicked]",
        gar("test_the_recommenders_loss_row_by_row[DeepFM]"),
    ),
    mutant(
        "gar.py",
        "ranking_loss(fake_b[clicked], real_b[clicked])",
        "ranking_loss(real_b[clicked], fake_b[clicked])",
        gar("test_the_generators_loss_row_by_row"),
    ),
    mutant(
        "gar.py",
        "rows[self.id_field] = torch.cat([ids, seen, other])",
        "rows[self.id_field] = torch.cat([ids, seen, seen])",
        gar("test_the_other_item_brings_its_own_features"),
    ),
    mutant(
        "gar.py",
        'self.set_mode(self.learning_mode("dropout"))\n        self.generator.eval()',
        'self.set_mode(self.learning_mode("dropout"))',
        gar("test_each_move_leaves_the_other_side_alone"),
    ),
    mutant(
        "gar.py",
        "return lookup(self.backbone.id_table(), ids).detach(), first",
        "return lookup(self.backbone.id_table(), ids), first",
        gar("test_learning_never_moves_an_id_row"),
    ),
    mutant(
        "gar.py",
        "steps.insert(0, recommender)",
        "steps.append(recommender)",
        gar("test_the_recommender_moves_first"),
    ),
    mutant(
        "gar.py",
        'self.set_mode(self.learning_mode("dropout"))',
        'self.set_mode("train")',
        gar("test_modes_of_the_two_sides"),
    ),
    mutant(
        "gar.py",
        'if self.config["gar_finetune_recommender"]:',
        "if True:",
        gar("test_generator_only"),
    ),
    mutant(
        "gar.py",
        "rows = self.generator(self.content[self.new_ids])",
        "rows = self.generator(self.side_vectors()[self.new_ids])",
        gar("test_cold_rows_are_of_the_pretrained_content"),
    ),
    mutant(
        "gar.py",
        "    @torch.no_grad()\n    def cold_vectors(self)",
        "    def warm_fits(self, index):\n        return []\n\n"
        "    @torch.no_grad()\n    def cold_vectors(self)",
        gar("test_warm_phases_are_plain_fine_tuning"),
    ),
    mutant(
        "gar.py",
        "rows[self.id_field] = torch.cat([ids, seen, other])",
        "rows[batch.rows.item_field] = torch.cat([ids, seen, other])",
        gar("test_on_new_users"),
    ),
    mutant(
        "gar.py",
        "        seen = ids[clicked]\n",
        "        seen = ids[clicked]\n        ids[clicked] = other\n",
        (f"{GAR}::test_rows_of_a_batch_are_not_shared_with_the_game",),
    ),
    # ------------------------------------------------------------------ ALDI
    mutant(
        "aldi.py",
        "gamma * mean(apart)",
        "gamma * mean(weight_p * apart)",
        aligned("TestAlignment", "test_distillation_by_hand"),
    ),
    mutant(
        "aldi.py",
        "- vector_i @ vector_j.mean(dim=0)",
        "- vector_i @ vector_i.mean(dim=0)",
        aligned("TestAlignment", "test_identification_is_the_mean_of_all_products"),
    ),
    mutant(
        "aldi.py",
        "soft_bce(order_s, torch.sigmoid(order_t).detach())",
        "soft_bce(order_s, torch.sigmoid(2 * order_t).detach())",
        aligned("TestAlignment", "test_agreement_is_a_stationary_point"),
    ),
    mutant(
        "aldi.py",
        "return F.softplus(logit) - target * logit",
        "return F.softplus(logit) - logit",
        aligned("TestAlignment", "test_soft_bce_is_cross_entropy"),
    ),
    mutant(
        "aldi.py",
        "teacher.score_i - teacher.score_j\n",
        "(teacher.score_i - teacher.score_j).abs()\n",
        aligned("TestAlignment", "test_exchanging_i_and_j_flips_the_differences"),
    ),
    mutant(
        "aldi.py",
        "torch.sigmoid(same_t).detach()",
        "torch.sigmoid(same_t)",
        aligned("TestAlignment", "test_the_teacher_gets_no_gradient"),
    ),
    mutant(
        "aldi.py",
        "limit * n_items / max(n_users, 1)",
        "limit * n_users / max(n_items, 1)",
        aligned("TestQualification", "test_range_order_and_the_average_item"),
    ),
    mutant(
        "aldi.py",
        "pair = torch.unique(first * n_second + second)",
        "pair = (first * n_second + second).sort().values",
        aligned("TestQualification", "test_shares_against_sets"),
    ),
    mutant(
        "aldi.py",
        "wanted = user_b[positive]",
        "wanted = user_b[positive] + 100",
        aligned("TestPairRows", "test_same_user_where_there_is_one"),
    ),
    mutant(
        "aldi.py",
        "(draw_p * number).long()",
        "(draw_p * draw_p * number).long()",
        aligned("TestPairRows", "test_partners_are_drawn_evenly"),
    ),
    mutant(
        "aldi.py",
        "(draw_p * number).long(), number - 1)",
        "(draw_p * number).long(), number - 2)",
        aligned("TestPairRows", "test_the_largest_draw_stays_inside"),
    ),
    mutant(
        "aldi.py",
        "return positive[:0], negative",
        "return positive, negative",
        aligned("TestPairRows", "test_one_class_has_no_pairs"),
    ),
    mutant(
        "aldi.py",
        "student_b = self.cold_logits(batch, lookup(made, place))",
        "student_b = self.backbone.logits(batch, lookup(made, place))",
        aldi(
            "test_loss_row_by_row[DeepFM]",
            "test_without_alignment_it_is_click_loss_on_generated_rows",
        ),
    ),
    mutant(
        "aldi.py",
        "        with torch.no_grad():\n            teacher_b",
        "        if True:\n            teacher_b",
        aldi("test_the_teacher_is_untouched"),
    ),
    mutant(
        "aldi.py",
        "Pairs(teacher_b[i], teacher_b[j], real[item_i], real[item_j])",
        "Pairs(teacher_b[j], teacher_b[i], real[item_i], real[item_j])",
        aldi("test_a_perfect_student_has_nothing_to_learn_from_the_teacher"),
    ),
    mutant(
        "aldi.py",
        "columns[self.label_field][self.train_index] > 0",
        "columns[self.label_field][self.train_index] >= 0",
        aldi("test_qualifications_are_of_base_clicks"),
        aldimf("test_triples_are_of_base_clicks"),
    ),
    mutant(
        "aldi.py",
        'if not self.config["aldi_weights"]:',
        "if False:",
        aldi("test_qualifications_are_of_base_clicks"),
    ),
    mutant(
        "aldi.py",
        'epochs=self.config["aldi_epochs"], mode=mode',
        "epochs=1, mode=mode",
        aldi("test_only_the_generator_learns"),
    ),
    mutant(
        "aldi.py",
        "with evaluating(self.generator):",
        "with evaluating():",
        aldi("test_cold_rows_are_generated_without_batch_statistics"),
    ),
    mutant(
        "aldi.py",
        "return mean_where_bare(self, self.generated(self.new_ids))",
        "return self.generated(self.new_ids)",
        aldi("test_items_without_content_start_from_the_mean"),
    ),
    mutant(
        "aldi.py",
        "    def cold_vectors(self)",
        "    def warm_fits(self, index):\n        return []\n\n    def cold_vectors(self)",
        aldi("test_warm_phases_are_plain_fine_tuning"),
    ),
    mutant(
        "aldi.py",
        "columns[self.id_field][index], columns[self.other_field][index]",
        "columns[self.rows.item_field][index], columns[self.rows.user_field][index]",
        aldi("test_on_new_users"),
    ),
    # ------------------------------------------------------------------ ALDI-MF
    mutant(
        "aldimf.py",
        "self.items, self.others, self.batch_size = items[order], others, batch_size",
        "self.items, self.others, self.batch_size = items, others, batch_size",
        triples("test_an_item_is_one_of_its_users"),
    ),
    mutant(
        "aldimf.py",
        "(share[part] * counts).long()",
        "(share[part].square() * counts).long()",
        triples("test_draws_are_uniform_over_users_then_items_then_others"),
    ),
    mutant(
        "aldimf.py",
        "torch.randint(len(self.others)",
        "torch.randint(len(self.others) - 1",
        triples("test_draws_are_uniform_over_users_then_items_then_others"),
    ),
    mutant(
        "aldimf.py",
        "for position in range(start, len(self)):",
        "for position in range(0, len(self)):",
        triples("test_a_late_start_is_the_same_tail"),
    ),
    mutant(
        "aldimf.py",
        "F.softplus(-(score_i - score_j))",
        "F.softplus(score_i - score_j)",
        aldimf("test_scores_and_pairwise_loss_by_hand"),
    ),
    mutant(
        "aldimf.py",
        "for part in (user, item, other))",
        "for part in (user, item))",
        aldimf("test_teacher_loss_triple_by_triple"),
    ),
    mutant(
        "aldimf.py",
        "Pairs(dot(user, real_i), dot(user, real_j), real_i, real_j)",
        "Pairs(dot(user, real_i), dot(user, real_j), real_j, real_i)",
        aldimf("test_student_loss_from_its_parts"),
    ),
    mutant(
        "aldimf.py",
        "lookup(self.user_factors(), users).detach()",
        "lookup(self.user_factors(), users)",
        aldimf("test_the_teacher_is_frozen_while_the_student_learns"),
    ),
    mutant(
        "aldimf.py",
        "lookup(warm_user, seat), lookup(cold_user, seat)",
        "lookup(cold_user, seat), lookup(warm_user, seat)",
        aldimf("test_old_items_by_the_teacher_new_ones_by_the_student"),
    ),
    mutant(
        "aldimf.py",
        "with evaluating(self.user_tower):",
        "with evaluating():",
        aldimf("test_scoring_leaves_modes_and_statistics"),
    ),
    mutant(
        "aldimf.py",
        "self.new_factors.copy_(self.content_factors(self.new_ids))",
        "self.new_factors.copy_(self.content_factors(self.new_ids))\n"
        "        self.new_factors += lookup(self.item_factors(), self.new_ids)",
        aldimf("test_cold_scores_go_with_content_and_know_no_later_rows"),
    ),
    mutant(
        "aldimf.py",
        "        return []\n",
        "        return super().warm_fits(index)\n",
        aldimf("test_warm_phases_repeat_the_cold_one"),
    ),
    mutant(
        "aldimf.py",
        "return self.backbone.table_of(self.other_field)",
        "return self.backbone.id_table()",
        aldimf("test_the_backbone_as_teacher"),
    ),
    mutant(
        "aldimf.py",
        "std=0.01",
        "std=0.02",
        aldimf("test_released_start"),
    ),
    mutant(
        "aldimf.py",
        "self.generated(self.old_ids).mean(dim=0)",
        "self.generated(self.new_ids).mean(dim=0)",
        aldimf("test_items_without_content_have_the_mean_of_old_items"),
    ),
    mutant(
        "aldimf.py",
        "        if len(items) == 0:\n",
        "        if False:\n",
        aldimf("test_no_click_is_said"),
    ),
]


# ------------------------------------------------------------------------------- carrying it out
class Recorder:
    """A pytest plug-in: which tests ran, and which of them failed in their own body."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call":
            self.ran.append(report.nodeid)
            if report.failed:
                self.failed.append(report.nodeid)


def run_here(folder: Path, nodes: Sequence[str]) -> dict[str, list[str]]:
    """Run ``nodes`` in a fork of this process, on the package in ``folder``."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os.chdir(folder)
            sys.path.insert(0, str(folder))
            import pytest

            recorder = Recorder()
            pytest.main(["-q", "-p", "no:cacheprovider", *nodes], plugins=[recorder])
            answer = {"ran": recorder.ran, "failed": recorder.failed}
        except BaseException:
            answer = {"ran": [], "failed": [], "error": [traceback.format_exc()]}
        with os.fdopen(writer, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = json.load(pipe)
    os.waitpid(child, 0)
    return answer


def survivors(folder: Path, mutants: Sequence[Mutant] = MUTANTS) -> list[str]:
    """What is wrong: defects whose text is not found, and tests that stayed green or never ran."""
    nodes = sorted({node for mutant in mutants for node in mutant.nodes})
    sound = run_here(folder, nodes)
    wrong = [f"red without a defect: {node}" for node in sound["failed"]]
    wrong += [f"not run: {node}" for node in nodes if not _matching(node, sound["ran"])]
    for number, (path, old, new, expected) in enumerate(mutants):
        text = (folder / path).read_text(encoding="utf-8")
        if text.count(old) != 1:
            wrong.append(f"mutant {number}: {text.count(old)} times in {path}: {old!r}")
            continue
        (folder / path).write_text(text.replace(old, new), encoding="utf-8")
        try:
            failed = run_here(folder, expected)["failed"]
        finally:
            (folder / path).write_text(text, encoding="utf-8")
        green = [node for node in expected if not _matching(node, failed)]
        wrong += [f"mutant {number} ({path}: {new!r}) left green: {node}" for node in green]
        print(f"{number:4d} {path} {'LEFT GREEN' if green else 'red'}", flush=True)
    return wrong


def _matching(node: str, found: Sequence[str]) -> bool:
    """Whether ``node``, or a parametrised form of it, is among ``found``."""
    return any(name == node or name.startswith(f"{node}[") for name in found)


def main(folder: Path) -> int:
    """Run all defects in ``folder``, a copy of the repository, and print what survived."""
    # Every fork starts with the big libraries loaded, and with nothing of this package.
    sys.dont_write_bytecode = True
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.csv  # noqa: F401
    import scipy.sparse  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import torch._dynamo

    torch.set_num_threads(1)
    wrong = survivors(folder.resolve())
    print(json.dumps({"mutants": len(MUTANTS), "wrong": wrong}, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
