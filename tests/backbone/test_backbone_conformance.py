"""Methods on our backbones pass the suite that they pass on RecBole's.

Sizes are small here: AFN's own, 1500 neurons, are no network for a test.
"""

import pytest

from recbole_cold.registry import find_method
from recbole_cold.testing import MethodConformance, SessionConformance

SIZES = {
    "AFN": {"log_neurons": 8, "mlp_hidden_size": [8], "ensemble_hidden_size": [4]},
    "Basic": {"mlp_hidden_size": [8]},
    "FINAL": {"block1_hidden_size": [8, 4], "block2_hidden_size": [8, 4]},
    "FinalMLP": {"mlp1_hidden_size": [8], "mlp2_hidden_size": [8], "fs_hidden_size": [4]},
    "LorentzFM": {},
    "DIN": {"mlp_hidden_size": [8], "attention_hidden_size": [4], "history_length": 6},
    "DIEN": {"mlp_hidden_size": [8], "aux_hidden_size": [4], "history_length": 6},
    "GRU4RecCTR": {"mlp_hidden_size": [8], "history_length": 6},
    "MIMN": {"mlp_hidden_size": [8], "attention_hidden_size": [4], "history_length": 6},
    "LSTM4Rec": {"mlp_hidden_size": [8], "history_length": 6},
}
# Sequence models have so much in common that one of them is enough for the fast tests.
SLOW = {"DIEN", "DIN", "LSTM4Rec", "MIMN"}
TRAINS = {
    "Base": set(),
    "MetaE": {"generator"},
    "MWUF": {"cold_id", "scale_net", "shift_net"},
    "CVAR": {"own_side", "posterior", "prior", "decoder"},
    "DropoutNet": set(),
}
TRAINS_WARM = {"MetaE": set()}
OTHER = {"numerical_features": ["income", "price"], "use_count": True}
ON_ITEMS = {"history_side": "item", "history_dropout": 0.3}
# Where a setting meets what only that backbone has: second tables, BatchNorm, histories.
VARIANTS = {
    "AFNReleased": {"protocol": "released"},
    "FINALReleased": {"protocol": "released"},
    "AFNOnNewUsers": {"cold_side": "user", "cold_threshold": 16, "warm_size": 3},
    "FinalMLPOnNewUsers": {"cold_side": "user", "cold_threshold": 16, "warm_size": 3},
    "DINOnNewUsers": {"cold_side": "user", "cold_threshold": 16, "warm_size": 3, "history": "all"},
    "DINReleased": {"protocol": "released", "history_side": "item"},
    "GRU4RecCTROnItems": {**OTHER, **ON_ITEMS},
    "BasicOnItems": {"basic_history": "mean", **ON_ITEMS, "backbone_dropout": True},
    "AFNWithOtherSettings": {**OTHER, "ensemble_dnn": True},
    "FinalMLPWithOtherSettings": {**OTHER, "fs1_context": "none", "fusion_heads": 1},
}


def on_sessions(backbone: str) -> type:
    """The plain backbone on sessions, where all of it is fine-tuned."""
    attributes = {
        "method": find_method("Base"),
        "backbones": (backbone,),
        "options": SIZES[backbone],
        "trains": set(),
    }
    return type(f"TestBaseOn{backbone}Sessions", (SessionConformance,), attributes)


def suite(method: str, backbone: str, options: dict, equivariant: bool = True) -> type:
    return type(
        f"Test{method}On{backbone}",
        (MethodConformance,),
        {
            "method": find_method(method),
            "backbones": (backbone,),
            "options": {**SIZES[backbone], **options},
            "trains": TRAINS[method],
            "trains_warm": TRAINS_WARM.get(method),
            "equivariant": equivariant,
        },
    )


for _backbone in SIZES:
    for _method in TRAINS:
        _suite = suite(_method, _backbone, {})
        _suite.pytestmark = (
            [] if _method == "Base" and _backbone not in SLOW else [pytest.mark.slow]
        )
        globals()[_suite.__name__] = _suite
    _suite = on_sessions(_backbone)
    _suite.pytestmark = [pytest.mark.slow]  # in tests/model RML is the fast one with histories
    globals()[_suite.__name__] = _suite

for _name, _options in VARIANTS.items():
    _backbone = next(name for name in SIZES if _name.startswith(name))
    _suite = suite("Base", _backbone, _options, "protocol" not in _options)
    _suite.pytestmark = [pytest.mark.slow]
    globals()[f"TestBaseOn{_name}"] = _suite

del _suite  # pytest would collect it once more under this name
