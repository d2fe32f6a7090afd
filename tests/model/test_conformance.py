"""Every built-in method passes the suite that plug-in authors run."""

import os

import pytest
import torch

from recbole_cold.model._fewshot import FewShotRecommender
from recbole_cold.registry import methods
from recbole_cold.testing import MethodConformance, SessionConformance

# What learning and the warm phases move, where a method's own parameters are not all of it. A
# method that is not named here may move whatever it owns.
TRAINS = {"Base": set(), "DropoutNet": set(), "MetaE": {"generator"}}
TRAINS["MWUF"] = {"cold_id", "scale_net", "shift_net"}
TRAINS["CVAR"] = {"own_side", "posterior", "prior", "decoder"}
TRAINS["AVAEW"] = {*TRAINS["CVAR"], "classifier"}
TRAINS |= {name: {"generator"} for name in ("GMEA", "GMEG", "GMEP", "GAR", "ALDI")}
TRAINS["ALDIMF"] = {"generator", "user_tower", "teacher"}
GENERATE_ONCE = ("MetaE", "GMEA", "GMEG", "GMEP", "GAR", "ALDI", "ALDIMF")
TRAINS_WARM = {name: set() for name in GENERATE_ONCE}
# The recommender of GAR plays against its generator; ALDIMF scores by towers of its own.
TRAINS_BACKBONE = {"GAR"}
# Phases of RML are fine-tuning of its whole network.
TUNES_BACKBONE = {"RML"}
SERVES_NO_ROWS = {"ALDIMF"}

# The suite interrupts and repeats: ten uses of each batch make it no stricter, only slow.
FEWER_REPEATS = {
    "CVAR": {"cvar_iters": 2},
    "AVAEW": {"avaew_iters": 2},
    "CSDM": {"csdm_iters": 2},
    "RML": {"rml_epochs": 2},
}


def conformance(name: str, method: type, suite: type = MethodConformance, **attributes) -> type:
    """The suite's class for one method, under a name that pytest collects."""
    attributes = {
        "method": method,
        "trains": TRAINS.get(method.__name__),
        "trains_warm": TRAINS_WARM.get(method.__name__),
        "trains_backbone": method.__name__ in TRAINS_BACKBONE,
        "tunes_backbone": method.__name__ in TUNES_BACKBONE,
        "serves_rows": method.__name__ not in SERVES_NO_ROWS,
        **attributes,
    }
    fewer = FEWER_REPEATS.get(method.__name__, {})
    attributes["options"] = {**fewer, **attributes.get("options", {})}
    marks = attributes.pop("marks", [])
    return type(name, (suite,), {**attributes, "pytestmark": marks})


# Products of four numbers in +-0.01 are lost in single precision until hundreds of steps are made.
RELEASED = {"EmerG": {"embedding_init": "model"}}

# DeepFM has first-order weights, DCN BatchNorm: the two things that are easily forgotten.
FAST = ("DeepFM", "DCN")
REST = tuple(name for name in MethodConformance.backbones if name not in FAST)
USER_SIDE = {"cold_side": "user", "cold_threshold": 16, "warm_size": 3}
OTHER_SETTINGS = {
    "table_update": "lazy",
    "pretrain_epochs": 2,
    "warm_steps": 7,
    "common_phases": 1,
    "common_size": 2,
    "use_count": True,
    "use_timestamp": True,
    "numerical_features": ["income", "price"],
}

# `pytest -m gpu` runs these. RECBOLE_COLD_TEST_DEVICE=cuda:1 takes another card; cpu runs the very
# same classes without one.
CARD = os.environ.get("RECBOLE_COLD_TEST_DEVICE", "cuda")
ON_A_CARD = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(
        CARD != "cpu" and not torch.cuda.is_available(), reason="torch finds no CUDA device"
    ),
]

# One backbone is enough for what is the same on all: whole models are fine-tuned.
ON_SESSIONS = {"backbones": ("DeepFM",), "options": {}}
TASKS_ON_SESSIONS = {"options": {"meta_epochs": 3, "episode_support": 3, "episode_query": 2}}
ONE_PASS = {"RML": {"rml_epochs": 1}}
# MetaE starts items that are no target in training, in the table.
WRITES_ON_SESSIONS = {"MetaE"}
# What the others of a kind do as well is left to the slow tests.
SLOW_ON_SESSIONS = {"ColdNAS", "ItemBias", "MAMO", "MetaE", "TaNP"}
OTHER_SESSIONS = {
    "session_form": "chunk",
    "session_min": 1,
    "warm_steps": 3,
    "item_bias": True,
    "numerical_features": ["income", "price"],
}

for _name, _method in methods().items():
    if not _method.__module__.startswith("recbole_cold.model."):
        continue
    for _test, _attributes in {
        f"Test{_name}": {"backbones": FAST},
        f"Test{_name}OnOtherBackbones": {"backbones": REST, "marks": [pytest.mark.slow]},
        f"Test{_name}OnACard": {"backbones": FAST, "device": CARD, "marks": ON_A_CARD},
        # Released code reads untrained rows as side information and serves them.
        f"Test{_name}Released": {
            "backbones": FAST,
            "options": {"protocol": "released", **RELEASED.get(_name, {})},
            "equivariant": False,
            "marks": [pytest.mark.slow],
        },
        f"Test{_name}WithOtherSettings": {
            "backbones": FAST,
            "options": OTHER_SETTINGS,
            "marks": [pytest.mark.slow],
        },
        f"Test{_name}OnNewUsers": {
            "backbones": FAST,
            "options": USER_SIDE,
            "marks": [pytest.mark.slow],
        },
    }.items():
        if _method.network is not None and "Backbones" in _test:
            continue
        globals()[_test] = conformance(_test, _method, **_attributes)
    if not _method.needs_new_items:
        _few_shot = issubclass(_method, FewShotRecommender)
        _attributes = TASKS_ON_SESSIONS if _few_shot else ON_SESSIONS
        _slow = [pytest.mark.slow]
        for _test, _options, _marks in (
            (f"Test{_name}OnSessions", {}, _slow if _name in SLOW_ON_SESSIONS else []),
            (f"Test{_name}OnOtherSessions", OTHER_SESSIONS, _slow),
            (f"Test{_name}OnSessionsOnACard", {"device": CARD}, ON_A_CARD),
        ):
            _options = {**_attributes["options"], **ONE_PASS.get(_name, {}), **_options}
            globals()[_test] = conformance(
                _test, _method, SessionConformance,
                **{**_attributes, "options": _options, "marks": _marks},
                trains_backbone=_name in WRITES_ON_SESSIONS,
            )  # fmt: skip
