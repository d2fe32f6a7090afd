"""The table of configuration keys: which values a key takes, and what changes with its value.

Every key has one row here; ``key_row`` says what a row is. Every value is checked by its row
(``Key.check``), wherever it was given, and every set of keys that other modules need is asked for
with ``names``. The keys of a single method or backbone are in its own file, as ``keys`` of the
class (``declared``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

# Whoever writes a row takes what it is made of from here.
from recbole_cold.key_row import (  # noqa: F401
    COLUMNS,
    COMMAND_LINE,
    COUNT,
    DATA,
    DERIVED,
    DROP,
    EPOCHS,
    FLAG,
    IDLE,
    INNER_RATE,
    LAYERS,
    PLACE,
    PRETRAINING,
    RATE,
    SCORES,
    SHARE,
    SIZE,
    SPLIT,
    STEPS,
    TABLE,
    UNSUPPORTED,
    WEIGHT,
    Key,
    at,
)
from recbole_cold.kinds import (
    HUGE,
    anything,
    either,
    field_name,
    flag,
    intervals,
    just,
    like,
    list_of,
    mapping_of,
    nothing,
    number,
    one_of,
    optional,
    path,
    text,
    whole,
)

# Blocks of a yaml that are no configuration keys, and what the values in them are.
BLOCKS = {
    "released": "with --protocol=released",
    "sweep_space": "searched by tune and benchmark",
    "datasets": "on single data sets",
}


def _rows(touches: Iterable[str], *keys: Key, **common: Any) -> list[Key]:
    return [replace(key, touches=frozenset(touches), **common) for key in keys]


_THING = text("a name", "names")
_METRIC = text("a metric", "metrics", most=80)
_FIELDS = list_of(field_name())
_CARDS = text("numbers of cards", "numbers of cards", least=0, most=80)
_VALUE = number(limit=HUGE)  # of the data
_BY_FILE = "'inter', 'user' and 'item'"
_SEED = whole(0, 4_000_000_000)

# ------------------------------------------------------------------------------- ours, RecBole's
_TABLE = [
    *_rows(
        [SCORES],
        Key("model", either(_THING, list_of(_THING)), in_yaml=False),
        Key("backbone", _THING),
        run_wide=True, apart=True,
    ),
    Key("dataset", _THING, frozenset({PRETRAINING, SCORES}), run_wide=True, apart=True,
        in_yaml=False),
    *_rows(
        [TABLE],
        Key("seeds", whole(1, 10_000), apart=True),
        Key("config_files", anything(), apart=True, in_yaml=False),
        Key("matched_row", flag()),
        Key("base_model", text("a name of a row", "names of rows")),
        Key("metrics", either(_METRIC, list_of(_METRIC))),
        Key("keep_scores", flag()),
        Key("bootstrap_resamples", whole(0, 100_000)),
        Key("delong", flag()),
        Key("reference_rows", either(text("names", "names"), list_of(_THING, filled=False))),
        Key("smallest_effect", number(least=0, below=1)),
        Key("wilcoxon", flag()),
        run_wide=True,
    ),
    Key("valid_metric", _METRIC, frozenset({TABLE})),
    Key("f1_threshold", either(just("mean"), SHARE), frozenset({SCORES, TABLE})),
    # Where and how fast
    *_rows(
        [PLACE],
        Key("saved_dir", path(), run_wide=True),
        Key("cache_dir", optional(path()), run_wide=True),
        Key("device", text("a device", "devices"), run_wide=True),
        Key("gpu_id", optional(either(whole(0), _CARDS, list_of(whole(0)))), run_wide=True),
        Key("data_path", path(), run_wide=True),
        Key("checkpoint_seconds", number(least=0)),
        Key("show_progress", flag()),
        here=True,
    ),
    # What a finished run leaves to be scored with; it changes no number.
    *_rows(
        [PLACE],
        Key("keep_model", either(just("auto"), flag())),
        Key("keep_phases", either(text("a phase", "phases"), list_of(text("a phase", "phases")))),
        Key("calibrate", one_of("none", "platt", "isotonic")),
        run_wide=True,
    ),
    *_rows(
        [PLACE],
        Key("num_threads", whole(0, 1024), run_wide=True),
        Key("use_gpu", flag()), Key("cuda_graph", flag()),
    ),
    # Which rows
    *_rows(
        [SPLIT, SCORES],
        Key("cold_threshold", whole(0)),
        Key("warm_size", COUNT),
        Key("warm_sets", whole(0, 26), run_wide=True),  # they have letters
        Key("common_phases", whole(0, 1000), run_wide=True),
        Key("common_size", optional(COUNT)),
        Key("valid_fraction", number(above=0, below=1)),
        Key("valid_draw", one_of("rare", "uniform")),
        Key("fit_on", one_of("full", "valid")),
        Key("train_until", one_of("none", "first_test")),
        Key("old_test_fraction", number(least=0, below=1)),
    ),
    *_rows(
        [SPLIT, SCORES],
        Key("split_rule", one_of("frequency", "sessions")),
        Key("session_subset", either(one_of("wc", "cw", "both"), list_of(one_of("wc", "cw")))),
        Key("session_form", one_of("sliding", "chunk", "gap")),
        Key("session_length", whole(2, 10_000)),
        Key("session_stride", COUNT),
        Key("session_gap", number(above=0)),
        Key("session_min", COUNT),
        Key("session_user_min", COUNT),
        run_wide=True,
    ),
    *_rows([DATA, SPLIT, PRETRAINING, SCORES], Key("cold_side", one_of("item", "user"))),
    Key("eval_on", one_of("test", "next"), frozenset({SPLIT, SCORES}), run_wide=True),
    Key("seed", _SEED, frozenset({SPLIT, SCORES}), run_wide=True, apart=True),
    # What a run does
    *_rows(
        [SCORES],
        Key("protocol", one_of("strict", "released")),
        Key("pretrain_seed", optional(_SEED)),
        Key("share_pretrained", flag(), run_wide=True),
        Key("warm_epochs", EPOCHS),
        Key("warm_steps", optional(whole(0))),
        Key("warm_learning_rate", RATE),
        Key("warm", one_of("own", "map")),
        Key("map_deviation", either(just("auto"), number(least=0))),
        Key("item_bias", flag()),
        Key("item_bias_variance", either(just("auto"), number(above=0))),
        Key("new_item_init", one_of("mean", "zero", "random")),
        Key("side_includes_id", flag()),
        Key("batch_norm", one_of("frozen", "moving")),
        Key("backbone_dropout", flag()),
        # Matrix products round the rows at the end of a batch otherwise: by 1e-7, which moves
        # LogLoss by up to 1e-9. A number here counts; `auto` follows the device, and is one value.
        Key("eval_batch_size", either(just("auto"), COUNT)),
        Key("count_source", one_of("visible", "full")),
        Key("epochs", EPOCHS),
    ),
    *_rows(
        [PRETRAINING, SCORES],
        # The path alone; what is there is in the keys of results and backbones by its content.
        Key("init_from", optional(path())),
        Key("embedding_size", SIZE),
        Key("embedding_init", one_of("model", "uniform")),
        Key("learning_rate", RATE),
        Key("weight_decay", WEIGHT),
        Key("table_update", one_of("auto", "dense", "lazy")),
        Key("train_batch_size", COUNT),
        Key("pretrain_epochs", EPOCHS),
        Key("id_first_order", one_of("mean", "zero", "off")),
        Key("first_order", one_of("all", "numbers")),
        Key("number_vectors", flag()),
        Key("mlp_batch_norm", flag()),
        Key("pooling", one_of("mean", "sum_with_pad")),
        Key("history_side", one_of("user", "item")),
        Key("history_length", whole(1, 10_000)),
        Key("history", one_of("clicked", "all")),
        Key("history_dropout", DROP),
        Key("precision", one_of("float32", "tf32", "bf16")),
    ),
    # What is made of the files
    *_rows(
        [DATA, PRETRAINING, SCORES],
        Key("use_count", flag()),
        Key("use_timestamp", flag()),
        Key("COUNT_FIELD", field_name()),
        Key("numerical_features", optional(list_of(field_name(), filled=False))),
        Key("RATING_FIELD", field_name()),
        Key("number_scale", one_of("auto", "standard", "minmax", "recbole")),
        Key("unseen_tokens", one_of("mask", "draw")),
        Key("vector_fields", optional(mapping_of(mapping_of(path()), _BY_FILE))),
    ),
    *_rows(
        [COLUMNS, DATA, PRETRAINING, SCORES],
        Key("field_separator", text("one letter", "letters", most=2)),
        Key("seq_separator", text("one letter or a few", "letters", most=8)),
        Key("encoding", optional(text("an encoding", "encodings")), in_yaml=False),
        Key("USER_ID_FIELD", field_name()),
        Key("ITEM_ID_FIELD", field_name()),
        Key("LABEL_FIELD", field_name()),
        Key("TIME_FIELD", field_name()),
        Key("load_col", optional(mapping_of(either(just("*"), optional(_FIELDS)), _BY_FILE))),
        Key("unload_col", optional(mapping_of(optional(_FIELDS), _BY_FILE))),
        Key("seq_len", optional(mapping_of(COUNT))),
        Key("filter_inter_by_user_or_item", flag()),
        Key("normalize_field", optional(_FIELDS)),
        Key("normalize_all", optional(flag())),
    ),
    *_rows(
        [COLUMNS, DATA, SPLIT, PRETRAINING, SCORES],
        Key("threshold", optional(mapping_of(_VALUE))),
        Key("rm_dup_inter", optional(one_of("first", "last"))),
        Key(
            "val_interval",
            optional(mapping_of(either(text("an interval", "intervals"), _VALUE, list_of(
                either(text(), _VALUE))))),
        ),
        Key("user_inter_num_interval", optional(intervals())),
        Key("item_inter_num_interval", optional(intervals())),
        Key("benchmark_filename", optional(list_of(text("a name of a part", "names of parts")))),
    ),
    # RecBole's, for its other tasks; not read here
    *_rows(
        [PRETRAINING, SCORES],
        *(
            Key(name, optional(text()))
            for name in (
                "NEG_PREFIX", "ITEM_LIST_LENGTH_FIELD", "LIST_SUFFIX", "POSITION_FIELD",
                "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "RELATION_ID_FIELD",
                "ENTITY_ID_FIELD",
            )
        ),
        Key("MAX_ITEM_LIST_LENGTH", COUNT),
        Key("kg_reverse_r", flag()),
        Key("entity_kg_num_interval", optional(intervals())),
        Key("relation_kg_num_interval", optional(intervals())),
        Key("alias_of_entity_id", optional(_FIELDS)),
        Key("alias_of_relation_id", optional(_FIELDS)),
        Key("double_tower", optional(flag()), in_yaml=False),
        Key("has_residual", optional(flag()), in_yaml=False),
    ),
    # RecBole's, refused: they would change the data in a way that our loader does not have
    *_rows(
        [PRETRAINING, SCORES],
        *(
            Key(name, anything())
            for name in (
                "alias_of_user_id", "alias_of_item_id", "preload_weight",
                "additional_feat_suffix", "unused_col", "discretization",
            )
        ),
        role=UNSUPPORTED,
    ),
]  # fmt: skip

# Keys that RecBole's trainer, splitter or loader reads and ours do not: what to use instead. Their
# values go no further: RecBole's own checks of them would raise whatever they happen to raise.
_IDLE = {
    "eval_args": "cold_threshold, warm_size and eval_on",
    "train_neg_sample_args": "rows with labels",
    "repeatable": "", "topk": "metrics", "valid_metric_bigger": "valid_metric",
    "eval_step": "pretrain_epochs", "stopping_step": "pretrain_epochs",
    "checkpoint_dir": "saved_dir", "config_file": "config_files",
    "save_dataset": "cache_dir", "dataset_save_path": "cache_dir",
    "save_dataloaders": "cache_dir", "dataloaders_save_path": "cache_dir", "worker": "",
    "log_wandb": "", "wandb_project": "", "metric_decimal_place": "", "loss_decimal_place": "",
    "learner": "table_update", "clip_grad_norm": "", "shuffle": "", "require_pow": "",
    "reproducibility": "seed", "state": "",
    "enable_amp": "precision", "enable_scaler": "precision", "transform": "",
}  # fmt: skip
_ONE_CARD = (
    "one model is not spread over several GPUs: these models are small, and trials side by side "
    "pay more; use compare, tune or benchmark with --gpus_per_trial"
)
# Keys of earlier versions, and of RecBole's runner: what to do instead, for whoever names one.
GONE = {
    "share_sequences": "it is gone: training pools sequences row by row; leave it out",
    "matched_steps": "it is matched_row now",
    **dict.fromkeys(("nproc", "world_size", "group_offset"), _ONE_CARD),
}
_DERIVED = (
    "MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "single_spec", "local_rank",
    "valid_neg_sample_args", "test_neg_sample_args",
)  # fmt: skip
_FLAGS = [
    Key("samples", optional(COUNT)),
    Key("trials", COUNT),
    Key("tune_seeds", COUNT),
    Key("concurrent", optional(COUNT)),
    Key("cpus_per_trial", number(above=0)),
    Key("gpus_per_trial", number(least=0)),
    Key("search", one_of("grid", "random", "optuna")),
    Key("scheduler", one_of("none", "asha")),
    Key("select_on", text("a phase or mean", "phases")),
    Key("against", optional(text("a name of a row", "names of rows"))),
    Key("ray_address", optional(text("an address", "addresses"))),
]

# ------------------------------------------------------------------------------- click models
HIDDEN = Key("mlp_hidden_size", LAYERS, frozenset({PRETRAINING, SCORES}))
DROPOUT = Key("dropout_prob", DROP, frozenset({PRETRAINING, SCORES}))
# Keys of RecBole's own click models; another class may mean something else by such a name.
CLICK_MODELS = {
    key.name: key
    for key in [
        HIDDEN, DROPOUT,
        *_rows(
            [PRETRAINING, SCORES],
            Key("attention_size", SIZE),
            Key("reg_weight", WEIGHT),
            Key("n_layers", whole(1, 1000)),
            Key("num_heads", whole(1, 1000)),
            Key("dropout_probs", list_of(DROP)),
            Key("hidden_dropout_prob", DROP),
            Key("attn_dropout_prob", DROP),
            Key("cross_layer_num", whole(1, 1000)),
            Key("mixed", flag()),
            Key("structure", one_of("stacked", "parallel")),
            Key("expert_num", whole(1, 1000)),
            Key("low_rank", SIZE),
            Key("double_tower", one_of(True)),  # DSSM has no other form
            Key("order_list", LAYERS),
            Key("drop_ex", DROP),
            Key("drop_im", DROP),
            Key("apply_norm", flag()),
            # FwFM takes a group it does not know for one of the others, and says nothing.
            Key("fields", nothing()),
            Key("teacher", one_of("CrossNet", "CIN")),
            Key("phase", text("a phase", "phases")),
            Key("type", one_of("inner", "outer")),
            Key("t_depth", whole(1, 1000)),
            Key("depth", whole(1, 1000)),
            Key("alpha", number()),
            Key("beta", number()),
            Key("warm_up", text(least=0)),
            Key("t_cin", LAYERS),
            Key("use_inner", flag()),
            Key("use_outer", flag()),
            Key("direct", flag()),
            Key("cin_layer_size", LAYERS),
        ),
    ]
}  # fmt: skip

ROWS: dict[str, Key] = {
    key.name: key
    for key in [
        *_TABLE,
        *(
            # `state` and the folder of checkpoints touch the place alone, in older runs too.
            Key(name, anything(), frozenset({PLACE} if name in ("state", "checkpoint_dir") else ()),
                role=IDLE, instead=instead)
            for name, instead in _IDLE.items()
        ),
        *(Key(name, anything(), frozenset(), role=DERIVED) for name in _DERIVED),
        *(replace(key, touches=frozenset({PLACE}), role=FLAG) for key in _FLAGS),
    ]
}  # fmt: skip


# ------------------------------------------------------------------------------- questions
def names(
    *,
    touching: Collection[str] = (),
    without: Collection[str] = (),
    only: Collection[str] | None = None,
    role: str | None = None,
    run_wide: bool | None = None,
    apart: bool | None = None,
    here: bool | None = None,
    in_yaml: bool | None = None,
) -> frozenset[str]:
    """Names of the keys that meet every condition; flags only where ``role`` asks for them.

    Args:
        touching: at least one of these.
        without: none of these.
        only: nothing but these, and at least one of them.
    """
    asked = {"run_wide": run_wide, "apart": apart, "here": here, "in_yaml": in_yaml}
    return frozenset(
        key.name
        for key in ROWS.values()
        if (key.role != FLAG if role is None else key.role == role)
        and (not touching or key.touches & set(touching))
        and not key.touches & set(without)
        and (only is None or (key.touches and key.touches <= set(only)))
        and all(answer is None or getattr(key, name) == answer for name, answer in asked.items())
    )


def declared(cls: type) -> dict[str, Key]:
    """The keys that a class and those it extends declare; the subclass's row wins."""
    levels = [vars(level).get("keys", ()) for level in reversed(cls.__mro__)]
    return {key.name: key for level in levels if isinstance(level, tuple) for key in level}


def undeclared(name: str, default: Any) -> Key:
    """A row for a key that has none: it takes values of the kind of its default."""
    return Key(name, like(default))


def check_flag(name: str, value: Any, where: str = COMMAND_LINE) -> Any:
    """The value of a flag of the command line; a text is read as a number where one is due.

    Raises:
        UserError: it is not of the flag's kind.
    """
    if isinstance(value, str) and "number" in ROWS[name].kind.words:
        for kind in (int, float):
            try:
                value = kind(value)
                break
            except ValueError:
                continue
    return ROWS[name].check(value, at(where))
