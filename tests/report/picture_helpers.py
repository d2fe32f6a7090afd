"""Made-up results of few and of many rows, with bins of reliability, for tests of pictures."""

import random

from recbole_cold.report import Comparison

PHASES = ["cold", "warm_a", "warm_b"]
METHODS = [f"M{k}" for k in range(12)]  # the later, the better
FEW = ["Base", "ItemBias", "MWUF", "CVAR", "Base (90 steps)"]
MANY = ["Base", "ItemBias", *METHODS, "Base (90 steps)"]


def bins(shift):
    predicted = [0.1 * k + 0.05 for k in range(5)]
    return {"predicted": predicted, "clicked": [p + shift for p in predicted], "rows": [2] * 5}


def a_run(label, backbone, level, seeds=2):
    draws = random.Random(f"{label}{backbone}")

    def a_phase(k):
        value = level + 0.01 * k + draws.uniform(-1e-4, 1e-4)
        return {
            "metrics": {"AUC": 0.6 + value, "LogLoss": 0.7 - value}, "rows": 10, "positives": 5,
            "warnings": [], "reliability": bins(value),
        }  # fmt: skip

    return {
        "label": label, "model": label.split(" ")[0].split("[")[0], "backbone": backbone,
        "variant": {}, "matched_steps": 90 if "(" in label else None,
        "config": {"base_model": "Base"}, "parameters": {},
        "seeds": [{"seed": 2020 + s, "stages": [],
                   "phases": {name: a_phase(k) for k, name in enumerate(PHASES)}}
                  for s in range(seeds)],
    }  # fmt: skip


def a_document(labels=MANY, backbone="DeepFM", up=0.0):
    levels = {label: 0.01 * k for k, label in enumerate(METHODS)}
    return {
        "schema": 1, "command": "c", "created": "2026-01-01", "dataset": "tiny", "data_hash": "d",
        "split": {"hash": "h"}, "versions": {}, "eval_on": "test", "protocol": "strict",
        "phases": PHASES, "metrics": ["AUC", "LogLoss"], "share_pretrained": False,
        "backbone_label": backbone,
        "runs": [a_run(label, backbone, levels.get(label, 0.0) + up) for label in labels],
    }  # fmt: skip


def a_comparison(labels=MANY, backbones=("FM", "DCN"), **changes):
    documents = [a_document(labels, b, up=0.001 * k) for k, b in enumerate(backbones)]
    return Comparison({"schema": 1, "documents": documents, **changes})
