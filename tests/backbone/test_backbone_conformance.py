"""Methods on our backbones pass the suite that they pass on RecBole's.

Sizes are small here: AFN's own, 1500 neurons, are no network for a test.
"""

import pytest

from recbole_cold.registry import find_method
from recbole_cold.testing import MethodConformance

SIZES = {
    "AFN": {"log_neurons": 8, "mlp_hidden_size": [8], "ensemble_hidden_size": [4]},
    "Basic": {"mlp_hidden_size": [8]},
    "FINAL": {"block1_hidden_size": [8, 4], "block2_hidden_size": [8, 4]},
    "FinalMLP": {"mlp1_hidden_size": [8], "mlp2_hidden_size": [8], "fs_hidden_size": [4]},
    "LorentzFM": {},
}
TRAINS = {
    "Base": set(),
    "MetaE": {"generator"},
    "MWUF": {"cold_id", "scale_net", "shift_net"},
    "CVAR": {"own_side", "posterior", "prior", "decoder"},
    "DropoutNet": set(),
}
TRAINS_WARM = {"MetaE": set()}
OTHER = {"numerical_features": ["income", "price"], "use_count": True}
# Where a setting meets what only that backbone has: second tables, BatchNorm, two losses.
VARIANTS = {
    "AFNReleased": {"protocol": "released"},
    "FINALReleased": {"protocol": "released"},
    "AFNOnNewUsers": {"cold_side": "user", "cold_threshold": 16, "warm_size": 3},
    "FinalMLPOnNewUsers": {"cold_side": "user", "cold_threshold": 16, "warm_size": 3},
    "AFNWithOtherSettings": {**OTHER, "ensemble_dnn": True},
    "FinalMLPWithOtherSettings": {**OTHER, "fs1_context": "none", "fusion_heads": 1},
}


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
        _suite.pytestmark = [] if _method == "Base" else [pytest.mark.slow]
        globals()[_suite.__name__] = _suite

for _name, _options in VARIANTS.items():
    _backbone = next(name for name in SIZES if _name.startswith(name))
    _suite = suite("Base", _backbone, _options, "protocol" not in _options)
    _suite.pytestmark = [pytest.mark.slow]
    globals()[f"TestBaseOn{_name}"] = _suite

del _suite  # pytest would collect it once more under this name
