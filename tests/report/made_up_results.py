"""Results documents made up by hand, with the intervals of their differences."""

import math
import random
import statistics

PHASES = ["cold", "warm_a", "warm_b", "warm_c"]
REFERENCES = ("Base", "ItemBias", "Base (90 steps)")
BASE = (0.67, 0.68, 0.69, 0.70)
BIAS = (0.67, 0.74, 0.75, 0.76)  # the yardstick: far above the plain model in warm phases
MATCHED_STEPS = (0.67, 0.73, 0.74, 0.75)


def a_phase(auc, within):
    metrics = {"AUC": auc, "WithinAUC": within, "LogLoss": 1.3 - auc}
    groups = {"WithinAUC": {"groups": 40, "of": 50, "rows": 0.9}}
    return {"metrics": metrics, "rows": 1000, "positives": 400, "warnings": [], "groups": groups}


def a_run(label, auc, steps, seeds=5, backbone="DeepFM", within=0.66):
    """A run whose mean AUC is ``auc`` [phases], all rows moving alike with the seed."""
    matched = steps if "steps)" in label else None
    runs = []
    for seed in range(seeds):
        # Means over five seeds stay exact: the shifts of the seeds add up to nothing.
        shift = 0.001 * (seed - (seeds - 1) / 2)
        noise = random.Random(f"{label}{seed}").gauss(0, 1e-6)
        phases = {
            name: a_phase(value + shift + noise, within + shift)
            for name, value in zip(PHASES, auc, strict=True)
        }
        counts = {"pretrain": 400, "learn": 5, **dict.fromkeys(PHASES[1:], steps)}
        stages = [
            {"name": name, "steps": count, "rows": 64 * count, "seconds": count / 8,
             "cpu_seconds": count / 16, "peak_memory_mb": 10.0, "cached": False}
            for name, count in counts.items()
        ]  # fmt: skip
        runs.append({"seed": 2020 + seed, "phases": phases, "stages": stages})
    return {
        "label": label, "model": label.split(" ")[0].split("[")[0], "backbone": backbone,
        "variant": {}, "matched_steps": matched, "config": {"base_model": "Base"},
        "parameters": {"backbone": 1000, "method": 7}, "seeds": runs,
    }  # fmt: skip


def a_document(methods, seeds=5, backbone="DeepFM", leave_out=(), steps=90, **changes):
    """A run's results: the reference rows, and methods with their AUC in every phase."""
    rows = {"Base": (BASE, 10), "ItemBias": (BIAS, 0)}
    rows |= {label: (auc, steps) for label, auc in methods.items()}
    rows |= {"Base (90 steps)": (MATCHED_STEPS, 90)} if steps > 10 else {}
    counts = {"train": 9000, "warm_a": 500, "warm_b": 500, "warm_c": 500, "test": 1000}
    return {
        "schema": 1, "command": "recbole-cold --model=Base,New", "created": "2026-01-01",
        "dataset": "tiny", "data_hash": "d",
        "split": {"counts": counts, "old": 30, "new": 50, "cold_side": "item", "hash": "h"},
        "versions": {}, "eval_on": "test", "protocol": "strict", "phases": PHASES,
        "metrics": ["AUC", "WithinAUC", "LogLoss"], "share_pretrained": False,
        "base_model": "Base", "smallest_effect": 0.002, "wilcoxon": False,
        "runs": [a_run(label, *what, seeds, backbone) for label, what in rows.items()
                 if label not in leave_out],
        **changes,
    }  # fmt: skip


def a_comparison(documents, **changes):
    """Several documents, one per backbone, as one comparison."""
    labelled = [{**doc, "backbone_label": name} for name, doc in documents.items()]
    records = [record for name, doc in documents.items() for record in intervals_of(doc, name)]
    return {
        "schema": 1, "command": "recbole-cold compare", "created": "", "against": None, "rows": [],
        "backbones": [], "seeds": [], "failures": [], "documents": labelled, "intervals": records,
        **changes,
    }  # fmt: skip


def mean_of(run, phase, metric):
    scored = [seed["phases"][phase] for seed in run["seeds"] if phase in seed["phases"]]
    return statistics.fmean(each["metrics"][metric] for each in scored) if scored else math.nan


def intervals_of(document, backbone="DeepFM", item=0.004, user=0.003):
    """Records of all rows against all reference rows; half widths over items and users."""
    runs = {run["label"]: run for run in document["runs"]}
    records = []
    for against in (label for label in REFERENCES if label in runs):
        for label, run in runs.items():
            for phase in PHASES if label != against else ():
                for metric in ("AUC", "WithinAUC", "LogLoss"):
                    x = mean_of(run, phase, metric) - mean_of(runs[against], phase, metric)
                    records += [
                        {"backbone": backbone, "row": label, "against": against, "phase": phase,
                         "metric": metric, "by": by, "difference": x, "low": x - half,
                         "high": x + half, "error": half / 2, "seeds": len(run["seeds"]),
                         "resamples": 1000, "nested": True}
                        for by, half in (("item", item), ("user", user))
                    ]  # fmt: skip
    return records
